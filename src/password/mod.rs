//! Passwords: what a policy allows, what a vendor accepts, and a draw that is exactly uniform over what both allow.
//!
//! A [`Policy`] is parsed from plain settings and can always be met; a [`Profile`] holds one vendor's published rules and says whether every
//! password of a policy complies with them; `sample` counts the passwords of a policy and draws one by its number.

mod alphabet;
mod limbs;
mod minima;
mod policy;
mod problem;
mod profile;
mod sample;

pub use alphabet::{Alphabet, Class, ClassSet};
pub use policy::{
    DEFAULT_LENGTH, ENTROPY_BITS_MINIMUM, First, LENGTH_LIMIT, Policy, PolicySettings, RequireSettings, STATES_LIMIT,
};
pub use problem::PolicyProblem;
pub use profile::{Extra, Profile, UnknownProfile};
