//! The joint to a hook: something told after a delivery. It is told at least once per generation and never receives the password.

pub mod command;

use crate::fault::Fault;
use crate::name::{Generation, RotationId, TargetName};
use async_trait::async_trait;

/// What a hook is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whose password changed.
    pub target: TargetName,
    /// To which generation.
    pub generation: Generation,
    /// By which rotation; the same for a repeated notice, so that a hook can tell.
    pub rotation: Option<RotationId>,
}

/// Something told after a delivery.
#[async_trait]
pub trait Hook: Send + Sync {
    /// Tells it. Bounded in time.
    ///
    /// # Errors
    /// `HookFailed` when it did not succeed; it is told again with back-off.
    async fn tell(&self, notice: &Notice) -> Result<(), Fault>;

    /// What it does, in words for people.
    fn deed(&self) -> String;
}
