//! The last and the next thirty days of the fleet, and what the coming hours ask of each quota. Pure: what is planned is what `plan` says.

use super::days::Days;
use super::past::Past;
use crate::driver::outlook::{Counting, Load};
use crate::moment::Moment;
use crate::name::ProviderName;
use crate::schedule::{Almanac, Timetable};
use chrono_tz::Tz;
use std::collections::BTreeMap;
use std::time::Duration;

/// The most slots of one target that are counted: one each quarter of an hour has 2 976 in 31 days.
pub const SLOTS: usize = 3_000;

/// What is due within this is due at the same time.
pub const MINUTE: Duration = Duration::from_secs(60);

/// How far ahead the quotas are looked at, in hours.
pub const HOURS: usize = 24;

/// What there is to expect.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlook {
    /// As of when.
    pub at: Moment,
    /// Which days.
    pub days: Days,
    /// What each has.
    pub each: Vec<Day>,
    /// What each provider is asked for.
    pub providers: Vec<Ahead>,
    /// Whether there are targets with more than [`SLOTS`], of which the later ones are missing.
    pub cut: bool,
}

/// One day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Day {
    /// Rotations that settled.
    pub settled: usize,
    /// Those that ended otherwise.
    pub failed: usize,
    /// Those that are planned.
    pub planned: usize,
    /// When the first of them may start, and until when the last one may.
    pub window: Option<(Moment, Moment)>,
    /// The minute that is worst, where more is due in one than can be started.
    pub crowd: Option<Crowd>,
}

/// More is due in one minute than can be started in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowd {
    /// Which minute.
    pub at: Moment,
    /// How much is due in it.
    pub due: usize,
    /// How much can be started.
    pub admitted: usize,
    /// What limits it: this provider's quota, by its place among the providers, or else the number of turns at once.
    pub provider: Option<usize>,
}

/// What one provider is asked for in the coming [`HOURS`].
#[derive(Debug, Clone, PartialEq)]
pub struct Ahead {
    /// Which provider.
    pub provider: ProviderName,
    /// What the plan asks of its quota; `None` where it has none.
    pub load: Option<Load>,
    /// Rotations that are due in each hour.
    pub hours: [usize; HOURS],
    /// The fullest minute and what is due in it.
    pub fullest: Option<(Moment, usize)>,
}

/// One target to plan for.
#[derive(Debug, Clone, Copy)]
pub struct Timed<'a> {
    /// When it is due.
    pub timetable: &'a Timetable,
    /// What its slots count from.
    pub counting: Counting,
    /// Its provider, by its place among them.
    pub provider: Option<usize>,
}

/// What the plan is measured by.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Each provider, and how many requests per second and action it allows, if it limits that.
    pub quotas: Vec<(ProviderName, Option<f64>)>,
    /// How many targets have a turn at the same time.
    pub turns_at_once: usize,
}

impl Limits {
    /// How many rotations each provider lets start in a [`MINUTE`].
    fn per_minute(&self) -> impl Iterator<Item = Option<usize>> + '_ {
        self.quotas.iter().map(|(_, quota)| quota.map(|quota| (quota * MINUTE.as_secs_f64()).max(1.0) as usize))
    }
}

/// What is due of one provider.
struct Dues {
    minutes: Vec<u32>,
    soon: Vec<Moment>,
}

impl Outlook {
    /// Of these targets, on days of this zone.
    pub fn of<'a>(
        targets: impl IntoIterator<Item = Timed<'a>>,
        past: &Past,
        limits: &Limits,
        (now, zone): (Moment, Tz),
    ) -> Self {
        let days = Days::around(now, zone);
        let mut each = vec![Day::default(); days.dates().len()];
        for (at, settled, failed) in past.counts() {
            if let Some(day) = days.of(at) {
                each[day].settled += settled;
                each[day].failed += failed;
            }
        }
        let until = days.end();
        let base = whole_minute(now);
        let length = minute(until, base) + 1;
        let nothing = || Dues { minutes: vec![0; length], soon: Vec::new() };
        let mut dues: Vec<Dues> = limits.quotas.iter().map(|_| nothing()).collect();
        let mut almanac = Almanac::of(now, until, SLOTS);
        let soon = now + Duration::from_secs(3_600) * HOURS as u32;
        let mut cut = false;
        for target in targets {
            let upcoming = target.timetable.upcoming_by(&mut almanac);
            cut |= upcoming.len() >= SLOTS;
            let mut provider = target.provider.and_then(|place| dues.get_mut(place));
            for slot in target.counting.slots(upcoming, until) {
                // What is due already is due now.
                let due = slot.due.max(now);
                let Some(day) = days.of(due) else { continue };
                let day = &mut each[day];
                day.planned += 1;
                let (opens, closes) = day.window.unwrap_or((due, slot.closes));
                day.window = Some((opens.min(due), closes.max(slot.closes)));
                if let Some(dues) = &mut provider {
                    dues.minutes[minute(due, base)] += 1;
                    dues.soon.extend(Some(due).filter(|&due| due < soon));
                }
            }
        }
        find_crowds(&days, &mut each, &dues, limits, base);
        let ahead = |((provider, quota), mut dues): (&(ProviderName, Option<f64>), Dues)| {
            dues.soon.sort_unstable();
            ahead(provider, &dues.soon, *quota, base)
        };
        let providers = limits.quotas.iter().zip(dues).map(ahead).collect();
        Self { at: now, days, each, providers, cut }
    }
}

/// Minutes are those of a clock.
fn whole_minute(now: Moment) -> Moment {
    Moment::from_seconds(now.seconds().div_euclid(60) * 60)
}

fn minute(due: Moment, base: Moment) -> usize {
    usize::try_from(due.since(base).as_secs() / MINUTE.as_secs()).unwrap_or_default()
}

fn find_crowds(days: &Days, each: &mut [Day], dues: &[Dues], limits: &Limits, base: Moment) {
    let length = dues.first().map_or(0, |dues| dues.minutes.len());
    let admitted: Vec<Option<usize>> = limits.per_minute().collect();
    for minute in 0..length {
        let at = base + MINUTE * u32::try_from(minute).unwrap_or(u32::MAX);
        let due = |dues: &Dues| dues.minutes[minute] as usize;
        let all = dues.iter().map(due).sum::<usize>();
        if all == 0 {
            continue;
        }
        let Some(day) = days.of(at) else { continue };
        let by_turns = Crowd { at, due: all, admitted: limits.turns_at_once.max(1), provider: None };
        let by_quota = dues.iter().zip(&admitted).enumerate().filter_map(|(place, (dues, admitted))| {
            Some(Crowd { at, due: due(dues), admitted: (*admitted)?, provider: Some(place) })
        });
        let worse = |crowd: &Crowd| crowd.due * 1_000 / crowd.admitted;
        let crowds = by_quota.chain([by_turns]).filter(|crowd| crowd.due > crowd.admitted);
        let before = each[day].crowd;
        each[day].crowd = before.into_iter().chain(crowds).reduce(|one, other| {
            // The first of those that are as bad.
            if worse(&other) > worse(&one) { other } else { one }
        });
    }
}

/// `soon` is sorted.
fn ahead(provider: &ProviderName, soon: &[Moment], quota: Option<f64>, base: Moment) -> Ahead {
    let mut hours = [0; HOURS];
    let mut minutes: BTreeMap<usize, usize> = BTreeMap::new();
    for &due in soon {
        let minute = minute(due, base);
        if let Some(hour) = hours.get_mut(minute / 60) {
            *hour += 1;
        }
        *minutes.entry(minute).or_default() += 1;
    }
    let fullest = minutes.into_iter().rev().max_by_key(|&(_, due)| due);
    Ahead {
        provider: provider.clone(),
        load: quota.map(|quota| Load::of(soon, quota)),
        hours,
        fullest: fullest.map(|(minute, due)| (base + MINUTE * u32::try_from(minute).unwrap_or(u32::MAX), due)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::days::EACH_WAY;
    use crate::schedule::{Missed, Settings};

    const DAY: Duration = Duration::from_secs(86_400);
    const HOUR: Duration = Duration::from_secs(3_600);

    /// In UTC.
    const NOON: Moment = Moment::from_seconds(1_764_072_000);
    /// Some seconds later: what is due is told by the minutes of a clock all the same.
    const NOW: Moment = Moment::from_seconds(1_764_072_025);

    fn timetable(name: &str, schedule: &str, window: Duration) -> Timetable {
        Timetable::parse(Settings {
            target: name.parse().unwrap(),
            schedule: Some(schedule.to_owned()),
            every: None,
            zone: Tz::UTC,
            window: Some(window),
            splay: Duration::ZERO,
            missed: Missed::IfOpen,
            max_age: None,
        })
        .unwrap()
    }

    fn outlook(timetables: &[(Timetable, usize)], quotas: [Option<f64>; 2], turns_at_once: usize) -> Outlook {
        let names = ["redis", "shop"].map(|name| name.parse().unwrap());
        let limits = Limits { quotas: names.into_iter().zip(quotas).collect(), turns_at_once };
        let counting = Counting { after: NOW, slot: None, paused_until: None };
        let timed = |(timetable, provider): &'_ (Timetable, usize)| (timetable.clone(), *provider);
        let all: Vec<(Timetable, usize)> = timetables.iter().map(timed).collect();
        let targets = all.iter().map(|(timetable, place)| Timed { timetable, counting, provider: Some(*place) });
        let mut past = Past::default();
        for (ago, well) in [(1, true), (25, true), (25, false), (24 * 30, true), (24 * 40, true)] {
            past.add(NOW - HOUR * ago, well);
        }
        Outlook::of(targets, &past, &limits, (NOW, Tz::UTC))
    }

    #[test]
    fn each_day_has_what_ended_and_what_is_planned_and_when_that_may_start() {
        let daily = timetable("daily", "0 3 * * *", HOUR * 2);
        let late = timetable("late", "30 23 * * *", HOUR * 3);
        let outlook = outlook(&[(daily, 1), (late, 1)], [None, Some(20.0)], 256);
        let day = |place: usize| outlook.each[place];
        assert_eq!((day(EACH_WAY).settled, day(EACH_WAY).failed, day(EACH_WAY).planned), (1, 0, 1));
        assert_eq!((day(EACH_WAY - 1).settled, day(EACH_WAY - 1).failed, day(EACH_WAY - 1).planned), (1, 1, 0));
        assert_eq!(day(0).settled, 1);
        assert_eq!(outlook.each.iter().map(|day| day.settled).sum::<usize>(), 3, "what is older is not shown");
        let midnight = NOON + HOUR * 12;
        assert_eq!(day(EACH_WAY).window, Some((midnight - HOUR / 2, midnight + HOUR * 5 / 2)));
        assert_eq!(day(EACH_WAY + 1).planned, 2);
        assert_eq!(day(EACH_WAY + 1).window, Some((midnight + HOUR * 3, midnight + DAY + HOUR * 5 / 2)));
        assert_eq!(outlook.each.iter().map(|day| day.planned).sum::<usize>(), 61);
        assert!(outlook.each.iter().all(|day| day.crowd.is_none()) && !outlook.cut);
    }

    #[test]
    fn a_minute_with_more_than_can_start_is_a_crowd_and_the_worst_of_a_day_is_told() {
        let mut all = Vec::new();
        for number in 0..10 {
            all.push((timetable(&format!("a{number}"), "0 3 * * *", HOUR), 1));
            all.push((timetable(&format!("b{number}"), "0 15 * * MON", HOUR), 0));
        }
        let crowds = |quotas: [Option<f64>; 2], turns: usize| -> Vec<(usize, Crowd)> {
            let each = outlook(&all, quotas, turns).each;
            each.iter().enumerate().filter_map(|(place, day)| Some((place, day.crowd?))).collect()
        };
        assert_eq!(crowds([None, Some(10.0 / 60.0)], 10), [], "ten are due and ten are admitted");
        let by_quota = crowds([None, Some(0.05)], 10);
        assert_eq!(by_quota.len(), EACH_WAY);
        let three = NOON + HOUR * 15;
        assert_eq!(by_quota[0], (EACH_WAY + 1, Crowd { at: three, due: 10, admitted: 3, provider: Some(1) }));
        let by_turns = crowds([None, Some(0.05)], 2);
        assert_eq!(by_turns[0], (EACH_WAY + 1, Crowd { at: three, due: 10, admitted: 2, provider: None }));
        let mondays = crowds([Some(0.05), None], 10);
        assert!((4..=5).contains(&mondays.len()) && mondays.iter().all(|(_, crowd)| crowd.provider == Some(0)));
    }

    #[test]
    fn what_a_quota_is_asked_for_is_what_plan_says_of_the_coming_day() {
        let all: Vec<_> =
            (0..6).map(|number| (timetable(&format!("t{number}"), "0,30 13,14 * * *", HOUR), 1)).collect();
        let outlook = outlook(&all, [None, Some(2.0)], 256);
        let [none, shop] = &outlook.providers[..] else { panic!("{:?}", outlook.providers) };
        assert_eq!((none.load, none.fullest, none.hours), (None, None, [0; HOURS]));
        assert_eq!(shop.load, Some(Load { rotations: 24, busiest: 12, quota: 2.0 }));
        assert_eq!(shop.fullest, Some((NOON + HOUR, 6)), "the first of those that are as full");
        assert_eq!(shop.hours[..4], [0, 12, 12, 0]);
    }

    #[test]
    fn what_has_thousands_of_slots_is_cut_and_says_so() {
        let often = timetable("often", "* * * * *", HOUR);
        let outlook = outlook(&[(often, 1)], [None, Some(20.0)], 256);
        assert!(outlook.cut);
        assert_eq!(outlook.each.iter().map(|day| day.planned).sum::<usize>(), SLOTS);
    }
}
