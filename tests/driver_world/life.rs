//! A story: processes that start, die, are paused and overtaken; people and outsiders in between; then the calm in which everything has to settle.

use super::cloud::Mood;
use super::dice::Dice;
use super::disk::{DiskOf, Record};
use super::fleet::{Blueprint, build, draw_plan};
use super::hands::tick;
use super::instance::{Instance, PAIR, index};
use super::plan::{Kept, Way};
use super::promises;
use super::sim::{Inner, Numbers, Process, Sim, Tally, Told, Watch, ensure, number, text};
use super::truth::Truth;
use keywheel::driver::{Driver, Tools, Wish};
use keywheel::fault::{Fault, Kind};
use keywheel::moment::Moment;
use keywheel::name::{SinkName, TargetName};
use keywheel::rotation::event::By;
use keywheel::rotation::plan::{OnSinkDown, Plan};
use keywheel::rotation::state::State;
use keywheel::rotation::why::Why;
use keywheel::rotation::{Action, next};
use keywheel::schedule::{Missed, Settings, Timetable};
use keywheel::secret::Secret;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const OPERATOR: By = By::Operator { uid: 0 };
/// How long somebody waits for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(1_800);
/// How long a process may take to stop when it is asked to.
const STOP_LIMIT: Duration = Duration::from_secs(900);
/// The longest time by which a clock is set wrong, in milliseconds.
const WRONG_CLOCK: u64 = 3_600_000;
/// How often the end is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(120);

/// A process that runs.
pub struct Running {
    pub process: Arc<Process>,
    pub driver: Arc<Driver>,
    stop: CancellationToken,
    main: JoinHandle<()>,
    alarm: JoinHandle<()>,
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
    traits: Traits,
    storm_minutes: u64,
    /// How many turns at once, where it matters.
    pub turns: Option<usize>,
    next_id: u64,
    skew: i64,
    /// Since when the newest process or configuration is there, by its clock: slots before may be passed over.
    up_since: Moment,
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

    fn add_target(&mut self, number: usize, key: String) {
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
        let timetable = Timetable::parse(Settings {
            target: name.clone(),
            schedule: None,
            every: Some(Duration::from_secs(60 * (40 + dice.below(120)))),
            zone: chrono_tz::UTC,
            window: dice.chance(700).then(|| Duration::from_secs(1_200)),
            splay: Duration::from_secs(120),
            missed,
            max_age: None,
        })
        .expect("a timetable");
        let accounts = if way == Way::Alternate { 2 } else { 1 };
        let first: Vec<u64> = (0..accounts).map(|_| inner.fresh_password()).collect();
        let mut truth = Truth::new(way, kept.strategy.clone(), key.clone(), mood, first.clone());
        truth.named = plan.sinks.clone();
        truth.proceeds = plan.on_sink_down == OnSinkDown::Proceed;
        truth.login = Some(plan.login);
        inner.say(|| {
            let Plan { login, abilities, recovery, on_sink_down, .. } = &plan;
            format!("{name} on {key}: {kept:?}, login {login}, {abilities:?}, {recovery:?}, {on_sink_down:?}")
        });
        inner.truths.insert(name.clone(), truth);
        drop(inner);
        self.blueprints.push(Blueprint { name, way, kept, plan, timetable, key, first, named: true });
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
    async fn end(&self, mut one: Running) {
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

    async fn storm(&mut self) -> Told {
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

    /// What others do.
    async fn disturb(&mut self) {
        let (act, at) = {
            let mut inner = self.sim.lock();
            (inner.dice.below(14), inner.dice.below(self.blueprints.len() as u64) as usize)
        };
        let name = self.blueprints[at].name.clone();
        match act {
            0 | 1 => self.ask(at, Wish::Rotate { by: OPERATOR, reason: None }),
            2 => {
                let allow_reset = self.sim.lock().dice.chance(300);
                self.ask(at, Wish::Resume { by: OPERATOR, allow_reset });
            }
            3 if self.traits.pauses => {
                let span = Duration::from_secs(60 * self.sim.lock().dice.below(90));
                let wish = match self.sim.lock().dice.below(3) {
                    0 => Wish::Pause { by: OPERATOR, span: None },
                    1 => Wish::Pause { by: OPERATOR, span: Some(span) },
                    _ => Wish::Unpause { by: OPERATOR },
                };
                self.ask(at, wish);
            }
            4 => {
                let all = self.sim.lock().dice.chance(500);
                self.ask(at, Wish::Reveal { by: OPERATOR, all });
            }
            5 if self.traits.replacer => self.replace(at, None),
            6 if self.traits.replacer => {
                let password = text(self.blueprints[at].first[0]);
                self.ask(at, Wish::Adopt { by: OPERATOR, password, account: None });
            }
            7 if self.traits.outsider => intrude(&mut self.sim.lock(), &name),
            8 if self.traits.meddler => meddle(&mut self.sim.lock(), &name),
            9 if self.traits.reloads => self.reload(true).await,
            10 if self.traits.clocks => self.set_clock(),
            11 if self.traits.nodes_fail => knock_out(&mut self.sim.lock(), &name),
            12 if self.traits.disk => {
                let mut inner = self.sim.lock();
                let until = inner.now + 1_000 * inner.dice.below(900) as i64;
                match inner.dice.chance(500) {
                    true => inner.disk.full_until = until,
                    false => inner.disk.unreadable_until = until,
                }
                inner.count("disk trouble begins");
            }
            13 => {
                // Stopped and started again, or the one that was paused goes on beside the other.
                let stop = self.sim.lock().dice.chance(500);
                if let Some(paused) = self.running.iter().find(|one| one.process.is_paused()).filter(|_| !stop) {
                    self.sim.lock().say(|| format!("process {} goes on", paused.process.id));
                    paused.process.resume();
                    // What was signalled meanwhile reaches it now.
                    self.reload(false).await;
                } else if let Some(one) = self.running.pop() {
                    self.sim.lock().say(|| format!("process {} is told to stop", one.process.id));
                    self.end(one).await;
                } else {
                    self.start();
                }
            }
            _ => {}
        }
    }

    /// Asks the process that works, and checks what it answers.
    pub fn ask(&self, at: usize, wish: Wish) {
        let Some(one) = self.running.iter().rev().find(|one| !one.process.is_paused()) else { return };
        let (sim, driver, name) = (self.sim.clone(), Arc::clone(&one.driver), self.blueprints[at].name.clone());
        sim.lock().say(|| format!("{name} ? {wish:?}"));
        let (rotates, reveals) = (matches!(wish, Wish::Rotate { .. }), matches!(wish, Wish::Reveal { all: false, .. }));
        tokio::spawn(async move {
            let Ok(answer) = tokio::time::timeout(ANSWER_LIMIT, driver.command(&name, wish)).await else { return };
            let verdict = {
                let mut inner = sim.lock();
                inner.say(|| {
                    format!("{name} ! {}", answer.as_ref().map_or_else(|fault| fault.what.clone(), Clone::clone))
                });
                match answer {
                    Ok(_) if rotates => {
                        if let Some(truth) = inner.truths.get_mut(&name) {
                            truth.promised += 1;
                        }
                        Ok(())
                    }
                    Ok(said) if reveals => {
                        let record = inner.disk.records.get(&name);
                        let known = record.is_some_and(|record| {
                            record.passwords.values().any(|&password| password == number(&Secret::new(said.clone())))
                        });
                        ensure(known, || format!("{name}: reveal shows a password that the ledger lacks"))
                    }
                    Ok(_) | Err(_) => Ok(()),
                }
            };
            sim.judge(verdict);
        });
    }

    /// A person gives a password that works: what an account has, or what every node lets in.
    pub fn replace(&self, at: usize, account: Option<usize>) {
        let blueprint = &self.blueprints[at];
        let mut inner = self.sim.lock();
        let account = account.unwrap_or_else(|| inner.dice.below(blueprint.first.len() as u64) as usize);
        let fresh = inner.fresh_password();
        tick(&mut inner, &blueprint.name);
        let Some(truth) = inner.truths.get_mut(&blueprint.name) else { return };
        truth.replaced = true;
        let password = match &mut truth.instance {
            Instance::Accounts(clouds) => clouds[account].live,
            Instance::Nodes(nodes) => match nodes.works_everywhere().first() {
                Some(&works) => works,
                None => {
                    nodes.intrude(fresh, false);
                    fresh
                }
            },
        };
        let account = (blueprint.way == Way::Alternate).then(|| PAIR[account].to_owned());
        drop(inner);
        self.ask(at, Wish::Replace { by: OPERATOR, password: text(password), account });
    }

    /// The configuration is read again: another one, where `changed`; now and then a target is left out for a while.
    async fn reload(&mut self, changed: bool) {
        self.edit(changed);
        for one in self.running.iter().filter(|one| !one.process.is_paused()) {
            // A signal that comes before the start is over would find another configuration being enlisted.
            while !one.process.ready.load(Ordering::Relaxed) && !one.process.is_dead() && !one.process.is_paused() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            self.up_since = one.process.clock();
            let (driver, fleet) = (Arc::clone(&one.driver), build(&self.blueprints, &one.process));
            // The process may die meanwhile, and then nobody answers.
            let _refused = tokio::time::timeout(Duration::from_secs(60), driver.reload(fleet)).await;
        }
    }

    /// Somebody edits the file: a target is configured otherwise, or left out for a while.
    fn edit(&mut self, changed: bool) {
        let mut inner = self.sim.lock();
        let at = inner.dice.below(self.blueprints.len() as u64) as usize;
        let blueprint = &mut self.blueprints[at];
        if changed {
            match blueprint.named && inner.dice.chance(700) {
                true => blueprint.change(&mut inner.dice),
                false => blueprint.named = !blueprint.named,
            }
            let Blueprint { name, named, plan, .. } = &*blueprint;
            inner.say(|| {
                format!(
                    "configuration: {name} named {named}, login {}, {:?}, {:?}",
                    plan.login, plan.abilities, plan.sinks
                )
            });
            let name = name.clone();
            let (sinks, named) = (plan.sinks.clone(), *named);
            let proceeds = plan.on_sink_down == OnSinkDown::Proceed;
            if let Some(truth) = inner.truths.get_mut(&name) {
                truth.login = None;
                truth.proceeds |= proceeds;
                truth.named = if named { sinks.clone() } else { Vec::new() };
                let gone: Vec<SinkName> =
                    truth.sinks.keys().filter(|sink| !named || !sinks.contains(sink)).cloned().collect();
                gone.iter().for_each(|sink| truth.consumers.forget(sink));
            }
        }
    }

    /// The clock is set, or the machine sleeps.
    pub fn set_clock(&mut self) {
        let mut inner = self.sim.lock();
        inner.steady_clock = false;
        let by = inner.dice.below(WRONG_CLOCK) as i64;
        match inner.dice.below(4) {
            0 => {
                inner.slept += by;
                inner.count("machine slept");
                inner.say(|| format!("the machine sleeps for {} s", by / 1_000));
            }
            1 => self.skew = 0,
            2 => self.skew = by,
            _ => self.skew = -by,
        }
        let skew = self.skew;
        inner.count("clock set");
        inner.say(|| format!("the clock is {} s ahead", skew / 1_000));
        drop(inner);
        self.running.iter().for_each(|one| one.process.skew.store(skew, Ordering::Relaxed));
    }

    /// The storm is over: no more faults, one process, the clock is right, every target is named, and pauses without an end are ended.
    pub async fn calm(&mut self) -> Told {
        {
            let mut inner = self.sim.lock();
            inner.say(|| "the storm is over".to_owned());
            inner.storm = false;
            inner.disk.full_until = 0;
            inner.disk.unreadable_until = 0;
            let unstick = self.traits.unstick;
            let now = inner.now;
            for truth in inner.truths.values_mut() {
                truth.instance.calm(now, unstick);
                truth.sinks.values_mut().for_each(|shelf| shelf.down_until = 0);
            }
        }
        self.skew = 0;
        for one in &self.running {
            one.process.spare();
            one.process.skew.store(0, Ordering::Relaxed);
        }
        while self.running.len() > 1 {
            let first = self.running.remove(0);
            self.end(first).await;
        }
        self.running.iter().for_each(|one| one.process.resume());
        self.look_after().await;
        for blueprint in &mut self.blueprints {
            blueprint.named = true;
            if let Some(truth) = self.sim.lock().truths.get_mut(&blueprint.name) {
                truth.named = blueprint.plan.sinks.clone();
            }
        }
        self.reload(false).await;
        self.end_pauses();
        self.is_broken()
    }

    fn end_pauses(&self) {
        for at in 0..self.blueprints.len() {
            let paused = self.standing(at).0.standing.paused;
            if paused.is_some_and(|pause| pause.until == Moment::NEVER) {
                self.ask(at, Wish::Unpause { by: OPERATOR });
            }
        }
    }

    /// P6: without new faults every target settles or halts, within a bound that follows from the limits.
    pub async fn come_to_rest(&mut self) -> Told {
        let patience = self.patience();
        let deadline = self.sim.lock().now + patience;
        loop {
            self.is_broken()?;
            let restless = (0..self.blueprints.len()).find(|&at| !self.is_at_rest(at));
            let Some(restless) = restless else { break };
            if self.sim.lock().now >= deadline {
                let (state, action) = self.standing(restless);
                return Err(format!(
                    "P6: {} does not end: {action:?}: {:?}",
                    self.blueprints[restless].name, state.open
                ));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
            self.end_pauses();
        }
        for blueprint in &self.blueprints {
            let mut inner = self.sim.lock();
            let halted = inner.disk.records.get(&blueprint.name).and_then(|record| record.state.halt.clone());
            match halted {
                None => promises::check_rest(&mut inner, &blueprint.name, &blueprint.plan.sinks)?,
                Some(halt) => fits(&inner, &blueprint.name, &halt.fault)?,
            }
        }
        Ok(())
    }

    /// What the durable record means, and what follows from it now.
    pub fn standing(&self, at: usize) -> (State, Action) {
        let blueprint = &self.blueprints[at];
        let (state, now) = {
            let inner = self.sim.lock();
            let state = inner.disk.records.get(&blueprint.name).map(|record| record.state.clone());
            (state.unwrap_or_default(), Moment::from_millis(inner.now))
        };
        let plan = blueprint.settings(self.up_since).plan(&state.standing, now);
        let action = next(&state, &plan, now);
        (state, action)
    }

    /// Whether nothing is left to do before the next slot, or a person is needed.
    fn is_at_rest(&self, at: usize) -> bool {
        let (state, action) = self.standing(at);
        let why = match action {
            Action::Wait { why, .. } => why,
            // So does one that left the configuration in mid-rotation, and comes back to find its instance held.
            _ => return self.stands_back(at),
        };
        let idle = match why {
            Why::Halted(_) => return true,
            // A task that never ends keeps the instance: each slot waits for its window and passes.
            Why::NotReady(_) if self.is_stuck(at) => return true,
            // A grace as long as the step of the schedule: the next slot always has to wait for its end.
            Why::Grace { .. } => true,
            Why::NotDue | Why::OnlyWhenAsked | Why::SinkDiffers { .. } | Why::Overlapping { .. } => true,
            Why::NotAdopted(_) => state.standing.current.is_some(),
            _ => false,
        };
        idle && state.open.is_none() && state.asked.is_none()
    }

    fn is_stuck(&self, at: usize) -> bool {
        let inner = self.sim.lock();
        !self.traits.unstick && !inner.truths[&self.blueprints[at].name].instance.is_free(inner.now)
    }

    /// Whether it cannot begin because another target's rotation holds the instance, halted or behind a task that never ends.
    fn stands_back(&self, at: usize) -> bool {
        let blueprint = &self.blueprints[at];
        (0..self.blueprints.len()).any(|other| {
            let (halted, holds) = {
                let inner = self.sim.lock();
                let Some(record) = inner.disk.records.get(&self.blueprints[other].name) else { return false };
                (record.state.halt.is_some(), record.projection.holds.as_ref() == Some(&blueprint.key))
            };
            other != at && holds && (halted || self.is_stuck(other))
        })
    }

    /// The longest a target may stay unsettled when nothing goes wrong any more.
    fn patience(&self) -> i64 {
        let inner = self.sim.lock();
        let of = |at: usize| {
            let blueprint = &self.blueprints[at];
            let limits = &blueprint.plan.limits;
            let one_call = limits.late_effect
                + limits.task_patience
                + limits.proof_patience
                + limits.call_backoff.longest
                + limits.look_backoff.longest * (limits.rounds + limits.agreement + 1);
            let all = one_call * (limits.attempts + limits.redraws + 1)
                + limits.lock_patience * 2
                + limits.outlet_backoff.longest * (limits.hook_attempts + 1);
            let truth = &inner.truths[&blueprint.name];
            let quiet = truth.instance.quiet_at(inner.now) - inner.now;
            let paused =
                inner.disk.records.get(&blueprint.name).and_then(|record| record.state.standing.paused.clone());
            let pause = paused.map_or(0, |pause| (pause.until.millis() - inner.now).max(0));
            let pause = if pause > 1_000 * 86_400_000 { 0 } else { pause };
            all.as_millis() as i64 + 2 * truth.grace().unwrap_or_default().as_millis() as i64 + quiet + pause
        };
        let longest = (0..self.blueprints.len()).map(of).max().unwrap_or_default();
        longest + 2 * WRONG_CLOCK as i64 + 4 * 3_600_000
    }

    /// A person gives every halted target the passwords that work, the active account's first. Then it has to settle.
    async fn repair(&mut self) -> Told {
        let halted: Vec<usize> = (0..self.blueprints.len()).filter(|&at| self.standing(at).0.halt.is_some()).collect();
        {
            let mut inner = self.sim.lock();
            let targets = self.blueprints.len() as u64;
            inner.tally.halted += halted.len() as u64;
            inner.tally.settled += targets - halted.len() as u64;
        }
        if halted.is_empty() {
            return Ok(());
        }
        let quiet = {
            let inner = self.sim.lock();
            let quiet = inner.truths.values().map(|truth| truth.instance.quiet_at(inner.now)).max();
            quiet.unwrap_or(inner.now) - inner.now
        };
        tokio::time::sleep(Duration::from_millis(quiet as u64 + 1_000) + LOOK_AGAIN).await;
        for &at in &halted {
            let active = self.standing(at).0.standing.current.map_or(0, |current| index(current.account.as_deref()));
            let accounts = self.blueprints[at].first.len();
            for account in [active, 1 - active].into_iter().take(accounts) {
                self.replace(at, Some(account));
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        self.come_to_rest().await?;
        for at in halted {
            let name = &self.blueprints[at].name;
            let halt = self.standing(at).0.halt;
            // One code for two refusals and nothing to tell them apart by: a slow task's second call can always end so.
            let merged = match &self.sim.lock().truths[name].instance {
                Instance::Accounts(clouds) => clouds.iter().any(|cloud| cloud.mood.merged_code),
                Instance::Nodes(_) => false,
            };
            let blind = merged
                && !self.blueprints[at].plan.login
                && halt.as_ref().is_some_and(|halt| halt.fault.kind == Kind::RuleViolated);
            ensure(halt.is_none() || blind, || {
                format!("{name} halts again although a person gave the live password: {halt:?}")
            })?;
        }
        Ok(())
    }
}

/// Whether a halt's reason fits what happened to the target.
fn fits(inner: &Inner, target: &TargetName, fault: &Fault) -> Told {
    let Some(truth) = inner.truths.get(target) else { return Ok(()) };
    let fits = match fault.kind {
        Kind::Denied => truth.denied,
        Kind::LoginRefused => truth.instance.foreign() > 0,
        Kind::Bug | Kind::ClaimLost | Kind::LedgerFull | Kind::LedgerUnusable | Kind::LedgerCorrupt => false,
        _ => true,
    };
    ensure(fits, || format!("{target} is halted for a reason that does not fit: {fault}"))
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

fn intrude(inner: &mut Inner, name: &TargetName) {
    let password = inner.fresh_password();
    let Inner { truths, dice, .. } = &mut *inner;
    let Some(truth) = truths.get_mut(name) else { return };
    match &mut truth.instance {
        Instance::Accounts(clouds) => {
            let account = dice.below(clouds.len() as u64) as usize;
            clouds[account].intrude(password);
        }
        Instance::Nodes(nodes) => nodes.intrude(password, dice.chance(700)),
    }
    inner.count("outsider changed the password");
    inner.say(|| format!("{name}: somebody else sets password {password}"));
}

/// Somebody writes into a sink, or deletes it.
fn meddle(inner: &mut Inner, name: &TargetName) {
    let Inner { truths, dice, .. } = &mut *inner;
    let Some(truth) = truths.get_mut(name) else { return };
    let at = dice.below(3) as usize;
    let deletes = dice.chance(500);
    let Some((sink, shelf)) = truth.sinks.iter_mut().filter(|(_, shelf)| shelf.held.is_some()).nth(at) else { return };
    shelf.deleted |= deletes;
    shelf.meddled |= !deletes;
    let sink = sink.clone();
    truth.consumers.forget(&sink);
    inner.count("sink meddled with");
    inner.say(|| format!("{name}: somebody meddles with {sink}, deletes {deletes}"));
}

/// A node goes down and comes back with an older set of passwords.
fn knock_out(inner: &mut Inner, name: &TargetName) {
    let Inner { truths, dice, disk, now, .. } = &mut *inner;
    let (Some(truth), Some(record)) = (truths.get_mut(name), disk.records.get(name)) else { return };
    let Instance::Nodes(nodes) = &mut truth.instance else { return };
    let known = record.state.candidates();
    let known: Vec<u64> = known.iter().filter_map(|known| record.passwords.get(known)).copied().collect();
    let said = nodes.knock_out(*now, &known, dice);
    inner.count("node down");
    inner.say(|| format!("{name}: {said}"));
}
