//! The book in the ledger: a restart announces nothing twice, and what was mended meanwhile is announced as over.

use super::{at, channel, halted, takers};
use keywheel::fault::Kind;
use keywheel::ledger::sqlite::SqliteLedger;
use keywheel::seal::aead::SealingKey;
use keywheel::watch::Desk;
use keywheel::watch::conditions::Conditions;
use std::path::Path;
use std::sync::Arc;

fn open(path: &Path, key: &SealingKey) -> Result<Arc<SqliteLedger>, keywheel::fault::Fault> {
    SqliteLedger::open(path, key, "a test").map(Arc::new)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_between_any_two_steps_repeats_nothing_that_was_heard() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let key = SealingKey::parse(&SealingKey::generate(&mut rand::rng())).unwrap();
    let (takers, none) = (takers(&["mail", "chat"]), Conditions::new());
    let desk = || async { Desk::open(open(&path, &key).unwrap()).await.unwrap() };

    let first = desk().await;
    assert!(first.conditions().await.is_empty());
    first.update(&halted(&["orders"], 0), &takers, at(0)).await;
    let (told, covered) = first.message(&channel("mail"), "web-1", at(0)).await.unwrap();
    first.heard(&channel("mail"), &covered).await;
    drop(first);

    // The chat was down. What held is known before the first look.
    let second = desk().await;
    let before = second.conditions().await;
    assert_eq!(before, halted(&["orders"], 0));
    second.update(&before, &takers, at(60)).await;
    assert_eq!(second.message(&channel("mail"), "web-1", at(60)).await, None);
    let (missed, _) = second.message(&channel("chat"), "web-1", at(60)).await.unwrap();
    assert_eq!(missed.groups, told.groups);
    drop(second);

    // Mended while nobody ran.
    let third = desk().await;
    let news = third.update(&none, &takers, at(90)).await;
    assert_eq!(news.over.len(), 1);
    drop(third);
    let fourth = desk().await;
    for name in ["mail", "chat"] {
        let (over, covered) = fourth.message(&channel(name), "web-1", at(120)).await.unwrap();
        assert!(over.groups.len() == 1 && over.groups[0].over, "{name}: {over:?}");
        fourth.heard(&channel(name), &covered).await;
    }
    drop(fourth);
    let fifth = desk().await;
    for name in ["mail", "chat"] {
        assert_eq!(fifth.message(&channel(name), "web-1", at(150)).await, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_book_that_somebody_else_changed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let key = SealingKey::parse(&SealingKey::generate(&mut rand::rng())).unwrap();
    let desk = Desk::open(open(&path, &key).unwrap()).await.unwrap();
    desk.update(&halted(&["orders"], 0), &takers(&["mail"]), at(0)).await;
    drop(desk);
    let kept: Vec<u8> = {
        let raw = rusqlite::Connection::open(&path).unwrap();
        raw.query_row("SELECT value FROM meta WHERE name = 'note:alerts'", [], |row| row.get(0)).unwrap()
    };
    let text = String::from_utf8(kept[32..].to_vec()).unwrap();
    assert!(text.contains("orders"), "{text}");
    let other = [&kept[..32], text.replace("orders", "orders2").as_bytes()].concat();
    for bad in [other, kept[..20].to_vec(), Vec::new(), [&kept[..], b" "].concat()] {
        let raw = rusqlite::Connection::open(&path).unwrap();
        raw.execute("UPDATE meta SET value = ?1 WHERE name = 'note:alerts'", [&bad]).unwrap();
        drop(raw);
        let fault = open(&path, &key).err().expect("it must be refused");
        assert_eq!(fault.kind, Kind::LedgerCorrupt, "{fault}");
    }
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute("UPDATE meta SET value = ?1 WHERE name = 'note:alerts'", [&kept]).unwrap();
    drop(raw);
    let desk = Desk::open(open(&path, &key).unwrap()).await.unwrap();
    assert_eq!(desk.conditions().await, halted(&["orders"], 0));
}
