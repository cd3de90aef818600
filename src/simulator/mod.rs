//! A stand-in for the Redis APIs of Tencent Cloud and Alibaba Cloud on a loopback port, which changes real passwords: for
//! `keywheel demo` and `keywheel simulate`, tests and benches.
//!
//! Both clouds answer on the same port; a request with an `x-acs-` header is meant for Alibaba's. Each knows only its own instances.
//! The clouds' token services, their secret stores and the metadata services of a machine answer there too.
//! Buckets, scripts and denials go by the action's name, and the few names that both clouds have count as one. It verifies signatures with its own code, keeps the published rules, quotas, locks and task lives, and does to a call whatever its
//! [`Step`]s say. Behind an instance stands a login listener of its own or a real Redis server.

mod accounts;
mod alibaba;
mod answer;
mod body;
mod cloud;
mod control;
mod dialect;
mod gateway;
mod head;
mod identity;
mod instance;
mod login;
mod metadata;
mod quota;
mod real_server;
mod resp;
mod script;
mod settings;
mod span;
mod stores;
mod sts;
mod tags;
mod task;
mod tencent;
mod time;

pub use accounts::{AccountSettings, Rights};
pub use control::{Change, InstanceChange};
pub use identity::{Handshake, MetadataSettings, RoleSettings};
pub use instance::{Applied, Reach};
pub use quota::Calls;
pub use script::{Fault, Garbage, Step};
pub use settings::{
    AlibabaSettings, Credential, InstanceSettings, PasswordPolicy, Quota, Server, Settings, StaleNodes, Tair,
    TaskSettings, Vendor,
};

pub use stores::{Kept, KeptVersion, Store};

use crate::fault::{self, Kind};
use cloud::Cloud;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// A running stand-in cloud. Dropping it closes its ports and ends its tasks.
pub struct Simulator {
    cloud: Arc<Cloud>,
    address: SocketAddr,
}

/// Runs a stand-in cloud until `shutdown` completes. `started` is told of it once it can be called.
///
/// # Errors
/// As [`Simulator::start`].
pub async fn run(
    settings: Settings,
    started: impl FnOnce(&Simulator),
    shutdown: impl Future<Output = ()>,
) -> Result<(), fault::Fault> {
    let simulator = Simulator::start(settings).await?;
    started(&simulator);
    shutdown.await;
    Ok(())
}

impl Simulator {
    /// Opens the API's port and those of the login listeners, and serves them on the current tokio runtime.
    ///
    /// # Errors
    /// Settings that cannot work (not a loopback address, no credential, an instance named twice), a port that cannot be had, or a
    /// real Redis server that does not take the password it is said to have.
    pub async fn start(settings: Settings) -> Result<Self, fault::Fault> {
        check(&settings)?;
        let listener = listen(settings.listen).await?;
        let address = listener.local_addr().map_err(|error| no_port(settings.listen, &error))?;
        let cloud = Arc::new(Cloud::new(settings));
        let simulator = Self { cloud, address };
        for instance in &simulator.cloud.settings.instances {
            simulator.open(instance).await?;
        }
        tokio::spawn(gateway::serve(Arc::clone(&simulator.cloud), listener));
        Ok(simulator)
    }

    async fn open(&self, instance: &InstanceSettings) -> Result<(), fault::Fault> {
        let (address, listener) = match &instance.server {
            Server::Nothing => return Ok(()),
            Server::Listener { address } => {
                let listener = listen(*address).await?;
                let bound = listener.local_addr().map_err(|error| no_port(*address, &error))?;
                (bound, Some(listener))
            }
            Server::Redis { address, user } => {
                if !instance.no_auth {
                    let known = real_server::prepare(*address, user, instance).await;
                    known.map_err(|error| {
                        fault::Fault::new(
                            Kind::LoginRefused,
                            format!("the server of {} does not take its password: {error}", instance.id),
                        )
                        .advise("start that server with this password, or correct the instance's settings")
                    })?;
                }
                (*address, None)
            }
        };
        let reach = self.cloud.state().instances.get_mut(&instance.id).map(|kept| {
            kept.login_address = Some(address);
            kept.reach.subscribe()
        });
        if let (Some(reach), Some(listener)) = (reach, listener) {
            login::serve(&self.cloud, &instance.id, listener, reach);
        }
        Ok(())
    }

    /// Where the API is: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The API's socket address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where an instance takes logins; `None` for an unknown one and for [`Server::Nothing`].
    pub fn login_address(&self, instance: &str) -> Option<SocketAddr> {
        self.cloud.state().instances.get(instance)?.login_address
    }

    /// Appends to what goes wrong.
    pub fn script(&self, steps: impl IntoIterator<Item = Step>) {
        self.cloud.state().script.append(steps.into_iter().collect());
    }

    /// How many steps of the script are still to come.
    pub fn steps_left(&self) -> usize {
        self.cloud.state().script.steps().len()
    }

    /// Changes the running cloud.
    ///
    /// # Errors
    /// An unknown instance, or a real Redis server that did not take a password set by hand.
    pub async fn change(&self, change: Change) -> Result<(), fault::Fault> {
        control::apply(&self.cloud, change).await.map_err(|why| {
            fault::Fault::new(Kind::Misconfigured, why).advise("name an instance of this simulator whose server runs")
        })
    }

    /// When each action was called, and when too often. The quota's use is a matter of counting these.
    pub fn calls(&self) -> BTreeMap<String, Calls> {
        self.cloud.state().buckets.calls()
    }

    /// How often each error code was answered.
    pub fn refusals(&self) -> BTreeMap<String, u64> {
        self.cloud.state().refusals.clone()
    }

    /// Every password an instance ever had, oldest first; the last one is live. Empty for an unknown instance.
    pub fn history(&self, instance: &str) -> Vec<Applied> {
        self.passwords_of(instance, None)
    }

    /// The same of an account beside the default one.
    pub fn account_history(&self, instance: &str, account: &str) -> Vec<Applied> {
        self.passwords_of(instance, Some(account))
    }

    fn passwords_of(&self, instance: &str, account: Option<&str>) -> Vec<Applied> {
        let state = self.cloud.state();
        let history = state.instances.get(instance).and_then(|instance| match account {
            Some(account) => instance.accounts.get(account),
            None => Some(instance.default_history()),
        });
        let applied = |password: &instance::Password| Applied { at: password.set.at, password: password.text.clone() };
        history.map(|history| history.iter().map(applied).collect()).unwrap_or_default()
    }

    /// Whether this password is the live one.
    pub fn accepts(&self, instance: &str, password: &str) -> bool {
        let state = self.cloud.state();
        let instance = state.instances.get(instance);
        instance.is_some_and(|instance| !instance.settings.no_auth && instance.live().expose() == password)
    }

    /// Whether this is the live password of an account beside the default one.
    pub fn account_accepts(&self, instance: &str, account: &str, password: &str) -> bool {
        let state = self.cloud.state();
        let history = state.instances.get(instance).and_then(|instance| instance.accounts.get(account));
        history.is_some_and(|history| history.live().expose() == password)
    }

    /// What an account of a Tencent instance may do, and how often that was changed.
    pub fn rights(&self, instance: &str, account: &str) -> Option<Rights> {
        self.cloud.state().instances.get(instance)?.rights.get(account).cloned()
    }

    /// How often password login was switched on or off through the API.
    pub fn auth_switches(&self, instance: &str) -> u64 {
        self.cloud.state().instances.get(instance).map_or(0, |instance| instance.auth_switches)
    }

    /// A secret of one of the clouds' stores.
    pub fn secret(&self, store: Store, name: &str) -> Option<Kept> {
        self.cloud.state().secrets.get(&(store, name.to_owned())).cloned()
    }

    /// Puts a secret there as somebody at the console would, or with `None` takes it away.
    pub fn set_secret(&self, store: Store, name: &str, kept: Option<Kept>) {
        let mut state = self.cloud.state();
        let key = (store, name.to_owned());
        match kept {
            Some(kept) => state.secrets.insert(key, kept),
            None => state.secrets.remove(&key),
        };
    }

    /// Drops what the script still has in store.
    pub fn clear_script(&self) {
        self.cloud.state().script.clear();
    }

    /// Everything but passwords, as `GET /_simulator/state` tells it.
    pub fn state(&self) -> serde_json::Value {
        control::state(&self.cloud)
    }

    /// How far the simulator's time has run; for tests that compare it with the moments above.
    pub fn uptime(&self) -> Duration {
        self.cloud.clock.uptime()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.cloud.stop.cancel();
    }
}

fn check(settings: &Settings) -> Result<(), fault::Fault> {
    let wrong = |what: String, next: &str| Err(fault::Fault::new(Kind::ConfigInvalid, what).advise(next));
    if settings.credentials.is_empty() {
        return wrong(
            "the simulator has no credential, so nobody could call it".to_owned(),
            "give it at least one secret-id and secret-key",
        );
    }
    let mut seen = std::collections::BTreeSet::new();
    for instance in &settings.instances {
        if instance.id.is_empty() || !seen.insert(instance.id.as_str()) {
            return wrong(
                format!("the simulator's instance {:?} is named twice or has no name", instance.id),
                "give each instance an id of its own",
            );
        }
    }
    for instance in &settings.instances {
        let mut taken = std::collections::BTreeSet::from([instance.default_account(), "default"]);
        if let Some(account) = instance.accounts.iter().find(|account| !taken.insert(account.name.as_str())) {
            return wrong(
                format!("the account {:?} of {} is named twice or like the default one", account.name, instance.id),
                "give each account a name of its own",
            );
        }
        if instance.is_redis_2_8() && !instance.accounts.is_empty() {
            return wrong(
                format!("{} has accounts beside its default one, which Redis 2.8 does not know", instance.id),
                "leave its accounts out, or choose another engine",
            );
        }
    }
    if let Some(role) =
        settings.roles.iter().find(|role| !["qcs::", "acs:"].iter().any(|begin| role.arn.starts_with(begin)))
    {
        return wrong(
            format!("{:?} is not the ARN of a role", role.arn),
            "begin it with qcs::cam::uin/ for Tencent Cloud or acs:ram:: for Alibaba Cloud",
        );
    }
    let servers = settings.instances.iter().filter_map(|instance| match &instance.server {
        Server::Listener { address } | Server::Redis { address, .. } => Some(*address),
        Server::Nothing => None,
    });
    match std::iter::once(settings.listen).chain(servers).find(|address| !address.ip().is_loopback()) {
        Some(address) => wrong(
            format!("the simulator speaks without TLS and {address} is not a loopback address"),
            "use an address in 127.0.0.0/8 or [::1]",
        ),
        None => Ok(()),
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, fault::Fault> {
    TcpListener::bind(address).await.map_err(|error| no_port(address, &error))
}

fn no_port(address: SocketAddr, error: &std::io::Error) -> fault::Fault {
    fault::Fault::new(Kind::Unreachable, format!("the simulator cannot listen on {address}: {error}"))
        .advise("choose another port, or port 0 for a free one")
}
