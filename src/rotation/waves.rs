//! How the targets of one selection follow each other in a slot: a few first, then share by share, each wave when the one before is settled. Pure.

use super::state::State;
use crate::moment::Moment;
use crate::name::{Generation, TargetName};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Pauses of a whole selection end one after the other, as they were asked for: one that ends within this time is as good as over.
const PAUSES_APART: Duration = Duration::from_secs(60);

/// `waves` of a selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waves {
    /// How many go first.
    pub canary: usize,
    /// How many in each wave after that.
    pub then: Share,
    /// As soon as so many are halted, nothing more begins.
    pub halt_after: usize,
}

/// A part of the targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// So many.
    Count(usize),
    /// So many of a hundred, and at least one.
    Percent(usize),
}

impl Waves {
    /// How many targets each wave has.
    pub fn sizes(&self, members: usize) -> Vec<usize> {
        let then = match self.then {
            Share::Count(count) => count,
            Share::Percent(percent) => (members * percent).div_ceil(100),
        };
        let (mut sizes, mut left) = (Vec::new(), members);
        while left > 0 {
            let size = if sizes.is_empty() { self.canary } else { then }.clamp(1, left);
            sizes.push(size);
            left -= size;
        }
        sizes
    }
}

/// What of a target's record counts for its wave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stand {
    /// Since when a person is needed.
    halted: Option<Moment>,
    /// A rotation is open.
    under_way: bool,
    /// It has a password, or needs none of before.
    has_password: bool,
    /// Until when nothing begins because a person said so.
    paused_until: Option<Moment>,
    rotated_at: Option<Moment>,
    slots_after: Moment,
    /// It has the password that it was found with, and nobody gave another one.
    as_found: bool,
}

impl Stand {
    /// As the record has it.
    pub fn of(state: &State) -> Self {
        let standing = &state.standing;
        Self {
            halted: state.halt.as_ref().map(|halt| halt.since),
            under_way: state.open.is_some(),
            has_password: standing.current.is_some() || standing.taken_over,
            paused_until: standing.paused.as_ref().map(|pause| pause.until),
            rotated_at: standing.rotated_at,
            slots_after: standing.slots_after,
            as_found: standing.rotated_at.is_none() && standing.newest <= Generation(1),
        }
    }

    fn counts(&self, now: Moment) -> bool {
        let rests = self.paused_until.is_some_and(|until| until.since(now) > PAUSES_APART);
        self.has_password && !rests || self.halted.is_some()
    }

    /// Whether it was found after the slot came: then it has no part in it, and is no canary that the others wait for.
    fn came_after(&self, slot: Moment) -> bool {
        self.as_found && self.slots_after > slot
    }

    /// Whether nothing of this slot is to be expected of it any more, and whether it went well.
    fn ended(&self, slot: Moment) -> Option<bool> {
        let changed = self.rotated_at.is_some_and(|at| at >= slot);
        match self {
            Self { halted: Some(_), .. } => Some(false),
            Self { under_way: true, .. } => None,
            _ if changed => Some(true),
            Self { slots_after, .. } if *slots_after >= slot => Some(false),
            _ => None,
        }
    }
}

/// What keeps a rotation from beginning for which the slot has come.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Held {
    /// An earlier wave is not settled yet.
    Earlier {
        /// The wave it belongs to, from 1 on.
        wave: usize,
        /// How many there are.
        waves: usize,
        /// One that is waited for.
        after: TargetName,
        /// How many others are.
        others: usize,
    },
    /// Nothing more begins.
    Stopped(Stop),
}

/// Why nothing more begins.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stop {
    /// One that is halted.
    pub halted: TargetName,
    /// How many others are.
    pub others: usize,
    /// Whether it was to go first, so that it alone is enough.
    pub canary: bool,
    /// Since when.
    pub since: Moment,
}

/// The targets of a selection in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    waves: Waves,
    order: Vec<(TargetName, Stand)>,
    places: Arc<HashMap<TargetName, usize>>,
}

impl Members {
    /// These, in this order; what stands in their records is to be noted.
    pub fn new(waves: Waves, order: Vec<TargetName>) -> Self {
        let places = order.iter().enumerate().map(|(place, name)| (name.clone(), place)).collect();
        let order = order.into_iter().map(|name| (name, Stand::default())).collect();
        Self { waves, order, places: Arc::new(places) }
    }

    /// Their names in their order.
    pub fn names(&self) -> impl Iterator<Item = &TargetName> {
        self.order.iter().map(|(name, _)| name)
    }

    /// The rules they follow.
    pub fn waves(&self) -> Waves {
        self.waves
    }

    /// Those that take part, in their order.
    pub fn taking_part(&self, now: Moment) -> impl Iterator<Item = &TargetName> {
        self.counting(now).map(|(name, _)| name)
    }

    /// In which wave this one is, from 1 on, and how many there are; `None` where it takes no part.
    pub fn wave(&self, target: &TargetName, now: Moment) -> Option<(usize, usize)> {
        let mine = self.counting(now).position(|(name, _)| name == target)?;
        let sizes = self.waves.sizes(self.counting(now).count());
        let mut end = 0;
        let wave = sizes.iter().position(|size| {
            end += size;
            mine < end
        })?;
        Some((wave + 1, sizes.len()))
    }

    /// What stands in one's record now. Whether that is something else than before.
    pub fn note(&mut self, name: &TargetName, stand: Stand) -> bool {
        let known = self.places.get(name).and_then(|&place| self.order.get_mut(place));
        known.is_some_and(|(_, known)| std::mem::replace(known, stand) != stand)
    }

    /// Why nothing more begins, if that is so. It holds for this slot and the next, until whoever is halted goes on.
    pub fn stop(&self, now: Moment) -> Option<Stop> {
        let halted: Vec<(&TargetName, Moment)> =
            self.order.iter().filter_map(|(name, stand)| Some((name, stand.halted?))).collect();
        let canaries = self.counting(now).take(self.waves.canary);
        let canary = canaries.filter_map(|(name, stand)| Some((name, stand.halted?))).next();
        let (name, since) = match canary {
            Some(canary) => canary,
            None if halted.len() >= self.waves.halt_after => *halted.first()?,
            None => return None,
        };
        Some(Stop { halted: name.clone(), others: halted.len() - 1, canary: canary.is_some(), since })
    }

    /// What keeps this one from beginning in this slot.
    pub fn held(&self, target: &TargetName, slot: Moment, now: Moment) -> Option<Held> {
        let mine = self.of_slot(slot, now).position(|(name, _)| name == target)?;
        if let Some(stop) = self.stop(now) {
            return Some(Held::Stopped(stop));
        }
        let begins = self.front(slot, now);
        if mine < begins {
            return None;
        }
        let begun = self.of_slot(slot, now).take(begins).enumerate();
        let mut waited_for = begun.filter(|(place, (_, stand))| self.is_waited_for(*place, stand, slot));
        let (_, (after, _)) = waited_for.next()?;
        let (wave, waves) = self.wave(target, now)?;
        Some(Held::Earlier { wave, waves, after: after.clone(), others: waited_for.count() })
    }

    /// How many may have begun in this slot.
    fn front(&self, slot: Moment, now: Moment) -> usize {
        let mut members = self.of_slot(slot, now).enumerate();
        let mut begins = 0;
        for size in self.waves.sizes(self.of_slot(slot, now).count()) {
            begins += size;
            if members.by_ref().take(size).any(|(place, (_, stand))| self.is_waited_for(place, stand, slot)) {
                break;
            }
        }
        begins
    }

    /// Those that may have begun in this slot, in their order, unless nothing more begins.
    pub fn beginning(&self, slot: Moment, now: Moment) -> impl Iterator<Item = &TargetName> {
        self.of_slot(slot, now).take(self.front(slot, now)).map(|(name, _)| name)
    }

    /// Whether the wave after this place's has to wait for it. One that goes first and did not go well says nothing for the others.
    fn is_waited_for(&self, place: usize, stand: &Stand, slot: Moment) -> bool {
        stand.ended(slot).is_none_or(|well| !well && place < self.waves.canary)
    }

    fn of_slot(&self, slot: Moment, now: Moment) -> impl Iterator<Item = &(TargetName, Stand)> {
        self.counting(now).filter(move |(_, stand)| !stand.came_after(slot))
    }

    fn counting(&self, now: Moment) -> impl Iterator<Item = &(TargetName, Stand)> {
        self.order.iter().filter(move |(_, stand)| stand.counts(now))
    }
}
