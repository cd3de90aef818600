//! Tencent's Secrets Manager (SSM, version 2019-09-23), custom secrets alone.

use super::super::answer::{Fields, Refusal, fields};
use super::super::cloud::{Cloud, How, State};
use super::super::dialect::{Dialect, Wording};
use super::super::head::{Head, only};
use super::super::identity::{Issuer, callers, has_ended};
use super::super::script::Garbage;
use super::super::settings::Settings;
use super::super::tencent::{JsonCall, verify};
use super::{Kept, Store, VERSIONS_LIMIT, is_name, with};
use serde_json::{Value, json};
use std::sync::Arc;

/// `X-TC-Version`.
pub(super) const VERSION: &str = "2019-09-23";
/// What must stand in the signature's scope.
const SERVICE: &str = "ssm";
/// The largest value, in bytes.
const VALUE_LIMIT: usize = 32 * 1024;
/// The most secrets of a region.
const SECRETS_LIMIT: usize = 1_000;
/// A version's name where none is given.
const DEFAULT_VERSION: &str = "SSM_Current";

/// One call.
pub(in super::super) struct SsmCall {
    action: Action,
    parameters: Fields,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Create,
    Put,
    Update,
    Get,
    Describe,
    List,
    DeleteVersion,
}

impl Action {
    const ALL: [Self; 7] =
        [Self::Create, Self::Put, Self::Update, Self::Get, Self::Describe, Self::List, Self::DeleteVersion];

    fn name(self) -> &'static str {
        match self {
            Self::Create => "CreateSecret",
            Self::Put => "PutSecretValue",
            Self::Update => "UpdateSecret",
            Self::Get => "GetSecretValue",
            Self::Describe => "DescribeSecret",
            Self::List => "ListSecretVersionIds",
            Self::DeleteVersion => "DeleteSecretVersion",
        }
    }

    /// Its parameters: name, whether it must be there.
    fn parameters(self) -> &'static [(&'static str, bool)] {
        match self {
            Self::Create => &[
                ("SecretName", true),
                ("VersionId", false),
                ("SecretString", false),
                ("SecretBinary", false),
                ("Description", false),
                ("KmsKeyId", false),
                ("SecretType", false),
                ("Tags", false),
            ],
            Self::Put | Self::Update => {
                &[("SecretName", true), ("VersionId", true), ("SecretString", false), ("SecretBinary", false)]
            }
            Self::Get | Self::DeleteVersion => &[("SecretName", true), ("VersionId", true)],
            Self::Describe | Self::List => &[("SecretName", true)],
        }
    }
}

impl SsmCall {
    fn text(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).and_then(Value::as_str)
    }

    fn secret(&self) -> &str {
        self.text("SecretName").unwrap_or_default()
    }

    fn version(&self) -> &str {
        self.text("VersionId").unwrap_or(DEFAULT_VERSION)
    }

    /// The value, a text: bytes are nothing that is written here.
    fn value(&self) -> Result<&str, Refusal> {
        let text = self.text("SecretString").filter(|text| !text.is_empty() && text.len() <= VALUE_LIMIT);
        match text.filter(|_| !self.parameters.contains_key("SecretBinary")) {
            Some(text) => Ok(text),
            None => Err(Refusal::new(
                "InvalidParameterValue",
                "SecretString has 1 to 32768 bytes, and SecretBinary is not taken here.",
            )),
        }
    }

    fn named(&self) -> Fields {
        fields([("SecretName", self.secret().into()), ("VersionId", self.version().into())])
    }

    fn create(&self, cloud: &Cloud) -> Result<Fields, Refusal> {
        let text = self.value()?;
        let mut state = cloud.state();
        let ours = state.secrets.keys().filter(|(store, _)| *store == Store::TencentSsm).count();
        let key = (Store::TencentSsm, self.secret().to_owned());
        if state.secrets.contains_key(&key) {
            return Err(Refusal::new("ResourceInUse.SecretExists", "There is a secret of this name."));
        }
        if ours >= SECRETS_LIMIT {
            return Err(Refusal::new("LimitExceeded", "There are too many secrets in this region."));
        }
        let mut kept = Kept::default();
        kept.add(self.version(), text, Vec::new());
        state.secrets.insert(key, kept);
        Ok(self.named())
    }

    /// Acts on a secret that is there.
    fn act(&self, kept: &mut Kept) -> Result<Fields, Refusal> {
        let absent = || Refusal::new("ResourceNotFound", "There is no such version.");
        let id = self.version();
        match self.action {
            // Made before it is looked for.
            Action::Create => Ok(Fields::new()),
            Action::Put => {
                let text = self.value()?;
                if kept.version(id).is_some() {
                    return Err(Refusal::new("ResourceInUse.VersionIdExists", "There is a version of this name."));
                }
                if kept.versions.len() >= VERSIONS_LIMIT {
                    return Err(Refusal::new("LimitExceeded", "There are too many versions of this secret."));
                }
                kept.add(id, text, Vec::new());
                Ok(self.named())
            }
            Action::Update => {
                let text = self.value()?;
                let version = kept.versions.iter_mut().find(|version| version.id == id).ok_or_else(absent)?;
                version.text = crate::secret::Secret::new(text.to_owned());
                version.writes += 1;
                Ok(self.named())
            }
            Action::Get if kept.disabled => {
                Err(Refusal::new("ResourceUnavailable.ResourceDisabled", "The secret is disabled."))
            }
            Action::Get => {
                let version = kept.version(id).ok_or_else(absent)?;
                let mut answer = self.named();
                answer.insert("SecretString".to_owned(), version.text.expose().into());
                answer.insert("SecretBinary".to_owned(), "".into());
                Ok(answer)
            }
            Action::Describe => Ok(fields([
                ("SecretName", self.secret().into()),
                ("Status", if kept.disabled { "Disabled" } else { "Enabled" }.into()),
                ("SecretType", kept.kind.as_ref().and_then(|kind| kind.parse::<i64>().ok()).unwrap_or(0).into()),
                ("RotationStatus", 0.into()),
            ])),
            Action::List => {
                let rows: Vec<Value> = kept
                    .versions
                    .iter()
                    .map(|version| json!({"VersionId": version.id, "CreateTime": 1_735_689_600}))
                    .collect();
                Ok(fields([("SecretName", self.secret().into()), ("Versions", rows.into())]))
            }
            Action::DeleteVersion => {
                let at = kept.versions.iter().position(|version| version.id == id).ok_or_else(absent)?;
                kept.versions.remove(at);
                Ok(self.named())
            }
        }
    }
}

impl Dialect for SsmCall {
    fn admit(cloud: &Cloud, head: &Head<'_>, body: &[u8]) -> Result<Self, Refusal> {
        if head.method != "POST" || head.path != "/" {
            return Err(Refusal::new("InvalidRequest", "Requests are POST to the path /."));
        }
        verify(head, body, &callers(cloud, Issuer::Tencent), SERVICE, cloud.clock.published())?;
        if has_ended(cloud, head) {
            return Err(Refusal::new("AuthFailure.TokenFailure", "The session token has expired."));
        }
        let name = only(head.headers, "x-tc-action").unwrap_or_default();
        let mut state = cloud.state();
        let action = Action::ALL
            .into_iter()
            .find(|action| action.name() == name && !state.absent.contains(name))
            .ok_or_else(|| Refusal::new("InvalidAction", "There is no such action."))?;
        if state.denied.contains(name) {
            return Err(Refusal::new("UnauthorizedOperation", "No CAM permission for this action."));
        }
        if !state.buckets.admit(action.name(), cloud.clock.uptime(), cloud.clock.now()) {
            return Err(Self::throttled());
        }
        drop(state);
        let parameters: Fields = serde_json::from_slice(body)
            .map_err(|_| Refusal::new("InvalidParameter", "The request's body is not a JSON object."))?;
        let known = action.parameters();
        if let Some(name) = parameters.keys().find(|name| !known.iter().any(|(known, _)| known == name)) {
            return Err(Refusal::new("UnknownParameter", format!("The parameter {name} is not recognized.")));
        }
        if let Some((name, _)) = known.iter().find(|(name, must)| *must && !parameters.contains_key(*name)) {
            return Err(Refusal::new("MissingParameter", format!("The parameter {name} is missing.")));
        }
        let call = Self { action, parameters };
        let begins = |text: &str| text.starts_with(|first: char| first.is_ascii_alphanumeric());
        let names = is_name(call.secret(), 128, "-_") && begins(call.secret());
        if !names || !is_name(call.version(), 64, "-_.") || !begins(call.version()) {
            return Err(Refusal::new("InvalidParameterValue", "SecretName or VersionId is no such name."));
        }
        Ok(call)
    }

    fn action(&self) -> &'static str {
        self.action.name()
    }

    fn instance(&self, _state: &State) -> Option<String> {
        Some(self.secret().to_owned())
    }

    fn perform(&self, cloud: &Arc<Cloud>, _how: How) -> Result<Fields, Refusal> {
        if self.action == Action::Create {
            return self.create(cloud);
        }
        with(cloud, Store::TencentSsm, self.secret(), |kept| match kept {
            Some(kept) => self.act(kept),
            None => Err(Refusal::new("ResourceNotFound", "There is no such secret.")),
        })
    }

    fn word(answer: &Result<Fields, Refusal>, request_id: &str, settings: &Settings) -> Wording {
        JsonCall::word(answer, request_id, settings)
    }

    fn too_large() -> Refusal {
        JsonCall::too_large()
    }

    fn throttled() -> Refusal {
        JsonCall::throttled()
    }

    fn wrong_old_password(settings: &Settings) -> Refusal {
        JsonCall::wrong_old_password(settings)
    }

    fn garbage(shape: Garbage, request_id: &str) -> String {
        JsonCall::garbage(shape, request_id)
    }

    fn endless(request_id: &str) -> String {
        JsonCall::endless(request_id)
    }
}
