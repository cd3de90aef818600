//! A daemon stands still in the middle of its work, as after SIGSTOP, and another one comes to its ledger.
//!
//! A ledger in SQLite has no lease that runs out: a lock on `ledger.db.lock` lasts for as long as its process, so a second daemon is refused however
//! long the first one stands still, and takes over as soon as that one is dead. Where somebody removes the lock's file, two daemons do work on
//! one ledger; then the fencing number in the ledger keeps the one that stood still from writing what it believes.

use super::case::{CASES, Case};
use super::life::{in_words, live, one_was_drawn, scenery, second_life};
use super::row::{at_rest, at_rest_after};
use super::stage::Stage;
use super::table::{self, Broken, Ending};
use super::traced::Traced;
use super::tracer::{Deed, Numbered, Orders, Side};
use crate::each_case::each_case;
use keywheel::rotation::state::Label;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};

/// Rows of a case in a normal run, about.
const ROWS: usize = 24;
/// Of the one case after the first that a normal run has.
const FEW_ROWS: usize = 4;
/// In a long run the cases after the first have one in so many sides of effects.
const THINNED: usize = 9;

/// Words in the log of a daemon whose claim was taken over.
const CLAIM_LOST: &str = "was claimed again";
/// Words in the log of one that ended its rotation itself.
const SETTLED: &str = "event=\"settled\"";

/// What happens while it stands still.
#[derive(Debug, Clone, Copy)]
enum Meanwhile {
    /// A second daemon is started, and refused; then the first one goes on.
    Refused,
    /// The first one is killed, and a second one started.
    TakenOver,
    /// Somebody removes the lock's file. A second daemon does the work; then the first one goes on.
    Fenced,
}

const ALL: [Meanwhile; 3] = [Meanwhile::Fenced, Meanwhile::Refused, Meanwhile::TakenOver];
/// Where each point has one only: the rarest to be possible comes most often.
const IN_TURN: [Meanwhile; 4] = [Meanwhile::Fenced, Meanwhile::Refused, Meanwhile::Fenced, Meanwhile::TakenOver];

async fn run(number: usize) {
    let case = &CASES[number];
    let long = std::env::var_os("KEYWHEEL_LONG").is_some();
    if !(long || number == 0 || number == super::ALIBABA) {
        return println!("standing still: {}: only with KEYWHEEL_LONG", case.name);
    }
    let effects = count(case).await;
    // By then it has taken its lock, and has begun to rotate or is about to.
    let points = (effects * 3 / 5..=effects).flat_map(|number| [(number, Side::Before), (number, Side::After)]);
    let step = match (long, number) {
        (true, 0) => 1,
        (true, _) => THINNED,
        (false, 0) => (effects / ROWS) | 1,
        (false, _) => (effects / FEW_ROWS) | 1,
    };
    let points = points.skip(number % step).step_by(step).enumerate();
    let rows = points.flat_map(|(place, point)| {
        let ways = if step == 1 { ALL.to_vec() } else { vec![IN_TURN[place % IN_TURN.len()]] };
        ways.into_iter().map(move |way| {
            let (side, name) = (format!("{:?}", point.1), format!("{way:?}"));
            (format!("{:>3} {side:<6} {name:<9}", point.0), (point, way))
        })
    });
    let lines = table::run(rows.collect(), async |row| play(case, row).await).await;
    table::print(
        &format!("it stands still at one in {step} sides of the effects of a rotation: {}", case.name),
        &lines,
    );
}

each_case! {
    on 2 threads;
    0 standing_still_tencent_old_password;
    1 standing_still_tencent_reset;
    2 standing_still_tencent_account_root;
    3 standing_still_tencent_account_custom;
    4 standing_still_tencent_alternate;
    5 standing_still_alibaba_old_password_default;
    6 standing_still_alibaba_old_password_standard;
    7 standing_still_alibaba_reset_default;
    8 standing_still_alibaba_reset_standard;
    9 standing_still_alibaba_alternate_old_password;
    10 standing_still_alibaba_alternate_reset;
}

async fn count(case: &'static Case) -> usize {
    let stage = Stage::set(case, &scenery()).await;
    let life = live(&stage, Numbered::All, None, false).await;
    table::unbroken("without a stop", stage.end(life.end.clone().map(|()| String::new())).await);
    life.numbered()
}

async fn play(
    case: &'static Case,
    ((number, side), way): ((usize, Side), Meanwhile),
) -> (Option<String>, Result<Ending, Broken>) {
    let mut stage = Stage::set(case, &scenery()).await;
    let (go, go_on) = channel();
    let orders =
        Orders { numbered: Numbered::All, at: Some((number, Deed::Hold(side))), disk: None, go_on: Some(go_on) };
    let mut first = Traced::start(&stage, orders).await;
    let asked = AtomicBool::new(false);
    let how = course(&mut stage, &mut first, &asked, &go, way).await;
    // However the row went, nothing stays behind: a tracer that waits would wait for ever.
    first.kill();
    drop(go);
    match how {
        Ok((effect, how)) => (Some(effect), stage.end(Ok(how)).await),
        Err(wrong) => (None, stage.end(Err(wrong)).await),
    }
}

/// At which effect it was held, and how it ended.
async fn course(
    stage: &mut Stage,
    first: &mut Traced,
    asked: &AtomicBool,
    go: &Sender<()>,
    way: Meanwhile,
) -> Result<(String, String), String> {
    // What it was asked before it stood still it answers afterwards.
    let mut life = Box::pin(async {
        stage.adopted().await?;
        stage.rotate().await?;
        asked.store(true, Ordering::Relaxed);
        at_rest(stage, 1).await
    });
    let held = tokio::select! {
        end = &mut life => Err(end),
        held = first.held() => Ok(held),
    };
    let effect = match held {
        Err(end) => return end.map(|()| (String::new(), "settled before it came to this".to_owned())),
        Ok(None) => return Err("it ended by itself".to_owned()),
        Ok(Some(effect)) => in_words(stage, &effect),
    };
    let asked = asked.load(Ordering::Relaxed);
    // Who delivers holds the sink's own lock, and another delivery waits for it. That is not what this is about.
    let delivers = effect.contains("orders") && !effect.contains("-check-") || effect.contains("sinks");
    let how = match way {
        Meanwhile::TakenOver => {
            drop(life);
            first.kill();
            go.send(()).unwrap();
            let how = second_life(stage, asked).await?;
            format!("killed; the second {how}")
        }
        Meanwhile::Fenced if asked && !delivers => {
            drop(life);
            return fenced(stage, go).await.map(|how| (effect, how));
        }
        Meanwhile::Refused | Meanwhile::Fenced => {
            refused(stage, first).await?;
            go.send(()).unwrap();
            life.await?;
            "a second one is refused, naming the first, which then settles".to_owned()
        }
    };
    one_was_drawn(stage).await?;
    Ok((effect, how))
}

/// A second daemon ends with a sentence that says who holds the ledger, and readers are served.
async fn refused(stage: &Stage, first: &Traced) -> Result<(), String> {
    let changes = stage.changes();
    let (exit, said) = stage.ask(&["run"], "").await;
    let holder = format!("in use by keywheel run, pid {}", first.pid);
    if exit == 0 || !said.contains(&holder) || !said.contains("Next: ") {
        return Err(format!("a second daemon should be refused, {holder}: exit {exit}, {said}"));
    }
    let (_, said) = stage.ask(&["status", "--json"], "").await;
    if !said.contains("\"targets\"") {
        return Err(format!("`status` should read the ledger all the same: {said}"));
    }
    match stage.changes() - changes {
        0 => Ok(()),
        more => Err(format!("somebody called {more} times while the first one stood still")),
    }
}

/// Without the lock the second one does the work; what the first one then believes it may not write.
async fn fenced(stage: &mut Stage, go: &Sender<()>) -> Result<String, String> {
    fs::remove_file(stage.path("ledger.db.lock")).unwrap();
    stage.start_elsewhere();
    let settled = stage.until("the second one settles, or cannot write", async || {
        let settled =
            stage.record.projection().await.is_some_and(|it| it.label == Label::Settled && it.generation.0 > 1);
        (settled || stage.read("second.log").contains("database is locked")).then_some(settled)
    });
    if !settled.await? {
        // The first one stands still in the middle of a transaction.
        stage.daemon_ends().await?;
        go.send(()).unwrap();
        at_rest(stage, 1).await?;
        one_was_drawn(stage).await?;
        return Ok("its transaction refuses a second one; it settles".to_owned());
    }
    at_rest(stage, 1).await?;
    go.send(()).unwrap();
    stage
        .until("the first one sees that it lost its claim, or had settled itself", async || {
            let said = stage.read("daemon.log");
            (said.contains(CLAIM_LOST) || said.contains(SETTLED)).then_some(())
        })
        .await?;
    let lost = stage.read("daemon.log").contains(CLAIM_LOST);
    at_rest(stage, 1).await?;
    one_was_drawn(stage).await?;
    stage.kill_daemon().await;
    // A pair takes turns.
    stage.observer.expect_turns();
    stage.rotate().await?;
    at_rest_after(stage, 2).await?;
    let word = if lost { "the first is fenced off" } else { "the first had settled" };
    Ok(format!("the lock's file is gone: the second settles, {word}, and then rotates on its own"))
}
