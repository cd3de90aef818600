//! The promises of the rotation core, kept in thousands of hostile worlds. `KEYWHEEL_SEED=n` replays one world and prints its
//! transcript; `KEYWHEEL_SEEDS=n` sets how many are tried.

mod world;

use std::collections::BTreeMap;
use world::{Tally, World};

const SEEDS: u64 = 10_000;

#[test]
fn promises_are_kept_in_hostile_worlds() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("KEYWHEEL_SEED") {
        let mut world = World::new(seed);
        let outcome = world.live();
        println!("{}", world.transcript);
        panic!("seed {seed}: {outcome:?}");
    }
    let mut all = Tally::default();
    let mut broken: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut shortest: Option<(u64, String)> = None;
    let seeds = number("KEYWHEEL_SEEDS").unwrap_or(SEEDS);
    for seed in 0..seeds {
        let mut world = World::new(seed);
        match world.live() {
            Ok(tally) => add(&mut all, tally),
            Err(promise) => {
                let head: String = promise.chars().take_while(|&c| c != ':').take(100).collect();
                broken.entry(head).or_default().push(seed);
                if shortest.as_ref().is_none_or(|(_, known)| world.transcript.len() < known.len()) {
                    shortest = Some((seed, world.transcript));
                }
            }
        }
    }
    println!(
        "{seeds} seeds, {} steps, {} crashes, {} settled rotations, proofs {:?}, halts {:?}",
        all.steps, all.crashes, all.rotations, all.proofs, all.halts
    );
    if let Some((seed, transcript)) = shortest {
        println!("{transcript}");
        let counts: Vec<_> =
            broken.iter().map(|(promise, seeds)| (promise, seeds.len(), &seeds[..seeds.len().min(5)])).collect();
        panic!("broken promises {counts:#?}; the transcript above is of seed {seed} (KEYWHEEL_SEED={seed} replays it)");
    }
}

fn add(all: &mut Tally, one: Tally) {
    all.steps += one.steps;
    all.crashes += one.crashes;
    all.rotations += one.rotations;
    for (what, times) in one.halts {
        *all.halts.entry(what).or_default() += times;
    }
    for (what, times) in one.proofs {
        *all.proofs.entry(what).or_default() += times;
    }
}
