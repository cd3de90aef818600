//! What an answer to a change is taken for: a refusal, a doubt, a wish to wait.

use super::*;
use keywheel::fault::Retry;
use keywheel::rotation::answer::Refusal;

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
