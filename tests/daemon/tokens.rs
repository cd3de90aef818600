//! Actions over TCP: who holds a token may do a few things, is named in the record, and is heard over TLS or from this machine only.

use crate::common::plain_http::{address_in, ask, parted};
use crate::common::stage::{Daemon, INSTANCE, Stage, until};
use keywheel::simulator::{Fault, Step};
use rcgen::generate_simple_self_signed;
use rustix::process::Signal;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

const TARGET: &str = "orders-cache";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const OTHER_TOKEN: &str = "fedcba9876543210fedcba9876543210";
const TOKENS: &str = "tokens = { deploys = { file = \"{folder}/token\" } }";

fn configure(stage: &Stage, daemon: &str) {
    stage.configure_with(daemon, &stage.target(TARGET, INSTANCE, "adopt = { file = \"{folder}/initial\" }"));
}

fn start(stage: &Stage) -> (Daemon, SocketAddr) {
    let daemon = stage.start(&[]);
    stage.until(TARGET, "settled", 1);
    let address = address_in(&daemon.log());
    (daemon, address)
}

fn request(method: &str, path: &str, token: Option<&str>, body: &str) -> String {
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!("{method} {path} HTTP/1.1\r\nHost: keywheel\r\n{token}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn post(console: SocketAddr, verb: &str, token: Option<&str>, body: &str) -> (u16, String) {
    let answer = ask(console, &request("POST", &format!("/v1/targets/{TARGET}/{verb}"), token, body));
    let (status, body) = parted(&answer);
    (status, body.to_owned())
}

#[test]
fn without_tokens_there_is_nothing_to_do_over_tcp() {
    let stage = Stage::set();
    configure(&stage, "listen = \"127.0.0.1:0\"");
    let (daemon, console) = start(&stage);
    for token in [None, Some(TOKEN), Some("")] {
        assert_eq!(post(console, "rotate", token, "").0, 405);
    }
    assert_eq!(stage.passwords(INSTANCE).len(), 1);
    daemon.stop();
}

#[test]
fn who_holds_a_token_does_a_few_things_and_is_named_in_the_record() {
    let stage = Stage::set();
    stage.write("token", TOKEN);
    configure(&stage, &format!("listen = \"127.0.0.1:0\"\n{TOKENS}"));
    let (daemon, console) = start(&stage);
    for wrong in [None, Some(""), Some(OTHER_TOKEN), Some(&TOKEN[1..])] {
        let answer = ask(console, &request("POST", "/v1/targets/orders-cache/rotate", wrong, ""));
        assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("www-authenticate: Bearer"), "{answer}");
    }
    assert_eq!(stage.passwords(INSTANCE).len(), 1);
    assert_eq!(post(console, "pause", Some(TOKEN), r#"{"seconds":60,"reason":"a freeze"}"#).0, 200);
    assert_eq!(post(console, "unpause", Some(TOKEN), "").0, 200);
    let (status, said) = post(console, "pause", Some(TOKEN), &json!({ "reason": "x".repeat(501) }).to_string());
    assert!(status == 409 && said.contains("at most 500 characters"), "{said}");
    let (status, said) = post(console, "rotate", Some(TOKEN), r#"{"reason":"a deploy"}"#);
    assert_eq!((status, said.as_str()), (200, r#"{"done":"it rotates now"}"#));
    stage.until(TARGET, "settled", 2);
    stage.cloud().script([Step::once(
        "Mod*InstancePassword",
        Fault::RefuseBeforeEffect { code: "UnauthorizedOperation".to_owned() },
    )]);
    assert_eq!(post(console, "rotate", Some(TOKEN), "").0, 200);
    until("the halt", || stage.status_of(TARGET)["state"] == "halted");
    let (status, said) = post(console, "resume", Some(TOKEN), r#"{"allow-reset":true}"#);
    assert!(status == 403 && said.contains("no token allows a reset"), "{said}");
    let (status, said) = post(console, "rotate", Some(TOKEN), r#"{"through-freeze":true}"#);
    assert!(status == 403 && said.contains("no token rotates through a freeze"), "{said}");
    assert_eq!(post(console, "resume", Some(TOKEN), "").0, 200);
    stage.until(TARGET, "settled", 3);

    // What shows a password or takes one is not here, and neither is what looks.
    for verb in ["reveal", "adopt", "replace", "destroy"] {
        assert_eq!(post(console, verb, Some(TOKEN), r#"{"password":"x"}"#).0, 404, "{verb}");
    }
    for path in ["/v1/health", "/v1/targets", "/v1/targets/orders-cache", "/v1/plan", "/v1/events", "/v1/openapi.json"]
    {
        assert_eq!(parted(&ask(console, &request("GET", path, Some(TOKEN), ""))).0, 404, "{path}");
        assert_eq!(parted(&ask(console, &request("GET", path, None, ""))).0, 401, "{path}");
    }
    assert_eq!(parted(&ask(console, &request("GET", "/v1/targets/orders-cache/rotate", Some(TOKEN), ""))).0, 405);
    assert_eq!(parted(&ask(console, &request("GET", "/healthz", None, ""))).0, 200, "what only looks needs no token");

    let export = stage.keywheel(&["audit", "export"]).out;
    let entries: Vec<Value> = export.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (event, reason) in [("paused", json!("a freeze")), ("began", json!("a deploy")), ("resumed", Value::Null)] {
        let entry = entries.iter().find(|entry| entry["event"] == event && entry["reason"] == reason);
        let entry = entry.unwrap_or_else(|| panic!("{event}: {export}"));
        assert_eq!(entry["by"], json!({ "who": "token", "name": "deploys" }));
    }
    assert!(!entries.iter().any(|entry| entry["event"] == "revealed"));
    assert!(
        stage.keywheel(&["audit", "export", "--format", "cef"]).out.contains("suser=token deploys reason=a deploy")
    );
    for text in [export, daemon.log()] {
        assert!(!text.contains(TOKEN) && !text.contains(OTHER_TOKEN));
    }

    // Another token after a reload, which the record has; a bad one is refused and changes nothing.
    stage.write("token", "too short");
    daemon.signal(Signal::HUP);
    until("the refusal", || daemon.log().contains("a token has at least 32 characters"));
    assert_eq!(post(console, "pause", Some(TOKEN), "").0, 200);
    stage.write("token", OTHER_TOKEN);
    daemon.signal(Signal::HUP);
    // Not by trying it: what is still wrong then counts.
    until("the good one", || daemon.log().contains("the configuration was read again"));
    assert_eq!(post(console, "pause", Some(OTHER_TOKEN), "").0, 200);
    assert_eq!(post(console, "pause", Some(TOKEN), "").0, 401);

    // Enough wrong ones, and the address is not listened to any more; the control socket is.
    until("enough", || post(console, "pause", Some(TOKEN), "").0 == 429);
    assert_eq!(post(console, "pause", Some(OTHER_TOKEN), "").0, 429);
    assert_eq!(parted(&ask(console, &request("GET", "/healthz", None, ""))).0, 200);
    assert_eq!(stage.keywheel(&["resume", TARGET]).status, 0);
    daemon.stop();
}

#[test]
fn what_would_give_a_token_away_is_refused_before_it_counts() {
    let stage = Stage::set();
    stage.write("token", TOKEN);
    stage.write("short", "0123456789abcdef");
    let two = "tokens = { a = { file = \"{folder}/token\" }, b = { file = \"{folder}/token\" } }";
    let offline = ["check", "--offline"];
    for (daemon, verbs, words) in [
        (format!("listen = \"0.0.0.0:0\"\n{TOKENS}"), &offline[..], "Tokens would travel over plain HTTP"),
        (format!("listen = \"0.0.0.0:0\"\n{TOKENS}"), &["run"], "Tokens would travel over plain HTTP"),
        (TOKENS.to_owned(), &offline[..], "Nothing listens where this would count"),
        (
            "listen = \"127.0.0.1:0\"\ntokens = { a = \"0123456789abcdef0123456789abcdef\" }".to_owned(),
            &offline[..],
            "A secret never stands in the configuration",
        ),
        ("listen = \"127.0.0.1:0\"\ntokens = { a = { file = \"{folder}/short\" } }".to_owned(), &["check"], "at least 32 characters"),
        ("listen = \"127.0.0.1:0\"\ntokens = { a = { file = \"{folder}/short\" } }".to_owned(), &["run"], "at least 32 characters"),
        (format!("listen = \"127.0.0.1:0\"\n{two}"), &["run"], "the same as a"),
        (
            "listen = \"127.0.0.1:0\"\ntls = { certificate = \"{folder}/none.pem\", key = { file = \"{folder}/token\" } }".to_owned(),
            &["check"],
            "none.pem",
        ),
    ] {
        configure(&stage, &daemon);
        let refused = stage.keywheel(verbs);
        // As one line: a table breaks sentences.
        let said = (refused.out + &refused.err).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(refused.status > 0 && said.contains(words), "{daemon} {verbs:?}, {words}: {said}");
        assert!(!said.contains(TOKEN), "{said}");
    }
}

/// What was in force cannot be read again where its file is gone by now: a configuration that is refused must not have counted in the first place.
#[test]
fn a_configuration_that_is_refused_changes_nothing_at_the_door() {
    let stage = Stage::set();
    stage.write("token", TOKEN);
    configure(&stage, &format!("listen = \"127.0.0.1:0\"\n{TOKENS}"));
    let (daemon, console) = start(&stage);
    std::fs::remove_file(stage.path("token")).unwrap();
    stage.write("other", OTHER_TOKEN);
    let others = "listen = \"127.0.0.1:0\"\ntokens = { others = { file = \"{folder}/other\" } }";
    let target = stage.target(TARGET, INSTANCE, "adopt = { file = \"{folder}/initial\" }");
    stage.configure_with(others, &(stage.sink("orders", "group = \"no-such-group\"") + &target));
    daemon.signal(Signal::HUP);
    until("the refusal", || daemon.log().contains("the new configuration is refused"));
    assert!(daemon.log().contains("no-such-group"), "{}", daemon.log());
    assert_eq!(post(console, "pause", Some(OTHER_TOKEN), "").0, 401);
    assert_eq!(post(console, "pause", Some(TOKEN), "").0, 200);
    stage.configure_with(others, &target);
    daemon.signal(Signal::HUP);
    until("the good one", || daemon.log().contains("the configuration was read again"));
    assert_eq!(post(console, "pause", Some(OTHER_TOKEN), "").0, 200);
    assert_eq!(post(console, "pause", Some(TOKEN), "").0, 401);
    daemon.stop();
}

/// A certificate for `localhost`, written where the configuration looks.
fn certificate(stage: &Stage) -> CertificateDer<'static> {
    let made = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    stage.write("tls.pem", &made.cert.pem());
    stage.write("tls.key", &made.signing_key.serialize_pem());
    made.cert.der().clone()
}

/// What is answered over TLS to whoever trusts this certificate and no other; `None` where it is not the one that is shown.
fn ask_over_tls(console: SocketAddr, trusted: &CertificateDer<'static>, request: &str) -> Option<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let client = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(client, TcpStream::connect(console).unwrap());
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    let mut piece = [0; 4_096];
    while let Ok(length @ 1..) = stream.read(&mut piece) {
        answer.extend_from_slice(&piece[..length]);
    }
    Some(String::from_utf8(answer).unwrap())
}

#[test]
fn over_tls_tokens_are_heard_from_anywhere_and_the_certificate_is_changed_by_a_reload() {
    let stage = Stage::set();
    stage.write("token", TOKEN);
    let first = certificate(&stage);
    let tls = "tls = { certificate = \"{folder}/tls.pem\", key = { file = \"{folder}/tls.key\" } }";
    configure(&stage, &format!("listen = \"0.0.0.0:0\"\n{TOKENS}\n{tls}"));
    let (daemon, console) = start(&stage);
    let console = SocketAddr::from(([127, 0, 0, 1], console.port()));
    let health = request("GET", "/healthz", None, "");
    assert!(!ask(console, &health).starts_with("HTTP/1.1 200"), "nothing is answered without TLS");
    assert!(ask_over_tls(console, &first, &health).unwrap().starts_with("HTTP/1.1 200 "));
    let rotate = request("POST", "/v1/targets/orders-cache/rotate", Some(TOKEN), "");
    assert!(ask_over_tls(console, &first, &rotate).unwrap().starts_with("HTTP/1.1 200 "));
    stage.until(TARGET, "settled", 2);

    let second = certificate(&stage);
    assert!(ask_over_tls(console, &second, &health).is_none(), "it is not shown yet");
    daemon.signal(Signal::HUP);
    until("the other certificate", || {
        ask_over_tls(console, &second, &health).is_some_and(|answer| answer.starts_with("HTTP/1.1 200 "))
    });
    assert!(ask_over_tls(console, &first, &health).is_none());
    // Halves that do not belong together are refused, and what was shown stays.
    let kept = second;
    stage.write("tls.pem", &generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.pem());
    daemon.signal(Signal::HUP);
    until("the refusal", || daemon.log().contains("certificate and key do not make a pair"));
    assert!(ask_over_tls(console, &kept, &health).unwrap().starts_with("HTTP/1.1 200 "));

    // A thousand who begin a handshake and say no more are in nobody's way.
    let idle: Vec<TcpStream> = (0..1_000).filter_map(|_| TcpStream::connect(console).ok()).collect();
    assert_eq!(idle.len(), 1_000);
    assert!(ask_over_tls(console, &kept, &rotate).unwrap().starts_with("HTTP/1.1 200 "));
    stage.until(TARGET, "settled", 3);
    daemon.stop();
}
