//! One rotator, three followers, and three applications that open a connection every few milliseconds with what was rendered for them.
//!
//! With two accounts in turn no login is ever refused. With one account that changes in place some are, and how many is printed and not judged.
//!
//! No time decides: the rotator changes an account only once every application has said that it uses the newer generation (`acknowledged-by`).

use super::place::{Follower, program};
use super::stage::{INSTANCE, Stage, until};
use keywheel::simulator::{AccountSettings, InstanceSettings, Settings};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const FOLLOWERS: usize = 3;
const ALTERNATE: u64 = 50;
const IN_PLACE: u64 = 10;
/// An application opens a connection so often.
const PACE: Duration = Duration::from_millis(10);

const FIRST: (&str, &str) = ("orders_a", "First-One-2020");
const SECOND: (&str, &str) = ("orders_b", "Second-One-2020");

/// What one application felt.
#[derive(Default)]
struct Felt {
    connections: AtomicU64,
    refused: AtomicU64,
    /// The longest time without a login, in microseconds.
    window: AtomicU64,
    /// The generation that it used last.
    uses: AtomicU64,
}

struct Application {
    felt: Arc<Felt>,
    stop: Arc<AtomicBool>,
    working: Option<JoinHandle<()>>,
}

impl Application {
    fn start(folder: PathBuf, server: SocketAddr) -> Self {
        let (felt, stop) = (Arc::new(Felt::default()), Arc::new(AtomicBool::new(false)));
        let (feels, stopped) = (Arc::clone(&felt), Arc::clone(&stop));
        let working = std::thread::spawn(move || {
            #[allow(clippy::disallowed_methods, reason = "what is measured is printed and not judged")]
            let now = Instant::now;
            let mut refused_since = None;
            while !stopped.load(Ordering::Relaxed) {
                let Some((generation, user, password)) = read(&folder) else { continue };
                let begun = now();
                let mut url = url::Url::parse(&format!("redis://{server}")).unwrap();
                url.set_username(&user).unwrap();
                url.set_password(Some(&password)).unwrap();
                let client = redis::Client::open(url.as_str()).unwrap();
                let answer = client.get_connection().and_then(|mut it| redis::cmd("PING").query::<String>(&mut it));
                feels.connections.fetch_add(1, Ordering::Relaxed);
                match answer {
                    Ok(_) => {
                        let since = refused_since.take().unwrap_or(begun);
                        let window = u64::try_from(begun.duration_since(since).as_micros()).unwrap();
                        feels.window.fetch_max(window, Ordering::Relaxed);
                        feels.uses.store(generation, Ordering::Relaxed);
                    }
                    Err(_) => {
                        refused_since.get_or_insert(begun);
                        feels.refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
                std::thread::park_timeout(PACE);
            }
        });
        Self { felt, stop, working: Some(working) }
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(working) = self.working.take()
            && working.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the application failed");
        }
    }
}

/// User and password of one generation: where the link leads is read once. A file that is gone says that there is a newer one.
fn read(folder: &Path) -> Option<(u64, String, String)> {
    let generation = folder.join(fs::read_link(folder.join("..data")).ok()?);
    let part = |name: &str| fs::read_to_string(generation.join(name)).ok();
    Some((part("generation")?.parse().unwrap(), part("user")?, part("password")?))
}

/// The lowest generation that every application uses, where the rotator looks for it.
fn acknowledge(stage: &Stage, applications: &[Application]) -> u64 {
    let lowest = applications.iter().map(|one| one.felt.uses.load(Ordering::Relaxed)).min().unwrap_or(0);
    let new = stage.path("acknowledged-new");
    fs::write(&new, format!("{lowest}\n")).unwrap();
    fs::rename(&new, stage.path("acknowledged")).unwrap();
    lowest
}

fn follower(stage: &Stage, number: usize) -> Follower {
    let folder = stage.folder().display();
    let text = format!(
        r#"
[sinks.store]
kind = "file"
path = "{folder}/store"
format = "json"

[sinks.application]
kind = "file"
path = "{folder}/application-{number}"
format = "directory"
fields = {{ user = "user", password = "password", generation = "generation" }}

[follow.orders]
source = "store"
every = "50ms"
sinks = ["application"]
"#
    );
    stage.write(&format!("follow-{number}.toml"), &text);
    let mut command = program();
    command.arg("--config").arg(stage.path(&format!("follow-{number}.toml"))).arg("follow");
    Follower::start(command, stage.path(&format!("follow-{number}.log")))
}

/// Lets them live through so many rotations, and shows what the applications felt: connections, refusals, and the longest time without a login.
fn live_through(rotations: u64, strategy: &str) -> (u64, u64, u64) {
    let account = |(name, password)| AccountSettings::new(name, password);
    let stage = Stage::set_in(Settings {
        instances: vec![InstanceSettings {
            accounts: vec![account(FIRST), account(SECOND)],
            ..InstanceSettings::new(INSTANCE, "Root-One-2020")
        }],
        ..Settings::default()
    });
    stage.write("first", FIRST.1);
    stage.write("second", SECOND.1);
    stage.write("acknowledged", "0\n");
    let strategy = strategy.replace("{folder}", &stage.folder().display().to_string());
    let target = stage.target(
        "orders",
        INSTANCE,
        &format!("adopt = {{ file = \"{{folder}}/first\" }}\nsinks = [\"store\"]\n{strategy}"),
    );
    stage.configure(&format!("{}{target}", stage.sink("store", "format = \"json\"")));
    let text = fs::read_to_string(stage.path("keywheel.toml")).unwrap();
    let quick = text
        .replace("late-effect = \"2s\"", "late-effect = \"200ms\"")
        .replace("usual-task-time = \"150ms\"", "usual-task-time = \"20ms\"")
        .replace("first = \"100ms\", longest = \"400ms\"", "first = \"20ms\", longest = \"60ms\"")
        .replace("first = \"200ms\", longest = \"500ms\"", "first = \"50ms\", longest = \"100ms\"");
    stage.write("keywheel.toml", &quick);
    let daemon = stage.start(&[]);
    let followers: Vec<Follower> = (0..FOLLOWERS).map(|number| follower(&stage, number)).collect();
    let server = stage.cloud().login_address(INSTANCE).unwrap();
    let applications: Vec<Application> =
        (0..FOLLOWERS).map(|number| Application::start(stage.path(&format!("application-{number}")), server)).collect();
    let mut newest = 0;
    until("every application to begin", || {
        newest = acknowledge(&stage, &applications);
        newest > 0
    });
    for _ in 0..rotations {
        let asked = stage.keywheel(&["rotate", "orders"]);
        assert_eq!(asked.status, 0, "{}{}", asked.out, asked.err);
        let before = newest;
        until("every application to use the next generation", || {
            newest = acknowledge(&stage, &applications);
            newest > before
        });
        stage.until("orders", "settled", newest);
    }
    let sum = |of: fn(&Felt) -> &AtomicU64| applications.iter().map(|one| of(&one.felt).load(Ordering::Relaxed)).sum();
    let window = applications.iter().map(|one| one.felt.window.load(Ordering::Relaxed)).max().unwrap_or(0);
    let felt = (sum(|felt| &felt.connections), sum(|felt| &felt.refused), window);
    drop(applications);
    followers.into_iter().for_each(Follower::stop);
    daemon.stop();
    felt
}

#[test]
fn with_two_accounts_in_turn_no_application_is_refused() {
    let (connections, refused, _) = live_through(
        ALTERNATE,
        "strategy = \"alternate\"\naccounts = [\"orders_a\", \"orders_b\"]\nadopt-resting = { file = \"{folder}/second\" }\n\
         grace = \"200ms\"\nacknowledged-by = { file = \"{folder}/acknowledged\" }",
    );
    eprintln!("alternate: {ALTERNATE} rotations, {FOLLOWERS} followers, {connections} connections, {refused} refused");
    assert!(connections > ALTERNATE * 3, "the applications connected all the time");
    assert_eq!(refused, 0);
}

#[test]
fn in_place_there_is_a_window() {
    let (connections, refused, window) = live_through(IN_PLACE, "account = \"orders_a\"");
    eprintln!(
        "in place: {IN_PLACE} rotations, {FOLLOWERS} followers, {connections} connections, {refused} refused, the longest window {} ms",
        window / 1_000
    );
}
