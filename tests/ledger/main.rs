//! What a ledger promises: the same suite for every store, and what only the embedded one has to withstand.

#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

#[macro_use]
mod conformance;
mod damage;
mod durability;
mod support;

conformance!(sqlite, support::SqliteStore::new());
