//! The embedded ledger: one SQLite file, one process that writes it.
//!
//! `place` has the files and what is checked before they are used, `schema` the tables, `writer` the one writing thread, `record` what it writes,
//! `lists` what selections found, `deeds` what happened to keywheel itself, `notes` texts of keywheel's own, `commits` how long that takes, `reader` what anybody reads.

mod commits;
mod deeds;
mod ended;
mod lists;
mod notes;
mod place;
mod reader;
mod record;
mod schema;
mod writer;

pub use commits::Commits;
pub use ended::{Ended, Sought, ended_well};
pub use reader::{Audit, OwnAudit, Reader};

use super::deed::Deed;
use super::known::{Known, Lists};
use super::{Claim, Entry, Ledger, Listing, Projection, Row};
use crate::fault::Fault;
use crate::moment::Moment;
use crate::name::{Fence, Generation, TargetName};
use crate::seal::{Envelope, Seal};
use crate::secret::Secret;
use async_trait::async_trait;
use place::Lock;
use record::Draft;
use schema::Trouble;
use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use writer::Writer;

/// A ledger in one SQLite file, held by this process alone. Clones and claims share it; the file is closed when the last of them is dropped.
#[derive(Clone)]
pub struct SqliteLedger {
    shared: Arc<Shared>,
}

struct Shared {
    // Dropped first: the last connection to close should be the writer's, which may move the log into the file.
    reader: Reader,
    writer: Writer,
    seal: Arc<dyn Seal>,
    claimed: Claimed,
}

/// The targets this process has claimed.
type Claimed = Arc<Mutex<HashSet<TargetName>>>;

impl SqliteLedger {
    /// Opens the ledger, or makes a new one (mode 0600) in a folder that exists; blocks while it does. `holder` says in a few words who uses it, for
    /// the next process that wants to. Nothing is written before everything was checked: the pages, the versions, the key, and that each target's
    /// record is there and ends where it should.
    ///
    /// # Errors
    /// `LedgerHeld` naming the other process, `LedgerCorrupt`, `LedgerNewer`, `KeyWrong`, `LedgerFull`, `LedgerUnusable`.
    pub fn open(path: &Path, key: &dyn Envelope, holder: &str) -> Result<Self, Fault> {
        let lock = Lock::take(path, holder)?;
        place::ensure(path, key)?;
        let look = || {
            let reading = schema::reader(path)?;
            place::recognise(&reading, path)?;
            place::check_pages(&reading, path)?;
            let seal = place::unlock(&reading, key)?;
            place::check_heads(&reading, seal.as_ref())?;
            lists::check(&reading, seal.as_ref())?;
            notes::check(&reading, seal.as_ref())?;
            if schema::has_deeds(&reading)? {
                deeds::check(&reading, seal.as_ref())?;
            }
            let writing = schema::writer(path)?;
            place::upgrade(&writing, seal.as_ref())?;
            place::try_writing(&writing)?;
            // By now there is a log.
            place::settle(path)?;
            Ok((reading, writing, seal))
        };
        let (reading, writing, seal) = look().map_err(|trouble: Trouble| trouble.told(path))?;
        Ok(Self {
            shared: Arc::new(Shared {
                reader: Reader::over(path, reading, Some(Arc::clone(&seal))),
                writer: Writer::start(writing, lock, path)?,
                seal,
                claimed: Claimed::default(),
            }),
        })
    }

    /// The reading side, with MACs checked.
    pub fn reader(&self) -> &Reader {
        &self.shared.reader
    }

    /// What its transactions took, for as long as it is open.
    pub fn commits(&self) -> Arc<Commits> {
        Arc::clone(self.shared.writer.commits())
    }

    /// Writes down what happened to keywheel itself; durable when this returns.
    ///
    /// # Errors
    /// `LedgerFull`, `LedgerUnusable`, `LedgerCorrupt`.
    pub async fn record(&self, at: Moment, deed: Deed) -> Result<(), Fault> {
        let seal = Arc::clone(&self.shared.seal);
        self.shared.writer.write(move |connection| deeds::append(connection, seal.as_ref(), at, &deed)).await
    }

    /// Wraps the data key under `next` instead of `current`, in one transaction; from then on only `next` opens the ledger. The data key stays, so an
    /// older copy of the file still opens with the older sealing key.
    ///
    /// # Errors
    /// `KeyWrong` when `current` does not open it; `LedgerFull`, `LedgerUnusable`. After an error the current key is still good.
    pub async fn rotate_key(&self, current: &dyn Envelope, next: &dyn Envelope) -> Result<(), Fault> {
        let was: Vec<u8> = self.shared.reader.read(|connection| schema::meta(connection, schema::WRAPPED_KEY)).await?;
        let wrapped = next.wrap(&current.unwrap(&was)?);
        next.unwrap(&wrapped)?;
        self.shared.writer.write(move |connection| record::rewrap(connection, &was, &wrapped)).await
    }
}

#[async_trait]
impl Ledger for SqliteLedger {
    async fn enlist(&self, targets: &[TargetName], now: Moment) -> Result<(), Fault> {
        let named = targets.iter().map(ToString::to_string).collect();
        let seal = Arc::clone(&self.shared.seal);
        self.shared.writer.write(move |connection| record::enlist(connection, seal.as_ref(), &named, now)).await
    }

    /// Leaves out what this process has claimed: those targets are being looked after, and must not take the places of others.
    async fn due(&self, now: Moment, limit: usize) -> Result<Vec<TargetName>, Fault> {
        let claimed = Arc::clone(&self.shared.claimed);
        let is_claimed = move |target: &TargetName| locked(&claimed).contains(target);
        self.shared.reader.due(now, limit, is_claimed).await
    }

    async fn claim(&self, target: &TargetName, _now: Moment) -> Result<Option<Box<dyn Claim>>, Fault> {
        let Some(held) = Held::take(&self.shared.claimed, target) else {
            return Ok(None);
        };
        let name = target.clone();
        let fence = self.shared.writer.write(move |connection| record::claim(connection, &name)).await?;
        Ok(Some(Box::new(SqliteClaim { shared: Arc::clone(&self.shared), held, fence })))
    }

    async fn recent(&self, target: &TargetName) -> Result<Vec<Row>, Fault> {
        self.shared.reader.recent(target).await
    }

    async fn history(&self, target: &TargetName) -> Result<Vec<Row>, Fault> {
        self.shared.reader.history(target).await
    }

    async fn listing(&self) -> Result<Vec<Listing>, Fault> {
        self.shared.reader.listing().await
    }

    async fn password(&self, target: &TargetName, generation: Generation) -> Result<Secret, Fault> {
        self.shared.reader.password(target, generation).await
    }

    async fn keep_list(&self, selection: &TargetName, list: &[Known]) -> Result<(), Fault> {
        let (selection, list, seal) = (selection.clone(), list.to_vec(), Arc::clone(&self.shared.seal));
        self.shared.writer.write(move |connection| lists::keep(connection, seal.as_ref(), &selection, &list)).await
    }

    async fn lists(&self) -> Result<Lists, Fault> {
        self.shared.reader.lists().await
    }

    async fn keep_note(&self, name: &'static str, text: &str) -> Result<(), Fault> {
        let (text, seal) = (text.to_owned(), Arc::clone(&self.shared.seal));
        self.shared.writer.write(move |connection| notes::keep(connection, seal.as_ref(), name, &text)).await
    }

    async fn note(&self, name: &'static str) -> Result<Option<String>, Fault> {
        let seal = Arc::clone(&self.shared.seal);
        self.shared.reader.read(move |connection| notes::read(connection, seal.as_ref(), name)).await
    }
}

struct SqliteClaim {
    shared: Arc<Shared>,
    held: Held,
    fence: Fence,
}

#[async_trait]
impl Claim for SqliteClaim {
    fn fence(&self) -> Fence {
        self.fence
    }

    async fn append(&mut self, entries: &[Entry], projection: &Projection) -> Result<(), Fault> {
        let (target, fence, projection) = (self.held.target.clone(), self.fence, projection.clone());
        let seal = Arc::clone(&self.shared.seal);
        let drafts =
            entries.iter().map(|entry| Draft::of(&target, entry, seal.as_ref())).collect::<Result<Vec<_>, _>>()?;
        self.shared
            .writer
            .write(move |connection| record::append(connection, seal.as_ref(), &target, fence, drafts, &projection))
            .await
    }
}

/// A target's place among those claimed by this process; dropping it gives the target up.
struct Held {
    claimed: Claimed,
    target: TargetName,
}

impl Held {
    fn take(claimed: &Claimed, target: &TargetName) -> Option<Self> {
        locked(claimed).insert(target.clone()).then(|| Self { claimed: Arc::clone(claimed), target: target.clone() })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        locked(&self.claimed).remove(&self.target);
    }
}

fn locked(claimed: &Claimed) -> std::sync::MutexGuard<'_, HashSet<TargetName>> {
    claimed.lock().unwrap_or_else(PoisonError::into_inner)
}
