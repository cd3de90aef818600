//! The rotation core as a table: what happened, and what is decided then. One row is one transcript.

mod story;

use keywheel::fault::{Fault, Kind};
use keywheel::moment::Moment;
use keywheel::rotation::answer::{Call, Login, Refusal, TaskStatus};
use keywheel::rotation::event::{Event, Proof, Queue, What};
use keywheel::rotation::plan::{Abilities, Limits, OnSinkDown, Plan, Recovery};
use keywheel::rotation::{apply, fold, next};
use std::time::Duration;
use story::table::{Row, check};
use story::*;

#[test]
#[rustfmt::skip]
fn before_a_rotation() {
    let no_schedule = Plan { slot: None, ..plan() };
    let run_missed = Plan { may_start: true, ..plan() };
    check(vec![
        Row("nothing is known", plan(), vec![], 0, "adopt"),
        Row("adoption was blocked just now", plan(), vec![at(5, blocked(60))], 6, "wait 65 NotAdopted"),
        Row("adoption was blocked a while ago", plan(), vec![at(5, blocked(60))], 65, "adopt"),
        Row("today's password was refused", plan(), vec![at(5, halted())], 6, "wait never Halted"),
        Row("adopted: the sinks get it", plan(), vec![at(0, adopted())], 1, "deliver 1 to a b"),
        Row("not due", plan(), rest(), 999, "wait 1060 NotDue"),
        Row("due", plan(), rest(), 1060, "begin in its slot"),
        Row("the window's last second", plan(), rest(), 2000, "begin in its slot"),
        Row("the window closed", plan(), rest(), 2001, "record slot-passed"),
        Row("the window closed, missed = run", run_missed, rest(), 2001, "begin in its slot"),
        Row("no schedule", no_schedule.clone(), rest(), 9999, "wait never OnlyWhenAsked"),
        Row("asked, no schedule", no_schedule, rest().then(10, asked()), 11, "begin"),
        Row("asked before the slot", plan(), rest().then(10, asked()), 11, "begin"),
        Row("asked within the slot uses it up", plan(), rest().then(1100, asked()), 1100, "begin in its slot"),
        Row("asked while halted", plan(), rest().then(9, halted()).then(10, asked()), 11, "wait never Halted"),
        Row("a sink that is down is tried again", plan(), vec![at(0, adopted()), at(1, delivered("a", 1)), at(1, undelivered("b", 1))], 1, "wait ~ Behind"),
        Row("… and nothing else is due before it is mended", plan(), vec![at(0, adopted()), at(1, delivered("a", 1)), at(1100, undelivered("b", 1))], 1110, "deliver 1 to b"),
    ]);
}

#[test]
#[rustfmt::skip]
fn preflight_and_preparation() {
    let reset = Plan { recovery: Recovery::Reset, ..plan() };
    let no_reset = Plan { abilities: Default::default(), ..reset.clone() };
    let drifted = || begun().then(1110, ready(true));
    let begun_by_hand = || {
        let What::Began { rotation, slot, reason, .. } = began(2) else { unreachable!("it begins") };
        rest().then(1100, What::Began { rotation, slot, by: operator(), reason })
    };
    let refused_once = || What::Blocked { fault: Fault::new(Kind::LoginRefused, "refused").after(Duration::from_secs(5)) };
    let denied = |times: i64| (0..times).fold(begun(), |story, n| story.then(1110 + n, refused_once()));
    let denied_at_rest = (0..3).fold(rest(), |story, n| story.then(900 + n, What::Verified { login: no() })).then(1100, began(2));
    check(vec![
        Row("begun", plan(), begun(), 1100, "preflight"),
        Row("blocked", plan(), begun().then(1110, blocked(60)), 1111, "wait 1170 NotReady"),
        Row("blocked long enough", plan(), begun().then(1110, blocked(60)), 1170, "preflight"),
        Row("blocked past the window", plan(), begun().then(1110, blocked(60)), 2001, "record abandoned Busy"),
        Row("asked for: blocked for as long as lock-patience", plan(), begun_asked().then(100, blocked(1)), 1899, "preflight"),
        Row("asked for: then it ends", plan(), begun_asked().then(100, blocked(1)), 1900, "record abandoned Busy"),
        Row("a missed slot that is run late has no window to close", plan(), rest().then(2500, began(2)).then(2510, blocked(60)), 2511, "wait 2570 NotReady"),
        Row("nor has one that somebody asked for within a slot", plan(), begun_by_hand().then(1110, blocked(60)), 2001, "preflight"),
        Row("one refused login is a hiccup", plan(), denied(1), 1110, "wait ~ NotReady"),
        Row("… and is looked at again", plan(), denied(1), 1120, "preflight"),
        Row("three are", plan(), denied(3), 1130, "preflight that believes a refusal"),
        Row("… a busy instance in between says nothing", plan(), denied(3).then(1130, blocked(1)), 1150, "preflight that believes a refusal"),
        Row("… refusals seen between rotations count", plan(), denied_at_rest, 1100, "preflight that believes a refusal"),
        Row("… a welcome ends them", plan(), denied(3).then(1130, ready(false)).then(1131, halted()).then(1132, resumed(false)), 1133, "preflight"),
        Row("… a person says go on: it is looked at anew", plan(), denied(3).then(1130, halted()).then(1131, resumed(false)), 1132, "preflight"),
        Row("a nonsense not-before is cut", plan(), begun().then(1110, blocked(u64::MAX / 1000)), 1111, "wait 4710 NotReady"),
        Row("ready", plan(), begun().then(1110, ready(false)), 1110, "prepare 2"),
        Row("drifted, no reset allowed", plan(), drifted(), 1110, "record halted OldPasswordWrong"),
        Row("drifted, reset allowed", reset.clone(), drifted(), 1110, "prepare 2"),
        Row("drifted, reset allowed, not offered", no_reset, drifted(), 1110, "record halted OldPasswordWrong"),
        Row("drifted, prepared", reset, drifted().then(1111, prepared(2)), 1111, "reset 2 over 1"),
        Row(
            "drifted, allowed once by a person",
            plan(),
            drifted().then(1111, halted()).then(1112, resumed(true)).then(1113, ready(true)).then(1114, prepared(2)),
            1114,
            "reset 2 over 1",
        ),
        Row("prepared", plan(), prepared_story(), 1120, "modify 2 over 1"),
        Row("halted by the preflight, resumed: looks again", plan(), begun().then(1110, halted()).then(1200, resumed(false)), 1200, "preflight"),
        Row("a spare is used", plan(), spare().then(3100, began(3)).then(3110, ready(false)), 3110, "prepare spare 2"),
        Row(
            "a spare survives a blocked rotation",
            plan(),
            spare().then(3100, began(3)).then(3110, blocked(1)).then(3120, abandoned()).then(4100, began(4)).then(4110, ready(false)),
            4110,
            "prepare spare 2",
        ),
        Row(
            "a spare older than a given password is dropped",
            plan(),
            spare().then(3000, replaced(3)).delivered_all(3000, 3).then(3100, began(3)).then(3110, ready(false)),
            3110,
            "prepare 4",
        ),
    ]);
}

#[test]
#[rustfmt::skip]
fn refusals() {
    use Refusal::*;
    let mut rows = Vec::new();
    // Before anything was exposed, in the window, then past the window; then after an unanswered call.
    for (refusal, now, past, exposed) in [
        (Locked, "wait ~ Held", "record abandoned Busy", "wait ~ Held"),
        (Busy, "wait ~ Held", "record abandoned Busy", "wait ~ Held"),
        (Throttled, "wait ~ Held", "record abandoned Busy", "wait ~ Held"),
        (NotNow, "wait ~ Held", "record abandoned Busy", "wait ~ Held"),
        (OldPasswordWrong, "login 2, 1", "login 2, 1", "login 2, 1"),
        (RuleViolated, "login 2, 1", "login 2, 1", "login 2, 1"),
        (RuleOrOldPassword, "login 2, 1", "login 2, 1", "login 2, 1"),
        (Fatal, "record halted Busy", "record halted Busy", "login 2, 1"),
    ] {
        let first = sent().then(1130, refused(refusal, 60));
        let later = sent().then(1130, unanswered()).then(1131, look(no(), yes())).then(1300, intended(Call::Modify)).then(1301, refused(refusal, 60));
        rows.push(Row("refused, never exposed", bare(), first.clone(), 1130, now));
        rows.push(Row("refused, the window over", bare(), first, 2001, past));
        rows.push(Row("refused after an unanswered call", bare(), later, 1301, exposed));
    }
    let held = || sent().then(1130, refused(Locked, 60));
    let asked_held = || begun_asked().then(110, ready(false)).then(111, prepared(2)).then(112, intended(Call::Modify)).then(113, refused(Locked, 1));
    let soon_impatient = || Plan { limits: Limits { lock_patience: Duration::from_secs(600), ..Limits::default() }, ..bare() };
    let not_now = (0..8).fold(prepared_story(), |story, n| story.then(1121 + n, intended(Call::Modify)).then(1121 + n, refused(NotNow, 1)));
    let locked = (0..40).fold(prepared_story(), |story, n| story.then(1121 + n, intended(Call::Modify)).then(1121 + n, refused(Locked, 1)));
    let discarded = |story: Vec<Event>, from: i64, number: u64| {
        story
            .then(from, intended(Call::Modify))
            .then(from, refused(RuleViolated, 1))
            .then(from, look(no(), yes()))
            .then(from, What::Discarded { generation: generation(number), fault: busy() })
            .then(from, prepared(number + 1))
    };
    let twice = || discarded(discarded(prepared_story(), 1121, 2), 1122, 3).then(1123, intended(Call::Modify)).then(1123, refused(RuleViolated, 1)).then(1123, look(no(), yes()));
    let merged = |looks: i64| (0..looks).fold(sent().then(1130, refused(RuleOrOldPassword, 1)), |story, n| story.then(1131 + 20 * n, look(no(), yes())));
    // Every node lags behind, and the cloud already compares with what the lost call set.
    let lagging = || sent().then(1130, unanswered()).then(1131, look(no(), yes())).then(1300, intended(Call::Modify)).then(1301, refused(RuleOrOldPassword, 1)).then(1302, look(no(), yes()));
    let lagging_on = |calls: i64| (0..calls).fold(lagging(), |story, n| story.then(1400 + 100 * n, intended(Call::Modify)).then(1401 + 100 * n, refused(RuleOrOldPassword, 1)).then(1402 + 100 * n, look(no(), yes())));
    let lost_and_wrong = || sent().then(1130, unanswered()).then(1300, intended(Call::Modify)).then(1301, refused(OldPasswordWrong, 1));
    let lost_and_held = |second| sent().then(1130, unanswered()).then(1131, look(no(), yes())).then(1300, intended(Call::Modify)).then(second, refused(Locked, 1)).then(second + 2, look(no(), yes()));
    rows.extend([
        Row("one code for two, the old one live: not dropped at once", bare(), merged(1), 1131, "wait ~ MayStillApply"),
        Row("… nor after a late effect's time by one look", bare(), merged(1), 1300, "login 2, 1"),
        Row("… nor by many looks at once", bare(), merged(3).then(1172, look(no(), yes())), 1173, "wait ~ MayStillApply"),
        Row("… only after both", bare(), merged(4), 1191, "record discarded 2"),
        Row("… and it was applied after all", bare(), merged(3).then(1200, look(yes(), no())), 1200, "record proven 2 Login"),
        Row("lost, nodes lag, the same call finds another old password: it may be ours", bare(), lagging(), 1302, "wait ~ MayStillApply"),
        Row("… the nodes catch up: one generation", bare(), lagging().then(1310, look(yes(), no())), 1310, "record proven 2 Login"),
        Row("… they take long: the same candidate again", bare(), lagging(), 1370, "modify 2 over 1"),
        Row("… and not without end", bare(), lagging_on(6), 2100, "record halted Busy"),
        Row("the cloud's not-before wins", bare(), held(), 1189, "wait 1190 Held"),
        Row("the same candidate again", bare(), held(), 1190, "modify 2 over 1"),
        Row("the window's last second counts", bare(), held(), 2000, "modify 2 over 1"),
        Row("held too long, in the window: still waits", soon_impatient(), held().then(1190, intended(Call::Modify)).then(1930, refused(Locked, 60)), 1931, "wait 1990 Held"),
        Row("asked for and held: as long as lock-patience", bare(), asked_held(), 1912, "modify 2 over 1"),
        Row("asked for and held too long", bare(), asked_held(), 1913, "record abandoned Busy"),
        Row("not-now burns attempts", bare(), not_now, 1200, "record halted Busy"),
        Row("locks burn none", bare(), locked, 1200, "modify 2 over 1"),
        Row("a rule was broken: dropped only after the look", bare(), sent().then(1130, refused(RuleViolated, 1)).then(1131, look(no(), yes())), 1131, "record discarded 2"),
        Row("a rule was broken: another number", bare(), discarded(prepared_story(), 1121, 2), 1130, "modify 3 over 1"),
        Row("two redraws are enough", bare(), twice(), 1130, "record halted Busy"),
        Row("a rule was broken, no login route", blind(), sent().then(1130, refused(RuleViolated, 1)), 1131, "record discarded 2"),
        Row("rule or old password, no login route", blind(), sent().then(1130, refused(RuleOrOldPassword, 1)), 1131, "record halted Busy"),
        Row("old password wrong at once, no login route", blind(), sent().then(1130, refused(OldPasswordWrong, 1)), 1131, "record halted OldPasswordWrong"),
        Row(
            "old password wrong after an unanswered call is evidence",
            blind(),
            sent().then(1130, unanswered()).then(1300, intended(Call::Modify)).then(1301, refused(OldPasswordWrong, 1)),
            1301,
            "record proven 2 OldPasswordGone",
        ),
        Row("… not where logins once showed something else", blind(), lost_and_wrong().then(1302, look(no(), no())), 1400, "modify 2 over 1"),
        Row("… nor where there is a login route, and nobody came through", bare(), (0..3).fold(lost_and_wrong(), |story, n| story.then(1302 + n, What::LookFailed { fault: busy() })), 1400, "modify 2 over 1"),
        Row("held off after an unanswered call, the one before live: the same call, once that one can do nothing any more", bare(), lost_and_held(1301), 1360, "modify 2 over 1"),
        Row("… also when the window is over, as long as lock-patience", bare(), lost_and_held(1990), 2100, "modify 2 over 1"),
        Row("… and while the window is open, for longer than that", Plan { limits: Limits { lock_patience: Duration::from_secs(60), ..Limits::default() }, ..bare() }, lost_and_held(1301), 1500, "modify 2 over 1"),
    ]);
    check(rows);
}

/// What brought us here, and what is decided when logins show: the candidate live, both, the one before, neither, mixed, no
/// answer, no password needed. Looks agree as often as they must, and late effects are over.
#[test]
#[rustfmt::skip]
fn every_doubt_and_every_sighting() {
    let lost = || sent().then(1130, unanswered());
    let again = |refusal| lost().then(1131, look(no(), yes())).then(1300, intended(Call::Modify)).then(1301, refused(refusal, 1));
    let running = || sent().then(1130, accepted(Some(7)));
    const OLD: &str = "record halted OldPasswordWrong";
    const BUSY: &str = "record halted Busy";
    const LIVE: &str = "record proven 2 Login";
    let same = [LIVE, LIVE, "modify 2 over 1", OLD];
    let doubts = [
        ("lost", lost(), same),
        ("held", again(Refusal::Locked), [LIVE, LIVE, BUSY, OLD]),
        ("task failed", running().then(1135, task(TaskStatus::Failed { message: "no".to_owned() })), same),
        ("task stuck", running().then(2100, What::TaskStuck), same),
        ("proof failed", running().then(1135, task(TaskStatus::Succeeded)).then(1400, What::ProofFailed), same),
        ("old password wrong, exposed", again(Refusal::OldPasswordWrong), same),
        ("rule violated, exposed", again(Refusal::RuleViolated), [LIVE, LIVE, BUSY, OLD]),
        ("rule or old password, exposed", again(Refusal::RuleOrOldPassword), same),
        ("fatal, exposed", again(Refusal::Fatal), [LIVE, LIVE, BUSY, OLD]),
        ("resumed", lost().then(1200, halted()).then(1201, resumed(false)), same),
        ("old password wrong", sent().then(1130, refused(Refusal::OldPasswordWrong, 1)), [LIVE, LIVE, "modify 2 over 1", OLD]),
        ("rule violated", sent().then(1130, refused(Refusal::RuleViolated, 1)), [LIVE, LIVE, "record discarded 2", OLD]),
        ("rule or old password", sent().then(1130, refused(Refusal::RuleOrOldPassword, 1)), [LIVE, LIVE, "record discarded 2", OLD]),
    ];
    let mut rows = Vec::new();
    for (name, story, [live, both, before, neither]) in doubts {
        let sightings = [
            (yes(), no(), live),
            (yes(), yes(), both),
            (no(), yes(), before),
            (no(), no(), neither),
            (Login::Mixed, yes(), "wait ~ LooksAgain"),
            (Login::Unreachable { fault: busy() }, no(), "wait ~ Unreachable"),
            (Login::PasswordFree, yes(), "record halted PasswordFree"),
        ];
        for (candidate, previous, expected) in sightings {
            let seen = (0..4).fold(story.clone(), |story, n| story.then(5000 + 60 * n, look(candidate.clone(), previous.clone())));
            let expected = if name == "held" { expected.replace("LooksAgain", "Held").leak() } else { expected };
            rows.push(Row(name, bare(), seen.clone(), 5180, expected));
            if expected == OLD {
                let reset = Plan { recovery: Recovery::Reset, abilities: plan().abilities, ..bare() };
                rows.push(Row("… and a reset is allowed", Plan { login: true, ..reset }, seen, 5180, "reset 2 over 1"));
            }
        }
    }
    check(rows);
}

#[test]
#[rustfmt::skip]
fn looks_and_limits_of_doubt() {
    let lost = || sent().then(1130, unanswered());
    let found = |status| lost().then(1131, What::TaskSought { found: Some((task_id(7), status)) });
    let failed = || TaskStatus::Failed { message: "no".to_owned() };
    let stuck = || sent().then(1130, accepted(Some(7))).then(2100, What::TaskStuck);
    let rounds = |login: Login, n: i64| (0..n).fold(lost(), |story, round| story.then(2000 + 60 * round, look(login.clone(), no())));
    let unseen = Plan { login: false, ..plan() };
    let unreachable = || Login::Unreachable { fault: busy() };
    let tried = |candidate| What::LoginTried { candidate, previous: None };
    let at_once = || (0..4).fold(lost(), |story, n| story.then(1131 + n, look(no(), no())));
    let failing = |times: i64| (0..times).fold(prepared_story(), |story, n| {
        let call = story.then(1121 + 60 * n, intended(Call::Modify)).then(1122 + 60 * n, accepted(Some(7)));
        call.then(1200 + 60 * n, task(failed())).then(1200 + 60 * n, look(no(), yes()))
    });
    let resets = Plan { recovery: Recovery::Reset, abilities: Abilities { reset: true, ..Abilities::default() }, ..plan() };
    let lost_calls = |times: i64| (0..times).fold(prepared_story(), |story, n| story.then(1121 + n, intended(Call::Modify)).then(1121 + n, unanswered()));
    let locked_resets = |times: i64| (0..times).fold(lost(), |story, n| story.then(1200 + n, intended(Call::Reset)).then(1200 + n, refused(Refusal::Locked, 1)));
    let neither = |story: Vec<Event>| (0..4).fold(story, |story, n| story.then(5000 + 60 * n, look(no(), no())));
    check(vec![
        Row("tasks are searched first", plan(), lost(), 1130, "find task since 1121"),
        Row("a crash is a lost answer", plan(), sent(), 1130, "record answered unanswered"),
        Row("halted in mid-call and resumed: it may have had an effect", plan(), sent().then(1130, halted()).then(1200, resumed(false)), 1200, "find task since 1121"),
        Row(
            "not so soon after the last proof",
            plan(),
            rest().then(100, began(2)).then(101, ready(false)).then(102, prepared(2)).then(103, intended(Call::Modify)).then(104, unanswered()),
            104,
            "login 2, 1",
        ),
        Row("nothing found, no login route: the mark", unseen.clone(), lost().then(1131, What::TaskSought { found: None }), 1131, "read mark"),
        Row("the mark moved", unseen.clone(), lost().then(1131, mark("after")), 1131, "record proven 2 ChangeMark"),
        Row("the mark stands still, and a call may apply late", unseen.clone(), lost().then(1131, mark("before")), 1131, "wait ~ MayStillApply"),
        Row("the mark stands still: the same call", unseen, lost().then(1131, mark("before")), 1200, "modify 2 over 1"),
        Row("no evidence at all: late effects first", blind(), lost(), 1131, "wait 1190 MayStillApply"),
        Row("no evidence at all: the same call", blind(), lost(), 1190, "modify 2 over 1"),
        Row("the search failed: the login", plan(), lost().then(1131, What::LookFailed { fault: busy() }), 1131, "login 2, 1"),
        Row("our task runs", plan(), found(TaskStatus::Running), 1131, "wait 1136 TaskRunning"),
        Row("our task succeeded: a login must agree", plan(), found(TaskStatus::Succeeded), 1131, "login 2"),
        Row("our task succeeded, no login route", Plan { login: false, ..plan() }, found(TaskStatus::Succeeded), 1131, "record proven 2 Task"),
        Row("our task failed: look", plan(), found(failed()), 1131, "login 2, 1"),
        Row("a stuck task found running is no news", plan(), stuck().then(2101, What::TaskSought { found: Some((task_id(7), TaskStatus::Running)) }), 2101, "login 2, 1"),
        Row(
            "after a failed proof the list has no news",
            plan(),
            sent().then(1130, accepted(Some(7))).then(1135, task(TaskStatus::Succeeded)).then(1400, What::ProofFailed),
            1400,
            "login 2, 1",
        ),
        Row("neither, not often enough", bare(), rounds(no(), 3), 2120, "wait ~ LooksAgain"),
        Row("neither, often but too soon: a late effect may follow", bare(), at_once(), 1189, "login 2, 1"),
        Row("… so that no look decides before it would have", bare(), at_once().then(1189, look(no(), no())), 1189, "wait ~ MayStillApply"),
        Row("… and from then on it does", bare(), at_once(), 1190, "record halted OldPasswordWrong"),
        Row("both, not often enough", bare(), lost().then(2000, look(yes(), yes())), 2000, "wait ~ LooksAgain"),
        Row("… and not together with what was seen before", bare(), rounds(no(), 3).then(2180, look(yes(), yes())), 2180, "wait ~ LooksAgain"),
        Row("the candidate is refused, and nobody tried the one before it", bare(), lost().then(2000, tried(no())), 2000, "wait ~ LooksAgain"),
        Row("nothing can apply late any more, and it says so no longer", bare(), lost().then(1190, look(Login::Mixed, yes())), 1190, "wait ~ LooksAgain"),
        Row("the task failed: not again at once", bare(), failing(1), 1200, "wait ~ LooksAgain"),
        Row("… but soon", bare(), failing(1), 1205, "modify 2 over 1"),
        Row("… as often as `attempts` allows", bare(), failing(7), 1800, "modify 2 over 1"),
        Row("… and not without end", bare(), failing(8), 1800, "record halted TaskFailed"),
        Row("neither: a reset where it may be, to the same candidate", resets.clone(), neither(lost_calls(7)), 5180, "reset 2 over 1"),
        Row("… not without end", resets.clone(), neither(lost_calls(8)), 5180, "record halted OldPasswordWrong"),
        Row("… also of an instance that was locked for long", resets.clone(), neither(locked_resets(8)), 5180, "reset 2 over 1"),
        Row("… not without end where it stays locked", resets, neither(locked_resets(9)), 5180, "record halted Busy"),
        Row("mixed for ever", bare(), rounds(Login::Mixed, 61), 9000, "record halted Unanswered"),
        Row("listing tasks costs quota: where logins can tell, not in each round", plan(), rounds(no(), 1), 2100, "login 2, 1"),
        Row("unreachable for long does not halt", bare(), rounds(unreachable(), 90), 2000 + 60 * 89, "wait ~ Unreachable"),
        Row("… and the first login decides", bare(), rounds(unreachable(), 90).then(9000, look(yes(), no())), 9000, "record proven 2 Login"),
        Row("the login route was taken away", blind(), lost().then(2000, look(no(), no())), 2000, "modify 2 over 1"),
        Row("replaced in doubt", plan(), lost().then(2000, replaced(3)), 2000, "deliver 3 to a b"),
    ]);
}

#[test]
#[rustfmt::skip]
fn tasks_and_proof() {
    let running = || sent().then(1130, accepted(Some(7)));
    let done = || running().then(1135, task(TaskStatus::Succeeded));
    let settled_on_word = || {
        let story = sent().then(1130, accepted(None)).then(1130, What::Proven { generation: generation(2), proof: Proof::Acceptance }).delivered_all(1131, 2);
        let standing = Box::new(fold(&story).expect("legal").standing);
        story.then(1132, What::Settled { standing })
    };
    let on_word = || settled_on_word().then(1133, asked());
    let look = |login| What::LoginTried { candidate: login, previous: None };
    let unseen = Plan { login: false, ..plan() };
    check(vec![
        Row("as long as tasks usually take", plan(), running(), 1134, "wait 1135 TaskRunning"),
        Row("a login costs no quota", plan(), running(), 1135, "login 2"),
        Row("then the task", plan(), running().then(1135, look(no())), 1135, "poll 7"),
        Row("then a while", plan(), running().then(1135, look(no())).then(1136, task(TaskStatus::Running)), 1136, "wait ~ TaskRunning"),
        Row("let in", plan(), running().then(1135, look(yes())), 1135, "record proven 2 Login"),
        Row("no login route: the task", unseen.clone(), running(), 1135, "poll 7"),
        Row("no way to look", blind(), running(), 1135, "wait 2030 TaskRunning"),
        Row("no way to look: stuck", blind(), running(), 2030, "record task-stuck"),
        Row("down for longer than the patience: one look first", unseen.clone(), running(), 9000, "poll 7"),
        Row("stuck", unseen.clone(), running().then(2030, task(TaskStatus::Running)), 2030, "record task-stuck"),
        Row("succeeded, no login route", unseen, done(), 1135, "record proven 2 Task"),
        Row("accepted without a task, no login route", blind(), sent().then(1130, accepted(None)), 1130, "record proven 2 Acceptance"),
        Row("… and the next one asked for at once rests as long as a late effect may take", Plan { slot: None, ..blind() }, on_word(), 1189, "wait 1190 OnItsWord"),
        Row("… and begins then", Plan { slot: None, ..blind() }, on_word(), 1190, "begin"),
        Row("… a slot waits too", blind(), settled_on_word(), 1189, "wait 1190 OnItsWord"),
        Row("succeeded: a login must agree", plan(), done(), 1135, "login 2"),
        Row("it does", plan(), done().then(1136, look(yes())), 1136, "record proven 2 Login"),
        Row("nodes disagree", plan(), done().then(1136, look(Login::Mixed)), 1136, "wait ~ NodesDisagree"),
        Row("… however often, for as long as nodes may need", plan(), (0..4).fold(done(), |story, n| story.then(1136 + n, look(Login::Mixed))), 1139, "wait ~ NodesDisagree"),
        Row("refused for longer than nodes need", plan(), done().then(1136, look(no())), 1256, "record proof-failed"),
        Row("unreachable is no refusal", plan(), done().then(1136, look(Login::Unreachable { fault: busy() })), 1256, "login 2"),
        Row("anybody is let in", plan(), done().then(1136, look(Login::PasswordFree)), 1136, "record halted PasswordFree"),
    ]);
}

#[test]
#[rustfmt::skip]
fn deliveries_hooks_and_the_end() {
    let proven = || proven_story();
    let delivered_both = || proven().delivered_all(1150, 2);
    let hook_failed = || What::HookFailed { hook: "h".parse().expect("a name"), fault: busy() };
    let hook_told = || What::HookTold { hook: "h".parse().expect("a name") };
    let a_failed = || proven().then(1150, undelivered("a", 2));
    let dated_ahead = || {
        let story = vec![at(0, adopted())].delivered_all(9000, 1).then(1100, began(2)).then(1110, ready(false)).then(1120, prepared(2));
        let called = story.then(1121, intended(Call::Modify)).then(1130, accepted(None)).then(1140, What::LoginTried { candidate: yes(), previous: None });
        called.then(1140, What::Proven { generation: generation(2), proof: Proof::Login })
    };
    let gave_up = (0..20).fold(delivered_both(), |story, n| story.then(1160 + n, hook_failed()));
    check(vec![
        Row("every sink at once", plan(), proven(), 1145, "deliver 2 to a b"),
        Row("the one that is down", plan(), proven().then(1150, delivered("a", 2)).then(1150, undelivered("b", 2)), 1150, "wait ~ Behind"),
        Row("again later", plan(), proven().then(1150, delivered("a", 2)).then(1150, undelivered("b", 2)), 1460, "deliver 2 to b"),
        Row("hooks follow the last sink", plan(), delivered_both(), 1150, "tell h"),
        Row("a hook is told again", plan(), delivered_both().then(1160, hook_failed()), 1160, "wait ~ HookAgain"),
        Row("later", plan(), delivered_both().then(1160, hook_failed()), 1462, "tell h"),
        Row("a hook that never succeeds does not hold it open", plan(), gave_up, 1170, "record settled 2"),
        Row("settled", plan(), delivered_both().then(1160, hook_told()), 1160, "record settled 2"),
        Row("halted: deliveries go on", plan(), proven().then(1146, halted()), 1147, "deliver 2 to a b"),
        Row("… and after a person said go on", plan(), proven().then(1146, halted()).then(1147, resumed(false)), 1148, "deliver 2 to a b"),
        Row("a sink that failed the last time has its turn after the others", plan(), a_failed(), 1500, "deliver 2 to b"),
        Row("… and by itself", plan(), a_failed().then(1501, delivered("b", 2)), 1501, "deliver 2 to a"),
        Row("the last deliveries were dated by a clock that was set back since: at once", plan(), dated_ahead(), 1145, "deliver 2 to a b"),
        Row("halted: nothing else does", plan(), delivered_both().then(1151, halted()), 1152, "wait never Halted"),
        Row(
            "the configuration names another instance",
            Plan { place: "crs-2/root".to_owned(), ..plan() },
            rest(),
            10,
            "record halted Misconfigured",
        ),
        Row(
            "the same with a call on its way",
            Plan { place: "crs-2/root".to_owned(), ..plan() },
            sent(),
            1130,
            "record halted Misconfigured",
        ),
        Row("a new sink gets current", Plan { sinks: vec!["new".parse().expect("a name")], ..plan() }, rest(), 10, "deliver 1 to new"),
    ]);
}

/// Others wait to tell the same hook, or the restart budget is used up.
#[test]
#[rustfmt::skip]
fn a_hook_whose_turn_comes_later() {
    let hook = || "h".parse().expect("a name");
    let queued = |second: i64| What::HookQueued { hook: hook(), until: Moment::from_seconds(second), by: Queue::Budget };
    let waits = || proven_story().delivered_all(1150, 2).then(1150, queued(1200));
    let one_down = || proven_story().then(1150, delivered("a", 2)).then(1150, undelivered("b", 2));
    check(vec![
        Row("it waits until then", plan(), waits(), 1199, "wait 1200 HookQueued"),
        Row("and is told", plan(), waits(), 1200, "tell h"),
        Row("its turn may come later still", plan(), waits().then(1200, queued(1300)), 1200, "wait 1300 HookQueued"),
        Row("it failed: the back-off counts, and not the turn it had", plan(), waits().then(1200, What::HookFailed { hook: hook(), fault: busy() }), 1200, "wait ~ HookAgain"),
        Row("a sink is tried meanwhile", plan(), one_down().then(1262, queued(9000)), 1460, "deliver 2 to b"),
        Row("a late delivery makes it ask anew", plan(), one_down().then(1262, queued(9000)).then(1270, delivered("b", 2)), 1270, "tell h"),
        Row("nothing else begins", Plan { may_start: true, ..plan() }, waits(), 1199, "wait 1200 HookQueued"),
    ]);
}

/// While a sink is down: what is held and what goes on, as the configuration says.
#[test]
#[rustfmt::skip]
fn a_sink_that_is_down() {
    let hold = plan;
    let proceed = || Plan { on_sink_down: OnSinkDown::Proceed, ..plan() };
    let open = |plan: Plan| Plan { may_start: true, ..plan };
    let hook_told = || What::HookTold { hook: "h".parse().expect("a name") };
    // Proven at 1140; sink b takes nothing.
    let behind = || proven_story().then(1150, delivered("a", 2)).then(1150, undelivered("b", 2));
    let told = || behind().then(1262, hook_told());
    // So often that the next try is some way off.
    let tried = |story: Vec<Event>, second| (0..8).fold(story, |story, _| story.then(second, undelivered("b", 2)));
    let superseded = || tried(told(), 1500).then(1501, began(9));
    check(vec![
        Row("hooks wait for it", hold(), tried(behind(), 1259), 1259, "wait ~ Behind"),
        Row("but not for ever", hold(), tried(behind(), 1260), 1260, "tell h"),
        Row("nor where it holds nothing up", proceed(), tried(behind(), 1261), 1261, "tell h"),
        Row("told: again after the late delivery", hold(), told().then(1270, delivered("b", 2)), 1270, "tell h"),
        Row("and then it is settled", hold(), told().then(1270, delivered("b", 2)).then(1271, hook_told()), 1271, "record settled 2"),
        Row("held: nothing begins", open(hold()), tried(told(), 1500), 1500, "wait ~ Behind"),
        Row("held: a slot that passed is said to have", hold(), tried(told(), 2001), 2001, "record slot-passed"),
        Row("the next one begins", open(proceed()), tried(told(), 1500), 1500, "begin in its slot"),
        Row("first the hooks", open(proceed()), tried(behind(), 1261), 1261, "tell h"),
        Row("not without a slot", Plan { slot: None, ..proceed() }, tried(told(), 1500), 1500, "wait ~ Behind"),
        Row("when asked", Plan { slot: None, ..proceed() }, tried(told(), 1500).then(1501, asked()), 1501, "begin"),
        Row("asked, and it came back meanwhile", Plan { slot: None, ..proceed() }, told().then(1500, asked()).then(1501, delivered("b", 2)).then(1502, hook_told()), 1502, "begin"),
        Row("paused", open(proceed()), tried(told(), 1500).then(1501, What::Paused { by: operator(), reason: None, until: None }), 1502, "wait ~ Behind"),
        Row("halted", open(proceed()), tried(told(), 1500).then(1501, halted()), 1502, "wait ~ Halted"),
        Row("begun: the sink has its turn first", proceed(), superseded(), 1900, "deliver 2 to b"),
        Row("begun and a call is out: nothing is delivered", proceed(), superseded().then(1502, ready(false)).then(1502, prepared(3)).then(1503, intended(Call::Modify)), 1900, "record answered unanswered"),
        Row("begun: then the preflight", proceed(), superseded(), 1501, "preflight"),
        Row("ended without a change: the one before goes on", proceed(), superseded().then(1510, blocked(1)).then(2001, abandoned()).then(2002, delivered("b", 2)), 2002, "tell h"),
        Row("and settles", proceed(), superseded().then(2001, abandoned()).then(2002, delivered("b", 2)).then(2003, hook_told()), 2003, "record settled 2"),
    ]);
    let state = fold(&superseded().then(1502, ready(false)).then(1502, prepared(3)).then(1503, intended(Call::Modify))).expect("legal");
    let late = Event { at: Moment::from_seconds(1504), what: delivered("b", 2) };
    assert!(apply(state, &late).is_err(), "a call is out: nobody knows what is live");
}

/// A clock that is set back by an hour makes nobody spin, and nobody wait much longer than the hour.
#[test]
#[rustfmt::skip]
fn a_clock_that_is_set_back() {
    let stories = [
        begun().then(1110, blocked(60)),
        sent().then(1130, refused(Refusal::Locked, 60)),
        sent().then(1130, unanswered()).then(1131, look(no(), no())),
        sent().then(1130, accepted(Some(7))),
        sent().then(1130, accepted(None)),
        proven_story().then(1150, undelivered("a", 2)).then(1150, undelivered("b", 2)),
    ];
    for story in stories {
        for plan in [plan(), bare(), blind()] {
            let now = Moment::from_seconds(1130 - 3600);
            let state = fold(&story).expect("legal");
            if let keywheel::rotation::Action::Wait { until, why } = next(&state, &plan, now) {
                assert!(until > now && until.since(now).as_secs() < 3600 + 1000, "{why:?} until {until}");
            }
        }
    }
}

/// Somebody on the way sent the call twice: the first copy was applied, and the answer to the second was passed on. Whatever it said, what was sent stays named
/// until another password is proven, and a login proves it.
#[test]
#[rustfmt::skip]
fn refused_and_applied_all_the_same() {
    use Refusal::*;
    let named = |story: &[Event]| fold(story).expect("a legal story").candidates();
    let (first, second, third) = (generation(1), generation(2), generation(3));
    for refusal in [Locked, Busy, Throttled, Unsent, NotNow, OldPasswordWrong, RuleViolated, RuleOrOldPassword, Fatal] {
        assert_eq!(named(&sent().then(1130, refused(refusal, 1))), [first, second], "{refusal:?}");
    }
    assert_eq!(named(&prepared_story()), [first], "it never left");
    assert_eq!(named(&sent().then(1130, refused(Locked, 1)).then(2001, abandoned())), [first, second], "a spare");
    assert_eq!(named(&sent().then(1130, refused(Fatal, 1)).then(1131, halted()).then(1140, replaced(3))), [second, third]);
    let dropped = || sent().then(1130, refused(RuleViolated, 1)).then(1131, look(no(), yes())).then(1132, What::Discarded { generation: second, fault: busy() });
    assert_eq!(named(&dropped().then(1133, prepared(3))), [first, second]);
    let redrawn = dropped().then(1133, prepared(3)).then(1134, intended(Call::Modify));
    assert_eq!(named(&redrawn.clone().then(1135, refused(Fatal, 1)).then(1136, halted())), [first, second, third]);
    assert_eq!(named(&redrawn.clone().then(1140, replaced(4))), [second, third, generation(4)]);
    let proven = redrawn.then(1135, accepted(None)).then(1136, What::LoginTried { candidate: yes(), previous: None }).then(1136, What::Proven { generation: third, proof: Proof::Login });
    assert_eq!(named(&proven), [third]);
    let let_in = sent().then(1130, refused(RuleViolated, 1)).then(1131, look(yes(), no()));
    assert_eq!(named(&let_in.then(1132, What::Proven { generation: second, proof: Proof::Login })), [second]);

    let halted_and_resumed = || sent().then(1130, refused(Fatal, 1)).then(1131, halted()).then(1200, resumed(false));
    let gone = || halted_and_resumed().then(1201, ready(true));
    check(vec![
        Row("resumed: looks again", plan(), halted_and_resumed(), 1200, "preflight"),
        Row("the password before is as it was: the same call", bare(), halted_and_resumed().then(1201, ready(false)), 1201, "modify 2 over 1"),
        Row("it is gone, and a call was sent: logins tell", bare(), gone(), 1300, "login 2, 1"),
        Row("the call was applied", bare(), gone().then(1300, look(yes(), no())), 1300, "record proven 2 Login"),
        Row("it was somebody else", bare(), (0..4).fold(gone(), |story, n| story.then(1300 + n, look(no(), no()))), 1310, "record halted OldPasswordWrong"),
        Row("it was let in somewhere: not dropped", bare(), sent().then(1130, refused(RuleViolated, 1)).then(1131, look(Login::Mixed, yes())).then(1132, look(no(), yes())), 1133, "record halted Busy"),
    ]);
}
