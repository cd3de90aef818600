//! The sink `azure-key-vault`: one secret for each target in an Azure Key Vault.
//!
//! Each write makes a version, and the newest one is what readers see. Target and generation are tags of the version, so they are written with the
//! password or not at all. Key Vault compares nothing: the secret is looked at before the write, and all its versions wherever ours is on top, after
//! the write or after one whose answer was lost; what a newer writer wrote in between, and ours then covered, is put back on top. A lost answer is found
//! again, because what is current is then what was to be written.
//!
//! The vendor's own clients are used, over [`crate::http`] and without repetitions of theirs.

mod calls;
mod carrier;

pub use carrier::METADATA_HOST;

use super::file::Format;
use super::file::copying;
use super::file::format::Layout;
use super::file::reading;
use super::web::{Asked, Credential, to_its_end};
use super::{Document, Held, Holds, Sink};
use crate::fault::{Fault, Kind};
use crate::http::{Client, Settings};
use crate::name::TargetName;
use async_trait::async_trait;
use azure_security_keyvault_secrets::SecretClient;
use azure_security_keyvault_secrets::models::SetSecretParameters;
use calls::{Ask, Refusal, Said, Tags, number};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Mutex;
use url::Url;
use zeroize::Zeroizing;

/// The tags of a version that keywheel writes.
const TARGET: &str = "keywheel-target";
const GENERATION: &str = "keywheel-generation";

/// How often a delivery that met another writer is thought over again.
const ATTEMPTS: usize = 5;

/// The largest value, in bytes (Azure's document "About keys, secrets and certificates").
const VALUE_LIMIT: usize = 25 * 1024;

/// Who keywheel is at Azure.
#[derive(Debug, Clone)]
pub enum Identity {
    /// An application, by its secret.
    ClientSecret {
        /// The tenant (directory).
        tenant: String,
        /// The application (client).
        client: String,
        /// What proves it.
        secret: Credential,
    },
    /// A workload that an application trusts, by its token.
    Workload {
        /// The tenant (directory).
        tenant: String,
        /// The application (client).
        client: String,
        /// The workload's token, which somebody replaces from time to time.
        token_file: PathBuf,
    },
    /// The identity of this machine.
    Managed {
        /// Which of several; absent means the machine's own.
        client: Option<String>,
    },
}

/// The settings of a sink with `kind = "azure-key-vault"`.
#[derive(Debug, Clone)]
pub struct AzureSettings {
    /// The vault's address.
    pub vault: Url,
    /// The secret's name.
    pub secret: String,
    /// Who keywheel is.
    pub identity: Identity,
    /// Who gives tokens.
    pub authority: Url,
    /// Where the machine's metadata service is, if not at its usual address.
    pub metadata: Option<Url>,
    /// What a version looks like.
    pub format: Format,
    /// What each name of [`Format::Env`] begins with.
    pub prefix: Option<String>,
    /// The text of [`Format::Template`].
    pub template: Option<String>,
    /// Which parts of the document are written, and what each is called.
    pub fields: Option<BTreeMap<String, String>>,
    /// Timeout and certificates.
    pub reach: Settings,
}

/// A secret in a Key Vault.
#[derive(Clone)]
pub struct AzureKeyVault {
    settings: AzureSettings,
    layout: Arc<Layout>,
    client: Client,
    authority: Client,
    /// The vendor's client, with the token that it holds.
    kept: Arc<Mutex<Option<Arc<SecretClient>>>>,
}

impl fmt::Debug for AzureKeyVault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "AzureKeyVault({})", self.place())
    }
}

/// A version of the secret.
struct Version {
    id: String,
    value: Zeroizing<String>,
    tags: Tags,
}

/// What readers see.
enum Current {
    Absent,
    /// It is disabled.
    Closed,
    Version(Version),
}

impl Current {
    fn version(&self) -> Option<&Version> {
        match self {
            Self::Version(version) => Some(version),
            Self::Absent | Self::Closed => None,
        }
    }
}

fn generation(tags: &Tags) -> u64 {
    tags.get(GENERATION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

impl AzureKeyVault {
    /// The sink, if its settings make sense.
    ///
    /// # Errors
    /// Every finding, `Kind::ConfigInvalid`.
    pub fn new(settings: AzureSettings) -> Result<Self, Vec<Fault>> {
        let AzureSettings { vault, authority, format, prefix, template, fields, reach, .. } = &settings;
        let layout = Layout::new(*format, prefix.clone(), template.clone(), fields.as_ref()).map_err(super::findings);
        let client = Client::new(vault.clone(), reach).map_err(|fault| vec![fault]);
        let authority = Client::new(authority.clone(), reach).map_err(|fault| vec![fault]);
        match (layout, client, authority) {
            (Ok(layout), Ok(client), Ok(authority)) => {
                Ok(Self { settings, layout: Arc::new(layout), client, authority, kept: Arc::default() })
            }
            (layout, client, authority) => {
                Err(layout.err().into_iter().chain(client.err()).chain(authority.err()).flatten().collect())
            }
        }
    }

    /// What a version with this document is.
    fn parameters(&self, document: &Document) -> Result<SetSecretParameters, Fault> {
        let content = self.layout.render(document)?;
        let text = std::str::from_utf8(&content).map_err(|_| Fault::new(Kind::Bug, "a document that is no text"))?;
        if text.len() > VALUE_LIMIT {
            let what = format!("The document for {} is larger than {VALUE_LIMIT} bytes", self.place());
            return Err(Fault::new(Kind::SinkDenied, what).advise("make the sink's template shorter"));
        }
        let form = match self.settings.format {
            Format::Json => "application/json",
            Format::Yaml => "application/yaml",
            Format::Raw | Format::Env | Format::Url | Format::Template | Format::Directory => "text/plain",
        };
        let tags = [(TARGET, document.target.to_string()), (GENERATION, document.generation.to_string())];
        Ok(SetSecretParameters {
            content_type: Some(form.to_owned()),
            tags: Some(tags.map(|(name, value)| (name.to_owned(), value)).into()),
            value: Some(text.to_owned()),
            // No time at which it ends: what is live does not end by itself.
            secret_attributes: None,
        })
    }

    async fn look(&self, version: Option<&str>) -> Result<Current, Fault> {
        match self.ask(Ask::Get(version)).await {
            Ok(secret) => {
                let (Some(value), Some(id)) = (secret.value, secret.id.as_deref().and_then(number)) else {
                    let what = format!("A look at {} brought no secret", self.place());
                    return Err(
                        Fault::new(Kind::SinkUnavailable, what).advise("check the sink's vault; keywheel tries again")
                    );
                };
                Ok(Current::Version(Version {
                    id,
                    value: Zeroizing::new(value),
                    tags: secret.tags.unwrap_or_default(),
                }))
            }
            Err(Refusal::Said(Said { status: 404, .. })) => Ok(Current::Absent),
            Err(Refusal::Said(said)) if said.status == 403 && said.inner == "SecretDisabled" => Ok(Current::Closed),
            Err(refusal) => Err(self.trouble("A look", refusal)),
        }
    }

    /// Refuses what belongs to another target, or is newer.
    fn refuse(&self, tags: &Tags, target: &TargetName, ours: Option<u64>) -> Result<(), Fault> {
        let place = self.place();
        if let Some(other) = tags.get(TARGET).filter(|other| *other != target.as_str()) {
            // What is no name could be anything.
            let whose =
                other.parse::<TargetName>().map_or("another target".to_owned(), |name| format!("the target {name}"));
            let what = format!("{place} holds the password of {whose}, not of {target}");
            return Err(Fault::new(Kind::SinkDenied, what).advise(format!(
                "give {target} a secret of its own; if it was renamed, remove the tag {TARGET} from all versions"
            )));
        }
        match (generation(tags), ours) {
            (held, Some(ours)) if held > ours => {
                let what = format!("{place} holds generation {held} of {target}, newer than {ours}");
                Err(Fault::new(Kind::SinkNewer, what).advise(
                    "find out who else writes to it; if this ledger was begun anew, give the sink another secret",
                ))
            }
            _ => Ok(()),
        }
    }

    /// The version with the newest generation, whether readers see it or not.
    async fn newest(&self) -> Result<Option<(String, Tags)>, Fault> {
        match self.versions().await {
            Ok(versions) => Ok(versions.into_iter().max_by_key(|(_, tags)| generation(tags))),
            Err(Refusal::Said(Said { status: 404, .. })) => Ok(None),
            Err(refusal) => Err(self.trouble("A look at the versions", refusal)),
        }
    }

    async fn put(&self, parameters: &SetSecretParameters) -> Result<(), Fault> {
        self.ask(Ask::Set(parameters)).await.map(drop).map_err(|refusal| self.trouble("A write", refusal))
    }

    /// Writes what is in this version once more, on top.
    async fn put_back(&self, id: &str) -> Result<(), Fault> {
        match self.ask(Ask::Get(Some(id))).await {
            Ok(secret) => {
                let parameters = SetSecretParameters {
                    content_type: secret.content_type,
                    tags: secret.tags,
                    value: secret.value,
                    secret_attributes: None,
                };
                self.put(&parameters).await
            }
            // Somebody disabled it.
            Err(Refusal::Said(said)) if matches!(said.status, 403 | 404) => Ok(()),
            Err(refusal) => Err(self.trouble("A look", refusal)),
        }
    }
}

impl AzureKeyVault {
    /// A delivery. What is written is looked back at in any case; nothing is written any more once nobody asks for it.
    async fn deliver_while(&self, asked: &Asked, document: &Document) -> Result<(), Fault> {
        let parameters = self.parameters(document)?;
        let (target, ours) = (&document.target, document.generation.0);
        for _ in 0..ATTEMPTS {
            let current = self.look(None).await?;
            let is_ours = current.version().is_some_and(|version| generation(&version.tags) == ours);
            if let Some(version) = current.version() {
                self.refuse(&version.tags, target, Some(ours))?;
            }
            // What lies below: where ours is on top, from now or from a write whose answer was lost, and where what readers see says nothing of itself.
            let hidden = match &current {
                Current::Version(version) => is_ours || !version.tags.contains_key(GENERATION),
                Current::Closed => true,
                Current::Absent => false,
            };
            let newest = if hidden { self.newest().await? } else { None };
            if let Some((id, tags)) = newest
                && let Err(fault) = self.refuse(&tags, target, Some(ours))
            {
                if is_ours && fault.kind == Kind::SinkNewer {
                    self.put_back(&id).await?;
                }
                return Err(fault);
            }
            let same = current.version().is_some_and(|version| {
                parameters.value.as_deref() == Some(version.value.as_str())
                    && parameters.tags.as_ref() == Some(&version.tags)
            });
            if same {
                return Ok(());
            }
            asked.still()?;
            self.put(&parameters).await?;
        }
        let what = format!("Others keep writing to {}", self.place());
        Err(Fault::new(Kind::SinkUnavailable, what).advise("find out who else writes to it; keywheel tries again"))
    }
}

#[async_trait]
impl Sink for AzureKeyVault {
    async fn ready(&self, target: &TargetName) -> Result<(), Fault> {
        match self.look(None).await? {
            Current::Version(version) => {
                self.refuse(&version.tags, target, None)?;
                // A write that changes nothing. One that makes a version would be seen.
                let touched = self.ask(Ask::Touch(&version.id, &version.tags)).await;
                touched.map(drop).map_err(|refusal| self.trouble("A write", refusal))
            }
            // Its tags can be written, though it cannot be read; which one it is, the list says.
            Current::Closed => match self.newest().await? {
                Some((id, tags)) => {
                    self.refuse(&tags, target, None)?;
                    let touched = self.ask(Ask::Touch(&id, &tags)).await;
                    touched.map(drop).map_err(|refusal| self.trouble("A write", refusal))
                }
                None => Ok(()),
            },
            Current::Absent => match self.ask(Ask::Deleted).await {
                Ok(_) => Err(self.soft_deleted()),
                // Whether it was, need not be for keywheel to know; whether one may be made shows only when it is made.
                Err(Refusal::Said(said)) if matches!(said.status, 400 | 403 | 404) => Ok(()),
                Err(refusal) => Err(self.trouble("A look", refusal)),
            },
        }
    }

    async fn deliver(&self, document: &Document) -> Result<(), Fault> {
        let (sink, document) = (self.clone(), document.clone());
        to_its_end(|asked| async move { sink.deliver_while(&asked, &document).await }).await
    }

    fn shape(&self, document: &Document) -> Option<Vec<u8>> {
        let mut shape = format!("{} {}\n", self.client.endpoint(), self.settings.secret).into_bytes();
        shape.extend_from_slice(&self.layout.render(document).ok()?);
        Some(shape)
    }

    async fn has_lost_it(&self) -> bool {
        // One that somebody disabled is there; that is for a person to undo.
        matches!(self.look(None).await, Ok(Current::Absent))
    }

    async fn read_back(&self, target: &TargetName) -> Result<Option<Held>, Fault> {
        if !self.layout.can_be_read_back() {
            return Err(super::cannot_be_read(&format!("the form of {}", self.place())));
        }
        let current = self.look(None).await?;
        let Some(version) = current.version() else { return Ok(None) };
        self.refuse(&version.tags, target, None)?;
        reading::held(&self.layout, version.value.as_bytes(), &format!("The value of {}", self.place())).map(Some)
    }

    async fn copy(&self, target: &TargetName) -> Result<Option<Document>, Fault> {
        if !self.layout.can_be_read_back() {
            return Err(super::cannot_be_read(&format!("the form of {}", self.place())));
        }
        let current = self.look(None).await?;
        let Some(version) = current.version() else { return Ok(None) };
        self.refuse(&version.tags, target, None)?;
        let marked = generation(&version.tags).into();
        copying::document(&self.layout, version.value.as_bytes(), &self.place(), target, marked).map(Some)
    }

    async fn holds(&self, document: &Document) -> Result<Holds, Fault> {
        let content = self.layout.render(document)?;
        Ok(match self.look(None).await?.version() {
            None => Holds::Absent,
            Some(version) if version.value.as_bytes() == content.as_slice() => Holds::Same,
            Some(_) => Holds::Other,
        })
    }

    fn place(&self) -> String {
        format!("the secret {} in the Key Vault at {}", self.settings.secret, self.client.authority())
    }
}
