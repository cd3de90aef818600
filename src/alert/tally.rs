//! What was counted of alerts since the start.

use super::Event;
use crate::name::ChannelName;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Alerts by what they are of, and messages by channel.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    events: BTreeMap<Event, Raised>,
    messages: BTreeMap<ChannelName, (u64, u64)>,
}

/// Alerts of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Raised {
    /// How many stand now.
    pub now: usize,
    /// How many were raised.
    pub raised: u64,
    /// How many ended.
    pub over: u64,
}

impl Tally {
    /// Every kind of alert.
    pub fn events(&self) -> Vec<(Event, Raised)> {
        let of = |counted: &Counted, event| counted.events.get(&event).copied().unwrap_or_default();
        self.with(|counted| Event::ALL.map(|(_, event)| (event, of(counted, event))).to_vec())
    }

    /// Each channel that was told something: how often it heard, and how often it could not be told.
    pub fn messages(&self) -> Vec<(ChannelName, (u64, u64))> {
        self.with(|counted| counted.messages.iter().map(|(name, counts)| (name.clone(), *counts)).collect())
    }

    /// An alert was raised.
    pub fn raised(&self, event: Event) {
        self.with(|counted| counted.events.entry(event).or_default().raised += 1);
    }

    /// An alert ended.
    pub fn over(&self, event: Event) {
        self.with(|counted| counted.events.entry(event).or_default().over += 1);
    }

    /// These stand now, and no others.
    pub fn stand(&self, standing: impl IntoIterator<Item = Event>) {
        self.with(|counted| {
            counted.events.values_mut().for_each(|raised| raised.now = 0);
            standing.into_iter().for_each(|event| counted.events.entry(event).or_default().now += 1);
        });
    }

    /// A channel was told, or could not be.
    pub fn told(&self, channel: &ChannelName, heard: bool) {
        self.with(|counted| {
            let (told, failed) = counted.messages.entry(channel.clone()).or_default();
            *(if heard { told } else { failed }) += 1;
        });
    }

    fn with<T>(&self, see: impl FnOnce(&mut Counted) -> T) -> T {
        see(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
