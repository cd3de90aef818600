//! The targets of a story: what their configuration says, and the hands it gives a process.

use super::dice::Dice;
use super::hands::{BellOf, CloudOf, ReaderOf, RouteOf, ShelfOf};
use super::instance::PAIR;
use super::plan::{Kept, Way};
use super::sim::{Process, text};
use futures_util::FutureExt;
use keywheel::consumer::Consumer;
use keywheel::driver::{Account, AdoptFrom, Fleet, Hands, LoginWords, PlanSettings, Target};
use keywheel::fault::{Fault, Kind};
use keywheel::hook::Listener;
use keywheel::moment::Moment;
use keywheel::name::{HookName, SinkName, TargetName};
use keywheel::password::{Policy, Profile};
use keywheel::probe::Probe;
use keywheel::provider::{Address, Mode};
use keywheel::rotation::plan::{OnSinkDown, Plan};
use keywheel::rotation::waves::Waves;
use keywheel::schedule::Timetable;
use keywheel::sink::Sink;
use std::sync::{Arc, OnceLock};

/// One target as it stands in the configuration.
pub struct Blueprint {
    pub name: TargetName,
    pub way: Way,
    pub kept: Kept,
    pub plan: Plan,
    pub timetable: Timetable,
    /// The instance it is on, as the driver names it.
    pub key: String,
    /// The passwords that work at first, by account.
    pub first: Vec<u64>,
    /// It is in the configuration now.
    pub named: bool,
    /// The selection it is of, and how its targets follow each other.
    pub wave: Option<(TargetName, Waves)>,
}

impl Blueprint {
    /// Its name and the instance's, as `TARGET`'s place in the record.
    fn place(&self) -> String {
        format!("{}/{}", self.key, self.name)
    }

    /// The configuration says where today's password is.
    fn adopts(&self) -> bool {
        !self.kept.take_over || self.plan.adopts
    }

    pub fn settings(&self, up_since: Moment) -> PlanSettings {
        let plan = &self.plan;
        PlanSettings {
            place: self.place(),
            timetable: self.timetable.clone(),
            wave: self.wave.clone(),
            up_since,
            login: plan.login,
            abilities: plan.abilities,
            strategy: plan.strategy.clone(),
            recovery: plan.recovery,
            on_sink_down: plan.on_sink_down,
            take_over: plan.take_over,
            adopts: self.adopts(),
            adopts_resting: plan.adopts_resting,
            verify_every: plan.verify_every,
            sinks: plan.sinks.clone(),
            hooks: plan.hooks.clone(),
            limits: plan.limits.clone(),
        }
    }

    /// Another configuration of the same target.
    pub fn change(&mut self, dice: &mut Dice) {
        self.plan = draw_plan(&self.kept, dice);
    }

    fn target(&self, process: &Arc<Process>, up_since: Moment) -> Target {
        let pair = self.way == Way::Alternate;
        let login: LoginWords = Arc::new(|password| (None, password.clone()));
        let account = |number: usize| Account {
            address: Address {
                instance: self.key.clone(),
                account: if pair { PAIR[number].to_owned() } else { self.name.to_string() },
                mode: Mode::OldPassword,
            },
            probe: self.plan.login.then(|| {
                let (process, target) = (Arc::clone(process), self.name.clone());
                Arc::new(RouteOf { process, target, account: number }) as Arc<dyn Probe>
            }),
            login: Arc::clone(&login),
        };
        let provider = Arc::new(CloudOf {
            process: Arc::clone(process),
            target: self.name.clone(),
            abilities: self.plan.abilities,
            pair,
        });
        let sink = |sink: &SinkName| {
            let (process, target) = (Arc::clone(process), self.name.clone());
            (sink.clone(), Arc::new(ShelfOf { process, target, sink: sink.clone() }) as Arc<dyn Sink>)
        };
        let terms = process.sim.lock().terms;
        let hook = |name: &HookName| {
            let (process, target) = (Arc::clone(process), self.name.clone());
            let hook = Arc::new(BellOf { process, target, hook: name.clone() });
            (name.clone(), Listener { hook, terms })
        };
        let says = process.sim.lock().truths.get(&self.name).and_then(|truth| truth.says);
        let consumer = says.map(|_| {
            let (process, target) = (Arc::clone(process), self.name.clone());
            Arc::new(ReaderOf { process, target }) as Arc<dyn Consumer>
        });
        let resting = self.first.get(1).copied().filter(|_| self.kept.adopts_resting);
        Target {
            name: self.name.clone(),
            accounts: (0..self.first.len()).map(account).collect(),
            instance_key: self.key.clone(),
            settings: self.settings(up_since),
            hands: Hands {
                provider,
                sinks: self.plan.sinks.iter().map(sink).collect(),
                hooks: self.plan.hooks.iter().map(hook).collect(),
                policy: policy(),
                profile: Profile::Tencent,
                adopt: secret(process, self.adopts().then_some(self.first[0])),
                adopt_resting: secret(process, resting),
                consumer,
                endpoint: None,
            },
        }
    }
}

/// A cloud that names tasks and compares nothing tells how they stand, where no login can: with no evidence at all, nothing could be promised.
pub fn draw_plan(kept: &Kept, dice: &mut Dice) -> Plan {
    let mut plan = kept.plan(dice);
    plan.on_sink_down = if dice.chance(400) { OnSinkDown::Proceed } else { OnSinkDown::Hold };
    let blind = !plan.login && !plan.abilities.asks_old;
    plan.abilities.task_status |= blind && kept.tasks;
    plan
}

/// Built once: it counts passwords, and this world numbers them.
fn policy() -> Policy {
    static POLICY: OnceLock<Policy> = OnceLock::new();
    POLICY.get_or_init(|| Profile::Tencent.default_policy()).clone()
}

/// A file with today's password, which may not be there yet.
fn secret(process: &Arc<Process>, password: Option<u64>) -> AdoptFrom {
    let process = Arc::clone(process);
    Arc::new(move || {
        let process = Arc::clone(&process);
        async move {
            process.wait().await;
            let missing = process.sim.lock().strikes(4, "adopt file missing");
            password.map(|password| match missing {
                true => Err(Fault::new(Kind::SecretUnreadable, "no such file")),
                false => Ok(text(password).into()),
            })
        }
        .boxed()
    })
}

/// The hands of every target that the configuration names.
pub fn build(blueprints: &[Blueprint], process: &Arc<Process>) -> Fleet {
    let up_since = process.clock();
    let named = blueprints.iter().filter(|blueprint| blueprint.named);
    named.map(|blueprint| (blueprint.name.clone(), Arc::new(blueprint.target(process, up_since)))).collect()
}
