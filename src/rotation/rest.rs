//! Between rotations, or while only sinks are behind that nobody waits for: adopt, begin when it is due and nothing forbids it, take a former password away after its grace, verify that current still
//! works. Whatever comes first decides until when to wait.

use super::backoff;
use super::deliver;
use super::event::{By, Proof, What};
use super::next::{Action, blocked_until, drift_at_rest, not_before};
use super::plan::{Plan, Strategy};
use super::state::{State, Trouble, Verified};
use super::why::Why;
use crate::fault::{Fault, Kind};
use crate::moment::{Moment, Slot};
use crate::name::{Generation, SinkName};
use std::time::Duration;

/// Verifications are spread over this part of their interval, so that a fleet does not log in all at once.
const VERIFY_SPREAD: u32 = 5;

/// No rotation is on its way, and no sink has to be waited for.
pub(super) fn rest(state: &State, plan: &Plan, now: Moment) -> Action {
    if let Some(pause) = &state.standing.paused {
        return match now < pause.until {
            true => Action::Wait { until: pause.until, why: Why::Paused { until: pause.until } },
            false => Action::Record(What::Unpaused { by: By::Schedule }),
        };
    }
    let Some(current) = state.standing.current.as_ref().map(|current| current.generation) else {
        return without_password(state, plan, now);
    };
    if let Some(verdict) = drifted(state, plan) {
        return verdict;
    }
    let steps = [
        retire(state, plan, current, now),
        pair(state, plan, now),
        begin(state, plan, now),
        verify(state, plan, current, now),
    ];
    match (first(steps.into_iter().flatten()), unverified(state, plan)) {
        (Action::Wait { until, why }, Some(unverified)) if !why.is_alarming() => {
            Action::Wait { until, why: unverified }
        }
        (action, _) => action,
    }
}

/// Logins with current that say too little, often enough that nobody can call it a hiccup.
fn unverified(state: &State, plan: &Plan) -> Option<Why> {
    let Verified { mixed, unreachable, .. } = state.standing.verified.filter(|_| plan.login)?;
    let often = mixed.saturating_add(unreachable) >= plan.limits.agreement;
    often.then_some(Why::Unverified { mixed: mixed > 0 })
}

/// What can be done now, or the earliest time at which something can; the reason is the first step's.
pub(super) fn first(steps: impl Iterator<Item = Action>) -> Action {
    let mut earliest: Option<(Moment, Why)> = None;
    for step in steps {
        let Action::Wait { until, why } = step else {
            return step;
        };
        earliest = Some(match earliest {
            None => (until, why),
            Some((before, reason)) => (before.min(until), reason),
        });
    }
    let (until, why) = earliest.unwrap_or((Moment::NEVER, Why::OnlyWhenAsked));
    Action::Wait { until, why }
}

/// No password is current: take today's in, or begin without one where nobody needs to know it.
fn without_password(state: &State, plan: &Plan, now: Moment) -> Action {
    if state.standing.taken_over {
        return begin(state, plan, now).unwrap_or(Action::Wait { until: Moment::NEVER, why: Why::OnlyWhenAsked });
    }
    let may_take_over = plan.may_take_over();
    let blocked = blocked_until(state.blocked.as_ref(), plan, 0);
    if may_take_over && is_known_to_nobody(state, plan, blocked.as_ref().map(|(_, fault)| fault.kind)) {
        return Action::Record(What::TakenOver { place: plan.place.clone() });
    }
    match blocked {
        Some((until, fault)) if now < until => {
            let slot = plan.slot.filter(|slot| may_take_over && now < slot.due).map(|slot| slot.due);
            Action::Wait { until: slot.map_or(until, |due| due.min(until)), why: Why::NotAdopted(fault) }
        }
        Some(_) | None => Action::Adopt,
    }
}

/// Whether today's password is not to be had: nobody said where it is, what is there was refused, or nothing is there when it is time to begin.
fn is_known_to_nobody(state: &State, plan: &Plan, blocked: Option<Kind>) -> bool {
    let is_time = plan.slot.is_some() && plan.may_start || state.asked.is_some();
    !plan.adopts || blocked == Some(Kind::LoginRefused) || blocked == Some(Kind::SecretUnreadable) && is_time
}

/// Logins with current were refused often enough that nobody can call it a hiccup.
fn drifted(state: &State, plan: &Plan) -> Option<Action> {
    let Verified { refusals, .. } = state.standing.verified?;
    if refusals < plan.limits.agreement {
        return None;
    }
    Some(match plan.recovery.may_reset(plan.abilities) || state.reset_allowed {
        true => Action::Begin {
            slot: None,
            by: By::Schedule,
            reason: Some("somebody else changed the password".to_owned()),
        },
        false => Action::Record(What::Halted { fault: drift_at_rest() }),
    })
}

/// The next rotation, or until when it has to wait.
fn begin(state: &State, plan: &Plan, now: Moment) -> Option<Action> {
    let grace = grace_ends(state, plan).filter(|&ends| now < ends);
    let former_stays = state.standing.former.is_some() && !plan.strategy.is_alternate();
    let open_slot: Option<Slot> = plan.slot.filter(|_| plan.may_start);
    let word = on_its_word(state, plan).filter(|&until| now < until);
    let held = |what| match (grace, word, former_stays) {
        (Some(until), _, _) => Some(Action::Wait { until, why: Why::Grace { until } }),
        (None, Some(until), _) => Some(Action::Wait { until, why: Why::OnItsWord { until } }),
        // The former password goes first; its own step says when.
        (None, None, true) => None,
        (None, None, false) => Some(what),
    };
    if let Some(ask) = &state.asked {
        return held(Action::Begin { slot: open_slot, by: ask.by.clone(), reason: ask.reason.clone() });
    }
    if state.reset_allowed {
        let reason = Some("a reset was allowed".to_owned());
        return held(Action::Begin { slot: open_slot, by: By::Schedule, reason });
    }
    match plan.slot {
        None => Some(Action::Wait { until: Moment::NEVER, why: at_rest(state).unwrap_or(Why::OnlyWhenAsked) }),
        Some(slot) if now < slot.due => {
            let frozen = || plan.hold.clone().map(Why::HeldBack);
            Some(Action::Wait { until: slot.due, why: at_rest(state).or_else(frozen).unwrap_or(Why::NotDue) })
        }
        Some(slot) if open_slot.is_some() => match &plan.hold {
            // One that is made up for however late it is waits for the others alone.
            Some(hold) => {
                let until = if now < slot.closes { slot.closes } else { Moment::NEVER };
                Some(Action::Wait { until, why: Why::HeldBack(hold.clone()) })
            }
            None => held(Action::Begin { slot: Some(slot), by: By::Schedule, reason: None }),
        },
        Some(slot) => Some(Action::Record(What::SlotPassed { slot })),
    }
}

/// A slot that cannot be used any more, while a sink is waited for.
pub(super) fn pass_over(plan: &Plan, now: Moment) -> Option<Action> {
    let slot = plan.slot.filter(|slot| slot.due <= now && !plan.may_start)?;
    Some(Action::Record(What::SlotPassed { slot }))
}

/// What is worth saying before the schedule is: a sink that somebody changed.
fn at_rest(state: &State) -> Option<Why> {
    let differs = |(sink, outlet): (&SinkName, &super::state::Outlet)| outlet.differs.then(|| sink.clone());
    state.standing.sinks.iter().find_map(differs).map(|sink| Why::SinkDiffers { sink })
}

/// Until when a change that only the cloud's acceptance speaks for may still be on its way.
fn on_its_word(state: &State, plan: &Plan) -> Option<Moment> {
    let known = [&state.standing.current, &state.standing.former].into_iter().flatten();
    known.filter(|known| known.proof == Proof::Acceptance).map(|known| known.proven_at + plan.limits.late_effect).max()
}

/// Until when two passwords are left valid: from the moment on at which the last sink held current and the last hook was told, which may only begin a
/// restart then. A sink that still lacks it is either waited for, and then nobody asks, or has had the grace since current was proven.
fn grace_ends(state: &State, plan: &Plan) -> Option<Moment> {
    let grace = match plan.strategy {
        Strategy::InPlace => return None,
        Strategy::Alternate { grace, .. } => {
            state.standing.rotated_at?;
            grace
        }
        Strategy::Overlap { grace } => {
            state.standing.former.as_ref()?;
            grace
        }
    };
    Some(moved_at(state, plan)? + grace)
}

/// When the last sink received current, or the last hook was told, whichever came later.
fn moved_at(state: &State, plan: &Plan) -> Option<Moment> {
    let current = state.standing.current.as_ref()?;
    deliver::last_at(state, plan).max(state.standing.told_at).max(Some(current.proven_at))
}

/// Passwords that current stands beside are taken away: the former one after its grace, and those a person's `--set` left behind.
fn retire(state: &State, plan: &Plan, current: Generation, now: Moment) -> Option<Action> {
    let grace = match plan.strategy {
        Strategy::Alternate { .. } => return None,
        Strategy::Overlap { grace } => grace,
        // The strategy was changed: what an overlap left is taken away at once.
        Strategy::InPlace => Duration::ZERO,
    };
    let former = state.standing.former.as_ref().map(|former| former.generation);
    let loose = state.standing.loose.iter().next().copied().filter(|_| plan.strategy.is_overlap());
    let generation = former.or(loose)?;
    let at = moved_at(state, plan)? + grace;
    match &state.standing.retiring {
        _ if now < at => Some(Action::Wait { until: at, why: Why::Overlapping { until: at } }),
        Some(Trouble { fault, times, since, at: tried }) => {
            let wait = backoff::wait(plan.limits.outlet_backoff, *times, generation.0);
            let until = *tried + not_before(Some(fault), wait);
            match now < until {
                true => {
                    let too_long_since = Some(*since).filter(|&since| now >= since + plan.limits.lock_patience);
                    Some(Action::Wait { until, why: Why::RetireAgain { fault: fault.clone(), too_long_since } })
                }
                false => Some(Action::Retire { generation, current }),
            }
        }
        None => Some(Action::Retire { generation, current }),
    }
}

/// The pair's resting account has a password that somebody told us where to find.
fn pair(state: &State, plan: &Plan, now: Moment) -> Option<Action> {
    let account = plan.changes(&state.standing).filter(|_| plan.adopts_resting)?;
    if state.standing.on(Some(&account)).is_some() {
        return None;
    }
    match blocked_until(state.blocked.as_ref(), plan, 0) {
        Some((until, fault)) if now < until => Some(wait_for_pair(until, fault)),
        Some(_) | None => Some(Action::Pair { account }),
    }
}

fn wait_for_pair(until: Moment, fault: Fault) -> Action {
    Action::Wait { until, why: Why::NotAdopted(fault) }
}

/// A login with current, now and then.
fn verify(state: &State, plan: &Plan, current: Generation, now: Moment) -> Option<Action> {
    let every = plan.verify_every.filter(|_| plan.login)?;
    let (last, unsettled) = match state.standing.verified {
        Some(Verified { at, refusals, mixed, unreachable }) => (at, refusals.max(mixed.saturating_add(unreachable))),
        None => (state.standing.current.as_ref()?.proven_at, 0),
    };
    let seed = last.millis().unsigned_abs() ^ backoff::seed(&plan.place);
    let until = match unsettled {
        // What stays so is known by then, and each look is an event.
        times if times == 0 || times >= plan.limits.agreement => {
            last + (every - backoff::draw(every / VERIFY_SPREAD, seed))
        }
        // Never at once: a route that fails in no time would be tried without end.
        times => last + plan.limits.look_backoff.first + backoff::wait(plan.limits.look_backoff, times, seed),
    };
    Some(match now < until {
        true => Action::Wait { until, why: at_rest(state).unwrap_or(Why::NotDue) },
        false => Action::Verify { generation: current },
    })
}
