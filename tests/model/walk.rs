//! What Stateright does not tell.
//!
//! The other half of P6: no run is endless ([`walk`]). The graph of all worlds is walked in depth; a way back to a world that is still on the way would be a circle. Where
//! there is none, every run comes to a world in which nothing can happen any more, and what those look like is a property of its own. So nothing is assumed about fairness
//! but that what can happen happens some day. Faults end because there are only so many. (Stateright's own `eventually` does not see circles.)
//!
//! The shortest ways to broken promises ([`shortest`]): Stateright keeps the last way that it comes across.

use super::world::{Move, Setting, World};
use stateright::Model;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

/// What the walk came to.
pub struct Walked {
    pub worlds: usize,
    /// The moves of the longest run.
    pub longest: usize,
    /// The moves of a circle, if there is one.
    pub circle: Option<Vec<Move>>,
}

enum Mark {
    OnTheWay,
    /// The moves of the longest run from here.
    Done(usize),
}

/// A world on the way.
struct Here {
    name: u64,
    /// The move that led here.
    by: Option<Move>,
    ahead: Vec<(Move, World)>,
    /// The moves of the longest run from here, as far as it is known.
    longest: usize,
}

impl Here {
    fn new(setting: &Setting, world: &World, by: Option<Move>) -> Self {
        Self { name: name(world), by, ahead: setting.next_steps(world), longest: 0 }
    }
}

fn name(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// Walks everything that can be reached.
pub fn walk(setting: &Setting) -> Walked {
    let mut marks: HashMap<u64, Mark> = HashMap::new();
    let mut way = vec![Here::new(setting, &setting.begin, None)];
    let mut longest = 0;
    marks.insert(way[0].name, Mark::OnTheWay);
    while let Some(here) = way.last_mut() {
        let Some((step, world)) = here.ahead.pop() else {
            longest = here.longest;
            marks.insert(here.name, Mark::Done(longest));
            way.pop();
            if let Some(before) = way.last_mut() {
                before.longest = before.longest.max(longest + 1);
            }
            continue;
        };
        let there = name(&world);
        match marks.get(&there) {
            Some(Mark::Done(onward)) => here.longest = here.longest.max(onward + 1),
            Some(Mark::OnTheWay) => {
                let from = way.iter().position(|here| here.name == there).unwrap_or(0);
                let circle = way.split_off(from + 1).into_iter().filter_map(|here| here.by).chain([step]);
                return Walked { worlds: marks.len(), longest, circle: Some(circle.collect()) };
            }
            None => {
                marks.insert(there, Mark::OnTheWay);
                way.push(Here::new(setting, &world, Some(step)));
            }
        }
    }
    Walked { worlds: marks.len(), longest, circle: None }
}

/// A shortest way to each of these promises' end.
pub fn shortest(setting: &Setting, broken: &BTreeSet<&str>) -> BTreeMap<&'static str, Vec<Move>> {
    let mut promises = super::promises::always();
    promises.retain(|promise| broken.contains(promise.name));
    let mut found = BTreeMap::new();
    let mut known: HashMap<u64, Option<(u64, Move)>> = HashMap::from([(name(&setting.begin), None)]);
    let mut ahead = VecDeque::from([setting.begin.clone()]);
    while let Some(world) = ahead.pop_front() {
        let here = name(&world);
        for promise in promises.iter().filter(|promise| !(promise.condition)(setting, &world)) {
            found.entry(promise.name).or_insert_with(|| way_to(&known, here));
        }
        if found.len() == promises.len() {
            break;
        }
        for (step, world) in setting.next_steps(&world) {
            if let Entry::Vacant(new) = known.entry(name(&world)) {
                new.insert(Some((here, step)));
                ahead.push_back(world);
            }
        }
    }
    found
}

fn way_to(known: &HashMap<u64, Option<(u64, Move)>>, mut world: u64) -> Vec<Move> {
    let mut way = Vec::new();
    while let Some(Some((before, step))) = known.get(&world) {
        way.push(step.clone());
        world = *before;
    }
    way.reverse();
    way
}
