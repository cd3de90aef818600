//! `vault`, with the stand-in of a Vault beside it.

use super::conformance::{Seen, Store, Trouble};
use super::rows::{Row, TOKEN, document};
use super::stand_in::StandIn;
use super::vault_stand_in::{ROOT, Vault};
use keywheel::clock::{Clock, SystemClock};
use keywheel::config::PasswordRef;
use keywheel::fault::{Fault, Kind, Retry};
use keywheel::http::Settings;
use keywheel::moment::Moment;
use keywheel::secret::Secret;
use keywheel::sink::vault::{Auth, VaultSettings, VaultSink};
use keywheel::sink::web::Credential;
use keywheel::sink::{Holds, Sink};
use serde_json::json;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_rustls::TlsAcceptor;

pub const MOUNT: &str = "kv/shop";
pub const PATH: &str = "redis/orders cache";

fn credential(text: &str) -> Credential {
    let text = text.to_owned();
    Credential(Arc::new(move || Ok(Secret::new(text.clone()))))
}

pub fn app_role() -> Auth {
    Auth::AppRole {
        mount: "approle".to_owned(),
        role_id: credential("keywheel-role"),
        secret_id: Some(credential(TOKEN)),
    }
}

pub fn settings(url: &str, auth: Auth) -> VaultSettings {
    VaultSettings {
        address: url.parse().unwrap(),
        mount: MOUNT.to_owned(),
        path: PATH.to_owned(),
        namespace: Some("shop/eu".to_owned()),
        auth,
        reach: Settings { timeout: Duration::from_secs(30), ca_file: None },
    }
}

fn sink(vault: &StandIn<Vault>, settings: VaultSettings) -> VaultSink {
    let clock = vault.service.clock.clone();
    VaultSink::new(settings, Arc::new(move || Moment::from_seconds(clock.load(Ordering::Relaxed)))).unwrap()
}

pub struct Kv(StandIn<Vault>);

impl Kv {
    fn settings(&self, hasty: bool) -> VaultSettings {
        let settings = settings(&self.0.url(), app_role());
        let timeout = Duration::from_millis(if hasty { 300 } else { 30_000 });
        VaultSettings { reach: Settings { timeout, ca_file: None }, ..settings }
    }
}

impl Store for Kv {
    const NAME: &'static str = "vault";

    async fn begin() -> Self {
        Self(StandIn::start(Vault::new(MOUNT)).await)
    }

    fn sink(&self, hasty: bool) -> Arc<dyn Sink> {
        Arc::new(sink(&self.0, self.settings(hasty)))
    }

    async fn seen(&self) -> Option<Seen> {
        let data = self.0.service.newest(PATH)?;
        Some(Seen {
            generation: data["generation"].as_u64().unwrap(),
            account: data["account"].as_str().unwrap().to_owned(),
            password: data["password"].as_str().unwrap().to_owned(),
        })
    }

    async fn mark(&self) -> String {
        format!("{:?}", self.0.service.versions(PATH))
    }

    async fn fail(&self, trouble: Trouble) {
        self.0.fail(trouble);
        if trouble == Trouble::Down {
            self.0.shut().await;
        }
    }

    async fn mend(&self) {
        self.0.mend();
    }

    async fn wipe(&self) {
        self.0.service.delete_newest(PATH);
    }

    async fn swallowed(&self) -> Option<u64> {
        Some(self.0.swallowed())
    }

    fn leaves_out(&self, _row: Row) -> Option<&'static str> {
        None
    }

    fn debug(&self) -> String {
        format!("{:?} {:?}", self.settings(false), sink(&self.0, self.settings(false)))
    }
}

async fn vault() -> StandIn<Vault> {
    StandIn::start(Vault::new(MOUNT)).await
}

fn target() -> keywheel::name::TargetName {
    "orders-cache".parse().unwrap()
}

async fn denied(sink: &VaultSink) -> Fault {
    let fault = sink.ready(&target()).await.unwrap_err();
    assert_eq!((fault.kind, fault.retry), (Kind::SinkDenied, Retry::Later), "{fault}");
    fault
}

#[tokio::test]
async fn each_way_to_log_in_leads_to_the_store_and_a_refusal_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "pod-identity-token\n").unwrap();
    let pod = |role: &str| Auth::Kubernetes {
        mount: "clusters/eu".to_owned(),
        role: role.to_owned(),
        token_file: file.clone(),
    };
    let role = |secret_id: &str| Auth::AppRole {
        mount: "approle".to_owned(),
        role_id: credential("keywheel-role"),
        secret_id: Some(credential(secret_id)),
    };
    for (auth, wrong, said) in [
        (app_role(), role("not-this-secret-id"), "invalid role or secret ID"),
        (pod("keywheel"), pod("another"), "invalid role name"),
        (
            Auth::Token(credential("root-token-of-the-test")),
            Auth::Token(credential("not-this-token")),
            "permission denied",
        ),
    ] {
        let vault = vault().await;
        let fault = denied(&sink(&vault, settings(&vault.url(), wrong))).await;
        assert!(fault.what.contains(said) && !fault.to_string().contains("not-this"), "{fault}");
        let sink = sink(&vault, settings(&vault.url(), auth));
        sink.ready(&target()).await.unwrap();
        sink.deliver(&document(1)).await.unwrap();
        assert_eq!(vault.service.newest(PATH).unwrap()["generation"], 1);
        assert!(vault.service.namespaces().iter().all(|namespace| namespace == "shop/eu"));
    }
}

#[tokio::test]
async fn a_token_is_renewed_in_time_and_replaced_when_it_ended_or_is_refused() {
    let vault = vault().await;
    let sink = sink(&vault, settings(&vault.url(), app_role()));
    let later = |seconds: i64| vault.service.clock.fetch_add(seconds, Ordering::Relaxed);
    let counts = || (vault.service.logins(), vault.service.renewals());
    sink.deliver(&document(1)).await.unwrap();
    assert_eq!(counts(), (1, 0));
    later(Vault::LEASE / 3);
    sink.deliver(&document(2)).await.unwrap();
    assert_eq!(counts(), (1, 0), "the token is young");
    later(Vault::LEASE / 3 + 1);
    sink.deliver(&document(3)).await.unwrap();
    assert_eq!(counts(), (1, 1), "two thirds of its time are over");
    later(Vault::LEASE + 1);
    sink.deliver(&document(4)).await.unwrap();
    assert_eq!(counts(), (2, 1), "it has ended");
    vault.service.revoke_all();
    sink.deliver(&document(5)).await.unwrap();
    assert_eq!(counts(), (3, 1), "it was refused");
    // Near the end of its longest life a renewal gives nothing more.
    vault.service.set_longest_life(Vault::LEASE);
    later(Vault::LEASE * 9 / 10);
    sink.deliver(&document(6)).await.unwrap();
    assert_eq!(vault.service.logins(), 4);
    assert_eq!(vault.service.newest(PATH).unwrap()["generation"], 6);
}

#[tokio::test]
async fn a_version_that_was_deleted_or_destroyed_comes_back_and_never_as_an_older_one() {
    let vault = vault().await;
    let sink = sink(&vault, settings(&vault.url(), app_role()));
    sink.deliver(&document(3)).await.unwrap();
    for harm in [Vault::delete_newest, Vault::destroy_newest] {
        harm(&vault.service, PATH);
        assert!(sink.has_lost_it().await);
        assert_eq!(sink.holds(&document(3)).await.unwrap(), Holds::Absent);
        assert_eq!(sink.deliver(&document(2)).await.unwrap_err().kind, Kind::SinkNewer);
        sink.deliver(&document(3)).await.unwrap();
        assert_eq!(sink.holds(&document(3)).await.unwrap(), Holds::Same);
    }
    assert_eq!(vault.service.versions(PATH).len(), 3);
}

#[tokio::test]
async fn what_is_noted_beside_the_secret_says_whose_it_is_and_leaves_others_notes() {
    let vault = vault().await;
    vault.service.note(PATH, "owner", "the shop");
    let sink = sink(&vault, settings(&vault.url(), app_role()));
    sink.deliver(&document(1)).await.unwrap();
    sink.deliver(&document(2)).await.unwrap();
    let expected = json!({
        "owner": "the shop", "managed-by": "keywheel", "target": "orders-cache", "generation": "2", "rotation": "adopted"
    });
    assert_eq!(vault.service.notes(PATH), expected);
    // A delivery that broke off before the note is made whole by the next.
    vault.service.note(PATH, "generation", "1");
    sink.deliver(&document(2)).await.unwrap();
    assert_eq!((vault.service.notes(PATH), vault.service.versions(PATH).len()), (expected, 2));
}

#[tokio::test]
async fn what_is_not_permitted_is_found_before_and_the_missing_lines_are_named() {
    let vault = vault().await;
    let sink = sink(&vault, settings(&vault.url(), app_role()));
    for (lacking, line) in [
        ("data", r#"path "kv/shop/data/redis/orders cache" { capabilities = ["create", "read", "update"] }"#),
        ("metadata", r#"path "kv/shop/metadata/redis/orders cache" { capabilities = ["create", "update"] }"#),
    ] {
        vault.service.forbid(lacking);
        let fault = denied(&sink).await;
        assert!(fault.next_step.ends_with(line), "{fault}");
        let fault = sink.deliver(&document(1)).await.unwrap_err();
        assert!(fault.kind == Kind::SinkDenied && fault.next_step.ends_with(line), "{fault}");
        vault.service.forbid("");
    }
    sink.ready(&target()).await.unwrap();
}

#[tokio::test]
async fn a_standby_a_seal_a_redirect_and_another_kind_of_store_are_told_apart() {
    let vault = vault().await;
    let sink = sink(&vault, settings(&vault.url(), app_role()));
    sink.deliver(&document(1)).await.unwrap();
    for (status, kind, said, advised) in [
        (472, Kind::SinkUnavailable, "a standby", "active node"),
        (473, Kind::SinkUnavailable, "a standby", "active node"),
        (503, Kind::SinkUnavailable, "sealed", "unseal"),
        (412, Kind::SinkDenied, "412", ""),
        (307, Kind::SinkDenied, "a redirect", "address"),
    ] {
        vault.service.answer_all_with(Some(status));
        for fault in [sink.ready(&target()).await.unwrap_err(), sink.deliver(&document(2)).await.unwrap_err()] {
            assert_eq!(fault.kind, kind, "{fault}");
            assert!(fault.what.contains(said) && fault.next_step.contains(advised), "{fault}");
        }
        vault.service.answer_all_with(None);
    }
    vault.service.make_version_one();
    let fault = denied(&sink).await;
    assert!(
        fault.what.contains("no KV store of version 2") && fault.next_step.contains("enable-versioning"),
        "{fault}"
    );
    assert_eq!(vault.service.versions(PATH).len(), 1);
}

/// A server's certificate and a client's, of one authority whose certificate is in the file.
pub struct Certificates {
    folder: tempfile::TempDir,
    pub acceptor: TlsAcceptor,
}

impl Certificates {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        // Another name than the others have, or it would look as if they vouched for themselves.
        authority.distinguished_name.push(rcgen::DnType::CommonName, "authority of the test");
        let root = authority.self_signed(&authority_key).unwrap();
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let signed = |name: &str| {
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate =
                rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
            (certificate, key)
        };
        let (server, client) = (signed("127.0.0.1"), signed("keywheel"));
        for (name, text) in
            [("ca.pem", root.pem()), ("client.pem", client.0.pem()), ("client.key", client.1.serialize_pem())]
        {
            std::fs::write(folder.path().join(name), text).unwrap();
            std::fs::set_permissions(folder.path().join(name), Permissions::from_mode(0o600)).unwrap();
        }
        keywheel::http::choose_cryptography();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(root.der().clone()).unwrap();
        let verifier =
            rustls::server::WebPkiClientVerifier::builder(roots.into()).allow_unauthenticated().build().unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(server.1.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![server.0.der().clone()], key)
            .unwrap();
        Self { folder, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[tokio::test]
async fn a_certificate_logs_in_over_tls_alone_and_is_read_anew_for_each_login() {
    let certificates = Certificates::new();
    let vault = StandIn::start_with(Vault::new(MOUNT), Some(certificates.acceptor.clone())).await;
    let reach = Settings { timeout: Duration::from_secs(30), ca_file: Some(certificates.path("ca.pem")) };
    let key = certificates.path("client.key");
    let auth = Auth::Certificate {
        mount: "cert".to_owned(),
        role: None,
        certificate: certificates.path("client.pem"),
        key: Credential(Arc::new(move || Ok(Secret::new(std::fs::read_to_string(&key).unwrap())))),
    };
    let sink = sink(&vault, VaultSettings { reach, ..settings(&vault.url(), auth) });
    sink.ready(&target()).await.unwrap();
    sink.deliver(&document(1)).await.unwrap();
    assert_eq!(vault.service.newest(PATH).unwrap()["generation"], 1);
    let stranger = settings(&vault.url(), app_role());
    let fault = VaultSink::new(stranger, Arc::new(|| Moment::from_seconds(0))).map(drop);
    // The machine's own certificates, where it has some, do not vouch for this server.
    if fault.is_ok() {
        let stranger = self::sink(&vault, settings(&vault.url(), app_role()));
        assert_eq!(stranger.deliver(&document(2)).await.unwrap_err().kind, Kind::SinkUnavailable);
    }
    std::fs::write(certificates.path("client.pem"), "hunter2").unwrap();
    vault.service.revoke_all();
    let fault = denied(&sink).await;
    assert!(fault.what.contains("not PEM") && !fault.to_string().contains("hunter2"), "{fault}");
    std::fs::remove_file(certificates.path("client.pem")).unwrap();
    assert!(denied(&sink).await.what.contains("client.pem"));
}

/// The way from a line in the configuration to the sink, each way to log in once.
#[tokio::test]
async fn a_configured_sink_reads_what_was_delivered() {
    let certificates = Certificates::new();
    let secret = |name: &str, text: &str| {
        std::fs::write(certificates.path(name), text).unwrap();
        std::fs::set_permissions(certificates.path(name), Permissions::from_mode(0o600)).unwrap();
        format!("{{ file = {:?} }}", certificates.path(name))
    };
    let (token, role, secret_id) = (secret("token", ROOT), secret("role", "keywheel-role"), secret("secret-id", TOKEN));
    secret("pod", "pod-identity-token");
    let key = format!("{{ file = {:?} }}", certificates.path("client.key"));
    for (auth, tls) in [
        (format!("{{ method = \"token\", token = {token} }}"), false),
        (format!("{{ method = \"approle\", role-id = {role}, secret-id = {secret_id} }}"), false),
        (
            format!(
                "{{ method = \"kubernetes\", role = \"keywheel\", mount = \"clusters/eu\", token-file = {:?} }}",
                certificates.path("pod")
            ),
            false,
        ),
        (format!("{{ method = \"cert\", certificate = {:?}, key = {key} }}", certificates.path("client.pem")), true),
    ] {
        let vault = StandIn::start_with(Vault::new(MOUNT), tls.then(|| certificates.acceptor.clone())).await;
        let ca_file = tls.then(|| certificates.path("ca.pem"));
        let ca_line = ca_file.as_ref().map_or_else(String::new, |path| format!("ca-file = {path:?}"));
        let reach = Settings { timeout: Duration::from_secs(30), ca_file };
        let at = VaultSettings {
            path: "redis/orders-cache".to_owned(),
            reach,
            ..settings(&vault.url(), Auth::Token(credential(ROOT)))
        };
        sink(&vault, at).deliver(&document(1)).await.unwrap();
        vault.service.clock.store(SystemClock.now().seconds(), Ordering::Relaxed);
        let text = format!(
            r#"
            [daemon]
            ledger = "sqlite:///var/lib/keywheel/ledger.db"
            sealing-key = {{ file = "/etc/keywheel/sealing-key" }}
            [providers.shop]
            kind = "tencent"
            region = "ap-guangzhou"
            credentials = {{ source = "environment" }}
            [sinks.vault]
            kind = "vault"
            address = "{}"
            mount = "{MOUNT}"
            path = "redis/{{{{ target }}}}"
            namespace = "shop/eu"
            auth = {auth}
            {ca_line}
            [targets.orders-cache]
            provider = "shop"
            instance = "crs-1"
            adopt = {{ sink = "vault" }}
            sinks = ["vault"]
            "#,
            vault.url()
        );
        let path = certificates.path("keywheel.toml");
        std::fs::write(&path, text).unwrap();
        let config = keywheel::config::load(&path, []).unwrap_or_else(|findings| panic!("{findings}")).config;
        let reference = PasswordRef::Sink("vault".parse().unwrap());
        let read = keywheel::assemble::password_from(&config, &target(), &reference).await;
        assert_eq!(read.unwrap_or_else(|fault| panic!("{auth}: {fault}")).expose(), document(1).password.expose());
    }
}
