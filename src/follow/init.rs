//! The first process of a container: who has no other parent any more becomes its child, and has to be reaped. A follower that finds itself there starts
//! itself again as a child, so that nobody but this loop waits for strangers' processes, and nobody else's are taken from it.

use super::application::{Signals, ended_by, passed};
use crate::fault::{Fault, Kind};
use rustix::process::{Pid, WaitOptions, WaitStatus, kill_process, wait};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use tokio::signal::unix::{SignalKind, signal};

/// Whether this is the first process of its name space.
pub fn is_first() -> bool {
    std::process::id() == 1
}

/// Runs this program again as a child, passes signals on to it, reaps what is left to us, and ends as the child does.
///
/// # Errors
/// When it cannot be started.
pub async fn run() -> Result<u8, Fault> {
    let bug = |what: &str, error: std::io::Error| Fault::new(Kind::Bug, format!("{what}: {error}"));
    let mut signals = Signals::listen()?;
    let mut ended = signal(SignalKind::child()).map_err(|error| bug("signals cannot be listened to", error))?;
    let child = Command::new("/proc/self/exe").args(std::env::args_os().skip(1)).spawn();
    let child = child.map_err(|error| bug("keywheel cannot start itself as a child", error))?;
    let child = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    loop {
        if let Some(status) = reap(child) {
            return Ok(passed(ExitStatus::from_raw(status.as_raw())));
        }
        tokio::select! {
            _ = ended.recv() => {}
            signal = signals.next() => {
                let gone = child.map(|child| kill_process(child, signal));
                if gone.is_none() {
                    return Ok(ended_by(signal));
                }
            }
        }
    }
}

/// Takes leave of everybody who has ended. The status of our own child, if it is among them.
fn reap(child: Option<Pid>) -> Option<WaitStatus> {
    let mut ours = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if Some(pid) == child {
            ours = Some(status);
        }
    }
    ours
}
