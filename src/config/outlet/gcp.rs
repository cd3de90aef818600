//! `kind = "gcp-secret-manager"`: a secret in Google Cloud's Secret Manager.

use super::super::provider::endpoint;
use super::super::reading::{Refusal, Section, refusal};
use super::super::secret_ref::SecretRef;
use super::super::template::is_template;
use super::{Format, REQUEST_TIMEOUT_LIMIT};
use crate::sink::file::Format as FileFormat;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// How long one request may take unless said otherwise: a delivery is several.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The longest name of a secret (Google's document "CreateSecret").
const NAME_LIMIT: usize = 255;

/// The most versions before the current one that may still be read where their number is said.
const KEEP_LIMIT: u32 = 1000;

/// A secret in Secret Manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcpSink {
    /// The project, by its id or number.
    pub project: String,
    /// The region of a regional secret.
    pub location: Option<String>,
    /// The secret's name, perhaps a template.
    pub secret: String,
    /// Whose requests these are.
    pub identity: GcpIdentity,
    /// The project that requests are counted against.
    pub quota_project: Option<String>,
    /// Whether a secret that is not there is made.
    pub create: bool,
    /// How many versions before the current one may still be read.
    pub keep: Option<u32>,
    /// Whether those beyond are destroyed.
    pub destroy: bool,
    /// A host that wins over Google's own: https, or plain http to a loopback address.
    pub endpoint: Option<Url>,
    /// What a version looks like.
    pub format: Format,
    /// How long one request may take.
    pub timeout: Duration,
    /// Certificates (PEM) to trust instead of the machine's.
    pub ca_file: Option<PathBuf>,
}

/// Who keywheel is at Google.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GcpIdentity {
    /// A service account, by its key.
    ServiceAccount {
        /// The JSON file.
        key: SecretRef,
    },
    /// The machine's service account.
    Metadata {
        /// Which of them.
        account: String,
        /// Where the metadata server is; absent means where Google has it.
        endpoint: Option<Url>,
    },
    /// An identity elsewhere that Google trusts.
    ExternalAccount {
        /// The file that says how.
        file: PathBuf,
    },
}

impl GcpSink {
    /// Where the secret is: the same name elsewhere is another one.
    pub(in crate::config) fn within(&self) -> String {
        let endpoint = self.endpoint.as_ref().map(Url::as_str).unwrap_or_default();
        format!("gcp {} {} {endpoint}", self.project, self.location.as_deref().unwrap_or_default())
    }
}

/// A secret's name.
pub(super) fn name(text: &str) -> Result<String, Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    match (1..=NAME_LIMIT).contains(&text.len()) && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err(refusal(
            format!("This is no secret's name: it has 1 to {NAME_LIMIT} letters, digits and - _"),
            "write the name alone, such as \"redis-{{ target }}\"",
        )),
    }
}

/// A word of small letters, digits and hyphens, which goes into addresses.
fn word(text: &str, others: &[u8], example: &str) -> Result<String, Refusal> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || others.contains(&byte);
    match (1..=100).contains(&text.len()) && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err(refusal("This is not how Google writes it", format!("write it such as \"{example}\""))),
    }
}

pub(super) fn parse(section: &Section<'_>) -> Option<GcpSink> {
    // Old projects have a domain before their name.
    let project = |text: &str| word(text, b".:", "shop-prod");
    let own = section.parsed("project", project);
    let quota_project = section.parsed("quota-project", project);
    let location = section.parsed("location", |text| word(text, b"", "europe-west3"));
    let secret = section.parsed("secret", |text| if is_template(text) { Ok(text.to_owned()) } else { name(text) });
    let identity = section.section("credentials").and_then(|table| identity(&table));
    let keep = section.number("keep", 0..=KEEP_LIMIT);
    let destroy = section.flag("destroy").unwrap_or(false);
    if section.has("destroy") && !section.has("keep") {
        let what = "No version is closed unless it is said how many stay open";
        section.refuse("destroy", refusal(what, "add keep = NUMBER or remove destroy"));
    }
    let endpoint = section.parsed("endpoint", endpoint);
    let ca_file = section.path("ca-file");
    if ca_file.is_some() && endpoint.as_ref().is_some_and(|url| url.scheme() == "http") {
        section.refuse("ca-file", refusal("This key means nothing without TLS", "write https:// or remove it"));
    }
    let format = super::format(section, FileFormat::Json);
    let create = section.flag("create").unwrap_or(false);
    let timeout = section.span_up_to("timeout", REQUEST_TIMEOUT_LIMIT).unwrap_or(TIMEOUT);
    Some(GcpSink {
        project: own?,
        location,
        secret: secret?,
        identity: identity?,
        quota_project,
        create,
        keep,
        destroy,
        endpoint,
        format: format?,
        timeout,
        ca_file,
    })
}

fn identity(table: &Section<'_>) -> Option<GcpIdentity> {
    match table.text("source")? {
        "service-account" => Some(GcpIdentity::ServiceAccount { key: SecretRef::parse(table, "key")? }),
        "metadata" => {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
            let account = match table.has("account") {
                false => Some("default".to_owned()),
                true => table.parsed("account", |text| match !text.is_empty() && text.bytes().all(plain) {
                    true => Ok(text.to_owned()),
                    false => Err(refusal("This is no service account", "write default, or its e-mail address")),
                }),
            };
            Some(GcpIdentity::Metadata { account: account?, endpoint: table.parsed("metadata-endpoint", endpoint) })
        }
        "external-account" => Some(GcpIdentity::ExternalAccount { file: table.path("account-file")? }),
        _ => None,
    }
}
