//! Putting a file in place so that its readers see the old one or the new one, whole, also after a power cut.

use crate::fault::{Fault, Kind};
use rustix::fs::{Gid, Mode, OFlags, Uid, fchmod, fchown};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

/// Mode, owner and group of a file.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// The permission bits.
    pub mode: u32,
    /// The owner's number; `None` leaves the daemon's user.
    pub owner: Option<u32>,
    /// The group's number; `None` leaves what the folder gives.
    pub group: Option<u32>,
}

/// A file that has no name its readers know yet. Removed when dropped before [`Draft::publish`].
pub struct Draft {
    file: NamedTempFile,
    path: PathBuf,
}

impl Draft {
    /// An empty draft beside `path`, with its final mode and owner. The caller holds the lock: a draft that lies there already is
    /// what a crash left behind, and is removed, since it may hold a password.
    pub fn begin(path: &Path, stamp: &Stamp) -> io::Result<Self> {
        let name = beside(path, ".keywheel-new")?;
        match std::fs::remove_file(path.with_file_name(&name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Err(_) | Ok(()) => {}
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(&name).rand_bytes(0);
        Ok(Self { file: stamped(&mut builder, path, stamp)?, path: path.to_owned() })
    }

    /// The whole content, down to the disk.
    pub fn write(&mut self, content: &[u8]) -> io::Result<()> {
        self.file.write_all(content)?;
        self.file.as_file().sync_all()
    }

    /// The open file, for a lock on it.
    pub fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Gives it its name, and returns when the name is on the disk too.
    pub fn publish(self) -> io::Result<File> {
        let file = self.file.persist(&self.path).map_err(|error| error.error)?;
        settle(folder(&self.path)?)?;
        Ok(file)
    }
}

/// Tries what a delivery does, under names that no reader looks at, and removes everything again.
pub fn rehearse(path: &Path, stamp: &Stamp, size: usize) -> io::Result<()> {
    let mut builder = tempfile::Builder::new();
    let name = beside(path, ".keywheel-check-")?;
    builder.prefix(&name);
    let mut first = stamped(&mut builder, path, stamp)?;
    first.write_all(&vec![0; size])?;
    first.as_file().sync_all()?;
    let second = builder.tempfile_in(folder(path)?)?;
    // Renaming over an existing file is what a delivery needs, and what a folder with a sticky bit may forbid.
    let second = first.persist(second.path()).map(|_| second).map_err(|error| error.error)?;
    second.close()?;
    forbidden_by_sticky_bit(path)
}

/// A file as it was found.
pub struct Found {
    about: Metadata,
    /// Its beginning, up to the limit it was read with and one byte more where it is longer.
    pub content: Zeroizing<Vec<u8>>,
}

impl Found {
    /// Whether it holds exactly this, with this stamp.
    pub fn is(&self, content: &[u8], stamp: &Stamp) -> bool {
        self.mode() == stamp.mode
            && stamp.owner.is_none_or(|owner| owner == self.about.uid())
            && stamp.group.is_none_or(|group| group == self.about.gid())
            && self.content.as_slice() == content
    }

    /// Its permission bits.
    pub fn mode(&self) -> u32 {
        self.about.mode() & 0o7777
    }
}

/// Reads a file, its first `limit` bytes; `None` where there is none. A symbolic link is an error, and so is what is no regular file.
pub fn look(path: &Path, limit: usize) -> io::Result<Option<Found>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut content = Zeroizing::new(Vec::with_capacity(limit + 1));
    file.take(limit as u64 + 1).read_to_end(&mut content)?;
    Ok(Some(Found { about, content }))
}

/// Brings the names in a folder to the disk.
pub fn settle(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// What went wrong with a file, as a fault of a sink.
pub fn trouble(deed: &str, path: &Path, error: &io::Error) -> Fault {
    let what = format!("Could not {deed} {}: {error}", path.display());
    let is_one_of = |kinds: &[ErrorKind]| kinds.contains(&error.kind());
    if is_one_of(&[ErrorKind::PermissionDenied]) {
        Fault::new(Kind::SinkDenied, what).advise(
            "let keywheel's user write to the sink's folder; to give the file another owner it needs CAP_CHOWN, to give it a group it must be a member",
        )
    } else if is_one_of(&[ErrorKind::ReadOnlyFilesystem]) {
        Fault::new(Kind::SinkDenied, what)
            .advise("mount it writable; under systemd add the folder to ReadWritePaths= or use RuntimeDirectory=")
    } else if is_one_of(&[ErrorKind::StorageFull, ErrorKind::QuotaExceeded]) {
        Fault::new(Kind::SinkUnavailable, what)
            .advise("free space where the sink's file lies; keywheel delivers as soon as there is some")
    } else {
        Fault::new(Kind::SinkUnavailable, what)
    }
}

/// `.NAME` and an ending: names that nothing else uses, beside the file and therefore on its file system.
pub fn beside(path: &Path, ending: &str) -> io::Result<std::ffi::OsString> {
    let name = path.file_name().ok_or(ErrorKind::InvalidFilename)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(ending);
    Ok(hidden)
}

fn folder(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or(ErrorKind::InvalidFilename.into())
}

/// Mode and owner come first, while the file is empty.
fn stamped(builder: &mut tempfile::Builder<'_, '_>, path: &Path, stamp: &Stamp) -> io::Result<NamedTempFile> {
    let file = builder.permissions(std::fs::Permissions::from_mode(0o600)).tempfile_in(folder(path)?)?;
    fchmod(file.as_file(), Mode::from_raw_mode(stamp.mode))?;
    if stamp.owner.is_some() || stamp.group.is_some() {
        let (owner, group) = (stamp.owner.map(Uid::from_raw), stamp.group.map(Gid::from_raw));
        fchown(file.as_file(), owner, group)?;
    }
    Ok(file)
}

/// In a folder with the sticky bit only a file's owner, the folder's owner or root may replace the file.
fn forbidden_by_sticky_bit(path: &Path) -> io::Result<()> {
    let around = std::fs::metadata(folder(path)?)?;
    let Ok(about) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    let me = rustix::process::geteuid();
    let mine = me.is_root() || [about.uid(), around.uid()].contains(&me.as_raw());
    if around.mode() & 0o1000 != 0 && !mine {
        return Err(io::Error::new(
            ErrorKind::PermissionDenied,
            "the folder has the sticky bit and the file belongs to somebody else",
        ));
    }
    Ok(())
}
