//! Which generation of which target a sink file holds, and the lock under which that changes.

use super::disk::{Draft, Stamp, beside};
use crate::fault::{Fault, Kind};
use crate::name::{Generation, TargetName};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The longest marker that is read, in bytes.
const MARKER_LIMIT: u64 = 4096;

/// How often the lock is tried again when other processes keep replacing the marker.
const LOCK_ATTEMPTS: usize = 1000;

/// What stands in the marker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// Whose password the file holds.
    pub target: TargetName,
    /// The newest generation that was on its way into the file.
    pub generation: Generation,
    /// What a file is told by that cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Sealed>,
}

/// A file that its writer cannot read: what it was made of, and how it looks since. No password is in either.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The digest of everything that decides its content but the password, which the generation stands for.
    pub of: String,
    /// The digest of the file itself.
    pub file: String,
}

impl Marker {
    /// A sink file belongs to one target: two would overwrite each other's password.
    pub fn refuse_stranger(&self, path: &Path, target: &TargetName) -> Result<(), Fault> {
        if self.target == *target {
            return Ok(());
        }
        let shown = path.display();
        Err(Fault::new(
            Kind::SinkDenied,
            format!(
                "{shown} belongs to the target {}, not to {target}: a sink file belongs to one target",
                self.target
            ),
        )
        .advise(format!(
            "give {target} a sink of its own; if {} was renamed or is gone, remove {}",
            self.target,
            marker_path(path).display()
        )))
    }
}

/// The marker of a file: `.NAME.keywheel` beside it.
pub fn marker_path(path: &Path) -> PathBuf {
    // A path without a file name does not get past the settings; such a one would mark itself.
    beside(path, ".keywheel").map_or_else(|_| path.to_owned(), |name| path.with_file_name(name))
}

/// Reads the marker without the lock. `None` where nothing was delivered yet.
pub fn peek(path: &Path) -> Result<Option<Marker>, Fault> {
    match opened(OpenOptions::new().read(true), path) {
        Ok(file) => read(&file, path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(super::trouble("read", path, &error)),
    }
}

/// The same for who only reads. A marker that is another user's alone says nothing here; what is read has to say itself whose it is.
pub fn peek_to_read(path: &Path) -> Result<Option<Marker>, Fault> {
    match opened(OpenOptions::new().read(true), path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        _ => peek(path),
    }
}

/// The right to change a sink file, against other processes. Released when dropped.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    /// The lock is on the marker itself. A new marker is locked before it gets its name, so there is no instant without one.
    file: File,
}

impl Lock {
    /// Waits for the lock.
    pub fn take(path: &Path) -> io::Result<Self> {
        for _ in 0..LOCK_ATTEMPTS {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let file = opened(&mut options, path)?;
            flock(&file, FlockOperation::LockExclusive)?;
            // Whoever held it before may have replaced the marker while we waited for the old one.
            let held = file.metadata()?;
            match std::fs::symlink_metadata(path) {
                Ok(named) if (named.dev(), named.ino()) == (held.dev(), held.ino()) => {
                    let path = path.to_owned();
                    return Ok(Self { path, file });
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::WouldBlock, "other processes keep replacing it"))
    }

    /// What the marker says; `None` where nothing was delivered yet.
    pub fn read(&self) -> Result<Option<Marker>, Fault> {
        read(&self.file, &self.path)
    }

    /// Replaces the marker.
    pub fn write(&mut self, marker: &Marker) -> io::Result<()> {
        let stamp = Stamp { mode: 0o600, owner: None, group: None };
        let mut draft = Draft::begin(&self.path, &stamp)?;
        flock(draft.file(), FlockOperation::NonBlockingLockExclusive)?;
        draft.write(&serde_json::to_vec(marker)?)?;
        self.file = draft.publish()?;
        Ok(())
    }
}

fn opened(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    options.mode(0o600).custom_flags(flags.bits().cast_signed()).open(path)
}

fn read(mut file: &File, path: &Path) -> Result<Option<Marker>, Fault> {
    let mut text = Vec::new();
    file.by_ref().take(MARKER_LIMIT).read_to_end(&mut text).map_err(|error| super::trouble("read", path, &error))?;
    if text.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&text).map(Some).map_err(|_| {
        Fault::new(Kind::SinkDenied, format!("{} is not a marker that keywheel wrote", path.display()))
            .advise("make sure that nothing else writes to the sink's file, then remove this marker")
    })
}
