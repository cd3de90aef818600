//! The Alibaba provider against a server that answers from a script: what is sent, how often, and what each outcome is taken for.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod scripted;

use async_trait::async_trait;
use keywheel::fault::{Fault, Kind, Retry};
use keywheel::moment::Moment;
use keywheel::name::{RotationId, TaskId};
use keywheel::provider::alibaba::credentials::{TERMS, environment};
use keywheel::provider::alibaba::{Alibaba, AlibabaSettings, ParametersIn};
use keywheel::provider::credential::{Credential, CredentialSource, Static};
use keywheel::provider::{Address, Condition, Mode, Provider};
use keywheel::rotation::answer::{Answer, Refusal};
use keywheel::secret::Secret;
use scripted::{Scripted, Step};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
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

fn nonces(server: &Scripted) -> Vec<String> {
    server.seen().iter().map(|seen| seen.header("x-acs-signature-nonce").unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn a_change_is_sent_whole_and_once() {
    let (server, provider) = scripted(vec![reply(DONE)]).await;
    assert_eq!(change(&provider).await, ACCEPTED);
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(
        seen[0].body,
        "AccountName=app&InstanceId=r-1&NewAccountPassword=NewPassw0rd%2102&OldAccountPassword=OldPassw0rd%2101"
    );
    assert!(seen[0].head.starts_with("post / http/1.1"), "no password in the URL");
    let host = server.address.to_string();
    for (name, value) in [
        ("host", host.as_str()),
        ("content-type", "application/x-www-form-urlencoded"),
        ("accept", "application/json"),
        ("x-acs-action", "modifyaccountpassword"),
        ("x-acs-version", "2015-01-01"),
        ("x-acs-date", "2025-01-01t00:00:00z"),
        ("x-acs-signature-nonce", "00000000000000000000000000000000"),
        ("user-agent", concat!("keywheel/", env!("CARGO_PKG_VERSION"), " rotation/01arz3ndektsv4rrffq69g5fav")),
    ] {
        assert_eq!(seen[0].header(name), Some(value), "{name}");
    }
    assert_eq!(seen[0].header("x-acs-security-token"), None);
    let signed = "acs3-hmac-sha256 credential=ltaione,signedheaders=content-type;host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,signature=";
    assert!(seen[0].header("authorization").unwrap().starts_with(signed));
}

#[tokio::test]
async fn each_account_has_its_reset() {
    let rows = [
        ("app", "resetaccountpassword", "AccountName=app&AccountPassword=NewPassw0rd%2102&InstanceId=r-1"),
        ("r-1", "modifyinstanceattribute", "InstanceId=r-1&NewPassword=NewPassw0rd%2102"),
        // A call that names no account would change the one that is named like the instance.
        ("default", "resetaccountpassword", "AccountName=default&AccountPassword=NewPassw0rd%2102&InstanceId=r-1"),
    ];
    for (account, action, body) in rows {
        let (server, provider) = scripted(vec![reply(DONE)]).await;
        assert!(provider.abilities(&address(account)).reset);
        assert_eq!(provider.reset(&address(account), rotation(), &secret(NEW)).await, ACCEPTED);
        assert_eq!((actions(&server), server.seen()[0].body.as_str()), (vec![action.to_owned()], body), "{account}");
        // The same call is the ordinary change where the owner chose it; then the old password is not asked for.
        let by_reset = Address { mode: Mode::Reset, ..address(account) };
        for old in [None, Some(secret(OLD))] {
            let (server, provider) = scripted(vec![reply(DONE)]).await;
            assert!(!provider.abilities(&by_reset).asks_old && provider.abilities(&address(account)).asks_old);
            assert_eq!(provider.change(&by_reset, rotation(), old.as_ref(), &secret(NEW)).await, ACCEPTED);
            assert_eq!(
                (actions(&server), server.seen()[0].body.as_str()),
                (vec![action.to_owned()], body),
                "{account}"
            );
        }
    }
    let (server, provider) = scripted(vec![reply(DONE)]).await;
    let edits = Address { mode: Mode::Account, ..address("app") };
    for (address, old) in [(edits, Some(secret(OLD))), (address("app"), None)] {
        let answer = provider.change(&address, rotation(), old.as_ref(), &secret(NEW)).await;
        assert!(matches!(answer, Answer::Refused { refusal: Refusal::Fatal, .. }), "{answer:?}");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_change_by_reset_is_never_told_that_the_old_password_is_wrong() {
    let by_reset = Address { mode: Mode::Reset, ..address("app") };
    for (status, code, expected) in [
        (400, "InvalidAccountPassword.Format", Some(Refusal::RuleViolated)),
        (400, "TaskExists", Some(Refusal::Locked)),
        (403, "IncorrectDBInstanceState", Some(Refusal::Busy)),
        (404, "InvalidAccountName.NotFound", Some(Refusal::Fatal)),
        (400, "InvalidEngineVersion.Format", Some(Refusal::Fatal)),
        (403, "Forbidden.RAM", Some(Refusal::Fatal)),
        (503, "ServiceUnavailable", None),
        (403, "Novel.Code", None),
    ] {
        let (server, provider) = scripted(vec![error(status, code)]).await;
        let refusal = match provider.change(&by_reset, rotation(), Some(&secret(OLD)), &secret(NEW)).await {
            Answer::Refused { refusal, .. } => Some(refusal),
            Answer::Unanswered { .. } => None,
            Answer::Accepted { .. } => panic!("{code} accepted"),
        };
        assert_eq!((refusal, server.seen().len()), (expected, 1), "{code}");
    }
    // An unlisted 400 to a reset says nothing about an old password, and is no refusal that anybody knows.
    let (_server, provider) = scripted(vec![error(400, "Novel.Code")]).await;
    let answer = provider.change(&by_reset, rotation(), None, &secret(NEW)).await;
    assert!(
        !matches!(answer, Answer::Refused { refusal: Refusal::OldPasswordWrong | Refusal::RuleOrOldPassword, .. }),
        "{answer:?}"
    );
}

#[tokio::test]
async fn every_broken_answer_to_a_change_is_doubt_and_is_sent_once() {
    let ok = |body: &str| Step::Raw(format!("HTTP/1.1 200 OK\r\n{body}"));
    let rows = [
        ("closed without a word", Step::Raw(String::new())),
        ("half a head", Step::Raw("HTTP/1.1 20".to_owned())),
        ("half a body", ok("Content-Length: 900\r\n\r\n{\"RequestId\":\"r")),
        ("not HTTP", Step::Raw("+OK\r\n".to_owned())),
        ("HTML", reply("<html>")),
        ("empty", reply("")),
        ("no request id", reply("{}")),
        ("success and error", reply(&error_body("Throttling", ""))),
        ("500 with a success", Step::Reply(500, String::new(), DONE.to_owned())),
        ("502", Step::Reply(502, String::new(), "bad gateway".to_owned())),
        ("503 with a code", error(503, "ServiceUnavailable")),
        ("500 with the code of a refusal", error(500, "InvalidAccountPassword.Format")),
        ("500 with a missing parameter", error(500, "MissingInstanceId")),
        ("a redirect", Step::Reply(307, "Location: /elsewhere\r\n".to_owned(), String::new())),
        ("100 MB announced", ok("Content-Length: 104857600\r\n\r\n{")),
        ("never ends", Step::Endless),
        ("400 that is no error", Step::Reply(400, String::new(), "<html>".to_owned())),
        ("a code of the proxy", error(400, "ProxyError")),
        ("a used nonce", error(400, "SignatureNonceUsed")),
        ("an unknown 403", error(403, "Novel.Code")),
        ("an unknown code with a wish", {
            let wish = "x-acs-retry-after: 1\r\n".to_owned();
            Step::Reply(400, wish, error_body("Novel.Code", ""))
        }),
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
    let endpoint = format!("http://{}/", closed.local_addr().unwrap());
    drop(closed);
    let Answer::Refused { refusal, fault } = change(&provider(settings(&endpoint), fixed())).await else {
        panic!("not refused");
    };
    assert_eq!((refusal, fault.kind), (Refusal::Unsent, Kind::Unreachable), "{fault}");
}

#[tokio::test]
async fn an_error_in_xml_is_an_error() {
    let body = "<?xml version='1.0' encoding='UTF-8'?><Error><RequestId>r</RequestId><HostId>h</HostId><Code>Throttling.User</Code><Message>m</Message></Error>";
    let (_server, provider) = scripted(vec![Step::Reply(400, String::new(), body.to_owned())]).await;
    let answer = change(&provider).await;
    assert!(matches!(answer, Answer::Refused { refusal: Refusal::Throttled, .. }), "{answer:?}");
}

#[tokio::test]
async fn the_gateways_own_wish_to_wait_is_kept() {
    let throttled = |headers: &str| Step::Reply(400, headers.to_owned(), error_body("Throttling.User", ""));
    let rows = [
        ("x-acs-retry-after: 1500\r\n", Retry::AfterMillis(1_500)),
        ("x-acs-retry-after: 1500\r\nRetry-After: 7\r\n", Retry::AfterMillis(1_500)),
        ("x-acs-retry-after: 99999999999\r\n", Retry::AfterMillis(600_000)),
        ("x-acs-retry-after: 0\r\n", Retry::Later),
        ("x-acs-retry-after: -5\r\n", Retry::Later),
        ("x-acs-retry-after: soon\r\n", Retry::Later),
        ("Retry-After: 7\r\n", Retry::AfterMillis(7_000)),
        ("", Retry::Later),
    ];
    for (headers, expected) in rows {
        let (server, provider) = scripted(vec![throttled(headers)]).await;
        let Answer::Refused { refusal, fault } = change(&provider).await else {
            panic!("{headers}");
        };
        assert_eq!((refusal, fault.retry), (Refusal::Throttled, expected), "{headers}");
        assert_eq!(server.seen().len(), 1);
    }
    let denied = Step::Reply(403, "x-acs-retry-after: 5\r\n".to_owned(), error_body("Forbidden.RAM", ""));
    let (_server, provider) = scripted(vec![denied]).await;
    let Answer::Refused { fault, .. } = change(&provider).await else { panic!("not refused") };
    assert_eq!((fault.kind, fault.retry), (Kind::Denied, Retry::Never), "a person is needed, not time");
}

#[tokio::test]
async fn a_stale_signature_is_renewed_once_with_another_nonce() {
    let stale = || {
        let date = "Date: Wed, 01 Jan 2025 00:20:00 GMT\r\n".to_owned();
        Step::Reply(400, date, error_body("InvalidTimeStamp.Expired", "words"))
    };
    let (server, provider) = scripted(vec![stale(), reply(DONE)]).await;
    assert_eq!(change(&provider).await, ACCEPTED);
    assert_eq!(nonces(&server), ["00000000000000000000000000000000", "00000000000000000000000000000001"]);
    let (server, provider) = scripted(vec![stale(), stale(), reply(DONE)]).await;
    let Answer::Refused { refusal, fault } = change(&provider).await else {
        panic!("not refused");
    };
    assert_eq!((refusal, fault.kind), (Refusal::Fatal, Kind::ClockSkew));
    assert!(fault.what.contains("20m ahead of"), "{fault}");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn parameters_move_to_the_query_once_where_the_body_is_not_read_and_the_owner_allows_it() {
    for code in ["MissingParameter", "MissingInstanceId", "MissingNewAccountPassword"] {
        let server = Scripted::serve(vec![error(400, code), reply(DONE), reply(DONE)]).await;
        let parameters_in = ParametersIn::Auto;
        let provider =
            provider(AlibabaSettings { parameters_in, ..settings(&format!("http://{}/", server.address)) }, fixed());
        assert_eq!(change(&provider).await, ACCEPTED, "{code}");
        assert_eq!(change(&provider).await, ACCEPTED, "{code}");
        let seen = server.seen();
        let query = "post /?accountname=app&instanceid=r-1&newaccountpassword=newpassw0rd%2102&oldaccountpassword=oldpassw0rd%2101 http/1.1";
        assert!(seen[0].head.starts_with("post / http/1.1"));
        for again in &seen[1..] {
            assert!(again.head.starts_with(query), "{code}: {}", again.head);
            assert_eq!((again.body.as_str(), again.header("content-type")), ("", None));
        }
        let mut nonces = nonces(&server);
        nonces.dedup();
        assert_eq!(nonces.len(), 3, "a fresh nonce for each attempt");
    }
}

#[tokio::test]
async fn where_parameters_stand_can_be_settled() {
    let missing = || error(400, "MissingInstanceId");
    let rows = [
        (ParametersIn::Auto, vec![missing(), missing()], vec![false, true]),
        (ParametersIn::Body, vec![missing()], vec![false]),
        // Unless its owner says so, no password ever stands in a URL.
        (ParametersIn::default(), vec![missing()], vec![false]),
        (ParametersIn::Query, vec![missing()], vec![true]),
        // A parameter that the call does not have is no sign that the body was not read.
        (ParametersIn::Auto, vec![error(400, "MissingNovel")], vec![false]),
    ];
    for (parameters_in, steps, expected) in rows {
        let server = Scripted::serve(steps).await;
        let settings = AlibabaSettings { parameters_in, ..settings(&format!("http://{}/", server.address)) };
        let answer = change(&provider(settings, fixed())).await;
        assert!(matches!(answer, Answer::Refused { .. }), "{answer:?}");
        let in_query: Vec<bool> = server.seen().iter().map(|seen| seen.head.starts_with("post /?")).collect();
        assert_eq!(in_query, expected, "{parameters_in:?}");
    }
}

#[tokio::test]
async fn writes_take_a_fresh_connection_and_reads_keep_theirs() {
    let steps = vec![reply(DONE), reply(&instance("Normal", "Open")), reply(ACCOUNTS), reply(DONE)];
    let (server, provider) = scripted(steps).await;
    change(&provider).await;
    provider.inspect(&address("app")).await.unwrap();
    change(&provider).await;
    let connections: Vec<usize> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 1, 1, 2]);
}

/// Gives another token each time it is renewed.
struct Renewing(AtomicUsize);

#[async_trait]
impl CredentialSource for Renewing {
    async fn credential(&self) -> Result<Credential, Fault> {
        let token = format!("token-{}", self.0.load(Ordering::Relaxed));
        Credential::new(&TERMS, "a test", "STS.two".to_owned(), secret("key-two"), Some(secret(&token)))
    }

    async fn renewed(&self, _refused: &Credential) -> Result<Credential, Fault> {
        self.0.fetch_add(1, Ordering::Relaxed);
        self.credential().await
    }
}

#[tokio::test]
async fn a_refused_credential_is_read_anew_once() {
    let refused = || error(403, "InvalidSecurityToken.Expired");
    let server = Scripted::serve(vec![refused(), reply(DONE), refused(), refused(), reply(DONE)]).await;
    let renewing = provider(settings(&format!("http://{}/", server.address)), Arc::new(Renewing(AtomicUsize::new(0))));
    assert_eq!(change(&renewing).await, ACCEPTED);
    let Answer::Refused { refusal, fault } = change(&renewing).await else {
        panic!("not refused");
    };
    assert_eq!((refusal, fault.kind), (Refusal::Fatal, Kind::CredentialRefused));
    let seen = server.seen();
    let tokens: Vec<_> = seen.iter().filter_map(|seen| seen.header("x-acs-security-token")).collect();
    assert_eq!(tokens, ["token-0", "token-1", "token-1", "token-2"]);
    let signed = seen[0].header("authorization").unwrap();
    assert!(signed.contains(";x-acs-accesskey-id;") || signed.contains("host;x-acs-accesskey-id;"), "{signed}");
    assert!(signed.contains(";x-acs-security-token;"), "{signed}");
    assert_eq!(seen[0].header("x-acs-accesskey-id"), Some("sts.two"));

    let (server, provider) = scripted(vec![refused(), reply(DONE)]).await;
    assert!(matches!(change(&provider).await, Answer::Refused { refusal: Refusal::Fatal, .. }));
    assert_eq!(server.seen().len(), 1, "the same credential is not tried twice");
}

#[tokio::test]
async fn the_environment_has_the_vendors_names() {
    let source = environment(Arc::new(|name: &str| match name {
        "ALIBABA_CLOUD_ACCESS_KEY_ID" => Some("LTAIone".to_owned()),
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET" => Some("key-one".to_owned()),
        "ALIBABA_CLOUD_SECURITY_TOKEN" => Some("token-one".to_owned()),
        _ => None,
    }));
    let credential = source.credential().await.ok().unwrap();
    assert_eq!((credential.id.as_str(), credential.key.expose()), ("LTAIone", "key-one"));
    assert_eq!(credential.token.unwrap().expose(), "token-one");
}

#[tokio::test]
async fn what_the_vendor_repeats_is_scrubbed() {
    let echo = format!("{OLD} OldPassw0rd%2101 OldPassw0rd%252101 {NEW} NewPassw0rd%2102 key-one");
    let step = Step::Reply(400, String::new(), error_body("InvalidAccountPassword.Format", &echo));
    let (_server, provider) = scripted(vec![step]).await;
    let Answer::Refused { refusal, fault } = change(&provider).await else {
        panic!("not refused");
    };
    assert_eq!(refusal, Refusal::RuleViolated);
    for secret in ["Passw0rd", "key-one"] {
        assert!(!fault.to_string().contains(secret), "{fault}");
    }
}

#[tokio::test]
async fn a_default_account_that_the_call_does_not_serve_is_a_sentence() {
    for (account, said) in [("r-1", true), ("app", false)] {
        let (_server, provider) = scripted(vec![error(404, "InvalidAccountName.NotFound")]).await;
        let answer = provider.change(&address(account), rotation(), Some(&secret(OLD)), &secret(NEW)).await;
        let Answer::Refused { refusal: Refusal::Fatal, fault } = answer else { panic!("{answer:?}") };
        assert_eq!(fault.next_step.contains("rotate a standard account instead"), said, "{account}: {fault}");
    }
}

fn instance(status: &str, mode: &str) -> String {
    format!(
        r#"{{"RequestId":"r","Instances":{{"DBInstanceAttribute":[{{"InstanceId":"r-1","InstanceStatus":"{status}","VpcAuthMode":"{mode}","EngineVersion":"5.0","Port":6379}}]}}}}"#
    )
}

fn accounts(status: &str) -> String {
    format!(
        r#"{{"RequestId":"r","Accounts":{{"Account":[{{"AccountName":"app","AccountStatus":"{status}","AccountType":"Normal","InstanceId":"r-1"}}]}}}}"#
    )
}

const ACCOUNTS: &str =
    r#"{"RequestId":"r","Accounts":{"Account":[{"AccountName":"app","AccountStatus":"Available"}]}}"#;
const NO_ACCOUNTS: &str = r#"{"RequestId":"r","Accounts":{"Account":[]}}"#;

#[tokio::test]
async fn an_instance_is_looked_at_before_its_account() {
    let busy = || Ok(Condition::Busy("a change of this account is under way".to_owned()));
    let normal = || reply(&instance("Normal", "Open"));
    let rows = [
        ("app", vec![normal(), reply(&accounts("Available"))], Ok(Condition::Ready)),
        ("app", vec![normal(), reply(&accounts("Unavailable"))], busy()),
        ("app", vec![normal(), reply(NO_ACCOUNTS)], Err(Kind::NotFound)),
        ("r-1", vec![normal(), reply(NO_ACCOUNTS)], Ok(Condition::Ready)),
        ("app", vec![normal(), error(403, "Forbidden.RAM")], Ok(Condition::Ready)),
        ("app", vec![normal(), error(503, "ServiceUnavailable")], Err(Kind::Unanswered)),
        ("app", vec![reply(&instance("Normal", "Close"))], Ok(Condition::PasswordFree)),
        ("app", vec![error(404, "InvalidInstanceId.NotFound")], Err(Kind::NotFound)),
        ("app", vec![reply(r#"{"RequestId":"r","Instances":{"DBInstanceAttribute":[]}}"#)], Err(Kind::NotFound)),
        ("app", vec![reply(r#"{"RequestId":"r"}"#)], Err(Kind::Unanswered)),
    ];
    for (account, steps, expected) in rows {
        let asked = steps.len();
        let (server, provider) = scripted(steps).await;
        let got = provider.inspect(&address(account)).await;
        assert_eq!(got.map(|instance| instance.condition).map_err(|fault| fault.kind), expected);
        assert_eq!(server.seen().len(), asked);
        assert_eq!(server.seen()[0].body, "InstanceId=r-1");
    }
}

#[tokio::test]
async fn there_is_no_evidence_but_a_login() {
    let (server, provider) = scripted(vec![]).await;
    let (from, to) = (Moment::from_seconds(0), Moment::from_seconds(NEW_YEAR));
    assert!(provider.task(&address("app"), TaskId(7)).await.is_err());
    assert!(provider.find_task(&address("app"), from, to).await.is_err());
    assert_eq!(provider.change_mark(&address("app")).await, Ok(None));
    let abilities = provider.abilities(&address("app"));
    assert!(!abilities.task_status && !abilities.task_list && !abilities.change_mark);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn check_reports_every_finding_at_once() {
    let late =
        |status: u16, body: String| Step::Reply(status, "Date: Wed, 01 Jan 2025 00:16:00 GMT\r\n".to_owned(), body);
    let healthy = |first: Step| vec![first, reply(ACCOUNTS)];
    let denied = || error(403, "Forbidden.RAM");
    let stale = || late(400, error_body("InvalidTimeStamp.Expired", ""));
    let rows = [
        ("all well", healthy(reply(&instance("Normal", "Open"))), vec![]),
        ("password-free", healthy(reply(&instance("Normal", "Close"))), vec![Kind::PasswordFree]),
        ("released", healthy(reply(&instance("Released", "Open"))), vec![Kind::Gone]),
        ("busy", healthy(reply(&instance("Flushing", "Open"))), vec![Kind::Busy]),
        ("clock", healthy(late(200, instance("Normal", "Open"))), vec![Kind::ClockSkew]),
        ("clock refused", vec![stale(), stale()], vec![Kind::ClockSkew]),
        ("bad key", vec![error(404, "InvalidAccessKeyId.NotFound")], vec![Kind::CredentialRefused]),
        ("bad signature", vec![error(400, "SignatureDoesNotMatch")], vec![Kind::CredentialRefused]),
        ("not found", healthy(error(404, "InvalidInstanceId.NotFound")), vec![Kind::NotFound]),
        ("denied", vec![denied(), denied()], vec![Kind::Denied, Kind::Denied]),
        ("no account", vec![reply(&instance("Normal", "Open")), reply(NO_ACCOUNTS)], vec![Kind::NotFound]),
    ];
    for (name, steps, expected) in rows {
        let (server, provider) = scripted(steps).await;
        let findings = provider.check(&address("app")).await;
        let kinds: Vec<Kind> = findings.iter().map(|fault| fault.kind).collect();
        assert_eq!(kinds, expected, "{name}: {findings:?}");
        let asked = actions(&server);
        assert!(asked.iter().all(|action| action.starts_with("describe")), "{asked:?}");
    }
}

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
