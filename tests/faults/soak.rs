//! One world that lives on through many kills at drawn moments, rotating all the time. After some of them what was not flushed is lost.

use super::case::CASES;
use super::disk::{Cut, Disk};
use super::life::{cut, scenery};
use super::row::at_rest_after;
use super::stage::Stage;
use super::table::{self, Broken, Ending};
use super::traced::Traced;
use super::tracer::{Deed, Numbered, Orders, Side};
use keywheel::rotation::state::Label;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// Kills in a long run, over all cases together.
const KILLS: usize = 506;
/// Kills in a normal run: of the first case, and of the one other.
const FEW_KILLS: [usize; 2] = [7, 5];
/// A daemon dies at an effect up to this one: in its start, or in its first rotation, or a few rotations later.
const LATEST: usize = 400;
/// How often it is looked whether another rotation can be asked for.
const LOOK: Duration = Duration::from_millis(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_world_lives_through_all_kills() {
    let kills = |number: usize| match std::env::var_os("KEYWHEEL_LONG") {
        Some(_) => KILLS / CASES.len(),
        None if number == 0 => FEW_KILLS[0],
        None if number == super::ALIBABA => FEW_KILLS[1],
        None => 0,
    };
    let rows: Vec<(String, (usize, usize))> = CASES
        .iter()
        .enumerate()
        .filter(|(number, _)| kills(*number) > 0)
        .map(|(number, case)| (case.name.to_owned(), (number, kills(number))))
        .collect();
    let total: usize = rows.iter().map(|(_, (_, kills))| kills).sum();
    let lines = table::run(rows, async |row| (None, play(row).await)).await;
    table::print(&format!("{total} kills at drawn moments, each world living through all of its own"), &lines);
}

async fn play((number, kills): (usize, usize)) -> Result<Ending, Broken> {
    let mut stage = Stage::set(&CASES[number], &scenery()).await;
    stage.observer.expect_turns();
    // The case's number is the seed.
    let mut chance = StdRng::seed_from_u64(number as u64);
    let mut how = Ok(());
    let mut moments = Vec::new();
    let mut cuts = 0;
    while how.is_ok() && moments.len() < kills {
        let side = if chance.random() { Side::Before } else { Side::After };
        let moment = (chance.random_range(1..=LATEST), Deed::Kill(side));
        let way = match chance.random_range(0..6) {
            0 | 1 => Some(Cut::Worst),
            2 => Some(Cut::Torn(chance.random())),
            3 => Some(Cut::InMemory),
            _ => None,
        };
        how = until_killed(&stage, moment, way).await;
        moments.push((moment, way));
        cuts += usize::from(way.is_some());
        stage.observer.look_at_sink();
        stage.observer.look_at_ledger(&format!("after kill {}", moments.len())).await;
    }
    let how = match how {
        Ok(()) => calm(&mut stage).await,
        Err(wrong) => Err(format!("{wrong}; deaths so far: {moments:?}")),
    };
    stage.end(how.map(|how| format!("{kills} kills, {cuts} with a power cut; {how}"))).await
}

/// One daemon, which is asked for a rotation whenever it is at rest, until it is dead.
async fn until_killed(stage: &Stage, moment: (usize, Deed), way: Option<Cut>) -> Result<(), String> {
    let disk = way.map(|_| Disk::under(&stage.path("")));
    let orders = Orders { numbered: Numbered::All, at: Some(moment), disk, go_on: None };
    let mut traced = Traced::start(stage, orders).await;
    let asking = async {
        loop {
            let rest = stage.until_recorded("at rest", |it| it.label == Label::Settled && it.generation.0 > 0).await;
            let asked = async {
                rest?;
                stage.rotate().await
            };
            if let Err(wrong) = asked.await {
                return wrong;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let ended = tokio::select! {
        wrong = asking => Err(wrong),
        end = traced.gone() => Ok(end),
    };
    match ended {
        Err(wrong) => {
            traced.kill();
            Err(wrong)
        }
        Ok(end) if !end.killed => Err("the daemon ended by itself".to_owned()),
        Ok(end) => {
            if let (Some(disk), Some(way)) = (end.disk, way) {
                cut(stage, disk, way).await;
            }
            Ok(())
        }
    }
}

/// Nobody kills any more: the last daemon settles, and rotates once more.
async fn calm(stage: &mut Stage) -> Result<String, String> {
    stage.start_daemon();
    let settled = |label: Label| label == Label::Settled;
    stage.until_recorded("taken in", |it| settled(it.label) && it.generation.0 > 0).await?;
    // A folder in memory was empty.
    stage.until("the sink has its file", async || stage.observer.in_sink()).await?;
    let mut before = stage.record.generations().await.len() as u64;
    // What was asked for last may still begin.
    loop {
        at_rest_with(stage, before).await?;
        let now = stage.record.generations().await.len() as u64;
        if now == before {
            break;
        }
        before = now;
    }
    stage.rotate().await?;
    at_rest_with(stage, before + 1).await?;
    Ok(format!("{} rotations; at rest with generation {}", before + 1 - stage.case.taken_in(), before + 1))
}

async fn at_rest_with(stage: &Stage, generations: u64) -> Result<(), String> {
    at_rest_after(stage, generations.saturating_sub(stage.case.taken_in())).await
}
