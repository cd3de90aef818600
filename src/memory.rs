//! What the kernel is told about this process's memory: it holds passwords, so it goes into no core dump and no stranger may trace it.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Keeps the memory out of core dumps and away from other processes of the same user.
///
/// # Errors
/// When the kernel refuses: a crash may then write passwords to the disk.
pub fn keep_private() -> std::io::Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable))?;
    Ok(())
}
