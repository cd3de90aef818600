//! The joint to a hook: something told after a delivery. It is told at least once per generation and never receives the password.
//! When its turn comes is the driver's business ([`Terms`]); what waits is in the ledger.

pub mod command;
pub mod signal;
pub mod systemd;
pub mod webhook;

use crate::fault::Fault;
use crate::name::{Generation, RotationId, TargetName};
use async_trait::async_trait;
use std::collections::BTreeMap;
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
    /// The other targets that are told of by the same notice, and their generations.
    pub others: BTreeMap<TargetName, Generation>,
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
