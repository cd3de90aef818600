//! The sink `aws-secrets-manager`: a secret of AWS Secrets Manager (API version 2017-10-17).
//!
//! Readers ask for the version with the label AWSCURRENT. A generation is first written as a version of its own under AWSPENDING; then AWSCURRENT is
//! moved to it, from the version that was seen to have it: where that no longer has it, the store refuses, and what is there is looked at again. So an
//! older generation never replaces a newer one, whoever else writes. AWSPREVIOUS follows by itself. AWSPENDING stays where AWSCURRENT is, which is how
//! the vendor's own rotations end.
//!
//! A version's id is ours to choose and says which generation of which target it holds ([`super::marks`]). A delivery whose answer was lost is found
//! again by it, and written again it is the same version. Tags repeat target and generation, for people.

use super::Reach;
use super::api::{Api, Refusal, Service};
use super::marks::{self, Named};
use crate::fault::{Fault, Kind};
use crate::name::TargetName;
use crate::secret::Secret;
use crate::sink::file::Format;
use crate::sink::file::copying;
use crate::sink::file::format::Layout;
use crate::sink::file::reading;
use crate::sink::store::secret::Text;
use crate::sink::{Document, Held, Holds, Sink};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The label of the version that readers see, the vendor's own.
const CURRENT: &str = "AWSCURRENT";

/// The label of a version that is to become current, the vendor's own.
const PENDING: &str = "AWSPENDING";

/// A version and its label, by which it is seen whether a write would be taken. No reader asks for them; they stay there.
const REHEARSAL: (&str, &str) = ("keywheel-ready-no-reader-ever-asks-for-this", "KeyWheelReady");

/// The tags.
const TARGET_TAG: &str = "keywheel:target";
const GENERATION_TAG: &str = "keywheel:generation";
const KEEPER_TAG: &str = "managed-by";

/// What the store says where a label is not where it was.
const MOVED: [&str; 3] = ["InvalidParameterException", "InvalidRequestException", "ResourceNotFoundException"];

/// How often a lost race is run again before the next try is left to the driver.
const RACES: usize = 4;

/// The most bytes of a version ("Quotas" in the vendor's document).
const VALUE_LIMIT: usize = 65_536;

/// The settings of a sink with `kind = "aws-secrets-manager"`.
#[derive(Debug, Clone)]
pub struct SecretsManagerSettings {
    /// Where the store is, and whose requests these are.
    pub reach: Reach,
    /// The secret's name.
    pub secret: String,
    /// Whether a secret that is not there is made.
    pub create: bool,
    /// The key that a secret is made with; absent means the account's own for this service.
    pub kms_key: Option<String>,
    /// What the document looks like.
    pub format: Format,
    /// What each name of [`Format::Env`] begins with.
    pub prefix: Option<String>,
    /// The text of [`Format::Template`].
    pub template: Option<String>,
    /// Which parts of the document are written, and what each is called.
    pub fields: Option<BTreeMap<String, String>>,
}

/// A secret that receives one target's password.
#[derive(Debug)]
pub struct SecretsManager {
    api: Api,
    secret: String,
    create: bool,
    kms_key: Option<String>,
    layout: Layout,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    #[serde(default)]
    version_ids_to_stages: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    tags: Vec<Tag>,
    deleted_date: Option<Value>,
    rotation_enabled: Option<bool>,
    owning_service: Option<String>,
    primary_region: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Got {
    version_id: String,
    secret_string: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Put<'a> {
    secret_id: &'a str,
    client_request_token: &'a str,
    secret_string: &'a str,
    version_stages: [&'a str; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Create<'a> {
    name: &'a str,
    client_request_token: &'a str,
    secret_string: &'a str,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kms_key_id: Option<&'a str>,
    tags: Value,
}

/// A version and what is in it; `None` where that is bytes.
struct Version {
    id: String,
    text: Option<Secret>,
}

/// A secret as it is now.
struct Look {
    described: Described,
    /// The version with AWSCURRENT.
    current: Option<Version>,
}

impl Look {
    fn tag(&self, key: &str) -> Option<&str> {
        self.described.tags.iter().find(|tag| tag.key == key).map(|tag| tag.value.as_str())
    }

    fn has(&self, id: &str) -> bool {
        self.described.version_ids_to_stages.contains_key(id)
    }

    fn is_labelled(&self, (id, label): (&str, &str)) -> bool {
        self.described.version_ids_to_stages.get(id).is_some_and(|labels| labels.iter().any(|held| held == label))
    }

    fn shows(&self, id: &str) -> bool {
        self.current.as_ref().is_some_and(|current| current.id == id)
    }

    fn text(&self) -> Option<&Secret> {
        self.current.as_ref()?.text.as_ref()
    }
}

impl SecretsManager {
    /// The sink, if its settings make sense.
    ///
    /// # Errors
    /// Every finding, `Kind::ConfigInvalid`.
    pub fn new(settings: SecretsManagerSettings) -> Result<Self, Vec<Fault>> {
        let SecretsManagerSettings { reach, secret, create, kms_key, format, prefix, template, fields } = settings;
        let layout = Layout::new(format, prefix, template, fields.as_ref()).map_err(crate::sink::findings);
        let api = Api::new(Service::SecretsManager, &reach).map_err(|fault| vec![fault]);
        match (layout, api) {
            (Ok(layout), Ok(api)) => Ok(Self { api, secret, create, kms_key, layout }),
            (layout, api) => Err(layout.err().into_iter().chain(api.err()).flatten().collect()),
        }
    }

    fn command(&self, rest: &str) -> String {
        format!("aws secretsmanager {rest} --region {} --secret-id {}", self.api.region(), self.secret)
    }

    /// What a refusal means here.
    fn refused(&self, refusal: Refusal) -> Fault {
        let advice = match refusal.code.as_deref() {
            Some("ResourceNotFoundException") => self.how_to_create(),
            Some("LimitExceededException") => {
                "delete secrets that nobody reads any more; of versions the store deletes the oldest by itself a day later"
                    .to_owned()
            }
            Some("InvalidRequestException" | "InvalidParameterException") => {
                format!("look at the secret: {}", self.command("describe-secret"))
            }
            Some(_) | None => return Fault { what: format!("{}: {}", self.place(), refusal.fault.what), ..refusal.fault },
        };
        let fault = Fault::new(Kind::SinkDenied, format!("{}: {}", self.place(), refusal.fault.what));
        fault.advise(advice)
    }

    fn how_to_create(&self) -> String {
        format!(
            "create it: aws secretsmanager create-secret --region {} --name {} --secret-string '{{}}'; or set create = true",
            self.api.region(),
            self.secret
        )
    }

    fn absent(&self) -> Fault {
        Fault::new(Kind::SinkDenied, format!("There is no such thing as {}", self.place())).advise(self.how_to_create())
    }

    /// `None` where there is no such secret.
    async fn look(&self) -> Result<Option<Look>, Fault> {
        let described = match self.api.read("DescribeSecret", &json!({ "SecretId": self.secret })).await {
            Ok(described) => described,
            Err(refusal) if refusal.is("ResourceNotFoundException") => return Ok(None),
            Err(refusal) => return Err(self.refused(refusal)),
        };
        let look = Look { described, current: None };
        if look.described.deleted_date.is_some() {
            let what = format!("{} is scheduled for deletion", self.place());
            let restore = format!("restore it: {}", self.command("restore-secret"));
            return Err(Fault::new(Kind::SinkDenied, what).advise(restore));
        }
        let current = match look.described.version_ids_to_stages.is_empty() {
            true => None,
            false => self.version(&json!({ "SecretId": self.secret, "VersionStage": CURRENT })).await?,
        };
        Ok(Some(Look { current, ..look }))
    }

    async fn version(&self, question: &Value) -> Result<Option<Version>, Fault> {
        match self.api.read::<Got>("GetSecretValue", question).await {
            Ok(got) => Ok(Some(Version { id: got.version_id, text: got.secret_string.map(Secret::new) })),
            Err(refusal) if refusal.is("ResourceNotFoundException") => Ok(None),
            Err(refusal) => Err(self.refused(refusal)),
        }
    }

    /// The newest generation of this target's in it, 0 where there is none: by its versions' ids, and by the document that readers see, which a
    /// person may have put under another one.
    fn newest(&self, look: &Look, target: &TargetName) -> Result<u64, Fault> {
        let text = look.text().map(|text| Text::read(text.expose()));
        let document = text.as_ref().and_then(Text::document);
        let written = document.and_then(|held| held.target.as_deref());
        let named = look.current.as_ref().and_then(|current| Named::read(&current.id));
        let is_strange = match &named {
            Some(named) => !named.is_of(target),
            None => written.is_some_and(|written| written != target.as_str()),
        };
        if is_strange {
            let free = format!("put another value there: {}", self.command("put-secret-value --secret-string '{}'"));
            return Err(marks::stranger(&self.place(), written.or_else(|| look.tag(TARGET_TAG)), target, &free));
        }
        let ids = look.described.version_ids_to_stages.keys().filter_map(|id| Named::read(id));
        let newest = ids.filter(|named| named.is_of(target)).map(|named| named.generation).max().unwrap_or(0);
        let shown = document.filter(|held| held.target.is_some()).and_then(|held| held.generation).unwrap_or(0);
        Ok(newest.max(shown))
    }

    /// Refuses what belongs to another target, or is newer.
    fn refuse(&self, look: &Look, document: &Document) -> Result<(), Fault> {
        let held = self.newest(look, &document.target)?;
        if held > document.generation.0 { Err(marks::newer(&self.place(), held, document)) } else { Ok(()) }
    }

    fn conflict(&self, id: &str) -> Fault {
        let what = format!("{} has a version {id} already, and something else is in it", self.place());
        Fault::new(Kind::SinkDenied, what)
            .advise("find out who else writes to it; if this ledger was begun anew, give the sink another secret")
    }

    async fn put(&self, id: &str, text: &str, label: &str, secrets: &[Secret]) -> Result<(), Fault> {
        let put =
            Put { secret_id: &self.secret, client_request_token: id, secret_string: text, version_stages: [label] };
        match self.api.write::<Value>("PutSecretValue", &put, secrets).await {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.is("ResourceExistsException") => Err(self.conflict(id)),
            Err(refusal) => Err(self.refused(refusal)),
        }
    }

    /// Adds the generation's own version. It is there already after a lost answer.
    async fn add(&self, look: &Look, id: &str, text: &Secret, secrets: &[Secret]) -> Result<(), Fault> {
        if !look.has(id) {
            return self.put(id, text.expose(), PENDING, secrets).await;
        }
        match self.version(&json!({ "SecretId": self.secret, "VersionId": id })).await? {
            Some(Version { text: Some(held), .. }) if held.expose() == text.expose() => Ok(()),
            Some(_) | None => Err(self.conflict(id)),
        }
    }

    async fn move_label(&self, label: &str, from: Option<&str>, to: Option<&str>) -> Result<(), Refusal> {
        let mut question = json!({ "SecretId": self.secret, "VersionStage": label });
        for (key, id) in [("RemoveFromVersionId", from), ("MoveToVersionId", to)] {
            if let Some(id) = id {
                question[key] = id.into();
            }
        }
        self.api.write::<Value>("UpdateSecretVersionStage", &question, &[]).await.map(drop)
    }

    /// Makes the secret. Its first version is current at once. False where somebody else was quicker.
    async fn create(&self, id: &str, document: &Document, text: &Secret, secrets: &[Secret]) -> Result<bool, Fault> {
        if !self.create {
            return Err(self.absent());
        }
        let create = Create {
            name: &self.secret,
            client_request_token: id,
            secret_string: text.expose(),
            description: format!("The password of the target {}, kept by keywheel", document.target),
            kms_key_id: self.kms_key.as_deref(),
            tags: tags(&Self::notes(document)),
        };
        match self.api.write::<Value>("CreateSecret", &create, secrets).await {
            Ok(_) => Ok(true),
            Err(refusal) if refusal.is("ResourceExistsException") => Ok(false),
            Err(refusal) => Err(self.refused(refusal)),
        }
    }

    fn notes(document: &Document) -> [(&'static str, String); 3] {
        [
            (KEEPER_TAG, "keywheel".to_owned()),
            (TARGET_TAG, document.target.to_string()),
            (GENERATION_TAG, document.generation.to_string()),
        ]
    }

    /// Repeats beside the secret what its version says of itself.
    async fn note(&self, look: &Look, document: &Document) -> Result<(), Fault> {
        let notes = Self::notes(document);
        // Tags compare with nothing: whoever delivered a newer one has noted that.
        let is_newer = look.tag(GENERATION_TAG).and_then(|text| text.parse().ok()).is_some_and(|held: u64| {
            held > document.generation.0 && look.tag(TARGET_TAG) == Some(document.target.as_str())
        });
        if is_newer || notes.iter().all(|(key, value)| look.tag(key) == Some(value)) {
            return Ok(());
        }
        self.tag(&notes).await
    }

    async fn tag(&self, notes: &[(&str, String)]) -> Result<(), Fault> {
        let question = json!({ "SecretId": self.secret, "Tags": tags(notes) });
        match self.api.write::<Value>("TagResource", &question, &[]).await {
            Ok(_) => Ok(()),
            Err(refusal) => Err(self.refused(refusal)),
        }
    }

    /// The two writes of a delivery, on a version and with a label that no reader asks for. The version stays: none can be deleted. A label is taken
    /// away and put back, so that something is asked for each time.
    async fn rehearse(&self, look: &Look) -> Result<(), Fault> {
        let (id, label) = REHEARSAL;
        // Another process rehearsed at the same time and was quicker; the store would have taken it.
        let moved = |outcome: Result<(), Refusal>| match outcome {
            Err(refusal) if refusal.is("InvalidParameterException") => Ok(()),
            outcome => outcome.map_err(|refusal| self.refused(refusal)),
        };
        self.put(id, "{}", label, &[]).await?;
        if !look.has(id) || look.is_labelled(REHEARSAL) {
            moved(self.move_label(label, Some(id), None).await)?;
        }
        moved(self.move_label(label, None, Some(id)).await)
    }
}

fn tags(notes: &[(&str, String)]) -> Value {
    notes.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect()
}

#[async_trait]
impl Sink for SecretsManager {
    async fn ready(&self, target: &TargetName) -> Result<(), Fault> {
        let Some(look) = self.look().await? else {
            // Whether one may be made shows only when it is made.
            return if self.create { Ok(()) } else { Err(self.absent()) };
        };
        let denied = |what: &str, next: String| {
            Err(Fault::new(Kind::SinkDenied, format!("{} {what}", self.place())).advise(next))
        };
        let Described { rotation_enabled, owning_service, primary_region, .. } = &look.described;
        if *rotation_enabled == Some(true) {
            let stop = self.command("cancel-rotate-secret");
            return denied(
                "is rotated by AWS itself, which would overwrite the password",
                format!("let one of the two rotate it: {stop}, or name another secret"),
            );
        }
        if owning_service.is_some() {
            return denied("is one that another service of AWS keeps", "name another secret".to_owned());
        }
        if let Some(region) = primary_region.as_ref().filter(|region| *region != self.api.region()) {
            return denied("is a copy of another region's", format!("write to that one: region = \"{region}\""));
        }
        self.newest(&look, target)?;
        self.tag(&[(KEEPER_TAG, "keywheel".to_owned())]).await?;
        // A secret's first version would be current at once: what readers see.
        match look.described.version_ids_to_stages.is_empty() {
            true => Ok(()),
            false => self.rehearse(&look).await,
        }
    }

    async fn deliver(&self, document: &Document) -> Result<(), Fault> {
        let text = marks::text(document, &self.layout)?;
        if text.expose().len() > VALUE_LIMIT {
            let what = format!("The document for {} has more than {VALUE_LIMIT} bytes", self.place());
            return Err(Fault::new(Kind::SinkDenied, what).advise("shorten the template"));
        }
        let id = marks::id(document, &self.layout)?;
        let secrets = marks::secrets(document, text.expose());
        let mut lost = marks::contended(&self.place());
        for _ in 0..RACES {
            let Some(look) = self.look().await? else {
                match self.create(&id, document, &text, &secrets).await? {
                    true => return Ok(()),
                    false => continue,
                }
            };
            self.refuse(&look, document)?;
            if !look.shows(&id) {
                self.add(&look, &id, &text, &secrets).await?;
            }
            // Whoever writes a newer one has written its version by now, or will see ours.
            let Some(look) = self.look().await? else { continue };
            self.refuse(&look, document)?;
            if look.shows(&id) {
                return match look.text().is_some_and(|held| held.expose() == text.expose()) {
                    true => self.note(&look, document).await,
                    false => Err(self.conflict(&id)),
                };
            }
            let seen = look.current.as_ref().map(|current| current.id.as_str());
            match self.move_label(CURRENT, seen, Some(&id)).await {
                Ok(()) => return self.note(&look, document).await,
                // It has moved since, or our version is gone. Where neither is so, the words say what else is wrong.
                Err(refusal) if MOVED.iter().any(|code| refusal.is(code)) => {
                    lost.what = format!("{} ({})", marks::contended(&self.place()).what, refusal.fault.what);
                }
                Err(refusal) => return Err(self.refused(refusal)),
            }
        }
        Err(lost)
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
        self.newest(&look, target)?;
        match &look.current {
            None => Ok(None),
            Some(Version { text: None, .. }) => {
                Err(Fault::new(Kind::SecretUnreadable, format!("{} holds bytes and no text", self.place()))
                    .advise("put a text there, or give the password in another way: `keywheel adopt TARGET`"))
            }
            Some(Version { text: Some(text), .. }) if matches!(Text::read(text.expose()), Text::Empty) => Ok(None),
            Some(Version { text: Some(text), .. }) => {
                reading::held(&self.layout, text.expose().as_bytes(), &self.place()).map(Some)
            }
        }
    }

    async fn copy(&self, target: &TargetName) -> Result<Option<Document>, Fault> {
        if !self.layout.can_be_read_back() {
            return Err(crate::sink::cannot_be_read(&format!("the form of {}", self.place())));
        }
        let Some(look) = self.look().await? else { return Ok(None) };
        self.newest(&look, target)?;
        let Some(Version { id, text: Some(text), .. }) = &look.current else { return Ok(None) };
        if matches!(Text::read(text.expose()), Text::Empty) {
            return Ok(None);
        }
        let marked = Named::read(id).map_or(0, |named| named.generation).into();
        copying::document(&self.layout, text.expose().as_bytes(), &self.place(), target, marked).map(Some)
    }

    async fn holds(&self, document: &Document) -> Result<Holds, Fault> {
        let wanted = marks::text(document, &self.layout)?;
        let Some(look) = self.look().await? else { return Ok(Holds::Absent) };
        Ok(match &look.current {
            None => Holds::Absent,
            Some(Version { text: Some(text), .. }) if text.expose() == wanted.expose() => Holds::Same,
            Some(Version { text: Some(text), .. }) if matches!(Text::read(text.expose()), Text::Empty) => Holds::Absent,
            Some(_) => Holds::Other,
        })
    }

    fn place(&self) -> String {
        format!("the secret {} in {}", self.secret, self.api.region())
    }
}
