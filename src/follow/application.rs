//! The application that a follower is the parent of: started when its password is there, told or started anew on a change, stopped in order, and its
//! end is the follower's.
//!
//! It gets the follower's arguments after `--`, its environment without what is keywheel's alone, its standard streams, and a process group of its own, so
//! that all of it can be killed when it does not stop. No password is in its arguments or environment. It is started by way of this very program
//! ([`become_it`]), which first asks the kernel to stop the application should the follower be killed.

use super::State;
use crate::fault::{Fault, Kind};
use crate::moment::show_span;
use crate::process::end_with_parent;
use futures_util::future::select_all;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

/// When it is first said what the application waits for, where that does not come at once.
const FIRST_WORD: Duration = Duration::from_secs(1);

/// How often it is said again.
const REMINDER: Duration = Duration::from_secs(30);

/// The argument that makes this program become the application; what follows is the number of its parent.
pub const BECOME: &str = "--become-application-of";

/// This program, also after its file was replaced.
const MYSELF: &str = "/proc/self/exe";

/// The variables by which systemd is spoken to: the follower's, not the application's.
const OF_SYSTEMD: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// A shell's exit statuses for a program that is not there, and for one that cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_RUNNABLE: u8 = 126;

/// What is done on a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnChange {
    /// Stop it and start it.
    Restart,
    /// Send it a signal.
    Signal(Signal),
    /// Nothing.
    Nothing,
}

/// What is run, and how.
#[derive(Debug, Clone)]
pub struct Application {
    /// The program and its arguments.
    pub words: Vec<OsString>,
    /// What is done on a change.
    pub on_change: OnChange,
    /// What asks it to stop.
    pub stop_signal: Signal,
    /// When it is killed if it does not.
    pub stop_timeout: Duration,
    /// How long it may have to wait for its first password.
    pub wait_at_most: Option<Duration>,
    /// Variables that it does not get.
    pub withheld: BTreeSet<String>,
}

/// The signals that are passed on.
pub struct Signals(Vec<(Signal, Stream)>);

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub fn listen() -> Result<Self, Fault> {
        let mut known = vec![
            (Signal::TERM, SignalKind::terminate()),
            (Signal::HUP, SignalKind::hangup()),
            (Signal::USR1, SignalKind::user_defined1()),
            (Signal::USR2, SignalKind::user_defined2()),
        ];
        // What a terminal sends goes to everybody in front of it, and need not be passed on.
        known.extend([(Signal::INT, SignalKind::interrupt()), (Signal::QUIT, SignalKind::quit())]);
        known.push((Signal::WINCH, SignalKind::window_change()));
        let streams = known.into_iter().map(|(name, kind)| Ok((name, signal(kind)?)));
        streams
            .collect::<std::io::Result<_>>()
            .map(Self)
            .map_err(|error| Fault::new(Kind::Bug, format!("signals cannot be listened to: {error}")))
    }

    /// The next one.
    pub async fn next(&mut self) -> Signal {
        let any = self.0.iter_mut().map(|(name, stream)| {
            let name = *name;
            Box::pin(async move {
                stream.recv().await;
                name
            })
        });
        select_all(any).await.0
    }
}

/// Whether this one asks to stop.
pub fn stops(signal: Signal) -> bool {
    [Signal::TERM, Signal::INT, Signal::QUIT].contains(&signal)
}

/// The exit status that says how something ended, as shells have it: its own, or 128 and the number of the signal.
pub fn passed(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code & 0xff).unwrap_or(1)
}

/// The status of who was ended by a signal.
pub fn ended_by(signal: Signal) -> u8 {
    u8::try_from(128 + signal.as_raw()).unwrap_or(1)
}

impl Application {
    /// Runs it to its end. `started` is called each time it was started. Returns its exit status.
    ///
    /// # Errors
    /// When it cannot be started, or waited for its password longer than it may.
    pub async fn run(
        &self,
        states: &mut [watch::Receiver<State>],
        signals: &mut Signals,
        started: impl Fn(),
    ) -> Result<u8, Fault> {
        let program = self.found()?;
        if let Some(signal) = self.wait(states, signals).await? {
            return Ok(ended_by(signal));
        }
        loop {
            let seen = changes(states);
            let mut child = self.start(&program)?;
            tracing::info!(program = %program.display(), number = child.id(), "the application is started");
            started();
            match self.tend(&mut child, states, signals, seen).await? {
                Next::Ended(status) => {
                    tracing::info!(%status, "the application has ended");
                    return Ok(passed(status));
                }
                Next::Again => {}
            }
        }
    }

    /// The program, by the search path where it is named without a folder.
    fn found(&self) -> Result<PathBuf, Fault> {
        let word = self.words.first().map_or(OsStr::new(""), OsString::as_os_str);
        let runnable = |path: &PathBuf| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
        let found = match word.as_encoded_bytes().contains(&b'/') {
            true => Some(PathBuf::from(word)).filter(runnable),
            false => std::env::var_os("PATH")
                .and_then(|path| std::env::split_paths(&path).map(|folder| folder.join(word)).find(runnable)),
        };
        found.ok_or_else(|| {
            let what = format!("the program {} after -- is not there, or cannot be executed", word.display());
            Fault::new(Kind::Usage, what).advise("write its path, or a name that the search path leads to")
        })
    }

    /// Waits until everything is rendered. A signal that asks to stop ends the wait.
    async fn wait(
        &self,
        states: &mut [watch::Receiver<State>],
        signals: &mut Signals,
    ) -> Result<Option<Signal>, Fault> {
        let deadline = async {
            match self.wait_at_most {
                Some(span) => tokio::time::sleep(span).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(deadline);
        let mut said = tokio::time::interval_at(Instant::now() + FIRST_WORD, REMINDER);
        loop {
            let Some(missing) = states.iter().find_map(|state| {
                let state = state.borrow();
                (!state.usable).then(|| (state.target.clone(), state.trouble.clone()))
            }) else {
                return Ok(None);
            };
            tokio::select! {
                () = any_change(states) => {}
                _ = said.tick() => {
                    let why = missing.1.map_or_else(|| "its source was not looked at yet".to_owned(), |fault| fault.what);
                    tracing::info!(target = %missing.0, "the application waits for its password: {why}");
                }
                signal = signals.next() => {
                    if stops(signal) {
                        return Ok(Some(signal));
                    }
                }
                () = &mut deadline => {
                    let span = show_span(self.wait_at_most.unwrap_or_default());
                    let (target, trouble) = missing;
                    let fault = trouble.unwrap_or_else(|| Fault::new(Kind::SinkUnavailable, "its source gave no answer"));
                    let what = format!("the password of {target} did not come within {span}: {}", fault.what);
                    return Err(Fault { what, ..fault });
                }
            }
        }
    }

    fn start(&self, program: &PathBuf) -> Result<Child, Fault> {
        let mut command = Command::new(MYSELF);
        command.arg("follow").arg(BECOME).arg(std::process::id().to_string()).arg("--").arg(program);
        command.args(self.words.iter().skip(1));
        for name in self.withheld.iter().map(String::as_str).chain(OF_SYSTEMD) {
            command.env_remove(name);
        }
        if !has_terminal() {
            command.process_group(0);
        }
        command.spawn().map_err(|error| {
            let what = format!("the application {} could not be started: {error}", program.display());
            Fault::new(Kind::Usage, what)
        })
    }

    /// Waits for its end, passes signals on, and does what a change asks for.
    async fn tend(
        &self,
        child: &mut Child,
        states: &mut [watch::Receiver<State>],
        signals: &mut Signals,
        mut seen: u64,
    ) -> Result<Next, Fault> {
        loop {
            tokio::select! {
                ended = child.wait() => return ended.map(Next::Ended).map_err(lost),
                signal = signals.next() => {
                    if !(has_terminal() && from_terminal(signal)) {
                        send(child, signal);
                    }
                    if stops(signal) {
                        return self.finish(child, signals).await.map(|(status, _)| Next::Ended(status));
                    }
                }
                () = any_change(states), if !states.is_empty() => {
                    let now = changes(states);
                    if now == std::mem::replace(&mut seen, now) {
                        continue;
                    }
                    match self.on_change {
                        OnChange::Nothing => {}
                        OnChange::Signal(signal) => {
                            tracing::info!("the application is told of the change");
                            send(child, signal);
                        }
                        OnChange::Restart => {
                            tracing::info!("the application is started again because of the change");
                            send(child, self.stop_signal);
                            let (status, stop) = self.finish(child, signals).await?;
                            return Ok(if stop { Next::Ended(status) } else { Next::Again });
                        }
                    }
                }
            }
        }
    }

    /// It was asked to stop: waits for its end, and kills all of it when its time is over. Whether meanwhile the follower was asked to stop, too.
    async fn finish(&self, child: &mut Child, signals: &mut Signals) -> Result<(ExitStatus, bool), Fault> {
        let timeout = tokio::time::sleep(self.stop_timeout);
        tokio::pin!(timeout);
        let mut stop = false;
        loop {
            tokio::select! {
                ended = child.wait() => return ended.map(|status| (status, stop)).map_err(lost),
                signal = signals.next() => {
                    stop |= stops(signal);
                    if !(has_terminal() && from_terminal(signal)) {
                        send(child, signal);
                    }
                }
                () = &mut timeout => {
                    tracing::warn!("the application did not stop within {} and is killed", show_span(self.stop_timeout));
                    if let Some(pid) = number(child) {
                        // With a terminal it has no group of its own.
                        let _gone = match has_terminal() {
                            true => kill_process(pid, Signal::KILL),
                            false => kill_process_group(pid, Signal::KILL),
                        };
                    }
                    return child.wait().await.map(|status| (status, stop)).map_err(lost);
                }
            }
        }
    }
}

enum Next {
    Ended(ExitStatus),
    Again,
}

/// How often anything was rendered.
fn changes(states: &[watch::Receiver<State>]) -> u64 {
    states.iter().map(|state| state.borrow().changes).sum()
}

async fn any_change(states: &mut [watch::Receiver<State>]) {
    let any = states.iter_mut().map(|state| {
        Box::pin(async move {
            // A follower that is gone will not change any more.
            if state.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    });
    select_all(any).await;
}

fn number(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}

fn send(child: &Child, signal: Signal) {
    if let Some(pid) = number(child) {
        // It can only fail because the process has ended, which is noticed.
        let _gone = kill_process(pid, signal);
    }
}

fn has_terminal() -> bool {
    rustix::termios::isatty(rustix::stdio::stdin())
}

fn from_terminal(signal: Signal) -> bool {
    [Signal::INT, Signal::QUIT, Signal::WINCH].contains(&signal)
}

fn lost(error: std::io::Error) -> Fault {
    Fault::new(Kind::Bug, format!("the end of the application cannot be waited for: {error}"))
}

/// Becomes the application, as the child of `parent`, which it does not outlive: it is asked to stop when that one is killed. Returns only where that
/// fails.
pub fn become_it(parent: u32, words: &[OsString]) -> u8 {
    let Some((program, arguments)) = words.split_first() else { return NOT_FOUND };
    if let Err(error) = end_with_parent(parent) {
        anstream::eprintln!("keywheel: the application will outlive a follower that is killed: {error}");
    }
    let error = std::process::Command::new(program).args(arguments).exec();
    anstream::eprintln!("keywheel: {} could not be started: {error}", program.display());
    if error.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUNNABLE }
}
