//! Two passwords at once on a real cluster of three nodes, through the built binary: a node is killed and started again before, during and after the
//! change; a consumer that reads its sink now and then is never refused; in the end the former password is gone from every node's file of users.

use crate::common::redis_nodes::{ADMIN, ADMIN_PASSWORD, RedisCluster};
use crate::common::stage::{Stage, until};
use keywheel::clock::{Clock, SystemClock};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const BY_HAND: &str = "By-Hand+2019";
/// How long the former password stays.
const GRACE: &str = "2s";
/// How long the consumer goes on with what it read.
const READS_EVERY: Duration = Duration::from_millis(500);
const RESTS: Duration = Duration::from_millis(5);

fn hash(password: &str) -> String {
    hex::encode(Sha256::digest(password.as_bytes()))
}

fn stage(cluster: &RedisCluster, keys: &str) -> Stage {
    let stage = Stage::set();
    stage.write("admin", ADMIN_PASSWORD);
    stage.write("app.initial", BY_HAND);
    let nodes: Vec<String> = cluster.nodes.iter().map(|node| format!("\"{}\"", node.url())).collect();
    let text = format!(
        "[providers.own]\nkind = \"redis\"\nnodes = [{}]\ndiscover = \"cluster\"\ntimeout = \"2s\"\n\
         admin = {{ user = \"{ADMIN}\", password = {{ file = \"{{folder}}/admin\" }} }}\n\n\
         [targets.app]\nprovider = \"own\"\naccount = \"app\"\nstrategy = \"overlap\"\ngrace = \"{GRACE}\"\n\
         adopt = {{ file = \"{{folder}}/app.initial\" }}\nsinks = [\"app-json\"]\n{keys}\n",
        nodes.join(", ")
    );
    stage.configure(&(stage.sink("app-json", "format = \"json\"") + &text));
    stage
}

fn document(stage: &Stage) -> Value {
    serde_json::from_str(&fs::read_to_string(stage.path("app-json")).unwrap()).unwrap()
}

fn password(stage: &Stage) -> String {
    document(stage)["password"].as_str().unwrap().to_owned()
}

/// How often an event stands in the record.
fn count(stage: &Stage, event: &str) -> usize {
    let told = stage.keywheel(&["history", "app", "--json"]);
    let is = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|line| line["event"] == event);
    told.out.lines().filter(|line| is(line)).count()
}

#[test]
fn a_node_that_dies_and_comes_back_costs_nobody_a_login() {
    let mut cluster = RedisCluster::start(BY_HAND);
    let stage = stage(&cluster, "");
    let checked = stage.keywheel(&["check"]);
    assert_eq!(checked.status, 0, "{}{}", checked.out, checked.err);
    let daemon = stage.start(&[]);
    stage.until("app", "settled", 1);
    until("the sink to hold it", || stage.path("app-json").exists());
    let consumer = Consumer::start(stage.path("app-json"), cluster.nodes.iter().map(|node| node.url()).collect());

    // Down before the change: it is held off, and no node is touched.
    cluster.nodes[1].kill();
    assert_eq!(stage.keywheel(&["rotate", "app"]).status, 0);
    until("the rotation to be held off", || {
        let why = stage.status_of("app")["why"].as_str().unwrap_or_default().to_owned();
        why.contains(&cluster.nodes[1].port().to_string())
    });
    assert_eq!(password(&stage), BY_HAND);
    cluster.nodes[1].restart();
    stage.until("app", "settled", 2);
    let second = password(&stage);

    // Down while both are valid: the former password cannot be taken away yet, and then is.
    cluster.nodes[2].kill();
    until("taking it away to be tried", || count(&stage, "retire-failed") > 0);
    assert_eq!(count(&stage, "retired"), 0);
    cluster.nodes[2].restart();
    cluster.until_whole();
    until("the former password to be taken away", || count(&stage, "retired") == 1);
    assert_eq!((cluster.let_in(BY_HAND), cluster.let_in(&second)), (0, 3));

    // Down in the middle of the change, and back with whatever it had saved.
    assert_eq!(stage.keywheel(&["rotate", "app"]).status, 0);
    until("the call to leave", || count(&stage, "intended") >= 2);
    cluster.nodes[0].kill();
    cluster.nodes[0].restart();
    cluster.until_whole();
    stage.until("app", "settled", 3);
    let third = password(&stage);
    until("the second one to be taken away", || count(&stage, "retired") == 2);

    let felt = consumer.finish();
    println!("{} connections, {} refused, {} nodes that were down", felt.let_in, felt.refused, felt.unreachable);
    assert!(felt.let_in > 200 && felt.unreachable > 0, "the consumer connected all the time");
    assert_eq!(felt.refused, 0, "{}", daemon.log());
    for node in &cluster.nodes {
        let users = node.text("acl/users.acl");
        assert!(users.contains(&hash(&third)), "{users}");
        for gone in [BY_HAND, second.as_str()] {
            assert!(!users.contains(&hash(gone)) && !node.lets_in("app", gone), "{gone} is still there: {users}");
        }
    }
}

#[test]
fn a_schedule_and_an_administrator_that_is_a_target_itself() {
    let cluster = RedisCluster::start(BY_HAND);
    let keys = format!("schedule = \"{}\"", crate::rotation::soon());
    let stage = stage(&cluster, &keys);
    let text = fs::read_to_string(stage.path("keywheel.toml")).unwrap();
    let admin = format!(
        "\n[targets.admin]\nprovider = \"own\"\naccount = \"{ADMIN}\"\nstrategy = \"overlap\"\ngrace = \"1ms\"\n\
         adopt = {{ file = \"{}\" }}\nsinks = []\n",
        stage.path("admin").display()
    );
    let named =
        format!("admin = {{ user = \"{ADMIN}\", password = {{ file = \"{}\" }} }}", stage.path("admin").display());
    // A grace may be as short as late-effect is.
    let late = "late-effect = \"2s\"";
    assert!(text.contains(&named) && text.contains(late));
    let text = text.replace(&named, "admin = { target = \"admin\" }").replace(late, "late-effect = \"1ms\"");
    stage.write("keywheel.toml", &(text + &admin));
    let checked = stage.keywheel(&["check"]);
    assert_eq!(checked.status, 0, "{}{}", checked.out, checked.err);
    let daemon = stage.start(&[]);
    stage.until("admin", "settled", 1);
    let asked = stage.keywheel(&["rotate", "admin", "--wait"]);
    assert_eq!(asked.status, 0, "{}{}\n{}", asked.out, asked.err, daemon.log());
    until("the administrator's former password to go", || {
        cluster.nodes.iter().all(|node| !node.lets_in(ADMIN, ADMIN_PASSWORD))
    });

    // The administrator is another one now, and the account it changes rotates at its tick all the same; both passwords work within the grace.
    stage.until("app", "settled", 2);
    let found = document(&stage);
    assert_eq!((&found["account"], &found["user"]), (&"app".into(), &"app".into()));
    let new = password(&stage);
    assert_eq!((cluster.let_in(&new), cluster.let_in(BY_HAND)), (3, 3), "both are valid within the grace");
    until("the former password to be taken away", || count(&stage, "retired") == 1);
    assert_eq!((cluster.let_in(&new), cluster.let_in(BY_HAND)), (3, 0));
    let again = stage.keywheel(&["rotate", "admin", "--wait"]);
    assert_eq!(again.status, 0, "{}{}", again.out, again.err);
}

/// Somebody's application: it keeps what it read for a while, and connects to one node after the other.
struct Consumer {
    stop: Arc<AtomicBool>,
    counts: Arc<[AtomicU64; 3]>,
    working: JoinHandle<()>,
}

struct Felt {
    let_in: u64,
    refused: u64,
    unreachable: u64,
}

impl Consumer {
    fn start(sink: PathBuf, nodes: Vec<String>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let counts: Arc<[AtomicU64; 3]> = Arc::default();
        let (stopped, counted) = (stop.clone(), counts.clone());
        let working = std::thread::spawn(move || {
            let read = || -> (String, String) {
                let document: Value = serde_json::from_str(&fs::read_to_string(&sink).unwrap()).unwrap();
                let text = |key: &str| document[key].as_str().unwrap().to_owned();
                (text("user"), text("password"))
            };
            let (mut read_at, mut login) = (SystemClock.now(), read());
            for node in nodes.iter().cycle() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                if SystemClock.now().since(read_at) >= READS_EVERY {
                    (read_at, login) = (SystemClock.now(), read());
                }
                let mut url = url::Url::parse(node).unwrap();
                url.set_username(&login.0).unwrap();
                url.set_password(Some(&login.1)).unwrap();
                let client = redis::Client::open(url.as_str()).unwrap();
                let answer = client.get_connection().and_then(|mut it| redis::cmd("PING").query::<String>(&mut it));
                let what = match answer {
                    Ok(_) => 0,
                    Err(error)
                        if error.kind() == redis::ErrorKind::AuthenticationFailed
                            || error.to_string().contains("WRONGPASS") =>
                    {
                        1
                    }
                    // A node that is down refuses nobody.
                    Err(_) => 2,
                };
                counted[what].fetch_add(1, Ordering::Relaxed);
                std::thread::park_timeout(RESTS);
            }
        });
        Self { stop, counts, working }
    }

    fn finish(self) -> Felt {
        self.stop.store(true, Ordering::Relaxed);
        self.working.join().unwrap();
        let [let_in, refused, unreachable] = [0, 1, 2].map(|what| self.counts[what].load(Ordering::Relaxed));
        Felt { let_in, refused, unreachable }
    }
}

/// Somebody sets another password on one node: nothing is overwritten, and it is said, with an exit code, until it is mended.
#[test]
fn nodes_that_disagree_between_rotations_are_told_of() {
    let cluster = RedisCluster::start(BY_HAND);
    let stage = stage(&cluster, "verify-every = \"1s\"");
    let daemon = stage.start(&[]);
    stage.until("app", "settled", 1);
    let set =
        |password: &str| cluster.nodes[1].administer(&["ACL", "SETUSER", "app", "resetpass", &format!(">{password}")]);
    set("Other-2026-xY");
    until("the disagreement to be seen", || stage.status_of("app")["state"] == "doubt");
    let why = stage.status_of("app")["why"].as_str().unwrap_or_default().to_owned();
    assert!(why.contains("nodes disagree"), "{why}\n{}", daemon.log());
    assert_eq!(stage.keywheel(&["status"]).status, 1);
    assert!(cluster.nodes[1].lets_in("app", "Other-2026-xY"), "nothing was overwritten");
    set(BY_HAND);
    stage.until("app", "settled", 1);
    assert_eq!(stage.keywheel(&["status"]).status, 0);
}
