//! The joint to the instance itself: a login that proves which password is live.

pub mod redis;

use crate::rotation::answer::Login;
use crate::secret::Secret;
use async_trait::async_trait;

/// Where and as whom one target is logged in to.
///
/// Duties: a fresh connection every time, never a pooled one (Redis keeps an authenticated connection after a password change); AUTH, then PING;
/// bounded in time; nothing of the password in any error.
#[async_trait]
pub trait Probe: Send + Sync {
    /// Tries the password. An answer that is neither a welcome nor a refusal of the password is [`Login::Unreachable`].
    async fn login(&self, password: &Secret) -> Login;

    /// The route in words for people, such as `redis://10.0.0.12:6379`; never with a password in it.
    fn route(&self) -> &str;
}
