//! `http`, with a receiver that verifies the signature by itself, and with the one in docs/http-sink.md.

use super::conformance::{Seen, Store, Trouble};
use super::rows::{Row, TOKEN, document};
use super::stand_in::{Answer, Asked, Service, StandIn};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use keywheel::http::Settings;
use keywheel::moment::Moment;
use keywheel::secret::Secret;
use keywheel::sink::Sink;
use keywheel::sink::http::{HttpSettings, HttpSink};
use keywheel::sink::web::Credential;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What both sides share.
pub const KEY: &[u8] = b"thirty-two bytes, shared by both";

/// What the sink believes the time to be, in seconds.
const NOW: i64 = 1_767_225_600;

/// Keeps one document, and the numbers of all that were stored.
#[derive(Default)]
pub struct Receiver(Mutex<(Option<Value>, Vec<u64>)>);

impl Receiver {
    /// The check of the Standard Webhooks specification.
    fn is_signed(asked: &Asked) -> bool {
        let header = |name| asked.header(name).unwrap_or_default();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(KEY).unwrap();
        mac.update(format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).as_bytes());
        mac.update(&asked.body);
        let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        header("webhook-signature") == signature && header("webhook-timestamp") == NOW.to_string()
    }

    fn take(&self, document: Value) -> Answer {
        let (held, log) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = held.as_ref().filter(|held| held["target"] != document["target"]) {
            return Answer::json(409, &json!({ "target": other["target"] }));
        }
        match held.as_ref().map(|held| held["generation"].as_u64().unwrap()) {
            Some(newer) if newer > document["generation"].as_u64().unwrap() => {
                return Answer::json(409, &json!({ "target": document["target"], "generation": newer }));
            }
            Some(same) if document["generation"] == same => {}
            Some(_) | None => {
                log.push(document["generation"].as_u64().unwrap());
                *held = Some(document);
            }
        }
        Answer::empty(204)
    }

    fn held(&self) -> Option<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

impl Service for Receiver {
    fn answer(&self, asked: &Asked) -> Answer {
        if !Self::is_signed(asked) || asked.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
            return Answer::empty(401);
        }
        let said = || serde_json::from_slice::<Value>(&asked.body).unwrap();
        match (asked.method.as_str(), self.held()) {
            ("PUT", _) => {
                assert_eq!(
                    asked.header("webhook-id"),
                    Some(&*format!("{}:{}", said()["target"].as_str().unwrap(), said()["generation"]))
                );
                assert_eq!(asked.header("content-type"), Some("application/json"));
                self.take(said())
            }
            ("POST", held) if said()["action"] == "ready" => {
                match held.filter(|held| held["target"] != said()["target"]) {
                    Some(other) => Answer::json(409, &json!({ "target": other["target"] })),
                    None => Answer::empty(204),
                }
            }
            ("GET" | "HEAD", Some(held)) => Answer::json(200, &held),
            ("GET" | "HEAD", None) => Answer::empty(404),
            (method, _) => panic!("{method} {}", asked.path),
        }
    }

    fn writes(&self, asked: &Asked) -> bool {
        asked.method == "PUT"
    }

    fn between(&self, generation: u64) {
        let document = document(generation);
        let answer = self.take(json!({
            "target": "orders-cache", "generation": generation, "account": document.account,
            "password": document.login_password.expose()
        }));
        assert_eq!(answer.status, 204);
    }

    fn turn_away(&self, trouble: Trouble, asked: &Asked) -> Answer {
        let status = match trouble {
            Trouble::Denied => 403,
            Trouble::NotFound => 410,
            Trouble::Throttled => 429,
            Trouble::Full => 507,
            Trouble::Broken
            | Trouble::Down
            | Trouble::LostAnswer
            | Trouble::Hang
            | Trouble::Huge
            | Trouble::Between(_)
            | Trouble::LostBetween(_) => 500,
        };
        // A receiver that repeats what it was sent must not find it in a log of ours.
        Answer { status, headers: vec![("retry-after", "7".to_owned())], body: asked.body.clone() }
    }
}

pub fn settings(url: &str, hasty: bool) -> HttpSettings {
    let token = |text: String| Some(Credential(Arc::new(move || Ok(Secret::new(text.clone())))));
    HttpSettings {
        url: url.parse().unwrap(),
        signing_key: token(format!("whsec_{}", STANDARD.encode(KEY))).unwrap(),
        token: token(TOKEN.to_owned()),
        check: true,
        read: true,
        reach: Settings { timeout: Duration::from_millis(if hasty { 300 } else { 30_000 }), ca_file: None },
    }
}

fn sink(settings: HttpSettings) -> HttpSink {
    HttpSink::new(settings, Arc::new(|| Moment::from_seconds(NOW))).unwrap()
}

pub struct Remote(StandIn<Receiver>);

impl Remote {
    fn url(&self) -> String {
        format!("{}/passwords/orders?token={TOKEN}", self.0.url())
    }
}

impl Store for Remote {
    const NAME: &'static str = "http";

    async fn begin() -> Self {
        Self(StandIn::start(Receiver::default()).await)
    }

    fn sink(&self, hasty: bool) -> Arc<dyn Sink> {
        Arc::new(sink(settings(&self.url(), hasty)))
    }

    async fn seen(&self) -> Option<Seen> {
        let held = self.0.service.held()?;
        Some(Seen {
            generation: held["generation"].as_u64().unwrap(),
            account: held["account"].as_str().unwrap().to_owned(),
            password: held["password"].as_str().unwrap().to_owned(),
        })
    }

    async fn mark(&self) -> String {
        format!("{:?}", self.0.service.0.lock().unwrap().1)
    }

    async fn fail(&self, trouble: Trouble) {
        self.0.fail(trouble);
        if trouble == Trouble::Down {
            self.0.shut().await;
        }
    }

    async fn mend(&self) {
        self.0.mend();
    }

    async fn wipe(&self) {
        self.0.service.0.lock().unwrap().0 = None;
    }

    async fn swallowed(&self) -> Option<u64> {
        Some(self.0.swallowed())
    }

    fn leaves_out(&self, _row: Row) -> Option<&'static str> {
        None
    }

    fn debug(&self) -> String {
        format!("{:?}", sink(settings(&self.url(), false)))
    }
}
