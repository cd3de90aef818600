//! The configuration together with what its selections found: each instance a target like those that are written down.

use super::finding::Finding;
use super::selection::Selection;
use super::target::{Surroundings, Target};
use super::template::Facts;
use super::{Config, Provider};
use crate::ledger::known::{Known, Lists};
use crate::name::TargetName;
use crate::provider::Address;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// A target whose instance is no longer found: nothing is rotated, everything is kept.
#[derive(Debug, Clone)]
pub struct RetiredTarget {
    /// What it was.
    pub target: Target,
    /// Since when it is retired, and why.
    pub retired: crate::ledger::known::Retired,
}

/// A configuration with the targets that were found, and the instances that make none.
#[derive(Debug, Clone)]
pub struct Expanded {
    /// The configuration.
    pub config: Config,
    /// Each instance that was left out, and why; and each that keeps a name its templates do not give any more.
    pub left_out: Vec<Finding>,
}

impl Config {
    /// This configuration, as it was read, with a target for each instance that was found and a place for each that is retired.
    #[must_use]
    pub fn with_found(&self, lists: &Lists) -> Expanded {
        let mut expanded = Expanded { config: self.clone(), left_out: Vec::new() };
        if self.selections.is_empty() {
            return expanded;
        }
        let some = |entry: (&_, &Provider)| (Clone::clone(entry.0), Some(entry.1.clone()));
        let around = Surroundings {
            time_zone: self.daemon.time_zone,
            late_effect: self.limits.late_effect,
            providers: &self.providers.iter().map(some).collect(),
            policies: &self.policies.iter().map(|(name, policy)| (name.clone(), Some(policy.clone()))).collect(),
            sinks: &BTreeMap::new(),
            hooks: &self.hooks.iter().map(|(name, hook)| (name.clone(), Some(hook.clone()))).collect(),
            accepted: &RefCell::default(),
        };
        let mut taken = Taken::by(self);
        // Who has a name keeps it, so those go first; then whoever is there; and who is gone gives way to both.
        for turn in [Turn::Named, Turn::New, Turn::Retired] {
            for (name, selection) in &self.selections {
                // Each instance gets a copy, so only what it needs is in it.
                let sinks = self.sinks.iter().filter(|(sink, _)| selection.names_sink(sink));
                let around = Surroundings {
                    sinks: &sinks.map(|(name, sink)| (name.clone(), Some(sink.clone()))).collect(),
                    ..around
                };
                let place = self.providers.get(&selection.provider).map(Provider::place).unwrap_or_default();
                // What an earlier configuration found is no target of this one, until this one has found it too.
                let sought = |known: &&Known| known.is_sought(&place, &selection.tags) && Turn::of(known) == turn;
                let mut list: Vec<&Known> = lists.get(name).into_iter().flatten().filter(sought).collect();
                // Who came first before who came later: a newcomer takes nobody's name.
                list.sort_by_key(|known| (known.since, &known.instance));
                for known in list {
                    match made(self, selection, name, known, &around, &mut taken) {
                        Ok((target_name, target)) => {
                            expanded.left_out.extend(keeps_its_name(selection, &target_name, known));
                            expanded.place(target_name, target, known);
                        }
                        Err(why) if known.retired.is_none() => expanded.left_out.push(left_out(selection, known, why)),
                        Err(_) => {}
                    }
                }
            }
        }
        expanded
    }
}

/// In which order instances become targets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Named,
    New,
    Retired,
}

impl Turn {
    fn of(known: &Known) -> Self {
        match (&known.retired, &known.target) {
            (Some(_), _) => Self::Retired,
            (None, Some(_)) => Self::Named,
            (None, None) => Self::New,
        }
    }
}

impl Expanded {
    /// Gives each instance of a selection the name of its target for good, where it makes one and has no name yet.
    pub fn name(&self, selection: &TargetName, list: &mut [Known]) {
        let ours = |(_, target): &(&TargetName, &Target)| target.selected_by.as_ref() == Some(selection);
        let live = self.config.targets.iter().filter(ours);
        let names: BTreeMap<&str, &TargetName> =
            live.map(|(name, target)| (target.address.instance.as_str(), name)).collect();
        for known in list.iter_mut().filter(|known| known.target.is_none()) {
            known.target = names.get(known.instance.as_str()).map(|name| (*name).clone());
        }
    }

    fn place(&mut self, name: TargetName, target: Target, known: &Known) {
        match &known.retired {
            None => {
                self.config.targets.insert(name, target);
            }
            Some(retired) => {
                self.config.retired.insert(name, RetiredTarget { target, retired: retired.clone() });
            }
        }
    }
}

fn made(
    config: &Config,
    selection: &Selection,
    selection_name: &TargetName,
    known: &Known,
    around: &Surroundings<'_>,
    taken: &mut Taken,
) -> Result<(TargetName, Target), String> {
    let (name, target) = selection.target(Facts::of(known), known.target.as_ref(), around)?;
    taken.take(config, &name, &target)?;
    Ok((name, Target { selected_by: Some(selection_name.clone()), waves: selection.waves, ..target }))
}

fn left_out(selection: &Selection, known: &Known, why: String) -> Finding {
    let (origin, path) = selection.place();
    Finding {
        origin: origin.clone(),
        key: path.to_owned(),
        what: format!("Instance {} is left out: {why}", known.instance),
        next_step: Some(
            "change the templates of this selection or the instance's tags, or write it as a target of its own"
                .to_owned(),
        ),
    }
}

/// Its templates would call it something else by now.
fn keeps_its_name(selection: &Selection, name: &TargetName, known: &Known) -> Option<Finding> {
    let other = selection.name_of(&Facts::of(known)).ok().filter(|other| other != name)?;
    let (origin, path) = selection.place();
    let renamed = known.target.is_some() && known.retired.is_none();
    renamed.then(|| Finding {
        origin: origin.clone(),
        key: path.to_owned(),
        what: format!("Instance {} stays the target {name}, though its templates say {other} now", known.instance),
        next_step: Some("nothing: its passwords and history are kept under the name it was found with".to_owned()),
    })
}

/// The account of a target: where, which instance, and which account; none for the default account, which may have several names.
type Account = (String, String, Option<String>);

/// What belongs to a target already. Targets that are written down go before those that are found.
struct Taken {
    names: BTreeMap<TargetName, String>,
    accounts: BTreeMap<Account, TargetName>,
    spots: BTreeMap<String, String>,
}

impl Taken {
    fn by(config: &Config) -> Self {
        let written = |name: &TargetName| (name.clone(), format!("[targets.{name}]"));
        let shared =
            config.sinks.iter().filter_map(|(name, sink)| Some((sink.spot()?.whole(), format!("sink {name}"))));
        let own = config.targets.iter().flat_map(|(name, target)| {
            target.own_sinks.values().filter_map(move |sink| Some((sink.spot()?.whole(), format!("target {name}"))))
        });
        Self {
            names: config.targets.keys().chain(config.selections.keys()).map(written).collect(),
            accounts: config
                .targets
                .iter()
                .flat_map(|(name, target)| accounts(config, target).map(|account| (account, name.clone())))
                .collect(),
            spots: shared.chain(own).collect(),
        }
    }

    /// Takes what this target needs, or says who has it.
    fn take(&mut self, config: &Config, name: &TargetName, target: &Target) -> Result<(), String> {
        let accounts: Vec<Account> = accounts(config, target).collect();
        if let Some(other) = accounts.iter().find_map(|account| self.accounts.get(account)) {
            return Err(format!("the target {other} rotates the same account already"));
        }
        if let Some(other) = self.names.get(name) {
            return Err(format!("its target would be called {name}, like {other}"));
        }
        for sink in target.own_sinks.values() {
            let Some(spot) = sink.spot() else { continue };
            if let Some(other) = self.spots.get(&spot.whole()) {
                return Err(format!("its {}{} is that of {other}", sink.noun(), spot.shown()));
            }
        }
        let spots = target.own_sinks.values().filter_map(|sink| Some(sink.spot()?.whole()));
        self.spots.extend(spots.map(|spot| (spot, format!("target {name}"))));
        self.names.insert(name.clone(), format!("instance {}", target.address.instance));
        self.accounts.extend(accounts.into_iter().map(|account| (account, name.clone())));
        Ok(())
    }
}

/// Its account, or both of a pair.
fn accounts(config: &Config, target: &Target) -> impl Iterator<Item = Account> {
    target.addresses().into_iter().map(|Address { instance, account, mode: _ }| {
        match config.providers.get(&target.provider) {
            Some(cloud) => {
                let named = (!cloud.is_default_account(&instance, &account)).then_some(account);
                (cloud.place(), instance, named)
            }
            None => (target.provider.to_string(), instance, Some(account)),
        }
    })
}
