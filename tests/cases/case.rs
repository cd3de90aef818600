//! What every case has in common: an observer that reads the ledger itself, and a daemon that is killed when its log says a word.

use crate::common::stage::{Daemon, Stage, until};
use keywheel::assemble;
use keywheel::config;
use keywheel::name::TargetName;
use keywheel::rotation::fold;
use serde_json::Value;
use std::fs;

/// The target of every row.
pub const TARGET: &str = "orders";
/// Its sink.
pub const SINK: &str = "orders-json";

/// Moments at which a daemon is killed: as soon as its log tells of this event.
pub const KILLS: [&str; 6] = ["began", "prepared", "intended", "answered", "proven", "delivered"];

/// What the sink holds.
pub fn document(stage: &Stage) -> Value {
    serde_json::from_str(&fs::read_to_string(stage.path(SINK)).unwrap()).unwrap()
}

/// Every password that the ledger names as one that may be live now, read past the daemon.
pub fn kept(stage: &Stage) -> Vec<String> {
    let config = config::load(&stage.path("keywheel.toml"), []).unwrap().config;
    let reader = assemble::unsealed_reader(&config).unwrap();
    let target: TargetName = TARGET.parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let rows = reader.recent(&target).await.unwrap();
        let state = fold(rows.iter().map(|row| &row.event)).unwrap();
        let mut kept = Vec::new();
        for generation in state.candidates() {
            kept.push(reader.password(&target, generation).await.unwrap().expose().to_owned());
        }
        kept
    })
}

/// Waits until the log that came after its first `before` bytes tells of an event of this generation of rotations.
pub fn until_told(daemon: &Daemon, before: usize, event: &str) {
    let word = format!("event=\"{event}\"");
    until(&word, || daemon.log()[before..].contains(&word));
}

/// How long the log is now.
pub fn logged(daemon: &Daemon) -> usize {
    daemon.log().len()
}

/// Asks for a rotation and waits for its end.
pub fn rotate(stage: &Stage, daemon: &Daemon) {
    let asked = stage.keywheel(&["rotate", TARGET, "--wait"]);
    assert_eq!(asked.status, 0, "{}{}\n{}", asked.out, asked.err, daemon.log());
}

/// Settled with this generation, and nothing halted on the way.
pub fn settles(stage: &Stage, generation: u64) {
    stage.until(TARGET, "settled", generation);
    let told = stage.keywheel(&["history", TARGET, "--json"]);
    assert!(!told.out.contains("\"event\":\"halted\""), "{}", told.out);
}
