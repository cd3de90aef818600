//! What others do in a story: people who ask, pause and repair, who edit the configuration and set the clock; outsiders who change a password, write into a
//! sink or take a node down.

use super::fleet::{Blueprint, build};
use super::hands::tick;
use super::instance::{Instance, PAIR};
use super::life::Story;
use super::plan::Way;
use super::sim::{Inner, ensure, number, text};
use keywheel::driver::Wish;
use keywheel::name::{SinkName, TargetName};
use keywheel::rotation::event::By;
use keywheel::rotation::plan::OnSinkDown;
use keywheel::secret::Secret;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub const OPERATOR: By = By::Operator { uid: 0 };
/// How long somebody waits for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(1_800);
/// The longest time by which a clock is set wrong, in milliseconds.
pub const WRONG_CLOCK: u64 = 3_600_000;

impl Story {
    /// What others do.
    pub async fn disturb(&mut self) {
        let (act, at) = {
            let mut inner = self.sim.lock();
            (inner.dice.below(14), inner.dice.below(self.blueprints.len() as u64) as usize)
        };
        let name = self.blueprints[at].name.clone();
        match act {
            0 | 1 => self.ask(at, Wish::Rotate { by: OPERATOR, reason: None, through_freeze: false }),
            2 => {
                let allow_reset = self.sim.lock().dice.chance(300);
                self.ask(at, Wish::Resume { by: OPERATOR, reason: None, allow_reset });
            }
            3 if self.traits.pauses => {
                let span = Duration::from_secs(60 * self.sim.lock().dice.below(90));
                let wish = match self.sim.lock().dice.below(3) {
                    0 => Wish::Pause { by: OPERATOR, reason: None, span: None },
                    1 => Wish::Pause { by: OPERATOR, reason: None, span: Some(span) },
                    _ => Wish::Unpause { by: OPERATOR },
                };
                self.ask(at, wish);
            }
            4 => {
                let all = self.sim.lock().dice.chance(500);
                self.ask(at, Wish::Reveal { by: OPERATOR, reason: None, all });
            }
            5 if self.traits.replacer => self.replace(at, None),
            6 if self.traits.replacer => {
                let password = text(self.blueprints[at].first[0]);
                self.ask(at, Wish::Adopt { by: OPERATOR, reason: None, password, account: None });
            }
            7 if self.traits.outsider => intrude(&mut self.sim.lock(), &name),
            8 if self.traits.meddler => meddle(&mut self.sim.lock(), &name),
            9 if self.traits.reloads => self.reload(true).await,
            10 if self.traits.clocks => self.set_clock(),
            11 if self.traits.nodes_fail => knock_out(&mut self.sim.lock(), &name),
            12 if self.traits.disk => {
                let mut inner = self.sim.lock();
                let until = inner.now + 1_000 * inner.dice.below(900) as i64;
                match inner.dice.chance(500) {
                    true => inner.disk.full_until = until,
                    false => inner.disk.unreadable_until = until,
                }
                inner.count("disk trouble begins");
            }
            13 => {
                // Stopped and started again, or the one that was paused goes on beside the other.
                let stop = self.sim.lock().dice.chance(500);
                if let Some(paused) = self.running.iter().find(|one| one.process.is_paused()).filter(|_| !stop) {
                    self.sim.lock().say(|| format!("process {} goes on", paused.process.id));
                    paused.process.resume();
                    // What was signalled meanwhile reaches it now.
                    self.reload(false).await;
                } else if let Some(one) = self.running.pop() {
                    self.sim.lock().say(|| format!("process {} is told to stop", one.process.id));
                    self.end(one).await;
                } else {
                    self.start();
                }
            }
            _ => {}
        }
    }

    /// Asks the process that works, and checks what it answers.
    pub fn ask(&self, at: usize, wish: Wish) {
        let Some(one) = self.running.iter().rev().find(|one| !one.process.is_paused()) else { return };
        let (sim, driver, name) = (self.sim.clone(), Arc::clone(&one.driver), self.blueprints[at].name.clone());
        sim.lock().say(|| format!("{name} ? {wish:?}"));
        let (rotates, reveals) = (matches!(wish, Wish::Rotate { .. }), matches!(wish, Wish::Reveal { all: false, .. }));
        tokio::spawn(async move {
            let Ok(answer) = tokio::time::timeout(ANSWER_LIMIT, driver.command(&name, wish)).await else { return };
            let verdict = {
                let mut inner = sim.lock();
                inner.say(|| {
                    format!("{name} ! {}", answer.as_ref().map_or_else(|fault| fault.what.clone(), Clone::clone))
                });
                match answer {
                    Ok(_) if rotates => {
                        if let Some(truth) = inner.truths.get_mut(&name) {
                            truth.promised += 1;
                        }
                        Ok(())
                    }
                    Ok(said) if reveals => {
                        let record = inner.disk.records.get(&name);
                        let known = record.is_some_and(|record| {
                            record.passwords.values().any(|&password| password == number(&Secret::new(said.clone())))
                        });
                        ensure(known, || format!("{name}: reveal shows a password that the ledger lacks"))
                    }
                    Ok(_) | Err(_) => Ok(()),
                }
            };
            sim.judge(verdict);
        });
    }

    /// A person gives a password that works: what an account has, or what every node lets in.
    pub fn replace(&self, at: usize, account: Option<usize>) {
        let blueprint = &self.blueprints[at];
        let mut inner = self.sim.lock();
        let account = account.unwrap_or_else(|| inner.dice.below(blueprint.first.len() as u64) as usize);
        let fresh = inner.fresh_password();
        tick(&mut inner, &blueprint.name);
        let Some(truth) = inner.truths.get_mut(&blueprint.name) else { return };
        truth.replaced = true;
        let password = match &mut truth.instance {
            Instance::Accounts(clouds) => clouds[account].live,
            Instance::Nodes(nodes) => match nodes.works_everywhere().first() {
                Some(&works) => works,
                None => {
                    nodes.intrude(fresh, false);
                    fresh
                }
            },
        };
        let account = (blueprint.way == Way::Alternate).then(|| PAIR[account].to_owned());
        drop(inner);
        self.ask(at, Wish::Replace { by: OPERATOR, reason: None, password: text(password), account });
    }

    /// The configuration is read again: another one, where `changed`; now and then a target is left out for a while.
    pub async fn reload(&mut self, changed: bool) {
        self.edit(changed);
        for one in self.running.iter().filter(|one| !one.process.is_paused()) {
            // A signal that comes before the start is over would find another configuration being enlisted.
            while !one.process.ready.load(Ordering::Relaxed) && !one.process.is_dead() && !one.process.is_paused() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            self.up_since = one.process.clock();
            let (driver, fleet) = (Arc::clone(&one.driver), build(&self.blueprints, &one.process));
            // The process may die meanwhile, and then nobody answers.
            let _refused = tokio::time::timeout(Duration::from_secs(60), driver.reload(fleet)).await;
        }
    }

    /// Somebody edits the file: a target is configured otherwise, or left out for a while.
    pub fn edit(&mut self, changed: bool) {
        let mut inner = self.sim.lock();
        let at = inner.dice.below(self.blueprints.len() as u64) as usize;
        let blueprint = &mut self.blueprints[at];
        if changed {
            match blueprint.named && inner.dice.chance(700) {
                true => blueprint.change(&mut inner.dice),
                false => blueprint.named = !blueprint.named,
            }
            let Blueprint { name, named, plan, .. } = &*blueprint;
            inner.say(|| {
                format!(
                    "configuration: {name} named {named}, login {}, {:?}, {:?}",
                    plan.login, plan.abilities, plan.sinks
                )
            });
            let name = name.clone();
            let (sinks, named) = (plan.sinks.clone(), *named);
            let proceeds = plan.on_sink_down == OnSinkDown::Proceed;
            if let Some(truth) = inner.truths.get_mut(&name) {
                truth.login = None;
                truth.proceeds |= proceeds;
                truth.named = if named { sinks.clone() } else { Vec::new() };
                let gone: Vec<SinkName> =
                    truth.sinks.keys().filter(|sink| !named || !sinks.contains(sink)).cloned().collect();
                gone.iter().for_each(|sink| truth.consumers.forget(sink));
            }
        }
    }

    /// The clock is set, or the machine sleeps.
    pub fn set_clock(&mut self) {
        let mut inner = self.sim.lock();
        inner.steady_clock = false;
        let by = inner.dice.below(WRONG_CLOCK) as i64;
        match inner.dice.below(4) {
            0 => {
                inner.slept += by;
                inner.count("machine slept");
                inner.say(|| format!("the machine sleeps for {} s", by / 1_000));
            }
            1 => self.skew = 0,
            2 => self.skew = by,
            _ => self.skew = -by,
        }
        let skew = self.skew;
        inner.count("clock set");
        inner.say(|| format!("the clock is {} s ahead", skew / 1_000));
        drop(inner);
        self.running.iter().for_each(|one| one.process.skew.store(skew, Ordering::Relaxed));
    }
}

pub fn intrude(inner: &mut Inner, name: &TargetName) {
    let password = inner.fresh_password();
    let Inner { truths, dice, .. } = &mut *inner;
    let Some(truth) = truths.get_mut(name) else { return };
    match &mut truth.instance {
        Instance::Accounts(clouds) => {
            let account = dice.below(clouds.len() as u64) as usize;
            clouds[account].intrude(password);
        }
        Instance::Nodes(nodes) => nodes.intrude(password, dice.chance(700)),
    }
    inner.count("outsider changed the password");
    inner.say(|| format!("{name}: somebody else sets password {password}"));
}

/// Somebody writes into a sink, or deletes it.
fn meddle(inner: &mut Inner, name: &TargetName) {
    let Inner { truths, dice, .. } = &mut *inner;
    let Some(truth) = truths.get_mut(name) else { return };
    let at = dice.below(3) as usize;
    let deletes = dice.chance(500);
    let Some((sink, shelf)) = truth.sinks.iter_mut().filter(|(_, shelf)| shelf.held.is_some()).nth(at) else { return };
    shelf.deleted |= deletes;
    shelf.meddled |= !deletes;
    let sink = sink.clone();
    truth.consumers.forget(&sink);
    inner.count("sink meddled with");
    inner.say(|| format!("{name}: somebody meddles with {sink}, deletes {deletes}"));
}

/// A node goes down and comes back with an older set of passwords.
fn knock_out(inner: &mut Inner, name: &TargetName) {
    let Inner { truths, dice, disk, now, .. } = &mut *inner;
    let (Some(truth), Some(record)) = (truths.get_mut(name), disk.records.get(name)) else { return };
    let Instance::Nodes(nodes) = &mut truth.instance else { return };
    let known = record.state.candidates();
    let known: Vec<u64> = known.iter().filter_map(|known| record.passwords.get(known)).copied().collect();
    let said = nodes.knock_out(*now, &known, dice);
    inner.count("node down");
    inner.say(|| format!("{name}: {said}"));
}
