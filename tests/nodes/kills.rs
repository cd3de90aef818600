//! kill -9 before and after each effect of one daemon's life: start, adoption, delivery, one rotation. Then it is started again.

use crate::case::{CASES, Case};
use crate::each_case::each_case;
use crate::record::TARGET;
use crate::stage::{Stage, apart};
use crate::table::{self, Broken, Ending};
use crate::traced::Life;
use crate::tracer::{Deed, Numbered, Orders, Side};

/// A rotation has at least this many effects; fewer mean that the tracer has lost its sight.
const FEWEST_EFFECTS: usize = 40;
/// A normal run kills at each so-manieth point only; it is odd, so that both sides of an effect come up.
const THINNED: usize = 27;
/// What a node is given for half a call.
const TIMEOUT: &str = "20s";

async fn run(number: usize) {
    let case = &CASES[number];
    let effects = count(case).await;
    assert!(effects >= FEWEST_EFFECTS, "too few effects were seen: {effects}");
    let step = if std::env::var_os("KEYWHEEL_LONG").is_some() { 1 } else { THINNED };
    let points = (1..=effects).flat_map(|number| [(number, Side::Before), (number, Side::After)]);
    // Each case begins elsewhere, so that all of them together come close to every point.
    let points = points.skip(number * step / CASES.len()).step_by(step);
    let rows = points.map(|point| (format!("{:>3} {:<6}", point.0, format!("{:?}", point.1)), point)).collect();
    let lines = table::run(rows, async |point| apart(move || play(case, point)).await).await;
    let every = if step == 1 { "each effect".to_owned() } else { format!("one in {step} sides of effects") };
    table::print(&format!("kill -9 at {every} of start, adoption and one rotation: {}", case.name), &lines);
}

each_case! {
    on 4 threads;
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
async fn count(case: &'static Case) -> usize {
    let stage = Stage::set(case, TIMEOUT).await;
    let life = live(&stage, None).await;
    table::unbroken("without a kill", stage.end(life.end.clone().map(|()| String::new())).await);
    life.numbered()
}

async fn play(case: &'static Case, (number, side): (usize, Side)) -> (Option<String>, Result<Ending, Broken>) {
    let mut stage = Stage::set(case, TIMEOUT).await;
    let life = live(&stage, Some((number, Deed::Kill(side)))).await;
    let label = life.effect(number).map(|effect| in_words(&stage, effect)).unwrap_or_default();
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

/// Starts the daemon under the tracer, asks it for a rotation, and waits until that is done or the daemon was killed.
async fn live(stage: &Stage, at: Option<(usize, Deed)>) -> Life {
    let orders = Orders { numbered: Numbered::Most, at, disk: None, go_on: None };
    let course = async |asked: &mut bool| {
        stage.adopted().await?;
        stage.rotate().await?;
        *asked = true;
        stage.at_rest(1).await
    };
    Life::of(stage, orders, course).await
}

/// The daemon starts again, and goes on from what is recorded.
async fn second_life(stage: &mut Stage, asked: bool) -> Result<String, String> {
    let new = stage.case.taken_in + 1;
    let first = stage.starts_again(new, asked).await?;
    if first == 1 {
        stage.adopted().await?;
        stage.rotate().await?;
    }
    stage.at_rest(1).await?;
    let told = async || stage.was_told(new).then_some(());
    stage.until(&format!("the hook of {TARGET} is told of generation {new}"), told).await?;
    let word = if first == 1 { "settled as before; then asked, and settled" } else { "went on, and settled" };
    Ok(format!("{word} with generation {new}"))
}
