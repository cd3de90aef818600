//! After the proof: sinks converge on current, hooks are told, and the rotation settles. A sink that is behind is tried again on
//! its own, whatever the others do.

use super::backoff;
use super::event::What;
use super::next::Action;
use super::plan::Plan;
use super::state::{Current, Outlet, Phase, Rotation, State};
use super::why::Why;
use crate::moment::Moment;
use crate::name::{HookName, SinkName};
use std::collections::BTreeMap;

/// The sinks whose time it is to receive current.
pub(super) fn now_due(state: &State, plan: &Plan, now: Moment) -> Option<Action> {
    let current = state.standing.current.as_ref()?;
    let sinks: Vec<SinkName> = behind(state, plan, current)
        .filter(|(_, outlet)| try_at(*outlet, plan, current) <= now)
        .map(|(sink, _)| sink.clone())
        .collect();
    (!sinks.is_empty()).then_some(Action::Deliver { sinks, generation: current.generation })
}

/// When the next delivery is due and why nothing happens until then, if a sink is behind.
pub(super) fn waiting(state: &State, plan: &Plan) -> Option<(Moment, Why)> {
    let current = state.standing.current.as_ref()?;
    let sinks = behind(state, plan, current).count();
    let (sink, outlet) = behind(state, plan, current).min_by_key(|(_, outlet)| try_at(*outlet, plan, current))?;
    let fault = outlet.and_then(|outlet| outlet.fault.clone());
    let why = Why::Behind { sink: sink.clone(), sinks, generation: current.generation, fault };
    Some((try_at(outlet, plan, current), why))
}

/// Every sink holds current: the hooks follow, then the rotation settles. A hook that never succeeds does not hold it open.
pub(super) fn conclude(state: &State, open: &Rotation, plan: &Plan, now: Moment) -> Action {
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
    let again_at = |outlet: &Outlet| {
        outlet.tried_at.unwrap_or_default() + backoff::wait(plan.limits.outlet_backoff, outlet.failures, open.id.seed())
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
        return Action::Tell { hooks: due, generation: current.generation };
    }
    let next =
        plan.hooks.iter().filter(pending).filter_map(|hook| told.get(hook)).min_by_key(|outlet| again_at(outlet));
    match next.and_then(|outlet| Some((again_at(outlet), outlet.fault.clone()?))) {
        Some((until, fault)) => Action::Wait { until, why: Why::HookAgain(fault) },
        None => Action::Record(What::Settled { standing: Box::new(state.standing.clone()) }),
    }
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
        outlet.tried_at.unwrap_or_default() + backoff::wait(plan.limits.outlet_backoff, outlet.failures, seed)
    })
}
