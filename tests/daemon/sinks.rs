//! What sinks hold when something but the password changes: keywheel starts again, or is told another address.

use crate::common::stage::{INITIAL, INSTANCE, Stage, until};
use keywheel::simulator::{InstanceChange, InstanceSettings, Reach};
use std::fs;

const TARGET: &str = "orders-cache";
const ADOPT: &str = "adopt = { file = \"{folder}/initial\" }\nsinks = [\"orders\"]";

fn reach(stage: &Stage, reach: Reach) {
    stage.change_instance(INSTANCE, InstanceChange { reach: Some(reach), ..InstanceChange::default() });
}

/// Two pages of the vendor disagree about what a client sends. What a login showed is forgotten when keywheel starts again, and so are files below
/// `/run`.
#[test]
fn what_clients_send_is_learned_again_before_anything_is_delivered() {
    let settings = InstanceSettings { prefix_required: true, ..InstanceSettings::new(INSTANCE, INITIAL) };
    let stage = Stage::set_with(vec![settings]);
    stage.configure(&(stage.sink("orders", "") + &stage.target(TARGET, INSTANCE, ADOPT)));
    let daemon = stage.start(&[]);
    stage.until(TARGET, "settled", 1);
    let held = || fs::read_to_string(stage.path("orders")).unwrap_or_default();
    let accepted = format!("{INSTANCE}:{INITIAL}");
    until("the sink to hold it", || held() == accepted);
    daemon.stop();

    fs::remove_file(stage.path("orders")).unwrap();
    reach(&stage, Reach::Refuse);
    let daemon = stage.start(&[]);
    stage.until(TARGET, "behind", 1);
    let why = stage.status_of(TARGET)["why"].to_string();
    assert!(why.contains("before a login shows what clients must send"), "{why}");
    assert_eq!(held(), "");
    reach(&stage, Reach::Open);
    stage.until(TARGET, "settled", 1);
    assert_eq!(held(), accepted);
    daemon.stop();
}
