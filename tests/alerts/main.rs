//! Who is alerted, of what, and how often: the watching as tables, the book over restarts, and each kind of channel against a receiver.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod book;
mod channels;
mod conditions;
mod desk;
mod looking;
#[path = "../common/receiver.rs"]
mod receiver;
#[cfg(feature = "smtp")]
mod smtp;
mod telling;
#[path = "../common/traces.rs"]
mod traces;

use keywheel::alert::{Event, Key};
use keywheel::moment::Moment;
use keywheel::name::ChannelName;
use keywheel::watch::book::Takers;
use keywheel::watch::conditions::{Condition, Conditions};

fn at(second: i64) -> Moment {
    Moment::from_seconds(1_800_000_000 + second)
}

fn channel(name: &str) -> ChannelName {
    name.parse().unwrap()
}

fn key(event: Event, subject: &str) -> Key {
    Key { event, subject: subject.to_owned(), part: None }
}

/// Targets that are halted since a moment.
fn halted(names: &[&str], since: i64) -> Conditions {
    let condition = Condition {
        since: at(since),
        ripe_at: at(since),
        what: "the instance lets anybody in".to_owned(),
        next_step: "switch it to password login".to_owned(),
    };
    names.iter().map(|name| (key(Event::Halted, name), condition.clone())).collect()
}

/// Channels that take everything.
fn takers(names: &[&str]) -> Takers {
    let all = || Event::ALL.into_iter().map(|(_, event)| event).collect();
    names.iter().map(|name| (channel(name), all())).collect()
}
