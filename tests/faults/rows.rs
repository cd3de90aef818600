//! The scripted faults, one row each: what goes wrong around one rotation, and how it must end.

use super::stage::{INSTANCE, Scenery, Stage, TARGET};
use super::table::{self, Broken, Ending};
use keywheel::ledger::Projection;
use keywheel::rotation::state::Label;
use keywheel::secret::Secret;
use keywheel::simulator::{Change, Fault, Garbage, InstanceChange, Reach, StaleNodes, Step};
use std::fs;
use std::time::Duration;

const MODIFY: &str = "ModifyInstancePassword";
/// A row's name, or a part of it, to run alone.
const ONLY: &str = "KEYWHEEL_ROW";
/// What somebody else sets at the console.
const OUTSIDER: &str = "Set-By-Somebody-Else-7";

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// One row.
struct Row {
    scenery: Scenery,
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
enum Do {
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
enum When {
    /// The cloud has let through as many calls of this action since the rotation was asked for.
    Called(&'static str, usize),
    /// The ledger's reason contains this.
    Why(&'static str),
    Label(Label),
    /// The hook was told as often of generation 2.
    Told(usize),
}

/// How it must end.
enum End {
    /// With this generation.
    Settled(u64),
    /// With a reason that contains this; then this is done, and it settles with this generation.
    Halted(&'static str, Vec<Do>, Recover, u64),
}

/// What a person does about a halt.
enum Recover {
    Resume,
    Reset,
    /// Gives the password that works.
    Set,
}

impl Row {
    fn of(script: Vec<Step>) -> Self {
        Self { scenery: Scenery::default(), before: vec![], script, meanwhile: vec![], end: End::Settled(2) }
    }

    fn halts(mut self, why: &'static str, mend: Vec<Do>, recover: Recover, generation: u64) -> Self {
        self.end = End::Halted(why, mend, recover, generation);
        self
    }

    fn ends(mut self, generation: u64) -> Self {
        self.end = End::Settled(generation);
        self
    }

    fn meanwhile(mut self, when: When, what: Do) -> Self {
        self.meanwhile.push((when, what));
        self
    }

    fn before(mut self, what: Do) -> Self {
        self.before.push(what);
        self
    }

    fn scenery(mut self, change: impl FnOnce(&mut Scenery)) -> Self {
        change(&mut self.scenery);
        self
    }

    fn blind(self) -> Self {
        self.scenery(|scenery| scenery.login = false)
    }
}

/// One change call meets this.
fn change(fault: Fault) -> Row {
    Row::of(vec![Step::once(MODIFY, fault)])
}

/// So many calls of an action do.
fn calls(action: &str, times: u32, fault: Fault) -> Row {
    Row::of(vec![Step { action: action.to_owned(), instance: None, times, fault }])
}

fn refuse(code: &str) -> Fault {
    Fault::RefuseBeforeEffect { code: code.to_owned() }
}

fn reach(reach: Reach) -> Do {
    Do::Change(InstanceChange { reach: Some(reach), ..InstanceChange::default() })
}

fn status(status: i64) -> Do {
    Do::Change(InstanceChange { status: Some(status), ..InstanceChange::default() })
}

fn no_auth(no_auth: bool) -> Do {
    Do::Change(InstanceChange { no_auth: Some(no_auth), ..InstanceChange::default() })
}

fn lock(span: Duration) -> Do {
    Do::Change(InstanceChange { lock: Some(span), ..InstanceChange::default() })
}

fn impatient(scenery: &mut Scenery) {
    scenery.timeout = "700ms";
}

#[rustfmt::skip]
fn rows() -> Vec<(String, Row)> {
    use Recover::{Reset, Resume, Set};
    let lost = |after_bytes| Fault::ApplyThenDropConnection { after_bytes };
    let late = |delay| Fault::ApplyLate { delay: millis(delay) };
    let garbage = |shape, applied| Fault::Garbage { shape, applied };
    let shapes = [Garbage::NotJson, Garbage::NoEnvelope, Garbage::NoFields, Garbage::WrongTypes, Garbage::CutOff, Garbage::Empty];
    let mut rows: Vec<(String, Row)> = Vec::new();
    let mut row = |name: &str, row: Row| rows.push((name.to_owned(), row));

    row("nothing goes wrong", Row::of(vec![]));
    row("nothing goes wrong; no login route", Row::of(vec![]).blind());

    row("refused: SystemError (may follow an effect)", change(refuse("FailedOperation.SystemError")));
    row("refused: SystemError, no login route", change(refuse("FailedOperation.SystemError")).blind());
    row("refused: a code nobody knows", change(refuse("InternalError.BrandNew")));
    row("refused: a code nobody knows, three times", calls(MODIFY, 3, refuse("Novelty")));
    row("refused: InstanceLockedError", change(refuse("ResourceUnavailable.InstanceLockedError")));
    row("refused: InstanceStatusAbnormal", change(refuse("ResourceUnavailable.InstanceStatusAbnormal")));
    row("refused: CAM could not be asked", change(refuse("InternalError.CamAuthOssResponseReturnCodeError")));
    row("refused: PasswordRuleError", change(refuse("InvalidParameterValue.PasswordRuleError")).ends(3));
    row("refused: PasswordRuleError each time", calls(MODIFY, 3, refuse("InvalidParameterValue.PasswordRuleError"))
        .halts("PasswordRuleError", vec![], Resume, 4));
    row("refused: NoCAMAuthed", change(refuse("UnauthorizedOperation.NoCAMAuthed")).halts("ModifyInstancePassword", vec![], Resume, 2));
    row("refused: InstanceNotExists", change(refuse("ResourceNotFound.InstanceNotExists")).halts("instance", vec![], Resume, 2));
    row("refused: the action is unknown by its first name", change(refuse("InvalidAction")));
    row("refused: signature expired once", change(refuse("AuthFailure.SignatureExpire")));
    row("refused: signature wrong", change(refuse("AuthFailure.SignatureFailure")).halts("", vec![], Resume, 2));
    row("throttled once", change(Fault::Throttle));
    row("throttled five times", calls(MODIFY, 5, Fault::Throttle));
    row("throttled everywhere", calls("*", 6, Fault::Throttle));
    row("old password called wrong, and it is right", change(Fault::WrongOldPassword));
    row("old password called wrong, no login route", change(Fault::WrongOldPassword).blind()
        .halts("somebody else", vec![], Resume, 2));

    row("applied, connection dropped without a byte", change(lost(0)));
    row("applied, connection dropped in mid-answer", change(lost(25)));
    row("applied, dropped; no login route", change(lost(0)).blind());
    row("applied, dropped; no login route, change times hidden", change(lost(0)).blind()
        .scenery(|scenery| scenery.instance = |instance| instance.hide_change_time = true));
    row("dropped before effect", change(Fault::DropBeforeEffect));
    row("dropped before effect, no login route", change(Fault::DropBeforeEffect).blind());
    row("dropped before effect, no route, times hidden", change(Fault::DropBeforeEffect).blind()
        .scenery(|scenery| scenery.instance = |instance| instance.hide_change_time = true));
    row("dropped before effect, four times", calls(MODIFY, 4, Fault::DropBeforeEffect));
    row("applied, then HTTP 502", change(Fault::ApplyThenStatus { status: 502 }));
    row("applied, then HTTP 503; no login route", change(Fault::ApplyThenStatus { status: 503 }).blind());
    row("applied, then HTTP 302", change(Fault::ApplyThenStatus { status: 302 }));
    row("applied late, within late-effect", change(late(300)));
    row("applied late, within late-effect, no login route", change(late(300)).blind());
    row("applied late, long after late-effect", change(late(1_600)));
    row("applied late, long after late-effect, no login route", change(late(1_600)).blind());
    row("applied late twice, out of order", Row::of(vec![Step::once(MODIFY, late(2_500)), Step::once(MODIFY, late(400))]));
    row("lost, then refused as locked, then lost again", Row::of(vec![
        Step::once(MODIFY, Fault::DropBeforeEffect), Step::once(MODIFY, refuse("ResourceUnavailable.InstanceLockedError")), Step::once(MODIFY, lost(0))]));
    row("lost, and the next answer lost too, no login route", Row::of(vec![Step::once(MODIFY, lost(0)), Step::once(MODIFY, lost(0))]).blind());

    for shape in shapes {
        for applied in [true, false] {
            let word = if applied { "applied" } else { "not applied" };
            row(&format!("garbage {shape:?}, {word}"), change(garbage(shape, applied)));
        }
        row(&format!("garbage {shape:?} to every question, twice each"), Row::of(vec![
            Step { action: "Describe*".to_owned(), instance: None, times: 2, fault: garbage(shape, false) }]).blind());
    }
    for applied in [true, false] {
        let word = if applied { "applied" } else { "not applied" };
        row(&format!("100 MB of answer, {word}"), change(Fault::HugeBody { applied }));
        row(&format!("an answer without end, {word}"), change(Fault::EndlessBody { applied }));
        row(&format!("never an answer, {word}"), change(Fault::NeverAnswer { applied }).scenery(impatient));
    }
    row("never an answer, applied, no login route", change(Fault::NeverAnswer { applied: true }).scenery(impatient).blind());
    row("the answer byte by byte", change(Fault::SlowBody { pause: millis(5) }));
    row("the answer byte by byte, longer than the timeout", change(Fault::SlowBody { pause: millis(50) }).scenery(impatient));
    row("no question is answered, twice", calls("Describe*", 2, Fault::NeverAnswer { applied: false }).scenery(impatient).blind());

    row("locked for a while when called", change(Fault::LockFor { span: millis(900) }));
    row("locked for a while when called, no login route", change(Fault::LockFor { span: millis(900) }).blind());
    row("locked before it begins", Row::of(vec![]).before(lock(millis(900))));
    row("locked for longer than lock-patience", Row::of(vec![]).before(lock(Duration::from_secs(120)))
        .scenery(|scenery| scenery.lock_patience = "800ms").ends(1));
    row("task stuck, then goes on", change(Fault::TaskStuck { span: Some(millis(1_200)) }));
    row("task stuck, then goes on; no login route", change(Fault::TaskStuck { span: Some(millis(1_200)) }).blind());
    row("task stuck beyond task-patience, then goes on", change(Fault::TaskStuck { span: Some(millis(2_500)) })
        .scenery(|scenery| scenery.task_patience = "600ms"));
    row("task stuck until somebody releases it", change(Fault::TaskStuck { span: None })
        .scenery(|scenery| { scenery.task_patience = "600ms"; scenery.lock_patience = "900ms"; })
        .halts("recover", vec![Do::ReleaseStuck], Resume, 2));
    row("task stuck until somebody releases it, no login route", change(Fault::TaskStuck { span: None }).blind()
        .scenery(|scenery| { scenery.task_patience = "600ms"; scenery.lock_patience = "900ms"; })
        .halts("recover", vec![Do::ReleaseStuck], Resume, 2));
    row("task fails after applying", change(Fault::TaskFailsAfterApplying));
    row("task fails after applying, no login route", change(Fault::TaskFailsAfterApplying).blind());
    row("task fails before applying", change(Fault::TaskFailsBeforeApplying));
    row("task fails before applying, no login route", change(Fault::TaskFailsBeforeApplying).blind());
    row("task fails before applying, three times", calls(MODIFY, 3, Fault::TaskFailsBeforeApplying));

    row("stale reads of the instance", calls("DescribeInstances", 3, Fault::StaleRead { age: Duration::from_secs(60) }).blind());
    row("stale reads of the account", Row::of(vec![Step::once(MODIFY, lost(0)),
        Step { action: "DescribeInstanceAccount".to_owned(), instance: None, times: 3, fault: Fault::StaleRead { age: Duration::from_secs(1) } }]).blind());
    row("stale reads of the task", calls("DescribeTask*", 4, Fault::StaleRead { age: Duration::from_secs(1) }).blind());
    row("stale reads of everything, answer lost", Row::of(vec![Step::once(MODIFY, lost(0)),
        Step { action: "Describe*".to_owned(), instance: None, times: 6, fault: Fault::StaleRead { age: Duration::from_secs(1) } }]));
    row("no question may be asked (access management)", calls("Describe*", 1, refuse("UnauthorizedOperation.NoCAMAuthed"))
        .halts("", vec![], Resume, 2));

    for (word, way) in [("refused", Reach::Refuse), ("unanswered", Reach::Hang)] {
        row(&format!("logins {word} before it begins"), Row::of(vec![]).before(reach(way))
            .meanwhile(When::Why("nothing has changed yet"), reach(Reach::Open)));
        row(&format!("logins {word} while the task runs"), change(Fault::TaskStuck { span: Some(millis(800)) })
            .meanwhile(When::Called(MODIFY, 1), reach(way)).meanwhile(When::Why("cannot be reached"), reach(Reach::Open)));
        row(&format!("logins {word} after a lost answer"), change(lost(0))
            .meanwhile(When::Called(MODIFY, 1), reach(way)).meanwhile(When::Why("cannot be reached"), reach(Reach::Open)));
    }
    let stale = |stale, of| Do::Change(InstanceChange { stale_nodes: Some(StaleNodes { stale, of, span: millis(900) }), ..InstanceChange::default() });
    row("one of three proxy nodes lags", Row::of(vec![]).scenery(|scenery| scenery.connections = 3).before(stale(1, 3)));
    row("two of three nodes lag, answer lost", change(lost(0)).scenery(|scenery| scenery.connections = 3).before(stale(2, 3)));
    row("every node lags", Row::of(vec![]).before(stale(1, 1)));
    row("every node lags, answer lost", change(lost(0)).before(stale(1, 1)));

    row("somebody else changed the password before", Row::of(vec![]).before(Do::Outsider).halts("somebody else", vec![], Set, 2));
    row("somebody else changed it, recovery = reset", Row::of(vec![]).before(Do::Outsider).scenery(|scenery| scenery.recovery = "reset"));
    row("somebody else changed it, allowed by recover --reset", Row::of(vec![]).before(Do::Outsider).halts("somebody else", vec![], Reset, 2));
    row("somebody else changes it after a lost call", change(Fault::DropBeforeEffect)
        .meanwhile(When::Called(MODIFY, 1), Do::Outsider).halts("somebody else", vec![], Set, 3));
    row("somebody else changes it after a lost call, recovery = reset", change(Fault::DropBeforeEffect)
        .meanwhile(When::Called(MODIFY, 1), Do::Outsider).scenery(|scenery| scenery.recovery = "reset"));
    row("somebody else changes it while the task runs, reset lost too", Row::of(vec![
        Step::once(MODIFY, Fault::DropBeforeEffect), Step::once("ResetPassword", lost(0))])
        .meanwhile(When::Called(MODIFY, 1), Do::Outsider).scenery(|scenery| scenery.recovery = "reset"));

    row("the sink is down before it begins", Row::of(vec![]).before(Do::SinkDown).meanwhile(When::Why("nothing has changed yet"), Do::SinkUp));
    row("the sink goes down in mid-rotation", Row::of(vec![]).meanwhile(When::Called(MODIFY, 1), Do::SinkDown)
        .meanwhile(When::Label(Label::Behind), Do::SinkUp));
    row("the hook fails three times", Row::of(vec![]).before(Do::HookFails).meanwhile(When::Told(3), Do::HookWorks));
    row("the hook never works", Row::of(vec![]).before(Do::HookFails));

    row("the instance is password-free", Row::of(vec![]).before(no_auth(true)).halts("password", vec![no_auth(false)], Resume, 2));
    row("the instance becomes password-free after a lost call", change(Fault::DropBeforeEffect)
        .meanwhile(When::Called(MODIFY, 1), no_auth(true)).halts("without a password", vec![no_auth(false)], Resume, 2));
    row("the instance is stopped for a while", Row::of(vec![]).before(status(1)).meanwhile(When::Why("nothing has changed yet"), status(2)));
    row("the instance is isolated", Row::of(vec![]).before(status(-2)).halts("instance", vec![status(2)], Resume, 2));
    row("change times hidden", Row::of(vec![]).scenery(|scenery| scenery.instance = |instance| instance.hide_change_time = true));
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scripted_fault_ends_settled_or_with_a_next_step() {
    let only = std::env::var(ONLY).unwrap_or_default();
    let rows = rows().into_iter().filter(|(name, _)| name.contains(&only)).collect();
    let lines = table::run(rows, async |row| (None, play(row).await)).await;
    table::print("Scripted faults: one rotation each, by the built program", &lines);
}

async fn play(row: Row) -> Result<Ending, Broken> {
    let mut stage = Stage::set(&row.scenery).await;
    let how = course(&mut stage, row).await;
    stage.end(how).await
}

async fn course(stage: &mut Stage, row: Row) -> Result<String, String> {
    stage.start_daemon();
    stage.adopted().await?;
    for what in row.before {
        carry_out(stage, what).await;
    }
    let began = stage.calls(MODIFY);
    stage.cloud().script(row.script);
    stage.rotate().await?;
    for (when, what) in row.meanwhile {
        wait(stage, when, began).await?;
        carry_out(stage, what).await;
    }
    match row.end {
        End::Settled(generation) => {
            at_rest(stage, generation).await?;
            Ok(format!("settled, generation {generation}"))
        }
        End::Halted(why, mend, recover, generation) => {
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
            let by = match recover {
                Recover::Resume => "--resume",
                Recover::Reset => "--reset",
                Recover::Set => "--set",
            };
            let (exit, said) = stage.ask(&["recover", TARGET, by], &format!("{}\n", stage.observer.live())).await;
            if exit != 0 {
                return Err(format!("recover {by} gave {exit}: {said}"));
            }
            at_rest(stage, generation).await?;
            Ok(format!("halted: {}; {by}: settled, generation {generation}", brief(&reason)))
        }
    }
}

/// Settled with this generation, by every witness.
pub async fn at_rest(stage: &Stage, generation: u64) -> Result<(), String> {
    let settled = |it: &Projection| it.label == Label::Settled && it.generation.0 == generation;
    let what = format!("settled with generation {generation}");
    let rest = stage.until_recorded(&what, |it| settled(it) || it.label == Label::Halted).await?;
    if !settled(&rest) {
        return Err(format!("it should be {what}: {rest:?}"));
    }
    // A password that was taken in counts as settled a moment before it is delivered; `status` counts sinks, too.
    stage
        .until(&format!("`status` says settled with generation {generation}"), async || {
            let (exit, said) = stage.ask(&["status", "--json"], "").await;
            let target = target(&said);
            (exit == 0 && target["state"] == "settled" && target["generation"] == generation).then_some(())
        })
        .await?;
    let (live, held) = (stage.observer.live(), stage.observer.in_sink());
    if held.as_ref() != Some(&live) {
        return Err(format!("the sink should hold what is live: {held:?}, live is {live}"));
    }
    if stage.observer.generations().await.get(generation as usize - 1) != Some(&live) {
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
        When::Called(action, times) => {
            let what = format!("{action} is called {times} times");
            stage.until(&what, async || done(stage.calls(action) >= began + times)).await
        }
        When::Why(part) => stage.until_recorded(part, |it| it.why.contains(part)).await.map(drop),
        When::Label(label) => stage.until_recorded(label.as_str(), |it| it.label == label).await.map(drop),
        When::Told(times) => {
            let told = || fs::read_to_string(stage.path("told")).unwrap_or_default();
            let what = format!("the hook is told {times} times");
            stage.until(&what, async || done(told().lines().filter(|line| *line == "2").count() >= times)).await
        }
    }
}

async fn carry_out(stage: &Stage, what: Do) {
    match what {
        Do::Change(change) => stage.change(change).await,
        Do::ReleaseStuck => {
            stage.cloud().change(Change { release_stuck: true, ..Change::default() }).await.unwrap();
        }
        Do::Outsider => {
            stage.observer.expect_outsider(OUTSIDER);
            let password = Some(Secret::new(OUTSIDER.to_owned()));
            stage
                .cloud()
                .change(Change::of(INSTANCE, InstanceChange { password, ..InstanceChange::default() }))
                .await
                .unwrap();
        }
        Do::SinkDown => fs::rename(stage.path("sinks"), stage.path("sinks-away")).unwrap(),
        Do::SinkUp => fs::rename(stage.path("sinks-away"), stage.path("sinks")).unwrap(),
        Do::HookFails => fs::remove_file(stage.path("hook-works")).unwrap(),
        Do::HookWorks => fs::write(stage.path("hook-works"), "").unwrap(),
    }
}
