//! Which nodes there are. Users are each node's own, so a change that misses a node is not done.

use super::credentials::Login;
use super::look::field;
use super::node::{Node, in_time};
use super::{Discover, RedisAcl, answer};
use crate::fault::{Fault, Kind};
use crate::resp::{Place, Reply, Route};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::sync::PoisonError;

/// The most nodes of one instance.
pub const NODES_LIMIT: usize = 512;

impl RedisAcl {
    /// Every node, by what the servers themselves say now where the settings ask for it.
    ///
    /// # Errors
    /// No node could be asked for the others, or there are more than [`NODES_LIMIT`].
    pub(super) async fn topology(&self, login: &Login) -> Result<Vec<Route>, Fault> {
        let routes = match self.settings.discover {
            Discover::None => return Ok(self.seeds.clone()),
            Discover::Cluster => self.cluster(login).await?,
            Discover::Replicas => self.replicas(login).await?,
        };
        if routes.len() > NODES_LIMIT {
            let what = format!("{} nodes were found, and at most {NODES_LIMIT} are taken", routes.len());
            return Err(Fault::new(Kind::Unsupported, what));
        }
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(routes.clone());
        Ok(routes)
    }

    /// The nodes that were found last, if any were.
    pub(super) fn seen(&self) -> Option<Vec<Route>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The nodes that a cluster's gossip knows, those that are down among them. What each named node says counts, for one that was taken out of the
    /// cluster knows of no other; and should none of them answer, what those say that were found before.
    async fn cluster(&self, login: &Login) -> Result<Vec<Route>, Fault> {
        let mut failed = Vec::new();
        for asked in [self.seeds.clone(), self.seen().unwrap_or_default()] {
            let mut found: BTreeMap<Place, Route> = BTreeMap::new();
            for (route, reply) in self.ask(&asked, login, &["CLUSTER", "NODES"]).await {
                match reply.and_then(|reply| self.listed(route, reply.text().unwrap_or_default())) {
                    Ok(routes) => found.extend(routes.into_iter().map(|route| (route.place().clone(), route))),
                    Err(fault) => failed.push(fault),
                }
            }
            if !found.is_empty() {
                return Ok(found.into_values().collect());
            }
        }
        Err(answer::together(failed))
    }

    fn listed(&self, asked: &Route, text: &str) -> Result<Vec<Route>, Fault> {
        let places = cluster_nodes(text, asked.place());
        let routes = places.into_iter().map(|place| self.route(asked, place)).collect::<Result<Vec<_>, _>>()?;
        if routes.is_empty() {
            let what = format!("{} lists no node of a cluster", asked.place());
            return Err(
                Fault::new(Kind::Misconfigured, what).advise("set discover to none or replicas in the provider")
            );
        }
        Ok(routes)
    }

    /// The configured nodes, and those that each master or replica among them names, and so on. A replica that is down is named by nobody.
    async fn replicas(&self, login: &Login) -> Result<Vec<Route>, Fault> {
        let mut open: Vec<Route> = self.seeds.clone();
        let mut found: BTreeMap<Place, Route> = BTreeMap::new();
        while !open.is_empty() && found.len() <= NODES_LIMIT {
            open.retain(|route| found.insert(route.place().clone(), route.clone()).is_none());
            let mut named = Vec::new();
            for (route, info) in self.ask(&open, login, &["INFO", "replication"]).await {
                // A node that does not answer is one of the nodes all the same; the change will name it.
                for (host, port) in info.as_ref().ok().and_then(Reply::text).map(named_by).unwrap_or_default() {
                    named.push(self.route(route, Place { host, port, tls: route.place().tls })?);
                }
            }
            open = named;
        }
        Ok(found.into_values().collect())
    }

    /// One question to several nodes at once.
    async fn ask<'a>(
        &self,
        routes: &'a [Route],
        login: &Login,
        words: &[&str],
    ) -> Vec<(&'a Route, Result<Reply, Fault>)> {
        let questions = routes.iter().map(|route| async move {
            let question = async { Node::open(route, login).await?.read(words).await };
            (route, in_time(self.settings.timeout, &route.place().to_string(), question).await)
        });
        join_all(questions).await
    }

    fn route(&self, from: &Route, place: Place) -> Result<Route, Fault> {
        let shown = place.to_string();
        from.towards(place, self.settings.tls_name.as_deref()).ok_or_else(|| {
            Fault::new(Kind::Misconfigured, format!("{shown} cannot stand in a certificate"))
                .advise("set tls-name in the provider")
        })
    }
}

/// The nodes of a reply to `CLUSTER NODES` (Redis document of that name): `ID IP:PORT@BUSPORT[,HOSTNAME[,…]] FLAGS …`. A node that was never met, or whose
/// address is not known, is none yet.
fn cluster_nodes(text: &str, asked: &Place) -> Vec<Place> {
    let node = |line: &str| {
        let mut fields = line.split(' ');
        let (_id, address, flags) = (fields.next()?, fields.next()?, fields.next()?);
        if flags.split(',').any(|flag| matches!(flag, "noaddr" | "handshake")) {
            return None;
        }
        let (address, names) = address.split_once(',').unwrap_or((address, ""));
        let (host, port) = address.split('@').next()?.rsplit_once(':')?;
        // With TLS it is the host's name that stands in the certificate, if the node announces one.
        let name = names.split(',').next().filter(|name| asked.tls && !name.is_empty() && !name.contains('='));
        let host = match (name, host) {
            (Some(name), _) => name,
            // A node that has met no other one does not know its own address.
            (None, "") => &asked.host,
            (None, host) => host,
        };
        let port = port.parse().ok().filter(|port| *port != 0)?;
        Some(Place { host: host.to_owned(), port, tls: asked.tls })
    };
    text.lines().filter_map(node).collect()
}

/// Whom `INFO replication` names: a master its replicas, a replica its master and its own replicas. `ROLE` would leave out a replica that is still being
/// filled, and it would then keep its old passwords.
fn named_by(info: &str) -> Vec<(String, u16)> {
    let master = field(info, "master_host").zip(field(info, "master_port"));
    let replica = |line: &str| {
        let (name, facts) = line.trim_end().split_once(':')?;
        let number = name.strip_prefix("slave")?;
        let fact = |key: &str| facts.split(',').find_map(|fact| fact.strip_prefix(key)?.strip_prefix('='));
        let known = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        known.then(|| Some((fact("ip")?.to_owned(), fact("port")?.parse().ok()?)))?
    };
    let master = master.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    master.into_iter().chain(info.lines().filter_map(replica)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_counts_before_it_is_filled() {
        let rows = [
            (
                "role:master\r\nconnected_slaves:2\r\nslave0:ip=10.0.0.2,port=6380,state=online,offset=1,lag=0\r\nslave1:ip=10.0.0.3,port=6381,state=wait_bgsave,offset=0\r\nslave_read_only:1\r\n",
                vec![("10.0.0.2", 6380), ("10.0.0.3", 6381)],
            ),
            (
                "role:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\nmaster_link_status:down\r\nslave_repl_offset:1\r\n",
                vec![("10.0.0.1", 6379)],
            ),
            ("role:master\r\nconnected_slaves:0\r\n", vec![]),
            ("nonsense", vec![]),
        ];
        for (info, expected) in rows {
            let found = named_by(info);
            let found: Vec<(&str, u16)> = found.iter().map(|(host, port)| (host.as_str(), *port)).collect();
            assert_eq!(found, expected, "{info}");
        }
    }

    #[test]
    fn a_clusters_nodes_are_read_in_every_versions_form() {
        let asked = |tls| Place { host: "seed".to_owned(), port: 7000, tls };
        let rows = [
            ("id 10.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-5460", false, vec!["redis://10.0.0.1:7000"]),
            ("id 10.0.0.1:7000@17000,one.test myself,master - 0 0 1 connected", false, vec!["redis://10.0.0.1:7000"]),
            ("id 10.0.0.1:7000@17000,one.test master - 0 0 1 connected", true, vec!["rediss://one.test:7000"]),
            ("id 10.0.0.1:7000@17000,,shard-id=5 slave x 0 0 1 connected", true, vec!["rediss://10.0.0.1:7000"]),
            ("id :7000@17000 myself,master - 0 0 0 connected", false, vec!["redis://seed:7000"]),
            ("id ::1:7000@17000 master,fail - 0 0 0 disconnected", false, vec!["redis://[::1]:7000"]),
            ("id :0@0 master,fail,noaddr - 0 0 0 disconnected", false, vec![]),
            ("id 10.0.0.9:7000@17000 handshake - 0 0 0 disconnected", false, vec![]),
            (
                "id 10.0.0.1:7000 master\nid 10.0.0.2:7001@1 slave x\n",
                false,
                vec!["redis://10.0.0.1:7000", "redis://10.0.0.2:7001"],
            ),
            ("", false, vec![]),
            ("nonsense", false, vec![]),
        ];
        for (text, tls, expected) in rows {
            let found: Vec<String> = cluster_nodes(text, &asked(tls)).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
