//! One look at the fleet. A target that is settled, and whose row in the ledger is as it was, is not folded again.

use super::Watch;
use super::conditions::{Condition, Conditions, of_left_out, of_provider, of_record, of_target, of_waves};
use crate::alert::{Event, Key};
use crate::driver::{Target, snapshot};
use crate::fault::{Fault, Kind};
use crate::ledger::{Ledger, Listing};
use crate::moment::Moment;
use crate::provider::Provider;
use crate::rotation::state::Label;
use futures_util::future::join_all;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often providers are asked about their credentials.
const WORRY_EVERY: Duration = Duration::from_secs(300);

/// How long one may take for its answer.
const WORRY_LIMIT: Duration = Duration::from_secs(60);

/// What the last look saw.
pub(super) struct Before {
    /// What held.
    pub holding: Conditions,
    /// Rows of targets of which nothing held, and until when nothing can without a change of the row.
    quiet: HashMap<u64, Moment>,
    /// The fleet of which that is true: another one has other settings.
    fleet: Option<Arc<crate::driver::Fleet>>,
}

impl Before {
    /// Before the first look: what the book says held.
    pub fn of(holding: Conditions) -> Self {
        Self { holding, quiet: HashMap::new(), fleet: None }
    }
}

impl Watch {
    /// Sees what holds now.
    ///
    /// # Errors
    /// When the ledger cannot list the targets; then what held is taken to hold.
    pub(super) async fn look(
        &self,
        ledger: &dyn Ledger,
        before: &mut Before,
        worries: Option<Conditions>,
    ) -> Result<(), Fault> {
        let listing = ledger.listing().await?;
        let (fleet, now) = (self.driver.fleet(), self.clock.now());
        if !before.fleet.as_ref().is_some_and(|known| Arc::ptr_eq(known, &fleet)) {
            before.quiet.clear();
        }
        let mut holding = Conditions::new();
        let mut quiet = HashMap::with_capacity(before.quiet.len());
        for row in &listing {
            let Some(target) = fleet.get(&row.target) else { continue };
            let known = fingerprint(row);
            if let Some(&until) = before.quiet.get(&known).filter(|&&until| now < until) {
                quiet.insert(known, until);
                continue;
            }
            let (conditions, until) = self.look_at(ledger, target, &before.holding).await;
            let rests = matches!(row.projection.label, Label::Settled | Label::Paused);
            if conditions.is_empty() && rests {
                quiet.insert(known, until);
            }
            holding.extend(conditions);
        }
        holding.extend(match self.driver.stopped_waves().await {
            Ok(stopped) => stopped.iter().map(|(selection, stop)| of_waves(selection, stop)).collect(),
            // The target whose record it is has an alert of its own.
            Err(_) => those(&before.holding, |key| key.event == Event::Waves),
        });
        holding.extend(match worries {
            Some(worries) => since_known(worries, &before.holding),
            None => those(&before.holding, |key| key.event == Event::Credentials),
        });
        let left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let left_out = left_out.iter().map(|sentence| of_left_out(sentence, now)).collect();
        holding.extend(since_known(left_out, &before.holding));
        *before = Before { holding, quiet, fleet: Some(fleet) };
        Ok(())
    }

    /// What holds of one target, and until when nothing else can without a change of its row.
    async fn look_at(&self, ledger: &dyn Ledger, target: &Target, before: &Conditions) -> (Conditions, Moment) {
        let now = self.clock.now();
        let (rows, members) = (ledger.recent(&target.name).await, self.driver.members(target));
        match rows.and_then(|rows| snapshot(&target.name, &target.settings, &rows, members.as_deref(), now)) {
            Ok(snapshot) => {
                let proven_at = snapshot.proof.map(|(_, at)| at);
                let too_old_at = proven_at.and_then(|at| target.settings.timetable.too_old_at(at));
                (of_target(&snapshot, self.patience, before, now), too_old_at.unwrap_or(Moment::NEVER))
            }
            Err(fault) => {
                let mut carried = those(before, |key| {
                    key.subject == target.name.as_str() && !matches!(key.event, Event::Credentials | Event::LeftOut)
                });
                if matches!(fault.kind, Kind::LedgerCorrupt | Kind::LedgerNewer) {
                    carried.extend(since_known([of_record(&target.name, &fault, now)].into(), before));
                }
                (carried, now)
            }
        }
    }

    /// Asks every provider about its credentials, from time to time and without end.
    pub(super) async fn worry(&self, worries: &Mutex<Option<Conditions>>) {
        loop {
            let asked = self.providers.iter().map(|(name, provider)| async move {
                let worries = self.worries_of(&**provider).await;
                (name, worries)
            });
            let asked = join_all(asked).await;
            let now = self.clock.now();
            {
                let mut known = worries.lock().unwrap_or_else(PoisonError::into_inner);
                let before = known.take().unwrap_or_default();
                let mut all = Conditions::new();
                for (name, worries) in asked {
                    match worries {
                        Some(worries) => all.extend(of_provider(name, &worries, now)),
                        None => all.extend(those(&before, |key| key.subject == name.as_str())),
                    }
                }
                *known = Some(all);
            }
            self.clock.sleep(WORRY_EVERY).await;
        }
    }

    async fn worries_of(&self, provider: &dyn Provider) -> Option<Vec<Fault>> {
        tokio::select! {
            worries = provider.worries() => Some(worries),
            () = self.clock.sleep(WORRY_LIMIT) => None,
        }
    }
}

/// What makes a row another one.
fn fingerprint(row: &Listing) -> u64 {
    let mut hasher = DefaultHasher::new();
    let projection = &row.projection;
    (&row.target, projection.wake_at, &projection.why, projection.generation, &projection.holds).hash(&mut hasher);
    projection.label.as_str().hash(&mut hasher);
    hasher.finish()
}

/// Those that held before began when they began then.
fn since_known(holding: Conditions, before: &Conditions) -> Conditions {
    let since = |(key, condition): (Key, Condition)| {
        let since = before.get(&key).map_or(condition.since, |known| known.since.min(condition.since));
        (key, Condition { since, ..condition })
    };
    holding.into_iter().map(since).collect()
}

fn those(conditions: &Conditions, which: impl Fn(&Key) -> bool) -> Conditions {
    let wanted: BTreeMap<_, _> = conditions.iter().filter(|(key, _)| which(key)).collect();
    wanted.into_iter().map(|(key, condition)| (key.clone(), condition.clone())).collect()
}
