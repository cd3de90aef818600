//! A look at the fleet for whoever watches it: through a reader of its own, so that it waits for nobody and nobody waits for it. A target whose row in
//! the ledger is as it was is not folded again, and a look is followed by ten times as long a rest: however often somebody asks, and however large the
//! fleet is, looking costs a tenth of one core at most.

use super::Facts;
use super::figures::{Figures, View};
use super::live::Live;
use super::lookout::Lookout;
use super::outlook::Outlook;
use super::page::Story;
use crate::clock::{Clock, Stopwatch};
use crate::driver::{Driver, Fleet, Target, snapshot};
use crate::fault::{Fault, Kind};
use crate::ledger::Listing;
use crate::ledger::sqlite::Reader;
use crate::moment::Moment;
use crate::name::TargetName;
use crate::rotation::state::Label;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::Mutex;

/// The shortest time between two looks.
const REST: Duration = Duration::from_secs(1);

/// How many times as long as a look the rest after it is.
const REST_FACTOR: u32 = 10;

/// How long a page waits for a look.
const PATIENCE: Duration = Duration::from_millis(200);

/// How many times somebody who waits for a new look asks for it.
const WAITING_LOOKS: usize = 120;

/// The most events of one target that its page is made of: whoever asks for it again and again takes no more time than that, however long the record is.
const EVENTS: u64 = 5_000;

/// Whoever looks.
pub struct Look {
    reader: Reader,
    driver: Arc<Driver>,
    clock: Arc<dyn Clock>,
    seen: Arc<Mutex<Seen>>,
    /// What the last look saw, for who does not wait for the next.
    latest: Arc<std::sync::Mutex<Option<Arc<View>>>>,
    lookout: Lookout,
}

/// What the last look saw.
#[derive(Default)]
struct Seen {
    view: Arc<View>,
    known: HashMap<TargetName, Known>,
    /// The fleet of which that is true: another one has other settings.
    fleet: Option<Arc<Fleet>>,
    /// Since when it rests, and for how long.
    rest: Option<(Stopwatch, Duration)>,
}

/// What is known of one target without reading its record.
struct Known {
    row: Listing,
    /// Nothing about it changes before, as long as its row does not.
    until: Moment,
    figures: Arc<Figures>,
}

impl Look {
    /// Looks through this reader.
    pub fn through(reader: Reader, driver: Arc<Driver>, clock: Arc<dyn Clock>) -> Self {
        let lookout = Lookout::through(reader.clone(), Arc::clone(&driver), Arc::clone(&clock));
        Self { reader, driver, clock, seen: Arc::default(), latest: Arc::default(), lookout }
    }

    /// The fleet as it was a moment ago.
    ///
    /// # Errors
    /// When the ledger cannot list the targets.
    pub async fn view(&self) -> Result<Arc<View>, Fault> {
        let (seen, reader, fleet) = (Arc::clone(&self.seen), self.reader.clone(), self.driver.fleet());
        let (clock, latest) = (Arc::clone(&self.clock), Arc::clone(&self.latest));
        let driver = Arc::clone(&self.driver);
        // In a task of its own: whoever asked may leave before a large fleet was looked at, and the next one should find it done.
        let looking = tokio::spawn(async move {
            let mut seen = seen.lock().await;
            if seen.rest.is_none_or(|(since, rest)| since.elapsed() >= rest) {
                let watch = Stopwatch::start();
                let looked = seen.look(&reader, &driver, fleet, &*clock).await;
                seen.rest = Some((Stopwatch::start(), REST.max(watch.elapsed() * REST_FACTOR)));
                looked?;
                *latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&seen.view));
            }
            Ok(Arc::clone(&seen.view))
        });
        looking.await.unwrap_or_else(|defect| Err(Fault::new(Kind::Bug, format!("a look ended in a defect: {defect}"))))
    }

    /// The fleet as it was lately: a look that takes longer than [`PATIENCE`] is not waited for, where there was one before.
    ///
    /// # Errors
    /// As for [`Look::view`].
    pub(super) async fn latest_view(&self) -> Result<Arc<View>, Fault> {
        let mut looking = std::pin::pin!(self.view());
        if let Ok(view) = tokio::time::timeout(PATIENCE, &mut looking).await {
            return view;
        }
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match latest {
            Some(view) => Ok(view),
            None => looking.await,
        }
    }

    /// The fleet as it was at this moment or later: waits until it is looked at again. A clock that was set back meanwhile ends the waiting, too.
    ///
    /// # Errors
    /// As for [`Look::view`].
    pub(super) async fn view_since(&self, at: Moment) -> Result<Arc<View>, Fault> {
        for _ in 1..WAITING_LOOKS {
            let view = self.view().await?;
            if view.at >= at {
                return Ok(view);
            }
            tokio::time::sleep(REST / 2).await;
        }
        self.view().await
    }

    /// What there is to expect of a fleet that looks so.
    pub(super) async fn outlook(&self, view: &Arc<View>, facts: &Arc<Facts>, live: &Arc<Live>) -> Option<Arc<Outlook>> {
        self.lookout.outlook(Arc::clone(view), Arc::clone(facts), Arc::clone(live)).await
    }

    /// One target's story; `None` where it is not in the fleet.
    ///
    /// # Errors
    /// When its record cannot be read.
    pub(super) async fn story(&self, name: &TargetName) -> Result<Option<Story>, Fault> {
        let fleet = self.driver.fleet();
        let Some(target) = fleet.get(name) else { return Ok(None) };
        let rows = self.reader.lately(name, EVENTS).await?;
        let (recent, members) = (self.reader.recent(name).await?, self.driver.members(target));
        let snapshot = snapshot(name, &target.settings, &recent, members.as_deref(), self.clock.now())?;
        Ok(Some(Story { snapshot, settings: target.settings.clone(), rows }))
    }
}

impl Seen {
    async fn look(
        &mut self,
        reader: &Reader,
        driver: &Driver,
        fleet: Arc<Fleet>,
        clock: &dyn Clock,
    ) -> Result<(), Fault> {
        // The time first: everything that was written before it is seen.
        let now = clock.now();
        let listing = reader.listing().await?;
        if !self.fleet.as_ref().is_some_and(|known| Arc::ptr_eq(known, &fleet)) {
            self.known.clear();
        }
        let mut known = HashMap::with_capacity(listing.len());
        let mut view = View { at: now, ..View::default() };
        for row in listing {
            let Some(target) = fleet.get(&row.target) else { continue };
            let kept = self.known.remove(&row.target).filter(|known| known.row == row && now < known.until);
            let Some(fresh) = (match kept {
                Some(kept) => Some(kept),
                None => look_at(reader, driver, target, row, now).await,
            }) else {
                view.unreadable += 1;
                continue;
            };
            view.targets.insert(fresh.row.target.clone(), Arc::clone(&fresh.figures));
            known.insert(fresh.row.target.clone(), fresh);
        }
        *self = Self { view: Arc::new(view), known, fleet: Some(fleet), rest: None };
        Ok(())
    }
}

/// What holds of one target, and until when nothing else can without a change of its row; `None` where its record cannot be read, which the log says.
async fn look_at(reader: &Reader, driver: &Driver, target: &Target, row: Listing, now: Moment) -> Option<Known> {
    let (rows, members) = (reader.recent(&target.name).await, driver.members(target));
    let snapshot =
        rows.and_then(|rows| snapshot(&target.name, &target.settings, &rows, members.as_deref(), now)).ok()?;
    let figures = Arc::new(Figures::of(&snapshot, &target.settings));
    // Something that is under way changes by the clock alone; what rests does so when the driver looks at it next.
    let until = match row.projection.label {
        Label::Settled | Label::Paused => row.projection.wake_at,
        Label::Due | Label::Rotating | Label::Doubt | Label::Behind | Label::Halted => now,
    };
    Some(Known { row, until, figures })
}
