//! The keywheel command: turns a result into an exit status.

use clap::Parser;
use std::alloc::System;
use std::process::ExitCode;
use zeroizing_alloc::ZeroAlloc;

/// Wipes what is freed: a request's body, a reply, a library's buffer may have held a password.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

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
