//! The record for auditors: who did what, and whether anybody changed it since.

use crate::common::stage::{INSTANCE, Outcome, Stage, until};
use rusqlite::Connection;
use rusqlite::types::Value as Cell;
use rustix::process::Signal;
use serde_json::Value;
use std::fs;

const TARGET: &str = "orders-cache";
const REASON: &str = "a drill | with = signs";

/// A target that rotated once, whose password somebody looked at and gave; and a configuration that was read again, once in vain.
fn stage() -> Stage {
    let stage = Stage::set();
    let more = "adopt = { file = \"{folder}/initial\" }\nsinks = [\"orders\"]";
    let whole = stage.sink("orders", "") + &stage.target(TARGET, INSTANCE, more);
    stage.configure(&whole);
    let daemon = stage.start(&[]);
    stage.until(TARGET, "settled", 1);
    well(&stage.keywheel(&["rotate", TARGET, "--wait", "--reason", REASON]));
    well(&stage.keywheel(&["reveal", TARGET, "--reason", "asked to"]));
    let live = stage.live(INSTANCE);
    well(&stage.keywheel_reading(&["recover", TARGET, "--set", "--reason", "to be sure"], &live));
    well(&stage.keywheel(&["pause", TARGET, "--for", "1h", "--reason", "a freeze"]));
    stage.configure(&(whole.clone() + "[targets.nonsense]\n"));
    daemon.signal(Signal::HUP);
    until("the refusal", || daemon.log().contains("the new configuration is refused"));
    stage.configure(&whole);
    daemon.signal(Signal::HUP);
    until("the good one", || daemon.log().contains("the configuration was read again"));
    until("what was written of it", || stage.keywheel(&["history"]).out.contains("and is in force"));
    // Beside a running daemon.
    well(&stage.keywheel(&["audit", "verify"]));
    daemon.stop();
    stage
}

fn well(outcome: &Outcome) {
    assert_eq!(outcome.status, 0, "{}{}", outcome.out, outcome.err);
}

fn raw(stage: &Stage) -> Connection {
    Connection::open(stage.path("state/ledger.db")).unwrap()
}

/// What `audit verify` says once the ledger's file was changed like this, by hand and without keywheel.
fn verify_after(stage: &Stage, change: &str) -> (i32, Value, String) {
    let ledger = raw(stage);
    assert!(ledger.execute(change, []).unwrap() > 0, "{change}");
    drop(ledger);
    let told = stage.keywheel(&["audit", "verify", "--json"]);
    let report = serde_json::from_str(&told.out).unwrap_or_default();
    (told.status, report, told.err)
}

#[test]
fn who_asked_why_and_the_result_are_exported_in_both_forms_without_a_password() {
    let stage = stage();
    let (json, cef) = (stage.keywheel(&["audit", "export"]), stage.keywheel(&["audit", "export", "--format", "cef"]));
    let entries: Vec<Value> = json.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let first = |event: &str| {
        let found = entries.iter().find(|entry| entry["event"] == event);
        found.cloned().unwrap_or_else(|| panic!("nothing {event}: {}", json.out))
    };
    let uid = rustix::process::getuid().as_raw();
    for (event, reason) in [
        ("asked", REASON),
        ("began", REASON),
        ("revealed", "asked to"),
        ("replaced", "to be sure"),
        ("paused", "a freeze"),
    ] {
        let entry = first(event);
        assert_eq!((&entry["target"], &entry["reason"]), (&Value::from(TARGET), &Value::from(reason)), "{entry}");
        assert_eq!(entry["by"], serde_json::json!({ "who": "operator", "uid": uid }), "{entry}");
    }
    assert_eq!(first("adopted")["by"]["who"], "configuration");
    let rotation = first("began")["rotation"].clone();
    assert!(
        rotation.is_string() && first("proven")["rotation"] == rotation && first("settled")["rotation"] == rotation
    );
    // What happened to keywheel itself is of no target.
    assert_eq!((&first("started")["target"], &first("started")["targets"]), (&Value::Null, &Value::from(1)));
    assert_eq!(first("reloaded")["by"]["who"], "signal");
    assert_eq!(first("reload-refused")["by"]["who"], "signal");
    assert!(first("reload-refused")["fault"]["what"].as_str().unwrap().contains("nonsense"), "{}", json.out);

    let lines: Vec<&str> = cef.out.lines().collect();
    assert_eq!(lines.len(), entries.len());
    assert!(lines.iter().all(|line| line.starts_with("CEF:0|keywheel|keywheel|") && line.split('|').count() >= 8));
    for (event, words) in [
        (
            "|asked|",
            format!("suser=user {uid} reason=a drill | with \\= signs outcome=success cs1Label=target cs1={TARGET}"),
        ),
        ("|revealed|", format!("suser=user {uid} reason=asked to")),
        ("|replaced|", format!("suser=user {uid} reason=to be sure")),
        ("|settled|", "outcome=success".to_owned()),
        ("|reload-refused|", "suser=a signal outcome=failure cn1Label=event".to_owned()),
    ] {
        assert!(lines.iter().any(|line| line.contains(event) && line.contains(&words)), "{event} {words}: {}", cef.out);
    }
    // As one line: a table breaks sentences.
    let words = stage.keywheel(&["history"]).out.split_whitespace().collect::<Vec<_>>().join(" ");
    for said in [
        "was shown generation 2 (asked to)",
        "(to be sure)",
        "for a signal and is in force: 1 target",
        "for a signal and refused: ",
    ] {
        assert!(words.contains(said), "{said}: {words}");
    }
    for password in stage.passwords(INSTANCE) {
        assert!(!json.out.contains(&password) && !cef.out.contains(&password) && !words.contains(&password));
    }
    // One target's record is one target's.
    assert!(!stage.keywheel(&["history", TARGET, "--json"]).out.contains("\"started\""));

    // Whoever takes a target out of the configuration does not take what was done with it out of the record.
    stage.configure("");
    let now = stage.keywheel(&["audit", "export"]);
    assert_eq!((now.status, now.out), (0, json.out), "{}", now.err);
    let of_it = stage.keywheel(&["history", TARGET, "--json"]);
    assert!(of_it.status == 0 && of_it.out.contains("\"revealed\""), "{}{}", of_it.out, of_it.err);
    assert_eq!(stage.keywheel(&["history", "nobody"]).status, 2);
}

#[test]
fn a_record_that_was_cut_says_so() {
    let stage = stage();
    let ledger = stage.path("state/ledger.db");
    let whole = fs::read(&ledger).unwrap();
    let cut = |change: &str| {
        fs::write(&ledger, &whole).unwrap();
        verify_after(&stage, change)
    };
    let (status, report, err) = cut(&format!("DELETE FROM events WHERE target = '{TARGET}' AND seq > 9"));
    assert_eq!(status, 1, "{report} {err}");
    assert!(report["records"][0]["broken"].as_str().unwrap().contains("event 10: it is missing"), "{report}");
    let (status, report, err) = cut("DELETE FROM events WHERE target = '@keywheel' AND seq = 3");
    assert_eq!((status, &report["keywheel"]["sound"]), (1, &Value::from(2)), "{report} {err}");
    assert!(report["keywheel"]["broken"].as_str().unwrap().contains("event 3: it is missing"), "{report}");
    let refused = stage.keywheel(&["run"]);
    assert!(refused.status == 2 && refused.err.contains("event 3: it is missing"), "{}", refused.err);
    // With its mark, too.
    let (status, report, _) = cut("DELETE FROM meta WHERE name = 'deeds'");
    assert_eq!(status, 1, "{report}");
    assert!(report["keywheel"]["broken"].as_str().unwrap().contains("the mark of the record's end"), "{report}");
    // With everything that tells of it, as if there had never been such a record.
    fs::write(&ledger, &whole).unwrap();
    raw(&stage).execute_batch("DELETE FROM meta WHERE name = 'deeds'; PRAGMA user_version = 2").unwrap();
    let (status, _, err) = verify_after(&stage, "DELETE FROM events WHERE target = '@keywheel'");
    assert!(status == 2 && err.contains("list of targets") && err.contains("an older one"), "{status} {err}");
    let (status, _, err) = cut("DELETE FROM targets");
    assert_eq!(status, 2, "{err}");
    assert!(err.contains("list of targets"), "{err}");
}

/// A cell with one byte changed.
fn changed(cell: Cell) -> Cell {
    match cell {
        Cell::Text(text) => {
            let at = text.char_indices().rev().find(|(_, letter)| letter.is_ascii_alphanumeric()).unwrap().0;
            let other = if &text[at..=at] == "a" { "b" } else { "a" };
            Cell::Text(text[..at].to_owned() + other + &text[at + 1..])
        }
        Cell::Integer(number) => Cell::Integer(number + 64),
        Cell::Blob(mut bytes) => {
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            Cell::Blob(bytes)
        }
        Cell::Null | Cell::Real(_) => panic!("there is nothing to change"),
    }
}

/// Every cell that means something. When a target is looked at next, why it waits, which instance it holds, its fencing number and whether it is retired
/// are the driver's notes to itself, made anew at each step and each start.
#[test]
fn one_changed_byte_of_any_row_names_the_row() {
    let stage = stage();
    let ledger = stage.path("state/ledger.db");
    let whole = fs::read(&ledger).unwrap();
    let event = |seq: u64| format!("event {seq}");
    let target = |seq: u64| format!("target = '{TARGET}' AND seq = {seq}");
    let own = "target = '@keywheel' AND seq = 2".to_owned();
    let mut cases: Vec<(&str, &str, String, String)> = Vec::new();
    for column in ["target", "seq", "at", "version", "body", "mac"] {
        cases.push(("events", column, target(4), event(4)));
        cases.push(("events", column, own.clone(), event(2)));
    }
    cases.push(("events", "rotation", target(4), event(4)));
    cases.push(("events", "brought", target(1), event(1)));
    for column in ["target", "generation", "sealed"] {
        cases.push(("passwords", column, "generation = 1".to_owned(), event(1)));
    }
    for column in ["label", "generation", "head_seq", "head_mac", "base_seq", "mac"] {
        cases.push(("targets", column, format!("target = '{TARGET}'"), TARGET.to_owned()));
    }
    cases.push(("targets", "target", format!("target = '{TARGET}'"), "list of targets".to_owned()));
    for (name, words) in [
        ("wrapped-key", "key"),
        ("roster", "list of targets"),
        ("event-version", "newer"),
        ("found", "lists of what selections found"),
        ("deeds", "record of @keywheel"),
    ] {
        cases.push(("meta", "value", format!("name = '{name}'"), words.to_owned()));
    }
    for (table, column, row, words) in cases {
        fs::write(&ledger, &whole).unwrap();
        let raw = raw(&stage);
        let cell: Cell =
            raw.query_row(&format!("SELECT {column} FROM {table} WHERE {row}"), [], |row| row.get(0)).unwrap();
        let set = format!("UPDATE {table} SET {column} = ?1 WHERE {row}");
        assert_eq!(raw.execute(&set, [changed(cell)]).unwrap(), 1, "{set}");
        drop(raw);
        let told = stage.keywheel(&["audit", "verify"]);
        // As one line: a table breaks sentences.
        let said = (told.out.clone() + &told.err).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.status > 0 && said.contains(&words), "{set}, {words}: {}{}", told.out, told.err);
    }
    fs::write(&ledger, &whole).unwrap();
    well(&stage.keywheel(&["audit", "verify"]));
}
