//! What the two kinds of file in an envelope share: a place for one file, and a program that opens it.

use super::conformance::{Seen, Trouble};
use super::rows::Row;
use keywheel::sink::file::{DISK_TIMEOUT, FileSettings};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// A folder for one file, and what may keep it from being written.
pub struct Place {
    folder: tempfile::TempDir,
    /// Another process's lock on the file.
    lock: Mutex<Option<File>>,
}

impl Place {
    pub fn begin() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap(), lock: Mutex::default() };
        fs::create_dir(place.path("at")).unwrap();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn file(&self) -> PathBuf {
        self.path("at/redis")
    }

    pub fn settings(&self) -> FileSettings {
        serde_json::from_value(serde_json::json!({ "path": self.file(), "format": "json" })).unwrap()
    }

    pub fn mark(&self) -> String {
        let about = fs::metadata(self.file());
        about.map_or_else(
            |error| error.kind().to_string(),
            |about| format!("{} {} {}", about.ino(), about.mtime(), about.mtime_nsec()),
        )
    }

    pub fn fail(&self, trouble: Trouble) {
        match trouble {
            Trouble::NotFound => fs::rename(self.path("at"), self.path("elsewhere")).unwrap(),
            Trouble::Hang => {
                let lock = File::open(self.path("at/.redis.keywheel")).unwrap();
                flock(&lock, FlockOperation::LockExclusive).unwrap();
                *self.lock.lock().unwrap() = Some(lock);
            }
            Trouble::Down
            | Trouble::Denied
            | Trouble::Throttled
            | Trouble::Broken
            | Trouble::Full
            | Trouble::LostAnswer
            | Trouble::Huge
            | Trouble::Between(_)
            | Trouble::LostBetween(_) => unreachable!("{trouble:?} is left out"),
        }
    }

    pub fn mend(&self) {
        drop(self.lock.lock().unwrap().take());
        // Not every trouble leaves it behind.
        let _ = fs::rename(self.path("elsewhere"), self.path("at"));
    }
}

/// What the program makes of its standard input.
pub fn piped(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} can be run (tests/run installs it): {error}"));
    child.stdin.take().unwrap().write_all(input).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

pub fn seen(content: &[u8]) -> Seen {
    let content: serde_json::Value = serde_json::from_slice(content).unwrap();
    Seen {
        generation: content["generation"].as_u64().unwrap(),
        account: content["account"].as_str().unwrap().to_owned(),
        password: content["password"].as_str().unwrap().to_owned(),
    }
}

#[cfg_attr(not(feature = "age"), allow(dead_code, reason = "the other kind has a patience of its own"))]
pub async fn patience_ends() {
    tokio::time::pause();
    tokio::time::advance(DISK_TIMEOUT * 2).await;
    tokio::time::resume();
}

pub fn as_a_file(row: Row) -> Option<&'static str> {
    match row {
        Row::Denied | Row::Full | Row::Down | Row::Throttled | Row::Broken => {
            Some("the file is written by the hand of `file`, which has these rows")
        }
        Row::LostAnswer => Some("a rename has no answer that could be lost; tests/faults kills before and after it"),
        Row::Huge => Some("a disk gives no such answer; larger files are not read (src/sink/file/tests.rs)"),
        Row::NewerBetween | Row::SameBetween | Row::LostBetween => Some("looked and written under one lock"),
        Row::Deliver
        | Row::Again
        | Row::Older
        | Row::Stranger
        | Row::Race
        | Row::NotFound
        | Row::Hang
        | Row::Characters
        | Row::Ready
        | Row::ReadBack
        | Row::Wiped
        | Row::Shown => None,
    }
}
