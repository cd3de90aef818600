//! `aws-secrets-manager` and `aws-parameter-store`, against moto, which checks each signature and permission, written and read beside the sink by boto3,
//! the vendor's own client. What moto does not do by itself, a proxy in front of it does.

mod beyond;
mod credentials;
mod parameters;
mod server;

use super::conformance::{Seen, Store, Trouble};
use super::proxy::{Proxy, Words};
use super::rows::{Row, document};
use keywheel::clock::{Clock, SystemClock};
use keywheel::secret::Secret as Text;
use keywheel::sink::Sink;
use keywheel::sink::aws::{
    ParameterStore, ParameterStoreSettings, Reach, SecretsManager, SecretsManagerSettings, Source,
};
use keywheel::sink::file::Format;
use keywheel::sink::web::Credential;
use serde_json::{Value, json};
use server::Server;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const REGION: &str = "eu-central-1";

/// The version by which a sink tries whether a write would be taken. No reader names it.
const REHEARSAL: &str = "keywheel-ready-no-reader-ever-asks-for-this";

/// One of the vendor's two stores.
pub trait Shelf: 'static {
    const NAME: &'static str;
    /// Everything that a sink needs to be allowed, as the README has it.
    const ACTIONS: &'static [&'static str];
    /// Those without which a delivery goes through all the same.
    const FOR_PEOPLE: &'static [&'static str] = &[];
    /// The write that readers see, and a part of its body.
    const SHOWS: (&'static str, &'static str);
    const NOT_FOUND: &'static str;
    const FULL: &'static str;

    /// Its own moto: what a row forbids is forbidden there.
    fn server() -> Option<&'static Server>;
    fn sink(reach: Reach, place: &str) -> Arc<dyn Sink>;
    fn debug(reach: Reach, place: &str) -> String;
    /// A person puts a text there.
    fn put(server: &Server, place: &str, text: &str);
    fn remove(server: &Server, place: &str);
    fn shown(server: &Server, place: &str) -> Option<String>;
    fn mark(server: &Server, place: &str) -> String;
    fn leaves_out(row: Row) -> Option<&'static str>;
}

fn says(text: &str) -> Credential {
    let text = text.to_owned();
    Credential(Arc::new(move || Ok(Text::new(text.clone()))))
}

fn reach(server: &Server, url: &str, source: Option<Source>) -> Reach {
    let own = || Source::Static { id: says(&server.id), key: says(&server.key), token: None };
    Reach {
        region: REGION.to_owned(),
        endpoint: Some(url.parse().unwrap()),
        source: source.unwrap_or_else(own),
        sts_endpoint: None,
        metadata_endpoint: None,
        timeout: Duration::from_secs(30),
        ca_file: None,
        now: Arc::new(|| SystemClock.now()),
    }
}

fn words<S: Shelf>(lost: (&'static str, &'static str)) -> Words {
    let (action, part) = lost;
    Words {
        writes: Box::new(move |head, body| {
            head.lines().any(|line| line.starts_with("x-amz-target:") && line.ends_with(&format!(".{action}")))
                && body.contains(part)
        }),
        throttled: ("400 Bad Request", r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#),
        not_found: ("400 Bad Request", S::NOT_FOUND),
        full: Some(("400 Bad Request", S::FULL)),
        broken: |sent| json!({ "__type": "InternalServiceError", "message": sent }),
    }
}

/// Secrets Manager.
pub struct Secret;

impl Secret {
    fn settings(reach: Reach, place: &str) -> SecretsManagerSettings {
        SecretsManagerSettings {
            reach,
            secret: place.to_owned(),
            create: false,
            kms_key: None,
            format: Format::Json,
            prefix: None,
            template: None,
            fields: None,
        }
    }
}

impl Shelf for Secret {
    const NAME: &'static str = "aws-secrets";
    const ACTIONS: &'static [&'static str] = &[
        "secretsmanager:DescribeSecret",
        "secretsmanager:GetSecretValue",
        "secretsmanager:PutSecretValue",
        "secretsmanager:UpdateSecretVersionStage",
        "secretsmanager:TagResource",
    ];
    const SHOWS: (&'static str, &'static str) = ("UpdateSecretVersionStage", "AWSCURRENT");
    const NOT_FOUND: &'static str =
        r#"{"__type":"ResourceNotFoundException","message":"Secrets Manager can't find the specified secret."}"#;
    const FULL: &'static str =
        r#"{"__type":"LimitExceededException","message":"The request failed because it would exceed a quota."}"#;

    fn server() -> Option<&'static Server> {
        static SERVER: OnceLock<Option<Server>> = OnceLock::new();
        SERVER.get_or_init(Server::start).as_ref()
    }

    fn sink(reach: Reach, place: &str) -> Arc<dyn Sink> {
        Arc::new(SecretsManager::new(Self::settings(reach, place)).unwrap())
    }

    fn debug(reach: Reach, place: &str) -> String {
        let settings = Self::settings(reach, place);
        format!("{settings:?} {:?}", SecretsManager::new(settings.clone()).unwrap())
    }

    fn put(server: &Server, place: &str, text: &str) {
        let made = server.boto3("secretsmanager", "create_secret", json!({ "Name": place, "SecretString": text }));
        if made.is_err() {
            // In two steps: in one, moto takes the label only from a version that got it in one.
            let with = json!({ "SecretId": place, "SecretString": text, "VersionStages": ["ByHand"] });
            let put = server.boto3("secretsmanager", "put_secret_value", with).unwrap();
            let with = json!({ "SecretId": place, "VersionStage": "AWSCURRENT" });
            let current = server.boto3("secretsmanager", "get_secret_value", with).unwrap();
            let with = json!({
                "SecretId": place, "VersionStage": "AWSCURRENT", "MoveToVersionId": put["VersionId"],
                "RemoveFromVersionId": current["VersionId"],
            });
            server.boto3("secretsmanager", "update_secret_version_stage", with).unwrap();
        }
    }

    fn remove(server: &Server, place: &str) {
        let with = json!({ "SecretId": place, "ForceDeleteWithoutRecovery": true });
        server.boto3("secretsmanager", "delete_secret", with).unwrap();
    }

    fn shown(server: &Server, place: &str) -> Option<String> {
        let with = json!({ "SecretId": place, "VersionStage": "AWSCURRENT" });
        let got = server.boto3("secretsmanager", "get_secret_value", with).ok()?;
        got["SecretString"].as_str().map(str::to_owned)
    }

    fn mark(server: &Server, place: &str) -> String {
        let versions = versions(server, place);
        let ids = versions.as_object().into_iter().flatten().map(|(id, _)| id.as_str());
        ids.filter(|id| *id != REHEARSAL).collect::<Vec<_>>().join(" ")
    }

    fn leaves_out(_row: Row) -> Option<&'static str> {
        None
    }
}

/// The versions of a secret, each with its labels.
fn versions(server: &Server, secret: &str) -> Value {
    let described = server.boto3("secretsmanager", "describe_secret", json!({ "SecretId": secret }));
    described.map(|described| described["VersionIdsToStages"].clone()).unwrap_or_default()
}

/// Parameter Store.
pub struct Parameter;

impl Parameter {
    fn settings(reach: Reach, place: &str) -> ParameterStoreSettings {
        ParameterStoreSettings {
            reach,
            parameter: format!("/{place}"),
            create: false,
            kms_key: None,
            tier: None,
            format: Format::Json,
            prefix: None,
            template: None,
            fields: None,
        }
    }
}

impl Shelf for Parameter {
    const NAME: &'static str = "aws-parameters";
    const ACTIONS: &'static [&'static str] = &[
        "ssm:GetParameterHistory",
        "ssm:GetParameter",
        "ssm:PutParameter",
        "ssm:LabelParameterVersion",
        "ssm:UnlabelParameterVersion",
    ];
    const FOR_PEOPLE: &'static [&'static str] = &["ssm:LabelParameterVersion", "ssm:UnlabelParameterVersion"];
    const SHOWS: (&'static str, &'static str) = ("PutParameter", r#""Overwrite":true"#);
    const NOT_FOUND: &'static str = r#"{"__type":"ParameterNotFound","message":""}"#;
    const FULL: &'static str = r#"{"__type":"ParameterMaxVersionLimitExceeded","message":"Version 1, the oldest version, can't be deleted because it has a label associated with it."}"#;

    fn server() -> Option<&'static Server> {
        static SERVER: OnceLock<Option<Server>> = OnceLock::new();
        SERVER.get_or_init(Server::start).as_ref()
    }

    fn sink(reach: Reach, place: &str) -> Arc<dyn Sink> {
        Arc::new(ParameterStore::new(Self::settings(reach, place)).unwrap())
    }

    fn debug(reach: Reach, place: &str) -> String {
        let settings = Self::settings(reach, place);
        format!("{settings:?} {:?}", ParameterStore::new(settings.clone()).unwrap())
    }

    fn put(server: &Server, place: &str, text: &str) {
        let with = json!({
            "Name": format!("/{place}"), "Value": text, "Type": "SecureString", "Overwrite": true, "Description": "by hand"
        });
        server.boto3("ssm", "put_parameter", with).unwrap();
    }

    fn remove(server: &Server, place: &str) {
        server.boto3("ssm", "delete_parameter", json!({ "Name": format!("/{place}") })).unwrap();
    }

    fn shown(server: &Server, place: &str) -> Option<String> {
        let with = json!({ "Name": format!("/{place}"), "WithDecryption": true });
        let got = server.boto3("ssm", "get_parameter", with).ok()?;
        got["Parameter"]["Value"].as_str().map(str::to_owned)
    }

    fn mark(server: &Server, place: &str) -> String {
        let numbers = history(server, place).into_iter().map(|version| version["Version"].to_string());
        numbers.collect::<Vec<_>>().join(" ")
    }

    fn leaves_out(row: Row) -> Option<&'static str> {
        let why =
            "Parameter Store compares nothing; the claim keeps a second writer away, and what it did is put right";
        (row == Row::Race).then_some(why)
    }
}

/// The versions of a parameter, the newest last.
fn history(server: &Server, place: &str) -> Vec<Value> {
    let with = json!({ "Name": format!("/{place}"), "WithDecryption": true, "MaxResults": 50 });
    let found = server.boto3("ssm", "get_parameter_history", with);
    found.map(|found| found["Parameters"].as_array().unwrap().clone()).unwrap_or_default()
}

/// A place of its own in an account that is shared.
pub struct Account<S> {
    place: String,
    server: Option<&'static Server>,
    proxy: Option<Proxy>,
    shelf: std::marker::PhantomData<S>,
}

impl<S: Shelf> Account<S> {
    /// With what is lost where an answer is lost.
    fn at(server: Option<&'static Server>, lost: (&'static str, &'static str)) -> Self {
        Self::behind(server, words::<S>(lost))
    }

    fn behind(server: Option<&'static Server>, words: Words) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let place = format!("conformance/{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        if let Some(server) = server {
            S::put(server, &place, "{}");
        }
        let proxy = server.map(|server| Proxy::before(server.authority(), words));
        Self { place, server, proxy, shelf: std::marker::PhantomData }
    }

    fn server(&self) -> &'static Server {
        self.server.unwrap()
    }

    fn reach(&self) -> Reach {
        reach(self.server(), self.proxy.as_ref().unwrap().url(), None)
    }

    fn direct(&self) -> Arc<dyn Sink> {
        S::sink(reach(self.server(), &self.server().url(), None), &self.place)
    }
}

fn permit_all<S: Shelf>(server: &Server) {
    server.permit(&S::ACTIONS.iter().map(|action| (*action).to_owned()).collect::<Vec<_>>());
}

impl<S: Shelf> Store for Account<S> {
    const NAME: &'static str = S::NAME;

    async fn begin() -> Self {
        let server = S::server();
        if let Some(server) = server {
            permit_all::<S>(server);
        }
        Self::at(server, S::SHOWS)
    }

    fn sink(&self, hasty: bool) -> Arc<dyn Sink> {
        let reach = self.reach();
        let timeout = if hasty { Duration::from_millis(400) } else { reach.timeout };
        S::sink(Reach { timeout, ..reach }, &self.place)
    }

    async fn seen(&self) -> Option<Seen> {
        let content: Value = serde_json::from_str(&S::shown(self.server(), &self.place)?).unwrap();
        Some(Seen {
            generation: content["generation"].as_u64()?,
            account: content["account"].as_str().unwrap().to_owned(),
            password: content["password"].as_str().unwrap().to_owned(),
        })
    }

    async fn mark(&self) -> String {
        S::mark(self.server(), &self.place)
    }

    async fn fail(&self, trouble: Trouble) {
        let proxy = self.proxy.as_ref().unwrap();
        match trouble {
            Trouble::Denied => self.server().permit(&[]),
            Trouble::Between(generation) | Trouble::LostBetween(generation) => {
                if matches!(trouble, Trouble::LostBetween(_)) {
                    proxy.fail(trouble);
                }
                let other = self.direct();
                proxy.before_the_next_write(move || {
                    run(other.deliver(&document(generation))).unwrap();
                });
            }
            Trouble::Down
            | Trouble::NotFound
            | Trouble::Throttled
            | Trouble::Broken
            | Trouble::Full
            | Trouble::LostAnswer
            | Trouble::Hang
            | Trouble::Huge => proxy.fail(trouble),
        }
    }

    async fn mend(&self) {
        self.proxy.as_ref().unwrap().mend();
        permit_all::<S>(self.server());
    }

    async fn wipe(&self) {
        S::remove(self.server(), &self.place);
        S::put(self.server(), &self.place, "{}");
    }

    async fn swallowed(&self) -> Option<u64> {
        Some(self.proxy.as_ref()?.swallowed())
    }

    fn leaves_out(&self, row: Row) -> Option<&'static str> {
        if self.proxy.is_none() { Some(server::MISSING) } else { S::leaves_out(row) }
    }

    fn debug(&self) -> String {
        S::debug(self.reach(), &self.place)
    }
}

fn generation<S: Shelf>(server: &Server, place: &str) -> u64 {
    let content: Value = serde_json::from_str(&S::shown(server, place).unwrap()).unwrap();
    content["generation"].as_u64().unwrap()
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// A moto of one's own. Says so where there is none; not by print!, which is shown for a failing test only.
fn own_server() -> Option<&'static Server> {
    use std::io::Write;

    let server = Server::start().map(|server| &*Box::leak(Box::new(server)));
    if server.is_none() {
        // Where standard error is closed, nobody reads on.
        let _ = writeln!(std::io::stderr(), "left out: {}", server::MISSING);
    }
    server
}
