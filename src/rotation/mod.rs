//! The rotation protocol, pure: what happened ([`event`]), what it means ([`state`]), which moves are legal ([`apply()`]), and
//! what to do now ([`next()`]). Recovery after a crash is the same fold over the same events.

pub mod answer;
mod apply;
mod backoff;
mod deliver;
mod doubt;
pub mod event;
mod next;
pub mod plan;
mod rest;
pub mod state;
mod step;
pub mod waves;
pub mod why;

pub use apply::{IllegalEvent, apply, fold};
pub use next::{Action, next};
