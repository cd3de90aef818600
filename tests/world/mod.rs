//! A seeded world around the rotation core: a hostile cloud, an outsider, sinks and hooks that fail, an operator, a process that
//! dies between any two steps, and a clock that is set back. It does what a driver does, and checks the promises after every step.

mod cloud;
mod dice;
mod perform;

use cloud::{Cloud, Mood, Password};
use dice::Dice;
use keywheel::fault::{Fault, Kind};
use keywheel::moment::{Moment, Slot};
use keywheel::name::{Generation, HookName, SinkName};
use keywheel::rotation::event::{By, Event, Proof, What};
use keywheel::rotation::plan::{Abilities, Limits, Plan, Recovery, Strategy};
use keywheel::rotation::state::State;
use keywheel::rotation::why::Why;
use keywheel::rotation::{Action, apply, fold, next};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

const START: i64 = 1_750_000_000_000;
const PERIOD: i64 = 2 * 3_600_000;
const WINDOW: i64 = 20 * 60_000;
/// Steps of one story; the bound in time is [`World::patience`].
const STEP_LIMIT: u32 = 6_000;
/// Actions that may follow each other while the clock stands still: one whole rotation with room to spare.
const SAME_INSTANT_LIMIT: u32 = 48;
/// No wait may be longer: a slot's period, an hour that the clock was set back, and a cloud's own "not before".
const LONGEST_WAIT: i64 = PERIOD + 4 * 3_600_000;

/// By how much a search for tasks is widened: clocks differ.
const CLOCK_TOLERANCE: i64 = 300_000;

/// What a seed's story came to.
#[derive(Debug, Default)]
pub struct Tally {
    pub steps: u64,
    pub crashes: u64,
    pub rotations: u64,
    pub proofs: BTreeMap<String, u64>,
    pub halts: BTreeMap<String, u64>,
}

pub struct World {
    dice: Dice,
    cloud: Cloud,
    plan: Plan,
    now: i64,
    clock_behind: i64,
    /// Durable: survives the process.
    record: Vec<Event>,
    passwords: BTreeMap<Generation, Password>,
    state: State,
    sinks: BTreeMap<SinkName, Generation>,
    next_password: Password,
    traits: Traits,
    replaced: bool,
    tally: Tally,
    pub transcript: String,
}

/// What kind of story a seed tells.
struct Traits {
    outsider: bool,
    replacer: bool,
    reloads: bool,
    clock_jumps: bool,
    instant: bool,
    run_missed: bool,
    stuck_for_good: bool,
    crash_rate: u64,
}

/// The process died; what it did not append is forgotten.
struct Crash;

type Told<T = ()> = Result<T, String>;

fn ensure(holds: bool, otherwise: impl Into<String>) -> Told {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mood = Mood {
            storm: true,
            tasks: dice.chance(600),
            merged_code: dice.chance(200),
            fault_rate: [0, 150, 400, 700][dice.below(4) as usize],
        };
        let plan = plan(&mut dice, mood.tasks);
        let traits = Traits {
            outsider: dice.chance(250),
            replacer: dice.chance(300),
            reloads: dice.chance(200),
            clock_jumps: dice.chance(200),
            instant: dice.chance(200),
            run_missed: dice.chance(500),
            stuck_for_good: dice.chance(500),
            crash_rate: [0, 20, 100, 250][dice.below(4) as usize],
        };
        Self {
            cloud: Cloud::new(1, mood),
            dice,
            plan,
            now: START,
            clock_behind: 0,
            record: Vec::new(),
            passwords: BTreeMap::new(),
            state: State::default(),
            sinks: BTreeMap::new(),
            next_password: 2,
            traits,
            replaced: false,
            tally: Tally::default(),
            transcript: String::new(),
        }
    }

    /// Lives through the storm, then through the calm after it, to the end; then a person repairs what halted.
    pub fn live(&mut self) -> Told<Tally> {
        let _ = writeln!(
            self.transcript,
            "login {}, {:?}, {:?}, {:?}",
            self.plan.login, self.plan.abilities, self.plan.recovery, self.cloud.mood
        );
        let storm_ends = self.now + 60_000 * self.dice.below(12 * 60) as i64;
        let mut steps = 0;
        while self.now < storm_ends && steps < 400 {
            self.disturb()?;
            self.step()?;
            steps += 1;
        }
        self.calm();
        self.come_to_rest()?;
        if self.state.halt.is_some() {
            self.replace()?;
            self.come_to_rest()?;
            ensure(self.state.halt.is_none(), "it halts again although a person gave the live password")?;
            ensure(
                self.state.open.is_none() && self.sinks_hold_current(),
                "not settled after a person gave the live password",
            )?;
        }
        self.check_folds()?;
        self.tally.rotations =
            self.record.iter().filter(|event| matches!(event.what, What::Settled { .. })).count() as u64;
        Ok(std::mem::take(&mut self.tally))
    }

    fn calm(&mut self) {
        self.cloud.mood.storm = false;
        if !self.traits.stuck_for_good {
            self.cloud.unstick(self.now);
        }
        self.say("the storm is over".to_owned());
    }

    /// P6: without new faults it ends within a bound that follows from the limits.
    fn come_to_rest(&mut self) -> Told {
        let deadline = self.cloud.quiet_at(self.now) + self.patience();
        for _ in 0..STEP_LIMIT {
            if let Some(why) = self.step()? {
                let at_rest = matches!(why, Why::NotDue | Why::OnlyWhenAsked) && self.state.open.is_none();
                if at_rest {
                    return ensure(self.sinks_hold_current(), "at rest although a sink lacks current");
                }
                if matches!(why, Why::Halted(_)) {
                    return Ok(());
                }
            }
            ensure(self.now < deadline, format!("it did not end: {:?}", self.state.open))?;
        }
        Err("it did not end within the step limit".to_owned())
    }

    /// The longest a target may stay unsettled when nothing goes wrong any more.
    fn patience(&self) -> i64 {
        let limits = &self.plan.limits;
        let one_call = limits.late_effect
            + limits.task_patience
            + limits.proof_patience
            + limits.call_backoff.longest
            + limits.look_backoff.longest * (limits.rounds + limits.agreement + 1);
        let all = one_call * (limits.attempts + limits.redraws + 1)
            + limits.lock_patience * 2
            + limits.outlet_backoff.longest * (limits.hook_attempts + 1);
        all.as_millis() as i64 + WINDOW + PERIOD + self.clock_behind.abs()
    }

    fn clock(&self) -> Moment {
        Moment::from_millis(self.now - self.clock_behind)
    }

    fn say(&mut self, what: String) {
        let _ = writeln!(self.transcript, "{:>12} {what}", self.now - START);
    }

    /// What others do to us during the storm.
    fn disturb(&mut self) -> Told {
        if self.traits.outsider && self.dice.chance(8) {
            let password = self.fresh_password();
            self.cloud.intrude(password);
            self.say(format!("somebody else sets password {password}"));
        }
        if self.state.open.is_none() && self.state.asked.is_none() && self.dice.chance(80) {
            self.append(What::Asked { by: By::Operator { uid: 0 }, reason: None })?;
        }
        if self.state.halt.is_some() && self.dice.chance(400) {
            if self.traits.replacer && self.dice.chance(400) {
                self.replace()?;
            } else {
                let allow_reset = self.dice.chance(300);
                self.append(What::Resumed { by: By::Operator { uid: 0 }, allow_reset })?;
            }
        }
        if self.traits.clock_jumps && self.dice.chance(20) {
            self.clock_behind = 1_000 * self.dice.below(3_600) as i64;
            self.say(format!("the clock is {} s behind", self.clock_behind / 1_000));
        }
        Ok(())
    }

    /// A person gives the password that works.
    fn replace(&mut self) -> Told {
        let generation = self.state.standing.newest.following();
        self.replaced = true;
        self.passwords.insert(generation, self.cloud.live);
        let proof = if self.plan.login { Proof::Login } else { Proof::Stated };
        let by = By::Operator { uid: 0 };
        self.append(What::Replaced { generation, proof, by, place: PLACE.to_owned(), account: None })
    }

    /// One decision, performed. Gives the reason when the decision was to wait.
    fn step(&mut self) -> Told<Option<Why>> {
        self.tally.steps += 1;
        self.cloud.tick(self.now, &mut self.dice);
        self.check_promises()?;
        self.plan_slot();
        let mut same_instant = 0;
        loop {
            let action = next(&self.state, &self.plan, self.clock());
            if let Action::Wait { until, why } = action {
                self.wait(until, &why)?;
                return Ok(Some(why));
            }
            same_instant += 1;
            ensure(same_instant < SAME_INSTANT_LIMIT, format!("a busy loop: {action:?}"))?;
            let before = self.now;
            self.say(format!("  {action:?}"));
            if let Err(Crash) = self.perform(action)? {
                self.crash()?;
            }
            self.cloud.tick(self.now, &mut self.dice);
            self.check_promises()?;
            if self.now != before {
                return Ok(None);
            }
            self.plan_slot();
        }
    }

    fn wait(&mut self, until: Moment, why: &Why) -> Told {
        let clock = self.clock();
        ensure(until > clock, format!("waits until a time that has passed: {why:?}"))?;
        let span = until.millis() - clock.millis();
        if until == Moment::NEVER {
            let forever = matches!(why, Why::Halted(_) | Why::OnlyWhenAsked);
            ensure(forever, format!("waits for ever: {why:?}"))?;
            self.now += 60_000 * (1 + self.dice.below(30) as i64);
            return Ok(());
        }
        ensure(span <= LONGEST_WAIT, format!("waits {span} ms: {why:?}"))?;
        ensure(!why.to_string().is_empty(), "no reason")?;
        let woken_early = self.cloud.mood.storm && self.dice.chance(50);
        let overslept = if self.dice.chance(20) { self.dice.below(1_800_000) } else { 0 };
        self.now += if woken_early { span / 2 } else { span + overslept as i64 };
        Ok(())
    }

    /// What a timetable decides: the slot that counts, and whether a rotation may start in it now.
    fn plan_slot(&mut self) {
        let (slot, clock) = (self.slot(), self.clock());
        self.plan.slot = Some(slot);
        self.plan.may_start = slot.due <= clock && (clock <= slot.closes || self.traits.run_missed);
    }

    /// The newest slot reached and not used up, else the next one.
    fn slot(&self) -> Slot {
        let clock = self.clock().millis();
        let reached = clock.div_euclid(PERIOD) * PERIOD;
        let unused = Moment::from_millis(reached) > self.state.standing.slots_after;
        let mut nominal = if unused { reached } else { reached + PERIOD };
        while Moment::from_millis(nominal) <= self.state.standing.slots_after {
            nominal += PERIOD;
        }
        Slot {
            nominal: Moment::from_millis(nominal),
            due: Moment::from_millis(nominal + 60_000),
            closes: Moment::from_millis(nominal + 60_000 + WINDOW),
        }
    }

    fn crash(&mut self) -> Told {
        self.tally.crashes += 1;
        self.say("the process dies".to_owned());
        self.now += 1_000 * self.dice.below(1_800) as i64;
        self.check_folds()?;
        if self.traits.reloads && self.dice.chance(300) {
            let tasks = self.cloud.mood.tasks;
            self.plan = plan(&mut self.dice, tasks);
            let plan = format!("login {}, {:?}, {:?}", self.plan.login, self.plan.abilities, self.plan.recovery);
            self.say(format!("another configuration: {plan}"));
        }
        Ok(())
    }

    /// Recovery is the same fold, and a fold may begin at the last `settled`.
    fn check_folds(&self) -> Told {
        let whole = fold(&self.record).map_err(|illegal| illegal.to_string())?;
        ensure(whole == self.state, "the fold differs from what the process believed")?;
        let settled = |event: &Event| matches!(event.what, What::Settled { .. });
        let from = self.record.iter().rposition(settled).unwrap_or(0);
        let recent = fold(&self.record[from..]).map_err(|illegal| illegal.to_string())?;
        ensure(recent == whole, "the fold from the last settled differs")
    }

    fn fresh_password(&mut self) -> Password {
        self.next_password += 1;
        self.next_password
    }

    fn password(&self, generation: Generation) -> Told<Password> {
        let known = self.passwords.get(&generation).copied();
        known.ok_or_else(|| format!("the ledger holds no password for generation {generation}"))
    }

    fn may_crash(&mut self) -> Result<(), Crash> {
        let storm = self.cloud.mood.storm;
        if storm && self.dice.chance(self.traits.crash_rate / 2) { Err(Crash) } else { Ok(()) }
    }

    fn time_passes(&mut self) {
        if !self.traits.instant {
            self.now += self.dice.below(1_500) as i64;
        }
    }

    fn fails(&mut self) -> bool {
        self.cloud.mood.storm && self.dice.chance(self.cloud.mood.fault_rate / 3)
    }

    /// Appends one event, with P2 checked: no candidate disappears while it may be live or become so.
    fn append(&mut self, what: What) -> Told {
        self.say(format!("    + {what:?}"));
        let event = Event { at: self.clock(), what };
        let before = self.state.clone();
        self.state = apply(before.clone(), &event).map_err(|illegal| illegal.to_string())?;
        if let What::Halted { fault } = &event.what {
            ensure(!fault.next_step.is_empty() && !fault.what.is_empty(), "a halt without a next step")?;
            *self.tally.halts.entry(format!("{:?}", fault.kind)).or_default() += 1;
        }
        if let What::Proven { proof, .. } = &event.what {
            *self.tally.proofs.entry(format!("{proof:?}")).or_default() += 1;
        }
        let operator = matches!(event.what, What::Replaced { .. });
        self.record.push(event);
        if operator {
            return Ok(());
        }
        let kept = |state: &State| {
            let candidate = state.open.as_ref().and_then(|open| open.candidate);
            [candidate, state.standing.spare]
        };
        let current = self.state.standing.current.as_ref().map(|current| current.generation);
        for generation in kept(&before).into_iter().flatten() {
            if kept(&self.state).contains(&Some(generation)) || current == Some(generation) {
                continue;
            }
            let password = self.password(generation)?;
            ensure(password != self.cloud.live, "P2: a live candidate was dropped")?;
            ensure(!self.cloud.may_become(password), "P2: a candidate that may become live was dropped")?;
            let broke_a_rule = matches!(self.record.last().map(|event| &event.what), Some(What::Discarded { .. }));
            ensure(broke_a_rule, format!("generation {generation} was forgotten without need"))?;
        }
        Ok(())
    }

    /// P1 and what follows from it, at every instant.
    fn check_promises(&self) -> Told {
        let undisturbed = self.cloud.foreign == 0 && self.cloud.stray_resets == 0 && !self.replaced;
        if self.cloud.foreign == 0 && !self.passwords.is_empty() {
            let known = self.passwords.values().any(|&password| password == self.cloud.live);
            ensure(known, "P1: the live password is not in the ledger")?;
        }
        if undisturbed && self.state.standing.current.is_some() {
            let candidates = self.state.candidates();
            let held = candidates.iter().any(|generation| self.passwords.get(generation) == Some(&self.cloud.live));
            let accepted_on_word = self.state.standing.current.as_ref().is_some_and(|current| {
                current.proof == Proof::Acceptance && self.cloud.may_become(self.passwords[&current.generation])
            });
            ensure(held || accepted_on_word, format!("P1: password {} is live and no candidate", self.cloud.live))?;
        }
        Ok(())
    }

    /// P3: what is delivered was live, unless somebody else interfered where no login could tell.
    fn check_proven(&self, generation: Generation) -> Told {
        let password = self.password(generation)?;
        let proof = self.state.standing.current.as_ref().map(|current| current.proof);
        let was_live = self.cloud.ever_live.contains(&password)
            || (proof == Some(Proof::Acceptance) && self.cloud.may_become(password));
        let blind = proof != Some(Proof::Login) && (self.cloud.foreign > 0 || self.replaced);
        ensure(was_live || blind, format!("P3: generation {generation} is delivered and was never live"))
    }

    fn sinks_hold_current(&self) -> bool {
        let current = self.state.standing.current.as_ref().map(|current| current.generation);
        self.plan.sinks.iter().all(|sink| self.sinks.get(sink).copied() == current)
    }
}

fn fault(kind: Kind) -> Fault {
    Fault::new(kind, "the dice said so")
}

/// The instance and account of every story.
pub const PLACE: &str = "crs-1/root";

fn plan(dice: &mut Dice, tasks: bool) -> Plan {
    let mut limits = Limits::default();
    if dice.chance(300) {
        limits.agreement = 2;
        limits.rounds = 8;
        limits.attempts = 3;
        limits.task_patience = Duration::from_secs(120);
        limits.lock_patience = Duration::from_secs(600);
    }
    let sinks = dice.below(4);
    let hooks = dice.below(3);
    Plan {
        place: PLACE.to_owned(),
        slot: None,
        may_start: false,
        strategy: Strategy::InPlace,
        login: dice.chance(600),
        abilities: Abilities {
            task_status: tasks && dice.chance(700),
            task_list: tasks && dice.chance(500),
            change_mark: dice.chance(300),
            reset: dice.chance(600),
            each_node: false,
            asks_old: true,
        },
        take_over: false,
        adopts_resting: false,
        verify_every: None,
        recovery: if dice.chance(400) { Recovery::Reset } else { Recovery::Halt },
        sinks: (0..sinks).map(|n| format!("sink-{n}").parse::<SinkName>().expect("a name")).collect(),
        hooks: (0..hooks).map(|n| format!("hook-{n}").parse::<HookName>().expect("a name")).collect(),
        limits,
    }
}
