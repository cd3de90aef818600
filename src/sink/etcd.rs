//! The sink `etcd`: each document under a key of etcd 3.4 or newer, through its JSON gateway.
//!
//! Beside the key lies the marker `KEY.keywheel` with target, generation and rotation; it holds no password. Both are written in one transaction,
//! and only while both are still as they were read: an older generation never replaces a newer one, whoever else writes, and a reader that looks
//! at key and marker in one transaction sees them agree. Where the answer to a write is lost, the next delivery reads its own generation and writes
//! nothing.
//!
//! `ready` sends the same transaction under a condition that can never hold. etcd decides on permissions, space and its quorum before it looks
//! at the condition, and the revision stays what it was.
//!
//! Whose request this is says a token, which user and password are exchanged for and which the store forgets after a while: it is asked for again
//! then, with the password as it is at that moment. A client certificate opens the connection and names nobody, because etcd's gateway does not
//! look at it.

mod gateway;

pub use gateway::Certificate;

use super::file::Format;
use super::file::copying::{self, Marked};
use super::file::format::Layout;
use super::file::reading;
use super::web::Credential;
use super::{Document, Held, Holds, Sink};
use crate::fault::{Fault, Kind};
use crate::name::{Generation, RotationId, TargetName};
use async_trait::async_trait;
use gateway::{Entry, Gateway, Write};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;
use zeroize::Zeroizing;

/// The longest key, in bytes. etcd has no limit of its own but that of a whole request.
pub const KEY_LIMIT: usize = 1024;

/// How long one request may take where the settings say nothing.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the marker's key ends in.
const MARKER: &str = ".keywheel";

/// How often a lost race is run again before the next try is left to the driver.
const RACES: usize = 4;

/// The settings of a sink with `kind = "etcd"`.
pub struct EtcdSettings {
    /// The members' client URLs: https, or plain http to a loopback address.
    pub endpoints: Vec<Url>,
    /// Where the target's document lies.
    pub key: String,
    /// What the value looks like.
    pub format: Format,
    /// What each name of [`Format::Env`] begins with.
    pub prefix: Option<String>,
    /// The text of [`Format::Template`].
    pub template: Option<String>,
    /// Which parts of the document are written, and what each is called.
    pub fields: Option<BTreeMap<String, String>>,
    /// Whose requests these are, where the store has users.
    pub user: Option<(String, Credential)>,
    /// Certificates (PEM) to trust instead of the machine's.
    pub ca_file: Option<PathBuf>,
    /// What opens a connection where the store asks for a certificate.
    pub certificate: Option<Certificate>,
    /// How long one request may take.
    pub timeout: Duration,
}

/// A store of etcd.
#[derive(Debug)]
pub struct EtcdSink {
    gateway: Gateway,
    key: String,
    layout: Layout,
}

/// What stands in the marker.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    target: TargetName,
    generation: Generation,
    rotation: Option<RotationId>,
}

/// A target's place as it was read.
struct Place {
    key: String,
    value: Option<Entry>,
    marker: Option<Entry>,
}

impl Place {
    fn marker_key(key: &str) -> String {
        format!("{key}{MARKER}")
    }

    /// What the marker says, if it speaks of this target.
    fn marked(&self, target: &TargetName) -> Result<Option<Marker>, Fault> {
        let Some(entry) = &self.marker else { return Ok(None) };
        let (key, marker) = (&self.key, Self::marker_key(&self.key));
        let Ok(found) = serde_json::from_slice::<Marker>(&entry.value) else {
            let what = format!("The etcd key {marker} holds no marker that keywheel wrote");
            let next_step = format!("make sure that nothing else writes to {key}, then remove {marker}");
            return Err(Fault::new(Kind::SinkDenied, what).advise(next_step));
        };
        if found.target != *target {
            let what = format!("The etcd key {key} belongs to the target {}, not to {target}", found.target);
            let next_step = format!(
                "give {target} a key of its own, such as one with {{{{ target }}}} in it; if {} was renamed or is gone, remove {marker}",
                found.target
            );
            return Err(Fault::new(Kind::SinkDenied, what).advise(next_step));
        }
        Ok(Some(found))
    }
}

impl EtcdSink {
    /// The sink, if its settings make sense.
    ///
    /// # Errors
    /// Every finding, `Kind::ConfigInvalid`.
    pub fn new(settings: EtcdSettings) -> Result<Self, Vec<Fault>> {
        let EtcdSettings { endpoints, key, format, prefix, template, fields, user, ca_file, certificate, timeout } =
            settings;
        let layout = Layout::new(format, prefix, template, fields.as_ref()).map_err(super::findings);
        let reach = crate::http::Settings { timeout, ca_file };
        let gateway = Gateway::new(endpoints, reach, certificate, user).map_err(|fault| vec![fault]);
        match (layout, gateway) {
            (Ok(layout), Ok(gateway)) => Ok(Self { gateway, key, layout }),
            (layout, gateway) => Err(layout.err().into_iter().chain(gateway.err()).flatten().collect()),
        }
    }

    fn writes<'a>(place: &Place, content: &'a [u8], marker: &'a [u8]) -> [Write<'a>; 2] {
        let revision = |entry: &Option<Entry>| entry.as_ref().map_or(0, |entry| entry.revision);
        [
            Write { key: place.key.clone(), value: content, seen: revision(&place.value) },
            Write { key: Place::marker_key(&place.key), value: marker, seen: revision(&place.marker) },
        ]
    }

    async fn look(&self) -> Result<Place, Fault> {
        let key = self.key.clone();
        let [value, marker] = self.gateway.read([&key, &Place::marker_key(&key)]).await?;
        Ok(Place { key, value, marker })
    }
}

#[async_trait]
impl Sink for EtcdSink {
    async fn ready(&self, target: &TargetName) -> Result<(), Fault> {
        let place = self.look().await?;
        place.marked(target)?;
        self.gateway.rehearse(&Self::writes(&place, b"{}", b"{}")).await
    }

    async fn deliver(&self, document: &Document) -> Result<(), Fault> {
        let content = self.layout.render(document)?;
        let Document { target, generation, rotation, .. } = document;
        let marker = Marker { target: target.clone(), generation: *generation, rotation: *rotation };
        let written = serde_json::to_vec(&marker).expect("texts and numbers always have a JSON form");
        let mut place = self.look().await?;
        for _ in 0..RACES {
            let held = place.marked(target)?;
            if let Some(held) = held.as_ref().filter(|held| held.generation > *generation) {
                let (key, held) = (&place.key, held.generation);
                let what = format!("The etcd key {key} holds generation {held} of {target}, newer than {generation}");
                return Err(Fault::new(Kind::SinkNewer, what).advise(format!(
                    "find out who else writes to it; if this ledger was begun anew, remove {}",
                    Place::marker_key(key)
                )));
            }
            let same = place.value.as_ref().is_some_and(|entry| entry.value == content);
            if same && held.as_ref() == Some(&marker) {
                return Ok(());
            }
            match self.gateway.write(&Self::writes(&place, &content, &written)).await? {
                None => return Ok(()),
                Some([value, marker]) => place = Place { value, marker, ..place },
            }
        }
        let what = format!("Somebody else goes on writing to the etcd key {}", place.key);
        Err(Fault::new(Kind::SinkUnavailable, what).advise("find out who else writes to it"))
    }

    fn shape(&self, document: &Document) -> Option<Vec<u8>> {
        let content = self.layout.render(document).ok()?;
        let mut shape = format!("{:?} {}\n", self.key, self.gateway.place()).into_bytes();
        shape.extend_from_slice(&content);
        Some(shape)
    }

    async fn has_lost_it(&self) -> bool {
        self.look().await.is_ok_and(|place| place.value.is_none())
    }

    async fn read_back(&self, target: &TargetName) -> Result<Option<Held>, Fault> {
        if !self.layout.can_be_read_back() {
            return Err(super::cannot_be_read(&format!("the form of {}", self.place())));
        }
        let place = self.look().await?;
        place.marked(target)?;
        let Some(Entry { value, .. }) = &place.value else { return Ok(None) };
        reading::held(&self.layout, value, &format!("The value of the etcd key {}", place.key)).map(Some)
    }

    async fn copy(&self, target: &TargetName) -> Result<Option<Document>, Fault> {
        if !self.layout.can_be_read_back() {
            return Err(super::cannot_be_read(&format!("the form of {}", self.place())));
        }
        let place = self.look().await?;
        let marked = place.marked(target)?.map_or_else(Marked::default, |marker| Marked {
            generation: Some(marker.generation),
            rotation: marker.rotation,
        });
        let Some(Entry { value, .. }) = &place.value else { return Ok(None) };
        copying::document(&self.layout, value, &self.place(), target, marked).map(Some)
    }

    async fn holds(&self, document: &Document) -> Result<Holds, Fault> {
        let content: Zeroizing<Vec<u8>> = self.layout.render(document)?;
        let place = self.look().await?;
        place.marked(&document.target)?;
        Ok(match &place.value {
            None => Holds::Absent,
            Some(entry) if entry.value == content => Holds::Same,
            Some(_) => Holds::Other,
        })
    }

    fn place(&self) -> String {
        format!("the etcd key {} at {}", self.key, self.gateway.place())
    }
}
