//! The tables, the settings of a connection, and what SQLite's errors mean to us.

use crate::fault::{Fault, Kind};
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};
use std::path::Path;
use std::time::Duration;

/// Marks a database as ours: "kwhl".
pub(super) const APPLICATION_ID: i64 = 0x6b77_686c;

/// The version of the tables below. Version 1 had no lists of what selections found, version 2 no record of keywheel itself, and in version 3 that record
/// did not stand in the roster.
pub(super) const SCHEMA_VERSION: i64 = 4;

/// The first version with lists.
const WITH_LISTS: i64 = 2;

/// The first version with a record of keywheel itself.
const WITH_DEEDS: i64 = 3;

/// The first version whose roster names that record.
const WITH_DEEDS_IN_ROSTER: i64 = 4;

/// How long a statement waits for a lock of another connection.
const BUSY_PATIENCE: Duration = Duration::from_secs(5);

/// The longest the write-ahead log may stay after a checkpoint, in bytes.
const LOG_BYTES: i64 = 16 << 20;

/// Page cache of one connection, in KiB (negative is how SQLite takes KiB).
const CACHE_KIB: i64 = -512;

/// Names in `meta`.
pub(super) const WRAPPED_KEY: &str = "wrapped-key";
pub(super) const ROSTER: &str = "roster";
pub(super) const EVENT_VERSION: &str = "event-version";
pub(super) const FOUND: &str = "found";
pub(super) const DEEDS: &str = "deeds";

/// Sealed passwords stand in their own table, so that a changed projection does not rewrite them; events and passwords are clustered by target, so that
/// folding one target reads neighbouring pages.
pub(super) const TABLES: &str = "
CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE targets (
    target     TEXT NOT NULL PRIMARY KEY,
    retired    INTEGER NOT NULL DEFAULT 0,
    wake_at    INTEGER NOT NULL,
    label      TEXT NOT NULL,
    why        TEXT NOT NULL,
    generation INTEGER NOT NULL,
    holds      TEXT,
    fence      INTEGER NOT NULL DEFAULT 0,
    head_seq   INTEGER NOT NULL,
    head_mac   BLOB NOT NULL,
    base_seq   INTEGER NOT NULL,
    mac        BLOB NOT NULL
) STRICT;
CREATE INDEX targets_by_wake ON targets (wake_at, target) WHERE retired = 0;
CREATE UNIQUE INDEX targets_by_hold ON targets (holds) WHERE holds IS NOT NULL;

CREATE TABLE events (
    target   TEXT NOT NULL,
    seq      INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    rotation TEXT,
    version  INTEGER NOT NULL,
    body     TEXT NOT NULL,
    brought  INTEGER,
    mac      BLOB NOT NULL,
    PRIMARY KEY (target, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE passwords (
    target     TEXT NOT NULL,
    generation INTEGER NOT NULL,
    sealed     BLOB NOT NULL,
    PRIMARY KEY (target, generation)
) STRICT, WITHOUT ROWID;
";

/// What version 2 added: what each selection found, as JSON.
pub(super) const LISTS: &str = "
CREATE TABLE found (
    selection TEXT NOT NULL PRIMARY KEY,
    list      TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// The version of a ledger's tables.
pub(super) fn version(connection: &Connection) -> Result<i64, Trouble> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

/// Whether the tables are new enough to hold lists.
pub(super) fn has_lists(connection: &Connection) -> Result<bool, Trouble> {
    Ok(version(connection)? >= WITH_LISTS)
}

/// Whether they are new enough to hold the record of keywheel itself.
pub(super) fn has_deeds(connection: &Connection) -> Result<bool, Trouble> {
    Ok(version(connection)? >= WITH_DEEDS)
}

/// Whether the roster names that record.
pub(super) fn has_deeds_in_roster(connection: &Connection) -> Result<bool, Trouble> {
    Ok(version(connection)? >= WITH_DEEDS_IN_ROSTER)
}

/// A connection that reads and never writes.
pub(super) fn reader(path: &Path) -> Result<Connection, Trouble> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// The one connection that writes.
pub(super) fn writer(path: &Path) -> Result<Connection, Trouble> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Fault::new(
            Kind::LedgerUnusable,
            "the ledger's file system offers no write-ahead log (no shared memory there)",
        )
        .advise("put the ledger on a local disk")
        .into());
    }
    // FULL: a commit is on disk before it is answered. NORMAL would lose the last ones on a power cut.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    // What is replaced is overwritten, not only unlinked: a wrapped key that was rotated out, above all.
    connection.pragma_update(None, "secure_delete", true)?;
    Ok(connection)
}

fn connect(path: &Path, mode: OpenFlags) -> Result<Connection, Trouble> {
    let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_PATIENCE)?;
    // Never mapped: a page that goes bad or a file that shrinks must be an error, not a signal.
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "cache_size", CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

/// One value of `meta`.
pub(super) fn meta<T: rusqlite::types::FromSql>(connection: &Connection, name: &str) -> Result<T, Trouble> {
    Ok(connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?.query_one([name], |row| row.get(0))?)
}

/// Something that went wrong inside: SQLite's own error until it is told with the ledger's path, or a fault that is complete.
#[derive(Debug)]
pub(super) enum Trouble {
    /// From SQLite.
    Sql(rusqlite::Error),
    /// From us.
    Fault(Fault),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Trouble {
    /// The fault it is, naming the ledger.
    pub(super) fn told(self, path: &Path) -> Fault {
        match self {
            Self::Fault(fault) => fault,
            Self::Sql(error) => Fault::new(kind(&error), format!("the ledger {}: {error}", path.display())),
        }
    }
}

fn kind(error: &rusqlite::Error) -> Kind {
    let Some(failure) = error.sqlite_error() else {
        // A value of another type, out of range or absent: a row we did not write.
        return Kind::LedgerCorrupt;
    };
    // The disk is full for the log, or for the shared-memory file that has to grow.
    let full = failure.code == ErrorCode::DiskFull || failure.extended_code == ffi::SQLITE_IOERR_SHMSIZE;
    // `Unknown` is "no such table" or column: our statements are right, so the tables are not.
    let damaged = [ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase, ErrorCode::TypeMismatch, ErrorCode::Unknown];
    if full {
        Kind::LedgerFull
    } else if damaged.contains(&failure.code) {
        Kind::LedgerCorrupt
    } else {
        Kind::LedgerUnusable
    }
}
