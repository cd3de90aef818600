//! The promises, as they are checked after every step.

#![allow(clippy::wildcard_enum_match_arm, reason = "an observer looks at a few of many kinds")]

use super::cloud::Password;
use super::instance::{Instance, index};
use super::{Told, World, ensure};
use keywheel::moment::Moment;
use keywheel::name::Generation;
use keywheel::rotation::event::{Event, Proof, What};
use keywheel::rotation::plan::Strategy;
use keywheel::rotation::state::{Phase, State};
use std::time::Duration;

impl World {
    /// Nobody but us changed a password, and none of our calls took effect out of its time.
    pub(super) fn is_undisturbed(&self) -> bool {
        self.instance.foreign() == 0 && !self.instance.has_strays() && !self.replaced
    }

    /// How long two passwords are left valid.
    pub(super) fn grace(&self) -> Option<Duration> {
        match self.plan.strategy {
            Strategy::InPlace => None,
            Strategy::Alternate { grace, .. } | Strategy::Overlap { grace } => Some(grace),
        }
    }

    /// P1 and what follows from it, at every instant.
    pub(super) fn check_promises(&self) -> Told {
        match &self.instance {
            Instance::Accounts(clouds) => {
                for account in 0..clouds.len() {
                    self.check_account(account)?;
                }
            }
            Instance::Nodes(_) => self.check_nodes()?,
        }
        self.check_consumers()
    }

    fn check_account(&self, account: usize) -> Told {
        let Some(cloud) = self.instance.cloud(account) else { return Ok(()) };
        // Nobody ever told us this one.
        if self.strange.contains(&cloud.live) {
            return Ok(());
        }
        if cloud.foreign == 0 && !self.passwords.is_empty() {
            let known = self.passwords.values().any(|&password| password == cloud.live);
            ensure(known, format!("P1: the live password of account {account} is not in the ledger"))?;
        }
        let Some(current) = self.state.standing.current.as_ref().filter(|_| self.is_undisturbed()) else {
            return Ok(());
        };
        let named = self.state.candidates();
        let of_account = |generation: &&Generation| self.opens.get(*generation) == Some(&account);
        let held =
            named.iter().filter(of_account).any(|generation| self.passwords.get(generation) == Some(&cloud.live));
        let is_current = index(current.account.as_deref()) == account;
        let on_word = |known: Option<&keywheel::rotation::state::Current>| {
            known.is_some_and(|known| {
                known.proof == Proof::Acceptance
                    && index(known.account.as_deref()) == account
                    && cloud.may_become(self.passwords[&known.generation])
            })
        };
        let accepted_on_word = on_word(Some(current)) || on_word(self.state.standing.former.as_ref());
        ensure(held || accepted_on_word, format!("P1: password {} is live and no candidate", cloud.live))?;
        if self.plan.strategy.is_alternate() && is_current {
            let live = self.password(current.generation)? == cloud.live || accepted_on_word;
            ensure(live, "the active account was touched while its password was current")?;
        }
        Ok(())
    }

    fn check_nodes(&self) -> Told {
        let Some(nodes) = self.instance.nodes().filter(|nodes| nodes.foreign == 0) else { return Ok(()) };
        let named: Vec<Password> =
            self.state.candidates().iter().map(|&generation| self.password(generation)).collect::<Told<_>>()?;
        let current = self.state.standing.current.as_ref();
        for node in nodes.up() {
            if current.is_some() {
                let unnamed = |password: &&Password| {
                    !named.contains(password) && !self.strange.contains(password) && !nodes.strays.contains(password)
                };
                if let Some(unnamed) = node.valid.iter().find(unnamed) {
                    return Err(format!("P1: password {unnamed} is valid on a node and no candidate"));
                }
            }
            if let Some(current) = current {
                let password = self.password(current.generation)?;
                let there = node.valid.contains(&password) || node.forgot.contains(&password);
                ensure(there, "current is not valid on every node, and none of them forgot it")?;
            }
        }
        Ok(())
    }

    /// Who reads a sink at least once in every grace is never refused by our doing.
    fn check_consumers(&self) -> Told {
        let Some(grace) = self.grace().filter(|_| self.instance.foreign() == 0 && !self.instance.has_strays()) else {
            return Ok(());
        };
        for (sink, generation) in self.consumers.may_hold(grace, self.clock()) {
            let password = self.password(generation)?;
            let refused = match &self.instance {
                Instance::Accounts(clouds) => {
                    let account = self.opens[&generation];
                    let cloud = &clouds[account];
                    let on_word = self.accepted_on_word.contains(&generation);
                    !self.replaced && cloud.live != password && !(on_word && cloud.may_become(password))
                }
                Instance::Nodes(nodes) => {
                    nodes.up().any(|node| !node.valid.contains(&password) && !node.forgot.contains(&password))
                }
            };
            ensure(!refused, format!("a consumer of {sink} is refused with generation {generation} within its grace"))?;
        }
        Ok(())
    }

    /// P3: what is delivered was live, unless somebody else interfered where no login could tell.
    pub(super) fn check_proven(&self, generation: Generation) -> Told {
        let password = self.password(generation)?;
        let proof = self.state.standing.current.as_ref().map(|current| current.proof);
        let was_live = match &self.instance {
            Instance::Accounts(clouds) => {
                let cloud = &clouds[self.opens[&generation]];
                cloud.ever_live.contains(&password) || (proof == Some(Proof::Acceptance) && cloud.may_become(password))
            }
            Instance::Nodes(nodes) => nodes.ever_live.contains(&password),
        };
        let blind = proof != Some(Proof::Login) && (self.instance.foreign() > 0 || self.replaced);
        ensure(was_live || blind, format!("P3: generation {generation} is delivered and was never live"))
    }

    /// Settled is true: every sink holds current, and current is live unless somebody else interfered.
    pub(super) fn check_settled(&self) -> Told {
        ensure(self.sinks_hold_current(), "settled although a sink lacks current")?;
        let current = self.state.standing.current.as_ref().ok_or("settled without a current password")?;
        let password = self.password(current.generation)?;
        let live = match &self.instance {
            Instance::Accounts(clouds) => {
                let cloud = &clouds[index(current.account.as_deref())];
                cloud.live == password || cloud.may_become(password)
            }
            Instance::Nodes(nodes) => {
                nodes.up().all(|node| node.valid.contains(&password) || node.forgot.contains(&password))
            }
        };
        ensure(live || !self.is_undisturbed(), "settled although current is not live")
    }

    /// What must hold when nothing is left to do and nobody interferes.
    pub(super) fn check_rest(&self) -> Told {
        ensure(self.sinks_hold_current(), "at rest although a sink lacks current")?;
        ensure(self.state.standing.paused.is_none(), "at rest although the pause should have ended")?;
        let Some(nodes) = self.instance.nodes().filter(|nodes| nodes.foreign == 0) else { return Ok(()) };
        let standing = &self.state.standing;
        ensure(standing.former.is_none() && standing.loose.is_empty(), "at rest with a password still to take away")?;
        let Some(current) = &standing.current else { return Ok(()) };
        let password = self.password(current.generation)?;
        for node in &nodes.nodes {
            let others = |other: &&Password| {
                **other != password && !self.strange.contains(other) && !nodes.strays.contains(other)
            };
            ensure(!node.valid.iter().any(|other| others(&other)), "at rest although a node lets another one in")?;
            let healed = node.valid.contains(&password) || (node.forgot.contains(&password) && !self.must_be_healed);
            ensure(healed, "at rest although a node lacks current")?;
        }
        Ok(())
    }

    pub(super) fn sinks_hold_current(&self) -> bool {
        let current = self.state.standing.current.as_ref().map(|current| current.generation);
        let is_spoilt = |sink| self.meddled.contains(sink) || self.deleted.contains(sink);
        self.plan.sinks.iter().all(|sink| is_spoilt(sink) || self.sinks.get(sink).copied() == current)
    }

    /// P2: no candidate disappears while it may be live or become so.
    pub(super) fn check_kept(&self, before: &State, event: &Event) -> Told {
        if matches!(event.what, What::Replaced { .. } | What::Paired { .. }) {
            return Ok(());
        }
        let kept = |state: &State| {
            let candidate = state.open.as_ref().and_then(|open| open.candidate);
            [candidate, state.standing.spare]
        };
        let current = self.state.standing.current.as_ref().map(|current| current.generation);
        for generation in kept(before).into_iter().flatten() {
            if kept(&self.state).contains(&Some(generation)) || current == Some(generation) {
                continue;
            }
            let password = self.password(generation)?;
            if let Instance::Accounts(clouds) = &self.instance {
                for cloud in clouds {
                    ensure(password != cloud.live, "P2: a live candidate was dropped")?;
                    ensure(!cloud.may_become(password), "P2: a candidate that may become live was dropped")?;
                }
            }
            let broke_a_rule = matches!(event.what, What::Discarded { .. });
            ensure(broke_a_rule, format!("generation {generation} was forgotten without need"))?;
        }
        Ok(())
    }

    /// A rotation may begin: no pause, and of a pair not within the grace.
    pub(super) fn check_beginning(&self) -> Told {
        ensure(self.state.standing.paused.is_none(), "a rotation begins while paused")?;
        let Some(grace) = self.grace().filter(|_| self.is_undisturbed()) else { return Ok(()) };
        let rotated = self.state.standing.rotated_at.is_some();
        let early = self.moved_at().is_some_and(|moved| self.clock() < moved + grace);
        let pair = self.plan.strategy.is_alternate();
        ensure(!(pair && rotated && early), "two rotations of a pair are closer together than the grace")?;
        let verified = self.state.standing.verified;
        let drifted = verified.is_some_and(|verified| verified.refusals >= self.plan.limits.agreement);
        let overlaps = self.plan.strategy.is_overlap() && self.state.standing.former.is_some();
        ensure(!overlaps || drifted, "a rotation begins although the former password was not taken away")
    }

    /// A password is about to be taken away.
    pub(super) fn check_retiring(&self, generation: Generation, current: Generation) -> Told {
        let standing = &self.state.standing;
        ensure(generation != current, "current is to be taken away")?;
        ensure(standing.current.as_ref().is_some_and(|known| known.generation == current), "another one is current")?;
        let grace = self.grace().unwrap_or_default();
        let early = self.moved_at().is_some_and(|moved| self.clock() < moved + grace);
        ensure(!early, "a password is taken away before its grace is over")
    }

    pub(super) fn note_move(&mut self, at: Moment, what: &What) {
        match what {
            What::Adopted { .. } | What::Replaced { .. } => self.proven_at = Some(at),
            What::Proven { generation, proof } => {
                self.proven_at = Some(at);
                if *proof == Proof::Acceptance {
                    self.accepted_on_word.insert(*generation);
                }
            }
            What::Delivered { sink, .. } => {
                self.delivered_at.insert(sink.clone(), at);
            }
            _ => {}
        }
    }

    /// When the last consumer could read current: after its proof, at the last delivery.
    fn moved_at(&self) -> Option<Moment> {
        let delivered = self.plan.sinks.iter().filter_map(|sink| self.delivered_at.get(sink));
        delivered.chain(&self.proven_at).max().copied()
    }

    /// The candidate of the open rotation, while it is not proven.
    pub(super) fn candidate(&self) -> Option<Generation> {
        let open = self.state.open.as_ref().filter(|open| !matches!(open.phase, Phase::Proven { .. }));
        open.and_then(|open| open.candidate)
    }
}
