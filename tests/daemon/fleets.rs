//! What keeps a fleet from going wrong at once: waves, freezes, pauses, and a question before everything rotates.

use crate::common::receiver::Receiver;
use crate::common::stage::{Daemon, INITIAL, INSTANCE, Outcome, Stage, until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use keywheel::clock::{Clock, SystemClock};
use keywheel::secret::Secret;
use keywheel::simulator::{Change, InstanceChange, InstanceSettings, Quota};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

const TARGET: &str = "orders";
const FLEET: [&str; 5] = ["crs-1", "crs-2", "crs-3", "crs-4", "crs-5"];
const BY_HAND: &str = "Console-Pass-1";

fn well(outcome: Outcome) -> String {
    assert_eq!(outcome.status, 0, "{}{}", outcome.out, outcome.err);
    outcome.out
}

fn json(outcome: Outcome) -> Value {
    serde_json::from_str(&well(outcome)).unwrap()
}

/// One word after the other, whatever the width of a screen made of them.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A selection of five instances that follow each other, and a pager.
fn in_waves(stage: &Stage, pager: &Receiver, schedule: &str) {
    let cloud = stage.cloud().endpoint();
    stage.configure_with(
        "discover-every = \"1s\"",
        &format!(
            "[watch]\nevery = \"100ms\"\n\n\
             [alerts.pager]\nkind = \"webhook\"\nurl = \"{}\"\nsigning-key = {{ file = \"{{folder}}/alerts-key\" }}\ngather = \"0s\"\nevents = [\"waves\"]\n\n\
             [providers.cloud]\nkind = \"tencent\"\nregion = \"ap-guangzhou\"\nendpoint = \"{cloud}\"\nquota = 1000\n\
             credentials = {{ source = \"static\", secret-id = {{ file = \"{{folder}}/secret-id\" }}, secret-key = {{ file = \"{{folder}}/secret-key\" }} }}\n\n\
             [targets.caches]\nselect = {{ provider = \"cloud\", tags = {{ rotate = \"yes\" }} }}\nadopt = {{ file = \"{{folder}}/initial\" }}\n\
             login = \"redis://{{{{ host }}}}:{{{{ port }}}}\"\nsinks = [\"each\"]\nschedule = \"{schedule}\"\n\
             waves = {{ canary = 1, then = 2, halt-after = 2 }}\n\n\
             [sinks.each]\nkind = \"file\"\npath = \"{{folder}}/{{{{ target }}}}\"\n\n",
            pager.url("/alerts")
        ),
    );
    let unlimited = Quota { per_second: 0.0, burst: 0.0 };
    stage.change(Change { quota: Some(unlimited), ..Change::default() });
}

/// What the pager heard of waves: state, selection, and what happened.
fn heard(pager: &Receiver) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let alerts = |body: Value| body["data"]["alerts"].as_array().cloned().unwrap_or_default();
    let all = pager.heard().into_iter().flat_map(|request| alerts(request.json()));
    all.map(|alert| {
        let named = &alert["named"][0];
        assert_eq!(alert["event"], "waves", "{alert}");
        (text(&alert["state"]), text(&named["selection"]), text(&named["what"]))
    })
    .collect()
}

/// Those five, taken in and delivered, long before their slot.
fn settled(pager: &Receiver) -> (Stage, Daemon) {
    let stage = Stage::set_with(FLEET.map(|id| InstanceSettings::new(id, INITIAL).with_tag("rotate", "yes")).to_vec());
    stage.write("alerts-key", &STANDARD.encode("0123456789abcdef0123456789abcdef"));
    in_waves(&stage, pager, "0 0 1 1 *");
    let daemon = stage.start(&[]);
    FLEET.iter().for_each(|id| stage.until(&format!("caches-{id}"), "settled", 1));
    (stage, daemon)
}

#[test]
fn nothing_follows_a_halted_canary_and_the_alert_says_why() {
    let pager = Receiver::start();
    let (stage, daemon) = settled(&pager);

    let planned = plain(&well(stage.keywheel(&["plan", "--for", "367d"])));
    for words in [
        "The 5 targets of caches follow each other in 3 waves: caches-crs-1 first, then 2 at a time.",
        "A wave begins when the one before is settled; nothing more begins once the first or 2 of all are halted.",
        "WAVE",
        "2 of 3",
    ] {
        assert!(planned.contains(words), "{words}: {planned}");
    }
    let report = json(stage.keywheel(&["plan", "--for", "367d", "--json"]));
    assert_eq!(report["waves"][0]["sizes"], serde_json::json!([1, 2, 2]), "{report}");
    let waves: Vec<u64> =
        report["slots"].as_array().unwrap().iter().map(|slot| slot["wave"].as_u64().unwrap()).collect();
    assert_eq!(waves[..5], [1, 2, 2, 3, 3], "{report}");

    let password = Some(Secret::new(BY_HAND.to_owned()));
    stage.change_instance("crs-1", InstanceChange { password, ..InstanceChange::default() });
    in_waves(&stage, &pager, "*/2 * * * * *");
    daemon.signal(Signal::HUP);
    until("the first to halt", || stage.status_of("caches-crs-1")["state"] == "halted");
    until("the pager to hear of it", || !heard(&pager).is_empty());
    let why = "nothing more of the selection begins: caches-crs-1, which goes first, is halted";
    assert_eq!(heard(&pager), [("raised".to_owned(), "caches".to_owned(), why.to_owned())]);
    // Slots come and go.
    until("the others to wait", || {
        let status = stage.status_of("caches-crs-5");
        status["why"] == why && status["state"] == "due"
    });
    assert!(plain(&well(stage.keywheel(&["explain", "caches-crs-5"]))).contains(why));
    assert!(plain(&well(stage.keywheel(&["plan"]))).contains(&format!("Now {why}.")));
    for id in &FLEET[1..] {
        assert_eq!(stage.passwords(id).len(), 1, "{id} was rotated");
    }
    let page = stage.keywheel(&["explain", "caches-crs-1"]);
    assert!(plain(&page.out).contains("the first of 3 of caches: the others wait until it is settled"), "{}", page.out);

    let helped = stage.keywheel_reading(&["recover", "caches-crs-1", "--set"], BY_HAND);
    assert_eq!(helped.status, 0, "{}{}", helped.out, helped.err);
    for id in FLEET {
        until("all of them to rotate", || stage.passwords(id).len() > 1);
    }
    until("the pager to hear that it is over", || heard(&pager).len() == 2);
    assert_eq!(heard(&pager)[1].0, "over");
    daemon.stop();
    let first = |id: &str, event: &str| -> String {
        let told = well(stage.keywheel(&["history", &format!("caches-{id}"), "--json"]));
        let lines = told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut lines = lines.filter(|line| line["event"] == event);
        lines.next().unwrap()["time"].as_str().unwrap().to_owned()
    };
    for (before, after) in [("crs-1", "crs-2"), ("crs-1", "crs-3"), ("crs-2", "crs-4"), ("crs-3", "crs-5")] {
        assert!(first(before, "settled") <= first(after, "began"), "{after} began before {before} had settled");
    }
}

/// One that left the selection is told of, and the record of one does not stand between a person and the password of another.
#[test]
fn those_of_a_selection_with_waves_are_told_of_one_by_one() {
    let pager = Receiver::start();
    let (stage, daemon) = settled(&pager);
    let change = InstanceChange { tags: Some(BTreeMap::new()), ..InstanceChange::default() };
    stage.change_instance("crs-5", change);
    until("one to be retired", || {
        let status = stage.status_of("caches-crs-5");
        status["why"].as_str().is_some_and(|why| why.starts_with("retired since"))
    });
    let explained = stage.keywheel(&["explain", "caches-crs-5"]);
    assert!(explained.status == 0 && explained.out.contains("is retired"), "{}{}", explained.out, explained.err);
    daemon.stop();

    let ledger = rusqlite::Connection::open(stage.path("state/ledger.db")).unwrap();
    let spoil = "UPDATE events SET body = '{}' WHERE target = 'caches-crs-2'";
    assert!(ledger.execute(spoil, []).unwrap() > 0);
    drop(ledger);
    assert_ne!(stage.keywheel(&["explain", "caches-crs-1"]).status, 0, "nobody knows its place in the wave");
    for (verb, said) in
        [(["reveal", "caches-crs-1"].as_slice(), INITIAL), (&["recover", "caches-crs-1", "--show"], "generation 1: ")]
    {
        let told = stage.keywheel(verb);
        assert!(told.status == 0 && told.out.contains(said) && told.out.contains(INITIAL), "{}{}", told.out, told.err);
    }
}

fn target(stage: &Stage, schedule: &str) -> String {
    let more = format!("adopt = {{ file = \"{{folder}}/initial\" }}\nsinks = [\"raw\"]\n{schedule}");
    stage.sink("raw", "format = \"raw\"") + &stage.target(TARGET, INSTANCE, &more)
}

fn now() -> DateTime<Utc> {
    SystemClock.now().utc()
}

fn freeze(from: DateTime<Utc>, to: DateTime<Utc>) -> String {
    let wall = |at: DateTime<Utc>| at.format("%Y-%m-%d %H:%M:%S").to_string();
    format!("[freezes.sale]\nfrom = \"{}\"\nto = \"{}\"\ntime-zone = \"UTC\"\n\n", wall(from), wall(to))
}

#[test]
fn in_a_freeze_nothing_begins_by_itself_and_its_end_needs_nobody() {
    let stage = Stage::set();
    let day = TimeDelta::days(1);
    let long = freeze(now() - day, now() + day);
    let frequent = target(&stage, "schedule = \"* * * * * *\"");
    stage.configure(&(long.clone() + &target(&stage, "schedule = \"30 3 * * *\"\nwindow = \"2h\"")));
    let planned = well(stage.keywheel(&["plan", "--for", "3d"]));
    assert!(
        plain(&planned).contains("(sale, UTC): nothing begins by itself; 0 slots wait for its end, and 1 falls away."),
        "{planned}"
    );

    stage.configure(&(long + &frequent));
    let daemon = stage.start(&[]);
    stage.until(TARGET, "settled", 1);
    let status = stage.status_of(TARGET);
    assert!(status["why"].as_str().unwrap().contains("(sale): nothing begins by itself"), "{status}");
    let explained = plain(&well(stage.keywheel(&["explain", TARGET])));
    assert!(explained.contains("(sale): nothing begins by itself"), "{explained}");
    let report = json(stage.keywheel(&["plan", "--for", "2h", "--json"]));
    assert_eq!(
        (report["freezes"][0]["name"].as_str(), report["slots"].as_array().map(Vec::len)),
        (Some("sale"), Some(0)),
        "{report}"
    );

    let refused = stage.keywheel(&["rotate", TARGET, "--wait"]);
    assert_eq!(refused.status, 1, "{}{}", refused.out, refused.err);
    assert!(
        refused.err.contains("the freeze sale lasts for another")
            && refused.err.contains("keywheel rotate orders --through-freeze"),
        "{}",
        refused.err
    );
    well(stage.keywheel(&["rotate", TARGET, "--wait", "--through-freeze", "--reason", "a leak"]));
    assert_eq!(stage.passwords(INSTANCE).len(), 2);

    let end = now() + TimeDelta::seconds(3);
    stage.configure(&(freeze(now() - day, end) + &frequent));
    daemon.signal(Signal::HUP);
    until("the freeze to end", || stage.passwords(INSTANCE).len() > 2);
    daemon.stop();
    let told = well(stage.keywheel(&["history", TARGET, "--json"]));
    let began = told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let began = began.filter(|line| line["event"] == "began").nth(1).unwrap();
    let at: DateTime<Utc> = began["time"].as_str().unwrap().parse().unwrap();
    assert!(at.timestamp() >= end.timestamp(), "began at {at}, frozen until {end}");
}

#[test]
fn a_pause_is_in_the_plan() {
    let stage = Stage::set();
    stage.configure(&target(&stage, "schedule = \"0 * * * *\"\nwindow = \"10m\""));
    let daemon = stage.start(&[]);
    stage.until(TARGET, "settled", 1);
    let slots = |report: &Value| report["slots"].as_array().map_or(0, Vec::len);
    let before = json(stage.keywheel(&["plan", "--for", "10h", "--json"]));
    well(stage.keywheel(&["pause", TARGET, "--for", "5h"]));
    let paused = json(stage.keywheel(&["plan", "--for", "10h", "--json"]));
    assert_eq!((slots(&before), paused["paused"][0]["target"].as_str()), (10, Some(TARGET)), "{paused}");
    assert!((5..=6).contains(&slots(&paused)), "{paused}");
    let shown = plain(&well(stage.keywheel(&["plan"])));
    assert!(shown.contains("Paused, so that nothing begins: orders until 20"), "{shown}");
    well(stage.keywheel(&["resume", TARGET]));
    well(stage.keywheel(&["pause", TARGET]));
    let shown = plain(&well(stage.keywheel(&["plan"])));
    assert!(shown.contains("Paused, so that nothing begins: orders until somebody resumes it."), "{shown}");
    daemon.stop();
}

#[test]
fn everything_rotates_only_after_a_question() {
    let stage = Stage::set();
    stage.configure(&target(&stage, ""));
    let daemon = stage.start(&[]);
    stage.until(TARGET, "settled", 1);
    let nobody = stage.keywheel(&["rotate", "--all"]);
    assert_eq!(nobody.status, 2, "{}{}", nobody.out, nobody.err);
    assert!(nobody.err.contains("this would rotate 1 target now") && nobody.err.contains("--yes"), "{}", nobody.err);
    // At a terminal, which `script` makes.
    let asked = |answer: &str| {
        let command = stage.command(&["rotate", "--all", "--wait"]);
        let words: Vec<String> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| format!("'{}'", word.to_str().unwrap()))
            .collect();
        let mut terminal = Command::new("script")
            .args(["-qec", &words.join(" "), "/dev/null"])
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        terminal.stdin.as_mut().unwrap().write_all(format!("{answer}\n").as_bytes()).unwrap();
        let ended = terminal.wait_with_output().unwrap();
        (ended.status.code(), String::from_utf8_lossy(&ended.stdout).into_owned())
    };
    let (status, said) = asked("n");
    assert!(status == Some(1) && said.contains("Rotate 1 target now? [y/N]"), "{status:?} {said}");
    assert_eq!(stage.passwords(INSTANCE).len(), 1);
    let (status, said) = asked("y");
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(stage.passwords(INSTANCE).len(), 2);
    well(stage.keywheel(&["rotate", "--all", "--yes", "--wait"]));
    assert_eq!(stage.passwords(INSTANCE).len(), 3);
    daemon.stop();
}
