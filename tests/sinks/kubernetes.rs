//! `kubernetes`, with the stand-in of an API server beside it.

mod fields;
mod rollout;
mod server;

use super::clients::{python, told};
use super::conformance::{Seen, Store, Trouble};
use super::rows::{Row, TOKEN, document};
use super::stand_in::StandIn;
use keywheel::config::PasswordRef;
use keywheel::fault::{Fault, Kind, Retry};
use keywheel::http::Settings;
use keywheel::kubernetes::{Access, ApiSettings, Pod};
use keywheel::moment::Moment;
use keywheel::secret::{Credential, Secret};
use keywheel::sink::kubernetes::{BASIC_AUTH, KubernetesSettings, KubernetesSink};
use keywheel::sink::{Held, Holds, Sink};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use server::{Cluster, NAMESPACE, SECRET};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio_rustls::TlsAcceptor;

/// All but the unreserved characters of RFC 3986.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// A kubeconfig with one context. `user` is what stands in the user, and `cluster` beside the server.
fn kubeconfig(url: &str, user: &Value, cluster: &Value) -> String {
    let mut whole = json!({ "server": url });
    whole.as_object_mut().unwrap().extend(cluster.as_object().unwrap().clone());
    // JSON is YAML.
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "shop",
        "clusters": [{ "name": "c", "cluster": whole }],
        "users": [{ "name": "u", "user": user }],
        "contexts": [
            { "name": "shop", "context": { "cluster": "c", "user": "u", "namespace": NAMESPACE } },
            { "name": "elsewhere", "context": { "cluster": "gone", "user": "u" } },
        ],
    })
    .to_string()
}

fn access(text: String) -> Access {
    Access::Kubeconfig {
        text: Credential(Arc::new(move || Ok(Secret::new(text.clone())))),
        context: None,
        environment: vec!["KEYWHEEL_TEST_NOTHING".to_owned()],
    }
}

fn api(access: Access) -> ApiSettings {
    ApiSettings { access, namespace: None, reach: Settings { timeout: Duration::from_secs(30), ca_file: None } }
}

fn settings(api: ApiSettings) -> KubernetesSettings {
    KubernetesSettings {
        api,
        secret: SECRET.to_owned(),
        kind: None,
        labels: BTreeMap::new(),
        fields: None,
        create: true,
        force: false,
    }
}

fn usual(cluster: &StandIn<Cluster>) -> KubernetesSettings {
    settings(api(access(kubeconfig(&cluster.url(), &json!({ "token": TOKEN }), &json!({})))))
}

fn sink(settings: KubernetesSettings) -> KubernetesSink {
    KubernetesSink::new(settings, Arc::new(|| Moment::from_seconds(0))).unwrap()
}

pub struct InCluster(StandIn<Cluster>);

impl InCluster {
    fn settings(&self, hasty: bool) -> KubernetesSettings {
        let mut settings = usual(&self.0);
        settings.api.reach.timeout = Duration::from_millis(if hasty { 300 } else { 30_000 });
        settings
    }
}

impl Store for InCluster {
    const NAME: &'static str = "kubernetes";

    async fn begin() -> Self {
        Self(StandIn::start(Cluster::new()).await)
    }

    fn sink(&self, hasty: bool) -> Arc<dyn Sink> {
        Arc::new(sink(self.settings(hasty)))
    }

    async fn seen(&self) -> Option<Seen> {
        let text = |key| self.0.service.text(key);
        Some(Seen {
            generation: text("generation")?.parse().unwrap(),
            account: text("account").unwrap(),
            password: text("password").unwrap(),
        })
    }

    async fn mark(&self) -> String {
        let object = self.0.service.object("secrets", SECRET);
        object.map(|object| object["metadata"]["resourceVersion"].to_string()).unwrap_or_default()
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
        self.0.service.remove("secrets", SECRET);
    }

    async fn swallowed(&self) -> Option<u64> {
        Some(self.0.swallowed())
    }

    fn leaves_out(&self, row: Row) -> Option<&'static str> {
        (row == Row::Full).then_some("a dry run keeps nothing and needs no room; a test of its own has the write")
    }

    fn debug(&self) -> String {
        format!("{:?} {:?}", self.settings(false), sink(self.settings(false)))
    }
}

async fn cluster() -> StandIn<Cluster> {
    StandIn::start(Cluster::new()).await
}

fn target() -> keywheel::name::TargetName {
    "orders-cache".parse().unwrap()
}

/// Both questions are answered with the same refusal.
async fn refused(sink: &KubernetesSink, generation: u64) -> Fault {
    let ready = sink.ready(&target()).await.unwrap_err();
    let fault = sink.deliver(&document(generation)).await.unwrap_err();
    assert_eq!((ready.kind, &ready.next_step), (fault.kind, &fault.next_step), "{ready} | {fault}");
    assert_eq!((fault.kind, fault.retry), (Kind::SinkDenied, Retry::Later), "{fault}");
    fault
}

fn path(parameters: &str) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/secrets/{SECRET}?{parameters}")
}

/// Names and kinds of whom the server notes, and the keys of the data that are theirs.
fn managers(cluster: &StandIn<Cluster>) -> Vec<(String, String, Vec<String>)> {
    let object = cluster.service.object("secrets", SECRET).unwrap();
    let entry = |entry: &Value| {
        let keys = entry["fieldsV1"]["f:data"].as_object().map(|keys| keys.keys().cloned().collect());
        let word = |key: &str| entry[key].as_str().unwrap().to_owned();
        (word("manager"), word("operation"), keys.unwrap_or_default())
    };
    object["metadata"]["managedFields"].as_array().unwrap().iter().map(entry).collect()
}

#[tokio::test]
async fn a_secret_is_applied_and_a_field_that_is_not_written_any_more_goes() {
    let cluster = cluster().await;
    let fields = |pairs: &[(&str, &str)]| {
        Some(pairs.iter().map(|(part, name)| ((*part).to_owned(), (*name).to_owned())).collect::<BTreeMap<_, _>>())
    };
    let both = fields(&[("password", "REDIS_PASSWORD"), ("url", "REDIS_URL")]);
    let labels = BTreeMap::from([("app.kubernetes.io/part-of".to_owned(), "orders".to_owned())]);
    let first = sink(KubernetesSettings { fields: both, labels: labels.clone(), ..usual(&cluster) });
    first.deliver(&document(1)).await.unwrap();
    let own = |keys: &[&str]| {
        let keys = keys.iter().map(|key| format!("f:{key}")).collect();
        vec![("keywheel".to_owned(), "Apply".to_owned(), keys)]
    };
    let mut all = managers(&cluster);
    all[0].2.retain(|key| key != ".");
    assert_eq!(all, own(&["REDIS_PASSWORD", "REDIS_URL"]));
    let object = cluster.service.object("secrets", SECRET).unwrap();
    assert_eq!(object["metadata"]["labels"], json!(labels));
    assert_eq!(object["metadata"]["annotations"]["keywheel/target"], "orders-cache");
    assert_eq!(
        (&object["metadata"]["annotations"]["keywheel/generation"], &object["type"]),
        (&json!("1"), &json!("Opaque"))
    );

    // The same generation in another form; and what a person added stays.
    let added = json!({ "data": { "note": "bm90ZQ==" } });
    assert_eq!(cluster.service.ask("PATCH", &path("fieldManager=kubectl-edit"), MERGE, &added).status, 200);
    let fewer = sink(KubernetesSettings { fields: fields(&[("password", "REDIS_PASSWORD")]), ..usual(&cluster) });
    assert_eq!(fewer.holds(&document(1)).await.unwrap(), Holds::Same);
    fewer.deliver(&document(1)).await.unwrap();
    assert_eq!(cluster.service.text("REDIS_URL"), None);
    assert_eq!(cluster.service.text("note").as_deref(), Some("note"));
    assert_eq!(cluster.service.text("REDIS_PASSWORD").as_deref(), Some(document(1).password.expose()));
    assert!(managers(&cluster).contains(&own(&["REDIS_PASSWORD"])[0]), "{:?}", managers(&cluster));
    let object = cluster.service.object("secrets", SECRET).unwrap();
    assert_eq!(object["metadata"]["labels"], Value::Null, "the label is not configured any more");
}

/// A note that came too late is made again: without it, what keywheel created would be a stranger's in the way of what it applies.
#[tokio::test]
async fn a_note_of_the_field_manager_that_somebody_came_before_is_made_again() {
    let cluster = cluster().await;
    let sink = sink(usual(&cluster));
    cluster.service.meddle_with_the_next_note();
    sink.deliver(&document(1)).await.unwrap();
    let all = managers(&cluster);
    assert!(all.iter().all(|(manager, operation, _)| manager != "keywheel" || operation == "Apply"), "{all:?}");
    // Created and not noted, as after a crash, and of the generation before: the next delivery notes it and applies its own.
    assert_eq!(cluster.service.ask("DELETE", &path(""), "", &json!({})).status, 200);
    cluster.fail(Trouble::LostAnswer);
    sink.deliver(&document(1)).await.unwrap_err();
    cluster.service.meddle_with_the_next_note();
    sink.deliver(&document(2)).await.unwrap();
    assert_eq!(cluster.service.text("password").as_deref(), Some(document(2).password.expose()));
}

#[tokio::test]
async fn somebody_elses_fields_are_named_and_taken_over_only_by_force() {
    let cluster = cluster().await;
    let gentle = sink(usual(&cluster));
    gentle.deliver(&document(1)).await.unwrap();
    let theirs = json!({ "data": { "password": "aHVudGVyMg==" } });
    assert_eq!(cluster.service.ask("PATCH", &path("fieldManager=kubectl-edit"), MERGE, &theirs).status, 200);
    assert_eq!(gentle.holds(&document(1)).await.unwrap(), Holds::Other);
    let fault = refused(&gentle, 2).await;
    assert!(fault.what.contains(".data.password: conflict with \"kubectl-edit\" using v1"), "{fault}");
    assert!(fault.next_step.contains("force = true"), "{fault}");
    assert_eq!(cluster.service.text("password").as_deref(), Some("hunter2"));
    let forceful = sink(KubernetesSettings { force: true, ..usual(&cluster) });
    forceful.ready(&target()).await.unwrap();
    assert_eq!(cluster.service.text("password").as_deref(), Some("hunter2"), "a rehearsal was seen");
    forceful.deliver(&document(2)).await.unwrap();
    assert_eq!(cluster.service.text("password").as_deref(), Some(document(2).password.expose()));
    gentle.deliver(&document(3)).await.unwrap();
    // Force takes over from who applies, too, and never overwrites what is newer.
    let newer = json!({ "metadata": { "annotations": { "keywheel/generation": "9" } } });
    let answer = cluster.service.ask("PATCH", &path("fieldManager=another&force=true"), APPLY, &newer);
    assert_eq!(answer.status, 200);
    assert_eq!(forceful.deliver(&document(4)).await.unwrap_err().kind, Kind::SinkNewer);
}

#[tokio::test]
async fn a_secret_that_a_person_made_is_taken_where_it_is_empty() {
    let cluster = cluster().await;
    let quiet = sink(KubernetesSettings { create: false, ..usual(&cluster) });
    let fault = refused(&quiet, 1).await;
    assert!(
        fault.what.contains("There is no Secret redis-orders") && fault.next_step.contains("create = true"),
        "{fault}"
    );
    assert!(quiet.has_lost_it().await);
    let made = json!({ "metadata": { "name": SECRET }, "type": "Opaque" });
    let all = format!("/api/v1/namespaces/{NAMESPACE}/secrets?fieldManager=kubectl-create");
    assert_eq!(cluster.service.ask("POST", &all, "application/json", &made).status, 201);
    assert!(quiet.read_back(&target()).await.unwrap().is_none() && quiet.has_lost_it().await);
    quiet.ready(&target()).await.unwrap();
    quiet.deliver(&document(1)).await.unwrap();
    assert_eq!(cluster.service.text("password").as_deref(), Some(document(1).password.expose()));
    assert!(cluster.service.requests().iter().filter(|request| *request == "create secrets").count() == 1);
}

#[tokio::test]
async fn what_can_never_be_written_is_said_with_what_to_do() {
    let cluster = cluster().await;
    let opaque = sink(usual(&cluster));
    opaque.deliver(&document(1)).await.unwrap();
    let other = sink(KubernetesSettings { kind: Some(BASIC_AUTH.to_owned()), ..usual(&cluster) });
    let fault = refused(&other, 2).await;
    assert!(fault.what.contains("of the type Opaque, not kubernetes.io/basic-auth"), "{fault}");
    let sealed = json!({ "immutable": true });
    assert_eq!(cluster.service.ask("PATCH", &path("fieldManager=kubectl-edit"), MERGE, &sealed).status, 200);
    let fault = refused(&opaque, 2).await;
    assert!(
        fault.what.contains("immutable") && fault.next_step.contains("kubectl delete secret redis-orders"),
        "{fault}"
    );
    // What it holds already needs no write.
    opaque.deliver(&document(1)).await.unwrap();
    assert_eq!(cluster.service.ask("DELETE", &path(""), "", &json!({})).status, 200);
    other.deliver(&document(2)).await.unwrap();
    assert_eq!(cluster.service.text("username").as_deref(), Some("app"));
    assert_eq!(cluster.service.text("password").as_deref(), Some(document(2).password.expose()));
}

#[tokio::test]
async fn a_missing_right_is_named_as_the_role_has_it() {
    for (verb, create) in [("get", false), ("patch", false), ("create", true)] {
        let cluster = cluster().await;
        let made = json!({ "metadata": { "name": SECRET } });
        if !create {
            let all = format!("/api/v1/namespaces/{NAMESPACE}/secrets");
            assert_eq!(cluster.service.ask("POST", &all, "application/json", &made).status, 201);
        }
        cluster.service.forbid(verb, "secrets");
        let fault = refused(&sink(KubernetesSettings { create, ..usual(&cluster) }), 1).await;
        assert!(fault.what.contains(&format!("cannot {verb} resource \"secrets\"")), "{fault}");
        let rule = "{apiGroups: [\"\"], resources: [secrets], resourceNames: [redis-orders], verbs: [get, patch]}";
        assert!(fault.next_step.contains(rule), "{fault}");
        assert_eq!(fault.next_step.contains("verbs: [create]"), create, "{fault}");
    }
}

#[tokio::test]
async fn what_the_cluster_says_to_a_write_is_passed_on() {
    let cluster = cluster().await;
    let sink = sink(usual(&cluster));
    for (code, reason, message, kind, advice) in [
        (403, "Forbidden", "secrets \"redis-orders\" is forbidden: exceeded quota: small", Kind::SinkDenied, "right"),
        (400, "BadRequest", "admission webhook \"guard\" denied the request: no", Kind::SinkDenied, ""),
        (422, "Invalid", "Secret \"redis-orders\" is invalid: metadata.labels", Kind::SinkDenied, "settings"),
        (500, "InternalError", "etcdserver: mvcc: database space exceeded", Kind::SinkUnavailable, ""),
        (503, "ServiceUnavailable", "the server is currently unable", Kind::SinkUnavailable, ""),
    ] {
        cluster.service.refuse_writes(Some((code, reason, message)));
        for fault in [sink.ready(&target()).await.unwrap_err(), sink.deliver(&document(1)).await.unwrap_err()] {
            assert_eq!(fault.kind, kind, "{fault}");
            assert!(fault.what.contains(message) && fault.next_step.contains(advice), "{fault}");
            assert!(!fault.next_step.contains("apiGroups"), "no right is missing: {fault}");
        }
    }
    // A word that repeats what was sent is not passed on with it.
    let echo: &'static str = document(1).password.expose().to_owned().leak();
    cluster.service.refuse_writes(Some((400, "BadRequest", echo)));
    let fault = sink.deliver(&document(1)).await.unwrap_err();
    assert!(!fault.to_string().contains(echo) && fault.what.contains("[secret]"), "{fault}");
    cluster.service.refuse_writes(None);
    sink.deliver(&document(1)).await.unwrap();
}

/// A server's certificate, a client's, and who made them.
struct Certificates {
    folder: tempfile::TempDir,
    acceptor: TlsAcceptor,
}

impl Certificates {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut authority = rcgen::CertificateParams::default();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority_key = rcgen::KeyPair::generate().unwrap();
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
            [("ca.crt", root.pem()), ("client.pem", client.0.pem()), ("client.key", client.1.serialize_pem())]
        {
            std::fs::write(folder.path().join(name), text).unwrap();
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

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn data(&self, name: &str) -> String {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(std::fs::read(self.path(name)).unwrap())
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
}

#[tokio::test]
async fn a_pod_shows_the_token_that_its_cluster_puts_there_and_replaces() {
    let certificates = Certificates::new();
    let cluster = StandIn::start_with(Cluster::new(), Some(certificates.acceptor.clone())).await;
    let pod = Pod {
        folder: certificates.folder.path().to_owned(),
        host: Some("127.0.0.1".to_owned()),
        port: Some(cluster.address.port().to_string()),
    };
    let clock = Arc::new(AtomicI64::new(0));
    let now = clock.clone();
    let settings = settings(api(Access::Pod(pod.clone())));
    let made = KubernetesSink::new(settings, Arc::new(move || Moment::from_seconds(now.load(Ordering::Relaxed))));
    let sink = made.unwrap();
    let fault = refused(&sink, 1).await;
    assert!(fault.what.contains("token cannot be read"), "{fault}");
    write(&certificates.path("namespace"), NAMESPACE);
    write(&certificates.path("token"), "first\n");
    cluster.service.set_tokens(&["first"]);
    sink.deliver(&document(1)).await.unwrap();
    // Refused: read anew at once. And after a minute whether it is refused or not.
    write(&certificates.path("token"), "second");
    cluster.service.set_tokens(&["second"]);
    sink.deliver(&document(2)).await.unwrap();
    write(&certificates.path("token"), "third");
    cluster.service.set_tokens(&["second", "third"]);
    sink.deliver(&document(3)).await.unwrap();
    assert_eq!(cluster.service.shown_tokens().last().map(String::as_str), Some("second"));
    clock.store(61, Ordering::Relaxed);
    sink.deliver(&document(4)).await.unwrap();
    assert_eq!(cluster.service.shown_tokens().last().map(String::as_str), Some("third"));
    cluster.service.set_tokens(&[]);
    let fault = sink.deliver(&document(5)).await.unwrap_err();
    assert!(fault.kind == Kind::SinkDenied && fault.what.contains("credentials are not accepted"), "{fault}");
    let outside = super::kubernetes::settings(api(Access::Pod(Pod { host: None, ..pod })));
    let fault = refused(&super::kubernetes::sink(outside), 1).await;
    assert!(fault.what.contains("runs in no pod") && fault.next_step.contains("kubeconfig"), "{fault}");
}

#[tokio::test]
async fn each_user_of_a_kubeconfig_leads_to_the_secret() {
    let certificates = Certificates::new();
    let cluster = StandIn::start_with(Cluster::new(), Some(certificates.acceptor.clone())).await;
    cluster.service.take_certificates();
    let (by_data, by_file) = (
        json!({ "certificate-authority-data": certificates.data("ca.crt") }),
        json!({ "certificate-authority": certificates.path("ca.crt") }),
    );
    write(&certificates.path("token"), &format!("{TOKEN}\n"));
    let credential = |status: &Value| {
        let answer =
            json!({ "kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": status });
        json!({ "exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh", "interactiveMode": "IfAvailable", "provideClusterInfo": true,
            "args": ["-c", "case $KUBERNETES_EXEC_INFO in *'\"interactive\":false'*certificate-authority-data*|*certificate-authority-data*'\"interactive\":false'*) printf %s \"$ANSWER\";; *) exit 3;; esac"],
            "env": [{ "name": "ANSWER", "value": answer.to_string() }],
        } })
    };
    let read = |name: &str| std::fs::read_to_string(certificates.path(name)).unwrap();
    let users = [
        (json!({ "token": TOKEN }), &by_data),
        (json!({ "tokenFile": certificates.path("token") }), &by_file),
        (
            json!({ "client-certificate-data": certificates.data("client.pem"), "client-key-data": certificates.data("client.key") }),
            &by_data,
        ),
        (
            json!({ "client-certificate": certificates.path("client.pem"), "client-key": certificates.path("client.key") }),
            &by_data,
        ),
        (credential(&json!({ "token": TOKEN })), &by_data),
        (credential(&json!({ "token": TOKEN, "expirationTimestamp": "2020-01-02T03:04:05Z" })), &by_data),
        (
            credential(&json!({ "clientCertificateData": read("client.pem"), "clientKeyData": read("client.key") })),
            &by_data,
        ),
    ];
    for (generation, (user, authority)) in (1..).zip(users) {
        let sink = sink(settings(api(access(kubeconfig(&cluster.url(), &user, authority)))));
        sink.ready(&target()).await.unwrap_or_else(|fault| panic!("{user}: {fault}"));
        sink.deliver(&document(generation)).await.unwrap_or_else(|fault| panic!("{user}: {fault}"));
        assert_eq!(cluster.service.text("generation"), Some(generation.to_string()));
    }
    // Nobody vouches for the server without its authority.
    let alone = sink(settings(api(access(kubeconfig(&cluster.url(), &json!({ "token": TOKEN }), &json!({}))))));
    let fault = alone.deliver(&document(99)).await.unwrap_err();
    assert!([Kind::SinkUnavailable, Kind::SinkDenied].contains(&fault.kind), "{fault}");
}

#[tokio::test]
async fn a_program_for_credentials_is_asked_again_when_they_end_or_are_refused() {
    let cluster = cluster().await;
    let folder = tempfile::tempdir().unwrap();
    let (program, answer, calls) =
        (folder.path().join("plugin"), folder.path().join("answer"), folder.path().join("calls"));
    write(&program, &format!("#!/bin/sh\necho x >>{}\ncat {}\n", calls.display(), answer.display()));
    let answers = |token: &str, ends: &str| {
        let status = json!({ "token": token, "expirationTimestamp": ends });
        write(&answer, &json!({ "status": status }).to_string());
    };
    let asked = || std::fs::read_to_string(&calls).unwrap_or_default().lines().count();
    let user = json!({ "exec": { "apiVersion": "client.authentication.k8s.io/v1", "command": program } });
    let clock = Arc::new(AtomicI64::new(0));
    let now = clock.clone();
    let settings = settings(api(access(kubeconfig(&cluster.url(), &user, &json!({})))));
    let made = KubernetesSink::new(settings, Arc::new(move || Moment::from_seconds(now.load(Ordering::Relaxed))));
    let sink = made.unwrap();
    cluster.service.set_tokens(&["one", "two", TOKEN]);
    answers("one", "1970-01-01T01:00:00Z");
    sink.deliver(&document(1)).await.unwrap();
    sink.deliver(&document(2)).await.unwrap();
    assert_eq!(asked(), 1, "it is good for an hour");
    answers("two", "1970-01-01T02:00:00Z");
    clock.store(3_590, Ordering::Relaxed);
    sink.deliver(&document(3)).await.unwrap();
    assert_eq!(asked(), 2, "it ended");
    answers("three", "1970-01-01T02:00:00Z");
    cluster.service.set_tokens(&["three", TOKEN]);
    sink.deliver(&document(4)).await.unwrap();
    assert_eq!(asked(), 3, "it was refused");
    cluster.service.set_tokens(&[TOKEN]);
    assert_eq!(sink.deliver(&document(5)).await.unwrap_err().kind, Kind::SinkDenied);
    for (script, said) in [
        ("echo no login >&2; exit 4", "ended with status 4 and said: no login"),
        ("printf '{\"status\": {\"token\": \"hunter2\"}} and more'", "answered no ExecCredential"),
        ("printf '{\"status\": {}}'", "answered no ExecCredential"),
        ("echo '{\"status\": {\"token\": \"hunter2\"}}'; exit 1", "ended with status 1"),
        ("head -c 100000 /dev/zero", "more than 65536 bytes"),
    ] {
        write(&program, &format!("#!/bin/sh\n{script}\n"));
        let fault = sink.deliver(&document(5)).await.unwrap_err();
        assert_eq!((fault.kind, fault.retry), (Kind::SinkDenied, Retry::Later));
        assert!(fault.what.contains(said) && !fault.to_string().contains("hunter2"), "{fault}");
    }
}

#[tokio::test]
async fn what_of_a_kubeconfig_cannot_be_obeyed_is_refused_and_nothing_of_it_is_shown() {
    let cluster = cluster().await;
    let token = json!({ "token": "hunter2" });
    let with = |user: Value, more: Value| kubeconfig(&cluster.url(), &user, &more);
    let rows = [
        ("users: [hunter2".to_owned(), "The kubeconfig is none"),
        ("hunter2".to_owned(), "The kubeconfig is none"),
        (with(token.clone(), json!({ "proxy-url": "http://hunter2:x@127.0.0.1:9" })), "has a proxy-url"),
        (with(token.clone(), json!({ "insecure-skip-tls-verify": true })), "insecure-skip-tls-verify"),
        (with(token.clone(), json!({ "tls-server-name": "kubernetes" })), "tls-server-name"),
        (with(token.clone(), json!({ "certificate-authority-data": "hunter2!" })), "certificate-authority"),
        (with(json!({ "token": "hunter2", "as": "root" }), json!({})), "acts as somebody else"),
        (
            with(json!({ "auth-provider": { "name": "gcp", "config": { "access-token": "hunter2" } } }), json!({})),
            "auth-provider",
        ),
        (with(json!({ "username": "a", "password": "hunter2" }), json!({})), "user name and password"),
        (with(json!({}), json!({})), "a user without credentials"),
        (with(json!({ "token": "hunter2\u{7}" }), json!({})), "characters that no token has"),
        (with(json!({ "tokenFile": "token" }), json!({})), "without saying where that is"),
        (with(json!({ "client-key-data": "aHVudGVyMg==" }), json!({})), "and not the other"),
        (with(json!({ "exec": { "command": "aws" } }), json!({})), "without saying where that is"),
        (
            with(json!({ "exec": { "command": "/bin/true", "interactiveMode": "Always" } }), json!({})),
            "wants to ask a person",
        ),
        (with(token.clone(), json!({})).replace("\"shop\"", "\"hunter3\""), ""),
        (with(token.clone(), json!({})).replace("current-context", "currant-context"), "no current-context"),
        (with(token, json!({})).replace("http://127.0.0.1", "http://192.0.2.1"), "neither https nor plain http"),
    ];
    for (text, said) in rows {
        let fault = sink(settings(api(access(text.clone())))).deliver(&document(1)).await.unwrap_err();
        assert_eq!((fault.kind, fault.retry), (Kind::SinkDenied, Retry::Later), "{text}: {fault}");
        assert!(fault.what.contains(said) && !fault.to_string().contains("hunter2"), "{text}: {fault}");
    }
    for (context, said) in [("elsewhere", "no cluster \"gone\""), ("nowhere", "no context \"nowhere\"")] {
        let text = kubeconfig(&cluster.url(), &json!({ "token": TOKEN }), &json!({}));
        let text = Credential(Arc::new(move || Ok(Secret::new(text.clone()))));
        let access = Access::Kubeconfig { text, context: Some(context.to_owned()), environment: Vec::new() };
        let fault = sink(settings(api(access))).deliver(&document(1)).await.unwrap_err();
        assert!(fault.what.contains(said), "{fault}");
    }
    assert!(cluster.service.shown_tokens().iter().all(|token| token == "hunter2"), "a request went out");
}

/// The way from a line in the configuration to the Secret.
#[tokio::test]
async fn a_configured_sink_reads_what_was_delivered() {
    let cluster = cluster().await;
    sink(usual(&cluster)).deliver(&document(1)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (kube, path) = (folder.path().join("kubeconfig"), folder.path().join("keywheel.toml"));
    write(&kube, &kubeconfig(&cluster.url(), &json!({ "token": TOKEN }), &json!({})));
    let text = format!(
        r#"
        [daemon]
        ledger = "sqlite:///var/lib/keywheel/ledger.db"
        sealing-key = {{ file = "/etc/keywheel/sealing-key" }}
        [providers.shop]
        kind = "tencent"
        region = "ap-guangzhou"
        credentials = {{ source = "environment" }}
        [sinks.secret]
        kind = "kubernetes"
        secret = "redis-{{{{ instance }}}}"
        kubeconfig = {{ file = {kube:?} }}
        context = "shop"
        [targets.orders-cache]
        provider = "shop"
        instance = "orders"
        adopt = {{ sink = "secret" }}
        sinks = ["secret"]
        "#
    );
    std::fs::write(&path, text).unwrap();
    let config = keywheel::config::load(&path, []).unwrap_or_else(|findings| panic!("{findings}")).config;
    let reference = PasswordRef::Sink("secret".parse().unwrap());
    let read = keywheel::assemble::password_from(&config, &target(), &reference).await;
    assert_eq!(read.unwrap_or_else(|fault| panic!("{fault}")).expose(), document(1).password.expose());
}

/// A kubeconfig of a real API server, where somebody has one: its context's namespace is to have no Secrets and no workloads.
const REAL: &str = "KEYWHEEL_KUBECONFIG";

/// What Kubernetes' Python client makes of what the sink wrote, and of the server.
async fn judged_by_the_python_client(python: String, kubeconfig: String, namespace: &str) {
    let sink = sink(settings(api(access(kubeconfig.clone()))));
    sink.ready(&target()).await.unwrap();
    for generation in [1, 2] {
        sink.deliver(&document(generation)).await.unwrap();
    }
    assert_eq!(sink.deliver(&document(1)).await.unwrap_err().kind, Kind::SinkNewer);
    sink.ready(&target()).await.unwrap();
    let password = document(2).password;
    let expected = json!({
        "target": "orders-cache", "generation": "2", "account": "app", "user": "app", "password": password.expose(), "host": "10.0.0.12",
        "port": "6379", "tls": "false", "url": format!("redis://app:{}@10.0.0.12:6379", encoded(password.expose())),
    });
    let story = json!({ "kubeconfig": kubeconfig, "namespace": namespace, "secret": SECRET, "expected": expected });
    told(python, vec!["tests/sdk/kubernetes_client.py".to_owned()], story).await;
    // The client made the Secret immutable in the end, and deleted it.
    assert_eq!(sink.holds(&document(2)).await.unwrap(), Holds::Absent);
    sink.deliver(&document(2)).await.unwrap();
    assert_eq!(sink.holds(&document(2)).await.unwrap(), Holds::Same);
    let Some(Held::AsSent(held)) = sink.read_back(&target()).await.unwrap() else { panic!("nothing is held") };
    assert_eq!(held.expose(), password.expose());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_client_reads_what_the_sink_wrote_and_finds_an_api_server_in_the_stand_in() {
    let Some(python) = python() else { return };
    let cluster = cluster().await;
    let text = kubeconfig(&cluster.url(), &json!({ "token": TOKEN }), &json!({}));
    judged_by_the_python_client(python.clone(), text, NAMESPACE).await;
    if let Some(real) = std::env::var(REAL).ok().filter(|path| !path.is_empty()) {
        judged_by_the_python_client(python, std::fs::read_to_string(real).unwrap(), NAMESPACE).await;
    }
}
