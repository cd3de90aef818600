//! The other verbs, with a daemon to ask and without one.

use crate::common::stage::{INITIAL, INSTANCE, Outcome, Stage, until};
use keywheel::secret::Secret;
use keywheel::simulator::{InstanceChange, InstanceSettings};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

const TARGET: &str = "orders-cache";

fn stage() -> Stage {
    let stage = Stage::set();
    let more = "schedule = \"30 3 * * SUN\"\nwindow = \"2h\"\nsinks = [\"orders\"]";
    stage.configure(&(stage.sink("orders", "") + &stage.target(TARGET, INSTANCE, more)));
    stage
}

fn adopted() -> Stage {
    let stage = stage();
    well(&stage.keywheel_reading(&["adopt", TARGET], &format!("{INITIAL}\n")));
    stage
}

fn well(outcome: &Outcome) {
    assert_eq!(outcome.status, 0, "{}{}", outcome.out, outcome.err);
}

/// Somebody changes the password behind keywheel's back.
fn change_by_hand(stage: &Stage, password: &str) {
    let password = Some(Secret::new(password.to_owned()));
    stage.change_instance(INSTANCE, InstanceChange { password, ..InstanceChange::default() });
}

/// Runs a test with a daemon and then, on another stage, without one.
fn both_ways(test: impl Fn(&Stage)) {
    let with = adopted();
    let daemon = with.start(&[]);
    test(&with);
    daemon.stop();
    test(&adopted());
}

#[test]
fn adopt_takes_a_password_that_works_and_only_once() {
    for from_file in [false, true] {
        let stage = stage();
        let from = format!("file:{}", stage.path("given").display());
        let adopt = |password: &str| {
            if from_file {
                stage.write("given", &format!("{password}\n"));
                stage.keywheel(&["adopt", TARGET, "--from", &from])
            } else {
                stage.keywheel_reading(&["adopt", TARGET], &format!("{password}\n"))
            }
        };
        for (password, words) in [("Not-The-One-1", "refuses this password"), ("", "")] {
            let refused = adopt(password);
            assert_eq!((refused.status, refused.err.contains(words)), (2, true), "{password}: {}", refused.err);
        }
        assert_eq!(stage.keywheel(&["reveal", TARGET]).status, 2);
        let unknown = stage.keywheel(&["status"]).out;
        assert!(unknown.contains("0/1"), "a sink cannot hold what nobody knows: {unknown}");
        well(&adopt(INITIAL));
        assert_eq!(stage.status_of(TARGET)["generation"], 1);
        assert_eq!(stage.passwords(INSTANCE), [INITIAL]);
        let again = adopt(INITIAL);
        assert!(again.status == 2 && again.err.contains("taken in before"), "{}", again.err);
    }
    let unknown = stage().keywheel(&["adopt", "order-cache"]);
    assert!(unknown.status == 2 && unknown.err.contains(TARGET), "{}", unknown.err);
}

#[test]
fn rotate_waits_until_the_password_is_proven_and_published() {
    both_ways(|stage| {
        let rotated = stage.keywheel(&["rotate", TARGET, "--wait", "--reason", "an employee left"]);
        well(&rotated);
        assert!(rotated.out.contains("settled, generation 2"), "{}", rotated.out);
        let passwords = stage.passwords(INSTANCE);
        assert_eq!(passwords.len(), 2);
        assert_eq!(fs::read_to_string(stage.path("orders")).unwrap(), passwords[1]);
        assert_eq!(stage.status().1, 0);
        assert!(stage.keywheel(&["history", TARGET]).out.contains("an employee left"));
        let unknown = stage.keywheel(&["rotate", "order-cache"]);
        assert!(unknown.status == 2 && unknown.err.contains(TARGET), "{}", unknown.err);
    });
}

#[test]
fn reveal_prints_the_password_and_a_newline_and_is_recorded() {
    both_ways(|stage| {
        let revealed = stage.keywheel(&["reveal", TARGET]);
        assert_eq!((revealed.status, revealed.out), (0, format!("{INITIAL}\n")));
        let history = stage.keywheel(&["history"]).out;
        assert!(history.contains("was shown generation 1"), "{history}");
        assert!(!history.contains(INITIAL), "{history}");
    });
}

#[test]
fn a_halted_target_is_helped_in_each_way() {
    both_ways(|stage| {
        // Drift: halted, refused, shown, and set right by a password that works.
        change_by_hand(stage, "Console-Pass-1");
        let halted = stage.keywheel(&["rotate", TARGET, "--wait"]);
        assert_eq!(halted.status, 2, "{}{}", halted.out, halted.err);
        assert_eq!((stage.status().1, stage.status_of(TARGET)["state"].as_str()), (2, Some("halted")));
        let refused = stage.keywheel(&["rotate", TARGET, "--wait"]);
        assert_eq!(refused.status, 2, "{}{}", refused.out, refused.err);
        assert!(format!("{}{}", refused.out, refused.err).contains("halted"), "{}{}", refused.out, refused.err);
        let shown = stage.keywheel(&["recover", TARGET, "--show"]);
        well(&shown);
        assert!(shown.out.contains(INITIAL) && shown.out.contains("generation 1: "), "{}", shown.out);
        assert!(!shown.out.contains("TARGET"), "{}", shown.out);
        let wrong = stage.keywheel_reading(&["recover", TARGET, "--set"], "Not-The-One-1\n");
        assert!(wrong.status == 2 && wrong.err.contains("refuses"), "{}", wrong.err);
        well(&stage.keywheel_reading(&["recover", TARGET, "--set"], "Console-Pass-1\n"));
        assert_eq!(stage.keywheel(&["reveal", TARGET]).out, "Console-Pass-1\n");
        well(&stage.keywheel(&["rotate", TARGET, "--wait"]));
        let ours = stage.live(INSTANCE);
        assert_eq!(fs::read_to_string(stage.path("orders")).unwrap(), ours);

        // Drift that somebody takes back: going on is enough.
        change_by_hand(stage, "Console-Pass-2");
        assert_eq!(stage.keywheel(&["rotate", TARGET, "--wait"]).status, 2);
        change_by_hand(stage, &ours);
        well(&stage.keywheel(&["recover", TARGET, "--resume"]));
        settled(stage);

        // Drift to a password that nobody knows: one reset, allowed by a person.
        change_by_hand(stage, "Nobody-Knows-3");
        assert_eq!(stage.keywheel(&["rotate", TARGET, "--wait"]).status, 2);
        well(&stage.keywheel(&["recover", TARGET, "--reset"]));
        settled(stage);
        let idle = stage.keywheel(&["recover", TARGET, "--resume"]);
        assert!(idle.status == 2 && idle.err.contains("not halted"), "{}", idle.err);
    });
}

/// What stops one target may stop many.
#[test]
fn every_halted_target_goes_on_at_once() {
    for by_daemon in [true, false] {
        let other = "crs-stage002";
        let stage = Stage::set_with([INSTANCE, other].map(|id| InstanceSettings::new(id, INITIAL)).into());
        let adopt = "adopt = { file = \"{folder}/initial\" }";
        stage.configure(&(stage.target(TARGET, INSTANCE, adopt) + &stage.target("sessions", other, adopt)));
        well(&stage.keywheel(&["rotate", "--all", "--yes", "--wait"]));
        let idle = stage.keywheel(&["recover", "--all", "--resume"]);
        assert!(idle.status == 0 && idle.out.contains("No target is halted"), "{}{}", idle.out, idle.err);
        let ours = [INSTANCE, other].map(|id| (id, stage.live(id)));
        let set = |id: &str, password: &str| {
            let password = Some(Secret::new(password.to_owned()));
            stage.change_instance(id, InstanceChange { password, ..InstanceChange::default() });
        };
        ours.iter().for_each(|(id, _)| set(id, "Console-Pass-1"));
        assert_eq!(stage.keywheel(&["rotate", "--all", "--yes", "--wait"]).status, 2);
        ours.iter().for_each(|(id, password)| set(id, password));
        let daemon = by_daemon.then(|| stage.start(&[]));
        let resumed = stage.keywheel(&["recover", "--all", "--resume"]);
        well(&resumed);
        assert!(resumed.out.contains(TARGET) && resumed.out.contains("sessions"), "{}", resumed.out);
        let refused = stage.keywheel(&["resume", TARGET, "sessions"]);
        let each = [TARGET, "sessions"].map(|target| format!("keywheel: {target}: "));
        assert!(refused.status == 2 && each.iter().all(|said| refused.err.contains(said)), "{}", refused.err);
        stage.until(TARGET, "settled", 3);
        stage.until("sessions", "settled", 3);
        drop(daemon);
    }
}

/// The target is settled, and the ledger, the cloud and the sink agree.
fn settled(stage: &Stage) {
    until("the target to be settled", || stage.status_of(TARGET)["state"] == "settled");
    let live = stage.live(INSTANCE);
    assert_eq!(stage.keywheel(&["reveal", TARGET]).out, format!("{live}\n"));
    assert_eq!(fs::read_to_string(stage.path("orders")).unwrap(), live);
}

#[test]
fn history_is_told_in_words_and_in_json() {
    let stage = adopted();
    well(&stage.keywheel(&["rotate", TARGET, "--wait"]));
    let history = stage.keywheel(&["history", TARGET, "--json"]);
    well(&history);
    let lines: Vec<Value> = history.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let rotations: BTreeSet<&str> = lines.iter().filter_map(|line| line["rotation"].as_str()).collect();
    assert_eq!(rotations.len(), 1);
    for (at, line) in lines.iter().enumerate() {
        assert_eq!((&line["target"], &line["seq"]), (&Value::from(TARGET), &Value::from(at + 1)));
        assert!(line["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
    }
    let words = stage.keywheel(&["history"]);
    assert_eq!(words.out.lines().count(), lines.len() + 1, "one line per event and a header: {}", words.out);
    assert!(words.out.contains("settled"));
}

#[test]
fn explain_and_plan_say_what_comes_next() {
    let stage = adopted();
    well(&stage.keywheel(&["rotate", TARGET, "--wait"]));
    let explained = stage.keywheel(&["explain", TARGET]);
    well(&explained);
    for words in ["the next slot has not come", "generation 2", "30 3 * * SUN", "orders holds generation 2"] {
        assert!(explained.out.contains(words), "explain does not say {words:?}: {}", explained.out);
    }
    let plan = stage.keywheel(&["plan", "--for", "30d", "--json"]);
    well(&plan);
    let plan: Value = serde_json::from_str(&plan.out).unwrap();
    let slots = plan["slots"].as_array().unwrap();
    assert!((4..=5).contains(&slots.len()), "{plan}");
    assert_eq!(slots[0]["due"], stage.status_of(TARGET)["next-due"], "plan and status disagree");
    assert!(slots.iter().all(|slot| slot["due"].as_str().unwrap().contains("T03:30:00")), "{plan}");
    assert_eq!(plan["quota"][0]["rotations"], slots.len());
    let table = stage.keywheel(&["plan", "--for", "30d"]);
    assert_eq!(table.out.matches(TARGET).count(), slots.len(), "{}", table.out);
    assert!(stage.keywheel(&["plan", "--for", "1s"]).out.contains("Nothing is planned"));
}

#[test]
fn generate_needs_no_configuration() {
    let stage = Stage::set();
    assert!(!stage.path("keywheel.toml").exists());
    for (profile, longest) in [("tencent", 30), ("tencent-ckv", 30), ("alibaba", 32), ("redis", 512)] {
        let made = stage.keywheel(&["generate", "--profile", profile, "--count", "20"]);
        well(&made);
        let passwords: BTreeSet<&str> = made.out.lines().collect();
        assert_eq!(passwords.len(), 20);
        assert!(passwords.iter().all(|password| (8..=longest).contains(&password.len())), "{}", made.out);
        assert!(made.err.contains("bits of entropy"), "{}", made.err);
    }
    let unknown = stage.keywheel(&["generate", "--profile", "tencnet"]);
    assert!(unknown.status == 2 && unknown.err.contains("tencent"), "{}", unknown.err);
}
