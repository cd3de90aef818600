//! The one table of legal moves: a state and an event make the next state, or the event is illegal there.

use super::answer::{Answer, Login, Refusal, TaskStatus};
use super::event::{By, Event, Proof, What};
use super::state::{Ask, Current, Doubt, DoubtCause, Halt, Outlet, Phase, Proving, Rotation, Running};
use super::state::{Sighting, State, Step, Trouble};
use crate::fault::{Fault, Kind};
use crate::moment::Moment;
use crate::name::{Generation, SinkName, TaskId};
use std::collections::BTreeMap;

/// An event that cannot happen in this state. In a ledger it means that the record is not ours or that keywheel has a defect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the event {event:?} cannot follow here: {because}")]
pub struct IllegalEvent {
    /// The event's label.
    pub event: &'static str,
    /// Which rule it breaks.
    pub because: &'static str,
}

/// Folds events, oldest first, from nothing (or from a `settled` event, which carries the whole standing).
///
/// # Errors
/// The first event that is illegal.
pub fn fold<'a>(events: impl IntoIterator<Item = &'a Event>) -> Result<State, IllegalEvent> {
    events.into_iter().try_fold(State::default(), apply)
}

/// The state after the event.
///
/// # Errors
/// [`IllegalEvent`] where the event cannot happen in this state; the promises P2, P3 and P4 are guarded here, whatever the driver does.
pub fn apply(state: State, event: &Event) -> Result<State, IllegalEvent> {
    let label = event.what.label();
    transition(state, event).map_err(|because| IllegalEvent { event: label, because })
}

type Verdict<T = State> = Result<T, &'static str>;

fn transition(mut state: State, event: &Event) -> Verdict {
    let at = event.at;
    match &event.what {
        What::Adopted { generation, proof, by: _ } => {
            require(state.open.is_none() && state.standing.current.is_none(), "a password is current already")?;
            take_in(&mut state, *generation, *proof, at)?;
            state.standing.slots_after = at;
        }
        What::Replaced { generation, proof, by: _ } => {
            take_in(&mut state, *generation, *proof, at)?;
            state.standing.slots_after = state.standing.slots_after.max(at);
            state.open = None;
            state.asked = None;
        }
        What::Asked { by, reason } => {
            require(state.open.is_none(), "a rotation is open already")?;
            state.asked = Some(Ask { by: by.clone(), reason: reason.clone() });
        }
        What::SlotPassed { slot } => {
            require(state.open.is_none(), "a rotation is open")?;
            state.standing.slots_after = state.standing.slots_after.max(slot.nominal);
        }
        What::Began { rotation, slot, by, reason: _ } => {
            require(state.open.is_none(), "a rotation is open already")?;
            require(state.halt.is_none(), "the target is halted")?;
            require(state.standing.current.is_some(), "no password is current")?;
            if let Some(slot) = slot {
                state.standing.slots_after = state.standing.slots_after.max(slot.nominal);
            }
            state.asked = None;
            state.blocked = None;
            state.open = Some(Rotation {
                id: *rotation,
                by: by.clone(),
                began_at: at,
                closes: slot.map(|slot| slot.closes).filter(|&closes| at <= closes && *by == By::Schedule),
                candidate: None,
                change_mark: None,
                drifted: false,
                exposed: false,
                sent: None,
                attempts: 0,
                redraws: 0,
                stuck: None,
                reset_allowed: false,
                held: None,
                phase: Phase::Begun,
            });
        }
        What::Blocked { fault } => {
            let adopting = state.open.is_none() && state.standing.current.is_none();
            let begun = state.open.as_ref().is_some_and(|open| matches!(open.phase, Phase::Begun));
            require(adopting || begun, "nothing is waiting to begin")?;
            state.blocked = Some(again(state.blocked.take(), fault, at));
        }
        What::Halted { fault } => {
            require(state.halt.is_none(), "the target is halted already")?;
            state.halt = Some(Halt { fault: fault.clone(), since: at });
        }
        What::Resumed { by: _, allow_reset } => {
            require(state.halt.take().is_some(), "the target is not halted")?;
            state.blocked = None;
            if let Some(open) = &mut state.open {
                resume(open, *allow_reset, at);
            }
        }
        What::Abandoned { fault } => {
            let open = state.open.take().ok_or("no rotation is open")?;
            require(!open.exposed, "a call may have had an effect")?;
            let untouched = matches!(open.phase, Phase::Begun | Phase::Ready | Phase::Prepared | Phase::Refused { .. });
            require(untouched, "the rotation is not at rest")?;
            state.blocked = None;
            state.standing.spare = open.candidate.or(state.standing.spare);
            state.standing.abandoned = Some(fault.clone());
        }
        What::Delivered { sink, generation } => {
            let outlet = outlet(&mut state, sink, *generation)?;
            *outlet = Outlet { generation: Some(*generation), tried_at: Some(at), ..Outlet::default() };
        }
        What::DeliveryFailed { sink, generation, fault } => {
            let outlet = outlet(&mut state, sink, *generation)?;
            outlet.failures = outlet.failures.saturating_add(1);
            outlet.tried_at = Some(at);
            outlet.behind_since.get_or_insert(at);
            outlet.fault = Some(fault.clone());
        }
        What::Revealed { .. } => {}
        What::Settled { standing } => {
            if state == State::default() {
                state.standing = (**standing).clone();
            } else {
                let open = state.open.take().ok_or("no rotation is open")?;
                require(state.halt.is_none(), "the target is halted")?;
                require(matches!(open.phase, Phase::Proven { .. }), "the candidate is not proven")?;
                require(state.standing == **standing, "the standing it carries is not the one its events make")?;
            }
        }
        What::Proven { generation, proof } => prove(&mut state, *generation, *proof, at)?,
        What::Ready { .. }
        | What::Prepared { .. }
        | What::Intended { .. }
        | What::Answered { .. }
        | What::TaskRead { .. }
        | What::TaskStuck
        | What::TaskSought { .. }
        | What::MarkRead { .. }
        | What::LoginTried { .. }
        | What::LookFailed { .. }
        | What::ProofFailed
        | What::Discarded { .. }
        | What::HookTold { .. }
        | What::HookFailed { .. } => step_rotation(&mut state, event)?,
    }
    Ok(state)
}

fn require(rule: bool, otherwise: &'static str) -> Verdict<()> {
    if rule { Ok(()) } else { Err(otherwise) }
}

/// A person's or the configuration's password becomes current.
fn take_in(state: &mut State, generation: Generation, proof: Proof, at: Moment) -> Verdict<()> {
    require(generation > state.standing.newest, "the generation is not new")?;
    require(matches!(proof, Proof::Login | Proof::Stated), "an adopted password is proven by login or stated")?;
    state.standing.newest = generation;
    // Never sent, and older than this one: a sink would have to go backwards to take it.
    state.standing.spare = None;
    state.standing.current = Some(Current { generation, proof, proven_at: at, rotation: None });
    all_behind(&mut state.standing.sinks, at);
    state.halt = None;
    state.blocked = None;
    Ok(())
}

/// A new generation is current: no sink holds it yet, and earlier failures do not put its delivery off.
fn all_behind(sinks: &mut BTreeMap<SinkName, Outlet>, at: Moment) {
    for outlet in sinks.values_mut() {
        outlet.behind_since = Some(at);
        outlet.failures = 0;
    }
}

/// After a person said go on: nothing is believed that was not proven. A rotation that exposed nothing starts over with its preflight.
fn resume(open: &mut Rotation, allow_reset: bool, at: Moment) {
    open.attempts = 0;
    open.redraws = 0;
    open.held = None;
    open.reset_allowed |= allow_reset;
    open.exposed |= matches!(open.phase, Phase::Sent { .. });
    if matches!(open.phase, Phase::Proven { .. }) {
        return;
    }
    open.phase = if open.exposed {
        let fault = Fault::new(Kind::Unanswered, "an operator resumed the rotation");
        Phase::Doubt(doubt(DoubtCause::Resumed, fault, at))
    } else {
        Phase::Begun
    };
}

/// The sink's row, when the current generation may be delivered: proven, and not older than what the sink holds.
fn outlet<'a>(state: &'a mut State, sink: &SinkName, generation: Generation) -> Verdict<&'a mut Outlet> {
    let current = state.standing.current.ok_or("no password is current")?;
    require(current.generation == generation, "only the current generation is delivered")?;
    let at_rest = state.open.as_ref().is_none_or(|open| matches!(open.phase, Phase::Proven { .. }));
    require(at_rest, "a rotation is open and its candidate is not proven")?;
    let outlet = state.standing.sinks.entry(sink.clone()).or_default();
    require(outlet.generation.is_none_or(|held| held <= generation), "the sink holds a newer generation")?;
    Ok(outlet)
}

/// The candidate becomes current, if the state holds evidence of that kind.
fn prove(state: &mut State, generation: Generation, proof: Proof, at: Moment) -> Verdict<()> {
    let open = state.open.as_mut().ok_or("no rotation is open")?;
    require(open.candidate == Some(generation), "this is not the candidate")?;
    require(open.exposed, "no call of ours can have made it live")?;
    let seen = match &open.phase {
        Phase::Running(running) => running.seen,
        Phase::Proving(proving) => proving.seen,
        Phase::Doubt(doubt) => doubt.seen.map(|(seen, _)| seen),
        Phase::Begun
        | Phase::Ready
        | Phase::Prepared
        | Phase::Sent { .. }
        | Phase::Refused { .. }
        | Phase::Proven { .. } => return Err("nothing speaks for the candidate here"),
    };
    let holds = match proof {
        Proof::Login => matches!(seen, Some(Sighting::CandidateLive | Sighting::BothLive)),
        Proof::Task => matches!(&open.phase, Phase::Proving(proving) if proving.by_task),
        Proof::Acceptance => matches!(&open.phase, Phase::Proving(proving) if !proving.by_task),
        Proof::ChangeMark => seen == Some(Sighting::MarkMoved),
        Proof::OldPasswordGone => {
            seen.is_none() && matches!(&open.phase, Phase::Doubt(doubt) if doubt.cause == DoubtCause::OldPasswordWrong)
        }
        Proof::Stated => false,
    };
    require(holds, "there is no such evidence")?;
    state.standing.current = Some(Current { generation, proof, proven_at: at, rotation: Some(open.id) });
    state.standing.rotated_at = Some(at);
    state.standing.abandoned = None;
    all_behind(&mut state.standing.sinks, at);
    open.phase = Phase::Proven { hooks: BTreeMap::new() };
    Ok(())
}

/// The events that only move the open rotation along.
fn step_rotation(state: &mut State, event: &Event) -> Verdict<()> {
    let at = event.at;
    let newest = state.standing.newest;
    let spare = state.standing.spare;
    let open = state.open.as_mut().ok_or("no rotation is open")?;
    match (&event.what, &mut open.phase) {
        (What::Ready { change_mark, drifted }, Phase::Begun) => {
            open.change_mark.clone_from(change_mark);
            open.drifted = *drifted;
            open.phase = if open.candidate.is_some() { Phase::Prepared } else { Phase::Ready };
            state.blocked = None;
        }
        (What::Prepared { generation }, Phase::Ready) => {
            let expected = spare.unwrap_or_else(|| newest.following());
            require(*generation == expected, "the candidate's number is not the next one")?;
            open.candidate = Some(*generation);
            open.phase = Phase::Prepared;
            state.standing.newest = newest.max(*generation);
            state.standing.spare = None;
        }
        (What::Intended { call }, Phase::Prepared | Phase::Refused { .. } | Phase::Doubt(_)) => {
            require(open.candidate.is_some(), "there is no candidate")?;
            open.sent = Some((open.sent.map_or(at, |(first, _)| first), at));
            open.phase = Phase::Sent { call: *call, at };
        }
        (What::Answered { answer }, Phase::Sent { .. }) => take_answer(open, answer, at),
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
            open.candidate = None;
            open.redraws += 1;
            open.phase = Phase::Ready;
        }
        (What::HookTold { hook }, Phase::Proven { hooks }) => {
            let generation = open.candidate;
            hooks.insert(hook.clone(), Outlet { generation, tried_at: Some(at), ..Outlet::default() });
        }
        (What::HookFailed { hook, fault }, Phase::Proven { hooks }) => {
            let told = hooks.entry(hook.clone()).or_default();
            told.failures = told.failures.saturating_add(1);
            told.tried_at = Some(at);
            told.fault = Some(fault.clone());
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
        Refusal::Locked | Refusal::Busy | Refusal::Throttled => {
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
        Refusal::Locked | Refusal::Busy | Refusal::Throttled => {}
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

fn again(before: Option<Trouble>, fault: &Fault, at: Moment) -> Trouble {
    let (times, since) = before.map_or((1, at), |trouble| (trouble.times.saturating_add(1), trouble.since));
    Trouble { fault: fault.clone(), times, since, at }
}

fn running(task: TaskId, at: Moment) -> Running {
    Running { task, since: at, looked_at: at, looks: 0, seen: None }
}

fn proving(by_task: bool, at: Moment) -> Proving {
    Proving { by_task, since: at, looked_at: at, looks: 0, seen: None, refused_since: None }
}

fn doubt(cause: DoubtCause, fault: Fault, at: Moment) -> Doubt {
    Doubt { cause, fault, since: at, round: 0, blind: 0, step: Step::Tasks, looked_at: at, seen: None }
}

fn task_failed(message: &str, at: Moment) -> Doubt {
    let fault = Fault::new(Kind::TaskFailed, format!("the cloud's task failed: {message}"));
    doubt(DoubtCause::TaskFailed, fault, at)
}
