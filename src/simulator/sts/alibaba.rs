//! Alibaba's token service: AssumeRole, and AssumeRoleWithOIDC, which is not signed (API documents of STS, version 2015-04-01).
//!
//! Where no document prints a code, the one here is made up and says so beside it.

use super::super::alibaba::{RpcCall, verify};
use super::super::answer::{Fields, Refusal, fields};
use super::super::cloud::{Cloud, How, State};
use super::super::dialect::{Dialect, Wording};
use super::super::head::{Head, only};
use super::super::identity::{Issuer, callers, claimed, has_ended, issue};
use super::super::script::Garbage;
use super::super::settings::Settings;
use super::{Why, Wish, grant, is_session};
use crate::moment::Moment;
use chrono::NaiveDateTime;
use hyper::StatusCode;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// `x-acs-version`, or `Version` of a request without a signature.
pub(super) const VERSION: &str = "2015-04-01";
/// How far a request's time may be from the cloud's, in seconds.
const SKEW_LIMIT_SECONDS: u64 = 900;
/// The life of a credential, in seconds: where nothing is asked for, at least, and at most.
const LIFE: (u64, u64, u64) = (3_600, 900, 43_200);
/// How the vendor writes moments.
const DATE_FORMAT: &str = "%Y-%m-%dT%H:%M:%SZ";

/// One call.
pub(in super::super) struct OidcOrRoleCall {
    action: &'static str,
    caller: Option<String>,
    parameters: BTreeMap<String, String>,
}

/// The actions and the parameters that must be there.
const ACTIONS: [(&str, &[&str]); 2] = [
    ("AssumeRole", &["RoleArn", "RoleSessionName"]),
    ("AssumeRoleWithOIDC", &["RoleArn", "OIDCProviderArn", "OIDCToken", "RoleSessionName"]),
];

impl OidcOrRoleCall {
    fn text(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }
}

/// A request without a signature says in its query what and when.
fn admit_unsigned(cloud: &Cloud, query: &BTreeMap<String, String>) -> Result<String, Refusal> {
    let date = query.get("Timestamp").and_then(|text| NaiveDateTime::parse_from_str(text, DATE_FORMAT).ok());
    let date = date.ok_or_else(|| Refusal::new("InvalidTimeStamp.Format", "Timestamp is missing or malformed."))?;
    let gap = cloud.clock.published().seconds().abs_diff(Moment::from(date.and_utc()).seconds());
    if gap > SKEW_LIMIT_SECONDS {
        return Err(Refusal::new("InvalidTimeStamp.Expired", "The request's time is more than 15 minutes off."));
    }
    if !query.get("Format").is_some_and(|format| format.eq_ignore_ascii_case("json")) {
        return Err(Refusal::new("InvalidParameter.Format", "This stand-in answers in JSON only."));
    }
    Ok(query.get("Action").cloned().unwrap_or_default())
}

fn pairs(text: &[u8]) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(text).into_owned().collect()
}

impl Dialect for OidcOrRoleCall {
    fn admit(cloud: &Cloud, head: &Head<'_>, body: &[u8]) -> Result<Self, Refusal> {
        if !["GET", "POST"].contains(&head.method) || head.path != "/" {
            return Err(Refusal::new("UnsupportedHTTPMethod", "Requests are GET or POST to the path /."));
        }
        let mut parameters = pairs(head.query.as_bytes());
        let signed = head.headers.contains_key("authorization");
        let name = if signed {
            let callers = callers(cloud, Issuer::Alibaba);
            let proof = verify(head, body, &callers, cloud.clock.published())?;
            if has_ended(cloud, head) {
                return Err(Refusal::new("InvalidSecurityToken.Expired", "The security token has expired."));
            }
            if !cloud.state().nonces.take(proof.key_id, proof.nonce, cloud.clock.uptime()) {
                return Err(Refusal::new("SignatureNonceUsed", "The request signature nonce has been used."));
            }
            only(head.headers, "x-acs-action").unwrap_or_default().to_owned()
        } else {
            admit_unsigned(cloud, &parameters)?
        };
        let mut state = cloud.state();
        let (action, required) = ACTIONS
            .into_iter()
            .find(|(action, _)| *action == name && !state.absent.contains(&name))
            .ok_or_else(|| Refusal::new("InvalidAction.NotFound", "The specified API is not found."))?;
        if !signed && action == "AssumeRole" {
            return Err(Refusal::new("IncompleteSignature", "The request is not signed."));
        }
        if state.denied.contains(action) {
            return Err(Refusal::new("NoPermission", "You are not authorized to do this action."));
        }
        if !state.buckets.admit(action, cloud.clock.uptime(), cloud.clock.now()) {
            return Err(Self::throttled());
        }
        drop(state);
        parameters.extend(pairs(body));
        if let Some(name) = required.iter().find(|name| !parameters.contains_key(**name)) {
            return Err(Refusal::new(&format!("Missing{name}"), format!("{name} is mandatory for this action.")));
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
        if !is_session(self.text("RoleSessionName").unwrap_or_default(), 64) {
            return Err(Refusal::new("InvalidParameter.RoleSessionName", "RoleSessionName is not a session's name."));
        }
        let seconds = self.text("DurationSeconds").map_or(Some(LIFE.0), |text| text.parse().ok());
        let too_long = || Refusal::new("InvalidParameter.DurationSeconds", "DurationSeconds is out of range.");
        let seconds = seconds.filter(|seconds| (LIFE.1..=LIFE.2).contains(seconds)).ok_or_else(too_long)?;
        let life = Duration::from_secs(seconds);
        let wish = Wish {
            role: self.text("RoleArn").unwrap_or_default(),
            caller: self.caller.as_deref(),
            external_id: self.text("ExternalId"),
            identity: self.text("OIDCProviderArn").zip(self.text("OIDCToken")),
            life,
        };
        grant(cloud, &wish).map_err(|why| match why {
            Why::NoSuchRole => Refusal::new("EntityNotExist.Role", "The role does not exist."),
            Why::NotTrusted => Refusal::new("NoPermission", "You are not authorized to do this action."),
            // Its detail is made up.
            Why::WrongToken => Refusal::new("AuthenticationFail.OIDCToken.Invalid", "The OIDC token is not valid."),
            Why::TooLong => too_long(),
        })?;
        let issued = issue(cloud, Issuer::Alibaba, life, false);
        let parts = json!({
            "AccessKeyId": issued.credential.secret_id,
            "AccessKeySecret": issued.credential.secret_key.expose(),
            "SecurityToken": issued.token(),
            "Expiration": issued.ends.utc().format(DATE_FORMAT).to_string(),
        });
        let user = json!({"Arn": format!("{}/{}", wish.role, self.text("RoleSessionName").unwrap_or_default())});
        Ok(fields([("Credentials", parts), ("AssumedRoleUser", user)]))
    }

    fn word(answer: &Result<Fields, Refusal>, request_id: &str, settings: &Settings) -> Wording {
        let wording = RpcCall::word(answer, request_id, settings);
        let status = match answer.as_ref().map_err(|refusal| refusal.code.as_str()) {
            Err("EntityNotExist.Role") => StatusCode::NOT_FOUND,
            Err("NoPermission") => StatusCode::FORBIDDEN,
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
