//! The last and the next thirty days of one target: when its rotations ended, when they are planned, and when they may start. Pure.

use super::days::Days;
use crate::driver::outlook::Counting;
use crate::ledger::Row;
use crate::ledger::sqlite::ended_well;
use crate::moment::{Moment, Slot};
use crate::schedule::{Almanac, Frozen, Timetable};
use chrono_tz::Tz;

/// The most slots and ends that are told of one target.
pub const MARKS: usize = 500;

/// The most parts of windows that are drawn.
const WINDOWS: usize = 200;

/// One target's days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetDays {
    /// Which days.
    pub days: Days,
    /// When rotations ended, and whether they settled.
    pub ended: Vec<(Moment, bool)>,
    /// What is planned.
    pub slots: Vec<Slot>,
    /// When each of those may start, by day.
    pub windows: Vec<Window>,
    /// When nothing begins by itself, by day.
    pub frozen: Vec<Window>,
    /// The same, whole.
    pub freezes: Vec<Frozen>,
    /// Whether more is planned than is told.
    pub cut: bool,
}

/// The part of a window that lies in one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Which day.
    pub day: usize,
    /// From when.
    pub from: Moment,
    /// Until when.
    pub until: Moment,
}

impl TargetDays {
    /// Of a target with this record.
    pub fn of(rows: &[Row], timetable: &Timetable, counting: Counting, zone: Tz, now: Moment) -> Self {
        let days = Days::around(now, zone);
        let ended = rows.iter().rev().take_while(|row| row.event.at >= days.begin()).filter_map(ended);
        let upcoming = timetable.upcoming_by(&mut Almanac::of(now, days.end(), MARKS));
        let cut = upcoming.len() >= MARKS;
        let slots = counting.slots(upcoming, days.end());
        let windows =
            slots.iter().flat_map(|slot| parts(&days, slot.due.max(now), slot.closes)).take(WINDOWS).collect();
        let freezes = timetable.freezes_ahead(now, days.end());
        let stretches = freezes.iter().flat_map(|frozen| parts(&days, frozen.from.max(days.begin()), frozen.until));
        let frozen = stretches.take(WINDOWS).collect();
        Self { ended: ended.take(MARKS).collect(), windows, frozen, freezes, slots, cut, days }
    }
}

fn ended(row: &Row) -> Option<(Moment, bool)> {
    let well = ended_well(row.event.what.label()).filter(|_| row.rotation.is_some())?;
    Some((row.event.at, well))
}

fn parts(days: &Days, from: Moment, until: Moment) -> Vec<Window> {
    let until = until.min(days.end());
    let Some(first) = days.of(from) else { return Vec::new() };
    let part = |day: usize| {
        let (begins, ends) = days.bounds(day);
        Window { day, from: from.max(begins), until: until.min(ends) }
    };
    (first..days.dates().len()).map(part).take_while(|window| window.from < window.until).collect()
}
