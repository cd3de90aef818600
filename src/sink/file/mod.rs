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
//! With `format = "directory"` it is a folder with one file for each part of the document, which change together (`directory.rs`).
//!
//! Reading back takes the same care: no symbolic link, no other target's file, and no file that is open to more people than the sink's mode.

pub(super) mod copying;
mod directory;
mod disk;
pub(super) mod format;
pub(super) mod marker;
mod owner;
pub(super) mod reading;
pub(super) mod slot;

pub use format::{Format, parts_held, parts_used};
pub use owner::Who;
pub use slot::{DISK_TIMEOUT, FILE_NAME_LIMIT};

use super::{Document, Held, Holds, Sink};
use crate::fault::Fault;
use crate::name::TargetName;
use async_trait::async_trait;
use copying::Marked;
use disk::trouble;
use format::Layout;
use marker::Marker;
use serde::Deserialize;
use slot::Slot;
use std::collections::BTreeMap;
use std::path::PathBuf;

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
    /// With `format = "env"`, `"json"`, `"yaml"` or `"directory"`: which parts of the document are written, and what each is called.
    pub fields: Option<BTreeMap<String, String>>,
}

/// A file that always holds one target's current password.
#[derive(Debug)]
pub struct FileSink {
    slot: Slot,
    layout: Layout,
}

impl FileSettings {
    /// Where the file lies and what it looks like.
    ///
    /// # Errors
    /// Every finding, as a sentence.
    pub(super) fn checked(self) -> Result<(Slot, Layout), Vec<String>> {
        let slot = Slot::new(&self);
        match (slot, Layout::new(self.format, self.prefix, self.template, self.fields.as_ref())) {
            (Ok(slot), Ok(layout)) => Ok((slot, layout)),
            (slot, layout) => Err(slot.err().into_iter().chain(layout.err()).flatten().collect()),
        }
    }
}

impl FileSink {
    /// The sink, if its settings make sense.
    ///
    /// # Errors
    /// Every finding, `Kind::ConfigInvalid`.
    pub fn new(settings: FileSettings) -> Result<Self, Vec<Fault>> {
        let (slot, layout) = settings.checked().map_err(super::findings)?;
        Ok(Self { slot, layout })
    }

    /// Whether it can only be written for a target that has a login address.
    pub fn needs_endpoint(&self) -> bool {
        self.layout.needs_endpoint()
    }
}

#[async_trait]
impl Sink for FileSink {
    async fn ready(&self, target: &TargetName) -> Result<(), Fault> {
        let target = target.clone();
        if let Layout::Directory(names) = &self.layout {
            let names = names.all().map(str::to_owned).collect::<Vec<_>>();
            return self.slot.on_disk(move |place| place.check_folder(&target, &names)).await;
        }
        self.slot.on_disk(move |place| place.check(&target)).await
    }

    async fn deliver(&self, document: &Document) -> Result<(), Fault> {
        let marker = Marker { target: document.target.clone(), generation: document.generation, sealed: None };
        if let Some(files) = self.layout.files(document)? {
            return self.slot.on_disk(move |place| place.put_files(&marker, &files)).await;
        }
        let content = self.layout.render(document)?;
        self.slot.on_disk(move |place| place.put(&marker, &content)).await
    }

    fn shape(&self, document: &Document) -> Option<Vec<u8>> {
        let content = self.layout.render(document).ok()?;
        let mut shape = self.slot.shape();
        shape.extend_from_slice(&content);
        Some(shape)
    }

    async fn has_lost_it(&self) -> bool {
        match self.layout.is_folder() {
            true => self.slot.on_disk(|place| Ok(place.has_lost_files())).await.unwrap_or(false),
            false => self.slot.has_lost_it().await,
        }
    }

    async fn read_back(&self, target: &TargetName) -> Result<Option<Held>, Fault> {
        if !self.layout.can_be_read_back() {
            return Err(super::cannot_be_read(&format!("the form of {}", self.place())));
        }
        let asked = target.clone();
        if let Layout::Directory(names) = &self.layout {
            let wanted = names.of("password").map(|name| ("password", name.to_owned()));
            let held = self.slot.on_disk(move |place| place.held_files(&asked, wanted.into_iter().collect())).await?;
            return Ok(held.and_then(|(mut texts, _)| texts.remove("password")).map(Held::AsSent));
        }
        let (found, path) = self.slot.on_disk(move |place| Ok((place.held(&asked)?, place.path.clone()))).await?;
        let Some(found) = found else { return Ok(None) };
        reading::held(&self.layout, &found.content, &path.display().to_string()).map(Some)
    }

    async fn copy(&self, target: &TargetName) -> Result<Option<Document>, Fault> {
        let (asked, place) = (target.clone(), self.place());
        let marked = |marker: Option<Marker>| Marked::from(marker.map_or(0, |marker| marker.generation.0));
        if let Layout::Directory(names) = &self.layout {
            let wanted = copying::named(names).into_iter().map(|(part, name)| (part, name.to_owned())).collect();
            let held = self.slot.on_disk(move |place| place.held_files(&asked, wanted)).await?;
            return held.map(|(texts, marker)| copying::made_of(texts, &place, target, marked(marker))).transpose();
        }
        if !self.layout.can_be_read_back() {
            return Err(super::cannot_be_read(&format!("the form of {place}")));
        }
        let found = self.slot.on_disk(move |place| place.held_and_marked(&asked)).await?;
        let Some((found, marker)) = found else { return Ok(None) };
        copying::document(&self.layout, &found.content, &place, target, marked(marker)).map(Some)
    }

    async fn holds(&self, document: &Document) -> Result<Holds, Fault> {
        if let Some(files) = self.layout.files(document)? {
            let target = document.target.clone();
            return self.slot.on_disk(move |place| place.shows(&target, &files)).await.map(|shown| match shown {
                None => Holds::Absent,
                Some(true) => Holds::Same,
                Some(false) => Holds::Other,
            });
        }
        let content = self.layout.render(document)?;
        let target = document.target.clone();
        let compare = move |place: &slot::Place| {
            place.refuse_what_is_not_for(&target)?;
            Ok(match place.look(content.len())? {
                None => Holds::Absent,
                Some(found) if found.is(&content, &place.stamp) => Holds::Same,
                Some(_) => Holds::Other,
            })
        };
        self.slot.on_disk(compare).await
    }

    fn place(&self) -> String {
        self.slot.shown()
    }
}

fn default_mode() -> String {
    "0600".to_owned()
}

#[cfg(test)]
mod tests;
