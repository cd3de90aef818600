//! `kind = "slack"`: an incoming webhook as Slack has it, and Mattermost and others after it. The URL is the secret.

use super::address::SecretUrl;
use super::text::body;
use super::{Channel, Message};
use crate::fault::Fault;
use crate::http::signed::USER_AGENT;
use crate::http::{Method, Settings};
use crate::secret::Credential;
use async_trait::async_trait;

/// A chat.
pub struct Slack {
    url: SecretUrl,
}

impl Slack {
    /// The chat behind the URL that is kept there.
    pub fn new(url: Credential, reach: Settings) -> Self {
        Self { url: SecretUrl::new(url, reach) }
    }
}

#[async_trait]
impl Channel for Slack {
    async fn tell(&self, message: &Message) -> Result<(), Fault> {
        let body = serde_json::json!({ "text": escaped(&body(message)) }).to_string();
        let headers = [USER_AGENT, ("content-type", "application/json")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.url.send(Method::POST, &headers, body.into_bytes()).await
    }

    async fn ready(&self) -> Result<(), Fault> {
        self.url.client().map(drop)
    }
}

/// Slack's "Formatting text for app surfaces": these three characters stand for something else there.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
