//! A cron pattern on one zone's wall clock, as instants.
//!
//! The rule: **each wall-clock time happens once, at the first instant at which the zone's clock shows it or has jumped past it.** So
//! - times inside a gap all fall on the instant right after it, and are one run, also together with a run planned for that very instant;
//! - times in a fold (the repeated hour) happen in the first pass and not again in the second, whether the pattern names one time or a
//!   hundred: `*/30` in a repeated hour runs twice, not four times, and pauses until the clock shows a time it has not shown before.
//!
//! Instants are therefore never out of order and never doubled.

use super::pattern::Pattern;
use super::problem::ScheduleProblem;
use crate::moment::Moment;
use chrono::{DateTime, Duration, NaiveDateTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;
use std::hash::{Hash, Hasher};

/// A checked cron schedule in its zone. Two are equal when they fire at the same times by construction, however they are spelt.
#[derive(Debug, Clone)]
pub struct Calendar {
    text: String,
    pattern: Pattern,
    zone: Tz,
}

impl Calendar {
    /// Reads five or six cron fields or a name such as `@daily`.
    ///
    /// # Errors
    /// Every field that cannot be read, or that no date fits.
    pub fn parse(text: &str, zone: Tz) -> Result<Self, Vec<ScheduleProblem>> {
        Ok(Self { pattern: Pattern::parse(text)?, text: text.trim().to_owned(), zone })
    }

    /// The first instant later than `after`; `None` beyond the end of the calendar.
    pub fn next_after(&self, after: Moment) -> Option<Moment> {
        let wall = self.pattern.next_after(furthest_reading(whole_second(after), self.zone))?;
        Some(first_shown(wall, self.zone).into())
    }

    /// The last instant not later than `until`.
    pub fn latest_until(&self, until: Moment) -> Option<Moment> {
        let wall = self.pattern.latest_until(furthest_reading(whole_second(until), self.zone))?;
        Some(first_shown(wall, self.zone).into())
    }

    /// The schedule as its owner wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The schedule in six fields, seconds first, in capitals.
    pub fn six_fields(&self) -> &str {
        self.pattern.six_fields()
    }

    /// The zone whose wall clock is meant.
    pub fn zone(&self) -> Tz {
        self.zone
    }
}

impl PartialEq for Calendar {
    fn eq(&self, other: &Self) -> bool {
        self.six_fields() == other.six_fields() && self.zone == other.zone
    }
}

impl Eq for Calendar {}

impl Hash for Calendar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.six_fields().hash(state);
        self.zone.hash(state);
    }
}

fn whole_second(moment: Moment) -> DateTime<Utc> {
    Moment::from_seconds(moment.seconds()).utc()
}

/// The first instant at which the zone's clock shows `wall` or has jumped past it.
pub(super) fn first_shown(wall: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    match zone.from_local_datetime(&wall).earliest() {
        Some(shown) => shown.to_utc(),
        // In a gap. No zone is a whole day away from UTC, so the clock is behind `wall` a day earlier and past it a day later.
        None => first_instant(wall.and_utc() - DAY, wall.and_utc() + DAY, |at| reading(at, zone) >= wall),
    }
}

/// The latest wall-clock time that the zone's clock has shown up to `at`: what it shows, or, in the second pass of a fold, the last
/// second of the first pass.
fn furthest_reading(at: DateTime<Utc>, zone: Tz) -> NaiveDateTime {
    let shown = reading(at, zone);
    match zone.from_local_datetime(&shown).earliest().map(|first| first.to_utc()) {
        Some(first) if first < at => {
            let offset = |at: DateTime<Utc>| zone.offset_from_utc_datetime(&at.naive_utc()).fix();
            let turned_back = first_instant(first, at, |between| offset(between) == offset(at));
            reading(turned_back - SECOND, zone)
        }
        Some(_) | None => shown,
    }
}

fn reading(at: DateTime<Utc>, zone: Tz) -> NaiveDateTime {
    at.with_timezone(&zone).naive_local()
}

const DAY: Duration = Duration::days(1);
const SECOND: Duration = Duration::seconds(1);

/// The first whole second after `before` at which `reached` holds, by halving; it does not hold at `before` and holds at `by` and from
/// the sought instant on.
fn first_instant(
    mut before: DateTime<Utc>,
    mut by: DateTime<Utc>,
    reached: impl Fn(DateTime<Utc>) -> bool,
) -> DateTime<Utc> {
    while by - before > SECOND {
        let middle = before + Duration::seconds((by - before).num_seconds() / 2);
        if reached(middle) {
            by = middle;
        } else {
            before = middle;
        }
    }
    by
}
