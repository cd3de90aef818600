//! The sink `alibaba-kms`: a generic secret of Alibaba Cloud's KMS (API version 2016-01-20).
//!
//! Readers ask for the version with the label ACSCurrent. A generation is first written as a version of its own under a label that nobody reads;
//! then ACSCurrent is moved to it, from the version that was seen to have it. A version is written once and for all, and writing the same again
//! succeeds, so a lost answer is simply asked for again. Of more than ten versions KMS itself deletes the oldest that has no label.
//!
//! That KMS refuses to move a label away from a version that has not got it is UNCONFIRMED. Where it does not, two writers at the very same
//! instant are kept apart by the look right before alone.

use super::store::SecretCalls;
use super::store::secret::{self, NameRules, Text, Versions};
use super::{Document, Held, Holds, Sink, StoreApi, StoreFailure};
use crate::fault::{Fault, Kind};
use crate::name::TargetName;
use crate::secret::Secret;
use async_trait::async_trait;
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;

/// Secrets' names (vendor document "CreateSecret").
pub const NAMES: NameRules = NameRules { longest: 192, others: "_/+=.-@", reserved: "acs/" };

/// The label of the version that readers see, the vendor's own.
const CURRENT: &str = "ACSCurrent";

/// The label of a version that is to become current. Of a secret's eight labels this is one.
const PENDING: &str = "KeyWheelPending";

/// A version and its label, by which it is seen whether a write would be taken. No reader asks for them; they stay there.
const REHEARSAL: (&str, &str) = ("keywheel.ready", "KeyWheelReady");

/// The settings of a sink with `kind = "alibaba-kms"`.
#[derive(Debug, Clone)]
pub struct AlibabaKmsSettings {
    /// The secret.
    pub secret: String,
    /// The region, for people.
    pub region: String,
    /// Whether a secret that is not there is made.
    pub create: bool,
    /// The key that a secret is made with.
    pub kms_key: Option<String>,
    /// The KMS instance that a secret is made in.
    pub kms_instance: Option<String>,
}

/// A secret that receives one target's password.
pub struct AlibabaKms {
    settings: AlibabaKmsSettings,
    api: Arc<dyn StoreApi>,
}

impl fmt::Debug for AlibabaKms {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AlibabaKms").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    version_ids: Versioned,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Versioned {
    version_id: Vec<Version>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version_id: String,
    #[serde(default)]
    version_stages: Stages,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Stages {
    #[serde(default)]
    version_stage: Vec<String>,
}

impl Stages {
    fn has(&self, label: &str) -> bool {
        self.version_stage.iter().any(|held| held == label)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Value {
    version_id: String,
    secret_data: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    secret_type: Option<String>,
    planned_delete_time: Option<String>,
}

/// A secret as it is now.
struct Look {
    versions: Vec<Version>,
    /// The version with ACSCurrent, and what is in it.
    current: Option<(String, Secret)>,
}

impl Look {
    fn text(&self) -> Option<Text> {
        self.current.as_ref().map(|(_, text)| Text::read(text.expose()))
    }

    fn newest(&self, versions: &Versions, place: &str) -> Result<u64, Fault> {
        let text = self.text();
        let ids = self.versions.iter().map(|version| version.version_id.as_str());
        versions.newest(place, ids, text.as_ref().and_then(Text::document))
    }

    fn is_labelled(&self, id: &str, label: &str) -> bool {
        self.versions.iter().any(|version| version.version_id == id && version.version_stages.has(label))
    }
}

/// The secret as one target's.
struct OfTarget<'a> {
    sink: &'a AlibabaKms,
    calls: SecretCalls<'a>,
    place: String,
    versions: Versions,
}

impl AlibabaKms {
    /// A sink that calls the store by `api`.
    pub fn new(settings: AlibabaKmsSettings, api: Arc<dyn StoreApi>) -> Self {
        Self { settings, api }
    }

    fn of(&self, target: &TargetName) -> OfTarget<'_> {
        let calls = SecretCalls { api: &*self.api, vendor: "Alibaba", secret: &self.settings.secret };
        OfTarget { sink: self, calls, place: self.place(), versions: Versions::of(target) }
    }
}

impl OfTarget<'_> {
    async fn write(
        &self,
        action: &'static str,
        more: &[(&'static str, &str)],
        document: Option<&Document>,
    ) -> Result<(), Fault> {
        self.calls.write(action, more, document).await.map_err(|failure| self.refused(failure))
    }

    /// What a refusal means here. The vendor prints few codes, so one that is not known is taken for a trouble that passes.
    fn refused(&self, failure: StoreFailure) -> Fault {
        let what = format!("{}: {}", self.place, failure.fault.what);
        if failure.is("Forbidden.ResourceNotFound") {
            return Fault::new(Kind::SinkDenied, what).advise(self.how_to_create());
        }
        Fault { what, ..failure.of_sink() }
    }

    fn how_to_create(&self) -> String {
        format!(
            "create it, with the key it is to be encrypted by: aliyun kms CreateSecret --RegionId {} --SecretName {} --VersionId first --SecretData '{{}}' \
             --EncryptionKeyId KEY --DKMSInstanceId INSTANCE; or set create = true",
            self.sink.settings.region, self.sink.settings.secret
        )
    }

    fn absent(&self) -> Fault {
        Fault::new(Kind::SinkDenied, format!("There is no such thing as {}", self.place)).advise(self.how_to_create())
    }

    /// `None` where there is no such secret.
    async fn look(&self) -> Result<Option<Look>, Fault> {
        // One page, of twenty: a secret has at most ten versions, and eight labels that keep one.
        let versions = match self.calls.read::<Listed>("ListSecretVersionIds", &[("IncludeDeprecated", "true")]).await {
            Ok(listed) => listed.version_ids.version_id,
            Err(failure) if failure.is("Forbidden.ResourceNotFound") => return Ok(None),
            Err(failure) => return Err(self.refused(failure)),
        };
        let current = match self.calls.read::<Value>("GetSecretValue", &[("VersionStage", CURRENT)]).await {
            Ok(value) => Some((value.version_id, Secret::new(value.secret_data))),
            Err(failure) if failure.is("Forbidden.ResourceNotFound") => None,
            Err(failure) => return Err(self.refused(failure)),
        };
        Ok(Some(Look { versions, current }))
    }

    /// What is in a version that is there.
    async fn holds_other(&self, id: &str, text: &str) -> Result<bool, Fault> {
        match self.calls.read::<Value>("GetSecretValue", &[("VersionId", id)]).await {
            Ok(value) => Ok(Secret::new(value.secret_data).expose() != text),
            Err(failure) if failure.is("Forbidden.ResourceNotFound") => Ok(false),
            Err(failure) => Err(self.refused(failure)),
        }
    }

    /// Makes the secret. Its first version is current at once.
    async fn create(&self, id: &str, document: &Document, text: &str) -> Result<(), Fault> {
        let AlibabaKmsSettings { create, kms_key, kms_instance, .. } = &self.sink.settings;
        if !create {
            return Err(self.absent());
        }
        let description = format!("The password of the target {}, kept by keywheel", document.target);
        let mut parameters = vec![("VersionId", id), ("SecretData", text), ("Description", description.as_str())];
        parameters.extend(kms_key.as_deref().map(|key| ("EncryptionKeyId", key)));
        parameters.extend(kms_instance.as_deref().map(|instance| ("DKMSInstanceId", instance)));
        self.write("CreateSecret", &parameters, Some(document)).await
    }

    async fn move_label(&self, label: &str, from: Option<&str>, to: Option<&str>) -> Result<(), Fault> {
        let mut parameters = vec![("VersionStage", label)];
        parameters.extend(from.map(|id| ("RemoveFromVersion", id)));
        parameters.extend(to.map(|id| ("MoveToVersion", id)));
        self.write("UpdateSecretVersionStage", &parameters, None).await
    }

    async fn deliver(&self, document: &Document) -> Result<(), Fault> {
        let text = secret::text(document);
        let id = self.versions.id(document);
        let wanted = document.generation.0;
        let is_older = |held: u64| if held > wanted { Err(secret::newer(&self.place, held, document)) } else { Ok(()) };
        let shows = |look: &Look| look.current.as_ref().is_some_and(|(_, current)| current.expose() == text.as_str());
        let Some(look) = self.look().await? else { return self.create(&id, document, &text).await };
        is_older(look.newest(&self.versions, &self.place)?)?;
        if !shows(&look) {
            let is_there = look.versions.iter().any(|version| version.version_id == id);
            if is_there && self.holds_other(&id, &text).await? {
                return Err(secret::conflict(&self.place, &id));
            }
            if !is_there {
                let stages = format!("[\"{PENDING}\"]");
                let parameters =
                    [("VersionId", id.as_str()), ("SecretData", text.as_str()), ("VersionStages", stages.as_str())];
                self.write("PutSecretValue", &parameters, Some(document)).await?;
            }
            // Whoever writes a newer one has written its version by now, or will see ours.
            let Some(look) = self.look().await? else { return Err(self.absent()) };
            is_older(look.newest(&self.versions, &self.place)?)?;
            if !shows(&look) {
                self.move_label(CURRENT, look.current.as_ref().map(|(held, _)| held.as_str()), Some(&id)).await?;
            }
        }
        // It is delivered; what is left is the label that says otherwise.
        let Some(look) = self.look().await? else { return Err(self.absent()) };
        match look.is_labelled(&id, PENDING) {
            true => self.move_label(PENDING, Some(&id), None).await,
            false => Ok(()),
        }
    }

    /// The two writes of a delivery, on a version and with a label that no reader asks for. The version stays: none can be deleted. A label is taken
    /// away and put back, so that something is asked for each time.
    async fn rehearse(&self, look: &Look) -> Result<(), Fault> {
        let (id, label) = REHEARSAL;
        let stages = format!("[\"{label}\"]");
        let parameters = [("VersionId", id), ("SecretData", "{}"), ("VersionStages", stages.as_str())];
        self.write("PutSecretValue", &parameters, None).await?;
        let was_there = look.versions.iter().any(|version| version.version_id == id);
        if !was_there || look.is_labelled(id, label) {
            self.move_label(label, Some(id), None).await?;
        }
        self.move_label(label, None, Some(id)).await
    }

    async fn ready(&self) -> Result<(), Fault> {
        let described = match self.calls.read::<Described>("DescribeSecret", &[]).await {
            Ok(described) => described,
            Err(failure) if failure.is("Forbidden.ResourceNotFound") && self.sink.settings.create => {
                // Whether one may be made shows only when it is made.
                return Ok(());
            }
            Err(failure) => return Err(self.refused(failure)),
        };
        let denied = |what: String, next: &str| Err(Fault::new(Kind::SinkDenied, what).advise(next));
        if described.secret_type.is_some_and(|kind| kind != "Generic") {
            let what = format!("{} is one that the cloud keeps by itself", self.place);
            return denied(what, "name a generic secret, one that the cloud does not rotate by itself");
        }
        if described.planned_delete_time.is_some_and(|time| !time.is_empty()) {
            let what = format!("{} is to be deleted", self.place);
            return denied(what, "restore the secret in the cloud console");
        }
        let Some(look) = self.look().await? else { return Err(self.absent()) };
        look.newest(&self.versions, &self.place)?;
        self.rehearse(&look).await
    }
}

#[async_trait]
impl Sink for AlibabaKms {
    async fn ready(&self, target: &TargetName) -> Result<(), Fault> {
        self.of(target).ready().await
    }

    async fn deliver(&self, document: &Document) -> Result<(), Fault> {
        self.of(&document.target).deliver(document).await
    }

    fn shape(&self, document: &Document) -> Option<Vec<u8>> {
        let text = secret::text(document);
        Some(format!("{}\n{}", self.place(), text.as_str()).into_bytes())
    }

    /// To ask each store at a start would hold the start up; the next verification compares, and finds what is not there.
    async fn has_lost_it(&self) -> bool {
        false
    }

    async fn read_back(&self, target: &TargetName) -> Result<Option<Held>, Fault> {
        let of = self.of(target);
        let Some(text) = of.look().await?.and_then(|look| look.text()) else { return Ok(None) };
        Ok(text.password(&of.place, target)?.map(Held::AsSent))
    }

    async fn copy(&self, target: &TargetName) -> Result<Option<Document>, Fault> {
        let of = self.of(target);
        let Some(text) = of.look().await?.and_then(|look| look.current.map(|(_, text)| text)) else { return Ok(None) };
        secret::copy(&text, &of.place, target)
    }

    async fn holds(&self, document: &Document) -> Result<Holds, Fault> {
        let of = self.of(&document.target);
        let current = of.look().await?.and_then(|look| look.current);
        let text = secret::text(document);
        Ok(match current {
            Some((_, current)) if current.expose() == text.as_str() => Holds::Same,
            Some((_, current)) if matches!(Text::read(current.expose()), Text::Empty) => Holds::Absent,
            Some(_) => Holds::Other,
            None => Holds::Absent,
        })
    }

    fn place(&self) -> String {
        format!("the secret {} in {}", self.settings.secret, self.settings.region)
    }
}
