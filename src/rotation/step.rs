//! The moves inside an open rotation: preflight, candidate, call, answer, looks, hooks.

use super::answer::{Answer, Login, Refusal, TaskStatus};
use super::apply::{Verdict, require};
use super::event::{Event, What};
use super::state::{Doubt, DoubtCause, Outlet, Phase, Proving, Rotation, Running};
use super::state::{Sighting, State, Step, Trouble, Untold};
use crate::fault::{Fault, Kind};
use crate::moment::Moment;
use crate::name::TaskId;

/// The events that only move the open rotation along.
pub(super) fn step_rotation(state: &mut State, event: &Event) -> Verdict<()> {
    let at = event.at;
    let newest = state.standing.newest;
    let spare = state.standing.spare;
    let open = state.open.as_mut().ok_or("no rotation is open")?;
    match (&event.what, &mut open.phase) {
        (What::Ready { change_mark, drifted }, Phase::Begun) => {
            open.change_mark.clone_from(change_mark);
            open.drifted = *drifted;
            open.refusals = 0;
            open.phase = match open.candidate {
                None => Phase::Ready,
                // Resumed, and the password before it is gone: a call that was refused may have been applied all the same. Logins tell.
                Some(_) if *drifted && open.was_sent() => {
                    open.drifted = false;
                    let what = "the password before it is refused since the call with the new one was";
                    Phase::Doubt(doubt(DoubtCause::Resumed, Fault::new(Kind::OldPasswordWrong, what), at))
                }
                Some(_) => Phase::Prepared,
            };
            state.blocked = None;
        }
        (What::Prepared { generation, account, beside }, Phase::Ready) => {
            let expected = spare.unwrap_or_else(|| newest.following());
            let is_next = *generation == expected && (spare.is_some() || expected > newest);
            require(is_next, "the candidate's number is not the next one")?;
            let active = state.standing.current.as_ref().and_then(|current| current.account.as_ref());
            require(account.is_none() || account.as_ref() != active, "the active account of a pair is left alone")?;
            require(!(account.is_some() && *beside), "a pair has one password on each account")?;
            open.previous = state.standing.on(account.as_deref()).map(|known| known.generation);
            open.candidate = Some(*generation);
            open.account.clone_from(account);
            open.beside = *beside;
            open.phase = Phase::Prepared;
            state.standing.newest = newest.max(*generation);
            state.standing.spare = None;
        }
        (What::Intended { call }, Phase::Prepared | Phase::Refused { .. } | Phase::Doubt(_)) => {
            require(open.candidate.is_some(), "there is no candidate")?;
            open.sent = Some((open.sent.map_or(at, |(first, _)| first), at));
            open.phase = Phase::Sent { call: *call, at };
        }
        (What::Answered { answer }, Phase::Sent { .. }) => {
            if matches!(answer, Answer::Unanswered { .. }) {
                state.standing.lost_at = Some(at);
            }
            take_answer(open, answer, at);
        }
        (What::TaskRead { status }, Phase::Running(running)) => match status {
            TaskStatus::Running => {
                running.looks = running.looks.saturating_add(1);
                running.looked_at = at;
            }
            TaskStatus::Succeeded => open.phase = Phase::Proving(proving(true, at)),
            TaskStatus::Failed { message } => open.phase = Phase::Doubt(task_failed(message, at)),
        },
        (What::TaskStuck, Phase::Running(running)) => {
            open.stuck = Some(running.task);
            let what = format!("the cloud's task {} has not ended", running.task);
            open.phase = Phase::Doubt(doubt(DoubtCause::TaskStuck, Fault::new(Kind::Unanswered, what), at));
        }
        (What::TaskSought { found }, Phase::Doubt(doubt)) => {
            begin_look(doubt, Step::Tasks, at);
            match found {
                None => {}
                Some((task, TaskStatus::Running)) if open.stuck == Some(*task) => {}
                Some((task, TaskStatus::Running)) => open.phase = Phase::Running(running(*task, at)),
                Some((_, TaskStatus::Succeeded)) => open.phase = Phase::Proving(proving(true, at)),
                Some((_, TaskStatus::Failed { .. })) if doubt.cause == DoubtCause::TaskFailed => {}
                Some((_, TaskStatus::Failed { message })) => {
                    *doubt = Doubt {
                        round: doubt.round,
                        blind: doubt.blind,
                        step: Step::Mark,
                        seen: doubt.seen,
                        ..task_failed(message, at)
                    };
                }
            }
        }
        (What::MarkRead { mark }, Phase::Doubt(doubt)) => {
            begin_look(doubt, Step::Mark, at);
            if mark.is_some() && *mark != open.change_mark {
                saw(&mut doubt.seen, Sighting::MarkMoved);
            }
        }
        (What::LoginTried { candidate, previous }, Phase::Doubt(doubt)) => {
            begin_look(doubt, Step::Login, at);
            open.let_in |= matches!(candidate, Login::Accepted | Login::Mixed);
            let seen = sighting(candidate, previous.as_ref());
            doubt.blind += u32::from(seen == Sighting::Unreachable);
            saw(&mut doubt.seen, seen);
        }
        (What::LoginTried { candidate, previous: None }, Phase::Running(running)) => {
            running.looks = running.looks.saturating_add(1);
            running.looked_at = at;
            running.seen = Some(sighting(candidate, None));
        }
        (What::LoginTried { candidate, previous: None }, Phase::Proving(proving)) => {
            let seen = sighting(candidate, None);
            proving.looks = proving.looks.saturating_add(1);
            proving.looked_at = at;
            proving.seen = Some(seen);
            if seen != Sighting::Unreachable {
                proving.refused_since.get_or_insert(at);
            }
        }
        (What::LookFailed { .. }, Phase::Running(running)) => {
            running.looks = running.looks.saturating_add(1);
            running.looked_at = at;
        }
        (What::LookFailed { .. }, Phase::Doubt(doubt)) => {
            let step = match doubt.step {
                Step::Tasks | Step::Conclude => Step::Tasks,
                Step::Mark => Step::Mark,
                Step::Login => Step::Login,
            };
            begin_look(doubt, step, at);
        }
        (What::ProofFailed, Phase::Proving(_)) => {
            let what = "the cloud reports success, but logins with the new password stay refused";
            open.phase = Phase::Doubt(doubt(DoubtCause::ProofFailed, Fault::new(Kind::LoginRefused, what), at));
        }
        (What::Discarded { generation, fault: _ }, Phase::Doubt(doubt)) => {
            let rule = matches!(doubt.cause, DoubtCause::RuleViolated | DoubtCause::RuleOrOldPassword);
            require(rule && !open.exposed, "it is not proven that the candidate cannot become live")?;
            require(open.candidate == Some(*generation), "this is not the candidate")?;
            let let_in = [Sighting::CandidateLive, Sighting::BothLive, Sighting::Mixed];
            require(
                doubt.seen.is_none_or(|(seen, _)| !let_in.contains(&seen)),
                "a login with the candidate was let in",
            )?;
            open.dropped.insert(*generation);
            open.candidate = None;
            open.sent = None;
            open.redraws += 1;
            open.phase = Phase::Ready;
        }
        (What::HookTold { hook }, Phase::Proven { hooks }) => {
            let generation = open.candidate;
            hooks.insert(hook.clone(), Outlet { generation, tried_at: Some(at), ..Outlet::default() });
            state.standing.told_at = Some(at);
            state.standing.untold.remove(hook);
        }
        (What::HookQueued { hook, until, by }, Phase::Proven { hooks }) => {
            let told = hooks.entry(hook.clone()).or_default();
            require(told.generation.is_none(), "the hook was told")?;
            told.queued = Some((*until, *by));
        }
        (What::HookFailed { hook, fault }, Phase::Proven { hooks }) => {
            let told = hooks.entry(hook.clone()).or_default();
            told.queued = None;
            told.failures = told.failures.saturating_add(1);
            told.tried_at = Some(at);
            told.fault = Some(fault.clone());
            let untold = state.standing.untold.entry(hook.clone());
            untold.or_insert_with(|| Untold { rotation: open.id, fault: fault.clone() }).fault = fault.clone();
        }
        (_, _) => return Err("the rotation is in another phase"),
    }
    Ok(())
}

/// What a call's answer makes of the rotation. The call itself is over; earlier ones may have left the candidate exposed.
fn take_answer(open: &mut Rotation, answer: &Answer, at: Moment) {
    let (refusal, fault) = match answer {
        Answer::Accepted { task } => {
            open.exposed = true;
            open.attempts += 1;
            open.held = None;
            open.phase = match task {
                Some(task) => Phase::Running(running(*task, at)),
                None => Phase::Proving(proving(false, at)),
            };
            return;
        }
        Answer::Unanswered { fault } => {
            open.exposed = true;
            open.attempts += 1;
            // The call may have stood in the provider's queue: it left at the latest now.
            open.sent = open.sent.map(|(first, _)| (first, at));
            open.phase = Phase::Doubt(doubt(DoubtCause::Lost, fault.clone(), at));
            return;
        }
        Answer::Refused { refusal, fault } => (*refusal, fault),
    };
    let cause = match refusal {
        Refusal::Locked | Refusal::Busy | Refusal::Throttled | Refusal::Unsent => {
            open.held = Some(again(open.held.take(), fault, at));
            DoubtCause::Held(refusal)
        }
        Refusal::NotNow => DoubtCause::Held(refusal),
        Refusal::OldPasswordWrong => DoubtCause::OldPasswordWrong,
        Refusal::RuleViolated => DoubtCause::RuleViolated,
        Refusal::RuleOrOldPassword => DoubtCause::RuleOrOldPassword,
        Refusal::Fatal => DoubtCause::Fatal,
    };
    match refusal {
        Refusal::Locked | Refusal::Busy | Refusal::Throttled | Refusal::Unsent => {}
        Refusal::NotNow
        | Refusal::OldPasswordWrong
        | Refusal::RuleViolated
        | Refusal::RuleOrOldPassword
        | Refusal::Fatal => open.attempts += 1,
    }
    let at_rest = matches!(cause, DoubtCause::Held(_) | DoubtCause::Fatal) && !open.exposed;
    open.phase = if at_rest {
        Phase::Refused { refusal, fault: fault.clone(), at }
    } else {
        Phase::Doubt(doubt(cause, fault.clone(), at))
    };
}

/// A look of this step ended: the next step follows, in a new round if this step had been done in the old one.
fn begin_look(doubt: &mut Doubt, step: Step, at: Moment) {
    if doubt.step > step {
        doubt.round = doubt.round.saturating_add(1);
    }
    doubt.step = match step {
        Step::Tasks => Step::Mark,
        Step::Mark => Step::Login,
        Step::Login | Step::Conclude => Step::Conclude,
    };
    doubt.looked_at = at;
}

fn saw(seen: &mut Option<(Sighting, u32)>, now: Sighting) {
    let times = match seen {
        Some((before, times)) if *before == now => times.saturating_add(1),
        Some(_) | None => 1,
    };
    *seen = Some((now, times));
}

fn sighting(candidate: &Login, previous: Option<&Login>) -> Sighting {
    match (candidate, previous) {
        (Login::PasswordFree, _) | (_, Some(Login::PasswordFree)) => Sighting::PasswordFree,
        (Login::Accepted, Some(Login::Accepted)) => Sighting::BothLive,
        (Login::Accepted, None | Some(Login::Refused | Login::Mixed | Login::Unreachable { .. })) => {
            Sighting::CandidateLive
        }
        (Login::Mixed, _) | (Login::Refused, Some(Login::Mixed)) => Sighting::Mixed,
        (Login::Refused, None) => Sighting::CandidateRefused,
        (Login::Refused, Some(Login::Accepted)) => Sighting::PreviousLive,
        (Login::Refused, Some(Login::Refused)) => Sighting::NeitherLive,
        (Login::Refused, Some(Login::Unreachable { .. })) | (Login::Unreachable { .. }, _) => Sighting::Unreachable,
    }
}

pub(super) fn again(before: Option<Trouble>, fault: &Fault, at: Moment) -> Trouble {
    let (times, since) = before.map_or((1, at), |trouble| (trouble.times.saturating_add(1), trouble.since));
    Trouble { fault: fault.clone(), times, since, at }
}

fn running(task: TaskId, at: Moment) -> Running {
    Running { task, since: at, looked_at: at, looks: 0, seen: None }
}

fn proving(by_task: bool, at: Moment) -> Proving {
    Proving { by_task, since: at, looked_at: at, looks: 0, seen: None, refused_since: None }
}

pub(super) fn doubt(cause: DoubtCause, fault: Fault, at: Moment) -> Doubt {
    Doubt { cause, fault, since: at, round: 0, blind: 0, step: Step::Tasks, looked_at: at, seen: None }
}

fn task_failed(message: &str, at: Moment) -> Doubt {
    let fault = Fault::new(Kind::TaskFailed, format!("the cloud's task failed: {message}"));
    doubt(DoubtCause::TaskFailed, fault, at)
}
