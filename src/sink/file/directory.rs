//! A folder whose files change together, as Kubernetes' own volumes of Secrets do ("AtomicWriter" in its sources):
//!
//! ```text
//! ..7.k3Xq0a/          the files of generation 7, and the marker
//! ..data -> ..7.k3Xq0a
//! password -> ..data/password
//! user -> ..data/user
//! ```
//!
//! A delivery writes a new folder down to the disk and renames a link to it over `..data`: one step, before which every reader sees the old
//! generation and after which everybody sees the new one. Who reads several files opens `..data` once (or reads where it leads once) and reads beside
//! each other what lies in there. The folder of the generation before is removed then, so that no old password stays behind; a reader that was in it
//! finds a file missing and begins again.
//!
//! The lock is on the folder itself. What a crash leaves, a folder without a link to it, is removed by the next delivery.

use super::copying::Texts;
use super::disk::{self, Stamp, trouble};
use super::format::Files;
use super::marker::{self, Marker};
use super::slot::{HELD_LIMIT, Place};
use crate::fault::{Fault, Kind};
use crate::name::TargetName;
use crate::secret::Secret;
use rustix::fs::{FlockOperation, flock};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

/// The link that readers follow.
const DATA: &str = "..data";

/// The link before it gets its name.
const NEW_LINK: &str = "..keywheel-link";

/// The marker, in the folder of each generation.
const MARKER: &str = ".keywheel";

/// What the folders of generations begin with. The number of the generation follows, a dot, and letters that make it another name each time.
const FOLDER: &str = "..";

/// How many bytes a check writes: more than a document ever has.
const CHECK_SIZE: usize = 4096;

/// What was found behind the link.
pub struct Generation {
    folder: PathBuf,
    marker: Option<Marker>,
}

impl Place {
    /// Puts these files there, together.
    pub fn put_files(&self, marker: &Marker, files: &Files) -> Result<(), Fault> {
        self.refuse_what_is_no_folder()?;
        let _lock = self.locked_folder()?;
        let found = self.current()?;
        self.refuse_older(found.as_ref(), marker)?;
        let same = found.as_ref().is_some_and(|found| {
            found.marker.as_ref() == Some(marker)
                && found.names().is_ok_and(|names| names.len() == files.len())
                && files.iter().all(|(name, content)| found.holds(name, content, &self.stamp))
        });
        let written = || -> io::Result<()> {
            if !same {
                let folder = self.write_generation(marker, files)?;
                self.point(Path::new(DATA), Path::new(folder.file_name().ok_or(ErrorKind::InvalidFilename)?))?;
            }
            self.show(files)?;
            disk::settle(&self.path)?;
            self.tidy()
        };
        written().map_err(|error| trouble("write", &self.path, &error))
    }

    /// Everything a delivery does, under names that no reader looks at, and removed again.
    pub fn check_folder(&self, target: &TargetName, names: &[String]) -> Result<(), Fault> {
        self.refuse_what_is_no_folder()?;
        self.refuse_other(self.current()?.as_ref(), target)?;
        let tried = || -> io::Result<()> {
            let around = if self.path.exists() { self.path.as_path() } else { self.around() };
            let folder = tempfile::Builder::new().prefix("..keywheel-check-").tempdir_in(around)?;
            write_file(&folder.path().join("check"), &vec![0; CHECK_SIZE], &self.stamp)?;
            self.stamp_folder(folder.path())?;
            symlink("check", folder.path().join("link"))?;
            fs::rename(folder.path().join("link"), folder.path().join("renamed"))?;
            disk::settle(folder.path())?;
            folder.close()
        };
        tried().map_err(|error| trouble("write", &self.path, &error))?;
        self.refuse_names_that_are_taken(names)
    }

    /// What the files of these parts hold for this target, whoever wrote them, and the marker beside them. One generation's, since where the link
    /// leads is read once.
    pub fn held_files(
        &self,
        target: &TargetName,
        wanted: Vec<(&'static str, String)>,
    ) -> Result<Option<(Texts, Option<Marker>)>, Fault> {
        let Some(found) = self.generation_for(target)? else { return Ok(None) };
        let mut texts = Texts::new();
        for (part, name) in wanted {
            let looked = disk::look(&found.folder.join(&name), HELD_LIMIT);
            let Some(file) = looked.map_err(|error| trouble("read", &self.path, &error))? else { continue };
            let illegible =
                |why: &str| Fault::new(Kind::SecretUnreadable, format!("{}/{name} {why}", self.path.display()));
            let (mode, allowed) = (file.mode(), self.stamp.mode);
            if mode & !allowed & 0o077 != 0 {
                return Err(illegible(&format!("has the mode {mode:04o}, wider than the sink's {allowed:04o}"))
                    .advise(format!("chmod {allowed:04o} it if nobody else can have changed or read it")));
            }
            if file.content.len() > HELD_LIMIT {
                return Err(illegible("is larger than 64 KiB").advise("check the sink's path"));
            }
            let text = std::str::from_utf8(&file.content).map_err(|_| illegible("does not hold UTF-8 text"))?;
            if !text.is_empty() {
                texts.insert(part, Secret::new(text.to_owned()));
            }
        }
        Ok(Some((texts, found.marker)))
    }

    /// Whether readers see exactly these files: `None` where they see nothing.
    pub fn shows(&self, target: &TargetName, files: &Files) -> Result<Option<bool>, Fault> {
        let Some(found) = self.generation_for(target)? else { return Ok(None) };
        let names = found.names().map_err(|error| trouble("read", &self.path, &error))?;
        Ok(Some(
            names.len() == files.len()
                && files.iter().all(|(name, content)| {
                    found.holds(name, content, &self.stamp)
                        && fs::read_link(self.path.join(name)).is_ok_and(|link| link == shown_at(name))
                }),
        ))
    }

    /// Whether what was delivered is certainly gone.
    pub fn has_lost_files(&self) -> bool {
        fs::metadata(self.path.join(DATA)).is_err_and(|error| error.kind() == ErrorKind::NotFound)
    }

    fn generation_for(&self, target: &TargetName) -> Result<Option<Generation>, Fault> {
        self.refuse_what_is_no_folder()?;
        let found = self.current()?;
        self.refuse_other(found.as_ref(), target)?;
        Ok(found)
    }

    /// What the link leads to.
    fn current(&self) -> Result<Option<Generation>, Fault> {
        let link = self.path.join(DATA);
        let name = match fs::read_link(&link) {
            Ok(name) => name,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                let what = format!("{} is no symbolic link", link.display());
                return Err(
                    Fault::new(Kind::SinkDenied, what).advise("give the sink a folder that is keywheel's alone")
                );
            }
            Err(error) => return Err(trouble("read", &link, &error)),
        };
        if !is_generation(name.as_os_str()) {
            let what = format!("{} leads to something that keywheel did not make", link.display());
            return Err(Fault::new(Kind::SinkDenied, what).advise("give the sink a folder that is keywheel's alone"));
        }
        let folder = self.path.join(name);
        match fs::symlink_metadata(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(trouble("look at", &folder, &error)),
            Ok(_) => {
                let marker = marker::peek(&folder.join(MARKER))?;
                Ok(Some(Generation { folder, marker }))
            }
        }
    }

    fn refuse_other(&self, found: Option<&Generation>, target: &TargetName) -> Result<(), Fault> {
        match found.and_then(|found| found.marker.as_ref()).filter(|marker| marker.target != *target) {
            None => Ok(()),
            Some(Marker { target: other, .. }) => {
                let path = self.path.display();
                let what = format!(
                    "{path} belongs to the target {other}, not to {target}: a sink's folder belongs to one target"
                );
                Err(Fault::new(Kind::SinkDenied, what).advise(format!(
                    "give {target} a sink of its own; if {other} was renamed or is gone, remove {path}/{DATA}"
                )))
            }
        }
    }

    fn refuse_older(&self, found: Option<&Generation>, ours: &Marker) -> Result<(), Fault> {
        self.refuse_other(found, &ours.target)?;
        let newer = found.and_then(|found| found.marker.as_ref()).filter(|held| held.generation > ours.generation);
        let Some(held) = newer else { return Ok(()) };
        let (path, target) = (self.path.display(), &held.target);
        let what = format!("{path} holds generation {} of {target}, newer than {}", held.generation, ours.generation);
        Err(Fault::new(Kind::SinkNewer, what)
            .advise(format!("find out who else writes to it; if this ledger was begun anew, remove {path}/{DATA}")))
    }

    /// The folder, made where it is not there, and the lock on it. Released when dropped.
    fn locked_folder(&self) -> Result<File, Fault> {
        let locked = || -> io::Result<File> {
            if !self.path.exists() {
                self.make_folder()?;
            }
            let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW;
            let folder = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(&self.path)?;
            flock(&folder, FlockOperation::LockExclusive)?;
            Ok(folder)
        };
        locked().map_err(|error| trouble("lock", &self.path, &error))
    }

    /// Makes the folder, and gives it its name when its owner and mode are what they should be: nobody sets those right later.
    fn make_folder(&self) -> io::Result<()> {
        let draft = self.path.with_file_name(disk::beside(&self.path, ".keywheel-new")?);
        // What a crash left is empty.
        match fs::remove_dir(&draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Err(_) | Ok(()) => {}
        }
        DirBuilder::new().mode(0o700).create(&draft)?;
        self.stamp_folder(&draft)?;
        match fs::rename(&draft, &self.path) {
            // Somebody else made it meanwhile.
            Err(error) if self.path.exists() => fs::remove_dir(&draft).or(Err(error))?,
            renamed => renamed?,
        }
        disk::settle(self.around())
    }

    /// The files of a generation in a folder of their own, down to the disk, with the modes that they keep.
    fn write_generation(&self, marker: &Marker, files: &Files) -> io::Result<PathBuf> {
        let prefix = format!("{FOLDER}{}.", marker.generation);
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(&self.path)?;
        for (name, content) in files {
            write_file(&folder.path().join(name), content, &self.stamp)?;
        }
        let private = Stamp { mode: 0o600, owner: None, group: None };
        write_file(&folder.path().join(MARKER), &serde_json::to_vec(marker)?, &private)?;
        self.stamp_folder(folder.path())?;
        disk::settle(folder.path())?;
        disk::settle(&self.path)?;
        // From here on it is a generation; what fails now leaves it for the next delivery to remove.
        Ok(folder.keep())
    }

    /// One link, put in place in one step.
    fn point(&self, name: &Path, to: &Path) -> io::Result<()> {
        let new = self.path.join(NEW_LINK);
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Err(_) | Ok(()) => {}
        }
        symlink(to, &new)?;
        fs::rename(&new, self.path.join(name))?;
        disk::settle(&self.path)
    }

    /// The names that readers know: one for each file, and none for what is there no longer.
    fn show(&self, files: &Files) -> io::Result<()> {
        for (name, _) in files {
            let wanted = shown_at(name);
            match fs::read_link(self.path.join(name)) {
                Ok(link) if link == wanted => {}
                Ok(_) => self.point(Path::new(name), &wanted)?,
                Err(error) if error.kind() == ErrorKind::NotFound => self.point(Path::new(name), &wanted)?,
                Err(_) => {
                    let what = format!("{name} is there already and is no link of keywheel's");
                    return Err(io::Error::new(ErrorKind::AlreadyExists, what));
                }
            }
        }
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let known = files.iter().any(|(name, _)| OsStr::new(name) == entry.file_name());
            let ours = fs::read_link(entry.path()).is_ok_and(|link| link == Path::new(DATA).join(entry.file_name()));
            if ours && !known {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes the folders of generations that no reader is led to.
    fn tidy(&self) -> io::Result<()> {
        let current = fs::read_link(self.path.join(DATA))?;
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            if is_generation(&name) && name != current.as_os_str() && entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            }
        }
        disk::settle(&self.path)
    }

    /// Owner, group and mode of a folder: who may read its files may look into it.
    fn stamp_folder(&self, folder: &Path) -> io::Result<()> {
        let Stamp { mode, owner, group } = self.stamp;
        if owner.is_some() || group.is_some() {
            chown(folder, owner, group)?;
        }
        fs::set_permissions(folder, Permissions::from_mode(mode | (mode & 0o444) >> 2))
    }

    /// The folder around it.
    fn around(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    fn refuse_what_is_no_folder(&self) -> Result<(), Fault> {
        match fs::metadata(self.around()) {
            Err(error) => {
                return Err(trouble("open the folder of", &self.path, &error)
                    .advise("create the folder around it and let keywheel's user write to it"));
            }
            Ok(about) if !about.is_dir() => {
                let what = format!("{} is not a folder", self.around().display());
                return Err(Fault::new(Kind::SinkDenied, what));
            }
            Ok(_) => {}
        }
        let path = self.path.display();
        match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(trouble("look at", &self.path, &error)),
            Ok(about) if about.is_symlink() => {
                Err(Fault::new(Kind::SinkDenied, format!("{path} is a symbolic link, and may lead elsewhere tomorrow"))
                    .advise("name the real folder in the sink's path"))
            }
            Ok(about) if !about.is_dir() => {
                Err(Fault::new(Kind::SinkDenied, format!("{path} exists and is no folder"))
                    .advise("choose another path for the sink"))
            }
            Ok(_) => Ok(()),
        }
    }

    /// Something of somebody else's under a name that readers will know.
    fn refuse_names_that_are_taken(&self, names: &[String]) -> Result<(), Fault> {
        let taken = |name: &&String| fs::symlink_metadata(self.path.join(name)).is_ok_and(|about| !about.is_symlink());
        match names.iter().find(taken) {
            None => Ok(()),
            Some(name) => {
                let what = format!("{}/{name} is there already and is no link of keywheel's", self.path.display());
                Err(Fault::new(Kind::SinkDenied, what).advise("give the sink a folder that is keywheel's alone"))
            }
        }
    }
}

impl Generation {
    /// The files in it.
    fn names(&self) -> io::Result<Vec<std::ffi::OsString>> {
        let names: io::Result<Vec<_>> = fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.file_name())).collect();
        Ok(names?.into_iter().filter(|name| name != MARKER).collect())
    }

    fn holds(&self, name: &str, content: &[u8], stamp: &Stamp) -> bool {
        disk::look(&self.folder.join(name), content.len())
            .is_ok_and(|found| found.is_some_and(|found| found.is(content, stamp)))
    }
}

/// Where the name that readers know leads to.
fn shown_at(name: &str) -> PathBuf {
    Path::new(DATA).join(name)
}

/// `..7.k3Xq0a`
fn is_generation(name: &OsStr) -> bool {
    let rest = name.to_str().and_then(|name| name.strip_prefix(FOLDER));
    rest.and_then(|rest| rest.split_once('.')).is_some_and(|(number, letters)| {
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        digits && !letters.is_empty() && letters.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// A new file with this content, down to the disk. Mode and owner come first, while it is empty.
fn write_file(path: &Path, content: &[u8], stamp: &Stamp) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    if stamp.owner.is_some() || stamp.group.is_some() {
        std::os::unix::fs::fchown(&file, stamp.owner, stamp.group)?;
    }
    file.set_permissions(Permissions::from_mode(stamp.mode))?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests;
