//! A story: processes that start, die, are paused and overtaken; people and outsiders in between; then the calm in which everything has to settle.

use super::cloud::Mood;
use super::dice::Dice;
use super::disk::{DiskOf, Record};
use super::fleet::{Blueprint, build, draw_plan};
use super::plan::{Kept, Way};
use super::sim::{Numbers, Process, START, Sim, Tally, Told, Watch};
use super::truth::Truth;
use keywheel::driver::{Driver, Tools};
use keywheel::hook::Terms;
use keywheel::moment::Moment;
use keywheel::name::{HookName, TargetName};
use keywheel::rotation::plan::{Limits, OnSinkDown, Plan, Recovery, Strategy};
use keywheel::rotation::waves::Waves;
use keywheel::schedule::{Freeze, Missed, Settings, Timetable};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a process may take to stop when it is asked to.
const STOP_LIMIT: Duration = Duration::from_secs(900);

/// A process that runs.
pub struct Running {
    pub process: Arc<Process>,
    pub driver: Arc<Driver>,
    pub stop: CancellationToken,
    pub main: JoinHandle<()>,
    pub alarm: JoinHandle<()>,
}

/// What kind of story a seed tells.
#[derive(Default)]
pub struct Traits {
    pub outsider: bool,
    pub meddler: bool,
    pub replacer: bool,
    pub pauses: bool,
    pub reloads: bool,
    pub clocks: bool,
    pub nodes_fail: bool,
    pub doubles: bool,
    pub disk: bool,
    pub unstick: bool,
    /// Waits that a process lives through at most; 0 for stories without crashes.
    pub mortality: u64,
}

pub struct Story {
    pub sim: Sim,
    pub blueprints: Vec<Blueprint>,
    pub running: Vec<Running>,
    pub traits: Traits,
    storm_minutes: u64,
    /// How many turns at once, where it matters.
    pub turns: Option<usize>,
    next_id: u64,
    pub skew: i64,
    /// Since when the newest process or configuration is there, by its clock: slots before may be passed over.
    pub up_since: Moment,
}

/// One target in five is frozen for some hours. By what was drawn already, so that the story of a seed is otherwise what it was.
fn freezes(minutes: u64, number: usize) -> Vec<Freeze> {
    if !minutes.is_multiple_of(5) {
        return Vec::new();
    }
    let from = Moment::from_millis(START) + Duration::from_secs(600 * (minutes / 5 + number as u64));
    let to = from + Duration::from_secs(3_600 * (1 + minutes % 4));
    let wall = |at: Moment| at.utc().format("%Y-%m-%d %H:%M:%S").to_string();
    let name = "freeze".parse().expect("a name");
    vec![Freeze::parse(name, &wall(from), &wall(to), chrono_tz::UTC).expect("a freeze")]
}

impl Story {
    /// The story of a seed. Inside a runtime with paused time.
    pub fn new(seed: u64, talkative: bool) -> Self {
        let mut dice = Dice::new(seed);
        let fault_rate = [0, 150, 400, 600][dice.below(4) as usize];
        let traits = Traits {
            outsider: dice.chance(200),
            meddler: dice.chance(150),
            replacer: dice.chance(250),
            pauses: dice.chance(250),
            reloads: dice.chance(250),
            clocks: dice.chance(250),
            nodes_fail: dice.chance(600),
            doubles: dice.chance(300),
            disk: dice.chance(300),
            unstick: dice.chance(500),
            mortality: [0, 400, 120, 40][dice.below(4) as usize],
        };
        let targets = 1 + dice.below(3) as usize;
        let shared = dice.chance(400);
        let storm_minutes = 10 + dice.below(200);
        let mut story = Self::empty(dice, traits, fault_rate, talkative);
        story.storm_minutes = storm_minutes;
        for number in 0..targets {
            let key = if shared { "i-shared".to_owned() } else { format!("i-{number}") };
            story.add_target(number, key);
        }
        {
            let mut inner = story.sim.lock();
            let dice = &mut inner.dice;
            let debounce = Duration::from_secs([0, 0, 5, 120][dice.below(4) as usize]);
            let per_minute = [None, None, NonZeroU32::new(4), NonZeroU32::new(60)][dice.below(4) as usize];
            inner.terms = Terms { debounce, once_for_all: dice.chance(500), per_minute };
        }
        story
    }

    /// A world without targets.
    pub fn empty(dice: Dice, traits: Traits, fault_rate: u64, talkative: bool) -> Self {
        let sim = Sim::new(dice, talkative);
        sim.lock().fault_rate = fault_rate;
        Self {
            sim,
            blueprints: Vec::new(),
            running: Vec::new(),
            traits,
            storm_minutes: 0,
            turns: None,
            next_id: 0,
            skew: 0,
            up_since: Moment::default(),
        }
    }

    pub fn add_target(&mut self, number: usize, key: String) {
        let mut inner = self.sim.lock();
        let fault_rate = inner.fault_rate;
        let dice = &mut inner.dice;
        let way = Way::pick(dice);
        let tasks = dice.chance(600);
        let mood = Mood { storm: true, tasks, merged_code: dice.chance(200), fault_rate };
        let kept = Kept::new(way, tasks, dice);
        let plan = draw_plan(&kept, dice);
        let name: TargetName = format!("t{number}").parse().expect("a name");
        let missed = [Missed::IfOpen, Missed::Run, Missed::Skip][dice.below(3) as usize];
        let minutes = 40 + dice.below(120);
        let timetable = Timetable::parse(Settings {
            target: name.clone(),
            schedule: None,
            every: Some(Duration::from_secs(60 * minutes)),
            zone: chrono_tz::UTC,
            window: dice.chance(700).then(|| Duration::from_secs(1_200)),
            splay: Duration::from_secs(120),
            missed,
            max_age: None,
        })
        .expect("a timetable")
        .frozen_on(freezes(minutes, number));
        let accounts = if way == Way::Alternate { 2 } else { 1 };
        let first: Vec<u64> = (0..accounts).map(|_| inner.fresh_password()).collect();
        let mut truth = Truth::new(way, kept.strategy.clone(), key.clone(), mood, first.clone());
        truth.named = plan.sinks.clone();
        truth.proceeds = plan.on_sink_down == OnSinkDown::Proceed;
        truth.login = Some(plan.login);
        truth.freezes = freezes(minutes, number);
        inner.say(|| {
            let Plan { login, abilities, recovery, on_sink_down, .. } = &plan;
            format!("{name} on {key}: {kept:?}, login {login}, {abilities:?}, {recovery:?}, {on_sink_down:?}")
        });
        inner.truths.insert(name.clone(), truth);
        drop(inner);
        self.blueprints.push(Blueprint { name, way, kept, plan, timetable, key, first, named: true, wave: None });
    }

    /// A target on an instance of its own, with one sink, to which nothing happens but what its story says.
    pub fn add_calm(&mut self, settings: Settings, hooks: Vec<HookName>, wave: Option<(TargetName, Waves)>) {
        let name = settings.target.clone();
        let (strategy, key) = (Strategy::InPlace, format!("i-{name}"));
        let kept =
            Kept { strategy: strategy.clone(), tasks: false, asks_old: true, take_over: false, adopts_resting: false };
        let mut inner = self.sim.lock();
        let mut plan = draw_plan(&kept, &mut inner.dice);
        (plan.login, plan.verify_every, plan.recovery) = (true, None, Recovery::Halt);
        (plan.limits, plan.on_sink_down) = (Limits::default(), OnSinkDown::Hold);
        (plan.sinks, plan.hooks) = (vec!["sink".parse().expect("a name")], hooks);
        let timetable = Timetable::parse(settings).expect("a timetable");
        let first = vec![inner.fresh_password()];
        let mood = Mood { storm: false, tasks: false, merged_code: false, fault_rate: 0 };
        let mut truth = Truth::new(Way::InPlace, strategy, key.clone(), mood, first.clone());
        truth.named = plan.sinks.clone();
        truth.login = Some(true);
        inner.truths.insert(name.clone(), truth);
        drop(inner);
        self.blueprints.push(Blueprint {
            name,
            way: Way::InPlace,
            kept,
            plan,
            timetable,
            key,
            first,
            named: true,
            wave,
        });
    }

    /// Lives through the storm and the calm after it; then a person repairs what halted.
    pub async fn live(&mut self) -> Told<Tally> {
        self.start();
        self.storm().await?;
        self.calm().await?;
        self.come_to_rest().await?;
        self.repair().await?;
        self.finish().await
    }

    pub async fn finish(&mut self) -> Told<Tally> {
        for one in std::mem::take(&mut self.running) {
            self.end(one).await;
        }
        let inner = self.sim.lock();
        match &inner.broken {
            Some(broken) => Err(broken.clone()),
            None => Ok(inner.tally.clone()),
        }
    }

    pub fn is_broken(&self) -> Told {
        self.sim.lock().broken.clone().map_or(Ok(()), Err)
    }

    /// A new process on the same durable state.
    pub fn start(&mut self) {
        self.next_id += 1;
        let mut inner = self.sim.lock();
        let storm = inner.storm;
        let dice = &mut inner.dice;
        let lives = match self.traits.mortality {
            mortality if mortality > 0 && storm => dice.below(mortality) as i64,
            _ => -1,
        };
        let freezes = if self.traits.doubles && storm { dice.below(120) as i64 } else { -1 };
        let turns = 1 + dice.below(3) as usize;
        let turns = self.turns.unwrap_or(turns);
        let id = self.next_id;
        inner.say(|| format!("process {id} starts"));
        drop(inner);
        let process = Process::new(&self.sim, id, self.skew, (lives, freezes));
        let tools = Tools {
            ledger: Arc::new(DiskOf(Arc::clone(&process))),
            clock: Arc::new(Watch(Arc::clone(&process))),
            chance: Arc::new(Numbers(self.sim.clone())),
        };
        self.up_since = process.clock();
        let stop = CancellationToken::new();
        let driver = Driver::new(tools, build(&self.blueprints, &process), turns, stop.clone());
        let main = tokio::spawn({
            let (driver, process) = (Arc::clone(&driver), Arc::clone(&process));
            async move {
                let ready = Arc::clone(&process);
                let on_sweep = move || ready.ready.store(true, Ordering::Relaxed);
                if driver.run(on_sweep).await.is_err() {
                    process.kill("it could not enlist its fleet");
                }
            }
        });
        let alarm = tokio::spawn(ring(Arc::clone(&process), driver.bell()));
        self.running.push(Running { process, driver, stop, main, alarm });
    }

    /// Asked to stop, it stops within a bounded time.
    pub async fn end(&self, mut one: Running) {
        one.alarm.abort();
        one.process.spare();
        one.process.resume();
        one.stop.cancel();
        if !one.process.is_dead() && tokio::time::timeout(STOP_LIMIT, &mut one.main).await.is_err() {
            self.sim.judge(Err(format!("process {} does not stop", one.process.id)));
        }
        one.process.kill("it has stopped");
        one.main.abort();
    }

    /// Takes away who died: what it was about to do is dropped.
    pub fn bury(&mut self) {
        for gone in self.running.extract_if(.., |one| one.process.is_dead()) {
            gone.main.abort();
            gone.alarm.abort();
        }
    }

    /// Takes away who died, and starts another one when nobody is left who works.
    pub async fn look_after(&mut self) {
        self.bury();
        if self.running.iter().all(|one| one.process.is_paused()) {
            let (downtime, kills) = {
                let mut inner = self.sim.lock();
                (inner.dice.below(600), self.running.len() > 1 || inner.dice.chance(200))
            };
            tokio::time::sleep(Duration::from_secs(downtime)).await;
            if kills {
                self.running.iter().for_each(|one| one.process.kill("killed while paused"));
            }
            self.start();
        }
    }

    pub async fn storm(&mut self) -> Told {
        let ends = self.sim.lock().now + 60_000 * self.storm_minutes as i64;
        while self.sim.lock().now < ends {
            self.is_broken()?;
            let pause = self.sim.lock().dice.below(900_000);
            let news = self.sim.clone();
            tokio::select! {
                biased;
                () = news.news.notified() => {}
                () = tokio::time::sleep(Duration::from_millis(pause)) => self.disturb().await,
            }
            self.look_after().await;
        }
        self.is_broken()
    }
}

/// The alarm: it rings when something may be due, a little late.
async fn ring(process: Arc<Process>, bell: Arc<Notify>) {
    loop {
        process.alive().await;
        let wait = until_due(&process);
        tokio::select! {
            biased;
            () = process.released.notified() => {}
            () = tokio::time::sleep(wait) => {
                process.alive().await;
                bell.notify_one();
            }
        }
    }
}

fn until_due(process: &Process) -> Duration {
    const LATE: u64 = 1_000;
    /// What was due and could not be taken up is not rung for every second: a target that cannot go on would make a story endless.
    const PATIENCE: i64 = 8_000;
    const LONGEST: i64 = 3_600_000;
    let mut inner = process.sim.lock();
    let (now, clock) = (inner.now, inner.now + process.skew.load(Ordering::Relaxed));
    let due = |record: &Record| match record.held(now) {
        Some(holder) if holder.process == process.id => LONGEST,
        Some(holder) => (record.projection.wake_at.millis() - clock).max(holder.until - now),
        None => record.projection.wake_at.millis() - clock,
    };
    let first = inner.disk.records.values().map(due).min().unwrap_or(LONGEST);
    let first = if first <= 0 { PATIENCE } else { first.min(LONGEST) };
    Duration::from_millis(first as u64 + 1 + inner.dice.below(LATE))
}
