//! The stand-in cloud, called as a rotator calls it: over TCP and signed.

#![cfg(feature = "simulator")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

#[path = "../common/mod.rs"]
mod common;

mod accounts;
mod alibaba;
mod caller;
mod changes;
mod faults;
mod logins;
mod requests;
mod running;
