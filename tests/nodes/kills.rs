//! kill -9 before and after each effect of one daemon's life: start, adoption, delivery, one rotation. Then it is started again.

use crate::case::{CASES, Case};
use crate::record::TARGET;
use crate::stage::{Stage, apart, log};
use crate::table::{self, Broken, Ending};
use crate::tracer::{self, Deed, Numbered, Orders, Report, Side};
use keywheel::rotation::state::Label;
use nix::sys::signal::{Signal, kill};
use std::fs;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A rotation has at least this many effects; fewer mean that the tracer has lost its sight.
const FEWEST_EFFECTS: usize = 40;
/// A normal run kills at each so-manieth point only; it is odd, so that both sides of an effect come up.
const THINNED: usize = 27;
/// What a node is given for half a call.
const TIMEOUT: &str = "20s";

async fn run(number: usize) {
    let case = &CASES[number];
    let effects = count(case).await;
    assert!(effects.len() >= FEWEST_EFFECTS, "too few effects were seen: {effects:?}");
    let step = if std::env::var_os("KEYWHEEL_LONG").is_some() { 1 } else { THINNED };
    let points = (1..=effects.len()).flat_map(|number| [(number, Side::Before), (number, Side::After)]);
    // Each case begins elsewhere, so that all of them together come close to every point.
    let points = points.skip(number * step / CASES.len()).step_by(step);
    let rows = points.map(|point| (format!("{:>3} {:<6}", point.0, format!("{:?}", point.1)), point)).collect();
    let lines = table::run(rows, async |point| apart(move || play(case, point)).await).await;
    let every = if step == 1 { "each effect".to_owned() } else { format!("one in {step} sides of effects") };
    table::print(&format!("kill -9 at {every} of start, adoption and one rotation: {}", case.name), &lines);
}

macro_rules! each_case {
    ($($number:literal $test:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $test() {
            run($number).await;
        }
    )*};
}

each_case! {
    0 kill_9_in_place;
    1 kill_9_overlap;
    2 kill_9_alternate;
    3 kill_9_in_place_requirepass;
    4 kill_9_overlap_in_settings;
    5 kill_9_in_place_replica;
    6 kill_9_overlap_replica;
    7 kill_9_alternate_replica;
}

/// The effects of a life in which nobody kills.
async fn count(case: &'static Case) -> Vec<String> {
    let mut stage = Stage::set(case, TIMEOUT).await;
    let life = live(&mut stage, None).await;
    match stage.end(life.end.clone().map(|()| String::new())).await {
        Ok(_) => {}
        Err(broken) => panic!("without a kill: {:?}\n{}", broken.what, broken.record),
    }
    life.effects
}

async fn play(case: &'static Case, point: (usize, Side)) -> (Option<String>, Result<Ending, Broken>) {
    let mut stage = Stage::set(case, TIMEOUT).await;
    let life = live(&mut stage, Some(point)).await;
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
    let folder = stage.path("");
    let folder = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut words = effect.replace(&folder, "the folder");
    for (at, line) in stage.lines.iter().enumerate() {
        let name = if at == 0 { "the server" } else { "the replica" };
        words = words.replace(&format!("port {}", line.port), name);
    }
    words
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
    let at = kill_at.map(|(number, side)| (number, Deed::Kill(side)));
    let orders = Orders { numbered: Numbered::Most, at, disk: None, go_on: None };
    let (words, log) = (stage.daemon_words(), log(&stage.path("daemon.log")));
    std::thread::spawn(move || {
        tracer::run(&words, log, orders, |report| {
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
        stage.at_rest(1).await
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
            Some(Report::Gone(end)) => {
                let numbered = end.effects.into_iter().filter(|effect| effect.number.is_some());
                return (numbered.map(|effect| effect.text).collect(), end.killed);
            }
            Some(Report::Started(_) | Report::Held(_)) => {}
            None => panic!("the tracer failed"),
        }
    }
}

/// The daemon starts again, and goes on from what is recorded.
async fn second_life(stage: &mut Stage, asked: bool) -> Result<String, String> {
    stage.start_daemon();
    let new = stage.case.taken_in + 1;
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
    stage.at_rest(1).await?;
    let told =
        async || fs::read_to_string(stage.path("told")).ok()?.lines().any(|line| line == new.to_string()).then_some(());
    stage.until(&format!("the hook of {TARGET} is told of generation {new}"), told).await?;
    let word = if first == 1 { "settled as before; then asked, and settled" } else { "went on, and settled" };
    Ok(format!("{word} with generation {new}"))
}
