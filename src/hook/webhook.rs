//! The hook `webhook`: a POST to a URL after a delivery, signed as Standard Webhooks are, so that a receiver verifies it with an existing library.
//!
//! The body is `{"type": "keywheel.delivered", "timestamp": …, "data": {"target", "generation", "rotation", "others"}}` and holds no password. `webhook-id` is
//! `TARGET:GENERATION`, the same for every attempt, and `TARGET:GENERATION-2` where a late sink makes it worth telling again: a receiver that keeps the ids it
//! has seen acts once.

use super::{Hook, Notice};
use crate::fault::{Fault, Kind};
use crate::http::{Client, Effect, Method, Reply, SendError, Settings};
use crate::moment::Moment;
use crate::name::{Generation, RotationId, TargetName};
use crate::secret::Credential;
use crate::sign::webhook::{Message, sign};
use async_trait::async_trait;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use url::Url;
use zeroize::Zeroizing;

/// How long one attempt may take unless the settings say otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Tells the time.
pub type Now = Arc<dyn Fn() -> Moment + Send + Sync>;

/// The settings of a hook with `kind = "webhook"`.
#[derive(Clone)]
pub struct WebhookSettings {
    /// Where it is sent. Path and query may hold a token and are never shown.
    pub url: Url,
    /// What it is signed with: 24 to 64 bytes in base64.
    pub signing_key: Credential,
    /// A bearer token.
    pub token: Option<Credential>,
    /// Timeout and certificates.
    pub reach: Settings,
}

/// A receiver that is told after each delivery.
pub struct WebhookHook {
    settings: WebhookSettings,
    client: Client,
    now: Now,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    target: &'a TargetName,
    generation: Generation,
    rotation: Option<RotationId>,
    others: BTreeMap<&'a TargetName, Generation>,
}

impl WebhookHook {
    /// The hook.
    ///
    /// # Errors
    /// `ConfigInvalid` for plain http to another machine, or certificates that cannot be used.
    pub fn new(settings: WebhookSettings, now: Now) -> Result<Self, Fault> {
        let client = Client::new(settings.url.clone(), &settings.reach)?;
        Ok(Self { settings, client, now })
    }

    fn headers(&self, id: &str, body: &[u8]) -> Result<Vec<(String, String)>, Fault> {
        let unread = |what: &str, fault: Fault| {
            Fault::new(Kind::HookFailed, format!("The hook's {what}: {}", fault.what)).advise(fault.next_step)
        };
        let key = self.settings.signing_key.get().map_err(|fault| unread("signing-key", fault))?;
        let message = Message { id, timestamp: (self.now)(), body };
        let mut headers = sign(&message, &key).map_err(|_| {
            Fault::new(Kind::HookFailed, "The hook's signing-key is not 24 to 64 bytes in base64")
                .advise("make one with `openssl rand -base64 32` and give it to the receiver too")
        })?;
        if let Some(token) = &self.settings.token {
            let token = token.get().map_err(|fault| unread("token", fault))?;
            headers.push(("authorization".to_owned(), format!("Bearer {}", token.expose())));
        }
        headers.push(("user-agent".to_owned(), concat!("keywheel/", env!("CARGO_PKG_VERSION")).to_owned()));
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
        Ok(headers)
    }

    fn refused(&self, reply: &Reply) -> Fault {
        let (whom, status) = (self.client.authority(), reply.status);
        let fault = |why: &str| Fault::new(Kind::HookFailed, format!("{whom} answered with HTTP status {status}{why}"));
        match status {
            300..=399 => fault(", a redirect, which is not followed")
                .advise("write the address that it leads to into the hook's url"),
            400 | 401 | 403 => fault(": it does not accept the notice")
                .advise("compare the hook's signing-key and token with the receiver's"),
            404 | 405 | 410 => fault(": nobody takes notices there").advise("check the hook's url, or remove the hook"),
            _ => match reply.retry_after {
                Some(span) => fault("").after(span),
                None => fault(""),
            },
        }
    }
}

#[async_trait]
impl Hook for WebhookHook {
    async fn tell(&self, notice: &Notice) -> Result<(), Fault> {
        let Notice { target, generation, rotation, telling: _, others } = notice;
        let others = others.iter().map(|(target, news)| (target, news.generation)).collect();
        let data = Data { target, generation: *generation, rotation: *rotation, others };
        let body = Body { r#type: "keywheel.delivered", timestamp: (self.now)().to_string(), data };
        let body = serde_json::to_vec(&body).expect("names and numbers always have a JSON form");
        let headers = self.headers(&format!("{target}:{}", notice.news()), &body)?;
        let url = self.settings.url.clone();
        match self.client.send(Method::POST, url, &headers, Zeroizing::new(body), Effect::Write).await {
            Ok(reply) if (200..300).contains(&reply.status) => Ok(()),
            Ok(reply) => Err(self.refused(&reply)),
            Err(SendError::NotSent(fault) | SendError::Unanswered(fault)) => {
                Err(Fault::new(Kind::HookFailed, fault.what).advise("see that the receiver runs and can be reached"))
            }
        }
    }

    async fn ready(&self) -> Result<(), Fault> {
        self.headers("ready", b"").map(drop)
    }
}
