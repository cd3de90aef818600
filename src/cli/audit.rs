//! `audit`: whether the record is as it was written, and the record for other programs.

use super::Exit;
use super::args::{self, ExportForm};
use super::history::{describe, print_json, rows_of};
use super::output::{print_line, print_table, table};
use super::scene::Scene;
use crate::assemble;
use crate::fault::{Fault, Kind};
use crate::ledger::Row;
use crate::ledger::sqlite::Audit;
use crate::name::TargetName;
use crate::rotation::event::What;
use serde::Serialize;

/// Walks every record from its first event and says where one is not as keywheel wrote it.
///
/// # Errors
/// When the ledger or its key cannot be read, or the list of targets itself was changed.
pub async fn verify(scene: &Scene, args: &args::AuditVerify) -> Result<Exit, Fault> {
    let audits = assemble::unsealed_reader(scene.config())?.verify_all().await?;
    let broken = audits.iter().filter(|audit| audit.broken.is_some()).count();
    if args.json {
        let report = Report { records: audits.iter().map(Record::of).collect() };
        let text = serde_json::to_string_pretty(&report)
            .map_err(|error| Fault::new(Kind::Bug, format!("the report cannot be written: {error}")))?;
        print_line(&text);
    } else {
        let mut shown = table(["TARGET", "SOUND", "RECORD"]);
        for audit in &audits {
            let verdict = match &audit.broken {
                None => "as it was written".to_owned(),
                Some(fault) => format!("broken at event {}: {fault}", audit.sound + 1),
            };
            shown.add_row([audit.target.to_string(), audit.sound.to_string(), verdict]);
        }
        print_table(&shown);
        print_line("");
        print_line(&match broken {
            0 => format!(
                "Every event is as it was written, and none is missing: {} in all. (An older copy of the whole ledger would look the same.)",
                audits.iter().map(|audit| audit.sound).sum::<u64>()
            ),
            broken => format!("{broken} of {} records are not as keywheel wrote them.", audits.len()),
        });
    }
    Ok(if broken == 0 { Exit::Well } else { Exit::Attention })
}

/// Prints every event, oldest first, a line each.
///
/// # Errors
/// When the configuration or the ledger cannot be read.
pub async fn export(scene: &Scene, args: &args::AuditExport) -> Result<Exit, Fault> {
    for (target, row) in &rows_of(scene, &args.targets).await? {
        match args.format {
            ExportForm::Json => print_json(target, row)?,
            ExportForm::Cef => print_line(&cef(target, row)),
        }
    }
    Ok(Exit::Well)
}

/// One event in ArcSight's Common Event Format, version 0 ("Implementing ArcSight Common Event Format").
fn cef(target: &TargetName, row: &Row) -> String {
    let what = &row.event.what;
    let rotation = row.rotation.map_or_else(String::new, |rotation| format!(" cs2Label=rotation cs2={rotation}"));
    format!(
        "CEF:0|keywheel|keywheel|{}|{}|{}|{}|rt={} cs1Label=target cs1={} cn1Label=event cn1={}{rotation}",
        env!("CARGO_PKG_VERSION"),
        in_header(what.label()),
        in_header(&describe(what)),
        severity(what),
        row.event.at.millis(),
        in_extension(target.as_str()),
        row.seq,
    )
}

/// From 0 to 10: what needs a person, what a person did with a password, what went wrong, the rest.
fn severity(what: &What) -> u8 {
    match what {
        What::Halted { .. } => 8,
        What::Revealed { .. } | What::Replaced { .. } | What::Resumed { .. } => 6,
        What::Abandoned { .. }
        | What::Blocked { .. }
        | What::DeliveryFailed { .. }
        | What::Discarded { .. }
        | What::HookFailed { .. }
        | What::LookFailed { .. }
        | What::ProofFailed
        | What::RetireFailed { .. }
        | What::SinkDiffers { .. }
        | What::SinkLost { .. }
        | What::SlotPassed { .. }
        | What::TaskStuck => 4,
        What::Adopted { .. }
        | What::Answered { .. }
        | What::Asked { .. }
        | What::Began { .. }
        | What::Delivered { .. }
        | What::HookQueued { .. }
        | What::HookTold { .. }
        | What::Intended { .. }
        | What::LoginTried { .. }
        | What::MarkRead { .. }
        | What::Paired { .. }
        | What::Paused { .. }
        | What::Prepared { .. }
        | What::Proven { .. }
        | What::Ready { .. }
        | What::Retired { .. }
        | What::Settled { .. }
        | What::SinkAgrees { .. }
        | What::TakenOver { .. }
        | What::TaskRead { .. }
        | What::TaskSought { .. }
        | What::Unpaused { .. }
        | What::Verified { .. } => 2,
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
    use crate::moment::Moment;
    use crate::rotation::event::Event;

    #[test]
    fn what_means_something_in_the_format_is_written_as_text() {
        let fault = Fault::new(Kind::Busy, "a|b\\c\nd");
        let what = What::Blocked { fault };
        let row = Row { seq: 7, rotation: None, event: Event { at: Moment::from_millis(1_500), what } };
        let line = cef(&"orders".parse().unwrap(), &row);
        assert!(line.starts_with("CEF:0|keywheel|keywheel|"), "{line}");
        assert!(line.contains("a\\|b\\\\c d"), "{line}");
        assert!(line.ends_with("|4|rt=1500 cs1Label=target cs1=orders cn1Label=event cn1=7"), "{line}");
        assert_eq!(in_extension("a=b\\\n"), "a\\=b\\\\\\n");
    }
}
