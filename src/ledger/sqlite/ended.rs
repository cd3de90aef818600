//! When rotations ended, and how: to be counted and shown. It is read off the words of the events and not checked against their MACs, which would take
//! a look at every event of a month; nothing is decided by it, and `audit verify` checks.

use super::reader::Reader;
use super::schema::Trouble;
use crate::fault::Fault;
use crate::moment::Moment;
use crate::name::TargetName;
use rusqlite::{Connection, params};

/// Targets whose events are read on one view of the ledger: one that is kept for long keeps its log from being cleared.
const AT_ONCE: usize = 200;

/// The most events of one target that are looked through. One that is verified every hour has some 700 in a month.
const EVENTS: usize = 5_000;

/// How a rotation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// When.
    pub at: Moment,
    /// Whether it settled; otherwise it changed nothing, or a person was needed.
    pub well: bool,
}

/// What is sought of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sought {
    /// Whose.
    pub target: TargetName,
    /// Events up to this one were looked through.
    pub after: u64,
}

impl Reader {
    /// The rotations of these targets that ended at `since` or later, in no order; `after` moves to what was looked at.
    ///
    /// # Errors
    /// `LedgerUnusable`.
    pub async fn ended(&self, sought: &mut [Sought], since: Moment) -> Result<Vec<Ended>, Fault> {
        let mut all = Vec::new();
        for some in sought.chunks_mut(AT_ONCE) {
            let mut asked = some.to_vec();
            let (asked, found) = self
                .read(move |connection| {
                    let mut found = Vec::new();
                    for one in &mut asked {
                        look_through(connection, one, since, &mut found)?;
                    }
                    Ok((asked, found))
                })
                .await?;
            some.clone_from_slice(&asked);
            all.extend(found);
        }
        Ok(all)
    }
}

/// From the newest event back, as far as it matters.
fn look_through(
    connection: &Connection,
    sought: &mut Sought,
    since: Moment,
    found: &mut Vec<Ended>,
) -> Result<(), Trouble> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, at, substr(body, 1, 24), rotation IS NOT NULL FROM events WHERE target = ?1 AND seq > ?2 ORDER BY seq DESC",
    )?;
    let mut rows = statement.query(params![sought.target.as_str(), sought.after])?;
    let mut looked_at = 0;
    while let Some(row) = rows.next()?.filter(|_| looked_at < EVENTS) {
        let at = Moment::from_millis(row.get(1)?);
        if looked_at == 0 {
            sought.after = row.get(0)?;
        }
        looked_at += 1;
        if at < since {
            break;
        }
        let words: String = row.get(2)?;
        let in_rotation: bool = row.get(3)?;
        found.extend(how(&words).filter(|_| in_rotation).map(|well| Ended { at, well }));
    }
    Ok(())
}

fn how(words: &str) -> Option<bool> {
    ended_well(words.strip_prefix("{\"event\":\"")?.split('"').next()?)
}

/// Whether a rotation ended well with an event of this label; `None` where none ended.
pub fn ended_well(label: &str) -> Option<bool> {
    match label {
        "settled" => Some(true),
        "abandoned" | "halted" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Kind;
    use crate::rotation::event::What;
    use crate::rotation::state::Standing;

    #[test]
    fn ends_are_known_by_the_words_that_are_written() {
        let fault = || Fault::new(Kind::Bug, "words").advise("more words");
        for (what, well) in [
            (What::Settled { standing: Box::new(Standing::default()) }, Some(true)),
            (What::Abandoned { fault: fault() }, Some(false)),
            (What::Halted { fault: fault() }, Some(false)),
            (What::ProofFailed, None),
            (What::Asked { by: crate::rotation::event::By::Schedule, reason: Some("settled".to_owned()) }, None),
        ] {
            let body = serde_json::to_string(&what).unwrap();
            let first: String = body.chars().take(24).collect();
            assert_eq!(how(&first), well, "{body}");
        }
        assert_eq!(how(""), None);
    }
}
