//! The Alibaba provider against a server that answers from a script: what is sent, how often, and what each outcome is taken for.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "../scripted/mod.rs"]
mod scripted;

mod answers;
mod looks;
mod requests;

use keywheel::fault::Kind;
use keywheel::moment::Moment;
use keywheel::name::RotationId;
use keywheel::provider::alibaba::credentials::TERMS;
use keywheel::provider::alibaba::{Alibaba, AlibabaSettings};
use keywheel::provider::credential::{CredentialSource, Static};
use keywheel::provider::{Address, Mode, Provider};
use keywheel::rotation::answer::Answer;
use keywheel::secret::Secret;
use scripted::{Scripted, Step};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use url::Url;

const OLD: &str = "OldPassw0rd!01";
const NEW: &str = "NewPassw0rd!02";
const NEW_YEAR: i64 = 1_735_689_600;
const DONE: &str = r#"{"RequestId":"r"}"#;
const ACCEPTED: Answer = Answer::Accepted { task: None };

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn address(account: &str) -> Address {
    Address { instance: "r-1".to_owned(), account: account.to_owned(), mode: Mode::OldPassword }
}

fn rotation() -> RotationId {
    "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap()
}

fn reply(body: &str) -> Step {
    Step::Reply(200, String::new(), body.to_owned())
}

fn error(status: u16, code: &str) -> Step {
    Step::Reply(status, String::new(), error_body(code, "words"))
}

fn error_body(code: &str, message: &str) -> String {
    format!(r#"{{"RequestId":"r","HostId":"h","Code":"{code}","Message":"{message}"}}"#)
}

fn fixed() -> Arc<dyn CredentialSource> {
    Arc::new(Static::new(&TERMS, "LTAIone".to_owned(), secret("key-one"), None).ok().unwrap())
}

fn settings(endpoint: &str) -> AlibabaSettings {
    AlibabaSettings {
        endpoint: Some(Url::parse(endpoint).unwrap()),
        quota: 10_000.0,
        timeout: Duration::from_secs(20),
        ..AlibabaSettings::of("cn-hangzhou".to_owned())
    }
}

fn provider(settings: AlibabaSettings, credentials: Arc<dyn CredentialSource>) -> Alibaba {
    let drawn = AtomicU64::new(0);
    let nonces = Arc::new(move || u128::from(drawn.fetch_add(1, Ordering::Relaxed)));
    Alibaba::new(settings, credentials, Arc::new(|| Moment::from_seconds(NEW_YEAR)), nonces).ok().unwrap()
}

async fn scripted(steps: Vec<Step>) -> (Scripted, Alibaba) {
    let server = Scripted::serve(steps).await;
    let provider = provider(settings(&format!("http://{}/", server.address)), fixed());
    (server, provider)
}

async fn change(provider: &Alibaba) -> Answer {
    provider.change(&address("app"), rotation(), Some(&secret(OLD)), &secret(NEW)).await
}

fn actions(server: &Scripted) -> Vec<String> {
    server.seen().iter().map(|seen| seen.header("x-acs-action").unwrap_or_default().to_owned()).collect()
}

fn instance(status: &str, mode: &str) -> String {
    format!(
        r#"{{"RequestId":"r","Instances":{{"DBInstanceAttribute":[{{"InstanceId":"r-1","InstanceStatus":"{status}","VpcAuthMode":"{mode}","EngineVersion":"5.0","Port":6379}}]}}}}"#
    )
}

const ACCOUNTS: &str =
    r#"{"RequestId":"r","Accounts":{"Account":[{"AccountName":"app","AccountStatus":"Available"}]}}"#;

#[tokio::test]
async fn settings_that_make_no_provider_are_refused() {
    let make = |settings: AlibabaSettings| {
        let made = Alibaba::new(settings, fixed(), Arc::new(|| Moment::from_seconds(0)), Arc::new(|| 0));
        made.err().map(|fault| fault.kind)
    };
    for quota in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
        let settings = AlibabaSettings { quota, ..settings("http://127.0.0.1:1/") };
        assert_eq!(make(settings), Some(Kind::ConfigInvalid), "{quota}");
    }
    assert_eq!(make(settings("http://10.0.0.1/")), Some(Kind::ConfigInvalid));
}
