//! What keywheel promises, kept by the built program while everything around it goes wrong: one table of scripted faults, one of kill -9
//! at every effect of a rotation. An observer of its own looks at the ledger, the cloud's history and the sink all the while.

#![cfg(feature = "simulator")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]
#![allow(clippy::disallowed_methods, reason = "real daemons are waited for by the real clock")]

mod case;
mod kills;
mod observer;
mod row;
mod rows;
mod stage;
mod table;
mod tracer;
