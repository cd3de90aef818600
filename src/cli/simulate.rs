//! `simulate`: the stand-in cloud alone.

use super::Exit;
use super::args;
use super::output::print_line;
use super::run::Signals;
use crate::fault::{Fault, Kind};
use crate::simulator::{self, InstanceSettings, Settings, Simulator};

/// What the made-up instance is called, and the password it begins with.
const INSTANCE: (&str, &str) = ("crs-demo0001", "Rehearsal-Passw0rd");

/// Runs until told to stop.
///
/// # Errors
/// When the world's file is wrong or the address cannot be used.
pub async fn simulate(args: args::Simulate) -> Result<Exit, Fault> {
    let mut signals = Signals::new()?;
    let mut settings = match &args.world {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Fault::new(Kind::Usage, format!("{} cannot be read: {error}", path.display())))?;
            toml::from_str::<Settings>(&text).map_err(|error| {
                Fault::new(Kind::Usage, format!("{} is not a world: {}", path.display(), error.message()))
            })?
        }
        None => Settings { instances: vec![InstanceSettings::new(INSTANCE.0, INSTANCE.1)], ..Settings::default() },
    };
    settings.listen = args.listen;
    let made_up = args.world.is_none();
    simulator::run(settings, |simulator| introduce(simulator, made_up), async move { signals.stop().await })
        .await
        .map_err(|error| Fault::new(Kind::Usage, format!("the stand-in cloud cannot run: {error}")))?;
    Ok(Exit::Well)
}

fn introduce(simulator: &Simulator, made_up: bool) {
    print_line(&format!("the stand-in cloud listens on {}", simulator.endpoint()));
    if let Some(login) = simulator.login_address(INSTANCE.0).filter(|_| made_up) {
        print_line(&format!("instance {} lets in {} at redis://{login}", INSTANCE.0, INSTANCE.1));
    }
    print_line("POST /_simulator/script takes faults, GET /_simulator/state shows what happened. Ctrl-C stops it.");
}
