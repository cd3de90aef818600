//! The hook `signal`: sends a signal to a process after a delivery, by its pid file, or by its name where both share a process namespace, as the
//! containers of one pod can.
//!
//! A process is held by a descriptor (`pidfd`) before its name is looked at, so that a number which another process has got meanwhile is never signalled.

use super::{Hook, Notice};
use crate::fault::{Fault, Kind};
use async_trait::async_trait;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What can be sent, by its name.
pub const SIGNALS: [(&str, Signal); 6] = [
    ("HUP", Signal::HUP),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
    ("TERM", Signal::TERM),
];

/// What is sent unless the settings say otherwise.
pub const USUAL_SIGNAL: &str = SIGNALS[0].0;

/// The kernel keeps this much of a name, in bytes (`TASK_COMM_LEN` in proc(5), less its end mark).
const COMM_LIMIT: usize = 15;

/// The largest pid file that is read, in bytes.
const PID_FILE_LIMIT: u64 = 64;

/// Who gets the signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// The process whose number is in this file.
    PidFile {
        /// The file.
        pid_file: PathBuf,
        /// The name that the process must have: a file may outlive its process, and the number be given away again.
        process: Option<String>,
    },
    /// Every process of this name, but those that another one of them started: a server's workers hear from their server.
    Process(String),
}

/// A process that is signalled after each delivery.
#[derive(Debug, Clone)]
pub struct SignalHook {
    signal: Signal,
    name: &'static str,
    whom: Whom,
}

/// Whether a program can have this name.
pub fn is_process_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && !text.contains(['/', '\0', '\n'])
}

impl SignalHook {
    /// The hook.
    ///
    /// # Errors
    /// `ConfigInvalid` for a signal that is none of [`SIGNALS`].
    pub fn new(name: &str, whom: Whom) -> Result<Self, Fault> {
        let found = SIGNALS.into_iter().find(|(known, _)| *known == name);
        let (name, signal) = found.ok_or_else(|| Fault::new(Kind::ConfigInvalid, "There is no such signal"))?;
        Ok(Self { signal, name, whom })
    }

    /// Those who get it, held.
    fn held(&self) -> Result<Vec<(Pid, OwnedFd)>, Fault> {
        match &self.whom {
            Whom::PidFile { pid_file, process } => {
                let pid = read_pid(pid_file)?;
                let gone = || {
                    let what = format!("no process has the number {} of {}", pid.as_raw_nonzero(), pid_file.display());
                    failed(what).advise("start the service; see that it writes its pid file")
                };
                let held = hold(pid)?.ok_or_else(gone)?;
                if let Some(process) = process.as_ref().filter(|process| !is_named(pid, process)) {
                    let what = format!("process {} of {} is not {process}", pid.as_raw_nonzero(), pid_file.display());
                    return Err(failed(what)
                        .advise("the file is out of date: start the service, or correct the hook's process"));
                }
                Ok(vec![(pid, held)])
            }
            Whom::Process(name) => {
                let mut named = BTreeMap::new();
                for pid in pids()? {
                    // Held first: what is read of it afterwards is its own.
                    if let Some(held) = hold(pid)?.filter(|_| is_named(pid, name)) {
                        named.insert(pid.as_raw_nonzero(), (pid, held));
                    }
                }
                let workers: Vec<_> = named
                    .values()
                    // One without a parent has ended meanwhile.
                    .filter(|(pid, _)| parent(*pid).is_none_or(|parent| named.contains_key(&parent.as_raw_nonzero())))
                    .map(|(pid, _)| pid.as_raw_nonzero())
                    .collect();
                workers.iter().for_each(|worker| drop(named.remove(worker)));
                if named.is_empty() {
                    return Err(failed(format!("no process is named {name}"))
                        .advise("start the service; in a pod, set shareProcessNamespace: true"));
                }
                Ok(named.into_values().collect())
            }
        }
    }

    fn send(&self) -> Result<(), Fault> {
        for (pid, held) in self.held()? {
            match pidfd_send_signal(&held, self.signal) {
                Ok(()) => {}
                // It ended by itself; whoever starts it again reads the new password.
                Err(Errno::SRCH) => {
                    return Err(failed(format!("process {} ended before SIG{}", pid.as_raw_nonzero(), self.name)));
                }
                Err(error) => {
                    let what = format!("SIG{} to process {}: {error}", self.name, pid.as_raw_nonzero());
                    return Err(failed(what).advise("let keywheel run as the same user, or give it CAP_KILL"));
                }
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Hook for SignalHook {
    async fn tell(&self, _notice: &Notice) -> Result<(), Fault> {
        blocking(self, Self::send).await
    }

    async fn ready(&self) -> Result<(), Fault> {
        blocking(self, |hook| hook.held().map(drop)).await
    }
}

async fn blocking(hook: &SignalHook, work: fn(&SignalHook) -> Result<(), Fault>) -> Result<(), Fault> {
    let hook = hook.clone();
    let done = tokio::task::spawn_blocking(move || work(&hook)).await;
    done.unwrap_or_else(|_| Err(failed("looking for the process came to nothing".to_owned())))
}

fn failed(what: String) -> Fault {
    Fault::new(Kind::HookFailed, what)
}

fn read_pid(path: &Path) -> Result<Pid, Fault> {
    let unusable = |why: String| {
        failed(format!("the pid file {} {why}", path.display()))
            .advise("start the service; see that it writes its pid file")
    };
    let unread = |error: std::io::Error| unusable(format!("cannot be read: {error}"));
    // Whoever may write the file is the service's user: a pipe would be waited for, and what is no file may have no end.
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(nonblock).open(path).map_err(unread)?;
    if !file.metadata().map_err(unread)?.is_file() {
        return Err(unusable("is not a file".to_owned()));
    }
    let mut text = String::new();
    let length = file.take(PID_FILE_LIMIT + 1).read_to_string(&mut text).map_err(unread)?;
    if length as u64 > PID_FILE_LIMIT {
        return Err(unusable("is too long for a number".to_owned()));
    }
    let number = text.trim().parse::<i32>().ok().filter(|&number| number > 1).and_then(Pid::from_raw);
    number.ok_or_else(|| unusable("does not hold a process's number".to_owned()))
}

/// The process, held; `None` where there is none.
fn hold(pid: Pid) -> Result<Option<OwnedFd>, Fault> {
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(held) => Ok(Some(held)),
        Err(Errno::SRCH) => Ok(None),
        Err(error) => Err(failed(format!("process {} cannot be held: {error}", pid.as_raw_nonzero()))),
    }
}

fn pids() -> Result<Vec<Pid>, Fault> {
    let entries = std::fs::read_dir("/proc").map_err(|error| failed(format!("/proc cannot be read: {error}")))?;
    let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse::<i32>().ok();
    Ok(entries.flatten().filter_map(number).filter_map(Pid::from_raw).collect())
}

/// Whether it is called so: by the name the kernel keeps, or, where that is cut off, by the program it was started as.
fn is_named(pid: Pid, name: &str) -> bool {
    let read = |what: &str| std::fs::read(format!("/proc/{}/{what}", pid.as_raw_nonzero())).unwrap_or_default();
    let comm = read("comm");
    let comm = comm.strip_suffix(b"\n").unwrap_or(&comm);
    if name.len() <= COMM_LIMIT {
        return comm == name.as_bytes();
    }
    let command = read("cmdline");
    let program = command.split(|&byte| byte == 0).next().unwrap_or_default();
    comm == &name.as_bytes()[..COMM_LIMIT] && program.rsplit(|&byte| byte == b'/').next() == Some(name.as_bytes())
}

/// Who started it: the fourth field of proc(5)'s `stat`, after the name in brackets.
fn parent(pid: Pid) -> Option<Pid> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let after = &stat[stat.rfind(')')? + 1..];
    Pid::from_raw(after.split_whitespace().nth(1)?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Generation;
    use std::io::{BufRead, BufReader, Read};
    use std::process::{Child, ChildStdout, Command, Stdio};

    /// A shell that says "ready", then what it got. Its name is its own.
    struct Heard {
        child: Child,
        said: BufReader<ChildStdout>,
    }

    impl Heard {
        fn start(name: &str, folder: &Path) -> Self {
            let program = folder.join(name);
            if !program.exists() {
                std::os::unix::fs::symlink("/bin/sh", &program).unwrap();
            }
            let script =
                "trap 'echo HUP; exit' HUP; trap 'echo USR1; exit' USR1; echo ready; while :; do read -r line; done";
            // A shell traps no signal that it was started without: tests may run under nohup.
            let mut child = Command::new("env")
                .arg("--default-signal")
                .arg(&program)
                .args(["-c", script])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut said = BufReader::new(child.stdout.take().unwrap());
            let mut line = String::new();
            said.read_line(&mut line).unwrap();
            assert_eq!(line, "ready\n");
            Self { child, said }
        }

        fn rest(mut self) -> String {
            let mut text = String::new();
            self.said.read_to_string(&mut text).unwrap();
            text
        }
    }

    impl Drop for Heard {
        fn drop(&mut self) {
            let _gone = self.child.kill();
            let _gone = self.child.wait();
        }
    }

    fn notice() -> Notice {
        Notice {
            target: "t".parse().unwrap(),
            generation: Generation(1),
            rotation: None,
            telling: 1,
            others: [].into(),
        }
    }

    #[tokio::test]
    async fn a_process_is_found_by_its_file_or_its_name_and_gets_the_signal() {
        let folder = tempfile::tempdir().unwrap();
        // Longer than what the kernel keeps of it.
        let name = format!("keywheel-heard-{}", std::process::id());
        for (signal, by_file) in [("HUP", true), ("USR1", false)] {
            let heard = Heard::start(&name, folder.path());
            let pid_file = folder.path().join("pid");
            std::fs::write(&pid_file, format!("{}\n", heard.child.id())).unwrap();
            let whom = match by_file {
                true => Whom::PidFile { pid_file, process: Some(name.clone()) },
                false => Whom::Process(name.clone()),
            };
            let hook = SignalHook::new(signal, whom).unwrap();
            hook.ready().await.unwrap();
            hook.tell(&notice()).await.unwrap();
            assert_eq!(heard.rest(), format!("{signal}\n"));
        }
    }

    #[tokio::test]
    async fn what_is_not_there_is_said_and_a_stranger_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let heard = Heard::start("stranger", folder.path());
        let pid_file = folder.path().join("pid");
        let by_file =
            |process: Option<&str>| Whom::PidFile { pid_file: pid_file.clone(), process: process.map(str::to_owned) };
        for (content, whom, said) in [
            (None, by_file(None), "cannot be read"),
            (Some("no number".to_owned()), by_file(None), "does not hold"),
            (Some("1".to_owned()), by_file(None), "does not hold"),
            (Some("-7".to_owned()), by_file(None), "does not hold"),
            (Some("9".repeat(80)), by_file(None), "too long"),
            (Some("4194303".to_owned()), by_file(None), "no process has the number"),
            (Some(heard.child.id().to_string()), by_file(Some("orders")), "is not orders"),
            (None, Whom::Process("no-such-program".to_owned()), "no process is named"),
        ] {
            match content {
                Some(content) => std::fs::write(&pid_file, content).unwrap(),
                None => drop(std::fs::remove_file(&pid_file)),
            }
            let hook = SignalHook::new("TERM", whom).unwrap();
            for fault in [hook.ready().await.unwrap_err(), hook.tell(&notice()).await.unwrap_err()] {
                assert_eq!(fault.kind, Kind::HookFailed);
                assert!(fault.what.contains(said), "{fault}");
            }
        }
        // What whoever writes the file may put in its place.
        for (number, place) in ["/dev/zero", "/", "pipe"].into_iter().enumerate() {
            let path = folder.path().join(format!("link-{number}"));
            match place {
                "pipe" => assert!(Command::new("mkfifo").arg(&path).status().unwrap().success()),
                _ => std::os::unix::fs::symlink(place, &path).unwrap(),
            }
            let hook = SignalHook::new("TERM", Whom::PidFile { pid_file: path, process: None }).unwrap();
            let fault = hook.ready().await.unwrap_err();
            assert!(fault.what.contains("is not a file"), "{fault}");
        }
        assert!(hold(Pid::from_raw(heard.child.id().cast_signed()).unwrap()).unwrap().is_some(), "it still lives");
    }

    /// A shell's child of the same name is its worker.
    #[test]
    fn workers_hear_from_their_server() {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("kw-w-{}", std::process::id() % 100_000);
        std::os::unix::fs::symlink("/bin/sh", folder.path().join(&name)).unwrap();
        let program = folder.path().join(&name);
        // A shell gives its background jobs an empty input unless it is told which one; this one lives until ours is closed.
        let script = format!("{} -c 'echo ready; read -r line' <&0 & wait", program.display());
        let mut server =
            Command::new(&program).args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let held = SignalHook::new("HUP", Whom::Process(name)).unwrap().held();
        let found: Vec<i32> = held.unwrap().iter().map(|(pid, _)| pid.as_raw_nonzero().get()).collect();
        assert_eq!(found, [server.id().cast_signed()]);
        drop(server.stdin.take());
        let _gone = server.kill();
        server.wait().unwrap();
    }
}
