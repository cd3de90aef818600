//! Stores to open, and the small values tests are made of.

use keywheel::fault::Fault;
use keywheel::ledger::sqlite::SqliteLedger;
use keywheel::ledger::{Claim, Entry, Ledger, Projection};
use keywheel::moment::Moment;
use keywheel::name::{Generation, RotationId, TargetName};
use keywheel::rotation::event::{By, Event, Proof, What};
use keywheel::rotation::state::{Label, Standing};
use keywheel::seal::aead::SealingKey;
use keywheel::secret::Secret;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// A place that holds one ledger, which can be opened again after it was closed.
pub trait Store {
    /// Opens it.
    fn open(&self) -> Arc<dyn Ledger>;
}

/// A SQLite ledger in a folder of its own.
pub struct SqliteStore {
    folder: TempDir,
    pub key: SealingKey,
}

impl SqliteStore {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), key: sealing_key(1) }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self) -> PathBuf {
        self.folder().join("ledger.db")
    }

    pub fn try_open(&self) -> Result<SqliteLedger, Fault> {
        SqliteLedger::open(&self.path(), &self.key, "a test")
    }
}

impl Store for SqliteStore {
    fn open(&self) -> Arc<dyn Ledger> {
        Arc::new(self.try_open().unwrap())
    }
}

pub fn sealing_key(seed: u64) -> SealingKey {
    SealingKey::parse(&SealingKey::generate(&mut StdRng::seed_from_u64(seed))).unwrap()
}

pub fn at(second: i64) -> Moment {
    Moment::from_seconds(1_700_000_000 + second)
}

pub fn name(text: &str) -> TargetName {
    text.parse().unwrap()
}

pub fn rotation(number: u128) -> RotationId {
    RotationId::from_parts(at(0), number)
}

pub fn projection(wake_at: Moment) -> Projection {
    Projection {
        wake_at,
        label: Label::Settled,
        why: "nothing is due".to_owned(),
        generation: Generation(1),
        holds: None,
    }
}

pub fn entry(second: i64, what: What) -> Entry {
    Entry { event: Event { at: at(second), what }, rotation: Some(rotation(7)), password: None }
}

pub fn asked(second: i64, reason: &str) -> Entry {
    let by = By::Operator { uid: 1_000 };
    let reason = Some(reason.to_owned());
    entry(second, What::Asked { by, reason })
}

pub fn prepared(second: i64, generation: u64, password: &str) -> Entry {
    let generation = Generation(generation);
    Entry {
        password: Some((generation, Secret::new(password.to_owned()))),
        ..entry(second, What::Prepared { generation, account: None, beside: false })
    }
}

pub fn adopted(second: i64, generation: u64, password: &str) -> Entry {
    let what = What::Adopted {
        generation: Generation(generation),
        proof: Proof::Login,
        by: By::Configuration,
        reason: None,
        place: "crs-test/root".to_owned(),
        account: None,
    };
    Entry { rotation: None, ..prepared(second, generation, password) }.with(what)
}

pub fn settled(second: i64) -> Entry {
    let standing = Box::new(Standing { newest: Generation(2), ..Standing::default() });
    entry(second, What::Settled { standing })
}

pub trait With {
    fn with(self, what: What) -> Self;
}

impl With for Entry {
    fn with(mut self, what: What) -> Self {
        self.event.what = what;
        self
    }
}

pub async fn claim(ledger: &dyn Ledger, target: &str) -> Box<dyn Claim> {
    ledger.claim(&name(target), at(0)).await.unwrap().expect("nobody holds it")
}

/// Makes sure of a target and appends these, one transaction each.
pub async fn record(ledger: &dyn Ledger, target: &str, entries: &[Entry]) {
    let mut claim = claim(ledger, target).await;
    for entry in entries {
        claim.append(std::slice::from_ref(entry), &projection(at(500))).await.unwrap();
    }
}
