//! The calendar's slots where a zone's clock is set forward and back, and through a whole year.

use super::watch::Watch;
use super::{at, cron};
use chrono::{DateTime, Duration as Span, Offset, TimeZone, Utc};
use chrono_tz::Tz;
use keywheel::schedule::{Calendar, Settings, Timetable};
use proptest::prelude::*;
use std::collections::HashSet;
use std::sync::LazyLock;

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

/// A process that starts, or looks, in the second pass of a repeated hour: what the first pass showed has happened and does not come again.
#[test]
fn asked_within_the_second_pass_of_a_repeated_hour() {
    for (text, asked, latest, next) in [
        ("30 2 * * *", "2026-10-25T01:10:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
        ("*/30 * * * *", "2026-10-25T01:10:00Z", "2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z"),
        ("59 2 * * *", "2026-10-25T01:00:00Z", "2026-10-25T00:59:00Z", "2026-10-26T01:59:00Z"),
    ] {
        let calendar = Calendar::parse(text, Tz::Europe__Berlin).unwrap();
        assert_eq!(calendar.latest_until(at(asked)), Some(at(latest)), "{text}");
        assert_eq!(calendar.next_after(at(asked)), Some(at(next)), "{text}");
    }
}
