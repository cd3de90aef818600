//! Time in the model: the clock always shows [`NOW`], and a tick makes everything that was recorded one tick older. The core only ever compares differences of
//! moments, so states that differ in nothing but the date are one state. What is older than every limit stays at one age.
//!
//! Each structure is taken apart with all its fields named: a new one must be thought of here.

use super::ledger::{Entry, Folded, Shared};
use keywheel::moment::{Moment, Slot};
use keywheel::rotation::event::{Event, What};
use keywheel::rotation::state::{
    Current, Doubt, Halt, Outlet, Pause, Phase, Proving, Rotation, Running, Standing, State, Trouble, Verified,
};
use std::time::Duration;

/// What the clock shows.
pub const NOW: Moment = Moment::from_seconds(1_000_000_000);

/// The unit of time. Longer than the core's constant margin for clocks that differ, so that one tick is a difference that counts.
pub const TICK: Duration = Duration::from_secs(3_600);

/// Older than this is all the same: no limit of the model's plans reaches so far, nor does any sum of them within one rotation.
const OLDEST: u32 = 24;

/// The first tick at or after this moment.
pub fn tick_of(moment: Moment) -> Moment {
    if moment == Moment::NEVER || moment <= NOW {
        return moment;
    }
    let (tick, ahead) = (TICK.as_millis(), moment.since(NOW).as_millis());
    let ticks = u32::try_from(ahead.div_ceil(tick)).unwrap_or(u32::MAX);
    NOW + TICK * ticks
}

pub fn older(moment: &mut Moment) {
    if *moment != Moment::NEVER {
        *moment = (*moment - TICK).max(NOW - TICK * OLDEST);
    }
}

pub fn older_state(state: &Folded) -> Folded {
    let mut state: State = (**state).clone();
    let State { standing, asked: _, blocked, open, earlier, halt, reset_allowed: _ } = &mut state;
    older_standing(standing);
    blocked.iter_mut().for_each(older_trouble);
    open.iter_mut().chain(earlier.as_deref_mut()).for_each(older_rotation);
    if let Some(Halt { fault: _, since }) = halt {
        older(since);
    }
    Folded::new(state)
}

fn older_standing(standing: &mut Standing) {
    let Standing {
        current,
        former,
        beside: _,
        retiring,
        place: _,
        loose: _,
        lost_at,
        newest: _,
        spare: _,
        slots_after,
        rotated_at,
        told_at,
        taken_over: _,
        paused,
        verified,
        abandoned: _,
        sinks,
        untold: _,
    } = standing;
    for Current { generation: _, proof: _, proven_at, rotation: _, account: _ } in current.iter_mut().chain(former) {
        older(proven_at);
    }
    lost_at.iter_mut().for_each(older);
    retiring.iter_mut().for_each(older_trouble);
    older(slots_after);
    rotated_at.iter_mut().for_each(older);
    told_at.iter_mut().for_each(older);
    if let Some(Pause { by: _, since, until }) = paused {
        older(since);
        older(until);
    }
    if let Some(Verified { at, refusals: _, mixed: _, unreachable: _ }) = verified {
        older(at);
    }
    sinks.values_mut().for_each(older_outlet);
}

fn older_outlet(outlet: &mut Outlet) {
    let Outlet { generation: _, failures: _, tried_at, behind_since, fault: _, shape: _, queued, differs: _ } = outlet;
    tried_at.iter_mut().for_each(older);
    behind_since.iter_mut().for_each(older);
    queued.iter_mut().for_each(|(until, _)| older(until));
}

fn older_trouble(trouble: &mut Trouble) {
    let Trouble { fault: _, times: _, since, at } = trouble;
    older(since);
    older(at);
}

fn older_rotation(open: &mut Rotation) {
    let Rotation {
        id: _,
        by: _,
        began_at,
        closes,
        candidate: _,
        account: _,
        beside: _,
        previous: _,
        change_mark: _,
        drifted: _,
        refusals: _,
        exposed: _,
        let_in: _,
        sent,
        attempts: _,
        late: _,
        redraws: _,
        dropped: _,
        stuck: _,
        lost_before,
        reset_allowed: _,
        held,
        phase,
    } = open;
    lost_before.iter_mut().for_each(older);
    older(began_at);
    closes.iter_mut().for_each(older);
    if let Some((first, last)) = sent {
        older(first);
        older(last);
    }
    held.iter_mut().for_each(older_trouble);
    match phase {
        Phase::Begun | Phase::Ready | Phase::Prepared => {}
        Phase::Sent { call: _, at } | Phase::Refused { refusal: _, fault: _, at } => older(at),
        Phase::Running(Running { task: _, since, looked_at, looks: _, seen: _ }) => {
            older(since);
            older(looked_at);
        }
        Phase::Doubt(Doubt { cause: _, fault: _, since, round: _, blind: _, step: _, looked_at, seen: _ }) => {
            older(since);
            older(looked_at);
        }
        Phase::Proving(Proving { by_task: _, since, looked_at, looks: _, seen: _, refused_since }) => {
            older(since);
            older(looked_at);
            refused_since.iter_mut().for_each(older);
        }
        Phase::Proven { hooks } => hooks.values_mut().for_each(older_outlet),
    }
}

pub fn older_entry(entry: &Shared<Entry>) -> Shared<Entry> {
    let mut entry: Entry = (**entry).clone();
    let Event { at, what } = &mut entry.event;
    older(at);
    match what {
        What::Settled { standing } => older_standing(standing),
        What::SlotPassed { slot } | What::Began { slot: Some(slot), .. } => older_slot(slot),
        What::Paused { until, .. } => until.iter_mut().for_each(older),
        What::Adopted { .. }
        | What::Paired { .. }
        | What::TakenOver { .. }
        | What::Asked { .. }
        | What::Began { slot: None, .. }
        | What::Blocked { .. }
        | What::Ready { .. }
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
        | What::Proven { .. }
        | What::Discarded { .. }
        | What::Abandoned { .. }
        | What::Delivered { .. }
        | What::DeliveryFailed { .. }
        | What::SinkLost { .. }
        | What::SinkDiffers { .. }
        | What::SinkAgrees { .. }
        | What::HookTold { .. }
        | What::HookQueued { .. }
        | What::HookFailed { .. }
        | What::Retired { .. }
        | What::RetireFailed { .. }
        | What::Verified { .. }
        | What::Unpaused { .. }
        | What::Halted { .. }
        | What::Resumed { .. }
        | What::Revealed { .. }
        | What::Replaced { .. } => {}
    }
    Shared::new(entry)
}

fn older_slot(slot: &mut Slot) {
    let Slot { nominal, due, closes } = slot;
    older(nominal);
    older(due);
    older(closes);
}
