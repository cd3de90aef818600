//! What all simulated parts share: one true time, one pair of dice, the disk, the instances and sinks as they really are, and the first promise that
//! was broken. A *process* is one life of the daemon: everything it touches asks it first whether it is still alive.

use super::dice::Dice;
use super::disk::Disk;
use super::truth::Truth;
use async_trait::async_trait;
use keywheel::chance::Chance;
use keywheel::clock::Clock;
use keywheel::hook::Terms;
use keywheel::moment::Moment;
use keywheel::name::TargetName;
use keywheel::password::Policy;
use keywheel::secret::Secret;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The true time at which every story begins.
pub const START: i64 = 1_750_000_000_000;

/// Steps of one story, a year's among them: more means that keywheel goes in a circle.
const STEP_LIMIT: u64 = 600_000;

pub type Told<T = ()> = Result<T, String>;

pub fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Told {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// The story's common ground.
#[derive(Clone)]
pub struct Sim {
    inner: Arc<Mutex<Inner>>,
    /// Something happened that the story has to look at: a process died or was paused, a promise was broken.
    pub news: Arc<Notify>,
    began: Instant,
}

pub struct Inner {
    pub dice: Dice,
    /// Faults still happen.
    pub storm: bool,
    /// In so many of a thousand acts something goes wrong.
    pub fault_rate: u64,
    pub disk: Disk,
    pub truths: BTreeMap<TargetName, Truth>,
    /// Nobody set a clock or let the machine sleep: spans by a process's clock are true spans.
    pub steady_clock: bool,
    /// When hooks are told. All targets name the same hooks.
    pub terms: Terms,
    /// When hooks were told last, each for whom.
    pub rings: Vec<(i64, TargetName, Vec<TargetName>)>,
    pub tally: Tally,
    pub transcript: Option<String>,
    pub broken: Option<String>,
    /// The true time, in milliseconds; refreshed whenever the lock is taken.
    pub now: i64,
    pub slept: i64,
    next_password: u64,
}

/// What a story came to.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    pub steps: u64,
    pub crashes: u64,
    pub rotations: u64,
    pub settled: u64,
    pub halted: u64,
    pub faults: BTreeMap<&'static str, u64>,
    pub halts: BTreeMap<String, u64>,
    pub proofs: BTreeMap<String, u64>,
}

impl Tally {
    pub fn add(&mut self, one: Self) {
        self.steps += one.steps;
        self.crashes += one.crashes;
        self.rotations += one.rotations;
        self.settled += one.settled;
        self.halted += one.halted;
        for (what, times) in one.faults {
            *self.faults.entry(what).or_default() += times;
        }
        for (all, one) in [(&mut self.halts, one.halts), (&mut self.proofs, one.proofs)] {
            for (what, times) in one {
                *all.entry(what).or_default() += times;
            }
        }
    }
}

impl Sim {
    /// Inside the runtime whose time it follows.
    pub fn new(dice: Dice, talkative: bool) -> Self {
        let inner = Inner {
            dice,
            storm: true,
            fault_rate: 0,
            disk: Disk::default(),
            truths: BTreeMap::new(),
            steady_clock: true,
            terms: Terms::default(),
            rings: Vec::new(),
            tally: Tally::default(),
            transcript: talkative.then(String::new),
            broken: None,
            now: START,
            slept: 0,
            next_password: 1,
        };
        Self { inner: Arc::new(Mutex::new(inner)), news: Arc::new(Notify::new()), began: Instant::now() }
    }

    /// The common ground as of now. Never held over a wait.
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner.lock().expect("nobody panics with it");
        inner.now = START + i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX) + inner.slept;
        inner
    }

    /// Notes the first promise that was broken, with where it was seen.
    pub fn judge(&self, verdict: Told) {
        if let Err(broken) = verdict {
            let mut inner = self.lock();
            inner.say(|| format!("BROKEN: {broken}"));
            inner.broken.get_or_insert(broken);
            self.news.notify_one();
        }
    }
}

impl Inner {
    pub fn say(&mut self, what: impl FnOnce() -> String) {
        let at = self.now - START;
        if let Some(transcript) = &mut self.transcript {
            use std::fmt::Write as _;
            let _ = writeln!(transcript, "{at:>12} {}", what());
        }
    }

    pub fn count(&mut self, fault: &'static str) {
        *self.tally.faults.entry(fault).or_default() += 1;
    }

    /// Whether something goes wrong now; counted.
    pub fn strikes(&mut self, share: u64, fault: &'static str) -> bool {
        let struck = self.storm && self.dice.chance(self.fault_rate / share);
        if struck {
            self.count(fault);
        }
        struck
    }

    pub fn fresh_password(&mut self) -> u64 {
        self.next_password += 1;
        self.next_password
    }
}

/// The text of a password. Numbers are enough for a world that only tells them apart.
pub fn text(password: u64) -> Secret {
    Secret::new(format!("pw-{password}"))
}

/// The number of a password; 0 for a text that is none of the world's.
pub fn number(password: &Secret) -> u64 {
    password.expose().strip_prefix("pw-").and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// One life of the daemon.
pub struct Process {
    pub sim: Sim,
    pub id: u64,
    dead: AtomicBool,
    paused: AtomicBool,
    resumed: Notify,
    /// How far its clock is ahead of true time, in milliseconds.
    pub skew: AtomicI64,
    /// Waits that it lives through before it dies, or before it is paused; negative means never.
    fatal: AtomicI64,
    pub freezing: AtomicI64,
    /// Its first sweep reached the ledger.
    pub ready: AtomicBool,
    /// Rung when a claim of this process was given up.
    pub released: Notify,
}

impl Process {
    pub fn new(sim: &Sim, id: u64, skew: i64, (fatal, freezing): (i64, i64)) -> Arc<Self> {
        Arc::new(Self {
            sim: sim.clone(),
            id,
            dead: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            resumed: Notify::new(),
            skew: AtomicI64::new(skew),
            fatal: AtomicI64::new(fatal),
            freezing: AtomicI64::new(freezing),
            ready: AtomicBool::new(false),
            released: Notify::new(),
        })
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// It dies here and now: nothing it was about to do happens.
    pub fn kill(&self, how: &'static str) {
        if !self.dead.swap(true, Ordering::Relaxed) {
            let mut inner = self.sim.lock();
            inner.say(|| format!("process {} dies: {how}", self.id));
            inner.tally.crashes += 1;
            drop(inner);
            self.resumed.notify_waiters();
            self.sim.news.notify_one();
        }
    }

    pub fn resume(&self) {
        self.paused.store(false, Ordering::Relaxed);
        self.resumed.notify_waiters();
    }

    /// Dies and pauses no more by itself.
    pub fn spare(&self) {
        self.fatal.store(-1, Ordering::Relaxed);
        self.freezing.store(-1, Ordering::Relaxed);
    }

    /// Waits as long as the process is paused, and for ever once it is dead.
    pub async fn alive(&self) {
        loop {
            if self.is_dead() {
                std::future::pending::<()>().await;
            }
            if !self.is_paused() {
                return;
            }
            self.resumed.notified().await;
        }
    }

    /// A wait, as there is one before and after each thing outside: a little time passes, and the process may die or be paused.
    pub async fn wait(&self) {
        self.alive().await;
        let going_on = {
            let mut inner = self.sim.lock();
            inner.tally.steps += 1;
            inner.broken.is_none() && inner.tally.steps < STEP_LIMIT
        };
        if !going_on {
            self.sim.judge(Err(format!("it did not end within {STEP_LIMIT} steps")));
            std::future::pending::<()>().await;
        }
        let delay = {
            let mut inner = self.sim.lock();
            match inner.dice.below(4) {
                0 => 0,
                1 | 2 => inner.dice.below(20),
                _ => inner.dice.below(700),
            }
        };
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        if self.fatal.fetch_sub(1, Ordering::Relaxed) == 0 {
            self.kill("a crash");
        }
        if self.freezing.fetch_sub(1, Ordering::Relaxed) == 0 {
            self.paused.store(true, Ordering::Relaxed);
            let mut inner = self.sim.lock();
            inner.say(|| format!("process {} is paused", self.id));
            inner.count("process paused");
            drop(inner);
            self.sim.news.notify_one();
        }
        self.alive().await;
    }

    /// The time by its own clock.
    pub fn clock(&self) -> Moment {
        Moment::from_millis(self.sim.lock().now + self.skew.load(Ordering::Relaxed))
    }
}

/// A process's clock.
pub struct Watch(pub Arc<Process>);

#[async_trait]
impl Clock for Watch {
    fn now(&self) -> Moment {
        self.0.clock()
    }

    async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
        self.0.alive().await;
    }
}

/// Passwords are numbered, ids come from the dice.
pub struct Numbers(pub Sim);

impl Chance for Numbers {
    fn password(&self, _policy: &Policy) -> Secret {
        text(self.0.lock().fresh_password())
    }

    fn bits(&self) -> u128 {
        self.0.lock().dice.bits()
    }
}
