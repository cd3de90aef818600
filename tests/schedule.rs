//! The timetable against a clock that is watched minute by minute, and against tables.

#![allow(clippy::unwrap_used, reason = "a test's helpers stop where the test would")]

use chrono::{DateTime, Datelike, Duration as Span, NaiveDateTime, Offset, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use keywheel::moment::Moment;
use keywheel::schedule::{Calendar, Decision, Missed, ScheduleProblem, Settings, Slot, Timetable};
use proptest::prelude::*;
use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::Duration;

// ---- an independent reading of cron fields and of the documented rule ----

/// One field as the set of its values, a bit each; `None` is a bare star.
type Field = Option<u64>;

struct Cron([Field; 6]);

impl Cron {
    fn read(text: &str) -> Self {
        let mut fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() == 5 {
            fields.insert(0, "0");
        }
        let limits = [(0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7)];
        let mut read = fields.iter().zip(limits).map(|(field, limit)| values(field, limit));
        Self(std::array::from_fn(|_| read.next().unwrap()))
    }

    fn matches(&self, wall: NaiveDateTime) -> bool {
        let has = |place: usize, value: u32| self.0[place].is_none_or(|set| set >> value & 1 == 1);
        let weekday = wall.weekday().num_days_from_sunday();
        let (day, week) = (has(3, wall.day()), has(5, weekday) || (weekday == 0 && has(5, 7)));
        let date = if self.0[3].is_some() && self.0[5].is_some() { day || week } else { day && week };
        date && has(0, wall.second()) && has(1, wall.minute()) && has(2, wall.hour()) && has(4, wall.month())
    }
}

fn values(field: &str, (low, high): (u32, u32)) -> Field {
    if field == "*" {
        return None;
    }
    let mut set = 0;
    for part in field.split(',') {
        let (range, step) = part.split_once('/').unwrap_or((part, "1"));
        let (from, to) = match (range, range.split_once('-')) {
            ("*", _) => (low, high),
            (_, Some((from, to))) => (from.parse().unwrap(), to.parse().unwrap()),
            (one, None) => (one.parse().unwrap(), one.parse().unwrap()),
        };
        for value in (from..=to).step_by(step.parse().unwrap()) {
            set |= 1 << value;
        }
    }
    Some(set)
}

/// Watches the zone's clock tick by tick. A wall-clock time happens when the clock first shows it or jumps past it.
struct Watch {
    zone: Tz,
    /// Each instant at which times happened that had not happened before: the first and last of them.
    ticks: Vec<(DateTime<Utc>, NaiveDateTime, NaiveDateTime)>,
    tick: Span,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
}

impl Watch {
    /// Begins two days early, so that a clock turned back just before `from` is known.
    fn new(zone: Tz, from: DateTime<Utc>, until: DateTime<Utc>, tick: Span) -> Self {
        let show = |at: DateTime<Utc>| at.naive_utc() + zone.offset_from_utc_datetime(&at.naive_utc()).fix();
        let mut at = from - Span::days(2);
        let mut furthest = show(at);
        let mut ticks = Vec::new();
        while at < until {
            at += tick;
            let shown = show(at);
            if shown > furthest {
                ticks.push((at, furthest + tick, shown));
                furthest = shown;
            }
        }
        ticks.retain(|(at, ..)| *at > from);
        Self { zone, ticks, tick, from, until }
    }

    fn firings(&self, cron: &Cron) -> Vec<Moment> {
        let fires = |&&(_, first, last): &&(DateTime<Utc>, NaiveDateTime, NaiveDateTime)| {
            let mut wall = first;
            while wall <= last {
                if cron.matches(wall) {
                    return true;
                }
                wall += self.tick;
            }
            false
        };
        self.ticks.iter().filter(fires).map(|(at, ..)| Moment::from(*at)).collect()
    }

    /// The schedule's own answers, forwards from slot to slot and backwards from one tick after another, are what was watched.
    fn compare(&self, text: &str, probes: usize) {
        let expected = self.firings(&Cron::read(text));
        let (zone, from, until) = (self.zone, Moment::from(self.from), Moment::from(self.until));
        let calendar = Calendar::parse(text, zone).unwrap();
        let firings: Vec<Moment> = std::iter::successors(calendar.next_after(from), |&at| calendar.next_after(at))
            .take_while(|&at| at <= until)
            .collect();
        assert_eq!(firings, expected, "{text} in {zone} from {from}");
        for (at, ..) in self.ticks.iter().step_by((self.ticks.len() / probes).max(1)) {
            for at in [Moment::from(*at), Moment::from(*at) + Duration::from_millis(999)] {
                let place = expected.partition_point(|&fired| fired <= at);
                if place > 0 {
                    assert_eq!(calendar.latest_until(at), Some(expected[place - 1]), "{text} in {zone} until {at}");
                }
                if let Some(&next) = expected.get(place) {
                    assert_eq!(calendar.next_after(at), Some(next), "{text} in {zone} after {at}");
                }
            }
        }
    }
}

const ZONES: [Tz; 13] = [
    Tz::Europe__Berlin,
    Tz::America__New_York,
    Tz::America__Santiago,
    Tz::Australia__Lord_Howe,
    Tz::Asia__Shanghai,
    Tz::Asia__Kathmandu,
    Tz::Africa__Casablanca,
    Tz::Pacific__Apia,
    Tz::America__Sao_Paulo,
    Tz::Asia__Tehran,
    Tz::Pacific__Chatham,
    Tz::Antarctica__Troll,
    Tz::UTC,
];

/// Two and a half days around the newest two changes in each direction, which for some zones lie decades back, and around Apia's skipped day.
static CHANGES: LazyLock<Vec<Watch>> = LazyLock::new(|| {
    let offset = |zone: Tz, at: DateTime<Utc>| zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc();
    let start: DateTime<Utc> = "2028-01-01T00:00:00Z".parse().unwrap();
    let mut middles = vec![(Tz::Pacific__Apia, "2011-12-30T10:00:00Z".parse().unwrap()), (Tz::UTC, start)];
    for zone in ZONES {
        let (mut gaps, mut folds) = (0, 0);
        let hours = (0..45 * 366 * 24).map(|hour| start - Span::hours(hour));
        for at in hours {
            let change = offset(zone, at) - offset(zone, at - Span::hours(1));
            let seen = if change > 0 { &mut gaps } else { &mut folds };
            if change != 0 && *seen < 2 {
                *seen += 1;
                middles.push((zone, at));
            }
            if gaps == 2 && folds == 2 {
                break;
            }
        }
    }
    let around = |(zone, at)| Watch::new(zone, at - Span::hours(30), at + Span::hours(30), Span::minutes(1));
    middles.into_iter().map(around).collect()
});

#[test]
fn ten_zones_have_changes_in_both_directions() {
    let zones: HashSet<Tz> = CHANGES.iter().map(|watch| watch.zone).collect();
    assert_eq!(zones.len(), ZONES.len());
    let (mut gaps, mut folds) = (0, 0);
    for watch in CHANGES.iter() {
        let jumped = watch.ticks.iter().any(|(_, first, last)| first != last);
        let paused = watch.ticks.windows(2).any(|pair| pair[1].0 - pair[0].0 > watch.tick);
        gaps += usize::from(jumped);
        folds += usize::from(paused);
    }
    assert!(gaps >= 20 && folds >= 20, "{gaps} gaps, {folds} folds");
}

#[test]
fn common_schedules_across_every_change() {
    for watch in CHANGES.iter() {
        for text in [
            "30 2 * * *",
            "0 0 * * *",
            "15 0 * * *",
            "30 1 * * *",
            "0 3 * * *",
            "0,30 2 * * *",
            "*/30 * * * *",
            "*/7 * * * *",
            "* * * * *",
            "45 1-3 * * *",
            "0 */6 * * *",
            "30 2 * * 0",
            "59 23 30 * *",
            "15 2,3 1-15 * 1-5",
            "0 30 2 * 3,10,11 *",
        ] {
            watch.compare(text, 40);
        }
    }
}

#[test]
fn a_whole_year_in_every_zone() {
    for zone in ZONES {
        let year = |year| Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).unwrap();
        let watch = Watch::new(zone, year(2026), year(2027), Span::minutes(1));
        for text in ["30 2 * * *", "*/45 1-2 * * 0,3", "0 0 29-31 * *"] {
            watch.compare(text, 50);
        }
    }
}

#[test]
fn seconds_across_both_changes_of_berlin_and_lord_howe() {
    for (zone, change) in [
        (Tz::Europe__Berlin, "2026-03-29T01:00:00Z"),
        (Tz::Europe__Berlin, "2026-10-25T01:00:00Z"),
        (Tz::Australia__Lord_Howe, "2026-04-04T15:00:00Z"),
        (Tz::Australia__Lord_Howe, "2026-10-03T15:30:00Z"),
    ] {
        let at: DateTime<Utc> = change.parse().unwrap();
        let watch = Watch::new(zone, at - Span::hours(2), at + Span::hours(2), Span::seconds(1));
        for text in ["* * * * * *", "*/10 * * * * *", "17 30 2 * * *", "5,50 */20 1-3 * * *"] {
            watch.compare(text, 60);
        }
    }
}

fn field(low: u32, high: u32) -> impl Strategy<Value = String> {
    let value = low..=high;
    prop_oneof![
        3 => Just("*".to_owned()),
        3 => value.clone().prop_map(|one| one.to_string()),
        1 => (1..=high).prop_map(|step| format!("*/{step}")),
        1 => (value.clone(), value.clone()).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => (value.clone(), value).prop_map(|(a, b)| format!("{a},{b}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_schedule_across_any_change(
        change in 0..CHANGES.len(),
        minute in field(0, 59),
        hour in field(0, 5),
        day in prop_oneof![2 => Just("*".to_owned()), 1 => field(1, 28)],
        month in prop_oneof![4 => Just("*".to_owned()), 1 => field(1, 12)],
        weekday in prop_oneof![2 => Just("*".to_owned()), 1 => field(0, 7)],
    ) {
        CHANGES[change].compare(&format!("{minute} {hour} {day} {month} {weekday}"), 25);
    }
}

// ---- the timetable ----

fn settings(target: &str) -> Settings {
    Settings {
        target: target.parse().unwrap(),
        schedule: None,
        every: None,
        zone: Tz::UTC,
        window: None,
        splay: Duration::ZERO,
        missed: Missed::IfOpen,
        max_age: None,
    }
}

fn cron(text: &str) -> Settings {
    Settings { schedule: Some(text.to_owned()), ..settings("orders-cache") }
}

fn at(text: &str) -> Moment {
    text.parse::<DateTime<Utc>>().unwrap().into()
}

fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3_600)
}

#[test]
fn dst_as_the_design_says_it() {
    for (text, zone, after, expected) in [
        // A skipped hour: once, right after the gap.
        ("30 2 * * *", Tz::Europe__Berlin, "2026-03-28T12:00:00Z", ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]),
        (
            "0,30 2,3 * * *",
            Tz::Europe__Berlin,
            "2026-03-28T12:00:00Z",
            ["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"],
        ),
        ("0 0 * * *", Tz::America__Santiago, "2026-09-05T12:00:00Z", ["2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"]),
        (
            "15 2 * * *",
            Tz::Australia__Lord_Howe,
            "2026-10-03T00:00:00Z",
            ["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"],
        ),
        ("0 9 * * *", Tz::Pacific__Apia, "2011-12-29T20:00:00Z", ["2011-12-30T10:00:00Z", "2011-12-30T19:00:00Z"]),
        // A repeated hour: once, in the first pass.
        ("30 2 * * *", Tz::Europe__Berlin, "2026-10-24T12:00:00Z", ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
        ("*/30 * * * *", Tz::Europe__Berlin, "2026-10-25T00:10:00Z", ["2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z"]),
        ("30 1 * * *", Tz::America__New_York, "2026-11-01T00:00:00Z", ["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]),
    ] {
        let table = Timetable::parse(Settings { zone, ..cron(text) }).unwrap();
        let first = table.slot_after(at(after)).unwrap().nominal;
        let second = table.slot_after(first).unwrap().nominal;
        assert_eq!([first, second], expected.map(at), "{text} in {zone}");
    }
}

#[test]
fn names_and_spellings_mean_what_they_say() {
    for (text, expected) in [
        ("@hourly", "2026-01-01T01:00:00Z"),
        ("@DAILY", "2026-01-02T00:00:00Z"),
        ("@midnight", "2026-01-02T00:00:00Z"),
        ("@weekly", "2026-01-04T00:00:00Z"),
        ("@monthly", "2026-02-01T00:00:00Z"),
        ("@yearly", "2027-01-01T00:00:00Z"),
        ("@annually", "2027-01-01T00:00:00Z"),
        ("0 30 3 * * SUN", "2026-01-04T03:30:00Z"),
        ("30 3 * * 7", "2026-01-04T03:30:00Z"),
        ("30 3 L * *", "2026-01-31T03:30:00Z"),
        ("30 3 ? JUL fri#L", "2026-07-31T03:30:00Z"),
        ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
        // Both days restricted: either is enough; with a plus, both are needed.
        ("0 0 13 * FRI", "2026-01-02T00:00:00Z"),
        ("0 0 13 * +FRI", "2026-02-13T00:00:00Z"),
    ] {
        let table = Timetable::parse(cron(text)).unwrap();
        assert_eq!(table.slot_after(at("2026-01-01T00:00:00Z")).unwrap().nominal, at(expected), "{text}");
    }
}

#[test]
fn every_problem_is_found_at_once() {
    let problems = Timetable::parse(Settings {
        every: Some(Duration::from_secs(59)),
        window: Some(Duration::ZERO),
        max_age: Some(Duration::ZERO),
        ..cron("99 3 * FOO *")
    })
    .unwrap_err();
    let blamed: Vec<&str> = problems.iter().map(ScheduleProblem::setting).collect();
    assert_eq!(blamed, ["every", "schedule", "schedule", "every", "window", "max-age"]);
}

#[test]
fn bad_schedules_are_refused_with_the_field_to_blame() {
    for (text, blamed) in [
        ("", "0 fields"),
        ("* * * *", "4 fields"),
        ("0 0 0 1 1 * 2027", "7 fields"),
        ("@reboot", "\"@reboot\" is not known"),
        ("60 3 * * *", "minute field \"60\""),
        ("30 24 * * *", "hour field \"24\""),
        ("61 30 3 * * *", "second field \"61\""),
        ("0 0 0 * *", "day of month field \"0\""),
        ("0 0 32 * *", "day of month field \"32\""),
        ("0 0 * 13 *", "month field \"13\""),
        ("0 0 * * 8", "day of week field \"8\""),
        ("0 0 * * SUNDAY", "day of week field \"SUNDAY\""),
        ("*/0 * * * *", "minute field \"*/0\""),
        ("5-1 * * * *", "minute field \"5-1\""),
        ("1,,2 * * * *", "minute field \"1,,2\""),
        ("-5 * * * *", "minute field \"-5\""),
        ("1- * * * *", "minute field \"1-\""),
        ("*/ * * * *", "minute field \"*/\""),
        ("@ * * * * *", "is not known"),
        ("0 @daily * * *", "hour field \"@DAILY\""),
        ("0 0 30 2 *", "never fires"),
        ("0 0 31 4,6,9,11 *", "never fires"),
    ] {
        let problems = Timetable::parse(cron(text)).unwrap_err();
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        assert!(problems[0].to_string().contains(blamed), "{text}: {}", problems[0]);
    }
    let long = "1,".repeat(200);
    assert!(matches!(Timetable::parse(cron(&long)).unwrap_err()[..], [ScheduleProblem::TooLong { .. }]));
}

#[test]
fn splay_window_and_every_have_limits() {
    let table = |splay, window| {
        Timetable::parse(Settings { splay: hours(splay), window: Some(hours(window)), ..cron("@daily") })
    };
    assert!(table(2, 2).is_ok());
    assert!(matches!(table(3, 2).unwrap_err()[..], [ScheduleProblem::SplayTooLong { .. }]));
    let every = |seconds| Timetable::parse(Settings { every: Some(Duration::from_secs(seconds)), ..settings("a") });
    assert!(every(60).is_ok());
    assert!(matches!(every(59).unwrap_err()[..], [ScheduleProblem::EveryTooShort { .. }]));
}

#[test]
fn the_splay_is_the_targets_own_and_never_changes() {
    let offset = |target: &str| {
        let table = Timetable::parse(Settings {
            splay: Duration::from_secs(1_200),
            window: Some(hours(2)),
            schedule: Some("30 3 * * SUN".to_owned()),
            zone: Tz::Asia__Shanghai,
            ..settings(target)
        })
        .unwrap();
        let slot = table.slot_after(at("2026-11-22T00:00:00Z")).unwrap();
        assert_eq!(slot.nominal, at("2026-11-28T19:30:00Z"));
        assert_eq!(slot.closes, slot.nominal + hours(2));
        slot.due.since(slot.nominal).as_millis()
    };
    // Recorded: another value here would move every target of every fleet on an upgrade.
    assert_eq!([offset("orders-cache"), offset("sessions"), offset("a")], RECORDED_SPLAYS);
    let mut quarters = [0; 4];
    for target in 0..2_000 {
        quarters[(offset(&format!("target-{target}")) / 300_000) as usize] += 1;
    }
    assert!(quarters.iter().all(|&count| (400..600).contains(&count)), "{quarters:?}");
}

const RECORDED_SPLAYS: [u128; 3] = [639_074, 249_521, 811_736];

#[test]
fn every_spreads_a_fleet_and_survives_a_restart() {
    let span = hours(720);
    let mut days = [0; 30];
    for target in 0..3_000 {
        let table = Timetable::parse(Settings { every: Some(span), ..settings(&format!("t{target}")) }).unwrap();
        let start = at("2026-06-01T00:00:00Z");
        let slot = table.slot_after(start).unwrap();
        let next = table.slot_after(slot.nominal).unwrap();
        assert_eq!((next.nominal, slot.closes), (slot.nominal + span, next.due));
        // Asked again a year later, by another process: the same series.
        let later = table.slot_after(start + hours(24 * 365)).unwrap();
        assert_eq!(later.nominal.since(slot.nominal).as_millis() % span.as_millis(), 0);
        days[usize::try_from(slot.nominal.since(start).as_secs() / 86_400).unwrap()] += 1;
    }
    assert!(days.iter().all(|&count| (60..150).contains(&count)), "{days:?}");
}

#[test]
fn a_target_without_a_schedule_waits_for_a_hand() {
    let table = Timetable::parse(Settings { max_age: Some(hours(24)), ..settings("a") }).unwrap();
    let now = at("2026-06-01T00:00:00Z");
    assert!(table.is_by_hand() && table.calendar().is_none());
    assert_eq!(table.slot_after(now), None);
    assert_eq!(table.decide(Moment::from_millis(0), now, now), Decision::Wait(None));
    assert_eq!(table.too_old_at(now), Some(now + hours(24)));
    assert_eq!(table.describe(), "only by hand, alert when older than 1d");
}

#[test]
fn missed_slots_are_decided_as_set() {
    let served = at("2026-05-01T03:00:00Z");
    let slot = |day: u64| {
        let nominal = at("2026-05-01T03:00:00Z") + hours(24 * (day - 1));
        Slot { nominal, due: nominal, closes: nominal + hours(2) }
    };
    let (start, wait) = (|day| Decision::Start(slot(day)), |day| Decision::Wait(Some(slot(day))));
    let pass = |day| Decision::PassOver { missed: slot(day), next: Some(slot(day + 1)) };
    // (now, up since) → if-open, run, skip
    for (now, up_since, decisions) in [
        ("2026-05-02T02:59:59Z", "2026-05-01T00:00:00Z", [wait(2), wait(2), wait(2)]),
        ("2026-05-02T03:00:00Z", "2026-05-01T00:00:00Z", [start(2), start(2), start(2)]),
        ("2026-05-02T04:00:00Z", "2026-05-02T03:30:00Z", [start(2), start(2), pass(2)]),
        ("2026-05-02T04:59:59Z", "2026-05-01T00:00:00Z", [start(2), start(2), start(2)]),
        ("2026-05-02T05:00:00Z", "2026-05-01T00:00:00Z", [pass(2), start(2), pass(2)]),
        ("2026-05-20T12:00:00Z", "2026-05-20T11:00:00Z", [pass(20), start(20), pass(20)]),
        ("2026-05-20T03:10:00Z", "2026-05-20T03:05:00Z", [start(20), start(20), pass(20)]),
    ] {
        for (missed, decision) in [Missed::IfOpen, Missed::Run, Missed::Skip].into_iter().zip(decisions) {
            let table = Timetable::parse(Settings { window: Some(hours(2)), missed, ..cron("0 3 * * *") }).unwrap();
            assert_eq!(table.decide(served, at(now), at(up_since)), decision, "{missed:?} at {now}");
        }
    }
    // Without a window a slot stays open until the next one is due.
    let open = Timetable::parse(cron("0 3 * * *")).unwrap();
    let late = at("2026-05-09T02:59:59Z");
    assert!(
        matches!(open.decide(served, late, late), Decision::Start(slot) if slot.nominal == at("2026-05-08T03:00:00Z"))
    );
}

#[test]
fn upcoming_goes_by_due_time_and_agrees_with_single_steps() {
    let table = Timetable::parse(Settings { splay: hours(2), ..cron("0 */6 * * *") }).unwrap();
    let from = at("2026-05-01T00:00:00Z");
    let mut nominal = from - hours(12);
    for slot in table.upcoming(from, from + hours(24 * 30)) {
        assert!(slot.due > from && slot.due <= from + hours(24 * 30) && slot.due < slot.closes);
        if nominal > from - hours(12) {
            assert_eq!(table.slot_after(nominal), Some(slot));
        }
        assert_eq!(table.latest_slot(slot.nominal - hours(1), slot.due), Some(slot));
        assert_eq!(table.latest_slot(slot.nominal, slot.due), None);
        nominal = slot.nominal;
    }
    assert_eq!(table.upcoming(from, from + hours(24 * 30)).count(), 120);
}

#[test]
fn a_century_of_missed_seconds_is_one_step() {
    let table = Timetable::parse(cron("* * * * * *")).unwrap();
    let now = at("2070-01-01T00:00:00Z") + Duration::from_millis(1);
    let slot = table.latest_slot(Moment::from_millis(0), now).unwrap();
    assert_eq!(slot.nominal, at("2070-01-01T00:00:00Z"));
}

#[test]
fn a_timetable_is_described_in_one_line() {
    let table = Timetable::parse(Settings {
        zone: Tz::Asia__Shanghai,
        window: Some(hours(2)),
        missed: Missed::Skip,
        ..cron("30 3 * * SUN")
    })
    .unwrap();
    assert_eq!(table.describe(), "30 3 * * SUN, Asia/Shanghai, window 2h, missed slots are skipped");
    let every = Timetable::parse(Settings { every: Some(hours(720)), ..settings("a") }).unwrap();
    assert_eq!(every.describe(), "every 30d");
}
