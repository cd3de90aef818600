//! Alibaba Cloud's R-kvstore (Tair, ApsaraDB for Redis) in RPC style: parameters in the query or a form, and an HTTP status for
//! every refusal.
//!
//! Where no document prints a code, the one here is made up and says so beside it.

mod actions;
mod nonces;
mod read;
mod rules;
mod signature;
mod write;

pub(super) use actions::Call as RpcCall;
pub(super) use nonces::Nonces;

use super::answer::{Fields, Refusal};
use super::cloud::{Cloud, How, State};
use super::dialect::{Dialect, Wording};
use super::head::{Head, only};
use super::identity::{Issuer, callers, has_ended};
use super::script::Garbage;
use super::settings::Settings;
use actions::{Action, VERSION};
use hyper::StatusCode;
use serde_json::json;
pub(super) use signature::verify;
use std::sync::Arc;

/// How long a throttled caller should wait, in milliseconds.
pub(super) const RETRY_AFTER: &str = "x-acs-retry-after";

/// Whether a request speaks to this cloud.
pub(super) fn is_meant(head: &Head<'_>) -> bool {
    head.headers.keys().any(|name| name.as_str().starts_with("x-acs-"))
}

impl Dialect for RpcCall {
    fn admit(cloud: &Cloud, head: &Head<'_>, body: &[u8]) -> Result<Self, Refusal> {
        if !["GET", "POST"].contains(&head.method) || head.path != "/" {
            return Err(Refusal::new("UnsupportedHTTPMethod", "Requests are GET or POST to the path /."));
        }
        let settings = &cloud.settings;
        let callers = callers(cloud, Issuer::Alibaba);
        let proof = verify(head, body, &callers, cloud.clock.published())?;
        if has_ended(cloud, head) {
            return Err(Refusal::new("InvalidSecurityToken.Expired", "The security token has expired."));
        }
        let mut state = cloud.state();
        if !state.nonces.take(proof.key_id, proof.nonce, cloud.clock.uptime()) {
            return Err(Refusal::new("SignatureNonceUsed", "The request signature nonce has been used."));
        }
        // How the gateway names an unknown version is made up; for an unknown action the code is the one the vendor prints.
        if only(head.headers, "x-acs-version") != Some(VERSION) {
            return Err(Refusal::new("InvalidVersion", "The specified parameter Version is not valid."));
        }
        let action = only(head.headers, "x-acs-action")
            .and_then(Action::named)
            .filter(|action| !state.absent.contains(action.name()))
            .ok_or_else(|| Refusal::new("InvalidAction.NotFound", "The specified API is not found."))?;
        if state.denied.contains(action.name()) {
            return Err(Refusal::new("Forbidden.RAM", "User not authorized to operate on the specified resource."));
        }
        if !state.buckets.admit(action.name(), cloud.clock.uptime(), cloud.clock.now()) {
            return Err(Self::throttled());
        }
        drop(state);
        Self::read(action, head, if settings.alibaba.body_parameters { body } else { b"" })
    }

    fn action(&self) -> &'static str {
        self.action.name()
    }

    fn instance(&self, _state: &State) -> Option<String> {
        let of_list = || self.text("InstanceIds").filter(|ids| !ids.contains(','));
        self.text("InstanceId").or_else(of_list).map(str::to_owned)
    }

    fn perform(&self, cloud: &Arc<Cloud>, how: How) -> Result<Fields, Refusal> {
        match self.action {
            Action::ModifyAccountPassword | Action::ResetAccountPassword => {
                cloud.accept(how.course, |state, uptime| write::order(state, &cloud.settings, self, uptime))?;
                Ok(Fields::new())
            }
            // Without a new password it renames the instance and suchlike, of which nothing is to be seen here.
            Action::ModifyInstanceAttribute => {
                if self.text("NewPassword").is_some() {
                    cloud.accept(how.course, |state, uptime| write::order(state, &cloud.settings, self, uptime))?;
                }
                Ok(Fields::new())
            }
            Action::DescribeAccounts | Action::DescribeInstanceAttribute | Action::DescribeInstances => {
                let world = read::World {
                    when: cloud.clock.now() - how.age,
                    uptime: cloud.clock.uptime().saturating_sub(how.age),
                    settings: &cloud.settings,
                };
                read::answer(&cloud.state(), world, self)
            }
        }
    }

    fn word(answer: &Result<Fields, Refusal>, request_id: &str, settings: &Settings) -> Wording {
        let request_id = request_id.to_ascii_uppercase();
        match answer {
            Ok(fields) => {
                let mut fields = fields.clone();
                fields.insert("RequestId".to_owned(), request_id.into());
                Wording { status: StatusCode::OK, retry_after: None, text: json!(fields).to_string() }
            }
            Err(refusal) => Wording {
                status: status(&refusal.code),
                retry_after: settings.alibaba.retry_after.filter(|_| is_throttling(&refusal.code)),
                text: json!({
                    "RequestId": request_id,
                    "HostId": format!("r-kvstore.{}.aliyuncs.com", settings.alibaba.region),
                    "Code": refusal.code,
                    "Message": refusal.message,
                    "Recommend": format!("look up {} in the vendor's list of error codes", refusal.code),
                })
                .to_string(),
            },
        }
    }

    /// The code is made up.
    fn too_large() -> Refusal {
        Refusal::new("RequestEntityTooLarge", "The request is too large.")
    }

    fn throttled() -> Refusal {
        Refusal::new("Throttling.User", "Request was denied due to user flow control.")
    }

    fn wrong_old_password(settings: &Settings) -> Refusal {
        write::wrong_password(settings)
    }

    /// Nothing here could be taken for a success: of a write, that is an object with a RequestId.
    fn garbage(shape: Garbage, id: &str) -> String {
        match shape {
            Garbage::NotJson => "<!doctype html><title>Please log in</title>".to_owned(),
            Garbage::NoEnvelope => r#"["RequestId", 1]"#.to_owned(),
            Garbage::NoFields => "{}".to_owned(),
            Garbage::WrongTypes => {
                r#"{"RequestId":7,"Accounts":"","Instances":[],"TotalCount":{},"PageNumber":"one"}"#.to_owned()
            }
            Garbage::CutOff => format!(r#"{{"RequestId":"{id}","Acc"#),
            Garbage::Empty => String::new(),
        }
    }

    fn endless(id: &str) -> String {
        format!(r#"{{"RequestId":"{id}","Padding":""#)
    }
}

fn is_throttling(code: &str) -> bool {
    code.starts_with("Throttling") || code == "Rejected.Throttling"
}

/// The HTTP status of a code (Alibaba error tables of r-kvstore and of the OpenAPI gateway); 400 where they print none.
fn status(code: &str) -> StatusCode {
    match code {
        "Forbidden.RAM" | "IncorrectDBInstanceState" | "HasDirectConnectionNotSupport" => StatusCode::FORBIDDEN,
        "InvalidAccessKeyId.NotFound"
        | "InvalidAccessKeyId.Inactive"
        | "InvalidAccountName.NotFound"
        | "InvalidAction.NotFound"
        | "InvalidInstanceId.NotFound" => StatusCode::NOT_FOUND,
        "UnsupportedHTTPMethod" => StatusCode::METHOD_NOT_ALLOWED,
        "RequestEntityTooLarge" => StatusCode::PAYLOAD_TOO_LARGE,
        "InternalError" => StatusCode::INTERNAL_SERVER_ERROR,
        "ServiceUnavailable" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}
