//! Alibaba Cloud's token service: AssumeRole and AssumeRoleWithOIDC (STS, API version 2015-04-01).

use super::super::wire;
use super::{IDENTITY, TERMS};
use crate::fault::{Fault, Kind, scrub};
use crate::http::{Client, Effect, Reply};
use crate::moment::Moment;
use crate::provider::credential::settings::{IdentitySettings, RoleSettings, SESSION};
use crate::provider::credential::{
    Credential, Issuer, Refused, Source, Surroundings, Variables, asked_again, identity, identity_refused,
    identity_token, no_role, role_denied, seconds, unreadable, unsent,
};
use crate::provider::outcome::Spoken;
use crate::secret::Secret;
use crate::sign::Signer;
use crate::sign::acs3::{Encoded, Head, encode, sign};
use async_trait::async_trait;
use serde::Deserialize;
use std::time::Duration;
use zeroize::Zeroizing;

/// `x-acs-version`.
const VERSION: &str = "2015-04-01";
/// How long a credential lives unless said otherwise (vendor document "AssumeRole").
const DURATION: Duration = Duration::from_secs(3_600);
/// What we call ourselves in `User-Agent`.
const CLIENT: &str = concat!("keywheel/", env!("CARGO_PKG_VERSION"));
/// How the vendor writes moments, always in UTC.
const DATE_FORMAT: &str = "%Y-%m-%dT%H:%M:%SZ";

/// The service.
pub(super) struct Sts {
    client: Client,
    surroundings: Surroundings,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Issued {
    credentials: Parts,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parts {
    access_key_id: String,
    access_key_secret: String,
    security_token: String,
    expiration: String,
}

impl Sts {
    pub(super) fn new(client: Client, surroundings: &Surroundings) -> Self {
        Self { client, surroundings: surroundings.clone() }
    }

    /// A request signed by this credential. Nothing in it is secret, so its parameters stand where the vendor's documents have them: in the query.
    async fn signed(
        &self,
        action: &str,
        parameters: &[(&str, &str)],
        credential: &Credential,
    ) -> Result<(Credential, Moment), Refused> {
        let query = encode(parameters);
        let temporary: Vec<(&str, &str)> = match &credential.token {
            Some(token) => vec![("x-acs-accesskey-id", &credential.id), ("x-acs-security-token", token.expose())],
            None => Vec::new(),
        };
        let host = self.client.authority();
        let nonce = format!("{:032x}", (self.surroundings.bits)());
        let head = Head {
            host: &host,
            action,
            version: VERSION,
            query: &query,
            content_type: None,
            also_signed: &temporary,
            payload: b"",
            timestamp: self.surroundings.clock.now(),
            nonce: &nonce,
        };
        let headers = sign(&head, Signer { id: &credential.id, key: &credential.key });
        let secrets: Vec<&Secret> = std::iter::once(&credential.key).chain(&credential.token).collect();
        let reply = self.send(&query, headers, Zeroizing::default()).await?;
        read(action, &reply, &secrets)
    }

    /// An unsigned request: the identity's token speaks for itself. It stands in the body, so that no proxy sees it in a URL.
    async fn unsigned(
        &self,
        action: &str,
        parameters: &[(&str, &str)],
        token: &Secret,
    ) -> Result<(Credential, Moment), Refused> {
        let date = self.surroundings.clock.now().utc().format(DATE_FORMAT).to_string();
        let query = encode(&[("Action", action), ("Version", VERSION), ("Format", "JSON"), ("Timestamp", &date)]);
        let form = encode(parameters);
        let headers = vec![("content-type".to_owned(), wire::FORM.to_owned())];
        let body = Zeroizing::new(form.expose().as_bytes().to_vec());
        let reply = self.send(&query, headers, body).await?;
        read(action, &reply, &[token])
    }

    async fn send(
        &self,
        query: &Encoded,
        mut headers: Vec<(String, String)>,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<Reply, Fault> {
        headers.push(("accept".to_owned(), "application/json".to_owned()));
        headers.push(("user-agent".to_owned(), CLIENT.to_owned()));
        self.client.post_with_query(query.expose(), &headers, body, Effect::Read).await.map_err(unsent)
    }
}

/// The moment that the vendor's text names.
pub(super) fn moment(text: &str) -> Option<Moment> {
    chrono::NaiveDateTime::parse_from_str(text, DATE_FORMAT).ok().map(|date| Moment::from(date.and_utc()))
}

fn read(action: &str, reply: &Reply, secrets: &[&Secret]) -> Result<(Credential, Moment), Refused> {
    match wire::read::<Issued>(reply.status, &reply.body) {
        Spoken::Value(Issued { credentials }) => {
            let origin = format!("Alibaba {action}");
            let odd = || unreadable(&origin, "something that is no credential");
            let ends = moment(&credentials.expiration).ok_or_else(odd)?;
            let (key, token) = (Secret::new(credentials.access_key_secret), Secret::new(credentials.security_token));
            let credential = Credential::new(&TERMS, &origin, credentials.access_key_id, key, Some(token));
            Ok((credential.map_err(|_| odd())?, ends))
        }
        Spoken::Nonsense(what) => Err(asked_again(format!("Alibaba {action} gave {what}")).into()),
        Spoken::Error { code, message, request_id } => {
            let words = scrub(&format!("{code}: {message}"), secrets);
            let what = format!("Alibaba {action} answered {words} (request {})", scrub(&request_id, secrets));
            Err(refusal(reply.status, &code, what))
        }
    }
}

/// What an error code of the token service means (vendor documents "AssumeRole" and "AssumeRoleWithOIDC"; the gateway's error table). Asking
/// again changes nothing in the cloud, so an unknown code is asked again.
fn refusal(status: u16, code: &str, what: String) -> Refused {
    let class = code.split('.').next().unwrap_or_default();
    let fault = match (class, code) {
        _ if status >= 500 => asked_again(what),
        ("Throttling", _) | (_, "Rejected.Throttling") => Fault::new(Kind::Throttled, what),
        ("EntityNotExist", _) => no_role(what),
        ("NoPermission" | "Forbidden", _) | (_, "AuthenticationFail.NoPermission") => role_denied(what),
        ("AuthenticationFail", _) => identity_refused(what),
        ("InvalidTimeStamp" | "IllegalTimestamp", _) => Fault::new(Kind::ClockSkew, what),
        ("InvalidAccessKeyId" | "InvalidSecurityToken" | "SignatureDoesNotMatch" | "IncompleteSignature", _) => {
            Fault::new(Kind::CredentialRefused, what)
        }
        ("InvalidParameter" | "MissingParameter", _) => Fault::new(Kind::Misconfigured, what),
        _ if class.starts_with("Missing") => Fault::new(Kind::Misconfigured, what),
        _ => asked_again(what),
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
        let life = seconds(self.settings.duration, DURATION).to_string();
        let mut parameters = vec![
            ("RoleArn", self.settings.role.as_str()),
            ("RoleSessionName", self.settings.session.as_deref().unwrap_or(SESSION)),
            ("DurationSeconds", &life),
        ];
        parameters.extend(self.settings.policy.as_deref().map(|policy| ("Policy", policy)));
        parameters.extend(self.settings.external_id.as_deref().map(|id| ("ExternalId", id)));
        self.sts.signed("AssumeRole", &parameters, base).await
    }
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

/// AssumeRoleWithOIDC for a pod of ACK. The token is read each time: the cluster replaces it.
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
        let life = seconds(self.settings.duration, DURATION).to_string();
        let mut parameters = vec![
            ("RoleArn", identity.role.as_str()),
            ("OIDCProviderArn", &identity.provider),
            ("OIDCToken", token.expose()),
            ("RoleSessionName", &identity.session),
            ("DurationSeconds", &life),
        ];
        parameters.extend(self.settings.policy.as_deref().map(|policy| ("Policy", policy)));
        let asked = self.sts.unsigned("AssumeRoleWithOIDC", &parameters, &token).await;
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
            (400, "Throttling.User", Kind::Throttled, Retry::Later),
            (404, "EntityNotExist.Role", Kind::NotFound, Retry::Never),
            (403, "NoPermission", Kind::Denied, Retry::Never),
            (403, "AuthenticationFail.NoPermission", Kind::Denied, Retry::Never),
            (400, "AuthenticationFail.OIDCToken.Expired", Kind::CredentialRefused, Retry::Later),
            (400, "InvalidTimeStamp.Expired", Kind::ClockSkew, Retry::Never),
            (404, "InvalidAccessKeyId.NotFound", Kind::CredentialRefused, Retry::Never),
            (400, "InvalidParameter.RoleArn", Kind::Misconfigured, Retry::Never),
            (400, "MissingRoleArn", Kind::Misconfigured, Retry::Never),
            (500, "NoPermission", Kind::Unanswered, Retry::Later),
            (400, "Novel", Kind::Unanswered, Retry::Later),
        ];
        for (status, code, kind, retry) in rows {
            let refused = refusal(status, code, "words".to_owned());
            assert_eq!((refused.fault.kind, refused.fault.retry), (kind, retry), "{status} {code}");
        }
    }
}
