//! The times of a stretch, worked out once for all timetables that follow the same calendar: a fleet of ten thousand has a few of them.

use super::{Calendar, Freeze, Frozen, Rhythm, Timetable};
use crate::moment::{Moment, Slot};
use std::collections::HashMap;
use std::time::Duration;

/// A stretch of time, and what is known of it.
#[derive(Debug)]
pub struct Almanac {
    from: Moment,
    until: Moment,
    limit: usize,
    times: HashMap<Calendar, Times>,
    /// The freezes of the timetable that asked last, and those stretches of them that matter: most of a fleet has the same.
    frozen: (Vec<Freeze>, Vec<Frozen>),
}

/// The nominal times of one calendar, in order: those later than `since`, up to the first after the stretch.
#[derive(Debug)]
struct Times {
    since: Moment,
    all: Vec<Moment>,
}

impl Almanac {
    /// Of what falls due after `from` and not after `until`, at most `limit` slots of each timetable.
    pub fn of(from: Moment, until: Moment, limit: usize) -> Self {
        Self { from, until, limit, times: HashMap::new(), frozen: (Vec::new(), Vec::new()) }
    }

    /// How many slots of a timetable there are at most.
    pub fn limit(&self) -> usize {
        self.limit
    }

    fn times(&mut self, calendar: &Calendar, since: Moment) -> &[Moment] {
        if self.times.get(calendar).is_none_or(|known| known.since > since) {
            let after = |at: Moment| calendar.next_after(at).filter(|&next| next > at && next < Moment::NEVER);
            let (mut all, mut coming) = (Vec::new(), 0);
            let mut next = after(since);
            // One more than can be asked for: it ends the window of the last. What lies before the stretch has its limit, too.
            while let Some(at) = next.filter(|_| coming <= self.limit && all.len() <= 2 * self.limit) {
                all.push(at);
                coming += usize::from(at > self.from);
                next = after(at).filter(|_| at <= self.until);
            }
            self.times.insert(calendar.clone(), Times { since, all });
        }
        self.times.get(calendar).map_or(&[], |known| &known.all)
    }
}

impl Almanac {
    /// Whether this moment may be one of a freeze of that timetable.
    fn is_frozen(&mut self, timetable: &Timetable, at: Moment) -> bool {
        if self.frozen.0 != timetable.freezes {
            self.frozen = (timetable.freezes.clone(), timetable.freezes_ahead(self.from, self.until));
        }
        self.frozen.1.iter().any(|frozen| frozen.from <= at && at < frozen.until)
    }
}

impl Timetable {
    /// The same as [`Timetable::upcoming`] for the almanac's stretch, up to its limit.
    pub fn upcoming_by(&self, almanac: &mut Almanac) -> Vec<Slot> {
        let (from, until, limit) = (almanac.from, almanac.until, almanac.limit);
        match &self.rhythm {
            Rhythm::ByHand | Rhythm::Every { .. } => self.upcoming(from, until).take(limit).collect(),
            Rhythm::Cron(calendar) => {
                // Every target of a schedule looks back as far as the most spread one, so that the times are worked out once.
                let times = almanac.times(calendar, from - self.splay.max(Duration::from_millis(1)));
                let first = times.partition_point(|&nominal| nominal <= from - self.offset);
                let closing = |nominal: Moment, next: Option<&Moment>| match self.window {
                    Some(window) => nominal + window,
                    None => next.map_or(Moment::NEVER, |&next| next + self.offset),
                };
                let all: Vec<Slot> = (first..times.len())
                    .map(|at| {
                        let nominal = times[at];
                        Slot { nominal, due: nominal + self.offset, closes: closing(nominal, times.get(at + 1)) }
                    })
                    .take_while(|slot| slot.due <= until)
                    .take(limit)
                    .collect();
                let held = |slot: Slot| match almanac.is_frozen(self, slot.due) {
                    true => self.frozen(slot.due).map_or(Some(slot), |frozen| self.held(slot, frozen)),
                    false => Some(slot),
                };
                all.into_iter().filter_map(held).filter(|slot| slot.due <= until).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Missed, Settings};
    use chrono_tz::Tz;

    const DAY: Duration = Duration::from_secs(86_400);

    fn timetable(name: &str, schedule: Option<&str>, (window, splay): (u64, u64)) -> Timetable {
        let span = Duration::from_secs;
        Timetable::parse(Settings {
            target: name.parse().unwrap(),
            schedule: schedule.map(str::to_owned),
            every: schedule.is_none().then_some(DAY),
            zone: Tz::Europe__Berlin,
            window: (window > 0).then(|| span(window)),
            splay: span(splay),
            missed: Missed::IfOpen,
            max_age: None,
        })
        .unwrap()
    }

    #[test]
    fn it_says_what_each_timetable_says_for_itself() {
        // Over both changes of the clock.
        let from = Moment::from_seconds(1_774_000_123);
        for days in [1, 40, 250] {
            let mut almanac = Almanac::of(from, from + DAY * days, 1_000_000);
            for schedule in [Some("30 2 * * *"), Some("*/20 * * * *"), Some("0 0 29 2 *"), Some("0 12 1 * *"), None] {
                for lengths in [(0, 0), (7_200, 0), (7_200, 1_200), (0, 90_000)] {
                    for number in 0..20 {
                        let timetable = timetable(&format!("t{number}"), schedule, lengths);
                        let alone: Vec<Slot> = timetable.upcoming(from, from + DAY * days).collect();
                        assert_eq!(timetable.upcoming_by(&mut almanac), alone, "{schedule:?} {lengths:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_a_freeze_holds_or_takes_away_is_the_same() {
        let freeze = |name: &str, from: &str, to: &str| {
            Freeze::parse(name.parse().unwrap(), from, to, Tz::Europe__Berlin).unwrap()
        };
        let freezes = vec![freeze("sale", "03-24", "04-01"), freeze("move", "2026-04-03 01:00", "2026-04-03 02:45")];
        let from = Moment::from_seconds(1_774_000_123);
        let mut almanac = Almanac::of(from, from + DAY * 40, 1_000_000);
        let (mut held, mut missing) = (0, 0);
        for schedule in ["30 2 * * *", "0 */6 * * *", "0 0 1 4 *"] {
            for lengths in [(0, 0), (7_200, 1_200), (400_000, 1_200)] {
                for number in 0..10 {
                    let free = timetable(&format!("t{number}"), Some(schedule), lengths);
                    let frozen = free.clone().frozen_on(freezes.clone());
                    let alone: Vec<Slot> = frozen.upcoming(from, from + DAY * 40).collect();
                    let by_almanac = frozen.upcoming_by(&mut almanac);
                    assert_eq!(by_almanac, alone, "{schedule} {lengths:?}");
                    let without = free.upcoming_by(&mut almanac);
                    held += by_almanac.iter().filter(|slot| !without.contains(slot)).count();
                    missing += without.len() - by_almanac.len();
                }
            }
        }
        assert!(held > 0 && missing > 0, "{held} {missing}");
    }

    #[test]
    fn no_more_than_the_limit_is_worked_out() {
        let from = Moment::from_seconds(1_774_000_123);
        let mut almanac = Almanac::of(from, from + DAY * 30, 100);
        for schedule in [Some("* * * * * *"), None] {
            let timetable = timetable("orders", schedule, (0, 0));
            let alone: Vec<Slot> = timetable.upcoming(from, from + DAY * 30).take(100).collect();
            assert_eq!(timetable.upcoming_by(&mut almanac), alone);
        }
        assert!(almanac.times.values().all(|times| times.all.len() <= 102));
    }
}
