//! Who may call for a while: the roles of this cloud, the one that is bound to the machine, and the temporary credentials given for them.

use super::cloud::{Cloud, State};
use super::head::{Head, only};
use super::settings::{Credential, optional_secret};
use crate::moment::Moment;
use crate::secret::Secret;
use serde::Deserialize;
use std::borrow::Cow;
use std::time::Duration;

/// How many temporary credentials are remembered; of more, the oldest are forgotten.
const ISSUED_LIMIT: usize = 10_000;

/// A role. Its ARN says whose it is: `qcs::cam::uin/…` or `acs:ram::…`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RoleSettings {
    /// Its ARN.
    pub arn: String,
    /// The key ids that may take it on; empty means every caller.
    pub callers: Vec<String>,
    /// What a caller must name besides.
    pub external_id: Option<String>,
    /// The identity provider whose pods may take it on without a key.
    pub identity_provider: Option<String>,
    /// The token by which that provider vouches for a pod.
    #[serde(deserialize_with = "optional_secret")]
    pub identity_token: Option<Secret>,
    /// The longest life that may be asked for; absent means twelve hours.
    #[serde(with = "super::span::optional")]
    pub longest: Option<Duration>,
}

/// The metadata services of this machine, one in each vendor's form.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct MetadataSettings {
    /// The role that is bound to the machine; absent means none.
    pub role: Option<String>,
    /// How long its credentials live. A new one is to be had once half of that has passed.
    #[serde(with = "super::span")]
    pub life: Duration,
    /// What Alibaba's service does about its token.
    pub handshake: Handshake,
}

impl Default for MetadataSettings {
    /// No role.
    fn default() -> Self {
        Self { role: None, life: Duration::from_secs(6 * 3_600), handshake: Handshake::default() }
    }
}

/// What Alibaba's metadata service does about its token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Handshake {
    /// It gives one, and answers without.
    #[default]
    Offered,
    /// It gives one, and answers nothing without (security-hardened mode).
    Required,
    /// It has never heard of it.
    Unknown,
}

/// Whose credentials they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Issuer {
    Tencent,
    Alibaba,
}

/// A temporary credential.
#[derive(Debug, Clone)]
pub(super) struct Issued {
    issuer: Issuer,
    pub(super) credential: Credential,
    /// By the time this cloud publishes.
    pub(super) ends: Moment,
    /// Whether the metadata service gave it.
    of_machine: bool,
    since: Moment,
}

impl Issued {
    pub(super) fn token(&self) -> &str {
        self.credential.token.as_ref().map_or("", |token| token.expose())
    }
}

/// Everybody who may sign: the permanent keys, and this issuer's temporary ones, ended ones too.
pub(super) fn callers(cloud: &Cloud, issuer: Issuer) -> Cow<'_, [Credential]> {
    let state = cloud.state();
    let temporary = state.issued.iter().filter(|issued| issued.issuer == issuer);
    let temporary: Vec<Credential> = temporary.map(|issued| issued.credential.clone()).collect();
    if temporary.is_empty() {
        return Cow::Borrowed(&cloud.settings.credentials);
    }
    Cow::Owned(cloud.settings.credentials.iter().cloned().chain(temporary).collect())
}

/// Whether whoever signed did so with a temporary credential that has ended.
pub(super) fn has_ended(cloud: &Cloud, head: &Head<'_>) -> bool {
    let Some(id) = claimed(head) else { return false };
    let now = cloud.clock.published();
    cloud.state().issued.iter().any(|issued| issued.credential.secret_id == id && now >= issued.ends)
}

/// The key id in an `Authorization` of either vendor.
pub(super) fn claimed<'a>(head: &Head<'a>) -> Option<&'a str> {
    only(head.headers, "authorization")?.split_once("Credential=")?.1.split(['/', ',']).next()
}

/// A new temporary credential.
pub(super) fn issue(cloud: &Cloud, issuer: Issuer, life: Duration, of_machine: bool) -> Issued {
    let now = cloud.clock.published();
    let prefix = match issuer {
        Issuer::Tencent => "AKIDtemporary-",
        Issuer::Alibaba => "STS.",
    };
    let credential = Credential {
        secret_id: format!("{prefix}{}", cloud.request_id()),
        secret_key: Secret::new(format!("temporary-key-{}", cloud.request_id())),
        token: Some(Secret::new(format!("temporary-token-{}", cloud.request_id()))),
    };
    // Both vendors speak of whole seconds.
    let ends = Moment::from_seconds((now + life).seconds());
    let issued = Issued { issuer, credential, ends, of_machine, since: now };
    let mut state = cloud.state();
    if state.issued.len() >= ISSUED_LIMIT {
        state.issued.remove(0);
    }
    state.issued.push(issued.clone());
    issued
}

/// The machine's credential: the last one, until half of its life has passed.
pub(super) fn of_machine(cloud: &Cloud, issuer: Issuer) -> Issued {
    let now = cloud.clock.published();
    let (last, life) = {
        let state = cloud.state();
        let last = state.issued.iter().rev().find(|issued| issued.of_machine && issued.issuer == issuer);
        (last.cloned(), state.metadata.life)
    };
    let fresh = last.filter(|issued| now.since(issued.since) < issued.ends.since(issued.since) / 2);
    fresh.unwrap_or_else(|| issue(cloud, issuer, life, true))
}

/// Ends every temporary credential at once.
pub(super) fn revoke(state: &mut State) {
    for issued in &mut state.issued {
        issued.ends = Moment::from_millis(0);
    }
}
