//! `gcp-secret-manager`, with the stand-in of Google's services beside it.

mod late;

use super::conformance::{Seen, Store, Trouble};
use super::gcp_stand_in::{SecretManager, service_account_key};
use super::rows::{Row, TOKEN, document};
use super::stand_in::StandIn;
use keywheel::fault::{Fault, Kind, Retry};
use keywheel::http::Settings;
use keywheel::moment::Moment;
use keywheel::name::TargetName;
use keywheel::secret::Secret;
use keywheel::sink::file::Format;
use keywheel::sink::gcp_secret_manager::{GcpSecretManager, GcpSettings, Identity};
use keywheel::sink::web::Credential;
use keywheel::sink::{Document, Held, Holds, Sink};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const SECRET: &str = "redis-orders-cache";

type Google = StandIn<SecretManager>;

/// The file of a federated identity, whose token stands beside it.
pub fn external_account(folder: &Path, url: &str, token: &str, impersonated: bool) -> std::path::PathBuf {
    std::fs::write(folder.join("token"), token).unwrap();
    let pool = if impersonated { "impersonated" } else { "keywheel" };
    let mut file = json!({
        "type": "external_account", "universe_domain": "googleapis.com",
        "audience": format!("//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/{pool}/providers/cluster"),
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": format!("{url}/sts/token"),
        "credential_source": { "file": folder.join("token") },
    });
    if impersonated {
        file["service_account_impersonation_url"] = format!("{url}/impersonate:generateAccessToken").into();
    }
    let path = folder.join("external.json");
    std::fs::write(&path, file.to_string()).unwrap();
    path
}

fn key() -> Identity {
    Identity::ServiceAccount(Credential(Arc::new(|| Ok(Secret::new(service_account_key().json.clone())))))
}

pub fn settings(url: &str, identity: Identity) -> GcpSettings {
    GcpSettings {
        project: "shop-prod".to_owned(),
        location: None,
        secret: SECRET.to_owned(),
        identity,
        quota_project: None,
        create: false,
        keep: None,
        destroy: false,
        endpoint: Some(url.parse().unwrap()),
        format: Format::Json,
        prefix: None,
        template: None,
        fields: None,
        reach: Settings { timeout: Duration::from_secs(30), ca_file: None },
    }
}

fn sink(google: &Google, settings: GcpSettings) -> GcpSecretManager {
    let service = google.service.clone();
    let now = Arc::new(move || Moment::from_seconds(service.clock.load(Ordering::Relaxed)));
    GcpSecretManager::new(settings, now).unwrap()
}

/// The shared suite's: a workload of another provider, whose token is the secret that the sink shows.
pub struct Versions {
    google: Google,
    folder: tempfile::TempDir,
}

impl Versions {
    fn settings(&self, hasty: bool) -> GcpSettings {
        let file = external_account(self.folder.path(), &self.google.url(), TOKEN, true);
        let timeout = Duration::from_millis(if hasty { 300 } else { 30_000 });
        let reach = Settings { timeout, ca_file: None };
        GcpSettings { reach, ..settings(&self.google.url(), Identity::ExternalAccount(file)) }
    }
}

impl Store for Versions {
    const NAME: &'static str = "gcp";

    async fn begin() -> Self {
        Self { google: google().await, folder: tempfile::tempdir().unwrap() }
    }

    fn sink(&self, hasty: bool) -> Arc<dyn Sink> {
        Arc::new(sink(&self.google, self.settings(hasty)))
    }

    async fn seen(&self) -> Option<Seen> {
        let data: Value = serde_json::from_slice(&self.google.service.latest(SECRET)?).unwrap();
        Some(Seen {
            generation: data["generation"].as_u64().unwrap(),
            account: data["account"].as_str().unwrap().to_owned(),
            password: data["password"].as_str().unwrap().to_owned(),
        })
    }

    async fn mark(&self) -> String {
        format!("{:?}", self.google.service.versions(SECRET))
    }

    async fn fail(&self, trouble: Trouble) {
        self.google.fail(trouble);
        if trouble == Trouble::Down {
            self.google.shut().await;
        }
    }

    async fn mend(&self) {
        self.google.mend();
    }

    async fn wipe(&self) {
        self.google.service.close(SECRET, "DESTROYED");
    }

    async fn swallowed(&self) -> Option<u64> {
        Some(self.google.swallowed())
    }

    fn leaves_out(&self, row: Row) -> Option<&'static str> {
        (row == Row::Race).then_some(
            "Secret Manager adds versions under no condition; the annotations turn older ones away, and what still comes in between is put right",
        )
    }

    fn debug(&self) -> String {
        format!("{:?} {:?}", self.settings(false), sink(&self.google, self.settings(false)))
    }
}

async fn google() -> Google {
    StandIn::start(SecretManager::with(SECRET)).await
}

fn target() -> TargetName {
    "orders-cache".parse().unwrap()
}

fn generation(google: &Google) -> u64 {
    let data: Value = serde_json::from_slice(&google.service.latest(SECRET).unwrap()).unwrap();
    data["generation"].as_u64().unwrap()
}

async fn denied(sink: &GcpSecretManager) -> Fault {
    let fault = sink.ready(&target()).await.unwrap_err();
    assert_eq!((fault.kind, fault.retry), (Kind::SinkDenied, Retry::Later), "{fault}");
    fault
}

#[tokio::test]
async fn each_identity_leads_to_the_store_and_a_refusal_is_said() {
    let google = google().await;
    let url = google.url();
    let folders: Vec<tempfile::TempDir> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let external = |number: usize, token: &str, impersonated: bool| {
        Identity::ExternalAccount(external_account(folders[number].path(), &url, token, impersonated))
    };
    let machine = |account: &str| Identity::Metadata { account: account.to_owned(), endpoint: url.parse().unwrap() };
    let other_key = || {
        let stranger = service_account_key().json.replace("0123456789abcdef", "fedcba9876543210");
        Identity::ServiceAccount(Credential(Arc::new(move || Ok(Secret::new(stranger.clone())))))
    };
    for (number, (right, wrong, said)) in [
        (key(), other_key(), "UNAUTHENTICATED"),
        (machine("default"), machine("nobody"), "no service account nobody"),
        (external(0, TOKEN, false), external(1, "not-this-token", false), "invalid_grant"),
        (external(2, TOKEN, true), external(3, "not-this-token", true), "invalid_grant"),
    ]
    .into_iter()
    .enumerate()
    {
        let fault = denied(&sink(&google, settings(&url, wrong))).await;
        assert!(fault.what.contains(said) && !fault.to_string().contains("not-this"), "{fault}");
        let sink = sink(&google, settings(&url, right));
        sink.ready(&target()).await.unwrap();
        sink.deliver(&document(number as u64 + 1)).await.unwrap();
        assert_eq!(generation(&google), number as u64 + 1);
    }
}

#[tokio::test]
async fn what_is_no_key_or_no_account_file_is_said_without_repeating_it() {
    let google = google().await;
    let folder = tempfile::tempdir().unwrap();
    let from_key = |text: &str| {
        let text = text.to_owned();
        Identity::ServiceAccount(Credential(Arc::new(move || Ok(Secret::new(text.clone())))))
    };
    let from_file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        Identity::ExternalAccount(folder.path().join(name))
    };
    let with_source = |source: Value| {
        json!({
            "type": "external_account", "audience": "a", "subject_token_type": "t", "token_url": format!("{}/sts/token", google.url()),
            "credential_source": source,
        })
        .to_string()
    };
    let hollow = service_account_key().json.replace("-----BEGIN PRIVATE KEY-----", "-----BEGIN hunter2 KEY-----");
    let far = with_source(json!({ "file": "/dev/null" })).replace("http://127.0.0.1", "http://10.0.0.1");
    for (identity, said) in [
        (from_key("hunter2"), "not the JSON of a service account's key"),
        (from_key(r#"{"client_email": "hunter2"}"#), "not the JSON of a service account's key"),
        (from_key(&hollow), "private key that cannot be used"),
        (from_file("a", "hunter2"), "is not JSON"),
        (from_file("b", &service_account_key().json), "source = \"service-account\""),
        (from_file("c", r#"{"type": "authorized_user", "client_secret": "hunter2"}"#), "type external_account"),
        (from_file("d", r#"{"type": "external_account", "audience": "hunter2"}"#), "lacks"),
        (from_file("e", &with_source(json!({ "environment_id": "aws1" }))), "does not know"),
        (from_file("f", &with_source(json!({ "file": "/dev/null" }))), "is not a file"),
        (from_file("g", &with_source(json!({ "url": "http://10.0.0.1/hunter2" }))), "neither https nor"),
        (from_file("h", &with_source(json!({ "file": folder.path().join("a") }))), "invalid_request"),
        (Identity::ExternalAccount(folder.path().join("absent")), "cannot be read"),
    ] {
        let fault = denied(&sink(&google, settings(&google.url(), identity))).await;
        assert!(fault.what.contains(said) && !fault.to_string().contains("hunter2"), "{said}: {fault}");
    }
    std::fs::write(folder.path().join("token"), "hunter2").unwrap();
    let plain = far.replace("/dev/null", folder.path().join("token").to_str().unwrap());
    let fault = denied(&sink(&google, settings(&google.url(), from_file("i", &plain)))).await;
    assert!(fault.what.contains("neither https nor") && !fault.to_string().contains("hunter2"), "{fault}");
    // A token may also stand in an object, and be asked for.
    let source = json!({ "url": format!("{}/subject", google.url()), "headers": { "X-Asked": "1" }, "format": { "type": "json", "subject_token_field_name": "value" } });
    let pool = with_source(source).replace("\"a\"", "\"//iam.googleapis.com/workloadIdentityPools/keywheel\"");
    sink(&google, settings(&google.url(), from_file("j", &pool))).ready(&target()).await.unwrap();
}

#[tokio::test]
async fn a_token_is_kept_while_it_is_good_and_replaced_when_it_ends_or_is_refused() {
    let google = google().await;
    let folder = tempfile::tempdir().unwrap();
    let file = external_account(folder.path(), &google.url(), TOKEN, false);
    let sink = sink(&google, settings(&google.url(), Identity::ExternalAccount(file)));
    let issued = || google.service.issued.load(Ordering::Relaxed);
    sink.deliver(&document(1)).await.unwrap();
    sink.deliver(&document(2)).await.unwrap();
    assert_eq!(issued(), 1);
    google.service.clock.fetch_add(SecretManager::LIFE - 60, Ordering::Relaxed);
    sink.deliver(&document(3)).await.unwrap();
    assert_eq!(issued(), 2, "it ends in a minute");
    google.service.revoke_all();
    sink.deliver(&document(4)).await.unwrap();
    assert_eq!((issued(), generation(&google)), (3, 4), "it was refused");
}

#[tokio::test]
async fn a_key_that_was_replaced_is_read_anew_when_the_old_one_is_refused() {
    let google = google().await;
    let held = Arc::new(Mutex::new(service_account_key().json.replace("0123456789abcdef", "fedcba9876543210")));
    let read = held.clone();
    let credential = Credential(Arc::new(move || Ok(Secret::new(read.lock().unwrap().clone()))));
    let sink = sink(&google, settings(&google.url(), Identity::ServiceAccount(credential)));
    denied(&sink).await;
    *held.lock().unwrap() = service_account_key().json.clone();
    sink.ready(&target()).await.unwrap();
}

#[tokio::test]
async fn a_secret_is_made_where_that_is_allowed_and_says_whose_it_is() {
    let google = google().await;
    for location in [None, Some("europe-west3".to_owned())] {
        google.service.delete(SECRET);
        let without = settings(&google.url(), key());
        let without = GcpSettings { location: location.clone(), ..without };
        let fault = denied(&sink(&google, without.clone())).await;
        let advised = if location.is_some() { "--location=europe-west3" } else { "--replication-policy=automatic" };
        assert!(fault.next_step.contains("gcloud secrets create") && fault.next_step.contains(advised), "{fault}");
        let maker = sink(&google, GcpSettings { create: true, ..without });
        maker.ready(&target()).await.unwrap();
        google.service.forbid(&["secretmanager.secrets.create"]);
        let fault = maker.deliver(&document(1)).await.unwrap_err();
        assert!(fault.kind == Kind::SinkDenied && fault.next_step.contains("secretmanager.secrets.create"), "{fault}");
        google.service.forbid(&[]);
        maker.deliver(&document(1)).await.unwrap();
        assert_eq!(maker.holds(&document(1)).await.unwrap(), Holds::Same);
    }
    let noted = json!({ "keywheel-target": "orders-cache", "keywheel-generation": "1", "keywheel-after": "0" });
    sink(&google, GcpSettings { create: true, ..settings(&google.url(), key()) }).deliver(&document(1)).await.unwrap();
    assert_eq!((google.service.annotations(SECRET), google.service.versions(SECRET).len()), (noted, 1));
}

#[tokio::test]
async fn the_annotations_decide_where_the_document_says_nothing_of_itself() {
    let google = google().await;
    google.service.annotate(SECRET, "owner", Some("the shop"));
    let bare = || GcpSettings { format: Format::Raw, ..settings(&google.url(), key()) };
    let sink = sink(&google, bare());
    sink.deliver(&document(3)).await.unwrap();
    assert_eq!(google.service.latest(SECRET).unwrap(), document(3).password.expose().as_bytes());
    assert_eq!(
        google.service.annotations(SECRET),
        json!({
            "owner": "the shop", "keywheel-target": "orders-cache", "keywheel-generation": "3", "keywheel-after": "0",
        })
    );
    assert_eq!(sink.deliver(&document(2)).await.unwrap_err().kind, Kind::SinkNewer);
    // Noted, and not yet added: an older one is turned away already.
    google.service.annotate(SECRET, "keywheel-generation", Some("5"));
    assert_eq!(sink.deliver(&document(4)).await.unwrap_err().kind, Kind::SinkNewer);
    let stranger = Document { target: "billing".parse().unwrap(), ..document(9) };
    assert_eq!(sink.deliver(&stranger).await.unwrap_err().kind, Kind::SinkDenied);
    assert_eq!(google.service.versions(SECRET).len(), 1);
    let Some(Held::AsSent(held)) = sink.read_back(&target()).await.unwrap() else { panic!("nothing is held") };
    assert_eq!(held.expose(), document(3).password.expose());
}

#[tokio::test]
async fn the_document_decides_where_somebody_removed_the_annotations() {
    let google = google().await;
    let sink = sink(&google, settings(&google.url(), key()));
    sink.deliver(&document(3)).await.unwrap();
    for name in ["keywheel-target", "keywheel-generation"] {
        google.service.annotate(SECRET, name, None);
    }
    assert_eq!(sink.deliver(&document(2)).await.unwrap_err().kind, Kind::SinkNewer);
    let stranger = Document { target: "billing".parse().unwrap(), ..document(9) };
    assert_eq!(sink.ready(&stranger.target).await.unwrap_err().kind, Kind::SinkDenied);
    // The same once more notes them again, and makes no version.
    sink.deliver(&document(3)).await.unwrap();
    assert_eq!(google.service.annotations(SECRET)["keywheel-generation"], "3");
    assert_eq!(google.service.versions(SECRET).len(), 1);
}

/// A writer of an older generation that comes in between never stays on top, in whatever form the document is.
#[tokio::test]
async fn a_newer_one_that_came_in_between_is_put_back_on_top() {
    let google = google().await;
    let raw = sink(&google, GcpSettings { format: Format::Raw, ..settings(&google.url(), key()) });
    raw.deliver(&document(1)).await.unwrap();
    google.fail(Trouble::Between(3));
    assert_eq!(raw.deliver(&document(2)).await.unwrap_err().kind, Kind::SinkNewer);
    assert_eq!(generation(&google), 3);
    let versions = google.service.versions(SECRET);
    assert_eq!(versions.len(), 4, "1, 3, 2 and 3 again");
    assert_eq!(versions[1], versions[3]);
    // Somebody's version on top of ours is overwritten by the next delivery, and the one after that makes none.
    google.service.add(SECRET, "by hand");
    let json = sink(&google, settings(&google.url(), key()));
    assert_eq!(json.holds(&document(3)).await.unwrap(), Holds::Other);
    json.deliver(&document(3)).await.unwrap();
    json.deliver(&document(3)).await.unwrap();
    assert_eq!((generation(&google), google.service.versions(SECRET).len()), (3, 6));
}

#[tokio::test]
async fn two_writers_end_with_the_newest_on_top() {
    for _ in 0..8 {
        let google = google().await;
        let writers = [0, 1].map(|number| {
            let sink = sink(&google, settings(&google.url(), key()));
            tokio::spawn(async move {
                for generation in (1..=8).filter(|generation| generation % 2 == number) {
                    let mut outcome = sink.deliver(&document(generation)).await;
                    while outcome.as_ref().is_err_and(|fault| fault.kind == Kind::SinkUnavailable) {
                        outcome = sink.deliver(&document(generation)).await;
                    }
                    assert!(outcome.as_ref().err().is_none_or(|fault| fault.kind == Kind::SinkNewer), "{outcome:?}");
                }
            })
        });
        for writer in writers {
            writer.await.unwrap();
        }
        assert_eq!(generation(&google), 8);
    }
}

#[tokio::test]
async fn a_version_that_was_disabled_or_destroyed_comes_back_and_never_as_an_older_one() {
    let google = google().await;
    let sink = sink(&google, settings(&google.url(), key()));
    assert!(sink.has_lost_it().await, "nothing is there");
    sink.deliver(&document(3)).await.unwrap();
    for state in ["DISABLED", "DESTROYED"] {
        google.service.close(SECRET, state);
        assert!(!sink.has_lost_it().await, "it is there; who closed it had a reason");
        sink.ready(&target()).await.unwrap();
        assert_eq!(sink.holds(&document(3)).await.unwrap(), Holds::Absent);
        assert_eq!(sink.deliver(&document(2)).await.unwrap_err().kind, Kind::SinkNewer);
        sink.deliver(&document(3)).await.unwrap();
        assert_eq!(sink.holds(&document(3)).await.unwrap(), Holds::Same);
    }
    assert_eq!(google.service.versions(SECRET).len(), 3);
    // One that nobody closed and that does not open: none can be added either, and that is known before.
    google.service.turn_key_off(true);
    assert!(denied(&sink).await.next_step.contains("CMEK"));
    assert_eq!(sink.deliver(&document(4)).await.unwrap_err().kind, Kind::SinkDenied);
    google.service.turn_key_off(false);
    sink.ready(&target()).await.unwrap();
}

#[tokio::test]
async fn old_versions_are_closed_only_where_that_is_wished() {
    for (keep, destroy, expected) in [
        (None, false, ["ENABLED", "ENABLED", "ENABLED", "ENABLED", "ENABLED"]),
        (Some(1), false, ["ENABLED", "DISABLED", "DISABLED", "ENABLED", "ENABLED"]),
        (Some(0), true, ["ENABLED", "DESTROYED", "DESTROYED", "DESTROYED", "ENABLED"]),
    ] {
        let google = google().await;
        let sink = sink(&google, GcpSettings { keep, destroy, ..settings(&google.url(), key()) });
        google.service.add(SECRET, "by hand");
        // A name points there: somebody reads it.
        google.service.alias(SECRET, "stable", 1);
        for generation in 1..=4 {
            sink.deliver(&document(generation)).await.unwrap();
        }
        let states: Vec<&str> = google.service.versions(SECRET).into_iter().map(|(_, state)| state).collect();
        assert_eq!(states, expected, "keep = {keep:?}");
        // That it cannot be done does not hold the delivery up.
        google.service.forbid(&["secretmanager.versions.list"]);
        sink.deliver(&document(5)).await.unwrap();
        let ready = sink.ready(&target()).await;
        assert_eq!(ready.is_err(), keep.is_some(), "{ready:?}");
    }
}

#[tokio::test]
async fn what_is_not_permitted_is_found_before_and_named() {
    let google = google().await;
    let sink = sink(&google, settings(&google.url(), key()));
    sink.deliver(&document(1)).await.unwrap();
    for (generation, (lacking, at_delivery)) in (2..).zip([
        ("secretmanager.versions.add", true),
        ("secretmanager.secrets.update", true),
        ("secretmanager.versions.access", true),
        ("secretmanager.secrets.get", true),
        ("secretmanager.versions.list", false),
    ]) {
        google.service.forbid(&[lacking]);
        assert_eq!(sink.ready(&target()).await.is_err(), at_delivery, "{lacking}");
        if at_delivery {
            assert!(denied(&sink).await.next_step.contains(lacking), "{lacking}");
            let fault = sink.deliver(&document(generation)).await.unwrap_err();
            assert!(fault.kind == Kind::SinkDenied && fault.next_step.contains(lacking), "{fault}");
        }
        google.service.forbid(&[]);
    }
    sink.ready(&target()).await.unwrap();
    assert_eq!(google.service.versions(SECRET).len(), 1);
}

#[tokio::test]
async fn what_google_says_is_told_apart_and_never_repeated() {
    let google = google().await;
    let quota = GcpSettings { quota_project: Some("billing-prod".to_owned()), ..settings(&google.url(), key()) };
    let sink = sink(&google, quota);
    sink.deliver(&document(1)).await.unwrap();
    assert!(google.service.quota_projects().iter().all(|project| project == "billing-prod"));
    assert!(!google.service.quota_projects().is_empty());
    for (status, words, reason, kind, advised) in [
        (403, "PERMISSION_DENIED", "SERVICE_DISABLED", Kind::SinkDenied, "gcloud services enable"),
        (403, "PERMISSION_DENIED", "BILLING_DISABLED", Kind::SinkDenied, "billing account"),
        (403, "PERMISSION_DENIED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT", Kind::SinkDenied, "cloud-platform"),
        (403, "PERMISSION_DENIED", "USER_PROJECT_DENIED", Kind::SinkDenied, "the project billing-prod"),
        (401, "UNAUTHENTICATED", "", Kind::SinkDenied, "clock"),
        (400, "INVALID_ARGUMENT", "", Kind::SinkDenied, "settings"),
        (429, "RESOURCE_EXHAUSTED", "", Kind::SinkUnavailable, ""),
        (500, "INTERNAL", "", Kind::SinkUnavailable, ""),
        (504, "DEADLINE_EXCEEDED", "", Kind::SinkUnavailable, ""),
        (307, "", "", Kind::SinkDenied, "address"),
        (200, "", "", Kind::SinkUnavailable, "endpoint"),
    ] {
        google.service.answer_all_with(Some((status, words, reason)));
        for fault in [sink.ready(&target()).await.unwrap_err(), sink.deliver(&document(2)).await.unwrap_err()] {
            assert_eq!(fault.kind, kind, "{status} {words}: {fault}");
            assert!(fault.next_step.contains(advised), "{status} {words}: {fault}");
        }
        google.service.answer_all_with(None);
    }
    assert_eq!(google.service.versions(SECRET).len(), 1);
}

#[tokio::test]
async fn a_document_that_is_too_large_is_not_sent() {
    let google = google().await;
    let template = Some("{{ password }}".to_owned());
    let sink = sink(&google, GcpSettings { format: Format::Template, template, ..settings(&google.url(), key()) });
    let vast = Document { login_password: Secret::new("x".repeat(70_000)), ..document(1) };
    let fault = sink.deliver(&vast).await.unwrap_err();
    assert!(fault.kind == Kind::SinkDenied && fault.what.contains("65536"), "{fault}");
    assert!(google.service.heard().is_empty());
    assert_eq!(sink.read_back(&target()).await.unwrap_err().kind, Kind::Unsupported);
}

/// The way from a line in the configuration to the sink, each identity once.
#[tokio::test]
async fn a_configured_sink_takes_a_delivery() {
    let folder = tempfile::tempdir().unwrap();
    let google = google().await;
    google.service.clock.store(keywheel::clock::Clock::now(&keywheel::clock::SystemClock).seconds(), Ordering::Relaxed);
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("key"), &service_account_key().json).unwrap();
    std::fs::set_permissions(path("key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let external = external_account(folder.path(), &google.url(), TOKEN, true);
    for (number, credentials) in [
        format!("{{ source = \"service-account\", key = {{ file = {:?} }} }}", path("key")),
        format!("{{ source = \"metadata\", metadata-endpoint = {:?} }}", google.url()),
        format!("{{ source = \"external-account\", account-file = {external:?} }}"),
    ]
    .into_iter()
    .enumerate()
    {
        let lines = format!(
            "kind = \"gcp-secret-manager\"\nproject = \"shop-prod\"\nsecret = \"redis-{{{{ target }}}}\"\ncredentials = {credentials}\nendpoint = {:?}\n",
            google.url()
        );
        let writer = sink(&google, settings(&google.url(), key()));
        writer.deliver(&document(number as u64 + 1)).await.unwrap();
        let read = super::configured::read(folder.path(), &lines)
            .await
            .unwrap_or_else(|fault| panic!("{credentials}: {fault}"));
        assert_eq!(read.expose(), document(number as u64 + 1).password.expose());
    }
}

/// Google's own client reads what the sink wrote, finds a Secret Manager in the stand-in, and gets tokens from it in each way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn googles_client_reads_what_the_sink_wrote_and_finds_a_secret_manager_in_the_stand_in() {
    let Some(python) = super::clients::python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let google = google().await;
    google.service.clock.store(keywheel::clock::Clock::now(&keywheel::clock::SystemClock).seconds(), Ordering::Relaxed);
    let sink = sink(&google, settings(&google.url(), key()));
    let mut expected = Vec::new();
    for generation in [1, 2] {
        sink.deliver(&document(generation)).await.unwrap();
        let data: Value = serde_json::from_slice(&google.service.latest(SECRET).unwrap()).unwrap();
        assert_eq!(data["password"], document(generation).password.expose());
        expected.push(data);
    }
    std::fs::create_dir(folder.path().join("direct")).unwrap();
    let story = json!({
        "address": google.address.to_string(), "project": "shop-prod", "secret": SECRET, "expected": expected,
        "key": serde_json::from_str::<Value>(&service_account_key().json).unwrap(),
        "external": [
            external_account(folder.path(), &google.url(), TOKEN, true),
            external_account(&folder.path().join("direct"), &google.url(), TOKEN, false),
        ],
    });
    super::clients::told(python, vec!["tests/sdk/gcp.py".to_owned()], story).await;
    // The client disabled the newest version: the sink finds that, and puts its own there again.
    assert_eq!(sink.holds(&document(2)).await.unwrap(), Holds::Absent);
    assert_eq!(sink.deliver(&document(1)).await.unwrap_err().kind, Kind::SinkNewer);
    sink.deliver(&document(2)).await.unwrap();
    assert_eq!(sink.holds(&document(2)).await.unwrap(), Holds::Same);
}
