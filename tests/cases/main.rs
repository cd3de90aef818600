//! Every provider, strategy and mode against the commonest faults of its call, and against kill -9 in the middle, through the built binary. One row is one
//! rotation, which must settle; the table is printed. `tests/faults` goes deeper for one of these cases: more faults, halts, an observer that looks all the
//! time, and a kill around every single effect.

#![cfg(feature = "simulator")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

#[path = "../common/mod.rs"]
mod common;

mod case;
mod clouds;
mod nodes;
mod table;
