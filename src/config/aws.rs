//! `[sinks.NAME]` of `kind = "aws-secrets-manager"` and `"aws-parameter-store"`: a secret or a parameter in an account of AWS.

use super::outlet::{Format, format};
use super::provider::{endpoint, region};
use super::reading::{Refusal, Section, refusal};
use super::secret_ref::SecretRef;
use super::template::is_template;
use crate::http::is_on_link;
use crate::sink::file::Format as FileFormat;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// How long one request may take unless said otherwise: a delivery is several, and may take two minutes in all.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The longest time one request may be given.
const TIMEOUT_LIMIT: Duration = Duration::from_secs(60);

/// The longest names, in bytes (vendor documents "CreateSecret" and "PutParameter").
const SECRET_LIMIT: usize = 512;
const PARAMETER_LIMIT: usize = 1011;

/// How many names a parameter's path may have (vendor document "PutParameter").
const LEVELS: usize = 15;

/// Where a cluster puts a pod's token (vendor document "IAM roles for service accounts").
const TOKEN_FILE: &str = "/var/run/secrets/eks.amazonaws.com/serviceaccount/token";

/// The longest name of a key, a role or a profile, in bytes.
const NAME_LIMIT: usize = 2048;

/// A secret or a parameter in an account of AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsSink {
    /// Which of the two.
    pub store: AwsStore,
    /// What it is called, perhaps a template.
    pub name: String,
    /// The region's id.
    pub region: String,
    /// Whose requests these are.
    pub credentials: AwsCredentials,
    /// A host that wins over the region's own.
    pub endpoint: Option<Url>,
    /// Whether one that is not there is made.
    pub create: bool,
    /// The key that it is encrypted by.
    pub kms_key: Option<String>,
    /// What the document looks like.
    pub format: Format,
    /// How long one request may take in all.
    pub timeout: Duration,
    /// Certificates (PEM) to trust instead of the machine's.
    pub ca_file: Option<PathBuf>,
}

/// Which of the vendor's stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AwsStore {
    /// A secret of Secrets Manager.
    SecretsManager,
    /// A parameter of Parameter Store.
    ParameterStore {
        /// Its tier; absent means the one that it has.
        tier: Option<AwsTier>,
    },
}

/// Which quotas a parameter has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AwsTier {
    /// 4 KB.
    Standard,
    /// 8 KB.
    Advanced,
    /// The first of the two that holds it.
    Intelligent,
}

/// Where the credential is, and where the services are that give one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsCredentials {
    /// The source.
    pub source: AwsSource,
    /// The token service; absent means the region's own.
    pub sts_endpoint: Option<Url>,
    /// The machine's metadata service; absent means the vendor's own.
    pub metadata_endpoint: Option<Url>,
}

/// The kinds of source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AwsSource {
    /// Each part at its own place.
    Static {
        /// The public half.
        id: SecretRef,
        /// The secret half.
        key: SecretRef,
        /// The session token of temporary credentials.
        token: Option<SecretRef>,
    },
    /// The variables that the vendor's own tools read.
    Environment,
    /// A profile in a file of the vendor's own tools.
    Profile {
        /// The file.
        path: Option<PathBuf>,
        /// The profile.
        name: Option<String>,
    },
    /// A role for a pod's own identity.
    WebIdentity {
        /// The role, and where the pod's token is; absent means as the cluster's variables say.
        role: Option<(String, PathBuf)>,
        /// What the session is called.
        session: Option<String>,
    },
    /// The service that a container's variables name.
    Container,
    /// The role of the machine this runs on.
    InstanceRole {
        /// Its name.
        role: Option<String>,
    },
    /// Whatever the vendor's own tools would find.
    Chain,
}

impl AwsSink {
    /// The same under another name.
    ///
    /// # Errors
    /// Why that is none, as a sentence without its full stop.
    pub(super) fn at(&self, name: String) -> Result<Self, String> {
        self.store.refuse_odd_name(&name)?;
        Ok(Self { name, ..self.clone() })
    }

    /// The key that its name stands at.
    pub(super) fn key(&self) -> &'static str {
        self.store.key()
    }

    /// The store: the same name elsewhere is another place.
    pub(super) fn within(&self) -> String {
        let endpoint = self.endpoint.as_ref().map(Url::as_str).unwrap_or_default();
        format!("aws {} {} {endpoint}", self.key(), self.region)
    }
}

impl AwsStore {
    fn key(self) -> &'static str {
        match self {
            Self::SecretsManager => "secret",
            Self::ParameterStore { .. } => "parameter",
        }
    }

    fn refuse_odd_name(self, name: &str) -> Result<(), String> {
        let of = |others: &str| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.as_bytes().contains(&byte))
        };
        match self {
            Self::SecretsManager => {
                let ends_like_an_arn = name.len() > 7 && name.as_bytes()[name.len() - 7] == b'-' && {
                    name[name.len() - 6..].bytes().all(|byte| byte.is_ascii_alphanumeric())
                };
                match name.len() <= SECRET_LIMIT && of("/_+=.@-") {
                    false => Err(format!("A secret's name has 1 to {SECRET_LIMIT} letters, digits and / _ + = . @ -")),
                    // The store takes such an end for the random one that it adds to each secret's ARN.
                    true if ends_like_an_arn => Err("A secret's name does not end in - and six characters".to_owned()),
                    true => Ok(()),
                }
            }
            Self::ParameterStore { .. } => {
                let bare = name.trim_start_matches('/').to_ascii_lowercase();
                if name.len() > PARAMETER_LIMIT || !of("/_.-") || bare.is_empty() {
                    return Err(format!("A parameter's name has 1 to {PARAMETER_LIMIT} letters, digits and . - _ /"));
                }
                if bare.starts_with("aws") || bare.starts_with("ssm") {
                    return Err("Names that begin with aws or ssm are the vendor's own".to_owned());
                }
                if bare.contains('/') && !name.starts_with('/') {
                    return Err("A parameter's path begins with /".to_owned());
                }
                if name.contains("//") || name.ends_with('/') || bare.split('/').count() > LEVELS {
                    return Err(format!("A parameter's path has at most {LEVELS} names, each with something in it"));
                }
                Ok(())
            }
        }
    }
}

pub(super) fn parse(section: &Section<'_>, kind: &str) -> Option<AwsSink> {
    let store = match kind {
        "aws-parameter-store" => {
            let tiers = [
                ("standard", AwsTier::Standard),
                ("advanced", AwsTier::Advanced),
                ("intelligent-tiering", AwsTier::Intelligent),
            ];
            AwsStore::ParameterStore { tier: section.choice("tier", &tiers) }
        }
        _ => AwsStore::SecretsManager,
    };
    let name = section.parsed(store.key(), |text| {
        let fits = if is_template(text) { Ok(()) } else { store.refuse_odd_name(text) };
        fits.map(|()| text.to_owned()).map_err(|why| refusal(why, "give it another name"))
    });
    let region = section.parsed("region", |text| region(text, "eu-central-1"));
    let credentials = section.section("credentials").and_then(|table| credentials(&table));
    let create = section.flag("create").unwrap_or(false);
    if store == AwsStore::SecretsManager && section.has("kms-key") && !create {
        let what = "This matters where a secret is made, and this sink makes none";
        section.refuse("kms-key", refusal(what, "add create = true or remove kms-key"));
    }
    let format = format(section, FileFormat::Json);
    let endpoint = section.parsed("endpoint", endpoint);
    let kms_key = section.parsed("kms-key", |text| plain(text, "a key"));
    let timeout = section.span_up_to("timeout", TIMEOUT_LIMIT).unwrap_or(TIMEOUT);
    let ca_file = section.path("ca-file");
    Some(AwsSink {
        store,
        name: name?,
        region: region?,
        credentials: credentials?,
        endpoint,
        create,
        kms_key,
        format: format?,
        timeout,
        ca_file,
    })
}

/// The machine's own service is on its link, where plain http is what the vendor documents.
fn metadata_endpoint(text: &str) -> Result<Url, Refusal> {
    match Url::parse(text) {
        Ok(url) if is_on_link(&url) && url.path() == "/" && url.query().is_none() && url.username().is_empty() => {
            Ok(url)
        }
        Ok(_) | Err(_) => endpoint(text),
    }
}

fn credentials(section: &Section<'_>) -> Option<AwsCredentials> {
    let sts_endpoint = section.parsed("sts-endpoint", endpoint);
    let metadata_endpoint = section.parsed("metadata-endpoint", metadata_endpoint);
    Some(AwsCredentials { source: source(section)?, sts_endpoint, metadata_endpoint })
}

fn source(section: &Section<'_>) -> Option<AwsSource> {
    match section.text("source")? {
        "static" => {
            let id = SecretRef::parse(section, "access-key-id");
            let key = SecretRef::parse(section, "secret-access-key");
            let token = SecretRef::if_written(section, "session-token");
            Some(AwsSource::Static { id: id?, key: key?, token: token? })
        }
        "environment" => Some(AwsSource::Environment),
        "profile" => {
            let name = section.parsed("profile", |text| plain(text, "a profile"));
            Some(AwsSource::Profile { path: section.path("path"), name })
        }
        "web-identity" => {
            let role = section.parsed("role-arn", role_arn);
            let token_file = section.path("token-file");
            for key in ["token-file", "session-name"] {
                if section.has(key) && !section.has("role-arn") {
                    let what = "Without role-arn the cluster's variables say all of this";
                    section.refuse(key, refusal(what, format!("add role-arn, or remove {key}")));
                }
            }
            let role = role.map(|role| (role, token_file.unwrap_or_else(|| PathBuf::from(TOKEN_FILE))));
            let session = section.parsed("session-name", |text| plain(text, "a session"));
            Some(AwsSource::WebIdentity { role, session })
        }
        "container" => Some(AwsSource::Container),
        "instance-role" => {
            let role = section.parsed("role", |text| plain(text, "a role"));
            Some(AwsSource::InstanceRole { role })
        }
        "chain" => Some(AwsSource::Chain),
        _ => None,
    }
}

/// A name without blanks.
fn plain(text: &str, what: &str) -> Result<String, Refusal> {
    match (1..=NAME_LIMIT).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err(refusal(format!("This is not the name of {what}"), "write it as the AWS console shows it")),
    }
}

fn role_arn(text: &str) -> Result<String, Refusal> {
    match plain(text, "a role") {
        Ok(arn) if arn.starts_with("arn:aws") && arn.contains(":role/") => Ok(arn),
        Ok(_) | Err(_) => {
            Err(refusal("This is not a role's ARN", "write one such as arn:aws:iam::100000000001:role/rotator"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_the_vendor_takes() {
        let parameter = AwsStore::ParameterStore { tier: None };
        let long = "a".repeat(513);
        let deep = "/a".repeat(16);
        for (store, name, named) in [
            (AwsStore::SecretsManager, "redis/orders_+=.@-", true),
            (AwsStore::SecretsManager, "redis/orders-abc123", false),
            (AwsStore::SecretsManager, "redis orders", false),
            (AwsStore::SecretsManager, "arn:aws:secretsmanager:x", false),
            (AwsStore::SecretsManager, "", false),
            (AwsStore::SecretsManager, &long, false),
            (parameter, "/redis/orders-cache_1.x", true),
            (parameter, "orders", true),
            (parameter, "redis/orders", false),
            (parameter, "/redis//orders", false),
            (parameter, "/redis/orders/", false),
            (parameter, "/aws/orders", false),
            (parameter, "SSM-orders", false),
            (parameter, "/", false),
            (parameter, "/orders@x", false),
            (parameter, &deep[2..], true),
            (parameter, &deep, false),
        ] {
            assert_eq!(store.refuse_odd_name(name).is_ok(), named, "{name}");
        }
    }
}
