//! Redis and Valkey of one's own: the nodes are asked themselves, as an administrator.
//!
//! **What changes a password.** `ACL SETUSER`, on every node, since users are each node's own and no node tells another one. Passwords are sent
//! as SHA-256, so none shows in a slow log. `#new` adds one (strategy `overlap`), `!old` takes one away; in place both go in one command, which the server
//! applies whole or not at all, and refuses when the old one is not there. A user is never created. Where a server has one password (before Redis 6,
//! or the default user's `requirepass` without a file of users) that setting is changed.
//!
//! **Before anything changes** every node is reached, logged in to and looked at, and its file is written once as it is: a file that cannot be
//! written is found while there is nothing to lose. After it, each node is looked at again and saves.
//!
//! **What is evidence.** A login on every node. The hashes that a node shows are never kept: a weak password could be guessed from them.
//!
//! **`masterauth`**, where it is this account's password, moves with it (in place: in the same call; with two passwords: when the old one goes).
//! Sentinel's `auth-pass` is not touched.

mod answer;
mod check;
mod clients;
pub mod credentials;
mod edit;
mod look;
mod node;
mod persist;
mod topology;

pub use persist::Persist;
pub use topology::NODES_LIMIT;

use self::credentials::{Admin, Login};
use self::edit::{DEFAULT_USER, Edit, Intent, decide};
use self::look::Look;
use self::node::{Node, in_time};
use self::persist::{Saving, saving};
use super::{Abilities, Address, Client, Instance, Mode, Provider, without_old};
use crate::fault::{Fault, Kind};
use crate::moment::Moment;
use crate::name::{RotationId, TaskId};
use crate::resp::{Place, Route};
use crate::rotation::answer::{Answer, Refusal, TaskStatus};
use crate::secret::Secret;
use async_trait::async_trait;
use futures_util::future::join_all;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

/// The account of a target that names none: the user that a password alone logs in.
pub const DEFAULT_ACCOUNT: &str = DEFAULT_USER;

/// Which nodes there are beside those in the settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Discover {
    /// None.
    #[default]
    None,
    /// The nodes that the cluster knows take the place of the configured ones, which only say where to ask.
    Cluster,
    /// The masters and replicas that the configured nodes name, and those that these name.
    Replicas,
}

/// What makes a provider.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// Addresses such as `redis://10.0.0.12:6379`, or `rediss://` for TLS.
    pub nodes: Vec<String>,
    /// How others are found.
    pub discover: Discover,
    /// How a change outlives a restart.
    pub persist: Persist,
    /// How long a node may take for each of the two halves of a call: everything before the change, and everything from it on.
    pub timeout: Duration,
    /// Certificates (PEM) to trust instead of the machine's.
    pub ca_file: Option<PathBuf>,
    /// The name in the nodes' certificates, where it is not each one's host.
    pub tls_name: Option<String>,
}

/// The nodes of one instance, and who administers them.
pub struct RedisAcl {
    settings: RedisSettings,
    admin: Admin,
    seeds: Vec<Route>,
    /// What was found last.
    seen: Mutex<Option<Vec<Route>>>,
}

/// A node that is ready to be changed, and what it showed.
struct Ready {
    node: Node,
    look: Look,
}

impl RedisAcl {
    /// A provider with these settings. Reads the certificate authorities for `rediss://`.
    ///
    /// # Errors
    /// `ConfigInvalid`.
    pub fn new(settings: RedisSettings, admin: Admin) -> Result<Self, Fault> {
        let invalid = |what: String| Fault::new(Kind::ConfigInvalid, what);
        if settings.nodes.is_empty() || settings.nodes.len() > NODES_LIMIT {
            return Err(invalid(format!("nodes names {} nodes: name 1 to {NODES_LIMIT}", settings.nodes.len())));
        }
        if settings.timeout.is_zero() {
            return Err(invalid("timeout is zero: no node could ever answer".to_owned()));
        }
        let mut seeds: Vec<Route> = Vec::with_capacity(settings.nodes.len());
        for node in &settings.nodes {
            let place = Place::parse(node).map_err(invalid)?;
            let (ca, name) = (settings.ca_file.as_deref(), settings.tls_name.as_deref());
            // Nodes share the authorities that the first one read.
            let shared = seeds.iter().find(|seed| seed.place().tls == place.tls);
            let route = match shared.and_then(|seed| seed.towards(place.clone(), name)) {
                Some(route) => route,
                None => Route::new(place, ca, name).map_err(|wrong| invalid(wrong.join("; ")))?,
            };
            seeds.push(route);
        }
        Ok(Self { settings, admin, seeds, seen: Mutex::default() })
    }

    /// Which evidence there is for an address: none but logins. An account that administers itself cannot be reset, for who knows none of its passwords
    /// cannot get in. Adding a password compares nothing; replacing one does.
    #[must_use]
    pub const fn abilities_of(address: &Address, administers_itself: bool) -> Abilities {
        Abilities {
            task_status: false,
            task_list: false,
            change_mark: false,
            reset: !administers_itself,
            each_node: true,
            asks_old: matches!(address.mode, Mode::OldPassword),
        }
    }

    /// Every node, logged in to and looked at. Two addresses of one server count once.
    async fn ready(&self, address: &Address, login: &Login) -> Result<Vec<Ready>, Vec<Fault>> {
        let routes = self.topology(login).await.map_err(|fault| vec![fault])?;
        let looks = routes.into_iter().map(|route| async move {
            in_time(self.settings.timeout, &route.place().to_string(), async {
                let mut node = Node::open(&route, login).await?;
                let look = node.look(&address.account).await?;
                Ok(Ready { node, look })
            })
            .await
        });
        let (mut ready, mut faults, mut known) = (Vec::new(), Vec::new(), BTreeSet::new());
        for look in join_all(looks).await {
            match look {
                Ok(found) if known.insert(found.look.run_id.clone()) || found.look.run_id.is_empty() => {
                    ready.push(found)
                }
                Ok(_) => {}
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(ready) } else { Err(faults) }
    }

    /// One intent on every node: all of them are made ready first, and nothing is changed unless all are.
    async fn everywhere(&self, address: &Address, intent: Intent<'_>) -> Answer {
        let login = match self.admin.login(address, &intent.own()).await {
            Ok(login) => login,
            Err(fault) => return answer::not_begun(vec![fault]),
        };
        let ready = match self.ready(address, &login).await {
            Ok(ready) => ready,
            Err(faults) => return answer::not_begun(faults),
        };
        let account = address.account.as_str();
        let planned = ready.into_iter().map(|Ready { mut node, look }| async move {
            let edit = decide(&look, account, intent)?;
            let saving = saving(&look, &edit, self.settings.persist)?;
            let limit = self.settings.timeout;
            node.keep_quiet_about(&intent.own());
            let shown = node.shown().to_owned();
            in_time(limit, &shown, node.rehearse(account, &edit, saving)).await?;
            Ok((node, edit, saving))
        });
        let planned: Vec<Result<(Node, Edit<'_>, Saving), Fault>> = join_all(planned).await;
        let (mut nodes, mut faults) = (Vec::new(), Vec::new());
        for plan in planned {
            match plan {
                Ok(plan) => nodes.push(plan),
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            return answer::not_begun(faults);
        }
        let outcomes = nodes.into_iter().map(|(mut node, edit, saving)| async move {
            let shown = node.shown().to_owned();
            let work = async { Ok(node.carry_out(account, intent, &edit, saving).await) };
            in_time(self.settings.timeout, &shown, work).await.unwrap_or_else(answer::Outcome::Unclear)
        });
        answer::answer(join_all(outcomes).await)
    }
}

#[async_trait]
impl Provider for RedisAcl {
    fn abilities(&self, address: &Address) -> Abilities {
        Self::abilities_of(address, self.admin.user.is_none())
    }

    async fn inspect(&self, address: &Address) -> Result<Instance, Fault> {
        self.condition(address).await
    }

    async fn change(&self, address: &Address, rotation: RotationId, old: Option<&Secret>, new: &Secret) -> Answer {
        match (address.mode, old) {
            (Mode::OldPassword, Some(old)) => self.everywhere(address, Intent::Swap { old, new }).await,
            (Mode::OldPassword, None) => without_old(address),
            (Mode::Add, old) => self.everywhere(address, Intent::Add { old, new }).await,
            (Mode::Reset, _) => self.reset(address, rotation, new).await,
            (Mode::Account, _) => {
                let what = "a Redis of one's own has no call that edits an account as a cloud has";
                Answer::Refused { refusal: Refusal::Fatal, fault: Fault::new(Kind::Unsupported, what) }
            }
        }
    }

    /// In place the candidate becomes the only password. With two passwords it is added: that repairs a password nobody knows, and cuts nobody off; what is
    /// known of the old ones is taken away after the grace.
    async fn reset(&self, address: &Address, _rotation: RotationId, new: &Secret) -> Answer {
        let intent = match address.mode {
            Mode::Add => Intent::Add { old: None, new },
            Mode::OldPassword | Mode::Reset | Mode::Account => Intent::Set { new },
        };
        match self.everywhere(address, intent).await {
            // Nothing is compared, so this speaks of the login alone.
            Answer::Refused { refusal: Refusal::OldPasswordWrong, fault } => {
                let fault = Fault::new(Kind::CredentialRefused, fault.what);
                let advice = "name a user as the provider's admin whose password is known, or set the password by hand and run `keywheel recover TARGET --set`";
                Answer::Refused { refusal: Refusal::Fatal, fault: fault.advise(advice) }
            }
            answer @ (Answer::Accepted { .. } | Answer::Refused { .. } | Answer::Unanswered { .. }) => answer,
        }
    }

    async fn retire(&self, address: &Address, old: &Secret, current: &Secret) -> Result<(), Fault> {
        match self.everywhere(address, Intent::Retire { old, current }).await {
            Answer::Accepted { .. } => Ok(()),
            Answer::Refused { fault, .. } | Answer::Unanswered { fault } => Err(fault),
        }
    }

    async fn clients(&self, address: &Address, current: &Secret) -> Result<Vec<Client>, Fault> {
        self.connected(address, current).await
    }

    async fn nodes(&self, address: &Address, tried: &Secret) -> Result<Vec<String>, Fault> {
        let routes = if self.settings.discover == Discover::None {
            self.seeds.clone()
        } else {
            let login = self.admin.login(address, &[tried]).await?;
            match (self.topology(&login).await, self.seen()) {
                (Ok(routes), _) | (Err(_), Some(routes)) => routes,
                // Turned away everywhere it could ask: the places it knows are enough to be turned away again.
                (Err(fault), None) if fault.kind == Kind::OldPasswordWrong => self.seeds.clone(),
                (Err(fault), None) => return Err(fault),
            }
        };
        Ok(routes.iter().map(|route| route.place().to_string()).collect())
    }

    async fn task(&self, _address: &Address, task: TaskId) -> Result<TaskStatus, Fault> {
        Err(Fault::new(Kind::Unsupported, format!("Redis has no tasks, so {task} is none of its")))
    }

    async fn find_task(
        &self,
        _address: &Address,
        _from: Moment,
        _to: Moment,
    ) -> Result<Option<(TaskId, TaskStatus)>, Fault> {
        Err(Fault::new(Kind::Unsupported, "Redis has no tasks"))
    }

    async fn change_mark(&self, _address: &Address) -> Result<Option<String>, Fault> {
        Ok(None)
    }

    async fn check(&self, address: &Address) -> Vec<Fault> {
        self.findings(address, &[]).await
    }

    async fn check_with(&self, address: &Address, known: &[&Secret]) -> Vec<Fault> {
        self.findings(address, known).await
    }
}
