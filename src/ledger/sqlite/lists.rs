//! The lists of what selections found. One MAC covers all of them, so that a changed, missing or added one is noticed.

use super::schema::{self, FOUND, Trouble};
use crate::fault::{Fault, Kind};
use crate::ledger::chain::{mac_lists, same};
use crate::ledger::known::{Known, Lists};
use crate::name::TargetName;
use crate::seal::Seal;
use rusqlite::{Connection, params};

type Texts = Vec<(String, String)>;

/// Replaces one list, and signs them all.
///
/// # Errors
/// `LedgerCorrupt` where they were changed meanwhile.
pub(super) fn keep(
    connection: &Connection,
    seal: &dyn Seal,
    selection: &TargetName,
    list: &[Known],
) -> Result<(), Trouble> {
    check(connection, seal)?;
    let text = serde_json::to_string(list)
        .map_err(|error| Fault::new(Kind::Bug, format!("the list of {selection} cannot be written: {error}")))?;
    connection.execute(
        "INSERT INTO found (selection, list) VALUES (?1, ?2) ON CONFLICT (selection) DO UPDATE SET list = ?2",
        params![selection.as_str(), text],
    )?;
    sign(connection, seal)
}

/// Writes down the MAC of what is there.
pub(super) fn sign(connection: &Connection, seal: &dyn Seal) -> Result<(), Trouble> {
    connection.execute(
        "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
        params![FOUND, mac(seal, &texts(connection)?)],
    )?;
    Ok(())
}

/// Checks the lists as a whole.
///
/// # Errors
/// `LedgerCorrupt`.
pub(super) fn check(connection: &Connection, seal: &dyn Seal) -> Result<(), Trouble> {
    checked(connection, Some(seal)).map(drop)
}

/// All lists; none where the tables are older than selections. Without a key nothing proves that keywheel wrote them.
///
/// # Errors
/// `LedgerCorrupt`.
pub(super) fn all(connection: &Connection, seal: Option<&dyn Seal>) -> Result<Lists, Trouble> {
    let unreadable = |selection: &str| {
        Fault::new(Kind::LedgerCorrupt, format!("the list of selection {selection:?} in the ledger cannot be read"))
    };
    let mut lists = Lists::new();
    for (selection, text) in checked(connection, seal)? {
        let list = serde_json::from_str(&text).map_err(|_| unreadable(&selection))?;
        lists.insert(TargetName::try_from(selection).map_err(|bad| unreadable(&bad.name))?, list);
    }
    Ok(lists)
}

fn checked(connection: &Connection, seal: Option<&dyn Seal>) -> Result<Texts, Trouble> {
    if !schema::has_lists(connection)? {
        return Ok(Texts::new());
    }
    let texts = texts(connection)?;
    if let Some(seal) = seal {
        let kept: Vec<u8> = schema::meta(connection, FOUND)?;
        if !same(&mac(seal, &texts), &kept) {
            return Err(Fault::new(
                Kind::LedgerCorrupt,
                "the ledger's lists of what selections found were changed by somebody else",
            )
            .into());
        }
    }
    Ok(texts)
}

fn texts(connection: &Connection) -> Result<Texts, Trouble> {
    let mut statement = connection.prepare_cached("SELECT selection, list FROM found ORDER BY selection")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn mac(seal: &dyn Seal, texts: &Texts) -> [u8; crate::seal::MAC_BYTES] {
    mac_lists(seal, texts.iter().map(|(selection, list)| (selection.as_str(), list.as_str())))
}
