//! Keeps the [`Outlook`]: it is worked out when a page asks for it, aside, and then left as it is for a while, so that it costs a thirtieth of a core at
//! most, however often somebody asks and however large the fleet is. A page does not wait for that of a large fleet.

use super::Facts;
use super::days::EACH_WAY;
use super::figures::View;
use super::live::Live;
use super::outlook::{Limits, Outlook, Timed};
use super::past::Past;
use crate::clock::{Clock, Stopwatch};
use crate::driver::{Driver, Fleet};
use crate::fault::{Fault, Kind};
use crate::ledger::sqlite::Reader;
use crate::moment::Moment;
use crate::provider::Provider;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The shortest time for which an outlook is left as it is, and how many times as long as the work on it that time is.
const REST: (Duration, u32) = (Duration::from_secs(10), 30);

/// How long a page waits for one.
const PATIENCE: Duration = Duration::from_millis(200);

/// Days before today that are counted: with one more at each end, whatever the zone is.
const PAST: Duration = Duration::from_secs(86_400 * (EACH_WAY as u64 + 2));

/// Whoever keeps it.
pub(super) struct Lookout {
    reader: Reader,
    driver: Arc<Driver>,
    clock: Arc<dyn Clock>,
    work: Arc<tokio::sync::Mutex<Work>>,
    latest: Arc<Mutex<Option<Arc<Outlook>>>>,
}

#[derive(Default)]
struct Work {
    past: Past,
    /// What it was worked out from, since when it rests, and for how long.
    done: Option<(Arc<Fleet>, Arc<Facts>, Stopwatch, Duration)>,
}

impl Lookout {
    pub(super) fn through(reader: Reader, driver: Arc<Driver>, clock: Arc<dyn Clock>) -> Self {
        Self { reader, driver, clock, work: Arc::default(), latest: Arc::default() }
    }

    /// The latest outlook; `None` while the first one is being worked out. `live` is rung when one comes that nobody waited for.
    pub(super) async fn outlook(&self, view: Arc<View>, facts: Arc<Facts>, live: Arc<Live>) -> Option<Arc<Outlook>> {
        let (work, latest) = (Arc::clone(&self.work), Arc::clone(&self.latest));
        let (reader, fleet, now) = (self.reader.clone(), self.driver.fleet(), self.clock.now());
        let working = tokio::spawn(async move {
            // Whoever comes while it is worked out takes the one before.
            let Ok(mut work) = work.try_lock() else { return };
            let still_good = work.done.as_ref().is_some_and(|(of, under, since, rest)| {
                let unchanged = Arc::ptr_eq(of, &fleet) && Arc::ptr_eq(under, &facts);
                since.elapsed() < if unchanged { *rest } else { *rest / REST.1 }
            });
            if still_good {
                return;
            }
            let watch = Stopwatch::start();
            let made = work.make(&reader, &fleet, view, &facts, now).await;
            let (shortest, factor) = REST;
            let (spent, rest) = (watch.elapsed(), shortest.max(watch.elapsed() * factor));
            work.done = Some((fleet, facts, Stopwatch::start(), rest));
            match made {
                Ok(outlook) => *latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(outlook)),
                Err(fault) => tracing::debug!(%fault, "the outlook cannot be worked out"),
            }
            if spent > PATIENCE {
                live.ring();
            }
        });
        let _in_time = tokio::time::timeout(PATIENCE, working).await;
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Work {
    async fn make(
        &mut self,
        reader: &Reader,
        fleet: &Arc<Fleet>,
        view: Arc<View>,
        facts: &Arc<Facts>,
        now: Moment,
    ) -> Result<Outlook, Fault> {
        self.past.read(reader, &view, now - PAST).await?;
        let (past, fleet, facts) = (std::mem::take(&mut self.past), Arc::clone(fleet), Arc::clone(facts));
        // Ten thousand targets take a good part of a second: no work for a thread that others wait for.
        let worked = tokio::task::spawn_blocking(move || (outlook(&fleet, &view, &past, &facts, now), past)).await;
        let (outlook, past) =
            worked.map_err(|defect| Fault::new(Kind::Bug, format!("the outlook ended in a defect: {defect}")))?;
        self.past = past;
        Ok(outlook)
    }
}

fn outlook(fleet: &Fleet, view: &View, past: &Past, facts: &Facts, now: Moment) -> Outlook {
    // A target knows its provider by its hands only.
    let place = |provider: &Arc<dyn Provider>| Arc::as_ptr(provider).cast::<()>();
    let places: HashMap<*const (), usize> = facts.providers.values().map(place).zip(0..).collect();
    let timed = view.targets.iter().filter_map(|(name, figures)| {
        let target = fleet.get(name)?;
        let provider = places.get(&place(&target.hands.provider)).copied();
        Some(Timed { timetable: &target.settings.timetable, counting: figures.counting, provider })
    });
    let quotas = facts.providers.keys().map(|name| (name.clone(), facts.quotas.get(name).copied())).collect();
    let limits = Limits { quotas, turns_at_once: facts.turns_at_once };
    Outlook::of(timed, past, &limits, (now, facts.zone))
}
