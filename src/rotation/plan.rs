//! What is intended for a target: everything [`super::next()`] needs beside the state and the time. `check`, `plan`, the status
//! output and the driver read the same value.

use super::state::Standing;
use super::waves::Held;
use crate::moment::{Moment, Slot};
use crate::name::{FreezeName, HookName, SinkName};
use std::time::Duration;

/// The settings of one target that decide its moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The instance and account that the configuration names for this target.
    pub place: String,
    /// The slot that counts: the newest one reached and not used up, else the next one to come; `None` = only when asked.
    pub slot: Option<Slot>,
    /// Whether a rotation may start in that slot now. A slot that is reached and may not start any more has passed.
    pub may_start: bool,
    /// What keeps a rotation from beginning that only the schedule asks for.
    pub hold: Option<Hold>,
    /// How the password changes.
    pub strategy: Strategy,
    /// Whether a login route exists.
    pub login: bool,
    /// What the provider offers for this account.
    pub abilities: Abilities,
    /// Whether an administrator's reset may repair a lost password.
    pub recovery: Recovery,
    /// Whether the target may begin without today's password, where a reset is allowed: discovered instances.
    pub take_over: bool,
    /// Whether the configuration says where today's password is: then it is taken over only where that does not hold it.
    pub adopts: bool,
    /// Whether the configuration says where the password of a pair's resting account is.
    pub adopts_resting: bool,
    /// How often current is verified between rotations; `None` = never.
    pub verify_every: Option<Duration>,
    /// Where current is delivered.
    pub sinks: Vec<SinkName>,
    /// Who is told afterwards.
    pub hooks: Vec<HookName>,
    /// What a sink that does not take passwords holds back.
    pub on_sink_down: OnSinkDown,
    /// Patience and back-off.
    pub limits: Limits,
}

/// What keeps a rotation from beginning that only the schedule asks for. Whoever asks for one by hand knows why, and is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Hold {
    /// It is one of the dates on which nothing begins by itself.
    Frozen {
        /// Which.
        name: FreezeName,
        /// Until when.
        until: Moment,
    },
    /// Others of its selection go first.
    Wave(Held),
}

/// What becomes of a rotation while a sink does not take passwords.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum OnSinkDown {
    /// None begins that could not be delivered, and none while a sink lacks current.
    #[default]
    Hold,
    /// It goes on. The sink receives what is current by the time it is back; who reads it has no more than the grace.
    Proceed,
}

impl OnSinkDown {
    /// All of them, by the word in the settings.
    pub const ALL: [(&'static str, Self); 2] = [("hold", Self::Hold), ("proceed", Self::Proceed)];

    /// The word in the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Proceed => "proceed",
        }
    }
}

/// How a target's password changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// One account; its password changes.
    #[default]
    InPlace,
    /// Two accounts in turn: the resting one's password changes and it becomes the active one; the other stays valid until the next rotation.
    Alternate {
        /// The pair, in the order of the configuration; the first is the active one when the target is adopted.
        accounts: [String; 2],
        /// Two rotations are never closer together than this, so that every consumer has moved.
        grace: Duration,
    },
    /// Two passwords on one account: the new one is added, and the one before it taken away after the grace.
    Overlap {
        /// How long both are valid after every sink has the new one.
        grace: Duration,
    },
}

impl Strategy {
    /// Whether a candidate is added beside the password before it.
    pub const fn is_overlap(&self) -> bool {
        match self {
            Self::Overlap { .. } => true,
            Self::InPlace | Self::Alternate { .. } => false,
        }
    }

    /// Whether two accounts take turns.
    pub const fn is_alternate(&self) -> bool {
        match self {
            Self::Alternate { .. } => true,
            Self::InPlace | Self::Overlap { .. } => false,
        }
    }
}

impl Plan {
    /// Whether the target may begin without today's password: where a reset may set the first one.
    pub const fn may_take_over(&self) -> bool {
        self.take_over && self.recovery.may_reset(self.abilities)
    }

    /// Which account of a pair the next rotation changes: the one that is not active. `None` where there is only one.
    pub fn changes(&self, standing: &Standing) -> Option<String> {
        let Strategy::Alternate { accounts: [first, second], .. } = &self.strategy else {
            return None;
        };
        let active = standing.current.as_ref().and_then(|current| current.account.as_ref());
        Some(if active == Some(first) { second } else { first }.clone())
    }
}

/// What kinds of evidence and calls a provider offers; [`super::next()`] never asks for one that is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Abilities {
    /// A task id can be asked for its status.
    pub task_status: bool,
    /// Tasks of an instance can be listed by time window.
    pub task_list: bool,
    /// The account carries a mark that changes whenever its password is changed.
    pub change_mark: bool,
    /// An administrator's reset exists for this account.
    pub reset: bool,
    /// A change reaches each node by itself, and the same call again reaches those that lack it and leaves the others alone.
    pub each_node: bool,
    /// The ordinary change takes the old password and compares it.
    pub asks_old: bool,
}

/// What may be done when neither the candidate nor the password before it is live.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Recovery {
    /// Halt and ask a person.
    #[default]
    Halt,
    /// An administrator's reset to the same candidate.
    Reset,
}

impl Recovery {
    /// Whether a reset may be called without a person who allows it.
    pub const fn may_reset(self, abilities: Abilities) -> bool {
        match self {
            Self::Halt => false,
            Self::Reset => abilities.reset,
        }
    }
}

/// How long and how often. Every wait of the protocol is one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long a task usually takes; the first look comes then.
    pub usual_task_time: Duration,
    /// After this a task counts as stuck.
    pub task_patience: Duration,
    /// How long nodes may go on refusing a password that the cloud reports as set.
    pub proof_patience: Duration,
    /// How long an unanswered call may still take effect before the same call is sent again.
    pub late_effect: Duration,
    /// After this a lock raises an alert.
    pub lock_patience: Duration,
    /// Calls of one rotation that count as attempts.
    pub attempts: u32,
    /// Candidates of one rotation that may be dropped for breaking a rule.
    pub redraws: u32,
    /// Rounds in a row that must agree before neither or both passwords being live is believed.
    pub agreement: u32,
    /// Rounds of looks before doubt ends in a halt, not counting those in which the instance was unreachable.
    pub rounds: u32,
    /// Times a hook is told before keywheel gives up on it.
    pub hook_attempts: u32,
    /// The first and the longest wait between two calls.
    pub call_backoff: Backoff,
    /// The first and the longest wait between two looks.
    pub look_backoff: Backoff,
    /// The first and the longest wait between two deliveries or notices.
    pub outlet_backoff: Backoff,
}

/// An exponential back-off with full jitter: the n-th wait is drawn between zero and `first` × 2ⁿ, at most `longest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The bound of the first wait.
    pub first: Duration,
    /// The bound of every wait.
    pub longest: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            usual_task_time: seconds(5),
            task_patience: seconds(15 * 60),
            proof_patience: seconds(2 * 60),
            late_effect: seconds(60),
            lock_patience: seconds(30 * 60),
            attempts: 8,
            redraws: 2,
            agreement: 4,
            rounds: 60,
            hook_attempts: 20,
            call_backoff: Backoff { first: seconds(4), longest: seconds(120) },
            look_backoff: Backoff { first: seconds(2), longest: seconds(30) },
            outlet_backoff: Backoff { first: seconds(2), longest: seconds(300) },
        }
    }
}
