//! The built binary, driven as an operator drives it, against the stand-in cloud.

#![cfg(feature = "simulator")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

#[path = "../common/mod.rs"]
mod common;

mod adopt;
mod alerts;
mod alternate;
mod api;
mod audit;
mod between;
mod check;
mod clouds;
mod console;
mod credentials;
mod discovery;
mod fleets;
mod hostile;
mod keys;
mod lifecycle;
mod live;
mod memory;
mod metrics;
mod overlap;
mod page;
mod papers;
mod rotation;
mod sinks;
mod systemd;
mod tair;
mod tair_modes;
mod tencent_modes;
mod tokens;
mod told;
mod verbs;
