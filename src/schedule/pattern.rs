//! Cron fields, read and stepped by croner in wall-clock time alone. Zones are [`super::calendar`]'s part: croner is only ever shown a
//! clock that never changes, because its own handling of a repeated hour yields times out of order.

use super::problem::ScheduleProblem;
use chrono::{NaiveDate, NaiveDateTime};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

/// The longest schedule that is read, in bytes.
const TEXT_LIMIT: usize = 256;

/// The fields in order, with what may stand in them.
const FIELDS: [(&str, &str); 6] = [
    ("second", "0-59, such as 0, */10 or 0,30"),
    ("minute", "0-59, such as 30, */15 or 0,30"),
    ("hour", "0-23, such as 3, */6 or 1-5"),
    ("day of month", "1-31, such as 1, 1,15, 15W or L"),
    ("month", "1-12 or JAN-DEC, such as 6 or JAN,JUL"),
    ("day of week", "0-7 or SUN-SAT, such as SUN, MON-FRI or FRI#L"),
];

/// Names for the commonest schedules.
const NAMES: [(&str, &str); 7] = [
    ("@hourly", "0 0 * * * *"),
    ("@daily", "0 0 0 * * *"),
    ("@midnight", "0 0 0 * * *"),
    ("@weekly", "0 0 0 * * 0"),
    ("@monthly", "0 0 0 1 * *"),
    ("@yearly", "0 0 0 1 1 *"),
    ("@annually", "0 0 0 1 1 *"),
];

/// Wall-clock times, to the second. When both the day of the month and the day of the week are restricted, either is enough, as in
/// Vixie cron; a `+` before the day of the week asks for both.
#[derive(Clone)]
pub(super) struct Pattern {
    six_fields: String,
    cron: Arc<Cron>,
}

impl Pattern {
    /// Reads five or six fields, or a name.
    pub(super) fn parse(text: &str) -> Result<Self, Vec<ScheduleProblem>> {
        let six_fields = spell_out(text)?;
        let cron = shared(&six_fields).ok_or_else(|| unreadable_fields(text, &six_fields))?;
        let pattern = Self { six_fields, cron };
        let some_day = NaiveDate::default().into();
        if pattern.next_after(some_day).is_none() {
            return Err(vec![ScheduleProblem::NeverFires { text: text.to_owned() }]);
        }
        Ok(pattern)
    }

    /// The six fields, seconds first, in capitals: equal for schedules that are only spelt differently.
    pub(super) fn six_fields(&self) -> &str {
        &self.six_fields
    }

    /// The first matching time later than `wall`, which has no fraction of a second.
    pub(super) fn next_after(&self, wall: NaiveDateTime) -> Option<NaiveDateTime> {
        let found = self.cron.find_next_occurrence(&wall.and_utc(), false);
        found.ok().map(|time| time.naive_utc())
    }

    /// The last matching time not later than `wall`, which has no fraction of a second.
    pub(super) fn latest_until(&self, wall: NaiveDateTime) -> Option<NaiveDateTime> {
        let found = self.cron.find_previous_occurrence(&wall.and_utc(), true);
        found.ok().map(|time| time.naive_utc())
    }
}

impl fmt::Debug for Pattern {
    /// The fields alone: croner's own form runs to pages.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Pattern").field(&self.six_fields).finish()
    }
}

fn spell_out(text: &str) -> Result<String, Vec<ScheduleProblem>> {
    let written = text.to_owned();
    if text.len() > TEXT_LIMIT {
        return Err(vec![ScheduleProblem::TooLong { limit: TEXT_LIMIT }]);
    }
    if text.trim_start().starts_with('@') {
        return NAMES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text.trim()))
            .map(|(_, fields)| (*fields).to_owned())
            .ok_or_else(|| vec![ScheduleProblem::UnknownName { text: written }]);
    }
    let upper = text.to_ascii_uppercase();
    let fields: Vec<&str> = upper.split_whitespace().collect();
    match fields.len() {
        5 => Ok(format!("0 {}", fields.join(" "))),
        6 => Ok(fields.join(" ")),
        count => Err(vec![ScheduleProblem::FieldCount { text: written, count }]),
    }
}

fn read(six_fields: &str) -> Option<Cron> {
    let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Disallowed).build();
    // Croner would take an `@` inside a field for a name, and passes over an empty place in a list.
    let empty_place = six_fields.split([' ', ',']).any(str::is_empty);
    if empty_place || six_fields.contains('@') {
        return None;
    }
    parser.parse(six_fields).ok()
}

/// Croner says what is wrong in its own terms and not where, so each field is tried alone.
fn unreadable_fields(text: &str, six_fields: &str) -> Vec<ScheduleProblem> {
    six_fields
        .split(' ')
        .zip(FIELDS)
        .enumerate()
        .filter(|(place, (value, _))| {
            let mut alone = ["*"; FIELDS.len()];
            alone[*place] = value;
            read(&alone.join(" ")).is_none()
        })
        .map(|(_, (value, (field, allowed)))| ScheduleProblem::Field {
            text: text.to_owned(),
            field,
            value: value.to_owned(),
            allowed,
        })
        .collect()
}

/// Patterns in use, each held once: croner spends more than 5 KiB on one (a byte for each year), and fleets share few schedules.
static IN_USE: LazyLock<Mutex<HashMap<String, Weak<Cron>>>> = LazyLock::new(Mutex::default);

/// When this many are remembered, those no longer used are forgotten.
const SWEEP_AT: usize = 1_024;

fn shared(six_fields: &str) -> Option<Arc<Cron>> {
    let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(cron) = in_use.get(six_fields).and_then(Weak::upgrade) {
        return Some(cron);
    }
    let cron = Arc::new(read(six_fields)?);
    if in_use.len() >= SWEEP_AT && in_use.len().is_power_of_two() {
        in_use.retain(|_, cron| cron.strong_count() > 0);
    }
    in_use.insert(six_fields.to_owned(), Arc::downgrade(&cron));
    Some(cron)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_schedules_share_one_pattern() {
        let pattern = |text| Pattern::parse(text).expect("a good schedule");
        let (a, b) = (pattern("17 4 * * sun"), pattern(" 0  17 4 * * SUN"));
        assert_eq!(a.six_fields(), b.six_fields());
        assert!(Arc::ptr_eq(&a.cron, &b.cron));
        assert_eq!(format!("{a:?}"), "Pattern(\"0 17 4 * * SUN\")");
    }

    #[test]
    fn patterns_no_longer_used_are_forgotten_and_no_others() {
        let pattern = |text: &str| Pattern::parse(text).expect("a good schedule");
        let held = pattern("41 5 * * TUE");
        for number in 0..SWEEP_AT + 100 {
            pattern(&format!("{} {} 6 * * *", number % 60, number / 60));
        }
        assert!(Arc::ptr_eq(&held.cron, &pattern("41 5 * * TUE").cron));
        assert!(IN_USE.lock().unwrap_or_else(PoisonError::into_inner).len() < SWEEP_AT);
    }

    #[test]
    fn a_schedule_may_be_as_long_as_the_limit() {
        let padded = |length: usize| format!("{:length$}", "30 3 * * SUN");
        assert!(Pattern::parse(&padded(TEXT_LIMIT)).is_ok());
        let refused = Pattern::parse(&padded(TEXT_LIMIT + 1)).expect_err("one more");
        assert_eq!(refused, [ScheduleProblem::TooLong { limit: TEXT_LIMIT }]);
    }
}
