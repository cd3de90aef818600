//! Days as columns: of the fleet, how much settled, failed and is planned; of one target, when. And what the coming hours ask of each quota. Every
//! drawing has its words in a table beside it.

use super::{Bar, distance};
use crate::console::days::{Days, EACH_WAY};
use crate::console::outlook::{Ahead, Crowd, Day, HOURS, Outlook};
use crate::console::target_days::{TargetDays, Window};
use crate::moment::{Moment, show_span};
use chrono::NaiveDate;
use chrono_tz::Tz;
use serde::Serialize;

/// The height of a drawing of days and of one of hours, and the width of a column, in units of the drawing.
const HEIGHT: u64 = 100;
const HOUR_HEIGHT: u64 = 24;
const COLUMN: usize = 10;

/// The least height of what is there at all, so that one among ten thousand is seen.
const LEAST: u64 = 4;

/// The fleet's days.
#[derive(Serialize)]
pub(super) struct Timeline {
    words: String,
    zone: String,
    width: usize,
    today: usize,
    first: String,
    last: String,
    columns: Vec<Column>,
    rows: Vec<Row>,
    cut: bool,
}

/// One day, drawn.
#[derive(Serialize)]
struct Column {
    x: usize,
    words: String,
    parts: Vec<Part>,
    crowded: bool,
}

#[derive(Serialize)]
struct Part {
    kind: &'static str,
    y: u64,
    height: u64,
}

/// One day, told.
#[derive(Serialize)]
struct Row {
    day: String,
    settled: usize,
    failed: usize,
    planned: usize,
    window: String,
    crowd: String,
}

impl Timeline {
    pub(super) fn of(outlook: &Outlook) -> Self {
        let Outlook { days, each, providers, cut, .. } = outlook;
        let most = each.iter().map(|day| day.settled + day.failed + day.planned).max().unwrap_or_default().max(1);
        let all = || days.dates().iter().zip(each).enumerate();
        let columns = all().map(|(place, (date, day))| column(place, *date, day, most, providers, days.zone));
        let something = all().filter(|(_, (_, day))| **day != Day::default());
        let rows = something.map(|(place, (date, day))| Row {
            day: named(*date, place),
            settled: day.settled,
            failed: day.failed,
            planned: day.planned,
            window: day.window.map_or_else(String::new, |window| between(window, days.zone)),
            crowd: day.crowd.map_or_else(String::new, |crowd| crowded(&crowd, providers, days.zone)),
        });
        let sum = |of: fn(&Day) -> usize| each.iter().map(of).sum::<usize>();
        let crowds = each.iter().filter(|day| day.crowd.is_some()).count();
        let mut words = format!(
            "In the last {EACH_WAY} days {} settled and {} failed; in the next {EACH_WAY} days {} are planned",
            counted(sum(|day| day.settled), "rotation"),
            sum(|day| day.failed),
            sum(|day| day.planned),
        );
        if crowds > 0 {
            words +=
                &format!(", and on {} more are due in one minute than can be started in it", counted(crowds, "day"));
        }
        Self {
            words: words + ".",
            zone: days.zone.to_string(),
            width: columns_width(),
            today: EACH_WAY * COLUMN,
            first: short(days.dates()[0]),
            last: short(days.dates()[2 * EACH_WAY]),
            columns: columns.collect(),
            rows: rows.collect(),
            cut: *cut,
        }
    }
}

const fn columns_width() -> usize {
    (2 * EACH_WAY + 1) * COLUMN
}

fn column(place: usize, date: NaiveDate, day: &Day, most: usize, providers: &[Ahead], zone: Tz) -> Column {
    let mut words = vec![named(date, place)];
    let mut parts = Vec::new();
    let mut top = HEIGHT;
    for (count, kind, word) in
        [(day.settled, "settled", "settled"), (day.failed, "failed", "failed"), (day.planned, "planned", "planned")]
    {
        if count > 0 {
            // The mark of a crowd stands above.
            let height = (count as u64 * (HEIGHT - 16) / most as u64).max(LEAST).min(top);
            top -= height;
            parts.push(Part { kind, y: top, height });
            words.push(format!("{count} {word}"));
        }
    }
    words.extend(day.crowd.map(|crowd| crowded(&crowd, providers, zone)));
    Column { x: place * COLUMN, words: words.join(", "), parts, crowded: day.crowd.is_some() }
}

fn crowded(crowd: &Crowd, providers: &[Ahead], zone: Tz) -> String {
    let whose = match crowd.provider.and_then(|place| providers.get(place)) {
        Some(ahead) => format!("{}'s quota allows {}", ahead.provider, crowd.admitted),
        None => format!("{} have a turn at the same time", crowd.admitted),
    };
    format!("{} due within a minute at {}, {whose}", crowd.due, time(crowd.at, zone))
}

/// When of a day something may start; an end on another day is named with it.
fn between((opens, closes): (Moment, Moment), zone: Tz) -> String {
    let date = |at: Moment| at.utc().with_timezone(&zone).date_naive();
    match closes {
        Moment::NEVER => format!("from {}", time(opens, zone)),
        _ if date(opens) == date(closes) => format!("{} to {}", time(opens, zone), time(closes, zone)),
        _ => format!("{} to {}, {}", time(opens, zone), short(date(closes)), time(closes, zone)),
    }
}

fn time(at: Moment, zone: Tz) -> String {
    at.utc().with_timezone(&zone).format("%H:%M").to_string()
}

fn short(date: NaiveDate) -> String {
    date.format("%-d %b").to_string()
}

fn named(date: NaiveDate, place: usize) -> String {
    let day = date.format("%a %Y-%m-%d");
    if place == EACH_WAY { format!("{day} (today)") } else { day.to_string() }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// One target's days.
#[derive(Serialize)]
pub(super) struct OwnTimeline {
    words: String,
    zone: String,
    width: usize,
    today: usize,
    now: u64,
    first: String,
    last: String,
    windows: Vec<Mark>,
    frozen: Vec<Mark>,
    freezes: Vec<String>,
    marks: Vec<Mark>,
    slots: Vec<Slot>,
    more: usize,
}

/// Something drawn at its time of the day.
#[derive(Serialize)]
struct Mark {
    kind: &'static str,
    x: usize,
    y: u64,
    height: u64,
    words: String,
}

#[derive(Serialize)]
struct Slot {
    due: String,
    away: String,
    window: String,
}

/// How many of a target's slots are told.
const TOLD: usize = 40;

/// The height of a mark.
const MARK: u64 = 5;

impl OwnTimeline {
    pub(super) fn of(own: &TargetDays, now: Moment) -> Self {
        let days = &own.days;
        let zone = days.zone;
        let told = |at: Moment| format!("{} {}", day_of(at, zone), time(at, zone));
        let place = |at: Moment| days.of(at).map(|day| (day, days.share(day, at) * HEIGHT / 1_000));
        let mark = |kind: &'static str, at: Moment, words: String| {
            let (day, y) = place(at)?;
            Some(Mark { kind, x: day * COLUMN, y: y.min(HEIGHT - MARK), height: MARK, words })
        };
        let ended = own.ended.iter().filter_map(|&(at, well)| {
            let kind = if well { "settled" } else { "failed" };
            mark(kind, at, format!("{kind} {}", told(at)))
        });
        let planned = own.slots.iter().filter_map(|slot| {
            let due = slot.due.max(now);
            mark("planned", due, format!("due {}, start until {}", told(due), until(slot.closes, zone)))
        });
        let count = |well: bool| own.ended.iter().filter(|(_, one)| *one == well).count();
        let words = format!(
            "In the last {EACH_WAY} days {} settled and {} failed; in the next {EACH_WAY} days {}{} are planned.",
            counted(count(true), "rotation"),
            count(false),
            if own.cut { "more than " } else { "" },
            own.slots.len(),
        );
        let slots = own.slots.iter().take(TOLD).map(|slot| Slot {
            due: told(slot.due),
            away: distance(slot.due, now),
            window: until(slot.closes, zone),
        });
        Self {
            words,
            zone: zone.to_string(),
            width: columns_width(),
            today: EACH_WAY * COLUMN,
            now: place(now).map_or(0, |(_, y)| y),
            first: short(days.dates()[0]),
            last: short(days.dates()[2 * EACH_WAY]),
            windows: own.windows.iter().map(|window| window_mark(days, window)).collect(),
            frozen: own.frozen.iter().map(|window| window_mark(days, window)).collect(),
            freezes: own
                .freezes
                .iter()
                .map(|frozen| format!("{}, from {} to {}", frozen.name, told(frozen.from), told(frozen.until)))
                .collect(),
            marks: ended.chain(planned).collect(),
            slots: slots.collect(),
            more: own.slots.len().saturating_sub(TOLD),
        }
    }
}

fn window_mark(days: &Days, window: &Window) -> Mark {
    let y = days.share(window.day, window.from) * HEIGHT / 1_000;
    let end = days.share(window.day, window.until) * HEIGHT / 1_000;
    Mark { kind: "", x: window.day * COLUMN, y, height: end.saturating_sub(y).max(1), words: String::new() }
}

fn until(closes: Moment, zone: Tz) -> String {
    match closes {
        Moment::NEVER => "any time".to_owned(),
        at => format!("{} {}", day_of(at, zone), time(at, zone)),
    }
}

fn day_of(at: Moment, zone: Tz) -> String {
    at.utc().with_timezone(&zone).format("%a %Y-%m-%d").to_string()
}

/// What a provider's quota is asked for.
#[derive(Serialize)]
pub(super) struct Quota {
    provider: String,
    rotations: usize,
    fullest: String,
    allowed: String,
    bar: Option<Bar>,
    busiest: String,
    hours: Vec<Part>,
    hours_words: String,
}

pub(super) fn quotas(outlook: &Outlook) -> Vec<Quota> {
    outlook.providers.iter().map(|ahead| quota(ahead, outlook.days.zone)).collect()
}

fn quota(ahead: &Ahead, zone: Tz) -> Quota {
    let rotations = ahead.hours.iter().sum();
    let most = ahead.hours.iter().copied().max().unwrap_or_default().max(1);
    let hours = ahead.hours.iter().map(|&count| {
        let height = if count == 0 { 0 } else { (count as u64 * HOUR_HEIGHT / most as u64).max(2) };
        Part { kind: "planned", y: HOUR_HEIGHT - height, height }
    });
    let per_minute = ahead.load.map(|load| load.quota * 60.0);
    let needed = ahead.fullest.map_or(0, |(_, due)| due);
    Quota {
        provider: ahead.provider.to_string(),
        rotations,
        fullest: ahead
            .fullest
            .map_or_else(|| "none".to_owned(), |(at, due)| format!("{due} at {} {}", day_of(at, zone), time(at, zone))),
        allowed: per_minute.map_or_else(|| "no limit".to_owned(), |allowed| format!("{allowed:.0}")),
        bar: per_minute.map(|allowed| {
            Bar::of_share((needed as f64 * 100.0 / allowed) as u64, "of the quota in the fullest minute")
        }),
        busiest: ahead.load.filter(|load| load.busiest > 0).map_or_else(String::new, |load| {
            format!("{} in the busiest hour, which take {} at least", load.busiest, show_span(load.takes()))
        }),
        hours: hours.collect(),
        hours_words: format!(
            "{} in the next {HOURS} hours, at most {} in one of them",
            counted(rotations, "rotation"),
            ahead.hours.iter().max().unwrap_or(&0)
        ),
    }
}
