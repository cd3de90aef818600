//! Between rotations, through the built binary: somebody else changes the password or a sink's file, and it is seen without a rotation; an operator
//! pauses and resumes.

use crate::common::stage::{INITIAL, INSTANCE, Stage, until};
use keywheel::secret::Secret;
use keywheel::simulator::{InstanceChange, InstanceSettings};
use serde_json::Value;
use std::fs;

const BY_HAND: &str = "By-Hand-2026-xY";

fn stage(keys: &str) -> Stage {
    let stage = Stage::set();
    let more = format!("adopt = {{ file = \"{{folder}}/initial\" }}\nsinks = [\"orders-raw\"]\n{keys}");
    stage.configure(&[stage.sink("orders-raw", "format = \"raw\""), stage.target("orders", INSTANCE, &more)].concat());
    stage
}

fn change_by_hand(stage: &Stage, password: &str) {
    let password = Some(Secret::new(password.to_owned()));
    stage.change_instance(INSTANCE, InstanceChange { password, ..InstanceChange::default() });
}

fn why(stage: &Stage, target: &str) -> String {
    stage.status_of(target)["why"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_password_changed_by_somebody_else_is_seen_between_rotations_and_not_overwritten() {
    let stage = stage("verify-every = \"1s\"");
    let daemon = stage.start(&[]);
    stage.until("orders", "settled", 1);
    change_by_hand(&stage, BY_HAND);
    until("the drift to be seen", || stage.status_of("orders")["state"] == "halted");
    assert!(why(&stage, "orders").contains("somebody else changed it"), "{}\n{}", why(&stage, "orders"), daemon.log());
    assert_eq!(stage.live(INSTANCE), BY_HAND, "nothing was overwritten");
    let given = stage.keywheel_reading(&["recover", "orders", "--set"], BY_HAND);
    assert_eq!(given.status, 0, "{}", given.err);
    stage.until("orders", "settled", 2);
    assert_eq!(fs::read_to_string(stage.path("orders-raw")).unwrap(), BY_HAND);
}

#[test]
fn where_a_reset_is_allowed_a_drift_is_repaired_by_a_new_password() {
    let stage = stage("verify-every = \"1s\"\nrecovery = \"reset\"");
    let _daemon = stage.start(&[]);
    stage.until("orders", "settled", 1);
    change_by_hand(&stage, BY_HAND);
    stage.until("orders", "settled", 2);
    let live = stage.live(INSTANCE);
    assert_ne!(live, BY_HAND);
    until("the sink to hold it", || {
        fs::read_to_string(stage.path("orders-raw")).is_ok_and(|text| text.contains(&live))
    });
}

#[test]
fn after_a_halt_for_drift_one_reset_may_be_allowed() {
    let stage = stage("verify-every = \"1s\"");
    let _daemon = stage.start(&[]);
    stage.until("orders", "settled", 1);
    change_by_hand(&stage, BY_HAND);
    until("the drift to be seen", || stage.status_of("orders")["state"] == "halted");
    let allowed = stage.keywheel(&["recover", "orders", "--reset"]);
    assert_eq!(allowed.status, 0, "{}{}", allowed.out, allowed.err);
    stage.until("orders", "settled", 2);
    assert_ne!(stage.live(INSTANCE), BY_HAND);
}

#[test]
fn a_sink_that_somebody_changed_is_told_and_left_alone_until_a_person_says_so() {
    let stage = stage("verify-every = \"1s\"");
    let _daemon = stage.start(&[]);
    stage.until("orders", "settled", 1);
    until("the file to be there", || stage.path("orders-raw").exists());
    fs::write(stage.path("orders-raw"), "something else").unwrap();
    until("the change to be seen", || stage.status_of("orders")["state"] == "behind");
    assert!(why(&stage, "orders").contains("recover orders --resume"), "{}", why(&stage, "orders"));
    assert_eq!(fs::read_to_string(stage.path("orders-raw")).unwrap(), "something else");
    let repaired = stage.keywheel(&["recover", "orders", "--resume"]);
    assert_eq!(repaired.status, 0, "{}", repaired.err);
    stage.until("orders", "settled", 1);
    assert_eq!(fs::read_to_string(stage.path("orders-raw")).unwrap(), INITIAL);
}

#[test]
fn while_paused_nothing_begins_and_a_pause_ends_by_itself() {
    let stage = stage("");
    let daemon = stage.start(&[]);
    stage.until("orders", "settled", 1);
    let paused = stage.keywheel(&["pause", "orders"]);
    assert_eq!(paused.status, 0, "{}", paused.err);
    let status = stage.status_of("orders");
    assert_eq!(status["state"], "paused", "{status}");
    let refused = stage.keywheel(&["rotate", "orders"]);
    assert_eq!(refused.status, 1, "{}{}", refused.out, refused.err);
    let said = refused.out + &refused.err;
    assert!(said.contains("keywheel resume orders"), "{said}");

    daemon.stop();
    let still = stage.status_of("orders");
    assert_eq!(still["state"], "paused", "a pause outlives the daemon");
    let resumed = stage.keywheel(&["resume", "--all"]);
    assert_eq!(resumed.status, 0, "{}", resumed.err);
    let nothing = stage.keywheel(&["resume", "--all"]);
    assert_eq!((nothing.status, nothing.out.trim()), (0, "No target is paused."));
    let short = stage.keywheel(&["pause", "--all", "--for", "1s"]);
    assert_eq!(short.status, 0, "{}", short.err);
    let _daemon = stage.start(&[]);
    until("the pause to end", || stage.status_of("orders")["state"] == "settled");
    let told = stage.keywheel(&["history", "orders", "--json"]);
    let events: Vec<Value> = told.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |event: &str| events.iter().filter(|line| line["event"] == event).count();
    assert_eq!((count("paused"), count("unpaused")), (2, 2), "{}", told.out);
    let asked = stage.keywheel(&["rotate", "orders", "--wait"]);
    assert_eq!(asked.status, 0, "{}{}", asked.out, asked.err);
}

/// Whoever pauses a fleet wants nothing to begin: without a daemon a command answers and leaves what is due alone.
#[test]
fn a_pause_without_a_daemon_begins_nothing() {
    let instances = ["crs-stage001", "crs-stage002", "crs-stage003", "crs-stage004"];
    let stage = Stage::set_with(instances.map(|id| InstanceSettings::new(id, INITIAL)).to_vec());
    let adopt = "adopt = { file = \"{folder}/initial\" }";
    let targets = instances.map(|id| {
        let sink = format!("raw-{id}");
        stage.sink(&sink, "format = \"raw\"") + &stage.target(id, id, &format!("{adopt}\nsinks = [\"{sink}\"]"))
    });
    stage.configure(&targets.concat());
    let paused = stage.keywheel(&["pause", "--all"]);
    assert_eq!(paused.status, 0, "{}", paused.err);
    for id in instances {
        let told = stage.keywheel(&["history", id, "--json"]);
        assert!(told.out.contains("paused") && !told.out.contains("adopted"), "{}", told.out);
    }
}
