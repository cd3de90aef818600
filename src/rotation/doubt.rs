//! Leaving doubt. Evidence is gathered in rounds of looks, strongest first; a round that decides nothing is followed by another
//! one, later. The exits are: the candidate is live; it is not, so the *same* call is sent again; a reset to the same candidate;
//! the candidate may be dropped; or a person is needed. No candidate is ever replaced while it may be live.
//!
//! The change mark is read only where no login route exists: a login costs no quota and says which password is live, the mark
//! only that somebody changed something.

use super::answer::{Call, Refusal};
use super::backoff;
use super::event::{Proof, What};
use super::next::{
    Action, call, drift, first_call, held_until, is_closed, lost_candidate, may_reset, outlasted, password_free,
};
use super::plan::Plan;
use super::state::{Doubt, DoubtCause, Rotation, Sighting, State, Step};
use super::why::Why;
use crate::fault::{Fault, Kind};
use crate::moment::Moment;
use std::time::Duration;

/// Where a login route exists, the instance's tasks are searched in every n-th round only: listing costs quota.
const TASK_SEARCH_EVERY: u32 = 4;

/// A provider widens its search for our task by the clock difference it tolerates, by less than this. A call that left sooner after the last
/// proof is not searched for: the task that is found might be the one that made the last password live.
const SEARCH_MARGIN: Duration = Duration::from_secs(15 * 60);

/// How long a lost call of an earlier rotation may still turn up as a task. Until then a task that is found may be that one's, of a pair even the other
/// account's. A search that is left out costs no more than the same call once again.
const LOST_MARGIN: Duration = Duration::from_secs(24 * 3_600);

/// What to do now in doubt.
pub(super) fn next(state: &State, open: &Rotation, doubt: &Doubt, plan: &Plan, now: Moment) -> Action {
    if let Some(look) = look(state, open, doubt, plan, doubt.round, doubt.step) {
        let until =
            if doubt.step == Step::Tasks { round_begins(open, doubt, plan, doubt.round) } else { doubt.looked_at };
        return wait_or(look, until, open, doubt, plan, now);
    }
    match conclude(open, doubt, plan, now) {
        Conclusion::Act(action) => action,
        Conclusion::LookAgain => {
            let round = doubt.round.saturating_add(1);
            let until = round_begins(open, doubt, plan, round);
            match look(state, open, doubt, plan, round, Step::Tasks) {
                Some(look) => wait_or(look, until, open, doubt, plan, now),
                None => Action::Wait { until: repeat_at(open, doubt, plan), why: why(open, doubt, plan, now) },
            }
        }
    }
}

/// The first look of the round, from `from` on, that this target offers.
fn look(state: &State, open: &Rotation, doubt: &Doubt, plan: &Plan, round: u32, from: Step) -> Option<Action> {
    let candidate = open.candidate?;
    // The task that made the last password live must not be taken for this rotation's. Of a pair that was the other account's: the list names none.
    let settled_at = state.standing.current.as_ref().map(|current| current.proven_at);
    let search = plan.abilities.task_list && (!plan.login || round.is_multiple_of(TASK_SEARCH_EVERY));
    let sent = open
        .sent
        .filter(|_| open.exposed && search && is_told_by_tasks(doubt.cause))
        .filter(|&(first, _)| settled_at.is_none_or(|settled| first >= settled + SEARCH_MARGIN))
        .filter(|&(first, _)| open.lost_before.is_none_or(|lost| first >= lost + LOST_MARGIN));
    let mark = plan.abilities.change_mark && open.exposed && !plan.login && open.change_mark.is_some();
    match (from, sent) {
        (Step::Tasks, Some((first, _))) => Some(Action::FindTask { from: first }),
        (Step::Tasks | Step::Mark, _) if mark => Some(Action::ReadMark),
        (Step::Tasks | Step::Mark | Step::Login, _) if plan.login => {
            Some(Action::TryLogin { candidate, previous: open.previous, account: open.account.clone() })
        }
        (Step::Tasks | Step::Mark | Step::Login | Step::Conclude, _) => None,
    }
}

/// Whether the task list can say something new: not where the cloud refused the call, nor where it already reported success.
const fn is_told_by_tasks(cause: DoubtCause) -> bool {
    match cause {
        DoubtCause::Lost
        | DoubtCause::Held(_)
        | DoubtCause::TaskFailed
        | DoubtCause::TaskStuck
        | DoubtCause::OldPasswordWrong
        | DoubtCause::Fatal
        | DoubtCause::Resumed => true,
        DoubtCause::ProofFailed | DoubtCause::RuleViolated | DoubtCause::RuleOrOldPassword => false,
    }
}

fn round_begins(open: &Rotation, doubt: &Doubt, plan: &Plan, round: u32) -> Moment {
    match doubt.cause {
        DoubtCause::Held(_) if round == 0 => held_until(open, plan, &doubt.fault, doubt.since),
        DoubtCause::Held(_)
        | DoubtCause::Lost
        | DoubtCause::TaskFailed
        | DoubtCause::TaskStuck
        | DoubtCause::ProofFailed
        | DoubtCause::OldPasswordWrong
        | DoubtCause::RuleViolated
        | DoubtCause::RuleOrOldPassword
        | DoubtCause::Fatal
        | DoubtCause::Resumed => doubt.looked_at + backoff::wait(plan.limits.look_backoff, round, open.id.seed()),
    }
}

fn wait_or(look: Action, until: Moment, open: &Rotation, doubt: &Doubt, plan: &Plan, now: Moment) -> Action {
    if now < until { Action::Wait { until, why: why(open, doubt, plan, now) } } else { look }
}

enum Conclusion {
    Act(Action),
    LookAgain,
}

/// All looks of the round are done: what do they say?
fn conclude(open: &Rotation, doubt: &Doubt, plan: &Plan, now: Moment) -> Conclusion {
    let Some(candidate) = open.candidate else {
        return Conclusion::Act(lost_candidate());
    };
    let proven = |proof| Conclusion::Act(Action::Record(What::Proven { generation: candidate, proof }));
    let agreed = |times: u32| times >= plan.limits.agreement;
    match doubt.seen {
        Some((Sighting::CandidateLive | Sighting::BothLive, _)) if is_unfinished(open, doubt, plan, now) => {
            call_again(open, doubt, plan, now)
        }
        // Whatever was answered: somebody on the way may have sent a call twice, and passed the second answer on.
        Some((Sighting::CandidateLive, _)) => proven(Proof::Login),
        // Beside the one before it, both live is what was asked for.
        Some((Sighting::BothLive, times)) if open.beside || agreed(times) => proven(Proof::Login),
        Some((Sighting::MarkMoved, _)) => proven(Proof::ChangeMark),
        Some((Sighting::PasswordFree, _)) => halt(password_free()),
        Some((Sighting::NeitherLive, times)) if agreed(times) && now >= doubt.since + plan.limits.late_effect => {
            // A reset is worth trying on an instance that was locked; not without end on one that stays so.
            let often = open.held.as_ref().is_some_and(|held| held.times > plan.limits.attempts);
            if often && held_for_good(open, doubt, plan, now) {
                return halt_held(doubt);
            }
            reset_or_halt(open, plan)
        }
        Some((Sighting::PreviousLive, _)) | None => not_live(open, doubt, plan, now),
        // Nothing to compare with: the account's password is not known, so that a refusal says all that a login can say.
        Some((Sighting::CandidateRefused, _)) if open.previous.is_none() => not_live(open, doubt, plan, now),
        // A node that lacks the candidate gets it by the same call, and the others are left as they are.
        Some((Sighting::Mixed, _)) if repeats(open, plan) => not_live(open, doubt, plan, now),
        // The login route was taken away since: what logins left open stays open, and the repeated call must tell.
        Some(_) if !plan.login => not_live(open, doubt, plan, now),
        Some((
            Sighting::BothLive
            | Sighting::NeitherLive
            | Sighting::Mixed
            | Sighting::CandidateRefused
            | Sighting::Unreachable,
            _,
        )) => look_again(doubt, plan),
    }
}

/// Another round, unless there were enough of them. Rounds in which the instance was unreachable do not count.
fn look_again(doubt: &Doubt, plan: &Plan) -> Conclusion {
    if doubt.round.saturating_sub(doubt.blind) < plan.limits.rounds {
        return Conclusion::LookAgain;
    }
    halt(Fault::new(Kind::Unanswered, "the evidence does not decide which password is live").advise(
        "try both: `keywheel recover TARGET --show` names them; then `--set` the one that works, or `--resume`",
    ))
}

/// The password before the candidate is live, or no login route exists that could tell.
fn not_live(open: &Rotation, doubt: &Doubt, plan: &Plan, now: Moment) -> Conclusion {
    let Some(candidate) = open.candidate else {
        return Conclusion::Act(lost_candidate());
    };
    match doubt.cause {
        DoubtCause::Fatal => halt(doubt.fault.clone()),
        DoubtCause::RuleOrOldPassword if !plan.login => halt(doubt.fault.clone().advise(
            "the code may mean a broken rule or a changed password, and no login route can tell: add `login` to the target, then `keywheel recover TARGET --resume`",
        )),
        // An earlier call may have changed the old password, and nodes that lag behind still let it in: the same call again, and a login, tell.
        DoubtCause::RuleOrOldPassword if open.exposed || open.let_in => call_again(open, doubt, plan, now),
        // A code that names no rule is believed to mean one only once nodes had time to show that the call was not applied.
        DoubtCause::RuleOrOldPassword if !is_refuted(open, doubt, plan, now) => look_again(doubt, plan),
        DoubtCause::RuleViolated | DoubtCause::RuleOrOldPassword => {
            if open.exposed || open.let_in {
                return halt(doubt.fault.clone().advise(
                    "an earlier call with the same password may have been carried out: `keywheel recover TARGET --show` names what may be live; then `--set` the one that works, or `--resume`",
                ));
            }
            if open.redraws >= plan.limits.redraws {
                return halt(doubt.fault.clone());
            }
            let fault = doubt.fault.clone();
            Conclusion::Act(Action::Record(What::Discarded { generation: candidate, fault }))
        }
        DoubtCause::OldPasswordWrong if !plan.login && doubt.seen.is_none() => {
            if open.exposed {
                let proof = Proof::OldPasswordGone;
                return Conclusion::Act(Action::Record(What::Proven { generation: candidate, proof }));
            }
            reset_or_halt(open, plan)
        }
        DoubtCause::Held(_) if held_for_good(open, doubt, plan, now) => halt_held(doubt),
        DoubtCause::Lost
        | DoubtCause::Held(_)
        | DoubtCause::TaskFailed
        | DoubtCause::TaskStuck
        | DoubtCause::ProofFailed
        | DoubtCause::OldPasswordWrong
        | DoubtCause::Resumed => call_again(open, doubt, plan, now),
    }
}

/// Whether logins showed often enough, and for long enough after the call, that the candidate is not live.
fn is_refuted(open: &Rotation, doubt: &Doubt, plan: &Plan, now: Moment) -> bool {
    doubt.seen.is_some_and(|(_, times)| times >= plan.limits.agreement) && now >= late_until(open, plan)
}

/// The same call with the same candidate, once the earlier ones have had their time to take effect. Should one of them still apply
/// later, the cloud's comparison with the old password refuses the other: both set the same candidate.
fn call_again(open: &Rotation, doubt: &Doubt, plan: &Plan, now: Moment) -> Conclusion {
    if now < repeat_at(open, doubt, plan) {
        return look_again(doubt, plan);
    }
    if open.attempts >= plan.limits.attempts {
        return halt(doubt.fault.clone().advise(
            "the same call was sent as often as `attempts` allows: find out what stands in its way, then `keywheel recover TARGET --resume`",
        ));
    }
    Conclusion::Act(call(open, plan, first_call(open, plan)))
}

fn reset_or_halt(open: &Rotation, plan: &Plan) -> Conclusion {
    if may_reset(open, plan) && open.attempts < plan.limits.attempts {
        return Conclusion::Act(call(open, plan, Call::Reset));
    }
    halt(drift(open))
}

/// Whether the instance has been held off for longer than the patience for it, and the window is no reason to go on. Waiting burns no attempt, so nothing else
/// would end it.
fn held_for_good(open: &Rotation, doubt: &Doubt, plan: &Plan, now: Moment) -> bool {
    let waits = match doubt.cause {
        DoubtCause::Held(Refusal::Locked | Refusal::Busy | Refusal::Throttled | Refusal::Unsent) => true,
        DoubtCause::Held(
            Refusal::NotNow
            | Refusal::OldPasswordWrong
            | Refusal::RuleViolated
            | Refusal::RuleOrOldPassword
            | Refusal::Fatal,
        )
        | DoubtCause::Lost
        | DoubtCause::TaskFailed
        | DoubtCause::TaskStuck
        | DoubtCause::ProofFailed
        | DoubtCause::OldPasswordWrong
        | DoubtCause::RuleViolated
        | DoubtCause::RuleOrOldPassword
        | DoubtCause::Fatal
        | DoubtCause::Resumed => false,
    };
    waits && outlasted(open, plan, now).is_some() && (open.closes.is_none() || is_closed(open, now))
}

fn halt_held(doubt: &Doubt) -> Conclusion {
    halt(doubt.fault.clone().advise(
        "look at the instance's tasks in the cloud console; when it is free, `keywheel recover TARGET --resume`",
    ))
}

fn halt(fault: Fault) -> Conclusion {
    Conclusion::Act(Action::Record(What::Halted { fault }))
}

/// Whether the same call again completes what reached some nodes only, and can do no harm.
pub(super) fn repeats(open: &Rotation, plan: &Plan) -> bool {
    open.beside || plan.abilities.each_node
}

/// Whether a call on nodes of one's own, which is several commands, may have ended between them: its password is live, and a restart would forget it. The same
/// call completes it. Where it was sent as often as it may be, or was held off for longer than the patience for that, what is live is delivered all the same.
fn is_unfinished(open: &Rotation, doubt: &Doubt, plan: &Plan, now: Moment) -> bool {
    let ended_early = match doubt.cause {
        DoubtCause::Lost | DoubtCause::Held(_) | DoubtCause::OldPasswordWrong | DoubtCause::Resumed => true,
        DoubtCause::TaskFailed
        | DoubtCause::TaskStuck
        | DoubtCause::ProofFailed
        | DoubtCause::RuleViolated
        | DoubtCause::RuleOrOldPassword
        | DoubtCause::Fatal => false,
    };
    let may_repeat = open.attempts < plan.limits.attempts && !held_for_good(open, doubt, plan, now);
    ended_early && plan.abilities.each_node && may_repeat
}

/// When the same call may be sent again.
fn repeat_at(open: &Rotation, doubt: &Doubt, plan: &Plan) -> Moment {
    if repeats(open, plan) {
        // The same again cannot undo anything, so nothing is gained by letting the earlier call take its time.
        let last = open.sent.map_or(open.began_at, |(_, last)| last);
        return held_until(open, plan, &doubt.fault, last);
    }
    match doubt.cause {
        DoubtCause::TaskFailed => doubt.since + backoff::wait(plan.limits.call_backoff, open.attempts, open.id.seed()),
        DoubtCause::Held(_) => held_until(open, plan, &doubt.fault, doubt.since).max(late_until(open, plan)),
        DoubtCause::Lost
        | DoubtCause::TaskStuck
        | DoubtCause::ProofFailed
        | DoubtCause::OldPasswordWrong
        | DoubtCause::RuleViolated
        | DoubtCause::RuleOrOldPassword
        | DoubtCause::Fatal
        | DoubtCause::Resumed => late_until(open, plan),
    }
}

/// Until when a call that left may still take effect.
fn late_until(open: &Rotation, plan: &Plan) -> Moment {
    open.sent.map_or(open.began_at, |(_, last)| last + plan.limits.late_effect)
}

fn why(open: &Rotation, doubt: &Doubt, plan: &Plan, now: Moment) -> Why {
    let late = late_until(open, plan);
    match (doubt.seen, doubt.cause) {
        (Some((Sighting::Unreachable, _)), _) => Why::Unreachable,
        (_, DoubtCause::Held(_)) => {
            Why::Held { fault: doubt.fault.clone(), too_long_since: outlasted(open, plan, now) }
        }
        (
            _,
            DoubtCause::Lost
            | DoubtCause::TaskFailed
            | DoubtCause::TaskStuck
            | DoubtCause::ProofFailed
            | DoubtCause::OldPasswordWrong
            | DoubtCause::RuleViolated
            | DoubtCause::RuleOrOldPassword
            | DoubtCause::Fatal
            | DoubtCause::Resumed,
        ) => {
            if now < late && (open.exposed || doubt.cause == DoubtCause::RuleOrOldPassword) {
                Why::MayStillApply { until: late }
            } else {
                Why::LooksAgain
            }
        }
    }
}
