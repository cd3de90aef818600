//! A receiver behind a URL that is sent JSON, signed as Standard Webhooks are, so that it verifies with an existing library; and what an answer means where
//! nothing is asked but that it be taken.

use super::{Client, Effect, Method, Reply, SendError, Settings};
use crate::fault::{Fault, Kind};
use crate::moment::Moment;
use crate::secret::Credential;
use crate::sign::webhook::{Message, sign};
use std::sync::Arc;
use url::Url;
use zeroize::Zeroizing;

/// Who speaks.
pub const USER_AGENT: (&str, &str) = ("user-agent", concat!("keywheel/", env!("CARGO_PKG_VERSION")));

/// Tells the time.
pub type Now = Arc<dyn Fn() -> Moment + Send + Sync>;

/// Whose receiver it is, for its faults.
#[derive(Debug, Clone, Copy)]
pub struct Whose {
    /// What it is in the settings, in a word.
    pub noun: &'static str,
    /// What it is when nothing was taken.
    pub kind: Kind,
}

/// Where it is, and what it is shown.
#[derive(Clone)]
pub struct ReceiverSettings {
    /// Where it is sent. Path and query may hold a token and are never shown.
    pub url: Url,
    /// What it is signed with: 24 to 64 bytes in base64.
    pub signing_key: Credential,
    /// A bearer token.
    pub token: Option<Credential>,
    /// Timeout and certificates.
    pub reach: Settings,
}

/// The receiver.
pub struct Receiver {
    settings: ReceiverSettings,
    client: Client,
    now: Now,
    whose: Whose,
}

impl Receiver {
    /// The receiver.
    ///
    /// # Errors
    /// `ConfigInvalid` for plain http to another machine, or certificates that cannot be used.
    pub fn new(settings: ReceiverSettings, now: Now, whose: Whose) -> Result<Self, Fault> {
        let client = Client::new(settings.url.clone(), &settings.reach)?;
        Ok(Self { settings, client, now, whose })
    }

    /// The time that its messages are signed with.
    pub fn now(&self) -> Moment {
        (self.now)()
    }

    /// Sends the body. `id` is the same for every attempt to send the same.
    ///
    /// # Errors
    /// Of the kind that it was made with, where it was not taken.
    pub async fn post(&self, id: &str, body: Vec<u8>) -> Result<(), Fault> {
        let headers = self.headers(id, &body)?;
        let url = self.settings.url.clone();
        let answer = self.client.send(Method::POST, url, &headers, Zeroizing::new(body), Effect::Write).await;
        taken(self.whose, &self.client, answer)
    }

    /// Whether something could be sent, as far as that can be seen without sending it.
    ///
    /// # Errors
    /// What would fail.
    pub fn ready(&self) -> Result<(), Fault> {
        self.headers("ready", b"").map(drop)
    }

    fn headers(&self, id: &str, body: &[u8]) -> Result<Vec<(String, String)>, Fault> {
        let Whose { noun, kind } = self.whose;
        let unread = |what: &str, fault: Fault| {
            Fault::new(kind, format!("The {noun}'s {what}: {}", fault.what)).advise(fault.next_step)
        };
        let key = self.settings.signing_key.get().map_err(|fault| unread("signing-key", fault))?;
        let mut headers = sign(&Message { id, timestamp: self.now(), body }, &key).map_err(|_| {
            Fault::new(kind, format!("The {noun}'s signing-key is not 24 to 64 bytes in base64"))
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

/// Whether a request was taken. What the other side says is not repeated.
///
/// # Errors
/// Of the given kind, where it was not.
pub fn taken(Whose { noun, kind }: Whose, client: &Client, answer: Result<Reply, SendError>) -> Result<(), Fault> {
    let reply = match answer {
        Ok(reply) if (200..300).contains(&reply.status) => return Ok(()),
        Ok(reply) => reply,
        Err(SendError::NotSent(fault) | SendError::Unanswered(fault)) => {
            return Err(Fault::new(kind, fault.what).advise("see that the receiver runs and can be reached"));
        }
    };
    let (whom, status) = (client.authority(), reply.status);
    let fault = |why: &str| Fault::new(kind, format!("{whom} answered with HTTP status {status}{why}"));
    Err(match status {
        300..=399 => fault(", a redirect, which is not followed").advise("use the address that it leads to"),
        400 | 401 | 403 => fault(": it does not accept what it is sent").advise(format!(
            "compare the {noun}'s secrets (signing-key, token, or the URL itself) with the receiver's"
        )),
        404 | 405 | 410 => {
            fault(": nobody takes anything there").advise(format!("check the {noun}'s url: this URL leads to nobody"))
        }
        _ => match reply.retry_after {
            Some(span) => fault("").after(span),
            None => fault(""),
        },
    })
}
