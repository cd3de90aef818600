//! Alerts of the built program: one message when a target halts, none after a crash, one when it is mended, and never a secret in any of them.

use crate::common::receiver::{Receiver, Request};
use crate::common::stage::{INITIAL, INSTANCE, SECRET_KEY, Stage, until};
use crate::common::traces::assert_absent;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keywheel::secret::Secret;
use keywheel::simulator::InstanceChange;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

const TARGET: &str = "orders-cache";
const KEY: &str = "0123456789abcdef0123456789abcdef";
/// A password that somebody else sets.
const BY_HAND: &str = "Console-Pass-1";
const DOOR: &str = "T0000-B0000-XXXXsecretXXXX";

/// A target, and who is alerted: a receiver of webhooks, and a chat.
fn stage(webhook: &Receiver, chat: &Receiver, dead_man: &Receiver) -> Stage {
    let stage = Stage::set();
    stage.write("alerts-key", &STANDARD.encode(KEY));
    stage.write("chat-url", &chat.url(&format!("/services/{DOOR}")));
    stage.write("dead-man-url", &dead_man.url(&format!("/ping/{DOOR}")));
    let adopt = "adopt = { file = \"{folder}/initial\" }\nsinks = [\"orders\"]";
    stage.configure(&format!(
        "[watch]\nevery = \"100ms\"\ndead-man-url = {{ file = \"{{folder}}/dead-man-url\" }}\ndead-man-every = \"100ms\"\n\n\
         [alerts.pager]\nkind = \"webhook\"\nurl = \"{}\"\nsigning-key = {{ file = \"{{folder}}/alerts-key\" }}\ngather = \"0s\"\n\n\
         [alerts.chat]\nkind = \"slack\"\nurl = {{ file = \"{{folder}}/chat-url\" }}\nevents = [\"halted\"]\ngather = \"0s\"\n\n{}{}",
        webhook.url("/alerts"),
        stage.sink("orders", ""),
        stage.target(TARGET, INSTANCE, adopt)
    ));
    stage
}

/// The ids and states of what was told of halts.
fn halts(heard: &[Request]) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for request in heard {
        let body = request.json();
        for alert in body["data"]["alerts"].as_array().unwrap().iter().filter(|alert| alert["event"] == "halted") {
            assert_eq!(alert["named"][0]["target"], TARGET, "{body}");
            all.push((request.header("webhook-id").unwrap().to_owned(), alert["state"].as_str().unwrap().to_owned()));
        }
    }
    all
}

fn announced(stage: &Stage, channel: &str) -> usize {
    let log = std::fs::read_to_string(stage.path("daemon.log")).unwrap();
    log.lines().filter(|line| line.contains("alerts were announced") && line.contains(channel)).count()
}

/// Somebody else changes the password.
fn by_hand(stage: &Stage) {
    let password = Some(Secret::new(BY_HAND.to_owned()));
    stage.change_instance(INSTANCE, InstanceChange { password, ..InstanceChange::default() });
}

#[test]
fn a_halt_is_announced_once_and_its_end_once_whatever_crashes_in_between() {
    let (webhook, chat, dead_man) = (Receiver::start(), Receiver::start(), Receiver::start());
    let stage = stage(&webhook, &chat, &dead_man);
    let checked = stage.keywheel(&["check"]);
    assert!(webhook.heard().is_empty() && chat.heard().is_empty(), "{}", checked.out);
    let daemon = stage.start(&[("KEYWHEEL_LOG", "debug")]);
    stage.until(TARGET, "settled", 1);
    by_hand(&stage);
    assert_eq!(stage.keywheel(&["rotate", TARGET, "--wait"]).status, 2, "it halts");
    until("both to hear of it, for good", || announced(&stage, "pager") > 0 && announced(&stage, "chat") > 0);
    until("the dead man to be called", || !dead_man.heard().is_empty());
    daemon.kill();

    let daemon = stage.start(&[("KEYWHEEL_LOG", "debug")]);
    let pings = dead_man.heard().len();
    until("some sweeps and looks", || dead_man.heard().len() > pings);
    assert_eq!(halts(&webhook.heard()).iter().map(|(_, state)| state.as_str()).collect::<Vec<_>>(), ["raised"]);
    assert_eq!(chat.heard().len(), 1);
    daemon.kill();

    // Mended while nobody watches.
    let helped = stage.keywheel_reading(&["recover", TARGET, "--set"], &format!("{BY_HAND}\n"));
    assert_eq!(helped.status, 0, "{}", helped.err);
    let rotated = stage.keywheel(&["rotate", TARGET, "--wait"]);
    assert_eq!(rotated.status, 0, "{}", rotated.err);
    let daemon = stage.start(&[("KEYWHEEL_LOG", "debug")]);
    until("both to hear the end of it", || announced(&stage, "pager") > 1 && announced(&stage, "chat") > 1);
    daemon.stop();
    let told = halts(&webhook.heard());
    assert_eq!(told.iter().map(|(_, state)| state.as_str()).collect::<Vec<_>>(), ["raised", "over"]);
    assert_eq!(told.iter().map(|(id, _)| id).collect::<BTreeSet<_>>().len(), 2, "two messages: {told:?}");
    let texts: Vec<Value> = chat.heard().iter().map(|request| request.json()["text"].clone()).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].as_str().unwrap().contains("Orders-cache is halted"), "{texts:?}");
    assert!(texts[1].as_str().unwrap().contains("Orders-cache is halted no more"), "{texts:?}");

    let mut secrets = stage.passwords(INSTANCE);
    secrets.extend([INITIAL, BY_HAND, SECRET_KEY, KEY, DOOR].map(str::to_owned));
    for request in webhook.heard().iter().chain(&chat.heard()) {
        assert_absent("an alert", request.body.as_bytes(), &secrets);
    }
    assert_absent("the log", &std::fs::read(stage.path("daemon.log")).unwrap(), &secrets);
    let ledger = std::fs::read(stage.path("state/ledger.db")).unwrap();
    assert_absent("the ledger", &ledger, &secrets);
    verified(&webhook.heard());
}

/// The library of Standard Webhooks takes each of them; without the library this says so.
fn verified(heard: &[Request]) {
    let Some(python) = std::env::var("KEYWHEEL_SDK_PYTHON").ok().filter(|named| !named.is_empty()) else {
        let _ =
            writeln!(std::io::stderr(), "left out: KEYWHEEL_SDK_PYTHON is not set. tests/run installs it and sets it");
        return;
    };
    let program = "import json, sys\n\
        from standardwebhooks.webhooks import Webhook\n\
        for told in json.load(sys.stdin):\n    \
            assert Webhook(sys.argv[1]).verify(told['body'], told['headers'])['type'] == 'keywheel.alert'\n";
    let mut child = Command::new(python)
        .args(["-c", program, &format!("whsec_{}", STANDARD.encode(KEY))])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let all: Vec<Value> = heard
        .iter()
        .map(|request| {
            let headers: serde_json::Map<String, Value> =
                request.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
            serde_json::json!({ "headers": headers, "body": request.body })
        })
        .collect();
    write!(child.stdin.take().unwrap(), "{}", Value::from(all)).unwrap();
    assert!(child.wait().unwrap().success());
}

/// A hook that is given up on is told of although the rotation settles, and its end once the hook is told of the next change.
#[test]
fn a_hook_that_is_given_up_on_is_announced_until_it_is_told_again() {
    let webhook = Receiver::start();
    let stage = Stage::set();
    stage.write("alerts-key", &STANDARD.encode(KEY));
    stage.configure(&format!(
        "[watch]\nevery = \"100ms\"\n\n\
         [alerts.pager]\nkind = \"webhook\"\nurl = \"{}\"\nsigning-key = {{ file = \"{{folder}}/alerts-key\" }}\nevents = [\"hook\"]\ngather = \"0s\"\n\n\
         [hooks.reload]\nkind = \"command\"\nargv = [\"/bin/sh\", \"-c\", \"test -e {{folder}}/well\"]\n\n{}",
        webhook.url("/alerts"),
        stage.target(TARGET, INSTANCE, "adopt = { file = \"{folder}/initial\" }\nhooks = [\"reload\"]")
    ));
    let few = std::fs::read_to_string(stage.path("keywheel.toml")).unwrap();
    std::fs::write(stage.path("keywheel.toml"), few.replace("[limits]", "[limits]\nhook-attempts = 2")).unwrap();
    let daemon = stage.start(&[]);
    stage.until(TARGET, "settled", 1);
    assert_eq!(stage.keywheel(&["rotate", TARGET]).status, 0);
    stage.until(TARGET, "settled", 2);
    until("the receiver to hear of it", || announced(&stage, "pager") == 1);
    stage.write("well", "");
    assert_eq!(stage.keywheel(&["rotate", TARGET]).status, 0);
    until("the receiver to hear the end of it", || announced(&stage, "pager") == 2);
    daemon.stop();
    let heard: Vec<Value> = webhook.heard().iter().map(|request| request.json()["data"]["alerts"].clone()).collect();
    let told: Vec<_> =
        heard.iter().map(|alerts| (alerts[0]["state"].as_str(), alerts[0]["named"][0]["hook"].as_str())).collect();
    assert_eq!(told, [(Some("raised"), Some("reload")), (Some("over"), Some("reload"))]);
}

#[test]
fn check_tries_the_channels_and_sends_a_message_only_when_asked() {
    let (webhook, chat, dead_man) = (Receiver::start(), Receiver::start(), Receiver::start());
    let stage = stage(&webhook, &chat, &dead_man);
    let well = stage.keywheel(&["check"]);
    assert_eq!((well.status, webhook.heard().len() + chat.heard().len()), (0, 0), "{}{}", well.out, well.err);
    let told = stage.keywheel(&["check", "--alerts"]);
    assert_eq!(told.status, 0, "{}{}", told.out, told.err);
    assert!(told.out.contains("alerts.chat: it took a test message"), "{}", told.out);
    assert_eq!((webhook.heard().len(), chat.heard().len(), dead_man.heard().len()), (1, 1, 0));
    assert_eq!(webhook.heard()[0].json()["data"]["test"], true);
    webhook.answer(401);
    stage.write("chat-url", DOOR);
    stage.write("dead-man-url", "");
    let found = stage.keywheel(&["check", "--alerts"]);
    assert_eq!(found.status, 1, "{}", found.out);
    for place in ["alerts.pager", "alerts.chat", "watch.dead-man-url"] {
        assert!(found.out.contains(place), "{place}: {}", found.out);
    }
    assert_absent(
        "what check says",
        format!("{}{}", found.out, found.err).as_bytes(),
        &[DOOR.to_owned(), KEY.to_owned()],
    );
}
