//! One row of the table: the world it begins in, what goes wrong, what happens in its course, and how it must end.

use super::case::{Case, OUTSIDER, Which};
use super::observer::Held;
use super::stage::{Scenery, Stage};
use super::table::{Broken, Ending};
use crate::record::TARGET;
use keywheel::rotation::state::Label;
use keywheel::simulator::{Change, InstanceChange, Step};
use std::fs;

/// One row.
pub struct Row {
    pub scenery: Scenery,
    /// Done to the world after adoption, before the rotation.
    before: Vec<Do>,
    /// The calls that go wrong.
    script: Vec<Step>,
    /// What happens in its course, in this order.
    meanwhile: Vec<(When, Do)>,
    end: End,
}

/// What is done to the world.
#[derive(Clone)]
pub enum Do {
    Change(InstanceChange),
    ReleaseStuck,
    /// Somebody else changes the password at the console.
    Outsider,
    /// The sink's folder is not there.
    SinkDown,
    SinkUp,
    HookFails,
    HookWorks,
}

/// When it is done.
pub enum When {
    /// The cloud has let through as many calls that change a password since the rotation was asked for.
    Called(usize),
    /// The ledger's reason contains this.
    Why(&'static str),
    /// The daemon's log does.
    Logged(&'static str),
    Label(Label),
    /// The hook was told as often of the first generation that was drawn.
    Told(usize),
}

/// How it must end. Numbers are generations beyond those that were taken in at first.
pub enum End {
    /// With so many.
    Settled(u64),
    /// With a reason that contains this; then this is done, and it settles with so many.
    Halted(&'static str, Vec<Do>, Recover, u64),
}

/// What a person does about a halt.
pub enum Recover {
    Resume,
    Reset,
    /// Gives the password that works.
    Set,
}

impl Row {
    pub fn of(script: Vec<Step>) -> Self {
        Self { scenery: Scenery::default(), before: vec![], script, meanwhile: vec![], end: End::Settled(1) }
    }

    pub fn halts(mut self, why: &'static str, mend: Vec<Do>, recover: Recover, further: u64) -> Self {
        self.end = End::Halted(why, mend, recover, further);
        self
    }

    pub fn ends(mut self, further: u64) -> Self {
        self.end = End::Settled(further);
        self
    }

    pub fn meanwhile(mut self, when: When, what: Do) -> Self {
        self.meanwhile.push((when, what));
        self
    }

    pub fn before(mut self, what: Do) -> Self {
        self.before.push(what);
        self
    }

    pub fn scenery(mut self, change: impl FnOnce(&mut Scenery)) -> Self {
        change(&mut self.scenery);
        self
    }

    pub fn blind(self) -> Self {
        self.scenery(|scenery| scenery.login = false)
    }
}

/// Plays it for one case.
pub async fn play(case: &'static Case, row: Row) -> Result<Ending, Broken> {
    let mut stage = Stage::set(case, &row.scenery).await;
    let how = course(&mut stage, row).await;
    stage.end(how).await
}

async fn course(stage: &mut Stage, row: Row) -> Result<String, String> {
    stage.start_daemon();
    stage.adopted().await?;
    for what in row.before {
        carry_out(stage, what).await;
    }
    let began = stage.changes();
    stage.cloud().script(row.script);
    stage.rotate().await?;
    for (when, what) in row.meanwhile {
        wait(stage, when, began).await?;
        carry_out(stage, what).await;
    }
    match row.end {
        End::Settled(further) => {
            let generation = stage.case.taken_in() + further;
            at_rest(stage, further).await?;
            Ok(format!("settled, generation {generation}"))
        }
        End::Halted(why, mend, recover, further) => {
            let generation = stage.case.taken_in() + further;
            let halted = stage.until_recorded("halted", |it| it.label == Label::Halted).await?;
            let (exit, said) = stage.ask(&["status", "--json"], "").await;
            let target = target(&said);
            let reason = target["why"].as_str().unwrap_or_default().to_owned();
            if exit != 2 || target["state"] != "halted" || !reason.contains("Next: ") || !reason.contains(why) {
                return Err(format!("a halt should say {why:?} and what to do next: exit {exit}, {said}; {halted:?}"));
            }
            for what in mend {
                carry_out(stage, what).await;
            }
            let by = match &recover {
                Recover::Resume => "--resume",
                Recover::Reset => "--reset",
                Recover::Set => "--set",
            };
            let (exit, said) =
                stage.ask(&["recover", TARGET, by], &format!("{}\n", stage.observer.live_on(stage.case.account))).await;
            if exit != 0 {
                return Err(format!("recover {by} gave {exit}: {said}"));
            }
            if matches!(recover, Recover::Set) && !stage.record.generations().await.iter().any(|it| it == OUTSIDER) {
                return Err("what was given with `recover --set` is not in the ledger".to_owned());
            }
            at_rest(stage, further).await?;
            Ok(format!("halted: {}; {by}: settled, generation {generation}", brief(&reason)))
        }
    }
}

/// Settled with so many generations beyond those that were taken in, by every witness.
pub async fn at_rest(stage: &Stage, further: u64) -> Result<(), String> {
    let case = stage.case;
    let changed = if further == 0 { case.account_before() } else { case.account };
    at_rest_on(stage, further, changed).await
}

/// The same after so many rotations that each drew one password: a pair takes turns.
pub async fn at_rest_after(stage: &Stage, rotations: u64) -> Result<(), String> {
    let odd = !rotations.is_multiple_of(2);
    at_rest_on(stage, rotations, if odd { stage.case.account } else { stage.case.account_before() }).await
}

/// The same where this is the account that the sink names.
async fn at_rest_on(stage: &Stage, further: u64, changed: Which) -> Result<(), String> {
    let case = stage.case;
    // A pair that drew none still has its first one as the active one.
    let generation = if further == 0 { 1 } else { case.taken_in() + further };
    stage.until_settled(generation).await?;
    // A password that was taken in counts as settled a moment before it is delivered; `status` counts sinks, too.
    stage
        .until(&format!("`status` says settled with generation {generation}"), async || {
            let (exit, said) = stage.ask(&["status", "--json"], "").await;
            let target = target(&said);
            (exit == 0 && target["state"] == "settled" && target["generation"] == generation).then_some(())
        })
        .await?;
    let (live, held) = (stage.observer.live_on(changed), stage.observer.in_sink());
    let wanted = Held { account: changed.name().map(str::to_owned), password: live.clone() };
    if held.as_ref() != Some(&wanted) {
        return Err(format!("the sink should hold what is live: {held:?}, and not {wanted:?}"));
    }
    if stage.record.generations().await.get(generation as usize - 1) != Some(&live) {
        return Err(format!("what is live should be generation {generation} of the ledger"));
    }
    Ok(())
}

fn target(report: &str) -> serde_json::Value {
    let report: serde_json::Value = serde_json::from_str(report).unwrap_or_default();
    report["targets"][0].clone()
}

fn brief(reason: &str) -> String {
    let text: String = reason.chars().take(90).collect();
    if text.len() < reason.len() { text + "…" } else { text }
}

async fn wait(stage: &Stage, when: When, began: usize) -> Result<(), String> {
    let done = |done: bool| done.then_some(());
    match when {
        When::Called(times) => {
            let what = format!("a change is called for {times} times");
            stage.until(&what, async || done(stage.changes() >= began + times)).await
        }
        When::Why(part) => stage.until_recorded(part, |it| it.why.contains(part)).await.map(drop),
        When::Logged(part) => {
            let log = || stage.read("daemon.log");
            stage.until(&format!("the log says {part}"), async || done(log().contains(part))).await
        }
        When::Label(label) => stage.until_recorded(label.as_str(), |it| it.label == label).await.map(drop),
        When::Told(times) => {
            let told = || stage.read("told");
            let what = format!("the hook is told {times} times");
            let first = (stage.case.taken_in() + 1).to_string();
            stage.until(&what, async || done(told().lines().filter(|line| *line == first).count() >= times)).await
        }
    }
}

async fn carry_out(stage: &Stage, what: Do) {
    match what {
        Do::Change(change) => stage.change(change).await,
        Do::ReleaseStuck => {
            stage.cloud().change(Change { release_stuck: true, ..Change::default() }).await.unwrap();
        }
        Do::Outsider => stage.outsider(OUTSIDER).await,
        Do::SinkDown => fs::rename(stage.path("sinks"), stage.path("sinks-away")).unwrap(),
        Do::SinkUp => fs::rename(stage.path("sinks-away"), stage.path("sinks")).unwrap(),
        Do::HookFails => fs::remove_file(stage.path("hook-works")).unwrap(),
        Do::HookWorks => fs::write(stage.path("hook-works"), "").unwrap(),
    }
}
