//! What is planned for a target, and what that asks of a quota: `plan` and the status page both read this, and the slots are the ones the driver
//! starts by.

use super::target::PlanSettings;
use crate::moment::{Moment, Slot};
use crate::rotation::state::Standing;
use std::time::Duration;

/// The busiest stretch of this length is told of.
pub const STRETCH: Duration = Duration::from_secs(3_600);

/// What a target's slots count from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counting {
    /// Slots with a nominal time up to this one are used up.
    pub after: Moment,
    /// The slot that counts now: reached and not used up, or the next one.
    pub slot: Option<Slot>,
    /// Until when nothing begins because a person said so.
    pub paused_until: Option<Moment>,
}

impl Counting {
    /// Of a target that stands so. Before adoption nothing is used up: slots count from now, as they will from the adoption on.
    pub fn of(settings: &PlanSettings, standing: &Standing, now: Moment) -> Self {
        let paused_until = standing.paused.as_ref().map(|pause| pause.until);
        match standing.current {
            Some(_) => Self { after: standing.slots_after, slot: settings.plan(standing, now).slot, paused_until },
            None => Self { after: now, slot: None, paused_until },
        }
    }

    /// The slots that are planned, out of those that come; in order. What may still start at the end of a pause does so then.
    pub fn slots(self, upcoming: impl IntoIterator<Item = Slot>, until: Moment) -> Vec<Slot> {
        let coming = upcoming.into_iter().filter(|slot| slot.nominal > self.after);
        let mut slots: Vec<Slot> = self.slot.into_iter().chain(coming).filter(|slot| slot.due <= until).collect();
        slots.sort_by_key(|slot| slot.nominal);
        slots.dedup();
        if let Some(paused_until) = self.paused_until {
            slots.retain_mut(|slot| {
                slot.due = slot.due.max(paused_until);
                slot.due < slot.closes && slot.due <= until
            });
        }
        slots
    }
}

/// What the plan asks of one provider.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Rotations in all.
    pub rotations: usize,
    /// Those of the busiest [`STRETCH`].
    pub busiest: usize,
    /// Requests per second and action that the provider allows.
    pub quota: f64,
}

impl Load {
    /// Of rotations that are due at these times, which are sorted.
    pub fn of(dues: &[Moment], quota: f64) -> Self {
        Self { rotations: dues.len(), busiest: most_within(STRETCH, dues), quota }
    }

    /// How long the busiest stretch's rotations take at the least: each takes one call of the scarcest action.
    pub fn takes(&self) -> Duration {
        Duration::from_secs_f64(self.busiest as f64 / self.quota)
    }
}

/// The most dues in any stretch of this length. They are sorted.
fn most_within(stretch: Duration, dues: &[Moment]) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (last, due) in dues.iter().enumerate() {
        while due.since(dues[first]) >= stretch {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_stretch_is_found_wherever_it_lies() {
        let at = |minutes: &[i64]| -> Vec<Moment> {
            minutes.iter().map(|minute| Moment::from_seconds(minute * 60)).collect()
        };
        for (minutes, most) in
            [(vec![], 0), (vec![0], 1), (vec![0, 59, 60, 119], 2), (vec![0, 100, 110, 120, 159, 160], 4)]
        {
            assert_eq!(Load::of(&at(&minutes), 1.0).busiest, most, "{minutes:?}");
        }
    }

    #[test]
    fn the_slot_that_counts_stands_once_and_what_is_used_up_not_at_all() {
        let slot = |minute: i64| {
            let at = |minute: i64| Moment::from_seconds(minute * 60);
            Slot { nominal: at(minute), due: at(minute + 1), closes: at(minute + 30) }
        };
        let (after, until) = (Moment::from_seconds(600), Moment::from_seconds(3_600));
        let upcoming = [slot(10), slot(20), slot(40), slot(60)];
        let planned =
            |counted: Option<Slot>| Counting { after, slot: counted, paused_until: None }.slots(upcoming, until);
        assert_eq!(planned(None), [slot(20), slot(40)]);
        assert_eq!(planned(Some(slot(20))), [slot(20), slot(40)]);
        assert_eq!(planned(Some(slot(5))), [slot(5), slot(20), slot(40)], "one that is open still");
        let paused = |minute: i64| Some(Moment::from_seconds(minute * 60));
        let while_paused = Counting { after, slot: None, paused_until: paused(45) }.slots(upcoming, until);
        let late = |minute: i64, due: i64| Slot { due: Moment::from_seconds(due * 60), ..slot(minute) };
        assert_eq!(while_paused, [late(20, 45), late(40, 45)], "what is open at the end of the pause starts then");
        assert_eq!(Counting { after, slot: None, paused_until: paused(50) }.slots(upcoming, until), [late(40, 50)]);
        assert_eq!(Counting { after, slot: None, paused_until: Some(Moment::NEVER) }.slots(upcoming, until), []);
        let by_then = Moment::from_seconds(42 * 60);
        assert_eq!(
            Counting { after, slot: None, paused_until: paused(45) }.slots(upcoming, by_then),
            [],
            "later than that"
        );
    }
}
