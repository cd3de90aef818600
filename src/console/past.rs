//! How rotations ended lately, counted from what the ledger has. Each look reads only what is new.

use super::figures::{Figures, View};
use crate::fault::Fault;
use crate::ledger::sqlite::{Reader, Sought};
use crate::moment::Moment;
use crate::name::TargetName;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Counts are kept for each quarter of an hour, in milliseconds: every zone's days begin with one.
const QUARTER: i64 = 900_000;

/// What is known of the past.
#[derive(Default)]
pub struct Past {
    /// What a target looked like when its events were looked through, and up to which.
    known: HashMap<TargetName, (Arc<Figures>, u64)>,
    /// Settled and failed, by the number of the quarter.
    quarters: BTreeMap<i64, (usize, usize)>,
}

impl Past {
    /// Reads what is new of these targets, and forgets what was before `since`.
    ///
    /// # Errors
    /// When the ledger cannot be read; what was known stays.
    pub async fn read(&mut self, reader: &Reader, view: &View, since: Moment) -> Result<(), Fault> {
        let mut sought = Vec::new();
        for (target, figures) in &view.targets {
            let known = self.known.get(target);
            // A target that looks as it did has no new events.
            if known.is_none_or(|(then, _)| !Arc::ptr_eq(then, figures)) {
                sought.push(Sought { target: target.clone(), after: known.map_or(0, |(_, after)| *after) });
            }
        }
        let ended = reader.ended(&mut sought, since).await?;
        for Sought { target, after } in sought {
            if let Some(figures) = view.targets.get(&target) {
                self.known.insert(target, (Arc::clone(figures), after));
            }
        }
        for end in ended {
            self.add(end.at, end.well);
        }
        self.quarters = self.quarters.split_off(&since.millis().div_euclid(QUARTER));
        Ok(())
    }

    /// Counts one that ended then.
    pub fn add(&mut self, at: Moment, well: bool) {
        let (settled, failed) = self.quarters.entry(at.millis().div_euclid(QUARTER)).or_default();
        *if well { settled } else { failed } += 1;
    }

    /// When, how many settled, and how many failed.
    pub fn counts(&self) -> impl Iterator<Item = (Moment, usize, usize)> + '_ {
        self.quarters
            .iter()
            .map(|(quarter, (settled, failed))| (Moment::from_millis(quarter * QUARTER), *settled, *failed))
    }
}
