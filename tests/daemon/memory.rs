//! What stays in the daemon's memory after passwords were replaced.

use crate::common::stage::{INITIAL, INSTANCE, Stage, until};
use crate::common::traces::Traces;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

/// The least that is read at once.
const PAGE: usize = 4096;

/// A program whose memory can be read, although it closes it to others as soon as it runs: the files were opened at its first instruction.
struct Open {
    child: Child,
    memory: File,
    maps: File,
}

impl Open {
    fn start(command: &Command, log: File) -> Self {
        // The shell waits for a line, so that the start of the program is not missed.
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "read go; exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args());
        shell.env_clear().stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        let mut child = shell.spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        ptrace::seize(pid, Options::PTRACE_O_TRACEEXEC).unwrap();
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        loop {
            let seen = waitpid(pid, None).unwrap();
            if let WaitStatus::Stopped(_, signal) = seen {
                ptrace::cont(pid, signal).unwrap();
                continue;
            }
            assert!(matches!(seen, WaitStatus::PtraceEvent(..)), "the shell should start the program: {seen:?}");
            // The shell's own start may be seen, too.
            if runs(pid, command) {
                break;
            }
            ptrace::cont(pid, None).unwrap();
        }
        let of = |name: &str| File::open(format!("/proc/{pid}/{name}")).unwrap();
        let (memory, maps) = (of("mem"), of("maps"));
        ptrace::detach(pid, None::<Signal>).unwrap();
        Self { child, memory, maps }
    }

    /// What it may write to: heap, stacks, statics.
    fn memory(&mut self) -> Vec<(String, Vec<u8>)> {
        let mut text = String::new();
        self.maps.seek(SeekFrom::Start(0)).unwrap();
        self.maps.read_to_string(&mut text).unwrap();
        let spans = text.lines().filter_map(|line| {
            let (span, rest) = line.split_once(' ')?;
            let (from, to) = span.split_once('-')?;
            let number = |digits| u64::from_str_radix(digits, 16).ok();
            rest.starts_with("rw").then_some((line.to_owned(), number(from)?, number(to)?))
        });
        spans.map(|(name, from, to)| (name, self.read(from, to))).collect()
    }

    fn read(&self, from: u64, to: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        // A page that is gone by now stays as it is here, and is no reason to leave out those behind it.
        for (page, at) in bytes.chunks_mut(PAGE).zip((from..to).step_by(PAGE)) {
            let _ = self.memory.read_exact_at(page, at);
        }
        bytes
    }
}

fn runs(pid: Pid, command: &Command) -> bool {
    std::fs::read_link(format!("/proc/{pid}/exe")).unwrap() == std::fs::canonicalize(command.get_program()).unwrap()
}

impl Drop for Open {
    fn drop(&mut self) {
        // It may have ended, and a drop cannot fail.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn passwords_that_were_replaced_are_not_in_memory() {
    let stage = Stage::set();
    let sink = stage.sink("orders", "format = \"json\"");
    let target = stage.target("orders", INSTANCE, "adopt = { file = \"{folder}/initial\" }\nsinks = [\"orders\"]");
    stage.configure(&(sink + &target));
    let log = File::create(stage.path("daemon.log")).unwrap();
    let mut daemon = Open::start(&stage.command(&["run"]), log);
    until("the daemon to listen", || stage.path("control.sock").exists());
    stage.until("orders", "settled", 1);
    for generation in 2..=4 {
        let asked = stage.keywheel(&["rotate", "orders", "--wait"]);
        assert_eq!(asked.status, 0, "{}{}", asked.out, asked.err);
        stage.until("orders", "settled", generation);
        // Whoever looks has it sent to him.
        let shown = stage.keywheel(&["reveal", "orders"]);
        assert_eq!(shown.out.trim_end(), stage.live(INSTANCE));
    }
    // One more, so that the last one that was shown is replaced, too.
    assert_eq!(stage.keywheel(&["rotate", "orders", "--wait"]).status, 0);
    stage.until("orders", "settled", 5);
    let mut passwords = stage.passwords(INSTANCE);
    let _live = passwords.pop();
    assert_eq!((passwords.len(), passwords[0].as_str()), (4, INITIAL));
    let memory = daemon.memory();
    let size: usize = memory.iter().map(|(_, span)| span.len()).sum();
    let sees = Traces::of(&[stage.path("control.sock").display().to_string()]);
    assert!(
        memory.iter().any(|(_, span)| sees.found(span).is_some()),
        "it knows where it listens: the search is blind"
    );
    let traces = Traces::of(&passwords);
    let found: Vec<_> =
        memory.iter().filter_map(|(name, span)| traces.found(span).map(|found| (name, found))).collect();
    println!("{size} bytes of memory in {} spans, {} replaced passwords in them", memory.len(), found.len());
    assert!(found.is_empty(), "replaced passwords are still in memory: {found:?}");
}

#[test]
fn a_crash_leaves_no_memory_behind() {
    let stage = Stage::set();
    stage.configure(&stage.target("orders", INSTANCE, "adopt = { file = \"{folder}/initial\" }"));
    let dumping = |words: &[&std::ffi::OsStr]| {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "ulimit -c unlimited; exec \"$@\"", "sh"]).args(words).current_dir(stage.folder());
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(stage.path("daemon.log")).unwrap());
        shell
    };
    let aborts = dumping(&["/bin/sh", "-c", "kill -ABRT $$"].map(std::ffi::OsStr::new)).status().unwrap();
    println!("this machine writes core files: {}", aborts.core_dumped());
    let command = stage.command(&["run"]);
    let words: Vec<_> = [command.get_program()].into_iter().chain(command.get_args()).collect();
    let mut daemon = dumping(&words).spawn().unwrap();
    stage.until("orders", "settled", 1);
    kill(Pid::from_raw(i32::try_from(daemon.id()).unwrap()), Signal::SIGABRT).unwrap();
    let ended = daemon.wait().unwrap();
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(Signal::SIGABRT as i32), false));
}
