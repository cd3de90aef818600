//! A file that only some can read: the slot of a sink file with an envelope around what is in it.
//!
//! An envelope looks different each time it is made, and often cannot be opened here. So the marker beside the file says what is in it: target
//! and generation as for any sink file, a digest of everything else that decides the content (never of the password, which could be guessed against
//! it), and a digest of the file. A delivery of what the marker says, where the file has that digest, changes nothing.

use super::file::FileSettings;
use super::file::copying;
use super::file::format::Layout;
use super::file::marker::{Marker, Sealed};
use super::file::reading;
use super::file::slot::{Place, Slot};
use super::{Document, Held, Holds, Sink};
use crate::fault::Fault;
use crate::name::TargetName;
use crate::secret::Secret;
use async_trait::async_trait;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The largest file whose digest is compared, in bytes: more than a document, its envelope and base64 around both ever have.
const SEALED_LIMIT: usize = 1024 * 1024;

/// How a content is closed, and perhaps opened again.
#[async_trait]
pub trait Envelope: Send + Sync {
    /// For whom, in an unambiguous form: an envelope for others is another file.
    fn shape(&self) -> String;

    /// Proves that an envelope could be made.
    async fn ready(&self) -> Result<(), Fault>;

    /// Closes a content.
    async fn seal(&self, content: Zeroizing<Vec<u8>>) -> Result<Vec<u8>, Fault>;

    /// Whether it can be opened here.
    fn opens(&self) -> bool;

    /// Opens one that was found there. `place` names it.
    async fn open(&self, found: Zeroizing<Vec<u8>>, place: &str) -> Result<Zeroizing<Vec<u8>>, Fault>;
}

/// A file in an envelope.
#[derive(Debug)]
pub struct SealedFile<E> {
    slot: Slot,
    layout: Layout,
    envelope: E,
}

impl<E: Envelope> SealedFile<E> {
    /// The file, if its settings make sense.
    ///
    /// # Errors
    /// Every finding, as a sentence.
    pub fn new(settings: FileSettings, envelope: E) -> Result<Self, Vec<String>> {
        let (slot, layout) = settings.checked()?;
        Ok(Self { slot, layout, envelope })
    }

    /// The marker of a file with this document in it, but for the file's own digest.
    fn marker(&self, document: &Document) -> Result<Marker, Fault> {
        let none = || Secret::new("PASSWORD".to_owned());
        let content = self.layout.render(&Document { password: none(), login_password: none(), ..document.clone() })?;
        let mut digest = Sha256::new();
        digest.update(format!("{}\n{:?} {:?}\n", self.envelope.shape(), document.rotation, document.proven_at));
        digest.update(&content);
        let sealed = Sealed { of: hex::encode(digest.finalize()), file: String::new() };
        let Document { target, generation, .. } = document;
        Ok(Marker { target: target.clone(), generation: *generation, sealed: Some(sealed) })
    }
}

/// What is there.
enum Found {
    Nothing,
    /// What the marker says.
    Same,
    Other,
}

/// Compares the marker and the file with a marker that lacks the file's digest.
fn compare(place: &Place, marker: &Marker, held: Option<&Marker>) -> Result<Found, Fault> {
    let Some(found) = place.look(SEALED_LIMIT)? else { return Ok(Found::Nothing) };
    let file = hex::encode(Sha256::digest(&found.content));
    let is_same = held == Some(&finished(marker, file)) && found.is(&found.content, &place.stamp);
    Ok(if is_same { Found::Same } else { Found::Other })
}

fn finished(marker: &Marker, file: String) -> Marker {
    let sealed = marker.sealed.clone().map(|sealed| Sealed { file, ..sealed });
    Marker { sealed, ..marker.clone() }
}

#[async_trait]
impl<E: Envelope> Sink for SealedFile<E> {
    async fn ready(&self, target: &TargetName) -> Result<(), Fault> {
        let target = target.clone();
        self.slot.on_disk(move |place| place.check(&target)).await?;
        self.envelope.ready().await
    }

    async fn deliver(&self, document: &Document) -> Result<(), Fault> {
        let marker = self.marker(document)?;
        let wanted = marker.clone();
        let is_there = move |place: &Place| {
            place.refuse_what_is_not_for(&wanted.target)?;
            let (_lock, held) = place.locked(&wanted)?;
            match compare(place, &wanted, held.as_ref())? {
                Found::Same => place.settle().map(|()| true),
                Found::Nothing | Found::Other => Ok(false),
            }
        };
        if self.slot.on_disk(is_there).await? {
            return Ok(());
        }
        let content = self.layout.render(document)?;
        let sealed = self.envelope.seal(content).await?;
        let marker = finished(&marker, hex::encode(Sha256::digest(&sealed)));
        self.slot.on_disk(move |place| place.put(&marker, &sealed)).await
    }

    fn shape(&self, document: &Document) -> Option<Vec<u8>> {
        let content = self.layout.render(document).ok()?;
        let mut shape = self.slot.shape();
        shape.extend_from_slice(format!("{}\n", self.envelope.shape()).as_bytes());
        shape.extend_from_slice(&content);
        Some(shape)
    }

    async fn has_lost_it(&self) -> bool {
        self.slot.has_lost_it().await
    }

    async fn read_back(&self, target: &TargetName) -> Result<Option<Held>, Fault> {
        if !self.layout.can_be_read_back() {
            return Err(super::cannot_be_read(&format!("the form of {}", self.place())));
        }
        if !self.envelope.opens() {
            return Err(super::cannot_be_read(&self.place()));
        }
        let asked = target.clone();
        let Some(found) = self.slot.on_disk(move |place| place.held(&asked)).await? else { return Ok(None) };
        let place = self.place();
        let content = self.envelope.open(found.content, &place).await?;
        reading::held(&self.layout, &content, &place).map(Some)
    }

    async fn copy(&self, target: &TargetName) -> Result<Option<Document>, Fault> {
        if !self.layout.can_be_read_back() {
            return Err(super::cannot_be_read(&format!("the form of {}", self.place())));
        }
        if !self.envelope.opens() {
            return Err(super::cannot_be_read(&self.place()));
        }
        let asked = target.clone();
        let Some((found, marker)) = self.slot.on_disk(move |place| place.held_and_marked(&asked)).await? else {
            return Ok(None);
        };
        let place = self.place();
        let content = self.envelope.open(found.content, &place).await?;
        let marked = marker.map_or(0, |marker| marker.generation.0).into();
        copying::document(&self.layout, &content, &place, target, marked).map(Some)
    }

    async fn holds(&self, document: &Document) -> Result<Holds, Fault> {
        let marker = self.marker(document)?;
        let look = move |place: &Place| {
            place.refuse_what_is_not_for(&marker.target)?;
            let held = super::file::marker::peek(&super::file::marker::marker_path(&place.path))?;
            compare(place, &marker, held.as_ref())
        };
        match self.slot.on_disk(look).await? {
            Found::Nothing => return Ok(Holds::Absent),
            Found::Other => return Ok(Holds::Other),
            Found::Same if !self.envelope.opens() => return Ok(Holds::Same),
            Found::Same => {}
        }
        // It is what was written; whether it is what should have been, the envelope tells.
        let asked = document.target.clone();
        let Some(found) = self.slot.on_disk(move |place| place.held(&asked)).await? else { return Ok(Holds::Absent) };
        let content = self.envelope.open(found.content, &self.place()).await?;
        Ok(if content == self.layout.render(document)? { Holds::Same } else { Holds::Other })
    }

    fn place(&self) -> String {
        self.slot.shown()
    }
}
