//! Dates on which nothing begins by itself.

use super::{at, cron, hours};
use chrono_tz::Tz;
use keywheel::moment::Moment;
use keywheel::schedule::{Decision, Freeze, FreezeProblem, Missed, Settings, Timetable};
use std::time::Duration;

fn freeze(from: &str, to: &str) -> Freeze {
    freeze_in(from, to, Tz::UTC)
}

fn freeze_in(from: &str, to: &str, zone: Tz) -> Freeze {
    Freeze::parse("year-end".parse().unwrap(), from, to, zone).unwrap()
}

fn stretch(freeze: &Freeze, now: &str) -> Option<(String, String)> {
    freeze.ahead(at(now)).map(|frozen| (frozen.from.to_string(), frozen.until.to_string()))
}

fn span(from: &str, until: &str) -> Option<(String, String)> {
    Some((at(from).to_string(), at(until).to_string()))
}

#[test]
fn a_date_is_the_whole_day_on_the_clock_of_the_zone() {
    let once = freeze("2026-12-24", "2027-01-01");
    let whole = span("2026-12-24T00:00:00Z", "2027-01-02T00:00:00Z");
    for now in ["2026-01-01T00:00:00Z", "2026-12-24T00:00:00Z", "2027-01-01T23:59:59Z"] {
        assert_eq!(stretch(&once, now), whole, "{now}");
    }
    assert_eq!(stretch(&once, "2027-01-02T00:00:00Z"), None);
    let shanghai = freeze_in("2026-11-10 18:00", "2026-11-12", Tz::Asia__Shanghai);
    assert_eq!(stretch(&shanghai, "2026-11-01T00:00:00Z"), span("2026-11-10T10:00:00Z", "2026-11-12T16:00:00Z"));
    // A midnight that the clock jumps over: the first instant after the gap.
    let beirut = freeze_in("2026-03-29", "2026-03-29", Tz::Asia__Beirut);
    assert_eq!(stretch(&beirut, "2026-03-01T00:00:00Z"), span("2026-03-28T22:00:00Z", "2026-03-29T21:00:00Z"));
}

#[test]
fn without_years_it_comes_every_year_also_over_the_turn_of_one() {
    let turn = freeze("12-24", "01-01");
    for (now, from, until) in [
        ("2026-01-01T12:00:00Z", "2025-12-24T00:00:00Z", "2026-01-02T00:00:00Z"),
        ("2026-01-02T00:00:00Z", "2026-12-24T00:00:00Z", "2027-01-02T00:00:00Z"),
        ("2030-12-31T00:00:00Z", "2030-12-24T00:00:00Z", "2031-01-02T00:00:00Z"),
    ] {
        assert_eq!(stretch(&turn, now), span(from, until), "{now}");
    }
    let leap = freeze("02-29", "02-29");
    assert_eq!(stretch(&leap, "2026-11-01T00:00:00Z"), span("2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"));
    // All of February, whether it has that day or not: it never lasts for a year.
    let february = freeze("02-01", "02-29");
    for (now, from, until) in [
        ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"),
        ("2027-02-10T00:00:00Z", "2027-02-01T00:00:00Z", "2027-03-01T00:00:00Z"),
        ("2027-03-01T00:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
    ] {
        assert_eq!(stretch(&february, now), span(from, until), "{now}");
    }
    let from_the_day = freeze("02-29 12:00", "03-10");
    assert_eq!(stretch(&from_the_day, "2026-01-01T00:00:00Z"), span("2026-03-01T00:00:00Z", "2026-03-11T00:00:00Z"));
    let until_the_day = freeze("12-20", "02-29 12:00");
    assert_eq!(stretch(&until_the_day, "2027-01-01T00:00:00Z"), span("2026-12-20T00:00:00Z", "2027-03-01T00:00:00Z"));
}

#[test]
fn what_is_no_freeze_is_refused_with_a_sentence() {
    let refused = |from, to| Freeze::parse("x".parse().unwrap(), from, to, Tz::UTC).unwrap_err();
    for (from, to, problem) in [
        ("24.12.2026", "2027-01-01", (FreezeProblem::NotADate, false)),
        ("2026-12-24", "2026-13-01", (FreezeProblem::NotADate, true)),
        ("2026-12-24", "2026-02-30", (FreezeProblem::NotADate, true)),
        ("2026-12-24 25:00", "2026-12-30", (FreezeProblem::NotADate, false)),
        ("2026-12-24", "01-01", (FreezeProblem::HalfYearly, true)),
        ("12-24", "2027-01-01", (FreezeProblem::HalfYearly, true)),
        ("2026-12-24", "2026-12-23", (FreezeProblem::Backwards, true)),
        ("2026-12-24 10:00", "2026-12-24 10:00", (FreezeProblem::Backwards, true)),
        ("12-24 10:00", "12-24 10:00", (FreezeProblem::Backwards, true)),
    ] {
        assert_eq!(refused(from, to), problem, "{from} {to}");
    }
}

/// A slot, as `decide` sees it hour by hour.
fn story(table: &Timetable, served: &str, hours_of: std::ops::Range<u64>) -> Vec<(u64, String)> {
    let start = at(served);
    let mut told: Vec<(u64, String)> = Vec::new();
    for hour in hours_of {
        let word = match table.decide(start, start + hours(hour), Moment::default()) {
            Decision::Wait(None) => "never".to_owned(),
            Decision::Wait(Some(slot)) => format!("waits until {}", slot.due),
            Decision::Start(slot) => format!("starts {}", slot.nominal),
            Decision::PassOver { missed, .. } => format!("passes {}", missed.nominal),
        };
        if told.last().is_none_or(|(_, last)| *last != word) {
            told.push((hour, word));
        }
    }
    told
}

fn told(rows: &[(u64, &str)]) -> Vec<(u64, String)> {
    rows.iter().map(|(hour, word)| (*hour, (*word).to_owned())).collect()
}

#[test]
fn a_slot_in_a_freeze_is_held_until_its_end_or_falls_away() {
    let daily = |window, missed| {
        Timetable::parse(Settings { window, missed, ..cron("0 3 * * *") })
            .unwrap()
            .frozen_on(vec![freeze("2026-06-02", "2026-06-03")])
    };
    // Without a window a slot is open until the next one: the last one of the freeze starts at its end.
    assert_eq!(
        story(&daily(None, Missed::IfOpen), "2026-06-01T03:00:00Z", 0..80),
        told(&[
            (0, "waits until 2026-06-04T00:00:00.000Z"),
            (69, "starts 2026-06-03T03:00:00.000Z"),
            (72, "starts 2026-06-04T03:00:00.000Z"),
        ])
    );
    // Whose window is over by then falls away.
    assert_eq!(
        story(&daily(Some(hours(2)), Missed::IfOpen), "2026-06-01T03:00:00Z", 0..80),
        told(&[
            (0, "waits until 2026-06-04T03:00:00.000Z"),
            (72, "starts 2026-06-04T03:00:00.000Z"),
            (74, "passes 2026-06-04T03:00:00.000Z"),
        ])
    );
    // What is made up for however late it is, is made up for after the freeze.
    assert_eq!(
        story(&daily(Some(hours(2)), Missed::Run), "2026-06-01T03:00:00Z", 0..73),
        told(&[
            (0, "waits until 2026-06-04T00:00:00.000Z"),
            (69, "starts 2026-06-03T03:00:00.000Z"),
            (72, "starts 2026-06-04T03:00:00.000Z"),
        ])
    );
}

#[test]
fn a_slot_that_was_not_begun_before_a_freeze_does_not_begin_in_it() {
    let table = |window| {
        Timetable::parse(Settings { window: Some(hours(window)), ..cron("0 3 * * *") })
            .unwrap()
            .frozen_on(vec![freeze("2026-06-02 05:00", "2026-06-02 10:00")])
    };
    assert_eq!(
        story(&table(12), "2026-06-01T03:00:00Z", 23..38),
        told(&[
            (23, "waits until 2026-06-02T03:00:00.000Z"),
            (24, "starts 2026-06-02T03:00:00.000Z"),
            (26, "waits until 2026-06-02T10:00:00.000Z"),
            (31, "starts 2026-06-02T03:00:00.000Z"),
            (36, "passes 2026-06-02T03:00:00.000Z"),
        ])
    );
    assert_eq!(
        story(&table(4), "2026-06-01T03:00:00Z", 25..28),
        told(&[(25, "starts 2026-06-02T03:00:00.000Z"), (26, "passes 2026-06-02T03:00:00.000Z")])
    );
}

#[test]
fn freezes_that_meet_are_one_and_a_fleet_does_not_begin_in_one_moment_after_them() {
    let freezes = vec![freeze("2026-06-02", "2026-06-03"), freeze("2026-06-04", "2026-06-04 12:00")];
    let slots: std::collections::BTreeSet<Moment> = (0..100)
        .map(|target| {
            let settings = Settings {
                target: format!("t{target}").parse().unwrap(),
                splay: hours(1),
                window: Some(hours(72)),
                ..cron("0 3 * * TUE")
            };
            let table = Timetable::parse(settings).unwrap().frozen_on(freezes.clone());
            let slot = table.slot_after(at("2026-06-01T00:00:00Z")).unwrap();
            assert_eq!(slot.nominal, at("2026-06-02T03:00:00Z"));
            let end = at("2026-06-04T12:00:00Z");
            assert!((end..end + hours(1)).contains(&slot.due), "{}", slot.due);
            slot.due
        })
        .collect();
    assert!(slots.len() > 90, "{}", slots.len());
}

/// By the definition: slot by slot, without a jump over those that fall away.
#[test]
fn the_jumps_over_a_freeze_find_what_a_walk_finds() {
    for (text, window, every) in [
        ("*/7 * * * *", Some(hours(3)), None),
        ("*/30 * * * *", None, None),
        ("0 */5 * * *", Some(hours(2)), None),
        ("", None, Some(hours(9))),
    ] {
        let settings = Settings { window, splay: Duration::from_secs(600), ..cron(text) };
        let settings = if every.is_some() {
            Settings { schedule: None, every, splay: Duration::ZERO, ..settings }
        } else {
            settings
        };
        let plain = Timetable::parse(settings).unwrap();
        let frozen = plain.clone().frozen_on(vec![freeze("2026-06-02", "2026-06-03"), freeze("06-05", "06-05 07:30")]);
        let (from, until) = (at("2026-06-01T00:00:00Z"), at("2026-06-08T00:00:00Z"));
        let offset = plain.slot_after(from).map(|slot| slot.due.since(slot.nominal)).unwrap();
        let fell: Vec<Moment> = frozen
            .frozen_slots(from, until)
            .filter(|(_, held)| held.is_none())
            .map(|(frozen, _)| frozen.from)
            .collect();
        assert!(!fell.is_empty(), "{text}");
        let walk: Vec<Moment> = plain
            .upcoming(from, until)
            .filter(|slot| match frozen.frozen(slot.due) {
                None => true,
                Some(frozen) => slot.closes > frozen.until,
            })
            .map(|slot| slot.nominal)
            .collect();
        let jumped: Vec<Moment> = frozen
            .upcoming(from, until + hours(1))
            .map(|slot| slot.nominal)
            .filter(|&nominal| nominal + offset <= until)
            .collect();
        assert_eq!(jumped, walk, "{text}");
        // And backwards: what is reached at any moment is the newest that a walk finds.
        for minutes in (0..7 * 24 * 60).step_by(37) {
            let now = from + Duration::from_secs(minutes * 60);
            let newest = frozen.upcoming(from, now).last().map(|slot| slot.nominal);
            let before = plain.latest_slot(Moment::default(), from).map(|slot| slot.nominal);
            let found = frozen.latest_slot(from - hours(48), now).map(|slot| slot.nominal);
            assert_eq!(
                found.filter(|&nominal| Some(nominal) != before && nominal + offset > from),
                newest,
                "{text} {now}"
            );
        }
    }
}

#[test]
fn a_freeze_without_an_end_is_no_endless_loop() {
    let table = Timetable::parse(cron("* * * * *")).unwrap().frozen_on(vec![freeze("01-01", "12-31")]);
    assert_eq!(table.slot_after(at("2026-06-01T00:00:00Z")), None);
    assert_eq!(table.decide(Moment::default(), at("2026-06-01T00:00:00Z"), Moment::default()), Decision::Wait(None));
}
