//! What a record of the rotation core means: which events may follow, what they leave behind, and that what was written once stays readable.

mod story;

use keywheel::fault::{Fault, Kind};
use keywheel::moment::Moment;
use keywheel::rotation::answer::{Call, Login, Refusal, TaskStatus};
use keywheel::rotation::event::{Event, Proof, Queue, What};
use keywheel::rotation::state::{Doubt, DoubtCause, Phase, Sighting, Standing};
use keywheel::rotation::{apply, fold};
use story::*;

/// What may not happen, whatever the driver does.
#[test]
#[rustfmt::skip]
fn illegal_events() {
    let exposed = || sent().then(1130, unanswered());
    let discard = || What::Discarded { generation: generation(2), fault: busy() };
    let proven = |proof| What::Proven { generation: generation(2), proof };
    let queued = || What::HookQueued { hook: "h".parse().expect("a name"), until: Moment::from_seconds(9_100), by: Queue::Others };
    let broken_rule = || sent().then(1130, refused(Refusal::RuleViolated, 1));
    let halted_end = proven_story().delivered_all(1150, 2).then(1151, halted());
    let standing = fold(&halted_end).expect("legal").standing;
    let rows: Vec<(&str, Vec<Event>, What)> = vec![
        ("adopting twice", rest(), What::Adopted { generation: generation(2), proof: Proof::Login, by: operator(), reason: None, place: PLACE.to_owned(), account: None }),
        ("a second rotation", begun(), began(9).clone()),
        ("a rotation while halted", rest().then(5, halted()), began(9)),
        ("a rotation before adoption", vec![], began(9)),
        ("asking while one is open", begun(), asked()),
        ("a candidate before the preflight", begun(), prepared(2)),
        ("a candidate's number twice", begun().then(1110, ready(false)), prepared(1)),
        ("a candidate's number after the last one there is", rest().then(2, replaced(u64::MAX)).then(1100, began(2)).then(1110, ready(false)), prepared(u64::MAX)),
        ("a candidate's number skipped", begun().then(1110, ready(false)), prepared(3)),
        ("a second candidate in doubt", exposed(), prepared(3)),
        ("a call without a candidate", begun().then(1110, ready(false)), intended(Call::Modify)),
        ("a second call before the answer", sent(), intended(Call::Modify)),
        ("an answer without a call", prepared_story(), accepted(None)),
        ("proof before any call", prepared_story(), proven(Proof::Login)),
        ("proof from an intent alone", sent(), proven(Proof::Acceptance)),
        ("proof by a login that was refused", exposed().then(1131, look(no(), yes())), proven(Proof::Login)),
        ("proof by a login that nobody tried", exposed(), proven(Proof::Login)),
        ("proof by a mark that stands still", exposed().then(1131, mark("before")), proven(Proof::ChangeMark)),
        ("proof by a mark where no call can have moved it", sent().then(1130, refused(Refusal::OldPasswordWrong, 1)).then(1131, mark("after")), proven(Proof::ChangeMark)),
        ("proof by an old password that nobody said is gone", exposed(), proven(Proof::OldPasswordGone)),
        ("proof by a running task", sent().then(1130, accepted(Some(7))), proven(Proof::Task)),
        ("proof by an old password that may be wrong for another reason", broken_rule(), proven(Proof::OldPasswordGone)),
        ("proof on somebody's word", exposed(), proven(Proof::Stated)),
        ("proof of another number", exposed().then(1131, look(yes(), no())), What::Proven { generation: generation(1), proof: Proof::Login }),
        ("discarding what was exposed", exposed().then(1131, look(no(), yes())), discard()),
        ("discarding what a login let in", broken_rule().then(1131, look(yes(), yes())), discard()),
        ("discarding what an earlier call may have made live", exposed().then(1131, look(no(), yes())).then(1300, intended(Call::Modify)).then(1301, refused(Refusal::RuleViolated, 1)).then(1302, look(no(), yes())), discard()),
        ("discarding before any call", prepared_story(), discard()),
        ("discarding without a broken rule", sent().then(1130, refused(Refusal::OldPasswordWrong, 1)).then(1131, look(no(), yes())), discard()),
        ("abandoning what was exposed", exposed(), abandoned()),
        ("abandoning an open call", sent(), abandoned()),
        ("publishing before proof", exposed(), delivered("a", 2)),
        ("publishing the old one meanwhile", exposed(), delivered("a", 1)),
        ("publishing an old generation", proven_story(), delivered("a", 1)),
        ("publishing what does not exist", rest(), delivered("a", 2)),
        ("settling before proof", exposed(), What::Settled { standing: Box::default() }),
        ("settling with another standing", proven_story(), What::Settled { standing: Box::default() }),
        ("settling while halted", halted_end, What::Settled { standing: Box::new(standing) }),
        ("halting twice", rest().then(5, halted()), halted()),
        ("resuming what is not halted", rest(), resumed(false)),
        ("a given password with an old number", rest(), replaced(1)),
        ("a hook's turn before proof", exposed(), queued()),
        ("a turn of a hook that was told", proven_story().then(1140, What::HookTold { hook: "h".parse().expect("a name") }), queued()),
        ("a hook before proof", exposed(), What::HookTold { hook: "h".parse().expect("a name") }),
    ];
    for (name, story, what) in rows {
        let state = fold(&story).unwrap_or_else(|illegal| panic!("{name}: {illegal}"));
        let event = Event { at: Moment::from_seconds(9_000), what };
        assert!(apply(state, &event).is_err(), "{name} was allowed");
    }
}

/// The ledger's rows stay readable: one line per kind of event, in the form in which it was first written.
#[test]
fn written_events_stay_readable() {
    let golden = include_str!("rotation_events.jsonl");
    let samples = one_of_each();
    let labels: std::collections::BTreeSet<&str> = samples.iter().map(|event| event.what.label()).collect();
    assert_eq!(labels.len(), 39, "a sample of each kind of event");
    let written: Vec<String> =
        samples.iter().map(|event| serde_json::to_string(event).expect("events are plain data")).collect();
    assert_eq!(written.join("\n"), golden.trim_end());
    for (line, sample) in golden.lines().zip(&samples) {
        assert_eq!(&serde_json::from_str::<Event>(line).expect("readable"), sample, "{line}");
    }
}

/// A person ends a doubt by giving the password that works. The call that is still out may make the candidate live after all, so it stays named
/// until the next proof.
#[test]
fn a_candidate_that_may_still_become_live_stays_named() {
    let story = sent().then(1130, unanswered()).then(1140, replaced(3));
    let state = keywheel::rotation::fold(&story).expect("a legal story");
    assert_eq!(state.candidates(), [generation(2), generation(3)]);
    // A rule was broken, said the cloud: an answer may be wrong, also when the rotation ends with nothing changed.
    let dropped = sent()
        .then(1130, refused(Refusal::RuleViolated, 0))
        .then(1140, What::Discarded { generation: generation(2), fault: busy() });
    let state =
        keywheel::rotation::fold(&dropped.then(1150, What::Abandoned { fault: busy() })).expect("a legal story");
    assert_eq!(state.candidates(), [generation(1), generation(2)]);
}

fn doubt(story: &[Event]) -> Doubt {
    let phase = fold(story).expect("a legal story").open.expect("a rotation").phase;
    let Phase::Doubt(doubt) = phase else { panic!("not in doubt: {phase:?}") };
    doubt
}

/// Doubt ends after so many rounds: one is a pass over all looks that a target offers, however many those are.
#[test]
fn a_round_is_one_pass_over_the_looks() {
    let pass = |story: Vec<Event>, second| {
        let sought = story.then(second, What::TaskSought { found: None }).then(second + 1, mark("before"));
        sought.then(second + 2, look(no(), no()))
    };
    let once = pass(sent().then(1130, unanswered()), 1131);
    assert_eq!(doubt(&once).round, 0);
    assert_eq!(doubt(&pass(once, 1141)).round, 1);
}

/// The driver may leave these unwritten for a moment: after a crash they are looked at anew. Nothing else that happened can be had again.
#[test]
fn only_evidence_from_looks_can_be_had_again() {
    let again: std::collections::BTreeSet<&str> =
        one_of_each().iter().filter(|event| event.what.is_look()).map(|event| event.what.label()).collect();
    assert_eq!(
        again.into_iter().collect::<Vec<_>>(),
        ["login-tried", "look-failed", "mark-read", "task-read", "task-sought"]
    );
}

/// A task that is found to have failed changes why we doubt, not for how long we looked or what we saw.
#[test]
fn a_failed_task_that_is_found_leaves_what_was_looked_at() {
    let unreachable = || look(Login::Unreachable { fault: busy() }, no());
    let looked = sent().then(1130, unanswered()).then(1131, unreachable()).then(1140, unreachable());
    let failed = TaskStatus::Failed { message: "no".to_owned() };
    let found = || What::TaskSought { found: Some((task_id(7), failed.clone())) };
    let (before, after) = (doubt(&looked), doubt(&looked.clone().then(1150, found())));
    assert_eq!((after.cause, after.fault.kind), (DoubtCause::TaskFailed, Kind::TaskFailed));
    assert_eq!((before.round, before.blind, before.seen), (1, 2, Some((Sighting::Unreachable, 2))));
    // The search begins another round.
    assert_eq!((after.round, after.blind, after.seen), (2, before.blind, before.seen));
    // Found once more, it is no news: the doubt is as old as it was.
    let again = doubt(&looked.then(1150, found()).then(1160, found()));
    assert_eq!(again, Doubt { round: 3, looked_at: Moment::from_seconds(1160), ..after });
}

#[test]
fn a_hook_that_was_told_says_when() {
    let told = proven_story().then(1140, What::HookTold { hook: "h".parse().expect("a name") });
    let Phase::Proven { hooks } = fold(&told).expect("a legal story").open.expect("a rotation").phase else {
        panic!("not proven")
    };
    let told = hooks.values().next().expect("a hook");
    assert_eq!((told.generation, told.tried_at), (Some(generation(2)), Some(Moment::from_seconds(1140))));
}

/// A fold begins at `settled`; that a hook was given up on outlives it, until the hook is told of a later change.
#[test]
fn a_hook_that_was_not_told_is_named_until_it_is() {
    let hook = || "h".parse().expect("a name");
    let untold = |story: &[Event]| fold(story).expect("a legal story").standing.untold;
    let failed = (0..3).fold(proven_story().delivered_all(1150, 2), |story, second| {
        story.then(1160 + second, What::HookFailed { hook: hook(), fault: busy() })
    });
    let first = untold(&failed)[&hook()].rotation;
    let standing = fold(&failed).expect("a legal story").standing;
    let settled = failed.clone().then(1170, What::Settled { standing: Box::new(standing.clone()) });
    assert_eq!(untold(&settled), untold(&settled[settled.len() - 1..]));
    assert_eq!(untold(&settled)[&hook()].fault, busy());
    // The next rotation's notice arrives at the second attempt.
    let next = settled
        .then(2100, began(3))
        .then(2110, ready(false))
        .then(2120, prepared(3))
        .then(2121, intended(Call::Modify))
        .then(2130, accepted(None))
        .then(2131, What::LoginTried { candidate: yes(), previous: None })
        .then(2132, What::Proven { generation: generation(3), proof: Proof::Login })
        .then(2140, What::HookFailed { hook: hook(), fault: busy() });
    assert_eq!(untold(&next)[&hook()].rotation, first, "the first one that it was not told of");
    assert!(untold(&next.then(2150, What::HookTold { hook: hook() })).is_empty());
    // An older keywheel settles without a word of it.
    let older = Standing { untold: [].into(), ..standing };
    assert_eq!(untold(&failed.then(1170, What::Settled { standing: Box::new(older) })).len(), 1);
}

#[test]
fn a_new_password_is_delivered_at_once_to_a_sink_that_failed_before() {
    let failed = (0..5).fold(rest(), |story, second| story.then(5 + second, undelivered("b", 1)));
    let failures =
        |story: &[Event]| fold(story).expect("a legal story").standing.sinks[&"b".parse().expect("a name")].failures;
    assert_eq!(failures(&failed), 5);
    let second =
        failed.then(1100, began(2)).then(1110, ready(false)).then(1120, prepared(2)).then(1121, intended(Call::Modify));
    let proven = second
        .then(1130, accepted(None))
        .then(1131, What::LoginTried { candidate: yes(), previous: None })
        .then(1132, What::Proven { generation: generation(2), proof: Proof::Login });
    let outlet = fold(&proven).expect("a legal story").standing.sinks[&"b".parse().expect("a name")].clone();
    // It lacks the newest since the first failure: a lag that began then.
    assert_eq!((outlet.failures, outlet.behind_since), (0, Some(Moment::from_seconds(5))));
}

/// Seed 4009 of the whole driver: the adoption of a pair's other account was held up while the last rotation still delivered, and what held it up was
/// remembered or forgotten at `settled`, depending on where the reading began.
#[test]
fn a_record_means_the_same_from_settled_on_and_as_a_whole() {
    let story = proven_story()
        .delivered_all(1150, 2)
        .then(1151, blocked(60))
        .then(1152, What::HookTold { hook: "h".parse().expect("a name") });
    let standing = Box::new(fold(&story).expect("a legal story").standing);
    let whole = story.then(1153, What::Settled { standing });
    let recent = &whole[whole.len() - 1..];
    assert_eq!(fold(&whole), fold(recent));
}

/// A hook that was told is told again once a late sink has the password, and that is another telling: whoever acts once for each must act again.
#[test]
fn a_delivery_after_the_hooks_is_worth_another_telling() {
    let hook_told = || What::HookTold { hook: "h".parse().expect("a name") };
    let late = |story: &[Event]| fold(story).expect("a legal story").open.expect("a rotation").late;
    let one = || proven_story().then(1140, delivered("a", 2)).then(1140, undelivered("b", 2));
    assert_eq!(late(&one().then(1150, delivered("b", 2))), 0, "nobody was told before");
    let told = || one().then(1262, hook_told());
    assert_eq!((late(&told()), late(&told().then(1270, delivered("b", 2)))), (0, 1));
    assert_eq!(
        late(&told().then(1270, delivered("b", 2)).then(1271, hook_told())),
        1,
        "the same number until the next late one"
    );
    let unheard = |story: Vec<Event>| {
        story.then(
            1262,
            What::HookFailed { hook: "h".parse().expect("a name"), fault: Fault::new(Kind::HookFailed, "no answer") },
        )
    };
    assert_eq!(
        late(&unheard(one()).then(1270, delivered("b", 2))),
        1,
        "it may have been told: only its answer is missing"
    );
    assert_eq!(
        late(&one().then(1270, delivered("b", 2))),
        1,
        "keywheel was cut off before it could write down that it told"
    );
}
