//! When hooks are told: once for several targets, and never more of them in a minute than the restart budget has.

use super::dice::Dice;
use super::life::{Story, Traits};
use super::runtime;
use keywheel::driver::Wish;
use keywheel::hook::Terms;
use keywheel::name::TargetName;
use keywheel::rotation::event::By;
use keywheel::schedule::{Missed, Settings};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

const OPERATOR: By = By::Operator { uid: 0 };
const MINUTE: i64 = 60_000;

/// A world of calm targets, each on an instance of its own with one sink and one hook, adopted and settled, whose hooks are told on these terms.
async fn settled(targets: usize, hook: impl Fn(usize) -> String, terms: Terms) -> Story {
    let mut story = Story::empty(Dice::new(17), Traits::default(), 0, true);
    story.turns = Some(64);
    {
        let mut inner = story.sim.lock();
        inner.storm = false;
        inner.terms = terms;
        inner.transcript = None;
    }
    for number in 0..targets {
        add(&mut story, number, &hook(number));
    }
    story.start();
    until(&story, "all are settled", |state| state.open.is_none() && state.standing.current.is_some()).await;
    story.sim.lock().rings.clear();
    story
}

fn add(story: &mut Story, number: usize, hook: &str) {
    let settings = Settings {
        target: format!("t{number}").parse().unwrap(),
        schedule: None,
        every: Some(Duration::from_secs(30 * 86_400)),
        zone: chrono_tz::UTC,
        window: None,
        splay: Duration::ZERO,
        missed: Missed::IfOpen,
        max_age: None,
    };
    story.add_calm(settings, vec![hook.parse().unwrap()], None);
}

/// Waits until this is true of every record, at most a day.
async fn until(story: &Story, what: &str, says: impl Fn(&keywheel::rotation::state::State) -> bool) {
    for _ in 0..8_640 {
        if (0..story.blueprints.len()).all(|at| says(&story.standing(at).0)) {
            return;
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    panic!("{what}: not within a day");
}

/// Everybody is asked at once; waits until everybody has rotated and settled.
async fn all_rotate(story: &Story) {
    for at in 0..story.blueprints.len() {
        story.ask(at, Wish::Rotate { by: OPERATOR, reason: None, through_freeze: false });
    }
    until(story, "all have rotated", |state| {
        state.open.is_none() && state.asked.is_none() && state.standing.rotated_at.is_some()
    })
    .await;
}

fn most_in_a_minute(rings: &[i64]) -> usize {
    rings
        .iter()
        .map(|&first| rings.iter().filter(|&&at| (first..first + MINUTE).contains(&at)).count())
        .max()
        .unwrap_or(0)
}

/// Five hundred targets with one consumer each rotate at once and ten restarts a minute are allowed: never more, each consumer once. The daemon stops
/// and starts in the middle, and nothing of the budget is forgotten.
#[test]
fn five_hundred_consumers_are_restarted_ten_a_minute() {
    for restarted in [false, true] {
        runtime().block_on(async {
            let terms = Terms { per_minute: NonZeroU32::new(10), ..Terms::default() };
            let mut story = settled(500, |number| format!("h{number}"), terms).await;
            let began = story.sim.lock().now;
            for at in 0..story.blueprints.len() {
                story.ask(at, Wish::Rotate { by: OPERATOR, reason: None, through_freeze: false });
            }
            if restarted {
                tokio::time::sleep(Duration::from_secs(20 * 60)).await;
                let one = story.running.pop().unwrap();
                story.end(one).await;
                story.start();
            }
            until(&story, "all have rotated", |state| {
                state.open.is_none() && state.asked.is_none() && state.standing.rotated_at.is_some()
            })
            .await;
            let rings = std::mem::take(&mut story.sim.lock().rings);
            let mut times = BTreeMap::<TargetName, usize>::new();
            rings.iter().for_each(|(_, target, _)| *times.entry(target.clone()).or_default() += 1);
            assert_eq!((times.len(), times.values().max()), (500, Some(&1)), "each consumer exactly once");
            let at: Vec<i64> = rings.iter().map(|(at, ..)| *at).collect();
            assert!(most_in_a_minute(&at) <= 10, "{} in a minute", most_in_a_minute(&at));
            // Fifty minutes' worth of turns: the queue has no holes.
            let took = (at.iter().max().unwrap() - began) / MINUTE;
            assert!((49..=53).contains(&took), "{took} minutes");
            story.finish().await.unwrap();
        });
    }
}

/// Twenty targets share a consumer: it is told once for all that change within the debounce, and each of them settles with it.
#[test]
fn one_notice_is_enough_for_all_who_wait_for_the_same_hook() {
    runtime().block_on(async {
        let terms = Terms { debounce: Duration::from_secs(120), once_for_all: true, per_minute: None };
        let mut story = settled(20, |_| "shared".to_owned(), terms).await;
        all_rotate(&story).await;
        let rings = std::mem::take(&mut story.sim.lock().rings);
        assert_eq!(rings.len(), 1, "{rings:?}");
        assert_eq!(rings[0].2.len(), 19);
        story.finish().await.unwrap();
    });
}

/// Without a word about it, each target's notice is its own.
#[test]
fn each_target_tells_a_hook_that_does_not_say_that_once_is_enough() {
    runtime().block_on(async {
        let mut story = settled(20, |_| "shared".to_owned(), Terms::default()).await;
        all_rotate(&story).await;
        let rings = std::mem::take(&mut story.sim.lock().rings);
        assert_eq!(rings.len(), 20);
        assert!(rings.iter().all(|(_, _, others)| others.is_empty()));
        story.finish().await.unwrap();
    });
}
