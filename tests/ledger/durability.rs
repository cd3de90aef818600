//! What survives, who may open the file, and what it gives away.

use crate::support::*;
use base64::Engine;
use keywheel::fault::Kind;
use keywheel::ledger::Ledger;
use keywheel::ledger::sqlite::{Reader, SqliteLedger};
use keywheel::name::Generation;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// The ledger as a killed process leaves it: the file and its log, without the shared memory. The log may end anywhere.
#[tokio::test]
async fn a_killed_process_leaves_everything_it_was_told_is_durable() {
    let store = SqliteStore::new();
    let ledger = store.open();
    ledger.enlist(&[name("a")], at(0)).await.unwrap();
    let mut logs = Vec::new();
    for number in 1..=6 {
        record(&*ledger, "a", &[prepared(1, number, &format!("password {number}"))]).await;
        logs.push(fs::read(store.folder().join("ledger.db-wal")).unwrap());
    }
    let file = fs::read(store.path()).unwrap();
    let copy = SqliteStore::new();
    let leave = |log: &[u8]| {
        fs::write(copy.path(), &file).unwrap();
        fs::write(copy.folder().join("ledger.db-wal"), log).unwrap();
        // There is none at first, nor after a ledger that was closed in peace.
        let _ = fs::remove_file(copy.folder().join("ledger.db-shm"));
    };
    for (told, log) in (1..).zip(&logs) {
        leave(log);
        let ledger = copy.open();
        assert_eq!(ledger.history(&name("a")).await.unwrap().len(), told);
        let newest = ledger.password(&name("a"), Generation(told as u64)).await.unwrap();
        assert_eq!(newest.expose(), format!("password {told}"));
    }
    let whole = logs.last().unwrap();
    let mut before = 0;
    for length in (0..=whole.len()).step_by(1_031) {
        leave(&whole[..length]);
        let rows = copy.open().history(&name("a")).await.unwrap().len();
        assert!(rows >= before && rows <= 6, "{rows} after {before} at {length}");
        before = rows;
    }
}

#[tokio::test]
async fn a_second_process_is_told_who_holds_the_ledger() {
    let store = SqliteStore::new();
    let first = SqliteLedger::open(&store.path(), &store.key, "keywheel run").unwrap();
    let fault = store.try_open().err().expect("held");
    assert_eq!(fault.kind, Kind::LedgerHeld);
    let holder = format!("keywheel run, pid {}, since 2", std::process::id());
    assert!(fault.what.contains(&holder), "{fault}");
    // A claim keeps it too, until it is dropped.
    first.enlist(&[name("a")], at(0)).await.unwrap();
    let held = claim(&first, "a").await;
    drop(first);
    assert!(store.try_open().is_err());
    drop(held);
    assert!(store.try_open().is_ok());
}

/// Somebody removed the lock file: the fence still keeps the older writer out.
#[tokio::test]
async fn an_older_claim_cannot_write_any_more() {
    let store = SqliteStore::new();
    let older = store.open();
    older.enlist(&[name("a")], at(0)).await.unwrap();
    let mut lost = claim(&*older, "a").await;
    lost.append(&[asked(1, "x")], &projection(at(9))).await.unwrap();
    fs::remove_file(store.folder().join("ledger.db.lock")).unwrap();
    let newer = store.open();
    record(&*newer, "a", &[asked(2, "y")]).await;
    let fault = lost.append(&[asked(3, "z")], &projection(at(9))).await.expect_err("lost");
    assert_eq!(fault.kind, Kind::ClaimLost);
    assert_eq!(newer.history(&name("a")).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_reader_works_beside_the_owner_with_and_without_the_key() {
    let store = SqliteStore::new();
    assert_eq!(Reader::open(&store.path(), None).err().map(|fault| fault.kind), Some(Kind::LedgerUnusable));
    let ledger = store.open();
    ledger.enlist(&[name("a")], at(0)).await.unwrap();
    let without = Reader::open(&store.path(), None).unwrap();
    let with = Reader::open(&store.path(), Some(&store.key)).unwrap();
    let wrong = Reader::open(&store.path(), Some(&sealing_key(2)));
    assert_eq!(wrong.err().map(|fault| fault.kind), Some(Kind::KeyWrong));
    record(&*ledger, "a", &[settled(1), prepared(2, 1, "p")]).await;
    for reader in [&without, &with] {
        assert_eq!(reader.recent(&name("a")).await.unwrap().len(), 2);
        assert_eq!(reader.history(&name("a")).await.unwrap().len(), 2);
        assert_eq!(reader.listing().await.unwrap(), ledger.listing().await.unwrap());
    }
    let opened = with.password(&name("a"), Generation(1)).await.unwrap();
    assert_eq!(opened.expose(), "p");
    let refused = without.password(&name("a"), Generation(1)).await;
    assert_eq!(refused.err().map(|fault| fault.kind), Some(Kind::KeyWrong));
    // Nobody runs any more: the file alone is enough.
    drop((ledger, with, without));
    let reader = Reader::open(&store.path(), None).unwrap();
    assert_eq!(reader.history(&name("a")).await.unwrap().len(), 2);
}

#[tokio::test]
async fn another_sealing_key_opens_nothing_and_changes_nothing() {
    let store = SqliteStore::new();
    let ledger = store.open();
    ledger.enlist(&[name("a")], at(0)).await.unwrap();
    record(&*ledger, "a", &[prepared(1, 1, "p")]).await;
    drop(ledger);
    let before = fs::read(store.path()).unwrap();
    let refused = SqliteLedger::open(&store.path(), &sealing_key(2), "a test");
    assert_eq!(refused.err().map(|fault| fault.kind), Some(Kind::KeyWrong));
    assert_eq!(fs::read(store.path()).unwrap(), before);
    assert_eq!(store.open().history(&name("a")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_rotated_sealing_key_replaces_the_old_one() {
    let mut store = SqliteStore::new();
    let next = sealing_key(2);
    let ledger = store.try_open().unwrap();
    ledger.enlist(&[name("a")], at(0)).await.unwrap();
    record(&ledger, "a", &[prepared(1, 1, "p")]).await;
    let wrong = ledger.rotate_key(&sealing_key(3), &next).await.expect_err("wrong");
    assert_eq!(wrong.kind, Kind::KeyWrong);
    ledger.rotate_key(&store.key, &next).await.unwrap();
    record(&ledger, "a", &[prepared(2, 2, "q")]).await;
    drop(ledger);
    assert_eq!(store.try_open().err().map(|fault| fault.kind), Some(Kind::KeyWrong));
    store.key = next;
    let ledger = store.open();
    for (generation, password) in [(1, "p"), (2, "q")] {
        let opened = ledger.password(&name("a"), Generation(generation)).await.unwrap();
        assert_eq!(opened.expose(), password);
    }
    assert_eq!(ledger.history(&name("a")).await.unwrap().len(), 2);
}

#[tokio::test]
async fn no_password_stands_in_the_files_and_only_the_owner_reads_them() {
    let password = "Zq7~uniq&pass/word+in=clear%";
    let store = SqliteStore::new();
    let ledger = store.open();
    ledger.enlist(&[name("a")], at(0)).await.unwrap();
    record(&*ledger, "a", &[adopted(1, 1, password), prepared(2, 2, password)]).await;
    let base64 = base64::engine::general_purpose::STANDARD_NO_PAD.encode(password);
    let url: String = url::form_urlencoded::byte_serialize(password.as_bytes()).collect();
    let hex = hex::encode(password);
    let forms = [password, &base64[..base64.len() - 1], &hex, &hex.to_uppercase(), &url, "uniq&pass"];
    let search = |when: &str| {
        for file in fs::read_dir(store.folder()).unwrap() {
            let path = file.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            for form in forms {
                let found = bytes.windows(form.len()).any(|window| window == form.as_bytes());
                assert!(!found, "{when}: {form} in {}", path.display());
            }
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{when}: {}", path.display());
        }
    };
    search("open");
    drop(ledger);
    search("closed");
}

#[tokio::test]
async fn a_place_that_cannot_hold_a_ledger_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let key = sealing_key(1);
    fs::create_dir(folder.path().join("folder.db")).unwrap();
    for place in ["missing/ledger.db", "folder.db"] {
        let path = folder.path().join(place);
        let fault = SqliteLedger::open(&path, &key, "a test").err().expect("unusable");
        assert_eq!(fault.kind, Kind::LedgerUnusable, "{fault}");
        assert!(fault.what.contains(place), "{fault}");
    }
}

/// A small file system of its own, for who may mount one.
struct Tmpfs {
    folder: tempfile::TempDir,
}

impl Tmpfs {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = mount(&["-t", "tmpfs", "-o", "size=512k", "tmpfs"], folder.path());
        if !mounted {
            eprintln!("not tried: mounting a tmpfs is not allowed here");
        }
        mounted.then_some(Self { folder })
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // What stays mounted is a folder in memory, and a drop cannot fail.
        let _ = Command::new("umount").arg(self.folder.path()).status();
    }
}

fn mount(options: &[&str], folder: &Path) -> bool {
    let done = Command::new("mount").args(options).arg(folder).output();
    done.is_ok_and(|output| output.status.success())
}

#[tokio::test]
async fn a_full_disk_is_told_and_loses_nothing() {
    let Some(disk) = Tmpfs::mount() else { return };
    let path = disk.folder.path().join("ledger.db");
    let key = sealing_key(1);
    let ballast = disk.folder.path().join("ballast");
    fs::write(&ballast, vec![0; 128 << 10]).unwrap();
    let ledger = SqliteLedger::open(&path, &key, "a test").unwrap();
    ledger.enlist(&[name("a")], at(0)).await.unwrap();
    let mut held = claim(&ledger, "a").await;
    let mut told = 0;
    let fault = loop {
        let big = [asked(1, &"x".repeat(3_000)), prepared(2, told + 1, "p")];
        match held.append(&big, &projection(at(9))).await {
            Ok(()) => told += 1,
            Err(fault) => break fault,
        }
        assert!(told < 1_000, "the disk never fills");
    };
    assert_eq!(fault.kind, Kind::LedgerFull, "{fault}");
    assert_eq!(ledger.history(&name("a")).await.unwrap().len() as u64, told * 2);
    fs::remove_file(&ballast).unwrap();
    held.append(&[prepared(3, told + 1, "q")], &projection(at(9))).await.unwrap();
    drop((held, ledger));
    let ledger = SqliteLedger::open(&path, &key, "a test").unwrap();
    assert_eq!(ledger.history(&name("a")).await.unwrap().len() as u64, told * 2 + 1);
}

#[tokio::test]
async fn a_read_only_disk_is_told_at_once() {
    let Some(disk) = Tmpfs::mount() else { return };
    let path = disk.folder.path().join("ledger.db");
    drop(SqliteLedger::open(&path, &sealing_key(1), "a test").unwrap());
    assert!(mount(&["-o", "remount,ro"], disk.folder.path()));
    let fault = SqliteLedger::open(&path, &sealing_key(1), "a test").err().expect("read-only");
    assert_eq!(fault.kind, Kind::LedgerUnusable, "{fault}");
    assert!(fault.what.contains("ledger.db"), "{fault}");
}

/// An immutable file, as `chattr +i` makes it: it can be opened, and no write succeeds.
struct Immutable(std::path::PathBuf);

impl Immutable {
    fn make(path: &Path) -> Option<Self> {
        let done = Command::new("chattr").arg("+i").arg(path).output();
        let made = done.is_ok_and(|output| output.status.success());
        if !made {
            eprintln!("not tried: no file can be made immutable here");
        }
        made.then(|| Self(path.to_owned()))
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        // What stays immutable keeps its folder from being removed, and a drop cannot fail.
        let _ = Command::new("chattr").arg("-i").arg(&self.0).status();
    }
}

#[tokio::test]
async fn files_that_take_no_write_are_told_at_once() {
    for ending in ["", "-wal"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        drop(SqliteLedger::open(&path, &sealing_key(1), "a test").unwrap());
        // A reader that is still there keeps the log from being removed.
        let reader = rusqlite::Connection::open(&path).unwrap();
        reader.query_one("SELECT count(*) FROM meta", [], |row| row.get::<_, i64>(0)).unwrap();
        let file = folder.path().join(format!("ledger.db{ending}"));
        assert!(file.exists(), "{ending}");
        let Some(_immutable) = Immutable::make(&file) else { return };
        let opened = SqliteLedger::open(&path, &sealing_key(1), "a test");
        let fault = opened.err().unwrap_or_else(|| panic!("it opens although {} takes no write", file.display()));
        assert_eq!(fault.kind, Kind::LedgerUnusable, "{fault}");
    }
}
