//! Answers of Tencent Cloud, to every kind of call: a call first, then the answers.

use super::stage::{Replies, Reply, block_on, chosen, first_line, holds_none_of, quoted};
use keywheel::fault::Fault;
use keywheel::moment::Moment;
use keywheel::name::TaskId;
use keywheel::provider::credential::Static;
use keywheel::provider::tencent::credentials::TERMS;
use keywheel::provider::tencent::{Tencent, TencentSettings};
use keywheel::provider::{Address, Condition, Mode, Provider};
use keywheel::rotation::answer::{Answer, TaskStatus};
use keywheel::secret::Secret;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub const OLD: &str = "OldPassw0rd\"01";
pub const NEW: &str = "NewPassw0rd!02";
pub const KEY: &str = "key-one-is-a-secret";
/// 2025-01-01 in Shanghai, 08:00.
pub const NOW: i64 = 1_735_689_600;

#[derive(Clone, Copy)]
enum Ask {
    Change(Mode),
    Inspect(Mode),
    Task(Mode),
    FindTask(Mode),
    Mark,
    Find,
    Check,
}

const WORDS: [(&str, Ask); 11] = [
    ("change", Ask::Change(Mode::OldPassword)),
    ("reset", Ask::Change(Mode::Reset)),
    ("account", Ask::Change(Mode::Account)),
    ("inspect", Ask::Inspect(Mode::OldPassword)),
    ("inspect account", Ask::Inspect(Mode::Account)),
    ("task", Ask::Task(Mode::OldPassword)),
    ("find task", Ask::FindTask(Mode::OldPassword)),
    ("find task of account", Ask::FindTask(Mode::Account)),
    ("mark", Ask::Mark),
    ("find", Ask::Find),
    ("check", Ask::Check),
];

/// A change is accepted by the whole success envelope and refused by an error code, a task succeeds by its word, and no fault repeats a secret.
pub fn run(input: &[u8]) {
    let (word, script) = first_line(input);
    block_on(answered(chosen(word, &WORDS), script));
}

async fn answered(ask: Ask, script: &[u8]) {
    let replies = Replies::play(script).await;
    let settings = TencentSettings {
        endpoint: Some(replies.endpoint()),
        quota: keywheel::pacer::QUOTA_LIMIT,
        timeout: Duration::from_secs(20),
        ..TencentSettings::of("ap-guangzhou".to_owned())
    };
    let key = Static::new(&TERMS, "AKIDone".to_owned(), secret(KEY), None).unwrap();
    let provider = Tencent::new(settings, Arc::new(key), Arc::new(|| Moment::from_seconds(NOW))).unwrap();
    let address = |mode| {
        let account = if mode == Mode::Account { "app" } else { "root" };
        Address { instance: "crs-1".to_owned(), account: account.to_owned(), mode }
    };
    let rotation = "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap();
    match ask {
        Ask::Change(mode) => {
            let answer = provider.change(&address(mode), rotation, Some(&secret(OLD)), &secret(NEW)).await;
            if !replies.last().is_some_and(Reply::is_odd_json) {
                judge(&answer, &replies, mode);
            }
        }
        Ask::Inspect(mode) => match provider.inspect(&address(mode)).await {
            Ok(instance) if instance.condition == Condition::Ready => {
                let shown = replies.given() > 1;
                assert!(shown, "an instance is ready before its account was looked at");
            }
            Ok(_) => {}
            Err(fault) => shows_no_secret(&fault),
        },
        Ask::Task(mode) => match provider.task(&address(mode), TaskId(7)).await {
            Ok(TaskStatus::Succeeded) if replies.last().is_some_and(Reply::is_odd_json) => {}
            Ok(TaskStatus::Succeeded) => {
                let said = success(&replies).and_then(|answer| Some(answer["Status"].as_str()?.to_ascii_lowercase()));
                assert_eq!(said.as_deref(), Some("succeed"));
            }
            Ok(TaskStatus::Failed { message }) => holds_none_of(&message, &[KEY]),
            Ok(TaskStatus::Running) => {}
            Err(fault) => shows_no_secret(&fault),
        },
        Ask::FindTask(mode) => {
            let (from, to) = (Moment::from_seconds(NOW), Moment::from_seconds(NOW + 600));
            match provider.find_task(&address(mode), from, to).await {
                Ok(_) if replies.last().is_some_and(Reply::is_odd_json) => {}
                Ok(Some((TaskId(id), _))) if replies.given() == 1 => {
                    let tasks = success(&replies).map(|answer| answer["Tasks"].clone()).unwrap_or_default();
                    let listed = tasks.as_array().is_some_and(|rows| rows.iter().any(|row| row["TaskId"] == id));
                    assert!(listed, "task {id} was found and is in no list");
                }
                Ok(_) => {}
                Err(fault) => shows_no_secret(&fault),
            }
        }
        Ask::Mark => drop(provider.change_mark(&address(Mode::Account)).await.map_err(|fault| shows_no_secret(&fault))),
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
        Ask::Check => provider.check(&address(Mode::OldPassword)).await.iter().for_each(shows_no_secret),
    }
}

fn judge(answer: &Answer, replies: &Replies, mode: Mode) {
    match answer {
        Answer::Accepted { task } => {
            let answer = success(replies).expect("accepted by something else than the success envelope");
            let named = answer["TaskId"].as_i64().expect("accepted without a task's number");
            assert_eq!(task.map(|task| task.0), (named > 0).then_some(named));
        }
        Answer::Refused { fault, .. } => {
            // Before the others, the instance or the account is looked at, and may stand in the way.
            assert!(mode != Mode::OldPassword || error_code(replies).is_some(), "refused without a code: {fault}");
            shows_no_secret(fault);
        }
        Answer::Unanswered { fault } => {
            let clear = mode == Mode::OldPassword
                && replies.given() == 1
                && success(replies).is_some_and(|answer| {
                    let written = serde_json::json!({ "Response": answer }).to_string();
                    // Only where no key stands twice and there are no others is there nothing to misread.
                    let keys = answer.as_object().map_or(0, serde_json::Map::len);
                    keys == 2
                        && answer["TaskId"].is_i64()
                        && replies.last().is_some_and(|reply| reply.body == written.as_bytes())
                });
            assert!(!clear, "a success counts as unanswered: {fault}");
            shows_no_secret(fault);
        }
    }
}

/// What stands in the success envelope, if the last answer was one.
fn success(replies: &Replies) -> Option<Value> {
    let reply = replies.last().filter(|reply| reply.status == 200)?;
    let answer = reply.json()?.get("Response")?.clone();
    let said = answer.get("RequestId").and_then(Value::as_str).is_some_and(|id| !id.is_empty());
    (said && answer.get("Error").is_none_or(Value::is_null)).then_some(answer)
}

fn error_code(replies: &Replies) -> Option<String> {
    let answer = replies.last().filter(|reply| reply.status == 200)?.json()?;
    answer.get("Response")?.get("Error")?.get("Code")?.as_str().map(str::to_owned)
}

/// The cloud cannot repeat what it was not told: a look has no password, and only a change has the old one.
fn shows_no_secret(fault: &Fault) {
    let [_, old] = quoted(OLD);
    let told = match fault.what.as_str() {
        what if what.contains("Describe") => &[KEY][..],
        what if what.contains("ResetPassword") || what.contains("ModifyInstanceAccount") => &[NEW, KEY],
        _ => &[OLD, &old, NEW, KEY],
    };
    holds_none_of(&fault.to_string(), told);
}

pub fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}
