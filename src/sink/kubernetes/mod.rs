//! The sink `kubernetes`: a Secret for each target, one key of its data for each part of the document.
//!
//! It is written by server-side apply under the field manager `keywheel`, so that the server knows which fields are ours and which are somebody
//! else's, and on condition that it still is the Secret, and the version of it, that was looked at (`uid`, `resourceVersion`). Annotations say
//! whose password it is and which generation; they change in the same write. An apply cannot be made on condition that nothing is there, so a
//! Secret is made by a create, which can; what the server then notes as "created by keywheel" is noted as "applied by keywheel" afterwards.
//!
//! `ready` sends the same write as a dry run: permissions, admission, immutability and others' fields are looked at, and nothing is kept.

mod wire;

use super::file::Format;
use super::file::copying;
use super::file::format::Layout;
use super::web::{no_answer, refused};
use super::{Document, Held, Holds, Sink};
use crate::fault::{Fault, Kind, Retry};
use crate::http::Effect;
use crate::kubernetes::{Answer, Api, ApiSettings, Conflict, FIELD_MANAGER, Failure, Now, Question};
use crate::name::TargetName;
use crate::secret::Secret;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret as Resource;
use kube::Resource as _;
use kube::core::Request;
use kube::core::params::{GetParams, Patch, PatchParams, PostParams};
use kube::core::request::Error as Unbuildable;
use std::collections::BTreeMap;
use std::fmt;
use wire::{Content, Found};

/// How often a write that met another writer is thought over again, within one delivery.
const RACES: usize = 6;

/// A Secret of this type has a user name or a password under these very keys.
pub const BASIC_AUTH: &str = "kubernetes.io/basic-auth";

/// The settings of a sink with `kind = "kubernetes"`.
#[derive(Debug, Clone)]
pub struct KubernetesSettings {
    /// Which server, and as whom.
    pub api: ApiSettings,
    /// The Secret's name.
    pub secret: String,
    /// Its type, where it is to be another than `Opaque`.
    pub kind: Option<String>,
    /// Labels that it has beside those of others.
    pub labels: BTreeMap<String, String>,
    /// Which parts of the document it holds, and what each is called.
    pub fields: Option<BTreeMap<String, String>>,
    /// Whether a Secret that is not there is made.
    pub create: bool,
    /// Whether fields that others decide about are taken over.
    pub force: bool,
}

/// A Secret of Kubernetes.
pub struct KubernetesSink {
    api: Api,
    secret: String,
    kind: Option<String>,
    labels: BTreeMap<String, String>,
    layout: Layout,
    password_key: Option<String>,
    create: bool,
    force: bool,
}

impl fmt::Debug for KubernetesSink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KubernetesSink({})", self.place())
    }
}

/// What became of a write.
enum Written {
    /// It was taken.
    Yes,
    /// Somebody else wrote, made or deleted the Secret since it was looked at.
    Moved,
}

/// The choice of fields, with the names that the type asks for where there is none.
fn chosen(fields: Option<BTreeMap<String, String>>, kind: Option<&str>) -> Option<BTreeMap<String, String>> {
    let usual = ["target", "generation", "account", "user", "password", "host", "port", "tls", "url"];
    fields.or_else(|| {
        (kind == Some(BASIC_AUTH)).then(|| {
            let name = |part: &str| if part == "user" { "username".to_owned() } else { part.to_owned() };
            usual.into_iter().map(|part| (part.to_owned(), name(part))).collect()
        })
    })
}

impl KubernetesSink {
    /// The sink, if its settings make sense. Nobody is asked yet.
    ///
    /// # Errors
    /// Every finding, `Kind::ConfigInvalid`.
    pub fn new(settings: KubernetesSettings, now: Now) -> Result<Self, Vec<Fault>> {
        let KubernetesSettings { api, secret, kind, labels, fields, create, force } = settings;
        let fields = chosen(fields, kind.as_deref());
        let layout = Layout::new(Format::Json, None, None, fields.as_ref()).map_err(super::findings)?;
        let password_key = match &fields {
            Some(fields) => fields.get("password").cloned(),
            None => Some("password".to_owned()),
        };
        Ok(Self { api: Api::new(api, now), secret, kind, labels, layout, password_key, create, force })
    }

    fn requests(namespace: &str) -> Request {
        Request::new(Resource::url_path(&(), Some(namespace)))
    }

    /// What a delivery of this document makes of the Secret.
    fn content(&self, document: &Document) -> Result<Content, Fault> {
        let rendered = self.layout.render(document)?;
        Content::new(&rendered, document, self.kind.as_deref(), &self.labels)
    }

    async fn ask(
        &self,
        build: impl Fn(&str) -> Result<Question, Unbuildable>,
        effect: Effect,
    ) -> Result<Answer, Fault> {
        self.api.ask(build, effect).await.map_err(|failure| match failure {
            Failure::NoAccess(fault) => Fault { kind: Kind::SinkDenied, retry: Retry::Later, ..fault },
            Failure::NoAnswer(error) => no_answer(error),
        })
    }

    /// The Secret as it is; `None` where there is none.
    async fn look(&self) -> Result<Option<Found>, Fault> {
        let build = |namespace: &str| Self::requests(namespace).get(&self.secret, &GetParams::default());
        let answer = self.ask(build, Effect::Read).await?;
        match answer.reply.status {
            200 => Found::parse(&answer.reply.body).map(Some).ok_or_else(|| {
                // What it was may hold the password.
                Fault::new(
                    Kind::SinkUnavailable,
                    format!("{} was answered with something that is no Secret", self.place()),
                )
                .advise("check the server's address; what answers there is no API server of Kubernetes")
            }),
            404 => Ok(None),
            _ => Err(self.trouble("A look at", &answer, &[])),
        }
    }

    /// Refuses what belongs to another target, is newer, or cannot become what is configured.
    fn refuse(&self, found: &Found, target: &TargetName, ours: Option<u64>) -> Result<(), Fault> {
        let place = self.place();
        if let Some(other) = found.target().filter(|other| *other != target.as_str()) {
            // What is no name could be anything.
            let whose =
                other.parse::<TargetName>().map_or("another target".to_owned(), |name| format!("the target {name}"));
            return Err(Fault::new(
                Kind::SinkDenied,
                format!("{place} holds the password of {whose}, not of {target}"),
            )
            .advise(format!("give {target} a Secret of its own; if it was renamed, {}", self.forget())));
        }
        if let (Some(held), Some(ours)) = (found.generation(), ours)
            && held > ours
        {
            let what = format!("{place} holds generation {held} of {target}, newer than {ours}");
            return Err(Fault::new(Kind::SinkNewer, what)
                .advise(format!("find out who else writes to it; if this ledger was begun anew, {}", self.forget())));
        }
        match self.kind.as_deref().filter(|kind| found.kind() != *kind) {
            Some(kind) => Err(Fault::new(
                Kind::SinkDenied,
                format!("{place} is of the type {}, not {kind}, and a Secret's type never changes", found.kind()),
            )
            .advise("set the sink's type to what it is, or delete the Secret and have it made anew")),
            None => Ok(()),
        }
    }

    fn forget(&self) -> String {
        format!("run `kubectl annotate secret {} {}- {}-`", self.secret, wire::TARGET, wire::GENERATION)
    }

    fn refuse_immutable(&self) -> Fault {
        let what = format!("{} is immutable: nobody can change what it holds", self.place());
        let made = if self.create { "keywheel makes it anew" } else { "make it anew without `immutable`" };
        Fault::new(Kind::SinkDenied, what).advise(format!(
            "delete it (`kubectl delete secret {}`), {made}; pods that read it must start again",
            self.secret
        ))
    }

    /// Makes the Secret, if there is none.
    async fn make(&self, content: &Content) -> Result<Written, Fault> {
        let parameters = PostParams { dry_run: false, field_manager: Some(FIELD_MANAGER.to_owned()) };
        let build = |namespace: &str| {
            let body = serde_json::to_vec(&content.object(&self.secret, None)).unwrap_or_default();
            Self::requests(namespace).create(&parameters, body)
        };
        let answer = self.ask(build, Effect::Write).await?;
        match (answer.reply.status, answer.reason().as_str()) {
            (200..=202, _) => Ok(Written::Yes),
            (409, "AlreadyExists") => Ok(Written::Moved),
            _ => Err(self.trouble("A create of", &answer, &content.secrets())),
        }
    }

    /// Writes what is ours in the Secret that was found, if it still is as it was. Where none was found this may be rehearsed only: an apply makes
    /// a Secret, and overwrites one that somebody made meanwhile.
    async fn apply(&self, content: &Content, found: Option<&Found>, dry_run: bool) -> Result<Written, Fault> {
        let parameters = PatchParams { dry_run, force: self.force, ..PatchParams::apply(FIELD_MANAGER) };
        let object = content.object(&self.secret, found);
        let build =
            |namespace: &str| Self::requests(namespace).patch(&self.secret, &parameters, &Patch::Apply(&object));
        let answer = self.ask(build, Effect::Write).await?;
        let conflicts = answer.conflicts();
        match answer.reply.status {
            200 | 201 => Ok(Written::Yes),
            409 if conflicts.is_empty() => Ok(Written::Moved),
            // Until it is noted as applied, what keywheel created is in a dry run's way.
            409 if dry_run && conflicts.iter().all(Conflict::is_with_ourselves) => Ok(Written::Yes),
            409 => {
                let fields: Vec<String> =
                    conflicts.iter().map(|conflict| format!("{}: {}", conflict.field, conflict.with)).collect();
                let what = format!("Others decide about fields of {}: {}", self.place(), fields.join(", "));
                Err(Fault::new(Kind::SinkDenied, what).advise(
                    "have them give the fields up, or set force = true to take the fields over (they may set them back)",
                ))
            }
            // Another Secret of the same name, as old as the one that was found: made anew by whoever restored it.
            422 if answer.words(&[]).contains("metadata.uid") => Ok(Written::Moved),
            422 if answer.words(&[]).contains("`immutable`") => Err(self.refuse_immutable()),
            _ => Err(self.trouble("A write to", &answer, &content.secrets())),
        }
    }

    /// Has what keywheel created noted as what keywheel applies: otherwise its own applies would meet the fields of a stranger, and a field that
    /// is not written any more would stay. `None` where there is nothing to note.
    async fn own(&self, found: &Found) -> Result<Option<Written>, Fault> {
        let Some(owned) = found.owned() else { return Ok(None) };
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let build = |namespace: &str| Self::requests(namespace).patch(&self.secret, &parameters, &Patch::Merge(&owned));
        let answer = self.ask(build, Effect::Write).await?;
        match answer.reply.status {
            200 => Ok(Some(Written::Yes)),
            // Where somebody wrote meanwhile, the next look shows what is left to do.
            409 => Ok(Some(Written::Moved)),
            _ => Err(self.trouble("A note of the field manager at", &answer, &[])),
        }
    }

    fn absent(&self) -> Fault {
        Fault::new(Kind::SinkDenied, format!("There is no {}", self.place()))
            .advise(format!("make it (`kubectl create secret generic {}`), or set create = true", self.secret))
    }

    /// What an answer means that is no success.
    fn trouble(&self, what: &str, answer: &Answer, secrets: &[&Secret]) -> Fault {
        let what = format!("{what} {}", self.place());
        let words = answer.words(secrets);
        let said = if words.is_empty() { String::new() } else { format!(": {words}") };
        match answer.reply.status {
            403 => {
                let fault = Fault::new(Kind::SinkDenied, format!("{what} was not permitted (HTTP status 403){said}"));
                // A quota, a namespace that ends and an admission plug-in say no with the same status.
                let why = said.rsplit("is forbidden:").next().unwrap_or_default().trim();
                if why.is_empty() || why.contains(" cannot ") { fault.advise(self.role()) } else { fault }
            }
            404 if answer.about() == "namespaces" => {
                Fault::new(Kind::SinkDenied, format!("{what} found no such namespace (HTTP status 404){said}"))
                    .advise("make the namespace, or name another one")
            }
            409 | 422 => {
                Fault::new(Kind::SinkDenied, format!("{what} was refused (HTTP status {}){said}", answer.reply.status))
                    .advise("correct the sink's settings, or what the cluster demands of Secrets")
            }
            _ => {
                let fault = refused(&what, &answer.reply);
                Fault { what: Fault::new(fault.kind, format!("{}{said}", fault.what)).what, ..fault }
            }
        }
    }

    /// The lines that keywheel's Role needs.
    fn role(&self) -> String {
        let name = &self.secret;
        let rule = format!("{{apiGroups: [\"\"], resources: [secrets], resourceNames: [{name}], verbs: [get, patch]}}");
        let create = match self.create {
            true => " and {apiGroups: [\"\"], resources: [secrets], verbs: [create]}",
            false => "",
        };
        format!("give the Role of keywheel's user in that namespace the rules {rule}{create}")
    }
}

#[async_trait]
impl Sink for KubernetesSink {
    async fn ready(&self, target: &TargetName) -> Result<(), Fault> {
        let found = self.look().await?;
        let sample = self.content(&wire::sample(target))?;
        let written = match &found {
            None if !self.create => return Err(self.absent()),
            // Takes the right to make one and the right to change one.
            None => self.apply(&sample, None, true).await?,
            Some(found) => {
                self.refuse(found, target, None)?;
                if found.immutable() {
                    return Err(self.refuse_immutable());
                }
                self.apply(&sample, Some(found), true).await?
            }
        };
        match written {
            // That somebody else writes just now is no obstacle.
            Written::Yes | Written::Moved => Ok(()),
        }
    }

    async fn deliver(&self, document: &Document) -> Result<(), Fault> {
        let content = self.content(document)?;
        let mut owned = false;
        for _ in 0..RACES {
            let Some(found) = self.look().await? else {
                if !self.create {
                    return Err(self.absent());
                }
                // What was made is looked at again, to be noted as applied.
                self.make(&content).await?;
                continue;
            };
            self.refuse(&found, &document.target, Some(document.generation.0))?;
            if !owned && let Some(noted) = self.own(&found).await? {
                owned = matches!(noted, Written::Yes);
                continue;
            }
            if content.is_in(&found) {
                return Ok(());
            }
            if found.immutable() {
                return Err(self.refuse_immutable());
            }
            match self.apply(&content, Some(&found), false).await? {
                Written::Yes => return Ok(()),
                Written::Moved => {}
            }
        }
        let what = format!("Others keep writing to {}", self.place());
        Err(Fault::new(Kind::SinkUnavailable, what).advise("find out who else writes to it; keywheel tries again"))
    }

    fn shape(&self, document: &Document) -> Option<Vec<u8>> {
        let mut shape = format!("{} {:?} {:?}\n", self.place(), self.kind, self.labels).into_bytes();
        shape.extend_from_slice(&self.layout.render(document).ok()?);
        Some(shape)
    }

    async fn has_lost_it(&self) -> bool {
        self.look().await.is_ok_and(|found| found.is_none_or(|found| found.is_empty()))
    }

    async fn read_back(&self, target: &TargetName) -> Result<Option<Held>, Fault> {
        let Some(key) = &self.password_key else {
            return Err(super::cannot_be_read(&format!("the form of {}", self.place())));
        };
        let Some(found) = self.look().await?.filter(|found| !found.is_empty()) else { return Ok(None) };
        self.refuse(&found, target, None)?;
        match found.text(key) {
            Some(password) => Ok(Some(Held::AsSent(password))),
            None => Err(Fault::new(Kind::SecretUnreadable, format!("{} has no text under {key}", self.place()))
                .advise(format!("put the password there under the key {key}, or give it in another way"))),
        }
    }

    async fn copy(&self, target: &TargetName) -> Result<Option<Document>, Fault> {
        if self.password_key.is_none() {
            return Err(super::cannot_be_read(&format!("the form of {}", self.place())));
        }
        let Layout::Json(names) = &self.layout else { return Ok(None) };
        let Some(found) = self.look().await?.filter(|found| !found.is_empty()) else { return Ok(None) };
        self.refuse(&found, target, None)?;
        let texts = copying::named(names).into_iter().filter_map(|(part, key)| Some((part, found.text(key)?)));
        let marked = found.generation().unwrap_or(0).into();
        copying::made_of(texts.collect(), &self.place(), target, marked).map(Some)
    }

    async fn holds(&self, document: &Document) -> Result<Holds, Fault> {
        let content = self.content(document)?;
        Ok(match self.look().await? {
            None => Holds::Absent,
            Some(found) if found.is_empty() => Holds::Absent,
            Some(found) if content.is_seen_in(&found) => Holds::Same,
            Some(_) => Holds::Other,
        })
    }

    fn place(&self) -> String {
        format!("Secret {} in {}", self.secret, self.api.place())
    }
}
