//! Finds the instances that carry a selection's tags, at the start and from time to time, and keeps the list in the ledger.
//!
//! What the list means for the fleet is somebody else's business: whoever runs this is told after each round. A round in which a
//! cloud does not answer, or not wholly, leaves that selection's list as it was.

mod merge;

pub use merge::{CONFIRMATIONS, GRACE, LISTINGS, MANY, Merged, News, Sought, merge};

use crate::chance::Chance;
use crate::clock::Clock;
use crate::fault::{Fault, Kind};
use crate::ledger::Ledger;
use crate::ledger::known::Lists;
use crate::name::TargetName;
use crate::provider::Provider;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
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
    /// What each selection failed with last: told when it changes and not in every round.
    failing: BTreeMap<TargetName, Kind>,
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
        Self { searches, ledger, clock, chance, every, names, failing: BTreeMap::new() }
    }

    /// Looks at once, and then from time to time until it is stopped. `after_round` is called after each round.
    pub async fn run(mut self, stop: CancellationToken, after_round: impl Fn() + Send) {
        if self.searches.is_empty() {
            return;
        }
        loop {
            let round = async {
                let whole = self.round().await;
                after_round();
                let wait = self.wait(whole);
                self.clock.sleep(wait).await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = round => {}
            }
        }
    }

    /// One listing for each selection. Whether all of them succeeded.
    async fn round(&mut self) -> bool {
        let mut whole = true;
        for search in self.searches.clone() {
            match self.look(&search).await {
                Ok(()) => {
                    if self.failing.remove(&search.selection).is_some() {
                        tracing::info!(selection = %search.selection, "its instances can be listed again");
                    }
                }
                Err(fault) => {
                    whole = false;
                    if self.failing.insert(search.selection.clone(), fault.kind) == Some(fault.kind) {
                        tracing::debug!(selection = %search.selection, %fault, "its instances still cannot be listed");
                    } else {
                        tracing::warn!(selection = %search.selection, %fault, "its instances cannot be listed; those known stay as they are");
                    }
                }
            }
        }
        whole
    }

    async fn look(&self, search: &Search) -> Result<(), Fault> {
        let found = search.provider.find(&search.sought.tags).await?;
        // Asked for after the listing: whoever wrote it meanwhile is not overwritten with what was known before.
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
