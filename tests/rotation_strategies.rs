//! The strategies as a table: two accounts in turn, two passwords at once, and what happens between rotations. One row is one transcript.

mod story;

use keywheel::fault::{Fault, Kind, Retry};
use keywheel::moment::Moment;
use keywheel::name::SinkName;
use keywheel::rotation::answer::{Call, Login, Refusal};
use keywheel::rotation::event::{By, Event, Proof, What};
use keywheel::rotation::plan::{Abilities, Limits, Plan, Recovery, Strategy};
use keywheel::rotation::state::{Label, Standing};
use keywheel::rotation::why::Why;
use keywheel::rotation::{Action, apply, fold, next};
use std::time::Duration;
use story::table::{Row, check};
use story::*;

const GRACE: Duration = Duration::from_secs(600);
const PAIR: &str = "crs-1/a+b";

/// Two accounts in turn; the call compares the old password.
fn pair() -> Plan {
    let strategy = Strategy::Alternate { accounts: ["a".to_owned(), "b".to_owned()], grace: GRACE };
    Plan { place: PAIR.to_owned(), strategy, ..plan() }
}

/// The same where the call asks for no old password.
fn pair_by_edit() -> Plan {
    let abilities = Abilities { asks_old: false, ..pair().abilities };
    Plan { abilities, ..pair() }
}

fn overlap() -> Plan {
    Plan { strategy: Strategy::Overlap { grace: GRACE }, ..bare() }
}

fn of_a() -> What {
    let by = By::Configuration;
    What::Adopted {
        generation: generation(1),
        proof: Proof::Login,
        by,
        reason: None,
        place: PAIR.to_owned(),
        account: Some("a".to_owned()),
    }
}

/// The active account is adopted and delivered; the resting one is not known.
fn half() -> Vec<Event> {
    vec![at(0, of_a())].delivered_all(1, 1)
}

/// Both are known: `a` is active with generation 1, `b` rests with 2.
fn both() -> Vec<Event> {
    half().then(2, paired("b", 2))
}

fn prepared_for(account: &str, number: u64) -> What {
    What::Prepared { generation: generation(number), account: Some(account.to_owned()), beside: false }
}

fn prepared_beside(number: u64) -> What {
    What::Prepared { generation: generation(number), account: None, beside: true }
}

/// A person gives the password of one account of a pair.
fn given_for(account: &str, number: u64) -> What {
    What::Replaced {
        generation: generation(number),
        proof: Proof::Login,
        by: operator(),
        reason: None,
        place: PAIR.to_owned(),
        account: Some(account.to_owned()),
        moved: false,
    }
}

/// A person gives the password of an account of another pair.
fn given_for_another_pair(number: u64) -> What {
    What::Replaced {
        generation: generation(number),
        proof: Proof::Login,
        by: operator(),
        reason: None,
        place: "crs-1/c+d".to_owned(),
        account: Some("d".to_owned()),
        moved: true,
    }
}

fn tried(candidate: Login) -> What {
    What::LoginTried { candidate, previous: None }
}

fn proven(number: u64) -> What {
    What::Proven { generation: generation(number), proof: Proof::Login }
}

fn told() -> What {
    What::HookTold { hook: "h".parse().expect("a name") }
}

/// A rotation by a call that was accepted at once, up to its end.
fn rotated(story: Vec<Event>, prepared: What, number: u64) -> Vec<Event> {
    let story = story
        .then(1100, began(2))
        .then(1110, ready(false))
        .then(1120, prepared)
        .then(1121, intended(Call::Modify))
        .then(1122, accepted(None))
        .then(1123, tried(yes()))
        .then(1124, proven(number))
        .delivered_all(1130, number)
        .then(1131, told());
    settled(story, 1132)
}

fn settled(story: Vec<Event>, second: i64) -> Vec<Event> {
    let standing = fold(&story).expect("a legal story").standing;
    story.then(second, What::Settled { standing: Box::new(standing) })
}

#[test]
#[rustfmt::skip]
fn two_accounts_in_turn() {
    let resets = Plan { recovery: Recovery::Reset, ..pair() };
    let adopts = Plan { adopts_resting: true, ..pair() };
    let later = Plan { slot: None, ..pair() };
    let strategy = Strategy::Alternate { accounts: ["c".to_owned(), "d".to_owned()], grace: GRACE };
    let replaced_pair = Plan { place: "crs-1/c+d".to_owned(), strategy, ..later.clone() };
    let begun = |story: Vec<Event>| story.then(1100, began(2));
    let sent = |story: Vec<Event>, number| begun(story).then(1110, ready(false)).then(1120, prepared_for("b", number)).then(1121, intended(Call::Modify));
    let turned = || rotated(both(), prepared_for("b", 3), 3);
    let lost = |second| turned().then(1800, began(3)).then(1801, ready(false)).then(1802, prepared_for("a", 4)).then(second, intended(Call::Modify)).then(second, unanswered());
    let turned_at_the_second_try = || {
        let lost = sent(both(), 3).then(1122, unanswered()).then(1123, intended(Call::Modify)).then(1124, accepted(None));
        let told = lost.then(1125, tried(yes())).then(1126, proven(3)).delivered_all(1130, 3).then(1131, told());
        settled(told, 1132)
    };
    let lost_again = |second| turned_at_the_second_try().then(1800, began(3)).then(1801, ready(false)).then(1802, prepared_for("a", 4)).then(second, intended(Call::Modify)).then(second, unanswered());
    check(vec![
        Row("the resting account is taken in where its place is named", adopts.clone(), half(), 5, "pair b"),
        Row("… and tried again later", adopts.clone(), half().then(5, blocked(60)), 6, "wait 65 NotAdopted"),
        Row("… when its time has come", adopts.clone(), half().then(5, blocked(60)), 65, "pair b"),
        Row("… and not again", adopts, both(), 5, "wait 1060 NotDue"),
        Row("the resting account is looked at, with its own password", pair(), begun(both()), 1101, "preflight b, 2"),
        Row("the candidate is for the resting account", pair(), begun(both()).then(1110, ready(false)), 1111, "prepare 3 of b"),
        Row("the call replaces that account's own password", pair(), begun(both()).then(1110, ready(false)).then(1120, prepared_for("b", 3)), 1121, "modify 3 over 2 of b"),
        Row("doubt looks at that account", Plan { abilities: Abilities { asks_old: true, ..Abilities::default() }, ..pair() }, sent(both(), 3).then(1122, unanswered()), 1190, "login 3, 2 of b"),
        Row("its old password unknown, and the call asks for it", pair(), begun(half()).then(1110, ready(false)).then(1120, prepared_for("b", 2)), 1121, "record halted OldPasswordWrong"),
        Row("… a reset is allowed", resets.clone(), begun(half()).then(1110, ready(false)).then(1120, prepared_for("b", 2)), 1121, "reset 2 over nothing of b"),
        Row("… the call asks for none", pair_by_edit(), begun(half()).then(1110, ready(false)).then(1120, prepared_for("b", 2)), 1121, "modify 2 over nothing of b"),
        Row("… and a lost answer is settled by the candidate alone", Plan { abilities: Abilities::default(), ..pair_by_edit() }, sent(half(), 2).then(1122, unanswered()).then(1130, tried(no())), 1190, "modify 2 over nothing of b"),
        Row("the resting account drifted", pair(), begun(both()).then(1110, ready(true)), 1111, "record halted OldPasswordWrong"),
        Row("… and may be reset", resets, begun(both()).then(1110, ready(true)).then(1120, prepared_for("b", 3)), 1121, "reset 3 over 2 of b"),
        Row("the new account goes to the sinks", pair(), sent(both(), 3).then(1122, accepted(None)).then(1123, tried(yes())).then(1124, proven(3)), 1125, "deliver 3 to a b"),
        Row("asked within the grace", later.clone(), turned().then(1200, asked()), 1201, "wait 1731 Grace"),
        Row("… and after it", later.clone(), turned().then(1200, asked()), 1731, "begin"),
        Row("then the other one's turn has come", later.clone(), turned().then(1200, asked()).then(1740, began(3)), 1741, "preflight a, 1"),
        Row("a slot that is due waits for the grace", pair(), turned(), 1730, "wait 1731 Grace"),
        Row("… and begins after it", pair(), turned(), 1731, "begin in its slot"),
        Row("a reset that a person allowed waits for it too", later.clone(), turned().then(1200, halted()).then(1201, resumed(true)), 1202, "wait 1731 Grace"),
        Row("… and begins after it", later.clone(), turned().then(1200, halted()).then(1201, resumed(true)), 1731, "begin"),
        Row("a lost call so soon after the other account's proof is not searched for: the list names no account", pair(), lost(2023), 2100, "login 4, 1 of a"),
        Row("… a quarter of an hour after it, it is", pair(), lost(2024), 2100, "find task since 2024"),
        Row("… and an hour after it", pair(), lost(4724), 4800, "find task since 4724"),
        Row("a lost call of the rotation before may still turn up as a task", pair(), lost_again(80_000), 80_100, "login 4, 1 of a"),
        Row("… but not a day after it", pair(), lost_again(87_522), 87_600, "find task since 87522"),
        Row("no grace before the first rotation", Plan { slot: None, ..pair() }, both().then(5, asked()), 6, "begin"),
        Row("a person makes one account of the pair", Plan { slot: None, ..plan() }, turned().then(1200, replaced(4)).delivered_all(1201, 4).then(1202, asked()), 1203, "begin"),
        Row("a password of another pair is current", replaced_pair.clone(), turned().then(1200, given_for_another_pair(4)), 1201, "deliver 4 to a b"),
        Row("… and the other account's turn has come", replaced_pair, turned().then(1200, given_for_another_pair(4)).delivered_all(1201, 4).then(2000, asked()).then(2001, began(3)), 2002, "preflight c, nothing"),
        Row("a configuration that names another pair", Plan { place: "crs-1/a+c".to_owned(), ..pair() }, both(), 5, "record halted Misconfigured"),
    ]);
}

#[test]
#[rustfmt::skip]
fn two_passwords_at_once() {
    let begun = || rest().then(1100, began(2)).then(1110, ready(false));
    let sent = || begun().then(1120, prepared_beside(2)).then(1121, intended(Call::Modify));
    let own = Plan { abilities: Abilities { each_node: true, ..overlap().abilities }, ..overlap() };
    let overlapping = || rotated(rest(), prepared_beside(2), 2);
    let later = Plan { slot: None, ..overlap() };
    let abilities = Abilities { reset: true, ..Abilities::default() };
    let resets = Plan { recovery: Recovery::Reset, abilities, ..later.clone() };
    let drifted = || (0..4).fold(overlapping(), |story, time| story.then(1200 + time, What::Verified { login: no() }));
    let reset = || drifted().then(1210, began(3)).then(1211, ready(true)).then(1212, prepared_beside(3));
    let whole = || settled(reset().then(1213, intended(Call::Reset)).then(1214, accepted(None)).then(1215, tried(yes())).then(1216, proven(3)).delivered_all(1217, 3).then(1218, told()), 1219);
    let retired = |number| What::Retired { generation: generation(number) };
    let failed_to_go = |story: Vec<Event>, seconds: &[i64]| seconds.iter().fold(story, |story, &second| story.then(second, What::RetireFailed { generation: generation(1), fault: busy() }));
    let split = |story: Vec<Event>, second| (0..4).fold(story, |story, _| story.then(second, What::Verified { login: Login::Mixed }));
    check(vec![
        Row("the candidate is added", overlap(), begun(), 1111, "prepare 2 beside"),
        Row("both live is what was asked for", overlap(), sent().then(1122, unanswered()).then(1123, look(yes(), yes())), 1124, "record proven 2 Login"),
        Row("a node of one's own may not have saved it: the same call again", own.clone(), sent().then(1122, unanswered()).then(1123, look(yes(), yes())), 1160, "modify 2 over 1"),
        Row("… and not without end", Plan { limits: Limits { attempts: 1, ..own.limits.clone() }, ..own.clone() }, sent().then(1122, unanswered()).then(1123, look(yes(), yes())), 1160, "record proven 2 Login"),
        Row("a node lacks it: the same call again, soon", overlap(), sent().then(1122, unanswered()).then(1123, look(Login::Mixed, yes())), 1160, "modify 2 over 1"),
        Row("the cloud says done and a node lacks it", overlap(), (0..4).fold(sent().then(1122, accepted(None)), |story, n| story.then(1123 + n, tried(Login::Mixed))), 1127, "record proof-failed"),
        Row("… not before it showed that often enough", overlap(), (0..3).fold(sent().then(1122, accepted(None)), |story, n| story.then(1123 + n, tried(Login::Mixed))), 1125, "wait ~ NodesDisagree"),
        Row("… and where none lets it in, not for as long as nodes may need", overlap(), (0..4).fold(sent().then(1122, accepted(None)), |story, n| story.then(1123 + n, tried(no()))), 1126, "wait ~ NodesDisagree"),
        Row("a node is down: look again", overlap(), sent().then(1122, unanswered()).then(1123, look(Login::Unreachable { fault: busy() }, yes())), 1123, "wait ~ Unreachable"),
        Row("the former one stays for the grace", later.clone(), overlapping(), 1140, "wait 1731 Overlapping"),
        Row("… which begins when the last hook was told: it may only have begun a restart then", later.clone(), {
            let delivered = begun().then(1120, prepared_beside(2)).then(1121, intended(Call::Modify)).then(1122, accepted(None)).then(1123, tried(yes())).then(1124, proven(2)).delivered_all(1130, 2);
            settled(delivered.then(3000, told()), 3001)
        }, 3002, "wait 3600 Overlapping"),
        Row("… or when the last sink had it", later.clone(), overlapping().then(1200, delivered("b", 2)), 1210, "wait 1800 Overlapping"),
        Row("… and goes after it", later.clone(), overlapping(), 1731, "retire 1, 2 stays"),
        Row("… again, if it did not go", later.clone(), overlapping().then(1731, What::RetireFailed { generation: generation(1), fault: busy() }), 1731, "wait ~ RetireAgain"),
        Row("… a rotation that is asked for waits for that, and says so", later.clone(), overlapping().then(1731, What::RetireFailed { generation: generation(1), fault: busy() }).then(1731, asked()), 1731, "wait ~ RetireAgain"),
        Row("… nodes that disagree about current are said first", later.clone(), split(failed_to_go(overlapping(), &[1731]), 1731), 1731, "wait ~ Unverified"),
        Row("… unless it should be gone for so long that a person should know of that", later.clone(), split(failed_to_go(overlapping(), &[1731, 3531]), 3531), 3531, "wait ~ RetireAgain"),
        Row("… and then it is gone", later.clone(), overlapping().then(1731, What::Retired { generation: generation(1) }), 1732, "wait never OnlyWhenAsked"),
        Row("nothing begins while two are valid", later.clone(), overlapping().then(1200, asked()), 1201, "wait ~ Overlapping"),
        Row("a candidate that a person's password left behind goes too, after the one before it", later.clone(), sent().then(1122, unanswered()).then(1140, replaced(3)).delivered_all(1141, 3), 1741, "retire 1, 3 stays"),
        Row("… one after the other", later.clone(), sent().then(1122, unanswered()).then(1140, replaced(3)).delivered_all(1141, 3).then(1741, What::Retired { generation: generation(1) }), 1742, "retire 2, 3 stays"),
        Row("drift while two are valid halts", later.clone(), drifted(), 1204, "record halted OldPasswordWrong"),
        Row("… or, where a reset may repair it, does not wait for the grace", resets.clone(), drifted(), 1204, "begin"),
        Row("… a third one is added", resets.clone(), reset(), 1213, "reset 3 over 2"),
        Row("… no older one goes before its grace is over", resets.clone(), whole(), 1817, "wait 1818 Overlapping"),
        Row("… then the one before it goes", resets.clone(), whole(), 1818, "retire 2, 3 stays"),
        Row("… and the one that was still to go", resets.clone(), whole().then(1818, retired(2)), 1818, "retire 1, 3 stays"),
        Row("… and nothing is left", resets, whole().then(1818, retired(2)).then(1819, retired(1)), 1820, "wait never OnlyWhenAsked"),
        Row("the strategy was changed: the former one goes at once", Plan { strategy: Strategy::InPlace, ..overlap() }, overlapping(), 1140, "retire 1, 2 stays"),
    ]);
}

#[test]
#[rustfmt::skip]
fn between_rotations() {
    let every = Plan { verify_every: Some(Duration::from_secs(100)), slot: None, ..plan() };
    let resets = Plan { recovery: Recovery::Reset, ..every.clone() };
    let verified = |login: Login| What::Verified { login };
    let denied = |times: i64| (0..times).fold(rest(), |story, time| story.then(200 + time, verified(no())));
    let split = |times: i64| (0..times).fold(rest(), |story, time| story.then(200 + time, verified(Login::Mixed)));
    let nobody = || Login::Unreachable { fault: busy() };
    let paused = |until: Option<i64>| What::Paused { by: operator(), reason: None, until: until.map(Moment::from_seconds) };
    let taken = Plan { take_over: true, recovery: Recovery::Reset, ..plan() };
    let over = || vec![at(0, What::TakenOver { place: PLACE.to_owned() })];
    let adopts = Plan { adopts: true, ..taken.clone() };
    let not_adopted_at = |second, kind| vec![at(second, What::Blocked { fault: Fault { retry: Retry::AfterMillis(30_000), ..Fault::new(kind, "not adopted") } })];
    let not_adopted = |kind| not_adopted_at(1, kind);
    let taken_pair = Plan { take_over: true, recovery: Recovery::Reset, ..pair() };
    let over_pair = || vec![at(0, What::TakenOver { place: PAIR.to_owned() })];
    let ready_pair = || over_pair().then(1060, began(2)).then(1070, ready(false));
    let first_of_pair = || settled(ready_pair().then(1080, prepared_for("a", 1)).then(1081, intended(Call::Reset)).then(1082, accepted(None)).then(1083, tried(yes())).then(1084, proven(1)).delivered_all(1085, 1).then(1086, told()), 1087);
    let withdrawn = |plan: &Plan| Plan { recovery: Recovery::Halt, ..plan.clone() };
    let allowed = || rest().then(5, halted()).then(6, resumed(true));
    let overlapping = || rotated(rest(), prepared_beside(2), 2);
    check(vec![
        Row("a verification in time", every.clone(), rest(), 100, "verify 1"),
        Row("… and not before", every.clone(), rest(), 10, "wait ~ OnlyWhenAsked"),
        Row("… and not without a route", Plan { login: false, ..every.clone() }, rest(), 500, "wait never OnlyWhenAsked"),
        Row("one refusal is looked at again", every.clone(), denied(1), 260, "verify 1"),
        Row("several are drift", every.clone(), denied(4), 300, "record halted OldPasswordWrong"),
        Row("… which a reset repairs where it may", resets.clone(), denied(4), 300, "begin"),
        Row("… a welcome in between starts over", every.clone(), denied(3).then(210, verified(yes())).then(220, verified(no())), 221, "wait ~ OnlyWhenAsked"),
        Row("nodes that disagree are looked at again soon", every.clone(), split(1), 260, "verify 1"),
        Row("… and that they still do is said", every.clone(), split(4), 204, "wait ~ Unverified"),
        Row("… at the usual pace", every.clone(), split(4), 270, "wait ~ Unverified"),
        Row("… until all let it in", every.clone(), split(4).then(300, verified(yes())), 301, "wait ~ OnlyWhenAsked"),
        Row("nobody answers: the same", every.clone(), split(2).then(210, verified(nobody())).then(211, verified(nobody())), 212, "wait ~ Unverified"),
        Row("… and a rotation begins all the same", Plan { slot: None, ..every.clone() }, split(4).then(205, asked()), 206, "begin"),
        Row("… a person says go on: it is looked at anew", every.clone(), denied(4).then(300, halted()).then(400, resumed(false)), 420, "verify 1"),
        Row("… a person allows one reset", every.clone(), denied(4).then(300, halted()).then(400, resumed(true)), 401, "begin"),
        Row("a sink that somebody changed is said first", plan(), rest().then(5, What::SinkDiffers { sink: "a".parse().expect("a name") }), 6, "wait 1060 SinkDiffers"),
        Row("paused: no slot counts", plan(), rest().then(5, paused(Some(3000))), 1100, "wait 3000 Paused"),
        Row("… until it ends by itself", plan(), rest().then(5, paused(Some(1090))), 1090, "record unpaused"),
        Row("… or somebody ends it", plan(), rest().then(5, paused(None)), 1100, "wait never Paused"),
        Row("… a rotation under way is finished", plan(), begun().then(1105, paused(None)), 1106, "preflight"),
        Row("… what is current is still delivered", plan(), vec![at(0, adopted()), at(1, paused(None))], 2, "deliver 1 to a b"),
        Row("… and again, where a sink did not take it", plan(), vec![at(0, adopted()), at(1, delivered("a", 1)), at(2, undelivered("b", 1)), at(3, paused(None))], 60, "deliver 1 to b"),
        Row("… nothing is verified", every.clone(), rest().then(5, paused(None)), 500, "wait never Paused"),
        Row("… nothing that was asked for begins", plan(), rest().then(5, asked()).then(6, paused(None)), 7, "wait never Paused"),
        Row("… no drift is repaired", resets.clone(), denied(4).then(250, paused(None)), 300, "wait never Paused"),
        Row("… and none halts", every.clone(), denied(4).then(250, paused(None)), 300, "wait never Paused"),
        Row("… a reset that a person allowed waits", plan(), allowed().then(7, paused(None)), 8, "wait never Paused"),
        Row("… and begins when the pause is over", plan(), allowed().then(7, paused(None)).then(8, What::Unpaused { by: operator() }), 9, "begin"),
        Row("… nothing is adopted", plan(), vec![at(0, paused(None))], 1, "wait never Paused"),
        Row("… and nothing taken over", taken.clone(), vec![at(0, paused(None))], 1, "wait never Paused"),
        Row("… no resting account is taken in", Plan { adopts_resting: true, ..pair() }, half().then(5, paused(None)), 6, "wait never Paused"),
        Row("… no former password is taken away", overlap(), overlapping().then(1200, paused(None)), 1800, "wait never Paused"),
        Row("nobody knows the password, and a reset may set one", taken.clone(), vec![], 0, "record taken-over"),
        Row("… at its slot", taken.clone(), over(), 5, "wait 1060 NotDue"),
        Row("… it begins", taken.clone(), over(), 1060, "begin in its slot"),
        Row("… and the call is a reset", taken.clone(), over().then(1060, began(2)).then(1070, ready(false)).then(1080, prepared(1)), 1081, "reset 1 over nothing"),
        Row("… the leave to reset is withdrawn before it begins", withdrawn(&taken), over(), 1060, "begin in its slot"),
        Row("… or before the call", withdrawn(&taken), over().then(1060, began(2)).then(1070, ready(false)).then(1080, prepared(1)), 1081, "record halted OldPasswordWrong"),
        Row("… or before it is sent again", withdrawn(&taken), over().then(1060, began(2)).then(1070, ready(false)).then(1080, prepared(1)).then(1081, intended(Call::Reset)).then(1082, refused(Refusal::Unsent, 5)), 1100, "record halted OldPasswordWrong"),
        Row("… or the reset of what somebody else changed", plan(), begun().then(1110, ready(true)).then(1120, prepared(2)), 1121, "record halted OldPasswordWrong"),
        Row("… a person allows it for this rotation", withdrawn(&taken), over().then(1060, began(2)).then(1070, ready(false)).then(1080, prepared(1)).then(1081, halted()).then(1090, resumed(true)).then(1091, ready(false)), 1092, "reset 1 over nothing"),
        Row("the configuration says where it is: that is tried first", adopts.clone(), vec![], 0, "adopt"),
        Row("… nothing is there yet", adopts.clone(), not_adopted(Kind::SecretUnreadable), 2, "wait 31 NotAdopted"),
        Row("… it is looked for again", adopts.clone(), not_adopted(Kind::SecretUnreadable), 900, "adopt"),
        Row("… at the slot, if that is sooner", adopts.clone(), not_adopted_at(1050, Kind::SecretUnreadable), 1055, "wait 1060 NotAdopted"),
        Row("… and a slot that is there is not waited for", adopts.clone(), not_adopted_at(1050, Kind::LoginUnreachable), 1060, "wait 1080 NotAdopted"),
        Row("… nor one at which nothing may be taken over", withdrawn(&adopts), not_adopted_at(1050, Kind::SecretUnreadable), 1055, "wait 1080 NotAdopted"),
        Row("… at its slot it is known to nobody", Plan { may_start: true, ..adopts.clone() }, not_adopted(Kind::SecretUnreadable), 1060, "record taken-over"),
        Row("… and when somebody asks", adopts.clone(), not_adopted(Kind::SecretUnreadable).then(3, asked()), 3, "record taken-over"),
        Row("… what is there is refused", adopts.clone(), not_adopted(Kind::LoginRefused), 2, "record taken-over"),
        Row("… an instance that cannot be asked says nothing about it", Plan { may_start: true, ..adopts.clone() }, not_adopted(Kind::LoginUnreachable), 1060, "adopt"),
        Row("… nor does anything where no reset is allowed", withdrawn(&adopts), not_adopted(Kind::LoginRefused), 2, "wait 31 NotAdopted"),
        Row("nobody knows the passwords of a pair", taken_pair.clone(), vec![], 0, "record taken-over"),
        Row("… at its slot it begins", taken_pair.clone(), over_pair(), 1060, "begin in its slot"),
        Row("… with the first account, of which nothing is known", taken_pair.clone(), over_pair().then(1060, began(2)), 1061, "preflight a, nothing"),
        Row("… that one gets a password", taken_pair.clone(), ready_pair(), 1071, "prepare 1 of a"),
        Row("… by a reset", taken_pair.clone(), ready_pair().then(1080, prepared_for("a", 1)), 1081, "reset 1 over nothing of a"),
        Row("… the leave to reset is withdrawn before the call", withdrawn(&taken_pair), ready_pair().then(1080, prepared_for("a", 1)), 1081, "record halted OldPasswordWrong"),
        Row("… the second account follows after the grace", taken_pair.clone(), first_of_pair().then(1100, asked()), 1101, "wait 1686 Grace"),
        Row("… and nothing is known of it either", taken_pair, first_of_pair().then(1700, began(3)), 1701, "preflight b, nothing"),
    ]);
}

/// Targets that were adopted at the same moment do not all log in at the same moment ever after.
#[test]
fn a_fleet_verifies_spread_over_a_while() {
    let every = Duration::from_secs(1000);
    let first = |number: usize| {
        let plan = Plan { place: format!("crs-{number}/root"), verify_every: Some(every), slot: None, ..plan() };
        let adopted = What::Adopted {
            generation: generation(1),
            proof: Proof::Login,
            by: By::Configuration,
            reason: None,
            place: plan.place.clone(),
            account: None,
        };
        let state = fold(&vec![at(1, adopted)].delivered_all(2, 1)).expect("a legal story");
        let Action::Wait { until, .. } = next(&state, &plan, Moment::from_seconds(3)) else {
            panic!("it is verified at once");
        };
        until
    };
    let moments: std::collections::BTreeSet<Moment> = (0..1000).map(first).collect();
    assert!(moments.len() > 900, "{} moments for 1000 targets", moments.len());
    let (earliest, latest) = (Moment::from_seconds(801), Moment::from_seconds(1001));
    assert!(moments.iter().all(|moment| (earliest..=latest).contains(moment)), "{moments:?}");
}

#[test]
#[rustfmt::skip]
fn illegal_events() {
    let overlapping = || rotated(rest(), prepared_beside(2), 2);
    let turned = || rotated(both(), prepared_for("b", 3), 3);
    let retired = |number| What::Retired { generation: generation(number) };
    let paused = What::Paused { by: operator(), reason: None, until: None };
    let differs = || What::SinkDiffers { sink: "a".parse().expect("a name") };
    let agrees = || What::SinkAgrees { sink: "a".parse().expect("a name") };
    let ready_pair = || both().then(1100, began(2)).then(1110, ready(false));
    let rows: Vec<(&str, Vec<Event>, What)> = vec![
        ("current is never taken away", overlapping(), retired(2)),
        ("what is not on its way out is not taken away", rest(), retired(1)),
        ("an account of a pair keeps its password", turned(), retired(1)),
        ("nothing is taken away twice", overlapping().then(2000, retired(1)), retired(1)),
        ("nothing that is gone fails to go", overlapping().then(2000, retired(1)), What::RetireFailed { generation: generation(1), fault: busy() }),
        ("nothing is taken away while a rotation is open", overlapping().then(2000, began(3)), retired(1)),
        ("the active account is not the resting one", half(), paired("a", 2)),
        ("a pair is made of two", vec![], paired("b", 1)),
        ("no account is taken in while a rotation is open", half().then(1100, began(2)), paired("b", 2)),
        ("an account of a pair has one password", ready_pair(), What::Prepared { generation: generation(3), account: Some("b".to_owned()), beside: true }),
        ("the active account is left alone", ready_pair(), prepared_for("a", 3)),
        ("nothing begins while paused", rest().then(5, paused), began(2)),
        ("what is known is not taken over", rest(), What::TakenOver { place: PLACE.to_owned() }),
        ("an end without a pause", rest(), What::Unpaused { by: operator() }),
        ("a sink differs once", rest().then(5, differs()), differs()),
        ("a sink agrees that never differed", rest(), agrees()),
        ("a sink agrees once", rest().then(5, differs()).then(6, agrees()), agrees()),
        ("nothing differs where nothing was delivered", vec![at(0, adopted())], differs()),
        ("verified in mid-rotation", begun(), What::Verified { login: yes() }),
    ];
    for (name, story, what) in rows {
        let state = fold(&story).unwrap_or_else(|illegal| panic!("{name}: {illegal}"));
        let event = Event { at: Moment::from_seconds(9_000), what };
        assert!(apply(state, &event).is_err(), "{name} was allowed");
    }
}

/// A former password that cannot be taken away is not settled; after the patience for it a person should know.
#[test]
fn a_former_password_that_stays_is_told_of() {
    let failed = |second: i64| at(second, What::RetireFailed { generation: generation(1), fault: busy() });
    let label = |story: &[Event]| fold(story).expect("a legal story").label();
    let overlapping = rotated(rest(), prepared_beside(2), 2);
    assert_eq!(label(&overlapping), Label::Settled);
    let mut stays = overlapping;
    stays.push(failed(1731));
    assert_eq!(label(&stays), Label::Behind);
    for (second, alarming) in [(1800, false), (3530, false), (3531, true)] {
        let mut story = stays.clone();
        story.push(failed(second));
        let plan = Plan { slot: None, ..overlap() };
        let Action::Wait { why, .. } = next(&fold(&story).expect("legal"), &plan, Moment::from_seconds(second)) else {
            panic!("it is tried at once");
        };
        assert!(matches!(why, Why::RetireAgain { .. }), "{why:?}");
        assert_eq!(why.is_alarming(), alarming, "{second}");
    }
    stays.push(at(3600, What::Retired { generation: generation(1) }));
    assert_eq!(label(&stays), Label::Settled);
}

/// What may be live, at each step of each strategy.
#[test]
fn candidates_are_all_that_may_be_live() {
    let named = |story: &[Event]| fold(story).expect("a legal story").candidates();
    assert_eq!(named(&both()), [generation(1), generation(2)]);
    assert_eq!(named(&rotated(both(), prepared_for("b", 3), 3)), [generation(1), generation(3)]);
    let retired = |number| What::Retired { generation: generation(number) };
    let overlapping = || rotated(rest(), prepared_beside(2), 2);
    assert_eq!(named(&overlapping()), [generation(1), generation(2)]);
    assert_eq!(named(&overlapping().then(2000, retired(1))), [generation(2)]);
    // A person's password takes none of the others away, on nodes where several stand beside each other.
    let given = || overlapping().then(2000, replaced(3));
    assert_eq!(named(&given()), [generation(1), generation(2), generation(3)]);
    assert_eq!(named(&given().then(2001, retired(1))), [generation(2), generation(3)]);
    assert_eq!(named(&given().then(2001, retired(1)).then(2002, retired(2))), [generation(3)]);
    assert_eq!(named(&overlapping().then(2000, retired(1)).then(2001, replaced(3))), [generation(2), generation(3)]);
    // … where one replaces the other it does, and a pair's other account keeps its own.
    assert_eq!(named(&rotated(rest(), prepared(2), 2).then(2000, replaced(3))), [generation(3)]);
    // … also before the rotation has settled, and where the candidate never left.
    assert_eq!(named(&proven_story().then(2000, replaced(3))), [generation(3)]);
    assert_eq!(named(&prepared_story().then(2000, replaced(3))), [generation(3)]);
    assert_eq!(
        named(&rotated(both(), prepared_for("b", 3), 3).then(2000, given_for("b", 4))),
        [generation(1), generation(4)]
    );
    assert_eq!(
        named(&rotated(both(), prepared_for("b", 3), 3).then(2000, given_for("a", 4))),
        [generation(3), generation(4)]
    );
    assert_eq!(named(&both().then(2000, given_for_another_pair(4))), [generation(4)]);
    // A person's password ends a rotation whose call may still be carried out: its candidate stays named until what it compares with is surely gone.
    let loose = || {
        begun()
            .then(1110, ready(false))
            .then(1120, prepared(2))
            .then(1121, intended(Call::Modify))
            .then(1122, unanswered())
            .then(1130, replaced(3))
    };
    assert_eq!(named(&loose()), [generation(2), generation(3)]);
    assert_eq!(
        named(
            &loose()
                .then(1140, began(4))
                .then(1141, ready(false))
                .then(1142, prepared(4))
                .then(1143, intended(Call::Modify))
                .then(1144, accepted(None))
                .then(1145, tried(yes()))
                .then(1146, proven(4))
        ),
        [generation(4)]
    );
    // Of a pair, a later call on the same account compares with the password that the lost one compared with, too.
    let turn = |story: Vec<Event>, second, number: u64| {
        story
            .then(second, began(number.into()))
            .then(second + 10, ready(false))
            .then(second + 20, prepared_for("b", number))
            .then(second + 21, intended(Call::Modify))
    };
    let lost = turn(both(), 1100, 3).then(1130, unanswered()).then(1140, given_for("a", 4));
    assert_eq!(named(&lost), [generation(2), generation(3), generation(4)]);
    let after = turn(lost, 1200, 5).then(1230, accepted(None)).then(1231, tried(yes())).then(1232, proven(5));
    assert_eq!(named(&after), [generation(3), generation(4), generation(5)]);
}

/// What a login between rotations, a delivery and a lost sink leave behind: the next look, the page and a changed shape go by it.
#[test]
fn looks_and_deliveries_are_dated_and_keep_their_shape() {
    let seen = |login: Login| fold(&rest().then(300, What::Verified { login })).expect("legal").standing.verified;
    for login in [yes(), no(), Login::Mixed, Login::Unreachable { fault: busy() }, Login::PasswordFree] {
        assert_eq!(seen(login.clone()).map(|seen| seen.at), Some(Moment::from_seconds(300)), "{login:?}");
    }
    let sink: SinkName = "a".parse().expect("a name");
    let shaped = What::Delivered { sink: sink.clone(), generation: generation(1), shape: Some("a digest".to_owned()) };
    let held = rest().then(300, shaped);
    let outlet = |story: &[Event]| fold(story).expect("legal").standing.sinks[&sink].clone();
    assert_eq!(outlet(&held).shape.as_deref(), Some("a digest"));
    assert_eq!(outlet(&held).tried_at, Some(Moment::from_seconds(300)));
    let lost = outlet(&held.then(400, What::SinkLost { sink: sink.clone() }));
    assert_eq!((lost.generation, lost.behind_since), (None, Some(Moment::from_seconds(400))));
    assert_eq!(lost.shape.as_deref(), Some("a digest"));
}

/// A `settled` that an older keywheel wrote does not know of the call that was lost before it; the target goes on knowing it.
#[test]
fn an_older_record_that_says_nothing_of_a_lost_call_is_taken() {
    let story = begun_lost().then(1141, proven(2)).delivered_all(1142, 2).then(1143, told());
    let standing = fold(&story).expect("legal").standing;
    assert_eq!(standing.lost_at, Some(Moment::from_seconds(1130)));
    let older = Standing { lost_at: None, ..standing.clone() };
    let state = fold(&story.then(1144, What::Settled { standing: Box::new(older) })).expect("legal");
    assert_eq!(state.standing, standing);
}

fn begun_lost() -> Vec<Event> {
    sent().then(1130, unanswered()).then(1140, look(yes(), no()))
}
