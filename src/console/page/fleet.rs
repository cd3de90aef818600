//! The fleet on a page: how many targets are in which state, and a hundred of them at a time, what needs somebody first.

use super::timeline::{Quota, Timeline, quotas};
use super::{Bar, Foot, addressed, distance, render};
use crate::console::figures::{Figures, View};
use crate::console::outlook::Outlook;
use crate::moment::{Moment, show_span};
use crate::name::TargetName;
use crate::rotation::state::Label;
use serde::Serialize;

/// Rows of one page.
const ROWS: usize = 100;

/// The longest text that is searched for, in characters.
const SEARCH_LIMIT: usize = 100;

/// The word of everything that somebody may have to look into.
const TROUBLE: &str = "in trouble";

/// States in the order in which somebody should look at them.
const STATES: [Label; 7] =
    [Label::Halted, Label::Doubt, Label::Behind, Label::Due, Label::Rotating, Label::Paused, Label::Settled];

/// What is asked for, as the query says it. What makes no sense asks for nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// A part of the name.
    search: String,
    /// A state, or trouble of any kind.
    state: Option<State>,
    /// Which page, from 0.
    page: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Trouble,
    Is(Label),
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Trouble => TROUBLE,
            Self::Is(label) => label.as_str(),
        }
    }

    fn holds(self, figures: &Figures, now: Moment) -> bool {
        match self {
            Self::Trouble => figures.is_troubled(now),
            Self::Is(label) => figures.label == label,
        }
    }
}

impl Question {
    /// Reads a query string.
    pub fn read(query: &str) -> Self {
        let mut question = Self::default();
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "q" => question.search = value.trim().chars().take(SEARCH_LIMIT).collect(),
                "state" => question.state = all_states().find(|state| state.word() == value),
                "page" => question.page = value.parse::<usize>().map_or(0, |page| page.saturating_sub(1)),
                _ => {}
            }
        }
        question
    }

    /// The address that asks for this.
    fn href(search: &str, state: Option<State>, page: usize) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if !search.is_empty() {
            query.append_pair("q", search);
        }
        if let Some(state) = state {
            query.append_pair("state", state.word());
        }
        if page > 0 {
            query.append_pair("page", &(page + 1).to_string());
        }
        let query = query.finish();
        if query.is_empty() { "/".to_owned() } else { format!("/?{query}") }
    }
}

fn all_states() -> impl Iterator<Item = State> {
    std::iter::once(State::Trouble).chain(STATES.map(State::Is))
}

#[derive(Serialize)]
struct Page<'a> {
    #[serde(flatten)]
    foot: Foot,
    total: usize,
    trouble: usize,
    unreadable: usize,
    reasons: &'a [String],
    states: Vec<Tile>,
    q: &'a str,
    chosen: Option<&'static str>,
    first: usize,
    last: usize,
    found: usize,
    rows: Vec<Line<'a>>,
    before: Option<String>,
    after: Option<String>,
    timeline: Option<Timeline>,
    quotas: Vec<Quota>,
}

#[derive(Serialize)]
struct Tile {
    word: &'static str,
    kind: &'static str,
    count: usize,
    href: String,
    current: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    href: String,
    state: &'static str,
    old: bool,
    age: String,
    bar: Option<Bar>,
    due: String,
    why: String,
}

/// What a page shows.
pub struct Seen<'a> {
    /// The fleet.
    pub view: &'a View,
    /// What there is to expect; `None` while that is worked out.
    pub outlook: Option<&'a Outlook>,
    /// Why the daemon is not ready, if it is not.
    pub reasons: &'a [String],
}

/// The page that answers this question.
pub fn fleet(seen: &Seen<'_>, question: &Question, now: Moment) -> String {
    let Seen { view, outlook, reasons } = *seen;
    let all = || view.targets.iter().map(|(name, figures)| (name, &**figures));
    let needle = question.search.to_lowercase();
    let named = |name: &TargetName| needle.is_empty() || name.as_str().to_lowercase().contains(&needle);
    let wanted = |figures: &Figures| question.state.is_none_or(|state| state.holds(figures, now));
    let mut found: Vec<(&TargetName, &Figures)> =
        all().filter(|(name, figures)| named(name) && wanted(figures)).collect();
    // By name already; what is in the same state stays so.
    found.sort_by_key(|(_, figures)| urgency(figures, now));
    let pages = found.len().div_ceil(ROWS);
    let page = question.page.min(pages.saturating_sub(1));
    let shown = found.iter().skip(page * ROWS).take(ROWS);
    let rows: Vec<Line<'_>> = shown.map(|(name, figures)| line(name, figures, now)).collect();
    let count = |state: State| all().filter(|(_, figures)| state.holds(figures, now)).count();
    let tile = |state: State| {
        let current = question.state == Some(state);
        let href = Question::href(&question.search, Some(state).filter(|_| !current), 0);
        let kind = match state {
            State::Trouble => "old",
            State::Is(label) => label.as_str(),
        };
        Tile { word: state.word(), kind, count: count(state), href, current }
    };
    let turned = |page: usize| Question::href(&question.search, question.state, page);
    render(
        "fleet.html",
        Page {
            foot: Foot::at(view.at),
            total: view.targets.len(),
            trouble: count(State::Trouble),
            unreadable: view.unreadable,
            reasons,
            states: all_states().map(tile).collect(),
            q: &question.search,
            chosen: question.state.map(State::word),
            first: page * ROWS + 1,
            last: page * ROWS + rows.len(),
            found: found.len(),
            rows,
            before: page.checked_sub(1).map(turned),
            after: (page + 1 < pages).then(|| turned(page + 1)),
            timeline: outlook.map(Timeline::of),
            quotas: outlook.map(quotas).unwrap_or_default(),
        },
    )
}

fn urgency(figures: &Figures, now: Moment) -> usize {
    let of_label = STATES.iter().position(|label| *label == figures.label).unwrap_or_default();
    // A password that is too old comes after what is behind, whatever else it is.
    let most = if figures.is_too_old(now) { 3 } else { STATES.len() };
    of_label.min(most)
}

fn line<'a>(name: &'a TargetName, figures: &'a Figures, now: Moment) -> Line<'a> {
    Line {
        name: name.as_str(),
        href: format!("/targets/{name}"),
        state: figures.label.as_str(),
        old: figures.is_too_old(now),
        age: figures.proven_at.map_or_else(|| "none yet".to_owned(), |at| show_span(now.since(at))),
        bar: Bar::of(figures.proven_at, figures.too_old_at, now),
        due: figures.next_due.map_or_else(String::new, |due| distance(due, now)),
        why: addressed(&figures.why, name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::outlook::Counting;
    use std::sync::Arc;
    use std::time::Duration;

    const NOW: Moment = Moment::from_seconds(1_764_000_000);

    fn figures(label: Label, why: &str) -> Arc<Figures> {
        Arc::new(Figures {
            label,
            why: why.to_owned(),
            proven_at: Some(NOW - Duration::from_secs(40 * 86_400)),
            too_old_at: Some(NOW + Duration::from_secs(60 * 86_400)),
            next_due: Some(NOW + Duration::from_secs(3_600)),
            counting: Counting { after: NOW, slot: None, paused_until: None },
            doubt_since: None,
            halted_since: (label == Label::Halted).then_some(NOW),
            behind: Vec::new(),
            given_up: 0,
        })
    }

    fn view(count: usize) -> View {
        let named = |number: usize| {
            let label = if number % 1_000 == 7 { Label::Halted } else { Label::Settled };
            (format!("t{number:05}").parse().unwrap(), figures(label, "it waits"))
        };
        View { at: NOW, targets: (0..count).map(named).collect(), unreadable: 0 }
    }

    /// The page, with the slashes that are escaped for nothing.
    fn page_of(view: &View, reasons: &[String], question: &Question, now: Moment) -> String {
        fleet(&Seen { view, outlook: None, reasons }, question, now).replace("&#x2f;", "/")
    }

    fn names(page: &str) -> Vec<&str> {
        page.split("href=\"/targets/").skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }

    #[test]
    fn ten_thousand_are_shown_a_hundred_at_a_time_the_urgent_first() {
        let view = view(10_000);
        let page = page_of(&view, &[], &Question::read(""), NOW);
        assert_eq!(
            names(&page)[..11],
            [
                "t00007", "t01007", "t02007", "t03007", "t04007", "t05007", "t06007", "t07007", "t08007", "t09007",
                "t00000"
            ]
        );
        assert_eq!(names(&page).len(), ROWS);
        assert!(page.contains("1 to 100 of 10000") && page.contains("href=\"/?page=2\""), "{page}");
        let last = page_of(&view, &[], &Question::read("page=100000000"), NOW);
        assert!(last.contains("9901 to 10000 of 10000") && !last.contains("rel=\"next\""));
        let found = page_of(&view, &[], &Question::read("q=T0999&state=settled&page=1"), NOW);
        assert_eq!(names(&found).len(), 10, "{found}");
        let halted = page_of(&view, &[], &Question::read("state=in+trouble"), NOW);
        assert_eq!(names(&halted).len(), 10);
        assert!(halted.contains("aria-current=\"true\""));
        let none = page_of(&view, &[], &Question::read("q=nobody"), NOW);
        assert!(none.contains("No target is like that."));
    }

    #[test]
    fn what_others_wrote_is_text_and_nothing_else() {
        let hostile = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'{{ 7 * 7 }}";
        let targets = [("orders".parse().unwrap(), figures(Label::Settled, hostile))].into();
        let view = View { at: NOW, targets, unreadable: 0 };
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("q", hostile).finish();
        for question in [Question::default(), Question::read(&query), Question::read("state=%22%3E%3Cb%3E&page=-1")] {
            let page = page_of(&view, &[hostile.to_owned()], &question, NOW);
            assert!(
                page.matches("<script").count() == 1
                    && !page.contains("<script>")
                    && !page.contains("<img")
                    && !page.contains("<b>"),
                "{page}"
            );
            assert!(page.contains("{{ 7 * 7 }}"), "{page}");
            assert!(!page.contains("style=") && !page.contains("onclick"), "the policy would refuse it");
        }
    }

    #[test]
    fn targets_that_cannot_be_shown_are_not_left_out_without_a_word() {
        let notice = |unreadable| {
            let page = page_of(&View { unreadable, ..view(3) }, &[], &Question::default(), NOW);
            page.contains("cannot be read").then(|| page.contains("<strong>2 more targets:</strong>"))
        };
        assert_eq!((notice(0), notice(2)), (None, Some(true)));
    }

    #[test]
    fn a_bar_says_its_share_in_words_too() {
        let page = page_of(&view(1), &[], &Question::default(), NOW);
        assert!(page.contains("aria-label=\"40 % of its max-age of 100d\"") && page.contains("width=\"40\""), "{page}");
        let day = Duration::from_secs(86_400);
        let kind = |age: u32| Bar::of(Some(NOW - day * age), Some(NOW - day * age + day * 100), NOW).unwrap().kind;
        assert_eq!(
            [kind(0), kind(79), kind(80), kind(99), kind(100), kind(900)],
            ["good", "good", "high", "high", "over", "over"]
        );
    }
}
