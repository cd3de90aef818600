//! What of a target is shown as numbers, and the fleet together. Pure: snapshots in, numbers out.

use crate::driver::outlook::Counting;
use crate::driver::{PlanSettings, Snapshot};
use crate::moment::Moment;
use crate::name::{SinkName, TargetName};
use crate::rotation::state::Label;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// Its state in one word.
    pub label: Label,
    /// What happens next and why, in one sentence; no number, and for the page.
    pub why: String,
    /// When the current password was proven live.
    pub proven_at: Option<Moment>,
    /// When that is older than `max-age` allows.
    pub too_old_at: Option<Moment>,
    /// When the next slot begins.
    pub next_due: Option<Moment>,
    /// What the slots to come count from; no number.
    pub counting: Counting,
    /// Since when nobody knows which password is live.
    pub doubt_since: Option<Moment>,
    /// Since when a person is needed.
    pub halted_since: Option<Moment>,
    /// Sinks that lack current: since when, and how many generations.
    pub behind: Vec<(SinkName, Moment, u64)>,
    /// Hooks that are given up on.
    pub given_up: usize,
}

impl Figures {
    /// The numbers of this snapshot.
    pub fn of(snapshot: &Snapshot, settings: &PlanSettings) -> Self {
        let proven_at = snapshot.proof.map(|(_, at)| at);
        let behind = snapshot.sinks.iter();
        Self {
            label: snapshot.label,
            why: snapshot.why.clone(),
            proven_at,
            too_old_at: proven_at.and_then(|at| settings.timetable.too_old_at(at)),
            next_due: snapshot.next_due,
            counting: snapshot.counting,
            doubt_since: snapshot.doubt_since,
            halted_since: snapshot.halted_since,
            behind: behind.filter_map(|sink| Some((sink.sink.clone(), sink.behind_since?, sink.behind_by))).collect(),
            given_up: snapshot.untold.len(),
        }
    }

    /// Whether the password is older than it may be.
    pub fn is_too_old(&self, now: Moment) -> bool {
        self.too_old_at.is_some_and(|at| at <= now)
    }

    /// Whether there is anything about it that somebody may have to look into.
    pub fn is_troubled(&self, now: Moment) -> bool {
        let troubled = self.doubt_since.is_some() || self.halted_since.is_some();
        troubled || !self.behind.is_empty() || self.given_up > 0 || self.is_too_old(now)
    }
}

/// The fleet as it was at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// When it was looked at.
    pub at: Moment,
    /// Each target.
    pub targets: BTreeMap<TargetName, Arc<Figures>>,
    /// Targets whose record cannot be read.
    pub unreadable: usize,
}

impl View {
    /// The targets that have series of their own, at most `limit` of them. Where there are more, only those that are troubled have any, so that numbers
    /// of a target do not come and go with those of others.
    pub fn shown(&self, limit: usize) -> Vec<(&TargetName, &Figures)> {
        let all = self.targets.iter().map(|(name, figures)| (name, &**figures));
        match self.targets.len() <= limit {
            true => all.collect(),
            false => all.filter(|(_, figures)| figures.is_troubled(self.at)).take(limit).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(halted: bool) -> Arc<Figures> {
        Arc::new(Figures {
            label: Label::Settled,
            why: String::new(),
            proven_at: None,
            too_old_at: None,
            next_due: None,
            counting: Counting { after: Moment::from_seconds(0), slot: None, paused_until: None },
            doubt_since: None,
            halted_since: halted.then(|| Moment::from_seconds(1)),
            behind: Vec::new(),
            given_up: 0,
        })
    }

    #[test]
    fn of_a_large_fleet_only_the_troubled_are_shown_and_never_more_than_the_limit() {
        let named = |number: usize| format!("t{number:05}").parse().unwrap();
        let targets = (0..10_000).map(|number| (named(number), figures(number % 5 == 0))).collect();
        let view = View { targets, ..View::default() };
        assert_eq!(view.shown(10_000).len(), 10_000);
        let troubled = view.shown(9_999);
        assert_eq!(troubled.len(), 2_000);
        assert!(troubled.iter().all(|(_, figures)| figures.halted_since.is_some()));
        assert_eq!(view.shown(300).len(), 300);
        assert_eq!(view.shown(0).len(), 0);
    }

    #[test]
    fn age_alone_is_trouble_from_its_moment_on() {
        let old = Figures { too_old_at: Some(Moment::from_seconds(100)), ..(*figures(false)).clone() };
        assert!(!old.is_troubled(Moment::from_seconds(99)));
        assert!(old.is_troubled(Moment::from_seconds(100)));
    }
}
