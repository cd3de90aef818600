//! `file`, on a file system of its own where this user may mount one: a full disk and a read-only one are real then.

use super::conformance::{Seen, Store, Trouble};
use super::rows::Row;
use keywheel::sink::Sink;
use keywheel::sink::file::{DISK_TIMEOUT, FileSink};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

pub struct Disk {
    folder: tempfile::TempDir,
    mounted: bool,
    /// Another process's lock on the file.
    lock: Mutex<Option<File>>,
}

fn mount(options: &[&str], folder: &Path) -> bool {
    Command::new("mount").args(options).arg(folder).output().is_ok_and(|done| done.status.success())
}

impl Disk {
    pub fn place(&self) -> PathBuf {
        self.folder.path().join("orders")
    }

    fn file(&self) -> PathBuf {
        self.place().join("redis.json")
    }

    /// Holds what a delivery has to lock.
    pub fn hold(&self, locked: &Path) {
        let lock = File::open(locked).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        *self.lock.lock().unwrap() = Some(lock);
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::json!({ "path": self.file(), "format": "json" })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            // What stays mounted is a folder in memory, and a drop cannot fail.
            let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
        }
    }
}

impl Store for Disk {
    const NAME: &'static str = "file";

    async fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mounted = mount(&["-t", "tmpfs", "-o", "size=128k", "tmpfs"], folder.path());
        let disk = Self { folder, mounted, lock: Mutex::default() };
        fs::create_dir(disk.place()).unwrap();
        disk
    }

    fn sink(&self, _hasty: bool) -> Arc<dyn Sink> {
        Arc::new(FileSink::new(serde_json::from_value(self.settings()).unwrap()).unwrap())
    }

    async fn seen(&self) -> Option<Seen> {
        let content: serde_json::Value = serde_json::from_slice(&fs::read(self.file()).ok()?).unwrap();
        Some(Seen {
            generation: content["generation"].as_u64().unwrap(),
            account: content["account"].as_str().unwrap().to_owned(),
            password: content["password"].as_str().unwrap().to_owned(),
        })
    }

    async fn mark(&self) -> String {
        let about = fs::metadata(self.file());
        about.map_or_else(
            |error| error.kind().to_string(),
            |about| format!("{} {} {}", about.ino(), about.mtime(), about.mtime_nsec()),
        )
    }

    async fn fail(&self, trouble: Trouble) {
        match trouble {
            Trouble::Denied => assert!(mount(&["-o", "remount,ro"], self.folder.path())),
            Trouble::NotFound => fs::rename(self.place(), self.folder.path().join("elsewhere")).unwrap(),
            Trouble::Full => {
                fs::write(self.folder.path().join("ballast"), vec![0; 256 * 1024]).unwrap_err();
            }
            Trouble::Hang => self.hold(&self.place().join(".redis.json.keywheel")),
            Trouble::Down
            | Trouble::Throttled
            | Trouble::Broken
            | Trouble::LostAnswer
            | Trouble::Huge
            | Trouble::Between(_)
            | Trouble::LostBetween(_) => unreachable!("left out"),
        }
    }

    async fn mend(&self) {
        if self.mounted {
            assert!(mount(&["-o", "remount,rw"], self.folder.path()));
        }
        drop(self.lock.lock().unwrap().take());
        // Each trouble leaves one of these behind.
        let _ = fs::rename(self.folder.path().join("elsewhere"), self.place());
        let _ = fs::remove_file(self.folder.path().join("ballast"));
    }

    async fn wipe(&self) {
        fs::remove_file(self.file()).unwrap();
    }

    async fn time_passes(&self) {
        tokio::time::pause();
        tokio::time::advance(DISK_TIMEOUT * 2).await;
        tokio::time::resume();
    }

    fn leaves_out(&self, row: Row) -> Option<&'static str> {
        match row {
            Row::Denied | Row::Full if !self.mounted => Some("mounting a file system is not allowed here"),
            Row::Down | Row::Throttled | Row::Broken => Some("a disk has no such state; tests/faults breaks one"),
            Row::LostAnswer => {
                Some("a rename has no answer that could be lost; tests/faults kills before and after it")
            }
            Row::Huge => Some("a disk gives no such answer; larger files are not read (src/sink/file/tests.rs)"),
            Row::NewerBetween | Row::SameBetween | Row::LostBetween => Some("looked and written under one lock"),
            Row::Deliver
            | Row::Again
            | Row::Older
            | Row::Stranger
            | Row::Race
            | Row::Denied
            | Row::NotFound
            | Row::Full
            | Row::Hang
            | Row::Characters
            | Row::Ready
            | Row::ReadBack
            | Row::Wiped
            | Row::Shown => None,
        }
    }

    fn debug(&self) -> String {
        format!("{:?}", FileSink::new(serde_json::from_value(self.settings()).unwrap()).unwrap())
    }
}
