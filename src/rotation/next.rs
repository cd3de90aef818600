//! The one place that decides. Given a state, a plan and the time it says what to do now, or until when to wait and why.

use super::answer::{Answer, Call, Refusal};
use super::backoff;
use super::deliver;
use super::doubt;
use super::event::{By, Proof, What};
use super::plan::{OnSinkDown, Plan, Recovery};
use super::rest::{first, pass_over, rest};
use super::state::{Phase, Proving, Rotation, Running, Sighting, State, Trouble};
use super::why::Why;
use crate::fault::{Fault, Kind, Retry};
use crate::moment::{Moment, Slot};
use crate::name::{Generation, HookName, SinkName, TaskId};
use std::ops::RangeInclusive;
use std::time::Duration;

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[must_use]
pub enum Action {
    /// Nothing, until then at the latest.
    Wait {
        /// When to ask again.
        until: Moment,
        /// Why.
        why: Why,
    },
    /// Append this decision; it follows from what is already recorded and needs no outside effect.
    Record(What),
    /// Read today's password, prove it, append `adopted` (or `blocked`, or `halted`).
    Adopt,
    /// Append `began` with a fresh id.
    Begin {
        /// The slot it uses up.
        slot: Option<Slot>,
        /// Who or what caused it.
        by: By,
        /// Why, if somebody said so.
        reason: Option<String>,
    },
    /// Read the password of the pair's resting account, prove it, append `paired` (or `blocked`).
    Pair {
        /// The account.
        account: String,
    },
    /// Look at the instance, the password that will be replaced and every sink; append `ready` or `blocked` (or `halted`).
    Preflight {
        /// Which account of a pair the rotation is for.
        account: Option<String>,
        /// The password on it, where it is known.
        previous: Option<Generation>,
        /// Whether the candidate is added beside it: a node that forgot the password then stands in nobody's way, since it gets the next one.
        beside: bool,
        /// Whether one more refused login is drift. Before that it is a hiccup: `blocked` by [`Kind::LoginRefused`].
        believes: bool,
    },
    /// Draw a password (or take the spare's number) and append `prepared` with it.
    Prepare {
        /// The candidate's number.
        generation: Generation,
        /// Whether the ledger holds this generation already.
        spare: bool,
        /// Which account of a pair it is for.
        account: Option<String>,
        /// Whether it is added beside the password before it.
        beside: bool,
    },
    /// Append `intended`, call, append `answered`.
    Call {
        /// Which call.
        call: Call,
        /// The password to set.
        candidate: Generation,
        /// The password that is live on its account as far as we know.
        previous: Option<Generation>,
        /// Which account of a pair it is for.
        account: Option<String>,
    },
    /// Search the instance's tasks.
    FindTask {
        /// From when on.
        from: Moment,
    },
    /// Ask for the task's status.
    PollTask(TaskId),
    /// Read the account's change mark.
    ReadMark,
    /// Log in with the candidate, and with the one before it if given.
    TryLogin {
        /// The candidate.
        candidate: Generation,
        /// The one before it.
        previous: Option<Generation>,
        /// Which account of a pair both are for.
        account: Option<String>,
    },
    /// Log in with current, compare the sinks that can be read; append `verified` and what the sinks showed.
    Verify {
        /// Current.
        generation: Generation,
    },
    /// Take a password away that current stands beside; append `retired` or `retire-failed`.
    Retire {
        /// Which.
        generation: Generation,
        /// The one that stays.
        current: Generation,
    },
    /// Deliver current to these sinks, at the same time.
    Deliver {
        /// To which.
        sinks: Vec<SinkName>,
        /// What.
        generation: Generation,
    },
    /// Tell these hooks.
    Tell {
        /// Which.
        hooks: Vec<HookName>,
        /// Of what.
        generation: Generation,
    },
}

/// What to do now for a target in this state.
pub fn next(state: &State, plan: &Plan, now: Moment) -> Action {
    if let (Some(fault), None) = (moved(state, plan), &state.halt) {
        return Action::Record(What::Halted { fault });
    }
    if let Some(open) = state.open.as_ref().filter(|open| !matches!(open.phase, Phase::Proven { .. })) {
        return match &state.halt {
            Some(halt) => Action::Wait { until: Moment::NEVER, why: Why::Halted(halt.fault.clone()) },
            None if state.is_untouched() => catch_up(state, advance(state, open, plan, now), plan, now),
            None => advance(state, open, plan, now),
        };
    }
    if let Some(deliver) = deliver::now_due(state, plan, now) {
        return deliver;
    }
    let behind = deliver::waiting(state, plan);
    if let Some(halt) = &state.halt {
        let until = behind.map_or(Moment::NEVER, |(until, _)| until);
        return Action::Wait { until, why: Why::Halted(halt.fault.clone()) };
    }
    let hooks = state.open.as_ref().and_then(|open| deliver::hooks(state, open, plan, now, behind.is_some()));
    match (behind, hooks) {
        (None, Some(hooks)) => hooks,
        (None, None) => {
            let settles = state.open.as_ref().and_then(|_| deliver::settled(state));
            settles.unwrap_or_else(|| rest(state, plan, now))
        }
        (Some(behind), hooks) => go_on(state, behind, hooks, plan, now),
    }
}

/// What is done while a sink lacks current: hooks are told after a while. Whether a rotation may begin, and whether a former password may be taken away
/// from those who read that sink, is the configuration's to say.
fn go_on(state: &State, behind: (Moment, Why), hooks: Option<Action>, plan: &Plan, now: Moment) -> Action {
    let (until, why) = behind;
    let waits = Action::Wait { until, why };
    let beside = match (plan.on_sink_down, &hooks) {
        (OnSinkDown::Hold, _) => pass_over(plan, now),
        (OnSinkDown::Proceed, Some(_)) => None,
        (OnSinkDown::Proceed, None) => Some(rest(state, plan, now)),
    };
    let is_alarming = matches!(&beside, Some(Action::Wait { why, .. }) if why.is_alarming());
    let steps = [Some(waits), hooks, beside];
    match is_alarming {
        true => first(steps.into_iter().rev().flatten()),
        false => first(steps.into_iter().flatten()),
    }
}

/// A rotation has begun and sent nothing: what is current stays so, and a sink that is behind receives it.
fn catch_up(state: &State, step: Action, plan: &Plan, now: Moment) -> Action {
    if let Some(deliver) = deliver::now_due(state, plan, now) {
        return deliver;
    }
    match (step, deliver::waiting(state, plan)) {
        (Action::Wait { until, why }, Some((again_at, _))) => Action::Wait { until: until.min(again_at), why },
        (step, _) => step,
    }
}

/// The configuration names another instance or account than the one whose passwords these are. Evidence from there would say nothing, and a reset
/// would hit a stranger.
fn moved(state: &State, plan: &Plan) -> Option<Fault> {
    let place = state.standing.place.as_ref().filter(|&place| *place != plan.place)?;
    let what = format!("the configuration names {} for this target, but its passwords open {place}", plan.place);
    Some(Fault::new(Kind::Misconfigured, what).advise(
        "give the new instance a target name of its own; or, to give up the old one, run `keywheel recover TARGET --set` with the new one's password",
    ))
}

/// A rotation is open and its candidate is not proven.
fn advance(state: &State, open: &Rotation, plan: &Plan, now: Moment) -> Action {
    match &open.phase {
        Phase::Begun => begin(state, open, plan, now),
        Phase::Ready if open.drifted && !may_reset(open, plan) => Action::Record(What::Halted { fault: drift(open) }),
        Phase::Ready => {
            let (account, beside) = (plan.changes(&state.standing), plan.strategy.is_overlap());
            match state.standing.spare {
                Some(generation) => Action::Prepare { generation, spare: true, account, beside },
                None => {
                    Action::Prepare { generation: state.standing.newest.following(), spare: false, account, beside }
                }
            }
        }
        Phase::Prepared => call(open, plan, first_call(open, plan)),
        Phase::Sent { .. } => Action::Record(What::Answered {
            answer: Answer::Unanswered {
                fault: Fault::new(Kind::Unanswered, "keywheel stopped before the call's answer was recorded"),
            },
        }),
        Phase::Refused { refusal, fault, at } => refused(open, plan, now, (*refusal, fault, *at)),
        Phase::Running(running) => watch(open, running, plan, now),
        Phase::Proving(proving) => confirm(open, proving, plan, now),
        Phase::Doubt(doubt) => doubt::next(state, open, doubt, plan, now),
        Phase::Proven { .. } => Action::Wait { until: now, why: Why::LooksAgain },
    }
}

fn begin(state: &State, open: &Rotation, plan: &Plan, now: Moment) -> Action {
    let preflight = || {
        let account = if open.candidate.is_some() { open.account.clone() } else { plan.changes(&state.standing) };
        let previous = state.standing.on(account.as_deref()).map(|known| known.generation);
        let beside = if open.candidate.is_some() { open.beside } else { plan.strategy.is_overlap() };
        let verified = state.standing.verified.map_or(0, |verified| verified.refusals);
        let refusals = open.refusals.saturating_add(verified);
        Action::Preflight { account, previous, beside, believes: refusals.saturating_add(1) >= plan.limits.agreement }
    };
    let Some((until, fault)) = blocked_until(state.blocked.as_ref(), plan, open.id.seed()) else {
        return preflight();
    };
    if is_closed(open, now) {
        return Action::Record(What::Abandoned { fault: fault.advise("nothing; the next slot tries again") });
    }
    let since = state.blocked.as_ref().map(|trouble| trouble.since);
    let too_long_since = since.filter(|&since| now >= since + plan.limits.lock_patience);
    if open.closes.is_none() && too_long_since.is_some() {
        return Action::Record(What::Abandoned {
            fault: fault.advise("ask again when this is mended; nothing has changed"),
        });
    }
    if now < until { Action::Wait { until, why: Why::NotReady { fault, too_long_since } } } else { preflight() }
}

/// Refused, and certainly not applied.
fn refused(open: &Rotation, plan: &Plan, now: Moment, (refusal, fault, at): (Refusal, &Fault, Moment)) -> Action {
    let attempts_left = open.attempts < plan.limits.attempts;
    match refusal {
        Refusal::Locked | Refusal::Busy | Refusal::Throttled | Refusal::Unsent | Refusal::NotNow
            if is_closed(open, now) =>
        {
            let fault =
                fault.clone().advise("nothing; the password is unchanged, and the next slot sends the same new one");
            Action::Record(What::Abandoned { fault })
        }
        Refusal::Locked | Refusal::Busy | Refusal::Throttled | Refusal::Unsent => {
            let too_long = outlasted(open, plan, now);
            if too_long.is_some() && open.closes.is_none() {
                let fault = fault.clone().advise("ask again when the instance is free; the password is unchanged");
                return Action::Record(What::Abandoned { fault });
            }
            call_again(open, plan, now, (fault, at))
        }
        Refusal::NotNow if attempts_left => call_again(open, plan, now, (fault, at)),
        Refusal::NotNow
        | Refusal::Fatal
        | Refusal::OldPasswordWrong
        | Refusal::RuleViolated
        | Refusal::RuleOrOldPassword => Action::Record(What::Halted { fault: fault.clone() }),
    }
}

fn call_again(open: &Rotation, plan: &Plan, now: Moment, (fault, at): (&Fault, Moment)) -> Action {
    let until = held_until(open, plan, fault, at);
    if now < until {
        let too_long_since = outlasted(open, plan, now);
        return Action::Wait { until, why: Why::Held { fault: fault.clone(), too_long_since } };
    }
    call(open, plan, first_call(open, plan))
}

/// Accepted; the task has not ended. A login costs no quota and proves more, so it goes before each poll.
fn watch(open: &Rotation, running: &Running, plan: &Plan, now: Moment) -> Action {
    let Some(candidate) = open.candidate else {
        return lost_candidate();
    };
    if running.seen == Some(Sighting::CandidateLive) {
        return Action::Record(What::Proven { generation: candidate, proof: Proof::Login });
    }
    let patience_ends = running.since + plan.limits.task_patience;
    let may_look = plan.login || plan.abilities.task_status;
    let last_look = if may_look { running.looked_at } else { now };
    if last_look >= patience_ends {
        return Action::Record(What::TaskStuck);
    }
    if !may_look {
        return Action::Wait { until: patience_ends, why: Why::TaskRunning(running.task) };
    }
    let login_next = plan.login && (running.looks.is_multiple_of(2) || !plan.abilities.task_status);
    let until = if running.looks == 0 {
        running.since + plan.limits.usual_task_time
    } else if plan.login && !login_next {
        running.looked_at
    } else {
        running.looked_at + backoff::wait(plan.limits.look_backoff, running.looks, open.id.seed())
    };
    if now < until {
        return Action::Wait { until, why: Why::TaskRunning(running.task) };
    }
    if login_next { login(open, candidate) } else { Action::PollTask(running.task) }
}

/// The cloud says that it is done. With a login route a login must agree; without one this is the proof.
fn confirm(open: &Rotation, proving: &Proving, plan: &Plan, now: Moment) -> Action {
    let Some(candidate) = open.candidate else {
        return lost_candidate();
    };
    if !plan.login {
        let proof = if proving.by_task { Proof::Task } else { Proof::Acceptance };
        return Action::Record(What::Proven { generation: candidate, proof });
    }
    match proving.seen {
        Some(Sighting::CandidateLive) => {
            return Action::Record(What::Proven { generation: candidate, proof: Proof::Login });
        }
        Some(Sighting::PasswordFree) => return Action::Record(What::Halted { fault: password_free() }),
        Some(
            Sighting::BothLive
            | Sighting::PreviousLive
            | Sighting::NeitherLive
            | Sighting::Mixed
            | Sighting::CandidateRefused
            | Sighting::Unreachable
            | Sighting::MarkMoved,
        )
        | None => {}
    }
    // Where the same call reaches the nodes that lack it, there is nothing to wait for.
    let lacking = proving.seen == Some(Sighting::Mixed) && doubt::repeats(open, plan);
    if lacking && proving.looks >= plan.limits.agreement {
        return Action::Record(What::ProofFailed);
    }
    if proving.refused_since.is_some_and(|since| now >= since + plan.limits.proof_patience) {
        return Action::Record(What::ProofFailed);
    }
    let until = proving.looked_at + backoff::wait(plan.limits.look_backoff, proving.looks, open.id.seed());
    if now < until {
        let unreachable = proving.seen == Some(Sighting::Unreachable);
        let why = if unreachable { Why::Unreachable } else { Why::NodesDisagree };
        return Action::Wait { until, why };
    }
    login(open, candidate)
}

/// A login with the candidate alone.
fn login(open: &Rotation, candidate: Generation) -> Action {
    Action::TryLogin { candidate, previous: None, account: open.account.clone() }
}

/// The call, with the candidate and the password before it. A reset needs leave each time: the configuration may have changed since.
pub(super) fn call(open: &Rotation, plan: &Plan, call: Call) -> Action {
    if call == Call::Reset && !may_reset(open, plan) {
        return Action::Record(What::Halted {
            fault: if open.previous.is_some() { drift(open) } else { unknown(open) },
        });
    }
    match open.candidate {
        Some(candidate) => Action::Call { call, candidate, previous: open.previous, account: open.account.clone() },
        None => lost_candidate(),
    }
}

/// The call of this rotation: a reset where the instance refuses the old password, or asks for one that nobody knows.
pub(super) fn first_call(open: &Rotation, plan: &Plan) -> Call {
    let unknown = open.previous.is_none() && (plan.abilities.asks_old || open.account.is_none());
    if open.drifted || unknown { Call::Reset } else { Call::Modify }
}

/// Whether an administrator's reset is allowed and offered.
pub(super) fn may_reset(open: &Rotation, plan: &Plan) -> bool {
    (plan.recovery == Recovery::Reset || open.reset_allowed) && plan.abilities.reset
}

/// Whether the rotation's window has closed. A rotation that was asked for has none.
pub(super) fn is_closed(open: &Rotation, now: Moment) -> bool {
    open.closes.is_some_and(|closes| now > closes)
}

/// Since when the instance has been locked, busy or throttled, if that is longer than the patience for it.
pub(super) fn outlasted(open: &Rotation, plan: &Plan, now: Moment) -> Option<Moment> {
    open.held.as_ref().map(|held| held.since).filter(|&since| now >= since + plan.limits.lock_patience)
}

/// When a call that was held off may be sent again. The cloud's own "not before" wins.
pub(super) fn held_until(open: &Rotation, plan: &Plan, fault: &Fault, at: Moment) -> Moment {
    let times = open.held.as_ref().map_or(open.attempts, |held| held.times);
    at + asked_wait(fault).unwrap_or_else(|| backoff::wait(plan.limits.call_backoff, times, open.id.seed()))
}

/// A cloud's own "not before" is believed within these bounds: neither a busy loop nor a year.
const ASKED_WAITS: RangeInclusive<Duration> = Duration::from_millis(200)..=Duration::from_secs(3_600);

fn asked_wait(fault: &Fault) -> Option<Duration> {
    match fault.retry {
        Retry::AfterMillis(millis) => {
            Some(Duration::from_millis(millis).clamp(*ASKED_WAITS.start(), *ASKED_WAITS.end()))
        }
        Retry::Never | Retry::Later => None,
    }
}

/// What is told or written on somebody else's side is tried again after our own wait, and never before they said.
pub(super) fn not_before(fault: Option<&Fault>, wait: Duration) -> Duration {
    fault.and_then(asked_wait).map_or(wait, |asked| asked.max(wait))
}

pub(super) fn blocked_until(blocked: Option<&Trouble>, plan: &Plan, seed: u64) -> Option<(Moment, Fault)> {
    blocked.map(|trouble| {
        let wait =
            asked_wait(&trouble.fault).unwrap_or_else(|| backoff::wait(plan.limits.call_backoff, trouble.times, seed));
        (trouble.at + wait, trouble.fault.clone())
    })
}

/// The current password no longer works and no call of ours can be the reason.
pub(super) fn drift(open: &Rotation) -> Fault {
    let tried = if open.candidate.is_some() { " and so is the new one" } else { "" };
    let of = open.account.as_ref().map(|account| format!(" for {account}")).unwrap_or_default();
    Fault::new(
        Kind::OldPasswordWrong,
        format!("the password in the ledger{of} is refused{tried}: somebody else changed it"),
    )
}

/// The same, seen between rotations.
pub(super) fn drift_at_rest() -> Fault {
    Fault::new(
        Kind::OldPasswordWrong,
        "the password in the ledger is refused, again and again: somebody else changed it",
    )
}

/// The change compares an old password that the ledger does not hold.
fn unknown(open: &Rotation) -> Fault {
    let account = open.account.as_deref().unwrap_or("the account");
    Fault::new(Kind::OldPasswordWrong, format!("the password of {account} is not known, and the change asks for it"))
        .advise("give it with `keywheel adopt TARGET --account NAME`, or allow a reset with recovery = \"reset\"")
}

pub(super) fn password_free() -> Fault {
    Fault::new(Kind::PasswordFree, "the instance lets anybody in without a password")
}

/// States that `apply` never makes. Halting keeps every password and asks a person.
pub(super) fn lost_candidate() -> Action {
    Action::Record(What::Halted { fault: Fault::new(Kind::Bug, "the rotation has no candidate") })
}
