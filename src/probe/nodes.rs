//! A login to every node of one instance: a password is proven when each of them lets it in.
//!
//! The users of a cluster or replica set are each node's own: Redis hands no change of an ACL on. So the nodes are asked one by one, by the
//! newest list that the provider has of them.

use super::{Probe, together};
use crate::fault::{Fault, Kind};
use crate::provider::{Address, Provider};
use crate::rotation::answer::Login;
use crate::secret::Secret;
use async_trait::async_trait;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Makes the login route to one node, such as `redis://10.0.0.12:6379`.
pub type MakeProbe = Arc<dyn Fn(&str) -> Result<Arc<dyn Probe>, Fault> + Send + Sync>;

/// A login route to every node that the provider knows for an account.
pub struct NodesProbe {
    provider: Arc<dyn Provider>,
    address: Address,
    make: MakeProbe,
    route: String,
    /// The routes to the nodes of the last login, so that none is made twice.
    made: Mutex<BTreeMap<String, Arc<dyn Probe>>>,
}

impl NodesProbe {
    /// The probe of an account. `route` names the nodes together, for people.
    #[must_use]
    pub fn new(provider: Arc<dyn Provider>, address: Address, route: String, make: MakeProbe) -> Self {
        Self { provider, address, make, route, made: Mutex::default() }
    }

    /// The routes to these nodes; those of other nodes are forgotten.
    fn probes(&self, nodes: Vec<String>) -> Result<Vec<Arc<dyn Probe>>, Fault> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let mut now = BTreeMap::new();
        for node in nodes {
            let probe = match made.get(&node) {
                Some(probe) => Arc::clone(probe),
                None => (self.make)(&node)?,
            };
            now.insert(node, probe);
        }
        *made = now;
        Ok(made.values().cloned().collect())
    }
}

#[async_trait]
impl Probe for NodesProbe {
    async fn login(&self, password: &Secret) -> Login {
        let nodes = self.provider.nodes(&self.address, password).await;
        let probes = match nodes.and_then(|nodes| self.probes(nodes)) {
            Ok(probes) if probes.is_empty() => {
                let what = format!("{} names no node to log in to", self.route);
                return Login::Unreachable { fault: Fault::new(Kind::LoginUnreachable, what) };
            }
            Ok(probes) => probes,
            Err(fault) => return Login::Unreachable { fault },
        };
        together(join_all(probes.iter().map(|probe| probe.login(password))).await, "nodes")
    }

    fn route(&self) -> &str {
        &self.route
    }
}
