//! The joint to the ledger: the durable, sealed, append-only record, and the claims that fence who may write it.

pub mod chain;
pub mod deed;
pub mod known;
pub mod sqlite;

use crate::fault::Fault;
use crate::moment::Moment;
use crate::name::{Fence, Generation, RotationId, TargetName};
use crate::rotation::event::Event;
use crate::rotation::state::Label;
use crate::secret::Secret;
use async_trait::async_trait;
use known::{Known, Lists};
use std::time::Duration;

/// One event to append, with the password it brings into the ledger, if any.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What happened.
    pub event: Event,
    /// The rotation it belongs to.
    pub rotation: Option<RotationId>,
    /// A password that becomes durable in the same transaction, sealed: a candidate, an adopted or a given one.
    pub password: Option<(Generation, Secret)>,
}

/// One event as the ledger holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its place in the target's record, from 1 without gaps.
    pub seq: u64,
    /// The rotation it belongs to.
    pub rotation: Option<RotationId>,
    /// What happened.
    pub event: Event,
}

/// What the ledger knows of a target without folding its events; changed in the same transaction as they are appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection {
    /// When the driver should next look at the target.
    pub wake_at: Moment,
    /// The state in one word.
    pub label: Label,
    /// Why it waits, in one sentence.
    pub why: String,
    /// The current generation; 0 before adoption.
    pub generation: Generation,
    /// The instance this target keeps busy while a rotation is open (its `instance_key`): no two targets may hold the same one.
    pub holds: Option<String>,
}

/// One target's row, for listings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The target.
    pub target: TargetName,
    /// Its projection.
    pub projection: Projection,
}

/// The record of all targets.
///
/// What a completed call guarantees after a power cut: everything [`Claim::append`] returned `Ok` for is on disk (fsynced), in order and whole; of
/// an append that returned an error or never returned, either all or nothing is there, and the caller does not know which: it drops what it
/// believed and folds again. A ledger that cannot be trusted (newer version, failed MAC, wrong key, corrupt page) refuses to open and changes nothing.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Makes sure each target has a row; a new one wakes at once. Targets that are no longer named stay, asleep.
    ///
    /// # Errors
    /// `LedgerFull`, `LedgerUnusable`.
    async fn enlist(&self, targets: &[TargetName], now: Moment) -> Result<(), Fault>;

    /// The targets whose time has come, earliest first, at most `limit`.
    ///
    /// # Errors
    /// `LedgerUnusable`.
    async fn due(&self, now: Moment, limit: usize) -> Result<Vec<TargetName>, Fault>;

    /// The exclusive right to append to one target's record, with a greater fencing number than any before. A claim that is already held by this
    /// process, or by another whose lease has not run out, gives `None`.
    ///
    /// # Errors
    /// `LedgerFull`, `LedgerUnusable`.
    async fn claim(&self, target: &TargetName, now: Moment) -> Result<Option<Box<dyn Claim>>, Fault>;

    /// The target's events from its last [`crate::rotation::event::What::Settled`] on (or from the beginning), each with its MAC checked.
    ///
    /// # Errors
    /// `LedgerCorrupt`, `LedgerNewer`, `LedgerUnusable`.
    async fn recent(&self, target: &TargetName) -> Result<Vec<Row>, Fault>;

    /// The target's whole record, each row with its MAC checked.
    ///
    /// # Errors
    /// As for [`Ledger::recent`].
    async fn history(&self, target: &TargetName) -> Result<Vec<Row>, Fault>;

    /// Every target's row, by name.
    ///
    /// # Errors
    /// `LedgerUnusable`.
    async fn listing(&self) -> Result<Vec<Listing>, Fault>;

    /// A password out of the ledger.
    ///
    /// # Errors
    /// `LedgerCorrupt` when it is missing or does not open.
    async fn password(&self, target: &TargetName, generation: Generation) -> Result<Secret, Fault>;

    /// Replaces what the ledger knows of the instances that a selection found; durable like an append.
    ///
    /// # Errors
    /// `LedgerFull`, `LedgerUnusable`, `LedgerCorrupt`. The list before is still there then.
    async fn keep_list(&self, selection: &TargetName, list: &[Known]) -> Result<(), Fault>;

    /// What each selection found, as it was kept last; also of selections that are no longer configured.
    ///
    /// # Errors
    /// `LedgerCorrupt`, `LedgerUnusable`.
    async fn lists(&self) -> Result<Lists, Fault>;

    /// Keeps a text of keywheel's own under this name, in place of the one before; durable like an append. It must hold no secret.
    ///
    /// # Errors
    /// `LedgerFull`, `LedgerUnusable`. The text before is still there then.
    async fn keep_note(&self, name: &'static str, text: &str) -> Result<(), Fault>;

    /// The text that was kept last under this name.
    ///
    /// # Errors
    /// `LedgerCorrupt`, `LedgerUnusable`.
    async fn note(&self, name: &'static str) -> Result<Option<String>, Fault>;
}

/// How long after its last append a claim is still its holder's, whatever the holder does or does not do. A turn appends in good time while it does
/// something outside: one that stood still for longer does nothing that it had decided on before, for another may have gone on meanwhile.
pub const CLAIM_LASTS: Duration = Duration::from_secs(120);

/// The exclusive right to append to one target's record, for at least [`CLAIM_LASTS`] from each append on. Dropping it releases the claim.
#[async_trait]
pub trait Claim: Send + Sync {
    /// Its fencing number.
    fn fence(&self) -> Fence;

    /// Appends events in order, seals the passwords they bring, and replaces the projection: all in one durable transaction, or nothing.
    ///
    /// # Errors
    /// `ClaimLost` when a newer claim exists; `Busy` when another target holds the same instance; `LedgerFull`, `LedgerUnusable`. After any error the
    /// caller must not act on what it tried to write.
    async fn append(&mut self, entries: &[Entry], projection: &Projection) -> Result<(), Fault>;
}
