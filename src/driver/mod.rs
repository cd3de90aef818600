//! The driver: wakes, claims, folds, decides, performs. It has never heard of a vendor, a database or HTTP.
//!
//! One [`sweep`](Driver::run) asks the ledger who is due and gives each target a *turn* in a task of its own, so that a target that
//! hangs delays no other. A turn holds the target's claim, folds its events into a state, and does what
//! [`rotation::next`](crate::rotation::next()) says until that is to wait.

mod act;
mod adopt;
mod command;
mod hand_over;
mod happening;
mod journal;
mod obey;
mod outbox;
pub mod outlook;
mod snapshot;
mod tally;
mod target;
mod turn;
mod upkeep;
mod waves;

pub use command::{Command, Wish};
pub use happening::Happening;
pub use obey::break_glass;
pub use snapshot::{SinkStatus, Snapshot, Waits, age, snapshot};
pub use tally::Tally;
pub use target::{Account, AdoptFrom, Adoptable, Hands, LoginWords, PlanSettings, Target};
pub use waves::followers;

use crate::chance::Chance;
use crate::clock::Clock;
use crate::fault::{Fault, Kind};
use crate::ledger::Ledger;
use crate::moment::Moment;
use crate::name::{Generation, TargetName};
use crate::rotation::fold;
use crate::secret::Secret;
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long a turn that failed (a full disk, a defect) keeps its target off, at first and at most.
const TURN_RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(120));

/// What asks sinks or hooks and takes longer than this gives its place to another target: a sink that hangs delays nobody else.
const PATIENCE: Duration = Duration::from_secs(3);

/// How many targets are asked at once, after a start, whether a sink lost their password, and how long one sink has for its answer.
const LOST_SEARCH: (usize, Duration) = (64, Duration::from_secs(10));

/// How many turns may wait for sinks and hooks beside those that have a place.
const LENT_LIMIT: usize = 1_000;

/// The fleet as configured now.
pub type Fleet = BTreeMap<TargetName, Arc<Target>>;

/// Places whose password is in the record of a target that is not in the fleet: whose, and which.
type Elsewhere = BTreeMap<String, (TargetName, Generation)>;

/// What the driver works with.
pub struct Tools {
    /// The record.
    pub ledger: Arc<dyn Ledger>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Passwords and ids.
    pub chance: Arc<dyn Chance>,
}

/// The driver of one fleet.
pub struct Driver {
    tools: Tools,
    fleet: RwLock<Arc<Fleet>>,
    turns_at_once: usize,
    wake: Arc<Notify>,
    stop: CancellationToken,
    outbox: outbox::Outbox,
    commands: Mutex<BTreeMap<TargetName, Vec<Command>>>,
    busy: Mutex<HashMap<TargetName, Arc<Notify>>>,
    kept_off: Mutex<HashMap<TargetName, (Moment, u32)>>,
    /// Targets whose settings may have changed since the ledger was told when they wake: each gets a turn, whatever it was told.
    unseen: Mutex<BTreeSet<TargetName>>,
    /// Where the passwords of targets open that are in the ledger and not in the fleet, once somebody asked; another fleet has others.
    elsewhere: Mutex<Option<Arc<Elsewhere>>>,
    /// Targets that may be due but are not in the fleet.
    strangers: AtomicUsize,
    /// Turns that wait for a slow sink or hook and have given their place to another.
    lent: AtomicUsize,
    /// Whether turns only answer commands: nothing is begun or gone on with.
    only_obeys: AtomicBool,
    /// Whether the last turn that ended was stopped by the ledger.
    ledger_fails: AtomicBool,
    tally: Tally,
    happenings: happening::Happenings,
    boards: waves::Boards,
    /// How many turns have ended.
    ended: AtomicU64,
}

impl Driver {
    /// A driver that gives at most `turns_at_once` targets a turn at the same time.
    pub fn new(tools: Tools, fleet: Fleet, turns_at_once: usize, stop: CancellationToken) -> Arc<Self> {
        let outbox = outbox::Outbox::new(tools.clock.now());
        let wake = Arc::new(Notify::new());
        let boards = waves::Boards::new(Arc::clone(&wake));
        boards.replace(&fleet);
        Arc::new(Self {
            tools,
            outbox,
            fleet: RwLock::new(Arc::new(fleet)),
            turns_at_once: turns_at_once.max(1),
            wake,
            stop,
            commands: Mutex::default(),
            busy: Mutex::default(),
            kept_off: Mutex::default(),
            unseen: Mutex::default(),
            elsewhere: Mutex::default(),
            strangers: AtomicUsize::new(0),
            lent: AtomicUsize::new(0),
            only_obeys: AtomicBool::new(false),
            ledger_fails: AtomicBool::new(false),
            tally: Tally::default(),
            happenings: happening::Happenings::default(),
            boards,
            ended: AtomicU64::new(0),
        })
    }

    /// What wakes the driver: the alarm's jobs do nothing but notify it.
    pub fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// Whether turns can write down what they do, as far as the last of them knows.
    pub fn is_sound(&self) -> bool {
        !self.ledger_fails.load(Ordering::Relaxed)
    }

    /// What was counted since the start.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What is recorded from now on. Whoever falls far behind misses some and is told so; the turns wait for nobody.
    pub fn happenings(&self) -> tokio::sync::broadcast::Receiver<Happening> {
        self.happenings.watch()
    }

    /// How many targets have their turn now, and how many may at the same time.
    pub fn turns(&self) -> (usize, usize) {
        (lock(&self.busy).len(), self.turns_at_once)
    }

    /// How many turns have ended so far, and how many are under way. Records change in turns and nowhere else.
    pub fn turned(&self) -> (u64, usize) {
        (self.ended.load(Ordering::Relaxed), lock(&self.busy).len())
    }

    /// The fleet as configured now.
    pub fn fleet(&self) -> Arc<Fleet> {
        Arc::clone(&self.fleet.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sweeps whenever the bell rings, until told to stop; then lets every turn finish its step and returns. `on_sweep` is called after each
    /// sweep that reached the ledger: proof that the driver is alive.
    ///
    /// # Errors
    /// When the ledger cannot enlist the fleet at the start.
    pub async fn run(self: &Arc<Self>, mut on_sweep: impl FnMut() + Send) -> Result<(), Fault> {
        self.enlist().await?;
        let searching = tokio::spawn({
            let driver = Arc::clone(self);
            async move { driver.find_lost_deliveries().await }
        });
        self.sweep_until_stopped(&mut on_sweep).await;
        searching.abort();
        Ok(())
    }

    /// What was delivered before this start may be gone since: a file under `/run` does not outlive the machine. Sinks that can tell are asked.
    async fn find_lost_deliveries(self: &Arc<Self>) {
        let listing = match self.tools.ledger.listing().await {
            Ok(listing) => listing,
            Err(fault) => {
                return tracing::error!(%fault, "the ledger cannot list the targets; lost deliveries were not looked for");
            }
        };
        let fleet = self.fleet();
        let (at_once, limit) = LOST_SEARCH;
        let delivered = listing.iter().filter(|row| row.projection.generation > Generation::default());
        let targets: Vec<_> = delivered.filter_map(|row| fleet.get(&row.target)).collect();
        for some in targets.chunks(at_once) {
            let sinks =
                some.iter().flat_map(|target| target.hands.sinks.iter().map(|(name, sink)| (&target.name, name, sink)));
            let asked = sinks.map(|(target, name, sink)| async move {
                let lost = tokio::time::timeout(limit, sink.has_lost_it()).await;
                lost.unwrap_or(false).then_some((target, name))
            });
            for (target, sink) in join_all(asked).await.into_iter().flatten() {
                // A sink that never had it is refused there and receives it anyway.
                let _answer = self.command(target, Wish::Redeliver { sink: sink.clone() }).await;
            }
        }
    }

    /// The same where the fleet is only a part of `all` the configured targets: the others keep their times. One that `only_obeys` answers
    /// commands and does nothing else, whatever is due: to pause or to reveal must not rotate.
    ///
    /// # Errors
    /// When the ledger cannot enlist them.
    pub async fn run_part(self: &Arc<Self>, all: &[TargetName], only_obeys: bool) -> Result<(), Fault> {
        self.tools.ledger.enlist(all, self.tools.clock.now()).await?;
        self.strangers.store(all.len().saturating_sub(self.fleet().len()), Ordering::Relaxed);
        self.only_obeys.store(only_obeys, Ordering::Relaxed);
        self.sweep_until_stopped(&mut || {}).await;
        Ok(())
    }

    async fn sweep_until_stopped(self: &Arc<Self>, on_sweep: &mut (impl FnMut() + Send)) {
        let mut turns = JoinSet::new();
        self.wake.notify_one();
        loop {
            // In this order, so that the same things happening make the same story again. A turn that ended rings the bell.
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Some(ended) = turns.join_next(), if !turns.is_empty() => {
                    self.turn_ended(ended);
                    continue;
                }
                () = self.wake.notified() => {}
            }
            match self.sweep(&mut turns).await {
                Ok(()) => on_sweep(),
                Err(fault) => tracing::error!(%fault, "the ledger cannot say who is due"),
            }
        }
        while let Some(ended) = turns.join_next().await {
            self.turn_ended(ended);
        }
        self.refuse_commands();
    }

    /// Replaces the fleet. Turns under way go on with the hands they began with until their next wait; those of targets that are no longer named
    /// end before their next act.
    ///
    /// # Errors
    /// When the ledger cannot enlist it; the old fleet stays.
    pub async fn reload(self: &Arc<Self>, fleet: Fleet) -> Result<(), Fault> {
        let names: Vec<TargetName> = fleet.keys().cloned().collect();
        self.tools.ledger.enlist(&names, self.tools.clock.now()).await?;
        self.boards.replace(&fleet);
        *self.fleet.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fleet);
        *lock(&self.elsewhere) = None;
        *lock(&self.unseen) = names.into_iter().collect();
        self.wake.notify_one();
        Ok(())
    }

    /// Hands a command to its target's turn, which answers it.
    ///
    /// # Errors
    /// What the turn answered, or `Stopping`.
    pub async fn command(self: &Arc<Self>, target: &TargetName, wish: Wish) -> Result<String, Fault> {
        if !self.fleet().contains_key(target) {
            return Err(no_target(target));
        }
        let (command, answer) = Command::new(wish);
        lock(&self.commands).entry(target.clone()).or_default().push(command);
        if let Some(turn) = lock(&self.busy).get(target) {
            turn.notify_one();
        }
        self.wake.notify_one();
        answer.await.unwrap_or_else(|_| Err(Fault::new(Kind::Stopping, "keywheel is stopping")))
    }

    /// A password of this place that another target's record has: its instance may have left one selection for another.
    async fn known_elsewhere(&self, place: &str) -> Result<Option<(TargetName, Secret)>, Fault> {
        let known = lock(&self.elsewhere).clone();
        let elsewhere = match known {
            Some(elsewhere) => elsewhere,
            None => {
                let (fleet, mut found) = (self.fleet(), Elsewhere::new());
                for row in self.tools.ledger.listing().await? {
                    if row.projection.generation == Generation::default() || fleet.contains_key(&row.target) {
                        continue;
                    }
                    let rows = self.tools.ledger.recent(&row.target).await?;
                    let state = fold(rows.iter().map(|row| &row.event)).map_err(|illegal| {
                        Fault::new(Kind::LedgerCorrupt, format!("target {}: {illegal}", row.target))
                    })?;
                    if let (Some(place), Some(current)) = (state.standing.place, state.standing.current) {
                        found.insert(place, (row.target, current.generation));
                    }
                }
                let found = Arc::new(found);
                *lock(&self.elsewhere) = Some(Arc::clone(&found));
                found
            }
        };
        let Some((other, generation)) = elsewhere.get(place) else {
            return Ok(None);
        };
        Ok(Some((other.clone(), self.tools.ledger.password(other, *generation).await?)))
    }

    async fn enlist(&self) -> Result<(), Fault> {
        let names: Vec<TargetName> = self.fleet().keys().cloned().collect();
        self.tools.ledger.enlist(&names, self.tools.clock.now()).await?;
        *lock(&self.unseen) = names.into_iter().collect();
        Ok(())
    }

    async fn sweep(self: &Arc<Self>, turns: &mut JoinSet<(TargetName, Result<(), Fault>)>) -> Result<(), Fault> {
        let now = self.tools.clock.now();
        let fleet = self.fleet();
        let strangers = self.strangers.load(Ordering::Relaxed);
        let passed_over = strangers + lock(&self.busy).len() + lock(&self.kept_off).len();
        let asked: Vec<TargetName> = lock(&self.commands).keys().cloned().collect();
        let due = match self.only_obeys.load(Ordering::Relaxed) {
            true => Vec::new(),
            false => self.tools.ledger.due(now, self.turns_at_once + passed_over).await?,
        };
        let kept_off = |name: &TargetName| lock(&self.kept_off).get(name).is_some_and(|(until, _)| now < *until);
        let places = self.turns_at_once + self.lent.load(Ordering::Relaxed).min(LENT_LIMIT);
        let free = places.saturating_sub(turns.len());
        for name in self.boards.woken() {
            if let Some(turn) = lock(&self.busy).get(&name) {
                turn.notify_one();
            }
            // A turn that is about to end with its wait listens no more: there is another one after it.
            lock(&self.unseen).insert(name);
        }
        let unseen: Vec<TargetName> = lock(&self.unseen).iter().take(free + passed_over).cloned().collect();
        let by_time = due.into_iter().chain(unseen).filter(|name| !kept_off(name));
        for name in asked.into_iter().chain(by_time) {
            if turns.len() >= places {
                break;
            }
            let Some(target) = fleet.get(&name) else {
                // It left the fleet before its turn came.
                for command in self.take_commands(&name) {
                    let _unheard = command.answer.send(Err(no_target(&name)));
                }
                lock(&self.unseen).remove(&name);
                continue;
            };
            if lock(&self.busy).contains_key(&name) {
                continue;
            }
            lock(&self.unseen).remove(&name);
            let poke = Arc::new(Notify::new());
            lock(&self.busy).insert(name.clone(), Arc::clone(&poke));
            let (driver, target) = (Arc::clone(self), Arc::clone(target));
            turns.spawn(async move { (name, turn::take(&driver, &target, &poke).await) });
        }
        Ok(())
    }

    fn turn_ended(&self, ended: Result<(TargetName, Result<(), Fault>), tokio::task::JoinError>) {
        match ended {
            Ok((name, outcome)) => {
                lock(&self.busy).remove(&name);
                let stops = |fault: &Fault| matches!(fault.kind, Kind::LedgerFull | Kind::LedgerUnusable);
                self.ledger_fails.store(outcome.as_ref().is_err_and(stops), Ordering::Relaxed);
                match outcome {
                    Ok(()) => {
                        lock(&self.kept_off).remove(&name);
                    }
                    Err(fault) => self.keep_off(name, &fault),
                }
                self.ended.fetch_add(1, Ordering::Relaxed);
            }
            // A panic in a turn is a defect; its target stays marked busy, so that it is not repeated, until the next start.
            Err(defect) => {
                tracing::error!(%defect, "a turn ended in a defect; its target rests until keywheel starts again")
            }
        }
        self.wake.notify_one();
    }

    fn keep_off(&self, name: TargetName, fault: &Fault) {
        let mut kept_off = lock(&self.kept_off);
        let times = kept_off.get(&name).map_or(0, |(_, times)| *times);
        let wait = TURN_RETRY.0.saturating_mul(1 << times.min(10)).min(TURN_RETRY.1);
        if matches!(fault.kind, Kind::ClaimLost | Kind::Stopping) {
            tracing::info!(target = %name, %fault, "the turn ended early");
        } else {
            self.tally.failed_turns.add();
            tracing::error!(target = %name, %fault, retry_in = ?wait, "the turn could not go on; nothing was sent after this");
        }
        kept_off.insert(name, (self.tools.clock.now() + wait, times + 1));
    }

    /// The outcome of work that asks sinks or hooks. Where it takes long, its turn's place is another's until it is done.
    async fn without_place<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = self.tools.clock.sleep(PATIENCE) => {}
        }
        let _lent = Lent::by(self);
        work.await
    }

    /// Whether the target was taken out of the configuration: its turn ends before its next act.
    fn has_let_go(&self, target: &TargetName) -> bool {
        !self.fleet.read().unwrap_or_else(PoisonError::into_inner).contains_key(target)
    }

    /// Whether the fleet has another target of this name by now, or none: a turn ends at its next wait, and another one goes on with the new settings.
    fn has_replaced(&self, target: &Target) -> bool {
        self.fleet().get(&target.name).is_none_or(|now| !std::ptr::eq(Arc::as_ptr(now), target))
    }

    fn take_commands(&self, target: &TargetName) -> Vec<Command> {
        lock(&self.commands).remove(target).unwrap_or_default()
    }

    fn refuse_commands(&self) {
        lock(&self.commands).clear();
    }
}

/// A place that is another's until this is dropped.
struct Lent<'a>(&'a AtomicUsize);

impl<'a> Lent<'a> {
    fn by(driver: &'a Driver) -> Self {
        driver.lent.fetch_add(1, Ordering::Relaxed);
        driver.wake.notify_one();
        Self(&driver.lent)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn no_target(name: &TargetName) -> Fault {
    Fault::new(Kind::Usage, format!("there is no target {name}"))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing panics while holding these locks; should it ever, the map inside is still whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
