//! `etcd`, against Debian's real one with its users on, read by its own client. What it does not do by itself, a proxy in front of it does.

mod server;

use super::conformance::{Seen, Store, Trouble};
use super::proxy::{Proxy, Words};
use super::rows::{Row, TOKEN, document};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keywheel::fault::{Fault, Kind};
use keywheel::secret::Secret;
use keywheel::sink::etcd::{Certificate, EtcdSettings, EtcdSink};
use keywheel::sink::file::Format;
use keywheel::sink::web::Credential;
use keywheel::sink::{Held, Holds, Sink};
use server::Server;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// The one with users, which all rows share. It ends with this process.
fn shared() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = Server::start(&[]);
        server.enable_users(TOKEN);
        server
    })
}

fn settings(url: &str, key: &str) -> EtcdSettings {
    EtcdSettings {
        endpoints: vec![url.parse().unwrap()],
        key: key.to_owned(),
        format: Format::Json,
        prefix: None,
        template: None,
        fields: None,
        user: None,
        ca_file: None,
        certificate: None,
        timeout: Duration::from_secs(20),
    }
}

fn says(password: &str) -> Credential {
    let password = password.to_owned();
    Credential(Arc::new(move || Ok(Secret::new(password.clone()))))
}

fn with_user(url: &str, key: &str) -> EtcdSettings {
    EtcdSettings { user: Some(("keywheel".to_owned(), says(TOKEN))), ..settings(url, key) }
}

fn words() -> Words {
    Words {
        // A rehearsal writes under a condition that never holds.
        writes: Box::new(|_, body| body.contains("request_put") && !body.contains("LESS")),
        throttled: (
            "429 Too Many Requests",
            r#"{"error":"etcdserver: too many requests","code":8,"message":"etcdserver: too many requests"}"#,
        ),
        not_found: ("404 Not Found", "404 page not found"),
        full: None,
        broken: |sent| serde_json::json!({ "error": sent, "code": 13 }),
    }
}

/// A key of its own in the shared store.
pub struct Key {
    key: String,
    proxy: Proxy,
}

impl Key {
    fn settings(&self, hasty: bool) -> EtcdSettings {
        let timeout = if hasty { Duration::from_millis(400) } else { Duration::from_secs(20) };
        EtcdSettings { timeout, ..with_user(self.proxy.url(), &self.key) }
    }
}

impl Store for Key {
    const NAME: &'static str = "etcd";

    async fn begin() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let key = format!("/conformance/{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        shared().permit(true);
        Self { proxy: Proxy::before(shared().authority(), words()), key }
    }

    fn sink(&self, hasty: bool) -> Arc<dyn Sink> {
        Arc::new(EtcdSink::new(self.settings(hasty)).unwrap())
    }

    async fn seen(&self) -> Option<Seen> {
        let value = shared().get(&self.key)?;
        let value: serde_json::Value = serde_json::from_slice(&value).unwrap();
        Some(Seen {
            generation: value["generation"].as_u64().unwrap(),
            account: value["account"].as_str().unwrap().to_owned(),
            password: value["password"].as_str().unwrap().to_owned(),
        })
    }

    async fn mark(&self) -> String {
        shared().revision().to_string()
    }

    async fn fail(&self, trouble: Trouble) {
        match trouble {
            Trouble::Denied => shared().permit(false),
            Trouble::Full => shared().alarm(true),
            Trouble::Between(generation) | Trouble::LostBetween(generation) => {
                if matches!(trouble, Trouble::LostBetween(_)) {
                    self.proxy.fail(trouble);
                }
                let other = EtcdSink::new(with_user(&shared().url(), &self.key)).unwrap();
                self.proxy.before_the_next_write(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(other.deliver(&document(generation))).unwrap();
                });
            }
            Trouble::Down
            | Trouble::NotFound
            | Trouble::Throttled
            | Trouble::Broken
            | Trouble::LostAnswer
            | Trouble::Hang
            | Trouble::Huge => self.proxy.fail(trouble),
        }
    }

    async fn mend(&self) {
        self.proxy.mend();
        shared().permit(true);
        shared().alarm(false);
    }

    async fn wipe(&self) {
        shared().ctl(&["del", &self.key]);
    }

    async fn swallowed(&self) -> Option<u64> {
        Some(self.proxy.swallowed())
    }

    fn leaves_out(&self, _row: Row) -> Option<&'static str> {
        None
    }

    fn debug(&self) -> String {
        format!("{:?}", EtcdSink::new(self.settings(false)).unwrap())
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// The token is one no more when a user's rights or password change, and after a while.
#[test]
fn a_token_that_is_refused_is_asked_for_again_with_the_password_as_it_is_then() {
    let server = Server::start(&[]);
    server.enable_users("the-first-hunter2");
    let password = Arc::new(Mutex::new("the-first-hunter2".to_owned()));
    let kept = password.clone();
    let read = Credential(Arc::new(move || Ok(Secret::new(kept.lock().unwrap().clone()))));
    let user = Some(("keywheel".to_owned(), read));
    let sink = EtcdSink::new(EtcdSettings { user, ..settings(&server.url(), "/conformance/a") }).unwrap();
    run(async {
        sink.deliver(&document(1)).await.unwrap();
        server.set_password("the-second-hunter2");
        let fault = sink.deliver(&document(2)).await.unwrap_err();
        assert_eq!(fault.kind, Kind::SinkDenied, "{fault}");
        assert!(fault.next_step.contains("user and password") && !fault.to_string().contains("hunter2"), "{fault}");
        *password.lock().unwrap() = "the-second-hunter2".to_owned();
        sink.deliver(&document(2)).await.unwrap();
    });
}

#[test]
fn a_store_without_users_is_written_without_one_and_refused_where_one_is_named() {
    let server = Server::start(&[]);
    run(async {
        let sink = EtcdSink::new(settings(&server.url(), "/x")).unwrap();
        sink.ready(&document(1).target).await.unwrap();
        assert!(sink.has_lost_it().await, "nothing is there");
        sink.deliver(&document(1)).await.unwrap();
        assert!(!sink.has_lost_it().await);

        let named = EtcdSink::new(with_user(&server.url(), "/x")).unwrap();
        let fault: Fault = named.ready(&document(1).target).await.unwrap_err();
        assert_eq!(fault.kind, Kind::SinkDenied, "{fault}");
        assert!(fault.next_step.contains("auth enable"), "{fault}");
    });
}

/// The parts and names that the owner chose, as in files.
#[test]
fn a_key_holds_the_chosen_fields_and_is_read_by_their_names() {
    let server = Server::start(&[]);
    let fields = [("password", "secret"), ("target", "owner")].map(|(part, name)| (part.to_owned(), name.to_owned()));
    let chosen = EtcdSettings { fields: Some(fields.into()), ..settings(&server.url(), "/chosen") };
    let sink = EtcdSink::new(chosen).unwrap();
    let held = run(async {
        sink.deliver(&document(1)).await.unwrap();
        assert_eq!(sink.holds(&document(1)).await.unwrap(), Holds::Same);
        sink.read_back(&document(1).target).await.unwrap().unwrap()
    });
    let sent = document(1).login_password;
    let Held::AsSent(held) = held else { panic!("what clients send") };
    assert_eq!(held.expose(), sent.expose());
    let written: serde_json::Value = serde_json::from_slice(&server.get("/chosen").unwrap()).unwrap();
    assert_eq!(written, serde_json::json!({ "owner": "orders-cache", "secret": sent.expose() }));
}

/// The first member is down; the sink goes to the next.
#[test]
fn another_member_is_asked_where_one_cannot_be_reached() {
    let server = Server::start(&[]);
    let nobody = format!("http://127.0.0.1:{}", server::free_port());
    let endpoints = [nobody, server.url()].iter().map(|url| url.parse().unwrap()).collect();
    let sink = EtcdSink::new(EtcdSettings { endpoints, ..settings(&server.url(), "/two") }).unwrap();
    run(async {
        sink.ready(&document(1).target).await.unwrap();
        sink.deliver(&document(1)).await.unwrap();
        assert_eq!(sink.holds(&document(1)).await.unwrap(), Holds::Same);
    });
    assert!(server.get("/two").is_some());
}

/// Over TLS, to a server that asks for a client certificate; and in another form.
#[test]
fn a_client_certificate_opens_the_connection() {
    let folder = tempfile::tempdir().unwrap();
    let pki = server::Pki::in_folder(folder.path());
    let server = Server::start(&pki.options());
    let url = server.url();
    let without = || EtcdSettings { ca_file: Some(pki.ca()), format: Format::Env, ..settings(&url, "/tls") };
    run(async {
        let fault = EtcdSink::new(without()).unwrap().deliver(&document(1)).await.unwrap_err();
        assert_eq!(fault.kind, Kind::SinkUnavailable, "{fault}");
        let certificate = Certificate { certificate: pki.client(), key: pki.client_key() };
        let sink = EtcdSink::new(EtcdSettings { certificate: Some(certificate), ..without() }).unwrap();
        sink.deliver(&document(1)).await.unwrap();
        assert_eq!(sink.holds(&document(1)).await.unwrap(), Holds::Same);
        assert!(sink.read_back(&document(1).target).await.unwrap().is_some());
    });
    let marker = server.get("/tls.keywheel").unwrap();
    assert_eq!(marker, br#"{"target":"orders-cache","generation":1,"rotation":null}"#);
    assert!(server.get("/tls").unwrap().starts_with(b"REDIS_USER=\"app\"\nREDIS_PASSWORD="));

    std::fs::set_permissions(pki.client_key(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let certificate = Some(Certificate { certificate: pki.client(), key: pki.client_key() });
    let sink = EtcdSink::new(EtcdSettings { certificate, ..without() }).unwrap();
    let fault = run(sink.ready(&document(1).target)).unwrap_err();
    assert!(fault.kind == Kind::SinkDenied && fault.what.contains("others may read it"), "{fault}");
}

/// One that lives for an hour is replaced under the same name. While it is not there, that is this sink's trouble and nobody else's.
#[test]
fn a_client_certificate_that_is_replaced_is_read_anew() {
    let (folder, strangers) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (pki, stranger) = (server::Pki::in_folder(folder.path()), server::Pki::in_folder(strangers.path()));
    let server = Server::start(&pki.options());
    let shown = Certificate { certificate: folder.path().join("shown.pem"), key: folder.path().join("shown.key") };
    let place = |from: &server::Pki| {
        std::fs::copy(from.client(), &shown.certificate).unwrap();
        std::fs::copy(from.client_key(), &shown.key).unwrap();
    };
    let own = EtcdSettings { ca_file: Some(pki.ca()), ..settings(&server.url(), "/renewed") };
    let sink = EtcdSink::new(EtcdSettings { certificate: Some(shown.clone()), ..own }).unwrap();
    let ready = || run(sink.ready(&document(1).target));
    let fault = ready().unwrap_err();
    assert_eq!((fault.kind, fault.retry), (Kind::SinkDenied, keywheel::fault::Retry::Later), "{fault}");
    assert!(fault.what.contains("shown.pem"), "{fault}");
    place(&stranger);
    assert_eq!(ready().unwrap_err().kind, Kind::SinkUnavailable);
    // Half of the new one.
    std::fs::copy(pki.client(), &shown.certificate).unwrap();
    let fault = ready().unwrap_err();
    assert_eq!(fault.kind, Kind::SinkDenied, "{fault}");
    place(&pki);
    ready().unwrap();
    run(sink.deliver(&document(1))).unwrap();
    std::fs::remove_file(&shown.key).unwrap();
    assert!(ready().unwrap_err().what.contains("shown.key"));
    place(&pki);
    ready().unwrap();
}

/// Without its JSON gateway a real etcd answers in another way.
#[test]
fn a_gateway_that_is_off_is_said() {
    let server = Server::start(&["--enable-grpc-gateway=false".to_owned()]);
    let sink = EtcdSink::new(settings(&server.url(), "/off")).unwrap();
    let fault = run(sink.ready(&document(1).target)).unwrap_err();
    assert_eq!(fault.kind, Kind::SinkDenied, "{fault}");
    assert!(fault.next_step.contains("--enable-grpc-gateway"), "{fault}");
}

fn decoded(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap()
}
