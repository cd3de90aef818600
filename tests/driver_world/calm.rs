//! The calm after a storm, in which everything has to settle or to halt, and what a person then repairs.

use super::instance::{Instance, index};
use super::life::Story;
use super::others::{OPERATOR, WRONG_CLOCK};
use super::promises;
use super::sim::{Inner, Told, ensure};
use keywheel::driver::Wish;
use keywheel::fault::{Fault, Kind};
use keywheel::moment::Moment;
use keywheel::name::TargetName;
use keywheel::rotation::state::State;
use keywheel::rotation::why::Why;
use keywheel::rotation::{Action, next};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often the end is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(120);

impl Story {
    /// The storm is over: no more faults, one process, the clock is right, every target is named, and pauses without an end are ended.
    pub async fn calm(&mut self) -> Told {
        {
            let mut inner = self.sim.lock();
            inner.say(|| "the storm is over".to_owned());
            inner.storm = false;
            inner.disk.full_until = 0;
            inner.disk.unreadable_until = 0;
            let unstick = self.traits.unstick;
            let now = inner.now;
            for truth in inner.truths.values_mut() {
                truth.instance.calm(now, unstick);
                truth.sinks.values_mut().for_each(|shelf| shelf.down_until = 0);
            }
        }
        self.skew = 0;
        for one in &self.running {
            one.process.spare();
            one.process.skew.store(0, Ordering::Relaxed);
        }
        while self.running.len() > 1 {
            let first = self.running.remove(0);
            self.end(first).await;
        }
        self.running.iter().for_each(|one| one.process.resume());
        self.look_after().await;
        for blueprint in &mut self.blueprints {
            blueprint.named = true;
            if let Some(truth) = self.sim.lock().truths.get_mut(&blueprint.name) {
                truth.named = blueprint.plan.sinks.clone();
            }
        }
        self.reload(false).await;
        self.end_pauses();
        self.is_broken()
    }

    pub fn end_pauses(&self) {
        for at in 0..self.blueprints.len() {
            let paused = self.standing(at).0.standing.paused;
            if paused.is_some_and(|pause| pause.until == Moment::NEVER) {
                self.ask(at, Wish::Unpause { by: OPERATOR });
            }
        }
    }

    /// P6: without new faults every target settles or halts, within a bound that follows from the limits.
    pub async fn come_to_rest(&mut self) -> Told {
        let patience = self.patience();
        let deadline = self.sim.lock().now + patience;
        loop {
            self.is_broken()?;
            let restless = (0..self.blueprints.len()).find(|&at| !self.is_at_rest(at));
            let Some(restless) = restless else { break };
            if self.sim.lock().now >= deadline {
                let (state, action) = self.standing(restless);
                return Err(format!(
                    "P6: {} does not end: {action:?}: {:?}",
                    self.blueprints[restless].name, state.open
                ));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
            self.end_pauses();
        }
        for blueprint in &self.blueprints {
            let mut inner = self.sim.lock();
            let halted = inner.disk.records.get(&blueprint.name).and_then(|record| record.state.halt.clone());
            match halted {
                None => promises::check_rest(&mut inner, &blueprint.name, &blueprint.plan.sinks)?,
                Some(halt) => fits(&inner, &blueprint.name, &halt.fault)?,
            }
        }
        Ok(())
    }

    /// What the durable record means, and what follows from it now.
    pub fn standing(&self, at: usize) -> (State, Action) {
        let blueprint = &self.blueprints[at];
        let (state, now) = {
            let inner = self.sim.lock();
            let state = inner.disk.records.get(&blueprint.name).map(|record| record.state.clone());
            (state.unwrap_or_default(), Moment::from_millis(inner.now))
        };
        let plan = blueprint.settings(self.up_since).plan(&state.standing, now);
        let action = next(&state, &plan, now);
        (state, action)
    }

    /// Whether nothing is left to do before the next slot, or a person is needed.
    pub fn is_at_rest(&self, at: usize) -> bool {
        let (state, action) = self.standing(at);
        let why = match action {
            Action::Wait { why, .. } => why,
            // So does one that left the configuration in mid-rotation, and comes back to find its instance held.
            _ => return self.stands_back(at),
        };
        let idle = match why {
            Why::Halted(_) => return true,
            // A task that never ends keeps the instance: each slot waits for its window and passes.
            Why::NotReady { .. } if self.is_stuck(at) => return true,
            // A grace as long as the step of the schedule: the next slot always has to wait for its end.
            Why::Grace { .. } => true,
            // Nothing else is due meanwhile.
            Why::HeldBack(_) => true,
            Why::NotDue | Why::OnlyWhenAsked | Why::SinkDiffers { .. } | Why::Overlapping { .. } => true,
            Why::NotAdopted(_) => state.standing.current.is_some(),
            _ => false,
        };
        idle && state.open.is_none() && state.asked.is_none()
    }

    pub fn is_stuck(&self, at: usize) -> bool {
        let inner = self.sim.lock();
        !self.traits.unstick && !inner.truths[&self.blueprints[at].name].instance.is_free(inner.now)
    }

    /// Whether it cannot begin because another target's rotation holds the instance, halted or behind a task that never ends.
    pub fn stands_back(&self, at: usize) -> bool {
        let blueprint = &self.blueprints[at];
        (0..self.blueprints.len()).any(|other| {
            let (halted, holds) = {
                let inner = self.sim.lock();
                let Some(record) = inner.disk.records.get(&self.blueprints[other].name) else { return false };
                (record.state.halt.is_some(), record.projection.holds.as_ref() == Some(&blueprint.key))
            };
            other != at && holds && (halted || self.is_stuck(other))
        })
    }

    /// The longest a target may stay unsettled when nothing goes wrong any more.
    pub fn patience(&self) -> i64 {
        let inner = self.sim.lock();
        let of = |at: usize| {
            let blueprint = &self.blueprints[at];
            let limits = &blueprint.plan.limits;
            let one_call = limits.late_effect
                + limits.task_patience
                + limits.proof_patience
                + limits.call_backoff.longest
                + limits.look_backoff.longest * (limits.rounds + limits.agreement + 1);
            let all = one_call * (limits.attempts + limits.redraws + 1)
                + limits.lock_patience * 2
                + limits.outlet_backoff.longest * (limits.hook_attempts + 1);
            let truth = &inner.truths[&blueprint.name];
            let quiet = truth.instance.quiet_at(inner.now) - inner.now;
            let paused =
                inner.disk.records.get(&blueprint.name).and_then(|record| record.state.standing.paused.clone());
            let pause = paused.map_or(0, |pause| (pause.until.millis() - inner.now).max(0));
            let pause = if pause > 1_000 * 86_400_000 { 0 } else { pause };
            all.as_millis() as i64 + 2 * truth.grace().unwrap_or_default().as_millis() as i64 + quiet + pause
        };
        let longest = (0..self.blueprints.len()).map(of).max().unwrap_or_default();
        longest + 2 * WRONG_CLOCK as i64 + 4 * 3_600_000
    }

    /// A person gives every halted target the passwords that work, the active account's first. Then it has to settle.
    pub async fn repair(&mut self) -> Told {
        let halted: Vec<usize> = (0..self.blueprints.len()).filter(|&at| self.standing(at).0.halt.is_some()).collect();
        {
            let mut inner = self.sim.lock();
            let targets = self.blueprints.len() as u64;
            inner.tally.halted += halted.len() as u64;
            inner.tally.settled += targets - halted.len() as u64;
        }
        if halted.is_empty() {
            return Ok(());
        }
        let quiet = {
            let inner = self.sim.lock();
            let quiet = inner.truths.values().map(|truth| truth.instance.quiet_at(inner.now)).max();
            quiet.unwrap_or(inner.now) - inner.now
        };
        tokio::time::sleep(Duration::from_millis(quiet as u64 + 1_000) + LOOK_AGAIN).await;
        for &at in &halted {
            let active = self.standing(at).0.standing.current.map_or(0, |current| index(current.account.as_deref()));
            let accounts = self.blueprints[at].first.len();
            for account in [active, 1 - active].into_iter().take(accounts) {
                self.replace(at, Some(account));
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        self.come_to_rest().await?;
        for at in halted {
            let name = &self.blueprints[at].name;
            let halt = self.standing(at).0.halt;
            // One code for two refusals and nothing to tell them apart by: a slow task's second call can always end so.
            let merged = match &self.sim.lock().truths[name].instance {
                Instance::Accounts(clouds) => clouds.iter().any(|cloud| cloud.mood.merged_code),
                Instance::Nodes(_) => false,
            };
            let blind = merged
                && !self.blueprints[at].plan.login
                && halt.as_ref().is_some_and(|halt| halt.fault.kind == Kind::RuleViolated);
            ensure(halt.is_none() || blind, || {
                format!("{name} halts again although a person gave the live password: {halt:?}")
            })?;
        }
        Ok(())
    }
}

/// Whether a halt's reason fits what happened to the target.
fn fits(inner: &Inner, target: &TargetName, fault: &Fault) -> Told {
    let Some(truth) = inner.truths.get(target) else { return Ok(()) };
    let fits = match fault.kind {
        Kind::Denied => truth.denied,
        Kind::LoginRefused => truth.instance.foreign() > 0,
        Kind::Bug | Kind::ClaimLost | Kind::LedgerFull | Kind::LedgerUnusable | Kind::LedgerCorrupt => false,
        _ => true,
    };
    ensure(fits, || format!("{target} is halted for a reason that does not fit: {fault}"))
}
