//! `kind = "webhook"`: a POST signed as Standard Webhooks are, so that a receiver verifies it with an existing library.
//!
//! The body is `{"type": "keywheel.alert", "timestamp": …, "data": {"host", "alerts": [{"state", "event", "count", "named": […]}]}}`. `webhook-id` is the same for
//! every attempt to tell the same.

use super::address::{USER_AGENT, taken};
use super::{Channel, Event, Group, Message, Told};
use crate::fault::{Fault, Kind};
use crate::http::{Client, Effect, Method, Settings};
use crate::moment::Moment;
use crate::secret::Credential;
use crate::sign::webhook::{Message as Signed, sign};
use async_trait::async_trait;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use url::Url;
use zeroize::Zeroizing;

/// Tells the time.
pub type Now = Arc<dyn Fn() -> Moment + Send + Sync>;

/// The settings of a channel with `kind = "webhook"`.
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

/// A receiver behind a URL.
pub struct Webhook {
    settings: WebhookSettings,
    client: Client,
    now: Now,
}

impl Webhook {
    /// The receiver.
    ///
    /// # Errors
    /// `ConfigInvalid` for plain http to another machine, or certificates that cannot be used.
    pub fn new(settings: WebhookSettings, now: Now) -> Result<Self, Fault> {
        let client = Client::new(settings.url.clone(), &settings.reach)?;
        Ok(Self { settings, client, now })
    }

    fn headers(&self, id: &str, body: &[u8]) -> Result<Vec<(String, String)>, Fault> {
        let unread = |what: &str, fault: Fault| {
            Fault::new(Kind::AlertFailed, format!("The channel's {what}: {}", fault.what)).advise(fault.next_step)
        };
        let key = self.settings.signing_key.get().map_err(|fault| unread("signing-key", fault))?;
        let mut headers = sign(&Signed { id, timestamp: (self.now)(), body }, &key).map_err(|_| {
            Fault::new(Kind::AlertFailed, "The channel's signing-key is not 24 to 64 bytes in base64")
                .advise("make one with `openssl rand -base64 32` and give it to the receiver too")
        })?;
        if let Some(token) = &self.settings.token {
            let token = token.get().map_err(|fault| unread("token", fault))?;
            headers.push(("authorization".to_owned(), format!("Bearer {}", token.expose())));
        }
        let plain = [USER_AGENT, ("content-type", "application/json")];
        headers.extend(plain.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Ok(headers)
    }
}

#[async_trait]
impl Channel for Webhook {
    async fn tell(&self, message: &Message) -> Result<(), Fault> {
        let alerts: Vec<Value> = message.groups.iter().map(group).collect();
        let data = json!({ "host": message.host, "test": message.groups.is_empty(), "alerts": alerts });
        let body = json!({ "type": "keywheel.alert", "timestamp": message.at.to_string(), "data": data });
        let body = body.to_string().into_bytes();
        let headers = self.headers(&message.id, &body)?;
        let url = self.settings.url.clone();
        let answer = self.client.send(Method::POST, url, &headers, Zeroizing::new(body), Effect::Write).await;
        taken(&self.client, answer)
    }

    async fn ready(&self) -> Result<(), Fault> {
        self.headers("ready", b"").map(drop)
    }
}

fn group(group: &Group) -> Value {
    json!({
        "state": if group.over { "over" } else { "raised" },
        "event": group.event.word(),
        "count": group.count,
        "named": group.named.iter().map(told).collect::<Vec<_>>(),
    })
}

fn told(told: &Told) -> Value {
    let Told { key, since, until, what, next_step } = told;
    let mut fields = Map::new();
    let mut field = |name: &str, value: &str| fields.insert(name.to_owned(), value.into());
    let subject = match key.event {
        Event::Credentials => Some("provider"),
        Event::LeftOut => None,
        Event::Halted | Event::Doubt | Event::Behind | Event::TooOld | Event::Hook | Event::Waiting | Event::Record => {
            Some("target")
        }
    };
    subject.map(|name| field(name, &key.subject));
    key.part.as_ref().map(|part| field(if key.event == Event::Hook { "hook" } else { "sink" }, part));
    field("since", &since.to_string());
    until.map(|until| field("until", &until.to_string()));
    field("what", what);
    if until.is_none() && !next_step.is_empty() {
        field("next-step", next_step);
    }
    Value::Object(fields)
}
