//! Why nothing happens now: the sentence that `explain`, the logs and the status output share.

use super::event::Queue;
use super::plan::Hold;
use super::waves::{Held, Stop};
use crate::fault::{Fault, Kind};
use crate::moment::{Moment, show_span};
use crate::name::{Generation, HookName, SinkName, TaskId};
use std::fmt;

/// Why a target waits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Why {
    /// The next slot has not come.
    NotDue,
    /// It has no schedule; it rotates when asked.
    OnlyWhenAsked,
    /// A person is needed.
    Halted(Fault),
    /// Today's password could not be taken in yet.
    NotAdopted(Fault),
    /// The preflight did not pass; nothing has changed.
    NotReady {
        /// What stands in the way.
        fault: Fault,
        /// Since when, if it outlasted the patience for locks.
        too_long_since: Option<Moment>,
    },
    /// Sinks do not hold the current generation yet.
    Behind {
        /// One of them.
        sink: SinkName,
        /// How many.
        sinks: usize,
        /// The generation they lack.
        generation: Generation,
        /// What the named one said last.
        fault: Option<Fault>,
        /// A rotation is due and waits for them.
        held: bool,
    },
    /// Hooks are told a little later: sinks are still behind.
    HooksWait,
    /// A hook is told again later.
    HookAgain(Fault),
    /// A hook's turn comes later: others wait as well.
    HookQueued {
        /// Which.
        hook: HookName,
        /// When it comes.
        until: Moment,
        /// What it waits for.
        by: Queue,
    },
    /// A person said that nothing may begin.
    Paused {
        /// Until when.
        until: Moment,
    },
    /// The schedule asks for a rotation, and something else does not let it begin.
    HeldBack(Hold),
    /// Consumers are still moving to the password before the next one.
    Grace {
        /// Until when they have time.
        until: Moment,
    },
    /// The last change is believed on the cloud's word alone and may not have happened yet: the next one would compare with a password that is not there.
    OnItsWord {
        /// Until when.
        until: Moment,
    },
    /// Two passwords are valid until consumers have moved.
    Overlapping {
        /// Until when.
        until: Moment,
    },
    /// The former password is not taken away everywhere yet.
    RetireAgain {
        /// Why not.
        fault: Fault,
        /// Since when, if it outlasted the patience for locks.
        too_long_since: Option<Moment>,
    },
    /// Logins with current, between rotations, are not let in by every node, or nobody answers them.
    Unverified {
        /// Whether nodes disagree.
        mixed: bool,
    },
    /// Somebody changed what a sink holds.
    SinkDiffers {
        /// Which.
        sink: SinkName,
    },
    /// The cloud holds the call off; the same candidate is sent again.
    Held {
        /// Its last answer.
        fault: Fault,
        /// Since when, if it outlasted the patience for locks.
        too_long_since: Option<Moment>,
    },
    /// The cloud works on it.
    TaskRunning(TaskId),
    /// The cloud says done, and not every node lets the new password in yet.
    NodesDisagree,
    /// The instance cannot be reached to prove anything.
    Unreachable,
    /// An unanswered call may still take effect.
    MayStillApply {
        /// Until when that is waited for.
        until: Moment,
    },
    /// The evidence does not decide yet; the next round of looks comes.
    LooksAgain,
}

impl Why {
    /// Whether an operator should be alerted although keywheel goes on by itself.
    pub const fn is_alarming(&self) -> bool {
        match self {
            Self::Halted(_)
            | Self::Held { too_long_since: Some(_), .. }
            | Self::RetireAgain { too_long_since: Some(_), .. }
            | Self::NotReady { too_long_since: Some(_), .. }
            | Self::Unverified { .. } => true,
            // It is waited for, and may need a person all the same.
            Self::NotAdopted(fault) | Self::NotReady { fault, too_long_since: None } => {
                matches!(fault.kind, Kind::CredentialMissing)
            }
            Self::NotDue
            | Self::OnlyWhenAsked
            | Self::Behind { .. }
            | Self::HooksWait
            | Self::HookAgain(_)
            | Self::HookQueued { .. }
            | Self::Paused { .. }
            | Self::HeldBack(_)
            | Self::Grace { .. }
            | Self::OnItsWord { .. }
            | Self::Overlapping { .. }
            | Self::RetireAgain { too_long_since: None, .. }
            | Self::SinkDiffers { .. }
            | Self::Held { too_long_since: None, .. }
            | Self::TaskRunning(_)
            | Self::NodesDisagree
            | Self::Unreachable
            | Self::MayStillApply { .. }
            | Self::LooksAgain => false,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDue => out.write_str("the next slot has not come"),
            Self::OnlyWhenAsked => out.write_str("it has no schedule and rotates when asked"),
            Self::Halted(fault) => write!(out, "halted: {fault}"),
            Self::NotAdopted(fault) => write!(out, "today's password is not taken in yet: {fault}"),
            Self::NotReady { fault, too_long_since: None } => write!(out, "nothing has changed yet, because {fault}"),
            Self::NotReady { fault, too_long_since: Some(since) } => {
                write!(out, "nothing has changed yet, held up since {since}, longer than lock-patience: {fault}")
            }
            Self::Behind { sink, sinks, generation, fault, held } => {
                match sinks {
                    1 => write!(out, "sink {sink} lacks generation {generation}")?,
                    sinks => write!(out, "{sinks} sinks lack generation {generation}, {sink} among them")?,
                }
                if *held {
                    out.write_str(", and the rotation that is due waits for it (on-sink-down = \"hold\")")?;
                }
                said(out, fault.as_ref())
            }
            Self::HooksWait => out.write_str("hooks are told once the sinks have it, or a little later without them"),
            Self::HookAgain(fault) => write!(out, "delivered; a hook is told again: {fault}"),
            Self::HookQueued { hook, until, by: Queue::Others } => {
                write!(out, "delivered; the hook {hook} is told at {until}, once for all targets that change until then")
            }
            Self::HookQueued { hook, until, by: Queue::Budget } => {
                write!(out, "delivered; the hook {hook} has its turn at {until} (restart-budget)")
            }
            Self::Paused { until: Moment::NEVER } => out.write_str("paused until somebody resumes it"),
            Self::Paused { until } => write!(out, "paused until {until}"),
            Self::HeldBack(hold) => hold.fmt(out),
            Self::Grace { until } => {
                write!(out, "the next rotation rests until {until}, so that every consumer has moved")
            }
            Self::OnItsWord { until } => {
                write!(out, "the cloud accepted the last change and nothing proves that it has happened yet: the next one rests until {until}")
            }
            Self::Overlapping { until } => write!(out, "the former password stays valid until {until}"),
            Self::RetireAgain { fault, too_long_since: None } => {
                write!(out, "the former password is still valid somewhere, and no rotation begins before it is gone: {fault}")
            }
            Self::RetireAgain { fault, too_long_since: Some(since) } => {
                write!(
                    out,
                    "the former password is still valid somewhere since {since}, longer than lock-patience, and no rotation begins before it is gone: {fault}"
                )
            }
            Self::Unverified { mixed: true } => out.write_str(
                "nodes disagree about the current password: some turn it away; somebody changed it there, or a node forgot it",
            ),
            Self::Unverified { mixed: false } => {
                out.write_str("the instance cannot be reached again and again, so nobody knows whether the current password works")
            }
            Self::SinkDiffers { sink } => {
                write!(
                    out,
                    "sink {sink} holds something else than was delivered; `keywheel recover TARGET --resume` delivers it again"
                )
            }
            Self::Held { fault, too_long_since: None } => write!(out, "the same password is sent again later: {fault}"),
            Self::Held { fault, too_long_since: Some(since) } => {
                write!(out, "held off since {since}, longer than lock-patience: {fault}")
            }
            Self::TaskRunning(task) => write!(out, "the cloud works on task {task}"),
            Self::NodesDisagree => out.write_str("the cloud says done; nodes do not all let the new password in yet"),
            Self::Unreachable => {
                out.write_str("the instance cannot be reached, so nothing can be proven; both passwords are kept")
            }
            Self::MayStillApply { until } => {
                write!(out, "an unanswered call may take effect until {until}; both passwords are kept")
            }
            Self::LooksAgain => out.write_str("the evidence does not decide yet; both passwords are kept"),
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frozen { name, until } => write!(out, "frozen until {until} ({name}): nothing begins by itself"),
            Self::Wave(held) => held.fmt(out),
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earlier { wave, waves, after, others } => {
                write!(out, "it is in wave {wave} of {waves}, and the one before has to settle first: ")?;
                match others {
                    0 => write!(out, "{after} has not"),
                    others => write!(out, "{after} and {others} more have not"),
                }
            }
            Self::Stopped(stop) => stop.fmt(out),
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { halted, others, canary, since: _ } = self;
        match (canary, others) {
            (true, 0) => write!(out, "nothing more of the selection begins: {halted}, which goes first, is halted"),
            (true, others) => {
                write!(
                    out,
                    "nothing more of the selection begins: {halted}, which goes first, and {others} more are halted"
                )
            }
            (false, 0) => write!(out, "nothing more of the selection begins: {halted} is halted"),
            (false, others) => {
                write!(out, "nothing more of the selection begins: {halted} and {others} more are halted")
            }
        }
    }
}

fn said(out: &mut fmt::Formatter<'_>, fault: Option<&Fault>) -> fmt::Result {
    fault.map_or(Ok(()), |fault| write!(out, ": {fault}"))
}

/// "in 2h 5m" or "now", for a moment as seen from `now`.
pub fn from_now(moment: Moment, now: Moment) -> String {
    if moment <= now { "now".to_owned() } else { format!("in {}", show_span(moment.since(now))) }
}
