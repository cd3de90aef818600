//! What was raised, who heard of it, and who still has to hear of its end. Pure, and kept in the ledger: a restart announces nothing twice, and what was
//! mended while keywheel was down is announced as over.

use super::conditions::{Condition, Conditions};
use crate::alert::{Event, Group, Key, Message, NAMED, Told};
use crate::moment::Moment;
use crate::name::ChannelName;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Which events each channel takes.
pub type Takers = BTreeMap<ChannelName, BTreeSet<Event>>;

/// Every alert that somebody has heard of or is still to hear of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Alert>", into = "Vec<Alert>")]
pub struct Book(BTreeMap<Key, Alert>);

/// One alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Alert {
    key: Key,
    since: Moment,
    raised_at: Moment,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    over_at: Option<Moment>,
    what: String,
    next_step: String,
    /// Who takes it, and whether they heard that it was raised. Who heard that it is over is taken out.
    channels: BTreeMap<ChannelName, bool>,
}

impl From<Vec<Alert>> for Book {
    fn from(alerts: Vec<Alert>) -> Self {
        Self(alerts.into_iter().map(|alert| (alert.key.clone(), alert)).collect())
    }
}

impl From<Book> for Vec<Alert> {
    fn from(Book(alerts): Book) -> Self {
        alerts.into_values().collect()
    }
}

/// What a message covers: which alerts, raised when, and whether it says that they are over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Covered(Vec<(Key, Moment, bool)>);

/// What changed at a look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct News {
    /// What was raised.
    pub raised: Vec<Key>,
    /// What is over.
    pub over: Vec<Key>,
}

impl Book {
    /// What held when it was written, for the first look.
    pub fn conditions(&self) -> Conditions {
        let holding = self.0.values().filter(|alert| alert.over_at.is_none());
        holding
            .map(|alert| {
                let Alert { key, since, what, next_step, .. } = alert.clone();
                (key, Condition { since, ripe_at: since, what, next_step })
            })
            .collect()
    }

    /// Takes in what holds now.
    pub fn update(&mut self, holding: &Conditions, takers: &Takers, now: Moment) -> News {
        let mut news = News::default();
        for (key, condition) in holding {
            let open = self.0.get(key).is_some_and(|alert| alert.over_at.is_none());
            if open || now < condition.ripe_at {
                continue;
            }
            let Condition { since, what, next_step, .. } = condition.clone();
            let raised = Alert {
                key: key.clone(),
                since,
                raised_at: now,
                over_at: None,
                what,
                next_step,
                channels: BTreeMap::new(),
            };
            // Who has not heard that it was over need not hear that it is back.
            let before = self.0.remove(key).map(|alert| alert.channels).unwrap_or_default();
            let takes = takers.iter().filter(|(_, events)| events.contains(&key.event)).map(|(name, _)| name);
            let channels: BTreeMap<_, _> =
                takes.map(|name| (name.clone(), before.get(name).copied().unwrap_or(false))).collect();
            if !channels.is_empty() {
                self.0.insert(key.clone(), Alert { channels, ..raised });
                news.raised.push(key.clone());
            }
        }
        for (key, alert) in &mut self.0 {
            if alert.over_at.is_none() && !holding.contains_key(key) {
                alert.over_at = Some(now);
                news.over.push(key.clone());
            }
        }
        news
    }

    /// Forgets channels that are no longer configured, and what they do not take any more. One that is new, or has another name, is told of what holds.
    pub fn keep_channels(&mut self, takers: &Takers) {
        for alert in self.0.values_mut() {
            let takes = |name: &ChannelName| takers.get(name).is_some_and(|events| events.contains(&alert.key.event));
            alert.channels.retain(|name, _| takes(name));
            if alert.over_at.is_none() {
                takers.keys().filter(|&name| takes(name)).for_each(|name| {
                    alert.channels.entry(name.clone()).or_insert(false);
                });
            }
        }
        self.forget_the_heard();
    }

    /// What this channel has not heard yet, in one message; `None` when it has heard everything.
    pub fn message(&self, channel: &ChannelName, host: &str, now: Moment) -> Option<(Message, Covered)> {
        let mut groups: BTreeMap<(bool, Event), Group> = BTreeMap::new();
        let mut covered = Covered::default();
        let mut digest = Sha256::new();
        digest.update(channel.as_str());
        for (key, alert) in &self.0 {
            let over = alert.over_at.is_some();
            if alert.channels.get(channel).is_none_or(|&heard| heard && !over) {
                continue;
            }
            let group = groups.entry((over, key.event));
            let group = group.or_insert_with(|| Group { event: key.event, over, count: 0, named: Vec::new() });
            group.count += 1;
            if group.named.len() < NAMED {
                group.named.push(Told {
                    key: key.clone(),
                    since: alert.since,
                    until: alert.over_at,
                    what: alert.what.clone(),
                    next_step: alert.next_step.clone(),
                });
            }
            covered.0.push((key.clone(), alert.raised_at, over));
            let until = alert.over_at.map_or(0, Moment::millis);
            digest.update(format!("\n{key:?} {} {until}", alert.raised_at.millis()));
        }
        let groups: Vec<Group> = groups.into_values().collect();
        let id = format!("alert-{}", hex::encode(&digest.finalize()[..16]));
        let host = host.to_owned();
        (!groups.is_empty()).then_some((Message { id, at: now, host, groups }, covered))
    }

    /// This channel has heard the message that covers these.
    pub fn heard(&mut self, channel: &ChannelName, Covered(covered): &Covered) {
        for (key, raised_at, said_over) in covered {
            let Some(alert) = self.0.get_mut(key) else { continue };
            let is_same = alert.raised_at == *raised_at;
            match (said_over, alert.over_at) {
                // It came back while it was said to be over.
                (true, _) if !is_same => {
                    alert.channels.entry(channel.clone()).and_modify(|heard| *heard = false);
                }
                (true, Some(_)) => {
                    alert.channels.remove(channel);
                }
                (true, None) => {}
                (false, _) => {
                    alert.channels.entry(channel.clone()).and_modify(|heard| *heard = true);
                }
            }
        }
        self.forget_the_heard();
    }

    fn forget_the_heard(&mut self) {
        self.0.retain(|_, alert| alert.over_at.is_none() || !alert.channels.is_empty());
    }
}
