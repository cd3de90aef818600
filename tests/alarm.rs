//! The alarm, the timetables and a small ledger of due times together: the alarm only wakes, the due times decide.

#![allow(clippy::unwrap_used, reason = "a test's helpers stop where the test would")]

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use keywheel::alarm::{Alarm, SCHEDULE_LIMIT, Wake};
use keywheel::clock::{Clock, SystemClock};
use keywheel::moment::Moment;
use keywheel::schedule::{Calendar, Decision, Missed, Settings, Timetable};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A clock that stands still until it is set.
struct Dial(AtomicI64);

impl Dial {
    fn at(text: &str) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(at(text).millis())))
    }

    fn set(&self, to: Moment) {
        self.0.store(to.millis(), Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for Dial {
    fn now(&self) -> Moment {
        Moment::from_millis(self.0.load(Ordering::SeqCst))
    }

    async fn sleep(&self, _: Duration) {
        std::future::pending().await
    }
}

fn at(text: &str) -> Moment {
    text.parse::<DateTime<Utc>>().unwrap().into()
}

fn timetable(target: &str, schedule: &str, zone: Tz, missed: Missed) -> Timetable {
    Timetable::parse(Settings {
        target: target.parse().unwrap(),
        schedule: Some(schedule.to_owned()),
        every: None,
        zone,
        window: None,
        splay: Duration::ZERO,
        missed,
        max_age: None,
    })
    .unwrap()
}

fn calendars(tables: &BTreeMap<String, Timetable>) -> Vec<Calendar> {
    tables.values().filter_map(Timetable::calendar).cloned().collect()
}

/// What the driver does on a wake-up: asks who is due, starts each once, and notes the slot as served.
struct Book {
    served: BTreeMap<String, Moment>,
    started: Vec<(String, Moment)>,
}

impl Book {
    fn new(tables: &BTreeMap<String, Timetable>, since: Moment) -> Self {
        let served = tables.keys().map(|target| (target.clone(), since)).collect();
        Self { served, started: Vec::new() }
    }

    fn serve(&mut self, tables: &BTreeMap<String, Timetable>, now: Moment) {
        for (target, served) in &mut self.served {
            if let Decision::Start(slot) = tables[target].decide(*served, now, now) {
                *served = slot.nominal;
                self.started.push((target.clone(), slot.nominal));
            }
        }
    }
}

/// A wake-up that notes when it came, by the alarm's own clock.
fn waker(clock: Arc<dyn Clock>) -> (Wake, UnboundedReceiver<Moment>) {
    let (wakes, woken) = unbounded_channel();
    (Arc::new(move || wakes.send(clock.now()).unwrap_or_default()), woken)
}

/// Sets the clock and waits until the alarm has woken us at that time.
async fn turn(dial: &Dial, to: Moment, woken: &mut UnboundedReceiver<Moment>) {
    dial.set(to);
    while woken.recv().await.unwrap() != to {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_targets_in_one_second_are_neither_lost_nor_doubled() {
    // At noon UTC and at one more hour each, told on three clocks: more distinct schedules than get a job of their own.
    let clocks = [(Tz::UTC, 0, 12), (Tz::Asia__Shanghai, 0, 20), (Tz::Asia__Kathmandu, 45, 17)];
    let tables: BTreeMap<String, Timetable> = (0..5_000)
        .map(|number| {
            let (zone, minute, noon) = clocks[number % 3];
            let other = number / 3 % 24;
            let schedule = format!("0 {minute} {noon},{other} * * *");
            let target = format!("target-{number}");
            (target.clone(), timetable(&target, &schedule, zone, Missed::Run))
        })
        .collect();
    let distinct: HashSet<Calendar> = calendars(&tables).into_iter().collect();
    assert!(distinct.len() > SCHEDULE_LIMIT, "{}", distinct.len());

    let noon = at("2026-06-01T12:00:00Z");
    let dial = Dial::at("2026-06-01T11:59:59.900Z");
    let mut book = Book::new(&tables, dial.now());
    let (wake, mut woken) = waker(dial.clone());
    let alarm = Alarm::start(dial.clone(), calendars(&tables), wake).await.unwrap();
    for millis in [0, 200, 1_000, 2_000] {
        if millis == 200 {
            // Nothing new falls due within the same second, so no wake-up is owed.
            dial.set(noon + Duration::from_millis(millis));
        } else {
            turn(&dial, noon + Duration::from_millis(millis), &mut woken).await;
        }
        book.serve(&tables, dial.now());
        assert_eq!(book.started.len(), 5_000, "{millis} ms after noon");
    }
    let starts: HashSet<&(String, Moment)> = book.started.iter().collect();
    assert_eq!(starts.len(), 5_000);
    assert!(book.started.iter().all(|(_, nominal)| *nominal == noon));
    alarm.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_clock_changes_and_a_clock_that_jumps() {
    let tables: BTreeMap<String, Timetable> = [("berlin", Tz::Europe__Berlin), ("utc", Tz::UTC)]
        .map(|(target, zone)| (target.to_owned(), timetable(target, "30 2 * * *", zone, Missed::Run)))
        .into();
    let dial = Dial::at("2026-03-28T12:00:00Z");
    let mut book = Book::new(&tables, dial.now());
    let (wake, mut woken) = waker(dial.clone());
    let alarm = Alarm::start(dial.clone(), calendars(&tables), wake).await.unwrap();
    // (the clock is set to, who starts then and for which slot)
    for (now, expected) in [
        ("2026-03-29T00:59:59Z", &[][..]),
        // 02:30 does not exist: right after the gap.
        ("2026-03-29T01:00:00Z", &[("berlin", "2026-03-29T01:00:00Z")]),
        ("2026-03-29T01:30:00Z", &[]),
        ("2026-03-29T02:30:00Z", &[("utc", "2026-03-29T02:30:00Z")]),
        ("2026-03-30T00:30:00Z", &[("berlin", "2026-03-30T00:30:00Z")]),
        // Suspended for seven months: one start each, for the newest slot.
        ("2026-10-25T00:15:00Z", &[("berlin", "2026-10-24T00:30:00Z"), ("utc", "2026-10-24T02:30:00Z")]),
        // 02:30 comes twice: the first pass only.
        ("2026-10-25T00:30:00Z", &[("berlin", "2026-10-25T00:30:00Z")]),
        ("2026-10-25T01:30:00Z", &[]),
        ("2026-10-25T02:30:00Z", &[("utc", "2026-10-25T02:30:00Z")]),
        // Set back by two hours: nothing again, and the alarm does not fall silent.
        ("2026-10-25T00:29:59Z", &[]),
        ("2026-10-25T00:30:01Z", &[]),
        ("2026-10-25T02:30:02Z", &[]),
        ("2026-10-26T01:30:00Z", &[("berlin", "2026-10-26T01:30:00Z")]),
    ] {
        turn(&dial, at(now), &mut woken).await;
        book.started.clear();
        book.serve(&tables, dial.now());
        let started: Vec<(&str, Moment)> = book.started.iter().map(|(target, slot)| (target.as_str(), *slot)).collect();
        let expected: Vec<(&str, Moment)> = expected.iter().map(|(target, slot)| (*target, at(slot))).collect();
        assert_eq!(started, expected, "{now}");
    }
    alarm.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_replaces_the_schedules_and_the_sweep_goes_on() {
    let calendar = |text: String| Calendar::parse(&text, Tz::Europe__Berlin).unwrap();
    let dial = Dial::at("2026-06-01T00:00:00Z");
    let (wake, mut woken) = waker(dial.clone());
    let many = (0..200).map(|number| calendar(format!("{} {} * * *", number % 60, number / 60)));
    let mut alarm = Alarm::start(dial.clone(), many, wake).await.unwrap();
    turn(&dial, at("2026-06-01T00:00:01Z"), &mut woken).await;
    alarm.replace([calendar("@daily".to_owned())]).await.unwrap();
    turn(&dial, at("2026-06-01T00:00:02Z"), &mut woken).await;
    alarm.replace([]).await.unwrap();
    turn(&dial, at("2026-06-01T00:00:03Z"), &mut woken).await;
    alarm.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_machines_own_clock_wakes_too() {
    let (wake, mut woken) = waker(Arc::new(SystemClock));
    let alarm = Alarm::start(Arc::new(SystemClock), [], wake).await.unwrap();
    for _ in 0..2 {
        woken.recv().await.unwrap();
    }
    alarm.stop().await.unwrap();
}
