//! `check`: everything that could fail during a rotation, tried without changing anything.

use super::Exit;
use super::args;
use super::look::look;
use super::output::{addressed, counted, print_line, print_table, table, wrapped};
use super::scene::Scene;
use crate::assemble;
use crate::config::Finding;
use crate::driver::Target;
use crate::fault::{Fault, Kind};
use crate::ledger::sqlite::Reader;
use crate::name::TargetName;
use crate::probe::Probe;
use crate::rotation::answer::Login;
use crate::secret::Secret;
use futures_util::stream::{self, StreamExt};
use std::path::Path;

/// How many targets are tried at the same time.
const AT_ONCE: usize = 16;

fn warn(warning: &Finding) {
    wrapped(&format!("warning: {warning}"), 0).iter().for_each(|line| anstream::eprintln!("{line}"));
}

/// What to do, with the target's name in the commands.
fn advice(place: &str, fault: &Fault) -> String {
    place.parse().map_or_else(|_| fault.next_step.clone(), |target| addressed(&fault.next_step, &target))
}

/// Something that would fail, and where.
struct Found {
    place: String,
    fault: Fault,
}

/// Tries everything.
///
/// # Errors
/// When the configuration cannot be read at all.
pub async fn check(config: &Path, args: &args::Check) -> Result<Exit, Fault> {
    let mut scene = Scene::read(config)?;
    if args.offline {
        let targets = scene.selected(&args.targets)?;
        scene.warnings().iter().chain(scene.left_out()).for_each(warn);
        print_line(&format!(
            "{}: {}, nothing wrong with the configuration",
            config.display(),
            counted(targets.len(), "target")
        ));
        return Ok(Exit::Well);
    }
    let looked = if scene.config().selections.is_empty() { Vec::new() } else { look(&mut scene).await };
    let targets = scene.selected(&args.targets)?;
    scene.timely_warnings().await.into_iter().chain(scene.left_out()).for_each(warn);
    let mut found: Vec<Found> = looked.into_iter().map(|(place, fault)| Found { place, fault }).collect();
    found.extend(find(&scene, &targets).await);
    if found.is_empty() {
        print_line(&format!("{} checked: nothing would fail. Nothing was changed.", counted(targets.len(), "target")));
        return Ok(Exit::Well);
    }
    let mut rows = table(["WHERE", "WHAT WOULD FAIL", "WHAT TO DO"]);
    for Found { place, fault } in &found {
        rows.add_row(vec![place.clone(), fault.what.clone(), advice(place, fault)]);
    }
    print_table(&rows);
    print_line("");
    print_line(&format!("{}. Nothing was changed.", counted(found.len(), "finding")));
    Ok(Exit::Attention)
}

async fn find(scene: &Scene, targets: &[TargetName]) -> Vec<Found> {
    let in_daemon = |fault| vec![Found { place: "daemon".to_owned(), fault }];
    let mut found = match assemble::sealing_key(&scene.config().daemon.sealing_key) {
        Ok(_) => Vec::new(),
        Err(fault) => in_daemon(fault),
    };
    found.extend(ledger_folder(scene).into_iter().flat_map(in_daemon));
    let reader = match (found.is_empty() && scene.has_ledger()).then(|| assemble::unsealed_reader(scene.config())) {
        Some(Ok(reader)) => Some(reader),
        Some(Err(fault)) => {
            found.extend(in_daemon(fault));
            None
        }
        None => None,
    };
    let fleet = match assemble::fleet(scene.config(), scene.now()) {
        Ok(fleet) => fleet,
        Err(fault) => {
            found.extend(in_daemon(fault));
            return found;
        }
    };
    let reader = reader.as_ref();
    let tried = stream::iter(targets.iter().filter_map(|name| fleet.get(name)))
        .map(|target| async move {
            let faults = try_target(target, reader, scene).await;
            faults.into_iter().map(|fault| Found { place: target.name.to_string(), fault }).collect::<Vec<Found>>()
        })
        .buffered(AT_ONCE);
    found.extend(tried.collect::<Vec<_>>().await.into_iter().flatten());
    found
}

/// A ledger that does not exist yet needs a folder in which it can be made.
fn ledger_folder(scene: &Scene) -> Option<Fault> {
    let crate::config::LedgerUrl::Sqlite(path) = &scene.config().daemon.ledger;
    let folder = path.parent().unwrap_or(Path::new("/"));
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).err().map(|error| {
        Fault::new(Kind::LedgerUnusable, format!("the ledger's folder {} cannot be written: {error}", folder.display()))
    })
}

async fn try_target(target: &Target, reader: Option<&Reader>, scene: &Scene) -> Vec<Fault> {
    let mut faults = target.hands.provider.check(&target.address).await;
    for sink in target.hands.sinks.values() {
        faults.extend(sink.ready(&target.name).await.err());
    }
    match (passwords(target, reader, scene).await, &target.hands.probe) {
        (Ok(passwords), _) if passwords.is_empty() => faults.push(
            Fault::new(Kind::SecretUnreadable, "the password that works today is not known")
                .advise(format!("run `keywheel adopt {}`, or set `adopt` in the configuration", target.name)),
        ),
        (Ok(passwords), Some(probe)) => faults.extend(try_logins(probe.as_ref(), &passwords).await),
        (Ok(_), None) => {}
        (Err(fault), _) => faults.push(fault),
    }
    faults
}

/// One of these should be let in. What the last one, current, met is told.
async fn try_logins(probe: &dyn Probe, passwords: &[Secret]) -> Option<Fault> {
    let route = probe.route();
    let mut met = None;
    for password in passwords {
        met = match probe.login(password).await {
            Login::Accepted => return None,
            Login::Refused => {
                let which = if passwords.len() > 1 {
                    "each password that may be live"
                } else {
                    "the password that keywheel takes for current"
                };
                Some(Fault::new(Kind::LoginRefused, format!("{route} refuses {which}")))
            }
            Login::Mixed => {
                Some(Fault::new(Kind::LoginRefused, format!("nodes behind {route} disagree about the password")))
            }
            Login::PasswordFree => {
                Some(Fault::new(Kind::PasswordFree, format!("{route} lets anybody in without a password")))
            }
            Login::Unreachable { fault } => Some(fault),
        };
    }
    met
}

/// What may be live, the newest first: the current password and, while a rotation is open, its candidate. Before adoption, the one the
/// configuration refers to.
async fn passwords(target: &Target, reader: Option<&Reader>, scene: &Scene) -> Result<Vec<Secret>, Fault> {
    let Some(reader) = reader else {
        return Ok((target.hands.adopt)().transpose()?.into_iter().collect());
    };
    let generations = scene.snapshot(&target.name).await?.candidates;
    if generations.is_empty() {
        return Ok((target.hands.adopt)().transpose()?.into_iter().collect());
    }
    let mut passwords = Vec::with_capacity(generations.len());
    for &generation in generations.iter().rev() {
        passwords.push(reader.password(&target.name, generation).await?);
    }
    Ok(passwords)
}
