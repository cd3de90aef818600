//! The metadata services that a machine at Tencent (CVM) and one at Alibaba (ECS) reach, each at its own paths (Tencent, "Instance roles";
//! Alibaba, "Instance RAM roles"). The script knows their requests as `MetadataToken`, `MetadataRole` and `MetadataCredential`.
//! Beside them, for who sets `ALIBABA_CLOUD_CREDENTIALS_URI`, a service of the owner's own at `/latest/credentials-uri`: `CredentialsUri`.

use super::answer::{Fields, Refusal, fields};
use super::cloud::{Cloud, How, State};
use super::dialect::{Dialect, Wording};
use super::head::{Head, only};
use super::identity::{Handshake, Issued, Issuer, issue, of_machine};
use super::script::Garbage;
use super::settings::Settings;
use crate::moment::Moment;
use hyper::StatusCode;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const CVM: &str = "/latest/meta-data/cam/security-credentials/";
const ECS: &str = "/latest/meta-data/ram/security-credentials/";
const URI: &str = "/latest/credentials-uri";
const TOKEN: &str = "/latest/api/token";
const TOKEN_LIFE: &str = "x-aliyun-ecs-metadata-token-ttl-seconds";
const TOKEN_SHOWN: &str = "x-aliyun-ecs-metadata-token";
/// The longest life of a token, in seconds.
const LONGEST_TOKEN: u64 = 21_600;

/// Whether a request is meant for a metadata service.
pub(super) fn is_meant(head: &Head<'_>) -> bool {
    head.path.starts_with("/latest/")
}

/// One request.
pub(super) struct MetadataCall {
    issuer: Issuer,
    asks: Asks,
}

enum Asks {
    Token(Duration),
    Role,
    Credential(String),
    ByUri,
}

fn not_found() -> Refusal {
    Refusal::new("404", "Not Found")
}

impl MetadataCall {
    fn read(head: &Head<'_>) -> Result<Self, Refusal> {
        let of = |issuer, role: &str| match role {
            "" => Self { issuer, asks: Asks::Role },
            role => Self { issuer, asks: Asks::Credential(role.to_owned()) },
        };
        match (head.method, head.path) {
            ("PUT", TOKEN) => {
                let life = only(head.headers, TOKEN_LIFE).and_then(|text| text.parse().ok());
                let life = life.filter(|life| (1..=LONGEST_TOKEN).contains(life));
                let life = life.ok_or_else(|| Refusal::new("400", "Bad Request"))?;
                Ok(Self { issuer: Issuer::Alibaba, asks: Asks::Token(Duration::from_secs(life)) })
            }
            ("GET", URI) => Ok(Self { issuer: Issuer::Alibaba, asks: Asks::ByUri }),
            ("GET", path) => match (path.strip_prefix(CVM), path.strip_prefix(ECS)) {
                (Some(role), _) => Ok(of(Issuer::Tencent, role)),
                (None, Some(role)) => Ok(of(Issuer::Alibaba, role)),
                (None, None) => Err(not_found()),
            },
            _ => Err(not_found()),
        }
    }

    /// A credential in the vendor's words.
    fn shown(&self, cloud: &Cloud, issued: &Issued) -> Fields {
        let time = |moment: Moment| moment.utc().format("%Y-%m-%dT%H:%M:%SZ").to_string();
        let (id, key) = (&issued.credential.secret_id, issued.credential.secret_key.expose());
        match self.issuer {
            Issuer::Tencent => fields([
                ("TmpSecretId", json!(id)),
                ("TmpSecretKey", json!(key)),
                ("Token", json!(issued.token())),
                ("ExpiredTime", json!(issued.ends.seconds())),
                ("Expiration", json!(time(issued.ends))),
                ("Code", json!("Success")),
            ]),
            Issuer::Alibaba => fields([
                ("AccessKeyId", json!(id)),
                ("AccessKeySecret", json!(key)),
                ("SecurityToken", json!(issued.token())),
                ("Expiration", json!(time(issued.ends))),
                ("LastUpdated", json!(time(cloud.clock.published()))),
                ("Code", json!("Success")),
            ]),
        }
    }

    /// Whether the request shows what this service wants to see.
    fn is_let_in(&self, cloud: &Cloud, head: &Head<'_>) -> Result<(), Refusal> {
        let forbidden = || Refusal::new("403", "Forbidden");
        // A request that came through a proxy may come from anywhere.
        if head.headers.contains_key("x-forwarded-for") {
            return Err(forbidden());
        }
        let uptime = cloud.clock.uptime();
        let state = cloud.state();
        match (self.issuer, &self.asks, state.metadata.handshake) {
            (Issuer::Tencent, ..) | (_, Asks::ByUri, _) => Ok(()),
            (Issuer::Alibaba, Asks::Token(_), Handshake::Unknown) => Err(not_found()),
            (Issuer::Alibaba, Asks::Token(_), Handshake::Offered | Handshake::Required) => Ok(()),
            (Issuer::Alibaba, Asks::Role | Asks::Credential(_), handshake) => match only(head.headers, TOKEN_SHOWN) {
                None if handshake == Handshake::Required => Err(forbidden()),
                None => Ok(()),
                Some(token) => match state.metadata_tokens.get(token) {
                    Some(ends) if uptime < *ends => Ok(()),
                    Some(_) | None => Err(Refusal::new("401", "Unauthorized")),
                },
            },
        }
    }
}

impl Dialect for MetadataCall {
    fn admit(cloud: &Cloud, head: &Head<'_>, _body: &[u8]) -> Result<Self, Refusal> {
        let call = Self::read(head)?;
        cloud.state().buckets.count(call.action(), cloud.clock.now());
        call.is_let_in(cloud, head)?;
        Ok(call)
    }

    fn action(&self) -> &'static str {
        match self.asks {
            Asks::Token(_) => "MetadataToken",
            Asks::Role => "MetadataRole",
            Asks::Credential(_) => "MetadataCredential",
            Asks::ByUri => "CredentialsUri",
        }
    }

    fn instance(&self, _state: &State) -> Option<String> {
        None
    }

    fn perform(&self, cloud: &Arc<Cloud>, _how: How) -> Result<Fields, Refusal> {
        let text = |text: String| fields([("text", text.into())]);
        let bound = cloud.state().metadata.role.clone();
        match (&self.asks, bound) {
            (Asks::Token(life), _) => {
                let token = cloud.request_id();
                let ends = cloud.clock.uptime() + *life;
                let mut state = cloud.state();
                state.metadata_tokens.retain(|_, ends| *ends > cloud.clock.uptime());
                state.metadata_tokens.insert(token.clone(), ends);
                Ok(text(token))
            }
            (Asks::Role, Some(role)) => Ok(text(role)),
            (Asks::Credential(asked), Some(role)) if *asked == role => {
                Ok(self.shown(cloud, &of_machine(cloud, self.issuer)))
            }
            // Whose credential it is does not matter to this cloud; it lives as long as the machine's.
            (Asks::ByUri, _) => {
                let life = cloud.state().metadata.life;
                Ok(self.shown(cloud, &issue(cloud, self.issuer, life, false)))
            }
            (Asks::Role | Asks::Credential(_), _) => Err(not_found()),
        }
    }

    fn word(answer: &Result<Fields, Refusal>, _request_id: &str, _settings: &Settings) -> Wording {
        let (status, text) = match answer {
            Ok(fields) => match fields.get("text").and_then(|text| text.as_str()) {
                Some(text) => (StatusCode::OK, text.to_owned()),
                None => (StatusCode::OK, json!(fields).to_string()),
            },
            Err(refusal) => {
                let status = refusal.code.parse().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                (status, format!("<html><title>{}</title></html>", refusal.message))
            }
        };
        Wording { status, retry_after: None, text }
    }

    fn too_large() -> Refusal {
        Refusal::new("413", "Payload Too Large")
    }

    fn throttled() -> Refusal {
        Refusal::new("429", "Too Many Requests")
    }

    /// Nobody asks a metadata service to change a password.
    fn wrong_old_password(_settings: &Settings) -> Refusal {
        not_found()
    }

    fn garbage(shape: Garbage, _id: &str) -> String {
        match shape {
            Garbage::NotJson => "<!doctype html><title>Please log in</title>".to_owned(),
            Garbage::NoEnvelope => r#"["Success"]"#.to_owned(),
            Garbage::NoFields => r#"{"Code":"Success"}"#.to_owned(),
            Garbage::WrongTypes => {
                r#"{"Code":"Success","TmpSecretId":7,"AccessKeyId":{},"ExpiredTime":"soon"}"#.to_owned()
            }
            Garbage::CutOff => r#"{"Code":"Success","TmpSecr"#.to_owned(),
            Garbage::Empty => String::new(),
        }
    }

    fn endless(_id: &str) -> String {
        r#"{"Code":"Success","Padding":""#.to_owned()
    }
}
