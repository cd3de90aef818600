//! Runs a program under ptrace and kills it with SIGKILL just before or just after its n-th effect on the world outside it: a system call that
//! makes something durable, visible or heard. Effects are numbered over all threads together, in the order in which they happen.

use nix::libc;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};

/// On which side of the effect the program dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The system call has not been made.
    Before,
    /// It has been made, and the program knows nothing of its result.
    After,
}

/// What the tracer tells while the program runs.
pub enum Report {
    /// It runs, with this id.
    Started(Pid),
    /// It had these effects, and is gone. The last one is that at which it was killed, if it was.
    Gone { effects: Vec<String>, killed: bool },
}

/// The longest text that is read out of the program, in words of memory.
const TEXT_LIMIT: usize = 64;

/// Runs the program until it is gone, killing it at the given effect, the first being 1. Blocks; to be called on a thread of its own, for a
/// tracer is a thread.
#[allow(clippy::zombie_processes, reason = "the tracer waits for it as for every other thread")]
pub fn run(words: &[String], log: File, kill_at: Option<(usize, Side)>, tell: impl Fn(Report)) {
    // The shell waits for a line, so that the program is traced from its first instruction on.
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "read go; exec \"$@\"", "sh"]).args(words).env("TOKIO_WORKER_THREADS", "2");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
    let mut child = command.spawn().expect("there is a shell");
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let options = ptrace::Options::PTRACE_O_TRACESYSGOOD
        | ptrace::Options::PTRACE_O_TRACECLONE
        | ptrace::Options::PTRACE_O_EXITKILL;
    ptrace::seize(pid, options).expect("a process may trace its child");
    ptrace::interrupt(pid).unwrap();
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    tell(Report::Started(pid));
    let mut trace = Trace::default();
    let mut killed = false;
    loop {
        let thread = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)).unwrap() {
            WaitStatus::Exited(gone, _) | WaitStatus::Signaled(gone, _, _) if gone == pid => break,
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => continue,
            WaitStatus::PtraceSyscall(thread) => {
                let now = trace.step(thread);
                if now.is_some() && now == kill_at {
                    kill(pid, Signal::SIGKILL).unwrap();
                    killed = true;
                    continue;
                }
                thread
            }
            WaitStatus::PtraceEvent(thread, ..) => thread,
            WaitStatus::Stopped(thread, signal) => {
                // A thread may be gone by now: then there is nothing to resume.
                let _ = ptrace::syscall(thread, signal);
                continue;
            }
            WaitStatus::Continued(_) | WaitStatus::StillAlive => continue,
        };
        let _ = ptrace::syscall(thread, None);
    }
    tell(Report::Gone { effects: trace.effects, killed });
}

/// What is known of the program so far.
#[derive(Default)]
struct Trace {
    effects: Vec<String>,
    /// What each open descriptor leads to.
    descriptors: HashMap<u64, String>,
    /// The system call that each thread is in, and the number of its effect.
    within: HashMap<Pid, (Entry, Option<usize>)>,
}

/// A system call and what it was given.
#[derive(Clone, Copy)]
struct Entry {
    number: libc::c_long,
    given: [u64; 4],
}

impl Trace {
    /// A thread enters or leaves a system call; if that is an effect, which one and which side of it.
    fn step(&mut self, thread: Pid) -> Option<(usize, Side)> {
        let info = ptrace::syscall_info(thread).ok()?;
        match info.op {
            libc::PTRACE_SYSCALL_INFO_ENTRY => {
                let entry = registers(thread)?.0;
                let effect = self.effect(thread, entry).map(|text| {
                    self.effects.push(text);
                    self.effects.len()
                });
                self.within.insert(thread, (entry, effect));
                effect.map(|number| (number, Side::Before))
            }
            libc::PTRACE_SYSCALL_INFO_EXIT => {
                let (entry, effect) = self.within.remove(&thread)?;
                self.note_descriptor(thread, entry, registers(thread)?.1);
                effect.map(|number| (number, Side::After))
            }
            _ => None,
        }
    }

    /// The effect in words, if it is one.
    fn effect(&self, thread: Pid, entry: Entry) -> Option<String> {
        let Entry { number, given } = entry;
        let known = |descriptor: u64| self.descriptors.get(&descriptor).map(String::as_str);
        match number {
            libc::SYS_fsync | libc::SYS_fdatasync => Some(format!("fsync {}", known(given[0]).unwrap_or("?"))),
            libc::SYS_renameat | libc::SYS_renameat2 => Some(format!("rename to {}", path(thread, given[3]))),
            libc::SYS_unlinkat => Some(format!("unlink {}", path(thread, given[1]))),
            libc::SYS_openat if given[2] & libc::O_CREAT as u64 != 0 => {
                Some(format!("create {}", path(thread, given[1])))
            }
            libc::SYS_connect => peer(thread, given[1]).map(|peer| format!("connect to {peer}")),
            libc::SYS_sendto | libc::SYS_sendmsg | libc::SYS_write | libc::SYS_writev => {
                known(given[0]).filter(|place| place.starts_with("port ")).map(|place| format!("send to {place}"))
            }
            libc::SYS_pwrite64 => known(given[0])
                .filter(|_| std::env::var_os("KEYWHEEL_LONG").is_some())
                .map(|place| format!("write {place}")),
            libc::SYS_clone if given[0] & libc::CLONE_THREAD as u64 == 0 => Some("start a program".to_owned()),
            libc::SYS_clone3 if word(thread, given[0])? & libc::CLONE_THREAD as u64 == 0 => {
                Some("start a program".to_owned())
            }
            number => old_effect(thread, number, given),
        }
    }

    fn note_descriptor(&mut self, thread: Pid, entry: Entry, result: i64) {
        let Entry { number, given } = entry;
        match number {
            libc::SYS_openat if result >= 0 => {
                self.descriptors.insert(result.unsigned_abs(), path(thread, given[1]));
            }
            libc::SYS_connect => {
                if let Some(peer) = peer(thread, given[1]) {
                    self.descriptors.insert(given[0], peer);
                }
            }
            libc::SYS_close => {
                self.descriptors.remove(&given[0]);
            }
            _ => {}
        }
    }
}

/// System calls that only older machines have.
#[cfg(target_arch = "x86_64")]
fn old_effect(thread: Pid, number: libc::c_long, given: [u64; 4]) -> Option<String> {
    match number {
        libc::SYS_rename => Some(format!("rename to {}", path(thread, given[1]))),
        libc::SYS_unlink => Some(format!("unlink {}", path(thread, given[0]))),
        libc::SYS_vfork => Some("start a program".to_owned()),
        _ => None,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn old_effect(_thread: Pid, _number: libc::c_long, _given: [u64; 4]) -> Option<String> {
    None
}

/// The system call that a stopped thread is in, and its result where there is one yet.
#[cfg(target_arch = "x86_64")]
fn registers(thread: Pid) -> Option<(Entry, i64)> {
    let all = ptrace::getregs(thread).ok()?;
    let number = libc::c_long::from_ne_bytes(all.orig_rax.to_ne_bytes());
    Some((Entry { number, given: [all.rdi, all.rsi, all.rdx, all.r10] }, i64::from_ne_bytes(all.rax.to_ne_bytes())))
}

#[cfg(target_arch = "aarch64")]
fn registers(thread: Pid) -> Option<(Entry, i64)> {
    let all = ptrace::getregset::<ptrace::regset::NT_PRSTATUS>(thread).ok()?.regs;
    let number = libc::c_long::from_ne_bytes(all[8].to_ne_bytes());
    Some((Entry { number, given: [all[0], all[1], all[2], all[3]] }, i64::from_ne_bytes(all[0].to_ne_bytes())))
}

/// Eight bytes of the program's memory.
fn word(thread: Pid, address: u64) -> Option<u64> {
    let read = ptrace::read(thread, address as ptrace::AddressType).ok()?;
    Some(u64::from_ne_bytes(read.to_ne_bytes()))
}

/// The last part of a path in the program's memory.
fn path(thread: Pid, address: u64) -> String {
    let mut bytes = Vec::new();
    for step in 0..TEXT_LIMIT as u64 {
        let Some(more) = word(thread, address + 8 * step) else { break };
        bytes.extend(more.to_ne_bytes().iter().take_while(|&&byte| byte != 0));
        if more.to_ne_bytes().contains(&0) {
            break;
        }
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.rsplit('/').find(|part| !part.is_empty()).unwrap_or("/").to_owned()
}

/// Whom a `connect` is for, if over IPv4.
fn peer(thread: Pid, address: u64) -> Option<String> {
    let bytes = word(thread, address)?.to_ne_bytes();
    let family = i32::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
    (family == libc::AF_INET).then(|| format!("port {}", u16::from_be_bytes([bytes[2], bytes[3]])))
}
