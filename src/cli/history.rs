//! `history`: what happened, oldest first, in words or as JSON lines. Events hold no password.

use super::Exit;
use super::args;
use super::output::{addressed, counted, local, print_line, print_table, table};
use super::scene::Scene;
use crate::fault::{Fault, Kind};
use crate::ledger::Row;
use crate::ledger::deed::{Deed, DeedRow};
use crate::moment::Moment;
use crate::name::TargetName;
use crate::rotation::answer::{Answer, Login, TaskStatus};
use crate::rotation::event::{By, Proof, Queue, What};
use serde::Serialize;
use std::collections::BTreeSet;

/// How much of a rotation's id a table shows: the end, which differs even between rotations of one minute.
const ID_TAIL: usize = 6;

/// Prints what happened.
///
/// # Errors
/// When the configuration or the ledger cannot be read.
pub async fn history(scene: &Scene, args: &args::History) -> Result<Exit, Fault> {
    let only: Vec<TargetName> = args.target.iter().cloned().collect();
    let entries = entries_of(scene, &only).await?;
    if args.json {
        for entry in &entries {
            print_json(entry)?;
        }
        return Ok(Exit::Well);
    }
    let mut table = match args.target {
        Some(_) => table(["WHEN", "ROTATION", "WHAT"]),
        None => table(["WHEN", "TARGET", "ROTATION", "WHAT"]),
    };
    for entry in &entries {
        let zone = entry.target().map_or(scene.config().daemon.time_zone, |target| scene.zone(target));
        let mut cells = vec![local(entry.at(), zone)];
        if args.target.is_none() {
            cells.push(entry.target().map_or_else(|| "-".to_owned(), ToString::to_string));
        }
        match entry {
            Entry::Of(target, row) => {
                cells.push(short_id(row));
                cells.push(addressed(&describe(&row.event.what), target));
            }
            Entry::Own(row) => cells.extend([String::new(), describe_own(&row.deed)]),
        }
        table.add_row(cells);
    }
    print_table(&table);
    Ok(Exit::Well)
}

/// One thing in the record: of a target, or of keywheel itself.
pub(super) enum Entry {
    Of(TargetName, Row),
    Own(DeedRow),
}

impl Entry {
    pub(super) fn target(&self) -> Option<&TargetName> {
        match self {
            Self::Of(target, _) => Some(target),
            Self::Own(_) => None,
        }
    }

    pub(super) fn at(&self) -> Moment {
        match self {
            Self::Of(_, row) => row.event.at,
            Self::Own(row) => row.at,
        }
    }
}

/// Everything of these targets, or of all and of keywheel itself where none is named, oldest first.
pub(super) async fn entries_of(scene: &Scene, only: &[TargetName]) -> Result<Vec<Entry>, Fault> {
    let mut entries = Vec::new();
    if only.is_empty() {
        entries.extend(scene.deeds().await?.into_iter().map(Entry::Own));
    }
    for target in recorded(scene, only).await? {
        let history = scene.history(&target).await?;
        entries.extend(history.into_iter().map(|row| Entry::Of(target.clone(), row)));
    }
    entries.sort_by_key(Entry::at);
    Ok(entries)
}

/// These targets, or every one that has a record. One that the configuration names no more has it all the same: whoever takes a target out of the
/// configuration does not take it out of what can be asked for.
async fn recorded(scene: &Scene, only: &[TargetName]) -> Result<BTreeSet<TargetName>, Fault> {
    let all = scene.recorded().await?;
    if only.is_empty() {
        return Ok(all);
    }
    let mut wanted = BTreeSet::new();
    for name in only {
        match scene.shown(std::slice::from_ref(name)) {
            Ok(shown) => wanted.extend(shown),
            Err(_) if all.contains(name) => wanted.extend([name.clone()]),
            Err(fault) => return Err(fault),
        }
    }
    Ok(wanted)
}

/// One of them as a line of JSON.
pub(super) fn print_json(entry: &Entry) -> Result<(), Fault> {
    print_line(&with_line(entry, |line| serde_json::to_string(line), |line| serde_json::to_string(line))?);
    Ok(())
}

/// One of them as a document.
pub(super) fn line(entry: &Entry) -> Result<serde_json::Value, Fault> {
    with_line(entry, |line| serde_json::to_value(line), |line| serde_json::to_value(line))
}

#[derive(Serialize)]
struct Line<'a, What> {
    target: Option<&'a TargetName>,
    seq: u64,
    time: String,
    rotation: Option<String>,
    at: Moment,
    #[serde(flatten)]
    what: &'a What,
}

fn with_line<T>(
    entry: &Entry,
    of: impl FnOnce(&Line<'_, What>) -> serde_json::Result<T>,
    own: impl FnOnce(&Line<'_, Deed>) -> serde_json::Result<T>,
) -> Result<T, Fault> {
    let (target, at, time) = (entry.target(), entry.at(), entry.at().to_string());
    let written = match entry {
        Entry::Of(_, row) => {
            let rotation = row.rotation.map(|rotation| rotation.to_string());
            of(&Line { target, seq: row.seq, time, rotation, at, what: &row.event.what })
        }
        Entry::Own(row) => own(&Line { target, seq: row.seq, time, rotation: None, at, what: &row.deed }),
    };
    written.map_err(|error| Fault::new(Kind::Bug, format!("an event cannot be written: {error}")))
}

/// What happened to keywheel itself, in words.
pub(super) fn describe_own(deed: &Deed) -> String {
    match deed {
        Deed::Started { version, targets } => {
            format!("keywheel {version} started with {}", counted(*targets as usize, "target"))
        }
        Deed::Reloaded { by, targets } => {
            let targets = counted(*targets as usize, "target");
            format!("the configuration was read again for {} and is in force: {targets}", who(by))
        }
        Deed::ReloadRefused { by, fault } => {
            format!("the configuration was read again for {} and refused: {}", who(by), fault.what)
        }
        Deed::KeyRotated { by } => format!("{} sealed the ledger with another key", who(by)),
    }
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
        What::Adopted { generation, proof, by, reason, .. } => {
            let (by, why) = (who(by), because(reason.as_ref()));
            format!("taken in as generation {generation}, {}, given by {by}{why}", proven(*proof))
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
        What::Paired { generation, proof, by, reason, account } => {
            let (by, why) = (who(by), because(reason.as_ref()));
            format!("{account} was taken in as generation {generation}, {}, given by {by}{why}", proven(*proof))
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
        What::Paused { by, reason, until } => {
            let until = until.map_or_else(|| "until somebody resumes it".to_owned(), |until| format!("until {until}"));
            format!("{} paused it {until}{}", who(by), because(reason.as_ref()))
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
        What::Resumed { by, reason, allow_reset } => {
            let how = if *allow_reset { " and allowed a reset" } else { "" };
            format!("{} said go on{how}{}", who(by), because(reason.as_ref()))
        }
        What::Revealed { by, reason, generations } => {
            let numbers: Vec<String> = generations.iter().map(ToString::to_string).collect();
            format!("{} was shown generation {}{}", who(by), numbers.join(" and "), because(reason.as_ref()))
        }
        What::Replaced { generation, proof, by, reason, .. } => {
            let (by, why) = (who(by), because(reason.as_ref()));
            format!("{by} gave the password that works: generation {generation}, {}{why}", proven(*proof))
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

pub(super) fn who(by: &By) -> String {
    match by {
        By::Schedule => "the schedule".to_owned(),
        By::Configuration => "the configuration".to_owned(),
        By::Operator { uid } => format!("user {uid}"),
        By::Signal => "a signal".to_owned(),
        By::Systemd => "a signal under systemd".to_owned(),
        By::Token { name } => format!("token {name}"),
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
