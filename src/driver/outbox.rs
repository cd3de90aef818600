//! When a hook's turn comes. What waits stands in the ledger, with each target that tells it; here is only what the targets of one process have to
//! share: who else tells the same hook, and how many restarts a minute may still have.
//!
//! Turns that the budget allows are one gap apart, and the first is a gap after the start, because nobody knows what was told just before it. So the
//! budget holds across a crash, too, and nothing of it has to be recorded.

use crate::fault::{Fault, Kind};
use crate::hook::{Notice, Terms};
use crate::moment::Moment;
use crate::name::{HookName, TargetName};
use crate::rotation::event::Queue;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// What came of a notice, once that is known.
type Outcome = Option<Result<(), Fault>>;

/// What is to be done about a hook now.
pub(super) enum Turn {
    /// Tell it.
    Now(Box<Call>),
    /// Somebody tells it, or has told it, for this target, too.
    Shared(Shared),
    /// Ask again then.
    Later(Moment, Queue),
}

/// The right to tell a hook once. Dropped without an answer, it failed for everybody it was for.
pub(super) struct Call {
    /// What it is told.
    pub(super) notice: Notice,
    outcome: watch::Sender<Outcome>,
}

impl Call {
    /// What came of it, for the others.
    pub(super) fn answer(self, outcome: &Result<(), Fault>) {
        self.outcome.send_replace(Some(outcome.clone()));
    }
}

/// What comes of a notice that another target's turn brings.
pub(super) struct Shared(watch::Receiver<Outcome>);

impl Shared {
    /// The outcome, when it is known.
    pub(super) async fn outcome(mut self) -> Result<(), Fault> {
        match self.0.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Ok(())),
            Err(_) => Err(Fault::new(Kind::HookFailed, "the notice for several targets was cut short")),
        }
    }
}

/// What waits under one key: a hook that is told once for all, or a hook and one target.
type Key = (HookName, Option<TargetName>);

/// How long a batch whose turn has come is kept for somebody who asks for it: all its targets may have left the fleet.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3_600);

/// The queue of one process.
pub(super) struct Outbox(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: BTreeMap<Key, Batch>,
    /// What was told, or is being told, for targets that have not come for it.
    told: BTreeMap<(HookName, TargetName), Told>,
    /// The last turn of the restart budget that was given away.
    last_turn: Moment,
    /// When a restart was last caused, or may have been.
    last_restart: Moment,
    /// The last turn of one that missed its own.
    last_late: Moment,
}

struct Batch {
    turn: Moment,
    by: Queue,
    members: BTreeMap<TargetName, Notice>,
}

struct Told {
    at: Moment,
    notice: Notice,
    outcome: watch::Receiver<Outcome>,
}

impl Outbox {
    /// An empty queue. What another process told just before `now` is not known.
    pub(super) fn new(now: Moment) -> Self {
        Self(Mutex::new(State { last_turn: now, last_restart: now, ..State::default() }))
    }

    /// Asks for the hook's turn on behalf of the notice's target, whose sinks last received something at `delivered_at`.
    pub(super) fn ask(
        &self,
        hook: &HookName,
        terms: Terms,
        notice: Notice,
        delivered_at: Option<Moment>,
        now: Moment,
    ) -> Turn {
        let mut state = self.lock();
        state.keep_to(now, gap(terms));
        // What was told before the last delivery is no news of it.
        let told = state.told.remove(&(hook.clone(), notice.target.clone()));
        let is_this = |told: &Told| {
            (told.notice.rotation, told.notice.news()) == (notice.rotation, notice.news())
                && delivered_at.is_none_or(|delivered_at| delivered_at <= told.at)
        };
        if let Some(told) = told.filter(is_this) {
            return Turn::Shared(Shared(told.outcome));
        }
        let key = (hook.clone(), (!terms.once_for_all).then(|| notice.target.clone()));
        let fresh = || Batch { turn: now + terms.debounce, by: Queue::Others, members: BTreeMap::new() };
        let mut batch = state.waiting.remove(&key).unwrap_or_else(fresh);
        batch.members.insert(notice.target.clone(), notice.clone());
        if let Some(gap) = gap(terms).filter(|_| batch.turn <= now) {
            state.budget(&mut batch, gap, now);
        }
        if batch.turn > now {
            let later = Turn::Later(batch.turn, batch.by);
            state.waiting.insert(key, batch);
            return later;
        }
        Turn::Now(Box::new(state.give(hook, batch.members, notice, now)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding it; should it ever, what is inside is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Sees to it that a restart is due now only where the budget has room for it.
    fn budget(&mut self, batch: &mut Batch, gap: Duration, now: Moment) {
        let in_line = batch.by == Queue::Budget;
        let next = self.last_restart + gap;
        if in_line && now.since(batch.turn) <= gap {
            // One that comes a little late keeps its place.
            batch.turn = batch.turn.max(next);
        } else if in_line {
            // Those who missed their turns, because a wake-up was late or the machine slept, go before those whose turn is still to come, one after the
            // other. At the end of the line they would miss the next one, too, where turns are closer together than wake-ups.
            batch.turn = now.max(next).max(self.last_late + gap);
            self.last_late = batch.turn;
        } else {
            batch.turn = now.max(next).max(self.last_turn + gap);
        }
        self.last_turn = self.last_turn.max(batch.turn);
        batch.by = Queue::Budget;
        if batch.turn <= now {
            self.last_restart = now;
            self.last_turn = self.last_turn.max(now);
        }
    }

    /// A clock that was set back would hold everybody up until it is where it was.
    fn keep_to(&mut self, now: Moment, gap: Option<Duration>) {
        self.waiting.retain(|_, batch| now.since(batch.turn) < FORGOTTEN_AFTER);
        self.last_restart = self.last_restart.min(now);
        let in_line = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        let longest = gap.unwrap_or_default().saturating_mul(in_line.saturating_add(1));
        self.last_turn = self.last_turn.min(now + longest);
        self.last_late = self.last_late.min(now + longest);
    }

    /// Tells the hook for all who wait under its key.
    fn give(
        &mut self,
        hook: &HookName,
        mut members: BTreeMap<TargetName, Notice>,
        mut notice: Notice,
        now: Moment,
    ) -> Call {
        members.remove(&notice.target);
        notice.others = members.iter().map(|(target, one)| (target.clone(), one.news())).collect();
        let (sender, outcome) = watch::channel(None);
        for (target, notice) in members {
            self.told.insert((hook.clone(), target), Told { at: now, notice, outcome: outcome.clone() });
        }
        Call { notice, outcome: sender }
    }
}

/// How far apart two restarts are, where that is limited.
fn gap(terms: Terms) -> Option<Duration> {
    terms.per_minute.map(|count| Duration::from_millis(60_000_u64.div_ceil(u64::from(count.get()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Generation;
    use std::num::NonZeroU32;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: i64) -> Moment {
        Moment::from_seconds(1_000 + seconds)
    }

    fn notice(target: &str) -> Notice {
        Notice {
            target: target.parse().unwrap(),
            generation: Generation(2),
            rotation: None,
            telling: 1,
            others: BTreeMap::new(),
        }
    }

    fn ask(outbox: &Outbox, hook: &str, terms: Terms, target: &str, now: Moment) -> Turn {
        outbox.ask(&hook.parse().unwrap(), terms, notice(target), None, now)
    }

    fn later(turn: &Turn) -> Option<(Moment, Queue)> {
        match turn {
            Turn::Later(until, by) => Some((*until, *by)),
            Turn::Now(_) | Turn::Shared(_) => None,
        }
    }

    fn ten_a_minute() -> Terms {
        Terms { per_minute: NonZeroU32::new(10), ..Terms::default() }
    }

    #[test]
    fn turns_are_a_gap_apart_from_the_start_on_and_in_the_order_of_asking() {
        let outbox = Outbox::new(at(0));
        let names: Vec<String> = (0..5).map(|number| format!("h{number}")).collect();
        for (place, hook) in names.iter().enumerate() {
            let due = at(6 * (place as i64 + 1));
            assert_eq!(later(&ask(&outbox, hook, ten_a_minute(), "t", at(0))), Some((due, Queue::Budget)));
        }
        for (place, hook) in names.iter().enumerate() {
            assert!(later(&ask(&outbox, hook, ten_a_minute(), "t", at(6 * (place as i64 + 1)))).is_none());
        }
        // Long afterwards nobody waits.
        assert!(later(&ask(&outbox, "h9", ten_a_minute(), "t", at(60))).is_none());
        assert_eq!(later(&ask(&outbox, "h8", ten_a_minute(), "t", at(61))), Some((at(66), Queue::Budget)));
    }

    #[test]
    fn a_little_late_keeps_its_place_and_those_who_missed_theirs_go_one_after_the_other() {
        let outbox = Outbox::new(at(0));
        for hook in ["a", "b", "c", "d"] {
            assert!(later(&ask(&outbox, hook, ten_a_minute(), "t", at(0))).is_some());
        }
        let millis = Duration::from_millis(10);
        assert!(later(&ask(&outbox, "a", ten_a_minute(), "t", at(6) + millis)).is_none());
        assert_eq!(later(&ask(&outbox, "b", ten_a_minute(), "t", at(12))), Some((at(12) + millis, Queue::Budget)));
        // The machine slept through everybody's turn.
        assert!(later(&ask(&outbox, "b", ten_a_minute(), "t", at(600))).is_none_or(|(until, _)| until == at(600)));
        let turns: Vec<_> = ["c", "d"].map(|hook| later(&ask(&outbox, hook, ten_a_minute(), "t", at(600)))).into();
        assert_eq!(turns, [Some((at(606), Queue::Budget)), Some((at(612), Queue::Budget))]);
    }

    /// Ten a second, and a wake-up each second: each one misses its turn, and all of them are told in the time that the budget needs.
    #[test]
    fn turns_that_are_closer_together_than_wake_ups_are_not_lost() {
        let terms = Terms { per_minute: NonZeroU32::new(600), ..Terms::default() };
        let gap = Duration::from_millis(100);
        let outbox = Outbox::new(at(0));
        let names: Vec<String> = (0..100).map(|number| format!("h{number}")).collect();
        let mut turns: BTreeMap<&str, Moment> = names.iter().map(|name| (name.as_str(), at(0))).collect();
        let mut told = Vec::new();
        let mut now = at(0);
        let mut asks = 0;
        while !turns.is_empty() {
            // What is due within three seconds has a timer of its own; the rest is found by the sweep.
            let soon = turns.values().copied().filter(|&turn| turn > now && turn <= now + 3 * SECOND).min();
            now = soon.unwrap_or(now + SECOND).max(now + Duration::from_millis(7));
            let due: Vec<&str> = turns.iter().filter(|(_, turn)| **turn <= now).map(|(name, _)| *name).collect();
            for hook in due {
                asks += 1;
                match later(&ask(&outbox, hook, terms, "t", now)) {
                    Some((until, _)) => {
                        turns.insert(hook, until);
                    }
                    None => {
                        turns.remove(hook);
                        told.push(now);
                    }
                }
            }
        }
        assert!(told.windows(2).all(|pair| pair[1].since(pair[0]) >= gap), "the budget is exceeded");
        assert!(now <= at(0) + 13 * SECOND, "a hundred took until {now}");
        assert!(asks <= 400, "{asks} asks");
    }

    #[test]
    fn a_clock_that_is_set_back_holds_nobody_up_for_longer_than_the_queue_is() {
        let outbox = Outbox::new(at(100_000));
        assert!(later(&ask(&outbox, "a", ten_a_minute(), "t", at(100_060))).is_none());
        let until = later(&ask(&outbox, "b", ten_a_minute(), "t", at(0))).unwrap().0;
        assert!(until <= at(12), "{until}");
    }

    #[test]
    fn who_waits_for_the_same_hook_is_told_of_by_one_notice() {
        let outbox = Outbox::new(at(0));
        let terms = Terms { debounce: 10 * SECOND, once_for_all: true, per_minute: None };
        let due = Some((at(10), Queue::Others));
        assert_eq!(later(&ask(&outbox, "h", terms, "a", at(0))), due);
        assert_eq!(later(&ask(&outbox, "h", terms, "b", at(7))), due);
        let Turn::Now(call) = ask(&outbox, "h", terms, "b", at(10)) else { panic!("its turn has come") };
        assert_eq!(call.notice.others.keys().map(TargetName::as_str).collect::<Vec<_>>(), ["a"]);
        call.answer(&Err(Fault::new(Kind::HookFailed, "no")));
        // It failed for both, and then each waits anew.
        let Turn::Shared(shared) = ask(&outbox, "h", terms, "a", at(11)) else { panic!("it was told for it") };
        let outcome = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(shared.outcome());
        assert_eq!(outcome.unwrap_err().what, "no");
        assert_eq!(later(&ask(&outbox, "h", terms, "a", at(20))), Some((at(30), Queue::Others)));
    }

    #[test]
    fn what_was_told_before_a_delivery_is_no_news_of_it() {
        let terms = Terms { debounce: 10 * SECOND, once_for_all: true, per_minute: None };
        for (delivered_at, shared) in [(at(9), true), (at(11), false)] {
            let outbox = Outbox::new(at(0));
            let _waits = (ask(&outbox, "h", terms, "a", at(0)), ask(&outbox, "h", terms, "b", at(0)));
            let Turn::Now(call) = ask(&outbox, "h", terms, "b", at(10)) else { panic!("its turn has come") };
            call.answer(&Ok(()));
            let turn = outbox.ask(&"h".parse().unwrap(), terms, notice("a"), Some(delivered_at), at(12));
            assert_eq!(matches!(turn, Turn::Shared(_)), shared, "delivered at {delivered_at}");
        }
    }

    #[tokio::test]
    async fn a_notice_that_was_cut_short_failed_for_everybody() {
        let outbox = Outbox::new(at(0));
        let terms = Terms { debounce: SECOND, once_for_all: true, per_minute: None };
        let _waits = (ask(&outbox, "h", terms, "a", at(0)), ask(&outbox, "h", terms, "b", at(0)));
        let Turn::Now(call) = ask(&outbox, "h", terms, "b", at(1)) else { panic!("its turn has come") };
        let Turn::Shared(shared) = ask(&outbox, "h", terms, "a", at(1)) else { panic!("it is being told for it") };
        drop(call);
        assert_eq!(shared.outcome().await.unwrap_err().kind, Kind::HookFailed);
    }
}
