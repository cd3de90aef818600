//! What the numbers at `/metrics` say while things happen.

use crate::common::plain_http::{address_in, get};
use crate::common::stage::{Daemon, INITIAL, INSTANCE, Stage, until};
use keywheel::clock::{Clock, SystemClock};
use keywheel::simulator::{Fault, Step};
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

const TARGET: &str = "orders-cache";
const ADOPT: &str = "adopt = { file = \"{folder}/initial\" }";
const OTHERS: &str = "max-age = \"30d\"\nschedule = \"@weekly\"\nsinks = [\"orders\"]";
const LISTEN: &str = "listen = \"127.0.0.1:0\"";

/// One scrape: each series with its value.
struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    fn of(console: SocketAddr) -> Self {
        let (status, text) = get(console, "/metrics");
        assert_eq!(status, 200, "{text}");
        let series = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        });
        Self(series.collect())
    }

    /// The value of a series; none where it is not there.
    fn see(&self, series: &str) -> Option<f64> {
        self.0.get(&format!("keywheel_{series}")).copied()
    }

    fn count(&self, series: &str) -> u64 {
        self.see(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.0.keys())) as u64
    }
}

fn configure(stage: &Stage, daemon: &str) {
    let target = stage.target(TARGET, INSTANCE, &format!("{ADOPT}\n{OTHERS}"));
    // Nobody listens to alerts: the port is reserved, and nothing is ever there.
    stage.write("chat-url", "http://127.0.0.1:1/services/T0000");
    let chat = "[watch]\nevery = \"100ms\"\n\n[alerts.chat]\nkind = \"slack\"\nurl = { file = \"{folder}/chat-url\" }\ngather = \"0s\"\n\n";
    stage.configure_with(&format!("{LISTEN}\n{daemon}"), &(chat.to_owned() + &stage.sink("orders", "") + &target));
}

fn start(stage: &Stage) -> (Daemon, SocketAddr) {
    let daemon = stage.start(&[]);
    let address = address_in(&daemon.log());
    stage.until(TARGET, "settled", 1);
    (daemon, address)
}

/// Scrapes until the fleet was looked at that is meant.
fn once(console: SocketAddr, what: &str, holds: impl Fn(&Scrape) -> bool) -> Scrape {
    let mut found = None;
    until(what, || {
        found = Some(Scrape::of(console)).filter(&holds);
        found.is_some()
    });
    found.unwrap()
}

fn now() -> f64 {
    SystemClock.now().millis() as f64 / 1_000.0
}

#[test]
fn a_rotation_and_a_reveal_are_counted_and_nothing_secret_is_shown() {
    let stage = Stage::set();
    configure(&stage, "");
    let (daemon, console) = start(&stage);
    let of = |metric: &str| format!("{metric}{{target=\"{TARGET}\"}}");
    let before = once(console, "a settled target", |scrape| scrape.see("targets{state=\"settled\"}") == Some(1.0));
    let proven = before.see(&of("password_timestamp_seconds")).unwrap();
    assert!(proven <= now() && proven > now() - 3_600.0, "{proven}");
    let too_old = before.see(&of("password_too_old_timestamp_seconds")).unwrap();
    assert!((too_old - proven - 30.0 * 86_400.0).abs() < 1e-3, "{too_old} {proven}");
    assert!(before.see(&of("next_due_timestamp_seconds")).unwrap() > now());
    for counted in ["rotations_begun_total", "rotations_total{outcome=\"settled\"}", "blind_time_seconds_count"] {
        assert_eq!(before.count(counted), 0, "{counted}");
    }
    assert_eq!(
        (before.count("ready"), before.count("configuration_accepted"), before.count("turns_limit")),
        (1, 1, 256)
    );

    assert_eq!(stage.keywheel(&["rotate", TARGET, "--wait"]).status, 0);
    let live = stage.keywheel(&["reveal", TARGET]).out.trim().to_owned();
    let after =
        once(console, "the new password", |scrape| scrape.see(&of("password_timestamp_seconds")) > Some(proven));
    for (counted, expected) in [
        ("rotations_begun_total", 1),
        ("rotations_total{outcome=\"settled\"}", 1),
        ("rotations_total{outcome=\"abandoned\"}", 0),
        ("blind_time_seconds_count", 1),
        ("blind_time_seconds_bucket{le=\"+Inf\"}", 1),
        // Asked for by a person: it was not late.
        ("rotation_lateness_seconds_count", 0),
        ("deliveries_total{result=\"delivered\"}", 2),
        ("deliveries_total{result=\"failed\"}", 0),
        ("passwords_revealed_total", 1),
        ("halts_total", 0),
        ("doubts_total", 0),
        ("turn_failures_total", 0),
        ("targets_without_series", 0),
        ("quota_limit{provider=\"shop\"}", 20),
        ("quota_waiting{provider=\"shop\",action=\"DescribeInstances\"}", 0),
    ] {
        assert_eq!(after.count(counted), expected, "{counted}");
    }
    let changes = after.0.iter().filter(|(series, _)| series.contains("InstancePassword\",verdict=\"done\""));
    assert_eq!(changes.map(|(_, count)| *count as u64).sum::<u64>(), 1, "{:?}", after.0);
    assert!(after.see("blind_time_seconds_sum").unwrap() > 0.0);
    assert!(after.count("ledger_commit_seconds_count") > 3);
    assert_eq!(after.0.keys().filter(|series| series.contains(TARGET)).count(), 3, "all is well");

    let (_, text) = get(console, "/metrics");
    for secret in [INITIAL, &live, &stage.new_key(), crate::common::stage::SECRET_KEY, "redis://"] {
        assert!(!text.contains(secret.trim()), "{text}");
    }
    check_with_promtool(&text);
    // And the document knows all of it.
    let document = include_str!("../../docs/METRICS.md");
    for name in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
        assert!(document.contains(&format!("| `{name}` |")), "{name}");
    }
    daemon.stop();
}

fn check_with_promtool(text: &str) {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool of Debian's package prometheus; tests/run installs it");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn doubt_and_a_halt_are_seen_from_their_beginning_to_their_end() {
    let stage = Stage::set();
    configure(&stage, "");
    let (daemon, console) = start(&stage);
    let doubt = format!("doubt_since_timestamp_seconds{{target=\"{TARGET}\"}}");
    let halt = format!("halted_since_timestamp_seconds{{target=\"{TARGET}\"}}");
    assert_eq!(Scrape::of(console).see(&doubt), None);
    // No answer comes: for as long as the call is out nobody knows which password is live.
    stage.cloud().script([
        Step::once("Mod*InstancePassword", Fault::NeverAnswer { applied: false }),
        Step::once("Mod*InstancePassword", Fault::RefuseBeforeEffect { code: "UnauthorizedOperation".to_owned() }),
    ]);
    let asked = now();
    assert_eq!(stage.keywheel(&["rotate", TARGET]).status, 0);
    let seen = once(console, "the doubt", |scrape| scrape.see(&doubt).is_some());
    assert!(seen.see(&doubt).is_some_and(|since| since >= asked - 1.0 && since <= now()), "{:?}", seen.see(&doubt));
    daemon.kill();
    let daemon = stage.start(&[]);
    let console = address_in(&daemon.log());
    // Evidence shows that nothing was applied, so it is asked again, and that is refused for good.
    let halted = once(console, "the halt", |scrape| scrape.see(&halt).is_some());
    assert_eq!((halted.count("halts_total"), halted.count("doubts_total") >= 1), (1, true));
    assert_eq!(halted.count("targets{state=\"halted\"}"), 1);
    let alerted = once(console, "the alert", |scrape| scrape.see("alerts{event=\"halted\"}") == Some(1.0));
    assert_eq!(alerted.count("alerts_raised_total{event=\"halted\"}"), 1);
    let failed = "alert_messages_total{channel=\"chat\",result=\"failed\"}";
    once(console, "a failed message", |scrape| scrape.see(failed) >= Some(1.0));
    let refused = halted.0.iter().filter(|(series, _)| series.contains("verdict=\"denied\""));
    assert_eq!(refused.count(), 1, "{:?}", halted.0);
    assert_eq!(stage.keywheel(&["recover", TARGET, "--resume"]).status, 0);
    let mended =
        once(console, "a settled target", |scrape| scrape.see("rotations_total{outcome=\"settled\"}") == Some(1.0));
    assert_eq!(mended.count("rotations_begun_total"), 0, "it began before this start");
    once(console, "no trouble", |scrape| scrape.see(&doubt).is_none() && scrape.see(&halt).is_none());
    let over = once(console, "the alert's end", |scrape| scrape.see("alerts{event=\"halted\"}") == Some(0.0));
    assert_eq!(over.count("alerts_over_total{event=\"halted\"}"), 1);
    daemon.stop();
}

#[test]
fn a_sink_that_is_down_shows_since_when_and_by_how_much_until_it_has_caught_up() {
    let stage = Stage::set();
    let target = stage.target(TARGET, INSTANCE, &format!("{ADOPT}\nsinks = [\"orders\"]\non-sink-down = \"proceed\""));
    let sink = "[sinks.orders]\nkind = \"file\"\npath = \"{folder}/sink/orders\"\n\n";
    fs::create_dir(stage.path("sink")).unwrap();
    stage.configure_with(LISTEN, &(sink.to_owned() + &target));
    let (daemon, console) = start(&stage);
    // Its folder is gone.
    fs::rename(stage.path("sink"), stage.path("away")).unwrap();
    for _ in 0..2 {
        let next = stage.passwords(INSTANCE).len() + 1;
        let rotated = stage.keywheel(&["rotate", TARGET]);
        assert_eq!(rotated.status, 0, "{}{}", rotated.out, rotated.err);
        until("the next password", || stage.passwords(INSTANCE).len() == next);
        until("behind", || stage.status_of(TARGET)["state"] == "behind");
    }
    let labels = format!("{{target=\"{TARGET}\",sink=\"orders\"}}");
    let by = format!("sink_behind_generations{labels}");
    let since = format!("sink_behind_since_timestamp_seconds{labels}");
    let behind = once(console, "the lag", |scrape| scrape.see(&by) == Some(2.0));
    assert!(
        behind.see(&since).is_some_and(|since| since <= now() && since > now() - 3_600.0),
        "{:?}",
        behind.see(&since)
    );
    assert_eq!(behind.count("targets{state=\"behind\"}"), 1);
    assert!(behind.count("deliveries_total{result=\"failed\"}") >= 2);
    assert_eq!(behind.count("rotations_total{outcome=\"overtaken\"}"), 1);
    fs::rename(stage.path("away"), stage.path("sink")).unwrap();
    let caught_up = once(console, "the end of the lag", |scrape| scrape.see(&by).is_none());
    assert_eq!(caught_up.see(&since), None);
    once(console, "settled", |scrape| scrape.see("rotations_total{outcome=\"settled\"}") == Some(1.0));
    daemon.stop();
}

#[test]
fn what_the_schedule_begins_is_on_time_or_late_and_counted_as_such() {
    let stage = Stage::set();
    stage.configure_with(LISTEN, &stage.target(TARGET, INSTANCE, &format!("{ADOPT}\nschedule = \"*/2 * * * * *\"")));
    let daemon = stage.start(&[]);
    let console = address_in(&daemon.log());
    let seen = once(console, "two rotations", |scrape| scrape.see("rotation_lateness_seconds_count") >= Some(2.0));
    assert!(seen.count("rotations_begun_total") >= seen.count("rotation_lateness_seconds_count"));
    assert_eq!(seen.see("rotation_lateness_seconds_count"), seen.see("rotation_lateness_seconds_bucket{le=\"+Inf\"}"));
    // Nothing is delivered anywhere, so nobody was blind.
    assert_eq!(seen.count("blind_time_seconds_count"), 0);
    daemon.stop();
}

#[test]
fn more_targets_than_may_have_series_are_counted_and_only_the_troubled_are_named() {
    let stage = Stage::set();
    configure(&stage, "metrics-targets = 0");
    let (daemon, console) = start(&stage);
    let none = once(console, "a settled target", |scrape| scrape.see("targets{state=\"settled\"}") == Some(1.0));
    assert_eq!(none.count("targets_without_series"), 1);
    assert!(!none.0.keys().any(|series| series.contains(TARGET)), "{:?}", none.0);
    // It can be changed while the daemon runs.
    configure(&stage, "metrics-targets = 1");
    daemon.signal(Signal::HUP);
    once(console, "the target's own series", |scrape| scrape.see("targets_without_series") == Some(0.0));
    daemon.stop();
}

#[test]
fn what_can_be_seen_does_not_depend_on_what_happens() {
    let stage = Stage::set();
    configure(&stage, "");
    let (daemon, console) = start(&stage);
    let names = |scrape: &Scrape| -> BTreeSet<String> {
        scrape.0.keys().map(|series| series.split('{').next().unwrap_or_default().to_owned()).collect()
    };
    let first = once(console, "a look", |scrape| scrape.see("targets{state=\"settled\"}") == Some(1.0));
    for _ in 0..3 {
        assert_eq!(stage.keywheel(&["rotate", TARGET, "--wait"]).status, 0);
    }
    let last =
        once(console, "four generations", |scrape| scrape.see("rotations_total{outcome=\"settled\"}") == Some(3.0));
    assert_eq!(names(&first), names(&last));
    // Series are bounded by what is configured, not by what happens: only verdicts and actions that had not occurred came.
    let new: Vec<&String> = last.0.keys().filter(|series| !first.0.contains_key(*series)).collect();
    assert!(new.iter().all(|series| series.contains("action=\"")), "{new:?}");
    daemon.stop();
}
