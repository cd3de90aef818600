//! The sink `aws-parameter-store`: a parameter of the type SecureString in AWS Systems Manager (API version 2014-11-06).
//!
//! Such a parameter has one newest version, which readers see, and compares nothing when it is overwritten. So each version's description says which
//! generation of which target it holds; it is written together with the value. The parameter's history is looked at before a write and once more right
//! after it: a newer generation that came in between, and was overwritten, is put back. A delivery whose answer was lost is found again by the
//! description of the newest version.
//!
//! The newest version carries the generation as a label too, for readers and people. Earlier ones give theirs up: the store deletes the oldest of a
//! hundred versions by itself, and refuses to write where that one has a label.

use super::Reach;
use super::api::{Api, Refusal, Service};
use super::marks;
use crate::fault::{Fault, Kind};
use crate::name::TargetName;
use crate::secret::Secret;
use crate::sink::file::format::Layout;
use crate::sink::file::{Format, copying, reading};
use crate::sink::store::secret::Text;
use crate::sink::web::{Asked, to_its_end};
use crate::sink::{Document, Held, Holds, Sink};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a description begins with, and what stands between its parts.
const MARK: &str = "keywheel: target ";
const MARK_GENERATION: &str = ", generation ";
const MARK_DIGEST: &str = ", document ";

/// What a label begins with.
const LABEL: &str = "keywheel-g";

/// How many versions are asked for at once, and how often at most. A page holds their encrypted values too. There are at most a hundred versions, but a
/// page may have less than it was asked for: only one without a token is the last.
const PAGE: u32 = 25;
const PAGES: usize = 100;

/// How often a lost race is run again before the next try is left to the driver.
const RACES: usize = 4;

/// Which quotas a parameter has ("Managing parameter tiers" in the vendor's document).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// 4 KB, free of charge.
    Standard,
    /// 8 KB.
    Advanced,
    /// The first of the two that holds it.
    Intelligent,
}

impl Tier {
    fn name(self) -> &'static str {
        match self {
            Self::Standard => "Standard",
            Self::Advanced => "Advanced",
            Self::Intelligent => "Intelligent-Tiering",
        }
    }
}

/// The settings of a sink with `kind = "aws-parameter-store"`.
#[derive(Debug, Clone)]
pub struct ParameterStoreSettings {
    /// Where the store is, and whose requests these are.
    pub reach: Reach,
    /// The parameter's name.
    pub parameter: String,
    /// Whether a parameter that is not there is made.
    pub create: bool,
    /// The key that values are encrypted by; absent means the one that the parameter has, or the account's own for this service.
    pub kms_key: Option<String>,
    /// The tier; absent means the one that the parameter has, or the account's default.
    pub tier: Option<Tier>,
    /// What the document looks like.
    pub format: Format,
    /// What each name of [`Format::Env`] begins with.
    pub prefix: Option<String>,
    /// The text of [`Format::Template`].
    pub template: Option<String>,
    /// Which parts of the document are written, and what each is called.
    pub fields: Option<BTreeMap<String, String>>,
}

/// A parameter that receives one target's password.
#[derive(Debug, Clone)]
pub struct ParameterStore {
    api: Arc<Api>,
    parameter: String,
    create: bool,
    kms_key: Option<String>,
    tier: Option<Tier>,
    layout: Arc<Layout>,
}

/// A version, but for its value.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version: u64,
    #[serde(rename = "Type")]
    kind: String,
    description: Option<String>,
    key_id: Option<String>,
    tier: Option<String>,
    #[serde(default)]
    labels: Vec<String>,
}

/// What a version says of itself.
#[derive(Debug, PartialEq, Eq)]
struct Mark<'a> {
    target: &'a str,
    generation: u64,
    digest: &'a str,
}

impl<'a> Mark<'a> {
    /// Reads a description, if keywheel wrote it.
    fn read(description: &'a str) -> Option<Self> {
        let (target, rest) = description.strip_prefix(MARK)?.split_once(MARK_GENERATION)?;
        let (generation, digest) = rest.split_once(MARK_DIGEST)?;
        Some(Self { target, generation: generation.parse().ok()?, digest })
    }
}

impl Version {
    fn mark(&self) -> Option<Mark<'_>> {
        self.description.as_deref().and_then(Mark::read)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct History {
    #[serde(default)]
    parameters: Vec<Version>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Got {
    parameter: Parameter,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parameter {
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Put<'a> {
    name: &'a str,
    value: &'a str,
    #[serde(rename = "Type")]
    kind: &'static str,
    overwrite: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<&'a str>,
}

/// A parameter as it is now: every version there is, the newest last. There is at least one.
struct Look(Vec<Version>);

impl Look {
    fn shown(&self) -> &Version {
        &self.0[self.0.len() - 1]
    }

    /// The newest generation of this target's, and a version that keywheel wrote with it.
    fn newest(&self, target: &TargetName) -> Option<(u64, &Version)> {
        let ours = self.0.iter().filter_map(|version| {
            let mark = version.mark().filter(|mark| mark.target == target.as_str())?;
            Some((mark.generation, version))
        });
        let (generation, last) = ours.max_by_key(|(generation, version)| (*generation, version.version))?;
        // Somebody who overwrites a value may have left the description as it was: the first of several is keywheel's.
        self.0.iter().find(|version| version.description == last.description).map(|version| (generation, version))
    }
}

/// What became of a write.
enum Written {
    Version(u64),
    /// It is there, and was not to be.
    Exists,
}

impl ParameterStore {
    /// The sink, if its settings make sense.
    ///
    /// # Errors
    /// Every finding, `Kind::ConfigInvalid`.
    pub fn new(settings: ParameterStoreSettings) -> Result<Self, Vec<Fault>> {
        let ParameterStoreSettings { reach, parameter, create, kms_key, tier, format, prefix, template, fields } =
            settings;
        let layout = Layout::new(format, prefix, template, fields.as_ref()).map_err(crate::sink::findings);
        let api = Api::new(Service::ParameterStore, &reach).map_err(|fault| vec![fault]);
        match (layout, api) {
            (Ok(layout), Ok(api)) => {
                Ok(Self { api: Arc::new(api), parameter, create, kms_key, tier, layout: Arc::new(layout) })
            }
            (layout, api) => Err(layout.err().into_iter().chain(api.err()).flatten().collect()),
        }
    }

    fn command(&self, rest: &str) -> String {
        format!("aws ssm {rest} --region {} --name {}", self.api.region(), self.parameter)
    }

    /// What a refusal means here.
    fn refused(&self, refusal: Refusal) -> Fault {
        let what = format!("{}: {}", self.place(), refusal.fault.what);
        let denied = |advice: String| Fault::new(Kind::SinkDenied, what.as_str()).advise(advice);
        match refusal.code.as_deref() {
            Some("ParameterNotFound") => denied(self.how_to_create()),
            Some("ParameterMaxVersionLimitExceeded") => denied(
                "take the labels from the oldest versions (aws ssm unlabel-parameter-version), so that the store can delete them"
                    .to_owned(),
            ),
            Some("ParameterLimitExceeded") => {
                denied("delete parameters that nobody reads any more, or write tier = \"advanced\"".to_owned())
            }
            Some("ParameterVersionLabelLimitExceeded") => {
                denied("take labels that nobody reads from the newest version: there are at most ten".to_owned())
            }
            Some("ValidationException") => denied(
                "check name, key and tier; a value may have 4 KB, and 8 KB with tier = \"advanced\"".to_owned(),
            ),
            Some("TooManyUpdates") => Fault::new(Kind::SinkUnavailable, what)
                .advise("nothing; somebody else changes it at the same moment, and keywheel delivers again"),
            Some(_) | None => Fault { what, ..refusal.fault },
        }
    }

    fn how_to_create(&self) -> String {
        format!("create it: {}; or set create = true", self.command("put-parameter --type SecureString --value '{}'"))
    }

    fn absent(&self) -> Fault {
        Fault::new(Kind::SinkDenied, format!("There is no such thing as {}", self.place())).advise(self.how_to_create())
    }

    /// `None` where there is no such parameter.
    async fn look(&self) -> Result<Option<Look>, Fault> {
        let mut question = json!({ "Name": self.parameter, "WithDecryption": false, "MaxResults": PAGE });
        let mut versions = Vec::new();
        for _ in 0..PAGES {
            let page: History = match self.api.read("GetParameterHistory", &question).await {
                Ok(page) => page,
                Err(refusal) if refusal.is("ParameterNotFound") => return Ok(None),
                Err(refusal) => return Err(self.refused(refusal)),
            };
            versions.extend(page.parameters);
            if let Some(token) = page.next_token.filter(|token| !token.is_empty()) {
                question["NextToken"] = token.into();
                continue;
            }
            versions.sort_by_key(|version| version.version);
            return Ok((!versions.is_empty()).then_some(Look(versions)));
        }
        // The newest may be among those that were not shown.
        let what = format!("The history of {} has no end: {PAGES} pages were shown", self.place());
        Err(Fault::new(Kind::SinkUnavailable, what).advise("check the sink's endpoint; keywheel tries again"))
    }

    /// What is in a version; `None` where it is gone.
    async fn value(&self, version: &Version) -> Result<Option<Secret>, Fault> {
        let name = format!("{}:{}", self.parameter, version.version);
        match self.api.read::<Got>("GetParameter", &json!({ "Name": name, "WithDecryption": true })).await {
            Ok(got) => Ok(Some(Secret::new(got.parameter.value))),
            Err(refusal) if refusal.is("ParameterNotFound") || refusal.is("ParameterVersionNotFound") => Ok(None),
            Err(refusal) => Err(self.refused(refusal)),
        }
    }

    /// Refuses what belongs to another target.
    fn refuse_stranger(&self, shown: &Version, target: &TargetName) -> Result<(), Fault> {
        match shown.mark().filter(|mark| mark.target != target.as_str()) {
            None => Ok(()),
            Some(mark) => {
                let free = self.command("put-parameter --overwrite --description free --value '{}'");
                let free = format!("put another value there: {free}");
                Err(marks::stranger(&self.place(), Some(mark.target), target, &free))
            }
        }
    }

    async fn put(&self, put: &Put<'_>, secrets: &[Secret]) -> Result<Written, Fault> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            version: u64,
        }
        match self.api.write::<Answer>("PutParameter", put, secrets).await {
            Ok(answer) => Ok(Written::Version(answer.version)),
            Err(refusal) if refusal.is("ParameterAlreadyExists") => Ok(Written::Exists),
            Err(refusal) => Err(self.refused(refusal)),
        }
    }

    /// A write. Without a key or a tier of its own it keeps those that the parameter has; the store would take the account's defaults.
    fn written<'a>(&'a self, before: Option<&'a Version>, value: &'a str, description: &'a str) -> Put<'a> {
        Put {
            name: &self.parameter,
            value,
            kind: "SecureString",
            overwrite: before.is_some(),
            description: Some(description),
            key_id: self.kms_key.as_deref().or_else(|| before.and_then(|before| before.key_id.as_deref())),
            tier: self.tier.map(Tier::name).or_else(|| before.and_then(|before| before.tier.as_deref())),
        }
    }

    /// Where a newer generation than the document's is there, it is what readers see from now on, and the document is refused.
    async fn yield_to_newer(&self, look: &Look, document: &Document) -> Result<(), Fault> {
        let Some((held, version)) = look.newest(&document.target).filter(|(held, _)| *held > document.generation.0)
        else {
            return Ok(());
        };
        let is_shown = look.shown().mark().is_some_and(|mark| mark.generation == held);
        let ours = look.shown().mark().is_some();
        // What somebody else put over it is theirs to take away.
        if ours
            && !is_shown
            && let Some(value) = self.value(version).await?
        {
            let description = version.description.as_deref().unwrap_or_default();
            let secrets = marks::secrets(document, value.expose());
            self.put(&self.written(Some(look.shown()), value.expose(), description), &secrets).await?;
        }
        Err(marks::newer(&self.place(), held, document))
    }

    /// Labels the version that readers see. It is there, whatever becomes of the label: one that is not permitted holds nothing up.
    async fn label(&self, look: &Look, document: &Document) -> Result<(), Fault> {
        match self.labelled(look, document).await {
            Err(Fault { kind: Kind::SinkDenied, what, next_step, .. }) => {
                tracing::warn!(%what, %next_step, "a delivered version goes without its label");
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Gives the version that readers see the generation's label, and takes those of earlier ones away.
    async fn labelled(&self, look: &Look, document: &Document) -> Result<(), Fault> {
        let shown = look.shown();
        let label = format!("{LABEL}{}", document.generation);
        if !shown.labels.contains(&label) {
            let question = json!({ "Name": self.parameter, "ParameterVersion": shown.version, "Labels": [label] });
            self.change("LabelParameterVersion", &question).await?;
        }
        for earlier in look.0.iter().filter(|version| version.version < shown.version) {
            let old = earlier.labels.iter().filter(|held| held.starts_with(LABEL) && **held != label);
            let old: Vec<&String> = old.collect();
            if !old.is_empty() {
                let question = json!({ "Name": self.parameter, "ParameterVersion": earlier.version, "Labels": old });
                self.change("UnlabelParameterVersion", &question).await?;
            }
        }
        Ok(())
    }

    async fn change(&self, action: &'static str, question: &Value) -> Result<(), Fault> {
        match self.api.write::<Value>(action, question, &[]).await {
            Ok(_) => Ok(()),
            // The store deleted it, or somebody did.
            Err(refusal) if refusal.is("ParameterVersionNotFound") => Ok(()),
            Err(refusal) => Err(self.refused(refusal)),
        }
    }
}

impl ParameterStore {
    /// A delivery. What is written is looked back at in any case; nothing is written any more once nobody asks for it.
    async fn deliver_while(&self, asked: &Asked, document: &Document) -> Result<(), Fault> {
        let text = marks::text(document, &self.layout)?;
        let digest = marks::of_the_rest(document, &self.layout)?;
        let (target, generation) = (&document.target, document.generation);
        let description = format!("{MARK}{target}{MARK_GENERATION}{generation}{MARK_DIGEST}{digest}");
        let secrets = marks::secrets(document, text.expose());
        for _ in 0..RACES {
            let look = self.look().await?;
            if let Some(look) = &look {
                self.refuse_stranger(look.shown(), target)?;
                self.yield_to_newer(look, document).await?;
                let is_shown = look.shown().description.as_deref() == Some(&*description);
                if is_shown && self.value(look.shown()).await?.is_some_and(|held| held.expose() == text.expose()) {
                    return self.label(look, document).await;
                }
            } else if !self.create {
                return Err(self.absent());
            }
            asked.still()?;
            let before = look.as_ref().map(Look::shown);
            let Written::Version(version) =
                self.put(&self.written(before, text.expose(), &description), &secrets).await?
            else {
                continue;
            };
            // Whoever writes a newer one from now on has seen ours; one that came before it shows now.
            let Some(look) = self.look().await? else { continue };
            self.yield_to_newer(&look, document).await?;
            if look.shown().version == version {
                return self.label(&look, document).await;
            }
        }
        Err(marks::contended(&self.place()))
    }
}

#[async_trait]
impl Sink for ParameterStore {
    async fn ready(&self, target: &TargetName) -> Result<(), Fault> {
        let Some(look) = self.look().await? else {
            // Whether one may be made shows only when it is made.
            return if self.create { Ok(()) } else { Err(self.absent()) };
        };
        let shown = look.shown();
        self.refuse_stranger(shown, target)?;
        if shown.kind != "SecureString" {
            let what = format!("{} has the type {}, and would show the password", self.place(), shown.kind);
            let next_step =
                "delete it, or name another one; a parameter that keeps passwords has the type SecureString";
            return Err(Fault::new(Kind::SinkDenied, what).advise(next_step));
        }
        // What is there now is decrypted to compare it.
        let Some(value) = self.value(shown).await? else { return Err(marks::contended(&self.place())) };
        // The write itself, under a condition that does not hold: that the parameter is not there. Should somebody delete it in this moment, what readers
        // see is there again.
        let description = shown.description.as_deref().filter(|text| !text.is_empty());
        let rehearsal = self.written(Some(shown), value.expose(), "");
        let rehearsal = Put { overwrite: false, description, ..rehearsal };
        self.put(&rehearsal, std::slice::from_ref(&value)).await.map(drop)
    }

    async fn deliver(&self, document: &Document) -> Result<(), Fault> {
        let (sink, document) = (self.clone(), document.clone());
        to_its_end(|asked| async move { sink.deliver_while(&asked, &document).await }).await
    }

    fn shape(&self, document: &Document) -> Option<Vec<u8>> {
        let text = marks::text(document, &self.layout).ok()?;
        Some(format!("{}\n{}", self.place(), text.expose()).into_bytes())
    }

    /// To ask each store at a start would hold the start up; the next verification compares, and finds what is not there.
    async fn has_lost_it(&self) -> bool {
        false
    }

    async fn read_back(&self, target: &TargetName) -> Result<Option<Held>, Fault> {
        if !self.layout.can_be_read_back() {
            return Err(crate::sink::cannot_be_read(&format!("the form of {}", self.place())));
        }
        let Some(look) = self.look().await? else { return Ok(None) };
        self.refuse_stranger(look.shown(), target)?;
        match self.value(look.shown()).await? {
            Some(text) if !matches!(Text::read(text.expose()), Text::Empty) => {
                reading::held(&self.layout, text.expose().as_bytes(), &self.place()).map(Some)
            }
            Some(_) | None => Ok(None),
        }
    }

    async fn copy(&self, target: &TargetName) -> Result<Option<Document>, Fault> {
        if !self.layout.can_be_read_back() {
            return Err(crate::sink::cannot_be_read(&format!("the form of {}", self.place())));
        }
        let Some(look) = self.look().await? else { return Ok(None) };
        self.refuse_stranger(look.shown(), target)?;
        let marked = look.shown().mark().map_or(0, |mark| mark.generation).into();
        let there = |text: &Secret| !matches!(Text::read(text.expose()), Text::Empty);
        let Some(text) = self.value(look.shown()).await?.filter(there) else { return Ok(None) };
        copying::document(&self.layout, text.expose().as_bytes(), &self.place(), target, marked).map(Some)
    }

    async fn holds(&self, document: &Document) -> Result<Holds, Fault> {
        let wanted = marks::text(document, &self.layout)?;
        let Some(look) = self.look().await? else { return Ok(Holds::Absent) };
        Ok(match self.value(look.shown()).await? {
            None => Holds::Absent,
            Some(text) if text.expose() == wanted.expose() => Holds::Same,
            Some(text) if matches!(Text::read(text.expose()), Text::Empty) => Holds::Absent,
            Some(_) => Holds::Other,
        })
    }

    fn place(&self) -> String {
        format!("the parameter {} in {}", self.parameter, self.api.region())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_read_as_it_was_written() {
        let read = Mark::read("keywheel: target orders-cache, generation 7, document 0123456789ab");
        assert_eq!(read, Some(Mark { target: "orders-cache", generation: 7, digest: "0123456789ab" }));
        for other in ["", "The cache", "keywheel: target a", "keywheel: target a, generation b, document c"] {
            assert_eq!(Mark::read(other), None, "{other}");
        }
    }
}
