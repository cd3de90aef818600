//! Webhook, chat and dead-man URL against a receiver on this machine.

use super::receiver::Receiver;
use super::traces::Traces;
use super::{at, channel, halted, takers};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keywheel::alert::dead_man::DeadMan;
use keywheel::alert::slack::Slack;
use keywheel::alert::webhook::Webhook;
use keywheel::alert::{Channel, Message};
use keywheel::clock::{Clock, SystemClock};
use keywheel::fault::{Fault, Kind, Retry};
use keywheel::http::Settings;
use keywheel::http::signed::ReceiverSettings;
use keywheel::secret::{Credential, Secret};
use keywheel::watch::book::Book;
use keywheel::watch::pulse::pulse;
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
const TOKEN: &str = "token-of-the-receiver";
/// The part of a URL that opens the door.
const DOOR: &str = "T0000-B0000-XXXXsecretXXXX";

pub fn secret(text: impl Into<String>) -> Credential {
    let text = text.into();
    Credential(Arc::new(move || Ok(Secret::new(text.clone()))))
}

fn reach() -> Settings {
    Settings { timeout: Duration::from_secs(20), ca_file: None }
}

/// A message about one halted target.
pub fn message() -> Message {
    let mut book = Book::default();
    let mut holding = halted(&["orders"], 0);
    for condition in holding.values_mut() {
        condition.what = "<it> said \"no\" & \u{e9}".to_owned();
    }
    book.update(&holding, &takers(&["one"]), at(0));
    book.message(&channel("one"), "web-1", at(1)).unwrap().0
}

fn reveals_nothing(fault: &Fault) {
    let key = STANDARD.encode(KEY);
    let found = Traces::of(&[TOKEN, DOOR, &key]).found(format!("{fault:?} {fault}").as_bytes());
    assert_eq!(found, None, "{fault:?}");
}

fn webhook(url: &str) -> Webhook {
    let settings = ReceiverSettings {
        url: format!("{url}?token={DOOR}").parse().unwrap(),
        signing_key: secret(STANDARD.encode(KEY)),
        token: Some(secret(TOKEN)),
        reach: reach(),
    };
    Webhook::new(settings, Arc::new(|| SystemClock.now())).unwrap()
}

#[tokio::test]
async fn a_library_verifies_the_webhook_and_finds_what_happened() {
    let receiver = Receiver::start();
    let webhook = webhook(&receiver.url("/alerts"));
    webhook.ready().await.unwrap();
    assert!(receiver.heard().is_empty(), "to be ready is not to tell");
    for _ in 0..2 {
        webhook.tell(&message()).await.unwrap();
    }
    let heard = receiver.heard();
    assert_eq!(heard.len(), 2);
    assert_eq!(heard[0].header("webhook-id"), heard[1].header("webhook-id"));
    assert_eq!(heard[0].header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    let body = heard[0].json();
    assert_eq!((body["type"].as_str(), body["data"]["host"].as_str()), (Some("keywheel.alert"), Some("web-1")));
    let alert = &body["data"]["alerts"][0];
    assert_eq!((&alert["state"], &alert["event"], &alert["count"]), (&"raised".into(), &"halted".into(), &1.into()));
    assert_eq!(alert["named"][0]["target"], "orders");
    assert_eq!(alert["named"][0]["next-step"], "switch it to password login");
    verified(&heard[0].headers, &heard[0].body);
}

/// The library of Standard Webhooks takes it; without the library this says so.
fn verified(headers: &[(String, String)], body: &str) {
    let Some(python) = std::env::var("KEYWHEEL_SDK_PYTHON").ok().filter(|named| !named.is_empty()) else {
        let _ =
            writeln!(std::io::stderr(), "left out: KEYWHEEL_SDK_PYTHON is not set. tests/run installs it and sets it");
        return;
    };
    let program = "import json, sys\n\
        from standardwebhooks.webhooks import Webhook\n\
        told = json.load(sys.stdin)\n\
        assert Webhook(sys.argv[1]).verify(told['body'], told['headers'])['type'] == 'keywheel.alert'\n";
    let mut child = Command::new(python)
        .args(["-c", program, &format!("whsec_{}", STANDARD.encode(KEY))])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let headers: serde_json::Map<String, Value> =
        headers.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    write!(child.stdin.take().unwrap(), "{}", serde_json::json!({ "headers": headers, "body": body })).unwrap();
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
async fn a_chat_gets_a_text_in_which_nothing_stands_for_something_else() {
    let receiver = Receiver::start();
    let chat = Slack::new(secret(receiver.url(&format!("/services/{DOOR}"))), reach());
    chat.ready().await.unwrap();
    chat.tell(&message()).await.unwrap();
    let heard = receiver.heard();
    assert_eq!(heard[0].line, format!("POST /services/{DOOR} HTTP/1.1"));
    let text = heard[0].json()["text"].as_str().unwrap().to_owned();
    assert!(text.contains("Orders is halted") && text.contains("&lt;it&gt; said \"no\" &amp; \u{e9}"), "{text}");
}

#[tokio::test]
async fn a_receiver_that_fails_is_told_again_and_no_door_is_shown() {
    let receiver = Receiver::start();
    let chat = Slack::new(secret(receiver.url(&format!("/{DOOR}"))), reach());
    let webhook = webhook(&receiver.url("/alerts"));
    for (status, advice) in [(302, "the address"), (403, "secrets"), (404, "URL"), (429, "check"), (500, "check")] {
        receiver.answer(status);
        for told in [chat.tell(&message()).await, webhook.tell(&message()).await] {
            let fault = told.unwrap_err();
            assert!(fault.next_step.contains(advice) && fault.what.contains(&status.to_string()), "{fault}");
            assert_eq!((fault.kind, fault.retry), (Kind::AlertFailed, Retry::Later));
            reveals_nothing(&fault);
        }
    }
    let nobody = format!("http://127.0.0.1:9/{DOOR}");
    let far = format!("http://chat.example/{DOOR}");
    for url in [nobody.as_str(), far.as_str(), DOOR, ""] {
        let chat = Slack::new(secret(url), reach());
        let fault = chat.tell(&message()).await.unwrap_err();
        assert_eq!(fault.kind, Kind::AlertFailed);
        reveals_nothing(&fault);
        if url != nobody {
            reveals_nothing(&chat.ready().await.unwrap_err());
        }
    }
}

#[tokio::test]
async fn the_dead_man_is_called_after_a_healthy_sweep_and_only_then() {
    let receiver = Receiver::start();
    let dead_man = || DeadMan::new(secret(receiver.url(&format!("/ping/{DOOR}"))), reach());
    dead_man().ready().unwrap();
    let (healthy, stop) = (Arc::new(Notify::new()), CancellationToken::new());
    let beating = tokio::spawn(pulse(
        dead_man(),
        Duration::from_millis(1),
        Arc::clone(&healthy),
        Arc::new(SystemClock),
        stop.clone(),
    ));
    for beats in 1..=3 {
        // Soon, or never.
        let beat = tokio::time::timeout(Duration::from_secs(60), async {
            while receiver.heard().len() < beats {
                healthy.notify_one();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        beat.await.expect("nobody is called");
    }
    stop.cancel();
    beating.await.unwrap();
    assert!(receiver.heard().iter().all(|request| request.line == format!("GET /ping/{DOOR} HTTP/1.1")));
    reveals_nothing(&{
        receiver.answer(500);
        dead_man().ping().await.unwrap_err()
    });
}

/// A sweep from before the wait, or during it, says nothing of the time after it.
#[tokio::test(start_paused = true)]
async fn old_sweeps_do_not_keep_the_dead_man_quiet() {
    let (healthy, stop) = (Arc::new(Notify::new()), CancellationToken::new());
    let asked = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    // Each call begins by reading the URL; that there is none ends it.
    let url = Credential(Arc::new(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Err(Fault::new(Kind::SecretUnreadable, "it is gone"))
    }));
    let every = Duration::from_secs(60);
    struct Timers;
    #[async_trait::async_trait]
    impl Clock for Timers {
        fn now(&self) -> keywheel::moment::Moment {
            at(0)
        }

        async fn sleep(&self, span: Duration) {
            tokio::time::sleep(span).await;
        }
    }
    let beating =
        tokio::spawn(pulse(DeadMan::new(url, reach()), every, Arc::clone(&healthy), Arc::new(Timers), stop.clone()));
    let calls = || asked.load(std::sync::atomic::Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(calls(), 0, "no sweep, no call");
    for _ in 0..30 {
        healthy.notify_one();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(calls(), 1, "at most once a minute");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(calls(), 1, "the driver hangs");
    healthy.notify_one();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(calls(), 2);
    stop.cancel();
    beating.await.unwrap();
}
