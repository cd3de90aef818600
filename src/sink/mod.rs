//! The joint to a sink: a place that receives a target's password, versioned by generation.

mod address;
#[cfg(feature = "age")]
pub mod age;
pub mod alibaba_kms;
#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "azure")]
pub mod azure_key_vault;
pub mod command;
pub mod etcd;
pub mod fields;
pub mod file;
#[cfg(feature = "gcp")]
pub mod gcp_secret_manager;
pub mod http;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
pub mod sealed;
mod store;
pub mod systemd_credential;
pub mod tencent_ssm;
pub mod vault;
pub mod web;

pub use store::{StoreApi, StoreCall, StoreFailure};

use crate::fault::{Fault, Kind};
use crate::moment::Moment;
use crate::name::{Generation, RotationId, TargetName};
use crate::secret::Secret;
use async_trait::async_trait;

/// What a sink receives: one generation of one target, whole.
#[derive(Debug, Clone)]
pub struct Document {
    /// Whose password this is.
    pub target: TargetName,
    /// Which one.
    pub generation: Generation,
    /// The rotation that made it; `None` for an adopted password.
    pub rotation: Option<RotationId>,
    /// When it was proven live.
    pub proven_at: Moment,
    /// The account, as the cloud calls it.
    pub account: String,
    /// The password itself.
    pub password: Secret,
    /// What a client sends as the user name. `None` where the password logs in alone, or carries the account in it.
    pub login_user: Option<String>,
    /// What a client sends as the password: the same, or with the account in front where the cloud wants it so.
    pub login_password: Secret,
    /// Where clients connect, if the target has a login route.
    pub endpoint: Option<Endpoint>,
}

/// Where clients of the instance connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether the connection is TLS (`rediss`).
    pub tls: bool,
}

/// A password as a sink holds it.
#[derive(Debug, Clone)]
pub enum Held {
    /// The password itself.
    Bare(Secret),
    /// What a client sends as the password: for some accounts that is the password with the account or instance in front, and only whoever
    /// knows the target's way to log in can tell.
    AsSent(Secret),
}

/// What delivering a document would change for a sink's readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Holds {
    /// Nothing: they see this document already.
    Same,
    /// Something: they see another one, or see it with another mode or owner.
    Other,
    /// All of it: there is nothing.
    Absent,
    /// The sink cannot be read.
    CannotTell,
}

/// A place that receives passwords.
///
/// Duties: when `deliver` returns `Ok`, the document survives a power cut and readers see this generation whole or the one before, never a mixture.
/// Delivering the same generation again succeeds and changes nothing that a reader sees. A generation older than what the sink holds is refused
/// with `Kind::SinkNewer`. Every call is bounded in time.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Proves that a write would be taken, without changing what readers see.
    ///
    /// # Errors
    /// What would fail: permission, space, a folder that is not there.
    async fn ready(&self, target: &TargetName) -> Result<(), Fault>;

    /// Writes one generation.
    ///
    /// # Errors
    /// `SinkUnavailable` or `SinkDenied` to be tried again; `SinkNewer` where an older generation would overwrite a newer one.
    async fn deliver(&self, document: &Document) -> Result<(), Fault>;

    /// What a delivery of this document would write and where: text and settings in any unambiguous form. The driver asks with a stand-in for the
    /// password and keeps a digest, to notice that the same generation should be delivered again because something else changed. `None` where
    /// the document cannot be written.
    fn shape(&self, document: &Document) -> Option<Vec<u8>>;

    /// Whether what was delivered is certainly no longer there: the folder was a memory file system and the machine started again, or
    /// somebody deleted it. Asked when keywheel starts. A sink that cannot tell says no.
    async fn has_lost_it(&self) -> bool;

    /// The password it holds now for this target, whoever wrote it; `None` where nothing is there. Changes nothing.
    ///
    /// # Errors
    /// `Unsupported` where it can never be read; `SecretUnreadable` where no password can be made out in what is there; else what kept it from
    /// being read.
    async fn read_back(&self, _target: &TargetName) -> Result<Option<Held>, Fault> {
        Err(cannot_be_read(&self.place()))
    }

    /// The whole document that it holds for this target, as far as its form holds one, for who hands it on; `None` where nothing is there. The
    /// generation is the document's own where it says so, else the marker's. What the form leaves out is empty. Changes nothing.
    ///
    /// # Errors
    /// As for [`Sink::read_back`]; `SecretUnreadable` also where no generation can be told.
    async fn copy(&self, _target: &TargetName) -> Result<Option<Document>, Fault> {
        Err(Fault::new(Kind::Unsupported, format!("{} does not give back whole documents", self.place()))
            .advise("follow another sink of this target"))
    }

    /// Compares what readers see with what delivering this document would write. Changes nothing.
    ///
    /// # Errors
    /// What kept it from being read. A sink that can never be read says `CannotTell`.
    async fn holds(&self, _document: &Document) -> Result<Holds, Fault> {
        Ok(Holds::CannotTell)
    }

    /// Where it writes, in words for people.
    fn place(&self) -> String;
}

/// Findings about settings, as faults.
fn findings(sentences: Vec<String>) -> Vec<Fault> {
    sentences.into_iter().map(|what| Fault::new(Kind::ConfigInvalid, what)).collect()
}

/// The fault of a sink that only takes.
fn cannot_be_read(place: &str) -> Fault {
    Fault::new(Kind::Unsupported, format!("{place} takes passwords and cannot be read back"))
        .advise("name another place that holds the password, or type it: `keywheel adopt TARGET`")
}
