//! kill -9 before and after each effect of one daemon's life: start, adoption, delivery, one rotation. Then it is started again.

use super::case::{CASES, Case};
use super::row::at_rest;
use super::stage::{Scenery, Stage, log};
use super::table::{self, Broken, Ending};
use super::tracer::{self, Report, Side};
use keywheel::rotation::state::Label;
use nix::sys::signal::{Signal, kill};
use std::fs;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A rotation has at least this many effects; fewer mean that the tracer has lost its sight.
const FEWEST_EFFECTS: usize = 40;
/// Of the cases after the first, a normal run kills at each so-manieth point only; it is odd, so that both sides of an effect come up.
const THINNED: usize = 9;

async fn run(number: usize) {
    let case = &CASES[number];
    let effects = count(case).await;
    assert!(effects.len() >= FEWEST_EFFECTS, "too few effects were seen: {effects:?}");
    let step = if number == 0 || std::env::var_os("KEYWHEEL_LONG").is_some() { 1 } else { THINNED };
    let points = (1..=effects.len()).flat_map(|number| [(number, Side::Before), (number, Side::After)]);
    // Each case begins elsewhere, so that all of them together come close to every point.
    let points = points.skip(number % step).step_by(step);
    let rows = points.map(|point| (format!("{:>3} {:<6}", point.0, format!("{:?}", point.1)), point)).collect();
    let lines = table::run(rows, async |point| play(case, point).await).await;
    let every = if step == 1 { "each effect".to_owned() } else { format!("one in {step} sides of effects") };
    table::print(&format!("kill -9 at {every} of start, adoption and one rotation: {}", case.name), &lines);
}

macro_rules! each_case {
    ($($number:literal $test:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            run($number).await;
        }
    )*};
}

each_case! {
    0 kill_9_tencent_old_password;
    1 kill_9_tencent_reset;
    2 kill_9_tencent_account_root;
    3 kill_9_tencent_account_custom;
    4 kill_9_tencent_alternate;
    5 kill_9_alibaba_old_password_default;
    6 kill_9_alibaba_old_password_standard;
    7 kill_9_alibaba_reset_default;
    8 kill_9_alibaba_reset_standard;
    9 kill_9_alibaba_alternate_old_password;
    10 kill_9_alibaba_alternate_reset;
}

/// The effects of a life in which nobody kills.
async fn count(case: &'static Case) -> Vec<String> {
    let mut stage = Stage::set(case, &scenery()).await;
    let life = live(&mut stage, None).await;
    match stage.end(life.end.clone().map(|()| String::new())).await {
        Ok(_) => {}
        Err(broken) => panic!("without a kill: {:?}\n{}", broken.what, broken.record),
    }
    life.effects
}

fn scenery() -> Scenery {
    Scenery { late_effect: "300ms", ..Scenery::default() }
}

async fn play(case: &'static Case, point: (usize, Side)) -> (Option<String>, Result<Ending, Broken>) {
    let mut stage = Stage::set(case, &scenery()).await;
    let life = live(&mut stage, Some(point)).await;
    stage.observer.look_at_sink();
    stage.observer.look_at_ledger("when it was killed").await;
    let label = life.effects.get(point.0 - 1).map(|effect| in_words(&stage, effect)).unwrap_or_default();
    let how = match (life.killed, life.end.clone()) {
        (true, _) => second_life(&mut stage, life.asked).await,
        // Effects differ by a few from life to life: looks are timed.
        (false, Ok(())) => Ok("ended before it came to this; settled with a new password".to_owned()),
        (false, Err(wrong)) => Err(wrong),
    };
    (Some(label), stage.end(how).await)
}

/// Ports in words.
fn in_words(stage: &Stage, effect: &str) -> String {
    let cloud = format!("port {}", stage.cloud().address().port());
    let login = stage.cloud().login_address(stage.case.instance()).map(|address| format!("port {}", address.port()));
    let folder = stage.path("");
    let folder = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    effect
        .replace(&folder, "the folder")
        .replace(&cloud, "the cloud")
        .replace(&login.unwrap_or_default(), "the instance")
}

/// What became of a traced daemon.
struct Life {
    effects: Vec<String>,
    killed: bool,
    /// Whether it had promised to rotate.
    asked: bool,
    /// Whether it came to rest with a new password.
    end: Result<(), String>,
}

/// Starts the daemon under the tracer, asks it for a rotation, and waits until that is done or the daemon was killed.
async fn live(stage: &mut Stage, kill_at: Option<(usize, Side)>) -> Life {
    let (tell, mut reports) = unbounded_channel();
    let (words, log) = (stage.daemon_words(), log(&stage.path("daemon.log")));
    std::thread::spawn(move || {
        tracer::run(&words, log, kill_at, |report| {
            // Nobody listens once the row has failed.
            let _ = tell.send(report);
        });
    });
    let Some(Report::Started(pid)) = reports.recv().await else { panic!("the tracer ended at once") };
    let mut asked = false;
    let course = async {
        stage.adopted().await?;
        stage.rotate().await?;
        asked = true;
        at_rest(stage, 1).await
    };
    tokio::select! {
        end = course => {
            // It may be gone in this instant.
            let _ = kill(pid, Signal::SIGKILL);
            let (effects, killed) = gone(&mut reports).await;
            Life { effects, killed, asked: true, end }
        }
        (effects, killed) = gone(&mut reports) => Life { effects, killed, asked, end: Err("the daemon is gone".to_owned()) },
    }
}

async fn gone(reports: &mut UnboundedReceiver<Report>) -> (Vec<String>, bool) {
    loop {
        match reports.recv().await {
            Some(Report::Gone { effects, killed }) => return (effects, killed),
            Some(Report::Started(_)) => {}
            None => panic!("the tracer failed"),
        }
    }
}

/// The daemon starts again, and goes on from what is recorded.
async fn second_life(stage: &mut Stage, asked: bool) -> Result<String, String> {
    stage.start_daemon();
    let new = stage.case.taken_in() + 1;
    let rest = stage.until_recorded("at rest again", |it| match it.label {
        Label::Settled => it.generation.0 == new || !asked,
        Label::Halted => true,
        Label::Due | Label::Rotating | Label::Doubt | Label::Behind | Label::Paused => false,
    });
    let first = rest.await?.generation.0;
    if first == 1 {
        stage.adopted().await?;
        stage.rotate().await?;
    }
    at_rest(stage, 1).await?;
    let told = fs::read_to_string(stage.path("told")).unwrap_or_default();
    if !told.lines().any(|line| line == new.to_string()) {
        return Err(format!("the hook was not told of generation {new}"));
    }
    let word = if first == 1 { "settled as before; then asked, and settled" } else { "went on, and settled" };
    Ok(format!("{word} with generation {new}"))
}
