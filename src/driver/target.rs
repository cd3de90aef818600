//! One target as the driver sees it: its plan's settings and its hands.

use crate::fault::Fault;
use crate::hook::Hook;
use crate::moment::Moment;
use crate::name::{HookName, SinkName, TargetName};
use crate::password::{Policy, Profile};
use crate::probe::Probe;
use crate::provider::{Address, Provider};
use crate::rotation::plan::{Abilities, Limits, Plan, Recovery, Strategy};
use crate::rotation::state::Standing;
use crate::schedule::{Decision, Timetable};
use crate::secret::Secret;
use crate::sink::{Endpoint, Sink};
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What of a target's configuration decides its moves. Needs no credentials: `status` and `plan` read it beside a running daemon.
#[derive(Debug, Clone)]
pub struct PlanSettings {
    /// The instance and account it rotates, as one text.
    pub place: String,
    /// When it is due.
    pub timetable: Timetable,
    /// Since when keywheel runs: `missed = "skip"` passes over what fell due before.
    pub up_since: Moment,
    /// Whether a login route exists.
    pub login: bool,
    /// What its provider offers.
    pub abilities: Abilities,
    /// Whether a reset may repair it.
    pub recovery: Recovery,
    /// Where current goes.
    pub sinks: Vec<SinkName>,
    /// Who is told.
    pub hooks: Vec<HookName>,
    /// Patience and back-off.
    pub limits: Limits,
}

impl PlanSettings {
    /// The plan as of now: the settings and the slot that counts.
    pub fn plan(&self, standing: &Standing, now: Moment) -> Plan {
        let (slot, may_start) = match self.timetable.decide(standing.slots_after, now, self.up_since) {
            Decision::Wait(coming) => (coming, false),
            Decision::Start(reached) => (Some(reached), true),
            Decision::PassOver { missed, next: _ } => (Some(missed), false),
        };
        Plan {
            place: self.place.clone(),
            slot,
            may_start,
            strategy: Strategy::InPlace,
            login: self.login,
            abilities: self.abilities,
            recovery: self.recovery,
            sinks: self.sinks.clone(),
            hooks: self.hooks.clone(),
            limits: self.limits.clone(),
        }
    }
}

/// Reads the password that works today from where the configuration says; `None` where it says nothing.
pub type AdoptFrom = Arc<dyn Fn() -> BoxFuture<'static, Option<Result<Secret, Fault>>> + Send + Sync>;

/// Makes the user name, if any, and the text of the password field out of a password.
pub type LoginWords = Arc<dyn Fn(&Secret) -> (Option<String>, Secret) + Send + Sync>;

/// What a target is changed, proven and delivered with.
#[derive(Clone)]
pub struct Hands {
    /// Its cloud.
    pub provider: Arc<dyn Provider>,
    /// Where it is proven.
    pub probe: Option<Arc<dyn Probe>>,
    /// Where it goes.
    pub sinks: BTreeMap<SinkName, Arc<dyn Sink>>,
    /// Who is told.
    pub hooks: BTreeMap<HookName, Arc<dyn Hook>>,
    /// The policy of its passwords.
    pub policy: Policy,
    /// The vendor's rules they comply with.
    pub profile: Profile,
    /// Today's password.
    pub adopt: AdoptFrom,
    /// What a client sends to log in with a password: the user name, if any, and the text of the password field.
    pub login: LoginWords,
    /// Where clients connect.
    pub endpoint: Option<Endpoint>,
}

/// One credential to rotate.
pub struct Target {
    /// Its name.
    pub name: TargetName,
    /// Which credential of which instance.
    pub address: Address,
    /// The instance and where it is, whichever provider's name leads there: two rotations with the same key never overlap.
    pub instance_key: String,
    /// What decides its moves.
    pub settings: PlanSettings,
    /// What it is moved with.
    pub hands: Hands,
}
