//! `adopt`, `recover` and `reveal`: what a person does by hand. Each use is in the record.

use super::Exit;
use super::alone::Alone;
use super::args;
use super::output::{addressed, print_line};
use super::pause::tell;
use super::prompt;
use super::rotate::wait;
use super::scene::{Scene, operator};
use crate::assemble;
use crate::chance::SystemChance;
use crate::config::PasswordRef;
use crate::driver::{Tools, Wish, break_glass};
use crate::fault::{Fault, Kind};
use crate::name::TargetName;
use std::sync::Arc;

/// Takes in the password that works today.
///
/// # Errors
/// When it cannot be read or proven, or one was taken in before.
pub async fn adopt(scene: &Scene, args: &args::Adopt) -> Result<Exit, Fault> {
    scene.settings(&args.target)?;
    let target = &args.target;
    let (password, place) = match args.from.as_deref() {
        None | Some("-") => {
            let question = format!("Today's password of {target}");
            (prompt::password(question).await?, "the prompt or standard input".to_owned())
        }
        Some(word) => {
            let reference = PasswordRef::from_word(word)?;
            let read = assemble::password_from(scene.config(), target, &reference).await;
            (read.map_err(|fault| for_target(fault, target))?, reference.to_string())
        }
    };
    let said = match scene.control().await? {
        Some(control) => control.adopt(target, &password, args.account.as_deref(), args.reason.as_deref()).await,
        None => {
            let (account, reason) = (args.account.clone(), args.reason.clone());
            alone(scene, target, Wish::Adopt { by: operator(), reason, password, account }).await
        }
    };
    let said = said.map_err(|fault| refused(fault, target, &place))?;
    print_line(&format!("{target}: {said}; nothing was changed"));
    Ok(Exit::Well)
}

/// Helps a target that needs a person.
///
/// # Errors
/// When the target does not need what is asked for, or it cannot be done.
pub async fn recover(scene: &Scene, args: &args::Recover) -> Result<Exit, Fault> {
    let Some(target) = &args.target else {
        return resume_all(scene, args.reason.as_deref()).await;
    };
    if args.show {
        let snapshot = scene.snapshot_alone(target).await?;
        print_line(&format!("{target}: {}", addressed(&snapshot.why.to_string(), target)));
        return show(scene, target, true, args.reason.as_deref()).await;
    }
    if args.set {
        let password = prompt::password(format!("The password of {target} that works")).await?;
        let said = match scene.control().await? {
            Some(control) => {
                control.replace(target, &password, args.account.as_deref(), args.reason.as_deref()).await?
            }
            None => {
                let (account, reason) = (args.account.clone(), args.reason.clone());
                alone(scene, target, Wish::Replace { by: operator(), reason, password, account }).await?
            }
        };
        print_line(&format!("{target}: {said}"));
        return Ok(Exit::Well);
    }
    resume(scene, std::slice::from_ref(target), args.reset, args.reason.as_deref()).await
}

/// Goes on with every target that is halted: what stopped them may have been one and the same.
async fn resume_all(scene: &Scene, reason: Option<&str>) -> Result<Exit, Fault> {
    let snapshots = scene.snapshots_of(&scene.selected(&[])?).await?;
    let halted = snapshots.into_iter().filter(|snapshot| snapshot.halt.is_some());
    let halted: Vec<TargetName> = halted.map(|snapshot| snapshot.target).collect();
    if halted.is_empty() {
        print_line("No target is halted.");
        return Ok(Exit::Well);
    }
    resume(scene, &halted, false, reason).await
}

/// Through the daemon, or without one; every target is asked, and every refusal told.
async fn resume(scene: &Scene, targets: &[TargetName], allow_reset: bool, reason: Option<&str>) -> Result<Exit, Fault> {
    let began = scene.now();
    let mut failed = None;
    if let Some(control) = scene.control().await? {
        for target in targets {
            tell(target, control.resume(target, allow_reset, reason).await, &mut failed);
        }
        return failed.map_or(Ok(Exit::Well), Err);
    }
    scene.start_logging("warn")?;
    let alone = Alone::start(scene, targets, "keywheel recover")?;
    let mut resumed = Vec::new();
    for target in targets {
        let wish = Wish::Resume { by: operator(), reason: reason.map(str::to_owned), allow_reset };
        let said = alone.command(target, wish).await;
        resumed.extend(said.is_ok().then(|| target.clone()));
        tell(target, said, &mut failed);
    }
    let exit = wait(scene, &resumed, began).await;
    alone.finish().await?;
    failed.map_or(exit, Err)
}

/// Prints the current password.
///
/// # Errors
/// When there is none, or the ledger cannot be opened.
pub async fn reveal(scene: &Scene, args: &args::Reveal) -> Result<Exit, Fault> {
    show(scene, &args.target, false, args.reason.as_deref()).await
}

/// Prints the current password, or every one that may be live.
async fn show(scene: &Scene, target: &TargetName, all: bool, reason: Option<&str>) -> Result<Exit, Fault> {
    let doubtful = !scene.snapshot_alone(target).await?.in_question().is_empty();
    let said = match scene.control().await? {
        Some(control) => control.reveal(target, all, reason).await?,
        None => {
            scene.start_logging("warn")?;
            let ledger = Arc::new(assemble::ledger(scene.config(), "keywheel at the command line")?);
            let tools = Tools { ledger, clock: scene.clock(), chance: Arc::new(SystemChance) };
            let reason = reason.map(str::to_owned);
            break_glass(&tools, target, Wish::Reveal { by: operator(), reason, all }).await?
        }
    };
    print_line(&said);
    if doubtful && !all {
        anstream::eprintln!("A newer password may be live already: `keywheel recover {target} --show` prints both.");
    }
    Ok(Exit::Well)
}

/// One wish, without a daemon.
async fn alone(scene: &Scene, target: &TargetName, wish: Wish) -> Result<String, Fault> {
    scene.start_logging("warn")?;
    let alone = Alone::only_to_obey(scene, std::slice::from_ref(target), "keywheel at the command line")?;
    let said = alone.command(target, wish).await;
    alone.finish().await?;
    said
}

/// The commands in its advice with the target's name.
fn for_target(fault: Fault, target: &TargetName) -> Fault {
    let advice = addressed(&fault.next_step, target);
    fault.advise(advice)
}

/// Before a password was taken in there is nothing to recover: what helps is another password.
fn refused(fault: Fault, target: &TargetName, place: &str) -> Fault {
    if fault.kind == Kind::LoginRefused && fault.next_step == fault.kind.next_step() {
        return fault.advise(format!(
            "nothing was taken in or changed. {place} does not hold today's password: find it, and run `keywheel adopt {target}` again"
        ));
    }
    for_target(fault, target)
}
