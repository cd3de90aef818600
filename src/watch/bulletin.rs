//! The sentence that `systemctl status` shows: how many targets are in which state, and whose slot comes next. It is made of the same snapshots
//! as `keywheel status`, and only where something can have changed.

use crate::clock::Clock;
use crate::driver::{Driver, Fleet, snapshot};
use crate::fault::Fault;
use crate::ledger::{Ledger, Listing, Projection};
use crate::moment::Moment;
use crate::name::TargetName;
use crate::rotation::state::Label;
use crate::schedule::Calendar;
use crate::systemd;
use chrono_tz::Tz;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// The shortest time between two looks at the fleet, and what each target adds to it: looking at a large one costs more.
const BETWEEN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(1));

/// A fleet larger than this is told of as its rows in the ledger stand, without what comes next: that would take folding every record.
const FOLDED: usize = 1_000;

/// The most names of halted targets in the sentence.
const NAMED: usize = 3;

/// The states, in the order of the sentence.
const ORDER: [Label; 7] =
    [Label::Settled, Label::Due, Label::Rotating, Label::Doubt, Label::Behind, Label::Paused, Label::Halted];

/// Where the sentence hangs.
pub struct Bulletin {
    driver: Arc<Driver>,
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    /// Rung after each sweep that reached the ledger.
    pub swept: Notify,
    text: Mutex<Text>,
}

#[derive(Default)]
struct Text {
    /// The zone of times whose target has none of its own.
    zone: Tz,
    /// Whether the configuration in force is not the one that was read last.
    refused: bool,
    fleet: String,
    told: String,
}

/// What the sentence needs to know of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Glimpse {
    label: Label,
    next_due: Option<Moment>,
}

/// A glimpse, and the row for which it was taken.
type Known = HashMap<TargetName, (Projection, Glimpse)>;

impl Bulletin {
    /// Nothing is said before the first look.
    pub fn new(driver: Arc<Driver>, ledger: Arc<dyn Ledger>, clock: Arc<dyn Clock>, zone: Tz) -> Arc<Self> {
        let text = Mutex::new(Text { zone, ..Text::default() });
        Arc::new(Self { driver, ledger, clock, swept: Notify::new(), text })
    }

    /// Whether the configuration that was read last is in force, and in which zone it speaks.
    pub fn reloaded(&self, outcome: Result<Tz, ()>) {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.refused = outcome.is_err();
        text.zone = outcome.unwrap_or(text.zone);
        text.tell();
    }

    /// Looks after sweeps between which a turn ended, or while one is under way; without end.
    pub async fn keep_up(self: Arc<Self>) {
        let mut known = Known::new();
        let (mut seen, mut last) = (None, None::<Moment>);
        loop {
            self.swept.notified().await;
            let (ended, under_way) = self.driver.turned();
            let fleet = self.driver.fleet();
            let is_same = |(turns, then): &(u64, Arc<Fleet>)| *turns == ended && Arc::ptr_eq(then, &fleet);
            if under_way == 0 && seen.as_ref().is_some_and(is_same) {
                continue;
            }
            let gap = BETWEEN.0 + BETWEEN.1 * u32::try_from(fleet.len()).unwrap_or(u32::MAX);
            let now = self.clock.now();
            if last.is_some_and(|last| now >= last && now.since(last) < gap) {
                continue;
            }
            match self.look(&fleet, &mut known, now).await {
                Ok(glimpses) => {
                    let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
                    text.fleet = sentence(&glimpses, now, |name| zone(&fleet, name).unwrap_or(text.zone));
                    text.tell();
                    (seen, last) = (Some((ended, fleet)), Some(now));
                }
                // The sweep says at which level; this one is asked again after the next.
                Err(fault) => tracing::debug!(%fault, "the fleet could not be looked at for systemd"),
            }
        }
    }

    async fn look(
        &self,
        fleet: &Fleet,
        known: &mut Known,
        now: Moment,
    ) -> Result<BTreeMap<TargetName, Glimpse>, Fault> {
        let mut glimpses = BTreeMap::new();
        for Listing { target: name, projection } in self.ledger.listing().await? {
            let Some(target) = fleet.get(&name) else { continue };
            let as_written = Glimpse { label: projection.label, next_due: None };
            if fleet.len() > FOLDED {
                glimpses.insert(name, as_written);
                continue;
            }
            let rests = |glimpse: &Glimpse| {
                matches!(glimpse.label, Label::Settled | Label::Paused) && glimpse.next_due.is_none_or(|due| now < due)
            };
            let still = known.get(&name).filter(|(then, glimpse)| *then == projection && rests(glimpse));
            let glimpse = match still {
                Some((_, glimpse)) => *glimpse,
                None => {
                    let (rows, members) = (self.ledger.recent(&name).await, self.driver.members(target));
                    let shown = rows.and_then(|rows| snapshot(&name, &target.settings, &rows, members.as_deref(), now));
                    // A record that cannot be read is told of by the turn that needs it.
                    shown.map_or(as_written, |shown| Glimpse { label: shown.label, next_due: shown.next_due })
                }
            };
            known.insert(name.clone(), (projection, glimpse));
            glimpses.insert(name, glimpse);
        }
        known.retain(|name, _| glimpses.contains_key(name));
        Ok(glimpses)
    }
}

impl Text {
    fn tell(&mut self) {
        let refused = if self.refused { "the new configuration was refused and the old one stays; " } else { "" };
        let line = format!("{refused}{}", self.fleet);
        if line != self.told {
            systemd::status(&line);
            self.told = line;
        }
    }
}

fn zone(fleet: &Fleet, name: &TargetName) -> Option<Tz> {
    fleet.get(name)?.settings.timetable.calendar().map(Calendar::zone)
}

/// `12 targets: 11 settled, 1 halted (sessions); next orders-cache on Sun 2026-11-29 at 03:30 CST`
fn sentence(glimpses: &BTreeMap<TargetName, Glimpse>, now: Moment, zone: impl Fn(&TargetName) -> Tz) -> String {
    if glimpses.is_empty() {
        return "no targets".to_owned();
    }
    let counts: Vec<String> = ORDER
        .into_iter()
        .filter_map(|label| {
            let names: Vec<&str> =
                glimpses.iter().filter(|(_, one)| one.label == label).map(|(name, _)| name.as_str()).collect();
            let more = if names.len() > NAMED { ", …" } else { "" };
            match (names.len(), label) {
                (0, _) => None,
                (count, Label::Halted) => {
                    let named = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
                    Some(format!("{count} halted ({named}{more})"))
                }
                (count, _) => Some(format!("{count} {}", label.as_str())),
            }
        })
        .collect();
    let plural = if glimpses.len() == 1 { "" } else { "s" };
    let coming = glimpses.iter().filter_map(|(name, one)| Some((one.next_due.filter(|&due| now < due)?, name)));
    let next = coming.min().map_or_else(String::new, |(due, name)| {
        let due = due.utc().with_timezone(&zone(name)).format("%a %Y-%m-%d at %H:%M %Z");
        format!("; next {name} on {due}")
    });
    format!("{} target{plural}: {}{next}", glimpses.len(), counts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(glimpses: &[(&str, Label, Option<i64>)]) -> String {
        let glimpses = glimpses
            .iter()
            .map(|&(name, label, due)| {
                (name.parse().unwrap(), Glimpse { label, next_due: due.map(Moment::from_millis) })
            })
            .collect();
        sentence(&glimpses, Moment::from_millis(1_000), |_| chrono_tz::Asia::Shanghai)
    }

    #[test]
    fn the_sentence_counts_names_who_is_halted_and_tells_what_comes_next() {
        let hour = 3_600_000;
        assert_eq!(told(&[]), "no targets");
        assert_eq!(told(&[("a", Label::Settled, None)]), "1 target: 1 settled");
        assert_eq!(
            told(&[
                ("a", Label::Halted, None),
                ("b", Label::Settled, Some(2 * hour)),
                ("c", Label::Settled, Some(hour)),
                ("d", Label::Due, Some(500)),
                ("e", Label::Rotating, None),
            ]),
            "5 targets: 2 settled, 1 due, 1 rotating, 1 halted (a); next c on Thu 1970-01-01 at 09:00 CST"
        );
        let halted: Vec<_> = ["a", "b", "c", "d"].map(|name| (name, Label::Halted, None)).into();
        assert_eq!(told(&halted), "4 targets: 4 halted (a, b, c, …)");
    }

    #[test]
    fn every_state_has_its_place() {
        let (mut all, mut once) = (ORDER.map(Label::as_str), std::collections::BTreeSet::new());
        all.sort_unstable();
        assert!(all.into_iter().all(|word| once.insert(word)));
        assert_eq!(once.len(), 7);
    }
}
