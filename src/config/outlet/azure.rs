//! `kind = "azure-key-vault"`: a secret in an Azure Key Vault.

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

/// The longest name of a secret (Azure's document "Object identifiers").
const NAME_LIMIT: usize = 127;

/// Who gives tokens in Azure's public cloud.
const AUTHORITY: &str = "https://login.microsoftonline.com";

/// Where AKS puts a pod's token.
const TOKEN_FILE: &str = "/var/run/secrets/azure/tokens/azure-identity-token";

/// A secret in a Key Vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureSink {
    /// The vault's address.
    pub vault: Url,
    /// The secret's name, perhaps a template.
    pub secret: String,
    /// Whose requests these are.
    pub identity: AzureIdentity,
    /// Who gives tokens.
    pub authority: Url,
    /// What a version looks like.
    pub format: Format,
    /// How long one request may take.
    pub timeout: Duration,
    /// Certificates (PEM) to trust instead of the machine's.
    pub ca_file: Option<PathBuf>,
}

/// Who keywheel is at Azure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AzureIdentity {
    /// An application, by its secret.
    ClientSecret {
        /// The tenant.
        tenant: String,
        /// The application.
        client: String,
        /// What proves it.
        secret: SecretRef,
    },
    /// A workload that an application trusts.
    Workload {
        /// The tenant.
        tenant: String,
        /// The application.
        client: String,
        /// The workload's token.
        token_file: PathBuf,
    },
    /// The machine's identity.
    Managed {
        /// Which of several.
        client: Option<String>,
        /// Where the metadata service is; absent means at its usual address.
        endpoint: Option<Url>,
    },
}

/// A secret's name.
pub(super) fn name(text: &str) -> Result<String, Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    match (1..=NAME_LIMIT).contains(&text.len()) && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err(refusal(
            format!("This is no secret's name: it has 1 to {NAME_LIMIT} letters, digits and hyphens"),
            "write the name alone, such as \"redis-{{ target }}\"",
        )),
    }
}

/// A tenant or an application, by its id; a tenant may have a domain as well.
fn id(text: &str) -> Result<String, Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    match (1..=100).contains(&text.len()) && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err(refusal("This is no id", "write it such as \"00000000-0000-0000-0000-000000000000\"")),
    }
}

/// An address with nothing after the host.
fn bare(text: &str) -> Result<Url, Refusal> {
    let url = endpoint(text)?;
    match url.path() == "/" && url.query().is_none() {
        true => Ok(url),
        false => Err(refusal("This address has something after its host", "write https://HOST alone")),
    }
}

pub(super) fn parse(section: &Section<'_>) -> Option<AzureSink> {
    let vault = section.parsed("vault", bare);
    let secret = section.parsed("secret", |text| if is_template(text) { Ok(text.to_owned()) } else { name(text) });
    let identity = section.section("credentials").and_then(|table| identity(&table));
    let authority = match section.has("authority") {
        true => section.parsed("authority", bare),
        false => Url::parse(AUTHORITY).ok(),
    };
    let ca_file = section.path("ca-file");
    if ca_file.is_some() && vault.as_ref().is_some_and(|url| url.scheme() == "http") {
        section.refuse("ca-file", refusal("This key means nothing without TLS", "write https:// or remove it"));
    }
    let format = super::format(section, FileFormat::Json);
    let timeout = section.span_up_to("timeout", REQUEST_TIMEOUT_LIMIT).unwrap_or(TIMEOUT);
    Some(AzureSink {
        vault: vault?,
        secret: secret?,
        identity: identity?,
        authority: authority?,
        format: format?,
        timeout,
        ca_file,
    })
}

fn identity(table: &Section<'_>) -> Option<AzureIdentity> {
    let (tenant, client) = (table.parsed("tenant", id), table.parsed("client", id));
    match table.text("source")? {
        "client-secret" => {
            let secret = SecretRef::parse(table, "secret");
            Some(AzureIdentity::ClientSecret { tenant: tenant?, client: client?, secret: secret? })
        }
        "workload-identity" => {
            let usual = || Some(PathBuf::from(TOKEN_FILE));
            let token_file = if table.has("token-file") { table.path("token-file") } else { usual() };
            Some(AzureIdentity::Workload { tenant: tenant?, client: client?, token_file: token_file? })
        }
        "managed-identity" => {
            if table.has("client") && client.is_none() {
                return None;
            }
            Some(AzureIdentity::Managed { client, endpoint: table.parsed("metadata-endpoint", bare) })
        }
        _ => None,
    }
}
