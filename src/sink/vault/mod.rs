//! The sink `vault`: one secret for each target in a KV store of version 2, of HashiCorp Vault or OpenBao.
//!
//! A delivery reads what is there, refuses an older generation, and writes one new version on condition that nobody wrote since (`cas`). Whose password
//! it is and which generation stands in the secret's own data, so it changes with the password or not at all; the custom metadata repeats both for
//! people and tools that may not read the secret, and remembers them when a version is deleted. Answers that were lost are found again by that.
//!
//! Spoken to through [`crate::http`] and not through a client crate; ARCHITECTURE.md says why.

mod login;
mod wire;

pub use login::Auth;
#[cfg(any(feature = "gcp", feature = "azure"))]
pub(super) use login::read as read_file;

use super::file::copying;
use super::http::Now;
use super::web::{layout, no_answer, refused};
use super::{Document, Held, Holds, Sink};
use crate::fault::{Fault, Kind, scrub};
use crate::http::{Client, Effect, Method, Reply, Settings};
use crate::name::TargetName;
use crate::secret::Secret;
use async_trait::async_trait;
use login::Session;
use serde_json::{Map, Value, json};
use std::fmt;
use tokio::sync::Mutex;
use url::Url;
use wire::{Found, Marks, said};
use zeroize::Zeroizing;

/// How often a write that met another writer is thought over again, within one delivery.
const CAS_ATTEMPTS: usize = 4;

/// What Vault says where somebody wrote since.
const CAS_MISMATCH: &str = "check-and-set parameter did not match";

/// How much of Vault's own words is shown, in characters.
const SAID_LIMIT: usize = 200;

/// The settings of a sink with `kind = "vault"`.
#[derive(Debug, Clone)]
pub struct VaultSettings {
    /// Vault's address, perhaps with a path before `/v1`.
    pub address: Url,
    /// Where the KV store is mounted.
    pub mount: String,
    /// The secret's path in it.
    pub path: String,
    /// The namespace, where there are several.
    pub namespace: Option<String>,
    /// How it logs in.
    pub auth: Auth,
    /// Timeout and certificates.
    pub reach: Settings,
}

/// A secret in a KV store.
pub struct VaultSink {
    settings: VaultSettings,
    client: Client,
    now: Now,
    session: Mutex<Option<Session>>,
}

impl fmt::Debug for VaultSink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "VaultSink({})", self.place())
    }
}

/// Which of the store's two sides of a secret.
#[derive(Clone, Copy)]
enum Side {
    Data,
    Metadata,
}

impl Side {
    fn word(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Metadata => "metadata",
        }
    }

    /// What keywheel does there.
    fn capabilities(self) -> &'static [&'static str] {
        match self {
            Self::Data => &["create", "read", "update"],
            Self::Metadata => &["create", "update"],
        }
    }
}

impl VaultSink {
    /// The sink.
    ///
    /// # Errors
    /// `ConfigInvalid` for plain http to another machine, or certificates that cannot be used.
    pub fn new(settings: VaultSettings, now: Now) -> Result<Self, Fault> {
        let client = Client::new(settings.address.clone(), &settings.reach)?;
        Ok(Self { settings, client, now, session: Mutex::default() })
    }

    /// The path of one side of the secret, as policies have it.
    fn policy_path(&self, side: Side) -> String {
        format!("{}/{}/{}", self.settings.mount, side.word(), self.settings.path)
    }

    /// A URL of Vault's API.
    fn url(&self, path: &str) -> Url {
        let mut url = self.client.endpoint().clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path.split('/'));
        }
        url
    }

    /// One request with this token, or with none.
    async fn call(
        &self,
        client: &Client,
        token: Option<&Secret>,
        method: Method,
        path: &str,
        body: Zeroizing<Vec<u8>>,
        effect: Effect,
    ) -> Result<Reply, Fault> {
        let mut headers = vec![
            ("x-vault-request".to_owned(), "true".to_owned()),
            ("user-agent".to_owned(), concat!("keywheel/", env!("CARGO_PKG_VERSION")).to_owned()),
        ];
        headers.extend(token.map(|token| ("x-vault-token".to_owned(), token.expose().to_owned())));
        headers.extend(self.settings.namespace.clone().map(|namespace| ("x-vault-namespace".to_owned(), namespace)));
        if !body.is_empty() {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        client.send(method, self.url(path), &headers, body, effect).await.map_err(no_answer)
    }

    /// One request with the session's token; once more with a new one where that is turned away.
    async fn ask(&self, method: Method, path: &str, body: &Zeroizing<Vec<u8>>, effect: Effect) -> Result<Reply, Fault> {
        // The session is not held while Vault thinks, so that a call that hangs holds up no other.
        let (open, fresh) = self.opened(None).await?;
        let reply = self.call(&open.client, Some(&open.token), method.clone(), path, body.clone(), effect).await?;
        // A token that is no longer good and one that may not do this are told apart by another token alone.
        if reply.status != 403 || fresh {
            return Ok(reply);
        }
        let (again, other) = self.opened(Some(&open)).await?;
        if !other {
            return Ok(reply);
        }
        self.call(&again.client, Some(&again.token), method, path, body.clone(), effect).await
    }

    /// The session, and whether its token is another one than before the call: than the one that was turned away, where there is such a one.
    async fn opened(&self, turned_away: Option<&Session>) -> Result<(Session, bool), Fault> {
        let mut session = self.session.lock().await;
        let other = match turned_away {
            None => self.keep_alive(&mut session).await?,
            Some(old) if session.as_ref().is_some_and(|now| now.token.expose() != old.token.expose()) => true,
            Some(_) => self.log_in_anew(&mut session).await?,
        };
        let open = session.clone().ok_or_else(|| Fault::new(Kind::Bug, "no session after a login"))?;
        Ok((open, other))
    }

    /// What is there now.
    async fn found(&self) -> Result<Found, Fault> {
        let reply = self.ask(Method::GET, &self.policy_path(Side::Data), &Zeroizing::default(), Effect::Read).await?;
        if let 200 | 404 = reply.status
            && let Some(found) = Found::parse(reply.status, &reply.body)
        {
            return Ok(found);
        }
        Err(self.trouble("A look", Side::Data, &reply))
    }

    /// What an answer means that is no success.
    fn trouble(&self, what: &str, side: Side, reply: &Reply) -> Fault {
        let place = self.place();
        let what = format!("{what} at {place}");
        let said = said(&reply.body);
        match reply.status {
            200..=299 => {
                Fault::new(Kind::SinkDenied, format!("{what} brought an answer that no KV store of version 2 gives"))
                    .advise(self.enable())
            }
            403 => Fault::new(Kind::SinkDenied, format!("{what} was not permitted (HTTP status 403)"))
                .advise(format!("add to the policy of keywheel's token: {}", self.policy(&[side]))),
            404 => Fault::new(Kind::SinkDenied, format!("{what} found no such store (HTTP status 404)"))
                .advise(self.enable()),
            472 | 473 => Fault::new(
                Kind::SinkUnavailable,
                format!("{what} met a standby that takes no writes (HTTP status {})", reply.status),
            )
            .advise("name the active node's address, or one that leads to it"),
            503 => Fault::new(
                Kind::SinkUnavailable,
                format!("{what} met a Vault that is sealed or not ready (HTTP status 503)"),
            )
            .advise("unseal Vault; keywheel delivers as soon as it takes a write"),
            400 if said.contains("missing client token") => {
                Fault::new(Kind::SinkDenied, format!("{what} was refused: there was no token in it"))
            }
            _ => refused(&what, reply),
        }
    }

    fn enable(&self) -> String {
        let mount = &self.settings.mount;
        format!("check address, namespace and mount; a new store is made by `vault secrets enable -path={mount} kv-v2`")
    }

    /// The policy that these sides of the secret need.
    fn policy(&self, sides: &[Side]) -> String {
        let lines = sides.iter().map(|side| {
            let list: Vec<String> = side.capabilities().iter().map(|word| format!("\"{word}\"")).collect();
            format!("path \"{}\" {{ capabilities = [{}] }}", self.policy_path(*side), list.join(", "))
        });
        lines.collect::<Vec<_>>().join(" and ")
    }

    /// Refuses what belongs to another target, or is newer.
    fn refuse(&self, found: &Found, target: &TargetName, ours: Option<u64>) -> Result<(), Fault> {
        let marks = found.marks();
        let place = self.place();
        if let Some(other) = marks.target.filter(|other| other != target.as_str()) {
            // What is no name could be anything.
            let whose =
                other.parse::<TargetName>().map_or("another target".to_owned(), |name| format!("the target {name}"));
            return Err(Fault::new(
                Kind::SinkDenied,
                format!("{place} holds the password of {whose}, not of {target}"),
            )
            .advise(format!("give {target} a path of its own; if it was renamed, {}", self.forget())));
        }
        match (marks.generation, ours) {
            (Some(held), Some(ours)) if held > ours => Err(Fault::new(
                Kind::SinkNewer,
                format!("{place} holds generation {held} of {target}, newer than {ours}"),
            )
            .advise(format!("find out who else writes to it; if this ledger was begun anew, {}", self.forget()))),
            _ => Ok(()),
        }
    }

    fn forget(&self) -> String {
        format!("run `vault kv metadata delete -mount={} {}`", self.settings.mount, self.settings.path)
    }

    /// Writes one version on condition that the newest one is `version`. False where it no longer is.
    async fn write(&self, document: &[u8], version: u64) -> Result<bool, Fault> {
        let mut body = Zeroizing::new(Vec::with_capacity(document.len() + 64));
        body.extend_from_slice(format!("{{\"options\":{{\"cas\":{version}}},\"data\":").as_bytes());
        body.extend_from_slice(document);
        body.push(b'}');
        let reply = self.ask(Method::POST, &self.policy_path(Side::Data), &body, Effect::Write).await?;
        match reply.status {
            200 if wire::is_version(&reply.body) => Ok(true),
            400 if said(&reply.body).contains(CAS_MISMATCH) => Ok(false),
            _ => Err(self.trouble("A write", Side::Data, &reply)),
        }
    }

    /// Repeats beside the secret what it says of itself, and leaves what others put there.
    async fn mark(&self, found: &Found, document: &Document) -> Result<(), Fault> {
        let mut custom = found.custom.clone();
        let ours = Marks::of(document);
        if ours.iter().all(|(key, value)| custom.get(*key).and_then(Value::as_str) == Some(value)) {
            return Ok(());
        }
        custom.extend(ours.into_iter().map(|(key, value)| (key.to_owned(), Value::from(value))));
        let body = Zeroizing::new(json!({ "custom_metadata": custom }).to_string().into_bytes());
        let reply = self.ask(Method::POST, &self.policy_path(Side::Metadata), &body, Effect::Write).await?;
        match reply.status {
            200 | 204 => Ok(()),
            _ => Err(self.trouble("A note of the generation", Side::Metadata, &reply)),
        }
    }

    /// Whether the store is one of version 2, as far as this token may know.
    async fn refuse_other_stores(&self) -> Result<(), Fault> {
        let path = format!("sys/internal/ui/mounts/{}", self.settings.mount);
        let reply = self.ask(Method::GET, &path, &Zeroizing::default(), Effect::Read).await?;
        let version = (reply.status == 200).then(|| wire::store_version(&reply.body)).flatten();
        match version.as_deref() {
            Some("2") | None => Ok(()),
            Some(_) => Err(Fault::new(
                Kind::SinkDenied,
                format!("{} is no KV store of version 2, and would not refuse an older password", self.place()),
            )
            .advise(format!("run `vault kv enable-versioning {}`, or name another mount", self.settings.mount))),
        }
    }

    /// Whether this token may do all that a delivery does. Where Vault does not say, the delivery will tell.
    async fn refuse_missing_rights(&self) -> Result<(), Fault> {
        let sides = [Side::Data, Side::Metadata];
        let paths = sides.map(|side| self.policy_path(side));
        let body = Zeroizing::new(json!({ "paths": paths }).to_string().into_bytes());
        let reply = self.ask(Method::POST, "sys/capabilities-self", &body, Effect::Read).await?;
        if matches!(reply.status, 403..=405) {
            return Ok(());
        }
        let Some(rights) = (reply.status == 200).then(|| wire::capabilities(&reply.body)).flatten() else {
            return Err(self.trouble("The question what is permitted", Side::Data, &reply));
        };
        let lacks = |side: &Side| {
            let held = rights.get(&self.policy_path(*side)).cloned().unwrap_or_default();
            let all = held.iter().any(|right| right == "root" || right == "sudo");
            !all && side.capabilities().iter().any(|needed| !held.iter().any(|right| right == needed))
        };
        let lacking: Vec<Side> = sides.into_iter().filter(lacks).collect();
        if lacking.is_empty() {
            return Ok(());
        }
        Err(Fault::new(Kind::SinkDenied, format!("The token for {} may not do all that a delivery does", self.place()))
            .advise(format!("add to the policy of keywheel's token: {}", self.policy(&lacking))))
    }

    /// Vault's own words about a login, without what it was sent.
    fn words(&self, reply: &Reply, secrets: &[&Secret]) -> String {
        let words = scrub(&said(&reply.body), secrets);
        if words.is_empty() {
            String::new()
        } else {
            format!(": {}", words.chars().take(SAID_LIMIT).collect::<String>())
        }
    }
}

fn rendered(document: &Document) -> Result<Zeroizing<Vec<u8>>, Fault> {
    layout().render(document)
}

fn fields(rendered: &[u8]) -> Result<Map<String, Value>, Fault> {
    serde_json::from_slice(rendered).map_err(|_| Fault::new(Kind::Bug, "a document that is no JSON object"))
}

#[async_trait]
impl Sink for VaultSink {
    async fn ready(&self, target: &TargetName) -> Result<(), Fault> {
        self.refuse_missing_rights().await?;
        self.refuse_other_stores().await?;
        self.refuse(&self.found().await?, target, None)
    }

    async fn deliver(&self, document: &Document) -> Result<(), Fault> {
        let rendered = rendered(document)?;
        let ours = fields(&rendered)?;
        for _ in 0..CAS_ATTEMPTS {
            let found = self.found().await?;
            self.refuse(&found, &document.target, Some(document.generation.0))?;
            if found.data.as_ref() == Some(&ours) {
                return self.mark(&found, document).await;
            }
            if self.write(&rendered, found.version).await? {
                // What others noted beside a secret shows only once it has a version.
                let found = if found.version == 0 { self.found().await? } else { found };
                return self.mark(&found, document).await;
            }
        }
        let what = format!("Others keep writing to {}", self.place());
        Err(Fault::new(Kind::SinkUnavailable, what).advise("find out who else writes to it; keywheel tries again"))
    }

    fn shape(&self, document: &Document) -> Option<Vec<u8>> {
        let VaultSettings { address, mount, path, namespace, auth: _, reach: _ } = &self.settings;
        let mut shape = format!("{address} {namespace:?} {mount} {path}\n").into_bytes();
        shape.extend_from_slice(&rendered(document).ok()?);
        Some(shape)
    }

    async fn has_lost_it(&self) -> bool {
        self.found().await.is_ok_and(|found| found.data.is_none())
    }

    async fn read_back(&self, target: &TargetName) -> Result<Option<Held>, Fault> {
        let found = self.found().await?;
        self.refuse(&found, target, None)?;
        let Some(data) = found.data else { return Ok(None) };
        match data.get("password").and_then(Value::as_str).filter(|password| !password.is_empty()) {
            Some(password) => Ok(Some(Held::AsSent(Secret::new(password.to_owned())))),
            None => Err(Fault::new(Kind::SecretUnreadable, format!("{} has no text under \"password\"", self.place()))
                .advise("put the password there under the key password, or give it in another way")),
        }
    }

    async fn copy(&self, target: &TargetName) -> Result<Option<Document>, Fault> {
        let found = self.found().await?;
        self.refuse(&found, target, None)?;
        let marked = found.marks().generation.unwrap_or(0).into();
        let Some(data) = found.data else { return Ok(None) };
        let text = Zeroizing::new(serde_json::to_vec(&data).expect("what was JSON has a JSON form"));
        copying::document(&layout(), &text, &self.place(), target, marked).map(Some)
    }

    async fn holds(&self, document: &Document) -> Result<Holds, Fault> {
        let ours = fields(&rendered(document)?)?;
        Ok(match self.found().await?.data {
            None => Holds::Absent,
            Some(data) if data == ours => Holds::Same,
            Some(_) => Holds::Other,
        })
    }

    fn place(&self) -> String {
        let namespace =
            self.settings.namespace.as_ref().map_or_else(String::new, |name| format!(" (namespace {name})"));
        format!("{}/{} in Vault at {}{namespace}", self.settings.mount, self.settings.path, self.client.authority())
    }
}
