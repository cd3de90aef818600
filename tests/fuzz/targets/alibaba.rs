//! Answers of Alibaba Cloud, to every kind of call: a call first, then the answers.

use super::stage::{Replies, block_on, chosen, first_line, holds_none_of, quoted};
use super::tencent::{KEY, NEW, NOW, OLD, secret};
use keywheel::fault::Fault;
use keywheel::moment::Moment;
use keywheel::provider::alibaba::credentials::TERMS;
use keywheel::provider::alibaba::{Alibaba, AlibabaSettings, ParametersIn};
use keywheel::provider::credential::Static;
use keywheel::provider::{Address, Condition, Mode, Provider};
use keywheel::rotation::answer::Answer;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Copy)]
enum Ask {
    Change(&'static str),
    Reset(&'static str),
    Inspect,
    Find,
    Check,
}

const WORDS: [(&str, Ask); 8] = [
    ("change", Ask::Change("app")),
    ("change the default account", Ask::Change("r-1")),
    ("reset", Ask::Reset("app")),
    ("reset the default account", Ask::Reset("r-1")),
    ("inspect", Ask::Inspect),
    ("find", Ask::Find),
    ("check", Ask::Check),
    ("reset the second default account", Ask::Reset("default")),
];

/// A change is accepted by a success that is no error at the same time and refused by a code below 500, and no fault repeats a secret.
pub fn run(input: &[u8]) {
    let (word, script) = first_line(input);
    block_on(answered(chosen(word, &WORDS), script));
}

async fn answered(ask: Ask, script: &[u8]) {
    let replies = Replies::play(script).await;
    let settings = AlibabaSettings {
        endpoint: Some(replies.endpoint()),
        parameters_in: ParametersIn::Auto,
        quota: keywheel::pacer::QUOTA_LIMIT,
        timeout: Duration::from_secs(20),
        ..AlibabaSettings::of("cn-hangzhou".to_owned())
    };
    let key = Static::new(&TERMS, "LTAIone".to_owned(), secret(KEY), None).unwrap();
    let now = Arc::new(|| Moment::from_seconds(NOW));
    let provider = Alibaba::new(settings, Arc::new(key), now, Arc::new(|| 7)).unwrap();
    let address =
        |account: &str| Address { instance: "r-1".to_owned(), account: account.to_owned(), mode: Mode::OldPassword };
    let rotation = "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap();
    match ask {
        Ask::Change(account) => {
            let answer = provider.change(&address(account), rotation, Some(&secret(OLD)), &secret(NEW)).await;
            judge(&answer, &replies);
        }
        Ask::Reset(account) => judge(&provider.reset(&address(account), rotation, &secret(NEW)).await, &replies),
        Ask::Inspect => match provider.inspect(&address("app")).await {
            Ok(instance) if instance.condition == Condition::Ready => {
                assert!(replies.given() > 1, "an instance is ready before its account was looked at");
            }
            Ok(_) => {}
            Err(fault) => shows_no_secret(&fault),
        },
        Ask::Find => {
            let tags = BTreeMap::from([("team".to_owned(), "orders".to_owned())]);
            match provider.find(&tags).await {
                Ok(found) => {
                    for found in found {
                        assert_eq!(found.tags.get("team").map(String::as_str), Some("orders"));
                        assert!(!found.name.chars().any(char::is_control), "{:?}", found.name);
                    }
                }
                Err(fault) => shows_no_secret(&fault),
            }
        }
        Ask::Check => provider.check(&address("app")).await.iter().for_each(shows_no_secret),
    }
}

fn judge(answer: &Answer, replies: &Replies) {
    let last = replies.last();
    if last.is_some_and(|reply| reply.status == 200 && reply.is_odd_json()) {
        return;
    }
    match answer {
        Answer::Accepted { task } => {
            assert_eq!(*task, None, "no call of this cloud names a task");
            let body = last.filter(|reply| reply.status == 200).and_then(|reply| reply.json());
            let body = body.expect("accepted by something else than status 200 and JSON");
            let said = body.get("RequestId").and_then(Value::as_str).is_some_and(|id| !id.is_empty());
            assert!(said, "accepted without a request id");
            let fails = |key: &str| body.get(key).is_some_and(|code| !code.is_null());
            assert!(!fails("Code") && !fails("code"), "accepted although it names an error");
        }
        Answer::Refused { fault, .. } => {
            assert!(last.is_some_and(|reply| (400..500).contains(&reply.status)), "refused by no refusal: {fault}");
            shows_no_secret(fault);
        }
        Answer::Unanswered { fault } => {
            let clear = last.is_some_and(|reply| reply.status == 200 && reply.body == br#"{"RequestId":"r"}"#);
            assert!(!clear, "a success counts as unanswered: {fault}");
            shows_no_secret(fault);
        }
    }
}

/// The cloud cannot repeat what it was not told: a look has no password, and only a change has the old one.
fn shows_no_secret(fault: &Fault) {
    let says = |action: &str| fault.what.contains(action);
    let told: &[&str] = if says("Describe") {
        &[]
    } else if says("ResetAccountPassword") || says("ModifyInstanceAttribute") {
        &[NEW]
    } else {
        &[OLD, NEW]
    };
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut forms = vec![KEY.to_owned()];
    for password in told {
        let [_, inside_quotes] = quoted(password);
        let once = encoded(password);
        forms.extend([(*password).to_owned(), inside_quotes, encoded(&once), once]);
    }
    holds_none_of(&fault.to_string(), &forms.iter().map(String::as_str).collect::<Vec<_>>());
}
