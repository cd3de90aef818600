//! What sinks hold when something but the password changes: keywheel starts again, or is told another address.

use crate::common::stage::{INITIAL, INSTANCE, Stage, until};
use keywheel::secret::Secret;
use keywheel::simulator::{InstanceChange, InstanceSettings, Reach};
use rustix::process::Signal;
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
    let why = || stage.status_of(TARGET)["why"].to_string();
    until("a login to fail", || why().contains("before a login shows what clients must send"));
    assert_eq!((stage.status_of(TARGET)["state"].as_str(), held()), (Some("behind"), String::new()));
    reach(&stage, Reach::Open);
    stage.until(TARGET, "settled", 1);
    assert_eq!(held(), accepted);
    daemon.stop();

    // Somebody changes the password meanwhile: what the sink holds opens nothing anyway, and must not keep the change from being found.
    let set = |password: &str| {
        let password = Some(Secret::new(password.to_owned()));
        stage.change_instance(INSTANCE, InstanceChange { password, ..InstanceChange::default() });
    };
    fs::remove_file(stage.path("orders")).unwrap();
    set("Console-Pass-1");
    let daemon = stage.start(&[]);
    until("the sink to hold something", || !held().is_empty());
    stage.keywheel(&["rotate", TARGET]);
    stage.until(TARGET, "halted", 1);
    // It is set back, a login shows the form, and the sink gets it.
    set(INITIAL);
    assert_eq!(stage.keywheel(&["recover", TARGET, "--resume"]).status, 0);
    stage.until(TARGET, "settled", 2);
    assert_eq!(held(), format!("{INSTANCE}:{}", stage.live(INSTANCE)));
    daemon.stop();
}

/// The password stays the same and the address does not: the sink follows, once a login at the new address showed that it leads there.
#[test]
fn a_sink_follows_what_else_it_tells_its_readers() {
    let stage = Stage::set();
    let at = |host: &str, format: &str| {
        let target = stage.target(TARGET, INSTANCE, &format!("{ADOPT}\nverify-every = \"1s\""));
        stage.configure(&(stage.sink("orders", format) + &target.replace("127.0.0.1", host)));
    };
    let held = || fs::read_to_string(stage.path("orders")).unwrap_or_default();
    let settled = |words: &str| {
        until(words, || held().contains(words));
        stage.until(TARGET, "settled", 1);
    };
    at("127.0.0.1", "format = \"env\"");
    let daemon = stage.start(&[]);
    settled("REDIS_HOST=\"127.0.0.1\"");

    at("localhost", "format = \"env\"");
    daemon.signal(Signal::HUP);
    settled("REDIS_HOST=\"localhost\"");
    daemon.stop();

    // Nobody answers there.
    at("127.0.0.2", "format = \"env\"");
    let daemon = stage.start(&[]);
    until("a login there to fail", || daemon.log().contains("before a login shows what clients must send"));
    assert!(held().contains("localhost"), "{}", held());
    at("127.0.0.1", "format = \"json\"");
    daemon.signal(Signal::HUP);
    settled("\"host\": \"127.0.0.1\"");

    // What somebody else wrote there is still left alone, and shown.
    stage.write("orders", "by hand");
    stage.until(TARGET, "behind", 1);
    assert_eq!(held(), "by hand");
    daemon.stop();
}
