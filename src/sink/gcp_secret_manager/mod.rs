//! The sink `gcp-secret-manager`: one secret for each target in Google Cloud's Secret Manager.
//!
//! Readers ask for the version `latest`, which is the one that was added last, and nothing can be said about when a version may be added. What can be
//! compared and set is the secret itself, by its etag. So a delivery first notes its generation in the secret's annotations, on condition that nobody
//! changed them since they were read, and whoever finds a newer one there adds nothing. Then the version is added, and the secret looked at once more: a
//! writer of a newer generation that came in between is found in the annotations, and what it added is put back on top. What is on top is looked at
//! before the annotations are, so that one of the two looks sees such a writer. Beside a generation is noted which version was on top then: what was added
//! after that and lies below ours is that generation's, whoever notices it, and even where the answer to ours was lost.
//!
//! An answer that was lost is found again, because what is on top is then what was to be added. `latest` may lag behind for minutes; a version by its number
//! does not, so that the numbers after it are asked for, too. Versions before the current one are left alone unless
//! `keep` says how many may still be read: a disabled one costs as much as one that can be read, and a destroyed one is gone for good.
//!
//! Spoken to through [`crate::http`] and not through Google's own crate; ARCHITECTURE.md says why.

mod calls;
mod identity;
mod wire;

pub use identity::{Identity, METADATA_HOST};

use super::fields::{Found, picked};
use super::file::Format;
use super::file::copying;
use super::file::format::Layout;
use super::file::reading;
use super::http::Now;
use super::web::{Asked, to_its_end};
use super::{Document, Held, Holds, Sink};
use crate::fault::{Fault, Kind};
use crate::http::{Client, Effect, Method, Settings};
use crate::name::TargetName;
use async_trait::async_trait;
use identity::Tokens;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use url::Url;
use wire::{About, Content, said};
use zeroize::Zeroizing;

/// What stands in the annotations of a secret that keywheel writes.
const TARGET: &str = "keywheel-target";
const GENERATION: &str = "keywheel-generation";
/// The number of the version that was on top when the generation was noted; 0 where there was none.
const AFTER: &str = "keywheel-after";

/// How often a delivery that met another writer is thought over again.
const ATTEMPTS: usize = 5;

/// The largest version, in bytes (Google's document "Quotas and limits").
const VERSION_LIMIT: usize = 64 * 1024;

/// The most versions that one delivery disables or destroys; the rest is left to the next.
const PRUNED_LIMIT: usize = 20;

/// The settings of a sink with `kind = "gcp-secret-manager"`.
#[derive(Debug, Clone)]
pub struct GcpSettings {
    /// The project, by its id or number.
    pub project: String,
    /// The region of a regional secret; absent means a global one.
    pub location: Option<String>,
    /// The secret's name.
    pub secret: String,
    /// Who keywheel is.
    pub identity: Identity,
    /// The project that requests are counted against, where it is another one.
    pub quota_project: Option<String>,
    /// Whether a secret that is not there is made.
    pub create: bool,
    /// How many versions before the current one may still be read; absent means all.
    pub keep: Option<usize>,
    /// Whether those beyond are destroyed, and not only disabled.
    pub destroy: bool,
    /// A host that wins over Google's own.
    pub endpoint: Option<Url>,
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

/// A secret in Secret Manager.
#[derive(Clone)]
pub struct GcpSecretManager {
    settings: GcpSettings,
    layout: Arc<Layout>,
    client: Client,
    tokens: Arc<Tokens>,
}

impl fmt::Debug for GcpSecretManager {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "GcpSecretManager({})", self.place())
    }
}

/// The version that readers see, as far as it can be read.
enum Latest {
    /// There is none, or no secret either.
    Absent,
    /// The one with this number is disabled or destroyed; 0 where it was not asked for by its number.
    Closed(u64),
    Content(Content),
}

impl Latest {
    fn data(&self) -> Option<&[u8]> {
        match self {
            Self::Content(content) => Some(&content.data),
            Self::Absent | Self::Closed(_) => None,
        }
    }

    fn version(&self) -> u64 {
        match self {
            Self::Content(content) => content.version,
            Self::Closed(version) => *version,
            Self::Absent => 0,
        }
    }
}

impl GcpSecretManager {
    /// The sink, if its settings make sense.
    ///
    /// # Errors
    /// Every finding, `Kind::ConfigInvalid`.
    pub fn new(settings: GcpSettings, now: Now) -> Result<Self, Vec<Fault>> {
        let GcpSettings { format, prefix, template, fields, reach, location, .. } = &settings;
        let layout = Layout::new(*format, prefix.clone(), template.clone(), fields.as_ref()).map_err(super::findings);
        let host = match location {
            Some(location) => format!("https://secretmanager.{location}.rep.googleapis.com"),
            None => "https://secretmanager.googleapis.com".to_owned(),
        };
        let endpoint = settings.endpoint.clone().or_else(|| Url::parse(&host).ok());
        let none = || Fault::new(Kind::ConfigInvalid, "The sink's location is no region's name");
        let client =
            endpoint.ok_or_else(none).and_then(|endpoint| Client::new(endpoint, reach)).map_err(|fault| vec![fault]);
        match (layout, client) {
            (Ok(layout), Ok(client)) => {
                let tokens = Tokens::new(settings.identity.clone(), reach.clone(), now);
                Ok(Self { layout: Arc::new(layout), client, tokens: Arc::new(tokens), settings })
            }
            (layout, client) => Err(layout.err().into_iter().chain(client.err()).flatten().collect()),
        }
    }

    /// The project, and the region where the secret has one.
    fn parent(&self) -> String {
        match &self.settings.location {
            Some(location) => format!("projects/{}/locations/{location}", self.settings.project),
            None => format!("projects/{}", self.settings.project),
        }
    }

    fn name(&self) -> String {
        format!("{}/secrets/{}", self.parent(), self.settings.secret)
    }

    /// Refuses what belongs to another target, or is newer. Both may stand in the annotations, and in the document itself.
    fn refuse(&self, about: &About, latest: &Latest, target: &TargetName, ours: Option<u64>) -> Result<(), Fault> {
        let (inside, newest) = self.marks(latest);
        let place = self.place();
        let whose = about.annotations.get(TARGET).or(inside.as_ref());
        if let Some(other) = whose.filter(|other| *other != target.as_str()) {
            // What is no name could be anything.
            let whose =
                other.parse::<TargetName>().map_or("another target".to_owned(), |name| format!("the target {name}"));
            let what = format!("{place} holds the password of {whose}, not of {target}");
            return Err(Fault::new(Kind::SinkDenied, what).advise(format!(
                "give {target} a secret of its own; if it was renamed, delete the secret or its annotation {TARGET}"
            )));
        }
        let noted = about.annotations.get(GENERATION).and_then(|text| text.parse::<u64>().ok());
        match (noted.max(newest), ours) {
            (Some(held), Some(ours)) if held > ours => {
                let what = format!("{place} holds generation {held} of {target}, newer than {ours}");
                Err(Fault::new(Kind::SinkNewer, what).advise(
                    "find out who else writes to it; if this ledger was begun anew, give the sink another secret",
                ))
            }
            _ => Ok(()),
        }
    }

    /// Target and generation as they stand in a JSON document.
    fn marks(&self, latest: &Latest) -> (Option<String>, Option<u64>) {
        let (Layout::Json(names), Some(text)) =
            (&*self.layout, latest.data().and_then(|data| std::str::from_utf8(data).ok()))
        else {
            return (None, None);
        };
        let names = [names.of("target"), names.of("generation")];
        let wanted: Vec<&str> = names.into_iter().flatten().collect();
        let mut found = picked(text, &wanted).unwrap_or_default();
        let mut at = |name: Option<&str>| name.and_then(|name| found.remove(name));
        let target = match at(names[0]) {
            Some(Found::Text(text)) => Some(text.expose().to_owned()),
            Some(Found::Number(_) | Found::Flag(_) | Found::Nothing | Found::Other) | None => None,
        };
        let generation = match at(names[1]) {
            Some(Found::Number(number)) => Some(number),
            Some(Found::Text(_) | Found::Flag(_) | Found::Nothing | Found::Other) | None => None,
        };
        (target, generation)
    }

    /// Notes target and generation, on condition that nobody changed the secret since. False where somebody did. `below` is what was on top before.
    async fn note(&self, about: &About, target: &TargetName, generation: u64, below: u64) -> Result<bool, Fault> {
        let mut annotations = about.annotations.clone();
        annotations.insert(TARGET.to_owned(), target.to_string());
        annotations.insert(GENERATION.to_owned(), generation.to_string());
        annotations.insert(AFTER.to_owned(), below.to_string());
        self.update(about, &annotations).await
    }

    async fn update(&self, about: &About, annotations: &BTreeMap<String, String>) -> Result<bool, Fault> {
        let body = json!({ "name": self.name(), "etag": about.etag, "annotations": annotations });
        let body = Zeroizing::new(body.to_string().into_bytes());
        let query = [("updateMask", "annotations")];
        let reply = self.ask(Method::PATCH, &self.name(), &query, &body, Effect::Write).await?;
        match (reply.status, said(&reply.body).status.as_str()) {
            (200, _) => Ok(true),
            (400, "FAILED_PRECONDITION") | (409, _) => Ok(false),
            _ => Err(self.trouble("A note of the generation", &reply)),
        }
    }

    /// Adds a version and gives its number.
    async fn add(&self, content: &[u8]) -> Result<u64, Fault> {
        let path = format!("{}:addVersion", self.name());
        let reply = self.ask(Method::POST, &path, &[], &wire::addition(content), Effect::Write).await?;
        match reply.status {
            200 => wire::version(&reply.body).ok_or_else(|| self.trouble("A write", &reply)),
            _ => Err(self.trouble("A write", &reply)),
        }
    }

    /// Makes the secret. Somebody else may have been quicker.
    async fn create(&self, document: &Document) -> Result<(), Fault> {
        if !self.settings.create {
            return Err(self.absent());
        }
        let (target, generation) = (document.target.to_string(), document.generation.to_string());
        let annotations = json!({ TARGET: target, GENERATION: generation, AFTER: "0" });
        // A regional secret is where it is; others are wherever Google likes.
        let body = match self.settings.location {
            Some(_) => json!({ "annotations": annotations }),
            None => json!({ "annotations": annotations, "replication": { "automatic": {} } }),
        };
        let path = format!("{}/secrets", self.parent());
        let query = [("secretId", self.settings.secret.as_str())];
        let body = Zeroizing::new(body.to_string().into_bytes());
        let reply = self.ask(Method::POST, &path, &query, &body, Effect::Write).await?;
        match reply.status {
            200 | 409 => Ok(()),
            403 => Err(Fault {
                next_step:
                    "grant keywheel's identity secretmanager.secrets.create in the project, or make the secret yourself"
                        .to_owned(),
                ..self.trouble("The making of the secret", &reply)
            }),
            _ => Err(self.trouble("The making of the secret", &reply)),
        }
    }

    /// Puts what a newer writer added back on top of ours, which is on top now, unless that writer has not added it yet and will do so itself.
    async fn put_back(&self, about: &About, ours: &Content) -> Result<(), Fault> {
        let after = about.annotations.get(AFTER).and_then(|text| text.parse::<u64>().ok());
        // Below it is what the newer writer found there, or nothing is known.
        if after.is_none_or(|after| ours.version <= after + 1)
            || self.top(Some(ours.version)).await?.version() != ours.version
        {
            return Ok(());
        }
        match self.version(&(ours.version - 1).to_string()).await? {
            Latest::Content(newer) => self.add(&newer.data).await.map(drop),
            Latest::Absent | Latest::Closed(_) => Ok(()),
        }
    }

    /// Closes the versions that no reader should need any more. Whether that succeeds says nothing about the delivery.
    async fn prune(&self, about: &About, newest: u64) {
        let Some(keep) = self.settings.keep else { return };
        if let Err(fault) = self.close_beyond(keep, about, newest).await {
            tracing::warn!(what = %fault.what, next_step = %fault.next_step, "old versions of a secret stay readable");
        }
    }

    async fn close_beyond(&self, keep: usize, about: &About, newest: u64) -> Result<(), Fault> {
        let path = format!("{}/versions", self.name());
        let query = [("filter", "state:ENABLED"), ("pageSize", "250")];
        let reply = self.ask(Method::GET, &path, &query, &Zeroizing::default(), Effect::Read).await?;
        let listed = (reply.status == 200).then(|| wire::listed(&reply.body)).flatten();
        // A second page is left to a later delivery: each closes some of the first.
        let mut versions = listed.ok_or_else(|| self.trouble("A look at the versions", &reply))?;
        versions.retain(|(version, _)| *version < newest);
        versions.sort_unstable_by_key(|(version, _)| std::cmp::Reverse(*version));
        let named = about.named();
        let beyond = versions.into_iter().skip(keep).filter(|(version, _)| !named.contains(version));
        let verb = if self.settings.destroy { "destroy" } else { "disable" };
        for (version, etag) in beyond.take(PRUNED_LIMIT) {
            let body = Zeroizing::new(json!({ "etag": etag }).to_string().into_bytes());
            let path = format!("{}/versions/{version}:{verb}", self.name());
            let reply = self.ask(Method::POST, &path, &[], &body, Effect::Write).await?;
            // What somebody changed meanwhile is left as it is.
            if !matches!(reply.status, 200 | 400 | 404) {
                return Err(self.trouble("The closing of an old version", &reply));
            }
        }
        Ok(())
    }
}

impl GcpSecretManager {
    /// A delivery. What is added is looked back at in any case; nothing is added any more once nobody asks for it.
    async fn deliver_while(&self, asked: &Asked, document: &Document) -> Result<(), Fault> {
        let content = self.layout.render(document)?;
        if content.len() > VERSION_LIMIT {
            let what = format!("The document for {} is larger than {VERSION_LIMIT} bytes", self.place());
            return Err(Fault::new(Kind::SinkDenied, what).advise("make the sink's template shorter"));
        }
        let (target, generation) = (&document.target, document.generation.0);
        let (mut added, mut noted) = (None, false);
        for _ in 0..ATTEMPTS {
            let latest = self.top(added).await?;
            let Some(about) = self.about().await? else {
                self.create(document).await?;
                continue;
            };
            let ours = match &latest {
                Latest::Content(top) if top.data == content => Some(top),
                Latest::Content(_) | Latest::Absent | Latest::Closed(_) => None,
            };
            if let Err(fault) = self.refuse(&about, &latest, target, Some(generation)) {
                // Ours is on top of a newer one, from now or from a delivery whose answer was lost.
                if let (Kind::SinkNewer, Some(ours)) = (fault.kind, ours) {
                    self.put_back(&about, ours).await?;
                }
                return Err(fault);
            }
            // What was noted a moment ago may not show yet.
            noted |= about.annotations.get(GENERATION).is_some_and(|noted| *noted == generation.to_string())
                && about.annotations.contains_key(TARGET);
            let below = latest.version() - u64::from(ours.is_some());
            if !noted && !self.note(&about, target, generation, below).await? {
                continue;
            }
            noted = true;
            if ours.is_some() {
                self.prune(&about, latest.version()).await;
                return Ok(());
            }
            asked.still()?;
            added = Some(self.add(&content).await?);
        }
        let what = format!("{} keeps changing, or what Google shows of it is of some time ago", self.place());
        Err(Fault::new(Kind::SinkUnavailable, what).advise("find out who else writes to it; keywheel tries again"))
    }
}

#[async_trait]
impl Sink for GcpSecretManager {
    async fn ready(&self, target: &TargetName) -> Result<(), Fault> {
        let latest = self.top(None).await?;
        let about = match self.about().await? {
            Some(about) => about,
            // Whether one may be made shows only when it is made.
            None if self.settings.create => return Ok(()),
            None => return Err(self.absent()),
        };
        self.refuse(&about, &latest, target, None)?;
        self.refuse_missing_permissions().await?;
        if let Latest::Closed(version) = latest {
            self.refuse_unusable_key(version).await?;
        }
        // A write that changes nothing. That somebody else wrote since shows as well that writes are taken.
        self.update(&about, &about.annotations).await.map(drop)
    }

    async fn deliver(&self, document: &Document) -> Result<(), Fault> {
        let (sink, document) = (self.clone(), document.clone());
        to_its_end(|asked| async move { sink.deliver_while(&asked, &document).await }).await
    }

    fn shape(&self, document: &Document) -> Option<Vec<u8>> {
        let mut shape = format!("{} {}\n", self.client.endpoint(), self.name()).into_bytes();
        shape.extend_from_slice(&self.layout.render(document).ok()?);
        Some(shape)
    }

    async fn has_lost_it(&self) -> bool {
        // A version that somebody disabled is there; that is for a person to undo.
        matches!(self.version("latest").await, Ok(Latest::Absent))
    }

    async fn read_back(&self, target: &TargetName) -> Result<Option<Held>, Fault> {
        if !self.layout.can_be_read_back() {
            return Err(super::cannot_be_read(&format!("the form of {}", self.place())));
        }
        let latest = self.top(None).await?;
        let Some(about) = self.about().await? else { return Ok(None) };
        self.refuse(&about, &latest, target, None)?;
        match latest.data() {
            Some(data) => {
                reading::held(&self.layout, data, &format!("The newest version of {}", self.place())).map(Some)
            }
            None => Ok(None),
        }
    }

    /// The generation is noted before its version is there: a document that does not say so itself may be taken for a newer one for a moment.
    async fn copy(&self, target: &TargetName) -> Result<Option<Document>, Fault> {
        if !self.layout.can_be_read_back() {
            return Err(super::cannot_be_read(&format!("the form of {}", self.place())));
        }
        let latest = self.top(None).await?;
        let Some(about) = self.about().await? else { return Ok(None) };
        self.refuse(&about, &latest, target, None)?;
        let noted: u64 = about.annotations.get(GENERATION).and_then(|text| text.parse().ok()).unwrap_or(0);
        let Some(data) = latest.data() else { return Ok(None) };
        copying::document(&self.layout, data, &self.place(), target, noted.into()).map(Some)
    }

    async fn holds(&self, document: &Document) -> Result<Holds, Fault> {
        let content = self.layout.render(document)?;
        // What readers of `latest` do not see yet, nobody else made.
        let latest = self.top(None).await?;
        Ok(match latest.data() {
            None => Holds::Absent,
            Some(data) if data == content.as_slice() => Holds::Same,
            Some(_) => Holds::Other,
        })
    }

    fn place(&self) -> String {
        let GcpSettings { project, secret, location, .. } = &self.settings;
        let region = location.as_ref().map_or_else(String::new, |location| format!(" in {location}"));
        format!("the secret {secret} of the project {project}{region} in Google's Secret Manager")
    }
}
