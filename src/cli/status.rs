//! `status`: each target's state, from the ledger and the same decision that the driver acts on.

use super::Exit;
use super::args;
use super::output::{addressed, bold, is_wide, print_line, print_table, state, table, wrapped};
use super::scene::Scene;
use crate::admin::Control;
use crate::driver::{SinkStatus, Snapshot, age};
use crate::fault::Fault;
use crate::moment::Moment;
use crate::rotation::state::Label;
use crate::rotation::why::from_now;
use comfy_table::Cell;
use serde::Serialize;

/// Prints each target's state. The exit status says whether somebody should look.
///
/// # Errors
/// When the configuration or the ledger cannot be read.
pub async fn status(scene: &Scene, args: &args::Status) -> Result<Exit, Fault> {
    if args.health {
        return health(scene).await;
    }
    let now = scene.now();
    let snapshots = scene.snapshots_of(&scene.shown(&args.targets)?).await?;
    if args.json {
        let text = serde_json::to_string_pretty(&Report::of(&snapshots))
            .map_err(|error| Fault::new(crate::fault::Kind::Bug, format!("the report cannot be written: {error}")))?;
        print_line(&text);
    } else {
        show(&snapshots, now);
    }
    let deserted = scene.deserted().into_iter().filter(|name| args.targets.is_empty() || args.targets.contains(name));
    let deserted: Vec<_> = deserted.collect();
    for name in &deserted {
        anstream::eprintln!(
            "{name}: every instance that it found is retired. Next: check its tags and what this identity may see, or remove it"
        );
    }
    Ok(match exit(&snapshots) {
        Exit::Well if !deserted.is_empty() => Exit::Attention,
        exit @ (Exit::Well | Exit::Attention | Exit::Halted | Exit::Passed(_)) => exit,
    })
}

/// Whether the daemon turns, in its own words.
async fn health(scene: &Scene) -> Result<Exit, Fault> {
    let path = &scene.config().daemon.control_socket;
    let Some(control) = Control::connect(path).await? else {
        print_line(&format!("no daemon listens on {}", path.display()));
        return Ok(Exit::Attention);
    };
    Ok(match control.health().await {
        Ok(said) => {
            print_line(&said);
            Exit::Well
        }
        Err(fault) => {
            print_line(&fault.what);
            Exit::Attention
        }
    })
}

/// What somebody who is paged should make of it.
pub(super) fn exit(snapshots: &[Snapshot]) -> Exit {
    if snapshots.iter().any(|snapshot| snapshot.label == Label::Halted && snapshot.retired.is_none()) {
        Exit::Halted
    } else if snapshots.iter().any(Snapshot::wants_attention) {
        Exit::Attention
    } else {
        Exit::Well
    }
}

fn show(snapshots: &[Snapshot], now: Moment) {
    let mut short = table(["TARGET", "STATE", "GEN", "AGE", "NEXT", "SINKS"]);
    let mut full = table(["TARGET", "STATE", "GEN", "AGE", "NEXT", "SINKS", "WHY"]);
    let wide = is_wide(&full);
    for snapshot in snapshots {
        let row = row(snapshot, now);
        short.add_row(row[..row.len() - 1].to_vec());
        full.add_row(row);
    }
    if wide {
        return print_table(&full);
    }
    print_table(&short);
    for snapshot in snapshots.iter().filter(|snapshot| snapshot.wants_attention()) {
        print_line("");
        print_line(&bold(&format!("{} ({})", snapshot.target, snapshot.label.as_str())));
        wrapped(&why(snapshot), 2).iter().for_each(|line| print_line(line));
    }
}

/// A target's cells; the last is a sentence.
pub(super) fn row(snapshot: &Snapshot, now: Moment) -> Vec<Cell> {
    // Before a password was taken in there is nothing that a sink could hold.
    let holds = |sink: &&SinkStatus| sink.generation.is_some() && sink.generation == snapshot.generation;
    let holding = snapshot.sinks.iter().filter(holds).count();
    vec![
        snapshot.target.to_string().into(),
        state(snapshot.label),
        snapshot.generation.map_or_else(|| "-".to_owned(), |generation| generation.to_string()).into(),
        age(snapshot, now).into(),
        snapshot.next_due.map_or_else(|| "-".to_owned(), |due| from_now(due, now)).into(),
        format!("{holding}/{}", snapshot.sinks.len()).into(),
        why(snapshot).into(),
    ]
}

/// Why it is as it is, in a sentence.
pub(super) fn why(snapshot: &Snapshot) -> String {
    let why = match (&snapshot.halt, snapshot.too_old_since) {
        (_, _) if snapshot.retired.is_some() => snapshot.why.clone(),
        (Some(fault), _) => fault.to_string(),
        (None, Some(_)) => format!("the password is older than max-age; {}", snapshot.why),
        (None, None) => snapshot.why.clone(),
    };
    addressed(&why, &snapshot.target)
}

/// Every target's state.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    targets: Vec<TargetReport<'a>>,
}

impl<'a> Report<'a> {
    pub(super) fn of(snapshots: &'a [Snapshot]) -> Self {
        Self { targets: snapshots.iter().map(TargetReport::of).collect() }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct TargetReport<'a> {
    target: &'a str,
    state: Label,
    why: String,
    generation: Option<u64>,
    last_rotated: Option<String>,
    next_due: Option<String>,
    sinks: Vec<SinkReport<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct SinkReport<'a> {
    sink: &'a str,
    generation: Option<u64>,
    behind_since: Option<String>,
    behind_by: u64,
}

impl<'a> TargetReport<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let text = |moment: Option<Moment>| moment.map(|moment| moment.to_string());
        Self {
            target: snapshot.target.as_str(),
            state: snapshot.label,
            why: why(snapshot),
            generation: snapshot.generation.map(|generation| generation.0),
            last_rotated: text(snapshot.last_rotated),
            next_due: text(snapshot.next_due),
            sinks: snapshot
                .sinks
                .iter()
                .map(|sink| SinkReport {
                    sink: sink.sink.as_str(),
                    generation: sink.generation.map(|generation| generation.0),
                    behind_since: text(sink.behind_since),
                    behind_by: sink.behind_by,
                })
                .collect(),
        }
    }
}
