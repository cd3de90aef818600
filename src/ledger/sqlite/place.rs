//! The ledger's files: who holds them, how a new one comes into being, and what is checked before one is used.

use super::deeds;
use super::lists;
use super::schema::{self, APPLICATION_ID, EVENT_VERSION, ROSTER, SCHEMA_VERSION, Trouble, WRAPPED_KEY};
use crate::fault::{Fault, Kind};
use crate::ledger::chain::{Head, mac_roster, same};
use crate::ledger::deed::RECORD;
use crate::moment::Moment;
use crate::rotation::event::VERSION;
use crate::seal::{DataKey, Envelope, MAC_BYTES, Seal};
use rusqlite::{Connection, params};
use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most of a lock file that is read, in bytes.
const HOLDER_LIMIT: u64 = 200;

/// The exclusive use of a ledger, by an advisory lock on `<path>.lock`; dropping it, or the end of the process, gives it up. The file stays: removing
/// it would let two processes lock two files of one name.
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// Takes it without waiting, and writes down who holds it.
    ///
    /// # Errors
    /// `LedgerHeld` naming the holder, `LedgerUnusable`, `LedgerFull`.
    pub(super) fn take(ledger: &Path, holder: &str) -> Result<Self, Fault> {
        let path = beside(ledger, ".lock");
        let unusable = |error: io::Error| io_fault(&path, &error);
        let mut file = private_file(&path, OpenOptions::new().read(true).write(true).create(true)).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(ledger, &mut file)),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        file.set_len(0).map_err(unusable)?;
        write!(file, "{holder}, pid {}", std::process::id()).map_err(unusable)?;
        Ok(Self { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone would not do: a child process that has just been forked shares the lock until it runs its program.
        let _ = self.file.unlock();
    }
}

fn held(ledger: &Path, file: &mut File) -> Fault {
    let mut holder = String::new();
    let since = file.metadata().and_then(|metadata| metadata.modified());
    // What cannot be read is not said; that somebody holds it is certain either way.
    let _ = file.take(HOLDER_LIMIT).read_to_string(&mut holder);
    let holder = match (holder.trim(), since) {
        ("", _) => "another process".to_owned(),
        (holder, Ok(since)) => format!("{holder}, since {}", Moment::from(chrono::DateTime::from(since))),
        (holder, Err(_)) => holder.to_owned(),
    };
    Fault::new(Kind::LedgerHeld, format!("the ledger {} is in use by {holder}", ledger.display()))
}

/// Makes a new ledger if there is none. It is built beside its place, flushed, and moved there whole: a ledger that exists is never a half-made one,
/// so an empty or cut file is damage and not a beginning.
///
/// # Errors
/// `LedgerUnusable`, `LedgerFull`; `LedgerCorrupt` where the ledger is gone but its write-ahead log is there.
pub(super) fn ensure(path: &Path, envelope: &dyn Envelope) -> Result<(), Fault> {
    match path.try_exists() {
        Ok(true) => return Ok(()),
        Ok(false) => {}
        Err(error) => return Err(io_fault(path, &error)),
    }
    let orphan = beside(path, "-wal");
    if orphan.exists() {
        return Err(Fault::new(
            Kind::LedgerCorrupt,
            format!("the ledger {} is gone, but its log {} is there", path.display(), orphan.display()),
        ));
    }
    let draft = beside(path, ".new");
    for leftover in ["", "-wal", "-shm", "-journal"] {
        match std::fs::remove_file(beside(&draft, leftover)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_fault(&draft, &error)),
            Ok(()) | Err(_) => {}
        }
    }
    let file = private_file(&draft, OpenOptions::new().write(true).create_new(true))
        .map_err(|error| io_fault(&draft, &error))?;
    fill(&draft, envelope).map_err(|trouble| trouble.told(path))?;
    file.sync_all().and_then(|()| std::fs::rename(&draft, path)).map_err(|error| io_fault(path, &error))?;
    settle(path)
}

/// Brings the names of the ledger's files to the disk. SQLite does so for a log that it has just made, and says nothing when that fails: then
/// commits would be flushed into a file that a power cut takes away as a whole.
///
/// # Errors
/// `LedgerUnusable`, `LedgerFull`.
pub(super) fn settle(path: &Path) -> Result<(), Fault> {
    let folder = folder(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| io_fault(folder, &error))
}

fn fill(draft: &Path, envelope: &dyn Envelope) -> Result<(), Trouble> {
    let data_key = DataKey::draw(&mut rand::rng());
    let seal = envelope.keys(&data_key);
    let roster = mac_roster(seal.as_ref(), std::iter::once(RECORD));
    let connection = schema::writer(draft)?;
    let all = connection.unchecked_transaction()?;
    all.execute_batch(schema::TABLES)?;
    all.execute_batch(schema::LISTS)?;
    let insert = "INSERT INTO meta (name, value) VALUES (?1, ?2)";
    all.execute(insert, params![WRAPPED_KEY, envelope.wrap(&data_key)])?;
    all.execute(insert, params![ROSTER, roster])?;
    all.execute(insert, params![EVENT_VERSION, VERSION])?;
    lists::sign(&all, seal.as_ref())?;
    deeds::begin_anew(&all, seal.as_ref())?;
    all.pragma_update(None, "application_id", APPLICATION_ID)?;
    all.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    all.commit()?;
    // The log is moved into the file here: closing does that too, but says nothing when it fails, and a file without its log would be half a ledger.
    let held_up: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if held_up {
        return Err(Fault::new(Kind::LedgerUnusable, "somebody else uses the ledger that is being made").into());
    }
    connection.close().map_err(|(_, error)| error)?;
    Ok(())
}

/// Makes sure the file is a ledger this keywheel can read.
///
/// # Errors
/// `LedgerCorrupt`, `LedgerNewer`.
pub(super) fn recognise(connection: &Connection, path: &Path) -> Result<(), Trouble> {
    let mark = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let newer = |what: String| {
        Fault::new(Kind::LedgerNewer, format!("the ledger {} was written by a newer keywheel: {what}", path.display()))
    };
    let schema_version = schema::version(connection)?;
    if mark("application_id")? != APPLICATION_ID || schema_version < 1 {
        return Err(Fault::new(
            Kind::LedgerCorrupt,
            format!("{} is not a keywheel ledger, or it was cut short", path.display()),
        )
        .into());
    }
    if schema_version > SCHEMA_VERSION {
        return Err(newer(format!("its tables have version {schema_version}, not {SCHEMA_VERSION}")).into());
    }
    let event_version: i64 = schema::meta(connection, EVENT_VERSION)?;
    if event_version > i64::from(VERSION) {
        return Err(newer(format!("its events have version {event_version}, not {VERSION}")).into());
    }
    Ok(())
}

/// Brings the tables of an older keywheel up to date, in one transaction: what was there stays as it is.
///
/// # Errors
/// `LedgerFull`, `LedgerUnusable`.
pub(super) fn upgrade(connection: &Connection, seal: &dyn Seal) -> Result<(), Trouble> {
    if schema::version(connection)? >= SCHEMA_VERSION {
        return Ok(());
    }
    let all = connection.unchecked_transaction()?;
    if !schema::has_lists(&all)? {
        all.execute_batch(schema::LISTS)?;
        lists::sign(&all, seal)?;
    }
    if !schema::has_deeds(&all)? {
        deeds::begin_anew(&all, seal)?;
    }
    all.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    let names: Vec<String> = all
        .prepare("SELECT target FROM targets ORDER BY target")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let signed = roster(&all, seal, names.iter().map(String::as_str))?;
    all.execute("UPDATE meta SET value = ?2 WHERE name = ?1", params![ROSTER, signed])?;
    all.commit()?;
    Ok(())
}

/// Writes once what is there already, down to the disk: a ledger that can only be read says so now, and not in the middle of a rotation.
///
/// # Errors
/// `LedgerFull`, `LedgerUnusable`.
pub(super) fn try_writing(connection: &Connection) -> Result<(), Trouble> {
    let all = connection.unchecked_transaction()?;
    // SQLite leaves out an update that changes nothing, but not this one.
    all.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    all.commit()?;
    Ok(())
}

/// Opens the data key.
///
/// # Errors
/// `KeyWrong`, `LedgerCorrupt`.
pub(super) fn unlock(connection: &Connection, envelope: &dyn Envelope) -> Result<Arc<dyn Seal>, Trouble> {
    let wrapped: Vec<u8> = schema::meta(connection, WRAPPED_KEY)?;
    Ok(envelope.keys(&envelope.unwrap(&wrapped)?))
}

/// Lets SQLite look at every page.
///
/// # Errors
/// `LedgerCorrupt`.
pub(super) fn check_pages(connection: &Connection, path: &Path) -> Result<(), Trouble> {
    let finding: String = connection.query_one("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if finding == "ok" {
        return Ok(());
    }
    Err(Fault::new(Kind::LedgerCorrupt, format!("the ledger {} has a damaged page: {finding}", path.display())).into())
}

/// Checks that no target is gone, and that each record ends where its head says. What lies between is checked when it is read.
///
/// # Errors
/// `LedgerCorrupt`, naming the target.
pub(super) fn check_heads(connection: &Connection, seal: &dyn Seal) -> Result<(), Trouble> {
    let mut names: Vec<String> = Vec::new();
    let mut statement = connection.prepare(
        "SELECT target, head_seq, head_mac, base_seq, mac,
                (SELECT max(seq) FROM events WHERE events.target = targets.target)
         FROM targets ORDER BY target",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let target: String = row.get(0)?;
        let head = Head { seq: row.get(1)?, last: row.get(2)?, base: row.get(3)? };
        head.check(seal, &target, &row.get::<_, Vec<u8>>(4)?)?;
        let last: u64 = row.get::<_, Option<u64>>(5)?.unwrap_or(0);
        if last != head.seq {
            return Err(Fault::new(
                Kind::LedgerCorrupt,
                format!(
                    "the record of {target} fails its check at event {}: it is {}",
                    last.min(head.seq) + 1,
                    if last < head.seq { "missing" } else { "not ours" }
                ),
            )
            .into());
        }
        names.push(target);
    }
    check_roster(connection, seal, names.iter().map(String::as_str))
}

/// Compares the targets there are with the roster.
///
/// # Errors
/// `LedgerCorrupt`.
pub(super) fn check_roster<'a>(
    connection: &Connection,
    seal: &dyn Seal,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), Trouble> {
    let signed: Vec<u8> = schema::meta(connection, ROSTER)?;
    if same(&roster(connection, seal, names)?, &signed) {
        return Ok(());
    }
    Err(Fault::new(
        Kind::LedgerCorrupt,
        "the ledger's list of targets was changed: the record of a target is gone or was put there, or the ledger passes for an older one",
    )
    .into())
}

/// The MAC over the names of all records: of the targets given (by name), and of keywheel itself, so that a ledger that has that record cannot pass for
/// one of before there was any.
pub(super) fn roster<'a>(
    connection: &Connection,
    seal: &dyn Seal,
    names: impl Iterator<Item = &'a str>,
) -> Result<[u8; MAC_BYTES], Trouble> {
    let own = schema::has_deeds_in_roster(connection)?.then_some(RECORD);
    Ok(mac_roster(seal, own.into_iter().chain(names)))
}

/// `path` with `ending` behind it.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
}

/// A file of mode 0600. Where root makes it in somebody else's folder (a command run beside the service), it belongs to the folder's owner: otherwise
/// the service could never open it again.
fn private_file(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = options.mode(0o600).open(path)?;
    let owner = std::fs::metadata(folder(path))?;
    if rustix::process::geteuid().is_root() && file.metadata()?.uid() != owner.uid() {
        fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(file)
}

fn io_fault(path: &Path, error: &io::Error) -> Fault {
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded].contains(&error.kind());
    let kind = if full { Kind::LedgerFull } else { Kind::LedgerUnusable };
    Fault::new(kind, format!("{}: {error}", path.display()))
}
