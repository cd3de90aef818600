//! What a driver counts of what happens: plain numbers, counted when it was written down. Nothing is decided by them.

use crate::meter::{Counter, Histogram};
use crate::moment::Moment;
use crate::rotation::event::{Event, What};
use crate::rotation::state::{Phase, Rotation, State};
use std::time::Duration;

/// Bounds of lateness, in seconds: a sweep comes every second, and a quota or a window can hold a rotation off for hours.
const LATENESS: &[f64] = &[1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0];

/// Bounds of the blind time, in seconds: from a round trip to a sink that is down for hours.
const BLIND: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0, 43_200.0];

/// What was counted since the start.
#[derive(Debug)]
pub struct Tally {
    /// Rotations that began.
    pub begun: Counter,
    /// Rotations that ended, by how.
    pub settled: Counter,
    /// Those that ended without having changed anything.
    pub abandoned: Counter,
    /// Those whose deliveries were not done when the next one was proven.
    pub overtaken: Counter,
    /// Those that a person ended by giving the password that works.
    pub replaced: Counter,
    /// Halts: somebody was needed.
    pub halts: Counter,
    /// Times that nobody knew which password is live.
    pub doubts: Counter,
    /// Deliveries.
    pub delivered: Counter,
    /// Attempts to deliver that failed.
    pub undelivered: Counter,
    /// Notices that hooks took.
    pub told: Counter,
    /// Attempts to tell a hook that failed.
    pub untold: Counter,
    /// Times that a person was shown passwords.
    pub revealed: Counter,
    /// Turns that could not go on.
    pub failed_turns: Counter,
    /// How long after their due time rotations began that the schedule caused.
    pub lateness: Histogram,
    /// How long a sink held a password that was dead: from the call that replaced it until the new one was delivered.
    pub blind: Histogram,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            begun: Counter::default(),
            settled: Counter::default(),
            abandoned: Counter::default(),
            overtaken: Counter::default(),
            replaced: Counter::default(),
            halts: Counter::default(),
            doubts: Counter::default(),
            delivered: Counter::default(),
            undelivered: Counter::default(),
            told: Counter::default(),
            untold: Counter::default(),
            revealed: Counter::default(),
            failed_turns: Counter::default(),
            lateness: Histogram::over(LATENESS),
            blind: Histogram::over(BLIND),
        }
    }
}

/// One thing to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    Begun { late: Option<Duration> },
    Settled,
    Abandoned,
    Overtaken,
    Replaced,
    Halted,
    Doubted,
    Delivered { blind: Option<Duration> },
    Undelivered,
    Told,
    Untold,
    Revealed,
}

impl Tally {
    pub(super) fn add(&self, count: Count) {
        match count {
            Count::Begun { late } => {
                self.begun.add();
                late.into_iter().for_each(|late| self.lateness.saw(late));
            }
            Count::Settled => self.settled.add(),
            Count::Abandoned => self.abandoned.add(),
            Count::Overtaken => self.overtaken.add(),
            Count::Replaced => self.replaced.add(),
            Count::Halted => self.halts.add(),
            Count::Doubted => self.doubts.add(),
            Count::Delivered { blind } => {
                self.delivered.add();
                blind.into_iter().for_each(|blind| self.blind.saw(blind));
            }
            Count::Undelivered => self.undelivered.add(),
            Count::Told => self.told.add(),
            Count::Untold => self.untold.add(),
            Count::Revealed => self.revealed.add(),
        }
    }
}

/// What is to be counted of an event that led from one state to another. Most are of no interest, some of two.
pub(super) fn counts(before: &State, event: &Event, after: &State) -> Vec<Count> {
    let doubts = |state: &State| state.open.as_ref().is_some_and(|open| matches!(open.phase, Phase::Doubt(_)));
    let mut counts = Vec::new();
    if doubts(after) && !doubts(before) {
        counts.push(Count::Doubted);
    }
    match &event.what {
        What::Began { slot, .. } => counts.push(Count::Begun { late: slot.map(|slot| event.at.since(slot.due)) }),
        What::Proven { .. } if before.earlier.is_some() => counts.push(Count::Overtaken),
        What::Settled { .. } => counts.push(Count::Settled),
        What::Abandoned { .. } => counts.push(Count::Abandoned),
        What::Replaced { .. } => {
            let ended = before.open.iter().chain(before.earlier.as_deref()).count();
            counts.extend(std::iter::repeat_n(Count::Replaced, ended));
        }
        What::Halted { .. } => counts.push(Count::Halted),
        What::Delivered { generation, .. } => {
            let open = before.open.iter().chain(before.earlier.as_deref());
            let of = open.into_iter().find(|open| open.candidate == Some(*generation));
            counts.push(Count::Delivered { blind: of.and_then(|open| blind(open, event.at)) });
        }
        What::DeliveryFailed { .. } => counts.push(Count::Undelivered),
        What::HookTold { .. } => counts.push(Count::Told),
        What::HookFailed { .. } => counts.push(Count::Untold),
        What::Revealed { .. } => counts.push(Count::Revealed),
        What::Proven { .. }
        | What::Adopted { .. }
        | What::Paired { .. }
        | What::TakenOver { .. }
        | What::Asked { .. }
        | What::SlotPassed { .. }
        | What::Blocked { .. }
        | What::Ready { .. }
        | What::Prepared { .. }
        | What::Intended { .. }
        | What::Answered { .. }
        | What::TaskRead { .. }
        | What::TaskStuck
        | What::TaskSought { .. }
        | What::MarkRead { .. }
        | What::LoginTried { .. }
        | What::LookFailed { .. }
        | What::ProofFailed
        | What::Discarded { .. }
        | What::SinkLost { .. }
        | What::SinkDiffers { .. }
        | What::SinkAgrees { .. }
        | What::HookQueued { .. }
        | What::Retired { .. }
        | What::RetireFailed { .. }
        | What::Verified { .. }
        | What::Paused { .. }
        | What::Unpaused { .. }
        | What::Resumed { .. } => {}
    }
    counts
}

/// Since the last call left, the old password may have been dead: it was certainly alive when that call was decided on. Where both stay valid (two
/// accounts, two passwords of one), nobody was blind.
fn blind(rotation: &Rotation, delivered: Moment) -> Option<Duration> {
    let (_, last) = rotation.sent.filter(|_| !rotation.beside && rotation.account.is_none())?;
    Some(delivered.since(last))
}
