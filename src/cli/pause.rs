//! `pause` and `resume`: nothing begins for a while, and a rotation under way is finished.

use super::Exit;
use super::alone::Alone;
use super::args;
use super::output::{addressed, print_line};
use super::scene::{Scene, operator};
use crate::admin::Control;
use crate::driver::Wish;
use crate::fault::Fault;
use crate::name::TargetName;
use std::time::Duration;

/// Begins nothing for a while.
///
/// # Errors
/// The first target that could not be paused.
pub async fn pause(scene: &Scene, args: &args::Pause) -> Result<Exit, Fault> {
    let targets = if args.all { scene.selected(&[])? } else { scene.selected(&args.targets)? };
    each(scene, &targets, What::Pause(args.span, args.reason.as_deref())).await
}

/// Ends pauses.
///
/// # Errors
/// The first target that could not be resumed.
pub async fn resume(scene: &Scene, args: &args::Resume) -> Result<Exit, Fault> {
    let mut targets = scene.selected(&args.targets)?;
    if args.all {
        let mut paused = Vec::new();
        for target in targets {
            if scene.is_paused(&target).await? {
                paused.push(target);
            }
        }
        targets = paused;
    }
    if targets.is_empty() {
        print_line("No target is paused.");
        return Ok(Exit::Well);
    }
    each(scene, &targets, What::Unpause).await
}

#[derive(Clone, Copy)]
enum What<'a> {
    Pause(Option<Duration>, Option<&'a str>),
    Unpause,
}

/// Through the daemon, or without one; every target is asked, and every refusal told.
async fn each(scene: &Scene, targets: &[TargetName], what: What<'_>) -> Result<Exit, Fault> {
    let mut failed = None;
    match scene.control().await? {
        Some(control) => {
            for target in targets {
                tell(target, ask(&control, target, what).await, &mut failed);
            }
        }
        None => {
            scene.start_logging("warn")?;
            let alone = Alone::only_to_obey(scene, targets, "keywheel at the command line")?;
            for target in targets {
                let wish = match what {
                    What::Pause(span, reason) => {
                        Wish::Pause { by: operator(), reason: reason.map(str::to_owned), span }
                    }
                    What::Unpause => Wish::Unpause { by: operator() },
                };
                tell(target, alone.command(target, wish).await, &mut failed);
            }
            alone.finish().await?;
        }
    }
    failed.map_or(Ok(Exit::Well), Err)
}

async fn ask(control: &Control, target: &TargetName, what: What<'_>) -> Result<String, Fault> {
    match what {
        What::Pause(span, reason) => control.pause(target, span, reason).await,
        What::Unpause => control.unpause(target).await,
    }
}

/// Prints what was answered. The first refusal is kept, for the command ends with it; a further one is told at once.
pub(super) fn tell(target: &TargetName, said: Result<String, Fault>, failed: &mut Option<Fault>) {
    let refused = match said {
        Ok(said) => return print_line(&format!("{target}: {said}")),
        Err(fault) => {
            Fault { what: format!("{target}: {}", fault.what), next_step: addressed(&fault.next_step, target), ..fault }
        }
    };
    match failed {
        None => *failed = Some(refused),
        Some(_) => anstream::eprintln!("keywheel: {refused}"),
    }
}
