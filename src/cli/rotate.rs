//! `rotate`: now, through the running daemon, or by itself where none runs.

use super::Exit;
use super::alone::Alone;
use super::args;
use super::output::{addressed, counted, print_line};
use super::prompt;
use super::run::Signals;
use super::scene::{Scene, operator};
use crate::admin::Control;
use crate::driver::{Snapshot, Wish};
use crate::fault::{Fault, Kind};
use crate::moment::Moment;
use crate::name::TargetName;
use crate::rotation::state::Label;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// How often the ledger is read while waiting.
const LOOK: Duration = Duration::from_millis(200);

/// How often a ledger that another command holds is tried again.
const HELD: Duration = Duration::from_secs(1);

/// Rotates.
///
/// # Errors
/// When the configuration cannot be read, or neither a daemon nor this process can do it.
pub async fn rotate(scene: &Scene, args: &args::Rotate) -> Result<Exit, Fault> {
    let targets = scene.selected(&args.targets)?;
    if args.all && !args.yes && !confirmed(&targets).await? {
        return Ok(Exit::Attention);
    }
    let began = scene.now();
    scene.start_logging("warn")?;
    let mut told = false;
    let alone = loop {
        if let Some(control) = scene.control().await? {
            return through(&control, scene, targets, args, began).await;
        }
        match Alone::start(scene, &targets, "keywheel rotate") {
            // Timers of several targets may go off together: who waits anyway waits for the other command, too.
            Err(fault) if fault.kind == Kind::LedgerHeld && args.wait => {
                if !std::mem::replace(&mut told, true) {
                    anstream::eprintln!("{}; waiting until it is free", fault.what);
                }
                tokio::time::sleep(HELD).await;
            }
            alone => break alone?,
        }
    };
    anstream::eprintln!("no daemon runs: rotating here (Ctrl-C stops after the step under way; nothing is lost)");
    let mut refused = Vec::new();
    for target in &targets {
        let (reason, through_freeze) = (args.reason.clone(), args.through_freeze);
        let wish = Wish::Rotate { by: operator(), reason, through_freeze };
        if let Err(fault) = alone.command(target, wish).await {
            complain(target, &fault);
            // No daemon finishes what an earlier command left open: this one does.
            let snapshot = scene.snapshot(target).await?;
            if snapshot.rotation.is_none() || snapshot.halt.is_some() {
                refused.push(target.clone());
            }
        }
    }
    let asked: Vec<TargetName> = targets.into_iter().filter(|target| !refused.contains(target)).collect();
    let exit = wait(scene, &asked, began).await;
    alone.finish().await?;
    Ok(exit?.max(refusal(scene, &refused).await?))
}

/// Whether a person means all of them.
async fn confirmed(targets: &[TargetName]) -> Result<bool, Fault> {
    let all = counted(targets.len(), "target");
    let agreed = prompt::agreed(format!("Rotate {all} now?")).await?;
    match agreed {
        Some(true) => {}
        Some(false) => anstream::eprintln!("Nothing was asked of any target."),
        None => {
            let what = format!("this would rotate {all} now, and nobody is there to be asked");
            return Err(Fault::new(Kind::Usage, what).advise("add --yes if that is what is meant"));
        }
    }
    Ok(agreed == Some(true))
}

/// Has the running daemon do it.
async fn through(
    control: &Control,
    scene: &Scene,
    targets: Vec<TargetName>,
    args: &args::Rotate,
    began: Moment,
) -> Result<Exit, Fault> {
    let refused = ask_daemon(control, &targets, args).await;
    let asked: Vec<TargetName> = targets.into_iter().filter(|target| !refused.contains(target)).collect();
    if !args.wait {
        return refusal(scene, &refused).await;
    }
    let exit = wait(scene, &asked, began).await?;
    Ok(exit.max(refusal(scene, &refused).await?))
}

async fn ask_daemon(control: &Control, targets: &[TargetName], args: &args::Rotate) -> Vec<TargetName> {
    let mut refused = Vec::new();
    for target in targets {
        match control.rotate(target, args.reason.clone(), args.through_freeze).await {
            Ok(done) => print_line(&format!("{target}: {done}")),
            Err(fault) => {
                complain(target, &fault);
                refused.push(target.clone());
            }
        }
    }
    refused
}

fn complain(target: &TargetName, fault: &Fault) {
    anstream::eprintln!("{target}: {}", addressed(&fault.to_string(), target));
}

/// How a command ends that some targets refused: a halted one needs a person first.
async fn refusal(scene: &Scene, refused: &[TargetName]) -> Result<Exit, Fault> {
    let mut exit = Exit::Well;
    for snapshot in scene.snapshots_of(refused).await? {
        exit = exit.max(if snapshot.halt.is_some() { Exit::Halted } else { Exit::Attention });
    }
    Ok(exit)
}

/// Waits until each target is settled, ended without a change, or needs a person.
pub(super) async fn wait(scene: &Scene, targets: &[TargetName], began: Moment) -> Result<Exit, Fault> {
    let mut signals = Signals::new()?;
    let bar = progress(targets.len());
    let mut open: Vec<TargetName> = targets.to_vec();
    let mut exit = Exit::Well;
    while !open.is_empty() {
        let mut still_open = Vec::new();
        for (snapshot, target) in scene.snapshots_of(&open).await?.into_iter().zip(open) {
            match ending(&snapshot, began) {
                None => {
                    bar.set_message(format!("{target}: {}", snapshot.why));
                    still_open.push(target);
                }
                Some((text, ended)) => {
                    bar.suspend(|| print_line(&format!("{target}: {text}")));
                    bar.inc(1);
                    exit = exit.max(ended);
                }
            }
        }
        open = still_open;
        if !open.is_empty() {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = signals.stop() => {
                    bar.finish_and_clear();
                    let names: Vec<&str> = open.iter().map(TargetName::as_str).collect();
                    print_line(&format!("not waited for: {}; `keywheel status` shows how they end", names.join(", ")));
                    return Ok(exit.max(Exit::Attention));
                }
            }
        }
    }
    bar.finish_and_clear();
    Ok(exit)
}

fn ending(snapshot: &Snapshot, began: Moment) -> Option<(String, Exit)> {
    if let Some(fault) = &snapshot.halt {
        let text = addressed(&fault.to_string(), &snapshot.target);
        return Some((format!("halted. {text}"), Exit::Halted));
    }
    if snapshot.rotation.is_some() || snapshot.label == Label::Due {
        return None;
    }
    if snapshot.last_rotated.is_some_and(|at| at >= began) {
        let generation = snapshot.generation.map(|generation| generation.to_string()).unwrap_or_default();
        return Some((format!("settled, generation {generation}"), Exit::Well));
    }
    let why = snapshot.abandoned.as_ref().map_or_else(|| snapshot.why.clone(), ToString::to_string);
    Some((format!("not rotated: {why}"), Exit::Attention))
}

fn progress(targets: usize) -> ProgressBar {
    let bar = ProgressBar::new(targets as u64);
    bar.set_draw_target(ProgressDrawTarget::stderr());
    // The template is a constant; were it ever wrong, the plain bar serves as well.
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} {elapsed} {wide_msg}") {
        bar.set_style(style);
    }
    bar
}
