//! The sink `file`: one file per target, always whole, in the form its readers want.
//!
//! A delivery holds a lock, refuses an older generation, writes the marker `.NAME.keywheel` (target and generation, no password), and
//! then puts the new content in place by rename. Owner and mode are set before the content is written. A crash leaves the old
//! file or the new one, and at worst a marker that is ahead of the file, which the next delivery of that generation mends.
//!
//! The file itself may not be a symbolic link: a rename would replace the link and leave its readers with the old password for ever.
//! Name the real file instead. Folders on the way may be links. The folder belongs to keywheel's user or is writable by it; in a folder that
//! others can write to, they can replace what their readers see.
//!
//! Reading back takes the same care: no symbolic link, no other target's file, and no file that is open to more people than the sink's mode.

mod disk;
pub(super) mod format;
mod marker;
mod owner;
pub(super) mod reading;

pub use format::Format;
pub use owner::Who;

use super::{Document, Held, Holds, Sink};
use crate::fault::{Fault, Kind};
use crate::name::TargetName;
use async_trait::async_trait;
use disk::{Draft, Stamp, trouble};
use format::Layout;
use marker::{Lock, Marker, marker_path};
use serde::Deserialize;
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
const HELD_LIMIT: usize = 64 * 1024;

/// The settings of a sink with `kind = "file"`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FileSettings {
    /// The file, absolute.
    pub path: PathBuf,
    /// What it looks like.
    #[serde(default)]
    pub format: Format,
    /// Its mode in octal.
    #[serde(default = "default_mode")]
    pub mode: String,
    /// Its owner, by name or number. Default: the daemon's user.
    pub owner: Option<Who>,
    /// Its group, by name or number. Default: the daemon's group, or the folder's where it has the set-group-id bit.
    pub group: Option<Who>,
    /// What each key of `format = "env"` begins with. Default `REDIS_`.
    pub prefix: Option<String>,
    /// The text of `format = "template"`.
    pub template: Option<String>,
}

/// A file that always holds one target's current password.
#[derive(Debug)]
pub struct FileSink {
    place: Arc<Place>,
    /// Held by whatever still works on the disk, even when nobody waits for it any more: a hung disk ties up one thread and no more,
    /// and a late write cannot overtake a newer one.
    turn: Arc<Mutex<()>>,
}

#[derive(Debug)]
struct Place {
    path: PathBuf,
    folder: PathBuf,
    layout: Layout,
    stamp: Stamp,
}

impl FileSink {
    /// The sink, if its settings make sense. Looks owner and group up in the system's user database. In a statically linked keywheel that is
    /// `/etc/passwd` and `/etc/group` alone; users from a directory service are given by number there.
    ///
    /// # Errors
    /// Every finding, `Kind::ConfigInvalid`.
    pub fn new(settings: FileSettings) -> Result<Self, Vec<Fault>> {
        let mut wrong = Vec::new();
        let mut keep = |finding: String| wrong.push(Fault::new(Kind::ConfigInvalid, finding));
        let folder = checked_folder(&settings.path).map_err(&mut keep).ok();
        let mode = checked_mode(&settings.mode).map_err(&mut keep).ok();
        let owner = owner::user(settings.owner.as_ref()).map_err(&mut keep).ok();
        let group = owner::group(settings.group.as_ref()).map_err(&mut keep).ok();
        let layout = match Layout::new(settings.format, settings.prefix, settings.template) {
            Ok(layout) => Some(layout),
            Err(findings) => {
                findings.into_iter().for_each(&mut keep);
                None
            }
        };
        match (folder, mode, owner, group, layout) {
            (Some(folder), Some(mode), Some(owner), Some(group), Some(layout)) => Ok(Self {
                place: Arc::new(Place { path: settings.path, folder, layout, stamp: Stamp { mode, owner, group } }),
                turn: Arc::default(),
            }),
            _ => Err(wrong),
        }
    }

    /// Whether it can only be written for a target that has a login address.
    pub fn needs_endpoint(&self) -> bool {
        self.place.layout.needs_endpoint()
    }

    /// Runs `work` on a thread that may block, one at a time and for no longer than [`DISK_TIMEOUT`].
    async fn on_disk<T: Send + 'static>(
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
            Ok(Err(_)) => {
                Err(Fault::new(Kind::SinkUnavailable, format!("Work on {} was broken off", self.place.path.display())))
            }
            Err(_elapsed) => Err(Fault::new(
                Kind::SinkUnavailable,
                format!(
                    "The disk under {} did not answer in time, or another process holds the file's lock",
                    self.place.path.display()
                ),
            )),
        }
    }
}

#[async_trait]
impl Sink for FileSink {
    async fn ready(&self, target: &TargetName) -> Result<(), Fault> {
        let target = target.clone();
        self.on_disk(move |place| place.check(&target)).await
    }

    async fn deliver(&self, document: &Document) -> Result<(), Fault> {
        let document = document.clone();
        self.on_disk(move |place| place.take(&document)).await
    }

    fn shape(&self, document: &Document) -> Option<Vec<u8>> {
        let Place { path, folder: _, layout, stamp } = &*self.place;
        let content = layout.render(document).ok()?;
        let mut shape = format!("{path:?} {stamp:?}\n").into_bytes();
        shape.extend_from_slice(&content);
        Some(shape)
    }

    async fn has_lost_it(&self) -> bool {
        let is_gone = |place: &Place| {
            let gone =
                std::fs::symlink_metadata(&place.path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
            if gone { Ok(()) } else { Err(Fault::new(Kind::SinkDenied, "the file is there, or cannot be looked at")) }
        };
        self.on_disk(is_gone).await.is_ok()
    }

    async fn read_back(&self, target: &TargetName) -> Result<Option<Held>, Fault> {
        if !self.place.layout.can_be_read_back() {
            return Err(super::cannot_be_read(&format!("the template of {}", self.place())));
        }
        let target = target.clone();
        self.on_disk(move |place| place.password(&target)).await
    }

    async fn holds(&self, document: &Document) -> Result<Holds, Fault> {
        let document = document.clone();
        self.on_disk(move |place| place.compare(&document)).await
    }

    fn place(&self) -> String {
        self.place.path.display().to_string()
    }
}

impl Place {
    fn take(&self, document: &Document) -> Result<(), Fault> {
        let content = self.layout.render(document)?;
        self.refuse_what_is_no_file()?;
        let marker_path = marker_path(&self.path);
        let mut lock = Lock::take(&marker_path).map_err(|error| trouble("lock", &marker_path, &error))?;
        let held = lock.read()?;
        if let Some(held) = &held {
            held.refuse_stranger(&self.path, &document.target)?;
            if held.generation > document.generation {
                return Err(Fault::new(
                    Kind::SinkNewer,
                    format!(
                        "{} holds generation {} of {}, newer than {}",
                        self.path.display(),
                        held.generation,
                        held.target,
                        document.generation
                    ),
                )
                .advise(format!(
                    "find out who else writes to it; if this ledger was begun anew, remove {}",
                    marker_path.display()
                )));
            }
        }
        let marker = Marker { target: document.target.clone(), generation: document.generation };
        if held.as_ref() != Some(&marker) {
            lock.write(&marker).map_err(|error| trouble("write", &marker_path, &error))?;
        } else if self.look(content.len()).is_ok_and(|found| found.is_some_and(|found| found.is(&content, &self.stamp)))
        {
            // The file was complete before its name appeared; only the name may not have reached the disk yet.
            return disk::settle(&self.folder).map_err(|error| trouble("settle", &self.folder, &error));
        }
        Draft::begin(&self.path, &self.stamp)
            .and_then(|mut draft| {
                draft.write(&content)?;
                draft.publish().map(drop)
            })
            .map_err(|error| trouble("write", &self.path, &error))
    }

    /// Everything a delivery does, without the last rename.
    fn check(&self, target: &TargetName) -> Result<(), Fault> {
        self.refuse_what_is_not_for(target)?;
        disk::rehearse(&self.path, &self.stamp, CHECK_SIZE).map_err(|error| trouble("write", &self.path, &error))
    }

    /// The password as clients send it, whoever wrote it there.
    fn password(&self, target: &TargetName) -> Result<Option<Held>, Fault> {
        self.refuse_what_is_not_for(target)?;
        let Some(found) = self.look(HELD_LIMIT)?.filter(|found| !found.content.is_empty()) else {
            return Ok(None);
        };
        let path = self.path.display();
        let illegible = |why: &str, next_step: String| {
            Err(Fault::new(Kind::SecretUnreadable, format!("{path} {why}")).advise(next_step))
        };
        let (mode, allowed) = (found.mode(), self.stamp.mode);
        if mode & !allowed & 0o077 != 0 {
            let why = format!("has the mode {mode:04o}, wider than the sink's {allowed:04o}");
            return illegible(&why, format!("chmod {allowed:04o} it if nobody else can have changed or read it"));
        }
        if found.content.len() > HELD_LIMIT {
            return illegible("is larger than 64 KiB", "check the sink's path".to_owned());
        }
        let next_step = "correct the file, or give the password in another way: `keywheel adopt TARGET`".to_owned();
        let Ok(text) = std::str::from_utf8(&found.content) else {
            return illegible("does not hold UTF-8 text", next_step);
        };
        match reading::password(&self.layout, text) {
            Ok(password) => Ok(Some(Held::AsSent(password))),
            Err(reading::Illegible(why)) => illegible(&why, next_step),
        }
    }

    fn compare(&self, document: &Document) -> Result<Holds, Fault> {
        let content = self.layout.render(document)?;
        self.refuse_what_is_not_for(&document.target)?;
        Ok(match self.look(content.len())? {
            None => Holds::Absent,
            Some(found) if found.is(&content, &self.stamp) => Holds::Same,
            Some(_) => Holds::Other,
        })
    }

    fn look(&self, limit: usize) -> Result<Option<disk::Found>, Fault> {
        disk::look(&self.path, limit).map_err(|error| {
            let fault = trouble("read", &self.path, &error);
            if fault.kind == Kind::SinkDenied { fault.advise("let keywheel's user read the file") } else { fault }
        })
    }

    fn refuse_what_is_not_for(&self, target: &TargetName) -> Result<(), Fault> {
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

fn checked_folder(path: &Path) -> Result<PathBuf, String> {
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

fn checked_mode(text: &str) -> Result<u32, String> {
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

fn default_mode() -> String {
    "0600".to_owned()
}

#[cfg(test)]
mod tests;
