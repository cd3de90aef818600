//! The keywheel command: turns a result into an exit status.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = keywheel::cli::args::Cli::parse();
    match keywheel::start(cli) {
        Ok(exit) => exit.into(),
        Err(fault) => {
            anstream::eprintln!("keywheel: {fault}");
            ExitCode::from(2)
        }
    }
}
