//! `azure-key-vault`, with the stand-in of a vault and of what gives tokens for it beside it.

use super::azure_stand_in::{CLIENT, KeyVault, POD_TOKEN, TENANT};
use super::conformance::{Seen, Store, Trouble};
use super::rows::{Row, TOKEN, document};
use super::stand_in::StandIn;
use keywheel::fault::{Fault, Kind, Retry};
use keywheel::http::Settings;
use keywheel::name::TargetName;
use keywheel::secret::Secret;
use keywheel::sink::azure_key_vault::{AzureKeyVault, AzureSettings, Identity};
use keywheel::sink::file::Format;
use keywheel::sink::web::Credential;
use keywheel::sink::{Document, Held, Holds, Sink};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SECRET: &str = "redis-orders-cache";

type Azure = StandIn<KeyVault>;

fn application(secret: &str) -> Identity {
    let secret = secret.to_owned();
    Identity::ClientSecret {
        tenant: TENANT.to_owned(),
        client: CLIENT.to_owned(),
        secret: Credential(Arc::new(move || Ok(Secret::new(secret.clone())))),
    }
}

fn settings(url: &str, identity: Identity) -> AzureSettings {
    AzureSettings {
        vault: url.parse().unwrap(),
        secret: SECRET.to_owned(),
        identity,
        authority: url.parse().unwrap(),
        metadata: Some(url.parse().unwrap()),
        format: Format::Json,
        prefix: None,
        template: None,
        fields: None,
        reach: Settings { timeout: Duration::from_secs(30), ca_file: None },
    }
}

fn sink(azure: &Azure, settings: AzureSettings) -> AzureKeyVault {
    let _ = azure;
    AzureKeyVault::new(settings).unwrap()
}

fn usual(azure: &Azure) -> AzureKeyVault {
    sink(azure, settings(&azure.url(), application(TOKEN)))
}

pub struct Vault(Azure);

impl Vault {
    fn settings(&self, hasty: bool) -> AzureSettings {
        let timeout = Duration::from_millis(if hasty { 300 } else { 30_000 });
        let reach = Settings { timeout, ca_file: None };
        AzureSettings { reach, ..settings(&self.0.url(), application(TOKEN)) }
    }
}

impl Store for Vault {
    const NAME: &'static str = "azure";

    async fn begin() -> Self {
        Self(azure().await)
    }

    fn sink(&self, hasty: bool) -> Arc<dyn Sink> {
        Arc::new(sink(&self.0, self.settings(hasty)))
    }

    async fn seen(&self) -> Option<Seen> {
        let data: Value = serde_json::from_str(&self.0.service.current(SECRET)?).unwrap();
        Some(Seen {
            generation: data["generation"].as_u64().unwrap(),
            account: data["account"].as_str().unwrap().to_owned(),
            password: data["password"].as_str().unwrap().to_owned(),
        })
    }

    async fn mark(&self) -> String {
        format!("{:?}", self.0.service.versions(SECRET))
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
        self.0.service.purge(SECRET);
    }

    async fn swallowed(&self) -> Option<u64> {
        Some(self.0.swallowed())
    }

    fn leaves_out(&self, row: Row) -> Option<&'static str> {
        let left_out = [
            (Row::Race, "Key Vault compares nothing; what a second writer covers is put right"),
            (
                Row::NotFound,
                "a secret that is not in a Key Vault is made, and a vault that is not there has no address",
            ),
            (Row::Full, "a Key Vault has no limit of secrets or versions"),
        ];
        left_out.iter().find(|(one, _)| *one == row).map(|(_, why)| *why)
    }

    fn debug(&self) -> String {
        format!("{:?} {:?}", self.settings(false), sink(&self.0, self.settings(false)))
    }
}

async fn azure() -> Azure {
    StandIn::start(KeyVault::default()).await
}

fn target() -> TargetName {
    "orders-cache".parse().unwrap()
}

fn generation(azure: &Azure) -> u64 {
    let data: Value = serde_json::from_str(&azure.service.current(SECRET).unwrap()).unwrap();
    data["generation"].as_u64().unwrap()
}

async fn denied(sink: &AzureKeyVault) -> Fault {
    let fault = sink.ready(&target()).await.unwrap_err();
    assert_eq!((fault.kind, fault.retry), (Kind::SinkDenied, Retry::Later), "{fault}");
    fault
}

fn workload(folder: &Path, token: &str) -> Identity {
    let token_file = folder.join(token);
    std::fs::write(&token_file, format!("{token}\n")).unwrap();
    Identity::Workload { tenant: TENANT.to_owned(), client: CLIENT.to_owned(), token_file }
}

#[tokio::test]
async fn each_identity_leads_to_the_vault_and_a_refusal_is_said() {
    let azure = azure().await;
    let folder = tempfile::tempdir().unwrap();
    let machine = |client: Option<&str>| Identity::Managed { client: client.map(str::to_owned) };
    for (number, (right, wrong, said)) in (1..).zip([
        (application(TOKEN), application("not-this-secret"), "AADSTS7000215"),
        (workload(folder.path(), POD_TOKEN), workload(folder.path(), "not-this-token"), "AADSTS700213"),
        (machine(None), machine(Some("not-this-client")), "the metadata service"),
        (machine(Some(CLIENT)), workload(folder.path(), "no token\n"), "holds no identity token"),
    ]) {
        let fault = denied(&sink(&azure, settings(&azure.url(), wrong))).await;
        assert!(fault.what.contains(said) && !fault.to_string().contains("not-this"), "{fault}");
        let sink = sink(&azure, settings(&azure.url(), right));
        sink.ready(&target()).await.unwrap();
        sink.deliver(&document(number)).await.unwrap();
        assert_eq!(generation(&azure), number);
    }
}

#[tokio::test]
async fn a_token_is_kept_and_a_secret_that_was_replaced_is_read_anew() {
    let azure = azure().await;
    let held = Arc::new(Mutex::new(TOKEN.to_owned()));
    let read = held.clone();
    let secret = Credential(Arc::new(move || Ok(Secret::new(read.lock().unwrap().clone()))));
    let identity = Identity::ClientSecret { tenant: TENANT.to_owned(), client: CLIENT.to_owned(), secret };
    let sink = sink(&azure, settings(&azure.url(), identity));
    sink.deliver(&document(1)).await.unwrap();
    sink.deliver(&document(2)).await.unwrap();
    assert_eq!(azure.service.issued(), 1);
    azure.service.revoke_all();
    sink.deliver(&document(3)).await.unwrap();
    assert_eq!((azure.service.issued(), generation(&azure)), (2, 3));
    azure.service.replace_secret("the-second-hunter2");
    let fault = sink.deliver(&document(4)).await.unwrap_err();
    assert!(fault.kind == Kind::SinkDenied && fault.next_step.contains("client secret"), "{fault}");
    *held.lock().unwrap() = "the-second-hunter2".to_owned();
    sink.deliver(&document(4)).await.unwrap();
    assert_eq!(generation(&azure), 4);
}

#[tokio::test]
async fn a_version_says_whose_it_is_what_it_is_and_no_time_at_which_it_ends() {
    let azure = azure().await;
    for (format, form) in
        [(Format::Json, "application/json"), (Format::Env, "text/plain"), (Format::Yaml, "application/yaml")]
    {
        azure.service.purge(SECRET);
        let sink = sink(&azure, AzureSettings { format, ..settings(&azure.url(), application(TOKEN)) });
        sink.deliver(&document(7)).await.unwrap();
        let versions = azure.service.versions(SECRET);
        let (_, tags, content_type, attributes) = &versions[0];
        assert_eq!(*tags, json!({ "keywheel-target": "orders-cache", "keywheel-generation": "7" }));
        assert_eq!((content_type, versions.len()), (&json!(form), 1));
        assert!(attributes["enabled"] == true && attributes["exp"].is_null() && attributes["nbf"].is_null());
        let Some(Held::AsSent(held)) = sink.read_back(&target()).await.unwrap() else { panic!("nothing is held") };
        assert_eq!(held.expose(), document(7).password.expose());
    }
}

/// A writer of an older generation that comes in between never stays on top, in whatever form the document is.
#[tokio::test]
async fn a_newer_one_that_came_in_between_is_put_back_on_top() {
    let azure = azure().await;
    let raw = sink(&azure, AzureSettings { format: Format::Raw, ..settings(&azure.url(), application(TOKEN)) });
    raw.deliver(&document(1)).await.unwrap();
    azure.fail(Trouble::Between(3));
    assert_eq!(raw.deliver(&document(2)).await.unwrap_err().kind, Kind::SinkNewer);
    assert_eq!(generation(&azure), 3);
    let versions = azure.service.versions(SECRET);
    assert_eq!(versions.len(), 4, "1, 3, 2 and 3 again");
    assert_eq!((&versions[1].0, &versions[1].1, &versions[1].2), (&versions[3].0, &versions[3].1, &versions[3].2));
    assert_eq!(raw.deliver(&document(2)).await.unwrap_err().kind, Kind::SinkNewer);
    assert_eq!(azure.service.versions(SECRET).len(), 4);
}

#[tokio::test]
async fn what_a_delivery_covered_is_put_right_though_nobody_waits_for_it_any_more() {
    let store = Vault::begin().await;
    super::rows::left_in_the_middle(&store, |held| store.0.hold(held)).await;
    assert_eq!(store.0.service.versions(SECRET).len(), 4, "1, 3, 2 and 3 again");
}

/// What a person writes on top has no tags: what lies below still counts, on whatever page of the list it is.
#[tokio::test]
async fn a_generation_below_other_versions_is_found() {
    let azure = azure().await;
    let sink = usual(&azure);
    sink.deliver(&document(3)).await.unwrap();
    for number in 0..80 {
        azure.service.add(SECRET, &format!("by hand {number}"), json!({}));
    }
    assert_eq!(sink.holds(&document(3)).await.unwrap(), Holds::Other);
    assert_eq!(sink.deliver(&document(2)).await.unwrap_err().kind, Kind::SinkNewer);
    let stranger = Document { target: "billing".parse().unwrap(), ..document(9) };
    assert_eq!(sink.deliver(&stranger).await.unwrap_err().kind, Kind::SinkDenied);
    assert_eq!(azure.service.versions(SECRET).len(), 81);
    sink.deliver(&document(3)).await.unwrap();
    sink.deliver(&document(3)).await.unwrap();
    assert_eq!((generation(&azure), azure.service.versions(SECRET).len()), (3, 82));
    // A page that is said to be elsewhere is not asked for, and no token goes there.
    azure.service.say_next_page("https://127.0.0.1:1/secrets/");
    let fault = sink.deliver(&document(4)).await.unwrap_err();
    assert!(fault.kind == Kind::SinkDenied && fault.what.contains("another host"), "{fault}");
}

#[tokio::test]
async fn two_writers_end_with_the_newest_on_top() {
    for _ in 0..4 {
        let azure = azure().await;
        let writers = [0, 1].map(|number| {
            let sink = usual(&azure);
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
        assert_eq!(generation(&azure), 8);
    }
}

#[tokio::test]
async fn a_version_that_was_disabled_comes_back_and_never_as_an_older_one() {
    let azure = azure().await;
    let sink = usual(&azure);
    assert!(sink.has_lost_it().await, "nothing is there");
    sink.deliver(&document(3)).await.unwrap();
    azure.service.disable(SECRET);
    assert!(!sink.has_lost_it().await, "it is there; who disabled it had a reason");
    sink.ready(&target()).await.unwrap();
    // Though it cannot be read, whose it is and whether a write would be taken shows.
    assert_eq!(sink.ready(&"billing".parse().unwrap()).await.unwrap_err().kind, Kind::SinkDenied);
    azure.service.forbid("PATCH");
    assert!(denied(&sink).await.next_step.contains("Key Vault Secrets Officer"));
    azure.service.forbid("");
    assert_eq!(sink.holds(&document(3)).await.unwrap(), Holds::Absent);
    assert_eq!(sink.deliver(&document(2)).await.unwrap_err().kind, Kind::SinkNewer);
    sink.deliver(&document(3)).await.unwrap();
    assert_eq!((sink.holds(&document(3)).await.unwrap(), azure.service.versions(SECRET).len()), (Holds::Same, 2));
}

/// Versions are listed in no order, so that a list which is cut off may lack the newest generation.
#[tokio::test]
async fn more_versions_than_can_be_looked_at_are_refused_and_not_passed_over() {
    let azure = azure().await;
    let sink = usual(&azure);
    for _ in 0..4_999 {
        azure.service.add(SECRET, "by hand", json!({}));
    }
    sink.deliver(&document(1)).await.unwrap();
    azure.service.add(SECRET, "by hand", json!({}));
    let fault = sink.deliver(&document(2)).await.unwrap_err();
    assert!(fault.kind == Kind::SinkDenied && fault.what.contains("more than 5000 versions"), "{fault}");
    assert!(fault.next_step.contains("another secret"), "{fault}");
}

#[tokio::test]
async fn a_secret_that_was_deleted_softly_is_explained() {
    let azure = azure().await;
    let sink = usual(&azure);
    sink.deliver(&document(1)).await.unwrap();
    azure.service.delete(SECRET);
    for fault in [denied(&sink).await, sink.deliver(&document(1)).await.unwrap_err()] {
        assert!(fault.kind == Kind::SinkDenied && fault.what.contains("can be recovered"), "{fault}");
        assert!(
            fault.next_step.contains("az keyvault secret recover --vault-name 127 --name redis-orders-cache"),
            "{fault}"
        );
    }
}

#[tokio::test]
async fn what_azure_says_is_told_apart_and_never_repeated() {
    let azure = azure().await;
    let sink = usual(&azure);
    sink.deliver(&document(1)).await.unwrap();
    for (status, code, inner, kind, advised) in [
        (403, "Forbidden", "ForbiddenByRbac", Kind::SinkDenied, "Key Vault Secrets Officer"),
        (403, "Forbidden", "AccessDenied", Kind::SinkDenied, "get, list and set"),
        (403, "Forbidden", "ForbiddenByFirewall", Kind::SinkDenied, "firewall"),
        (409, "Conflict", "ObjectIsBeingDeleted", Kind::SinkUnavailable, "deleted or recovered"),
        (400, "BadParameter", "", Kind::SinkDenied, "settings"),
        (429, "Throttled", "", Kind::SinkUnavailable, ""),
        (500, "InternalServerError", "", Kind::SinkUnavailable, ""),
        (307, "", "", Kind::SinkDenied, "address"),
        (200, "", "", Kind::SinkUnavailable, "vault"),
    ] {
        azure.service.answer_all_with(Some((status, code, inner)));
        for fault in [sink.ready(&target()).await.unwrap_err(), sink.deliver(&document(2)).await.unwrap_err()] {
            assert_eq!(fault.kind, kind, "{status} {inner}: {fault}");
            assert!(fault.next_step.contains(advised), "{status} {inner}: {fault}");
        }
        azure.service.answer_all_with(None);
    }
    assert_eq!(azure.service.versions(SECRET).len(), 1);
}

#[tokio::test]
async fn a_document_that_is_too_large_is_not_sent() {
    let azure = azure().await;
    let vast = Document { login_password: Secret::new("x".repeat(30_000)), ..document(1) };
    let fault = usual(&azure).deliver(&vast).await.unwrap_err();
    assert!(fault.kind == Kind::SinkDenied && fault.what.contains("25600"), "{fault}");
    assert_eq!(azure.service.issued(), 0);
}

/// The way from a line in the configuration to the sink, each identity once.
#[tokio::test]
async fn a_configured_sink_reads_what_was_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let azure = azure().await;
    let path = |name: &str| folder.path().join(name);
    for (name, text) in [("secret", TOKEN), ("pod", POD_TOKEN)] {
        std::fs::write(path(name), text).unwrap();
        std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let who = format!("tenant = \"{TENANT}\", client = \"{CLIENT}\"");
    for (generation, credentials) in (1..).zip([
        format!("{{ source = \"client-secret\", {who}, secret = {{ file = {:?} }} }}", path("secret")),
        format!("{{ source = \"workload-identity\", {who}, token-file = {:?} }}", path("pod")),
        format!("{{ source = \"managed-identity\", metadata-endpoint = {:?} }}", azure.url()),
        format!("{{ source = \"managed-identity\", client = \"{CLIENT}\", metadata-endpoint = {:?} }}", azure.url()),
    ]) {
        usual(&azure).deliver(&document(generation)).await.unwrap();
        let lines = format!(
            "kind = \"azure-key-vault\"\nvault = {0:?}\nauthority = {0:?}\nsecret = \"redis-{{{{ target }}}}\"\ncredentials = {credentials}\n",
            azure.url()
        );
        let read = super::configured::read(folder.path(), &lines).await;
        let read = read.unwrap_or_else(|fault| panic!("{credentials}: {fault}"));
        assert_eq!(read.expose(), document(generation).password.expose());
    }
}

/// Azure's own clients read what the sink wrote, over TLS as they insist on, and find a Key Vault and an Entra in the stand-in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn azures_client_reads_what_the_sink_wrote_and_finds_a_key_vault_in_the_stand_in() {
    let Some(python) = super::clients::python() else { return };
    let certificates = super::vault::Certificates::new();
    let azure = StandIn::start_with(KeyVault::default(), Some(certificates.acceptor.clone())).await;
    let reach = Settings { timeout: Duration::from_secs(30), ca_file: Some(certificates.path("ca.pem")) };
    let sink = sink(&azure, AzureSettings { reach, ..settings(&azure.url(), application(TOKEN)) });
    let mut expected = Vec::new();
    for generation in [1, 2] {
        sink.deliver(&document(generation)).await.unwrap();
        let data: Value = serde_json::from_str(&azure.service.current(SECRET).unwrap()).unwrap();
        assert_eq!(data["password"], document(generation).password.expose());
        expected.push(data);
    }
    let story = json!({
        "url": azure.url(), "authority": azure.address.to_string(), "secret": SECRET, "expected": expected, "ca": certificates.path("ca.pem"),
        "tenant": TENANT, "client": CLIENT, "client_secret": TOKEN, "pod_token": POD_TOKEN,
    });
    super::clients::told(python, vec!["tests/sdk/azure.py".to_owned()], story).await;
    // The client disabled the newest version: the sink finds that, and puts its own there again.
    assert_eq!(sink.holds(&document(2)).await.unwrap(), Holds::Absent);
    assert_eq!(sink.deliver(&document(1)).await.unwrap_err().kind, Kind::SinkNewer);
    sink.deliver(&document(2)).await.unwrap();
    assert_eq!(sink.holds(&document(2)).await.unwrap(), Holds::Same);
}
