//! The metrics, their document, the alert rules and the dashboard agree with each other, and Prometheus' own tool with all of them.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use keywheel::alert;
use keywheel::clock::{Clock, SystemClock};
use keywheel::console::Console;
use keywheel::console::door::Door;
use keywheel::console::figures::{Figures, View};
use keywheel::console::metrics::Shown;
use keywheel::console::metrics::table::{ALL, Kind, Metric};
use keywheel::console::signs::Signs;
use keywheel::driver::Tally;
use keywheel::driver::outlook::Counting;
use keywheel::fault;
use keywheel::ledger::sqlite::Commits;
use keywheel::moment::Moment;
use keywheel::pacer::Pacers;
use keywheel::provider::traffic::Traffic;
use keywheel::rotation::state::Label;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

/// A fleet in which everything is the matter, so that every metric has something to say.
fn everything() -> String {
    let at = Moment::from_seconds(1_764_000_000);
    let figures = Figures {
        label: Label::Halted,
        why: String::new(),
        proven_at: Some(at),
        too_old_at: Some(at),
        next_due: Some(at),
        counting: Counting { after: at, slot: None, paused_until: None },
        doubt_since: Some(at),
        halted_since: Some(at),
        behind: vec![("orders".parse().unwrap(), at, 3)],
        given_up: 1,
    };
    let targets = [("orders-cache".parse().unwrap(), Arc::new(figures))].into();
    let view = View { at, targets, unreadable: 1 };
    let pacers = Pacers::new(20.0);
    pacers.of("ModifyInstancePassword").came_to(None);
    pacers.of("ModifyInstancePassword").came_to(Some(fault::Kind::Throttled));
    let traffic = Traffic { quota: 20.0, actions: pacers.loads(), credential_ends: Some(at) };
    let alerts = alert::tally::Tally::default();
    alerts.told(&"pager".parse().unwrap(), false);
    Shown {
        up_since: Some(at),
        ready: true,
        configuration: true,
        swept_at: Some(at),
        turns: Some((1, 256)),
        tally: Some(&Tally::default()),
        commits: Some(&Commits::default()),
        view: Some(&view),
        targets: 10,
        traffic: [("shop".parse().unwrap(), traffic)].into(),
        alerts: Some(&alerts),
    }
    .text()
}

const fn kind(metric: &Metric) -> &'static str {
    match metric.kind {
        Kind::Gauge => "gauge",
        Kind::Counter => "counter",
        Kind::Histogram => "histogram",
    }
}

/// What a metric's name says about its unit.
fn unit(name: &str) -> &'static str {
    match name {
        _ if name.ends_with("_timestamp_seconds") => "Unix time in seconds",
        _ if name.ends_with("_seconds") => "seconds",
        _ if name.ends_with("_generations") => "generations",
        "keywheel_quota_rate" | "keywheel_quota_limit" => "calls per second",
        _ => "count",
    }
}

/// Runs Prometheus' own tool on this input.
fn promtool(arguments: &[&str], input: &str) {
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool of Debian's package prometheus; tests/run installs it");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "promtool {arguments:?}: {}", String::from_utf8_lossy(&said));
}

#[test]
fn every_metric_of_the_table_can_be_shown_and_no_other() {
    let text = everything();
    let shown: Vec<(&str, &str)> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let table: Vec<(&str, &str)> = ALL.iter().map(|metric| (metric.name, kind(metric))).collect();
    assert_eq!(BTreeSet::from_iter(&shown), BTreeSet::from_iter(&table));
    assert_eq!(shown.len(), table.len(), "each is shown once");
    promtool(&["check", "metrics"], &text);
}

#[test]
fn the_document_has_each_metric_as_the_program_has_it_and_no_other() {
    let document = fs::read_to_string(docs("METRICS.md")).unwrap();
    let rows: Vec<&str> = document.lines().filter(|line| line.starts_with("| `keywheel_")).collect();
    let labels = |metric: &Metric| match metric.labels {
        [] => String::new(),
        labels => format!("`{}`", labels.join("`, `")),
    };
    let expected = ALL.iter().map(|metric| {
        let help = metric.help.replace('|', "\\|");
        format!("| `{}` | {} | {} | {} | {help} |", metric.name, kind(metric), unit(metric.name), labels(metric))
    });
    let expected: Vec<String> = expected.map(|row| row.replace("|  |", "| |")).collect();
    for row in &expected {
        assert!(rows.contains(&row.as_str()), "docs/METRICS.md lacks this row:\n{row}");
    }
    for row in &rows {
        assert!(
            expected.iter().any(|known| known == row),
            "docs/METRICS.md has a row that the program does not:\n{row}"
        );
    }
}

/// The names of metrics in a text, without the endings that a histogram gives its series.
fn named(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut rest = text;
    while let Some(at) = rest.find("keywheel_") {
        rest = &rest[at..];
        let end =
            rest.find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')).unwrap_or(rest.len());
        let name = &rest[..end];
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
        names.insert(base.to_owned());
        rest = &rest[end..];
    }
    names
}

#[test]
fn the_alert_rules_are_sound_and_fire_when_they_should() {
    let rules = docs("prometheus/keywheel.rules.yml");
    let path = rules.to_str().unwrap();
    promtool(&["check", "rules", "--lint-fatal", path], "");
    promtool(&["test", "rules", docs("prometheus/keywheel.rules.test.yml").to_str().unwrap()], "");
    let text = fs::read_to_string(&rules).unwrap();
    let known: BTreeSet<String> = ALL.iter().map(|metric| metric.name.to_owned()).collect();
    let unknown: Vec<String> = named(&text).difference(&known).cloned().collect();
    assert_eq!(unknown, Vec::<String>::new());
    // Each alert is tested, and leads to a section of the runbook.
    let tests = fs::read_to_string(docs("prometheus/keywheel.rules.test.yml")).unwrap();
    let runbook = fs::read_to_string(docs("RUNBOOK.md")).unwrap();
    let anchors: BTreeSet<String> = runbook
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim().replace('`', "").to_lowercase().replace(' ', "-"))
        .collect();
    let alerts: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 10, "{alerts:?}");
    for alert in &alerts {
        assert!(tests.contains(&format!("alertname: {alert}\n")), "{alert} is not tested");
    }
    let pointers: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("runbook: ")).collect();
    assert_eq!(pointers.len(), alerts.len(), "each alert says where to read on");
    for pointer in pointers {
        let (_, anchor) = pointer.trim_matches('"').split_once("RUNBOOK.md#").unwrap_or_else(|| panic!("{pointer}"));
        assert!(anchors.contains(anchor), "docs/RUNBOOK.md has no section {anchor}");
    }
}

#[test]
fn the_dashboard_asks_only_for_what_there_is() {
    let text = fs::read_to_string(docs("prometheus/keywheel.dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let known: BTreeSet<String> = ALL.iter().map(|metric| metric.name.to_owned()).collect();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut asked = BTreeSet::new();
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for target in panels.iter().flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default()) {
        let query = target["expr"].as_str().unwrap();
        asked.extend(named(query));
        // As Grafana asks it.
        let query = query.replace("$__rate_interval", "5m").replace("$instance", ".*");
        assert!(!query.contains('$'), "{query}");
        let _ = writeln!(rules, "  - record: asked:{}\n    expr: {}", asked.len(), serde_json::Value::from(query));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dashboard.yml");
    fs::write(&path, rules).unwrap();
    promtool(&["check", "rules", "--lint=none", path.to_str().unwrap()], "");
    let unknown: Vec<&String> = asked.difference(&known).collect();
    assert_eq!(unknown, Vec::<&String>::new());
    assert!(asked.len() >= 15, "{asked:?}");
}

#[test]
fn ten_thousand_targets_whose_sinks_are_all_down_have_as_many_series_as_the_document_says() {
    let at = Moment::from_seconds(1_764_000_000);
    let figures = Arc::new(Figures {
        label: Label::Behind,
        why: String::new(),
        proven_at: Some(at),
        too_old_at: Some(at),
        next_due: Some(at),
        counting: Counting { after: at, slot: None, paused_until: None },
        doubt_since: Some(at),
        halted_since: Some(at),
        behind: ["a", "b", "c"].map(|sink| (sink.parse().unwrap(), at, 1)).to_vec(),
        given_up: 1,
    });
    let named = |number: usize| (format!("target-{number:05}").parse().unwrap(), Arc::clone(&figures));
    let view = View { at, targets: (0..10_000).map(named).collect(), unreadable: 0 };
    for (limit, expected) in [(2_000, 2_000 * (6 + 2 * 3)), (10_000, 10_000 * (6 + 2 * 3)), (0, 0)] {
        let text = Shown { view: Some(&view), targets: limit, ..Shown::default() }.text();
        assert_eq!(text.lines().filter(|line| line.contains("{target=\"")).count(), expected);
        assert!(text.contains("keywheel_targets{state=\"behind\"} 10000.0\n"));
        assert!(text.contains(&format!("keywheel_targets_without_series {:?}\n", (10_000 - limit) as f64)));
        promtool(&["check", "metrics"], &text);
    }
}

#[tokio::test]
async fn a_daemon_that_is_still_starting_is_alive_unready_and_says_little() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let signs = Arc::new(Signs::default());
    let console = Console::new(Arc::clone(&signs), clock.now(), clock);
    let door = Door::open("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = door.address();
    tokio::spawn(door.serve(console));
    let get = |path: &'static str| async move {
        let answer = reqwest::Client::builder().no_proxy().build().unwrap().get(format!("http://{address}{path}"));
        let answer = answer.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    keywheel::http::choose_cryptography();
    assert_eq!(get("/healthz").await, (200, "{\"status\":\"alive\",\"reasons\":[]}\n".to_owned()));
    let starting = (503, "{\"status\":\"unready\",\"reasons\":[\"keywheel is starting\"]}\n".to_owned());
    assert_eq!(get("/readyz").await, starting);
    let (status, text) = get("/metrics").await;
    assert_eq!(status, 200);
    assert!(text.contains("\nkeywheel_ready 0.0\n") && !text.contains("keywheel_targets"), "{text}");
    promtool(&["check", "metrics"], &text);
    signs.swept(true);
    assert_eq!(get("/readyz").await.0, 200);
}
