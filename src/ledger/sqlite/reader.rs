//! What can be read from a ledger, by its owner or beside it.

use super::deeds;
use super::lists;
use super::notes;
use super::place;
use super::schema::{self, Trouble};
use crate::fault::{Fault, Kind};
use crate::ledger::chain::{Head, ORIGIN, Stored, Walk};
use crate::ledger::deed::DeedRow;
use crate::ledger::known::Lists;
use crate::ledger::{Listing, Projection, Row};
use crate::moment::Moment;
use crate::name::{Generation, TargetName};
use crate::rotation::fold;
use crate::rotation::state::Label;
use crate::seal::{Envelope, Seal};
use crate::secret::Secret;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as NotALabel, StrDeserializer};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Connections that read at the same time.
const READERS: usize = 4;

/// The reading side of a ledger. It takes no lock and writes nothing, so it works beside a running daemon.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    seal: Option<Arc<dyn Seal>>,
    idle: Mutex<Vec<Connection>>,
    turns: Arc<Semaphore>,
}

/// What a look at one target's whole record found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// The target.
    pub target: TargetName,
    /// How many events are as they were written, from the first on.
    pub sound: u64,
    /// What is wrong with the event after those; `None` when the whole record is sound.
    pub broken: Option<Fault>,
}

/// What a look at everything that is no target's found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnAudit {
    /// How many events of keywheel's own record are as they were written, from the first on.
    pub sound: u64,
    /// What is wrong with the event after those.
    pub broken: Option<Fault>,
    /// What else keywheel keeps and somebody else changed: notes, the lists of what selections found, and what targets' rows say of their states.
    pub changed: Vec<Fault>,
}

impl Reader {
    /// Opens a ledger for reading alone; blocks while it does. With a sealing key everything read is checked against its MAC, and passwords can be
    /// opened. **Without one nothing proves that what is read is what keywheel wrote**: only gaps and unreadable texts are noticed.
    ///
    /// # Errors
    /// `LedgerUnusable` (also where there is no ledger), `LedgerCorrupt`, `LedgerNewer`, `KeyWrong`.
    pub fn open(path: &Path, key: Option<&dyn Envelope>) -> Result<Self, Fault> {
        let look = || -> Result<(Connection, Option<Arc<dyn Seal>>), Trouble> {
            let connection = schema::reader(path)?;
            place::recognise(&connection, path)?;
            let seal = key.map(|key| place::unlock(&connection, key)).transpose()?;
            Ok((connection, seal))
        };
        let (connection, seal) = look().map_err(|trouble| trouble.told(path))?;
        Ok(Self::over(path, connection, seal))
    }

    /// The reading side of a ledger that is already open.
    pub(super) fn over(path: &Path, connection: Connection, seal: Option<Arc<dyn Seal>>) -> Self {
        Self {
            shared: Arc::new(Shared {
                path: path.to_owned(),
                seal,
                idle: Mutex::new(vec![connection]),
                turns: Arc::new(Semaphore::new(READERS)),
            }),
        }
    }

    /// As [`crate::ledger::Ledger::recent`].
    ///
    /// # Errors
    /// `LedgerCorrupt`, `LedgerNewer`, `LedgerUnusable`.
    pub async fn recent(&self, target: &TargetName) -> Result<Vec<Row>, Fault> {
        let (target, seal) = (target.clone(), self.shared.seal.clone());
        self.read(move |connection| record(connection, seal.as_deref(), &target, |head| head.base)).await
    }

    /// As [`crate::ledger::Ledger::history`].
    ///
    /// # Errors
    /// As for [`Reader::recent`].
    pub async fn history(&self, target: &TargetName) -> Result<Vec<Row>, Fault> {
        let (target, seal) = (target.clone(), self.shared.seal.clone());
        self.read(move |connection| record(connection, seal.as_deref(), &target, |_| 1)).await
    }

    /// The last events of a target, so many at the most. What lies before them is neither read nor checked.
    ///
    /// # Errors
    /// As for [`Reader::recent`].
    pub async fn lately(&self, target: &TargetName, most: u64) -> Result<Vec<Row>, Fault> {
        let (target, seal) = (target.clone(), self.shared.seal.clone());
        let from = move |head: &Head| (head.seq + 1).saturating_sub(most).max(1);
        self.read(move |connection| record(connection, seal.as_deref(), &target, from)).await
    }

    /// As [`crate::ledger::Ledger::listing`].
    ///
    /// # Errors
    /// `LedgerCorrupt`, `LedgerUnusable`.
    pub async fn listing(&self) -> Result<Vec<Listing>, Fault> {
        self.read(listing).await
    }

    /// As [`crate::ledger::Ledger::password`].
    ///
    /// # Errors
    /// `LedgerCorrupt`, `LedgerUnusable`; `KeyWrong` when this was opened without the sealing key.
    pub async fn password(&self, target: &TargetName, generation: Generation) -> Result<Secret, Fault> {
        let (target, seal) = (target.clone(), self.shared.seal.clone());
        let seal =
            seal.ok_or_else(|| Fault::new(Kind::KeyWrong, "the ledger was opened for reading without its key"))?;
        self.read(move |connection| {
            let sealed: Option<Vec<u8>> = connection
                .prepare_cached("SELECT sealed FROM passwords WHERE target = ?1 AND generation = ?2")?
                .query_row(params![target.as_str(), generation.0], |row| row.get(0))
                .optional()?;
            let missing = || {
                Fault::new(Kind::LedgerCorrupt, format!("password {generation} of {target} is missing from the ledger"))
            };
            Ok(seal.open(&target, generation, &sealed.ok_or_else(missing)?)?)
        })
        .await
    }

    /// As [`crate::ledger::Ledger::lists`]. Every command begins with them, so this one blocks.
    ///
    /// # Errors
    /// `LedgerCorrupt`, `LedgerUnusable`.
    pub fn lists_now(&self) -> Result<Lists, Fault> {
        let seal = self.shared.seal.as_deref();
        self.shared
            .with_connection(|connection| lists::all(connection, seal))
            .map_err(|trouble| trouble.told(&self.shared.path))
    }

    /// As [`crate::ledger::Ledger::lists`].
    pub(super) async fn lists(&self) -> Result<Lists, Fault> {
        let seal = self.shared.seal.clone();
        self.read(move |connection| lists::all(connection, seal.as_deref())).await
    }

    /// Walks every target's whole record, retired targets too, by name. A broken record is a finding and does not end the walk.
    ///
    /// # Errors
    /// `LedgerUnusable`; `LedgerCorrupt` where the list of targets itself was changed or a page cannot be read.
    pub async fn verify_all(&self) -> Result<Vec<Audit>, Fault> {
        let seal = self.shared.seal.clone();
        self.read(move |connection| verify_all(connection, seal.as_deref())).await
    }

    /// The same for everything that is no target's.
    ///
    /// # Errors
    /// As for [`Reader::verify_all`].
    pub async fn verify_own(&self) -> Result<OwnAudit, Fault> {
        let seal = self.shared.seal.clone();
        self.read(move |connection| verify_own(connection, seal.as_deref())).await
    }

    /// What happened to keywheel itself, oldest first.
    ///
    /// # Errors
    /// As for [`Reader::recent`].
    pub async fn deeds(&self) -> Result<Vec<DeedRow>, Fault> {
        let seal = self.shared.seal.clone();
        self.read(move |connection| deeds::all(connection, seal.as_deref())).await
    }

    /// The targets that are due and not among `claimed`.
    pub(super) async fn due(
        &self,
        now: Moment,
        limit: usize,
        claimed: impl Fn(&TargetName) -> bool + Send + 'static,
    ) -> Result<Vec<TargetName>, Fault> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT target FROM targets WHERE retired = 0 AND wake_at <= ?1 ORDER BY wake_at, target",
            )?;
            let mut rows = statement.query([now.millis()])?;
            let mut due = Vec::new();
            while due.len() < limit
                && let Some(row) = rows.next()?
            {
                let target = name(row.get(0)?)?;
                if !claimed(&target) {
                    due.push(target);
                }
            }
            Ok(due)
        })
        .await
    }

    /// Runs this on a connection of its own, on a thread where it may block.
    pub(super) async fn read<T, W>(&self, work: W) -> Result<T, Fault>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, Trouble> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let turn = Arc::clone(&shared.turns)
            .acquire_owned()
            .await
            .map_err(|_| Fault::new(Kind::Stopping, "the ledger is closed"))?;
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            shared.with_connection(work).map_err(|trouble| trouble.told(&shared.path))
        });
        match done.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(Fault::new(Kind::Stopping, "keywheel stops while the ledger is read")),
        }
    }
}

impl Shared {
    fn with_connection<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle().pop();
        let connection = match waiting {
            Some(connection) => connection,
            None => schema::reader(&self.path)?,
        };
        let result = {
            // One state of the ledger for all statements of one piece of work.
            let view = connection.unchecked_transaction()?;
            work(&view)
        };
        idle().push(connection);
        result
    }
}

/// The events of a target from the number that `from` picks.
fn record(
    connection: &Connection,
    seal: Option<&dyn Seal>,
    target: &TargetName,
    from: impl Fn(&Head) -> u64,
) -> Result<Vec<Row>, Trouble> {
    let Some(head) = head(connection, seal, target)? else {
        return Ok(Vec::new());
    };
    let mut events = Vec::new();
    let from = from(&head);
    let mut walk = Walk::new(target, seal, from, begin(connection, target.as_str(), from)?);
    each_event(connection, target.as_str(), from, |stored| {
        events.push(walk.step(stored)?);
        Ok(())
    })?;
    walk.finish(&head)?;
    Ok(events)
}

fn verify_all(connection: &Connection, seal: Option<&dyn Seal>) -> Result<Vec<Audit>, Trouble> {
    let names: Vec<String> = connection
        .prepare("SELECT target FROM targets ORDER BY target")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    if let Some(seal) = seal {
        place::check_roster(connection, seal, names.iter().map(String::as_str))?;
    }
    let mut audits = Vec::new();
    for target in names {
        let target = name(target)?;
        let mut walk = Walk::new(&target, seal, 1, begin(connection, target.as_str(), 1)?);
        let walked = head(connection, seal, &target).and_then(|head| {
            each_event(connection, target.as_str(), 1, |stored| walk.step(stored).map(drop))?;
            Ok(head)
        });
        let sound = walk.next() - 1;
        let finished = walked.and_then(|head| Ok(walk.finish(&head.unwrap_or_else(Head::empty))?));
        let broken = match finished {
            Ok(()) => None,
            Err(Trouble::Fault(fault)) => Some(fault),
            Err(Trouble::Sql(error)) => return Err(error.into()),
        };
        audits.push(Audit { target, sound, broken });
    }
    Ok(audits)
}

fn verify_own(connection: &Connection, seal: Option<&dyn Seal>) -> Result<OwnAudit, Trouble> {
    let (sound, broken) = deeds::audit(connection, seal)?;
    let mut checked = Vec::new();
    if let Some(seal) = seal {
        checked.extend([lists::check(connection, seal), notes::check(connection, seal)]);
    }
    for row in listing(connection)? {
        // A record that is not sound is told of as such.
        if let Ok(rows) = record(connection, seal, &row.target, |head| head.base) {
            checked.push(check_row(&row, &rows));
        }
    }
    let mut changed = Vec::new();
    for checked in checked {
        match checked {
            Ok(()) => {}
            Err(Trouble::Fault(fault)) => changed.push(fault),
            Err(trouble @ Trouble::Sql(_)) => return Err(trouble),
        }
    }
    Ok(OwnAudit { sound, broken, changed })
}

/// What a target's row says of its state is what its events make. When it is looked at next, and why, no event says.
fn check_row(Listing { target, projection }: &Listing, rows: &[Row]) -> Result<(), Trouble> {
    if rows.is_empty() {
        return Ok(());
    }
    let state = fold(rows.iter().map(|row| &row.event))
        .map_err(|illegal| Fault::new(Kind::LedgerCorrupt, format!("target {target}: {illegal}")))?;
    let current = state.standing.current.as_ref().map(|current| current.generation).unwrap_or_default();
    let (made, said) = ((state.label(), current), (projection.label, projection.generation));
    if made == said {
        return Ok(());
    }
    let words = |(label, generation): (Label, Generation)| format!("{} with generation {generation}", label.as_str());
    let what = format!("the row of {target} says {}, and its events make it {}", words(said), words(made));
    Err(Fault::new(Kind::LedgerCorrupt, what).into())
}

/// Where a target's record ends; `None` for one that was never enlisted.
fn head(connection: &Connection, seal: Option<&dyn Seal>, target: &TargetName) -> Result<Option<Head>, Trouble> {
    let found = connection
        .prepare_cached("SELECT head_seq, head_mac, base_seq, mac FROM targets WHERE target = ?1")?
        .query_row([target.as_str()], |row| {
            let head = Head { seq: row.get(0)?, last: row.get(1)?, base: row.get(2)? };
            Ok((head, row.get::<_, Vec<u8>>(3)?))
        })
        .optional()?;
    match (found, seal) {
        (Some((head, mac)), Some(seal)) => {
            head.check(seal, target.as_str(), &mac)?;
            Ok(Some(head))
        }
        (Some((head, _)), None) => Ok(Some(head)),
        (None, _) => Ok(None),
    }
}

/// The MAC of the event before `from`, behind which a walk begins.
pub(super) fn begin(connection: &Connection, record: &str, from: u64) -> Result<Vec<u8>, Trouble> {
    let previous: Option<Vec<u8>> = connection
        .prepare_cached("SELECT mac FROM events WHERE target = ?1 AND seq = ?2")?
        .query_row(params![record, from.saturating_sub(1)], |row| row.get(0))
        .optional()?;
    Ok(previous.unwrap_or_else(|| ORIGIN.to_vec()))
}

pub(super) fn each_event(
    connection: &Connection,
    record: &str,
    from: u64,
    mut visit: impl FnMut(Stored) -> Result<(), Fault>,
) -> Result<(), Trouble> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, at, rotation, version, body, brought, sealed, mac
         FROM events LEFT JOIN passwords
              ON passwords.target = events.target AND passwords.generation = events.brought
         WHERE events.target = ?1 AND seq >= ?2 ORDER BY seq",
    )?;
    let mut rows = statement.query(params![record, from])?;
    while let Some(row) = rows.next()? {
        let brought: Option<u64> = row.get(5)?;
        let sealed: Option<Vec<u8>> = row.get(6)?;
        visit(Stored {
            seq: row.get(0)?,
            at: Moment::from_millis(row.get(1)?),
            rotation: row.get(2)?,
            version: row.get(3)?,
            body: row.get(4)?,
            brought: brought.map(|generation| (Generation(generation), sealed)),
            mac: row.get(7)?,
        })?;
    }
    Ok(())
}

fn listing(connection: &Connection) -> Result<Vec<Listing>, Trouble> {
    let mut statement = connection
        .prepare_cached("SELECT target, wake_at, label, why, generation, holds FROM targets ORDER BY target")?;
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let target = name(row.get(0)?)?;
        let text: String = row.get(2)?;
        let word: StrDeserializer<'_, NotALabel> = text.as_str().into_deserializer();
        let label = Label::deserialize(word).map_err(|_| unreadable(target.as_str(), "state"))?;
        all.push(Listing {
            projection: Projection {
                wake_at: Moment::from_millis(row.get(1)?),
                label,
                why: row.get(3)?,
                generation: Generation(row.get(4)?),
                holds: row.get(5)?,
            },
            target,
        });
    }
    Ok(all)
}

fn name(text: String) -> Result<TargetName, Fault> {
    TargetName::try_from(text).map_err(|bad| unreadable(&bad.name, "name"))
}

fn unreadable(target: &str, what: &str) -> Fault {
    Fault::new(Kind::LedgerCorrupt, format!("the row of target {target:?} has a {what} that keywheel does not write"))
}
