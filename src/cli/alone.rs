//! A driver for one command, where no daemon runs: the same driver, for the chosen targets only.

use super::run::Signals;
use super::scene::Scene;
use crate::assemble;
use crate::driver::{Driver, Tools, Wish};
use crate::fault::{Fault, Kind};
use crate::name::TargetName;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often the driver is woken: the daemon's alarm does the same.
const SWEEP: Duration = Duration::from_secs(1);

/// A driver that works on the chosen targets until it is stopped.
pub struct Alone {
    driver: Arc<Driver>,
    stop: CancellationToken,
    working: JoinHandle<Result<(), Fault>>,
    ringing: JoinHandle<()>,
}

impl Alone {
    /// Takes the ledger and begins; what is due among the targets goes on too.
    ///
    /// # Errors
    /// `LedgerHeld` when a daemon runs after all; what keeps a daemon from starting.
    pub fn start(scene: &Scene, targets: &[TargetName], holder: &str) -> Result<Self, Fault> {
        Self::begin(scene, targets, holder, false)
    }

    /// The same for wishes that are answered and nothing else: no rotation begins or goes on, whatever is due.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn only_to_obey(scene: &Scene, targets: &[TargetName], holder: &str) -> Result<Self, Fault> {
        Self::begin(scene, targets, holder, true)
    }

    fn begin(scene: &Scene, targets: &[TargetName], holder: &str, only_obeys: bool) -> Result<Self, Fault> {
        let ledger = Arc::new(assemble::ledger(scene.config(), holder)?);
        let assemble::Made { mut fleet, mut left_out } = assemble::fleet(scene.config(), scene.now())?;
        if let Some(fault) = targets.iter().find_map(|target| left_out.remove(target)) {
            return Err(fault);
        }
        let all: Vec<TargetName> = fleet.keys().cloned().collect();
        fleet.retain(|name, _| targets.contains(name));
        let stop = CancellationToken::new();
        let tools = Tools { ledger, clock: scene.clock(), chance: Arc::new(crate::chance::SystemChance) };
        let driver = Driver::new(tools, fleet, scene.turns_at_once(), stop.clone());
        let working = tokio::spawn({
            let driver = Arc::clone(&driver);
            async move { driver.run_part(&all, only_obeys).await }
        });
        let ringing = tokio::spawn({
            let (bell, clock) = (driver.bell(), scene.clock());
            async move {
                loop {
                    bell.notify_one();
                    clock.sleep(SWEEP).await;
                }
            }
        });
        Ok(Self { driver, stop, working, ringing })
    }

    /// Hands a wish to its target.
    ///
    /// # Errors
    /// What the target's turn answered.
    pub async fn command(&self, target: &TargetName, wish: Wish) -> Result<String, Fault> {
        self.driver.command(target, wish).await
    }

    /// Finishes the steps under way and lets the ledger go; a signal meanwhile ends it at once.
    ///
    /// # Errors
    /// What the driver ended with.
    pub async fn finish(self) -> Result<(), Fault> {
        self.stop.cancel();
        self.ringing.abort();
        let mut signals = Signals::new()?;
        tokio::select! {
            ended = self.working => ended.unwrap_or_else(|defect| {
                Err(Fault::new(Kind::Bug, format!("the driver ended in a defect: {defect}")))
            }),
            () = signals.stop() => Ok(()),
        }
    }
}
