//! One call of a store's API: JSON 1.1 over HTTPS ("AWS JSON 1.1 protocol" and "Signature Version 4" in the vendor's documents), and what a refusal
//! that both stores know means for a delivery.

use super::identity::Identity;
use super::{Now, Reach};
use crate::fault::{Fault, Kind, Retry, scrub};
use crate::http::{self, Client, Effect, Reply};
use crate::secret::Secret;
use crate::sink::web::{no_answer, refused};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::{Duration, SystemTime};
use tracing::{Dispatch, dispatcher};
use url::Url;
use zeroize::Zeroizing;

/// How much of the vendor's own words is shown, in characters.
const SAID_LIMIT: usize = 240;

/// Room for a request, in bytes: the buffer that holds a password should not grow and leave copies behind.
const CAPACITY: usize = 8192;

/// Codes after which another credential may do: nothing was done for this one.
const CREDENTIAL_REFUSED: [&str; 12] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
];

/// Codes that pass by themselves.
const THROTTLED: [&str; 8] = [
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

/// Which of the vendor's services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    SecretsManager,
    ParameterStore,
}

impl Service {
    /// As endpoints, signatures and permissions have it.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::SecretsManager => "secretsmanager",
            Self::ParameterStore => "ssm",
        }
    }

    fn target(self) -> &'static str {
        match self {
            Self::SecretsManager => "secretsmanager",
            Self::ParameterStore => "AmazonSSM",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::SecretsManager => "Secrets Manager",
            Self::ParameterStore => "Parameter Store",
        }
    }

    /// The region's own host ("Service endpoints" in the vendor's general reference).
    fn endpoint(self, region: &str) -> Result<Url, Fault> {
        let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let text = format!("https://{}.{region}.{suffix}/", self.prefix());
        Url::parse(&text).map_err(|_| Fault::new(Kind::ConfigInvalid, format!("There is no such region as {region}")))
    }
}

/// Why a call brought nothing.
#[derive(Debug)]
pub struct Refusal {
    /// The store's own code; absent where it gave none.
    pub code: Option<String>,
    /// What this means for a delivery.
    pub fault: Fault,
}

impl Refusal {
    pub fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self { code: None, fault }
    }
}

/// A service in one region, as one identity calls it.
pub struct Api {
    service: Service,
    region: String,
    client: Client,
    identity: Identity,
    now: Now,
}

impl fmt::Debug for Api {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, region, client, identity, now: _ } = self;
        formatter
            .debug_struct("Api")
            .field("service", service)
            .field("region", region)
            .field("at", &client.authority())
            .field("identity", identity)
            .finish()
    }
}

/// What the vendor says where it refuses.
#[derive(Default, Deserialize)]
struct Complaint {
    #[serde(default, rename = "__type")]
    code: String,
    // One of the two, or both.
    #[serde(default)]
    message: String,
    #[serde(default, rename = "Message")]
    capital: String,
}

impl Api {
    /// # Errors
    /// `ConfigInvalid` for an endpoint or certificates that cannot be used.
    pub fn new(service: Service, reach: &Reach) -> Result<Self, Fault> {
        let endpoint = match &reach.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => service.endpoint(&reach.region)?,
        };
        let settings = http::Settings { timeout: reach.timeout, ca_file: reach.ca_file.clone() };
        Ok(Self {
            service,
            region: reach.region.clone(),
            client: Client::new(endpoint, &settings)?,
            identity: Identity::new(reach),
            now: reach.now.clone(),
        })
    }

    pub fn region(&self) -> &str {
        &self.region
    }

    /// Looks.
    pub async fn read<T: DeserializeOwned>(
        &self,
        action: &'static str,
        question: &impl Serialize,
    ) -> Result<T, Refusal> {
        self.call(action, question, Effect::Read, &[]).await
    }

    /// Changes something; the vendor's words must not repeat the `secrets`.
    pub async fn write<T: DeserializeOwned>(
        &self,
        action: &'static str,
        question: &impl Serialize,
        secrets: &[Secret],
    ) -> Result<T, Refusal> {
        self.call(action, question, Effect::Write, secrets).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        action: &'static str,
        question: &impl Serialize,
        effect: Effect,
        secrets: &[Secret],
    ) -> Result<T, Refusal> {
        let mut body = Zeroizing::new(Vec::with_capacity(CAPACITY));
        serde_json::to_writer(&mut *body, question).expect("texts and numbers always have a JSON form");
        let mut credentials = self.identity.credentials(None).await?;
        let mut renewed = false;
        loop {
            let headers = self.signed(action, &body, &credentials)?;
            let reply = self.client.post(&headers, body.clone(), effect).await.map_err(no_answer)?;
            if reply.status == 200 {
                // Some actions have nothing to say.
                let body = if reply.body.is_empty() { b"null" } else { reply.body.as_slice() };
                return serde_json::from_slice(body).map_err(|_| {
                    let what = format!("{} gave an answer to {action} that it never gives", self.whom());
                    Fault::new(Kind::SinkUnavailable, what).advise("check the sink's endpoint").into()
                });
            }
            let token = credentials.session_token().map(|token| Secret::new(token.to_owned()));
            let secrets: Vec<&Secret> = secrets.iter().chain(token.as_ref()).collect();
            let refusal = self.refusal(action, &reply, &secrets);
            let again = refusal.code.as_deref().is_some_and(|code| CREDENTIAL_REFUSED.contains(&code));
            if !again || renewed {
                return Err(refusal);
            }
            // Nothing was done for a credential that is none.
            renewed = true;
            credentials = self.identity.credentials(Some(&credentials)).await?;
        }
    }

    fn whom(&self) -> String {
        format!("{} at {}", self.service.name(), self.client.authority())
    }

    fn signed(&self, action: &str, body: &[u8], credentials: &Credentials) -> Result<Vec<(String, String)>, Fault> {
        let cannot = |error: &dyn fmt::Display| Fault::new(Kind::Bug, format!("a request cannot be signed: {error}"));
        let mut headers = vec![
            ("content-type".to_owned(), "application/x-amz-json-1.1".to_owned()),
            ("x-amz-target".to_owned(), format!("{}.{action}", self.service.target())),
        ];
        let identity = credentials.clone().into();
        let since = Duration::from_millis(u64::try_from((self.now)().millis()).unwrap_or_default());
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service.prefix())
            .time(SystemTime::UNIX_EPOCH + since)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| cannot(&error))?
            .into();
        let named = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let url = self.client.endpoint().as_str();
        let request = SignableRequest::new("POST", url, named, SignableBody::Bytes(body));
        let request = request.map_err(|error| cannot(&error))?;
        // The vendor's code shows what it signs to whoever logs at trace, the session token among it.
        let signed = dispatcher::with_default(&Dispatch::none(), || sign(request, &params));
        let (instructions, _) = signed.map_err(|error| cannot(&error))?.into_parts();
        headers.extend(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())));
        Ok(headers)
    }

    /// What an answer means that is no success.
    fn refusal(&self, action: &str, reply: &Reply, secrets: &[&Secret]) -> Refusal {
        let what = format!("{action} at {}", self.whom());
        let said: Complaint = serde_json::from_slice(&reply.body).unwrap_or_default();
        let message = if said.message.is_empty() { &said.capital } else { &said.message };
        let code = said.code.rsplit('#').next().unwrap_or_default();
        let is_code = !code.is_empty() && code.len() <= 80 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_code {
            return refused(&what, reply).into();
        }
        // After the first line stands what was signed, the session token among it.
        let words = scrub(message.lines().next().unwrap_or_default(), secrets);
        let words: String = words.chars().take(SAID_LIMIT).collect();
        // What is wrong with a value may be said by repeating it, in whatever form.
        let words = match code.starts_with("Validation") || reply.status >= 500 || words.is_empty() {
            true => String::new(),
            false => format!(": {words}"),
        };
        let what = format!("{what} was refused with {code}{words}");
        let denied = |advice: &str| Fault::new(Kind::SinkDenied, what.as_str()).advise(advice);
        let fault = match code {
            "AccessDenied" | "AccessDeniedException" => {
                let needed = format!("{}:{action}", self.service.prefix());
                denied(&format!(
                    "allow keywheel's identity {needed} there (docs/sinks.md has the whole policy), and the use of its key"
                ))
            }
            "RequestExpired" | "RequestTimeTooSkewed" => denied("set this machine's clock (timedatectl, chrony)"),
            "InvalidSignatureException" if message.starts_with("Signature ") => {
                denied("set this machine's clock (timedatectl, chrony)")
            }
            "OptInRequired" | "SubscriptionRequiredException" => {
                denied("enable the region or the service for this account in the AWS console")
            }
            "LimitExceededException" => denied(
                "delete what is not needed any more, or have the quota raised (Service Quotas in the AWS console)",
            ),
            "EncryptionFailure" | "DecryptionFailure" | "InvalidKeyId" | "KMSAccessDeniedException" => denied(
                "allow keywheel's identity kms:GenerateDataKey and kms:Decrypt on the key, and see that it is enabled",
            ),
            _ if CREDENTIAL_REFUSED.contains(&code) => denied(
                "renew the sink's credentials, and check that they are of the same account and partition as the region",
            ),
            _ if THROTTLED.contains(&code) || reply.status == 429 => {
                let fault = Fault::new(Kind::SinkUnavailable, what.as_str());
                let fault = fault.advise("nothing; keywheel delivers again, and later each time");
                reply.retry_after.map_or(fault.clone(), |span| fault.after(span))
            }
            _ if reply.status >= 500 => Fault::new(Kind::SinkUnavailable, what.as_str())
                .advise("nothing; keywheel delivers again (health.aws.amazon.com says whether the service is well)"),
            _ => denied("check the sink's settings"),
        };
        Refusal { code: Some(code.to_owned()), fault: Fault { retry: later(&fault), ..fault } }
    }
}

/// Whatever a person has to do first, the sink may be mended at any time.
fn later(fault: &Fault) -> Retry {
    match fault.retry {
        Retry::Never => Retry::Later,
        Retry::Later | Retry::AfterMillis(_) => fault.retry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regions_host_is_the_vendors() {
        for (service, region, endpoint) in [
            (Service::SecretsManager, "eu-central-1", "https://secretsmanager.eu-central-1.amazonaws.com/"),
            (Service::ParameterStore, "us-gov-west-1", "https://ssm.us-gov-west-1.amazonaws.com/"),
            (Service::ParameterStore, "cn-north-1", "https://ssm.cn-north-1.amazonaws.com.cn/"),
        ] {
            assert_eq!(service.endpoint(region).unwrap().as_str(), endpoint);
        }
    }
}
