//! `kind = "webhook"`: a POST signed as Standard Webhooks are, so that a receiver verifies it with an existing library.
//!
//! The body is `{"type": "keywheel.alert", "timestamp": …, "data": {"host", "alerts": [{"state", "event", "count", "named": […]}]}}`. `webhook-id` is the same for
//! every attempt to tell the same.

use super::address::WHOSE;
use super::{Channel, Event, Group, Message, Told};
use crate::fault::Fault;
use crate::http::signed::{Now, Receiver, ReceiverSettings};
use async_trait::async_trait;
use serde_json::{Map, Value, json};

/// A receiver behind a URL.
pub struct Webhook(Receiver);

impl Webhook {
    /// The receiver.
    ///
    /// # Errors
    /// `ConfigInvalid` for plain http to another machine, or certificates that cannot be used.
    pub fn new(settings: ReceiverSettings, now: Now) -> Result<Self, Fault> {
        Receiver::new(settings, now, WHOSE).map(Self)
    }
}

#[async_trait]
impl Channel for Webhook {
    async fn tell(&self, message: &Message) -> Result<(), Fault> {
        let alerts: Vec<Value> = message.groups.iter().map(group).collect();
        let data = json!({ "host": message.host, "test": message.groups.is_empty(), "alerts": alerts });
        let body = json!({ "type": "keywheel.alert", "timestamp": message.at.to_string(), "data": data });
        self.0.post(&message.id, body.to_string().into_bytes()).await
    }

    async fn ready(&self) -> Result<(), Fault> {
        self.0.ready()
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
        Event::Waves => Some("selection"),
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
