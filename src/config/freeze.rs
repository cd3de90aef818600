//! `[freezes.NAME]`: dates on which nothing begins by itself.

use super::daemon::zone;
use super::finding::suggestion;
use super::reading::{Section, refusal};
use crate::name::{FreezeName, TargetName};
use crate::schedule::Freeze;
use chrono_tz::Tz;

/// A freeze, and whom it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freezing {
    /// The dates.
    pub freeze: Freeze,
    /// These targets and selections; `None` = all.
    pub targets: Option<Vec<TargetName>>,
}

impl Freezing {
    /// Whether it is for this target, or for the selection that found it.
    pub fn is_for(&self, target: &TargetName, selected_by: Option<&TargetName>) -> bool {
        let Some(named) = &self.targets else { return true };
        named.iter().any(|name| name == target || Some(name) == selected_by)
    }
}

/// `targets` are the tables of all targets and selections.
pub(super) fn parse(
    section: &Section<'_>,
    name: &FreezeName,
    time_zone: Tz,
    targets: &Section<'_>,
) -> Option<Freezing> {
    let zone = zone(section).unwrap_or(time_zone);
    let freeze = Freeze::parse(name.clone(), section.text("from")?, section.text("to")?, zone);
    let freeze = freeze.map_err(|(problem, of_to)| {
        section.refuse(if of_to { "to" } else { "from" }, problem.to_string());
    });
    let known: Vec<&str> = targets.keys().collect();
    let mut named = Vec::new();
    for text in section.texts("targets") {
        match text.parse::<TargetName>().ok().filter(|_| known.contains(&text)) {
            Some(name) => named.push(name),
            None => {
                let next_step = suggestion(text, &known, "leave targets out: then it is for all of them");
                section.refuse("targets", refusal("There is no such target", next_step));
            }
        }
    }
    if section.has("targets") && section.texts("targets").is_empty() {
        section.refuse("targets", refusal("This is for nobody", "leave targets out: then it is for all of them"));
    }
    Some(Freezing { freeze: freeze.ok()?, targets: section.has("targets").then_some(named) })
}
