//! A daemon under the tracer, and what became of it.

use crate::disk::Disk;
use crate::site::Site;
use crate::tracer::{self, Effect, End, Orders, Report};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// What is said of a daemon that ended before its work was done.
pub const GONE: &str = "the daemon is gone";

/// A daemon under the tracer.
pub struct Traced {
    pub pid: Pid,
    reports: UnboundedReceiver<Report>,
}

impl Traced {
    /// Starts it.
    pub async fn start(site: &Site, orders: Orders) -> Self {
        let (tell, mut reports) = unbounded_channel();
        let (words, log) = (site.daemon_words(), site.log("daemon.log"));
        std::thread::spawn(move || {
            tracer::run(&words, log, orders, |report| {
                // Nobody listens once the row has failed.
                let _ = tell.send(report);
            });
        });
        match reports.recv().await {
            Some(Report::Started(pid)) => Self { pid, reports },
            Some(Report::Held(_) | Report::Gone(_)) | None => panic!("the tracer ended at once"),
        }
    }

    /// It may be gone in this instant.
    pub fn kill(&self) {
        let _ = kill(self.pid, Signal::SIGKILL);
    }

    /// Waits until it is gone.
    pub async fn gone(&mut self) -> End {
        loop {
            if let Report::Gone(end) = self.report().await {
                return end;
            }
        }
    }

    /// Waits until it is held; at which effect. `None` if it is gone.
    pub async fn held(&mut self) -> Option<String> {
        loop {
            match self.report().await {
                Report::Gone(_) => return None,
                Report::Held(effect) => return Some(effect),
                Report::Started(_) => {}
            }
        }
    }

    async fn report(&mut self) -> Report {
        self.reports.recv().await.expect("the tracer goes on")
    }
}

/// What became of a traced daemon.
pub struct Life {
    pub effects: Vec<Effect>,
    pub killed: bool,
    pub disk: Option<Disk>,
    /// Whether it had promised to rotate.
    pub asked: bool,
    /// Whether it came to rest with a new password.
    pub end: Result<(), String>,
}

impl Life {
    /// Lived until this course is done, which notes once the daemon has promised to rotate, or until the daemon is gone.
    pub async fn of(site: &Site, orders: Orders, course: impl AsyncFnOnce(&mut bool) -> Result<(), String>) -> Self {
        let mut traced = Traced::start(site, orders).await;
        let mut asked = false;
        let ended = tokio::select! {
            end = course(&mut asked) => Err(end),
            end = traced.gone() => Ok(end),
        };
        let (End { effects, killed, disk }, asked, end) = match ended {
            // A course that failed before it asked for anything is judged as if it had.
            Err(end) => {
                traced.kill();
                (traced.gone().await, true, end)
            }
            Ok(gone) => (gone, asked, Err(GONE.to_owned())),
        };
        Self { effects, killed, disk, asked, end }
    }

    /// How many effects had a number.
    pub fn numbered(&self) -> usize {
        self.effects.iter().filter(|effect| effect.number.is_some()).count()
    }

    /// The text of the effect of this number.
    pub fn effect(&self, number: usize) -> Option<&str> {
        self.effects.iter().find(|effect| effect.number == Some(number)).map(|effect| effect.text.as_str())
    }
}
