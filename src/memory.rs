//! What the kernel is told about this process's memory: it holds passwords, so it goes into no core dump and no stranger may trace it.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Keeps the memory out of core dumps and away from other processes of the same user. Where the kernel refuses, a warning says so.
pub fn keep_private() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let done = setrlimit(Resource::Core, none).and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable));
    if let Err(error) = done {
        tracing::warn!(%error, "core dumps could not be turned off: a crash may write passwords to the disk");
    }
}
