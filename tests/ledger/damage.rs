//! A file that is not as keywheel left it is noticed, and the place is named.

use crate::support::*;
use keywheel::fault::{Fault, Kind};
use keywheel::ledger::Ledger;
use keywheel::ledger::chain::{Head, ORIGIN, Stored, mac_lists, mac_roster};
use keywheel::ledger::sqlite::Reader;
use keywheel::name::Generation;
use keywheel::rotation::event::VERSION;
use keywheel::seal::{DataKey, Envelope, Seal};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rusqlite::{Connection, params};
use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

/// Two targets with five events and two passwords each, and a list, closed.
async fn closed_ledger() -> SqliteStore {
    let store = SqliteStore::new();
    let ledger = store.open();
    ledger.enlist(&[name("a"), name("b")], at(0)).await.unwrap();
    for target in ["a", "b"] {
        let entries =
            [adopted(1, 1, "first"), asked(2, "because"), settled(3), prepared(4, 2, "second"), asked(5, "again")];
        record(&*ledger, target, &entries).await;
    }
    ledger.keep_list(&name("weekly"), &[]).await.unwrap();
    store
}

fn raw(store: &SqliteStore) -> Connection {
    Connection::open(store.path()).unwrap()
}

/// Changes one bit in the middle of a value.
fn flip(connection: &Connection, table: &str, column: &str, row: &str) {
    let read = format!("SELECT CAST({column} AS BLOB) FROM {table} WHERE {row}");
    let mut bytes: Vec<u8> = connection.query_row(&read, [], |row| row.get(0)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let affinity = if column == "body" { "TEXT" } else { "BLOB" };
    let write = format!("UPDATE {table} SET {column} = CAST(?1 AS {affinity}) WHERE {row}");
    assert_eq!(connection.execute(&write, [bytes]).unwrap(), 1);
}

/// What opening the ledger and reading the whole record of `a` says.
async fn reading(store: &SqliteStore) -> Result<(), Fault> {
    let ledger = store.try_open()?;
    ledger.history(&name("a")).await.map(drop)
}

#[tokio::test]
async fn a_changed_record_is_noticed_and_the_place_named() {
    const A: &str = "target = 'a' AND";
    type Harm = Box<dyn Fn(&Connection)>;
    let sql = |text: &'static str| -> Harm { Box::new(move |connection| connection.execute_batch(text).unwrap()) };
    let bit = |table: &'static str, column: &'static str, row: &'static str| -> Harm {
        Box::new(move |connection| flip(connection, table, column, &format!("{A} {row}")))
    };
    let table: Vec<(&str, Harm, &str)> = vec![
        ("a bit of a text", bit("events", "body", "seq = 2"), "event 2"),
        ("a bit of the last text", bit("events", "body", "seq = 5"), "event 5"),
        ("a bit of a MAC", bit("events", "mac", "seq = 3"), "event 3"),
        ("a bit of a password", bit("passwords", "sealed", "generation = 1"), "event 1"),
        ("a bit of the head", bit("targets", "head_mac", "true"), "event 5"),
        ("a bit of the head's MAC", bit("targets", "mac", "true"), "event 5"),
        ("a time", sql("UPDATE events SET at = at + 1 WHERE target = 'a' AND seq = 2"), "event 2"),
        ("a rotation", sql("UPDATE events SET rotation = NULL WHERE target = 'a' AND seq = 4"), "event 4"),
        ("a version", sql("UPDATE events SET version = 9 WHERE target = 'a' AND seq = 4"), "event 4"),
        ("a password's number", sql("UPDATE events SET brought = NULL WHERE target = 'a' AND seq = 4"), "event 4"),
        ("a password gone", sql("DELETE FROM passwords WHERE target = 'a' AND generation = 2"), "event 4"),
        (
            "a password from elsewhere",
            sql("UPDATE passwords SET sealed = (SELECT sealed FROM passwords WHERE target = 'b' AND generation = 2)
                 WHERE target = 'a' AND generation = 2"),
            "event 4",
        ),
        ("cut out of the middle", sql("DELETE FROM events WHERE target = 'a' AND seq = 3"), "event 3"),
        (
            "cut out and closed up",
            sql("DELETE FROM events WHERE target = 'a' AND seq = 2;
                 UPDATE events SET seq = seq - 1 WHERE target = 'a' AND seq = 3;
                 UPDATE events SET seq = seq - 1 WHERE target = 'a' AND seq = 4;
                 UPDATE events SET seq = seq - 1 WHERE target = 'a' AND seq = 5;
                 UPDATE targets SET head_seq = 4 WHERE target = 'a'"),
            "event 4",
        ),
        (
            "two exchanged",
            sql("UPDATE events SET seq = 99 WHERE target = 'a' AND seq = 2;
                 UPDATE events SET seq = 2 WHERE target = 'a' AND seq = 3;
                 UPDATE events SET seq = 3 WHERE target = 'a' AND seq = 99"),
            "event 2",
        ),
        ("cut off the end", sql("DELETE FROM events WHERE target = 'a' AND seq = 5"), "event 5"),
        (
            "cut off the end, head moved",
            sql("DELETE FROM events WHERE target = 'a' AND seq = 5;
                 UPDATE targets SET head_seq = 4, head_mac = (SELECT mac FROM events WHERE target = 'a' AND seq = 4)
                 WHERE target = 'a'"),
            "event 4",
        ),
        (
            "put at the end",
            sql("INSERT INTO events SELECT target, 6, at, rotation, version, body, NULL, mac FROM events
                 WHERE target = 'a' AND seq = 5"),
            "event 6",
        ),
        ("the place where reading begins", sql("UPDATE targets SET base_seq = 5 WHERE target = 'a'"), "event 5"),
        (
            "another record's head",
            sql("UPDATE targets SET mac = (SELECT mac FROM targets WHERE target = 'b')"),
            "event 5",
        ),
        (
            "a target gone",
            sql("DELETE FROM targets WHERE target = 'b'; DELETE FROM events WHERE target = 'b'"),
            "list of targets",
        ),
    ];
    for (harm, act, place) in table {
        let store = closed_ledger().await;
        assert_eq!(reading(&store).await, Ok(()));
        act(&raw(&store));
        let fault = reading(&store).await.expect_err(harm);
        assert_eq!(fault.kind, Kind::LedgerCorrupt, "{harm}: {fault}");
        assert!(fault.what.contains(place), "{harm}: {fault}");
        assert!(place == "list of targets" || fault.what.contains("of a "), "{harm}: {fault}");
    }
}

#[tokio::test]
async fn an_audit_names_every_broken_record_and_goes_on() {
    let store = closed_ledger().await;
    let audit = |key: bool| {
        let reader = Reader::open(&store.path(), key.then_some(&store.key as &dyn Envelope)).unwrap();
        async move { reader.verify_all().await.unwrap() }
    };
    let sound: Vec<_> = audit(true).await.into_iter().map(|audit| (audit.sound, audit.broken)).collect();
    assert_eq!(sound, [(5, None), (5, None)]);
    flip(&raw(&store), "events", "mac", "target = 'a' AND seq = 2");
    raw(&store).execute_batch("DELETE FROM events WHERE target = 'b' AND seq = 4").unwrap();
    let with_key = audit(true).await;
    let shown: Vec<_> = with_key
        .iter()
        .map(|audit| (audit.target.as_str(), audit.sound, audit.broken.as_ref().map(|fault| fault.kind)))
        .collect();
    let corrupt = Some(Kind::LedgerCorrupt);
    assert_eq!(shown, [("a", 1, corrupt), ("b", 3, corrupt)]);
    // Without the key a gap is all that can be noticed.
    let without: Vec<_> = audit(false).await.iter().map(|audit| audit.broken.is_some()).collect();
    assert_eq!(without, [false, true]);
}

#[tokio::test]
async fn a_damaged_record_takes_no_further_event() {
    let store = closed_ledger().await;
    let ledger = store.try_open().unwrap();
    flip(&raw(&store), "targets", "head_mac", "target = 'a'");
    let mut claim = claim(&ledger, "a").await;
    let fault = claim.append(&[asked(6, "x")], &projection(at(9))).await.expect_err("damaged");
    assert_eq!(fault.kind, Kind::LedgerCorrupt);
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_alone() {
    let store = closed_ledger().await;
    let whole = fs::read(store.path()).unwrap();
    let page = 4_096;
    assert!(whole.len() >= 8 * page, "the ledger has pages to damage");
    let cut = |length: usize| whole[..length].to_vec();
    let garbage = |number: usize| {
        let mut bytes = whole.clone();
        bytes[number * page..(number + 1) * page].fill(0x5a);
        bytes
    };
    let mut table = vec![
        ("empty", Vec::new()),
        ("something else", b"# not a ledger\n".repeat(1_000)),
        ("cut in the first page", cut(2_000)),
        ("cut after the first page", cut(page)),
        ("cut in the middle", cut(whole.len() / 2 / page * page)),
        ("cut inside a page", cut(whole.len() - 700)),
        ("a bad first page", garbage(0)),
    ];
    for number in 1..whole.len() / page {
        table.push(("a bad page", garbage(number)));
    }
    for (number, (harm, bytes)) in table.into_iter().enumerate() {
        fs::write(store.path(), &bytes).unwrap();
        let fault = reading(&store).await.expect_err(harm);
        assert_eq!(fault.kind, Kind::LedgerCorrupt, "{number} {harm}: {fault}");
        assert_eq!(fs::read(store.path()).unwrap(), bytes, "{harm}: it was changed");
    }
}

#[tokio::test]
async fn a_log_without_its_ledger_is_no_new_beginning() {
    let store = closed_ledger().await;
    fs::rename(store.path(), store.folder().join("ledger.db-wal")).unwrap();
    assert_eq!(reading(&store).await.err().map(|fault| fault.kind), Some(Kind::LedgerCorrupt));
    assert!(!store.path().exists());
}

#[tokio::test]
async fn a_beginning_that_was_interrupted_is_made_again() {
    let store = SqliteStore::new();
    fs::write(store.folder().join("ledger.db.new"), b"half").unwrap();
    fs::write(store.folder().join("ledger.db.new-wal"), b"half").unwrap();
    assert_eq!(reading(&store).await, Ok(()));
    assert!(!store.folder().join("ledger.db.new").exists());
}

#[tokio::test]
async fn a_newer_ledger_is_refused_and_left_alone() {
    for newer in ["PRAGMA user_version = 5", "UPDATE meta SET value = 4 WHERE name = 'event-version'"] {
        let store = closed_ledger().await;
        raw(&store).execute_batch(newer).unwrap();
        let before = fs::read(store.path()).unwrap();
        let fault = reading(&store).await.expect_err(newer);
        assert_eq!(fault.kind, Kind::LedgerNewer, "{newer}: {fault}");
        assert_eq!(fs::read(store.path()).unwrap(), before, "{newer}");
    }
}

#[tokio::test]
async fn the_last_events_are_read_and_checked_without_those_before() {
    let store = closed_ledger().await;
    let reader = Reader::open(&store.path(), Some(&store.key)).unwrap();
    let lately = async |most| {
        let rows = reader.lately(&name("a"), most).await.map_err(|fault| fault.what)?;
        Ok(rows.iter().map(|row| row.seq).collect::<Vec<_>>())
    };
    let whole: Result<_, String> = Ok(vec![1, 2, 3, 4, 5]);
    assert_eq!((lately(5).await, lately(1_000).await), (whole.clone(), whole));
    assert_eq!((lately(2).await, lately(0).await), (Ok(vec![4, 5]), Ok(vec![])));
    raw(&store).execute("UPDATE events SET body = replace(body, 'because', 'Because') WHERE seq = 2", []).unwrap();
    assert_eq!(lately(2).await, Ok(vec![4, 5]));
    assert!(lately(4).await.unwrap_err().contains("event 2"));
    raw(&store).execute("DELETE FROM events WHERE seq = 3", []).unwrap();
    assert!(lately(2).await.unwrap_err().contains("event 4"), "what it begins behind is gone");
}

/// Version 1 had no lists, version 2 no record of keywheel itself. Its record is read as it is, beside its owner and by it, and only the owner brings it up to date.
#[tokio::test]
async fn an_older_ledger_is_brought_up_to_date_and_keeps_its_record() {
    let store = closed_ledger().await;
    let older = "DROP TABLE found; DELETE FROM meta WHERE name IN ('found', 'deeds'); PRAGMA user_version = 1";
    let connection = raw(&store);
    connection.execute_batch(older).unwrap();
    // Nor did its roster name that record.
    let wrapped: Vec<u8> =
        connection.query_row("SELECT value FROM meta WHERE name = 'wrapped-key'", [], |row| row.get(0)).unwrap();
    let seal = store.key.keys(&store.key.unwrap(&wrapped).unwrap());
    let roster = mac_roster(seal.as_ref(), ["a", "b"].into_iter());
    connection.execute("UPDATE meta SET value = ?1 WHERE name = 'roster'", [roster]).unwrap();
    drop(connection);
    let beside = Reader::open(&store.path(), Some(&store.key)).unwrap();
    assert!(beside.lists_now().unwrap().is_empty());
    assert!(beside.deeds().await.unwrap().is_empty());
    assert_eq!(beside.history(&name("a")).await.unwrap().len(), 5);
    drop(beside);
    {
        let ledger = store.try_open().unwrap();
        assert_eq!(ledger.history(&name("a")).await.unwrap().len(), 5);
        ledger.keep_list(&name("weekly"), &[]).await.unwrap();
    }
    let version: i64 = raw(&store).query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 4);
    assert!(store.try_open().unwrap().lists().await.unwrap().contains_key(&name("weekly")));
}

#[tokio::test]
async fn a_changed_list_is_noticed() {
    for harm in [
        "UPDATE found SET list = replace(list, '[]', '[ ]')",
        "UPDATE found SET selection = 'daily'",
        "DELETE FROM found",
        "INSERT INTO found VALUES ('x', '[]')",
        "UPDATE meta SET value = zeroblob(32) WHERE name = 'found'",
        "DELETE FROM meta WHERE name = 'found'",
        "DROP TABLE found",
    ] {
        let store = closed_ledger().await;
        let ledger = store.try_open().unwrap();
        ledger.keep_list(&name("weekly"), &[]).await.unwrap();
        raw(&store).execute_batch(harm).unwrap();
        for fault in [ledger.lists().await.map(drop), ledger.keep_list(&name("weekly"), &[]).await] {
            assert_eq!(fault.expect_err(harm).kind, Kind::LedgerCorrupt, "{harm}");
        }
        drop(ledger);
        assert_eq!(reading(&store).await.expect_err(harm).kind, Kind::LedgerCorrupt, "{harm}");
    }
}

/// An event of a later version with the right MAC, as a newer keywheel would leave it.
#[tokio::test]
async fn a_newer_event_is_told_from_a_changed_one() {
    let store = closed_ledger().await;
    let connection = raw(&store);
    let one = |sql: &str| -> Vec<u8> { connection.query_row(sql, [], |row| row.get(0)).unwrap() };
    let wrapped = one("SELECT value FROM meta WHERE name = 'wrapped-key'");
    let seal: Arc<dyn Seal> = store.key.keys(&store.key.unwrap(&wrapped).unwrap());
    let mut stored = Stored {
        seq: 6,
        at: at(6),
        rotation: None,
        version: VERSION + 1,
        body: r#"{"event":"unheard-of"}"#.to_owned(),
        brought: None,
        mac: Vec::new(),
    };
    let last = one("SELECT mac FROM events WHERE target = 'a' AND seq = 5");
    stored.mac = stored.chained(seal.as_ref(), "a", &last).to_vec();
    let head = Head { seq: 6, last: stored.mac.clone(), base: 3 };
    connection
        .execute(
            "INSERT INTO events (target, seq, at, version, body, mac) VALUES ('a', 6, ?1, ?4, ?2, ?3)",
            params![stored.at.millis(), stored.body, stored.mac, stored.version],
        )
        .unwrap();
    connection
        .execute(
            "UPDATE targets SET head_seq = 6, head_mac = ?1, mac = ?2 WHERE target = 'a'",
            params![head.last, head.mac(seal.as_ref(), "a")],
        )
        .unwrap();
    drop(connection);
    let fault = reading(&store).await.expect_err("newer");
    assert_eq!(fault.kind, Kind::LedgerNewer, "{fault}");
    assert!(fault.what.contains("event 6 of a"), "{fault}");
}

/// What one field loses another must not be able to win: each text below is the same when its fields are merely put together.
#[test]
fn a_mac_tells_its_fields_apart() {
    let key = sealing_key(1);
    let seal = key.keys(&DataKey::draw(&mut StdRng::seed_from_u64(2)));
    let event = |rotation: Option<&str>, body: &str, brought: Option<(u64, &[u8])>| Stored {
        seq: 1,
        at: at(1),
        rotation: rotation.map(str::to_owned),
        version: 1,
        body: body.to_owned(),
        brought: brought.map(|(generation, sealed)| (Generation(generation), Some(sealed.to_vec()))),
        mac: Vec::new(),
    };
    let macs = [
        event(None, "abc", None).chained(seal.as_ref(), "t", &ORIGIN),
        event(Some(""), "abc", None).chained(seal.as_ref(), "t", &ORIGIN),
        event(Some("a"), "bc", None).chained(seal.as_ref(), "t", &ORIGIN),
        event(Some("ab"), "c", None).chained(seal.as_ref(), "t", &ORIGIN),
        event(None, "bc", None).chained(seal.as_ref(), "ta", &ORIGIN),
        event(None, "abc", Some((1, b""))).chained(seal.as_ref(), "t", &ORIGIN),
        event(None, "abc", Some((1, b"x"))).chained(seal.as_ref(), "t", &ORIGIN),
        event(None, "abc", Some((2, b"x"))).chained(seal.as_ref(), "t", &ORIGIN),
        event(None, "abc", None).chained(seal.as_ref(), "t", &[1; 32]),
        Head::empty().mac(seal.as_ref(), "t"),
        Head { base: 2, ..Head::empty() }.mac(seal.as_ref(), "t"),
        mac_roster(seal.as_ref(), ["t"].into_iter()),
        mac_roster(seal.as_ref(), ["t", ""].into_iter()),
        mac_roster(seal.as_ref(), ["ab", "c"].into_iter()),
        mac_roster(seal.as_ref(), ["a", "bc"].into_iter()),
        mac_lists(seal.as_ref(), [("a", "bc")].into_iter()),
        mac_lists(seal.as_ref(), [("ab", "c")].into_iter()),
        mac_lists(seal.as_ref(), [("a", "bc"), ("", "")].into_iter()),
    ];
    assert_eq!(BTreeSet::from(macs).len(), macs.len());
}
