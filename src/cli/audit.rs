//! `audit`: whether the record is as it was written, and the record for other programs.

use super::Exit;
use super::args::{self, ExportForm};
use super::history::{Entry, describe, describe_own, entries_of, print_json, who};
use super::output::{counted, print_line, print_table, table};
use super::scene::Scene;
use crate::assemble;
use crate::fault::{Fault, Kind};
use crate::ledger::deed::Deed;
use crate::ledger::sqlite::{Audit, OwnAudit};
use crate::name::TargetName;
use crate::rotation::event::{By, What};
use serde::Serialize;

/// How the record of keywheel itself is named in the table.
const OWN: &str = "(keywheel itself)";

/// Walks every record from its first event and says where one is not as keywheel wrote it.
///
/// # Errors
/// When the ledger or its key cannot be read, or the list of targets itself was changed.
pub async fn verify(scene: &Scene, args: &args::AuditVerify) -> Result<Exit, Fault> {
    let reader = assemble::unsealed_reader(scene.config())?;
    let (audits, own) = (reader.verify_all().await?, reader.verify_own().await?);
    let broken = audits.iter().filter(|audit| audit.broken.is_some()).count() + usize::from(own.broken.is_some());
    if args.json {
        let changed = own.changed.iter().map(ToString::to_string).collect();
        let report = Report { records: audits.iter().map(Record::of).collect(), keywheel: Own::of(&own), changed };
        let text = serde_json::to_string_pretty(&report)
            .map_err(|error| Fault::new(Kind::Bug, format!("the report cannot be written: {error}")))?;
        print_line(&text);
    } else {
        let mut shown = table(["RECORD", "SOUND", "VERDICT"]);
        let verdict = |sound: u64, broken: &Option<Fault>| match broken {
            None => "as it was written".to_owned(),
            Some(fault) => format!("broken at event {}: {fault}", sound + 1),
        };
        for Audit { target, sound, broken } in &audits {
            shown.add_row([target.to_string(), sound.to_string(), verdict(*sound, broken)]);
        }
        shown.add_row([OWN.to_owned(), own.sound.to_string(), verdict(own.sound, &own.broken)]);
        print_table(&shown);
        print_line("");
        own.changed.iter().for_each(|fault| print_line(&format!("Changed: {fault}")));
        let events = audits.iter().map(|audit| audit.sound).sum::<u64>() + own.sound;
        match broken {
            0 => print_line(&format!(
                "Every event is as it was written, and none is missing: {events} in all. (An older copy of the whole ledger would look the same.)"
            )),
            broken => print_line(&format!(
                "{broken} of {} not as keywheel wrote {}.",
                counted(audits.len() + 1, "record") + if broken == 1 { " is" } else { " are" },
                if broken == 1 { "it" } else { "them" }
            )),
        }
    }
    Ok(if broken == 0 && own.changed.is_empty() { Exit::Well } else { Exit::Attention })
}

/// Prints every event, oldest first, a line each.
///
/// # Errors
/// When the configuration or the ledger cannot be read.
pub async fn export(scene: &Scene, args: &args::AuditExport) -> Result<Exit, Fault> {
    for entry in &entries_of(scene, &args.targets).await? {
        match args.format {
            ExportForm::Json => print_json(entry)?,
            ExportForm::Cef => print_line(&cef(entry)),
        }
    }
    Ok(Exit::Well)
}

/// One event in ArcSight's Common Event Format, version 0 ("Implementing ArcSight Common Event Format").
fn cef(entry: &Entry) -> String {
    let (label, text, Weight { severity, outcome }, asked) = match entry {
        Entry::Of(_, row) => {
            let what = &row.event.what;
            (what.label(), describe(what), weight(what), asked(what))
        }
        Entry::Own(row) => {
            (row.deed.label(), describe_own(&row.deed), own_weight(&row.deed), row.deed.by().map(|by| (by, None)))
        }
    };
    let mut line = format!(
        "CEF:0|keywheel|keywheel|{}|{}|{}|{severity}|rt={}",
        env!("CARGO_PKG_VERSION"),
        in_header(label),
        in_header(&text),
        entry.at().millis(),
    );
    let mut field = |name: &str, value: &str| line.push_str(&format!(" {name}={}", in_extension(value)));
    if let Some((by, reason)) = asked {
        field("suser", &who(by));
        if let Some(reason) = reason {
            field("reason", reason);
        }
    }
    if let Some(outcome) = outcome {
        field("outcome", outcome);
    }
    let seq = match entry {
        Entry::Of(target, row) => {
            field("cs1Label", "target");
            field("cs1", target.as_str());
            if let Some(rotation) = row.rotation {
                field("cs2Label", "rotation");
                field("cs2", &rotation.to_string());
            }
            row.seq
        }
        Entry::Own(row) => row.seq,
    };
    field("cn1Label", "event");
    field("cn1", &seq.to_string());
    line
}

/// Who asked for it, where somebody did, and why.
fn asked(what: &What) -> Option<(&By, Option<&String>)> {
    match what {
        What::Adopted { by, reason, .. }
        | What::Paired { by, reason, .. }
        | What::Asked { by, reason }
        | What::Began { by, reason, .. }
        | What::Paused { by, reason, .. }
        | What::Resumed { by, reason, .. }
        | What::Revealed { by, reason, .. }
        | What::Replaced { by, reason, .. } => Some((by, reason.as_ref())),
        What::Unpaused { by } => Some((by, None)),
        What::Abandoned { .. }
        | What::Answered { .. }
        | What::Blocked { .. }
        | What::Delivered { .. }
        | What::DeliveryFailed { .. }
        | What::Discarded { .. }
        | What::Halted { .. }
        | What::HookFailed { .. }
        | What::HookQueued { .. }
        | What::HookTold { .. }
        | What::Intended { .. }
        | What::LoginTried { .. }
        | What::LookFailed { .. }
        | What::MarkRead { .. }
        | What::Prepared { .. }
        | What::ProofFailed
        | What::Proven { .. }
        | What::Ready { .. }
        | What::RetireFailed { .. }
        | What::Retired { .. }
        | What::Settled { .. }
        | What::SinkAgrees { .. }
        | What::SinkDiffers { .. }
        | What::SinkLost { .. }
        | What::SlotPassed { .. }
        | What::TakenOver { .. }
        | What::TaskRead { .. }
        | What::TaskSought { .. }
        | What::TaskStuck
        | What::Verified { .. } => None,
    }
}

/// How much it matters, from 0 to 10, and whether something succeeded or failed by it.
struct Weight {
    severity: u8,
    outcome: Option<&'static str>,
}

const fn weighs(severity: u8, outcome: Option<&'static str>) -> Weight {
    Weight { severity, outcome }
}

const SUCCESS: Option<&str> = Some("success");
const FAILURE: Option<&str> = Some("failure");

/// What needs a person, what a person did with a password, what went wrong, the rest.
fn weight(what: &What) -> Weight {
    match what {
        What::Halted { .. } => weighs(8, FAILURE),
        What::Revealed { .. } | What::Replaced { .. } | What::Resumed { .. } => weighs(6, SUCCESS),
        What::Abandoned { .. }
        | What::Blocked { .. }
        | What::DeliveryFailed { .. }
        | What::Discarded { .. }
        | What::HookFailed { .. }
        | What::LookFailed { .. }
        | What::ProofFailed
        | What::RetireFailed { .. }
        | What::SlotPassed { .. }
        | What::TaskStuck => weighs(4, FAILURE),
        What::SinkDiffers { .. } | What::SinkLost { .. } => weighs(4, None),
        What::Adopted { .. }
        | What::Asked { .. }
        | What::Delivered { .. }
        | What::HookTold { .. }
        | What::Paired { .. }
        | What::Paused { .. }
        | What::Proven { .. }
        | What::Retired { .. }
        | What::Settled { .. }
        | What::TakenOver { .. }
        | What::Unpaused { .. } => weighs(2, SUCCESS),
        What::Answered { .. }
        | What::Began { .. }
        | What::HookQueued { .. }
        | What::Intended { .. }
        | What::LoginTried { .. }
        | What::MarkRead { .. }
        | What::Prepared { .. }
        | What::Ready { .. }
        | What::SinkAgrees { .. }
        | What::TaskRead { .. }
        | What::TaskSought { .. }
        | What::Verified { .. } => weighs(2, None),
    }
}

fn own_weight(deed: &Deed) -> Weight {
    match deed {
        Deed::ReloadRefused { .. } => weighs(4, FAILURE),
        Deed::KeyRotated { .. } => weighs(6, SUCCESS),
        Deed::Started { .. } | Deed::Reloaded { .. } => weighs(2, SUCCESS),
    }
}

fn in_header(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace(['\n', '\r'], " ")
}

fn in_extension(text: &str) -> String {
    text.replace('\\', "\\\\").replace('=', "\\=").replace('\n', "\\n").replace('\r', "\\r")
}

#[derive(Serialize)]
struct Report<'a> {
    records: Vec<Record<'a>>,
    keywheel: Own,
    /// What else was changed.
    changed: Vec<String>,
}

/// The record of keywheel itself.
#[derive(Serialize)]
struct Own {
    sound: u64,
    broken: Option<String>,
}

impl Own {
    fn of(audit: &OwnAudit) -> Self {
        Self { sound: audit.sound, broken: audit.broken.as_ref().map(ToString::to_string) }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Record<'a> {
    target: &'a TargetName,
    /// How many events, from the first on, are as they were written.
    sound: u64,
    broken: Option<String>,
}

impl<'a> Record<'a> {
    fn of(audit: &'a Audit) -> Self {
        Self { target: &audit.target, sound: audit.sound, broken: audit.broken.as_ref().map(ToString::to_string) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Row;
    use crate::moment::Moment;
    use crate::rotation::event::Event;

    #[test]
    fn what_means_something_in_the_format_is_written_as_text() {
        let fault = Fault::new(Kind::Busy, "a|b\\c\nd");
        let what = What::Blocked { fault };
        let row = Row { seq: 7, rotation: None, event: Event { at: Moment::from_millis(1_500), what } };
        let line = cef(&Entry::Of("orders".parse().unwrap(), row));
        assert!(line.starts_with("CEF:0|keywheel|keywheel|"), "{line}");
        assert!(line.contains("a\\|b\\\\c d"), "{line}");
        assert!(line.ends_with("|4|rt=1500 outcome=failure cs1Label=target cs1=orders cn1Label=event cn1=7"), "{line}");
        assert_eq!(in_extension("a=b\\\n"), "a\\=b\\\\\\n");
    }
}
