//! Where the daemon is watched over TCP, and who may do more there than watch.

use super::reading::{Section, refusal};
use super::secret_ref::SecretRef;
use crate::name::TokenName;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The most tokens.
const TOKENS: usize = 64;

/// What stands at the entrance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entrance {
    /// Where the daemon is watched over TCP; `None` = nowhere.
    pub listen: Option<SocketAddr>,
    /// Who may act over TCP: bearer tokens by their names.
    pub tokens: BTreeMap<TokenName, SecretRef>,
    /// With which certificate it is TLS.
    pub tls: Option<Tls>,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The chain, in PEM, by its absolute path.
    pub certificate: PathBuf,
    /// The key, in PEM.
    pub key: SecretRef,
}

pub(super) fn parse(section: &Section<'_>) -> Entrance {
    let listen: Option<SocketAddr> = section.parsed("listen", |text| {
        let advice = "write an IP address and a port, such as 127.0.0.1:9464, [::1]:9464 or 0.0.0.0:9464";
        text.parse().map_err(|_| refusal("This is no address to listen on", advice))
    });
    let tokens = section.section("tokens").map(|table| tokens(&table)).unwrap_or_default();
    let tls = section.section("tls").and_then(|table| {
        let (certificate, key) = (table.path("certificate"), SecretRef::parse(&table, "key"));
        Some(Tls { certificate: certificate?, key: key? })
    });
    for key in ["tokens", "tls"] {
        if section.has(key) && !section.has("listen") {
            section.refuse(key, refusal("Nothing listens where this would count", "add listen = \"127.0.0.1:9464\""));
        }
    }
    let is_plain = !section.has("tls") && listen.is_some_and(|address| !address.ip().is_loopback());
    if section.has("tokens") && is_plain {
        let what = "Tokens would travel over plain HTTP, where others can read them";
        section
            .refuse("tokens", refusal(what, "add tls = { certificate = …, key = … }, or listen on a loopback address"));
    }
    Entrance { listen, tokens, tls }
}

fn tokens(table: &Section<'_>) -> BTreeMap<TokenName, SecretRef> {
    let mut tokens = BTreeMap::new();
    for name in table.keys() {
        match name.parse::<TokenName>() {
            Ok(name) => {
                let reference = SecretRef::parse(table, name.as_str());
                tokens.extend(reference.map(|reference| (name, reference)));
            }
            Err(bad) => table.refuse(name, refusal(bad.to_string(), "choose another name")),
        }
    }
    if tokens.len() > TOKENS {
        table.refuse("", refusal(format!("These are more than {TOKENS} tokens"), "let some share one"));
    }
    tokens
}
