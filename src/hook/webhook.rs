//! The hook `webhook`: a POST to a URL after a delivery, signed as Standard Webhooks are, so that a receiver verifies it with an existing library.
//!
//! The body is `{"type": "keywheel.delivered", "timestamp": …, "data": {"target", "generation", "rotation", "others"}}` and holds no password. `webhook-id` is
//! `TARGET:GENERATION`, the same for every attempt, and `TARGET:GENERATION-2` where a late sink makes it worth telling again: a receiver that keeps the ids it
//! has seen acts once.

use super::{Hook, Notice};
use crate::fault::{Fault, Kind};
use crate::http::signed::{Now, Receiver, ReceiverSettings, Whose};
use crate::name::{Generation, RotationId, TargetName};
use async_trait::async_trait;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long one attempt may take unless the settings say otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// A receiver that is told after each delivery.
pub struct WebhookHook(Receiver);

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
    pub fn new(settings: ReceiverSettings, now: Now) -> Result<Self, Fault> {
        Receiver::new(settings, now, Whose { noun: "hook", kind: Kind::HookFailed }).map(Self)
    }
}

#[async_trait]
impl Hook for WebhookHook {
    async fn tell(&self, notice: &Notice) -> Result<(), Fault> {
        let Notice { target, generation, rotation, telling: _, others } = notice;
        let others = others.iter().map(|(target, news)| (target, news.generation)).collect();
        let data = Data { target, generation: *generation, rotation: *rotation, others };
        let body = Body { r#type: "keywheel.delivered", timestamp: self.0.now().to_string(), data };
        let body = serde_json::to_vec(&body).expect("names and numbers always have a JSON form");
        self.0.post(&format!("{target}:{}", notice.news()), body).await
    }

    async fn ready(&self) -> Result<(), Fault> {
        self.0.ready()
    }
}
