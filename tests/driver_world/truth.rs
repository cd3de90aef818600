//! One target as it really is: which passwords its instance accepts, what its sinks hold, who was told, and which password is in question.

use super::cloud::{Cloud, Mood};
use super::consumers::Consumers;
use super::instance::Instance;
use super::nodes::Nodes;
use super::plan::Way;
use keywheel::name::{Generation, HookName, SinkName};
use keywheel::rotation::plan::Strategy;
use keywheel::schedule::Freeze;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub struct Truth {
    pub instance: Instance,
    /// The key of the instance it shares with others.
    pub key: String,
    pub strategy: Strategy,
    /// The passwords that worked at first, by account.
    pub first: Vec<u64>,
    /// Those of them that the ledger was never told.
    pub strange: BTreeSet<u64>,
    /// Generations that are current on the cloud's word alone.
    pub on_word: BTreeSet<Generation>,
    /// A person gave a password.
    pub replaced: bool,
    /// A permission was refused, or the instance was, so that a halt for it fits.
    pub denied: bool,
    /// Whether it has a login route; nothing once the configuration was changed, for a turn may go on with the one before.
    pub login: Option<bool>,
    /// Whether a configuration of this story goes on without sinks that are down.
    pub proceeds: bool,
    /// The sinks that its configuration names now.
    pub named: Vec<SinkName>,
    /// By account, the password of a call that was not certainly refused and of which nothing was proven yet.
    pub in_question: [Option<u64>; 2],
    pub sinks: BTreeMap<SinkName, Shelf>,
    pub told: BTreeSet<(HookName, Generation)>,
    pub consumers: Consumers,
    /// The generation that its consumer says it uses, where it is asked: nothing while the consumer is away.
    pub says: Option<Option<Generation>>,
    /// Rotations that were promised to those who asked.
    pub promised: usize,
    /// When nothing begins by itself.
    pub freezes: Vec<Freeze>,
}

/// What a sink really holds.
#[derive(Debug, Default)]
pub struct Shelf {
    pub held: Option<(Generation, u64)>,
    /// Every document it took, in order.
    pub taken: Vec<Generation>,
    /// It takes nothing and gives no answer until then (true time).
    pub hung_until: i64,
    /// Somebody wrote into it, or deleted it.
    pub meddled: bool,
    pub deleted: bool,
    pub down_until: i64,
}

impl Truth {
    pub fn new(way: Way, strategy: Strategy, key: String, mood: Mood, first: Vec<u64>) -> Self {
        let instance = match way {
            Way::InPlace | Way::Alternate => {
                Instance::Accounts(first.iter().map(|&password| Cloud::new(password, mood)).collect())
            }
            Way::Overlap => Instance::Nodes(Nodes::new(first[0], mood)),
        };
        Self {
            instance,
            key,
            strategy,
            strange: first.iter().copied().collect(),
            first,
            on_word: BTreeSet::new(),
            replaced: false,
            denied: false,
            login: None,
            proceeds: false,
            named: Vec::new(),
            in_question: [None; 2],
            sinks: BTreeMap::new(),
            told: BTreeSet::new(),
            consumers: Consumers::default(),
            says: None,
            promised: 0,
            freezes: Vec::new(),
        }
    }

    /// Nobody but us changed a password, and none of our calls took effect out of its time.
    pub fn is_undisturbed(&self) -> bool {
        self.instance.foreign() == 0 && !self.instance.has_strays() && !self.replaced
    }

    pub fn grace(&self) -> Option<Duration> {
        match self.strategy {
            Strategy::InPlace => None,
            Strategy::Alternate { grace, .. } | Strategy::Overlap { grace } => Some(grace),
        }
    }

    pub fn is_spoilt(&self, sink: &SinkName) -> bool {
        self.sinks.get(sink).is_some_and(|shelf| shelf.meddled || shelf.deleted)
    }
}
