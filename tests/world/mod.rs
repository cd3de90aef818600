//! A seeded world around the rotation core: a hostile cloud with one account or a pair of them, or three servers of one's own; an outsider, sinks and
//! hooks that fail, consumers, an operator, a process that dies between any two steps, and a clock that is set back. It does what a driver does, and
//! checks the promises after every step.

#![allow(clippy::wildcard_enum_match_arm, reason = "an observer looks at a few of many kinds")]

mod cloud;
mod consumers;
mod dice;
mod instance;
mod nodes;
mod people;
mod perform;
mod plan;
mod promises;
mod upkeep;

use cloud::{Cloud, Mood, Password};
use consumers::Consumers;
use dice::Dice;
use instance::Instance;
use keywheel::fault::{Fault, Kind};
use keywheel::moment::{Moment, Slot};
use keywheel::name::{Generation, SinkName};
use keywheel::rotation::event::{By, Event, What};
use keywheel::rotation::plan::Plan;
use keywheel::rotation::state::State;
use keywheel::rotation::why::Why;
use keywheel::rotation::{Action, apply, fold, next};
use nodes::Nodes;
use plan::{Kept, Way};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

const START: i64 = 1_750_000_000_000;
const PERIOD: i64 = 2 * 3_600_000;
const WINDOW: i64 = 20 * 60_000;
/// Steps of one story; the bound in time is [`World::patience`].
const STEP_LIMIT: u32 = 6_000;
/// Actions that may follow each other while the clock stands still: one whole rotation with room to spare.
const SAME_INSTANT_LIMIT: u32 = 48;
/// No wait may be longer: a slot's period, an hour that the clock was set back, and a cloud's own "not before".
const LONGEST_WAIT: i64 = PERIOD + 4 * 3_600_000;
/// Rotations that somebody asks for after the storm, one after the other.
const ASKED_IN_THE_CALM: u32 = 2;

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
    instance: Instance,
    kept: Kept,
    plan: Plan,
    /// Faults still happen.
    storm: bool,
    fault_rate: u64,
    now: i64,
    clock_behind: i64,
    /// Durable: survives the process.
    record: Vec<Event>,
    passwords: BTreeMap<Generation, Password>,
    /// Which account each generation opens.
    opens: BTreeMap<Generation, usize>,
    /// Passwords that worked at first and that nobody told us.
    strange: BTreeSet<Password>,
    /// Generations that are current on the cloud's word alone.
    accepted_on_word: BTreeSet<Generation>,
    state: State,
    sinks: BTreeMap<SinkName, Generation>,
    /// Sinks into which somebody else wrote, and those that somebody deleted.
    meddled: BTreeSet<SinkName>,
    deleted: BTreeSet<SinkName>,
    consumers: Consumers,
    /// When current was proven or given, and when each sink received something.
    proven_at: Option<Moment>,
    delivered_at: BTreeMap<SinkName, Moment>,
    /// A rotation followed the last node that forgot something.
    must_be_healed: bool,
    next_password: Password,
    traits: Traits,
    replaced: bool,
    tally: Tally,
    pub transcript: String,
}

/// What kind of story a seed tells.
struct Traits {
    outsider: bool,
    meddler: bool,
    nodes_fail: bool,
    replacer: bool,
    pauses: bool,
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
        let way = Way::pick(&mut dice);
        let mood = Mood {
            storm: true,
            tasks: dice.chance(600),
            merged_code: dice.chance(200),
            fault_rate: [0, 150, 400, 700][dice.below(4) as usize],
        };
        let kept = Kept::new(way, mood.tasks, &mut dice);
        let traits = Traits {
            outsider: dice.chance(250),
            meddler: dice.chance(150),
            nodes_fail: dice.chance(600),
            replacer: dice.chance(300),
            pauses: dice.chance(250),
            reloads: dice.chance(200),
            clock_jumps: dice.chance(200),
            instant: dice.chance(200),
            run_missed: dice.chance(500),
            stuck_for_good: dice.chance(500),
            crash_rate: [0, 20, 100, 250][dice.below(4) as usize],
        };
        let instance = match way {
            Way::InPlace => Instance::Accounts(vec![Cloud::new(1, mood)]),
            Way::Alternate => Instance::Accounts(vec![Cloud::new(1, mood), Cloud::new(2, mood)]),
            Way::Overlap => Instance::Nodes(Nodes::new(1, mood)),
        };
        Self {
            instance,
            plan: kept.plan(&mut dice),
            dice,
            kept,
            storm: true,
            fault_rate: mood.fault_rate,
            now: START,
            clock_behind: 0,
            record: Vec::new(),
            passwords: BTreeMap::new(),
            opens: BTreeMap::new(),
            strange: BTreeSet::from([1, 2]),
            accepted_on_word: BTreeSet::new(),
            state: State::default(),
            sinks: BTreeMap::new(),
            meddled: BTreeSet::new(),
            deleted: BTreeSet::new(),
            consumers: Consumers::default(),
            proven_at: None,
            delivered_at: BTreeMap::new(),
            must_be_healed: false,
            next_password: 2,
            traits,
            replaced: false,
            tally: Tally::default(),
            transcript: String::new(),
        }
    }

    /// Lives through the storm, then through the calm after it, to the end; then a person repairs what halted.
    pub fn live(&mut self) -> Told<Tally> {
        let settings = format!(
            "{:?}, login {}, {:?}, {:?}, verify {:?}, fault rate {}",
            self.kept,
            self.plan.login,
            self.plan.abilities,
            self.plan.recovery,
            self.plan.verify_every,
            self.fault_rate
        );
        let _ = writeln!(self.transcript, "{settings}");
        let storm_ends = self.now + 60_000 * self.dice.below(12 * 60) as i64;
        let mut steps = 0;
        while self.now < storm_ends && steps < 400 {
            self.disturb()?;
            self.step()?;
            steps += 1;
        }
        self.calm()?;
        self.come_to_rest()?;
        if self.state.halt.is_some() {
            self.repair()?;
            self.come_to_rest()?;
            ensure(self.state.halt.is_none(), "it halts again although a person gave the live password")?;
            ensure(
                self.state.open.is_none() && self.sinks_hold_current(),
                "not settled after a person gave the live password",
            )?;
        }
        self.rotate_in_the_calm()?;
        self.check_folds()?;
        self.tally.rotations =
            self.record.iter().filter(|event| matches!(event.what, What::Settled { .. })).count() as u64;
        Ok(std::mem::take(&mut self.tally))
    }

    /// Two members of a pair change places, and a node that forgot something is healed by the rotation after it.
    fn rotate_in_the_calm(&mut self) -> Told {
        for _ in 0..ASKED_IN_THE_CALM {
            if matches!(self.kept.strategy, keywheel::rotation::plan::Strategy::InPlace) || self.state.halt.is_some() {
                return Ok(());
            }
            self.must_be_healed = true;
            self.append(What::Asked { by: By::Operator { uid: 0 }, reason: None })?;
            self.come_to_rest()?;
        }
        Ok(())
    }

    /// P6: without new faults it ends within a bound that follows from the limits.
    fn come_to_rest(&mut self) -> Told {
        let deadline = self.instance.quiet_at(self.now) + self.patience();
        for _ in 0..STEP_LIMIT {
            if let Some(why) = self.step()? {
                if self.is_at_rest(&why) {
                    return self.check_rest();
                }
                if matches!(why, Why::Halted(_)) {
                    return Ok(());
                }
            }
            ensure(self.now < deadline, format!("it did not end: {:?}", self.state.open))?;
        }
        Err("it did not end within the step limit".to_owned())
    }

    /// Whether nothing is left to do before the next slot. A pair's resting account whose password is not to be had holds nothing up.
    fn is_at_rest(&self, why: &Why) -> bool {
        let idle = match why {
            Why::NotDue | Why::OnlyWhenAsked | Why::SinkDiffers { .. } => true,
            Why::NotAdopted(_) => self.state.standing.current.is_some(),
            _ => false,
        };
        idle && self.state.open.is_none() && self.state.asked.is_none()
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
        let pause = self.state.standing.paused.as_ref().map_or(0, |pause| pause.until.millis() - self.clock().millis());
        let grace = 2 * self.grace().unwrap_or_default().as_millis() as i64;
        all.as_millis() as i64 + grace + pause.max(0) + WINDOW + PERIOD + self.clock_behind.abs()
    }

    fn clock(&self) -> Moment {
        Moment::from_millis(self.now - self.clock_behind)
    }

    fn say(&mut self, what: String) {
        let _ = writeln!(self.transcript, "{:>12} {what}", self.now - START);
    }

    /// One decision, performed. Gives the reason when the decision was to wait.
    fn step(&mut self) -> Told<Option<Why>> {
        self.tally.steps += 1;
        self.instance.tick(self.now, &mut self.dice);
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
            self.instance.tick(self.now, &mut self.dice);
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
            let forever = matches!(why, Why::Halted(_) | Why::OnlyWhenAsked | Why::Paused { .. });
            ensure(forever, format!("waits for ever: {why:?}"))?;
            self.now += 60_000 * (1 + self.dice.below(30) as i64);
            return Ok(());
        }
        ensure(span <= LONGEST_WAIT, format!("waits {span} ms: {why:?}"))?;
        ensure(!why.to_string().is_empty(), "no reason")?;
        let woken_early = self.storm && self.dice.chance(50);
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
            self.plan = self.kept.plan(&mut self.dice);
            let gone: Vec<SinkName> =
                self.sinks.keys().filter(|sink| !self.plan.sinks.contains(sink)).cloned().collect();
            gone.iter().for_each(|sink| self.consumers.forget(sink));
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

    /// A password that somebody gave stands in the ledger now.
    fn take_in(&mut self, generation: Generation, password: Password, account: usize) {
        self.passwords.insert(generation, password);
        self.opens.insert(generation, account);
        self.strange.remove(&password);
    }

    fn password(&self, generation: Generation) -> Told<Password> {
        let known = self.passwords.get(&generation).copied();
        known.ok_or_else(|| format!("the ledger holds no password for generation {generation}"))
    }

    fn may_crash(&mut self) -> Result<(), Crash> {
        let storm = self.storm;
        if storm && self.dice.chance(self.traits.crash_rate / 2) { Err(Crash) } else { Ok(()) }
    }

    fn time_passes(&mut self) {
        if !self.traits.instant {
            self.now += self.dice.below(1_500) as i64;
        }
    }

    fn fails(&mut self) -> bool {
        self.storm && self.dice.chance(self.fault_rate / 3)
    }

    /// Appends one event, with P2 checked.
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
        self.record.push(event.clone());
        self.note_move(event.at, &event.what);
        self.check_kept(&before, &event)
    }
}

fn fault(kind: Kind) -> Fault {
    Fault::new(kind, "the dice said so")
}
