//! `adopt`, `recover` and `reveal`: what a person does by hand. Each use is in the record.

use super::Exit;
use super::alone::Alone;
use super::args;
use super::output::print_line;
use super::prompt;
use super::rotate::wait;
use super::scene::{Scene, operator};
use crate::driver::Wish;
use crate::fault::{Fault, Kind};
use crate::name::TargetName;
use crate::secret::Secret;
use std::path::Path;

/// Takes in the password that works today.
///
/// # Errors
/// When it cannot be read or proven, or one was taken in before.
pub async fn adopt(scene: &Scene, args: &args::Adopt) -> Result<Exit, Fault> {
    scene.settings(&args.target)?;
    let password = match &args.from {
        Some(path) => from_file(path)?,
        None => prompt::password(format!("Today's password of {}", args.target)).await?,
    };
    let said = match scene.control().await? {
        Some(control) => control.adopt(&args.target, &password, args.account.as_deref()).await?,
        None => {
            let account = args.account.clone();
            alone(scene, &args.target, Wish::Adopt { by: operator(), password, account }).await?
        }
    };
    print_line(&format!("{}: {said}; nothing was changed", args.target));
    Ok(Exit::Well)
}

/// Helps a target that needs a person.
///
/// # Errors
/// When the target does not need what is asked for, or it cannot be done.
pub async fn recover(scene: &Scene, args: &args::Recover) -> Result<Exit, Fault> {
    let target = &args.target;
    if args.show {
        let snapshot = scene.snapshot(target).await?;
        print_line(&format!("{target}: {}", snapshot.why));
        return reveal(scene, target, true).await;
    }
    let began = scene.now();
    if args.set {
        let password = prompt::password(format!("The password of {target} that works")).await?;
        let said = match scene.control().await? {
            Some(control) => control.replace(target, &password, args.account.as_deref()).await?,
            None => {
                let account = args.account.clone();
                alone(scene, target, Wish::Replace { by: operator(), password, account }).await?
            }
        };
        print_line(&format!("{target}: {said}"));
        return Ok(Exit::Well);
    }
    match scene.control().await? {
        Some(control) => {
            let said = control.resume(target, args.reset).await?;
            print_line(&format!("{target}: {said}"));
            Ok(Exit::Well)
        }
        None => {
            scene.start_logging("warn")?;
            let alone = Alone::start(scene, std::slice::from_ref(target), "keywheel recover")?;
            let said = alone.command(target, Wish::Resume { by: operator(), allow_reset: args.reset }).await;
            let exit = match said {
                Ok(said) => {
                    print_line(&format!("{target}: {said}"));
                    wait(scene, std::slice::from_ref(target), began).await
                }
                Err(fault) => Err(fault),
            };
            alone.finish().await?;
            exit
        }
    }
}

/// Prints the current password, or every one that may be live.
///
/// # Errors
/// When there is none, or the ledger cannot be opened.
pub async fn reveal(scene: &Scene, target: &TargetName, all: bool) -> Result<Exit, Fault> {
    let doubtful = !scene.snapshot(target).await?.in_question().is_empty();
    let said = match scene.control().await? {
        Some(control) => control.reveal(target, all).await?,
        None => alone(scene, target, Wish::Reveal { by: operator(), all }).await?,
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
    let alone = Alone::start(scene, std::slice::from_ref(target), "keywheel at the command line")?;
    let said = alone.command(target, wish).await;
    alone.finish().await?;
    said
}

fn from_file(path: &Path) -> Result<Secret, Fault> {
    crate::config::SecretRef::File(path.to_owned())
        .read(&|name| std::env::var(name).ok())
        .map_err(|fault| Fault { kind: Kind::SecretUnreadable, ..fault })
}
