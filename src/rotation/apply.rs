//! The one table of legal moves: a state and an event make the next state, or the event is illegal there.

use super::answer::Login;
use super::deliver::HOOKS_WAIT;
use super::event::{By, Event, Proof, What};
use super::state::{Ask, Current, DoubtCause, Halt, Outlet, Pause, Phase, Rotation};
use super::state::{Sighting, Standing, State, Verified};
use super::step::{again, doubt, step_rotation};
use crate::fault::{Fault, Kind};
use crate::moment::Moment;
use crate::name::{Generation, SinkName};
use std::collections::{BTreeMap, BTreeSet};

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

pub(super) type Verdict<T = State> = Result<T, &'static str>;

fn transition(mut state: State, event: &Event) -> Verdict {
    let at = event.at;
    match &event.what {
        What::Adopted { generation, proof, by: _, reason: _, place, account } => {
            require(state.open.is_none() && state.standing.current.is_none(), "a password is current already")?;
            take_in(&mut state, *generation, *proof, at, account.as_deref())?;
            state.standing.slots_after = at;
            state.standing.place = Some(place.clone());
        }
        What::Paired { generation, proof, by: _, reason: _, account } => {
            require(state.is_proven(), "a rotation is open")?;
            let is_current = |current: &Current| current.account.as_ref() == Some(account);
            require(
                state.standing.current.as_ref().is_some_and(|current| !is_current(current)),
                "it is not the resting account",
            )?;
            take_in(&mut state, *generation, *proof, at, Some(account))?;
        }
        What::TakenOver { place } => {
            require(state.standing == Standing::default(), "the target is known already")?;
            state.standing.taken_over = true;
            state.standing.slots_after = at;
            state.standing.place = Some(place.clone());
            state.blocked = None;
        }
        What::Replaced { generation, proof, by: _, reason: _, place, account, moved } => {
            if *moved {
                // Neither account of another pair, nor what stood beside it, says anything about this one.
                state.standing.current = None;
                state.standing.former = None;
                state.standing.retiring = None;
                state.standing.beside = false;
            }
            let before = state.standing.current.as_ref().map(|current| current.generation);
            take_in(&mut state, *generation, *proof, at, account.as_deref())?;
            // Where passwords stand beside each other, giving one takes no other away.
            state.standing.beside |= !moved && state.open.as_ref().is_some_and(|open| open.beside);
            state.standing.loose.extend(before.filter(|_| state.standing.beside));
            state.standing.place = Some(place.clone());
            let proven = state.open.as_ref().is_some_and(|open| matches!(open.phase, Phase::Proven { .. }));
            let sent = state.open.as_ref().filter(|open| open.was_sent() && !proven);
            state.standing.loose.extend(sent.and_then(|open| open.candidate));
            state.standing.loose.extend(state.open.iter().flat_map(|open| &open.dropped));
            state.standing.slots_after = state.standing.slots_after.max(at);
            state.open = None;
            state.earlier = None;
            state.asked = None;
        }
        What::Revealed { .. } => {}
        What::Asked { by, reason } => {
            require(state.is_proven(), "a rotation is open already")?;
            state.asked = Some(Ask { by: by.clone(), reason: reason.clone() });
        }
        What::SlotPassed { slot } => {
            require(state.is_proven(), "a rotation is open")?;
            state.standing.slots_after = state.standing.slots_after.max(slot.nominal);
        }
        What::Began { rotation, slot, by, reason: _ } => {
            require(state.is_proven(), "a rotation is open already")?;
            require(state.halt.is_none(), "the target is halted")?;
            require(state.standing.current.is_some() || state.standing.taken_over, "no password is current")?;
            require(state.standing.paused.is_none(), "the target is paused")?;
            if let Some(slot) = slot {
                state.standing.slots_after = state.standing.slots_after.max(slot.nominal);
            }
            state.asked = None;
            state.blocked = None;
            state.earlier = state.open.take().map(Box::new);
            state.open = Some(Rotation {
                id: *rotation,
                by: by.clone(),
                began_at: at,
                closes: slot.map(|slot| slot.closes).filter(|&closes| at <= closes && *by == By::Schedule),
                candidate: None,
                account: None,
                beside: false,
                previous: None,
                change_mark: None,
                drifted: false,
                refusals: 0,
                exposed: false,
                let_in: false,
                sent: None,
                attempts: 0,
                late: 0,
                redraws: 0,
                dropped: BTreeSet::new(),
                stuck: None,
                lost_before: state.standing.lost_at,
                reset_allowed: std::mem::take(&mut state.reset_allowed),
                held: None,
                phase: Phase::Begun,
            });
        }
        What::Blocked { fault } => {
            let adopting = state.is_proven();
            let begun = state.open.as_ref().is_some_and(|open| matches!(open.phase, Phase::Begun));
            require(adopting || begun, "nothing is waiting to begin")?;
            if let Some(open) = state.open.as_mut().filter(|_| fault.kind == Kind::LoginRefused) {
                open.refusals = open.refusals.saturating_add(1);
            }
            state.blocked = Some(again(state.blocked.take(), fault, at));
        }
        What::Halted { fault } => {
            require(state.halt.is_none(), "the target is halted already")?;
            state.halt = Some(Halt { fault: fault.clone(), since: at });
        }
        What::Resumed { by: _, reason: _, allow_reset } => {
            require(state.halt.take().is_some(), "the target is not halted")?;
            state.blocked = None;
            // A refusal seen before counts no more: somebody looked at it.
            state.standing.verified = state.standing.verified.map(|verified| Verified { refusals: 0, ..verified });
            match &mut state.open {
                Some(open) if !matches!(open.phase, Phase::Proven { .. }) => resume(open, *allow_reset, at),
                Some(_) | None => state.reset_allowed |= *allow_reset,
            }
        }
        What::Verified { login } => {
            require(state.is_proven() && state.standing.current.is_some(), "there is nothing to verify")?;
            let before = state.standing.verified.unwrap_or_default();
            state.standing.verified = Some(match login {
                Login::Accepted => Verified { at, ..Verified::default() },
                Login::Refused => Verified { at, refusals: before.refusals.saturating_add(1), ..before },
                Login::Mixed => Verified { at, mixed: before.mixed.saturating_add(1), ..before },
                Login::Unreachable { .. } => {
                    Verified { at, unreachable: before.unreachable.saturating_add(1), ..before }
                }
                Login::PasswordFree => Verified { at, ..before },
            });
        }
        What::Paused { by, reason: _, until } => {
            let until = until.unwrap_or(Moment::NEVER);
            state.standing.paused = Some(Pause { by: by.clone(), since: at, until });
        }
        What::Unpaused { by: _ } => {
            require(state.standing.paused.take().is_some(), "the target is not paused")?;
        }
        What::Retired { generation } => {
            retiring(&state, *generation)?;
            state.standing.former = state.standing.former.filter(|former| former.generation != *generation);
            state.standing.loose.remove(generation);
            state.standing.retiring = None;
        }
        What::RetireFailed { generation, fault } => {
            retiring(&state, *generation)?;
            state.standing.retiring = Some(again(state.standing.retiring.take(), fault, at));
        }
        What::Abandoned { fault } => {
            let open = state.open.take().ok_or("no rotation is open")?;
            require(!open.exposed, "a call may have had an effect")?;
            state.open = state.earlier.take().map(|earlier| *earlier);
            let untouched = matches!(open.phase, Phase::Begun | Phase::Ready | Phase::Prepared | Phase::Refused { .. });
            require(untouched, "the rotation is not at rest")?;
            state.blocked = None;
            state.standing.spare = open.candidate.or(state.standing.spare);
            state.standing.loose.extend(&open.dropped);
            state.standing.abandoned = Some(fault.clone());
        }
        What::Delivered { sink, generation, shape } => {
            let outlet = outlet(&mut state, sink, *generation)?;
            let shape = shape.clone();
            *outlet = Outlet { generation: Some(*generation), tried_at: Some(at), shape, ..Outlet::default() };
            let overdue = state.standing.current.as_ref().is_some_and(|current| at >= current.proven_at + HOOKS_WAIT);
            // A hook that was told before knows nothing of this sink. One that gave no answer, or was cut off before its answer was recorded, may have been told.
            for rotation in state.open.iter_mut().chain(state.earlier.as_deref_mut()) {
                if let Phase::Proven { hooks } = &mut rotation.phase {
                    let was_told = |told: &Outlet| told.generation.is_some() || told.failures > 0;
                    rotation.late += u32::from(overdue || hooks.values().any(was_told));
                    hooks.clear();
                }
            }
        }
        What::DeliveryFailed { sink, generation, fault } => {
            let outlet = outlet(&mut state, sink, *generation)?;
            outlet.failures = outlet.failures.saturating_add(1);
            outlet.tried_at = Some(at);
            outlet.behind_since.get_or_insert(at);
            outlet.fault = Some(fault.clone());
        }
        What::SinkLost { sink } => {
            let outlet = state.standing.sinks.get_mut(sink).ok_or("nothing was delivered to this sink")?;
            *outlet = Outlet { behind_since: Some(at), shape: outlet.shape.take(), ..Outlet::default() };
        }
        What::SinkDiffers { sink } => mark(&mut state, sink, true)?,
        What::SinkAgrees { sink } => mark(&mut state, sink, false)?,
        What::Settled { standing } => {
            if state == State::default() {
                state.standing = (**standing).clone();
            } else {
                let open = state.open.take().ok_or("no rotation is open")?;
                require(state.halt.is_none(), "the target is halted")?;
                require(matches!(open.phase, Phase::Proven { .. }), "the candidate is not proven")?;
                // A record of an older keywheel says nothing of lost calls, nor of hooks.
                let Standing { lost_at, told_at, ref untold, .. } = state.standing;
                let carried = Standing { lost_at, told_at, untold: untold.clone(), ..(**standing).clone() };
                require(state.standing == carried, "the standing it carries is not the one its events make")?;
                // A fold that begins here knows nothing of what held up the adoption of a pair's other account: it is tried again.
                state.blocked = None;
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
        | What::HookQueued { .. }
        | What::HookFailed { .. } => step_rotation(&mut state, event)?,
    }
    Ok(state)
}

pub(super) fn require(rule: bool, otherwise: &'static str) -> Verdict<()> {
    if rule { Ok(()) } else { Err(otherwise) }
}

/// A person's or the configuration's password becomes current.
fn take_in(state: &mut State, generation: Generation, proof: Proof, at: Moment, account: Option<&str>) -> Verdict<()> {
    require(generation > state.standing.newest, "the generation is not new")?;
    require(matches!(proof, Proof::Login | Proof::Stated), "an adopted password is proven by login or stated")?;
    state.standing.newest = generation;
    // Never sent, and older than this one: a sink would have to go backwards to take it.
    state.standing.spare = None;
    let taken = Some(Current { generation, proof, proven_at: at, rotation: None, account: account.map(str::to_owned) });
    state.halt = None;
    state.blocked = None;
    state.standing.taken_over = false;
    // A pair became one account, or one became a pair: what stood beside current before opens no account of this target any more.
    state.standing.former = state.standing.former.take().filter(|former| former.account.is_some() == account.is_some());
    let other = state.standing.current.as_ref().filter(|current| current.account.as_deref() != account);
    if account.is_some() && other.is_some() {
        state.standing.former = taken;
        return Ok(());
    }
    // An overlap's former password opens the same account: whether it still does, nobody knows now, and it is taken away as before.
    state.standing.current = taken;
    state.standing.verified = None;
    all_behind(&mut state.standing.sinks, at);
    Ok(())
}

/// A password may be taken away: current is proven and another one, on the same account, and no rotation is under way.
fn retiring(state: &State, generation: Generation) -> Verdict<()> {
    let standing = &state.standing;
    let current = standing.current.as_ref().ok_or("no password is current")?;
    let is_former = standing.former.as_ref().is_some_and(|former| former.generation == generation);
    require(is_former || standing.loose.contains(&generation), "this password is not on its way out")?;
    require(current.generation != generation, "this password is current")?;
    require(current.account.is_none(), "the accounts of a pair have one password each")?;
    require(state.is_proven(), "a rotation is open")
}

/// Whether a sink's content is what was delivered.
fn mark(state: &mut State, sink: &SinkName, differs: bool) -> Verdict<()> {
    let outlet = state.standing.sinks.get_mut(sink).ok_or("nothing was delivered to this sink")?;
    require(outlet.differs != differs, "that is known already")?;
    outlet.differs = differs;
    Ok(())
}

/// A new generation is current: no sink holds it yet, and earlier failures do not put its delivery off. One that lacked the generation before is
/// behind since then.
fn all_behind(sinks: &mut BTreeMap<SinkName, Outlet>, at: Moment) {
    for outlet in sinks.values_mut() {
        outlet.behind_since.get_or_insert(at);
        outlet.failures = 0;
    }
}

/// After a person said go on: nothing is believed that was not proven. A rotation that exposed nothing starts over with its preflight.
fn resume(open: &mut Rotation, allow_reset: bool, at: Moment) {
    open.attempts = 0;
    open.redraws = 0;
    open.refusals = 0;
    open.held = None;
    open.reset_allowed |= allow_reset;
    open.exposed |= matches!(open.phase, Phase::Sent { .. });
    open.phase = if open.exposed {
        let fault = Fault::new(Kind::Unanswered, "an operator resumed the rotation");
        Phase::Doubt(doubt(DoubtCause::Resumed, fault, at))
    } else {
        Phase::Begun
    };
}

/// The sink's row, when the current generation may be delivered: proven, nothing sent that could replace it, and not older than what the sink holds.
fn outlet<'a>(state: &'a mut State, sink: &SinkName, generation: Generation) -> Verdict<&'a mut Outlet> {
    let current = state.standing.current.as_ref().ok_or("no password is current")?;
    require(current.generation == generation, "only the current generation is delivered")?;
    require(state.is_untouched(), "a rotation is open and its candidate is not proven")?;
    let outlet = state.standing.sinks.entry(sink.clone()).or_default();
    require(outlet.generation.is_none_or(|held| held <= generation), "the sink holds a newer generation")?;
    Ok(outlet)
}

/// The candidate becomes current, if the state holds evidence of that kind.
fn prove(state: &mut State, generation: Generation, proof: Proof, at: Moment) -> Verdict<()> {
    let open = state.open.as_mut().ok_or("no rotation is open")?;
    require(open.candidate == Some(generation), "this is not the candidate")?;
    // A login proves more than an answer: a refused call may have been applied all the same, by a copy of it that somebody on the way sent.
    require(open.exposed || proof == Proof::Login && open.was_sent(), "no call of ours can have made it live")?;
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
    let account = open.account.clone();
    let standing = &mut state.standing;
    let before =
        standing.current.replace(Current { generation, proof, proven_at: at, rotation: Some(open.id), account });
    if open.beside {
        // Nothing was replaced: what was still to be taken away stays so, and a former password that was not taken away before joins it.
        standing.loose.extend(standing.former.as_ref().map(|former| former.generation));
    } else {
        // Calls still out compare with a password that is no longer live. (A reset compares with nothing: ARCHITECTURE.md says what that leaves open.)
        let replaced = open.previous;
        standing.loose.retain(|&loose| replaced.is_some_and(|replaced| loose > replaced));
    }
    standing.beside = open.beside;
    standing.former = before.filter(|before| open.beside || before.account != open.account);
    standing.rotated_at = Some(at);
    standing.abandoned = None;
    standing.taken_over = false;
    standing.verified = None;
    all_behind(&mut state.standing.sinks, at);
    // Their calls compare with a password that is no longer live.
    open.dropped.clear();
    open.phase = Phase::Proven { hooks: BTreeMap::new() };
    state.earlier = None;
    Ok(())
}
