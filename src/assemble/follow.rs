//! What is followed, with its hands; and the application that it is followed for.

use super::{at, hooks};
use crate::config::{self, Config};
use crate::fault::{Fault, Kind};
use crate::follow::Followed;
use crate::follow::application::{Application, OnChange};
use crate::hook::signal::SIGNALS;
use rustix::process::Signal;
use std::ffi::OsString;
use std::sync::Arc;

/// Everything that is followed.
///
/// # Errors
/// The first thing that cannot be made, with the key it stands under.
pub fn followed(config: &Config) -> Result<Vec<Followed>, Fault> {
    let kit_hooks = super::made(&config.hooks, "hooks", |one| hooks::listener(config, one))?;
    let mut all = Vec::new();
    for (target, followed) in &config.follow {
        let source = super::sink(config, &followed.from).map_err(|fault| at("sinks", &followed.source, fault))?;
        let mut sinks = std::collections::BTreeMap::new();
        for (name, sink) in &followed.sinks {
            let made = super::sink(config, sink).map_err(|fault| at("sinks", name, fault))?;
            sinks.insert(name.clone(), made);
        }
        let hooks = followed.hooks.iter().map(|name| (name.clone(), Arc::clone(&kit_hooks[name].hook))).collect();
        all.push(Followed { target: target.clone(), source, every: followed.every, sinks, hooks });
    }
    Ok(all)
}

/// The application, as it is configured.
///
/// # Errors
/// `Bug` for a signal that is none.
pub fn application(follower: &config::Follower, words: Vec<OsString>) -> Result<Application, Fault> {
    Ok(Application {
        words,
        on_change: match follower.on_change {
            config::OnChange::Restart => OnChange::Restart,
            config::OnChange::Signal(name) => OnChange::Signal(signal(name)?),
            config::OnChange::Nothing => OnChange::Nothing,
        },
        stop_signal: signal(follower.stop_signal)?,
        stop_timeout: follower.stop_timeout,
        wait_at_most: follower.wait_at_most,
        withheld: follower.private_variables.clone(),
    })
}

fn signal(name: &str) -> Result<Signal, Fault> {
    let known = SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, signal)| *signal);
    known.ok_or_else(|| Fault::new(Kind::Bug, format!("there is no signal {name}")))
}
