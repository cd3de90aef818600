//! `simulate`: the stand-in cloud alone.

use super::Exit;
use super::args;
use super::output::print_line;
use super::run::Signals;
use crate::fault::{Fault, Kind};
use crate::secret::Secret;
use crate::simulator::{self, Credential, InstanceSettings, MetadataSettings, Server, Settings, Simulator};
use std::net::{Ipv4Addr, SocketAddr};

/// What the made-up instance is called, and the password it begins with.
const INSTANCE: (&str, &str) = ("crs-demo0001", "Rehearsal-Passw0rd");

/// The made-up API key. It opens nothing but this stand-in.
const CREDENTIAL: (&str, &str) = ("AKID-rehearsal", "rehearsal-secret-key");

/// The role that is bound to the made-up machine.
const ROLE: &str = "rehearsal";

/// Where the API and the made-up instance's logins are by default; `config/demo.toml` expects them there.
const PORTS: (u16, u16) = (9470, 9471);

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
        None => made_up(),
    };
    settings.listen = args.listen.unwrap_or(settings.listen);
    let made_up = args.world.is_none();
    simulator::run(settings, |simulator| introduce(simulator, made_up), async move { signals.stop().await })
        .await
        .map_err(|error| Fault::new(Kind::Usage, format!("the stand-in cloud cannot run: {error}")))?;
    Ok(Exit::Well)
}

/// A cloud with one key and one instance.
fn made_up() -> Settings {
    let (api, login) = PORTS;
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut instance = InstanceSettings::new(INSTANCE.0, INSTANCE.1);
    instance.server = Server::Listener { address: local(login) };
    let credential = Credential {
        secret_id: CREDENTIAL.0.to_owned(),
        secret_key: Secret::new(CREDENTIAL.1.to_owned()),
        token: None,
    };
    let metadata = MetadataSettings { role: Some(ROLE.to_owned()), ..MetadataSettings::default() };
    Settings {
        listen: local(api),
        credentials: vec![credential],
        instances: vec![instance],
        metadata,
        ..Settings::default()
    }
}

fn introduce(simulator: &Simulator, made_up: bool) {
    print_line(&format!("the stand-in cloud listens on {}", simulator.endpoint()));
    if let Some(login) = simulator.login_address(INSTANCE.0).filter(|_| made_up) {
        print_line(&format!("instance {} at redis://{login} has the password {}", INSTANCE.0, INSTANCE.1));
        print_line("its key, for a provider with credentials = { source = \"environment\" }:");
        print_line(&format!(
            "  export TENCENTCLOUD_SECRET_ID={} TENCENTCLOUD_SECRET_KEY={}",
            CREDENTIAL.0, CREDENTIAL.1
        ));
        print_line("or, for one without a key, as on a machine of the cloud that has a role:");
        print_line(&format!(
            "  credentials = {{ source = \"instance-role\", metadata-endpoint = \"{}\" }}",
            simulator.endpoint()
        ));
    }
    print_line("POST /_simulator/script takes faults, GET /_simulator/state shows what happened. Ctrl-C stops it.");
}
