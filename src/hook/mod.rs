//! The joint to a hook: something told after a delivery. It is told at least once per generation and never receives the password.
//! When its turn comes is the driver's business ([`Terms`]); what waits is in the ledger.

pub mod command;
#[cfg(feature = "kubernetes")]
pub mod kubernetes_rollout;
pub mod signal;
pub mod systemd;
pub mod webhook;

use crate::fault::Fault;
use crate::name::{Generation, RotationId, TargetName};
use async_trait::async_trait;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// What a hook is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whose password changed.
    pub target: TargetName,
    /// To which generation.
    pub generation: Generation,
    /// By which rotation; the same for a repeated notice, so that a hook can tell.
    pub rotation: Option<RotationId>,
    /// Which telling of that generation this is, from 1: another one comes when a sink was late, and its readers have to look again. A repeated notice
    /// has the same number.
    pub telling: u32,
    /// The other targets that are told of by the same notice.
    pub others: BTreeMap<TargetName, News>,
}

/// What a notice tells of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct News {
    /// The generation.
    pub generation: Generation,
    /// The rotation that made it.
    pub rotation: Option<RotationId>,
    /// Which telling of it this is, from 1.
    pub telling: u32,
}

impl Notice {
    /// What it tells of its own target.
    pub const fn news(&self) -> News {
        News { generation: self.generation, rotation: self.rotation, telling: self.telling }
    }
}

impl fmt::Display for News {
    /// `7`, or `7-2` where it is told a second time: the same for a repeated notice and for nothing else.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.telling {
            0 | 1 => write!(formatter, "{}", self.generation),
            telling => write!(formatter, "{}-{telling}", self.generation),
        }
    }
}

/// When a hook is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// How long the first notice waits for other targets that tell the same hook.
    pub debounce: Duration,
    /// Whether one notice is enough for all targets that wait for the same hook.
    pub once_for_all: bool,
    /// How many hooks that share the restart budget are told in a minute; `None` = this one restarts nothing, or there is no budget.
    pub per_minute: Option<NonZeroU32>,
}

/// A hook, and when it is told.
#[derive(Clone)]
pub struct Listener {
    /// What is told.
    pub hook: Arc<dyn Hook>,
    /// When.
    pub terms: Terms,
}

/// Something told after a delivery.
#[async_trait]
pub trait Hook: Send + Sync {
    /// Tells it. Bounded in time.
    ///
    /// # Errors
    /// `HookFailed` when it did not succeed; it is told again with back-off.
    async fn tell(&self, notice: &Notice) -> Result<(), Fault>;

    /// Whether it could be told, as far as that can be seen without telling it: for `check`.
    ///
    /// # Errors
    /// `HookFailed` with what would fail.
    async fn ready(&self) -> Result<(), Fault>;
}
