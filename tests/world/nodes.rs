//! Three servers of one's own, each with a set of passwords and a file of them. A call may reach some and not others, be done and not written to
//! the file, or be done late; a node goes down and comes back with what its file holds, or with less.

use super::cloud::{Mood, Password, lost};
use super::dice::Dice;
use keywheel::fault::{Fault, Kind};
use keywheel::rotation::answer::{Answer, Login, Refusal};
use std::collections::BTreeSet;

const NODES: usize = 3;

/// How late an addition may be that still counts as one of ours, in milliseconds: what the limits call `late-effect`.
const LATE_EFFECT: i64 = 60_000;

#[derive(Debug, Default)]
pub struct Node {
    /// What it lets in.
    pub valid: BTreeSet<Password>,
    /// What it lets in after a restart.
    saved: BTreeSet<Password>,
    /// When it comes back.
    down_until: Option<i64>,
    /// What it forgot when it went down; given again, it is no longer forgotten.
    pub forgot: BTreeSet<Password>,
}

/// A password that reaches a node later.
#[derive(Debug)]
struct Late {
    node: usize,
    password: Password,
    at: i64,
    too_late: bool,
}

#[derive(Debug)]
pub struct Nodes {
    pub nodes: Vec<Node>,
    pub mood: Mood,
    /// Passwords that every node let in at some time.
    pub ever_live: BTreeSet<Password>,
    /// Changes that were none of ours.
    pub foreign: u32,
    /// Passwords that came to a node long after the call that brought them.
    pub strays: BTreeSet<Password>,
    pending: Vec<Late>,
}

impl Node {
    fn is_up(&self) -> bool {
        self.down_until.is_none()
    }

    fn add(&mut self, password: Password) {
        self.valid.insert(password);
        self.forgot.remove(&password);
    }

    fn save(&mut self) {
        self.saved = self.valid.clone();
    }
}

impl Nodes {
    pub fn new(live: Password, mood: Mood) -> Self {
        let node = || Node { valid: [live].into(), saved: [live].into(), ..Node::default() };
        Self {
            nodes: (0..NODES).map(|_| node()).collect(),
            mood,
            ever_live: [live].into(),
            foreign: 0,
            strays: BTreeSet::new(),
            pending: Vec::new(),
        }
    }

    /// The nodes that answer.
    pub fn up(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is_up())
    }

    pub fn is_all_up(&self) -> bool {
        self.nodes.iter().all(Node::is_up)
    }

    /// Whether every node that answers lets it in.
    pub fn lets_in(&self, password: Password) -> bool {
        self.up().all(|node| node.valid.contains(&password))
    }

    /// A password that every node lets in now, the newest; `None` where there is none or a node is silent.
    pub fn works_everywhere(&self) -> Vec<Password> {
        let all = || self.nodes.iter();
        let first = all().next().map(|node| node.valid.clone()).unwrap_or_default();
        let works = |password: &Password| self.is_all_up() && all().all(|node| node.valid.contains(password));
        first.into_iter().filter(works).collect()
    }

    /// When the last thing that was begun will have happened.
    pub fn quiet_at(&self, now: i64) -> i64 {
        let late = self.pending.iter().map(|late| late.at);
        let down = self.nodes.iter().filter_map(|node| node.down_until);
        late.chain(down).max().unwrap_or(now).max(now)
    }

    pub fn tick(&mut self, now: i64) {
        for node in &mut self.nodes {
            if node.down_until.is_some_and(|until| until <= now) {
                node.down_until = None;
            }
        }
        self.pending.sort_by_key(|late| late.at);
        while self.pending.first().is_some_and(|late| late.at <= now) {
            let late = self.pending.remove(0);
            let node = &mut self.nodes[late.node];
            // A node that is down hears nothing.
            if node.is_up() {
                if late.too_late && !node.valid.contains(&late.password) {
                    self.strays.insert(late.password);
                }
                node.add(late.password);
            }
        }
        self.ever_live.extend(self.works_everywhere());
    }

    /// A node dies and stays away for a while. It comes back with what its file holds, and now and then its file is older than it should be.
    pub fn knock_out(&mut self, now: i64, passwords: &[Password], dice: &mut Dice) -> String {
        let at = dice.below(NODES as u64) as usize;
        let node = &mut self.nodes[at];
        let before = std::mem::replace(&mut node.valid, node.saved.clone());
        if dice.chance(150) {
            for password in passwords {
                node.valid.remove(password);
            }
            node.saved = node.valid.clone();
        }
        node.forgot.extend(before.difference(&node.valid));
        node.down_until = Some(now + 1_000 * dice.below(900) as i64);
        format!("node {at} goes down and forgets {:?}", node.forgot)
    }

    /// Somebody else sets this password, beside what is there or in its place.
    pub fn intrude(&mut self, password: Password, alone: bool) {
        self.foreign += 1;
        for node in &mut self.nodes {
            if alone {
                node.valid.clear();
            }
            node.add(password);
            node.save();
        }
        self.ever_live.insert(password);
    }

    /// The calls that add a password reach every node, or some.
    pub fn add(&mut self, password: Password, now: i64, dice: &mut Dice) -> Answer {
        self.tick(now);
        let unkind = self.mood.storm && dice.chance(self.mood.fault_rate);
        let refused = |refusal, kind, what: &str| Answer::Refused { refusal, fault: Fault::new(kind, what) };
        if unkind {
            match dice.below(12) {
                0 => return refused(Refusal::Busy, Kind::Busy, "a node reads its data in"),
                1 => return refused(Refusal::NotNow, Kind::Busy, "not now"),
                2 => return refused(Refusal::Unsent, Kind::Unreachable, "no connection"),
                3 => return refused(Refusal::Fatal, Kind::Denied, "NOPERM"),
                4 => return lost("lost before it arrived"),
                _ => {}
            }
        }
        // Every node is made ready before one is changed.
        if !self.is_all_up() {
            return refused(Refusal::Unsent, Kind::Unreachable, "a node is down");
        }
        let mut whole = true;
        for at in 0..NODES {
            let outcome = if unkind { dice.below(7) } else { 6 };
            let node = &mut self.nodes[at];
            match outcome {
                0 => whole = false,
                1 => {
                    node.add(password);
                    whole = false;
                }
                2 => {
                    let seconds = [0, dice.below(50), dice.below(150), dice.below(2_000)][dice.below(4) as usize];
                    let late = 1_000 * seconds as i64;
                    self.pending.push(Late { node: at, password, at: now + late, too_late: late > LATE_EFFECT });
                    whole = false;
                }
                _ => {
                    node.add(password);
                    node.save();
                }
            }
        }
        self.tick(now);
        if !whole {
            return lost("a node gave no answer");
        }
        if unkind && dice.chance(300) { lost("answer lost") } else { Answer::Accepted { task: None } }
    }

    /// Takes a password away, where the one that stays is everywhere.
    pub fn remove(&mut self, old: Password, current: Password, now: i64, dice: &mut Dice) -> Result<(), Fault> {
        self.tick(now);
        if !self.is_all_up() || !self.lets_in(current) {
            return Err(Fault::new(Kind::Unreachable, "a node is down, or lacks the current password"));
        }
        let unkind = self.mood.storm && dice.chance(self.mood.fault_rate);
        let mut whole = true;
        for node in &mut self.nodes {
            let outcome = if unkind { dice.below(5) } else { 4 };
            if outcome > 0 {
                node.valid.remove(&old);
                node.forgot.remove(&old);
            }
            if outcome > 1 {
                node.save();
            }
            whole &= outcome > 1;
        }
        if whole { Ok(()) } else { Err(Fault::new(Kind::Unanswered, "a node gave no answer")) }
    }

    /// A login on every node: those that are silent make a partial yes or no worth nothing.
    pub fn login(&self, password: Password, dice: &mut Dice) -> Login {
        let silent = || Login::Unreachable { fault: Fault::new(Kind::LoginUnreachable, "no route") };
        if self.mood.storm && dice.chance(self.mood.fault_rate / 4) {
            return silent();
        }
        let answered = self.up().count();
        let let_in = self.up().filter(|node| node.valid.contains(&password)).count();
        match (let_in, answered) {
            (let_in, answered) if 0 < let_in && let_in < answered => Login::Mixed,
            (_, answered) if answered < NODES => silent(),
            (0, _) => Login::Refused,
            (_, _) => Login::Accepted,
        }
    }
}
