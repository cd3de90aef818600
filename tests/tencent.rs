//! The Tencent provider against a server that answers from a script: what is sent, how often, and what each outcome is taken for.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "tencent/modes.rs"]
mod modes;
mod scripted;

use async_trait::async_trait;
use keywheel::fault::{Fault, Kind};
use keywheel::moment::Moment;
use keywheel::name::{RotationId, TaskId};
use keywheel::provider::credential::{Credential, CredentialSource, Static};
use keywheel::provider::tencent::credentials::TERMS;
use keywheel::provider::tencent::{ActionSpelling, Tencent, TencentSettings};
use keywheel::provider::{Address, Condition, Mode, Provider};
use keywheel::rotation::answer::{Answer, Refusal, TaskStatus};
use keywheel::secret::Secret;
use scripted::{Scripted, Step};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use url::Url;

const OLD: &str = "OldPassw0rd\"01";
const NEW: &str = "NewPassw0rd!02";
const NEW_YEAR: i64 = 1_735_689_600;
const ACCEPTED: &str = r#"{"Response":{"TaskId":7,"RequestId":"r"}}"#;

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn address() -> Address {
    Address { instance: "crs-1".to_owned(), account: "root".to_owned(), mode: Mode::OldPassword }
}

fn rotation() -> RotationId {
    "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap()
}

fn reply(body: &str) -> Step {
    Step::Reply(200, String::new(), body.to_owned())
}

fn error(code: &str) -> Step {
    reply(&error_body(code, "words"))
}

fn error_body(code: &str, message: &str) -> String {
    format!(r#"{{"Response":{{"Error":{{"Code":"{code}","Message":"{message}"}},"RequestId":"r"}}}}"#)
}

fn fixed() -> Arc<dyn CredentialSource> {
    Arc::new(Static::new(&TERMS, "AKIDone".to_owned(), secret("key-one"), None).ok().unwrap())
}

fn settings(endpoint: &str) -> TencentSettings {
    TencentSettings {
        endpoint: Some(Url::parse(endpoint).unwrap()),
        quota: 10_000.0,
        timeout: Duration::from_secs(20),
        ..TencentSettings::of("ap-guangzhou".to_owned())
    }
}

fn provider(settings: TencentSettings, credentials: Arc<dyn CredentialSource>) -> Tencent {
    Tencent::new(settings, credentials, Arc::new(|| Moment::from_seconds(NEW_YEAR))).ok().unwrap()
}

async fn scripted(steps: Vec<Step>) -> (Scripted, Tencent) {
    let server = Scripted::serve(steps).await;
    let provider = provider(settings(&format!("http://{}/", server.address)), fixed());
    (server, provider)
}

async fn change(provider: &Tencent) -> Answer {
    provider.change(&address(), rotation(), Some(&secret(OLD)), &secret(NEW)).await
}

fn actions(server: &Scripted) -> Vec<String> {
    server.seen().iter().map(|seen| seen.header("x-tc-action").unwrap_or_default().to_owned()).collect()
}

const ACCEPTED_SEVEN: Answer = Answer::Accepted { task: Some(TaskId(7)) };

#[tokio::test]
async fn a_change_is_sent_whole_and_once() {
    let (server, provider) = scripted(vec![reply(ACCEPTED)]).await;
    assert_eq!(change(&provider).await, ACCEPTED_SEVEN);
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].body, r#"{"InstanceId":"crs-1","OldPassword":"OldPassw0rd\"01","Password":"NewPassw0rd!02"}"#);
    assert!(seen[0].head.starts_with("post / http/1.1"));
    let host = server.address.to_string();
    for (name, value) in [
        ("host", host.as_str()),
        ("content-type", "application/json"),
        ("x-tc-action", "modifyinstancepassword"),
        ("x-tc-version", "2018-04-12"),
        ("x-tc-region", "ap-guangzhou"),
        ("x-tc-timestamp", "1735689600"),
        ("x-tc-language", "en-us"),
        ("x-tc-requestclient", concat!("keywheel-", env!("CARGO_PKG_VERSION"))),
        ("x-tc-traceid", "01563e3a-b5d3-d676-4c61-efb99302bd5b"),
    ] {
        assert_eq!(seen[0].header(name), Some(value), "{name}");
    }
    assert_eq!(seen[0].header("x-tc-token"), None);
    let signed = "tc3-hmac-sha256 credential=akidone/2025-01-01/redis/tc3_request, signedheaders=content-type;host;x-tc-action, signature=";
    assert!(seen[0].header("authorization").unwrap().starts_with(signed));
}

#[tokio::test]
async fn every_broken_answer_to_a_change_is_doubt_and_is_sent_once() {
    let ok = |body: &str| Step::Raw(format!("HTTP/1.1 200 OK\r\n{body}"));
    let rows = [
        ("closed without a word", Step::Raw(String::new())),
        ("half a head", Step::Raw("HTTP/1.1 20".to_owned())),
        ("half a body", ok("Content-Length: 900\r\n\r\n{\"Response\":{\"TaskId\":7")),
        ("not HTTP", Step::Raw("+OK\r\n".to_owned())),
        ("HTML", reply("<html>")),
        ("empty", reply("")),
        ("wrong shape", reply(r#"{"Response":{"RequestId":"r"}}"#)),
        ("500", Step::Reply(500, String::new(), ACCEPTED.to_owned())),
        ("502", Step::Reply(502, String::new(), "bad gateway".to_owned())),
        ("a redirect", Step::Reply(307, "Location: /elsewhere\r\n".to_owned(), String::new())),
        ("100 MB announced", ok("Content-Length: 104857600\r\n\r\n{")),
        ("never ends", Step::Endless),
        ("an unknown code", error("Novel.Code")),
        ("a server fault", error("InternalError.DbOperationFailed")),
    ];
    for (name, step) in rows {
        let (server, provider) = scripted(vec![step]).await;
        let answer = change(&provider).await;
        assert!(matches!(answer, Answer::Unanswered { .. }), "{name}: {answer:?}");
        assert_eq!(server.seen().len(), 1, "{name}");
    }
}

#[tokio::test]
async fn silence_ends_with_the_timeout_and_is_doubt() {
    let server = Scripted::serve(vec![Step::Silence]).await;
    let mut settings = settings(&format!("http://{}/", server.address));
    settings.timeout = Duration::from_millis(300);
    let answer = change(&provider(settings, fixed())).await;
    assert!(matches!(answer, Answer::Unanswered { .. }), "{answer:?}");
}

#[tokio::test]
async fn what_cannot_connect_was_not_sent() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let not_tls = Scripted::serve(vec![]).await;
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    let ca = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(&ca_file, ca.cert.pem()).unwrap();
    for endpoint in [format!("http://{address}/"), format!("https://{}/", not_tls.address)] {
        let mut settings = settings(&endpoint);
        settings.timeout = Duration::from_secs(2);
        settings.ca_file = Some(ca_file.clone());
        let answer = change(&provider(settings, fixed())).await;
        let Answer::Refused { refusal, fault } = answer else {
            panic!("{endpoint}: {answer:?}");
        };
        assert_eq!((refusal, fault.kind), (Refusal::Unsent, Kind::Unreachable), "{fault}");
    }
    assert!(not_tls.seen().is_empty());
}

#[tokio::test]
async fn writes_take_a_fresh_connection_and_reads_keep_theirs() {
    let running = r#"{"Response":{"Status":"running","RequestId":"r"}}"#;
    let steps = vec![reply(ACCEPTED), reply(running), reply(running), reply(ACCEPTED)];
    let (server, provider) = scripted(steps).await;
    change(&provider).await;
    for _ in 0..2 {
        assert_eq!(provider.task(&address(), TaskId(7)).await, Ok(TaskStatus::Running));
    }
    change(&provider).await;
    let connections: Vec<usize> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 1, 1, 2]);
}

#[tokio::test]
async fn an_unknown_name_is_followed_by_the_other_and_what_works_is_remembered() {
    for code in ["InvalidAction", "InvalidParameter.ActionNotFound"] {
        let (server, provider) = scripted(vec![error(code), reply(ACCEPTED), reply(ACCEPTED)]).await;
        assert_eq!(change(&provider).await, ACCEPTED_SEVEN);
        assert_eq!(change(&provider).await, ACCEPTED_SEVEN);
        let expected = ["modifyinstancepassword", "modfiyinstancepassword", "modfiyinstancepassword"];
        assert_eq!(actions(&server), expected, "{code}");
    }
    let rows = [
        (ActionSpelling::Auto, vec!["modifyinstancepassword", "modfiyinstancepassword"]),
        (ActionSpelling::Corrected, vec!["modifyinstancepassword"]),
        (ActionSpelling::Misspelt, vec!["modfiyinstancepassword"]),
    ];
    for (spelling, expected) in rows {
        let server = Scripted::serve(vec![error("InvalidAction"), error("InvalidAction")]).await;
        let mut settings = settings(&format!("http://{}/", server.address));
        settings.action_spelling = spelling;
        let answer = change(&provider(settings, fixed())).await;
        assert!(matches!(answer, Answer::Refused { refusal: Refusal::Fatal, .. }), "{answer:?}");
        assert_eq!(actions(&server), expected);
    }
}

#[tokio::test]
async fn a_stale_signature_is_renewed_once() {
    let stale = || {
        Step::Reply(
            200,
            "Date: Wed, 01 Jan 2025 00:12:00 GMT\r\n".to_owned(),
            error_body("AuthFailure.SignatureExpire", "words"),
        )
    };
    let (_server, provider) = scripted(vec![stale(), reply(ACCEPTED)]).await;
    assert_eq!(change(&provider).await, ACCEPTED_SEVEN);
    let (server, provider) = scripted(vec![stale(), stale(), reply(ACCEPTED)]).await;
    let Answer::Refused { refusal, fault } = change(&provider).await else {
        panic!("not refused");
    };
    assert_eq!((refusal, fault.kind), (Refusal::Fatal, Kind::ClockSkew));
    assert!(fault.what.contains("12m ahead of"), "{fault}");
    assert_eq!(server.seen().len(), 2);
}

/// Gives another token each time it is renewed.
struct Renewing(AtomicUsize);

#[async_trait]
impl CredentialSource for Renewing {
    async fn credential(&self) -> Result<Credential, Fault> {
        let token = format!("token-{}", self.0.load(Ordering::Relaxed));
        Credential::new(&TERMS, "a test", "AKIDtwo".to_owned(), secret("key-two"), Some(secret(&token)))
    }

    async fn renewed(&self, _refused: &Credential) -> Result<Credential, Fault> {
        self.0.fetch_add(1, Ordering::Relaxed);
        self.credential().await
    }
}

#[tokio::test]
async fn a_refused_credential_is_read_anew_once() {
    let refused = || error("AuthFailure.TokenFailure");
    let server = Scripted::serve(vec![refused(), reply(ACCEPTED), refused(), refused(), reply(ACCEPTED)]).await;
    let renewing = provider(settings(&format!("http://{}/", server.address)), Arc::new(Renewing(AtomicUsize::new(0))));
    assert_eq!(change(&renewing).await, ACCEPTED_SEVEN);
    let Answer::Refused { refusal, fault } = change(&renewing).await else {
        panic!("not refused");
    };
    assert_eq!((refusal, fault.kind), (Refusal::Fatal, Kind::CredentialRefused));
    let seen = server.seen();
    let tokens: Vec<_> = seen.iter().filter_map(|seen| seen.header("x-tc-token")).collect();
    assert_eq!(tokens, ["token-0", "token-1", "token-1", "token-2"]);

    let (server, provider) = scripted(vec![refused(), reply(ACCEPTED)]).await;
    assert!(matches!(change(&provider).await, Answer::Refused { refusal: Refusal::Fatal, .. }));
    assert_eq!(server.seen().len(), 1, "the same credential is not tried twice");
}

#[tokio::test]
async fn what_the_vendor_repeats_is_scrubbed() {
    let echo = format!(r#"OldPassw0rd\"01 and OldPassw0rd\\\"01 and {NEW} and key-one"#);
    let step = reply(&error_body("InvalidParameterValue.PasswordRuleError", &echo));
    let (_server, provider) = scripted(vec![step]).await;
    let Answer::Refused { refusal, fault } = change(&provider).await else {
        panic!("not refused");
    };
    assert_eq!(refusal, Refusal::RuleOrOldPassword);
    for secret in ["OldPassw0rd", NEW, "key-one"] {
        assert!(!fault.to_string().contains(secret), "{fault}");
    }
}

fn instances(status: i64, no_auth: bool) -> String {
    format!(
        r#"{{"Response":{{"TotalCount":1,"InstanceSet":[{{"InstanceId":"crs-1","Status":{status},"Type":8,"NoAuth":{no_auth}}}],"RequestId":"r"}}}}"#
    )
}

const ACCOUNTS: &str = r#"{"Response":{"TotalCount":1,"Accounts":[{"AccountName":"root","Status":2,"PasswordLastModifiedTime":"2025-01-01 08:00:00"}],"RequestId":"r"}}"#;
const NO_TASKS: &str = r#"{"Response":{"TotalCount":0,"Tasks":[],"RequestId":"r"}}"#;
const NO_POLICY: &str = r#"{"Response":{"PasswordPolicy":{"Enabled":false},"RequestId":"r"}}"#;

#[tokio::test]
async fn the_change_mark_is_the_clouds_own_text() {
    let (_server, provider) = scripted(vec![reply(ACCOUNTS), error("FailedOperation.UnSupportError")]).await;
    assert_eq!(provider.change_mark(&address()).await, Ok(Some("2025-01-01 08:00:00".to_owned())));
    assert_eq!(provider.change_mark(&address()).await, Ok(None), "an engine older than accounts");
}

#[tokio::test]
async fn an_instance_that_cannot_be_changed_is_not_asked_further() {
    let (server, provider) = scripted(vec![reply(&instances(2, true)), reply(&instances(1, false))]).await;
    assert_eq!(provider.inspect(&address()).await.unwrap().condition, Condition::PasswordFree);
    assert!(matches!(provider.inspect(&address()).await.unwrap().condition, Condition::Busy(_)));
    assert_eq!(actions(&server), ["describeinstances", "describeinstances"]);
}

#[tokio::test]
async fn an_endpoint_without_password_policies_is_asked_once() {
    // The two calls after DescribeInstances run side by side, so both get an answer that fits either.
    let (server, provider) = scripted(vec![
        reply(&instances(2, false)),
        error("InvalidAction"),
        error("InvalidAction"),
        reply(&instances(2, false)),
        reply(ACCOUNTS),
    ])
    .await;
    let first = provider.inspect(&address()).await.unwrap();
    assert_eq!((first.condition, first.change_mark, first.password_policy), (Condition::Ready, None, None));
    let second = provider.inspect(&address()).await.unwrap();
    assert_eq!(second.change_mark.as_deref(), Some("2025-01-01 08:00:00"));
    let asked = actions(&server);
    let policies = asked.iter().filter(|action| *action == "describeinstancepasswordpolicy");
    assert_eq!(policies.count(), 1, "{asked:?}");
}

#[tokio::test]
async fn check_reports_every_finding_at_once() {
    let late = |body: String| Step::Reply(200, "Date: Wed, 01 Jan 2025 00:06:00 GMT\r\n".to_owned(), body);
    let unknown_task = || error("InvalidParameter.InvalidParameter");
    let healthy = || vec![reply(ACCOUNTS), reply(NO_TASKS), unknown_task(), reply(NO_POLICY)];
    let after = |first: Step, rest: Vec<Step>| [vec![first], rest].concat();
    let denied = || error("UnauthorizedOperation.NoCAMAuthed");
    let rows = [
        ("all well", after(reply(&instances(2, false)), healthy()), vec![]),
        (
            "old endpoint",
            after(
                reply(&instances(2, false)),
                vec![error("FailedOperation.UnSupportError"), reply(NO_TASKS), unknown_task(), error("InvalidAction")],
            ),
            vec![],
        ),
        ("password-free", after(reply(&instances(2, true)), healthy()), vec![Kind::PasswordFree]),
        ("stopped", after(reply(&instances(-2, false)), healthy()), vec![Kind::Gone]),
        ("busy", after(reply(&instances(1, false)), healthy()), vec![Kind::Busy]),
        ("clock", after(late(instances(2, false)), healthy()), vec![Kind::ClockSkew]),
        (
            "clock refused",
            vec![
                late(error_body("AuthFailure.SignatureExpire", "")),
                late(error_body("AuthFailure.SignatureExpire", "")),
            ],
            vec![Kind::ClockSkew],
        ),
        ("bad key", vec![error("AuthFailure.SecretIdNotFound")], vec![Kind::CredentialRefused]),
        ("bad signature", vec![error("AuthFailure.SignatureFailure")], vec![Kind::CredentialRefused]),
        ("not found", after(error("ResourceNotFound.InstanceNotExists"), healthy()), vec![Kind::NotFound]),
        ("denied", vec![denied(), denied(), denied(), denied(), denied()], vec![Kind::Denied; 5]),
        (
            "no task permission",
            after(
                reply(&instances(2, false)),
                vec![reply(ACCOUNTS), reply(NO_TASKS), error("InvalidParameter.PermissionDenied"), reply(NO_POLICY)],
            ),
            vec![Kind::Denied],
        ),
    ];
    for (name, steps, expected) in rows {
        let (server, provider) = scripted(steps).await;
        let findings = provider.check(&address()).await;
        let kinds: Vec<Kind> = findings.iter().map(|fault| fault.kind).collect();
        assert_eq!(kinds, expected, "{name}: {findings:?}");
        let asked = actions(&server);
        assert!(asked.iter().all(|action| action.starts_with("describe")), "{asked:?}");
    }
}

#[tokio::test]
async fn settings_that_make_no_provider_are_refused() {
    for quota in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
        let settings = TencentSettings { quota, ..settings("http://127.0.0.1:1/") };
        let made = Tencent::new(settings, fixed(), Arc::new(|| Moment::from_seconds(0)));
        assert_eq!(made.err().map(|fault| fault.kind), Some(Kind::ConfigInvalid), "{quota}");
    }
    let made = Tencent::new(settings("http://10.0.0.1/"), fixed(), Arc::new(|| Moment::from_seconds(0)));
    assert_eq!(made.err().map(|fault| fault.kind), Some(Kind::ConfigInvalid));
}
