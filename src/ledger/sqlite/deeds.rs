//! The record of keywheel itself. Its rows stand among the events, under a name that no target has; where it ends stands in `meta`, behind its MAC.

use super::reader::{begin, each_event};
use super::schema::{self, DEEDS, Trouble};
use crate::fault::{Fault, Kind};
use crate::ledger::chain::{Head, Stored, Walk};
use crate::ledger::deed::{Deed, DeedRow, RECORD, VERSION};
use crate::moment::Moment;
use crate::seal::{MAC_BYTES, Seal};
use rusqlite::{Connection, params};

/// A number in bytes.
const NUMBER: usize = 8;

/// Marks the end of a record without deeds.
pub(super) fn begin_anew(connection: &Connection, seal: &dyn Seal) -> Result<(), Trouble> {
    mark(connection, seal, &Head::empty())
}

/// Writes one down.
///
/// # Errors
/// `LedgerCorrupt` where the record's end was changed.
pub(super) fn append(connection: &Connection, seal: &dyn Seal, at: Moment, deed: &Deed) -> Result<(), Trouble> {
    let before = head(connection, Some(seal))?;
    let body = serde_json::to_string(deed)
        .map_err(|error| Fault::new(Kind::Bug, format!("what keywheel did cannot be written: {error}")))?;
    let (seq, mac) = (before.seq + 1, Vec::new());
    let mut stored = Stored { seq, at, rotation: None, version: VERSION, body, brought: None, mac };
    stored.mac = stored.chained(seal, RECORD, &before.last).to_vec();
    connection
        .prepare_cached("INSERT INTO events (target, seq, at, version, body, mac) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![RECORD, stored.seq, stored.at.millis(), stored.version, stored.body, stored.mac])?;
    mark(connection, seal, &Head { seq, last: stored.mac, ..Head::empty() })
}

/// Checks that the record ends where its mark says. What lies before is checked when it is read.
///
/// # Errors
/// `LedgerCorrupt`.
pub(super) fn check(connection: &Connection, seal: &dyn Seal) -> Result<(), Trouble> {
    let head = head(connection, Some(seal))?;
    let last: Option<u64> =
        connection.query_one("SELECT max(seq) FROM events WHERE target = ?1", [RECORD], |row| row.get(0))?;
    match last.unwrap_or(0) {
        last if last < head.seq => Err(broken(last + 1, "it is missing").into()),
        last if last > head.seq => Err(broken(head.seq + 1, "it is not ours").into()),
        _ => Ok(()),
    }
}

/// All of them.
///
/// # Errors
/// `LedgerCorrupt`, `LedgerNewer`.
pub(super) fn all(connection: &Connection, seal: Option<&dyn Seal>) -> Result<Vec<DeedRow>, Trouble> {
    let mut deeds = Vec::new();
    let (_, walked) = walk(connection, seal, |row| deeds.push(row))?;
    walked?;
    Ok(deeds)
}

/// How many are as they were written, from the first on, and what is wrong with the one after those.
pub(super) fn audit(connection: &Connection, seal: Option<&dyn Seal>) -> Result<(u64, Option<Fault>), Trouble> {
    let (sound, walked) = walk(connection, seal, drop)?;
    match walked {
        Ok(()) => Ok((sound, None)),
        Err(Trouble::Fault(fault)) => Ok((sound, Some(fault))),
        Err(trouble @ Trouble::Sql(_)) => Err(trouble),
    }
}

fn walk(
    connection: &Connection,
    seal: Option<&dyn Seal>,
    mut visit: impl FnMut(DeedRow),
) -> Result<(u64, Result<(), Trouble>), Trouble> {
    if !schema::has_deeds(connection)? {
        return Ok((0, Ok(())));
    }
    let mut walk = Walk::of(RECORD, seal, 1, begin(connection, RECORD, 1)?);
    let walked = each_event(connection, RECORD, 1, |stored| {
        visit(walk.deed(stored)?);
        Ok(())
    });
    let sound = walk.next() - 1;
    let ended = walked.and_then(|()| Ok(walk.finish(&head(connection, seal)?)?));
    Ok((sound, ended))
}

/// Where the record ends. An empty mark where the tables are older than it.
fn head(connection: &Connection, seal: Option<&dyn Seal>) -> Result<Head, Trouble> {
    let unreadable = || broken(1, "the mark of the record's end is not there or cannot be read");
    let found: Vec<u8> = schema::meta(connection, DEEDS).map_err(|trouble| match trouble {
        Trouble::Sql(rusqlite::Error::QueryReturnedNoRows) => unreadable().into(),
        other @ (Trouble::Sql(_) | Trouble::Fault(_)) => other,
    })?;
    let (mac, rest) = found.split_at_checked(MAC_BYTES).ok_or_else(unreadable)?;
    let (seq, last) = rest.split_at_checked(NUMBER).ok_or_else(unreadable)?;
    let seq = u64::from_be_bytes(seq.try_into().map_err(|_| unreadable())?);
    let head = Head { seq, last: last.to_vec(), ..Head::empty() };
    if let Some(seal) = seal {
        head.check(seal, RECORD, mac)?;
    }
    Ok(head)
}

fn mark(connection: &Connection, seal: &dyn Seal, head: &Head) -> Result<(), Trouble> {
    let value = [&head.mac(seal, RECORD)[..], &head.seq.to_be_bytes(), &head.last].concat();
    connection
        .prepare_cached("INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2")?
        .execute(params![DEEDS, value])?;
    Ok(())
}

fn broken(seq: u64, why: &str) -> Fault {
    Fault::new(Kind::LedgerCorrupt, format!("the record of {RECORD} fails its check at event {seq}: {why}"))
}
