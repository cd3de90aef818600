//! One rotation, whole: from the cron tick to a proven, published password on a real server.

use crate::common::redis_server::RedisServer;
use crate::common::stage::{INITIAL, INSTANCE, SECRET_KEY, Stage, until};
use crate::common::traces::{assert_absent, assert_absent_in_folder};
use keywheel::clock::{Clock, SystemClock};
use keywheel::simulator::{InstanceSettings, Server};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

/// How far ahead the cron tick lies.
const TICK_AHEAD: Duration = Duration::from_secs(8);

/// A stage whose instance is a real Redis server, its password taken in.
fn real_stage(server: &RedisServer) -> Stage {
    let settings = InstanceSettings {
        server: Server::Redis { address: server.address(), user: "default".to_owned() },
        ..InstanceSettings::new(INSTANCE, INITIAL)
    };
    Stage::set_with(vec![settings])
}

/// Six fields that fire once a day, in a moment.
pub fn soon() -> String {
    (SystemClock.now() + TICK_AHEAD).utc().format("%-S %-M %-H * * *").to_string()
}

fn keys(object: &Value) -> BTreeSet<&str> {
    object.as_object().map(Map::keys).unwrap().map(String::as_str).collect()
}

#[test]
fn a_cron_tick_ends_in_a_proven_and_published_password_that_stands_nowhere_else() {
    let server = RedisServer::start(Some(INITIAL));
    let stage = real_stage(&server);
    let rest = |schedule: &str| {
        let more = format!("{schedule}\nsinks = [\"orders-env\", \"orders-raw\"]");
        let sinks = [
            stage.sink("orders-env", "format = \"env\"\nmode = \"0640\""),
            stage.sink("orders-raw", "format = \"raw\"\nmode = \"0600\""),
        ];
        sinks.concat() + &stage.target("orders-cache", INSTANCE, &more)
    };
    stage.configure(&rest(""));
    let adopted = stage.keywheel_reading(&["adopt", "orders-cache"], INITIAL);
    assert_eq!(adopted.status, 0, "{}", adopted.err);

    stage.configure(&rest(&format!("schedule = \"{}\"\nwindow = \"1h\"", soon())));
    let daemon = stage.start(&[("KEYWHEEL_LOG", "trace,hyper=trace,reqwest=trace,tokio_cron_scheduler=trace")]);
    stage.until("orders-cache", "settled", 2);
    until("the rotation to be logged as settled", || {
        daemon.log().lines().any(|line| line.contains("event=\"settled\""))
    });

    let (report, status) = stage.status();
    assert_eq!(status, 0, "{report}");
    assert_eq!(keys(&report), BTreeSet::from(["targets"]));
    let target = &report["targets"][0];
    let fields = ["target", "state", "why", "generation", "last-rotated", "next-due", "sinks"];
    assert_eq!(keys(target), BTreeSet::from(fields));
    for sink in target["sinks"].as_array().unwrap() {
        assert_eq!(keys(sink), BTreeSet::from(["sink", "generation", "behind-since", "behind-by"]));
        assert_eq!((&sink["generation"], &sink["behind-since"]), (&Value::from(2), &Value::Null));
    }

    let raw = fs::read_to_string(stage.path("orders-raw")).unwrap();
    assert!(!server.accepts(INITIAL), "the old password still works");
    assert!(server.accepts(&raw), "the new password does not work");
    let env = fs::read_to_string(stage.path("orders-env")).unwrap();
    assert!(env.lines().any(|line| line == format!("REDIS_PASSWORD=\"{raw}\"")), "the sink file lacks it");
    for (sink, mode) in [("orders-env", 0o640), ("orders-raw", 0o600)] {
        assert_eq!(fs::metadata(stage.path(sink)).unwrap().permissions().mode() & 0o7777, mode, "{sink}");
    }

    let rotation = events(&stage).iter().find_map(|event| event["rotation"].as_str().map(str::to_owned)).unwrap();
    assert_rotation_everywhere(&daemon.log(), &rotation);

    let sealing_key = fs::read_to_string(stage.path("sealing-key")).unwrap().trim().to_owned();
    let secrets =
        [vec![raw, INITIAL.to_owned(), SECRET_KEY.to_owned(), sealing_key], stage.passwords(INSTANCE)].concat();
    // The ledger, its log and index, and the lock: while the daemon runs, and when it has folded the log in.
    assert!(assert_absent_in_folder(&stage.path("state"), &secrets) >= 4);
    for file in ["environ", "cmdline"] {
        let path = format!("/proc/{}/{file}", daemon.pid());
        assert_absent(&path, &fs::read(&path).unwrap(), &secrets);
    }
    let log = stage.path("daemon.log");
    daemon.stop();
    assert_absent("the log", &fs::read(log).unwrap(), &secrets);
    assert!(assert_absent_in_folder(&stage.path("state"), &secrets) >= 2);
    for verb in [["history", "--json"], ["status", "--json"], ["explain", "orders-cache"]] {
        let said = stage.keywheel(&verb);
        assert_absent(verb[0], [said.out, said.err].concat().as_bytes(), &secrets);
    }
}

fn events(stage: &Stage) -> Vec<Value> {
    let history = stage.keywheel(&["history", "--json"]);
    history.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Between a rotation's beginning and its end every line of its target carries its id.
fn assert_rotation_everywhere(log: &str, rotation: &str) {
    let lines: Vec<&str> = log.lines().collect();
    let of = |event: &str| {
        lines.iter().position(|line| line.contains(&format!("event=\"{event}\""))).unwrap_or_else(|| panic!("{event}"))
    };
    let (began, settled) = (of("began"), of("settled"));
    let mut told = 0;
    for line in &lines[began..=settled] {
        if line.contains("orders-cache") {
            assert!(line.contains(rotation), "a line without the rotation's id: {line}");
            told += 1;
        }
    }
    assert!(told >= 8, "a rotation leaves more lines than {told}");
}

#[test]
fn json_lines_carry_the_rotation_too() {
    let stage = Stage::set();
    stage.configure_with(
        "log = \"json\"\n",
        &stage.target("orders-cache", INSTANCE, "adopt = { file = \"{folder}/initial\" }"),
    );
    let daemon = stage.start(&[("KEYWHEEL_LOG", "debug")]);
    stage.until("orders-cache", "settled", 1);
    let asked = stage.keywheel(&["rotate", "orders-cache", "--wait"]);
    assert_eq!(asked.status, 0, "{}{}", asked.out, asked.err);
    let log = daemon.log();
    daemon.stop();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |event: &str| lines.iter().position(|line| line["event"] == event).unwrap_or_else(|| panic!("{event}"));
    let (began, settled) = (of("began"), of("settled"));
    let rotation = lines[began]["rotation"].as_str().unwrap();
    assert_eq!(rotation.len(), 26);
    let of_target = |line: &&Value| {
        line["spans"].as_array().is_some_and(|spans| spans.iter().any(|span| span["target"] == "orders-cache"))
    };
    let told: Vec<&Value> = lines[began..=settled].iter().filter(of_target).collect();
    assert!(told.len() >= 8, "{}", told.len());
    for line in told {
        let in_span = line["spans"].as_array().unwrap().iter().any(|span| span["rotation"] == rotation);
        assert!(line["rotation"] == rotation || in_span, "{line}");
    }
}
