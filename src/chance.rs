//! The one place that draws randomness from the operating system; everything below takes it as an argument.

use crate::password::Policy;
use crate::secret::Secret;

/// A source of passwords and ids nobody can guess.
pub trait Chance: Send + Sync {
    /// A password drawn uniformly from the policy's set.
    fn password(&self, policy: &Policy) -> Secret;

    /// Random bits for an id.
    fn bits(&self) -> u128;
}

/// The thread's generator: ChaCha, seeded and re-seeded by the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemChance;

impl Chance for SystemChance {
    fn password(&self, policy: &Policy) -> Secret {
        policy.sample(&mut rand::rng())
    }

    fn bits(&self) -> u128 {
        rand::random()
    }
}
