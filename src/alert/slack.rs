//! `kind = "slack"`: an incoming webhook as Slack has it, and Mattermost and others after it. The URL is the secret.

use super::address::SecretUrl;
use super::text::body;
use super::{Channel, Message};
use crate::fault::Fault;
use crate::http::signed::USER_AGENT;
use crate::http::{Method, Settings};
use crate::secret::Credential;
use async_trait::async_trait;

/// The longest text, in characters: one post of Mattermost has at most 16 383. Slack cuts at 40 000 (Slack's "Truncating really long messages").
const TEXT_LIMIT: usize = 16_000;

/// What stands in the place of the rest.
const REST: &str = "- and more than fits here; `keywheel status` shows what there is now\n";

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
        let body = serde_json::json!({ "text": fitted(&body(message)) }).to_string();
        let headers = [USER_AGENT, ("content-type", "application/json")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.url.send(Method::POST, &headers, body.into_bytes()).await
    }

    async fn ready(&self) -> Result<(), Fault> {
        self.url.client().map(drop)
    }
}

/// As many of its lines as fit.
fn fitted(text: &str) -> String {
    let mut fitted = String::new();
    let mut room = TEXT_LIMIT - REST.len();
    for line in text.split_inclusive('\n').map(escaped) {
        match room.checked_sub(line.chars().count()) {
            Some(left) => room = left,
            None => return fitted + REST,
        }
        fitted.push_str(&line);
    }
    fitted
}

/// Slack's "Formatting text for app surfaces": these three characters stand for something else there.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_left_out_by_whole_lines_and_said() {
        let line = "- <orders> & more \u{e9}\n";
        assert_eq!(fitted(&line.repeat(3)), "- &lt;orders&gt; &amp; more \u{e9}\n".repeat(3));
        let long = fitted(&line.repeat(5_000));
        assert!(long.chars().count() <= TEXT_LIMIT && long.chars().count() > TEXT_LIMIT - 200);
        let (lines, rest) = long.split_at(long.len() - REST.len());
        assert_eq!(rest, REST);
        assert!(lines.lines().all(|line| line == "- &lt;orders&gt; &amp; more \u{e9}"));
    }
}
