//! When a target is due. Everything that decides it stands in [`Timetable`], which `run`, `plan`, `check` and the status page all read.
//!
//! A timetable yields [`Slot`]s. A slot's *nominal* time is what the schedule says; it is *due* a little later by the target's own
//! splay, and it *closes* when a start would be too late. A rotation that has started is finished whatever the slot says.
//!
//! Local time has one rule ([`calendar`]): each wall-clock time happens once, at the first instant at which the zone's clock shows it
//! or has jumped past it. So a run in a skipped hour happens once, right after the gap, and a run in a repeated hour happens once, in the
//! first pass.
//!
//! A slot that falls due in a [`Freeze`] is held until its end, if it may still start then; otherwise there is no such slot.

mod almanac;
mod calendar;
mod freeze;
mod pattern;
mod problem;

pub use crate::moment::Slot;
pub use almanac::Almanac;
pub use calendar::Calendar;
pub use freeze::{Freeze, FreezeProblem, Frozen};
pub use problem::ScheduleProblem;

use crate::moment::{Moment, show_span};
use crate::name::TargetName;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::iter;
use std::time::Duration;

/// The shortest `every`: a password cannot sensibly change more often.
pub const SHORTEST_EVERY: Duration = Duration::from_secs(60);

/// The settings that make a timetable, as the configuration gives them.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whose timetable this is; the splay and the anchor of `every` come from the name.
    pub target: TargetName,
    /// Five or six cron fields, or a name such as `@daily`. Not together with `every`.
    pub schedule: Option<String>,
    /// The time between two slots. Not together with `schedule`; with neither, the target is rotated only by hand.
    pub every: Option<Duration>,
    /// The zone whose wall clock `schedule` means.
    pub zone: Tz,
    /// How long after its nominal time a slot may still be started; without it, until the next slot is due.
    pub window: Option<Duration>,
    /// Over how long the targets of one schedule are spread.
    pub splay: Duration,
    /// What becomes of a slot that passed while nobody was there to start it.
    pub missed: Missed,
    /// How old a password may grow before an alert, whatever the cause.
    pub max_age: Option<Duration>,
}

/// What becomes of a slot that fell due while keywheel was down or could not start it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missed {
    /// Start it late while its window is open; afterwards wait for the next slot.
    #[default]
    IfOpen,
    /// Start it however late it is; several missed slots become one.
    Run,
    /// Never start a slot that fell due while keywheel was down.
    Skip,
}

/// What a timetable asks for at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Nothing is due; this slot comes next. `None`: only by hand.
    Wait(Option<Slot>),
    /// This slot is due: start it.
    Start(Slot),
    /// This slot was missed and is not made up for.
    PassOver {
        /// The slot that nobody started.
        missed: Slot,
        /// The one to wait for instead.
        next: Option<Slot>,
    },
}

/// A checked timetable of one target.
#[derive(Debug, Clone, PartialEq)]
pub struct Timetable {
    rhythm: Rhythm,
    window: Option<Duration>,
    splay: Duration,
    /// This target's part of the splay: at least zero, less than `splay` unless that is zero.
    offset: Duration,
    missed: Missed,
    max_age: Option<Duration>,
    freezes: Vec<Freeze>,
}

/// More freezes in a row than this are one without an end.
const FREEZES_IN_A_ROW: usize = 64;

#[derive(Debug, Clone, PartialEq)]
enum Rhythm {
    ByHand,
    Cron(Calendar),
    Every { span: Duration, anchor: Moment },
}

impl Timetable {
    /// Checks the settings of one target.
    ///
    /// # Errors
    /// Every problem found, not only the first.
    pub fn parse(settings: Settings) -> Result<Self, Vec<ScheduleProblem>> {
        let mut problems = Vec::new();
        if settings.schedule.is_some() && settings.every.is_some() {
            problems.push(ScheduleProblem::Both);
        }
        let calendar = settings
            .schedule
            .and_then(|text| Calendar::parse(&text, settings.zone).map_err(|found| problems.extend(found)).ok());
        if let Some(every) = settings.every.filter(|&every| every < SHORTEST_EVERY) {
            problems.push(ScheduleProblem::EveryTooShort { every });
        }
        match settings.window {
            Some(Duration::ZERO) => problems.push(ScheduleProblem::WindowZero),
            Some(window) if settings.splay > window => {
                problems.push(ScheduleProblem::SplayTooLong { splay: settings.splay, window })
            }
            Some(_) | None => {}
        }
        if settings.max_age == Some(Duration::ZERO) {
            problems.push(ScheduleProblem::MaxAgeZero);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let rhythm = match (calendar, settings.every) {
            (Some(calendar), _) => Rhythm::Cron(calendar),
            (None, Some(span)) => {
                Rhythm::Every { span, anchor: Moment::from_millis(0) + share_of(span, &settings.target, "every") }
            }
            (None, None) => Rhythm::ByHand,
        };
        Ok(Self {
            rhythm,
            window: settings.window,
            splay: settings.splay,
            offset: share_of(settings.splay, &settings.target, "splay"),
            missed: settings.missed,
            max_age: settings.max_age,
            freezes: Vec::new(),
        })
    }

    /// The same, with dates on which nothing begins by itself.
    #[must_use]
    pub fn frozen_on(self, freezes: Vec<Freeze>) -> Self {
        Self { freezes, ..self }
    }

    /// The freeze that covers this moment; of several the one that ends last.
    pub fn frozen(&self, at: Moment) -> Option<Frozen> {
        let ahead = self.freezes.iter().filter_map(|freeze| freeze.ahead(at));
        ahead.filter(|frozen| frozen.from <= at).max_by_key(|frozen| frozen.until)
    }

    /// The freezes that are not over at `from` and begin before `until`, in order.
    pub fn freezes_ahead(&self, from: Moment, until: Moment) -> Vec<Frozen> {
        let mut ahead: Vec<Frozen> = self.freezes.iter().filter_map(|freeze| freeze.ahead(from)).collect();
        ahead.retain(|frozen| frozen.from < until);
        ahead.sort_by_key(|frozen| (frozen.from, frozen.until));
        ahead
    }

    /// The same target, which begins nothing by itself any more.
    #[must_use]
    pub fn by_hand(self) -> Self {
        Self { rhythm: Rhythm::ByHand, ..self }
    }

    /// The first slot whose nominal time is later than `after`; `None` when the target is rotated only by hand.
    pub fn slot_after(&self, after: Moment) -> Option<Slot> {
        let mut after = after;
        for _ in 0..FREEZES_IN_A_ROW {
            let slot = self.slot(self.nominal_after(after)?);
            let Some(frozen) = self.frozen(slot.due) else { return Some(slot) };
            if let Some(held) = self.held(slot, frozen.clone()) {
                return Some(held);
            }
            // It falls away, and so does every other one that does not outlast the freeze.
            let outlasts = match self.window {
                Some(window) => frozen.until - window,
                None => self.nominal_until(frozen.until - self.offset)? - Duration::from_millis(1),
            };
            after = slot.nominal.max(outlasts);
        }
        None
    }

    /// The slots that there would be after `from` and not after `until` if there were no freeze, and that are held or fall away: whether by which.
    pub fn frozen_slots(&self, from: Moment, until: Moment) -> impl Iterator<Item = (Frozen, Option<Slot>)> + '_ {
        let nominals = iter::successors(self.nominal_after(from - self.offset), |&nominal| self.nominal_after(nominal));
        let slots = nominals.map(|nominal| self.slot(nominal)).take_while(move |slot| slot.due <= until);
        slots.filter_map(|slot| self.frozen(slot.due).map(|frozen| (frozen.clone(), self.held(slot, frozen))))
    }

    /// The slot that a freeze holds until its end; `None` where it may not start any more by then.
    fn held(&self, slot: Slot, frozen: Frozen) -> Option<Slot> {
        let (mut slot, mut frozen) = (slot, Some(frozen));
        for _ in 0..FREEZES_IN_A_ROW {
            let Some(Frozen { until, .. }) = frozen else { return Some(slot) };
            let room = slot.closes.since(until);
            let offset = match (room.as_millis(), self.missed) {
                (0, Missed::Run) => self.offset,
                (0, Missed::IfOpen | Missed::Skip) => return None,
                // A fleet that was held does not begin in one moment, if there is room.
                (room, _) => Duration::from_millis(u64::try_from(self.offset.as_millis() % room).unwrap_or(0)),
            };
            slot.due = until + offset;
            frozen = self.frozen(slot.due);
        }
        None
    }

    /// The newest slot that is due by `now` and whose nominal time is later than `after`. However many slots lie between, the cost is that of
    /// one step.
    pub fn latest_slot(&self, after: Moment, now: Moment) -> Option<Slot> {
        let mut cutoff = now - self.offset;
        for _ in 0..FREEZES_IN_A_ROW {
            let slot = self.slot(self.nominal_until(cutoff).filter(|&nominal| nominal > after)?);
            let Some(frozen) = self.frozen(slot.due) else { return Some(slot) };
            if let Some(held) = self.held(slot, frozen.clone()).filter(|held| held.due <= now) {
                return Some(held);
            }
            // What fell due earlier in the same freeze is not better off.
            cutoff = frozen.from - self.offset - Duration::from_millis(1);
        }
        None
    }

    fn nominal_until(&self, cutoff: Moment) -> Option<Moment> {
        match &self.rhythm {
            Rhythm::ByHand => None,
            Rhythm::Cron(calendar) => calendar.latest_until(cutoff),
            Rhythm::Every { span, anchor } => Some(step_until(*anchor, *span, cutoff)),
        }
    }

    /// The slots that fall due after `from` and not after `until`, in order.
    pub fn upcoming(&self, from: Moment, until: Moment) -> impl Iterator<Item = Slot> + '_ {
        iter::successors(self.slot_after(from - self.offset), |slot| self.slot_after(slot.nominal))
            .take_while(move |slot| slot.due <= until)
    }

    /// What to do at `now`, when every slot up to the nominal time `served` has been started or passed over and keywheel has been running
    /// since `up_since`.
    pub fn decide(&self, served: Moment, now: Moment, up_since: Moment) -> Decision {
        let Some(slot) = self.latest_slot(served, now) else {
            return Decision::Wait(self.slot_after(served));
        };
        let slot = match self.frozen(now) {
            None => slot,
            // It could have been begun before the freeze, and was not.
            Some(frozen) => match self.held(slot, frozen) {
                Some(held) => return Decision::Wait(Some(held)),
                None => return Decision::PassOver { missed: slot, next: self.slot_after(slot.nominal) },
            },
        };
        let open = now < slot.closes;
        let start = match self.missed {
            Missed::Run => true,
            Missed::IfOpen => open,
            Missed::Skip => open && slot.due >= up_since,
        };
        if start {
            Decision::Start(slot)
        } else {
            Decision::PassOver { missed: slot, next: self.slot_after(slot.nominal) }
        }
    }

    /// When a password that is live since `rotated` has grown too old.
    pub fn too_old_at(&self, rotated: Moment) -> Option<Moment> {
        self.max_age.map(|age| rotated + age)
    }

    /// The cron part, for the alarm; `None` for `every` and for targets rotated only by hand.
    pub fn calendar(&self) -> Option<&Calendar> {
        match &self.rhythm {
            Rhythm::Cron(calendar) => Some(calendar),
            Rhythm::Every { .. } | Rhythm::ByHand => None,
        }
    }

    /// How long after a nominal time this target is due.
    pub fn own_splay(&self) -> Duration {
        self.offset
    }

    /// Whether no slot ever comes by itself.
    pub fn is_by_hand(&self) -> bool {
        self.rhythm == Rhythm::ByHand
    }

    /// One sentence for people: `30 3 * * SUN, Asia/Shanghai, window 2h, splay 20m (this target: +7m 12s)`.
    pub fn describe(&self) -> String {
        let mut parts = match &self.rhythm {
            Rhythm::ByHand => vec!["only by hand".to_owned()],
            Rhythm::Cron(calendar) => vec![calendar.text().to_owned(), calendar.zone().name().to_owned()],
            Rhythm::Every { span, .. } => vec![format!("every {}", show_span(*span))],
        };
        if !self.is_by_hand() {
            parts.extend(self.window.map(|window| format!("window {}", show_span(window))));
            if self.splay > Duration::ZERO {
                let (splay, own) = (show_span(self.splay), show_span(self.offset));
                parts.push(format!("splay {splay} (this target: +{own})"));
            }
            match self.missed {
                Missed::IfOpen => {}
                Missed::Run => parts.push("missed slots are run late".to_owned()),
                Missed::Skip => parts.push("missed slots are skipped".to_owned()),
            }
        }
        parts.extend(self.max_age.map(|age| format!("alert when older than {}", show_span(age))));
        parts.join(", ")
    }

    fn nominal_after(&self, after: Moment) -> Option<Moment> {
        match &self.rhythm {
            Rhythm::ByHand => None,
            Rhythm::Cron(calendar) => calendar.next_after(after),
            Rhythm::Every { span, anchor } => Some(step_until(*anchor, *span, after) + *span),
        }
        .filter(|&nominal| nominal > after && nominal < Moment::NEVER)
    }

    fn slot(&self, nominal: Moment) -> Slot {
        let closes = match self.window {
            Some(window) => nominal + window,
            None => self.nominal_after(nominal).map_or(Moment::NEVER, |next| next + self.offset),
        };
        Slot { nominal, due: nominal + self.offset, closes }
    }
}

/// The newest of anchor, anchor ± span, anchor ± 2 spans … that is not later than `until`.
fn step_until(anchor: Moment, span: Duration, until: Moment) -> Moment {
    let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    let behind = until.millis().saturating_sub(anchor.millis()).rem_euclid(span);
    Moment::from_millis(until.millis().saturating_sub(behind))
}

/// A target's own part of `span`, in whole milliseconds, at least zero and less than `span`. It comes from a hash of the name, so it is the
/// same in every version, on every machine and after every restart.
fn share_of(span: Duration, target: &TargetName, purpose: &str) -> Duration {
    let Some(millis) = u64::try_from(span.as_millis()).ok().filter(|&millis| millis > 0) else {
        return Duration::ZERO;
    };
    let digest = Sha256::new().chain_update(purpose).chain_update([0]).chain_update(target.as_str()).finalize();
    let number = digest.iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte));
    Duration::from_millis(number % millis)
}
