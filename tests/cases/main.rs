//! Every provider, strategy and mode against every fault that makes sense for it, and against kill -9 in the middle, through the built binary. One row is one
//! rotation; the table is printed. `tests/faults` goes deeper for one of these cases: there the process is killed around every single effect.

#![cfg(feature = "simulator")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

#[path = "../common/mod.rs"]
mod common;

mod case;
mod clouds;
mod nodes;
mod table;
