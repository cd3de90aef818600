//! The last and the next thirty days of the fleet, and what the coming hours ask of each quota. Pure: what is planned is what `plan` says.

use super::Facts;
use super::days::Days;
use super::figures::View;
use super::past::Past;
use crate::driver::Fleet;
use crate::driver::outlook::Load;
use crate::moment::Moment;
use crate::name::ProviderName;
use crate::provider::Provider;
use crate::schedule::Almanac;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
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

/// What is due of one provider.
struct Dues {
    minutes: Vec<u32>,
    soon: Vec<Moment>,
}

impl Outlook {
    /// Of this fleet as it was seen.
    pub fn of(fleet: &Fleet, view: &View, past: &Past, facts: &Facts, now: Moment) -> Self {
        let days = Days::around(now, facts.zone);
        let mut each = vec![Day::default(); days.dates().len()];
        for (at, settled, failed) in past.counts() {
            if let Some(day) = days.of(at) {
                each[day].settled += settled;
                each[day].failed += failed;
            }
        }
        let places: HashMap<*const (), usize> = facts.providers.values().map(place).zip(0..).collect();
        let until = days.end();
        let length = usize::try_from(until.since(now).as_secs() / MINUTE.as_secs()).unwrap_or_default() + 1;
        let nothing = || Dues { minutes: vec![0; length], soon: Vec::new() };
        let mut dues: Vec<Dues> = facts.providers.iter().map(|_| nothing()).collect();
        let mut almanac = Almanac::of(now, until, SLOTS);
        let soon = now + Duration::from_secs(3_600) * HOURS as u32;
        let mut cut = false;
        for (name, figures) in &view.targets {
            let Some(target) = fleet.get(name) else { continue };
            let upcoming = target.settings.timetable.upcoming_by(&mut almanac);
            cut |= upcoming.len() >= SLOTS;
            let mut provider = places.get(&place(&target.hands.provider)).and_then(|&place| dues.get_mut(place));
            for slot in figures.counting.slots(upcoming, until) {
                // What is due already is due now.
                let due = slot.due.max(now);
                let Some(day) = days.of(due) else { continue };
                let day = &mut each[day];
                day.planned += 1;
                let (opens, closes) = day.window.unwrap_or((due, slot.closes));
                day.window = Some((opens.min(due), closes.max(slot.closes)));
                if let Some(dues) = &mut provider {
                    dues.minutes[minute(due, now)] += 1;
                    dues.soon.extend(Some(due).filter(|&due| due < soon));
                }
            }
        }
        find_crowds(&days, &mut each, &dues, facts, now);
        let ahead = |((provider, mut dues), quota): ((&ProviderName, Dues), Option<f64>)| {
            dues.soon.sort_unstable();
            ahead(provider, &dues.soon, quota, now)
        };
        let quotas = facts.providers.keys().map(|name| facts.quotas.get(name).copied());
        let providers = facts.providers.keys().zip(dues).zip(quotas).map(ahead).collect();
        Self { at: now, days, each, providers, cut }
    }
}

/// What tells a provider from another: a target knows its own by its hands only.
fn place(provider: &Arc<dyn Provider>) -> *const () {
    Arc::as_ptr(provider).cast()
}

fn minute(due: Moment, now: Moment) -> usize {
    usize::try_from(due.since(now).as_secs() / MINUTE.as_secs()).unwrap_or_default()
}

fn find_crowds(days: &Days, each: &mut [Day], dues: &[Dues], facts: &Facts, now: Moment) {
    let length = dues.first().map_or(0, |dues| dues.minutes.len());
    let per_minute = |quota: f64| (quota * MINUTE.as_secs_f64()).max(1.0) as usize;
    let admitted: Vec<Option<usize>> =
        facts.providers.keys().map(|name| facts.quotas.get(name).copied().map(per_minute)).collect();
    for minute in 0..length {
        let at = now + MINUTE * u32::try_from(minute).unwrap_or(u32::MAX);
        let due = |dues: &Dues| dues.minutes[minute] as usize;
        let all = dues.iter().map(due).sum::<usize>();
        if all == 0 {
            continue;
        }
        let Some(day) = days.of(at) else { continue };
        let by_turns = Crowd { at, due: all, admitted: facts.turns_at_once.max(1), provider: None };
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
fn ahead(provider: &ProviderName, soon: &[Moment], quota: Option<f64>, now: Moment) -> Ahead {
    let mut hours = [0; HOURS];
    let mut minutes: BTreeMap<usize, usize> = BTreeMap::new();
    for &due in soon {
        let minute = minute(due, now);
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
        fullest: fullest.map(|(minute, due)| (now + MINUTE * u32::try_from(minute).unwrap_or(u32::MAX), due)),
    }
}
