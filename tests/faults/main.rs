//! What keywheel promises, kept by the built program while everything around it goes wrong: one table of scripted faults, one of kill -9
//! at every effect of a rotation, one of
//! power cuts, one of a disk that fails. An observer of its own looks at the ledger, the cloud's history and the sink all the while.

#![cfg(feature = "simulator")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]
#![allow(clippy::disallowed_methods, reason = "real daemons are waited for by the real clock")]

/// One test for each case, by its number; `run` plays it.
macro_rules! each_case {
    ($($number:literal $test:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            run($number).await;
        }
    )*};
}
use each_case;

/// The case after the first that a normal run has of every table.
const ALIBABA: usize = 5;

mod case;
mod disk;
mod kills;
mod life;
mod observer;
mod power;
mod row;
mod rows;
mod soak;
mod stage;
mod stopped;
mod syscalls;
mod table;
mod tracer;
#[path = "../common/traces.rs"]
mod traces;
