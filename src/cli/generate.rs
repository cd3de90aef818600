//! `generate`: sample passwords and what they are worth.

use super::Exit;
use super::args;
use super::output::print_line;
use super::scene::Scene;
use crate::fault::{Fault, Kind};
use crate::password::{Policy, Profile};
use std::path::Path;

/// Prints samples; what they are worth goes to standard error, so that a pipe gets passwords only.
///
/// # Errors
/// When there is no such policy or profile.
pub fn generate(config: &Path, args: &args::Generate) -> Result<Exit, Fault> {
    let (policy, source) = match &args.policy {
        Some(name) => (Scene::read(config)?.policy(name)?, format!("policy {name}")),
        None => (profile(&args.profile)?, format!("profile {}", args.profile)),
    };
    for _ in 0..args.count {
        print_line(policy.sample(&mut rand::rng()).expose());
    }
    anstream::eprintln!("{source}: {} characters, {:.1} bits of entropy each", policy.length(), policy.entropy_bits());
    Ok(Exit::Well)
}

fn profile(name: &str) -> Result<Policy, Fault> {
    let profile: Profile = name
        .parse()
        .map_err(|unknown: crate::password::UnknownProfile| Fault::new(Kind::Usage, unknown.to_string()))?;
    Ok(profile.default_policy())
}
