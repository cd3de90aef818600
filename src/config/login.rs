//! The key `login` of a target: where a password is proven.

use super::reading::{Refusal, Section, refusal};
use crate::probe::redis::FormChoice;
use crate::sink::Endpoint;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// The port of Redis unless said otherwise.
const REDIS_PORT: u16 = 6379;

/// How long one login connection may take unless said otherwise.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest time one login connection may be given.
const LOGIN_TIMEOUT_LIMIT: Duration = Duration::from_secs(60);

/// The most connections of one login.
const CONNECTIONS_LIMIT: u32 = 16;

/// A route to log in to an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Host, port, and whether over TLS.
    pub endpoint: Endpoint,
    /// How many fresh connections each login opens.
    pub connections: u32,
    /// What a client sends.
    pub form: FormChoice,
    /// Certificates (PEM) to trust instead of the machine's.
    pub ca_file: Option<PathBuf>,
    /// The name in the server's certificate, where it is not the host.
    pub tls_name: Option<String>,
    /// How long one connection may take.
    pub timeout: Duration,
}

pub(super) fn parse(section: &Section<'_>) -> Option<Login> {
    let table = section.section("login");
    let endpoint = match &table {
        Some(table) => table.parsed("url", login_url),
        None => section.parsed("login", login_url),
    }?;
    let mut login = Login {
        endpoint,
        connections: 1,
        form: FormChoice::Auto,
        ca_file: None,
        tls_name: None,
        timeout: LOGIN_TIMEOUT,
    };
    if let Some(table) = table {
        let forms = [
            ("auto", FormChoice::Auto),
            ("password", FormChoice::Password),
            ("instance-colon-password", FormChoice::InstanceColonPassword),
            ("account-at-password", FormChoice::AccountAtPassword),
            ("account-colon-password", FormChoice::AccountColonPassword),
            ("user-and-password", FormChoice::UserAndPassword),
        ];
        login.connections = table.number("connections", 1..=CONNECTIONS_LIMIT).unwrap_or(1);
        login.form = table.choice("form", &forms).unwrap_or_default();
        login.ca_file = table.path("ca-file");
        login.tls_name = table.parsed("tls-name", tls_name);
        login.timeout = table.span_up_to("timeout", LOGIN_TIMEOUT_LIMIT).unwrap_or(LOGIN_TIMEOUT);
        for key in ["ca-file", "tls-name"].into_iter().filter(|key| table.has(key) && !login.endpoint.tls) {
            let what = "This key means nothing without TLS";
            table.refuse(key, refusal(what, "write rediss:// in url, or remove it"));
        }
    }
    Some(login)
}

pub(super) fn tls_name(text: &str) -> Result<String, Refusal> {
    match url::Host::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(refusal("This is not the name of a host", "write the name that the server's certificate has")),
    }
}

pub(super) fn login_url(text: &str) -> Result<Endpoint, Refusal> {
    let plain = "write redis://HOST:PORT, or rediss://HOST:PORT for TLS";
    let url = Url::parse(text).map_err(|_| refusal("This is not an address to log in to", plain))?;
    let tls = match url.scheme() {
        "redis" => false,
        "rediss" => true,
        _ => return Err(refusal("This is not an address to log in to", plain)),
    };
    if !url.username().is_empty() || url.password().is_some() {
        let next_step = format!("{plain}; keywheel knows the password itself. If it was real, replace it");
        return Err(refusal("There is a user or a password in this address", next_step));
    }
    let alone = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    if !alone || host.is_empty() {
        return Err(refusal("An address to log in to is a scheme, a host and perhaps a port, and nothing else", plain));
    }
    Ok(Endpoint { host: host.to_owned(), port: url.port().unwrap_or(REDIS_PORT), tls })
}
