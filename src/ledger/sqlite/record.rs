//! What the writing thread does in its transactions.

use super::place::{check_roster, roster};
use super::schema::{ROSTER, Trouble, WRAPPED_KEY};
use crate::fault::{Fault, Kind};
use crate::ledger::chain::{Head, Stored};
use crate::ledger::{Entry, Projection};
use crate::moment::Moment;
use crate::name::{Fence, Generation, TargetName};
use crate::rotation::event::{VERSION, What};
use crate::rotation::state::Label;
use crate::seal::Seal;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;

/// Why a target that is new waits.
const NEW: &str = "new here: its password is still to be adopted";
/// Why a target that is no longer named sleeps.
const RETIRED: &str = "no longer named in the configuration";
/// Why a target that is named again is looked at.
const RECALLED: &str = "named in the configuration again";

/// An entry, ready to be written: its text made and its password sealed outside the writing thread.
pub(super) struct Draft {
    at: Moment,
    rotation: Option<String>,
    body: String,
    settles: bool,
    password: Option<(Generation, Vec<u8>)>,
}

impl Draft {
    /// Prepares an entry of `target`.
    ///
    /// # Errors
    /// `Bug` when an event has no text form.
    pub(super) fn of(target: &TargetName, entry: &Entry, seal: &dyn Seal) -> Result<Self, Fault> {
        Ok(Self {
            at: entry.event.at,
            rotation: entry.rotation.map(|id| id.to_string()),
            body: serde_json::to_string(&entry.event.what)
                .map_err(|error| Fault::new(Kind::Bug, format!("an event of {target} cannot be written: {error}")))?,
            settles: matches!(entry.event.what, What::Settled { .. }),
            password: entry
                .password
                .as_ref()
                .map(|(generation, password)| (*generation, seal.seal(target, *generation, password))),
        })
    }
}

/// Gives each named target a row, puts the others to sleep, and signs the new list.
pub(super) fn enlist(
    connection: &Connection,
    seal: &dyn Seal,
    named: &BTreeSet<String>,
    now: Moment,
) -> Result<(), Trouble> {
    let known: Vec<(String, bool)> = connection
        .prepare("SELECT target, retired FROM targets ORDER BY target")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    check_roster(connection, seal, known.iter().map(|(target, _)| target.as_str()))?;

    // A target that is no longer driven makes no call, so its hold on the instance ends too.
    let mut retire = connection.prepare(
        "UPDATE targets SET retired = 1, wake_at = ?2, why = ?3, holds = NULL WHERE target = ?1 AND retired = 0",
    )?;
    let mut recall = connection.prepare("UPDATE targets SET retired = 0, wake_at = ?2, why = ?3 WHERE target = ?1")?;
    for (target, retired) in &known {
        match (named.contains(target), retired) {
            (false, false) => {
                retire.execute(params![target, Moment::NEVER.millis(), RETIRED])?;
            }
            (true, true) => {
                recall.execute(params![target, now.millis(), RECALLED])?;
            }
            (false, true) | (true, false) => {}
        }
    }

    let mut all: BTreeSet<&str> = known.iter().map(|(target, _)| target.as_str()).collect();
    let head = Head::empty();
    let mut insert = connection.prepare(
        "INSERT INTO targets (target, wake_at, label, why, generation, head_seq, head_mac, base_seq, mac)
         VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6, ?7, ?8)",
    )?;
    let before = all.len();
    for target in named {
        if all.insert(target) {
            let mac = head.mac(seal, target);
            insert.execute(params![
                target,
                now.millis(),
                Label::Due.as_str(),
                NEW,
                head.seq,
                head.last,
                head.base,
                mac
            ])?;
        }
    }
    if all.len() > before {
        let signed = roster(connection, seal, all.into_iter())?;
        connection.execute("UPDATE meta SET value = ?2 WHERE name = ?1", params![ROSTER, signed])?;
    }
    Ok(())
}

/// The next fencing number of a target.
pub(super) fn claim(connection: &Connection, target: &TargetName) -> Result<Fence, Trouble> {
    connection
        .prepare_cached("UPDATE targets SET fence = fence + 1 WHERE target = ?1 RETURNING fence")?
        .query_row([target.as_str()], |row| row.get(0))
        .optional()?
        .map(Fence)
        .ok_or_else(|| unknown(target))
}

/// Appends to a target's record and replaces its projection.
pub(super) fn append(
    connection: &Connection,
    seal: &dyn Seal,
    target: &TargetName,
    fence: Fence,
    drafts: Vec<Draft>,
    projection: &Projection,
) -> Result<(), Trouble> {
    let mut head = head_for(connection, seal, target, fence)?;
    for draft in drafts {
        head = insert(connection, seal, target, head, draft)?;
    }
    let updated = connection
        .prepare_cached(
            // A turn that was under way when its target was taken out of the configuration does not wake it again, nor keep its instance.
            "UPDATE targets SET wake_at = iif(retired, wake_at, ?2), label = ?3, why = iif(retired, why, ?4), generation = ?5,
                                holds = iif(retired, NULL, ?6), head_seq = ?7, head_mac = ?8, base_seq = ?9, mac = ?10
             WHERE target = ?1",
        )?
        .execute(params![
            target.as_str(),
            projection.wake_at.millis(),
            projection.label.as_str(),
            projection.why,
            projection.generation.0,
            projection.holds,
            head.seq,
            head.last,
            head.base,
            head.mac(seal, target.as_str()),
        ]);
    match updated {
        Ok(_) => Ok(()),
        Err(error) if is_duplicate(&error) => Err(overlapping(connection, projection, error)?),
        Err(error) => Err(error.into()),
    }
}

/// The head that this claim may move on.
fn head_for(connection: &Connection, seal: &dyn Seal, target: &TargetName, fence: Fence) -> Result<Head, Trouble> {
    let found = connection
        .prepare_cached("SELECT fence, head_seq, head_mac, base_seq, mac FROM targets WHERE target = ?1")?
        .query_row([target.as_str()], |row| {
            let head = Head { seq: row.get(1)?, last: row.get(2)?, base: row.get(3)? };
            Ok((Fence(row.get(0)?), head, row.get::<_, Vec<u8>>(4)?))
        })
        .optional()?;
    let (newest, head, mac) = found.ok_or_else(|| unknown(target))?;
    if newest != fence {
        return Err(Fault::new(
            Kind::ClaimLost,
            format!("{target} was claimed again: ours is number {}, the newest {}", fence.0, newest.0),
        )
        .into());
    }
    head.check(seal, target.as_str(), &mac)?;
    Ok(head)
}

/// Writes one event and its password; the head after it.
fn insert(
    connection: &Connection,
    seal: &dyn Seal,
    target: &TargetName,
    head: Head,
    draft: Draft,
) -> Result<Head, Trouble> {
    let mut stored = Stored {
        seq: head.seq + 1,
        at: draft.at,
        rotation: draft.rotation,
        version: VERSION,
        body: draft.body,
        brought: draft.password.map(|(generation, sealed)| (generation, Some(sealed))),
        mac: Vec::new(),
    };
    stored.mac = stored.chained(seal, target.as_str(), &head.last).to_vec();
    if let Some((generation, sealed)) = &stored.brought {
        let kept = connection
            .prepare_cached("INSERT INTO passwords (target, generation, sealed) VALUES (?1, ?2, ?3)")?
            .execute(params![target.as_str(), generation.0, sealed]);
        match kept {
            Ok(_) => {}
            // A password is never overwritten, whatever a caller believes.
            Err(error) if is_duplicate(&error) => {
                return Err(Fault::new(
                    Kind::Bug,
                    format!("generation {generation} of {target} has a password already"),
                )
                .into());
            }
            Err(error) => return Err(error.into()),
        }
    }
    connection
        .prepare_cached(
            "INSERT INTO events (target, seq, at, rotation, version, body, brought, mac)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            target.as_str(),
            stored.seq,
            stored.at.millis(),
            stored.rotation,
            stored.version,
            stored.body,
            stored.brought.as_ref().map(|(generation, _)| generation.0),
            stored.mac,
        ])?;
    Ok(Head { seq: stored.seq, base: if draft.settles { stored.seq } else { head.base }, last: stored.mac })
}

/// Replaces the wrapped data key, if it is still the one that was read.
pub(super) fn rewrap(connection: &Connection, was: &[u8], wrapped: &[u8]) -> Result<(), Trouble> {
    let changed = connection
        .execute("UPDATE meta SET value = ?3 WHERE name = ?1 AND value = ?2", params![WRAPPED_KEY, was, wrapped])?;
    if changed == 1 {
        Ok(())
    } else {
        Err(Fault::new(Kind::KeyWrong, "the sealing key was changed by somebody else meanwhile").into())
    }
}

fn is_duplicate(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation)
}

fn overlapping(
    connection: &Connection,
    projection: &Projection,
    error: rusqlite::Error,
) -> Result<Trouble, rusqlite::Error> {
    let holder: Option<String> = connection
        .query_row("SELECT target FROM targets WHERE holds = ?1", [&projection.holds], |row| row.get(0))
        .optional()?;
    Ok(match (holder, &projection.holds) {
        (Some(holder), Some(instance)) => {
            Fault::new(Kind::Busy, format!("instance {instance} is in a rotation of target {holder}"))
                .advise("nothing; keywheel tries again when that rotation has ended")
                .into()
        }
        (None, _) | (_, None) => error.into(),
    })
}

fn unknown(target: &TargetName) -> Trouble {
    Fault::new(Kind::Bug, format!("{target} has no row in the ledger: it was never enlisted")).into()
}
