//! A Secret as the server shows it and as it is written ("Secret" and "Server-Side Apply" in Kubernetes' documents), as far as this sink looks.

use crate::fault::{Fault, Kind};
use crate::kubernetes::FIELD_MANAGER;
use crate::moment::Moment;
use crate::name::{Generation, TargetName};
use crate::secret::Secret;
use crate::sink::{Document, Endpoint};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What annotations say beside the data.
pub const TARGET: &str = "keywheel/target";
pub const GENERATION: &str = "keywheel/generation";
const ROTATION: &str = "keywheel/rotation";

/// The type of a Secret that names none.
const OPAQUE: &str = "Opaque";

/// What stands in a rehearsal for everything that is not known yet.
const SAMPLE: &str = "sample";

/// A Secret as it was found. No `Debug`: its data is a password.
#[derive(Deserialize)]
pub struct Found {
    metadata: Metadata,
    data: Option<BTreeMap<String, String>>,
    #[serde(rename = "type")]
    kind: Option<String>,
    immutable: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    uid: String,
    resource_version: String,
    annotations: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
    managed_fields: Option<Vec<Value>>,
}

impl Found {
    pub fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }

    pub fn target(&self) -> Option<&str> {
        self.annotation(TARGET)
    }

    pub fn generation(&self) -> Option<u64> {
        self.annotation(GENERATION)?.parse().ok()
    }

    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or(OPAQUE)
    }

    pub fn immutable(&self) -> bool {
        self.immutable == Some(true)
    }

    pub fn is_empty(&self) -> bool {
        self.data.as_ref().is_none_or(BTreeMap::is_empty)
    }

    fn encoded(&self, key: &str) -> Option<&str> {
        self.data.as_ref()?.get(key).map(String::as_str)
    }

    /// What stands under a key, where that is a text and not empty.
    pub fn text(&self, key: &str) -> Option<Secret> {
        let text = String::from_utf8(STANDARD.decode(self.encoded(key)?).ok()?).ok()?;
        (!text.is_empty()).then(|| Secret::new(text))
    }

    /// What the server notes of fields that keywheel wrote by this kind of request.
    fn notes(&self, operation: &str) -> Option<&Value> {
        let is_ours = |entry: &&Value| {
            entry["manager"] == FIELD_MANAGER && entry["operation"] == operation && entry.get("subresource").is_none()
        };
        self.metadata.managed_fields.iter().flatten().find(is_ours)
    }

    /// The keys of the data that keywheel applied, as far as the server says.
    fn applied(&self) -> Option<BTreeSet<&str>> {
        let fields = self.notes("Apply")?["fieldsV1"]["f:data"].as_object()?;
        Some(fields.keys().filter_map(|key| key.strip_prefix("f:")).collect())
    }

    /// The change that has what keywheel created noted as applied; `None` where there is nothing to change.
    pub fn owned(&self) -> Option<Value> {
        let created = self.notes("Update")?;
        let mut applied = self.notes("Apply").unwrap_or(created).clone();
        merge(&mut applied["fieldsV1"], &created["fieldsV1"]);
        applied["operation"] = "Apply".into();
        let others = self.metadata.managed_fields.iter().flatten().filter(|entry| entry["manager"] != FIELD_MANAGER);
        let entries: Vec<Value> = others.cloned().chain([applied]).collect();
        let Metadata { uid, resource_version, .. } = &self.metadata;
        Some(json!({ "metadata": { "uid": uid, "resourceVersion": resource_version, "managedFields": entries } }))
    }
}

/// Everything of one tree of fields that the other lacks.
fn merge(into: &mut Value, from: &Value) {
    let Value::Object(from) = from else { return };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    for (key, value) in from {
        merge(&mut into[key.as_str()], value);
    }
}

/// What keywheel writes into a Secret. No `Debug`: its data is a password.
pub struct Content {
    data: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    kind: Option<String>,
    secrets: Vec<Secret>,
}

impl Content {
    /// The document, of which `rendered` is the JSON form.
    pub fn new(
        rendered: &[u8],
        document: &Document,
        kind: Option<&str>,
        labels: &BTreeMap<String, String>,
    ) -> Result<Self, Fault> {
        let parts: Map<String, Value> =
            serde_json::from_slice(rendered).map_err(|_| Fault::new(Kind::Bug, "a document that is no JSON object"))?;
        let mut data = BTreeMap::new();
        for (key, value) in parts {
            let text = match value {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                Value::Bool(flag) => flag.to_string(),
                // A part that the target does not have is left out.
                Value::Null | Value::Array(_) | Value::Object(_) => continue,
            };
            data.insert(key, STANDARD.encode(text));
        }
        let rotation = document.rotation.map_or_else(|| "adopted".to_owned(), |rotation| rotation.to_string());
        let annotations = BTreeMap::from([
            (TARGET.to_owned(), document.target.to_string()),
            (GENERATION.to_owned(), document.generation.to_string()),
            (ROTATION.to_owned(), rotation),
        ]);
        let plain = [&document.password, &document.login_password];
        let encoded = plain.map(|secret| Secret::new(STANDARD.encode(secret.expose())));
        let secrets = plain.into_iter().cloned().chain(encoded).collect();
        Ok(Self { data, annotations, labels: labels.clone(), kind: kind.map(str::to_owned), secrets })
    }

    /// What no word of the server may repeat.
    pub fn secrets(&self) -> Vec<&Secret> {
        self.secrets.iter().collect()
    }

    /// As it is sent: for the Secret that was found alone, as it was then, or for none.
    pub fn object(&self, name: &str, found: Option<&Found>) -> Value {
        let mut metadata = json!({ "name": name, "annotations": self.annotations });
        if !self.labels.is_empty() {
            metadata["labels"] = json!(self.labels);
        }
        if let Some(Found { metadata: seen, .. }) = found {
            metadata["uid"] = seen.uid.clone().into();
            metadata["resourceVersion"] = seen.resource_version.clone().into();
        }
        let mut object = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": self.data });
        if let Some(kind) = &self.kind {
            object["type"] = kind.clone().into();
        }
        object
    }

    /// Whether readers find all of it there.
    pub fn is_seen_in(&self, found: &Found) -> bool {
        self.data.iter().all(|(key, value)| found.encoded(key) == Some(value))
    }

    /// Whether all of it is there, and keywheel has no other key there.
    pub fn is_in(&self, found: &Found) -> bool {
        let keys: BTreeSet<&str> = self.data.keys().map(String::as_str).collect();
        let labels = found.metadata.labels.as_ref();
        self.is_seen_in(found)
            && self.annotations.iter().all(|(key, value)| found.annotation(key) == Some(value))
            && self.labels.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
            && found.applied().is_some_and(|applied| applied == keys)
    }
}

/// A document that stands for the one that is not there yet.
pub fn sample(target: &TargetName) -> Document {
    let sample = || Secret::new(SAMPLE.to_owned());
    Document {
        target: target.clone(),
        generation: Generation(0),
        rotation: None,
        proven_at: Moment::from_seconds(0),
        account: SAMPLE.to_owned(),
        password: sample(),
        login_user: Some(SAMPLE.to_owned()),
        login_password: sample(),
        endpoint: Some(Endpoint { host: SAMPLE.to_owned(), port: 6379, tls: false }),
    }
}
