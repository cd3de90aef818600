//! What others do to a target: an outsider who changes passwords and sinks, nodes that go down, an operator, a clock that is set.

use super::instance::{Instance, PAIR, index};
use super::plan::PLACE;
use super::{Told, World};
use keywheel::moment::Moment;
use keywheel::name::SinkName;
use keywheel::rotation::answer::Login;
use keywheel::rotation::event::{By, Proof, What};
use std::time::Duration;

const OPERATOR: By = By::Operator { uid: 0 };

impl World {
    /// What others do to us during the storm.
    pub(super) fn disturb(&mut self) -> Told {
        if self.traits.outsider && self.dice.chance(8) {
            self.intrude();
        }
        if self.traits.meddler && self.dice.chance(20) {
            self.meddle();
        }
        self.node_trouble()?;
        if self.state.open.is_none() && self.state.asked.is_none() && self.dice.chance(80) {
            self.append(What::Asked { by: OPERATOR, reason: None })?;
        }
        if self.state.halt.is_some() && self.dice.chance(400) {
            if self.traits.replacer && self.dice.chance(400) {
                let account = self.dice.below(2) as usize;
                self.replace(account)?;
            } else {
                let allow_reset = self.dice.chance(300);
                self.append(What::Resumed { by: OPERATOR, reason: None, allow_reset })?;
            }
        } else if self.traits.replacer && self.dice.chance(4) {
            let account = self.dice.below(2) as usize;
            self.replace(account)?;
        }
        if self.traits.pauses && self.dice.chance(15) {
            match self.state.standing.paused {
                Some(_) => self.append(What::Unpaused { by: OPERATOR })?,
                None => {
                    let span = Duration::from_secs(60 * self.dice.below(120));
                    let until = self.dice.chance(700).then(|| self.clock() + span);
                    self.append(What::Paused { by: OPERATOR, reason: None, until })?;
                }
            }
        }
        if self.traits.clock_jumps && self.dice.chance(20) {
            self.consumers.expire(self.grace().unwrap_or_default(), self.clock());
            self.clock_behind = 1_000 * self.dice.below(3_600) as i64;
            self.say(format!("the clock is {} s behind", self.clock_behind / 1_000));
        }
        Ok(())
    }

    /// The storm is over: what would never end by itself is ended by somebody.
    pub(super) fn calm(&mut self) -> Told {
        self.storm = false;
        self.instance.calm(self.now, !self.traits.stuck_for_good);
        self.say("the storm is over".to_owned());
        match &self.state.standing.paused {
            Some(pause) if pause.until == Moment::NEVER => self.append(What::Unpaused { by: OPERATOR }),
            Some(_) | None => Ok(()),
        }
    }

    fn intrude(&mut self) {
        let password = self.fresh_password();
        match &mut self.instance {
            Instance::Accounts(clouds) => {
                let account = self.dice.below(clouds.len() as u64) as usize;
                clouds[account].intrude(password);
                self.say(format!("somebody else sets password {password} on account {account}"));
            }
            Instance::Nodes(nodes) => {
                let alone = self.dice.chance(700);
                nodes.intrude(password, alone);
                self.say(format!("somebody else sets password {password} on every node, alone: {alone}"));
            }
        }
    }

    /// Somebody writes into a sink, or deletes it.
    fn meddle(&mut self) {
        let held: Vec<SinkName> = self.sinks.keys().cloned().collect();
        if held.is_empty() {
            return;
        }
        let sink = held[self.dice.below(held.len() as u64) as usize].clone();
        self.say(format!("somebody meddles with {sink}"));
        self.consumers.forget(&sink);
        if self.dice.chance(500) {
            self.deleted.insert(sink);
        } else {
            self.meddled.insert(sink);
        }
    }

    /// A node goes down and comes back with an older set of passwords.
    fn node_trouble(&mut self) -> Told {
        let known = [self.state.standing.current.as_ref().map(|current| current.generation), self.candidate()];
        let known: Vec<_> = known.into_iter().flatten().map(|known| self.password(known)).collect::<Told<_>>()?;
        let Instance::Nodes(nodes) = &mut self.instance else { return Ok(()) };
        if self.traits.nodes_fail && self.dice.chance(60) {
            let what = nodes.knock_out(self.now, &known, &mut self.dice);
            self.say(what);
        }
        Ok(())
    }

    /// A person gives a password that works: what an account has, or one that every node lets in. On nodes where there is none, they set one first.
    pub(super) fn replace(&mut self, account: usize) -> Told {
        let (password, account) = match &mut self.instance {
            Instance::Accounts(clouds) => {
                let account = account.min(clouds.len() - 1);
                (clouds[account].live, account)
            }
            Instance::Nodes(nodes) => {
                let working = nodes.works_everywhere();
                match working.len() {
                    0 => {
                        self.next_password += 1;
                        nodes.intrude(self.next_password, false);
                        (self.next_password, 0)
                    }
                    many => (working[self.dice.below(many as u64) as usize], 0),
                }
            }
        };
        if self.plan.login && self.instance.login(account, password, self.now, &mut self.dice) != Login::Accepted {
            self.say("a person's password was not let in just now".to_owned());
            return Ok(());
        }
        let generation = self.state.standing.newest.following();
        self.replaced = true;
        self.take_in(generation, password, account);
        let proof = if self.plan.login { Proof::Login } else { Proof::Stated };
        let account = self.plan.strategy.is_alternate().then(|| PAIR[account].to_owned());
        self.append(What::Replaced {
            generation,
            proof,
            by: OPERATOR,
            reason: None,
            place: PLACE.to_owned(),
            account,
            moved: false,
        })
    }

    /// A person gives every password that the ledger lacks, the active account's first.
    pub(super) fn repair(&mut self) -> Told {
        self.now = self.instance.quiet_at(self.now);
        self.instance.tick(self.now, &mut self.dice);
        let active = self.state.standing.current.as_ref().map(|current| index(current.account.as_deref()));
        let first = active.unwrap_or(0);
        self.replace(first)?;
        if self.plan.strategy.is_alternate() {
            self.replace(1 - first)?;
        }
        Ok(())
    }
}
