//! Texts that keywheel keeps for itself, each in one row of `meta` behind its MAC. An older keywheel has none and leaves them alone, so the tables are
//! the same.

use super::schema::Trouble;
use crate::fault::{Fault, Kind};
use crate::ledger::chain::{mac_note, same};
use crate::seal::{MAC_BYTES, Seal};
use rusqlite::{Connection, OptionalExtension, params};

/// What the names of their rows begin with.
const PREFIX: &str = "note:";

/// Replaces one.
pub(super) fn keep(connection: &Connection, seal: &dyn Seal, name: &str, text: &str) -> Result<(), Trouble> {
    let mut value = mac_note(seal, name, text).to_vec();
    value.extend_from_slice(text.as_bytes());
    connection.execute(
        "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
        params![format!("{PREFIX}{name}"), value],
    )?;
    Ok(())
}

/// One of them.
///
/// # Errors
/// `LedgerCorrupt` where somebody else changed it.
pub(super) fn read(connection: &Connection, seal: &dyn Seal, name: &str) -> Result<Option<String>, Trouble> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
    let value: Option<Vec<u8>> = statement.query_row([format!("{PREFIX}{name}")], |row| row.get(0)).optional()?;
    value.map(|value| checked(seal, name, &value)).transpose()
}

/// Checks them all.
///
/// # Errors
/// `LedgerCorrupt`.
pub(super) fn check(connection: &Connection, seal: &dyn Seal) -> Result<(), Trouble> {
    let mut statement = connection.prepare("SELECT name, value FROM meta WHERE name GLOB ?1")?;
    let mut rows = statement.query([format!("{PREFIX}*")])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        checked(seal, name.trim_start_matches(PREFIX), &row.get::<_, Vec<u8>>(1)?)?;
    }
    Ok(())
}

fn checked(seal: &dyn Seal, name: &str, value: &[u8]) -> Result<String, Trouble> {
    let whole = value.split_at_checked(MAC_BYTES).and_then(|(mac, text)| Some((mac, std::str::from_utf8(text).ok()?)));
    match whole {
        Some((mac, text)) if same(&mac_note(seal, name, text), mac) => Ok(text.to_owned()),
        Some(_) | None => {
            let what = format!("what the ledger keeps about {name} was changed by somebody else");
            Err(Fault::new(Kind::LedgerCorrupt, what).into())
        }
    }
}
