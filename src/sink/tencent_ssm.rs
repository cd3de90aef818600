//! The sink `tencent-ssm`: a custom secret of Tencent Cloud's Secrets Manager (SSM, API version 2019-09-23).
//!
//! Such a secret has no label that says "current": whoever reads it names a version. So one version of a fixed name is what readers see, and is
//! overwritten; before that, each generation is written as a version of its own, whose name says which one it is. That version is how
//! a lost answer is found again, and how a second writer notices the first: SSM compares nothing when it overwrites, so the secret is looked at
//! once more right before and after, and a newer generation that came in between is put back, also by whoever delivers again after a lost answer. A secret has at most ten versions; the oldest of
//! ours are deleted before that.

use super::store::SecretCalls;
use super::store::secret::{self, NameRules, Text, Versions};
use super::web::{Asked, to_its_end};
use super::{Document, Held, Holds, Sink, StoreApi, StoreFailure};
use crate::fault::{Fault, Kind};
use crate::name::TargetName;
use crate::secret::Secret;
use async_trait::async_trait;
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;

/// Secrets' names (vendor document "CreateSecret").
pub const NAMES: NameRules = NameRules { longest: 128, others: "-_", reserved: "" };

/// The version that readers see where the sink names none: the vendor's own default.
pub const CURRENT: &str = "SSM_Current";

/// Whether a version may be called this (vendor document "PutSecretValue").
pub fn is_version(text: &str) -> bool {
    NameRules { longest: 64, others: "-_.", reserved: "" }.refuse(text).is_ok()
}

/// The most versions of one secret (vendor document "PutSecretValue").
const VERSIONS_LIMIT: usize = 10;

/// A version that is made and deleted again to see whether a write would be taken. No reader names it.
const REHEARSAL: &str = "keywheel.ready";

/// The settings of a sink with `kind = "tencent-ssm"`.
#[derive(Debug, Clone)]
pub struct TencentSsmSettings {
    /// The secret.
    pub secret: String,
    /// The version that readers see.
    pub version: String,
    /// The region, for people.
    pub region: String,
    /// Whether a secret that is not there is made.
    pub create: bool,
    /// The key that a secret is made with; absent means the vendor's own.
    pub kms_key: Option<String>,
}

/// A secret that receives one target's password.
#[derive(Clone)]
pub struct TencentSsm {
    settings: TencentSsmSettings,
    api: Arc<dyn StoreApi>,
}

impl fmt::Debug for TencentSsm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TencentSsm").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    versions: Vec<Version>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Value {
    secret_string: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    status: String,
    secret_type: Option<i64>,
}

/// A secret as it is now.
struct Look {
    ids: Vec<String>,
    /// What readers see; `None` where the version is not there or holds bytes.
    current: Option<Secret>,
}

impl Look {
    fn has(&self, id: &str) -> bool {
        self.ids.iter().any(|held| held == id)
    }

    fn text(&self) -> Option<Text> {
        self.current.as_ref().map(|text| Text::read(text.expose()))
    }

    fn newest(&self, versions: &Versions, place: &str) -> Result<u64, Fault> {
        let text = self.text();
        versions.newest(place, self.ids.iter().map(String::as_str), text.as_ref().and_then(Text::document))
    }
}

/// The secret as one target's.
struct OfTarget<'a> {
    sink: &'a TencentSsm,
    calls: SecretCalls<'a>,
    place: String,
    versions: Versions,
}

impl TencentSsm {
    /// A sink that calls the store by `api`.
    pub fn new(settings: TencentSsmSettings, api: Arc<dyn StoreApi>) -> Self {
        Self { settings, api }
    }

    fn of(&self, target: &TargetName) -> OfTarget<'_> {
        let calls = SecretCalls { api: &*self.api, vendor: "Tencent", secret: &self.settings.secret };
        OfTarget { sink: self, calls, place: self.place(), versions: Versions::of(target) }
    }
}

impl OfTarget<'_> {
    /// What a refusal means here.
    fn refused(&self, failure: StoreFailure) -> Fault {
        let advice = if failure.is("ResourceNotFound") {
            Some(self.how_to_create())
        } else if failure.is("ResourceUnavailable.NotPurchased") {
            Some("buy Secrets Manager for this account in the cloud console".to_owned())
        } else if failure.is("ResourceUnavailable") {
            Some("enable or restore the secret in the cloud console".to_owned())
        } else if failure.is("OperationDenied") {
            Some("name a custom secret, one that the cloud does not rotate by itself".to_owned())
        } else if failure.is("LimitExceeded") {
            Some(
                "delete what is not needed any more: a secret has at most 10 versions, a region 1000 secrets"
                    .to_owned(),
            )
        } else {
            None
        };
        let what = format!("{}: {}", self.place, failure.fault.what);
        match advice {
            Some(advice) => Fault::new(Kind::SinkDenied, what).advise(advice),
            None => Fault { what, ..failure.of_sink() },
        }
    }

    fn how_to_create(&self) -> String {
        let TencentSsmSettings { region, version, .. } = &self.sink.settings;
        format!(
            "create it, with the key it is to be encrypted by: tccli ssm CreateSecret --region {region} --SecretName {} --VersionId {version} \
             --SecretString '{{}}' --KmsKeyId KEY; or set create = true",
            self.sink.settings.secret
        )
    }

    /// The text of a version; `None` where there is no such version.
    async fn value(&self, id: &str) -> Result<Option<Secret>, Fault> {
        match self.calls.read::<Value>("GetSecretValue", &[("VersionId", id)]).await {
            Ok(value) => Ok(value.secret_string.filter(|text| !text.is_empty()).map(Secret::new)),
            Err(failure) if failure.is("ResourceNotFound") => Ok(None),
            Err(failure) => Err(self.refused(failure)),
        }
    }

    /// `None` where there is no such secret.
    async fn look(&self) -> Result<Option<Look>, Fault> {
        let ids = match self.calls.read::<Listed>("ListSecretVersionIds", &[]).await {
            Ok(listed) => listed.versions.into_iter().map(|version| version.version_id).collect(),
            Err(failure) if failure.is("ResourceNotFound") => return Ok(None),
            Err(failure) => return Err(self.refused(failure)),
        };
        let mut look = Look { ids, current: None };
        if look.has(&self.sink.settings.version) {
            look.current = self.value(&self.sink.settings.version).await?;
        }
        Ok(Some(look))
    }

    /// Deletes the oldest of our versions until one more fits below the limit, never one that is newer than what readers see.
    async fn make_room(&self, look: &Look) -> Result<(), Fault> {
        let shown = look.text().and_then(|text| text.document().and_then(|held| held.generation)).unwrap_or(0);
        let mut ours: Vec<(u64, &str)> = look
            .ids
            .iter()
            .filter_map(|id| Some((self.versions.generation(id)?, id.as_str())))
            .filter(|(generation, _)| *generation <= shown)
            .collect();
        ours.sort_unstable();
        let too_many = (look.ids.len() + 2).saturating_sub(VERSIONS_LIMIT);
        for (_, id) in ours.into_iter().take(too_many) {
            self.delete(id).await?;
        }
        Ok(())
    }

    async fn delete(&self, id: &str) -> Result<(), Fault> {
        match self.calls.write("DeleteSecretVersion", &[("VersionId", id)], None).await {
            Ok(()) => Ok(()),
            // Somebody else did.
            Err(failure) if failure.is("ResourceNotFound") => Ok(()),
            Err(failure) => Err(self.refused(failure)),
        }
    }

    /// Adds the generation's own version. It is there already after a lost answer.
    async fn add(&self, id: &str, document: &Document, text: &str) -> Result<(), Fault> {
        match self.calls.write("PutSecretValue", &[("VersionId", id), ("SecretString", text)], Some(document)).await {
            Ok(()) => Ok(()),
            Err(failure) if failure.is("ResourceInUse.VersionIdExists") => match self.value(id).await? {
                Some(held) if held.expose() == text => Ok(()),
                Some(_) | None => Err(secret::conflict(&self.place, id)),
            },
            Err(failure) => Err(self.refused(failure)),
        }
    }

    /// Makes the secret, with the generation's own version as its first.
    async fn create(&self, id: &str, document: &Document, text: &str) -> Result<(), Fault> {
        if !self.sink.settings.create {
            return Err(self.absent());
        }
        let description = format!("The password of the target {}, kept by keywheel", document.target);
        let mut parameters = vec![("VersionId", id), ("SecretString", text), ("Description", description.as_str())];
        parameters.extend(self.sink.settings.kms_key.as_deref().map(|key| ("KmsKeyId", key)));
        match self.calls.write("CreateSecret", &parameters, Some(document)).await {
            Ok(()) => Ok(()),
            // The answer of an earlier try was lost, or somebody else made it.
            Err(failure) if failure.is("ResourceInUse.SecretExists") => self.add(id, document, text).await,
            Err(failure) => Err(self.refused(failure)),
        }
    }

    fn absent(&self) -> Fault {
        Fault::new(Kind::SinkDenied, format!("There is no such thing as {}", self.place)).advise(self.how_to_create())
    }

    /// Puts a text where readers look.
    async fn show(&self, text: &str, document: &Document, is_there: bool) -> Result<(), Fault> {
        let parameters = [("VersionId", self.sink.settings.version.as_str()), ("SecretString", text)];
        if !is_there {
            match self.calls.write("PutSecretValue", &parameters, Some(document)).await {
                Ok(()) => return Ok(()),
                Err(failure) if failure.is("ResourceInUse.VersionIdExists") => {}
                Err(failure) => return Err(self.refused(failure)),
            }
        }
        self.calls.write("UpdateSecret", &parameters, Some(document)).await.map_err(|failure| self.refused(failure))
    }

    /// What is shown is looked back at in any case; nothing is shown any more once nobody asks for it.
    async fn deliver(&self, asked: &Asked, document: &Document) -> Result<(), Fault> {
        let text = secret::text(document);
        let id = self.versions.id(document);
        let wanted = document.generation.0;
        let is_older = |held: u64| if held > wanted { Err(secret::newer(&self.place, held, document)) } else { Ok(()) };
        let shows = |look: &Look| look.current.as_ref().is_some_and(|current| current.expose() == text.as_str());
        match self.look().await? {
            Some(look) => {
                if shows(&look) {
                    return self.yield_to_newer(&look, document).await;
                }
                is_older(look.newest(&self.versions, &self.place)?)?;
                self.make_room(&look).await?;
                self.add(&id, document, &text).await?;
            }
            None => self.create(&id, document, &text).await?,
        }
        // Whoever writes a newer one has written its version by now, or will see ours.
        let Some(look) = self.look().await? else { return Err(self.absent()) };
        is_older(look.newest(&self.versions, &self.place)?)?;
        if shows(&look) {
            return Ok(());
        }
        asked.still()?;
        self.show(&text, document, look.has(&self.sink.settings.version)).await?;
        let Some(look) = self.look().await? else { return Err(self.absent()) };
        self.yield_to_newer(&look, document).await
    }

    /// A newer generation that ours was shown over is put back where readers look.
    async fn yield_to_newer(&self, look: &Look, document: &Document) -> Result<(), Fault> {
        let held = look.newest(&self.versions, &self.place)?;
        let newest =
            look.ids.iter().find(|id| self.versions.generation(id) == Some(held) && held > document.generation.0);
        let Some(newest) = newest else { return Ok(()) };
        if let Some(text) = self.value(newest).await? {
            self.show(text.expose(), document, true).await?;
        }
        Err(secret::newer(&self.place, held, document))
    }

    /// The three writes of a delivery, on a version that no reader names.
    async fn rehearse(&self) -> Result<(), Fault> {
        let parameters = [("VersionId", REHEARSAL), ("SecretString", "{}")];
        match self.calls.write("PutSecretValue", &parameters, None).await {
            Ok(()) => {}
            // Left over from a rehearsal that was cut short.
            Err(failure) if failure.is("ResourceInUse.VersionIdExists") => {}
            Err(failure) => return Err(self.refused(failure)),
        }
        match self.calls.write("UpdateSecret", &parameters, None).await {
            Ok(()) => self.delete(REHEARSAL).await,
            // Another process rehearsed at the same time and was quicker; the store would have taken it.
            Err(failure) if failure.is("ResourceNotFound") => Ok(()),
            Err(failure) => Err(self.refused(failure)),
        }
    }

    async fn ready(&self) -> Result<(), Fault> {
        let described = match self.calls.read::<Described>("DescribeSecret", &[]).await {
            Ok(described) => described,
            Err(failure) if failure.is("ResourceNotFound") && self.sink.settings.create => {
                // Whether one may be made shows only when it is made.
                return Ok(());
            }
            Err(failure) => return Err(self.refused(failure)),
        };
        let denied = |what: String, next: &str| Err(Fault::new(Kind::SinkDenied, what).advise(next));
        if described.secret_type.is_some_and(|kind| kind != 0) {
            let what = format!("{} is one that the cloud keeps by itself", self.place);
            return denied(what, "name a custom secret, one that the cloud does not rotate by itself");
        }
        if described.status != "Enabled" {
            let what = format!("{} is not enabled: its status is {:?}", self.place, described.status);
            return denied(what, "enable or restore the secret in the cloud console");
        }
        let Some(look) = self.look().await? else { return Err(self.absent()) };
        look.newest(&self.versions, &self.place)?;
        let others = look.ids.iter().filter(|id| self.versions.generation(id).is_none() && *id != REHEARSAL).count();
        let shown = usize::from(!look.has(&self.sink.settings.version));
        if others + shown + 1 > VERSIONS_LIMIT {
            let what = format!(
                "{} has {others} versions that are not keywheel's, and no room for one more: {VERSIONS_LIMIT} are the most",
                self.place
            );
            return denied(what, "delete versions that nobody reads any more");
        }
        self.make_room(&look).await?;
        self.rehearse().await
    }
}

#[async_trait]
impl Sink for TencentSsm {
    async fn ready(&self, target: &TargetName) -> Result<(), Fault> {
        self.of(target).ready().await
    }

    async fn deliver(&self, document: &Document) -> Result<(), Fault> {
        let (sink, document) = (self.clone(), document.clone());
        to_its_end(|asked| async move { sink.of(&document.target).deliver(&asked, &document).await }).await
    }

    fn shape(&self, document: &Document) -> Option<Vec<u8>> {
        let text = secret::text(document);
        Some(format!("{} {}\n{}", self.place(), self.settings.version, text.as_str()).into_bytes())
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
        let Some(text) = of.look().await?.and_then(|look| look.current) else { return Ok(None) };
        secret::copy(&text, &of.place, target)
    }

    async fn holds(&self, document: &Document) -> Result<Holds, Fault> {
        let of = self.of(&document.target);
        let current = of.look().await?.and_then(|look| look.current);
        let text = secret::text(document);
        Ok(match current {
            Some(current) if current.expose() == text.as_str() => Holds::Same,
            Some(current) if matches!(Text::read(current.expose()), Text::Empty) => Holds::Absent,
            Some(_) => Holds::Other,
            None => Holds::Absent,
        })
    }

    fn place(&self) -> String {
        let TencentSsmSettings { secret, region, .. } = &self.settings;
        format!("the secret {secret} in {region}")
    }
}
