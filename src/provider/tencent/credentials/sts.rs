//! Tencent Cloud's token service: AssumeRole and AssumeRoleWithWebIdentity (STS, API version 2018-08-13).

use super::super::codes::verdict;
use super::super::wire;
use super::{IDENTITY, IDENTITY_REGION, TERMS};
use crate::clock::Clock;
use crate::fault::{Fault, Kind, scrub};
use crate::http::{Client, Effect};
use crate::moment::Moment;
use crate::provider::credential::settings::{IdentitySettings, RoleSettings, SESSION};
use crate::provider::credential::{
    Credential, Issuer, Refused, Source, Variables, asked_again, identity, identity_refused, identity_token, no_role,
    role_denied, seconds, unreadable, unsent, variable_set,
};
use crate::provider::outcome::Spoken;
use crate::secret::Secret;
use crate::sign::Signer;
use crate::sign::tc3::{Head, sign};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// The first label of the product's domain.
const SERVICE: &str = "sts";
/// `X-TC-Version`.
const VERSION: &str = "2018-08-13";
/// The region that the vendor's SDKs name; the service is the same everywhere.
const REGION: &str = "ap-guangzhou";
/// How long a credential lives unless said otherwise (vendor document "AssumeRole").
const DURATION: Duration = Duration::from_secs(7_200);
/// What we call ourselves in `X-TC-RequestClient`.
const CLIENT: &str = concat!("keywheel-", env!("CARGO_PKG_VERSION"));

/// The service.
pub(super) struct Sts {
    client: Client,
    clock: Arc<dyn Clock>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Assume<'a> {
    role_arn: &'a str,
    role_session_name: &'a str,
    duration_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AssumeWithIdentity<'a> {
    provider_id: &'a str,
    web_identity_token: &'a str,
    role_arn: &'a str,
    role_session_name: &'a str,
    duration_seconds: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Issued {
    credentials: Parts,
    expired_time: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parts {
    token: String,
    tmp_secret_id: String,
    tmp_secret_key: String,
}

impl Sts {
    pub(super) fn new(client: Client, clock: Arc<dyn Clock>) -> Self {
        Self { client, clock }
    }

    /// Sends one request, signed by this credential or not at all.
    async fn ask<B: Serialize>(
        &self,
        (action, region): (&str, &str),
        request: &B,
        signer: Option<&Credential>,
        secrets: &[&Secret],
    ) -> Result<(Credential, Moment), Refused> {
        let body = wire::body(request)?;
        let host = self.client.authority();
        let mut headers = match signer {
            Some(credential) => {
                let head = Head {
                    service: SERVICE,
                    host: &host,
                    content_type: wire::CONTENT_TYPE,
                    also_signed: &[],
                    payload: &body,
                    timestamp: self.clock.now(),
                };
                sign(&head, Signer { id: &credential.id, key: &credential.key })
            }
            // The identity's token speaks for itself.
            None => vec![
                ("content-type".to_owned(), wire::CONTENT_TYPE.to_owned()),
                ("host".to_owned(), host),
                ("x-tc-timestamp".to_owned(), self.clock.now().seconds().to_string()),
                ("authorization".to_owned(), "SKIP".to_owned()),
            ],
        };
        let mut add = |name: &str, value: &str| headers.push((name.to_owned(), value.to_owned()));
        add("x-tc-action", action);
        add("x-tc-version", VERSION);
        add("x-tc-region", region);
        add("x-tc-language", "en-US");
        add("x-tc-requestclient", CLIENT);
        if let Some(token) = signer.and_then(|credential| credential.token.as_ref()) {
            add("x-tc-token", token.expose());
        }
        let reply = self.client.post(&headers, body, Effect::Read).await.map_err(unsent)?;
        match wire::read::<Issued>(reply.status, &reply.body) {
            Spoken::Value(Issued { credentials, expired_time }) => {
                let origin = format!("Tencent {action}");
                let (key, token) = (Secret::new(credentials.tmp_secret_key), Secret::new(credentials.token));
                let credential = Credential::new(&TERMS, &origin, credentials.tmp_secret_id, key, Some(token));
                let odd = |_| unreadable(&origin, "something that is no credential");
                Ok((credential.map_err(odd)?, Moment::from_seconds(expired_time)))
            }
            Spoken::Nonsense(what) => Err(asked_again(format!("Tencent {action} gave {what}")).into()),
            Spoken::Error { code, message, request_id } => {
                let words = scrub(&format!("{code}: {message}"), secrets);
                let what = format!("Tencent {action} answered {words} (request {})", scrub(&request_id, secrets));
                Err(refusal(&code, what))
            }
        }
    }
}

/// What an error code of the token service means (vendor documents "AssumeRole" and "AssumeRoleWithWebIdentity"); for the rest the gateway's
/// own table. Asking again changes nothing in the cloud, so an unknown code is asked again.
fn refusal(code: &str, what: String) -> Refused {
    let fault = match code {
        "InvalidParameter.OverLimit" => Fault::new(Kind::Throttled, what),
        "InvalidParameter.WebIdentityTokenError" => identity_refused(what),
        "ResourceNotFound.RoleNotFound" => no_role(what),
        _ if code.starts_with("UnauthorizedOperation") || code == "AuthFailure.UnauthorizedOperation" => {
            role_denied(what)
        }
        _ => {
            let kind = verdict(code).kind();
            if kind == Kind::Unanswered { asked_again(what) } else { Fault::new(kind, what) }
        }
    };
    Refused { credential: fault.kind == Kind::CredentialRefused, fault }
}

/// AssumeRole on top of another credential.
pub(super) struct AssumeRole {
    sts: Sts,
    base: Source,
    settings: RoleSettings,
}

impl AssumeRole {
    pub(super) fn new(sts: Sts, base: Source, settings: RoleSettings) -> Self {
        Self { sts, base, settings }
    }

    async fn with(&self, base: &Credential) -> Result<(Credential, Moment), Refused> {
        let request = Assume {
            role_arn: &self.settings.role,
            role_session_name: self.settings.session.as_deref().unwrap_or(SESSION),
            duration_seconds: seconds(self.settings.duration, DURATION),
            policy: self.settings.policy.as_ref().map(|policy| url_encoded(policy)),
            external_id: self.settings.external_id.as_deref(),
        };
        let secrets: Vec<&Secret> = std::iter::once(&base.key).chain(&base.token).collect();
        self.sts.ask(("AssumeRole", REGION), &request, Some(base), &secrets).await
    }
}

/// The vendor wants the policy URL-encoded inside the JSON.
fn url_encoded(policy: &str) -> String {
    crate::sign::acs3::percent_encoded(policy).collect()
}

#[async_trait]
impl Issuer for AssumeRole {
    async fn issue(&self) -> Result<(Credential, Moment), Fault> {
        let base = self.base.credential().await?;
        match self.with(&base).await {
            Err(refused) if refused.credential => {
                let other = self.base.renewed(&base).await?;
                if other.is(&base) {
                    return Err(refused.fault);
                }
                self.with(&other).await.map_err(|refused| refused.fault)
            }
            outcome => outcome.map_err(|refused| refused.fault),
        }
    }
}

/// AssumeRoleWithWebIdentity for a pod of TKE. The token is read each time: the cluster replaces it.
pub(super) struct WebIdentity {
    sts: Sts,
    settings: IdentitySettings,
    variables: Variables,
}

impl WebIdentity {
    pub(super) fn new(sts: Sts, settings: IdentitySettings, variables: Variables) -> Self {
        Self { sts, settings, variables }
    }
}

#[async_trait]
impl Issuer for WebIdentity {
    async fn issue(&self) -> Result<(Credential, Moment), Fault> {
        let identity = identity(&self.settings, IDENTITY, &self.variables)?;
        let token = identity_token(&identity.token_file)?;
        let region = variable_set(&self.variables, IDENTITY_REGION).unwrap_or_else(|| REGION.to_owned());
        let request = AssumeWithIdentity {
            provider_id: &identity.provider,
            web_identity_token: token.expose(),
            role_arn: &identity.role,
            role_session_name: &identity.session,
            duration_seconds: seconds(self.settings.duration, DURATION),
        };
        let asked = self.sts.ask(("AssumeRoleWithWebIdentity", &region), &request, None, &[&token]).await;
        asked.map_err(|refused| refused.fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Retry;

    #[test]
    fn what_the_token_service_says_is_told_apart() {
        let rows = [
            ("InvalidParameter.OverLimit", Kind::Throttled, Retry::Later),
            ("InvalidParameter.WebIdentityTokenError", Kind::CredentialRefused, Retry::Later),
            ("InvalidParameter.ParamError", Kind::Misconfigured, Retry::Never),
            ("ResourceNotFound.RoleNotFound", Kind::NotFound, Retry::Never),
            ("UnauthorizedOperation", Kind::Denied, Retry::Never),
            ("AuthFailure.UnauthorizedOperation", Kind::Denied, Retry::Never),
            ("AuthFailure.SignatureExpire", Kind::ClockSkew, Retry::Never),
            ("AuthFailure.TokenFailure", Kind::CredentialRefused, Retry::Never),
            ("RequestLimitExceeded", Kind::Throttled, Retry::Later),
            ("InternalError.GetRoleError", Kind::Unanswered, Retry::Later),
            ("Novel.Code", Kind::Unanswered, Retry::Later),
        ];
        for (code, kind, retry) in rows {
            let refused = refusal(code, "words".to_owned());
            assert_eq!((refused.fault.kind, refused.fault.retry), (kind, retry), "{code}");
        }
    }
}
