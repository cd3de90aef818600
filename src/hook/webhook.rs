//! The hook `webhook`: a POST to a URL after a delivery, signed as Standard Webhooks are, so that a receiver verifies it with an existing library.
//!
//! The body is `{"type": "keywheel.delivered", "timestamp": …, "data": {"target", "generation", "rotation", "telling", "others"}}` and holds no password.
//! `webhook-id` is `TARGET:GENERATION:ROTATION`, the same for every attempt, and `TARGET:GENERATION-2:ROTATION` where a late sink makes it worth telling
//! again: a receiver that keeps the ids it has seen acts once. With several targets it is that of the first by name, their number and a digest of what is
//! told of each: the same whoever asks for the notice, and another one where somebody joined.

use super::{Hook, News, Notice};
use crate::fault::{Fault, Kind};
use crate::http::signed::{Now, Receiver, ReceiverSettings, Whose};
use crate::name::TargetName;
use async_trait::async_trait;
use serde::Serialize;
use sha2::{Digest, Sha256};
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
    #[serde(flatten)]
    news: News,
    others: BTreeMap<&'a TargetName, News>,
}

/// What is told of each target, by name. Which of them asked says nothing: the next attempt may be another one's.
fn told(notice: &Notice) -> BTreeMap<&TargetName, News> {
    let others = notice.others.iter().map(|(target, news)| (target, *news));
    others.chain([(&notice.target, notice.news())]).collect()
}

/// A ledger that was begun anew has the same generations, so the rotation is a part.
fn id(target: &TargetName, news: News, others: &BTreeMap<&TargetName, News>) -> String {
    let one = |target: &TargetName, news: &News| match news.rotation {
        Some(rotation) => format!("{target}:{news}:{rotation}"),
        None => format!("{target}:{news}"),
    };
    let first = one(target, &news);
    if others.is_empty() {
        return first;
    }
    let all = others.iter().fold(Sha256::new_with_prefix(&first), |all, (target, news)| {
        all.chain_update(" ").chain_update(one(target, news))
    });
    format!("{first}+{}:{}", others.len(), hex::encode(&all.finalize()[..8]))
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
        let mut others = told(notice);
        let Some((target, news)) = others.pop_first() else { return Ok(()) };
        let id = id(target, news, &others);
        let body = Body {
            r#type: "keywheel.delivered",
            timestamp: self.0.now().to_string(),
            data: Data { target, news, others },
        };
        let body = serde_json::to_vec(&body).expect("names and numbers always have a JSON form");
        self.0.post(&id, body).await
    }

    async fn ready(&self) -> Result<(), Fault> {
        self.0.ready()
    }
}
