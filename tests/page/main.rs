//! The status page in a real browser, against the built daemon and the stand-in cloud: what is live, what the keyboard reaches, what ten thousand targets
//! look like, and that nothing gets in.

#![cfg(feature = "simulator")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

#[path = "../common/mod.rs"]
mod common;

mod acts;
mod browser;
mod hostile;
mod keyboard;
mod large;
mod live;
mod looks;

use common::plain_http::address_in;
use common::stage::{Daemon, INSTANCE, Stage};
use std::net::SocketAddr;

/// The target of most tests.
const TARGET: &str = "orders-cache";

/// The daemon with this target, settled, and where its page is.
fn started(stage: &Stage) -> (Daemon, String) {
    started_with(stage, "127.0.0.1:0", "")
}

fn started_with(stage: &Stage, listen: &str, more: &str) -> (Daemon, String) {
    let (daemon, address) = started_by(stage, &format!("listen = \"{listen}\""), more);
    (daemon, format!("http://{address}"))
}

/// The same with these lines of `[daemon]`, and where it listens.
fn started_by(stage: &Stage, lines: &str, more: &str) -> (Daemon, SocketAddr) {
    let keys = "adopt = { file = \"{folder}/initial\" }\nmax-age = \"30d\"\nschedule = \"30 3 * * SUN\"\nwindow = \"2h\"\nsinks = [\"orders\"]";
    let targets = stage.sink("orders", "") + &stage.target(TARGET, INSTANCE, keys) + more;
    stage.configure_with(lines, &targets);
    let daemon = stage.start(&[]);
    let address = address_in(&daemon.log());
    stage.until(TARGET, "settled", 1);
    (daemon, address)
}
