//! keywheel changes the passwords of managed Redis instances on a schedule and never loses one.
//!
//! The floors, from below (a file imports only from floors below it and from its own folder; `tests/tidy.rs` keeps it so):
//!
//! | floor | modules | may do |
//! |---|---|---|
//! | 0 words | `secret name moment fault` | no I/O, no clock, no randomness |
//! | 1 rules | `password schedule rotation sign` | pure; time and randomness come in as arguments |
//! | 2 joints | `provider probe sink hook consumer alert ledger seal` (their `mod.rs`) | small object-safe traits and plain data |
//! | 2 tools | `clock meter alarm http crowd kubernetes pacer process systemd resp` | vendor-free I/O helpers; an API server of Kubernetes |
//! | 3 hands | the files beside each joint | one vendor, database or destination each |
//! | 4 driver | `driver follow` | wakes, claims, folds, decides, performs; looks and renders |
//! | 5 edges | `config admin telemetry discovery watch console` | what comes in from outside |
//! | 6 assemble | `assemble` | the one place that matches on kinds |
//! | 7 faces | `cli` | what a person types and reads |
//! | beside | `simulator` | a stand-in cloud for rehearsal, demo, tests and benches; uses the words only |

pub mod admin;
pub mod alarm;
pub mod alert;
pub mod assemble;
pub mod chance;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod consumer;
pub mod crowd;
pub mod discovery;
pub mod driver;
pub mod fault;
pub mod follow;
pub mod hook;
pub mod http;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
pub mod ledger;
pub mod memory;
pub mod meter;
pub mod moment;
pub mod name;
pub mod pacer;
pub mod password;
pub mod probe;
pub mod process;
pub mod provider;
pub mod resp;
pub mod rotation;
pub mod schedule;
pub mod seal;
pub mod secret;
pub mod sign;
#[cfg(feature = "simulator")]
pub mod simulator;
pub mod sink;
pub mod systemd;
pub mod telemetry;
pub mod watch;

use cli::args::Cli;
use fault::{Fault, Kind};
use std::time::Duration;

/// How long blocking work (a file on a hung disk) may hold up the end of the process.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(2);

/// Does what was typed, on a runtime of its own.
///
/// # Errors
/// Why it could not be done.
pub fn start(cli: Cli) -> Result<cli::Exit, Fault> {
    if let Err(error) = memory::keep_private() {
        anstream::eprintln!(
            "keywheel: core dumps cannot be turned off ({error}): a crash may write passwords to the disk"
        );
    }
    if let Some(outcome) = cli::before_all(&cli) {
        return outcome;
    }
    http::choose_cryptography();
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Fault::new(Kind::Bug, format!("the runtime cannot be started: {error}")))?;
    let outcome = runtime.block_on(cli::obey(cli));
    runtime.shutdown_timeout(SHUTDOWN_LIMIT);
    outcome
}
