//! What can be looked at through the control socket. Whoever knows the configuration tells it, in the same words as the commands of the same names.

use crate::fault::Fault;
use crate::name::TargetName;
use async_trait::async_trait;
use std::time::Duration;

/// Looks at the fleet. Each answer is one document in JSON, on one line, without a secret.
#[async_trait]
pub trait Sight: Send + Sync {
    /// Every target's state, as `status --json` tells it.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    async fn targets(&self) -> Result<String, Fault>;

    /// One target: its state, what `explain` tells of it, and what happened to it lately. `None` where there is no such target.
    ///
    /// # Errors
    /// As for [`Sight::targets`].
    async fn target(&self, name: &TargetName) -> Result<Option<String>, Fault>;

    /// What runs when, as `plan --json` tells it.
    ///
    /// # Errors
    /// As for [`Sight::targets`].
    async fn plan(&self, span: Duration) -> Result<String, Fault>;
}
