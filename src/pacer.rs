//! A first-come, first-served pacer: one call per slot, slots as far apart as the quota says, never a burst after a pause.
//!
//! The rate adapts to servers that count differently from us: each second in which the cloud complained lowers it a little, each call that
//! went through raises it a little, never above the quota.

use crate::fault::Kind;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// The rate's factor for each second in which the cloud throttled us.
const DECREASE: f64 = 0.95;
/// What one call that was not throttled adds to the rate, in calls per second.
const INCREASE: f64 = 0.002;
/// The rate never falls below this part of the quota.
const FLOOR: f64 = 0.05;
/// Complaints closer together than this count once.
const COMPLAINT_SPAN: Duration = Duration::from_secs(1);
/// The highest quota that makes sense, in calls per second.
pub const QUOTA_LIMIT: f64 = 10_000.0;

/// The pacers of one provider, one for each action.
#[derive(Debug)]
pub struct Pacers {
    quota: f64,
    actions: Mutex<BTreeMap<&'static str, Arc<Pacer>>>,
}

impl Pacers {
    /// Pacers that each begin at `quota` calls per second, which must be above zero and at most [`QUOTA_LIMIT`] (it is clamped).
    #[must_use]
    pub fn new(quota: f64) -> Self {
        Self { quota, actions: Mutex::default() }
    }

    /// The pacer of this action; the same one for every caller.
    pub fn of(&self, action: &'static str) -> Arc<Pacer> {
        let mut actions = unpoisoned(&self.actions);
        Arc::clone(actions.entry(action).or_insert_with(|| Arc::new(Pacer::new(self.quota))))
    }

    /// The most calls per second of each action.
    pub fn quota(&self) -> f64 {
        self.quota
    }

    /// What each action's quota was used for.
    pub fn loads(&self) -> Vec<(&'static str, Load)> {
        unpoisoned(&self.actions).iter().map(|(action, pacer)| (*action, pacer.load())).collect()
    }
}

/// What the quota of one action was used for, since the pacer was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// Callers who wait for their slot now.
    pub waiting: usize,
    /// Slots that were taken.
    pub admitted: u64,
    /// Times that the cloud complained about our rate.
    pub throttled: u64,
    /// Calls per second at present.
    pub rate: f64,
    /// What calls came to: `None` for those that brought what they were for.
    pub came_to: BTreeMap<Option<Kind>, u64>,
}

/// One queue of callers in front of one quota.
#[derive(Debug)]
pub struct Pacer {
    quota: f64,
    /// Held by the caller whose turn is next. Tokio's mutex is first come, first served, and a caller that gives up leaves no hole:
    /// the slot is taken only when it has come.
    queue: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    waiting: AtomicUsize,
    admitted: AtomicU64,
    throttled: AtomicU64,
    came_to: Mutex<BTreeMap<Option<Kind>, u64>>,
}

#[derive(Debug)]
struct State {
    rate: f64,
    next: Instant,
    complained: Option<Instant>,
}

impl Pacer {
    /// A pacer that begins at `quota` calls per second (clamped to what [`QUOTA_LIMIT`] allows).
    #[must_use]
    pub fn new(quota: f64) -> Self {
        let quota = if quota.is_finite() { quota } else { QUOTA_LIMIT }.clamp(0.001, QUOTA_LIMIT);
        Self {
            quota,
            queue: tokio::sync::Mutex::new(()),
            state: Mutex::new(State { rate: quota, next: Instant::now(), complained: None }),
            waiting: AtomicUsize::new(0),
            admitted: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
            came_to: Mutex::default(),
        }
    }

    /// Waits for this caller's slot. Dropping the future gives the place up and takes nothing.
    pub async fn turn(&self) {
        let _waits = Waits::at(&self.waiting);
        let arrived = Instant::now();
        let _place = self.queue.lock().await;
        loop {
            let due = unpoisoned(&self.state).next;
            if due <= Instant::now() {
                break;
            }
            // A pause or a changed rate may move the slot meanwhile, hence the loop.
            sleep_until(due).await;
        }
        unpoisoned(&self.state).take(arrived, Instant::now());
        self.admitted.fetch_add(1, Ordering::Relaxed);
    }

    /// A call went through (whatever it answered): the rate rises a little.
    pub fn passed(&self) {
        let mut state = unpoisoned(&self.state);
        state.rate = (state.rate + INCREASE).min(self.quota);
    }

    /// The cloud complained about our rate: it falls, once a second at most.
    pub fn throttled(&self) {
        self.throttled.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let mut state = unpoisoned(&self.state);
        if state.complained.is_none_or(|last| now >= last + COMPLAINT_SPAN) {
            state.rate = (state.rate * DECREASE).max(self.quota * FLOOR);
            state.complained = Some(now);
        }
    }

    /// The cloud said "not before": nobody's turn comes within `span`.
    pub fn pause(&self, span: Duration) {
        let until = Instant::now() + span;
        let mut state = unpoisoned(&self.state);
        state.next = state.next.max(until);
    }

    /// A call is over: `None` where it brought what it was for.
    pub fn came_to(&self, trouble: Option<Kind>) {
        *unpoisoned(&self.came_to).entry(trouble).or_default() += 1;
    }

    fn load(&self) -> Load {
        Load {
            waiting: self.waiting.load(Ordering::Relaxed),
            admitted: self.admitted.load(Ordering::Relaxed),
            throttled: self.throttled.load(Ordering::Relaxed),
            rate: self.rate(),
            came_to: unpoisoned(&self.came_to).clone(),
        }
    }

    /// Calls per second at present.
    #[must_use]
    pub fn rate(&self) -> f64 {
        unpoisoned(&self.state).rate
    }
}

/// Somebody who waits until this is dropped.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn at(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl State {
    /// Takes the slot that has come. A caller that was waiting for it and woke late does not push the later slots back (up to one slot
    /// is made up, else timer granularity would cost part of the quota); a caller that found the queue idle begins a new row of slots.
    fn take(&mut self, arrived: Instant, now: Instant) {
        let interval = Duration::from_secs_f64(1.0 / self.rate);
        let began = if arrived <= self.next { self.next.max(now.checked_sub(interval).unwrap_or(now)) } else { now };
        self.next = began + interval;
    }
}

/// The states here are whole at every moment, so a panic elsewhere does not spoil them.
fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{advance, timeout};

    const MILLI: Duration = Duration::from_millis(1);

    async fn gaps(pacer: &Pacer, calls: usize) -> Vec<Duration> {
        let mut gaps = Vec::new();
        let mut last = Instant::now();
        for _ in 0..calls {
            pacer.turn().await;
            gaps.push(last.elapsed());
            last = Instant::now();
        }
        gaps
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_the_quota() {
        let pacer = Pacer::new(20.0);
        let began = Instant::now();
        gaps(&pacer, 201).await;
        let took = began.elapsed();
        assert!(took >= 10_000 * MILLI && took <= 10_060 * MILLI, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn no_burst_after_an_idle_hour() {
        let pacer = Pacer::new(20.0);
        pacer.turn().await;
        advance(Duration::from_secs(3_600)).await;
        let gaps = gaps(&pacer, 5).await;
        assert_eq!(gaps[0], Duration::ZERO);
        assert!(gaps[1..].iter().all(|gap| *gap >= 49 * MILLI), "{gaps:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn turns_come_in_the_order_of_arrival() {
        let pacer = Arc::new(Pacer::new(20.0));
        let order = Arc::new(Mutex::new(Vec::new()));
        let callers: Vec<_> = (0..50)
            .map(|number| {
                let (pacer, order) = (Arc::clone(&pacer), Arc::clone(&order));
                tokio::spawn(async move {
                    pacer.turn().await;
                    order.lock().unwrap().push(number);
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), (0..50).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_gives_up_leaves_no_hole() {
        let pacer = Pacer::new(1.0);
        pacer.turn().await;
        let began = Instant::now();
        for _ in 0..5 {
            assert!(timeout(100 * MILLI, pacer.turn()).await.is_err());
        }
        pacer.turn().await;
        let waited = began.elapsed();
        assert!(waited <= 1_002 * MILLI, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_load_says_who_waits_and_what_calls_came_to() {
        let pacers = Pacers::new(1.0);
        let pacer = pacers.of("Modify");
        pacer.turn().await;
        let mut second = Box::pin(pacer.turn());
        assert!(timeout(100 * MILLI, &mut second).await.is_err());
        pacer.throttled();
        pacer.throttled();
        pacer.came_to(Some(Kind::Throttled));
        pacer.came_to(None);
        let came_to = [(None, 1), (Some(Kind::Throttled), 1)].into();
        let load = Load { waiting: 1, admitted: 1, throttled: 2, rate: 0.95, came_to };
        assert_eq!(pacers.loads(), [("Modify", load.clone())]);
        drop(second);
        assert_eq!(pacers.loads(), [("Modify", Load { waiting: 0, ..load })], "whoever gave up waits no more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_those_already_waiting() {
        let pacer = Arc::new(Pacer::new(20.0));
        pacer.turn().await;
        let began = Instant::now();
        let waiting = {
            let pacer = Arc::clone(&pacer);
            tokio::spawn(async move { pacer.turn().await })
        };
        tokio::task::yield_now().await;
        pacer.pause(Duration::from_secs(7));
        waiting.await.unwrap();
        assert!(began.elapsed() >= Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_falls_once_a_second_and_rises_with_each_call() {
        let pacer = Pacer::new(20.0);
        let near = |expected: f64| assert!((pacer.rate() - expected).abs() < 1e-9, "{} {expected}", pacer.rate());
        for _ in 0..10 {
            pacer.throttled();
        }
        near(19.0);
        advance(COMPLAINT_SPAN).await;
        pacer.throttled();
        near(18.05);
        pacer.passed();
        near(18.052);
        for _ in 0..2_000 {
            pacer.passed();
        }
        near(20.0);
        for _ in 0..200 {
            advance(COMPLAINT_SPAN).await;
            pacer.throttled();
        }
        near(1.0);
    }

    #[tokio::test(start_paused = true)]
    async fn waking_late_does_not_cost_the_quota() {
        let mut state = State { rate: 20.0, next: Instant::now(), complained: None };
        let first = state.next;
        state.take(first, first + 30 * MILLI);
        assert_eq!(state.next, first + 50 * MILLI, "the schedule stands");
        state.take(first, first + 500 * MILLI);
        assert_eq!(state.next, first + 500 * MILLI, "at most one slot is made up");
    }

    #[test]
    fn each_action_has_its_own_pacer() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _inside = runtime.enter();
        let pacers = Pacers::new(20.0);
        assert!(Arc::ptr_eq(&pacers.of("Modify"), &pacers.of("Modify")));
        assert!(!Arc::ptr_eq(&pacers.of("Modify"), &pacers.of("Reset")));
    }
}
