//! `check`: everything that could fail during a rotation, tried without changing anything.

use super::Exit;
use super::args;
use super::look::look;
use super::output::{addressed, counted, print_line, print_table, table, wrapped};
use super::scene::Scene;
use crate::alert::Message;
use crate::assemble;
use crate::config::{self, Finding};
use crate::driver::{Account, Fleet, Target};
use crate::fault::{Fault, Kind};
use crate::hook::Listener;
use crate::ledger::sqlite::Reader;
use crate::name::{HookName, TargetName};
use crate::password::{PolicyProblem, Profile};
use crate::probe::Probe;
use crate::provider::Address;
use crate::rotation::answer::Login;
use crate::secret::Secret;
use futures_util::stream::{self, StreamExt};
use rustix::fs::Access;
use std::collections::BTreeMap;
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
    if config::load_either(config, std::env::vars_os()).is_ok_and(|loaded| !loaded.config.follow.is_empty()) {
        return super::follow::check(config, args.offline).await;
    }
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
    found.extend(try_channels(&scene, args.alerts).await);
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
    found.extend(ledger_files(scene).into_iter().flat_map(in_daemon));
    found.extend(assemble::entrance::tokens(scene.config()).err().into_iter().flat_map(in_daemon));
    found.extend(assemble::entrance::tls(scene.config()).err().into_iter().flat_map(in_daemon));
    found.extend(assemble::refuse_what_vanishes(scene.config()).err().into_iter().flat_map(in_daemon));
    let reader = match (found.is_empty() && scene.has_ledger()).then(|| assemble::unsealed_reader(scene.config())) {
        Some(Ok(reader)) => Some(reader),
        Some(Err(fault)) => {
            found.extend(in_daemon(fault));
            None
        }
        None => None,
    };
    let assemble::Made { fleet, left_out } = match assemble::fleet(scene.config(), scene.now()) {
        Ok(made) => made,
        Err(fault) => {
            found.extend(in_daemon(fault));
            return found;
        }
    };
    let chosen = left_out.into_iter().filter(|(name, _)| targets.contains(name));
    found.extend(chosen.map(|(name, fault)| Found { place: name.to_string(), fault }));
    worry(scene, targets, &fleet).await;
    let chosen = targets.iter().filter_map(|name| fleet.get(name));
    let hooks: BTreeMap<&HookName, &Listener> = chosen.flat_map(|target| &target.hands.hooks).collect();
    for (name, listener) in hooks {
        let fault = listener.hook.ready().await.err();
        found.extend(fault.map(|fault| Found { place: format!("hooks.{name}"), fault }));
    }
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

/// Whether each channel for alerts could be told, or takes a test message; and whether the dead-man URL could be called.
async fn try_channels(scene: &Scene, tell: bool) -> Vec<Found> {
    let mut found = Vec::new();
    // Why one cannot be made was found with the fleet.
    for (name, post) in assemble::alerts::posts(scene.config()).unwrap_or_default() {
        let message = Message {
            id: format!("test-{}", scene.now().millis()),
            at: scene.now(),
            host: assemble::alerts::host(),
            groups: Vec::new(),
        };
        let tried = if tell { post.channel.tell(&message).await } else { post.channel.ready().await };
        match tried {
            Ok(()) if tell => print_line(&format!("alerts.{name}: it took a test message")),
            Ok(()) => {}
            Err(fault) => found.push(Found { place: format!("alerts.{name}"), fault }),
        }
    }
    let dead_man = assemble::alerts::dead_man(scene.config()).and_then(|dead_man| dead_man.ready().err());
    found.extend(dead_man.map(|fault| Found { place: "watch.dead-man-url".to_owned(), fault }));
    found
}

/// Says what works now and will fail some day, once for each provider.
async fn worry(scene: &Scene, targets: &[TargetName], fleet: &Fleet) {
    let of_provider = |name| Some((scene.provider(name).ok()?, fleet.get(name)?));
    let providers: BTreeMap<_, _> = targets.iter().filter_map(of_provider).collect();
    for (name, target) in providers {
        for fault in target.hands.provider.worries().await {
            wrapped(&format!("warning: providers.{name}: {fault}"), 0)
                .iter()
                .for_each(|line| anstream::eprintln!("{line}"));
        }
    }
}

/// A ledger that does not exist yet needs a folder in which it can be made; one that exists, and its log beside it, must be writable too.
fn ledger_files(scene: &Scene) -> Option<Fault> {
    let config::LedgerUrl::Sqlite(path) = &scene.config().daemon.ledger;
    let denied = |what: &str, path: &Path, access| {
        let error = rustix::fs::access(path, access)
            .err()
            .filter(|error| *error != rustix::io::Errno::NOENT || what == "folder")?;
        let what = format!("the ledger's {what} {} cannot be written: {error}", path.display());
        Some(Fault::new(Kind::LedgerUnusable, what))
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut log = path.clone().into_os_string();
    log.push("-wal");
    denied("folder", folder, Access::WRITE_OK | Access::EXEC_OK)
        .or_else(|| denied("file", path, Access::WRITE_OK))
        .or_else(|| denied("log", Path::new(&log), Access::WRITE_OK))
}

async fn try_target(target: &Target, reader: Option<&Reader>, scene: &Scene) -> Vec<Fault> {
    let mut faults = Vec::new();
    let passwords = passwords(target, reader, scene).await;
    for account in &target.accounts {
        let name = target.name_of(account);
        let known = passwords.iter().flatten().filter(|(of, _)| *of == name).map(|(_, password)| password);
        for fault in target.hands.provider.check_with(&account.address, &known.collect::<Vec<_>>()).await {
            // What is wrong with the instance is found with each account, and told once.
            if !faults.contains(&fault) {
                faults.push(fault);
            }
        }
    }
    if faults.is_empty() {
        faults.extend(try_policy(target).await);
    }
    for sink in target.hands.sinks.values() {
        faults.extend(sink.ready(&target.name).await.err());
    }
    if let Some(consumer) = &target.hands.consumer {
        faults.extend(consumer.uses().await.err());
    }
    match passwords {
        Ok(passwords) => {
            for account in &target.accounts {
                faults.extend(try_account(target, account, &passwords).await);
            }
        }
        Err(fault) => faults.push(fault),
    }
    faults
}

/// Whether this instance takes the passwords that would be drawn for it: its engine and its own password policy may be stricter than the profile.
async fn try_policy(target: &Target) -> Option<Fault> {
    let Address { instance: id, .. } = &target.accounts.first()?.address;
    // What it cannot say was found before.
    let instance = target.hands.provider.inspect(&target.accounts.first()?.address).await.ok()?;
    let profile = Profile::of_engine(&instance.engine).unwrap_or(target.hands.profile);
    let refused = |what: String, problems: Vec<PolicyProblem>| {
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Fault::new(Kind::RuleViolated, format!("{what}: {}", said.join("; ")))
    };
    if let Err(problems) = profile.accepts_policy(&target.hands.policy) {
        let what = format!("instance {id} is {} and takes no password of this policy", instance.engine.to_uppercase());
        let next = format!("set profile = \"{profile}\" for this target, and a policy that fits it or none");
        return Some(refused(what, problems).advise(next));
    }
    let problems = profile.tightened(&target.hands.policy, instance.password_policy?.into()).err()?;
    Some(refused(format!("the policy and the own password policy of instance {id} cannot both be met"), problems))
}

/// The passwords that may be live on this account: one should be let in.
async fn try_account(target: &Target, account: &Account, passwords: &Passwords) -> Option<Fault> {
    let name = target.name_of(account);
    let ours: Vec<Secret> =
        passwords.iter().filter(|(of, _)| *of == name).map(|(_, password)| password.clone()).collect();
    let settings = &target.settings;
    let is_active = account.address == target.accounts[0].address || passwords.len() > 1;
    match &account.probe {
        // Its first password comes from a reset.
        _ if ours.is_empty() && settings.may_take_over() => None,
        // The change of a resting account may not ask for its old password.
        _ if ours.is_empty() && !is_active && !settings.abilities.asks_old => None,
        _ if ours.is_empty() => {
            let (whose, option) = match &name {
                None => (String::new(), String::new()),
                Some(name) => (format!(" of {name}"), format!(" --account {name}")),
            };
            let next = format!("run `keywheel adopt {}{option}`, or say in the configuration where it is", target.name);
            Some(
                Fault::new(Kind::SecretUnreadable, format!("the password{whose} that works today is not known"))
                    .advise(next),
            )
        }
        Some(probe) => try_logins(probe.as_ref(), &ours).await,
        None => None,
    }
}

/// Passwords that may be live, the newest first, each with the account it opens where a target has two.
type Passwords = Vec<(Option<String>, Secret)>;

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

/// What may be live, the newest first: the current password, the former one and, while a rotation is open, its candidate. Before adoption, those the
/// configuration refers to.
async fn passwords(target: &Target, reader: Option<&Reader>, scene: &Scene) -> Result<Passwords, Fault> {
    let snapshot = match reader {
        Some(_) => Some(scene.snapshot(&target.name).await?),
        None => None,
    };
    let mut passwords = Passwords::new();
    if let (Some(reader), Some(snapshot)) = (reader, &snapshot) {
        for &generation in snapshot.candidates.iter().rev() {
            let account = snapshot.opens.get(&generation).cloned();
            passwords.push((account, reader.password(&target.name, generation).await?));
        }
    }
    let references = [&target.hands.adopt, &target.hands.adopt_resting];
    for (account, reference) in target.accounts.iter().zip(references) {
        let name = target.name_of(account);
        if !passwords.iter().any(|(of, _)| *of == name) {
            passwords.extend(reference().await.transpose()?.map(|adoptable| (name, adoptable.password)));
        }
    }
    Ok(passwords)
}
