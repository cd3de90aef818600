//! The hook `webhook`, against the suite's stand-in: what it sends, who verifies it, and what becomes of a receiver that fails.

use super::clients::{python, told};
use super::conformance::Trouble;
use super::http::KEY;
use super::rows::TOKEN;
use super::stand_in::{Answer, Asked, Service, StandIn};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keywheel::clock::{Clock, SystemClock};
use keywheel::fault::{Fault, Kind, Retry};
use keywheel::hook::webhook::WebhookHook;
use keywheel::hook::{Hook, News, Notice};
use keywheel::http::Settings;
use keywheel::http::signed::ReceiverSettings;
use keywheel::moment::Moment;
use keywheel::name::{Generation, RotationId};
use keywheel::secret::{Credential, Secret};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Keeps what it was told, and answers as it is told to.
struct Receiver {
    told: Mutex<Vec<Value>>,
    status: Mutex<u16>,
}

impl Service for Receiver {
    fn answer(&self, asked: &Asked) -> Answer {
        let headers: serde_json::Map<String, Value> =
            asked.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().into())).collect();
        let body = String::from_utf8(asked.body.clone()).unwrap();
        self.told.lock().unwrap().push(json!({ "method": asked.method, "headers": headers, "body": body }));
        let status = *self.status.lock().unwrap();
        // A receiver that repeats what it was sent must not find it in a fault of ours.
        Answer { status, headers: vec![("retry-after", "7".to_owned())], body: asked.body.clone() }
    }

    fn writes(&self, _asked: &Asked) -> bool {
        true
    }

    fn between(&self, _generation: u64) {}

    fn turn_away(&self, _trouble: Trouble, _asked: &Asked) -> Answer {
        Answer::empty(500)
    }
}

fn secret(text: String) -> Credential {
    Credential(Arc::new(move || Ok(Secret::new(text.clone()))))
}

fn hook(url: &str, key: &str) -> WebhookHook {
    let settings = ReceiverSettings {
        url: format!("{url}/hooks?token=in-the-url").parse().unwrap(),
        signing_key: secret(key.to_owned()),
        token: Some(secret(TOKEN.to_owned())),
        reach: Settings { timeout: Duration::from_secs(2), ca_file: None },
    };
    WebhookHook::new(settings, Arc::new(|| SystemClock.now())).unwrap()
}

fn notice() -> Notice {
    let rotation = Some(RotationId::from_parts(Moment::from_seconds(1), 5));
    Notice {
        target: "orders-cache".parse().unwrap(),
        generation: Generation(7),
        rotation,
        telling: 1,
        others: [].into(),
    }
}

/// The same for two targets, as one of them asks for it.
fn shared(asks: &str, other: &str) -> Notice {
    let news = |target: &str| match target {
        "orders-cache" => notice().news(),
        _ => News { generation: Generation(9), rotation: None, telling: 2 },
    };
    let News { generation, rotation, telling } = news(asks);
    let others = [(other.parse().unwrap(), news(other))].into();
    Notice { target: asks.parse().unwrap(), generation, rotation, telling, others }
}

async fn receiver() -> StandIn<Receiver> {
    StandIn::start(Receiver { told: Mutex::default(), status: Mutex::new(204) }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_library_verifies_the_notice_and_a_repeated_one_has_the_same_id() {
    let receiver = receiver().await;
    let hook = hook(&receiver.url(), &STANDARD.encode(KEY));
    hook.ready().await.unwrap();
    hook.tell(&notice()).await.unwrap();
    hook.tell(&notice()).await.unwrap();
    let rotation = notice().rotation.unwrap();
    let heard = std::mem::take(&mut *receiver.service.told.lock().unwrap());
    assert_eq!(heard.len(), 2, "to be ready is not to tell");
    for request in &heard {
        assert_eq!(
            (request["method"].as_str(), request["headers"]["webhook-id"].as_str()),
            (Some("POST"), Some(&*format!("orders-cache:7:{rotation}")))
        );
        assert_eq!(request["headers"]["authorization"], format!("Bearer {TOKEN}"));
        let body: Value = serde_json::from_str(request["body"].as_str().unwrap()).unwrap();
        assert_eq!(body["type"], "keywheel.delivered");
        assert_eq!(
            body["data"],
            json!({ "target": "orders-cache", "generation": 7, "rotation": notice().rotation, "telling": 1, "others": {} })
        );
    }
    // A late sink is worth another one.
    hook.tell(&Notice { telling: 2, ..notice() }).await.unwrap();
    let again = receiver.service.told.lock().unwrap().remove(0);
    assert_eq!(again["headers"]["webhook-id"], format!("orders-cache:7-2:{rotation}"));
    let Some(python) = python() else { return };
    let program = "import json, sys\n\
        from standardwebhooks.webhooks import Webhook\n\
        told = json.load(sys.stdin)\n\
        assert Webhook(sys.argv[1]).verify(told['body'], told['headers'])['data']['generation'] == 7\n";
    let arguments = ["-c", program, &format!("whsec_{}", STANDARD.encode(KEY))].map(str::to_owned).into();
    told(python, arguments, heard[0].clone()).await;
}

/// After a lost answer all wait anew, and another target may be the one that asks.
#[tokio::test]
async fn a_notice_for_several_has_the_same_id_whoever_asks_for_it_and_another_one_for_others() {
    let receiver = receiver().await;
    let hook = hook(&receiver.url(), &STANDARD.encode(KEY));
    let heard = async |notice: &Notice| {
        hook.tell(notice).await.unwrap();
        let request = receiver.service.told.lock().unwrap().pop().unwrap();
        let body: Value = serde_json::from_str(request["body"].as_str().unwrap()).unwrap();
        (request["headers"]["webhook-id"].as_str().unwrap().to_owned(), body["data"].clone())
    };
    let (id, data) = heard(&shared("till-cache", "orders-cache")).await;
    assert!(id.starts_with(&format!("orders-cache:7:{}+1:", notice().rotation.unwrap())), "{id}");
    assert_eq!(data["others"], json!({ "till-cache": { "generation": 9, "rotation": null, "telling": 2 } }));
    assert_eq!(heard(&shared("orders-cache", "till-cache")).await, (id.clone(), data));
    // Whoever has seen the first would pass over what another one is told by it.
    let alone = notice();
    let mut later = shared("orders-cache", "till-cache");
    later.others.values_mut().for_each(|news| news.telling += 1);
    let mut joined = shared("orders-cache", "till-cache");
    joined.others.insert("web".parse().unwrap(), News { generation: Generation(1), rotation: None, telling: 1 });
    let mut ids = vec![id];
    for notice in [&alone, &later, &joined, &shared("orders-cache", "web"), &Notice { rotation: None, ..notice() }] {
        ids.push(heard(notice).await.0);
    }
    let different: std::collections::BTreeSet<&String> = ids.iter().collect();
    assert_eq!(different.len(), ids.len(), "{ids:?}");
}

fn reveals_nothing(fault: &Fault) {
    for secret in [TOKEN, &STANDARD.encode(KEY), "in-the-url", "orders-cache"] {
        assert!(!format!("{fault:?} {fault}").contains(secret), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_fails_is_told_again_and_its_words_are_not_repeated() {
    let receiver = receiver().await;
    let hook = hook(&receiver.url(), &STANDARD.encode(KEY));
    for (status, advice) in [
        (302, "the address that it leads to"),
        (400, "signing-key"),
        (401, "signing-key"),
        (404, "url"),
        (410, "url"),
        (429, "own log"),
        (500, "own log"),
    ] {
        *receiver.service.status.lock().unwrap() = status;
        let fault = hook.tell(&notice()).await.unwrap_err();
        assert_eq!(fault.kind, Kind::HookFailed);
        assert!(fault.next_step.contains(advice) && fault.what.contains(&status.to_string()), "{fault}");
        assert_ne!(fault.retry, Retry::Never, "{fault}");
        reveals_nothing(&fault);
    }
    for trouble in [Trouble::Down, Trouble::LostAnswer, Trouble::Hang, Trouble::Huge] {
        receiver.fail(trouble);
        let fault = hook.tell(&notice()).await.unwrap_err();
        assert_eq!(fault.kind, Kind::HookFailed, "{trouble:?}");
        reveals_nothing(&fault);
    }
}

#[tokio::test]
async fn a_key_that_is_none_is_found_before_anything_is_sent() {
    for key in ["hunter2", "", "c2hvcnQ="] {
        let hook = hook("http://127.0.0.1:9", key);
        for fault in [hook.ready().await.unwrap_err(), hook.tell(&notice()).await.unwrap_err()] {
            assert!(fault.what.contains("signing-key"), "{fault}");
            assert!(key.is_empty() || !fault.to_string().contains(key), "{fault}");
        }
    }
}
