//! Which slot counts: splay, `every`, what was missed, and many slots in a row.

use super::{at, cron, hours, settings};
use chrono_tz::Tz;
use keywheel::moment::Moment;
use keywheel::schedule::{Decision, Missed, Settings, Slot, Timetable};
use std::time::Duration;

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

/// Computed by another program from the rule: SHA-256 of `every`, a zero byte and the name, its first eight bytes as a number, modulo the span.
#[test]
fn the_series_of_every_is_the_targets_own_and_never_changes() {
    for (target, expected) in [("orders-cache", 1_781_967_415_133), ("sessions", 1_782_069_585_425)] {
        let table = Timetable::parse(Settings { every: Some(hours(720)), ..settings(target) }).unwrap();
        let slot = table.slot_after(at("2026-06-01T00:00:00Z")).unwrap();
        assert_eq!(slot.nominal, Moment::from_millis(expected), "{target}");
        // The end of time is no slot.
        assert_eq!(table.slot_after(Moment::NEVER - Duration::from_millis(1)), None);
    }
}

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
    let daily = Timetable::parse(cron("@daily")).unwrap();
    assert!(!daily.is_by_hand() && daily.calendar().is_some_and(|calendar| calendar.text() == "@daily"));
    // A target that had a schedule keeps everything else.
    let scheduled = Settings { max_age: Some(hours(24)), window: Some(hours(2)), ..cron("@daily") };
    let by_hand = Timetable::parse(scheduled).unwrap().by_hand();
    assert!(by_hand.is_by_hand() && by_hand.slot_after(now).is_none());
    assert_eq!(by_hand.describe(), "only by hand, alert when older than 1d");
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
        // Without a window a slot closes when the next one is due.
        assert_eq!(table.slot_after(slot.nominal).map(|next| next.due), Some(slot.closes));
        if nominal > from - hours(12) {
            assert_eq!(table.slot_after(nominal), Some(slot));
        }
        assert_eq!(table.latest_slot(slot.nominal - hours(1), slot.due), Some(slot));
        assert_eq!(table.latest_slot(slot.nominal, slot.due), None);
        assert_eq!(table.latest_slot(slot.nominal - hours(1), slot.due - Duration::from_millis(1)), None);
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
