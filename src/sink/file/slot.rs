//! Where one target's file lies: checked, written under a lock, marked with its generation, and replaced as a whole. What is in it is the business
//! of the sinks that use it.

use super::disk::{self, Draft, Found, Stamp, trouble};
use super::marker::{self, Lock, Marker, marker_path};
use super::{FileSettings, owner};
use crate::fault::{Fault, Kind};
use crate::name::TargetName;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// How long the disk may take for one delivery, waiting for another process that delivers to the same file included.
pub const DISK_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest file name, in bytes: the names of marker and draft are longer, and 255 is the limit of Linux.
pub const FILE_NAME_LIMIT: usize = 200;

/// How many bytes a check writes: more than a document ever has.
const CHECK_SIZE: usize = 4096;

/// The largest file that a password is looked for in, in bytes.
pub const HELD_LIMIT: usize = 64 * 1024;

/// A file of one target. Clones are the same file.
#[derive(Debug, Clone)]
pub struct Slot {
    place: Arc<Place>,
    /// Held by whatever still works on the disk, even when nobody waits for it any more: a hung disk ties up one thread and no more,
    /// and a late write cannot overtake a newer one.
    turn: Arc<Mutex<()>>,
}

/// The same, for work that blocks on the disk.
#[derive(Debug)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Its mode and owner.
    pub stamp: Stamp,
    folder: PathBuf,
}

impl Slot {
    /// The slot, if path, mode and owner make sense. Looks owner and group up in the system's user database. In a statically linked keywheel that is
    /// `/etc/passwd` and `/etc/group` alone; users from a directory service are given by number there.
    ///
    /// # Errors
    /// Every finding, as a sentence.
    pub fn new(settings: &FileSettings) -> Result<Self, Vec<String>> {
        let mut wrong = Vec::new();
        let mut keep = |finding: String| wrong.push(finding);
        let folder = checked_folder(&settings.path).map_err(&mut keep).ok();
        let mode = checked_mode(&settings.mode).map_err(&mut keep).ok();
        let owner = owner::user(settings.owner.as_ref()).map_err(&mut keep).ok();
        let group = owner::group(settings.group.as_ref()).map_err(&mut keep).ok();
        match (folder, mode, owner, group) {
            (Some(folder), Some(mode), Some(owner), Some(group)) => {
                let (path, stamp) = (settings.path.clone(), Stamp { mode, owner, group });
                Ok(Self { place: Arc::new(Place { path, stamp, folder }), turn: Arc::default() })
            }
            _ => Err(wrong),
        }
    }

    /// The file, for people.
    pub fn shown(&self) -> String {
        self.place.path.display().to_string()
    }

    /// Path, mode and owner in an unambiguous form.
    pub fn shape(&self) -> Vec<u8> {
        let Place { path, stamp, folder: _ } = &*self.place;
        format!("{path:?} {stamp:?}\n").into_bytes()
    }

    /// Runs `work` on a thread that may block, one at a time and for no longer than [`DISK_TIMEOUT`].
    pub async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Place) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let place = self.place.clone();
        let turn = self.turn.clone();
        let done = async move {
            let turn = turn.lock_owned().await;
            tokio::task::spawn_blocking(move || {
                let _held = turn;
                work(&place)
            })
            .await
        };
        match tokio::time::timeout(DISK_TIMEOUT, done).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Fault::new(Kind::SinkUnavailable, format!("Work on {} was broken off", self.shown()))),
            Err(_elapsed) => Err(Fault::new(
                Kind::SinkUnavailable,
                format!(
                    "The disk under {} did not answer in time, or another process holds the file's lock",
                    self.shown()
                ),
            )),
        }
    }

    /// Whether the file is certainly gone.
    pub async fn has_lost_it(&self) -> bool {
        let is_gone = |place: &Place| {
            let about = std::fs::symlink_metadata(&place.path);
            Ok(about.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound))
        };
        self.on_disk(is_gone).await.unwrap_or(false)
    }
}

impl Place {
    /// Puts this content there, with this marker beside it. What is there already is left as it is.
    pub fn put(&self, marker: &Marker, content: &[u8]) -> Result<(), Fault> {
        self.refuse_what_is_no_file()?;
        let (mut lock, held) = self.locked(marker)?;
        if held.as_ref() != Some(marker) {
            let path = marker_path(&self.path);
            lock.write(marker).map_err(|error| trouble("write", &path, &error))?;
        } else if self.look(content.len()).is_ok_and(|found| found.is_some_and(|found| found.is(content, &self.stamp)))
        {
            return self.settle();
        }
        Draft::begin(&self.path, &self.stamp)
            .and_then(|mut draft| {
                draft.write(content)?;
                draft.publish().map(drop)
            })
            .map_err(|error| trouble("write", &self.path, &error))
    }

    /// The lock, and what the marker says, if a delivery of this one may follow.
    pub fn locked(&self, marker: &Marker) -> Result<(Lock, Option<Marker>), Fault> {
        let path = marker_path(&self.path);
        let lock = Lock::take(&path).map_err(|error| trouble("lock", &path, &error))?;
        let held = lock.read()?;
        if let Some(held) = &held {
            held.refuse_stranger(&self.path, &marker.target)?;
            if held.generation > marker.generation {
                return Err(Fault::new(
                    Kind::SinkNewer,
                    format!(
                        "{} holds generation {} of {}, newer than {}",
                        self.path.display(),
                        held.generation,
                        held.target,
                        marker.generation
                    ),
                )
                .advise(format!(
                    "find out who else writes to it; if this ledger was begun anew, remove {}",
                    path.display()
                )));
            }
        }
        Ok((lock, held))
    }

    /// The file was complete before its name appeared; only the name may not have reached the disk yet.
    pub fn settle(&self) -> Result<(), Fault> {
        disk::settle(&self.folder).map_err(|error| trouble("settle", &self.folder, &error))
    }

    /// Everything a delivery does, without the last rename.
    pub fn check(&self, target: &TargetName) -> Result<(), Fault> {
        self.refuse_what_is_not_for(target)?;
        disk::rehearse(&self.path, &self.stamp, CHECK_SIZE).map_err(|error| trouble("write", &self.path, &error))
    }

    /// What is there for this target, whoever wrote it, if no more people can read it than the sink allows.
    pub fn held(&self, target: &TargetName) -> Result<Option<Found>, Fault> {
        self.refuse_what_is_no_file()?;
        if let Some(held) = marker::peek_to_read(&marker_path(&self.path))? {
            held.refuse_stranger(&self.path, target)?;
        }
        let Some(found) = self.look(HELD_LIMIT)?.filter(|found| !found.content.is_empty()) else {
            return Ok(None);
        };
        let (mode, allowed) = (found.mode(), self.stamp.mode);
        if mode & !allowed & 0o077 != 0 {
            let why = format!("has the mode {mode:04o}, wider than the sink's {allowed:04o}");
            let next_step = format!("chmod {allowed:04o} it if nobody else can have changed or read it");
            return Err(self.illegible(&why).advise(next_step));
        }
        if found.content.len() > HELD_LIMIT {
            return Err(self.illegible("is larger than 64 KiB").advise("check the sink's path"));
        }
        Ok(Some(found))
    }

    /// The same with its marker.
    pub fn held_and_marked(&self, target: &TargetName) -> Result<Option<(Found, Option<Marker>)>, Fault> {
        let Some(found) = self.held(target)? else { return Ok(None) };
        Ok(Some((found, marker::peek_to_read(&marker_path(&self.path))?)))
    }

    fn illegible(&self, why: &str) -> Fault {
        Fault::new(Kind::SecretUnreadable, format!("{} {why}", self.path.display()))
    }

    /// The file, its first `limit` bytes.
    pub fn look(&self, limit: usize) -> Result<Option<Found>, Fault> {
        disk::look(&self.path, limit).map_err(|error| {
            let fault = trouble("read", &self.path, &error);
            if fault.kind == Kind::SinkDenied { fault.advise("let keywheel's user read the file") } else { fault }
        })
    }

    /// A file belongs to one target.
    pub fn refuse_what_is_not_for(&self, target: &TargetName) -> Result<(), Fault> {
        self.refuse_what_is_no_file()?;
        match marker::peek(&marker_path(&self.path))? {
            Some(held) => held.refuse_stranger(&self.path, target),
            None => Ok(()),
        }
    }

    fn refuse_what_is_no_file(&self) -> Result<(), Fault> {
        let path = self.path.display();
        match std::fs::metadata(&self.folder) {
            Err(error) => {
                return Err(trouble("open the folder of", &self.path, &error)
                    .advise("create the folder and let keywheel's user write to it; keywheel creates none"));
            }
            Ok(about) if !about.is_dir() => {
                let what = format!("{} is not a folder", self.folder.display());
                return Err(Fault::new(Kind::SinkDenied, what));
            }
            Ok(_) => {}
        }
        match std::fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(trouble("look at", &self.path, &error)),
            Ok(about) if about.is_symlink() => Err(Fault::new(
                Kind::SinkDenied,
                format!("{path} is a symbolic link; replacing it would leave the file behind it as it was"),
            )
            .advise("name the real file in the sink's path, or remove the link")),
            Ok(about) if !about.is_file() => {
                Err(Fault::new(Kind::SinkDenied, format!("{path} exists and is no regular file"))
                    .advise("choose another path for the sink"))
            }
            Ok(_) => Ok(()),
        }
    }
}

pub(super) fn checked_folder(path: &Path) -> Result<PathBuf, String> {
    let shown = path.display();
    if !path.is_absolute() {
        return Err(format!("path {shown} is relative: give the whole path"));
    }
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(format!("path {shown} names a folder: give the file's name too"));
    }
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if name.len() <= FILE_NAME_LIMIT => Ok(folder.to_owned()),
        (Some(_), Some(_)) => Err(format!("the file's name in {shown} is longer than {FILE_NAME_LIMIT} bytes")),
        _ => Err(format!("path {shown} does not end in a file's name")),
    }
}

pub(super) fn checked_mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let octal = !digits.is_empty() && digits.len() <= 5 && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    let mode = u32::from_str_radix(digits, 8).ok().filter(|_| octal);
    match mode {
        None => Err(format!("mode {text:?} is not an octal mode such as \"0640\"")),
        Some(mode) if mode & !0o666 != 0 => {
            Err(format!("mode {text:?} has more than read and write bits, and a secret is not a program"))
        }
        Some(mode) if mode & 0o002 != 0 => Err(format!("mode {text:?} lets everybody change the file")),
        Some(mode) if mode & 0o400 == 0 => Err(format!("mode {text:?} does not let the owner read the file")),
        Some(mode) => Ok(mode),
    }
}
