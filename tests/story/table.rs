//! A table of transcripts: what happened, and what is decided then.

use super::show;
use keywheel::moment::{Moment, Slot};
use keywheel::rotation::event::Event;
use keywheel::rotation::plan::Plan;
use keywheel::rotation::{fold, next};

/// A transcript, the plan, the second at which it is asked, and the decision (`~` stands for a jittered time).
pub struct Row(pub &'static str, pub Plan, pub Vec<Event>, pub i64, pub &'static str);

/// Every row that is decided otherwise is named.
pub fn check(rows: Vec<Row>) {
    let mut wrong = Vec::new();
    for Row(name, mut plan, events, second, expected) in rows {
        let in_window = |slot: Slot| (slot.due..=slot.closes).contains(&Moment::from_seconds(second));
        plan.may_start |= plan.slot.is_some_and(in_window);
        let decided = match fold(&events) {
            Ok(state) => show(&next(&state, &plan, Moment::from_seconds(second)), second),
            Err(illegal) => illegal.to_string(),
        };
        let jittered =
            expected.strip_prefix("wait ~ ").is_some_and(|why| decided.starts_with("wait ") && decided.ends_with(why));
        if decided != expected && !jittered {
            wrong.push(format!("{name}: {decided:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
