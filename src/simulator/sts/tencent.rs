//! Tencent's token service: AssumeRole, and AssumeRoleWithWebIdentity, which is not signed (API documents of STS, version 2018-08-13).

use super::super::answer::{Fields, Refusal, fields};
use super::super::cloud::{Cloud, How, State};
use super::super::dialect::{Dialect, Wording};
use super::super::head::{Head, only};
use super::super::identity::{Issuer, callers, claimed, has_ended, issue};
use super::super::script::Garbage;
use super::super::settings::Settings;
use super::super::tencent::{JsonCall, verify};
use super::{Why, Wish, grant, is_session};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// `X-TC-Version`.
pub(super) const VERSION: &str = "2018-08-13";
/// What must stand in the signature's scope.
const SERVICE: &str = "sts";
/// How far a request's time may be from the cloud's, in seconds.
const SKEW_LIMIT_SECONDS: u64 = 300;
/// The life of a credential, in seconds: where nothing is asked for, and at most.
const LIFE: (u64, u64) = (7_200, 43_200);

/// One call.
pub(in super::super) struct RoleCall {
    action: &'static str,
    caller: Option<String>,
    parameters: Fields,
}

/// The actions and their parameters: name, whether it must be there.
const ACTIONS: [(&str, &[(&str, bool)]); 2] = [
    (
        "AssumeRole",
        &[
            ("RoleArn", true),
            ("RoleSessionName", true),
            ("DurationSeconds", false),
            ("Policy", false),
            ("ExternalId", false),
        ],
    ),
    (
        "AssumeRoleWithWebIdentity",
        &[
            ("ProviderId", true),
            ("WebIdentityToken", true),
            ("RoleArn", true),
            ("RoleSessionName", true),
            ("DurationSeconds", false),
        ],
    ),
];

impl RoleCall {
    fn text(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).and_then(Value::as_str)
    }
}

impl Dialect for RoleCall {
    fn admit(cloud: &Cloud, head: &Head<'_>, body: &[u8]) -> Result<Self, Refusal> {
        if head.method != "POST" || head.path != "/" {
            return Err(Refusal::new("InvalidRequest", "Requests are POST to the path /."));
        }
        let unsigned = only(head.headers, "authorization") == Some("SKIP");
        if unsigned {
            let timestamp = only(head.headers, "x-tc-timestamp").and_then(|text| text.parse::<i64>().ok());
            let timestamp = timestamp.ok_or_else(|| Refusal::new("MissingParameter", "X-TC-Timestamp is missing."))?;
            if cloud.clock.published().seconds().abs_diff(timestamp) > SKEW_LIMIT_SECONDS {
                return Err(Refusal::new("AuthFailure.SignatureExpire", "The request's time is off."));
            }
            if head.headers.contains_key("x-tc-token") {
                return Err(Refusal::new("AuthFailure.InvalidAuthorization", "An unsigned request has no token."));
            }
        } else {
            verify(head, body, &callers(cloud, Issuer::Tencent), SERVICE, cloud.clock.published())?;
            if has_ended(cloud, head) {
                return Err(Refusal::new("AuthFailure.TokenFailure", "The session token has expired."));
            }
        }
        let mut state = cloud.state();
        let name = only(head.headers, "x-tc-action").unwrap_or_default();
        let (action, known) = ACTIONS
            .into_iter()
            .find(|(action, _)| *action == name && !state.absent.contains(name))
            .ok_or_else(|| Refusal::new("InvalidAction", "There is no such action."))?;
        if unsigned != (action == "AssumeRoleWithWebIdentity") {
            return Err(Refusal::new("AuthFailure.InvalidAuthorization", "The Authorization does not fit the action."));
        }
        if state.denied.contains(action) {
            return Err(Refusal::new("UnauthorizedOperation", "No CAM permission for this action."));
        }
        if !state.buckets.admit(action, cloud.clock.uptime(), cloud.clock.now()) {
            return Err(Self::throttled());
        }
        drop(state);
        let parameters: Fields = serde_json::from_slice(body)
            .map_err(|_| Refusal::new("InvalidParameter", "The request's body is not a JSON object."))?;
        if let Some(name) = parameters.keys().find(|name| !known.iter().any(|(known, _)| known == name)) {
            return Err(Refusal::new("UnknownParameter", format!("The parameter {name} is not recognized.")));
        }
        if let Some((name, _)) = known.iter().find(|(name, must)| *must && !parameters.contains_key(*name)) {
            return Err(Refusal::new("MissingParameter", format!("The parameter {name} is missing.")));
        }
        Ok(Self { action, caller: claimed(head).map(str::to_owned), parameters })
    }

    fn action(&self) -> &'static str {
        self.action
    }

    fn instance(&self, _state: &State) -> Option<String> {
        None
    }

    fn perform(&self, cloud: &Arc<Cloud>, _how: How) -> Result<Fields, Refusal> {
        let wrong = |what: &str| Refusal::new("InvalidParameter.ParamError", what);
        if !is_session(self.text("RoleSessionName").unwrap_or_default(), 128) {
            return Err(wrong("RoleSessionName is not a session's name."));
        }
        let seconds = self.parameters.get("DurationSeconds").map_or(Some(LIFE.0), Value::as_u64);
        let seconds = seconds.filter(|seconds| (1..=LIFE.1).contains(seconds));
        let life = Duration::from_secs(seconds.ok_or_else(|| wrong("DurationSeconds is out of range."))?);
        let wish = Wish {
            role: self.text("RoleArn").unwrap_or_default(),
            caller: self.caller.as_deref(),
            external_id: self.text("ExternalId"),
            identity: self.text("ProviderId").zip(self.text("WebIdentityToken")),
            life,
        };
        grant(cloud, &wish).map_err(|why| match why {
            Why::NoSuchRole => Refusal::new("ResourceNotFound.RoleNotFound", "There is no such role."),
            Why::NotTrusted => Refusal::new("UnauthorizedOperation", "The role does not trust this caller."),
            Why::WrongToken => Refusal::new("InvalidParameter.WebIdentityTokenError", "The token is not valid."),
            Why::TooLong => wrong("DurationSeconds is above the role's maximum."),
        })?;
        let issued = issue(cloud, Issuer::Tencent, life, false);
        let parts = json!({
            "Token": issued.token(),
            "TmpSecretId": issued.credential.secret_id,
            "TmpSecretKey": issued.credential.secret_key.expose(),
        });
        Ok(fields([
            ("Credentials", parts),
            ("ExpiredTime", issued.ends.seconds().into()),
            ("Expiration", issued.ends.utc().format("%Y-%m-%dT%H:%M:%SZ").to_string().into()),
        ]))
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
