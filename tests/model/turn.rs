//! One process at work on the target: `driver/turn.rs` and `driver/act.rs` as steps that the world can come between. A step ends where something outside can see
//! it: the ledger, the cloud, the instance or a sink. What happens in memory between two of those is one move, since a crash forgets it all alike.

use super::age::{NOW, older, older_entry, older_state, tick_of};
use super::cloud::{Fate, Password};
use super::ledger::{Entry, Folded, Ledger, Shared};
use super::world::Setting;
use keywheel::moment::Moment;
use keywheel::name::{Generation, RotationId, SinkName};
use keywheel::rotation::answer::{Answer, Call};
use keywheel::rotation::event::{Event, What};
use keywheel::rotation::{Action, next};

/// Looks that may wait for the next commit: as in `driver/journal.rs`.
const LOOKS_UNWRITTEN: usize = 6;

/// Decisions without anything outside in between: as in `driver/turn.rs`, and tighter.
const DECISIONS_AT_ONCE: u32 = 24;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Turn {
    /// Its claim's number.
    pub fence: u8,
    /// What it believes.
    pub state: Folded,
    pub unwritten: Vec<Shared<Entry>>,
    pub step: Step,
}

/// What the process does next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// Write what is not written, and go on.
    Append {
        wake_at: Moment,
        then: Then,
    },
    Outside(Outside),
    /// The turn is over.
    Over,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Then {
    Decide,
    Outside(Outside),
    End,
}

/// Something that others see.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Outside {
    /// A preflight or a look.
    See(Action),
    /// The call leaves.
    Call { account: usize, old: Option<Password>, new: Password },
    /// The call's answer comes back.
    Hear { new: Password, answer: Answer },
    /// A password is taken away that another one stands beside.
    Retire { generation: Generation, old: Password, stays: Password },
    /// Current goes to the first of these sinks; what came of the others is noted when all are done.
    Deliver { sinks: Vec<SinkName>, done: Vec<What>, generation: Generation },
}

/// What a turn needs of the world to decide.
pub struct Around<'a> {
    pub setting: &'a Setting,
    pub ledger: &'a Ledger,
    /// The slot that counts, by its nominal time.
    pub slot: Option<Moment>,
    /// A password that nobody has.
    pub fresh: Password,
}

impl Turn {
    pub fn new(ledger: &Ledger) -> Self {
        Self {
            fence: ledger.fence,
            state: ledger.cache.state.clone(),
            unwritten: Vec::new(),
            step: Step::Append { wake_at: NOW, then: Then::Decide },
        }
    }

    pub fn note(&mut self, what: What) -> Result<(), String> {
        self.note_with(what, None)
    }

    fn note_with(&mut self, what: What, password: Option<(Generation, Password)>) -> Result<(), String> {
        let event = Event { at: NOW, what };
        self.state = self.state.then(&event).map_err(|illegal| illegal.to_string())?;
        self.unwritten.push(Shared::new(Entry { event, password }));
        Ok(())
    }

    pub fn password(&self, ledger: &Ledger, generation: Generation) -> Result<Password, String> {
        let mut unwritten = self.unwritten.iter().filter_map(|entry| entry.password);
        let mine = unwritten.find(|(known, _)| *known == generation).map(|(_, password)| password);
        mine.or_else(|| ledger.cache.password(generation))
            .ok_or_else(|| format!("the ledger holds no password for generation {generation}"))
    }

    /// Decides until something outside is to be done.
    pub fn decide(&mut self, around: &Around<'_>) -> Result<(), String> {
        for _ in 0..DECISIONS_AT_ONCE {
            let plan = around.setting.plan_for(&self.state.standing, around.slot);
            match next(&self.state, &plan, NOW) {
                Action::Record(what) => self.note(what)?,
                Action::Begin { slot, by, reason } => {
                    let number = u128::from(self.state.standing.newest.0);
                    let rotation = RotationId::from_parts(Moment::default(), number);
                    self.note(What::Began { rotation, slot, by, reason })?;
                    self.step = Step::Append { wake_at: NOW, then: Then::Decide };
                    return Ok(());
                }
                Action::Wait { until, why } => {
                    if until <= NOW {
                        return Err(format!("waits until a time that has passed: {why:?}"));
                    }
                    let wake_at = tick_of(until);
                    let written = self.unwritten.is_empty() && around.ledger.cache.wake_at == wake_at;
                    self.step = if written { Step::Over } else { Step::Append { wake_at, then: Then::End } };
                    return Ok(());
                }
                Action::Prepare { generation, spare, account, beside } => {
                    let password = (!spare).then_some((generation, around.fresh));
                    self.note_with(What::Prepared { generation, account, beside }, password)?;
                }
                Action::Call { call, candidate, previous, account } => {
                    let compares = call == Call::Modify && plan.abilities.asks_old;
                    let old = match previous.filter(|_| compares) {
                        Some(previous) => Some(self.password(around.ledger, previous)?),
                        None if compares => return Err("a call without the old password it compares".to_owned()),
                        None => None,
                    };
                    let new = self.password(around.ledger, candidate)?;
                    let call_out = Outside::Call { account: index(account.as_deref()), old, new };
                    self.note(What::Intended { call })?;
                    self.step = Step::Append { wake_at: NOW, then: Then::Outside(call_out) };
                    return Ok(());
                }
                Action::Deliver { sinks, generation } => {
                    self.go_out(Outside::Deliver { sinks, done: Vec::new(), generation });
                    return Ok(());
                }
                Action::Retire { generation, current } => {
                    let (old, stays) =
                        (self.password(around.ledger, generation)?, self.password(around.ledger, current)?);
                    self.go_out(Outside::Retire { generation, old, stays });
                    return Ok(());
                }
                act @ (Action::Preflight { .. }
                | Action::FindTask { .. }
                | Action::PollTask(_)
                | Action::ReadMark
                | Action::TryLogin { .. }) => {
                    self.go_out(Outside::See(act));
                    return Ok(());
                }
                act @ (Action::Adopt | Action::Pair { .. } | Action::Verify { .. } | Action::Tell { .. }) => {
                    return Err(format!("the model's plans do not lead here: {act:?}"));
                }
            }
        }
        Err("it decides in a circle".to_owned())
    }

    /// Does this next; what has to be durable before it is written first.
    fn go_out(&mut self, outside: Outside) {
        let written = match &outside {
            Outside::See(
                Action::FindTask { .. } | Action::PollTask(_) | Action::ReadMark | Action::TryLogin { .. },
            ) => self.holds_only_looks(),
            _ => self.unwritten.is_empty(),
        };
        self.step = match written {
            true => Step::Outside(outside),
            false => Step::Append { wake_at: NOW, then: Then::Outside(outside) },
        };
    }

    fn holds_only_looks(&self) -> bool {
        self.unwritten.len() <= LOOKS_UNWRITTEN && self.unwritten.iter().all(|entry| entry.event.what.is_look())
    }

    /// How the next step may fare, beside well.
    pub fn perils(&self, beside: bool) -> &'static [Fate] {
        use Fate::{Denied, Lost, NotNow, RuleBroken, Stale, Unclear, Unsent};
        match &self.step {
            Step::Outside(Outside::Call { .. }) if beside => &[Lost, Unsent, NotNow, Denied, Unclear, Stale],
            Step::Append { .. } => &[Lost, Unclear],
            Step::Outside(Outside::Call { .. }) => &[Lost, Unsent, NotNow, Denied, RuleBroken],
            Step::Outside(Outside::Hear { answer: Answer::Unanswered { .. }, .. }) | Step::Over => &[],
            Step::Outside(Outside::Hear { .. }) => &[Lost],
            Step::Outside(Outside::Deliver { .. } | Outside::Retire { .. }) => &[Lost, Unclear],
            Step::Outside(Outside::See(Action::TryLogin { .. })) => &[Lost, Unclear, Stale],
            Step::Outside(Outside::See(_)) => &[Lost],
        }
    }

    /// A tick passes.
    pub fn older(&mut self) {
        self.state = older_state(&self.state);
        self.unwritten.iter_mut().for_each(|entry| *entry = older_entry(entry));
        let outside = match &mut self.step {
            Step::Append { wake_at, then } => {
                older(wake_at);
                match then {
                    Then::Outside(outside) => outside,
                    Then::Decide | Then::End => return,
                }
            }
            Step::Outside(outside) => outside,
            Step::Over => return,
        };
        if let Outside::See(Action::FindTask { from }) = outside {
            older(from);
        }
    }
}

/// The names of a pair's accounts, in the order of the configuration.
pub const PAIR: [&str; 2] = ["a", "b"];

/// Which account a name means; one that has no name is the only one.
pub fn index(account: Option<&str>) -> usize {
    usize::from(account == Some(PAIR[1]))
}
