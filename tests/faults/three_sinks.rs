//! kill -9 between the steps of a delivery to three sinks, of which one is down: a file, a folder, and a program that fails until it finds a flag and
//! writes down each version it stores. Then the daemon is started again, and the one that was down comes back.

use super::case::{CASES, Case};
use super::life::words;
use super::row::at_rest;
use super::stage::{Scenery, Stage};
use super::table::{self, Broken, Ending};
use super::traced::Life;
use super::tracer::{Deed, Numbered, Orders, Side};
use keywheel::rotation::state::Label;
use std::fs;

/// Fewer effects of a delivery to three sinks mean that the tracer has lost its sight.
const FEWEST_EFFECTS: usize = 15;
/// A normal run kills at each so-manieth point only; it is odd, so that both sides of an effect come up.
const THINNED: usize = 3;

/// The generation that is taken in, and the one of the rotation.
const GENERATIONS: [u64; 2] = [1, 2];

/// Whether the store is up.
const FLAG: &str = "store-up";
/// While this is there, the store keeps what it is given and says that it failed.
const FORGETFUL: &str = "store-forgets";

fn scenery() -> Scenery {
    Scenery { late_effect: "300ms", three_sinks: true, ..Scenery::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_between_the_steps_of_a_delivery_to_three_sinks_of_which_one_is_down() {
    let case = &CASES[0];
    let (begin, end) = delivery(case).await;
    assert!(end - begin >= FEWEST_EFFECTS, "too few effects were seen: {begin} to {end}");
    let step = if std::env::var_os("KEYWHEEL_LONG").is_some() { 1 } else { THINNED };
    let points = (begin..=end).flat_map(|number| [(number, Side::Before), (number, Side::After)]).step_by(step);
    let rows = points.map(|point| (format!("{:>3} {:<6}", point.0, format!("{:?}", point.1)), point)).collect();
    let lines = table::run(rows, async |point| play(case, point).await).await;
    let every = if step == 1 { "each effect".to_owned() } else { format!("one in {step} sides of effects") };
    table::print(&format!("kill -9 at {every} of a delivery to three sinks, one of them down"), &lines);
}

/// The first and the last effect after the cloud was last asked, in a life in which nobody kills.
async fn delivery(case: &'static Case) -> (usize, usize) {
    let stage = Stage::set(case, &scenery()).await;
    let life = live(&stage, None).await;
    let cloud = format!("port {}", stage.cloud().address().port());
    let of_cloud = |number: &usize| life.effect(*number).is_some_and(|effect| effect.contains(&cloud));
    let last = (1..=life.numbered()).rfind(of_cloud);
    let (last, end) = (last.expect("the cloud was asked"), life.numbered());
    let how = match life.end.clone() {
        Ok(()) => each_has_it_once(&stage),
        Err(wrong) => Err(wrong),
    };
    table::unbroken("without a kill", stage.end(how).await);
    (last + 1, end)
}

/// Adopted and delivered; the store goes down, a rotation is asked for, and when only the store is behind, it comes back.
async fn live(stage: &Stage, at: Option<(usize, Deed)>) -> Life {
    stage.write(FLAG, "");
    let orders = Orders { numbered: Numbered::Most, at, disk: None, go_on: None };
    let course = async |asked: &mut bool| {
        stage.adopted().await?;
        stage.until("the store has generation 1", async || versions(stage).contains(&1).then_some(())).await?;
        fs::remove_file(stage.path(FLAG)).unwrap();
        stage.rotate().await?;
        *asked = true;
        comes_back(stage).await?;
        at_rest(stage, 1).await
    };
    Life::of(stage, orders, course).await
}

/// Once only the store is behind, it comes back; the first answer it gives then is lost.
async fn comes_back(stage: &Stage) -> Result<(), String> {
    stage.until_recorded("behind", |it| it.label == Label::Behind && it.generation.0 == GENERATIONS[1]).await?;
    if files(stage) != [Some(GENERATIONS[1]); 2] {
        return Err(format!("the store is down, and the others wait for it: {:?}", files(stage)));
    }
    stage.write(FORGETFUL, "");
    stage.write(FLAG, "");
    Ok(())
}

async fn play(case: &'static Case, point: (usize, Side)) -> (Option<String>, Result<Ending, Broken>) {
    let mut stage = Stage::set(case, &scenery()).await;
    let life = live(&stage, Some((point.0, Deed::Kill(point.1)))).await;
    let label = words(&stage, &life, point.0);
    let how = match (life.killed, life.end.clone()) {
        (true, _) => second_life(&mut stage, life.asked).await,
        // Effects differ by a few from life to life: looks are timed.
        (false, Ok(())) => each_has_it_once(&stage),
        (false, Err(wrong)) => Err(wrong),
    };
    (Some(label), stage.end(how).await)
}

async fn second_life(stage: &mut Stage, asked: bool) -> Result<String, String> {
    if !asked {
        return Err("it was killed before the rotation".to_owned());
    }
    stage.start_daemon();
    if !stage.path(FLAG).exists() {
        comes_back(stage).await?;
    }
    at_rest(stage, 1).await?;
    each_has_it_once(stage)
}

/// Every sink holds the new password, the store in one version, and the hook knows.
fn each_has_it_once(stage: &Stage) -> Result<String, String> {
    let (files, versions) = (files(stage), versions(stage));
    if files != [Some(GENERATIONS[1]); 2] || versions != GENERATIONS {
        return Err(format!(
            "each should have generation 2, once: files {files:?}, versions of the store {versions:?}"
        ));
    }
    let told = stage.read("told").lines().filter(|line| *line == GENERATIONS[1].to_string()).count();
    match told {
        0 => Err("the hook was not told of generation 2".to_owned()),
        told => Ok(format!("each has generation 2 once; the hook was told {told} times")),
    }
}

/// The generations that the file and the folder hold.
fn files(stage: &Stage) -> [Option<u64>; 2] {
    let document: Option<serde_json::Value> = serde_json::from_str(&stage.read("sinks/orders")).ok();
    let of_folder = fs::read_to_string(stage.path("sinks/second/generation")).ok();
    [document.and_then(|document| document["generation"].as_u64()), of_folder.and_then(|text| text.parse().ok())]
}

/// The generations of all versions that the store was ever given, each with the password that it is of.
fn versions(stage: &Stage) -> Vec<u64> {
    let text = stage.read("sinks/versions");
    text.lines().filter_map(|line| line.split_once(' ')?.0.parse().ok()).collect()
}

/// The store: a program of three acts under a lock. It keeps a version for each generation, whatever it was told how often.
pub const STORE: &str = r#"password=$(cat)
cd "$1" || exit 1
test -e store-up || exit 1
exec 9>>sinks/store.lock
flock 9
last=$(tail -n 1 sinks/versions 2>/dev/null | cut -d " " -f 1)
test "${last:-0}" -gt "$KEYWHEEL_GENERATION" && exit 20
test "${last:-0}" -eq "$KEYWHEEL_GENERATION" && exit 0
echo "$KEYWHEEL_GENERATION $password" >>sinks/versions
rm store-forgets 2>/dev/null && exit 1
exit 0
"#;
