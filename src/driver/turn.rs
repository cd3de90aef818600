//! One turn of one target: claim, fold, decide, perform, until the decision is to wait for longer than it is worth staying.

use super::Driver;
use super::act;
use super::adopt;
use super::hand_over;
use super::journal::Journal;
use super::obey::obey;
use super::target::Target;
use crate::fault::{Fault, Kind};
use crate::name::RotationId;
use crate::rotation::event::What;
use crate::rotation::why::Why;
use crate::rotation::{Action, next};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::Notify;
use tracing::Instrument;

/// A wait up to this long is sat out with the claim in hand; a longer one gives the place to another target.
const LINGER: Duration = Duration::from_secs(3);

/// How long a target stands back while another rotation holds its instance.
const STAND_BACK: Duration = Duration::from_secs(5);

/// Decisions of one turn without any wait in between. More means that keywheel goes in a circle.
const DECISIONS_AT_ONCE: u32 = 200;

/// Gives the target its turn.
pub(super) async fn take(driver: &Driver, target: &Target, poke: &Notify) -> Result<(), Fault> {
    // At the level of errors, so that no filter takes the names off a line that is shown.
    let span = tracing::error_span!("turn", target = %target.name);
    turn(driver, target, poke).instrument(span).await
}

async fn turn(driver: &Driver, target: &Target, poke: &Notify) -> Result<(), Fault> {
    let tools = &driver.tools;
    let commands = driver.take_commands(&target.name);
    let opened = match Journal::open(tools, target, (&driver.tally, &driver.happenings, &driver.boards)).await {
        Ok(Some(journal)) => Ok(journal),
        Ok(None) => {
            Err(Fault::new(Kind::ClaimLost, "another process works on this target").advise("ask again in a moment"))
        }
        Err(fault) => Err(fault),
    };
    let mut journal = match opened {
        Ok(journal) => journal,
        Err(fault) => {
            for command in commands {
                let _unheard = command.answer.send(Err(fault.clone()));
            }
            return if fault.kind == Kind::ClaimLost { Ok(()) } else { Err(fault) };
        }
    };
    for command in commands {
        obey(tools, target, &mut journal, command).await?;
    }
    if !driver.only_obeys.load(Ordering::Relaxed) {
        hand_over::note_other_shapes(tools, target, &mut journal)?;
    }
    let mut memory = act::Memory::default();
    let mut decisions = 0;
    let mut alarmed: Option<Why> = None;
    loop {
        for command in driver.take_commands(&target.name) {
            obey(tools, target, &mut journal, command).await?;
        }
        if driver.only_obeys.load(Ordering::Relaxed) {
            return Ok(());
        }
        let now = tools.clock.now();
        let mut plan = target.settings.plan(&journal.state().standing, now);
        // Where only sinks are left of a rotation, the next one may begin beside it.
        if journal.state().is_proven() && !driver.hold_back(target, &mut plan, now).await? {
            continue;
        }
        let action = next(journal.state(), &plan, now);
        decisions = if matches!(action, Action::Wait { .. }) { 0 } else { decisions + 1 };
        if decisions > DECISIONS_AT_ONCE {
            return Err(Fault::new(Kind::Bug, format!("keywheel decides in a circle: {action:?}")));
        }
        match action {
            Action::Record(What::TakenOver { place }) => {
                let elsewhere = driver.known_elsewhere(&place).await?;
                let generation = journal.state().standing.newest.following();
                match adopt::take_over(target, generation, place, elsewhere).await {
                    Ok((what, password)) => {
                        journal.note_with(now, what, password.map(|password| (generation, password)))?;
                    }
                    // Nothing is taken over whose password may be known.
                    Err(fault) => return journal.write(now + STAND_BACK, &fault.to_string()).await,
                }
            }
            Action::Record(what) => journal.note(now, what)?,
            // What a turn began with may be out of date by now: the next one sees whether there still is a slot, or a target.
            Action::Begin { .. } if driver.has_replaced(target) => {
                return journal.write(now, "its settings were read anew").await;
            }
            Action::Begin { slot, by, reason } => {
                let before = journal.state().clone();
                let rotation = RotationId::from_parts(now, tools.chance.bits());
                journal.holds();
                journal.note(now, What::Began { rotation, slot, by, reason })?;
                match journal.write(now, "beginning").await {
                    Err(fault) if fault.kind == Kind::Busy => {
                        tracing::info!(%fault, "another rotation holds the instance");
                        return journal
                            .stand_back(before, now + STAND_BACK, "another rotation holds the instance")
                            .await;
                    }
                    written => written?,
                }
            }
            Action::Wait { until, why } => {
                journal.waits();
                let short = until.since(now) <= LINGER;
                if !(short && journal.holds_only_looks()) {
                    journal.write(until, &why.to_string()).await?;
                }
                if why.is_alarming() && alarmed.as_ref() != Some(&why) {
                    let rotation = journal.rotation().map(|id| id.to_string()).unwrap_or_default();
                    tracing::warn!(rotation, %why, "keywheel waits, and a person should know");
                    alarmed = Some(why.clone());
                }
                if !short {
                    return Ok(());
                }
                let stopped = tokio::select! {
                    biased;
                    () = driver.stop.cancelled() => true,
                    () = poke.notified() => false,
                    () = tools.clock.sleep(until.since(now)) => false,
                };
                if stopped || driver.has_replaced(target) {
                    return journal.write(until, &why.to_string()).await;
                }
            }
            act @ (Action::Adopt
            | Action::Pair { .. }
            | Action::Preflight { .. }
            | Action::Prepare { .. }
            | Action::Call { .. }
            | Action::FindTask { .. }
            | Action::PollTask(_)
            | Action::ReadMark
            | Action::TryLogin { .. }
            | Action::Verify { .. }
            | Action::Retire { .. }
            | Action::Deliver { .. }
            | Action::Tell { .. }) => {
                if must_write_first(&act, &journal) {
                    journal.write(now, "under way").await?;
                }
                if driver.stop.is_cancelled() {
                    return journal.write(now, "keywheel stopped here and goes on when it starts again").await;
                }
                if driver.has_let_go(&target.name) {
                    return journal.write(now, "taken out of the configuration in mid-rotation").await;
                }
                if let Action::Preflight { .. } = act {
                    match journal.take_hold(now).await {
                        Err(fault) if fault.kind == Kind::Busy => {
                            journal.note(now, act::blocked(fault))?;
                            continue;
                        }
                        taken => taken?,
                    }
                }
                let rotation = journal.rotation().map(|id| id.to_string()).unwrap_or_default();
                let span = tracing::error_span!("act", rotation);
                let asks_outlets = matches!(
                    act,
                    Action::Adopt
                        | Action::Pair { .. }
                        | Action::Deliver { .. }
                        | Action::Tell { .. }
                        | Action::Preflight { .. }
                        | Action::Retire { .. }
                        | Action::Verify { .. }
                );
                let work = act::perform(tools, &driver.outbox, target, &mut journal, &mut memory, act).instrument(span);
                if asks_outlets { driver.without_place(work).await? } else { work.await? }
            }
        }
    }
}

/// Whether what happened so far has to be durable before this act. A call writes its intent itself, and everything before it in the same
/// transaction. A hook may be told twice. A look has no effect, so evidence that only looks brought can wait: it can be had again.
fn must_write_first(act: &Action, journal: &Journal<'_>) -> bool {
    match act {
        Action::Prepare { .. } | Action::Call { .. } | Action::Tell { .. } => false,
        Action::FindTask { .. } | Action::PollTask(_) | Action::ReadMark | Action::TryLogin { .. } => {
            !journal.holds_only_looks()
        }
        Action::Adopt
        | Action::Pair { .. }
        | Action::Preflight { .. }
        | Action::Verify { .. }
        | Action::Retire { .. }
        | Action::Deliver { .. }
        | Action::Wait { .. }
        | Action::Record(_)
        | Action::Begin { .. } => !journal.is_written(),
    }
}
