//! One row of the table: what is done to one command, and how it must end.

use crate::case::{Case, OUTSIDER};
use crate::line::{Deed, Point};
use crate::record::TARGET;
use crate::stage::Stage;
use crate::table::{Broken, Ending};
use keywheel::rotation::state::Label;
use tokio::task::block_in_place;

/// What a node is given for half a call, where nothing is to run into it.
const PATIENT: &str = "20s";
/// The same where something must, and a slow machine may.
const IMPATIENT: &str = "700ms";

/// One row.
pub struct Row {
    pub traps: Vec<Trap>,
    pub end: End,
}

/// What is done to which command of which server, and how often.
pub struct Trap {
    pub node: usize,
    pub point: Point,
    pub deed: Deed,
    pub times: usize,
}

/// How it must end. Numbers are passwords beyond those that were taken in at first.
#[derive(Debug, Clone, Copy)]
pub enum End {
    Settled(u64),
    /// Then what was held back arrives.
    ThenLate,
    /// Another rotation settles, and then what was held back in the first one arrives.
    LongAfter,
    /// With a reason that contains this; then a person does something about it, and it settles with so many.
    Halted(&'static str, Recover, u64),
}

/// What a person does about a halt.
#[derive(Debug, Clone, Copy)]
pub enum Recover {
    Resume,
    /// Gives the password that somebody else set.
    Set,
}

impl Row {
    pub fn of(node: usize, point: Point, deed: Deed) -> Self {
        Self { traps: vec![Trap { node, point, deed, times: 1 }], end: End::Settled(1) }
    }

    pub fn times(mut self, times: usize) -> Self {
        self.traps.iter_mut().for_each(|trap| trap.times = times);
        self
    }

    pub fn and(mut self, other: Self) -> Self {
        self.traps.extend(other.traps);
        self
    }

    pub fn ends(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    fn timeout(&self) -> &'static str {
        let is_silent = |trap: &Trap| matches!(trap.deed, Deed::Silence { .. } | Deed::Stop { .. });
        if self.traps.iter().any(is_silent) { IMPATIENT } else { PATIENT }
    }
}

/// Plays it for one case.
pub async fn play(case: &'static Case, row: Row) -> Result<Ending, Broken> {
    let mut stage = Stage::set(case, row.timeout()).await;
    let how = course(&mut stage, row).await;
    stage.end(how).await
}

async fn course(stage: &mut Stage, row: Row) -> Result<String, String> {
    stage.start_daemon();
    stage.adopted().await?;
    for Trap { node, point, deed, times } in row.traps {
        stage.lines[node].set(point, deed, times);
    }
    stage.rotate().await?;
    let first = stage.case.taken_in + 1;
    match row.end {
        End::Settled(further) => {
            stage.at_rest(further).await?;
            Ok(format!("settled, generation {}", stage.case.taken_in + further))
        }
        End::ThenLate => {
            stage.at_rest(1).await?;
            stage.lines[0].deliver().await;
            stage.at_rest(1).await?;
            Ok(format!("settled, generation {first}; what came late changed nothing"))
        }
        End::LongAfter => {
            stage.at_rest(1).await?;
            stage.rotate().await?;
            stage.settled(2).await?;
            stage.lines[0].deliver().await;
            stage.at_rest(2).await?;
            Ok(format!("settled, generation {}; what came late changed nothing", first + 1))
        }
        End::Halted(why, recover, further) => {
            let halted = stage.until_recorded("halted", |it| it.label == Label::Halted).await?;
            if !halted.why.contains(why) {
                return Err(format!("a halt should say {why:?}: {halted:?}"));
            }
            shows_what_works(stage).await?;
            let (by, given) = match recover {
                Recover::Resume => ("--resume", String::new()),
                Recover::Set => ("--set", format!("{OUTSIDER}\n")),
            };
            let (exit, said) = stage.ask(&["recover", TARGET, by], &given).await;
            if exit != 0 {
                return Err(format!("recover {by} gave {exit}: {said}"));
            }
            if matches!(recover, Recover::Set) {
                // What a person gives counts as settled a moment before it is delivered.
                let given = async || stage.in_sink().filter(|held| held.password == OUTSIDER);
                stage.until("the sink holds what was given", given).await?;
            }
            stage.at_rest(further).await?;
            let brief: String = halted.why.chars().take(60).collect();
            Ok(format!("halted: {brief}…; {by}: settled, generation {}", stage.case.taken_in + further))
        }
    }
}

/// A halt leaves a person with a password that works, unless somebody else set one.
async fn shows_what_works(stage: &Stage) -> Result<(), String> {
    let (exit, said) = stage.ask(&["recover", TARGET, "--show"], "").await;
    let generations = stage.record.generations().await;
    let shown = generations.iter().filter(|password| said.contains(password.as_str()));
    let works = block_in_place(|| {
        let nodes = stage.nodes();
        let opens = |password: &str| nodes.iter().all(|node| node.lets_in(stage.case.account, password));
        opens(OUTSIDER) || shown.into_iter().any(|password| opens(password))
    });
    match works && exit == 0 {
        true => Ok(()),
        false => Err(format!("recover --show gave {exit} and no password that works: {said}")),
    }
}
