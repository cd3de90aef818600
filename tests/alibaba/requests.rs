//! What is sent: the calls that change a password, where their parameters stand, on which connection, and signed with which credential.

use super::*;
use async_trait::async_trait;
use keywheel::fault::Fault;
use keywheel::provider::alibaba::ParametersIn;
use keywheel::provider::alibaba::credentials::environment;
use keywheel::provider::credential::Credential;
use keywheel::rotation::answer::Refusal;
use std::sync::atomic::AtomicUsize;

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
