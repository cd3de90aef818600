//! Alibaba's KMS (version 2016-01-20), generic secrets alone.
//!
//! Where no document prints a code or a rule, the one here is made up and says so beside it.

use super::super::alibaba::{RpcCall, verify};
use super::super::answer::{Fields, Refusal, fields};
use super::super::cloud::{Cloud, How, State};
use super::super::dialect::{Dialect, Wording};
use super::super::head::{Head, only};
use super::super::identity::{Issuer, callers, has_ended};
use super::super::script::Garbage;
use super::super::settings::Settings;
use super::{Kept, KeptVersion, Store, VERSIONS_LIMIT, is_name, with};
use crate::secret::Secret;
use hyper::StatusCode;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// `x-acs-version`.
pub(super) const VERSION: &str = "2016-01-20";
/// The largest value, in bytes.
const VALUE_LIMIT: usize = 30_720;
/// The most labels of one secret.
const LABELS_LIMIT: usize = 8;
/// The labels that are the vendor's own: what readers see, and what they saw before.
const CURRENT: &str = "ACSCurrent";
const PREVIOUS: &str = "ACSPrevious";

/// One call.
pub(in super::super) struct KmsCall {
    action: &'static str,
    parameters: BTreeMap<String, Secret>,
}

/// The actions and the parameters that must be there.
const ACTIONS: [(&str, &[&str]); 6] = [
    ("CreateSecret", &["SecretName", "VersionId", "SecretData"]),
    ("PutSecretValue", &["SecretName", "VersionId", "SecretData"]),
    ("GetSecretValue", &["SecretName"]),
    ("UpdateSecretVersionStage", &["SecretName", "VersionStage"]),
    ("ListSecretVersionIds", &["SecretName"]),
    ("DescribeSecret", &["SecretName"]),
];

/// Its code is the one that the vendor's Terraform provider knows.
fn absent(what: &str) -> Refusal {
    Refusal::new("Forbidden.ResourceNotFound", format!("The {what} is not found."))
}

/// The code is made up, here and below.
fn invalid(what: impl Into<String>) -> Refusal {
    Refusal::new("InvalidParameter", what)
}

impl KmsCall {
    fn text(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(Secret::expose)
    }

    fn secret(&self) -> &str {
        self.text("SecretName").unwrap_or_default()
    }

    fn version(&self) -> &str {
        self.text("VersionId").unwrap_or_default()
    }

    fn value(&self) -> Result<&str, Refusal> {
        let text = self.text("SecretData").unwrap_or_default();
        if self.text("SecretDataType").is_some_and(|kind| kind != "text") {
            return Err(invalid("This stand-in keeps texts alone."));
        }
        if !is_name(self.version(), 64, "-_.") || text.len() > VALUE_LIMIT {
            return Err(invalid("VersionId has 1 to 64 characters and SecretData at most 30720 bytes."));
        }
        Ok(text)
    }

    fn create(&self, cloud: &Cloud) -> Result<Fields, Refusal> {
        let text = self.value()?;
        let mut state = cloud.state();
        let key = (Store::AlibabaKms, self.secret().to_owned());
        if state.secrets.contains_key(&key) {
            return Err(Refusal::new("Rejected.ResourceExist", "The secret is there already."));
        }
        let mut kept = Kept::default();
        kept.add(self.version(), text, vec![CURRENT.to_owned()]);
        state.secrets.insert(key, kept);
        Ok(self.named())
    }

    fn named(&self) -> Fields {
        fields([("SecretName", self.secret().into()), ("VersionId", self.version().into())])
    }

    fn put(&self, kept: &mut Kept) -> Result<Fields, Refusal> {
        let text = self.value()?;
        let labels: Vec<String> = match self.text("VersionStages") {
            None => vec![CURRENT.to_owned()],
            Some(list) => serde_json::from_str(list).map_err(|_| invalid("VersionStages is a JSON array of texts."))?,
        };
        if let Some(version) = kept.version(self.version()) {
            return match version.text.expose() == text {
                true => Ok(self.named()),
                false => Err(Refusal::new("Rejected.ResourceExist", "The version is there with another value.")),
            };
        }
        refuse_many(kept, &labels)?;
        if labels.iter().any(|label| label == CURRENT) {
            make_previous(kept);
        }
        kept.add(self.version(), text, labels);
        // Of too many versions the oldest without a label goes.
        while kept.versions.len() > VERSIONS_LIMIT {
            let Some(at) = kept.versions.iter().position(|version| version.labels.is_empty()) else { break };
            kept.versions.remove(at);
        }
        Ok(self.named())
    }

    fn get(&self, kept: &Kept) -> Result<Fields, Refusal> {
        let version = match self.text("VersionId") {
            Some(id) => kept.version(id),
            None => kept.labelled(self.text("VersionStage").unwrap_or(CURRENT)),
        };
        let KeptVersion { id, text, labels, .. } = version.ok_or_else(|| absent("secret version"))?;
        Ok(fields([
            ("SecretName", self.secret().into()),
            ("VersionId", id.as_str().into()),
            ("SecretData", text.expose().into()),
            ("SecretDataType", "text".into()),
            ("SecretType", "Generic".into()),
            ("VersionStages", json!({"VersionStage": labels})),
            ("CreateTime", "2025-01-01T00:00:00Z".into()),
        ]))
    }

    fn stage(&self, kept: &mut Kept) -> Result<Fields, Refusal> {
        let label = self.text("VersionStage").unwrap_or_default();
        let (from, to) = (self.text("RemoveFromVersion"), self.text("MoveToVersion"));
        if [from, to] == [None, None] || (to.is_none() && [CURRENT, PREVIOUS].contains(&label)) {
            return Err(invalid("MoveToVersion is missing."));
        }
        for id in [from, to].into_iter().flatten() {
            kept.version(id).ok_or_else(|| absent("secret version"))?;
        }
        // That it is refused is made up.
        if let Some(from) = from
            && kept.labelled(label).map(|version| version.id.as_str()) != Some(from)
        {
            return Err(Refusal::new("Rejected.StageNotAttached", "RemoveFromVersion has no such label."));
        }
        if let Some(to) = to {
            // That it is refused where it is there already is made up, too.
            if kept.labelled(label).is_some_and(|version| version.id == to) {
                return Err(Refusal::new("Rejected.StageAttached", "MoveToVersion has this label already."));
            }
            refuse_many(kept, &[label.to_owned()])?;
            if label == CURRENT {
                make_previous(kept);
            }
        }
        kept.unlabel(label);
        if let Some(version) = kept.versions.iter_mut().find(|version| Some(version.id.as_str()) == to) {
            version.labels.push(label.to_owned());
        }
        Ok(fields([("SecretName", self.secret().into())]))
    }

    fn list(&self, kept: &Kept) -> Fields {
        let all = self.text("IncludeDeprecated") == Some("true");
        let rows: Vec<Value> = kept
            .versions
            .iter()
            .filter(|version| all || !version.labels.is_empty())
            .map(|version| {
                json!({
                    "VersionId": version.id,
                    "CreateTime": "2025-01-01T00:00:00Z",
                    "VersionStages": {"VersionStage": version.labels},
                })
            })
            .collect();
        fields([
            ("SecretName", self.secret().into()),
            ("TotalCount", rows.len().into()),
            ("PageNumber", 1.into()),
            ("PageSize", 100.into()),
            ("VersionIds", json!({"VersionId": rows})),
        ])
    }

    fn describe(&self, kept: &Kept) -> Fields {
        let mut answer = fields([
            ("SecretName", self.secret().into()),
            ("SecretType", kept.kind.as_deref().unwrap_or("Generic").into()),
            ("CreateTime", "2025-01-01T00:00:00Z".into()),
        ]);
        if kept.disabled {
            answer.insert("PlannedDeleteTime".to_owned(), "2027-01-01T00:00:00Z".into());
        }
        answer
    }
}

/// The version that was current becomes the one before.
fn make_previous(kept: &mut Kept) {
    if kept.labelled(CURRENT).is_some() {
        kept.unlabel(PREVIOUS);
    }
    let labels = kept.versions.iter_mut().flat_map(|version| version.labels.iter_mut());
    labels.filter(|label| *label == CURRENT).for_each(|label| PREVIOUS.clone_into(label));
}

/// How KMS names a label too many is made up.
fn refuse_many(kept: &Kept, more: &[String]) -> Result<(), Refusal> {
    let labels: BTreeSet<&String> = kept.versions.iter().flat_map(|version| &version.labels).chain(more).collect();
    if labels.len() > LABELS_LIMIT {
        return Err(Refusal::new("Rejected.LimitExceeded", "There are too many labels on this secret."));
    }
    Ok(())
}

impl Dialect for KmsCall {
    fn admit(cloud: &Cloud, head: &Head<'_>, body: &[u8]) -> Result<Self, Refusal> {
        if !["GET", "POST"].contains(&head.method) || head.path != "/" {
            return Err(Refusal::new("UnsupportedHTTPMethod", "Requests are GET or POST to the path /."));
        }
        let callers = callers(cloud, Issuer::Alibaba);
        let proof = verify(head, body, &callers, cloud.clock.published())?;
        if has_ended(cloud, head) {
            return Err(Refusal::new("InvalidSecurityToken.Expired", "The security token has expired."));
        }
        let name = only(head.headers, "x-acs-action").unwrap_or_default();
        let mut state = cloud.state();
        if !state.nonces.take(proof.key_id, proof.nonce, cloud.clock.uptime()) {
            return Err(Refusal::new("SignatureNonceUsed", "The request signature nonce has been used."));
        }
        let (action, required) = ACTIONS
            .into_iter()
            .find(|(action, _)| *action == name && !state.absent.contains(name))
            .ok_or_else(|| Refusal::new("InvalidAction.NotFound", "The specified API is not found."))?;
        if state.denied.contains(action) {
            return Err(Refusal::new("Forbidden.RAM", "User not authorized to operate on the specified resource."));
        }
        if !state.buckets.admit(action, cloud.clock.uptime(), cloud.clock.now()) {
            return Err(Self::throttled());
        }
        drop(state);
        // The vendor's own SDK puts values into the body and the rest into the query. That a value in a URL is refused is this stand-in's own rule.
        if url::form_urlencoded::parse(head.query.as_bytes()).any(|(name, _)| name == "SecretData") {
            return Err(invalid("SecretData stands in the body."));
        }
        let pairs = url::form_urlencoded::parse(head.query.as_bytes()).chain(url::form_urlencoded::parse(body));
        let parameters: BTreeMap<String, Secret> = pairs
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.into_owned(), Secret::new(value.into_owned())))
            .collect();
        if let Some(name) = required.iter().find(|name| !parameters.contains_key(**name)) {
            return Err(Refusal::new(&format!("Missing{name}"), format!("{name} is mandatory for this action.")));
        }
        let call = Self { action, parameters };
        if !is_name(call.secret(), 192, "_/+=.-@") || call.secret().starts_with("acs/") {
            return Err(invalid("SecretName is no such name."));
        }
        Ok(call)
    }

    fn action(&self) -> &'static str {
        self.action
    }

    fn instance(&self, _state: &State) -> Option<String> {
        Some(self.secret().to_owned())
    }

    fn perform(&self, cloud: &Arc<Cloud>, _how: How) -> Result<Fields, Refusal> {
        if self.action == "CreateSecret" {
            return self.create(cloud);
        }
        with(cloud, Store::AlibabaKms, self.secret(), |kept| {
            let kept = kept.ok_or_else(|| absent("secret"))?;
            match self.action {
                "PutSecretValue" => self.put(kept),
                "GetSecretValue" => self.get(kept),
                "UpdateSecretVersionStage" => self.stage(kept),
                "ListSecretVersionIds" => Ok(self.list(kept)),
                _ => Ok(self.describe(kept)),
            }
        })
    }

    fn word(answer: &Result<Fields, Refusal>, request_id: &str, settings: &Settings) -> Wording {
        let wording = RpcCall::word(answer, request_id, settings);
        let status = match answer.as_ref().map_err(|refusal| refusal.code.as_str()) {
            Err("Forbidden.ResourceNotFound") => StatusCode::NOT_FOUND,
            Ok(_) | Err(_) => wording.status,
        };
        Wording { status, ..wording }
    }

    fn too_large() -> Refusal {
        RpcCall::too_large()
    }

    fn throttled() -> Refusal {
        RpcCall::throttled()
    }

    fn wrong_old_password(settings: &Settings) -> Refusal {
        RpcCall::wrong_old_password(settings)
    }

    fn garbage(shape: Garbage, request_id: &str) -> String {
        RpcCall::garbage(shape, request_id)
    }

    fn endless(request_id: &str) -> String {
        RpcCall::endless(request_id)
    }
}
