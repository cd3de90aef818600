//! Finds the instances that carry a selection's tags, at the start and from time to time, and keeps the list in the ledger.
//!
//! What the list means for the fleet is somebody else's business: whoever runs this is told after each listing. One that a cloud does not
//! answer, or not wholly, leaves that selection's list as it was.

mod merge;

pub use merge::{CONFIRMATIONS, GRACE, LISTINGS, MANY, Merged, News, Sought, merge};

use crate::chance::Chance;
use crate::clock::Clock;
use crate::fault::{Fault, Kind};
use crate::ledger::Ledger;
use crate::ledger::known::Lists;
use crate::name::TargetName;
use crate::provider::Provider;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// The longest wait after a round in which a listing failed.
const RETRY: Duration = Duration::from_secs(60);

/// Rounds are spread over this share of the interval, one part in so many.
const JITTER: u32 = 10;

/// What one selection looks for.
#[derive(Clone)]
pub struct Search {
    /// The selection's name.
    pub selection: TargetName,
    /// Where it looks.
    pub provider: Arc<dyn Provider>,
    /// What it looks for there.
    pub sought: Sought,
}

/// Gives each instance in a selection's list the name of the target that it makes, unless it has one.
pub type Names = Arc<dyn Fn(&TargetName, &mut Lists) + Send + Sync>;

/// The rounds of all selections.
pub struct Discovery {
    searches: Vec<Search>,
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    chance: Arc<dyn Chance>,
    every: Duration,
    names: Names,
    /// Held from reading the lists to keeping one: two selections may not give out the same name.
    naming: Mutex<()>,
}

impl Discovery {
    /// Rounds about every so often.
    pub fn new(
        searches: Vec<Search>,
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
        chance: Arc<dyn Chance>,
        every: Duration,
        names: Names,
    ) -> Self {
        Self { searches, ledger, clock, chance, every, names, naming: Mutex::default() }
    }

    /// Looks at once, and then from time to time until it is stopped; for each selection by itself, so that a cloud that hangs delays nobody else.
    /// `after_look` is called after each listing.
    pub async fn run(self, stop: CancellationToken, after_look: impl Fn() + Send + Sync) {
        let all = join_all(self.searches.iter().map(|search| self.follow(search, &after_look)));
        tokio::select! {
            () = stop.cancelled() => {}
            _ = all => {}
        }
    }

    /// One selection's listings, without end.
    async fn follow(&self, search: &Search, after_look: &(impl Fn() + Sync)) {
        // What it failed with last: told when it changes and not each time.
        let mut failing: Option<Kind> = None;
        loop {
            let looked = self.look(search).await;
            let wait = self.wait(looked.is_ok());
            let selection = &search.selection;
            match looked {
                Ok(()) if failing.take().is_some() => tracing::info!(%selection, "its instances can be listed again"),
                Ok(()) => {}
                Err(fault) if failing.replace(fault.kind) == Some(fault.kind) => {
                    tracing::debug!(%selection, %fault, "its instances still cannot be listed");
                }
                Err(fault) => {
                    tracing::warn!(%selection, %fault, "its instances cannot be listed; those known stay as they are");
                }
            }
            after_look();
            self.clock.sleep(wait).await;
        }
    }

    async fn look(&self, search: &Search) -> Result<(), Fault> {
        let found = search.provider.find(&search.sought.tags).await?;
        // Asked for after the listing: whoever wrote it meanwhile is not overwritten with what was known before.
        let _naming = self.naming.lock().await;
        let mut lists = self.ledger.lists().await?;
        let known = lists.remove(&search.selection);
        let merged = merge(&search.sought, known.as_deref().unwrap_or_default(), found, self.clock.now());
        tell(&search.selection, &merged);
        let mut list = merged.list;
        if list.iter().any(|known| known.target.is_none() && known.retired.is_none()) {
            lists.insert(search.selection.clone(), list);
            (self.names)(&search.selection, &mut lists);
            list = lists.remove(&search.selection).unwrap_or_default();
        }
        if known.as_ref() != Some(&list) {
            self.ledger.keep_list(&search.selection, &list).await?;
        }
        Ok(())
    }

    /// Up to a tenth less than the interval, so that many daemons do not ask in step.
    fn wait(&self, whole: bool) -> Duration {
        let wait = if whole { self.every } else { self.every.min(RETRY) };
        let spread = u64::try_from((wait / JITTER).as_millis()).unwrap_or(u64::MAX);
        let less = u64::try_from(self.chance.bits() % (u128::from(spread) + 1)).unwrap_or(0);
        wait.saturating_sub(Duration::from_millis(less))
    }
}

fn tell(selection: &TargetName, merged: &Merged) {
    for news in &merged.news {
        match news {
            News::Appeared { instance } => tracing::info!(%selection, instance, "an instance was found"),
            News::Returned { instance } => tracing::info!(%selection, instance, "a retired instance is there again"),
            News::Retired { instance, why } => {
                tracing::warn!(%selection, instance, why, "an instance is retired: its passwords and history are kept");
            }
            News::Missing { instance } => {
                tracing::info!(%selection, instance, "an instance is missing; if the next listing lacks it too, it is retired");
            }
            News::ManyMissing { missing, of } => tracing::warn!(
                %selection,
                missing,
                of,
                "the listing suddenly lacks many instances; they go on until {CONFIRMATIONS} listings in a row and an hour confirm it. \
                 Check the tags and what this identity may see"
            ),
        }
    }
    for (instance, why) in &merged.unfit {
        tracing::debug!(%selection, instance, why, "an instance carries the tags and cannot rotate");
    }
}
