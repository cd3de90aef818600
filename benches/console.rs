//! Whether it costs rotations anything that they are watched: ten thousand targets, ten pages that follow, and a scrape of the metrics each second, against
//! the same without, in turns, in one run. And whether an hour's worth of scrapes and pages lets the daemon's memory grow.
//!
//! `cargo bench --bench console`; `KEYWHEEL_TARGETS=1000` for a small one. It prints ratios: times of one machine say nothing of another.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on should stop there")]
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

#[path = "../tests/common/plain_http.rs"]
mod plain_http;
#[path = "../tests/common/stage.rs"]
mod stage;

use futures_util::future::join_all;
use keywheel::admin::Control;
use keywheel::name::TargetName;
use keywheel::simulator::{Change, InstanceSettings, Quota, Server};
use plain_http::{address_in, get};
use rusqlite::{Connection, OpenFlags};
use stage::{INITIAL, Stage};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Rotations of one measurement, and measurements of each kind.
const BATCH: usize = 2_000;
const ROUNDS: usize = 3;
/// How many ask at the same time.
const ASKERS: usize = 8;
const PAGES: usize = 10;
/// Scrapes in an hour, one a second.
const HOUR: usize = 3_600;

fn name(number: usize) -> String {
    format!("t{number:05}")
}

fn main() {
    keywheel::http::choose_cryptography();
    let targets = std::env::var("KEYWHEEL_TARGETS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let stage = staged(targets);
    let daemon = stage.start(&[("KEYWHEEL_LOG", "warn,keywheel::console=info,keywheel::cli=info")]);
    let ledger = Connection::open_with_flags(stage.path("state/ledger.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let console = address_in(&daemon.log());
    let began = Instant::now();
    until(&ledger, "generation >= 1 AND label = 'settled'", targets);
    println!("{targets} targets were taken in and delivered within {:.0} s", began.elapsed().as_secs_f64());

    let batch = BATCH.min(targets);
    let (mut alone, mut watched) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let rotations = |first: usize| {
            let before = generations(&ledger);
            let began = Instant::now();
            rotate(&stage, (0..batch).map(|number| name((first + number) % targets)));
            until_sum(&ledger, before + batch as i64);
            began.elapsed()
        };
        // In turns, so that what else the machine does meets both.
        alone.push(rotations(2 * round * batch));
        let watchers = Watchers::of(console);
        watched.push(rotations((2 * round + 1) * batch));
        let (pages, scrapes) = watchers.stop();
        println!(
            "round {round}: {batch} rotations alone {:.2} s, watched {:.2} s ({pages} pages and {scrapes} scrapes were answered meanwhile)",
            alone[round].as_secs_f64(),
            watched[round].as_secs_f64()
        );
    }
    let ratio = median(&watched).as_secs_f64() / median(&alone).as_secs_f64();
    println!("watched / alone: {ratio:.3}");

    // An hour's worth, as fast as it is answered, while rotations go on. The first part fills what is kept for each target.
    let resident = || resident_kib(daemon.pid());
    let mut after = Vec::new();
    for part in 0..4 {
        for scrape in 0..HOUR / 4 {
            assert_eq!(get(console, "/metrics").0, 200);
            if scrape % 20 == 0 {
                assert_eq!(get(console, "/").0, 200);
            }
        }
        rotate(&stage, (0..batch).map(|number| name((part * batch + number) % targets)));
        after.push(resident());
    }
    println!(
        "resident after each quarter of {HOUR} scrapes: {} KiB; the last against the first: {:.3}",
        after.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        *after.last().unwrap() as f64 / after[0] as f64
    );
    daemon.stop();
}

/// So many targets that are proven by the cloud's own word, with a file each.
fn staged(targets: usize) -> Stage {
    let instance =
        |number| InstanceSettings { server: Server::Nothing, ..InstanceSettings::new(&name(number), INITIAL) };
    let stage = Stage::set_with((0..targets).map(instance).collect());
    let unlimited = Quota { per_second: 0.0, burst: 0.0 };
    stage.change(Change { quota: Some(unlimited), ..Change::default() });
    std::fs::create_dir(stage.path("out")).unwrap();
    let mut rest = "[sinks.each]\nkind = \"file\"\npath = \"{folder}/out/{{ target }}\"\n\n".to_owned();
    for number in 0..targets {
        let name = name(number);
        rest += &format!(
            "[targets.{name}]\nprovider = \"fast\"\ninstance = \"{name}\"\nadopt = {{ file = \"{{folder}}/initial\" }}\nsinks = [\"each\"]\n\n"
        );
    }
    let endpoint = stage.cloud().endpoint();
    rest += &format!(
        "[providers.fast]\nkind = \"tencent\"\nregion = \"ap-guangzhou\"\nendpoint = \"{endpoint}\"\nquota = 10000\n\
         credentials = {{ source = \"static\", secret-id = {{ file = \"{{folder}}/secret-id\" }}, secret-key = {{ file = \"{{folder}}/secret-key\" }} }}\n"
    );
    stage.configure_with("listen = \"127.0.0.1:0\"", &rest);
    stage
}

/// Asks for these rotations through the control socket, several at the same time: a command would first read ten thousand tables.
fn rotate(stage: &Stage, targets: impl Iterator<Item = String>) {
    let targets: Vec<TargetName> = targets.map(|name| name.parse().unwrap()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let control = Control::connect(&stage.path("control.sock")).await.unwrap().expect("a daemon listens");
        let ask = |names: Vec<TargetName>| async {
            for name in names {
                control.rotate(&name, None, false).await.unwrap();
            }
        };
        let chunks = targets.chunks(targets.len().div_ceil(ASKERS)).map(<[_]>::to_vec);
        join_all(chunks.map(ask)).await;
    });
}

fn generations(ledger: &Connection) -> i64 {
    ledger.query_row("SELECT sum(generation) FROM targets WHERE label = 'settled'", [], |row| row.get(0)).unwrap()
}

fn until_sum(ledger: &Connection, sum: i64) {
    while generations(ledger) < sum {
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn until(ledger: &Connection, condition: &str, targets: usize) {
    let question = format!("SELECT count(*) FROM targets WHERE {condition}");
    while ledger.query_row(&question, [], |row| row.get::<_, i64>(0)).unwrap() < targets as i64 {
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2]
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Ten pages that read themselves again whenever they hear that something changed, as a browser's do, and a scrape each second.
struct Watchers {
    stop: Arc<AtomicBool>,
    pages: Arc<AtomicUsize>,
    scrapes: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Watchers {
    fn of(console: SocketAddr) -> Self {
        let (stop, pages, scrapes) = (Arc::default(), Arc::default(), Arc::default());
        let mut all = Self { stop, pages, scrapes, threads: Vec::new() };
        for _ in 0..PAGES {
            let (stop, pages) = (Arc::clone(&all.stop), Arc::clone(&all.pages));
            all.threads.push(std::thread::spawn(move || follow(console, &stop, &pages)));
        }
        let (stop, scrapes) = (Arc::clone(&all.stop), Arc::clone(&all.scrapes));
        all.threads.push(std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(get(console, "/metrics").0, 200);
                scrapes.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_secs(1));
            }
        }));
        all
    }

    fn stop(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        (self.pages.load(Ordering::Relaxed), self.scrapes.load(Ordering::Relaxed))
    }
}

fn follow(console: SocketAddr, stop: &AtomicBool, pages: &AtomicUsize) {
    let read = || {
        // Too many at the same time are told to come again, as a browser would be.
        if get(console, "/").0 == 200 {
            pages.fetch_add(1, Ordering::Relaxed);
        }
    };
    read();
    let mut events = TcpStream::connect(console).unwrap();
    events.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    write!(events, "GET /events HTTP/1.1\r\nHost: {console}\r\n\r\n").unwrap();
    let mut piece = [0; 16_384];
    while !stop.load(Ordering::Relaxed) {
        match events.read(&mut piece) {
            Ok(length @ 1..) if String::from_utf8_lossy(&piece[..length]).contains("data:") => read(),
            Ok(0) => panic!("the stream of events ended"),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(error) => panic!("{error}"),
        }
    }
}
