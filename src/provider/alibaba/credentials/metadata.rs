//! The RAM role of an ECS instance, from the machine's metadata service: first a token for the service itself, then the role, then its
//! credential (vendor's SDKs; document "Instance RAM roles", security-hardened mode).

use super::TERMS;
use super::sts::moment;
use crate::fault::{Fault, Kind};
use crate::http::nearby::Nearby;
use crate::moment::Moment;
use crate::provider::credential::{Credential, Issuer, not_there, odd_status, role_name, unreadable};
use crate::secret::Secret;
use async_trait::async_trait;
use serde::Deserialize;
use zeroize::Zeroizing;

/// The vendor's own address of the service.
pub(super) const HOST: &str = "100.100.100.200";
/// Where a token for the service is had, the header that asks for it with its life in seconds, and the one that shows it.
const TOKEN: &str = "/latest/api/token";
const TOKEN_LIFE: (&str, &str) = ("x-aliyun-ecs-metadata-token-ttl-seconds", "21600");
const TOKEN_SHOWN: &str = "x-aliyun-ecs-metadata-token";
/// Below it the roles; each is there by its name.
const ROLES: &str = "/latest/meta-data/ram/security-credentials/";
/// What the service is called in faults.
const SERVICE: &str = "Alibaba Cloud's metadata service";

/// Whether a service that gives no token may be asked without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WithoutToken {
    Allowed,
    Never,
}

/// Fetches the role's credential.
pub(super) struct InstanceRole {
    service: Nearby,
    role: Option<String>,
    without_token: WithoutToken,
}

/// The answer for a role.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    code: Option<String>,
    access_key_id: Option<String>,
    access_key_secret: Option<String>,
    security_token: Option<String>,
    expiration: Option<String>,
}

impl InstanceRole {
    pub(super) fn new(service: Nearby, role: Option<String>, without_token: WithoutToken) -> Self {
        Self { service, role, without_token }
    }

    /// A token for the service; none where it gives none and may be asked without.
    async fn token(&self) -> Result<Option<Zeroizing<String>>, Fault> {
        let answered = self.service.put(TOKEN, &[TOKEN_LIFE]).await;
        let fault = match answered {
            Ok(answer) if answer.status == 200 => {
                let token = answer.text.trim();
                if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Ok(Some(Zeroizing::new(token.to_owned())));
                }
                unreadable(SERVICE, "something that is no token")
            }
            Ok(answer) => odd_status(SERVICE, answer.status),
            Err(fault) if fault.kind == Kind::Unreachable => return Err(fault),
            Err(fault) => fault,
        };
        match self.without_token {
            WithoutToken::Allowed => Ok(None),
            WithoutToken::Never => Err(Fault {
                what: format!("{} where it was asked for a token, and asking without one is switched off", fault.what),
                ..fault
            }),
        }
    }

    async fn ask(&self, path: &str, missing: &str) -> Result<Zeroizing<String>, Fault> {
        let token = self.token().await?;
        let headers: Vec<(&str, &str)> = token.iter().map(|token| (TOKEN_SHOWN, token.as_str())).collect();
        let answer = self.service.get(path, &headers).await?;
        match answer.status {
            200 => Ok(answer.text),
            404 => Err(not_there(SERVICE, missing)),
            401 | 403 if token.is_none() => Err(not_there(SERVICE, "it wants a token and gives none")
                .advise("look at the instance's metadata settings")),
            status => Err(odd_status(SERVICE, status)),
        }
    }
}

#[async_trait]
impl Issuer for InstanceRole {
    async fn issue(&self) -> Result<(Credential, Moment), Fault> {
        let role = match &self.role {
            Some(role) => role.clone(),
            None => role_name(SERVICE, &self.ask(ROLES, "no role is bound to this machine").await?)?,
        };
        let text = self.ask(&format!("{ROLES}{role}"), &format!("this machine has no role {role}")).await?;
        given(SERVICE, &text)
    }
}

/// The credential in an answer of the shape that the metadata service uses, and others after it. Some of these leave the code out, and not all
/// of the vendor's SDKs miss it; the parts say enough.
pub(super) fn given(service: &str, text: &str) -> Result<(Credential, Moment), Fault> {
    let odd = || unreadable(service, "something that is no credential");
    let answer: Answer = serde_json::from_str(text).map_err(|_| odd())?;
    if answer.code.is_some_and(|code| code != "Success") {
        return Err(unreadable(service, "a code that is not Success"));
    }
    let (Some(id), Some(key), Some(token), Some(ends)) =
        (answer.access_key_id, answer.access_key_secret, answer.security_token, answer.expiration)
    else {
        return Err(odd());
    };
    let ends = moment(&ends).ok_or_else(odd)?;
    let credential = Credential::new(&TERMS, service, id, Secret::new(key), Some(Secret::new(token)));
    Ok((credential.map_err(|_| odd())?, ends))
}
