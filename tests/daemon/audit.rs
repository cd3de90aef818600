//! The record for auditors: who did what, and whether anybody changed it since.

use crate::common::stage::{INSTANCE, Stage};
use rusqlite::Connection;
use serde_json::Value;

const TARGET: &str = "orders-cache";

/// A target that rotated once, and whose password somebody looked at.
fn stage() -> Stage {
    let stage = Stage::set();
    let more = "adopt = { file = \"{folder}/initial\" }\nsinks = [\"orders\"]";
    stage.configure(&(stage.sink("orders", "") + &stage.target(TARGET, INSTANCE, more)));
    let daemon = stage.start(&[]);
    stage.until(TARGET, "settled", 1);
    assert_eq!(stage.keywheel(&["rotate", TARGET, "--wait", "--reason", "a drill | with = signs"]).status, 0);
    assert_eq!(stage.keywheel(&["reveal", TARGET]).status, 0);
    // Beside a running daemon.
    assert_eq!(stage.keywheel(&["audit", "verify"]).status, 0);
    daemon.stop();
    stage
}

/// What `audit verify` says once the ledger's file was changed like this, by hand and without keywheel.
fn verify_after(change: &str) -> (i32, Value, String) {
    let stage = stage();
    let ledger = Connection::open(stage.path("state/ledger.db")).unwrap();
    assert!(ledger.execute(change, []).unwrap() > 0, "{change}");
    drop(ledger);
    let told = stage.keywheel(&["audit", "verify", "--json"]);
    let report = serde_json::from_str(&told.out).unwrap_or_default();
    (told.status, report, told.err)
}

#[test]
fn who_asked_and_why_is_exported_in_both_forms_without_a_password() {
    let stage = stage();
    let (json, cef) = (stage.keywheel(&["audit", "export"]), stage.keywheel(&["audit", "export", "--format", "cef"]));
    let events: Vec<Value> = json.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let asked = events.iter().find(|event| event["reason"] == "a drill | with = signs").unwrap();
    assert_eq!(asked["target"], TARGET);
    let uid = rustix::process::getuid().as_raw();
    assert!(asked["by"].to_string().contains(&uid.to_string()), "{asked}");
    assert!(json.out.contains("\"revealed\"") && json.out.contains("\"settled\""), "{}", json.out);
    assert_eq!(cef.out.lines().count(), events.len());
    assert!(cef.out.contains("a drill \\| with = signs"), "{}", cef.out);
    assert!(cef.out.lines().all(|line| line.starts_with("CEF:0|keywheel|keywheel|") && line.split('|').count() >= 8));
    for password in stage.passwords(INSTANCE) {
        assert!(!json.out.contains(&password) && !cef.out.contains(&password));
    }
}

#[test]
fn one_changed_byte_names_its_row_and_a_record_that_was_cut_says_so() {
    let changed = "UPDATE events SET body = replace(body, 'drill', 'drilm') WHERE body LIKE '%drill%' AND seq = (SELECT min(seq) FROM events WHERE body LIKE '%drill%')";
    let (status, report, err) = verify_after(changed);
    let record = &report["records"][0];
    assert_eq!(status, 1, "{report} {err}");
    let row = record["sound"].as_u64().unwrap() + 1;
    assert!(row > 1 && record["broken"].as_str().unwrap().contains(&format!("event {row}:")), "{record}");

    let cut = "DELETE FROM events WHERE seq > (SELECT max(seq) - 3 FROM events)";
    let (status, report, err) = verify_after(cut);
    assert_eq!(status, 1, "{report} {err}");
    assert!(report["records"][0]["broken"].is_string(), "{report}");

    let (status, _, err) = verify_after("DELETE FROM targets");
    assert_eq!(status, 2, "{err}");
}
