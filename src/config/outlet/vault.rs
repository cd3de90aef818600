//! `kind = "vault"`: a secret in a KV store of HashiCorp Vault or OpenBao.

use super::super::reading::{Refusal, Section, refusal};
use super::super::secret_ref::SecretRef;
use super::super::template::is_template;
use super::{REQUEST_TIMEOUT_LIMIT, web_address};
use crate::sink::web::TIMEOUT;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// Where a KV store is mounted unless said otherwise: the one that comes with a development server.
const MOUNT: &str = "secret";

/// Where a cluster puts a pod's token.
const TOKEN_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The longest path, in bytes.
const PATH_LIMIT: usize = 512;

/// A secret in a KV store of version 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultSink {
    /// Vault's address.
    pub address: Url,
    /// Where the store is mounted.
    pub mount: String,
    /// The secret's path in it, perhaps a template.
    pub path: String,
    /// The namespace, where there are several.
    pub namespace: Option<String>,
    /// How keywheel logs in.
    pub auth: VaultAuth,
    /// How long one request may take.
    pub timeout: Duration,
    /// Certificates (PEM) to trust instead of the machine's.
    pub ca_file: Option<PathBuf>,
}

/// How keywheel logs in; `mount` is where the method is mounted below `auth/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultAuth {
    /// A token that somebody else makes.
    Token {
        /// The token.
        token: SecretRef,
    },
    /// A machine's role.
    AppRole {
        /// Below `auth/`.
        mount: String,
        /// Which role.
        role_id: SecretRef,
        /// What proves it.
        secret_id: Option<SecretRef>,
    },
    /// A pod's identity.
    Kubernetes {
        /// Below `auth/`.
        mount: String,
        /// The role in Vault.
        role: String,
        /// The pod's token.
        token_file: PathBuf,
    },
    /// A client certificate.
    Certificate {
        /// Below `auth/`.
        mount: String,
        /// The role in Vault.
        role: Option<String>,
        /// The certificate (PEM).
        certificate: PathBuf,
        /// Its private key (PEM).
        key: SecretRef,
    },
}

/// A path in Vault.
pub(super) fn path(text: &str) -> Result<String, Refusal> {
    let good = |part: &str| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control);
    match text.len() <= PATH_LIMIT && text.split('/').all(good) {
        true => Ok(text.to_owned()),
        false => {
            Err(refusal("This is not a path in Vault", "write parts with / between them, such as redis/orders-cache"))
        }
    }
}

pub(super) fn parse(section: &Section<'_>) -> Option<VaultSink> {
    let address = section.parsed("address", |text| match web_address(text)? {
        url if url.query().is_some() => Err(refusal("An address has no query", "write https://HOST:8200")),
        url => Ok(url),
    });
    let mount = mount(section, MOUNT);
    let place = section.parsed("path", |text| if is_template(text) { Ok(text.to_owned()) } else { path(text) });
    let namespace = section.parsed("namespace", path);
    let auth = section.section("auth").and_then(|table| auth(&table));
    let timeout = section.span_up_to("timeout", REQUEST_TIMEOUT_LIMIT).unwrap_or(TIMEOUT);
    let ca_file = section.path("ca-file");
    if ca_file.is_some() && address.as_ref().is_some_and(|url| url.scheme() == "http") {
        section.refuse("ca-file", refusal("This key means nothing without TLS", "write https:// or remove it"));
    }
    Some(VaultSink { address: address?, mount: mount?, path: place?, namespace, auth: auth?, timeout, ca_file })
}

fn mount(section: &Section<'_>, usual: &str) -> Option<String> {
    if section.has("mount") { section.parsed("mount", path) } else { Some(usual.to_owned()) }
}

fn auth(table: &Section<'_>) -> Option<VaultAuth> {
    match table.text("method")? {
        "token" => Some(VaultAuth::Token { token: SecretRef::parse(table, "token")? }),
        "approle" => {
            let mount = mount(table, "approle");
            let role_id = SecretRef::parse(table, "role-id");
            let secret_id = table.has("secret-id").then(|| SecretRef::parse(table, "secret-id"));
            let secret_id = match secret_id {
                Some(secret_id) => Some(secret_id?),
                None => None,
            };
            Some(VaultAuth::AppRole { mount: mount?, role_id: role_id?, secret_id })
        }
        "kubernetes" => {
            let mount = mount(table, "kubernetes");
            let token_file =
                if table.has("token-file") { table.path("token-file") } else { Some(PathBuf::from(TOKEN_FILE)) };
            let role = table.text("role").map(str::to_owned);
            Some(VaultAuth::Kubernetes { mount: mount?, role: role?, token_file: token_file? })
        }
        "cert" => {
            let mount = mount(table, "cert");
            let certificate = table.path("certificate");
            let key = SecretRef::parse(table, "key");
            let role = table.text("role").map(str::to_owned);
            Some(VaultAuth::Certificate { mount: mount?, role, certificate: certificate?, key: key? })
        }
        _ => None,
    }
}
