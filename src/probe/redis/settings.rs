//! What is set about a login route, and what a client sends on it.

use crate::moment::span_setting;
use crate::secret::Secret;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::path::PathBuf;
use std::time::Duration;

/// How long one connection may take from the first packet to the answer, where the settings say nothing.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// How many connections one login may open at once.
pub const CONNECTION_LIMIT: usize = 16;

/// Where one target is logged in to: a bare address, or a table with these keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginSettings {
    /// `redis://HOST:PORT`, or `rediss://` for TLS. No user, no password.
    pub address: String,
    /// What a client sends; see [`FormChoice`].
    pub form: FormChoice,
    /// The certificate authorities to trust, PEM; the system's where absent.
    pub ca: Option<PathBuf>,
    /// The name in the server's certificate, where it is not the host of the address.
    pub tls_name: Option<String>,
    /// How many fresh connections each login opens; more than one where a proxy spreads them over nodes.
    pub connections: usize,
    /// How long one connection may take.
    pub timeout: Duration,
}

impl From<String> for LoginSettings {
    fn from(address: String) -> Self {
        Self { address, form: FormChoice::Auto, ca: None, tls_name: None, connections: one(), timeout: DEFAULT_TIMEOUT }
    }
}

/// The keys of the table.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, remote = "LoginSettings")]
struct Table {
    address: String,
    #[serde(default)]
    form: FormChoice,
    ca: Option<PathBuf>,
    tls_name: Option<String>,
    #[serde(default = "one")]
    connections: usize,
    #[serde(default = "default_timeout", deserialize_with = "span_setting")]
    timeout: Duration,
}

/// By hand, because serde's untagged enums swallow the message about a wrong key.
impl<'de> Deserialize<'de> for LoginSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AddressOrTable;

        impl<'de> Visitor<'de> for AddressOrTable {
            type Value = LoginSettings;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an address such as \"redis://10.0.0.12:6379\", or a table with an address in it")
            }

            fn visit_str<E: serde::de::Error>(self, address: &str) -> Result<LoginSettings, E> {
                Ok(LoginSettings::from(address.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LoginSettings, A::Error> {
                Table::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_any(AddressOrTable)
    }
}

/// The settings' word for what a client sends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FormChoice {
    /// What the provider's documents say; both documented forms are tried where they disagree.
    #[default]
    Auto,
    /// The password alone.
    Password,
    /// `INSTANCE:PASSWORD` as the password.
    InstanceColonPassword,
    /// `ACCOUNT@PASSWORD` as the password.
    AccountAtPassword,
    /// `ACCOUNT:PASSWORD` as the password.
    AccountColonPassword,
    /// User and password, as an ACL user of Redis 6 and newer.
    UserAndPassword,
}

impl FormChoice {
    /// The one form this names, or `None` for `auto`, which only the provider can resolve.
    pub fn form(self, instance: &str, account: &str) -> Option<LoginForm> {
        match self {
            Self::Auto => None,
            Self::Password => Some(LoginForm::Password),
            Self::InstanceColonPassword => Some(LoginForm::InstanceColonPassword(instance.to_owned())),
            Self::AccountAtPassword => Some(LoginForm::AccountAtPassword(account.to_owned())),
            Self::AccountColonPassword => Some(LoginForm::AccountColonPassword(account.to_owned())),
            Self::UserAndPassword => Some(LoginForm::UserAndPassword(account.to_owned())),
        }
    }
}

/// What a client sends to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginForm {
    /// `AUTH password`.
    Password,
    /// `AUTH instance:password`: the default account in Tencent's "Connecting to TencentDB for Redis" of 2026.
    InstanceColonPassword(String),
    /// `AUTH account@password`: a custom account in Tencent's "Managing Accounts".
    AccountAtPassword(String),
    /// `AUTH account:password`: a standard account in Alibaba's "Create and manage database accounts".
    AccountColonPassword(String),
    /// `AUTH user password`: an ACL user.
    UserAndPassword(String),
}

/// The forms that a proxy of Tencent Cloud takes, the first-class one first. For the default account two of the vendor's pages
/// disagree, so both stand here.
pub fn tencent_forms(instance: &str, account: &str, is_default: bool) -> Vec<LoginForm> {
    if is_default {
        vec![LoginForm::Password, LoginForm::InstanceColonPassword(instance.to_owned())]
    } else {
        vec![LoginForm::AccountAtPassword(account.to_owned())]
    }
}

/// The forms that Tair and ApsaraDB for Redis take (vendor document "Create and manage database accounts").
pub fn alibaba_forms(account: &str, is_default: bool) -> Vec<LoginForm> {
    if is_default { vec![LoginForm::Password] } else { vec![LoginForm::AccountColonPassword(account.to_owned())] }
}

/// The forms that a Redis or Valkey of one's own takes (Redis document "AUTH"). The password alone is the default user's, and the only form
/// of a server that has no other user.
pub fn acl_forms(account: &str, is_default: bool) -> Vec<LoginForm> {
    if is_default { vec![LoginForm::Password] } else { vec![LoginForm::UserAndPassword(account.to_owned())] }
}

/// What a client sends as the password.
pub fn login_password(form: &LoginForm, password: &Secret) -> Secret {
    let password = password.expose();
    Secret::new(match form {
        LoginForm::Password | LoginForm::UserAndPassword(_) => password.to_owned(),
        LoginForm::InstanceColonPassword(instance) => format!("{instance}:{password}"),
        LoginForm::AccountAtPassword(account) => format!("{account}@{password}"),
        LoginForm::AccountColonPassword(account) => format!("{account}:{password}"),
    })
}

/// The password in what a client sends: the inverse of [`login_password`], where this form puts something in front and that is there.
pub fn bare_password(form: &LoginForm, sent: &Secret) -> Option<Secret> {
    let (front, mark) = match form {
        LoginForm::Password | LoginForm::UserAndPassword(_) => return None,
        LoginForm::InstanceColonPassword(instance) => (instance, ':'),
        LoginForm::AccountAtPassword(account) => (account, '@'),
        LoginForm::AccountColonPassword(account) => (account, ':'),
    };
    let password = sent.expose().strip_prefix(front.as_str())?.strip_prefix(mark)?;
    Some(Secret::new(password.to_owned()))
}

/// What a client sends as the user name, if anything.
pub fn login_user(form: &LoginForm) -> Option<&str> {
    match form {
        LoginForm::Password
        | LoginForm::InstanceColonPassword(_)
        | LoginForm::AccountAtPassword(_)
        | LoginForm::AccountColonPassword(_) => None,
        LoginForm::UserAndPassword(user) => Some(user),
    }
}

fn one() -> usize {
    1
}

fn default_timeout() -> Duration {
    DEFAULT_TIMEOUT
}
