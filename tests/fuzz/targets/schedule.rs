//! Schedules: a line each for the cron fields, the zone, a moment in seconds, and `every`, `window` and `splay` as people write them.

use keywheel::moment::{Moment, parse_span, show_span};
use keywheel::schedule::{Calendar, Decision, Missed, Settings, Timetable};
use std::time::Duration;

/// The instants of a schedule are later than what they are asked after, each later than the one before it, and the same in both directions.
pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (fields, zone, moment) = (line(), line(), line());
    let zone = zone.trim().parse().unwrap_or(chrono_tz::Tz::Asia__Shanghai);
    // What no calendar can express is no time to ask about.
    let after = Moment::from_seconds(moment.trim().parse().unwrap_or(1_735_689_600)).utc().into();
    let mut span = || parse_span(line()).ok();
    let (every, window, splay) = (span(), span(), span());
    if let Some(every) = every {
        // What is shown is cut to two units; it is never more.
        assert!(parse_span(&show_span(every)).is_ok_and(|shown| shown <= every), "{every:?}");
    }
    if let Ok(calendar) = Calendar::parse(fields, zone) {
        steps(&calendar, after);
    }
    for missed in [Missed::IfOpen, Missed::Run, Missed::Skip] {
        let schedule = (!fields.trim().is_empty()).then(|| fields.to_owned());
        let every = every.filter(|_| schedule.is_none());
        let target = "orders-cache".parse().unwrap();
        let splay = splay.unwrap_or_default();
        let settings = Settings { target, schedule, every, zone, window, splay, missed, max_age: every };
        if let Ok(timetable) = Timetable::parse(settings) {
            slots(&timetable, after);
        }
    }
}

fn steps(calendar: &Calendar, after: Moment) {
    let same = Calendar::parse(calendar.six_fields(), calendar.zone()).expect("its own six fields");
    assert_eq!(&same, calendar);
    let mut last = after;
    for _ in 0..4 {
        let Some(next) = calendar.next_after(last) else { break };
        assert!(next > last, "{next} comes after {last} in {:?}", calendar.text());
        assert_eq!(calendar.latest_until(next), Some(next), "{:?} forgets {next}", calendar.text());
        assert_eq!(same.next_after(last), Some(next));
        if let Some(before) = calendar.latest_until(next - Duration::from_millis(1)) {
            assert!(before <= last, "{before} lies between {last} and {next} in {:?}", calendar.text());
        }
        last = next;
    }
}

fn slots(timetable: &Timetable, after: Moment) {
    assert!(!timetable.describe().is_empty());
    let mut last = after;
    for _ in 0..3 {
        let Some(slot) = timetable.slot_after(last) else { break };
        assert!(slot.nominal > last && slot.nominal <= slot.due && slot.due <= slot.closes, "{slot:?} after {last}");
        if let Some(latest) = timetable.latest_slot(last, slot.due) {
            assert!(latest.nominal >= slot.nominal && latest.due <= slot.due, "{latest:?} and {slot:?}");
        }
        match timetable.decide(last, slot.due, after) {
            Decision::Wait(next) => assert!(next.is_none_or(|next| next.due >= slot.due), "{next:?} and {slot:?}"),
            Decision::Start(found) => assert!(found.due <= slot.due, "{found:?} and {slot:?}"),
            Decision::PassOver { missed, .. } => assert!(missed.due <= slot.due, "{missed:?} and {slot:?}"),
        }
        last = slot.nominal;
    }
}
