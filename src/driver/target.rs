//! One target as the driver sees it: its plan's settings and its hands.

use crate::consumer::Consumer;
use crate::fault::{Fault, Kind};
use crate::hook::Listener;
use crate::moment::Moment;
use crate::name::{Generation, HookName, SinkName, TargetName};
use crate::password::{Policy, Profile};
use crate::probe::Probe;
use crate::provider::{Address, Provider};
use crate::rotation::plan::{Abilities, Hold, Limits, OnSinkDown, Plan, Recovery, Strategy};
use crate::rotation::state::Standing;
use crate::rotation::waves::{Members, Waves};
use crate::schedule::{Decision, Timetable};
use crate::secret::Secret;
use crate::sink::{Endpoint, Sink};
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What of a target's configuration decides its moves. Needs no credentials: `status` and `plan` read it beside a running daemon.
#[derive(Debug, Clone)]
pub struct PlanSettings {
    /// The instance and account it rotates, as one text.
    pub place: String,
    /// When it is due.
    pub timetable: Timetable,
    /// The selection whose targets follow each other in waves, and how.
    pub wave: Option<(TargetName, Waves)>,
    /// Since when keywheel runs: `missed = "skip"` passes over what fell due before.
    pub up_since: Moment,
    /// Whether a login route exists.
    pub login: bool,
    /// What its provider offers.
    pub abilities: Abilities,
    /// How its password changes.
    pub strategy: Strategy,
    /// Whether a reset may repair it.
    pub recovery: Recovery,
    /// Whether it may begin without today's password, where a reset is allowed.
    pub take_over: bool,
    /// Whether the configuration says where today's password is.
    pub adopts: bool,
    /// Whether the configuration says where the password of a pair's resting account is.
    pub adopts_resting: bool,
    /// How often current is verified between rotations.
    pub verify_every: Option<Duration>,
    /// Where current goes.
    pub sinks: Vec<SinkName>,
    /// Who is told.
    pub hooks: Vec<HookName>,
    /// What a sink that does not take passwords holds back.
    pub on_sink_down: OnSinkDown,
    /// Patience and back-off.
    pub limits: Limits,
}

impl PlanSettings {
    /// The plan's word for it, without a moment: whether it may begin without today's password.
    pub const fn may_take_over(&self) -> bool {
        self.take_over && self.recovery.may_reset(self.abilities)
    }

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
            hold: self.timetable.frozen(now).map(|frozen| Hold::Frozen { name: frozen.name, until: frozen.until }),
            strategy: self.strategy.clone(),
            login: self.login,
            abilities: self.abilities,
            recovery: self.recovery,
            take_over: self.take_over,
            adopts: self.adopts,
            adopts_resting: self.adopts_resting,
            verify_every: self.verify_every,
            sinks: self.sinks.clone(),
            hooks: self.hooks.clone(),
            on_sink_down: self.on_sink_down,
            limits: self.limits.clone(),
        }
    }

    /// The plan of one that follows others of its selection.
    pub fn plan_among(&self, name: &TargetName, members: Option<&Members>, standing: &Standing, now: Moment) -> Plan {
        let mut plan = self.plan(standing, now);
        if let (Some(members), Some(slot), true, None) = (members, plan.slot, plan.may_start, &plan.hold) {
            plan.hold = members.held(name, slot.nominal, now).map(Hold::Wave);
        }
        plan
    }
}

/// Reads the password that works today from where the configuration says; `None` where it says nothing.
pub type AdoptFrom = Arc<dyn Fn() -> BoxFuture<'static, Option<Result<Adoptable, Fault>>> + Send + Sync>;

/// A password that works today.
#[derive(Debug, Clone)]
pub struct Adoptable {
    /// The password.
    pub password: Secret,
    /// Which one it is where it comes from, if that is said there: a record that is begun anew goes on counting from it, since sinks refuse an older one.
    pub generation: Option<Generation>,
}

impl From<Secret> for Adoptable {
    fn from(password: Secret) -> Self {
        Self { password, generation: None }
    }
}

/// Makes the user name, if any, and the text of the password field out of a password.
pub type LoginWords = Arc<dyn Fn(&Secret) -> (Option<String>, Secret) + Send + Sync>;

/// What a target is changed, proven and delivered with.
#[derive(Clone)]
pub struct Hands {
    /// Its cloud.
    pub provider: Arc<dyn Provider>,
    /// Where it goes.
    pub sinks: BTreeMap<SinkName, Arc<dyn Sink>>,
    /// Who is told.
    pub hooks: BTreeMap<HookName, Listener>,
    /// The policy of its passwords.
    pub policy: Policy,
    /// The vendor's rules they comply with.
    pub profile: Profile,
    /// Today's password.
    pub adopt: AdoptFrom,
    /// Today's password of a pair's resting account.
    pub adopt_resting: AdoptFrom,
    /// Who says which generation it uses.
    pub consumer: Option<Arc<dyn Consumer>>,
    /// Where clients connect.
    pub endpoint: Option<Endpoint>,
}

/// One account of a target: where a password is set and proven.
#[derive(Clone)]
pub struct Account {
    /// Which credential of which instance.
    pub address: Address,
    /// Where it is proven.
    pub probe: Option<Arc<dyn Probe>>,
    /// What a client sends to log in with a password: the user name, if any, and the text of the password field.
    pub login: LoginWords,
}

/// One credential to rotate.
pub struct Target {
    /// Its name.
    pub name: TargetName,
    /// Its account, or the two that take turns.
    pub accounts: Vec<Account>,
    /// The instance and where it is, whichever provider's name leads there: two rotations with the same key never overlap.
    pub instance_key: String,
    /// What decides its moves.
    pub settings: PlanSettings,
    /// What it is moved with.
    pub hands: Hands,
}

impl Target {
    /// The account of this name: of a pair, as a generation names it; `None` is the only one.
    ///
    /// # Errors
    /// `Bug` for a name that is none of the pair's: a record of other accounts halts before anything asks.
    pub fn account(&self, name: Option<&str>) -> Result<&Account, Fault> {
        let ours = |account: &&Account| name.is_none_or(|name| account.address.account == name);
        self.accounts.iter().find(ours).ok_or_else(|| {
            let name = name.unwrap_or("the only account");
            Fault::new(Kind::Bug, format!("target {} has no account {name}", self.name))
        })
    }

    /// How a generation of this account names it: not at all where there is only one.
    pub fn name_of(&self, account: &Account) -> Option<String> {
        (self.accounts.len() > 1).then(|| account.address.account.clone())
    }
}
