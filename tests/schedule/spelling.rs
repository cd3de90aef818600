//! How a schedule is written: what its names and fields mean, what is refused and with which words, and how it is told again.

use super::{at, cron, hours, settings};
use chrono_tz::Tz;
use keywheel::schedule::{Calendar, Missed, ScheduleProblem, Settings, Timetable};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

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

/// One alarm serves all targets of a schedule, however each of them spells it.
#[test]
fn schedules_that_fire_together_are_equal_and_no_others() {
    let calendar = |text, zone| Calendar::parse(text, zone).unwrap();
    let daily = calendar("@daily", Tz::UTC);
    assert_eq!(daily.six_fields(), "0 0 0 * * *");
    assert_eq!(calendar("30 3 * * sun", Tz::UTC).six_fields(), "0 30 3 * * SUN");
    assert!(daily == calendar(" 0  0 * * *", Tz::UTC));
    assert!(daily != calendar("@daily", Tz::Asia__Shanghai));
    assert!(daily != calendar("1 0 * * *", Tz::UTC));
    let kept: HashSet<Calendar> =
        ["@daily", "0 0 * * *", "@midnight", "@hourly"].map(|text| calendar(text, Tz::UTC)).into();
    assert_eq!(kept.len(), 2);
    assert_ne!(hash(&daily), hash(&calendar("@hourly", Tz::UTC)));
}

fn hash(calendar: &Calendar) -> u64 {
    let mut hasher = DefaultHasher::new();
    calendar.hash(&mut hasher);
    hasher.finish()
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
    let splayed = Settings { splay: Duration::from_secs(1_200), missed: Missed::Run, ..cron("@daily") };
    let said = Timetable::parse(splayed).unwrap().describe();
    assert_eq!(said, "@daily, UTC, splay 20m (this target: +10m 39s), missed slots are run late");
}
