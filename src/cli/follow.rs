//! `follow`: no rotation; what a rotator delivered elsewhere is rendered here, for an application that may be this process's child.

use super::Exit;
use super::args;
use super::output::{counted, print_line};
use crate::assemble;
use crate::chance::SystemChance;
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Config};
use crate::fault::{Fault, Kind};
use crate::follow::application::{Application, Signals, stops};
use crate::follow::{Follower, State};
use crate::moment::show_span;
use crate::systemd;
use crate::telemetry;
use rustix::process::Signal;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How often the line for `systemctl status` is written while something is wrong: an age grows.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// Follows until told to stop, or until the application ends.
///
/// # Errors
/// What keeps it from starting: the configuration, the application.
pub async fn follow(path: &Path, args: args::Follow) -> Result<Exit, Fault> {
    let mut signals = Signals::listen()?;
    let config::Loaded { config, warnings } = read(path)?;
    start_logging(&config)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if args.once {
        return once(&config).await;
    }
    let following = Following::begin(&config)?;
    if args.application.is_empty() {
        return alone(path, following, &mut signals).await;
    }
    let mut application = assemble::follow::application(&config.follower, args.application)?;
    application.wait_at_most = args.wait_at_most.or(application.wait_at_most);
    with(&application, following, &mut signals).await
}

/// The configuration of a follower.
fn read(path: &Path) -> Result<config::Loaded, Fault> {
    let loaded = config::load_either(path, std::env::vars_os())
        .map_err(|findings| Fault::report(Kind::ConfigInvalid, findings.to_string()))?;
    if loaded.config.follow.is_empty() {
        let what = format!("{} has nothing to follow", path.display());
        return Err(Fault::new(Kind::ConfigInvalid, what)
            .advise("write a [follow.NAME] with source and sinks; NAME is the target's, as its rotator calls it"));
    }
    Ok(loaded)
}

fn start_logging(config: &Config) -> Result<(), Fault> {
    let filter = std::env::var(telemetry::FILTER_VARIABLE).ok();
    let form = match config.follower.log {
        config::LogForm::Human => telemetry::LogForm::Human,
        config::LogForm::Json => telemetry::LogForm::Json,
    };
    telemetry::start(form, "info", filter.as_deref())
}

/// Followers at work, for as long as this lives.
struct Following {
    states: Vec<watch::Receiver<State>>,
    _stop: DropGuard,
}

impl Following {
    fn begin(config: &Config) -> Result<Self, Fault> {
        let stop = CancellationToken::new();
        let mut states = Vec::new();
        for followed in assemble::follow::followed(config)? {
            let follower = Follower::new(followed, Arc::new(SystemClock), Arc::new(SystemChance));
            states.push(follower.state());
            tokio::spawn(follower.run(stop.clone()));
        }
        tokio::spawn(tell_systemd(states.clone(), stop.clone()));
        Ok(Self { states, _stop: stop.drop_guard() })
    }

    async fn usable(&mut self) {
        for state in &mut self.states {
            // A follower ends only with this process.
            let _ended = state.wait_for(|state| state.usable).await;
        }
    }
}

/// Without an application: a hang-up reads the configuration again.
async fn alone(path: &Path, mut following: Following, signals: &mut Signals) -> Result<Exit, Fault> {
    tracing::info!(targets = following.states.len(), version = env!("CARGO_PKG_VERSION"), "keywheel follows");
    let mut ready = false;
    loop {
        tokio::select! {
            () = following.usable(), if !ready => {
                ready = true;
                systemd::ready();
            }
            signal = signals.next() => {
                if stops(signal) {
                    tracing::info!("stopping");
                    systemd::stopping();
                    return Ok(Exit::Well);
                }
                if signal != Signal::HUP {
                    continue;
                }
                systemd::reloading();
                match read(path).and_then(|loaded| Following::begin(&loaded.config)) {
                    Ok(renewed) => {
                        following = renewed;
                        tracing::info!(targets = following.states.len(), "the configuration was read again");
                    }
                    Err(fault) => tracing::error!(%fault, "the new configuration is refused; the old one stays"),
                }
                systemd::ready();
            }
        }
    }
}

/// As the parent of an application.
async fn with(application: &Application, mut following: Following, signals: &mut Signals) -> Result<Exit, Fault> {
    let status = application.run(&mut following.states, signals, systemd::ready).await?;
    Ok(Exit::Passed(status))
}

/// One look at everything.
async fn once(config: &Config) -> Result<Exit, Fault> {
    let mut exit = Exit::Well;
    for mut followed in assemble::follow::followed(config)? {
        let hooks = std::mem::take(&mut followed.hooks);
        let mut follower = Follower::new(followed, Arc::new(SystemClock), Arc::new(SystemChance));
        let looked = follower.look().await;
        let state = follower.state().borrow().clone();
        for (name, hook) in hooks {
            let Some(notice) = follower.notice() else { break };
            if let Err(fault) = hook.tell(notice).await {
                tracing::warn!(hook = %name, %fault, "the hook failed");
                exit = exit.max(Exit::Attention);
            }
        }
        print_line(&state.line(SystemClock.now()));
        exit = exit.max(match (looked.is_ok(), state.usable) {
            (true, _) => Exit::Well,
            (false, true) => Exit::Attention,
            (false, false) => Exit::Halted,
        });
    }
    Ok(exit)
}

/// Keeps the line for `systemctl status`.
async fn tell_systemd(states: Vec<watch::Receiver<State>>, stop: CancellationToken) {
    loop {
        let now = SystemClock.now();
        let all: Vec<State> = states.iter().map(|state| state.borrow().clone()).collect();
        let line = match all.iter().find(|state| state.trouble.is_some()) {
            Some(state) => state.line(now),
            None => format!("{} followed", counted(all.len(), "target")),
        };
        systemd::status(&line);
        if systemd::watchdog_interval().is_some() {
            systemd::keep_alive();
        }
        let pause = systemd::watchdog_interval().map_or(STATUS_EVERY, |watched| watched.min(STATUS_EVERY));
        tokio::select! {
            () = stop.cancelled() => return,
            () = SystemClock.sleep(pause) => {}
        }
    }
}

/// `check` for a follower: each source is read, each sink would take a write, each hook could be told. One line for each thing that would fail.
pub(super) async fn check(path: &Path, offline: bool) -> Result<Exit, Fault> {
    let config::Loaded { config, warnings } = read(path)?;
    for warning in warnings {
        anstream::eprintln!("warning: {warning}");
    }
    let many = counted(config.follow.len(), "followed target");
    if offline {
        print_line(&format!("{}: {many}, nothing wrong with the configuration", path.display()));
        return Ok(Exit::Well);
    }
    let mut found = 0;
    let mut say = |place: String, fault: Fault| {
        found += 1;
        print_line(&format!("{place}: {fault}"));
    };
    for followed in assemble::follow::followed(&config)? {
        let target = &followed.target;
        match followed.source.copy(target).await {
            Ok(Some(document)) => print_line(&format!(
                "{target}: generation {} in {}, looked at every {}",
                document.generation,
                followed.source.place(),
                show_span(followed.every)
            )),
            Ok(None) => {
                let what = format!("{} holds no password of {target} yet", followed.source.place());
                let fault = Fault::new(Kind::SecretUnreadable, what);
                say(format!("follow.{target}"), fault.advise("let the rotator deliver it there"));
            }
            Err(fault) => say(format!("follow.{target}"), fault),
        }
        for (name, sink) in &followed.sinks {
            if let Err(fault) = sink.ready(target).await {
                say(format!("sinks.{name}"), fault);
            }
        }
        for (name, hook) in &followed.hooks {
            if let Err(fault) = hook.ready().await {
                say(format!("hooks.{name}"), fault);
            }
        }
    }
    match found {
        0 => print_line(&format!("{many} checked: nothing would fail. Nothing was changed.")),
        _ => print_line(&format!("{}. Nothing was changed.", counted(found, "finding"))),
    }
    Ok(if found == 0 { Exit::Well } else { Exit::Attention })
}

/// What has to be done before this process has threads: being the application, or the first process of a container. `None` where it is neither.
///
/// # Errors
/// When the first process cannot start its child.
pub fn before_all(args: &args::Follow) -> Option<Result<Exit, Fault>> {
    if let Some(parent) = args.become_application_of {
        return Some(Ok(Exit::Passed(crate::follow::application::become_it(parent, &args.application))));
    }
    if !crate::follow::init::is_first() {
        return None;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Some(match runtime {
        Ok(runtime) => runtime.block_on(crate::follow::init::run()).map(Exit::Passed),
        Err(error) => Err(Fault::new(Kind::Bug, format!("the runtime cannot be started: {error}"))),
    })
}
