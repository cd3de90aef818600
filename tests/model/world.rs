//! The world around the core as a Stateright model: what can happen next, and what comes of it.

use super::age::{NOW, TICK, older, older_state};
use super::cloud::{Change, Cloud, Fate, Password, Passwords, bit};
use super::ledger::{Entry, Folded, Ledger, Record, Shared};
use super::turn::{Outside, Step, Turn};
use keywheel::moment::{Moment, Slot};
use keywheel::name::Generation;
use keywheel::rotation::answer::Answer;
use keywheel::rotation::event::{By, Event, What};
use keywheel::rotation::plan::{OnSinkDown, Plan};
use keywheel::rotation::state::{Standing, State};
use stateright::{Model, Property};
use std::borrow::Cow;

/// A slot's window, in ticks.
const WINDOW: u32 = 2;

/// How much of each may still happen: what makes the world finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Left {
    /// Somebody asks for a rotation.
    pub asks: u8,
    /// A slot comes.
    pub slots: u8,
    /// Something outside goes wrong.
    pub faults: u8,
    /// A process dies.
    pub crashes: u8,
    /// A process sleeps past its claim.
    pub sleeps: u8,
    /// Somebody else changes the password.
    pub intrusions: u8,
    /// A person resumes what is halted.
    pub resumes: u8,
    /// Time passes while a process is at work.
    pub delays: u8,
}

/// The settings of one exploration.
#[derive(Clone)]
pub struct Setting {
    pub plan: Plan,
    /// Accepted changes name a task.
    pub tasks: bool,
    /// One code for a broken rule and for a wrong old password.
    pub merged_code: bool,
    /// The cloud does at once what it accepts.
    pub prompt: bool,
    pub left: Left,
    pub begin: World,
    pub also: Vec<Property<Setting>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub ledger: Ledger,
    pub cloud: Cloud,
    /// What each sink holds, in the plan's order.
    pub sinks: Vec<Generation>,
    /// The process that holds the claim and is awake.
    pub holder: Option<Turn>,
    /// A process that sleeps past its claim, and does not know.
    pub sleeper: Option<Turn>,
    /// The slot that counts, by its nominal time.
    pub slot: Option<Moment>,
    pub left: Left,
    /// What went wrong that no later state would show.
    pub broken: Option<Broken>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Broken {
    /// P2: a candidate was dropped that may be live or become so.
    Dropped(Generation),
    /// P4: a sink was given an older generation by whoever holds the claim.
    Backwards,
    /// P5: an append by a claim that is not the newest.
    Usurped,
    /// The core refused its own move, or went in a circle.
    Contradiction(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    Holder,
    Sleeper,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// A process claims the target and folds its record.
    Claim,
    /// A process takes its next step.
    Step(Who, Fate),
    Crash(Who),
    FallAsleep,
    /// A change that was asked for takes effect, or does not.
    Apply(usize, Fate),
    Lock,
    Unlock,
    Intrude,
    Ask,
    SlotComes,
    Resume {
        allow_reset: bool,
    },
    Tick,
}

impl World {
    pub fn new(record: Record, cloud: Cloud, sinks: Vec<Generation>, left: Left) -> Self {
        let ledger = Ledger { disk: record.clone(), cache: record, fence: 0 };
        Self { ledger, cloud, sinks, holder: None, sleeper: None, slot: None, left, broken: None }
    }

    /// What is durable.
    pub fn durable(&self) -> &State {
        &self.ledger.disk.state
    }

    pub fn turns(&self) -> impl Iterator<Item = &Turn> {
        self.holder.iter().chain(&self.sleeper)
    }

    pub fn turn(&mut self, who: Who) -> &mut Option<Turn> {
        match who {
            Who::Holder => &mut self.holder,
            Who::Sleeper => &mut self.sleeper,
        }
    }

    /// Calls that have not left yet and will, whatever the ledger says by then.
    pub fn calls_to_come(&self) -> impl Iterator<Item = Change> {
        self.turns().filter_map(|turn| match &turn.step {
            Step::Outside(Outside::Call { account, old, new }) => Some(Change::asked(*account, *old, *new)),
            _ => None,
        })
    }

    /// A password that nobody has.
    pub fn fresh(&self) -> Password {
        let taken = self.in_use();
        (1..super::cloud::STRANGE).find(|&password| taken & bit(password) == 0).unwrap_or(super::cloud::STRANGE)
    }

    fn in_use(&self) -> Passwords {
        let of = |passwords: &mut dyn Iterator<Item = Password>| passwords.fold(0, |all, password| all | bit(password));
        let unwritten = self.turns().flat_map(|turn| &turn.unwritten).filter_map(|entry| entry.password);
        let recorded = self.ledger.disk.passwords.iter().chain(&self.ledger.cache.passwords).copied();
        of(&mut unwritten.chain(recorded).map(|(_, password)| password))
            | self.cloud.live()
            | of(&mut self
                .cloud
                .changes
                .iter()
                .chain(&self.calls_to_come().collect::<Vec<_>>())
                .map(|change| change.new))
    }

    /// Makes worlds alike that differ in names only: claims are counted from the oldest that is held, and a password that nobody has is forgotten.
    fn tidy(&mut self) {
        let mut fences: Vec<u8> = self.turns().map(|turn| turn.fence).chain([self.ledger.fence]).collect();
        fences.sort_unstable();
        fences.dedup();
        let rank = |fence: u8| u8::try_from(fences.partition_point(|&other| other < fence)).unwrap_or(u8::MAX);
        self.ledger.fence = rank(self.ledger.fence);
        for turn in self.holder.iter_mut().chain(&mut self.sleeper) {
            turn.fence = rank(turn.fence);
        }
        self.cloud.ever_live &= self.in_use();
        if self.slot.is_some_and(|nominal| nominal <= self.durable().standing.slots_after) {
            self.slot = None;
        }
    }

    /// Something that happened is wrong for good.
    pub fn breaks(&mut self, how: Broken) {
        self.broken.get_or_insert(how);
    }

    /// Appends, if the claim is the newest. `false` = refused.
    pub fn append(&mut self, fence: u8, entries: &[Shared<Entry>], wake_at: Moment) -> bool {
        if !self.ledger.admits(fence) {
            return false;
        }
        if fence != self.ledger.fence {
            self.breaks(Broken::Usurped);
        }
        let before = self.ledger.disk.state.clone();
        if let Err(why) = self.ledger.append(entries, wake_at) {
            self.breaks(Broken::Contradiction(why));
        }
        if entries.iter().any(|entry| matches!(entry.event.what, What::Proven { .. })) {
            self.cloud.leave_behind();
        }
        self.check_kept(&before);
        true
    }

    /// P2: what the record named as candidate or spare and no longer names is neither live nor on its way.
    fn check_kept(&mut self, before: &State) {
        let kept = |state: &State| {
            let candidate = state.open.as_ref().and_then(|open| open.candidate);
            [candidate, state.standing.spare, state.standing.current.as_ref().map(|current| current.generation)]
        };
        let after = kept(self.durable());
        for generation in kept(before).into_iter().take(2).flatten().filter(|kept| !after.contains(&Some(*kept))) {
            let Some(dropped) = self.ledger.disk.password(generation) else { continue };
            let live = self.cloud.live() & bit(dropped) != 0;
            let to_come = self.cloud.changes.iter().any(|change| change.new == dropped)
                || self.calls_to_come().any(|change| change.new == dropped);
            if live || to_come {
                self.breaks(Broken::Dropped(generation));
            }
        }
    }

    /// An event that comes from a person while nobody is at work.
    fn command(&mut self, what: What) {
        self.ledger.fence += 1;
        let entry = Shared::new(Entry { event: Event { at: NOW, what }, password: None });
        self.append(self.ledger.fence, &[entry], NOW);
    }
}

impl Setting {
    /// The plan with the slot that counts, if it is not used up.
    pub fn plan_for(&self, standing: &Standing, slot: Option<Moment>) -> Cow<'_, Plan> {
        let Some(nominal) = slot.filter(|&nominal| nominal > standing.slots_after) else {
            return Cow::Borrowed(&self.plan);
        };
        let closes = nominal + TICK * WINDOW;
        let slot = Some(Slot { nominal, due: nominal, closes });
        Cow::Owned(Plan { slot, may_start: NOW <= closes, ..self.plan.clone() })
    }
}

impl Model for Setting {
    type State = World;
    type Action = Move;

    fn init_states(&self) -> Vec<World> {
        vec![self.begin.clone()]
    }

    fn actions(&self, world: &World, moves: &mut Vec<Move>) {
        if world.broken.is_some() {
            return;
        }
        if self.prompt && !world.cloud.changes.is_empty() {
            moves.push(Move::Apply(0, Fate::Well));
            return;
        }
        let left = &world.left;
        for (who, turn) in [(Who::Holder, &world.holder), (Who::Sleeper, &world.sleeper)] {
            let Some(turn) = turn else { continue };
            moves.push(Move::Step(who, Fate::Well));
            if left.faults > 0 {
                moves.extend(turn.perils(world.cloud.beside).iter().map(|&fate| Move::Step(who, fate)));
            }
            if left.crashes > 0 {
                moves.push(Move::Crash(who));
            }
        }
        if world.holder.is_some() && world.sleeper.is_none() && left.sleeps > 0 {
            moves.push(Move::FallAsleep);
        }
        // Without a task to tell of its end, a change whose acceptance is heard happens.
        let acceptance_on_its_way = world
            .turns()
            .any(|turn| matches!(turn.step, Step::Outside(Outside::Hear { answer: Answer::Accepted { .. }, .. })));
        for (index, change) in world.cloud.changes.iter().enumerate() {
            moves.push(Move::Apply(index, Fate::Well));
            if left.faults > 0 && change.task.is_some() {
                moves.push(Move::Apply(index, Fate::Unclear));
            }
            if left.faults > 0 && (change.task.is_some() || !change.heard && !acceptance_on_its_way) {
                moves.push(Move::Apply(index, Fate::Lost));
            }
        }
        if world.cloud.locked {
            moves.push(Move::Unlock);
        } else if left.faults > 0 && world.holder.is_some() {
            moves.push(Move::Lock);
        }
        if left.intrusions > 0 {
            moves.push(Move::Intrude);
        }
        let record = &world.ledger.cache;
        if world.holder.is_none() {
            let waits = self.plan.on_sink_down == OnSinkDown::Hold && record.state.open.is_some();
            let idle = record.state.is_proven() && !waits && record.state.halt.is_none();
            if record.wake_at <= NOW {
                moves.push(Move::Claim);
            }
            if left.asks > 0 && idle && record.state.asked.is_none() {
                moves.push(Move::Ask);
            }
            if left.slots > 0 && world.slot.is_none() {
                moves.push(Move::SlotComes);
            }
            if left.resumes > 0 && record.state.halt.is_some() {
                moves.extend([false, true].map(|allow_reset| Move::Resume { allow_reset }));
            }
        }
        let waiting = world.holder.is_none() && record.wake_at > NOW;
        if waiting && record.wake_at < Moment::NEVER || !waiting && left.delays > 0 {
            moves.push(Move::Tick);
        }
    }

    fn next_state(&self, before: &World, step: Move) -> Option<World> {
        let mut world = before.clone();
        let faultless = |fate| fate == Fate::Well;
        match step {
            Move::Claim => {
                world.ledger.fence += 1;
                let turn = Turn::new(&world.ledger);
                self.go_on(&mut world, Who::Holder, turn);
            }
            Move::Step(who, fate) => {
                world.left.faults -= u8::from(!faultless(fate));
                self.step(&mut world, who, fate);
            }
            Move::Crash(who) => {
                world.left.crashes -= 1;
                *world.turn(who) = None;
                world.ledger.power_cut();
            }
            Move::FallAsleep => {
                world.left.sleeps -= 1;
                world.sleeper = world.holder.take();
            }
            Move::Apply(index, fate) => {
                world.left.faults -= u8::from(!faultless(fate));
                world.cloud.apply(index, fate);
                // Where nobody reads the mark, worlds that differ in it are alike.
                if !self.plan.abilities.change_mark {
                    world.cloud.mark = 0;
                }
            }
            Move::Lock => {
                world.left.faults -= 1;
                world.cloud.locked = true;
            }
            Move::Unlock => world.cloud.locked = false,
            Move::Intrude => {
                world.left.intrusions -= 1;
                world.cloud.intrude();
            }
            Move::Ask => {
                world.left.asks -= 1;
                world.command(What::Asked { by: By::Operator { uid: 0 }, reason: None });
            }
            Move::SlotComes => {
                world.left.slots -= 1;
                world.slot = Some(NOW);
                for record in [&mut world.ledger.disk, &mut world.ledger.cache] {
                    record.wake_at = record.wake_at.min(NOW);
                }
            }
            Move::Resume { allow_reset } => {
                world.left.resumes -= 1;
                world.command(What::Resumed { by: By::Operator { uid: 0 }, reason: None, allow_reset });
            }
            Move::Tick => {
                let record = &world.ledger.cache;
                world.left.delays -= u8::from(world.holder.is_some() || record.wake_at <= NOW);
                tick(&mut world);
            }
        }
        world.tidy();
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        super::promises::always().into_iter().chain(self.also.iter().cloned()).collect()
    }
}

fn tick(world: &mut World) {
    let Ledger { disk, cache, fence: _ } = &mut world.ledger;
    let synced = disk == cache;
    disk.state = older_state(&disk.state);
    older(&mut disk.wake_at);
    if synced {
        cache.clone_from(disk);
    } else {
        cache.state = older_state(&cache.state);
        older(&mut cache.wake_at);
    }
    world.holder.iter_mut().chain(&mut world.sleeper).for_each(Turn::older);
    world.slot.iter_mut().for_each(older);
    world.cloud.tasks.iter_mut().for_each(|task| older(&mut task.began));
}

/// A record in which these things happened long ago, each with the password it brings.
pub fn record(events: Vec<(What, Option<(Generation, Password)>)>) -> Record {
    let mut state = Folded::new(State::default());
    let mut passwords = Vec::new();
    for (what, password) in events {
        state = state.then(&Event { at: NOW, what }).expect("a legal beginning");
        passwords.extend(password);
    }
    for _ in 0..2 {
        state = older_state(&state);
    }
    Record { state, passwords, wake_at: Moment::NEVER }
}
