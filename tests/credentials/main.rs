//! Every source of cloud credentials against the stand-in's metadata and token services, both clouds. Time is a clock moved by hand, the
//! stand-in's with it.

#![cfg(feature = "simulator")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod chain;
mod lifetimes;
mod profiles;
#[path = "../scripted/mod.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod scripted;
mod services;
mod sources;
mod stage;
mod uri;
