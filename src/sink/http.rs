//! The sink `http`: puts each password to a URL as one JSON document, signed as Standard Webhooks are, so that a receiver verifies it with an existing
//! library. docs/http-sink.md has the protocol and a receiver.
//!
//! | request | when | body | answers that mean something |
//! |---|---|---|---|
//! | `PUT` | a delivery | the document, as `format = "json"` of a file has it | 2xx stored, durably; 409 with a JSON object: what is held instead |
//! | `POST` | before a rotation, with `check = true` | `{"action": "ready", "target": …}` | 2xx a delivery would be taken |
//! | `HEAD` | before a rotation, without | none | what turns nobody away: 2xx, 404, 405, 501 |
//! | `GET` | with `read = true` | none | 200 with the document, 404 nothing stored |
//!
//! Every request carries `webhook-id`, `webhook-timestamp` and `webhook-signature`, and a bearer token where one is set. A delivery's id is `TARGET:GENERATION`:
//! the same for every attempt, so that a receiver needs nothing else to be idempotent.

use super::file::copying::{self, Marked};
use super::file::reading;
use super::web::{Credential, layout, no_answer, refused};
use super::{Document, Held, Holds, Sink};
use crate::fault::{Fault, Kind};
use crate::http::{Client, Effect, Method, Reply, Settings};
use crate::moment::Moment;
use crate::name::TargetName;
use crate::sign::webhook::{Message, sign};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;
use url::Url;
use zeroize::Zeroizing;

/// Tells the time.
pub type Now = Arc<dyn Fn() -> Moment + Send + Sync>;

/// The settings of a sink with `kind = "http"`.
#[derive(Clone)]
pub struct HttpSettings {
    /// Where the documents go. Path and query may hold a token and are never shown.
    pub url: Url,
    /// What requests are signed with: 24 to 64 bytes in base64.
    pub signing_key: Credential,
    /// A bearer token.
    pub token: Option<Credential>,
    /// Whether the receiver answers the question `ready`.
    pub check: bool,
    /// Whether the receiver gives back what it stored.
    pub read: bool,
    /// Timeout and certificates.
    pub reach: Settings,
}

/// A receiver of passwords behind a URL.
pub struct HttpSink {
    settings: HttpSettings,
    client: Client,
    now: Now,
}

impl fmt::Debug for HttpSink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "HttpSink({})", self.client.authority())
    }
}

/// What a receiver holds instead of what it was sent.
#[derive(Deserialize)]
struct Instead {
    target: Option<String>,
    generation: Option<u64>,
}

#[derive(Serialize)]
struct Question<'a> {
    action: &'static str,
    target: &'a TargetName,
}

impl HttpSink {
    /// The sink.
    ///
    /// # Errors
    /// `ConfigInvalid` for plain http to another machine, or certificates that cannot be used.
    pub fn new(settings: HttpSettings, now: Now) -> Result<Self, Fault> {
        let client = Client::new(settings.url.clone(), &settings.reach)?;
        Ok(Self { settings, client, now })
    }

    async fn send(&self, method: Method, id: &str, body: Zeroizing<Vec<u8>>, effect: Effect) -> Result<Reply, Fault> {
        let key = self.settings.signing_key.read("signing-key")?;
        let message = Message { id, timestamp: (self.now)(), body: &body };
        let mut headers = sign(&message, &key).map_err(|_| {
            Fault::new(Kind::SinkDenied, "The sink's signing-key is not 24 to 64 bytes in base64")
                .advise("make one with `openssl rand -base64 32` and give it to the receiver too")
        })?;
        if let Some(token) = &self.settings.token {
            headers.push(("authorization".to_owned(), format!("Bearer {}", token.read("token")?.expose())));
        }
        headers.push(("user-agent".to_owned(), concat!("keywheel/", env!("CARGO_PKG_VERSION")).to_owned()));
        if !body.is_empty() {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        self.client.send(method, self.settings.url.clone(), &headers, body, effect).await.map_err(no_answer)
    }

    /// An id for a request that delivers nothing.
    fn id_of(&self, question: &str, asker: &str) -> String {
        format!("{asker}:{question}:{}", (self.now)().millis())
    }

    /// What an answer to a delivery, or to the question about one, means where it is no success.
    fn turned_away(&self, what: &str, target: &TargetName, generation: Option<u64>, reply: &Reply) -> Fault {
        let place = self.place();
        if reply.status != 409 {
            return refused(&format!("{what} to {place}"), reply);
        }
        let held = serde_json::from_slice::<Instead>(&reply.body).ok();
        match held {
            Some(Instead { target: Some(other), .. }) if other != target.as_str() => {
                // What is no name could be anything.
                let whose = other
                    .parse::<TargetName>()
                    .map_or_else(|_| "another target".to_owned(), |name| format!("the target {name}"));
                Fault::new(Kind::SinkDenied, format!("{place} holds the password of {whose}, not of {target}"))
                    .advise(format!("give {target} a URL of its own"))
            }
            Some(Instead { generation: Some(held), .. }) if generation.is_some_and(|ours| held > ours) => Fault::new(
                Kind::SinkNewer,
                format!("{place} holds generation {held} of {target}, newer than {}", generation.unwrap_or_default()),
            ),
            Some(_) | None => Fault::new(
                Kind::SinkUnavailable,
                format!("{place} answered with a conflict (409) and names no newer generation"),
            ),
        }
    }

    /// What the receiver has; `None` where that is nothing.
    async fn stored(&self, asker: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Fault> {
        let reply = self.send(Method::GET, &self.id_of("read", asker), Zeroizing::default(), Effect::Read).await?;
        match reply.status {
            200 => Ok(Some(reply.body)),
            404 => Ok(None),
            _ => Err(refused(&format!("A look at {}", self.place()), &reply)),
        }
    }

    fn illegible(&self, why: &str) -> Fault {
        Fault::new(Kind::SecretUnreadable, format!("What {} answers {why}", self.place()))
            .advise("let the receiver answer a GET with exactly the document that it was sent")
    }
}

/// The document as it is sent.
fn rendered(document: &Document) -> Result<Zeroizing<Vec<u8>>, Fault> {
    layout().render(document)
}

#[async_trait]
impl Sink for HttpSink {
    async fn ready(&self, target: &TargetName) -> Result<(), Fault> {
        let id = self.id_of("ready", target.as_str());
        if !self.settings.check {
            let reply = self.send(Method::HEAD, &id, Zeroizing::default(), Effect::Read).await?;
            return match reply.status {
                200..=299 | 404 | 405 | 501 => Ok(()),
                _ => Err(refused(&format!("A look at {}", self.place()), &reply)),
            };
        }
        let question =
            serde_json::to_vec(&Question { action: "ready", target }).expect("texts always have a JSON form");
        let reply = self.send(Method::POST, &id, Zeroizing::new(question), Effect::Read).await?;
        match reply.status {
            200..=299 => Ok(()),
            _ => Err(self.turned_away("The question whether it would take a delivery", target, None, &reply)),
        }
    }

    async fn deliver(&self, document: &Document) -> Result<(), Fault> {
        let id = format!("{}:{}", document.target, document.generation);
        let reply = self.send(Method::PUT, &id, rendered(document)?, Effect::Write).await?;
        match reply.status {
            200..=299 => Ok(()),
            _ => Err(self.turned_away("A delivery", &document.target, Some(document.generation.0), &reply)),
        }
    }

    fn shape(&self, document: &Document) -> Option<Vec<u8>> {
        let mut shape = format!("{}\n", self.settings.url).into_bytes();
        shape.extend_from_slice(&rendered(document).ok()?);
        Some(shape)
    }

    async fn has_lost_it(&self) -> bool {
        self.settings.read && matches!(self.stored("sink").await, Ok(None))
    }

    async fn read_back(&self, target: &TargetName) -> Result<Option<Held>, Fault> {
        if !self.settings.read {
            let fault = super::cannot_be_read(&self.place());
            return Err(fault.advise("add read = true to the sink, if its receiver answers a GET with what it stored"));
        }
        let Some(body) = self.stored(target.as_str()).await? else { return Ok(None) };
        let text = std::str::from_utf8(&body).map_err(|_| self.illegible("is not UTF-8"))?;
        let whose = serde_json::from_str::<Instead>(text).ok().and_then(|held| held.target);
        if whose.is_some_and(|other| other != target.as_str()) {
            return Err(Fault::new(Kind::SinkDenied, format!("{} holds another target's password", self.place())));
        }
        let password = reading::password(&layout(), text).map_err(|reading::Illegible(why)| self.illegible(&why))?;
        Ok(Some(Held::AsSent(password)))
    }

    async fn copy(&self, target: &TargetName) -> Result<Option<Document>, Fault> {
        if !self.settings.read {
            let fault = super::cannot_be_read(&self.place());
            return Err(fault.advise("add read = true to the sink, if its receiver answers a GET with what it stored"));
        }
        let Some(body) = self.stored(target.as_str()).await? else { return Ok(None) };
        copying::document(&layout(), &body, &self.place(), target, Marked::default()).map(Some)
    }

    async fn holds(&self, document: &Document) -> Result<Holds, Fault> {
        if !self.settings.read {
            return Ok(Holds::CannotTell);
        }
        let Some(body) = self.stored(document.target.as_str()).await? else { return Ok(Holds::Absent) };
        let ours: Map<String, Value> = serde_json::from_slice(&rendered(document)?)
            .map_err(|_| Fault::new(Kind::Bug, "a document that is no JSON object"))?;
        let theirs =
            serde_json::from_slice::<Map<String, Value>>(&body).map_err(|_| self.illegible("is no JSON object"))?;
        let same = ours.iter().all(|(key, value)| theirs.get(key) == Some(value));
        Ok(if same { Holds::Same } else { Holds::Other })
    }

    fn place(&self) -> String {
        format!("the receiver at {}", self.client.authority())
    }
}
