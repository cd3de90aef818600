//! The joint to whoever is alerted: a channel takes a message about what needs a person, and about what needs one no more. A message never holds a
//! secret. When and of what it speaks is decided elsewhere ([`crate::watch`]).

pub mod address;
pub mod dead_man;
pub mod slack;
#[cfg(feature = "smtp")]
pub mod smtp;
pub mod tally;
pub mod text;
pub mod webhook;

use crate::fault::Fault;
use crate::moment::Moment;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// How long one attempt to tell a channel may take unless the settings say otherwise.
pub const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

/// How many alerts of one kind a message names; the others are counted.
pub const NAMED: usize = 10;

/// What somebody is alerted of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A target is halted.
    Halted,
    /// A target is in doubt for too long.
    Doubt,
    /// A sink lacks the current password for too long.
    Behind,
    /// A password is older than `max-age`.
    TooOld,
    /// A hook is given up on.
    Hook,
    /// A target waits for something that may need a person.
    Waiting,
    /// A provider's credentials work now and will not for ever.
    Credentials,
    /// An instance that was found makes no target.
    LeftOut,
    /// A target's record cannot be read.
    Record,
    /// The targets of a selection follow each other, and nothing more of it begins.
    Waves,
}

impl Event {
    /// Every one, with its word in the configuration.
    pub const ALL: [(&'static str, Self); 10] = [
        ("halted", Self::Halted),
        ("doubt", Self::Doubt),
        ("behind", Self::Behind),
        ("too-old", Self::TooOld),
        ("hook", Self::Hook),
        ("waiting", Self::Waiting),
        ("credentials", Self::Credentials),
        ("left-out", Self::LeftOut),
        ("record", Self::Record),
        ("waves", Self::Waves),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, event)| *event == self).map_or("", |(word, _)| word)
    }
}

/// What an alert is about: there is at most one at a time for each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Key {
    /// What happened.
    pub event: Event,
    /// To which target, provider, instance or selection.
    pub subject: String,
    /// To which of the target's sinks or hooks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
}

/// One alert as a message tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What it is about.
    pub key: Key,
    /// Since when.
    pub since: Moment,
    /// Until when, where it is over.
    pub until: Option<Moment>,
    /// What happened.
    pub what: String,
    /// What a person should do next.
    pub next_step: String,
}

/// Alerts of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Which kind.
    pub event: Event,
    /// Whether they are over.
    pub over: bool,
    /// How many they are.
    pub count: usize,
    /// The first [`NAMED`] of them.
    pub named: Vec<Told>,
}

/// What a channel is told at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The same for each attempt to tell the same.
    pub id: String,
    /// When it was put together.
    pub at: Moment,
    /// The machine that speaks.
    pub host: String,
    /// What it says; nothing in a message that only tries the channel.
    pub groups: Vec<Group>,
}

/// Somebody who is alerted.
#[async_trait]
pub trait Channel: Send + Sync {
    /// Tells it. Bounded in time. It may be told the same more than once, under the same id.
    ///
    /// # Errors
    /// `AlertFailed` when nobody may have heard it; it is told again with back-off.
    async fn tell(&self, message: &Message) -> Result<(), Fault>;

    /// Whether it could be told, as far as that can be seen without a message: for `check`.
    ///
    /// # Errors
    /// `AlertFailed` with what would fail.
    async fn ready(&self) -> Result<(), Fault>;
}
