//! `kind = "etcd"` in `[sinks.NAME]`.

use super::outlet::Format;
use super::provider::endpoint;
use super::reading::{Section, refusal};
use super::secret_ref::SecretRef;
use super::template::is_template;
use crate::sink::etcd::{DEFAULT_TIMEOUT, KEY_LIMIT};
use crate::sink::file::Format as FileFormat;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// The most members that are asked one after the other.
const ENDPOINT_LIMIT: usize = 9;

/// The longest time one request may be given.
const TIMEOUT_LIMIT: Duration = Duration::from_secs(60);

/// A key of etcd for each target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdSink {
    /// The members' client URLs.
    pub endpoints: Vec<Url>,
    /// Where the document lies, perhaps a template.
    pub key: String,
    /// What the value looks like.
    pub format: Format,
    /// Whose requests these are: a name, and where the password is kept.
    pub user: Option<(String, SecretRef)>,
    /// Certificates (PEM) to trust instead of the machine's.
    pub ca_file: Option<PathBuf>,
    /// A client certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// How long one request may take.
    pub timeout: Duration,
}

impl EtcdSink {
    /// Which store it is.
    pub(super) fn store(&self) -> String {
        let mut members: Vec<&str> = self.endpoints.iter().map(Url::as_str).collect();
        members.sort_unstable();
        format!("etcd {}", members.join(" "))
    }
}

/// A key as etcd takes it.
pub(super) fn key(text: String) -> Result<String, String> {
    match text.len() {
        1..=KEY_LIMIT if !text.chars().any(char::is_control) => Ok(text),
        _ => Err(format!("a key has 1 to {KEY_LIMIT} bytes and no control characters")),
    }
}

pub(super) fn parse(section: &Section<'_>) -> Option<EtcdSink> {
    let endpoints = endpoints(section);
    let key = section.parsed("key", |text| match is_template(text) {
        true => Ok(text.to_owned()),
        false => key(text.to_owned()).map_err(|why| refusal(why, "write it such as \"/keywheel/{{ target }}\"")),
    });
    let format = super::outlet::format(section, FileFormat::Json);
    let name = section.text("user").map(str::to_owned);
    let password = SecretRef::parse(section, "password");
    let timeout = section.span_up_to("timeout", TIMEOUT_LIMIT).unwrap_or(DEFAULT_TIMEOUT);
    let certificate = section.path("certificate").zip(section.path("certificate-key"));
    for [one, other] in [
        ["user", "password"],
        ["password", "user"],
        ["certificate", "certificate-key"],
        ["certificate-key", "certificate"],
    ] {
        if section.has(one) && !section.has(other) {
            let what = format!("This key means nothing without {other}");
            section.refuse(one, refusal(what, format!("add {other}, or remove {one}")));
        }
    }
    Some(EtcdSink {
        endpoints: endpoints?,
        key: key?,
        format: format?,
        user: name.zip(password),
        ca_file: section.path("ca-file"),
        certificate,
        timeout,
    })
}

fn endpoints(section: &Section<'_>) -> Option<Vec<Url>> {
    let texts = section.texts("endpoints");
    if section.has("endpoints") && !(1..=ENDPOINT_LIMIT).contains(&texts.len()) {
        let what = format!("A store has 1 to {ENDPOINT_LIMIT} endpoints");
        section.refuse("endpoints", refusal(what, "write endpoints = [\"https://HOST:2379\"]"));
        return None;
    }
    let urls: Result<Vec<Url>, _> = texts.into_iter().map(endpoint).collect();
    urls.map_err(|refusal| section.refuse("endpoints", refusal)).ok()
}
