//! Others' programs at the far end: hvac reads what the sink wrote and judges the stand-in of a Vault, the library of Standard Webhooks verifies the
//! signature, and the receiver of docs/http-sink.md takes deliveries.
//!
//! tests/run installs the libraries and names their Python; without it the tests that need them say that they were left out.

use super::http::{self, KEY};
use super::rows::{TOKEN, document};
use super::stand_in::{Answer, Asked, Service, StandIn};
use super::vault::{MOUNT, PATH, app_role, settings};
use super::vault_stand_in::{ROOT, Vault};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keywheel::clock::{Clock, SystemClock};
use keywheel::fault::Kind;
use keywheel::sink::http::HttpSink;
use keywheel::sink::vault::VaultSink;
use keywheel::sink::{Document, Held, Holds, Sink};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// A Python that has what tests/sdk/requirements.txt lists.
const PYTHON: &str = "KEYWHEEL_SDK_PYTHON";

pub fn python() -> Option<String> {
    let named = std::env::var(PYTHON).ok().filter(|value| !value.is_empty());
    if named.is_none() {
        // Not by print!, which is shown for a failing test only. Where standard error is closed, nobody reads on.
        let _ =
            writeln!(std::io::stderr(), "left out: {PYTHON} is not set. tests/run installs the libraries and sets it");
    }
    named
}

/// Runs a program to its end with this on its standard input.
pub async fn told(python: String, arguments: Vec<String>, story: Value) {
    let ended = tokio::task::spawn_blocking(move || {
        let mut child = Command::new(python)
            .args(arguments)
            .env("NO_PROXY", "*")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        write!(child.stdin.take().unwrap(), "{story}").unwrap();
        child.wait_with_output().unwrap()
    });
    let ended = ended.await.unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

fn now() -> keywheel::sink::http::Now {
    Arc::new(|| SystemClock.now())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hvac_reads_what_the_sink_wrote_and_finds_a_vault_in_the_stand_in() {
    let Some(python) = python() else { return };
    let vault = StandIn::start(Vault::new(MOUNT)).await;
    let sink = VaultSink::new(settings(&vault.url(), app_role()), now()).unwrap();
    vault.service.clock.store(SystemClock.now().seconds(), std::sync::atomic::Ordering::Relaxed);
    let expected = |document: &Document| {
        json!({
            "target": "orders-cache", "generation": document.generation.0, "account": "app", "user": "app",
            "password": document.password.expose(), "host": "10.0.0.12", "port": 6379, "tls": false,
            "url": vault.service.newest(PATH).unwrap()["url"],
        })
    };
    let mut all = Vec::new();
    for generation in [1, 2] {
        sink.deliver(&document(generation)).await.unwrap();
        all.push(expected(&document(generation)));
    }
    let story = json!({
        "url": vault.url(), "namespace": "shop/eu", "mount": MOUNT, "path": PATH, "token": ROOT, "secret_id": TOKEN, "expected": all,
    });
    told(python, vec!["tests/sdk/vault.py".to_owned()], story).await;
    // hvac destroyed the newest version: the sink finds that, and puts its own there again.
    assert_eq!(sink.holds(&document(2)).await.unwrap(), Holds::Absent);
    assert_eq!(sink.deliver(&document(1)).await.unwrap_err().kind, Kind::SinkNewer);
    sink.deliver(&document(2)).await.unwrap();
    assert_eq!(sink.holds(&document(2)).await.unwrap(), Holds::Same);
}

/// Takes everything and keeps the last request.
#[derive(Default)]
struct Listener(Mutex<Option<Value>>);

impl Service for Listener {
    fn answer(&self, asked: &Asked) -> Answer {
        let headers: serde_json::Map<String, Value> =
            asked.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().into())).collect();
        *self.0.lock().unwrap() =
            Some(json!({ "headers": headers, "body": String::from_utf8(asked.body.clone()).unwrap() }));
        Answer::empty(204)
    }

    fn writes(&self, _asked: &Asked) -> bool {
        true
    }

    fn between(&self, _generation: u64) {}

    fn turn_away(&self, _trouble: super::conformance::Trouble, _asked: &Asked) -> Answer {
        Answer::empty(500)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_library_of_standard_webhooks_verifies_a_delivery() {
    let Some(python) = python() else { return };
    let listener = StandIn::start(Listener::default()).await;
    let sink = HttpSink::new(http::settings(&listener.url(), false), now()).unwrap();
    sink.deliver(&document(1)).await.unwrap();
    let request = listener.service.0.lock().unwrap().take().unwrap();
    assert_eq!(request["headers"]["webhook-id"], "orders-cache:1");
    let program = "import json, sys\n\
        from standardwebhooks.webhooks import Webhook, WebhookVerificationError\n\
        told = json.load(sys.stdin)\n\
        assert Webhook(sys.argv[1]).verify(told['body'], told['headers'])['generation'] == 1\n\
        try:\n    Webhook(sys.argv[1]).verify(told['body'] + ' ', told['headers'])\n\
        except WebhookVerificationError:\n    sys.exit(0)\n\
        sys.exit('a changed body was taken')\n";
    let arguments = ["-c", program, &format!("whsec_{}", STANDARD.encode(KEY))].map(str::to_owned).into();
    told(python, arguments, request).await;
}

/// The receiver of the page, until it is dropped.
struct Receiver(Child);

impl Drop for Receiver {
    fn drop(&mut self) {
        // It may have ended by itself, and a drop cannot fail.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_receiver_of_the_page_keeps_what_it_is_sent() {
    let page = include_str!("../../docs/http-sink.md");
    let (_, rest) = page.split_once("```python\n").unwrap();
    let (program, _) = rest.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("key"), STANDARD.encode(KEY)).unwrap();
    let mut child = Command::new("python3")
        .args(["-c", program])
        .args([path("held"), "0".into(), path("key")])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut port = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let _receiver = Receiver(child);

    let url = format!("http://127.0.0.1:{}/orders", port.trim());
    let sink = HttpSink::new(http::settings(&url, false), now()).unwrap();
    let target = "orders-cache".parse().unwrap();
    sink.ready(&target).await.unwrap();
    assert!(sink.has_lost_it().await && sink.read_back(&target).await.unwrap().is_none());
    for generation in [1, 2, 2] {
        sink.deliver(&document(generation)).await.unwrap();
    }
    let Some(Held::AsSent(held)) = sink.read_back(&target).await.unwrap() else { panic!("nothing is held") };
    assert_eq!(held.expose(), document(2).password.expose());
    assert_eq!(sink.holds(&document(2)).await.unwrap(), Holds::Same);
    assert_eq!(sink.deliver(&document(1)).await.unwrap_err().kind, Kind::SinkNewer);
    let stranger = Document { target: "billing".parse().unwrap(), ..document(3) };
    let fault = sink.deliver(&stranger).await.unwrap_err();
    assert!(fault.kind == Kind::SinkDenied && fault.what.contains("the target orders-cache"), "{fault}");
    assert_eq!(sink.ready(&stranger.target).await.unwrap_err().kind, Kind::SinkDenied);
    // Without `check` it is asked with HEAD, which this one does not know.
    let bare = keywheel::sink::http::HttpSettings { check: false, read: false, ..http::settings(&url, false) };
    let bare = HttpSink::new(bare, now()).unwrap();
    bare.ready(&target).await.unwrap();
    assert_eq!(bare.read_back(&target).await.unwrap_err().kind, Kind::Unsupported);
    assert_eq!(bare.holds(&document(2)).await.unwrap(), Holds::CannotTell);
    // A request whose time is not now may be an old one that somebody kept.
    let late =
        HttpSink::new(http::settings(&url, false), Arc::new(|| keywheel::moment::Moment::from_seconds(0))).unwrap();
    assert_eq!(late.deliver(&document(3)).await.unwrap_err().kind, Kind::SinkDenied);
}
