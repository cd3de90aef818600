//! After the proof: sinks converge on current, hooks are told, and the rotation settles. A sink that is behind is tried again on
//! its own, whatever the others do, and holds the hooks up for a little while only.

use super::backoff;
use super::event::What;
use super::next::{Action, not_before};
use super::plan::{OnSinkDown, Plan};
use super::state::{Current, Outlet, Phase, Rotation, State};
use super::why::Why;
use crate::moment::Moment;
use crate::name::{HookName, SinkName};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long hooks wait for sinks that are behind. Then they are told, for the sake of those who read the other sinks, and again after each late delivery.
pub(super) const HOOKS_WAIT: Duration = Duration::from_secs(120);

/// The sinks whose time it is to receive current. Those that failed go last and by themselves: one that hangs keeps nobody waiting who takes its
/// password at once.
pub(super) fn now_due(state: &State, plan: &Plan, now: Moment) -> Option<Action> {
    let current = state.standing.current.as_ref()?;
    let due = behind(state, plan, current).filter(|(_, outlet)| try_at(*outlet, plan, current) <= now);
    let (failing, healthy): (Vec<_>, Vec<_>) =
        due.partition(|(_, outlet)| outlet.is_some_and(|outlet| outlet.failures > 0));
    let sinks = if healthy.is_empty() { failing } else { healthy };
    let sinks: Vec<SinkName> = sinks.into_iter().map(|(sink, _)| sink.clone()).collect();
    (!sinks.is_empty()).then_some(Action::Deliver { sinks, generation: current.generation })
}

/// When the next delivery is due and why nothing happens until then, if a sink is behind.
pub(super) fn waiting(state: &State, plan: &Plan) -> Option<(Moment, Why)> {
    let current = state.standing.current.as_ref()?;
    let sinks = behind(state, plan, current).count();
    let (sink, outlet) = behind(state, plan, current).min_by_key(|(_, outlet)| try_at(*outlet, plan, current))?;
    let fault = outlet.and_then(|outlet| outlet.fault.clone());
    let held =
        plan.on_sink_down == OnSinkDown::Hold && (state.asked.is_some() || plan.slot.is_some() && plan.may_start);
    let why = Why::Behind { sink: sink.clone(), sinks, generation: current.generation, fault, held };
    Some((try_at(outlet, plan, current), why))
}

/// When a sink last received current.
pub(super) fn last_at(state: &State, plan: &Plan) -> Option<Moment> {
    let current = state.standing.current.as_ref()?;
    let outlets = plan.sinks.iter().filter_map(|sink| state.standing.sinks.get(sink));
    let holding = outlets.filter(|outlet| outlet.generation == Some(current.generation));
    holding.filter_map(|outlet| outlet.tried_at).max()
}

/// The hooks that follow the deliveries, if one is still to be told. One that never succeeds does not hold the rotation open.
pub(super) fn hooks(state: &State, open: &Rotation, plan: &Plan, now: Moment, is_behind: bool) -> Option<Action> {
    let none = BTreeMap::new();
    let told = match &open.phase {
        Phase::Proven { hooks } => hooks,
        Phase::Begun
        | Phase::Ready
        | Phase::Prepared
        | Phase::Sent { .. }
        | Phase::Refused { .. }
        | Phase::Running(_)
        | Phase::Doubt(_)
        | Phase::Proving(_) => &none,
    };
    let again_at = |outlet: &Outlet| match (outlet.queued, outlet.failures) {
        (Some((until, _)), _) => until,
        (None, 0) => Moment::default(),
        (None, failures) => {
            let wait = backoff::wait(plan.limits.outlet_backoff, failures, open.id.seed());
            outlet.tried_at.unwrap_or_default() + not_before(outlet.fault.as_ref(), wait)
        }
    };
    let pending = |hook: &&HookName| {
        told.get(hook).is_none_or(|outlet| outlet.generation.is_none() && outlet.failures < plan.limits.hook_attempts)
    };
    let due: Vec<HookName> = plan
        .hooks
        .iter()
        .filter(pending)
        .filter(|hook| told.get(hook).is_none_or(|outlet| again_at(outlet) <= now))
        .cloned()
        .collect();
    if let Some(current) = state.standing.current.as_ref().filter(|_| !due.is_empty()) {
        let until = current.proven_at + HOOKS_WAIT;
        return Some(match is_behind && now < until {
            true => Action::Wait { until, why: Why::HooksWait },
            false => Action::Tell { hooks: due, generation: current.generation },
        });
    }
    let waiting = plan.hooks.iter().filter(pending).filter_map(|hook| told.get_key_value(hook));
    let (hook, next) = waiting.min_by_key(|(_, outlet)| again_at(outlet))?;
    let why = match (next.queued, &next.fault) {
        (Some((until, by)), _) => Why::HookQueued { hook: hook.clone(), until, by },
        (None, Some(fault)) => Why::HookAgain(fault.clone()),
        (None, None) => return None,
    };
    Some(Action::Wait { until: again_at(next), why })
}

/// Every sink holds current and the hooks were told. A wish that came meanwhile would be forgotten with everything before `settled`: it is
/// granted first.
pub(super) fn settled(state: &State) -> Option<Action> {
    let is_wished = state.asked.is_some() || state.reset_allowed;
    (!is_wished).then(|| Action::Record(What::Settled { standing: Box::new(state.standing.clone()) }))
}

fn behind<'a>(
    state: &'a State,
    plan: &'a Plan,
    current: &'a Current,
) -> impl Iterator<Item = (&'a SinkName, Option<&'a Outlet>)> {
    plan.sinks
        .iter()
        .map(|sink| (sink, state.standing.sinks.get(sink)))
        .filter(move |(_, outlet)| outlet.and_then(|outlet| outlet.generation) != Some(current.generation))
}

fn try_at(outlet: Option<&Outlet>, plan: &Plan, current: &Current) -> Moment {
    let seed = current.rotation.map_or(current.generation.0, |rotation| rotation.seed());
    outlet.filter(|outlet| outlet.failures > 0).map_or(current.proven_at, |outlet| {
        let wait = backoff::wait(plan.limits.outlet_backoff, outlet.failures, seed);
        outlet.tried_at.unwrap_or_default() + not_before(outlet.fault.as_ref(), wait)
    })
}
