//! One turn of one target: claim, fold, decide, perform, until the decision is to wait for longer than it is worth staying.

use super::act;
use super::command::{Command, Wish};
use super::journal::Journal;
use super::target::Target;
use super::{Driver, Tools};
use crate::fault::{Fault, Kind, scrub};
use crate::name::RotationId;
use crate::rotation::answer::Login;
use crate::rotation::event::{Proof, What};
use crate::rotation::why::Why;
use crate::rotation::{Action, next};
use crate::secret::Secret;
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
    let opened = match Journal::open(&*tools.ledger, target, tools.clock.now()).await {
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
    let mut memory = act::Memory::default();
    let mut decisions = 0;
    let mut alarmed: Option<Why> = None;
    loop {
        for command in driver.take_commands(&target.name) {
            obey(tools, target, &mut journal, command).await?;
        }
        let now = tools.clock.now();
        let plan = target.settings.plan(&journal.state().standing, now);
        let action = next(journal.state(), &plan, now);
        decisions = if matches!(action, Action::Wait { .. }) { 0 } else { decisions + 1 };
        if decisions > DECISIONS_AT_ONCE {
            return Err(Fault::new(Kind::Bug, format!("keywheel decides in a circle: {action:?}")));
        }
        match action {
            Action::Record(what) => journal.note(now, what)?,
            Action::Begin { slot, by, reason } => {
                let before = journal.state().clone();
                let rotation = RotationId::from_parts(now, tools.chance.bits());
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
                    () = tools.clock.sleep(until.since(now)) => false,
                    () = poke.notified() => false,
                    () = driver.stop.cancelled() => true,
                };
                if stopped {
                    return journal.write(until, &why.to_string()).await;
                }
            }
            act @ (Action::Adopt
            | Action::Preflight
            | Action::Prepare { .. }
            | Action::Call { .. }
            | Action::FindTask { .. }
            | Action::PollTask(_)
            | Action::ReadMark
            | Action::TryLogin { .. }
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
                let rotation = journal.rotation().map(|id| id.to_string()).unwrap_or_default();
                let span = tracing::error_span!("act", rotation);
                act::perform(tools, target, &mut journal, &mut memory, act).instrument(span).await?;
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
        | Action::Preflight
        | Action::Deliver { .. }
        | Action::Wait { .. }
        | Action::Record(_)
        | Action::Begin { .. } => !journal.is_written(),
    }
}

/// Answers one command. What it changes is durable before the answer goes out.
async fn obey(tools: &Tools, target: &Target, journal: &mut Journal<'_>, command: Command) -> Result<(), Fault> {
    let Command { wish, answer } = command;
    let now = tools.clock.now();
    let verdict = match decide(tools, target, journal, wish).await {
        Ok((what, password, said)) => {
            let password = password.map(|password| (journal.state().standing.newest.following(), password));
            let written = match journal.note_with(now, what, password) {
                Ok(()) => journal.write(now, "asked to").await,
                Err(fault) => Err(fault),
            };
            if let Err(fault) = written {
                let _unheard = answer.send(Err(fault.clone()));
                return Err(fault);
            }
            Ok(said)
        }
        Err(fault) => Err(fault),
    };
    // The asker may have gone; what was done is in the record.
    let _unheard = answer.send(verdict);
    Ok(())
}

type Obeyed = (What, Option<Secret>, String);

async fn decide(tools: &Tools, target: &Target, journal: &Journal<'_>, wish: Wish) -> Result<Obeyed, Fault> {
    let state = journal.state();
    let place = target.settings.place.clone();
    let refuse = |what: String, next_step: &str| Err(Fault::new(Kind::Usage, what).advise(next_step));
    match wish {
        Wish::Rotate { by, reason } => match (&state.halt, &state.open) {
            (Some(halt), _) => refuse(format!("the target is halted: {}", halt.fault.what), &halt.fault.next_step),
            (None, Some(open)) => {
                refuse(format!("rotation {} is under way", open.id), "`keywheel explain` says where it stands")
            }
            (None, None) => {
                // It is shown on terminals for years: on one line and without escapes.
                let reason = reason.map(|reason| scrub(&reason, &[]));
                Ok((What::Asked { by, reason }, None, "it rotates now".to_owned()))
            }
        },
        Wish::Resume { by, allow_reset } => match &state.halt {
            Some(_) => Ok((What::Resumed { by, allow_reset }, None, "it goes on".to_owned())),
            None => refuse("the target is not halted".to_owned(), "`keywheel explain` says where it stands"),
        },
        Wish::Adopt { by, password } => {
            if state.standing.current.is_some() {
                let next = "give another one with `keywheel recover TARGET --set`";
                return refuse("a password was taken in before".to_owned(), next);
            }
            let (generation, proof) = (state.standing.newest.following(), proof(target, &password).await?);
            Ok((
                What::Adopted { generation, proof, by, place },
                Some(password),
                format!("taken in as generation {generation}"),
            ))
        }
        Wish::Redeliver { sink } => match state.standing.sinks.get(&sink).and_then(|outlet| outlet.generation) {
            Some(_) => Ok((What::SinkLost { sink }, None, "it is delivered again".to_owned())),
            None => refuse(format!("nothing was delivered to {sink} yet"), "nothing; it is delivered anyway"),
        },
        Wish::Reveal { by, all } => {
            let current = state.standing.current.map(|current| current.generation);
            let generations = if all { state.candidates() } else { current.into_iter().collect() };
            let Some(&first) = generations.first() else {
                return refuse("no password was taken in yet".to_owned(), "run `keywheel adopt TARGET` first");
            };
            let mut said = tools.ledger.password(&target.name, first).await?.expose().to_owned();
            if all {
                said = format!("generation {first}: {said}");
                for &generation in &generations[1..] {
                    let password = tools.ledger.password(&target.name, generation).await?;
                    said.push_str(&format!("\ngeneration {generation}: {}", password.expose()));
                }
            }
            Ok((What::Revealed { by, generations }, None, said))
        }
        Wish::Replace { by, password } => {
            let (generation, proof) = (state.standing.newest.following(), proof(target, &password).await?);
            Ok((
                What::Replaced { generation, proof, by, place },
                Some(password),
                format!("taken in as generation {generation}"),
            ))
        }
    }
}

/// A given password is taken in only if the instance lets it in; without a login route the giver's word has to do.
async fn proof(target: &Target, password: &Secret) -> Result<Proof, Fault> {
    let Some(probe) = &target.hands.probe else {
        return Ok(Proof::Stated);
    };
    match probe.login(password).await {
        Login::Accepted => Ok(Proof::Login),
        Login::Refused => Err(Fault::new(Kind::LoginRefused, format!("{} refuses this password", probe.route()))),
        Login::Mixed => Err(Fault::new(
            Kind::LoginRefused,
            format!("not every node behind {} lets this password in", probe.route()),
        )
        .advise("wait a minute and try again")),
        Login::PasswordFree => Err(act::password_free(probe.route())),
        Login::Unreachable { fault } => Err(fault),
    }
}
