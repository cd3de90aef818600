//! A service of the owner's own that `ALIBABA_CLOUD_CREDENTIALS_URI` or `url` names: how it is asked, and what it may answer.

use crate::scripted::{Scripted, Step};
use crate::stage::{Stage, URI, Vendor, address, assume, credential, id};
use keywheel::fault::{Fault, Kind, Retry};
use keywheel::provider::credential::Source;
use keywheel::provider::credential::endpoint::Reach;
use keywheel::provider::credential::settings::{CredentialUrl, UriSettings};

/// What nothing that is printed may hold: it stands in the query, as a token for the service might.
const PLANTED: &str = "hunter2";

fn by_variable(stage: &Stage) -> Source {
    stage.sources(Vendor::Alibaba).credentials_uri(UriSettings::default()).unwrap()
}

fn at(url: &str) -> UriSettings {
    UriSettings { url: Some(CredentialUrl::parse(url).unwrap()) }
}

/// An answer with this code, if any, and with an end long after every test.
fn answer(code: Option<&str>) -> String {
    let code = code.map(|code| format!("\"Code\": \"{code}\", ")).unwrap_or_default();
    format!(
        r#"{{{code}"AccessKeyId": "STS.broker", "AccessKeySecret": "k", "SecurityToken": "t", "Expiration": "2999-01-01T00:00:00Z"}}"#
    )
}

/// What becomes of one answer, and the head of the request.
async fn told(step: Step) -> (Result<String, Fault>, String) {
    let stage = Stage::set().await;
    let server = Scripted::serve(vec![step]).await;
    let url = format!("http://{}/v1/credentials?role=rotator&token={PLANTED}", server.address);
    stage.set_variables([(URI, url.as_str())]);
    let given = id(&by_variable(&stage)).await;
    let seen = server.seen();
    assert_eq!(seen.len(), 1, "one request: {seen:?}");
    (given, seen[0].head.clone())
}

#[tokio::test]
async fn the_configured_url_wins_and_the_variable_is_not_looked_at() {
    let stage = Stage::set().await;
    stage.with_uri();
    let sources = stage.sources(Vendor::Alibaba);
    let named = stage.endpoint().join("/latest/credentials-uri").unwrap();
    stage.set_variables([(URI, "http://203.0.113.7/")]);
    let source = sources.credentials_uri(at(named.as_str())).unwrap();
    stage.opens(Vendor::Alibaba, source).await.unwrap();
    // A role may stand on it.
    let base = sources.credentials_uri(at(named.as_str())).unwrap();
    stage.opens(Vendor::Alibaba, sources.assume_role(base, assume(Vendor::Alibaba)).unwrap()).await.unwrap();
    assert_eq!((stage.asked("CredentialsUri"), stage.asked("AssumeRole")), (2, 1));
}

#[tokio::test]
async fn the_whole_url_is_asked_once_and_its_query_is_never_shown() {
    let html = |status: u16| Step::Reply(status, String::new(), format!("<p>{PLANTED}</p>"));
    let elsewhere = Step::Reply(302, "Location: /latest\r\n".to_owned(), answer(Some("Success")));
    let json = |body: String| Step::Reply(200, String::new(), body);
    let partly = answer(Some("Success")).replace("SecurityToken", "StsToken");
    let undated = answer(Some("Success")).replace("2999-01-01T00:00:00Z", "soon");
    let blank = answer(Some("Success")).replace("STS.broker", "two words");
    for (step, words) in [
        (json(answer(Some("Success"))), None),
        (json(answer(None)), None),
        (json(answer(Some("Failed"))), Some("a code that is not Success")),
        (json(partly), Some("no credential")),
        (json(undated), Some("no credential")),
        (json(blank), Some("no credential")),
        (json(format!("\"{PLANTED}\"")), Some("no credential")),
        (elsewhere, Some("HTTP status 302")),
        (html(204), Some("HTTP status 204")),
        (html(401), Some("HTTP status 401")),
        (html(404), Some("HTTP status 404")),
        (html(500), Some("HTTP status 500")),
        (Step::Raw(String::new()), Some("gave no answer")),
        (Step::Raw(format!("{PLANTED}\r\n\r\n")), Some("gave no answer")),
        (Step::Raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_owned()), Some("gave no answer")),
        (Step::Endless, Some("more than 65536 bytes")),
    ] {
        let (given, head) = told(step).await;
        assert!(head.starts_with(&format!("get /v1/credentials?role=rotator&token={PLANTED} http/1.1")), "{head}");
        match (given, words) {
            (Ok(id), None) => assert_eq!(id, "STS.broker"),
            (Err(fault), Some(words)) => {
                let said = fault.to_string();
                assert!(said.contains("The credentials service at 127.0.0.1:") && said.contains(words), "{said}");
                assert!(!said.contains(PLANTED) && !said.contains("/v1"), "{said}");
                assert_ne!(fault.retry, Retry::Never, "{said}: its owner may mend it");
            }
            (given, words) => panic!("{given:?}, not {words:?}"),
        }
    }
}

#[tokio::test]
async fn what_the_variable_names_keeps_to_the_rule_of_the_configuration() {
    for (text, words) in [
        (None, "is not set"),
        (Some(""), "is not set"),
        (Some("/hunter2"), "not a URL"),
        (Some("http://203.0.113.7/?token=hunter2"), "Plain http"),
        (Some("https://user:hunter2@broker.example/"), "a user or a password"),
    ] {
        let stage = Stage::set().await;
        stage.set_variables(text.map(|text| (URI, text)));
        let fault = id(&by_variable(&stage)).await.unwrap_err();
        assert!(fault.what.contains(URI) && fault.what.contains(words), "{text:?}: {fault}");
        assert!(!fault.to_string().contains(PLANTED), "{fault}");
        let found = stage.provider(Vendor::Alibaba, by_variable(&stage)).check(&address(Vendor::Alibaba)).await;
        assert!(found.len() == 1 && found[0].what.contains(words), "check says it: {found:?}");
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_a_sentence_that_says_where_it_was_looked_for() {
    let stage = Stage::set().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap().to_string();
    drop(listener);
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://{nobody}/v1?token={PLANTED}");
        // Certificates of its own, so that the machine's do not matter.
        let ca = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let reach = Reach { ca_file: Some(stage.write("ca.pem", &ca.cert.pem())), ..stage.reach() };
        let source = stage.sources_reaching(Vendor::Alibaba, reach).credentials_uri(at(&url)).unwrap();
        let fault = id(&source).await.unwrap_err();
        assert_eq!(fault.kind, Kind::Unreachable, "{fault}");
        assert!(fault.what.contains(&nobody) && fault.next_step.contains("credentials URL"), "{fault}");
        assert!(!fault.to_string().contains(PLANTED) && !fault.to_string().contains("/v1"), "{fault}");
    }
}

#[tokio::test]
async fn https_is_trusted_by_the_providers_own_certificates() {
    let stage = Stage::set().await;
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let stranger = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let port = over_tls(&certified, answer(Some("Success"))).await;
    for (ca, trusted) in [(&certified, true), (&stranger, false)] {
        let reach = Reach { ca_file: Some(stage.write("ca.pem", &ca.cert.pem())), ..stage.reach() };
        let url = format!("https://localhost:{port}/v1?token={PLANTED}");
        let source = stage.sources_reaching(Vendor::Alibaba, reach).credentials_uri(at(&url)).unwrap();
        if trusted {
            assert_eq!(credential(&source).await.id, "STS.broker");
        } else {
            let fault = id(&source).await.unwrap_err();
            assert!(fault.kind == Kind::Unreachable && !fault.to_string().contains(PLANTED), "{fault}");
        }
    }
    let reach = Reach { ca_file: Some(stage.path("absent.pem")), ..stage.reach() };
    let url = format!("https://localhost:{port}/v1?token={PLANTED}");
    let source = stage.sources_reaching(Vendor::Alibaba, reach).credentials_uri(at(&url)).unwrap();
    let fault = id(&source).await.unwrap_err();
    assert!(fault.kind == Kind::ConfigInvalid && fault.what.contains("absent.pem"), "{fault}");
}

/// A service with this certificate that answers everything the same; its port.
async fn over_tls(certified: &rcgen::CertifiedKey<rcgen::KeyPair>, body: String) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    keywheel::http::choose_cryptography();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, body) = (acceptor.clone(), body.clone());
            tokio::spawn(async move {
                // Who does not trust the certificate hangs up here.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = [0; 4096];
                // Whether it asked and heard the answer is for the test to find: the caller may hang up at any of these three.
                let _ = stream.read(&mut request).await;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    port
}

#[tokio::test]
async fn the_other_cloud_has_no_such_thing() {
    let stage = Stage::set().await;
    let fault = stage.sources(Vendor::Tencent).credentials_uri(UriSettings::default()).err().unwrap();
    assert_eq!((fault.kind, fault.retry), (Kind::ConfigInvalid, Retry::Never), "{fault}");
}
