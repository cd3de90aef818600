//! What a consumer feels of a rotation. One reads its sink again only every 30 seconds of a clock that runs a hundred times as fast, and opens
//! connections at random. With two accounts in turn it is never refused, through twenty rotations; with one account that changes in place it is, and the
//! README says so. The real driver, ledger, providers, probe and file sink, against the stand-in cloud.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use async_trait::async_trait;
use common::redis_server::RedisServer;
use keywheel::assemble;
use keywheel::chance::SystemChance;
use keywheel::clock::{Clock, SystemClock};
use keywheel::config;
use keywheel::driver::{Driver, Tools, Wish};
use keywheel::ledger::Ledger;
use keywheel::moment::Moment;
use keywheel::name::{Generation, TargetName};
use keywheel::rotation::event::By;
use keywheel::rotation::state::Label;
use keywheel::seal::aead::SealingKey;
use keywheel::secret::Secret;
use keywheel::simulator::{AccountSettings, Credential, InstanceSettings, Server, Settings, Simulator, TaskSettings};
use rand::RngExt;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const ROTATIONS: u64 = 20;
/// So many simulated seconds pass in one real second.
const PACE: u32 = 100;
/// How long the consumer goes on with what it read, in simulated time.
const READS_EVERY: Duration = Duration::from_secs(30);
/// How long the consumer rests between two connections at most, in real time.
const RESTS: Duration = Duration::from_millis(8);
/// How long the target may take to settle, in real time.
const PATIENCE: Duration = Duration::from_secs(60);
const SEED: u64 = 20_261_124;

const FIRST: (&str, &str) = ("orders_a", "First-One-2020");
const SECOND: (&str, &str) = ("orders_b", "Second-One-2020");

/// A clock that runs [`PACE`] times as fast as the machine's.
struct FastClock {
    from: Moment,
}

#[async_trait]
impl Clock for FastClock {
    fn now(&self) -> Moment {
        self.from + SystemClock.now().since(self.from) * PACE
    }

    async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span / PACE).await;
    }
}

/// Which cloud, and what it is called with.
struct Case {
    kind: &'static str,
    keys: (&'static str, &'static str),
    region: &'static str,
    instance: InstanceSettings,
    /// How a client logs in there.
    form: &'static str,
    _server: Option<RedisServer>,
}

/// Tencent's proxy, which takes `ACCOUNT@PASSWORD`; some of its nodes lag behind.
fn tencent() -> Case {
    let account = |(name, password)| AccountSettings::new(name, password);
    Case {
        kind: "tencent",
        keys: ("secret-id", "secret-key"),
        region: "ap-guangzhou",
        instance: InstanceSettings {
            accounts: vec![account(FIRST), account(SECOND)],
            ..InstanceSettings::new("crs-consumer1", "Root-One-2020")
        },
        form: "auto",
        _server: None,
    }
}

/// Alibaba's API in front of a real server, where the accounts are ACL users.
fn alibaba() -> Case {
    let server = RedisServer::start(Some("Root-One-2020"));
    Case {
        kind: "alibaba",
        keys: ("access-key-id", "access-key-secret"),
        region: "cn-hangzhou",
        instance: InstanceSettings {
            server: Server::Redis { address: server.address(), user: "default".to_owned() },
            ..InstanceSettings::alibaba("r-consumer1", "Root-One-2020")
                .with_account(FIRST.0, FIRST.1)
                .with_account(SECOND.0, SECOND.1)
        },
        form: "user-and-password",
        _server: Some(server),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_two_accounts_in_turn_nobody_is_refused() {
    for case in [tencent(), alibaba()] {
        let felt = live_through(&case, ALTERNATE).await;
        println!("{} alternate: {} connections, {} refused", case.kind, felt.connections, felt.refused);
        assert!(felt.connections > ROTATIONS * 20, "the consumer connected all the time");
        assert_eq!(felt.refused, 0, "{}", case.kind);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_place_there_is_a_gap() {
    let case = tencent();
    let felt = live_through(&case, IN_PLACE).await;
    println!("{} in place: {} connections, {} refused", case.kind, felt.connections, felt.refused);
    assert!(felt.refused > 0, "the README says that there is a gap");
}

const ALTERNATE: &str = "strategy = \"alternate\"\naccounts = [\"orders_a\", \"orders_b\"]\nadopt-resting = { file = \"{folder}/second\" }\ngrace = \"60s\"";
const IN_PLACE: &str = "account = \"orders_a\"";

struct Felt {
    connections: u64,
    refused: u64,
}

async fn live_through(case: &Case, strategy: &str) -> Felt {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Simulator::start(Settings {
        credentials: vec![Credential {
            secret_id: "AKIDconsumer".to_owned(),
            secret_key: Secret::new("consumer-key".to_owned()),
            token: None,
        }],
        instances: vec![case.instance.clone()],
        task: TaskSettings { shortest: Duration::from_millis(10), longest: Duration::from_millis(60) },
        ..Settings::default()
    })
    .await
    .unwrap();
    let address = cloud.login_address(&case.instance.id).unwrap();
    let config = configuration(folder.path(), &cloud, case, address, strategy);
    let clock: Arc<dyn Clock> = Arc::new(FastClock { from: SystemClock.now() });
    let ledger = Arc::new(assemble::ledger(&config, "the consumers' test").unwrap());
    let fleet = assemble::fleet(&config, clock.now()).unwrap().fleet;
    let stop = CancellationToken::new();
    let tools = Tools { ledger: ledger.clone(), clock: clock.clone(), chance: Arc::new(SystemChance) };
    let driver = Driver::new(tools, fleet, 4, stop.clone());
    let bell = driver.bell();
    let ringing = tokio::spawn(async move {
        loop {
            bell.notify_one();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let running = tokio::spawn({
        let driver = driver.clone();
        async move { driver.run(|| {}).await }
    });
    let target: TargetName = "orders".parse().unwrap();
    let sink = folder.path().join("sink.json");
    // A pair takes in two passwords, so that the first of a rotation is the third; what was taken in is delivered before anything rotates.
    let first = until(&*ledger, |_| sink.exists()).await;
    let consumer = Consumer::start(sink, address, clock);
    for turn in 1..=ROTATIONS {
        let wish = Wish::Rotate { by: By::Operator { uid: 0 }, reason: None, through_freeze: false };
        driver.command(&target, wish).await.unwrap();
        until(&*ledger, |generation| generation.0 >= first.0 + turn).await;
    }
    let felt = consumer.finish();
    ringing.abort();
    stop.cancel();
    running.await.unwrap().unwrap();
    felt
}

/// Settled with such a generation.
async fn until(ledger: &dyn Ledger, reached: impl Fn(Generation) -> bool) -> Generation {
    let look = async {
        loop {
            let rows = ledger.listing().await.unwrap();
            let settled =
                rows.first().filter(|row| row.projection.label == Label::Settled && row.projection.generation.0 > 0);
            if let Some(row) = settled.filter(|row| reached(row.projection.generation)) {
                return row.projection.generation;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, look).await {
        Ok(generation) => generation,
        Err(_) => panic!("it does not settle: {:?}", ledger.listing().await.unwrap()),
    }
}

fn configuration(folder: &Path, cloud: &Simulator, case: &Case, login: SocketAddr, strategy: &str) -> config::Config {
    let private = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    private("id", "AKIDconsumer");
    private("key", "consumer-key");
    private("first", FIRST.1);
    private("second", SECOND.1);
    private("sealing-key", SealingKey::generate(&mut rand::rng()).expose());
    let (id, key) = case.keys;
    let text = format!(
        r#"
[daemon]
ledger         = "sqlite://{{folder}}/ledger.db"
ephemeral = "rehearsal"
sealing-key    = {{ file = "{{folder}}/sealing-key" }}
control-socket = "{{folder}}/control.sock"

[providers.shop]
kind        = "{kind}"
region      = "{region}"
endpoint    = "{endpoint}"
quota       = 1000
credentials = {{ source = "static", {id} = {{ file = "{{folder}}/id" }}, {key} = {{ file = "{{folder}}/key" }} }}

[sinks.file]
kind   = "file"
path   = "{{folder}}/sink.json"
format = "json"

[targets.orders]
provider = "shop"
instance = "{instance}"
adopt    = {{ file = "{{folder}}/first" }}
login    = {{ url = "redis://{login}", form = "{form}" }}
sinks    = ["file"]
{strategy}
"#,
        kind = case.kind,
        region = case.region,
        endpoint = cloud.endpoint(),
        instance = case.instance.id,
        form = case.form,
    );
    let file = folder.join("keywheel.toml");
    std::fs::write(&file, text.replace("{folder}", &folder.display().to_string())).unwrap();
    config::load(&file, []).map_err(|findings| findings.to_string()).unwrap().config
}

/// Somebody's application: it keeps what it read, and opens a connection for each piece of work.
struct Consumer {
    stop: Arc<AtomicBool>,
    connections: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    working: std::thread::JoinHandle<()>,
}

impl Consumer {
    fn start(sink: PathBuf, server: SocketAddr, clock: Arc<dyn Clock>) -> Self {
        let (stop, connections, refused) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (stopped, connected, turned_away) = (stop.clone(), connections.clone(), refused.clone());
        let working = std::thread::spawn(move || {
            let mut dice = StdRng::seed_from_u64(SEED);
            let (mut read_at, mut client) = (clock.now(), client(&sink, server));
            while !stopped.load(Ordering::Relaxed) {
                if clock.now().since(read_at) >= READS_EVERY {
                    (read_at, client) = (clock.now(), self::client(&sink, server));
                }
                connected.fetch_add(1, Ordering::Relaxed);
                let answer = client.get_connection().and_then(|mut it| redis::cmd("PING").query::<String>(&mut it));
                match answer {
                    Ok(_) => {}
                    Err(error) if is_refusal(&error) => {
                        turned_away.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) => panic!("the server cannot be reached: {error}"),
                }
                std::thread::park_timeout(RESTS.mul_f64(dice.random::<f64>()));
            }
        });
        Self { stop, connections, refused, working }
    }

    fn finish(self) -> Felt {
        self.stop.store(true, Ordering::Relaxed);
        self.working.join().unwrap();
        Felt { connections: self.connections.load(Ordering::Relaxed), refused: self.refused.load(Ordering::Relaxed) }
    }
}

fn is_refusal(error: &redis::RedisError) -> bool {
    error.kind() == redis::ErrorKind::AuthenticationFailed || error.to_string().contains("WRONGPASS")
}

/// User and password as they stand together in the sink.
fn client(sink: &Path, server: SocketAddr) -> redis::Client {
    let document: Value = serde_json::from_str(&std::fs::read_to_string(sink).unwrap()).unwrap();
    let mut url = url::Url::parse(&format!("redis://{server}")).unwrap();
    url.set_username(document["user"].as_str().unwrap_or_default()).unwrap();
    url.set_password(document["password"].as_str()).unwrap();
    redis::Client::open(url.as_str()).unwrap()
}
