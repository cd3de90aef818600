//! Days of a zone, one after the other. Pure.

use crate::moment::Moment;
use chrono::{NaiveDate, TimeZone};
use chrono_tz::Tz;

/// How many days are shown before today, and after it.
pub const EACH_WAY: usize = 30;

/// Today and the days around it, each as long as its zone has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Days {
    /// The zone.
    pub zone: Tz,
    dates: Vec<NaiveDate>,
    /// When each begins, and when the last one ends.
    starts: Vec<Moment>,
}

impl Days {
    /// [`EACH_WAY`] before the day of `now`, that day, and [`EACH_WAY`] after it.
    pub fn around(now: Moment, zone: Tz) -> Self {
        let today = now.utc().with_timezone(&zone).date_naive();
        let first = today - chrono::Days::new(EACH_WAY as u64);
        let dates: Vec<NaiveDate> = first.iter_days().take(2 * EACH_WAY + 2).collect();
        let starts = dates.iter().map(|&date| begins(date, zone)).collect();
        Self { zone, dates: dates[..=2 * EACH_WAY].to_vec(), starts }
    }

    /// Each day's date; today's stands at [`EACH_WAY`].
    pub fn dates(&self) -> &[NaiveDate] {
        &self.dates
    }

    /// When the first one begins.
    pub fn begin(&self) -> Moment {
        self.starts[0]
    }

    /// When the last one ends.
    pub fn end(&self) -> Moment {
        self.starts[self.dates.len()]
    }

    /// When this one begins and ends.
    pub fn bounds(&self, day: usize) -> (Moment, Moment) {
        (self.starts[day], self.starts[day + 1])
    }

    /// Which one this moment lies in.
    pub fn of(&self, at: Moment) -> Option<usize> {
        let after = self.starts.partition_point(|&start| start <= at);
        after.checked_sub(1).filter(|&day| day < self.dates.len())
    }

    /// How far into its day a moment is, in thousandths of it.
    pub fn share(&self, day: usize, at: Moment) -> u64 {
        let (start, end) = self.bounds(day);
        let share = at.since(start).as_millis() * 1_000 / end.since(start).as_millis().max(1);
        u64::try_from(share.min(1_000)).unwrap_or(1_000)
    }
}

/// The first instant of a date: where midnight is skipped, the hour after it. A date that a zone skipped whole is empty: the next one begins then.
fn begins(date: NaiveDate, zone: Tz) -> Moment {
    let hours = |date: NaiveDate| (0..24).filter_map(move |hour| date.and_hms_opt(hour, 0, 0));
    let shown = date.iter_days().flat_map(hours).find_map(|time| zone.from_local_datetime(&time).earliest());
    shown.map_or(Moment::NEVER, |first| first.to_utc().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn days_are_as_long_as_their_zone_has_them() {
        // Noon on the day before the clocks of Berlin go forward.
        let now: Moment = "2026-03-28T11:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap().into();
        let days = Days::around(now, Tz::Europe__Berlin);
        assert_eq!(days.dates().len(), 61);
        assert_eq!(days.dates()[EACH_WAY].to_string(), "2026-03-28");
        let hours = |day: usize| days.bounds(day).1.since(days.bounds(day).0).as_secs() / 3_600;
        assert_eq!((hours(EACH_WAY), hours(EACH_WAY + 1), hours(EACH_WAY + 2)), (24, 23, 24));
        assert_eq!(days.of(now), Some(EACH_WAY));
        assert_eq!(days.share(EACH_WAY, now), 500);
        assert_eq!(days.of(days.begin()), Some(0));
        assert_eq!(days.of(days.begin() - Duration::from_millis(1)), None);
        assert_eq!(days.of(days.end()), None);
        assert_eq!(days.of(days.end() - Duration::from_millis(1)), Some(60));
        // Midnight is skipped in Cairo, and a whole day was in Apia.
        for (at, zone) in [("2026-04-23T12:00:00Z", Tz::Africa__Cairo), ("2011-12-29T12:00:00Z", Tz::Pacific__Apia)] {
            let now: Moment = at.parse::<chrono::DateTime<chrono::Utc>>().unwrap().into();
            let days = Days::around(now, zone);
            assert!(days.starts.is_sorted(), "{zone}");
            assert_eq!(days.of(now), Some(EACH_WAY), "{zone}");
        }
    }
}
