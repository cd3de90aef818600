//! A ledger on storage that vanishes is refused, unless its owner says that each target begins anew from a sink: then it does, and generations go on.

use super::stage::{INSTANCE, Stage};
use keywheel::simulator::{AccountSettings, InstanceSettings};
use std::fs;
use std::path::Path;
use std::process::Command;

const FIRST: (&str, &str) = ("orders_a", "First-One-2020");
const SECOND: (&str, &str) = ("orders_b", "Second-One-2020");

/// A file system in memory over this folder; `None` where none may be mounted.
struct Memory<'a>(&'a Path);

impl<'a> Memory<'a> {
    fn over(folder: &'a Path) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(folder).output();
        match mounted.is_ok_and(|done| done.status.success()) {
            true => Some(Self(folder)),
            false => {
                eprintln!("left out: mounting a file system is not allowed here");
                None
            }
        }
    }
}

impl Drop for Memory<'_> {
    fn drop(&mut self) {
        let _status = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

fn configure(stage: &Stage, ephemeral: &str, more: &str) {
    let target = stage.target(
        "orders",
        INSTANCE,
        &format!(
            "accounts = [\"orders_a\", \"orders_b\"]\nadopt = {{ sink = \"store\" }}\nsinks = [\"store\"]\n{more}"
        ),
    );
    stage.configure(&format!("{}{target}", stage.sink("store", "format = \"json\"")));
    let text = fs::read_to_string(stage.path("keywheel.toml")).unwrap();
    stage.write("keywheel.toml", &text.replace("ephemeral = \"rehearsal\"", ephemeral));
}

fn stage() -> Stage {
    let account = |(name, password)| AccountSettings::new(name, password);
    Stage::set_with(vec![InstanceSettings {
        accounts: vec![account(FIRST), account(SECOND)],
        ..InstanceSettings::new(INSTANCE, "Root-One-2020")
    }])
}

#[test]
fn a_ledger_in_memory_is_refused() {
    let stage = stage();
    configure(&stage, "", "strategy = \"alternate\"\ngrace = \"2s\"");
    let folder = stage.path("state");
    let Some(_memory) = Memory::over(&folder) else { return };
    let found = stage.keywheel(&["check"]);
    assert!(found.status == 1 && found.out.contains("lies on tmpfs"), "{}", found.out);
    let ended = stage.keywheel(&["run"]);
    assert_eq!(ended.status, 2, "{}", ended.err);
    assert!(
        ended.err.contains("lies on tmpfs") && ended.err.contains("ephemeral = \"adopt-from-sink\""),
        "{}",
        ended.err
    );
}

#[test]
fn what_would_lock_everybody_out_may_not_vanish() {
    let stage = stage();
    configure(&stage, "ephemeral = \"adopt-from-sink\"", "");
    let text = fs::read_to_string(stage.path("keywheel.toml")).unwrap();
    stage.write("keywheel.toml", &text.replace("accounts = [\"orders_a\", \"orders_b\"]", "account = \"orders_a\""));
    let ended = stage.keywheel(&["check", "--offline"]);
    assert_eq!(ended.status, 2, "{}", ended.err);
    assert!(ended.err.contains("would lock everybody out"), "{}", ended.err);
}

#[test]
fn a_ledger_that_vanished_begins_anew_from_the_sink_and_goes_on_counting() {
    let stage = stage();
    configure(&stage, "ephemeral = \"adopt-from-sink\"", "strategy = \"alternate\"\ngrace = \"2s\"");
    // What an earlier rotator left there.
    let held = format!(
        r#"{{"target":"orders","generation":41,"account":"orders_b","user":null,"password":"orders_b@{}"}}"#,
        SECOND.1
    );
    stage.write("store", &held);
    let folder = stage.path("state");
    let mut newest = 41;
    for life in 1..=3 {
        let Some(_memory) = Memory::over(&folder) else { return };
        let daemon = stage.start(&[]);
        stage.until("orders", "settled", newest);
        let rotated = stage.keywheel(&["rotate", "orders", "--wait"]);
        assert_eq!(rotated.status, 0, "life {life}: {}{}", rotated.out, rotated.err);
        newest += 1;
        stage.until("orders", "settled", newest);
        let document: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(stage.path("store")).unwrap()).unwrap();
        assert_eq!(document["generation"], newest, "a sink never goes backwards");
        assert!(daemon.log().contains("vanishes with it"), "it is said loudly");
        daemon.stop();
    }
}
