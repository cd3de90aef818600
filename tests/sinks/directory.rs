//! `file` with `format = "directory"`: a folder whose files change together.

use super::conformance::{Seen, Store, Trouble};
use super::file::Disk;
use super::rows::Row;
use keywheel::sink::Sink;
use keywheel::sink::file::FileSink;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

pub struct Swapped(Disk);

impl Swapped {
    fn folder(&self) -> PathBuf {
        self.0.place().join("redis")
    }

    fn made(&self) -> FileSink {
        let settings = serde_json::json!({ "path": self.folder(), "format": "directory" });
        FileSink::new(serde_json::from_value(settings).unwrap()).unwrap()
    }
}

impl Store for Swapped {
    const NAME: &'static str = "file (folder)";

    async fn begin() -> Self {
        Self(Disk::begin().await)
    }

    fn sink(&self, _hasty: bool) -> Arc<dyn Sink> {
        Arc::new(self.made())
    }

    /// As a reader of several files has to: where the link leads is read once.
    async fn seen(&self) -> Option<Seen> {
        loop {
            let folder = self.folder().join(fs::read_link(self.folder().join("..data")).ok()?);
            let read = |name: &str| fs::read_to_string(folder.join(name));
            let (Ok(generation), Ok(account), Ok(password)) = (read("generation"), read("account"), read("password"))
            else {
                assert!(!folder.exists(), "a folder that readers are led to is whole");
                continue;
            };
            return Some(Seen { generation: generation.parse().unwrap(), account, password });
        }
    }

    async fn mark(&self) -> String {
        let about = fs::metadata(self.folder().join("..data"));
        about.map_or_else(
            |error| error.kind().to_string(),
            |about| format!("{} {} {}", about.ino(), about.mtime(), about.mtime_nsec()),
        )
    }

    async fn fail(&self, trouble: Trouble) {
        if trouble == Trouble::Hang {
            self.0.hold(&self.folder());
        } else {
            self.0.fail(trouble).await;
        }
    }

    async fn mend(&self) {
        self.0.mend().await;
    }

    async fn wipe(&self) {
        fs::remove_dir_all(self.folder()).unwrap();
    }

    async fn time_passes(&self) {
        self.0.time_passes().await;
    }

    fn leaves_out(&self, row: Row) -> Option<&'static str> {
        self.0.leaves_out(row)
    }

    fn debug(&self) -> String {
        format!("{:?}", self.made())
    }
}
