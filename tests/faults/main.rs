//! What keywheel promises, kept by the built program while everything around it goes wrong: one table of scripted faults, one of kill -9
//! at every effect of a rotation, one of
//! power cuts, one of a disk that fails. An observer of its own looks at the ledger, the cloud's history and the sink all the while.

#![cfg(feature = "simulator")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]
#![allow(clippy::disallowed_methods, reason = "real daemons are waited for by the real clock")]

/// The case after the first that a normal run has of every table.
const ALIBABA: usize = 5;

mod case;
mod disk;
#[path = "../common/each_case.rs"]
mod each_case;
mod kills;
mod life;
mod machine;
mod observer;
mod power;
#[path = "../common/record.rs"]
mod record;
mod row;
mod rows;
#[path = "../common/site.rs"]
mod site;
mod soak;
mod stage;
mod stopped;
mod syscalls;
mod table;
mod three_sinks;
mod traced;
mod tracer;
#[path = "../common/traces.rs"]
mod traces;
