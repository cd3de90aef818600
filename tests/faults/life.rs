//! One daemon's life under the tracer: start, adoption, delivery, one rotation. And the life after it.

use super::disk::{Cut, Disk};
use super::row::at_rest;
use super::stage::{Scenery, Stage, log};
use super::tracer::{self, Deed, Effect, End, Numbered, Orders, Report};
use keywheel::rotation::event::What;
use keywheel::rotation::state::Label;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The world of every row with a tracer.
pub fn scenery() -> Scenery {
    Scenery { late_effect: "300ms", ..Scenery::default() }
}

/// What is said of a daemon that ended before its work was done.
pub const GONE: &str = "the daemon is gone";

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
    fn of(end: End, asked: bool, how: Result<(), String>) -> Self {
        let End { effects, killed, disk } = end;
        Self { effects, killed, disk, asked, end: how }
    }

    /// How many effects had a number.
    pub fn numbered(&self) -> usize {
        self.effects.iter().filter(|effect| effect.number.is_some()).count()
    }

    /// The effect of this number in words, ports and the row's folder by their names.
    pub fn words(&self, stage: &Stage, number: usize) -> String {
        let effect = self.effects.iter().find(|effect| effect.number == Some(number));
        effect.map(|effect| in_words(stage, &effect.text)).unwrap_or_default()
    }
}

/// Ports in words.
pub fn in_words(stage: &Stage, effect: &str) -> String {
    let cloud = format!("port {}", stage.cloud().address().port());
    let login = stage.cloud().login_address(stage.case.instance()).map(|address| format!("port {}", address.port()));
    let folder = stage.path("");
    let folder = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    effect
        .replace(&folder, "the folder")
        .replace(&cloud, "the cloud")
        .replace(&login.unwrap_or_default(), "the instance")
}

/// A daemon under the tracer.
pub struct Traced {
    pub pid: Pid,
    reports: UnboundedReceiver<Report>,
}

impl Traced {
    /// Starts it.
    pub async fn start(stage: &Stage, orders: Orders) -> Self {
        let (tell, mut reports) = unbounded_channel();
        let (words, log) = (stage.daemon_words(), log(&stage.path("daemon.log")));
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

/// Starts the daemon under the tracer, asks it for a rotation, and waits until that is done or the daemon is gone.
pub async fn live(stage: &mut Stage, numbered: Numbered, at: Option<(usize, Deed)>, disk: bool) -> Life {
    let disk = disk.then(|| Disk::under(&stage.path("")));
    let mut traced = Traced::start(stage, Orders { numbered, at, disk, go_on: None }).await;
    let mut asked = false;
    let course = async {
        stage.adopted().await?;
        stage.rotate().await?;
        asked = true;
        at_rest(stage, 1).await
    };
    let ended = tokio::select! {
        end = course => Err(end),
        end = traced.gone() => Ok(end),
    };
    match ended {
        Err(end) => {
            traced.kill();
            Life::of(traced.gone().await, true, end)
        }
        Ok(gone) => Life::of(gone, asked, Err(GONE.to_owned())),
    }
}

/// The power goes: the folder is what its disk held.
pub async fn cut(stage: &Stage, disk: Disk, cut: Cut) -> String {
    let still = stage.observer.hold_still().await;
    let lost = disk.rebuild(cut);
    stage.observer.power_was_cut(cut == Cut::InMemory).await;
    drop(still);
    lost
}

/// The daemon starts again, and goes on from what is recorded.
pub async fn second_life(stage: &mut Stage, asked: bool) -> Result<String, String> {
    stage.start_daemon();
    let new = stage.case.taken_in() + 1;
    let rest = stage.until_recorded("at rest again", |it| match it.label {
        Label::Settled => it.generation.0 == new || !asked,
        Label::Halted => true,
        Label::Due | Label::Rotating | Label::Doubt | Label::Behind | Label::Paused => false,
    });
    let first = rest.await?.generation.0;
    // What the one before was asked may be recorded though nobody heard the answer.
    let is_asked = stage.events().await.iter().any(|event| matches!(event, What::Asked { .. }));
    if first == 1 && !is_asked {
        stage.adopted().await?;
        stage.rotate().await?;
    }
    // A folder in memory was empty.
    stage.until("the sink has its file", async || stage.observer.in_sink()).await?;
    at_rest(stage, 1).await?;
    let told = fs::read_to_string(stage.path("told")).unwrap_or_default();
    if !told.lines().any(|line| line == new.to_string()) {
        return Err(format!("the hook was not told of generation {new}"));
    }
    let word = if first == 1 { "settled as before; then asked, and settled" } else { "went on, and settled" };
    Ok(format!("{word} with generation {new}"))
}

/// One password was drawn, and no other one.
pub async fn one_was_drawn(stage: &Stage) -> Result<(), String> {
    let (found, wanted) = (stage.observer.generations().await.len() as u64, stage.case.taken_in() + 1);
    if found == wanted { Ok(()) } else { Err(format!("the ledger should have {wanted} passwords, not {found}")) }
}
