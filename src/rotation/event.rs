//! What happened to a target: the only thing the ledger remembers. Events hold no password; a new candidate's password is
//! sealed beside its [`What::Prepared`] in the same transaction.

use super::answer::{Answer, Call, Login, TaskStatus};
use super::state::Standing;
use crate::fault::Fault;
use crate::moment::{Moment, Slot};
use crate::name::{Generation, HookName, RotationId, SinkName, TaskId, TokenName};
use serde::{Deserialize, Serialize};

/// The version of this vocabulary that is written. A greater one in the ledger means a newer keywheel wrote it.
pub const VERSION: u32 = 3;

/// One thing that happened, and when.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Event {
    /// When it happened by this machine's clock.
    pub at: Moment,
    /// What it was.
    #[serde(flatten)]
    pub what: What,
}

/// The things that can happen to a target.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "event")]
pub enum What {
    /// The password that works today was taken in; its sealed form stands beside this event.
    Adopted {
        /// Its number.
        generation: Generation,
        /// How we know that it works.
        proof: Proof,
        /// Who gave it.
        by: By,
        /// Why, in their words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The instance and account it opens.
        place: String,
        /// Which account of a pair; `None` where the target has only one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<String>,
    },
    /// The password of a pair's resting account was taken in; its sealed form stands beside this event.
    Paired {
        /// Its number.
        generation: Generation,
        /// How we know that it works.
        proof: Proof,
        /// Who gave it.
        by: By,
        /// Why, in their words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The account.
        account: String,
    },
    /// Nobody knows today's password, and the configuration allows a reset: the first rotation, at its next slot, sets one.
    TakenOver {
        /// The instance and account.
        place: String,
    },
    /// Somebody wants a rotation now.
    Asked {
        /// Who.
        by: By,
        /// Why, in their words.
        reason: Option<String>,
    },
    /// A slot went by without a rotation: its window closed first.
    SlotPassed {
        /// Which.
        slot: Slot,
    },
    /// A rotation began; nothing has changed anywhere yet.
    Began {
        /// Its id.
        rotation: RotationId,
        /// The slot it uses up, if the schedule caused it.
        slot: Option<Slot>,
        /// Who or what caused it.
        by: By,
        /// Why, if somebody said so.
        reason: Option<String>,
    },
    /// Something stands in the way before anything was changed: adoption or the preflight did not pass.
    Blocked {
        /// What.
        fault: Fault,
    },
    /// The preflight passed: the instance runs, and every sink would take a write.
    Ready {
        /// The account's change mark before our first call.
        change_mark: Option<String>,
        /// Whether the instance refused the current password: somebody else changed it.
        drifted: bool,
    },
    /// A candidate is in the ledger, sealed. `generation` is new, or the spare of an abandoned rotation.
    Prepared {
        /// Its number.
        generation: Generation,
        /// Which account of a pair it is for; `None` where the target has only one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<String>,
        /// It is added beside the password before it, which stays valid for a while.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        beside: bool,
    },
    /// A call that may make the candidate live is about to leave.
    Intended {
        /// Which call.
        call: Call,
    },
    /// What became of the call.
    Answered {
        /// As far as its answer tells.
        answer: Answer,
    },
    /// The task was asked for.
    TaskRead {
        /// What the cloud said.
        status: TaskStatus,
    },
    /// The task outlasted our patience.
    TaskStuck,
    /// The instance's tasks were searched for ours.
    TaskSought {
        /// What was found.
        found: Option<(TaskId, TaskStatus)>,
    },
    /// The account's change mark was read.
    MarkRead {
        /// The mark now.
        mark: Option<String>,
    },
    /// Logins were tried.
    LoginTried {
        /// With the candidate.
        candidate: Login,
        /// With the password before it, where that was tried too.
        previous: Option<Login>,
    },
    /// A look gave no evidence.
    LookFailed {
        /// Why not.
        fault: Fault,
    },
    /// The cloud reports success, yet logins with the candidate stayed refused for longer than nodes need to agree.
    ProofFailed,
    /// The candidate is live: it is now current.
    Proven {
        /// Its number.
        generation: Generation,
        /// How we know.
        proof: Proof,
    },
    /// A candidate that broke a rule was dropped: it is proven not live, and no call of ours can still make it live.
    Discarded {
        /// Its number.
        generation: Generation,
        /// The refusal.
        fault: Fault,
    },
    /// The rotation ends without having changed anything; an unsent candidate is kept as the spare.
    Abandoned {
        /// Why.
        fault: Fault,
    },
    /// A sink holds this generation, durably.
    Delivered {
        /// Which sink.
        sink: SinkName,
        /// Which generation.
        generation: Generation,
        /// A digest of all that was written but the password, such as the login address: where it changes, the sink receives the generation again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shape: Option<String>,
    },
    /// A sink did not take this generation.
    DeliveryFailed {
        /// Which sink.
        sink: SinkName,
        /// Which generation.
        generation: Generation,
        /// Why not.
        fault: Fault,
    },
    /// A sink no longer holds what was delivered to it, or should hold it in another shape, and receives it again.
    SinkLost {
        /// Which sink.
        sink: SinkName,
    },
    /// A sink that can be read holds something else than what was delivered to it: somebody changed it.
    SinkDiffers {
        /// Which sink.
        sink: SinkName,
    },
    /// A sink that held something else holds what was delivered again.
    SinkAgrees {
        /// Which sink.
        sink: SinkName,
    },
    /// A hook was told.
    HookTold {
        /// Which hook.
        hook: HookName,
    },
    /// A hook is told later, because others wait as well.
    HookQueued {
        /// Which hook.
        hook: HookName,
        /// When its turn comes.
        until: Moment,
        /// What it waits for.
        by: Queue,
    },
    /// A hook did not succeed.
    HookFailed {
        /// Which hook.
        hook: HookName,
        /// Why not.
        fault: Fault,
    },
    /// Current is proven live and delivered to every sink. Carries the whole standing, so that a fold can begin here.
    Settled {
        /// What is true of the target between rotations.
        standing: Box<Standing>,
    },
    /// The former password was taken away: every node refuses it.
    Retired {
        /// Its number.
        generation: Generation,
    },
    /// The former password could not be taken away everywhere yet.
    RetireFailed {
        /// Its number.
        generation: Generation,
        /// Why not.
        fault: Fault,
    },
    /// Between rotations, a login with current was tried.
    Verified {
        /// What it showed.
        login: Login,
    },
    /// A person says: begin nothing.
    Paused {
        /// Who.
        by: By,
        /// Why, in their words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Until when; `None` = until somebody resumes.
        until: Option<Moment>,
    },
    /// The pause is over.
    Unpaused {
        /// Who ended it: a person, or its own end.
        by: By,
    },
    /// A person is needed.
    Halted {
        /// What happened and what to do next.
        fault: Fault,
    },
    /// A person says: go on.
    Resumed {
        /// Who.
        by: By,
        /// Why, in their words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Whether they allow an administrator's reset to the same candidate in this rotation.
        allow_reset: bool,
    },
    /// A person was shown passwords.
    Revealed {
        /// Who.
        by: By,
        /// Why, in their words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Which.
        generations: Vec<Generation>,
    },
    /// A person gave the password that works; its sealed form stands beside this event. An open rotation ends.
    Replaced {
        /// Its number.
        generation: Generation,
        /// How we know that it works.
        proof: Proof,
        /// Who gave it.
        by: By,
        /// Why, in their words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The instance and account it opens.
        place: String,
        /// Which account of a pair; `None` where the target has only one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<String>,
        /// It opens another instance, account or pair than the passwords known before: those are given up.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        moved: bool,
    },
}

/// Who or what caused something.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "who")]
pub enum By {
    /// The schedule, or keywheel's own rules.
    Schedule,
    /// The configuration: an `adopt` reference.
    Configuration,
    /// A person or program with this user id, by the command line or the control socket.
    Operator {
        /// The user id.
        uid: u32,
    },
    /// Whoever sent a signal: the kernel tells us no name.
    Signal,
    /// A signal to a daemon that systemd runs: `systemctl reload`, as a rule.
    Systemd,
    /// Whoever holds this bearer token, over TCP.
    Token {
        /// The token's name in the configuration.
        name: TokenName,
    },
}

/// How we know that a password is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// A fresh login was let in.
    Login,
    /// No login route; the cloud's task ended in success.
    Task,
    /// No login route; the cloud accepted the change and names no task.
    Acceptance,
    /// No login route; the account's change mark moved after our unanswered call.
    ChangeMark,
    /// No login route; the same call again was refused because the old password is no longer right.
    OldPasswordGone,
    /// No login route; a person says so.
    Stated,
}

/// What a hook's turn waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Queue {
    /// Other targets that tell the same hook at about the same time: it is told once for all of them.
    Others,
    /// The restart budget.
    Budget,
}

impl What {
    /// Whether this is evidence from a look, which can be had again.
    pub const fn is_look(&self) -> bool {
        matches!(
            self,
            Self::TaskRead { .. }
                | Self::TaskSought { .. }
                | Self::MarkRead { .. }
                | Self::LoginTried { .. }
                | Self::LookFailed { .. }
        )
    }

    /// A short name for logs and error texts.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Adopted { .. } => "adopted",
            Self::Paired { .. } => "paired",
            Self::TakenOver { .. } => "taken-over",
            Self::Asked { .. } => "asked",
            Self::SlotPassed { .. } => "slot-passed",
            Self::Began { .. } => "began",
            Self::Blocked { .. } => "blocked",
            Self::Ready { .. } => "ready",
            Self::Prepared { .. } => "prepared",
            Self::Intended { .. } => "intended",
            Self::Answered { .. } => "answered",
            Self::TaskRead { .. } => "task-read",
            Self::TaskStuck => "task-stuck",
            Self::TaskSought { .. } => "task-sought",
            Self::MarkRead { .. } => "mark-read",
            Self::LoginTried { .. } => "login-tried",
            Self::LookFailed { .. } => "look-failed",
            Self::ProofFailed => "proof-failed",
            Self::Proven { .. } => "proven",
            Self::Discarded { .. } => "discarded",
            Self::Abandoned { .. } => "abandoned",
            Self::Delivered { .. } => "delivered",
            Self::DeliveryFailed { .. } => "delivery-failed",
            Self::SinkLost { .. } => "sink-lost",
            Self::SinkDiffers { .. } => "sink-differs",
            Self::SinkAgrees { .. } => "sink-agrees",
            Self::HookTold { .. } => "hook-told",
            Self::HookQueued { .. } => "hook-queued",
            Self::HookFailed { .. } => "hook-failed",
            Self::Settled { .. } => "settled",
            Self::Retired { .. } => "retired",
            Self::RetireFailed { .. } => "retire-failed",
            Self::Verified { .. } => "verified",
            Self::Paused { .. } => "paused",
            Self::Unpaused { .. } => "unpaused",
            Self::Halted { .. } => "halted",
            Self::Resumed { .. } => "resumed",
            Self::Revealed { .. } => "revealed",
            Self::Replaced { .. } => "replaced",
        }
    }
}
