//! The daemon's fleet: mustered at the start, at SIGHUP, and when what a selection found has changed.

use super::scene::Scene;
use crate::alarm::Alarm;
use crate::assemble::{self, Kit, Made};
use crate::chance::SystemChance;
use crate::config::{self, Config};
use crate::console;
use crate::discovery::Discovery;
use crate::driver::{Driver, Fleet};
use crate::fault::Fault;
use crate::ledger::Ledger;
use crate::ledger::known::Lists;
use crate::name::{ProviderName, TargetName};
use crate::rotation::state::Label;
use crate::watch::pulse::pulse;
use crate::watch::{Desk, Watch};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long a target whose instance is no longer found may finish what was under way: a tag that is taken away in the middle of a rotation
/// must not leave a password undelivered.
const FINISHING: Duration = Duration::from_secs(24 * 3_600);

/// What the fleet is made of.
pub struct Muster {
    scene: Arc<Scene>,
    kit: Kit,
    ledger: Arc<dyn Ledger>,
    /// What the fleet was made of last.
    lists: Lists,
    /// Retired targets that finish something first.
    finishing: BTreeSet<TargetName>,
    /// What was told of instances that are left out.
    told: Arc<Mutex<BTreeSet<String>>>,
    /// What was announced, and to whom.
    desk: Arc<Desk>,
    /// Ends the watch when it is dropped.
    watch: Option<DropGuard>,
    /// Rung after each sweep of a driver that is sound.
    pub healthy: Arc<Notify>,
    /// Ends the rounds of discovery when it is dropped.
    rounds: Option<DropGuard>,
    /// Rung after each round of discovery.
    pub bell: Arc<Notify>,
}

impl Muster {
    /// The fleet as it is configured and was found last.
    ///
    /// # Errors
    /// What cannot be made, or read from the ledger.
    pub async fn begin(scene: Scene, ledger: Arc<dyn Ledger>) -> Result<(Self, Fleet), Fault> {
        let kit = Kit::of(scene.config())?;
        let bell = Arc::new(Notify::new());
        let desk = Arc::new(Desk::open(Arc::clone(&ledger)).await?);
        let mut muster = Self {
            scene: Arc::new(scene),
            kit,
            ledger,
            lists: Lists::new(),
            finishing: BTreeSet::new(),
            told: Arc::default(),
            desk,
            watch: None,
            healthy: Arc::new(Notify::new()),
            rounds: None,
            bell,
        };
        let lists = muster.ledger.lists().await?;
        let (fleet, made_of) = muster.fleet(lists).await?;
        muster.keep(made_of);
        Ok((muster, fleet))
    }

    /// The configuration in force.
    pub fn scene(&self) -> &Scene {
        &self.scene
    }

    /// The same, to look at for as long as it is in force.
    pub fn shared(&self) -> Weak<Scene> {
        Arc::downgrade(&self.scene)
    }

    /// What was announced.
    pub fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    /// What of the configuration in force the console follows.
    pub fn shown(&self) -> console::Settings {
        let config = self.scene.config();
        let metrics_targets = config.daemon.metrics_targets as usize;
        let quota = |(name, provider): (&ProviderName, &config::Provider)| Some((name.clone(), provider.quota()?));
        let facts = console::Facts {
            providers: self.kit.providers().clone(),
            quotas: config.providers.iter().filter_map(quota).collect(),
            turns_at_once: self.scene.turns_at_once(),
            zone: config.daemon.time_zone,
        };
        console::Settings { facts: Arc::new(facts), metrics_targets }
    }

    /// Looks for instances from now on, in place of an earlier configuration's rounds.
    pub fn discover(&mut self) {
        let stop = CancellationToken::new();
        self.rounds = Some(stop.clone().drop_guard());
        let config = self.scene.config();
        let discovery = Discovery::new(
            self.kit.searches(config),
            Arc::clone(&self.ledger),
            self.scene.clock(),
            Arc::new(SystemChance),
            config.daemon.discover_every,
            self.scene.names(),
        );
        let bell = Arc::clone(&self.bell);
        tokio::spawn(discovery.run(stop, move || bell.notify_one()));
    }

    /// Alerts people from now on, in place of an earlier configuration's watch.
    pub fn watch(&mut self, driver: &Arc<Driver>) {
        let stop = CancellationToken::new();
        self.watch = Some(stop.clone().drop_guard());
        let config = self.scene.config();
        if let Some(dead_man) = assemble::alerts::dead_man(config) {
            let (healthy, every) = (Arc::clone(&self.healthy), config.watch.dead_man_every);
            tokio::spawn(pulse(dead_man, every, healthy, self.scene.clock(), stop.clone()));
        }
        if self.kit.posts().is_empty() {
            return;
        }
        let watch = Watch {
            driver: Arc::clone(driver),
            providers: self.kit.providers().clone(),
            left_out: Arc::clone(&self.told),
            posts: self.kit.posts().clone(),
            patience: assemble::alerts::patience(config),
            every: config.watch.every,
            host: assemble::alerts::host(),
            clock: self.scene.clock(),
            chance: Arc::new(SystemChance),
        };
        tokio::spawn(watch.run(Arc::clone(&self.desk), stop));
    }

    /// After a round of discovery: a new fleet, if anything changed.
    ///
    /// # Errors
    /// What cannot be made, or read from the ledger; the fleet stays and the next round tries again.
    pub async fn after_round(&mut self, driver: &Arc<Driver>, alarm: &mut Alarm) -> Result<(), Fault> {
        let lists = self.ledger.lists().await?;
        if lists == self.lists && self.finishing.is_empty() {
            return Ok(());
        }
        let (fleet, made_of) = self.fleet(lists).await?;
        let targets = fleet.len();
        driver.reload(fleet).await?;
        self.keep(made_of);
        tracing::info!(targets, "the fleet follows what was found");
        alarm.replace(self.scene.schedules()).await
    }

    /// A new configuration, with what was found for it before. How many targets it has.
    ///
    /// # Errors
    /// What cannot be made, or read from the ledger; everything stays as it was.
    pub async fn reload(&mut self, scene: Scene, driver: &Arc<Driver>, alarm: &mut Alarm) -> Result<usize, Fault> {
        let kit = Kit::of(scene.config())?;
        let before = (std::mem::replace(&mut self.scene, Arc::new(scene)), std::mem::replace(&mut self.kit, kit));
        let renewed = async {
            let lists = self.ledger.lists().await?;
            let (fleet, made_of) = self.fleet(lists).await?;
            let targets = fleet.len();
            driver.reload(fleet).await?;
            self.keep(made_of);
            Ok(targets)
        };
        match renewed.await {
            Ok(targets) => {
                alarm.replace(self.scene.schedules()).await?;
                self.discover();
                self.watch(driver);
                Ok(targets)
            }
            Err(fault) => {
                (self.scene, self.kit) = before;
                Err(fault)
            }
        }
    }

    /// The fleet with these lists, and what to keep of it once it is in force.
    async fn fleet(&mut self, lists: Lists) -> Result<(Fleet, MadeOf), Fault> {
        // Whoever looks at it meanwhile keeps the one they have.
        Arc::make_mut(&mut self.scene).take_found(&lists);
        let finishing = self.who_finishes().await?;
        let Made { fleet, left_out } = match finishing.is_empty() {
            true => self.kit.fleet(self.scene.config(), self.scene.up_since())?,
            false => self.kit.fleet(&with_finishing(self.scene.config(), &finishing), self.scene.up_since())?,
        };
        let unmade = left_out.into_iter().map(|(name, fault)| format!("Target {name} is left out: {fault}"));
        Ok((fleet, MadeOf { lists, finishing, unmade: unmade.collect() }))
    }

    fn keep(&mut self, MadeOf { lists, finishing, unmade }: MadeOf) {
        for name in self.finishing.difference(&finishing) {
            tracing::info!(target = %name, "nothing is under way any more: it is retired now");
        }
        for name in finishing.difference(&self.finishing) {
            tracing::warn!(target = %name, "its instance is retired; what is under way is finished first");
        }
        (self.lists, self.finishing) = (lists, finishing);
        let left_out: BTreeSet<String> = self.scene.left_out().iter().map(ToString::to_string).chain(unmade).collect();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for line in left_out.difference(&told) {
            tracing::warn!("{line}");
        }
        *told = left_out;
    }

    /// The retired targets that have something under way, and have had it for no longer than [`FINISHING`].
    async fn who_finishes(&self) -> Result<BTreeSet<TargetName>, Fault> {
        let (config, now) = (self.scene.config(), self.scene.now());
        let recent = |name: &TargetName| {
            config.retired.get(name).is_some_and(|retired| now.since(retired.retired.since) < FINISHING)
        };
        if !config.retired.keys().any(recent) {
            return Ok(BTreeSet::new());
        }
        let under_way = |label: Label| match label {
            Label::Rotating | Label::Doubt | Label::Behind => true,
            Label::Paused | Label::Settled | Label::Due | Label::Halted => false,
        };
        let listing = self.ledger.listing().await?;
        let finishing = listing.into_iter().filter(|row| under_way(row.projection.label) && recent(&row.target));
        Ok(finishing.map(|row| row.target).collect())
    }
}

/// What a fleet was made of.
struct MadeOf {
    lists: Lists,
    finishing: BTreeSet<TargetName>,
    /// What was found and cannot be made, a sentence each.
    unmade: Vec<String>,
}

/// The configuration in which these retired targets are driven once more: what is under way goes on, and no further slot counts.
fn with_finishing(config: &Config, finishing: &BTreeSet<TargetName>) -> Config {
    let mut config = config.clone();
    for name in finishing {
        if let Some(config::RetiredTarget { target, .. }) = config.retired.remove(name) {
            let timetable = target.timetable.clone().by_hand();
            config.targets.insert(name.clone(), config::Target { timetable, ..target });
        }
    }
    config
}
