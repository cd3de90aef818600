//! The numbers at `/metrics`. `table` names every one of them, `sheet` writes them down; docs/METRICS.md is the same table for people, and a test holds
//! the two together.
//!
//! Their number is bounded: series of a target's own exist for at most `metrics-targets` targets, three each while all is well and never more than six
//! and two for each of its sinks; all others are counted by words of which there are few, or by what the configuration names.

mod sheet;
pub mod table;

use super::figures::{Figures, View};
use crate::alert;
use crate::driver::Tally;
use crate::ledger::sqlite::Commits;
use crate::moment::Moment;
use crate::name::ProviderName;
use crate::provider::traffic::Traffic;
use crate::rotation::state::Label;
use sheet::{Sheet, seconds};
use std::collections::BTreeMap;
use table as is;

pub use sheet::CONTENT_TYPE;

/// What is shown; what is not known yet is left out.
#[derive(Default)]
pub struct Shown<'a> {
    /// Since when the daemon runs.
    pub up_since: Option<Moment>,
    /// Whether it does its work.
    pub ready: bool,
    /// Whether the configuration was taken up when it was read last.
    pub configuration: bool,
    /// When a sweep last reached the ledger.
    pub swept_at: Option<Moment>,
    /// How many targets have their turn, and how many may.
    pub turns: Option<(usize, usize)>,
    /// What the driver counted.
    pub tally: Option<&'a Tally>,
    /// What the ledger's transactions took.
    pub commits: Option<&'a Commits>,
    /// The fleet.
    pub view: Option<&'a View>,
    /// How many targets may have series of their own.
    pub targets: usize,
    /// What the clouds were called for.
    pub traffic: BTreeMap<ProviderName, Traffic>,
    /// What was counted of alerts.
    pub alerts: Option<&'a alert::tally::Tally>,
}

const LABELS: [Label; 7] =
    [Label::Settled, Label::Due, Label::Rotating, Label::Doubt, Label::Behind, Label::Halted, Label::Paused];

impl Shown<'_> {
    /// All of it in the text format of Prometheus.
    pub fn text(&self) -> String {
        let mut sheet = Sheet::default();
        self.daemon(&mut sheet);
        self.fleet(&mut sheet);
        self.rotations(&mut sheet);
        self.clouds(&mut sheet);
        self.ledger(&mut sheet);
        self.alerts(&mut sheet);
        sheet.text()
    }

    fn daemon(&self, sheet: &mut Sheet) {
        sheet.gauge(&is::BUILD_INFO, [([("version", env!("CARGO_PKG_VERSION"))], 1.0)]);
        sheet.plain(&is::STARTED, self.up_since.map(seconds));
        sheet.plain(&is::READY, Some(f64::from(u8::from(self.ready))));
        sheet.plain(&is::CONFIGURATION, Some(f64::from(u8::from(self.configuration))));
        sheet.plain(&is::SWEPT, self.swept_at.map(seconds));
        sheet.plain(&is::TURNS, self.turns.map(|(now, _)| now as f64));
        sheet.plain(&is::TURNS_LIMIT, self.turns.map(|(_, limit)| limit as f64));
        sheet.count(&is::TURN_FAILURES, self.tally.map(|tally| tally.failed_turns.count()));
    }

    fn fleet(&self, sheet: &mut Sheet) {
        let Some(view) = self.view else { return };
        let all = || view.targets.values();
        let in_state = |label: Label| all().filter(|figures| figures.label == label).count() as f64;
        sheet.gauge(&is::TARGETS, LABELS.map(|label| ([("state", label.as_str())], in_state(label))));
        let shown = view.shown(self.targets);
        let without = view.targets.len().saturating_sub(shown.len());
        sheet.plain(&is::UNREADABLE, Some(view.unreadable as f64));
        sheet.plain(&is::TOO_OLD, Some(all().filter(|figures| figures.is_too_old(view.at)).count() as f64));
        sheet.plain(&is::WITHOUT_SERIES, Some(without as f64));
        sheet.plain(&is::OLDEST, all().filter_map(|figures| figures.proven_at).min().map(seconds));
        sheet.plain(&is::LOOKED, Some(seconds(view.at)));

        let mut each = |metric, of: &dyn Fn(&Figures) -> Option<f64>| {
            let series = shown.iter().filter_map(|(name, figures)| Some(([("target", name.as_str())], of(figures)?)));
            sheet.gauge(metric, series);
        };
        each(&is::PROVEN, &|figures| figures.proven_at.map(seconds));
        each(&is::TOO_OLD_AT, &|figures| figures.too_old_at.map(seconds));
        each(&is::NEXT_DUE, &|figures| figures.next_due.map(seconds));
        each(&is::DOUBT_SINCE, &|figures| figures.doubt_since.map(seconds));
        each(&is::HALTED_SINCE, &|figures| figures.halted_since.map(seconds));
        each(&is::GIVEN_UP, &|figures| (figures.given_up > 0).then_some(figures.given_up as f64));

        let behind = || {
            shown.iter().flat_map(|(name, figures)| {
                let labels = |sink| [("target", name.as_str()), ("sink", sink)];
                figures.behind.iter().map(move |(sink, since, by)| (labels(sink.as_str()), *since, *by))
            })
        };
        sheet.gauge(&is::BEHIND_SINCE, behind().map(|(labels, since, _)| (labels, seconds(since))));
        sheet.gauge(&is::BEHIND_BY, behind().map(|(labels, _, by)| (labels, by as f64)));
    }

    fn rotations(&self, sheet: &mut Sheet) {
        let Some(tally) = self.tally else { return };
        sheet.count(&is::BEGUN, Some(tally.begun.count()));
        let outcomes = [
            ([("outcome", "settled")], tally.settled.count()),
            ([("outcome", "abandoned")], tally.abandoned.count()),
            ([("outcome", "overtaken")], tally.overtaken.count()),
            ([("outcome", "replaced")], tally.replaced.count()),
        ];
        sheet.counts(&is::ROTATIONS, outcomes);
        sheet.count(&is::HALTS, Some(tally.halts.count()));
        sheet.count(&is::DOUBTS, Some(tally.doubts.count()));
        sheet.spread(&is::LATENESS, &tally.lateness.spread());
        sheet.spread(&is::BLIND, &tally.blind.spread());
        let deliveries =
            [([("result", "delivered")], tally.delivered.count()), ([("result", "failed")], tally.undelivered.count())];
        sheet.counts(&is::DELIVERIES, deliveries);
        let notices = [([("result", "told")], tally.told.count()), ([("result", "failed")], tally.untold.count())];
        sheet.counts(&is::NOTICES, notices);
        sheet.count(&is::REVEALED, Some(tally.revealed.count()));
    }

    fn clouds(&self, sheet: &mut Sheet) {
        let each = || {
            self.traffic.iter().flat_map(|(provider, traffic)| {
                let labels = |action| [("provider", provider.as_str()), ("action", action)];
                traffic.actions.iter().map(move |(action, load)| (labels(*action), load))
            })
        };
        let calls = each().flat_map(|([provider, action], load)| {
            load.came_to.iter().map(move |(trouble, count)| {
                let verdict = trouble.map_or_else(|| "done".to_owned(), sheet::word);
                ([provider, action, ("verdict", verdict.as_str())].map(|(key, value)| (key, value.to_owned())), *count)
            })
        });
        sheet.counts(&is::CALLS, calls);
        sheet.gauge(&is::WAITING, each().map(|(labels, load)| (labels, load.waiting as f64)));
        sheet.counts(&is::ADMITTED, each().map(|(labels, load)| (labels, load.admitted)));
        sheet.counts(&is::THROTTLED, each().map(|(labels, load)| (labels, load.throttled)));
        sheet.gauge(&is::RATE, each().map(|(labels, load)| (labels, load.rate)));
        let of = || self.traffic.iter().map(|(name, traffic)| ([("provider", name.as_str())], traffic));
        sheet.gauge(&is::QUOTA, of().map(|(labels, traffic)| (labels, traffic.quota)));
        sheet.gauge(&is::CREDENTIALS_END, of().filter_map(|(labels, of)| Some((labels, seconds(of.credential_ends?)))));
    }

    fn ledger(&self, sheet: &mut Sheet) {
        let Some(commits) = self.commits else { return };
        sheet.spread(&is::COMMITS, &commits.took.spread());
        sheet.count(&is::COMMIT_FAILURES, Some(commits.failed.count()));
    }

    fn alerts(&self, sheet: &mut Sheet) {
        let Some(alerts) = self.alerts else { return };
        let events: Vec<_> =
            alerts.events().into_iter().map(|(event, raised)| ([("event", event.word())], raised)).collect();
        sheet.gauge(&is::ALERTS, events.iter().map(|(labels, raised)| (*labels, raised.now as f64)));
        sheet.counts(&is::RAISED, events.iter().map(|(labels, raised)| (*labels, raised.raised)));
        sheet.counts(&is::OVER, events.iter().map(|(labels, raised)| (*labels, raised.over)));
        let messages = alerts.messages();
        let told = messages.iter().flat_map(|(channel, (told, failed))| {
            let labels = |result| [("channel", channel.as_str()), ("result", result)];
            [(labels("told"), *told), (labels("failed"), *failed)]
        });
        sheet.counts(&is::MESSAGES, told);
    }
}
