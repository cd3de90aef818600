//! Runs a program under ptrace. Its effects on the world outside it, system calls that make something durable, visible or heard, are numbered
//! over all threads together, in the order in which they happen. At one of them the program is killed, or held, or told that its disk failed.

use super::disk::Disk;
use super::machine::{Entry, answer, path, peer, registers, skip, word};
use nix::libc;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::Receiver;

/// On which side of the effect something is done to the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The system call has not been made.
    Before,
    /// It has been made, and the program knows nothing of its result.
    After,
}

/// Which effects have a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbered {
    /// All but writes to files; those too in a long run.
    Most,
    All,
    /// What touches the ledger's files or the sink's.
    OnDisk,
}

/// What is done at an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Kill(Side),
    /// No thread gets beyond its next system call until the tracer is told to go on.
    Hold(Side),
    Fail(DiskFault),
}

/// A disk that fails, from one call on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskFault {
    /// The number of the error.
    pub error: i32,
    /// So many calls fail.
    pub calls: usize,
    /// Only a flush fails. The kernel gives up on what it should have flushed then, and the next flush says that all is well.
    pub flushes: bool,
    /// The program is killed before it can do anything about it.
    pub kills: bool,
}

impl DiskFault {
    pub const ONCE: Self = Self { error: libc::EIO, calls: 1, flushes: false, kills: false };
}

/// What the tracer is to do.
pub struct Orders {
    pub numbered: Numbered,
    /// At which effect, the first being 1.
    pub at: Option<(usize, Deed)>,
    /// What the disk would still hold after a power cut; it knows which files are meant with [`Numbered::OnDisk`].
    pub disk: Option<Disk>,
    /// Ends a hold.
    pub go_on: Option<Receiver<()>>,
}

/// What the tracer tells while the program runs.
pub enum Report {
    /// It runs, with this id.
    Started(Pid),
    /// It is held, at this effect.
    Held(String),
    Gone(End),
}

/// What there is to say when it is gone.
pub struct End {
    /// What it did.
    pub effects: Vec<Effect>,
    /// Whether the tracer killed it.
    pub killed: bool,
    pub disk: Option<Disk>,
}

/// One effect.
#[derive(Debug, Clone)]
pub struct Effect {
    pub number: Option<usize>,
    pub text: String,
    /// Whether the program was told that it failed.
    pub failed: bool,
}

/// Runs the program until it is gone. Blocks; to be called on a thread of its own, for a tracer is a thread.
#[allow(clippy::zombie_processes, reason = "the tracer waits for it as for every other thread")]
pub fn run(words: &[String], log: File, orders: Orders, tell: impl Fn(Report)) {
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
    let Orders { numbered, at, disk, go_on } = orders;
    let mut trace = Trace { numbered, at, disk, ..Trace::new() };
    let mut killed = false;
    loop {
        let thread = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)).unwrap() {
            WaitStatus::Exited(gone, _) | WaitStatus::Signaled(gone, _, _) if gone == pid => break,
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => continue,
            WaitStatus::PtraceSyscall(thread) => {
                let now = trace.step(thread);
                if trace.dies {
                    kill(pid, Signal::SIGKILL).unwrap();
                    killed = true;
                    continue;
                }
                match trace.at.filter(|(number, _)| now.is_some_and(|now| now.0 == *number)) {
                    Some((_, Deed::Kill(side))) if now.is_some_and(|now| now.1 == side) => {
                        kill(pid, Signal::SIGKILL).unwrap();
                        killed = true;
                        continue;
                    }
                    Some((_, Deed::Hold(side))) if now.is_some_and(|now| now.1 == side) => {
                        // Its other threads stop at their next system call, for nobody lets them go on.
                        let text = trace.effects.iter().rev().find(|effect| effect.number == now.map(|now| now.0));
                        tell(Report::Held(text.map(|effect| effect.text.clone()).unwrap_or_default()));
                        // Whoever holds it may be gone, having failed.
                        let _ = go_on.as_ref().expect("a hold has an end").recv();
                    }
                    Some((_, Deed::Kill(_) | Deed::Hold(_) | Deed::Fail(_))) | None => {}
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
        // Killed in this instant, it has nothing to go on with.
        let _ = ptrace::syscall(thread, None);
    }
    tell(Report::Gone(End { effects: trace.effects, killed, disk: trace.disk }));
}

/// What is known of the program so far.
struct Trace {
    numbered: Numbered,
    at: Option<(usize, Deed)>,
    disk: Option<Disk>,
    effects: Vec<Effect>,
    /// How many of them have a number.
    count: usize,
    /// How many calls were failed.
    failed: usize,
    /// Whether it is to die of that.
    dies: bool,
    /// What each open descriptor leads to.
    descriptors: HashMap<u64, Place>,
    /// The system call that each thread is in.
    within: HashMap<Pid, Within>,
}

/// What a descriptor leads to.
enum Place {
    /// With its inode, if its fate is followed.
    File(PathBuf, Option<u64>),
    /// In words.
    Port(String),
}

impl Place {
    /// The last part of a path, or the port.
    fn name(&self) -> String {
        match self {
            Self::File(path, _) => last_part(path),
            Self::Port(port) => port.clone(),
        }
    }
}

/// A system call that is under way.
struct Within {
    entry: Entry,
    /// The number of its effect.
    number: Option<usize>,
    /// The error it is to have.
    fails: Option<DiskFault>,
}

/// What a system call does to a file of the disk that is modelled.
enum Touch {
    Create,
    /// This inode, from this byte on, so many; the whole file where that is not known.
    Write(u64, Option<(u64, u64)>),
    /// This inode.
    Flush(u64),
    Rename,
    Unlink,
}

impl Trace {
    fn new() -> Self {
        Self {
            numbered: Numbered::Most,
            at: None,
            disk: None,
            effects: Vec::new(),
            count: 0,
            failed: 0,
            dies: false,
            descriptors: HashMap::new(),
            within: HashMap::new(),
        }
    }

    /// A thread enters or leaves a system call; if that is an effect with a number, which one and which side of it.
    fn step(&mut self, thread: Pid) -> Option<(usize, Side)> {
        let info = ptrace::syscall_info(thread).ok()?;
        match info.op {
            libc::PTRACE_SYSCALL_INFO_ENTRY => {
                let entry = registers(thread)?.0;
                let touch = self.touch(thread, entry);
                let effect = self.effect(thread, entry, touch.is_some());
                let number = effect.as_ref().filter(|_| self.has_number(entry, touch.is_some())).map(|_| {
                    self.count += 1;
                    self.count
                });
                let fails = self.fault(number, touch.as_ref()).filter(|_| skip(thread));
                if let Some(text) = effect {
                    self.effects.push(Effect { number, text, failed: fails.is_some() });
                }
                if let (Some(disk), Some(Touch::Flush(inode)), None) = (&mut self.disk, &touch, &fails) {
                    disk.flush_begins(thread, *inode);
                }
                if entry.number == libc::SYS_close {
                    // The number is free for another thread before this one returns.
                    self.descriptors.remove(&entry.given[0]);
                }
                self.within.insert(thread, Within { entry, number, fails });
                number.map(|number| (number, Side::Before))
            }
            libc::PTRACE_SYSCALL_INFO_EXIT => {
                let Within { entry, number, fails } = self.within.remove(&thread)?;
                let mut result = registers(thread)?.1;
                if let Some(fault) = fails {
                    result = -i64::from(fault.error);
                    answer(thread, result);
                    self.dies = fault.kills;
                }
                self.note_descriptor(thread, entry, result);
                self.note_on_disk(thread, entry, result, fails);
                number.map(|number| (number, Side::After))
            }
            _ => None,
        }
    }

    fn has_number(&self, entry: Entry, touches: bool) -> bool {
        let writes = matches!(entry.number, libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_ftruncate);
        let to_a_port = matches!(self.descriptors.get(&entry.given[0]), Some(Place::Port(_)));
        match self.numbered {
            Numbered::Most => !writes || to_a_port || std::env::var_os("KEYWHEEL_LONG").is_some(),
            Numbered::All => true,
            Numbered::OnDisk => touches,
        }
    }

    /// The error that this call is to have.
    fn fault(&mut self, number: Option<usize>, touch: Option<&Touch>) -> Option<DiskFault> {
        let (from, Deed::Fail(fault)) = self.at? else { return None };
        // To remove a name takes no space.
        let strikes = match touch? {
            Touch::Flush(_) => true,
            Touch::Unlink => fault.error != libc::ENOSPC && !fault.flushes,
            Touch::Create | Touch::Write(..) | Touch::Rename => !fault.flushes,
        };
        let now = number? >= from && self.failed < fault.calls && strikes;
        self.failed += usize::from(now);
        now.then_some(fault)
    }

    /// What it does to a file whose fate is followed.
    fn touch(&self, thread: Pid, entry: Entry) -> Option<Touch> {
        let disk = self.disk.as_ref()?;
        let Entry { number, given } = entry;
        let open = || match self.descriptors.get(&given[0]) {
            Some(Place::File(_, inode)) => *inode,
            Some(Place::Port(_)) | None => None,
        };
        let named = |address: u64| Some(PathBuf::from(path(thread, address))).filter(|path| disk.follows(path));
        match number {
            libc::SYS_fsync | libc::SYS_fdatasync => open().map(Touch::Flush),
            libc::SYS_write | libc::SYS_ftruncate => open().map(|inode| Touch::Write(inode, None)),
            libc::SYS_pwrite64 => open().map(|inode| Touch::Write(inode, Some((given[3], given[2])))),
            libc::SYS_openat if creates(given) => named(given[1]).map(|_| Touch::Create),
            libc::SYS_renameat | libc::SYS_renameat2 => named(given[3]).map(|_| Touch::Rename),
            libc::SYS_unlinkat => named(given[1]).map(|_| Touch::Unlink),
            number => match old_naming(number) {
                Some((position, touch)) => named(given[position]).map(|_| touch),
                None => None,
            },
        }
    }

    /// The effect in words, if it is one.
    fn effect(&self, thread: Pid, entry: Entry, touches: bool) -> Option<String> {
        let Entry { number, given } = entry;
        let known = |descriptor: u64| self.descriptors.get(&descriptor).map(Place::name);
        let name = |address: u64| last_part(&PathBuf::from(path(thread, address)));
        match number {
            libc::SYS_fsync | libc::SYS_fdatasync => {
                Some(format!("fsync {}", known(given[0]).unwrap_or("?".to_owned())))
            }
            libc::SYS_renameat | libc::SYS_renameat2 => Some(format!("rename to {}", name(given[3]))),
            libc::SYS_unlinkat => Some(format!("unlink {}", name(given[1]))),
            libc::SYS_openat if creates(given) => Some(format!("create {}", name(given[1]))),
            libc::SYS_connect => peer(thread, given[1]).map(|peer| format!("connect to {peer}")),
            libc::SYS_sendto | libc::SYS_sendmsg | libc::SYS_write | libc::SYS_writev
                if matches!(self.descriptors.get(&given[0]), Some(Place::Port(_))) =>
            {
                known(given[0]).map(|port| format!("send to {port}"))
            }
            libc::SYS_ftruncate if touches => known(given[0]).map(|place| format!("cut {place}")),
            libc::SYS_write if touches => known(given[0]).map(|place| format!("write {place}")),
            libc::SYS_pwrite64 => known(given[0]).map(|place| format!("write {place}")),
            libc::SYS_clone if given[0] & libc::CLONE_THREAD as u64 == 0 => Some("start a program".to_owned()),
            libc::SYS_clone3 if word(thread, given[0])? & libc::CLONE_THREAD as u64 == 0 => {
                Some("start a program".to_owned())
            }
            number => old_effect(number).map(|(words, position)| match position {
                Some(position) => format!("{words} {}", name(given[position])),
                None => words.to_owned(),
            }),
        }
    }

    fn note_descriptor(&mut self, thread: Pid, entry: Entry, result: i64) {
        let Entry { number, given } = entry;
        match number {
            libc::SYS_openat if result >= 0 => {
                let path = PathBuf::from(path(thread, given[1]));
                let inode = self.disk.as_mut().and_then(|disk| disk.opened(&path));
                self.descriptors.insert(result.unsigned_abs(), Place::File(path, inode));
            }
            libc::SYS_connect => {
                if let Some(peer) = peer(thread, given[1]) {
                    self.descriptors.insert(given[0], Place::Port(peer));
                }
            }
            _ => {}
        }
    }

    /// What this did to the disk, now that its result is known.
    fn note_on_disk(&mut self, thread: Pid, entry: Entry, result: i64, fails: Option<DiskFault>) {
        let touch = self.touch(thread, entry);
        let Some(disk) = &mut self.disk else { return };
        match touch {
            Some(Touch::Write(inode, range)) if result >= 0 => disk.written(inode, range),
            Some(Touch::Flush(_)) if result == 0 => disk.flushed(thread),
            Some(Touch::Flush(inode)) if fails.is_some_and(|fault| fault.flushes) => disk.forgotten(inode),
            Some(Touch::Create | Touch::Rename | Touch::Unlink | Touch::Write(..) | Touch::Flush(_)) | None => {}
        }
    }
}

fn creates(given: [u64; 4]) -> bool {
    given[2] & libc::O_CREAT as u64 != 0
}

fn last_part(path: &std::path::Path) -> String {
    path.file_name().map_or("/".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// System calls that only older machines have, in words, and which argument is the name they end with.
#[cfg(target_arch = "x86_64")]
fn old_effect(number: libc::c_long) -> Option<(&'static str, Option<usize>)> {
    match number {
        libc::SYS_rename => Some(("rename to", Some(1))),
        libc::SYS_unlink => Some(("unlink", Some(0))),
        libc::SYS_vfork => Some(("start a program", None)),
        _ => None,
    }
}

/// The same where they touch a name, and which argument that is.
#[cfg(target_arch = "x86_64")]
fn old_naming(number: libc::c_long) -> Option<(usize, Touch)> {
    match number {
        libc::SYS_rename => Some((1, Touch::Rename)),
        libc::SYS_unlink => Some((0, Touch::Unlink)),
        _ => None,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn old_effect(_number: libc::c_long) -> Option<(&'static str, Option<usize>)> {
    None
}

#[cfg(not(target_arch = "x86_64"))]
fn old_naming(_number: libc::c_long) -> Option<(usize, Touch)> {
    None
}
