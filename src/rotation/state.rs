//! What the events of a target mean.

use super::answer::{Call, Refusal};
use super::event::{By, Proof, Queue};
use crate::fault::Fault;
use crate::moment::Moment;
use crate::name::{Generation, HookName, RotationId, SinkName, TaskId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Everything known of a target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// What is true between rotations.
    pub standing: Standing,
    /// Somebody wants a rotation now.
    pub asked: Option<Ask>,
    /// What stands in the way of adoption or of the preflight.
    pub blocked: Option<Trouble>,
    /// The rotation under way; at most one.
    pub open: Option<Rotation>,
    /// The rotation before that one, if a sink still lacked its password when the open one began. It goes on if the open one changes nothing.
    pub earlier: Option<Box<Rotation>>,
    /// A person is needed.
    pub halt: Option<Halt>,
    /// A person allowed a reset in the rotation that begins next.
    pub reset_allowed: bool,
}

/// What is true of a target between rotations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Standing {
    /// The newest generation proven live.
    pub current: Option<Current>,
    /// The generation before current, where it stays valid beside it: the other account of a pair, or the password that an overlap has not taken
    /// away yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<Current>,
    /// Current was added beside the password before it: whatever takes current's place, current itself stays valid until it is taken away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub beside: bool,
    /// When taking the former password away was last tried without success, and how often in a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retiring: Option<Trouble>,
    /// The instance and account its passwords open, as it was when one was taken in.
    pub place: Option<String>,
    /// Candidates that calls of ours may still make live although a person ended their rotation by giving another password.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub loose: BTreeSet<Generation>,
    /// When a call last went unanswered: what it asked for may still happen, and then stands in the cloud's list of tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_at: Option<Moment>,
    /// The greatest number ever given to a password of this target.
    pub newest: Generation,
    /// A candidate that no call can have made live as far as the answers tell, kept for the next rotation.
    pub spare: Option<Generation>,
    /// Slots up to this nominal time are used up or passed.
    pub slots_after: Moment,
    /// When a rotation last made a generation current.
    pub rotated_at: Option<Moment>,
    /// When a hook was last told of a password: what it set off takes its time from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_at: Option<Moment>,
    /// Nobody knows today's password and nobody needs to: the first rotation resets it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub taken_over: bool,
    /// Nothing begins until then, because a person said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Pause>,
    /// What the last verifications between rotations showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verified>,
    /// How the last rotation ended, if it changed nothing.
    pub abandoned: Option<Fault>,
    /// What each sink holds.
    pub sinks: BTreeMap<SinkName, Outlet>,
    /// Hooks that could not be told since they were told last.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub untold: BTreeMap<HookName, Untold>,
}

/// A hook that could not be told.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Untold {
    /// The first rotation that it was not told of.
    pub rotation: RotationId,
    /// What the last attempt met.
    pub fault: Fault,
}

/// The generation that is live as far as we know.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Current {
    /// Its number.
    pub generation: Generation,
    /// How it was proven.
    pub proof: Proof,
    /// When.
    pub proven_at: Moment,
    /// By which rotation; `None` when adopted or given by a person.
    pub rotation: Option<RotationId>,
    /// Which account of a pair it opens; `None` where the target has only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

/// A person said: begin nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pause {
    /// Who.
    pub by: By,
    /// Since when.
    pub since: Moment,
    /// Until when; [`Moment::NEVER`] = until somebody resumes.
    pub until: Moment,
}

/// Logins with current between rotations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verified {
    /// When it was last tried.
    pub at: Moment,
    /// How often in a row it was refused.
    pub refusals: u32,
    /// How often nodes disagreed since it was last let in by all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mixed: u32,
    /// How often nobody answered since then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unreachable: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes what it skips by reference")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// What one sink holds, or whether one hook was told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outlet {
    /// The generation it has; `None` when it never had one.
    pub generation: Option<Generation>,
    /// Attempts in a row that failed.
    pub failures: u32,
    /// When the last attempt ended.
    pub tried_at: Option<Moment>,
    /// Since when it lacks the current generation.
    pub behind_since: Option<Moment>,
    /// Why the last attempt failed.
    pub fault: Option<Fault>,
    /// What its content was made of beside the password when it was delivered, as a digest; `None` for hooks, and where an older keywheel delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<String>,
    /// Of a hook: when its turn comes, and what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<(Moment, Queue)>,
    /// It was delivered and holds something else now: somebody changed it. It is left alone until a person or the next rotation replaces it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub differs: bool,
}

/// A wish for a rotation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ask {
    /// Whose.
    pub by: By,
    /// Why, in their words.
    pub reason: Option<String>,
}

/// Something that failed, how often in a row, and when.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Trouble {
    /// The last fault.
    pub fault: Fault,
    /// How often in a row.
    pub times: u32,
    /// The first time.
    pub since: Moment,
    /// The last time.
    pub at: Moment,
}

/// Why a person is needed, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Halt {
    /// What happened and what to do next.
    pub fault: Fault,
    /// Since when.
    pub since: Moment,
}

/// One attempt to make the next generation current.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rotation {
    /// Its id.
    pub id: RotationId,
    /// Who or what caused it.
    pub by: By,
    /// When it began.
    pub began_at: Moment,
    /// Until when it may wait for its first call; `None` when it was asked for or runs a missed slot.
    pub closes: Option<Moment>,
    /// The generation it wants to make current.
    pub candidate: Option<Generation>,
    /// Which account of a pair the candidate is for; `None` where the target has only one.
    pub account: Option<String>,
    /// The candidate is added beside the password before it, which stays valid.
    pub beside: bool,
    /// The password that the candidate replaces on its account, as far as we know; `None` where none is known.
    pub previous: Option<Generation>,
    /// The account's change mark before our first call.
    pub change_mark: Option<String>,
    /// The instance refuses the current password.
    pub drifted: bool,
    /// How often the preflight saw it refused; one refusal is a hiccup.
    pub refusals: u32,
    /// A call of ours was accepted or went unanswered: the candidate may be live or may become so. Never unset.
    pub exposed: bool,
    /// A login with the candidate was let in somewhere: whatever the answers were, one of our calls was applied.
    pub let_in: bool,
    /// When the first and the last call with this candidate left, whatever was answered.
    pub sent: Option<(Moment, Moment)>,
    /// Calls that counted as an attempt.
    pub attempts: u32,
    /// Deliveries that came when a hook had been told already, or may have been: it is told again of what it knows, for the sake of that sink's readers.
    pub late: u32,
    /// Candidates dropped because they broke a rule.
    pub redraws: u32,
    /// Which ones. An answer may be wrong, so they stay named until another one is proven.
    pub dropped: BTreeSet<Generation>,
    /// The task that outlasted our patience: found running again, it says nothing new.
    pub stuck: Option<TaskId>,
    /// When a call of an earlier rotation last went unanswered.
    pub lost_before: Option<Moment>,
    /// A person allowed a reset in this rotation.
    pub reset_allowed: bool,
    /// The cloud's locked, busy or throttled answers since it last accepted a call.
    pub held: Option<Trouble>,
    /// Where it stands.
    pub phase: Phase,
}

/// Where a rotation stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Begun; the preflight has not passed.
    Begun,
    /// The preflight passed; a candidate is to be prepared.
    Ready,
    /// The candidate is in the ledger; no call is open.
    Prepared,
    /// A call was intended. Without an outcome this *is* doubt.
    Sent {
        /// Which call.
        call: Call,
        /// When the intent was written.
        at: Moment,
    },
    /// Every call so far was refused and certainly not applied; the same candidate is sent again later.
    Refused {
        /// In which way.
        refusal: Refusal,
        /// The last answer.
        fault: Fault,
        /// When it came.
        at: Moment,
    },
    /// Accepted, and the task has not ended.
    Running(Running),
    /// We do not know which password is live.
    Doubt(Doubt),
    /// The cloud says that it is done; a login must agree.
    Proving(Proving),
    /// The candidate is current; sinks and hooks follow.
    Proven {
        /// Which hooks were told.
        hooks: BTreeMap<HookName, Outlet>,
    },
}

/// An accepted change whose task has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Running {
    /// The task.
    pub task: TaskId,
    /// Since when it is known.
    pub since: Moment,
    /// When we last looked.
    pub looked_at: Moment,
    /// How often we looked.
    pub looks: u32,
    /// What the last login showed.
    pub seen: Option<Sighting>,
}

/// The cloud reports success and logins are being tried.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Proving {
    /// Whether a task's success says so; else the cloud named no task when it accepted.
    pub by_task: bool,
    /// Since when.
    pub since: Moment,
    /// When a login was last tried.
    pub looked_at: Moment,
    /// How often.
    pub looks: u32,
    /// What the last login showed.
    pub seen: Option<Sighting>,
    /// Since when logins got an answer that was not a welcome; unreachable ones do not count.
    pub refused_since: Option<Moment>,
}

/// We do not know, and look for evidence in rounds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Doubt {
    /// What brought us here.
    pub cause: DoubtCause,
    /// The answer or event that did.
    pub fault: Fault,
    /// Since when.
    pub since: Moment,
    /// Which round of looks this is, from 0.
    pub round: u32,
    /// Rounds in which the instance was unreachable.
    pub blind: u32,
    /// The next look of the round.
    pub step: Step,
    /// When the last look ended.
    pub looked_at: Moment,
    /// What the last login showed, and how often in a row.
    pub seen: Option<(Sighting, u32)>,
}

/// What brought a rotation into doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DoubtCause {
    /// A call went unanswered, or keywheel stopped before the answer was written.
    Lost,
    /// Locked, busy or throttled after an earlier call may have had an effect.
    Held(Refusal),
    /// The task ended in failure, which does not say that nothing changed.
    TaskFailed,
    /// The task did not end in time.
    TaskStuck,
    /// The cloud reports success but logins are refused.
    ProofFailed,
    /// The cloud says that the old password is wrong.
    OldPasswordWrong,
    /// The cloud says that the candidate breaks a rule.
    RuleViolated,
    /// The cloud says one or the other.
    RuleOrOldPassword,
    /// Refused for good after an earlier call may have had an effect.
    Fatal,
    /// A person said go on.
    Resumed,
}

/// The looks of one round, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Search the instance's tasks.
    Tasks,
    /// Read the account's change mark.
    Mark,
    /// Try to log in.
    Login,
    /// All looks of the round are done: conclude.
    Conclude,
}

/// What a pair of logins, or the change mark, showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sighting {
    /// The candidate is let in, the one before it is not (or was not tried).
    CandidateLive,
    /// Both are let in.
    BothLive,
    /// Only the one before the candidate is let in.
    PreviousLive,
    /// Neither is let in.
    NeitherLive,
    /// Nodes disagree.
    Mixed,
    /// The candidate was refused; the one before it was not tried.
    CandidateRefused,
    /// Anybody is let in.
    PasswordFree,
    /// No answer about passwords.
    Unreachable,
    /// The change mark moved (only looked at where no login route exists).
    MarkMoved,
}

/// The state of a target in one word, as `status` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Label {
    /// Current is proven live and every sink holds it.
    Settled,
    /// A rotation should have begun, or adoption is still to come.
    Due,
    /// A rotation is under way.
    Rotating,
    /// We do not know which password is live.
    Doubt,
    /// A sink lacks the current generation, or no longer holds what was delivered; or a former password that should be gone is still valid.
    Behind,
    /// A person is needed.
    Halted,
    /// A person said that nothing may begin.
    Paused,
}

impl Label {
    /// The word itself.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Due => "due",
            Self::Rotating => "rotating",
            Self::Doubt => "doubt",
            Self::Behind => "behind",
            Self::Halted => "halted",
            Self::Paused => "paused",
        }
    }
}

impl Rotation {
    /// Whether a call with the candidate left. Whatever was answered, and by whom, it may be live.
    pub const fn was_sent(&self) -> bool {
        self.sent.is_some()
    }
}

impl Standing {
    /// The password that a candidate for this account would replace there: `None` where none is known.
    pub fn on(&self, account: Option<&str>) -> Option<&Current> {
        [&self.current, &self.former].into_iter().flatten().find(|known| known.account.as_deref() == account)
    }
}

impl State {
    /// The state in one word.
    pub fn label(&self) -> Label {
        if self.halt.is_some() {
            return Label::Halted;
        }
        match self.open.as_ref().map(|open| &open.phase) {
            Some(Phase::Sent { .. } | Phase::Doubt(_)) => Label::Doubt,
            Some(Phase::Proven { .. }) if self.is_behind() => Label::Behind,
            Some(
                Phase::Begun
                | Phase::Ready
                | Phase::Prepared
                | Phase::Refused { .. }
                | Phase::Running(_)
                | Phase::Proving(_)
                | Phase::Proven { .. },
            ) => Label::Rotating,
            None if self.standing.paused.is_some() && self.standing.current.is_none() => Label::Paused,
            None if self.asked.is_some() || self.standing.current.is_none() => Label::Due,
            None if self.is_behind() => Label::Behind,
            None if self.standing.paused.is_some() => Label::Paused,
            None => Label::Settled,
        }
    }

    /// Generations that may be live now: what an operator must keep until the state is settled.
    pub fn candidates(&self) -> Vec<Generation> {
        let known = [&self.standing.current, &self.standing.former];
        let mut all: Vec<Generation> = known.into_iter().flatten().map(|known| known.generation).collect();
        all.extend(self.open.as_ref().filter(|open| open.was_sent()).and_then(|open| open.candidate));
        all.extend(self.open.iter().flat_map(|open| &open.dropped));
        all.extend(self.standing.spare);
        all.extend(&self.standing.loose);
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Which account of a pair a generation opens; `None` where the target has only one, or nobody knows any more.
    pub fn account_of(&self, generation: Generation) -> Option<&str> {
        let open = self.open.as_ref().filter(|open| open.candidate == Some(generation));
        let known = [&self.standing.current, &self.standing.former].into_iter().flatten();
        let of_known = known.filter(|known| known.generation == generation).find_map(|known| known.account.as_deref());
        of_known.or(open.and_then(|open| open.account.as_deref()))
    }

    /// Whether nothing is under way that may change which password is live: the last rotation is over, or only deliveries and hooks are left of it.
    pub fn is_proven(&self) -> bool {
        self.open.as_ref().is_none_or(|open| matches!(open.phase, Phase::Proven { .. }))
    }

    /// Whether what is current is still what is live, as far as our calls go: nothing left yet that could change it.
    pub fn is_untouched(&self) -> bool {
        self.is_proven() || self.open.as_ref().is_some_and(|open| !open.was_sent())
    }

    fn is_behind(&self) -> bool {
        let lacks = |outlet: &Outlet| outlet.behind_since.is_some() && outlet.failures > 0 || outlet.differs;
        self.standing.retiring.is_some() || self.standing.sinks.values().any(lacks)
    }
}
