//! The settings of a story, and a configuration that is changed in the middle of it.

use super::dice::Dice;
use super::instance::PAIR;
use keywheel::name::{HookName, SinkName};
use keywheel::rotation::plan::{Abilities, Limits, OnSinkDown, Plan, Recovery, Strategy};
use std::time::Duration;

/// The instance and account of every story.
pub const PLACE: &str = "crs-1/root";

/// How a story's target changes its password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    InPlace,
    Alternate,
    Overlap,
}

impl Way {
    pub fn pick(dice: &mut Dice) -> Self {
        [Self::InPlace, Self::Alternate, Self::Overlap][dice.below(3) as usize]
    }
}

/// What a configuration does not change in the middle of a story.
#[derive(Debug, Clone)]
pub struct Kept {
    pub strategy: Strategy,
    /// Whether accepted changes name a task.
    pub tasks: bool,
    /// Whether the ordinary change compares the old password.
    pub asks_old: bool,
    /// Whether the password that works at first is known to nobody.
    pub take_over: bool,
    pub adopts_resting: bool,
}

impl Kept {
    pub fn new(way: Way, tasks: bool, dice: &mut Dice) -> Self {
        // No shorter than a late effect may take: what was taken away must not come back.
        let grace = Duration::from_secs([60, 90, 600, 3_600][dice.below(4) as usize]);
        let strategy = match way {
            Way::InPlace => Strategy::InPlace,
            Way::Alternate => Strategy::Alternate { accounts: PAIR.map(str::to_owned), grace },
            Way::Overlap => Strategy::Overlap { grace },
        };
        Self {
            strategy,
            tasks,
            asks_old: match way {
                Way::InPlace => true,
                Way::Alternate => dice.chance(500),
                Way::Overlap => false,
            },
            take_over: dice.chance(80),
            adopts_resting: way == Way::Alternate && dice.chance(500),
        }
    }

    pub fn plan(&self, dice: &mut Dice) -> Plan {
        let mut limits = Limits::default();
        if dice.chance(300) {
            limits.agreement = 2;
            limits.rounds = 8;
            limits.attempts = 3;
            limits.task_patience = Duration::from_secs(120);
            limits.lock_patience = Duration::from_secs(600);
        }
        let (sinks, hooks) = (dice.below(4), dice.below(3));
        let own_server = self.strategy.is_overlap();
        let tasks = self.tasks && !own_server;
        Plan {
            place: PLACE.to_owned(),
            slot: None,
            may_start: false,
            hold: None,
            strategy: self.strategy.clone(),
            // A server of one's own can always be logged in to: the provider knows its nodes.
            login: own_server || dice.chance(600),
            abilities: Abilities {
                task_status: tasks && dice.chance(700),
                task_list: tasks && dice.chance(500),
                change_mark: dice.chance(300) && !own_server,
                reset: dice.chance(600) || self.take_over,
                each_node: false,
                asks_old: self.asks_old,
            },
            take_over: self.take_over,
            adopts: self.take_over && dice.chance(500),
            adopts_resting: self.adopts_resting,
            verify_every: dice.chance(400).then(|| Duration::from_secs(600 * (1 + dice.below(18)))),
            // Whose consumers are cut off by that, and whose are not, only the whole driver's stories tell.
            on_sink_down: match self.strategy {
                Strategy::InPlace if dice.chance(400) => OnSinkDown::Proceed,
                Strategy::InPlace | Strategy::Alternate { .. } | Strategy::Overlap { .. } => OnSinkDown::Hold,
            },
            recovery: if dice.chance(400) || self.take_over { Recovery::Reset } else { Recovery::Halt },
            sinks: (0..sinks).map(|n| format!("sink-{n}").parse::<SinkName>().expect("a name")).collect(),
            hooks: (0..hooks).map(|n| format!("hook-{n}").parse::<HookName>().expect("a name")).collect(),
            limits,
        }
    }
}
