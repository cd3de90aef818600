//! The role of a CVM, from the machine's metadata service (vendor's SDKs; document "Instance roles").

use super::TERMS;
use crate::fault::Fault;
use crate::http::nearby::Nearby;
use crate::moment::Moment;
use crate::provider::credential::{Credential, Issuer, not_there, odd_status, role_name, unreadable};
use crate::secret::Secret;
use async_trait::async_trait;
use serde::Deserialize;

/// The vendor's own address of the service.
pub(super) const HOST: &str = "metadata.tencentyun.com";
/// Below it the roles; each is there by its name.
const ROLES: &str = "/latest/meta-data/cam/security-credentials/";
/// What the service is called in faults.
const SERVICE: &str = "Tencent Cloud's metadata service";

/// Fetches the role's credential.
pub(super) struct InstanceRole {
    service: Nearby,
    role: Option<String>,
}

/// The answer for a role.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    code: String,
    tmp_secret_id: Option<String>,
    tmp_secret_key: Option<String>,
    token: Option<String>,
    expired_time: Option<i64>,
}

impl InstanceRole {
    pub(super) fn new(service: Nearby, role: Option<String>) -> Self {
        Self { service, role }
    }

    /// The configured role, or the one the machine has.
    async fn role(&self) -> Result<String, Fault> {
        if let Some(role) = &self.role {
            return Ok(role.clone());
        }
        let answer = self.service.get(ROLES, &[]).await?;
        match answer.status {
            200 => role_name(SERVICE, &answer.text),
            404 => Err(not_there(SERVICE, "no role is bound to this machine")),
            status => Err(odd_status(SERVICE, status)),
        }
    }
}

#[async_trait]
impl Issuer for InstanceRole {
    async fn issue(&self) -> Result<(Credential, Moment), Fault> {
        let role = self.role().await?;
        let answer = self.service.get(&format!("{ROLES}{role}"), &[]).await?;
        let text = match answer.status {
            200 => answer.text,
            404 => return Err(not_there(SERVICE, &format!("this machine has no role {role}"))),
            status => return Err(odd_status(SERVICE, status)),
        };
        let odd = || unreadable(SERVICE, "something that is no credential");
        let answer: Answer = serde_json::from_str(&text).map_err(|_| odd())?;
        if answer.code != "Success" {
            return Err(unreadable(SERVICE, "a code that is not Success"));
        }
        let (Some(id), Some(key), Some(token), Some(ends)) =
            (answer.tmp_secret_id, answer.tmp_secret_key, answer.token, answer.expired_time)
        else {
            return Err(odd());
        };
        let credential = Credential::new(&TERMS, SERVICE, id, Secret::new(key), Some(Secret::new(token)));
        Ok((credential.map_err(|_| odd())?, Moment::from_seconds(ends)))
    }
}
