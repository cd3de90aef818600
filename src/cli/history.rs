//! `history`: what happened, oldest first, in words or as JSON lines. Events hold no password.

use super::Exit;
use super::args;
use super::output::{addressed, local, print_line, print_table, table};
use super::scene::Scene;
use crate::fault::{Fault, Kind};
use crate::ledger::Row;
use crate::name::TargetName;
use crate::rotation::answer::{Answer, Login, TaskStatus};
use crate::rotation::event::{By, Event, Proof, Queue, What};
use serde::Serialize;

/// How much of a rotation's id a table shows: the end, which differs even between rotations of one minute.
const ID_TAIL: usize = 6;

/// Prints what happened.
///
/// # Errors
/// When the configuration or the ledger cannot be read.
pub async fn history(scene: &Scene, args: &args::History) -> Result<Exit, Fault> {
    let only: Vec<TargetName> = args.target.iter().cloned().collect();
    let rows = rows_of(scene, &only).await?;
    if args.json {
        for (target, row) in &rows {
            print_json(target, row)?;
        }
        return Ok(Exit::Well);
    }
    let mut table = match args.target {
        Some(_) => table(["WHEN", "ROTATION", "WHAT"]),
        None => table(["WHEN", "TARGET", "ROTATION", "WHAT"]),
    };
    for (target, row) in &rows {
        let mut cells = vec![local(row.event.at, scene.zone(target))];
        if args.target.is_none() {
            cells.push(target.to_string());
        }
        cells.push(short_id(row));
        cells.push(addressed(&describe(&row.event.what), target));
        table.add_row(cells);
    }
    print_table(&table);
    Ok(Exit::Well)
}

/// Every event of these targets, or of all where none is named, oldest first.
pub(super) async fn rows_of(scene: &Scene, only: &[TargetName]) -> Result<Vec<(TargetName, Row)>, Fault> {
    let mut rows: Vec<(TargetName, Row)> = Vec::new();
    for target in scene.shown(only)? {
        let history = scene.history(&target).await?;
        rows.extend(history.into_iter().map(|row| (target.clone(), row)));
    }
    rows.sort_by_key(|(_, row)| row.event.at);
    Ok(rows)
}

/// One event as a line of JSON.
pub(super) fn print_json(target: &TargetName, row: &Row) -> Result<(), Fault> {
    #[derive(Serialize)]
    struct Line<'a> {
        target: &'a TargetName,
        seq: u64,
        time: String,
        rotation: Option<String>,
        #[serde(flatten)]
        event: &'a Event,
    }
    let line = Line {
        target,
        seq: row.seq,
        time: row.event.at.to_string(),
        rotation: row.rotation.map(|rotation| rotation.to_string()),
        event: &row.event,
    };
    let text = serde_json::to_string(&line)
        .map_err(|error| Fault::new(Kind::Bug, format!("an event cannot be written: {error}")))?;
    print_line(&text);
    Ok(())
}

fn short_id(row: &Row) -> String {
    row.rotation.map_or_else(String::new, |id| {
        let text = id.to_string();
        format!("…{}", &text[text.len().saturating_sub(ID_TAIL)..])
    })
}

/// One event in words.
pub fn describe(what: &What) -> String {
    match what {
        What::Adopted { generation, proof, by, .. } => {
            format!("taken in as generation {generation}, {}, given by {}", proven(*proof), who(by))
        }
        What::Asked { by, reason } => format!("a rotation was asked for by {}{}", who(by), because(reason.as_ref())),
        What::SlotPassed { slot } => format!("the slot of {} passed unused", slot.nominal),
        What::Began { rotation, by, reason, .. } => {
            format!("rotation {rotation} began for {}{}", who(by), because(reason.as_ref()))
        }
        What::Blocked { fault } => format!("not yet, nothing changed: {}", fault.what),
        What::Ready { drifted: false, .. } => {
            "the instance, the sinks and the password to be replaced, where it is known, are ready".to_owned()
        }
        What::Ready { drifted: true, .. } => {
            "the instance refuses the current password: somebody changed it".to_owned()
        }
        What::Paired { generation, proof, by, account } => {
            format!("{account} was taken in as generation {generation}, {}, given by {}", proven(*proof), who(by))
        }
        What::TakenOver { .. } => "taken over without a password: the first rotation resets it".to_owned(),
        What::Prepared { generation, account, .. } => {
            let of = account.as_ref().map(|account| format!(" for {account}")).unwrap_or_default();
            format!("candidate {generation}{of} is in the ledger")
        }
        What::Intended { call } => format!("the {call:?} call leaves").to_lowercase(),
        What::Answered { answer } => answered(answer),
        What::TaskRead { status } | What::TaskSought { found: Some((_, status)) } => task(status),
        What::TaskSought { found: None } => "no task of ours in the cloud's list".to_owned(),
        What::TaskStuck => "the task outlasted task-patience: doubt".to_owned(),
        What::MarkRead { .. } => "the account's change time was read".to_owned(),
        What::LoginTried { candidate, previous } => match previous {
            None => format!("login with the candidate: {}", login(candidate)),
            Some(previous) => {
                format!("login with the candidate: {}; with the one before: {}", login(candidate), login(previous))
            }
        },
        What::LookFailed { fault } => format!("a look gave no evidence: {}", fault.what),
        What::ProofFailed => "the cloud says done but logins stay refused: doubt".to_owned(),
        What::Proven { generation, proof } => format!("generation {generation} is current, {}", proven(*proof)),
        What::Discarded { generation, fault } => {
            format!("candidate {generation} was dropped, never live: {}", fault.what)
        }
        What::Abandoned { fault } => format!("ended without a change: {}", fault.what),
        What::Delivered { sink, generation, .. } => format!("{sink} holds generation {generation}"),
        What::DeliveryFailed { sink, generation, fault } => {
            format!("{sink} did not take generation {generation}: {}", fault.what)
        }
        What::SinkLost { sink } => format!("{sink} lost what it held, or should hold it otherwise, and gets it again"),
        What::SinkDiffers { sink } => format!("{sink} holds something else than was delivered: somebody changed it"),
        What::SinkAgrees { sink } => format!("{sink} holds what was delivered again"),
        What::Retired { generation } => format!("generation {generation} was taken away: every node refuses it"),
        What::RetireFailed { generation, fault } => {
            format!("generation {generation} is not taken away yet: {}", fault.what)
        }
        What::Verified { login: tried } => format!("login with the current password: {}", login(tried)),
        What::Paused { by, until } => {
            let until = until.map_or_else(|| "until somebody resumes it".to_owned(), |until| format!("until {until}"));
            format!("{} paused it {until}", who(by))
        }
        What::Unpaused { by: By::Schedule } => "the pause ended".to_owned(),
        What::Unpaused { by } => format!("{} ended the pause", who(by)),
        What::HookQueued { hook, until, by: Queue::Others } => {
            format!("{hook} is told at {until}, once for all targets that change until then")
        }
        What::HookQueued { hook, until, by: Queue::Budget } => {
            format!("{hook} has its turn at {until} (restart-budget)")
        }
        What::HookTold { hook } => format!("{hook} was told"),
        What::HookFailed { hook, fault } => format!("{hook} did not succeed: {}", fault.what),
        What::Settled { .. } => "settled".to_owned(),
        What::Halted { fault } => format!("HALTED: {fault}"),
        What::Resumed { by, allow_reset: false } => format!("{} said go on", who(by)),
        What::Resumed { by, allow_reset: true } => format!("{} said go on and allowed a reset", who(by)),
        What::Revealed { by, generations } => {
            let numbers: Vec<String> = generations.iter().map(ToString::to_string).collect();
            format!("{} was shown generation {}", who(by), numbers.join(" and "))
        }
        What::Replaced { generation, proof, by, .. } => {
            format!("{} gave the password that works: generation {generation}, {}", who(by), proven(*proof))
        }
    }
}

/// How a password was proven, in words.
pub fn proven(proof: Proof) -> &'static str {
    match proof {
        Proof::Login => "proven by login",
        Proof::Task => "proven by the cloud's task (no login route)",
        Proof::Acceptance => "proven by the cloud's acceptance (no login route)",
        Proof::ChangeMark => "proven by the account's change time (no login route)",
        Proof::OldPasswordGone => "proven by the old password's refusal (no login route)",
        Proof::Stated => "as stated (no login route)",
    }
}

fn who(by: &By) -> String {
    match by {
        By::Schedule => "the schedule".to_owned(),
        By::Configuration => "the configuration".to_owned(),
        By::Operator { uid } => format!("user {uid}"),
    }
}

fn because(reason: Option<&String>) -> String {
    reason.map_or_else(String::new, |reason| format!(" ({reason})"))
}

fn answered(answer: &Answer) -> String {
    match answer {
        Answer::Accepted { task: Some(task) } => format!("accepted as task {task}"),
        Answer::Accepted { task: None } => "accepted".to_owned(),
        Answer::Refused { fault, .. } => format!("refused, not applied: {}", fault.what),
        Answer::Unanswered { fault } => format!("no answer that means anything: {}. Doubt", fault.what),
    }
}

fn task(status: &TaskStatus) -> String {
    match status {
        TaskStatus::Running => "the task is running".to_owned(),
        TaskStatus::Succeeded => "the task succeeded".to_owned(),
        TaskStatus::Failed { message } => format!("the task failed: {message}. Doubt"),
    }
}

fn login(login: &Login) -> &'static str {
    match login {
        Login::Accepted => "let in",
        Login::Refused => "refused",
        Login::Mixed => "nodes disagree",
        Login::PasswordFree => "anybody is let in",
        Login::Unreachable { .. } => "not reachable",
    }
}
