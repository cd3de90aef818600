//! The whole driver in simulated worlds: `keywheel::driver::Driver` itself, on a virtual clock, with a ledger, clouds, login routes, sinks and hooks
//! that fail in every way their contracts allow, processes that die or are overtaken, people and outsiders. The promises are checked at each append
//! and at each thing that happens outside; when the faults stop, every target has to settle or to be halted for a reason that fits.
//!
//! `KEYWHEEL_SEED=n` replays one story and prints its transcript, `KEYWHEEL_SEEDS=n` sets how many are told, `KEYWHEEL_FIRST=n` from which seed on;
//! `KEYWHEEL_YEAR=n` and `KEYWHEEL_YEARS=n` do the same for the worlds that live through a year. `KEYWHEEL_LONG=1` tells many more.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::wildcard_enum_match_arm, reason = "an observer looks at a few of many kinds")]
// What is shared with `rotation_world` has more to offer than is used here.
#![allow(dead_code, reason = "rooms shared with another test")]

mod acknowledged;
mod calm;
#[path = "../world/cloud.rs"]
mod cloud;
#[path = "../world/consumers.rs"]
mod consumers;
#[path = "../world/dice.rs"]
mod dice;
mod disk;
mod errors;
mod fleet;
mod found;
mod hands;
mod hooks;
#[path = "../world/instance.rs"]
mod instance;
mod life;
#[path = "../world/nodes.rs"]
mod nodes;
mod others;
#[path = "../world/plan.rs"]
mod plan;
mod promises;
mod sim;
mod sinks_down;
mod truth;
mod waves;
mod year;

use life::Story;
use sim::{Tally, Told};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Stories of the normal run, and of the long one (`KEYWHEEL_LONG=1`).
const SEEDS: (u64, u64) = (10_000, 200_000);
/// Worlds that live through a year, likewise.
const YEARS: (u64, u64) = (2, 40);
/// Of these so many are told twice.
const TWICE: u64 = 25;

/// One story, from its seed alone.
fn tell(seed: u64, talkative: bool) -> (Told<Tally>, String) {
    let runtime = runtime();
    errors::watched(|errors| {
        let (outcome, transcript) = runtime.block_on(async {
            let mut story = Story::new(seed, talkative);
            let outcome = story.live().await;
            let transcript = story.sim.lock().transcript.take();
            (outcome, transcript.unwrap_or_default())
        });
        let outcome = outcome.and_then(|tally| errors.verdict().map(|()| tally));
        (outcome, transcript)
    })
}

/// Time stands still while anything can be done, and then jumps to the next thing that is waited for.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// How much the normal run does, or the long one.
fn usual((normal, long): (u64, u64)) -> u64 {
    if setting("KEYWHEEL_LONG") == Some(1) { long } else { normal }
}

#[test]
fn the_whole_driver_keeps_its_promises_in_hostile_worlds() {
    if let Some(seed) = setting("KEYWHEEL_SEED") {
        let (outcome, transcript) = tell(seed, true);
        println!("{transcript}");
        panic!("seed {seed}: {outcome:?}");
    }
    let seeds = setting("KEYWHEEL_SEEDS").unwrap_or_else(|| usual(SEEDS));
    let next = AtomicU64::new(setting("KEYWHEEL_FIRST").unwrap_or(0));
    let last = next.load(Ordering::Relaxed) + seeds;
    let all = Mutex::new((Tally::default(), BTreeMap::<String, Vec<u64>>::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |threads| threads.get().min(2)) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last {
                        return;
                    }
                    let (outcome, _) = tell(seed, false);
                    let (tally, broken) = &mut *all.lock().unwrap();
                    match outcome {
                        Ok(one) => tally.add(one),
                        Err(promise) => broken.entry(promise.chars().take(110).collect()).or_default().push(seed),
                    }
                }
            });
        }
    });
    let (tally, broken) = all.into_inner().unwrap();
    println!(
        "{seeds} stories, {} steps, {} crashes and stops, {} settled rotations, {} targets settled at the end and {} halted",
        tally.steps, tally.crashes, tally.rotations, tally.settled, tally.halted
    );
    println!("proofs {:?}\nhalts {:?}\nfaults {:#?}", tally.proofs, tally.halts, tally.faults);
    if let Some(&seed) = broken.values().flatten().min() {
        let (_, transcript) = tell(seed, true);
        println!("{transcript}");
        let counts: Vec<_> =
            broken.iter().map(|(promise, seeds)| (promise, seeds.len(), &seeds[..seeds.len().min(5)])).collect();
        panic!("broken promises {counts:#?}; the transcript above is of seed {seed} (KEYWHEEL_SEED={seed} replays it)");
    }
}

#[test]
fn each_weekly_slot_of_a_year_is_used_once_or_said_to_have_passed() {
    if setting("KEYWHEEL_SEED").is_some() {
        return;
    }
    let one = setting("KEYWHEEL_YEAR");
    let years = one.map_or(0..setting("KEYWHEEL_YEARS").unwrap_or_else(|| usual(YEARS)), |seed| seed..seed + 1);
    let mut tally = Tally::default();
    let (mut all, mut settled, mut ended, mut passed, mut halted) = (0, 0, 0, 0, 0);
    for seed in years.clone() {
        let runtime = runtime();
        let talkative = one.is_some();
        let outcome = errors::watched(|errors| {
            let (outcome, transcript) = runtime.block_on(async {
                let mut story = Story::year(seed, talkative);
                let outcome = story.live_a_year().await;
                let transcript = story.sim.lock().transcript.take();
                (outcome, transcript.unwrap_or_default())
            });
            print!("{transcript}");
            outcome.and_then(|lived| errors.verdict().map(|()| lived))
        });
        let (one, slots) =
            outcome.unwrap_or_else(|broken| panic!("{broken} (KEYWHEEL_YEAR={seed} replays and prints it)"));
        tally.add(one);
        all += slots.all;
        settled += slots.settled;
        ended += slots.ended;
        passed += slots.passed;
        halted += slots.halted;
    }
    println!(
        "{} years, {all} weekly slots: {settled} rotated, {ended} ended without a change, {passed} passed, {halted} went by in a halt; {} steps, {} crashes and stops; faults {:?}",
        years.count(),
        tally.steps,
        tally.crashes,
        tally.faults
    );
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    for seed in 0..TWICE {
        let (first, second) = (tell(seed, true).1, tell(seed, true).1);
        let differs = first.lines().zip(second.lines()).find(|(one, other)| one != other);
        assert!(first == second, "seed {seed} differs: {differs:#?}");
        assert!(first.lines().count() > 10, "seed {seed} tells nothing");
    }
}
