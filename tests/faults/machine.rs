//! A stopped thread's registers and memory, on each kind of machine.

use nix::libc;
use nix::sys::ptrace;
use nix::unistd::Pid;

/// The longest text that is read out of the program, in words of memory.
const TEXT_LIMIT: usize = 64;

/// A system call and what it was given.
#[derive(Clone, Copy)]
pub struct Entry {
    pub number: libc::c_long,
    pub given: [u64; 4],
}

/// Whether a call can be failed on this kind of machine.
pub const CAN_FAIL_CALLS: bool = cfg!(target_arch = "x86_64");

/// Keeps a system call that is about to be made from being made; whether that was possible.
#[cfg(target_arch = "x86_64")]
pub fn skip(thread: Pid) -> bool {
    ptrace::getregs(thread).is_ok_and(|mut all| {
        all.orig_rax = u64::MAX;
        ptrace::setregs(thread, all).is_ok()
    })
}

/// Gives a system call that is about to return another result.
#[cfg(target_arch = "x86_64")]
pub fn answer(thread: Pid, result: i64) {
    if let Ok(mut all) = ptrace::getregs(thread) {
        all.rax = result.cast_unsigned();
        // Otherwise it is gone.
        let _ = ptrace::setregs(thread, all);
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub fn skip(_thread: Pid) -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
pub fn answer(_thread: Pid, _result: i64) {}

/// The system call that a stopped thread is in, and its result where there is one yet.
#[cfg(target_arch = "x86_64")]
pub fn registers(thread: Pid) -> Option<(Entry, i64)> {
    let all = ptrace::getregs(thread).ok()?;
    let number = libc::c_long::from_ne_bytes(all.orig_rax.to_ne_bytes());
    Some((Entry { number, given: [all.rdi, all.rsi, all.rdx, all.r10] }, i64::from_ne_bytes(all.rax.to_ne_bytes())))
}

#[cfg(target_arch = "aarch64")]
pub fn registers(thread: Pid) -> Option<(Entry, i64)> {
    let all = ptrace::getregset::<ptrace::regset::NT_PRSTATUS>(thread).ok()?.regs;
    let number = libc::c_long::from_ne_bytes(all[8].to_ne_bytes());
    Some((Entry { number, given: [all[0], all[1], all[2], all[3]] }, i64::from_ne_bytes(all[0].to_ne_bytes())))
}

/// Eight bytes of the program's memory.
pub fn word(thread: Pid, address: u64) -> Option<u64> {
    let read = ptrace::read(thread, address as ptrace::AddressType).ok()?;
    Some(u64::from_ne_bytes(read.to_ne_bytes()))
}

/// A path in the program's memory.
pub fn path(thread: Pid, address: u64) -> String {
    let mut bytes = Vec::new();
    for step in 0..TEXT_LIMIT as u64 {
        let Some(more) = word(thread, address + 8 * step) else { break };
        bytes.extend(more.to_ne_bytes().iter().take_while(|&&byte| byte != 0));
        if more.to_ne_bytes().contains(&0) {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whom a `connect` is for, if over IPv4.
pub fn peer(thread: Pid, address: u64) -> Option<String> {
    let bytes = word(thread, address)?.to_ne_bytes();
    let family = i32::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
    (family == libc::AF_INET).then(|| format!("port {}", u16::from_be_bytes([bytes[2], bytes[3]])))
}
