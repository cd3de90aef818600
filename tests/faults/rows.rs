//! The scripted faults, one row each: what goes wrong around one rotation, and how it must end. Each case has the rows that it can meet.

use super::case::{CASES, Case, Vendor};
use super::row::{Do, Recover, Row, When, play};
use super::stage::Scenery;
use super::table;
use crate::each_case::each_case;
use keywheel::rotation::state::Label;
use keywheel::simulator::{Fault, Garbage, InstanceChange, Reach, StaleNodes, Step};
use std::time::Duration;

/// A row's name, or a part of it, to run alone.
const ONLY: &str = "KEYWHEEL_ROW";

/// A login after the call left a word in the log.
const TRIED: &str = "event=\"login-tried\"";

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// So many calls of an action meet this.
fn calls(action: &str, times: u32, fault: Fault) -> Row {
    Row::of(vec![Step { action: action.to_owned(), instance: None, times, fault }])
}

fn refuse(code: &str) -> Fault {
    Fault::RefuseBeforeEffect { code: code.to_owned() }
}

fn lost(after_bytes: usize) -> Fault {
    Fault::ApplyThenDropConnection { after_bytes }
}

fn late(delay: u64) -> Fault {
    Fault::ApplyLate { delay: millis(delay) }
}

fn stale(age: Duration) -> Fault {
    Fault::StaleRead { age }
}

fn reach(reach: Reach) -> Do {
    Do::Change(InstanceChange { reach: Some(reach), ..InstanceChange::default() })
}

fn no_auth(no_auth: bool) -> Do {
    Do::Change(InstanceChange { no_auth: Some(no_auth), ..InstanceChange::default() })
}

fn lock(span: Duration) -> Do {
    Do::Change(InstanceChange { lock: Some(span), ..InstanceChange::default() })
}

fn lagging(stale: u64, of: u64) -> Do {
    let nodes = StaleNodes { stale, of, span: millis(900) };
    Do::Change(InstanceChange { stale_nodes: Some(nodes), ..InstanceChange::default() })
}

fn impatient(scenery: &mut Scenery) {
    scenery.timeout = "700ms";
}

fn hides_times(scenery: &mut Scenery) {
    scenery.instance = |instance| instance.hide_change_time = true;
}

/// Rows under construction.
struct Table {
    case: &'static Case,
    rows: Vec<(String, Row)>,
}

impl Table {
    fn row(&mut self, name: impl Into<String>, row: Row) {
        self.rows.push((name.into(), row));
    }

    /// A row about a target without a login route. Alibaba has no tasks to ask instead, so that such a target is refused there.
    fn blind(&mut self, name: impl Into<String>, row: Row) {
        if self.is_tencent() {
            self.row(name, row.blind());
        }
    }

    /// A row in which nothing but questions can tell, where they can.
    fn asking(&mut self, name: impl Into<String>, row: Row) {
        self.row(name, if self.is_tencent() { row.blind() } else { row });
    }

    /// One change call meets this.
    fn change(&self, fault: Fault) -> Row {
        self.changes(1, fault)
    }

    fn changes(&self, times: u32, fault: Fault) -> Row {
        calls(self.case.change, times, fault)
    }

    /// Change calls meet these, one after the other.
    fn in_turn(&self, faults: Vec<Fault>) -> Row {
        Row::of(faults.into_iter().map(|fault| Step::once(self.case.change, fault)).collect())
    }

    /// One of two, by whose cloud it is.
    fn pick<T>(&self, tencent: T, alibaba: T) -> T {
        match self.case.vendor {
            Vendor::Tencent => tencent,
            Vendor::Alibaba => alibaba,
        }
    }

    fn is_tencent(&self) -> bool {
        self.case.vendor == Vendor::Tencent
    }

    /// What the instance says of itself.
    fn status(&self, tencent: i64, alibaba: &str) -> Do {
        let mut change = InstanceChange::default();
        match self.case.vendor {
            Vendor::Tencent => change.status = Some(tencent),
            Vendor::Alibaba => change.instance_status = Some(alibaba.to_owned()),
        }
        Do::Change(change)
    }
}

fn rows(case: &'static Case) -> Vec<(String, Row)> {
    let mut table = Table { case, rows: Vec::new() };
    refusals(&mut table);
    lost_and_late(&mut table);
    answers_that_mean_nothing(&mut table);
    locks_and_tasks(&mut table);
    reads(&mut table);
    logins(&mut table);
    outsiders(&mut table);
    outlets(&mut table);
    conditions(&mut table);
    table.rows
}

#[rustfmt::skip]
fn refusals(table: &mut Table) {
    use Recover::Resume;
    let tencent = table.is_tencent();
    table.row("nothing goes wrong", Row::of(vec![]));
    table.blind("nothing goes wrong; no login route", Row::of(vec![]));
    let unclear = table.pick("FailedOperation.SystemError", "InternalError");
    table.row(format!("refused: {unclear} (may follow an effect)"), table.change(refuse(unclear)));
    table.blind(format!("refused: {unclear}, no login route"), table.change(refuse(unclear)));
    let (new_code, thrice) = (table.change(refuse("InternalError.BrandNew")), table.changes(3, refuse("Novelty")));
    // Alibaba publishes no code for a wrong old password: an unlisted one is that or a broken rule, and the old password's login tells which.
    let ambiguous = table.case.compares && !tencent;
    table.row("refused: a code nobody knows", if ambiguous { new_code.ends(2) } else { new_code });
    table.row("refused: a code nobody knows, three times", if ambiguous { thrice.halts("policy", vec![], Resume, 3) } else { thrice });
    let passing: &[&str] = if tencent {
        &["ResourceUnavailable.InstanceLockedError", "ResourceUnavailable.InstanceStatusAbnormal", "InternalError.CamAuthOssResponseReturnCodeError",
            "FailedOperation.CommitFlowError", "AuthFailure.SignatureExpire"]
    } else {
        &["LockTimeout", "TaskExists", "IncorrectDBInstanceState", "IncorrectAccountStatus", "ServiceUnavailable", "ProxyError", "SignatureNonceUsed",
            "InvalidTimeStamp.Expired"]
    };
    for code in passing {
        table.row(format!("refused: {code}"), table.change(refuse(code)));
    }
    let rule = table.pick("InvalidParameterValue.PasswordRuleError", "InvalidAccountPassword.Format");
    table.row(format!("refused: {rule}"), table.change(refuse(rule)).ends(2));
    table.row(format!("refused: {rule}, each time"), table.changes(3, refuse(rule)).halts(rule, vec![], Resume, 3));
    let denied = table.pick("UnauthorizedOperation.NoCAMAuthed", "Forbidden.RAM");
    table.row(format!("refused: {denied}"), table.change(refuse(denied)).halts(table.case.change, vec![], Resume, 1));
    let missing = table.pick("ResourceNotFound.InstanceNotExists", "InvalidInstanceId.NotFound");
    table.row(format!("refused: {missing}"), table.change(refuse(missing)).halts("instance", vec![], Resume, 1));
    let unsigned = table.pick("AuthFailure.SignatureFailure", "SignatureDoesNotMatch");
    table.row(format!("refused: {unsigned}"), table.change(refuse(unsigned)).halts("", vec![], Resume, 1));
    if table.case.change == "ModifyInstancePassword" {
        table.row("refused: the action is unknown by its first name", table.change(refuse("InvalidAction")));
    }
    table.row("throttled once", table.change(Fault::Throttle));
    table.row("throttled five times", table.changes(5, Fault::Throttle));
    table.row("throttled everywhere", calls("*", 6, Fault::Throttle));
    if table.case.compares {
        table.row("old password called wrong, and it is right", table.change(Fault::WrongOldPassword).ends(if ambiguous { 2 } else { 1 }));
        table.blind("old password called wrong, no login route", table.change(Fault::WrongOldPassword).halts("somebody else", vec![], Resume, 1));
    }
    table.row("allowed to reset, and nothing is lost", Row::of(vec![]).scenery(|scenery| scenery.recovery = "reset"));
}

#[rustfmt::skip]
fn lost_and_late(table: &mut Table) {
    table.row("applied, connection dropped without a byte", table.change(lost(0)));
    table.row("applied, connection dropped in mid-answer", table.change(lost(25)));
    table.blind("applied, dropped; no login route", table.change(lost(0)));
    table.row("dropped before effect", table.change(Fault::DropBeforeEffect));
    table.blind("dropped before effect, no login route", table.change(Fault::DropBeforeEffect));
    table.row("dropped before effect, four times", table.changes(4, Fault::DropBeforeEffect));
    if table.is_tencent() {
        table.blind("applied, dropped; no login route, change times hidden", table.change(lost(0)).scenery(hides_times));
        table.blind("dropped before effect, no route, times hidden", table.change(Fault::DropBeforeEffect).scenery(hides_times));
    }
    table.row("applied, then HTTP 502", table.change(Fault::ApplyThenStatus { status: 502 }));
    table.blind("applied, then HTTP 503; no login route", table.change(Fault::ApplyThenStatus { status: 503 }));
    table.row("applied, then HTTP 302", table.change(Fault::ApplyThenStatus { status: 302 }));
    table.row("applied late, within late-effect", table.change(late(300)));
    table.blind("applied late, within late-effect, no login route", table.change(late(300)));
    table.row("applied late, long after late-effect", table.change(late(1_600)));
    table.blind("applied late, long after late-effect, no login route", table.change(late(1_600)));
    table.row("applied late twice, out of order", table.in_turn(vec![late(2_500), late(400)]));
    let locked = if table.is_tencent() { "ResourceUnavailable.InstanceLockedError" } else { "LockTimeout" };
    table.row("lost, then refused as locked, then lost again", table.in_turn(vec![Fault::DropBeforeEffect, refuse(locked), lost(0)]));
    table.blind("lost, and the next answer lost too, no login route", table.in_turn(vec![lost(0), lost(0)]));
}

fn answers_that_mean_nothing(table: &mut Table) {
    let garbage = |shape, applied| Fault::Garbage { shape, applied };
    let shapes = [
        Garbage::NotJson,
        Garbage::NoEnvelope,
        Garbage::NoFields,
        Garbage::WrongTypes,
        Garbage::CutOff,
        Garbage::Empty,
    ];
    for shape in shapes {
        for applied in [true, false] {
            let word = if applied { "applied" } else { "not applied" };
            table.row(format!("garbage {shape:?}, {word}"), table.change(garbage(shape, applied)));
        }
        let row = calls("Describe*", 2, garbage(shape, false));
        table.asking(format!("garbage {shape:?} to every question, twice each"), row);
    }
    for applied in [true, false] {
        let word = if applied { "applied" } else { "not applied" };
        table.row(format!("100 MB of answer, {word}"), table.change(Fault::HugeBody { applied }));
        table.row(format!("an answer without end, {word}"), table.change(Fault::EndlessBody { applied }));
        let never = table.change(Fault::NeverAnswer { applied }).scenery(impatient);
        table.row(format!("never an answer, {word}"), never);
    }
    let never = table.change(Fault::NeverAnswer { applied: true }).scenery(impatient);
    table.blind("never an answer, applied, no login route", never);
    table.row("the answer byte by byte", table.change(Fault::SlowBody { pause: millis(5) }));
    let slow = table.change(Fault::SlowBody { pause: millis(50) }).scenery(impatient);
    table.row("the answer byte by byte, longer than the timeout", slow);
    let silence = calls("Describe*", 2, Fault::NeverAnswer { applied: false }).scenery(impatient);
    table.asking("no question is answered, twice", silence);
}

#[rustfmt::skip]
fn locks_and_tasks(table: &mut Table) {
    use Recover::Resume;
    let hasty = |scenery: &mut Scenery| { scenery.task_patience = "600ms"; scenery.lock_patience = "900ms"; };
    table.row("locked for a while when called", table.change(Fault::LockFor { span: millis(900) }));
    table.blind("locked for a while when called, no login route", table.change(Fault::LockFor { span: millis(900) }));
    table.row("locked before it begins", Row::of(vec![]).before(lock(millis(900))));
    table.row("locked for longer than lock-patience", Row::of(vec![]).before(lock(Duration::from_secs(120)))
        .scenery(|scenery| scenery.lock_patience = "800ms").ends(0));
    let stuck = |millis: Option<u64>| Fault::TaskStuck { span: millis.map(Duration::from_millis) };
    table.row("task stuck, then goes on", table.change(stuck(Some(1_200))));
    table.blind("task stuck, then goes on; no login route", table.change(stuck(Some(1_200))));
    table.row("task stuck beyond task-patience, then goes on", table.change(stuck(Some(2_500))).scenery(|scenery| scenery.task_patience = "600ms"));
    table.row("task stuck until somebody releases it", table.change(stuck(None)).scenery(hasty).halts("recover", vec![Do::ReleaseStuck], Resume, 1));
    table.blind("task stuck until somebody releases it, no login route", table.change(stuck(None)).scenery(hasty)
        .halts("recover", vec![Do::ReleaseStuck], Resume, 1));
    table.row("task fails after applying", table.change(Fault::TaskFailsAfterApplying));
    table.blind("task fails after applying, no login route", table.change(Fault::TaskFailsAfterApplying));
    table.row("task fails before applying", table.change(Fault::TaskFailsBeforeApplying));
    table.blind("task fails before applying, no login route", table.change(Fault::TaskFailsBeforeApplying));
    table.row("task fails before applying, three times", table.changes(3, Fault::TaskFailsBeforeApplying));
}

fn reads(table: &mut Table) {
    let second = Duration::from_secs(1);
    let (instances, account) = match table.case.vendor {
        Vendor::Tencent => ("DescribeInstances", "DescribeInstanceAccount"),
        Vendor::Alibaba => ("DescribeInstanceAttribute", "DescribeAccounts"),
    };
    let after_loss = |action: &str, times| {
        let reads = Step { action: action.to_owned(), instance: None, times, fault: stale(second) };
        Row::of(vec![Step::once(table.case.change, lost(0)), reads])
    };
    let [of_account, of_everything] = [after_loss(account, 3), after_loss("Describe*", 6)];
    table.asking("stale reads of the instance", calls(instances, 3, stale(second * 60)));
    table.asking("stale reads of the account", of_account);
    if table.is_tencent() {
        table.asking("stale reads of the task", calls("DescribeTask*", 4, stale(second)));
    }
    table.row("stale reads of everything, answer lost", of_everything);
    let denied = if table.is_tencent() { "UnauthorizedOperation.NoCAMAuthed" } else { "Forbidden.RAM" };
    let mute = calls("Describe*", 1, refuse(denied)).halts("", vec![], Recover::Resume, 1);
    table.row("no question may be asked (access management)", mute);
}

fn logins(table: &mut Table) {
    for (word, way) in [("refused", Reach::Refuse), ("unanswered", Reach::Hang)] {
        let before =
            Row::of(vec![]).before(reach(way)).meanwhile(When::Why("nothing has changed yet"), reach(Reach::Open));
        table.row(format!("logins {word} before it begins"), before);
        let cut =
            |row: Row| row.meanwhile(When::Called(1), reach(way)).meanwhile(When::Logged(TRIED), reach(Reach::Open));
        let stuck = cut(table.change(Fault::TaskStuck { span: Some(millis(800)) }));
        table.row(format!("logins {word} while the task runs"), stuck);
        table.row(format!("logins {word} after a lost answer"), cut(table.change(lost(0))));
    }
    let several = |row: Row| row.scenery(|scenery| scenery.connections = 3);
    table.row("one of three proxy nodes lags", several(Row::of(vec![])).before(lagging(1, 3)));
    table.row("two of three nodes lag, answer lost", several(table.change(lost(0))).before(lagging(2, 3)));
    table.row("every node lags", Row::of(vec![]).before(lagging(1, 1)));
    table.row("every node lags, answer lost", table.change(lost(0)).before(lagging(1, 1)));
}

#[rustfmt::skip]
fn outsiders(table: &mut Table) {
    use Recover::{Reset, Set};
    // What is given for a pair's resting account leaves the active one as it is.
    let set = u64::from(table.case.active.is_none());
    let resets = |row: Row| row.scenery(|scenery| scenery.recovery = "reset");
    let unsent = || table.change(Fault::DropBeforeEffect).meanwhile(When::Called(1), Do::Outsider);
    let reset_lost = {
        let mut script = vec![Step::once(table.case.change, Fault::DropBeforeEffect)];
        script.push(Step::once(table.case.reset, lost(0)));
        Row::of(script).meanwhile(When::Called(1), Do::Outsider)
    };
    let rows = [
        ("somebody else changed the password before", Row::of(vec![]).before(Do::Outsider).halts("somebody else", vec![], Set, set)),
        ("somebody else changed it, recovery = reset", resets(Row::of(vec![]).before(Do::Outsider))),
        ("somebody else changed it, allowed by recover --reset", Row::of(vec![]).before(Do::Outsider).halts("somebody else", vec![], Reset, 1)),
        ("somebody else changes it after a lost call", unsent().halts("somebody else", vec![], Set, set * 2)),
        ("somebody else changes it after a lost call, recovery = reset", resets(unsent())),
        ("somebody else changes it after a lost call, reset lost too", resets(reset_lost)),
    ];
    for (name, row) in rows {
        table.row(name, row);
    }
}

#[rustfmt::skip]
fn outlets(table: &mut Table) {
    table.row("the sink is down before it begins", Row::of(vec![]).before(Do::SinkDown).meanwhile(When::Why("nothing has changed yet"), Do::SinkUp));
    table.row("the sink goes down in mid-rotation", Row::of(vec![]).meanwhile(When::Called(1), Do::SinkDown)
        .meanwhile(When::Label(Label::Behind), Do::SinkUp));
    table.row("the hook fails three times", Row::of(vec![]).before(Do::HookFails).meanwhile(When::Told(3), Do::HookWorks));
    table.row("the hook never works", Row::of(vec![]).before(Do::HookFails));
}

#[rustfmt::skip]
fn conditions(table: &mut Table) {
    use Recover::Resume;
    let runs = table.status(2, "Normal");
    table.row("the instance is password-free", Row::of(vec![]).before(no_auth(true)).halts("password", vec![no_auth(false)], Resume, 1));
    table.row("the instance becomes password-free after a lost call", table.change(Fault::DropBeforeEffect)
        .meanwhile(When::Called(1), no_auth(true)).halts("without a password", vec![no_auth(false)], Resume, 1));
    table.row("the instance is stopped for a while", Row::of(vec![]).before(table.status(1, "Changing"))
        .meanwhile(When::Why("nothing has changed yet"), runs.clone()));
    table.row("the instance is gone", Row::of(vec![]).before(table.status(-2, "Released")).halts("instance", vec![runs], Resume, 1));
    if table.is_tencent() {
        table.row("change times hidden", Row::of(vec![]).scenery(hides_times));
    }
}

async fn run(number: usize) {
    let case = &CASES[number];
    let only = std::env::var(ONLY).unwrap_or_default();
    let rows = rows(case).into_iter().filter(|(name, _)| name.contains(&only)).collect();
    let lines = table::run(rows, async |row| (None, play(case, row).await)).await;
    table::print(&format!("Scripted faults: {}, one rotation each, by the built program", case.name), &lines);
}

each_case! {
    on 2 threads;
    0 tencent_old_password;
    1 tencent_reset;
    2 tencent_account_root;
    3 tencent_account_custom;
    4 tencent_alternate;
    5 alibaba_old_password_default;
    6 alibaba_old_password_standard;
    7 alibaba_reset_default;
    8 alibaba_reset_standard;
    9 alibaba_alternate_old_password;
    10 alibaba_alternate_reset;
}
