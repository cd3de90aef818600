//! `[providers.NAME]` with `kind = "redis"`: the nodes of one Redis or Valkey of one's own.

use super::login::login_url;
use super::reading::{Section, refusal};
use super::secret_ref::SecretRef;
use crate::name::TargetName;
use crate::provider::redis_acl::{Discover, NODES_LIMIT, Persist};
use crate::sink::Endpoint;
use std::path::PathBuf;
use std::time::Duration;

/// How long a node may take for each half of a call unless said otherwise.
const NODE_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time a node may be given.
const NODE_TIMEOUT_LIMIT: Duration = Duration::from_secs(120);

/// The longest name of a user, in bytes.
const USER_LIMIT: usize = 128;

/// `kind = "redis"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// Nodes that are named; at least one.
    pub nodes: Vec<Endpoint>,
    /// How others are found.
    pub discover: Discover,
    /// Who changes users.
    pub admin: RedisAdmin,
    /// How a change outlives a restart.
    pub persist: Persist,
    /// How long a node may take for each half of a call.
    pub timeout: Duration,
    /// Certificates (PEM) to trust instead of the machine's.
    pub ca_file: Option<PathBuf>,
    /// The name in the nodes' certificates, where it is not each one's host.
    pub tls_name: Option<String>,
}

/// Who changes users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisAdmin {
    /// Each account itself, with its own password.
    Itself,
    /// This user.
    User {
        /// Its name, the same on every node.
        user: String,
        /// Where its password is kept.
        password: SecretRef,
    },
    /// The account of another target on these nodes, with the passwords that the ledger holds for it.
    Target(TargetName),
}

impl Redis {
    /// The addresses of the named nodes, such as `redis://10.0.0.1:6379`.
    pub fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(address).collect()
    }

    /// Where the instance is, whatever the provider is called.
    pub(super) fn place(&self) -> String {
        let mut nodes = self.addresses();
        nodes.sort();
        format!("redis/{}", nodes.join(","))
    }
}

fn address(node: &Endpoint) -> String {
    let scheme = if node.tls { "rediss" } else { "redis" };
    match node.host.contains(':') {
        true => format!("{scheme}://[{}]:{}", node.host, node.port),
        false => format!("{scheme}://{}:{}", node.host, node.port),
    }
}

pub(super) fn parse(section: &Section<'_>) -> Option<Redis> {
    let nodes = nodes(section);
    let words = [("none", Discover::None), ("cluster", Discover::Cluster), ("replicas", Discover::Replicas)];
    let discover = section.choice("discover", &words).unwrap_or_default();
    let admin = admin(section);
    let words = [
        ("auto", Persist::Auto),
        ("acl-save", Persist::AclSave),
        ("config-rewrite", Persist::ConfigRewrite),
        ("none", Persist::None),
    ];
    let persist = section.choice("persist", &words).unwrap_or_default();
    let timeout = section.span_up_to("timeout", NODE_TIMEOUT_LIMIT).unwrap_or(NODE_TIMEOUT);
    let ca_file = section.path("ca-file");
    let tls_name = section.parsed("tls-name", super::login::tls_name);
    let nodes = nodes?;
    if nodes.iter().any(|node| !node.tls) {
        for key in ["ca-file", "tls-name"].into_iter().filter(|key| section.has(key)) {
            let what = "This key means nothing for a node without TLS";
            section.refuse(key, refusal(what, "write rediss:// for every node, or remove it"));
        }
    }
    Some(Redis { nodes, discover, admin: admin?, persist, timeout, ca_file, tls_name })
}

fn nodes(section: &Section<'_>) -> Option<Vec<Endpoint>> {
    let texts = section.texts("nodes");
    if section.has("nodes") && (texts.is_empty() || texts.len() > NODES_LIMIT) {
        section
            .refuse("nodes", refusal(format!("Here stand {} nodes", texts.len()), format!("name 1 to {NODES_LIMIT}")));
        return None;
    }
    let mut nodes: Vec<Endpoint> = Vec::with_capacity(texts.len());
    let mut all_well = !texts.is_empty();
    for text in texts {
        let node = login_url(text).and_then(|node| match nodes.contains(&node) {
            true => Err(refusal("A node stands here twice", "name it once")),
            false => Ok(node),
        });
        match node {
            Ok(node) => nodes.push(node),
            Err(refusal) => {
                all_well = false;
                section.refuse("nodes", refusal);
            }
        }
    }
    all_well.then_some(nodes)
}

fn admin(section: &Section<'_>) -> Option<RedisAdmin> {
    let Some(table) = section.section("admin") else {
        return section.parsed("admin", |text| match text {
            "self" => Ok(RedisAdmin::Itself),
            _ => Err(refusal(
                "This names no administrator",
                "write \"self\", or { user = \"NAME\", password = { file = \"/path\" } }",
            )),
        });
    };
    if table.has("target") {
        for key in ["user", "password"].into_iter().filter(|key| table.has(key)) {
            let next = "remove it, or remove target";
            table.refuse(key, refusal("The target says who the administrator is and what its password is", next));
        }
        return table.parsed("target", |text| match text.parse() {
            Ok(target) => Ok(RedisAdmin::Target(target)),
            Err(_) => Err(refusal("This cannot be the name of a target", "write the name of a target on these nodes")),
        });
    }
    for key in ["user", "password"].into_iter().filter(|key| !table.has(key)) {
        let next = "write { user = \"NAME\", password = { file = \"/path\" } }, or { target = \"NAME\" }";
        table.refuse(key, refusal("An administrator has a name and a password", next));
    }
    let user = table.parsed("user", |text| {
        let plain = |byte: u8| byte.is_ascii_graphic();
        match !text.is_empty() && text.len() <= USER_LIMIT && text.bytes().all(plain) {
            true => Ok(text.to_owned()),
            false => Err(refusal("This cannot be the name of a user", "write it as ACL LIST shows it")),
        }
    });
    let password = SecretRef::parse(&table, "password");
    Some(RedisAdmin::User { user: user?, password: password? })
}
