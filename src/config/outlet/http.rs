//! `kind = "http"`: a receiver behind a URL.

use super::super::reading::{Refusal, Section, refusal};
use super::super::secret_ref::SecretRef;
use super::super::template::is_template;
use super::{REQUEST_TIMEOUT_LIMIT, web_address};
use crate::sink::web::TIMEOUT;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A receiver of passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpSink {
    /// Where documents are put, perhaps a template.
    pub url: String,
    /// What requests are signed with.
    pub signing_key: SecretRef,
    /// A bearer token.
    pub token: Option<SecretRef>,
    /// Whether it answers whether it would take a delivery.
    pub check: bool,
    /// Whether it gives back what it stored.
    pub read: bool,
    /// How long one request may take.
    pub timeout: Duration,
    /// Certificates (PEM) to trust instead of the machine's.
    pub ca_file: Option<PathBuf>,
}

impl fmt::Debug for HttpSink {
    /// Without the URL, whose path and query may hold a token.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("HttpSink").field("signing_key", &self.signing_key).finish_non_exhaustive()
    }
}

/// A URL as it may stand in the settings.
pub(super) fn url(text: &str) -> Result<String, Refusal> {
    web_address(text).map(String::from)
}

pub(super) fn parse(section: &Section<'_>) -> Option<HttpSink> {
    let url = section.parsed("url", |text| if is_template(text) { Ok(text.to_owned()) } else { url(text) });
    let signing_key = SecretRef::parse(section, "signing-key");
    let token = SecretRef::if_written(section, "token");
    let check = section.flag("check").unwrap_or(false);
    let read = section.flag("read").unwrap_or(false);
    let timeout = section.span_up_to("timeout", REQUEST_TIMEOUT_LIMIT).unwrap_or(TIMEOUT);
    let ca_file = section.path("ca-file");
    if ca_file.is_some() && url.as_ref().is_some_and(|url| url.starts_with("http://")) {
        section.refuse("ca-file", refusal("This key means nothing without TLS", "write https:// or remove it"));
    }
    Some(HttpSink { url: url?, signing_key: signing_key?, token: token?, check, read, timeout, ca_file })
}
