//! What `status`, `explain`, `recover` and the logs show of the core: the word for a state, which account a generation opens, and the sentence for a wait.

mod story;

use keywheel::moment::Moment;
use keywheel::rotation::answer::{Login, Refusal};
use keywheel::rotation::event::{By, Event, Proof, What};
use keywheel::rotation::plan::{OnSinkDown, Plan};
use keywheel::rotation::state::Label;
use keywheel::rotation::why::from_now;
use keywheel::rotation::{Action, fold, next};
use std::time::Duration;
use story::*;

/// The word for each state, as scripts read it.
#[test]
#[rustfmt::skip]
fn a_state_in_one_word() {
    let paused = || What::Paused { by: operator(), reason: None, until: None };
    let differs = || What::SinkDiffers { sink: "a".parse().expect("a name") };
    let told = || What::HookTold { hook: "h".parse().expect("a name") };
    let lacking = || vec![at(0, adopted()), at(1, delivered("a", 1)), at(1, undelivered("b", 1))];
    let rows: Vec<(&str, Vec<Event>, &str)> = vec![
        ("nothing is known yet", vec![], "due"),
        ("… and nothing is to begin", vec![at(0, paused())], "paused"),
        ("adopted and delivered", rest(), "settled"),
        ("a sink did not take it", lacking(), "behind"),
        ("… and took it then", lacking().then(6, delivered("b", 1)), "settled"),
        ("a sink holds something else", rest().then(5, differs()), "behind"),
        ("somebody asked", rest().then(5, asked()), "due"),
        ("paused", rest().then(5, paused()), "paused"),
        ("… with a sink that did not take it", lacking().then(6, paused()), "behind"),
        ("begun", begun(), "rotating"),
        ("… and paused: it is finished", begun().then(1105, paused()), "rotating"),
        ("a candidate", prepared_story(), "rotating"),
        ("a call is out", sent(), "doubt"),
        ("… accepted", sent().then(1130, accepted(Some(7))), "rotating"),
        ("… refused, and certainly not applied", sent().then(1130, refused(Refusal::Locked, 60)), "rotating"),
        ("… not answered", sent().then(1130, unanswered()), "doubt"),
        ("proven, and the sinks have their turn", proven_story(), "rotating"),
        ("… one did not take it", proven_story().then(1150, undelivered("b", 2)), "behind"),
        ("… delivered, and the hooks have theirs", proven_story().delivered_all(1150, 2), "rotating"),
        ("… told", proven_story().delivered_all(1150, 2).then(1151, told()), "rotating"),
        ("a person is needed", rest().then(5, halted()), "halted"),
        ("… in doubt", sent().then(1130, unanswered()).then(1140, halted()), "halted"),
    ];
    for (name, story, word) in rows {
        let label = fold(&story).expect("a legal story").label();
        assert_eq!(label.as_str(), word, "{name}");
        let json = serde_json::to_string(&label).expect("a word");
        assert_eq!(json, format!("\"{word}\""), "{name}: the page and the ledger say the same");
        assert_eq!(serde_json::from_str::<Label>(&json).expect("a word"), label, "{name}");
    }
}

/// `recover --show` and `reveal` say which of a pair's accounts a password opens.
#[test]
fn which_account_a_password_opens() {
    let adopted = What::Adopted {
        generation: generation(1),
        proof: Proof::Login,
        by: By::Configuration,
        reason: None,
        place: "crs-1/a+b".to_owned(),
        account: Some("a".to_owned()),
    };
    let candidate = What::Prepared { generation: generation(3), account: Some("b".to_owned()), beside: false };
    let both = vec![at(0, adopted)].delivered_all(1, 1).then(2, paired("b", 2));
    let rotating = both.then(1100, began(2)).then(1110, ready(false)).then(1120, candidate);
    let state = fold(&rotating).expect("a legal story");
    let opens = [1, 2, 3, 4].map(|number| state.account_of(generation(number)));
    assert_eq!(opens, [Some("a"), Some("b"), Some("b"), None], "the active one, the resting one, the candidate, none");
    let state = fold(&prepared_story()).expect("a legal story");
    assert_eq!([1, 2].map(|number| state.account_of(generation(number))), [None, None], "there is one account only");
}

/// The sentence for a wait.
fn sentence(plan: &Plan, story: &[Event], second: i64) -> String {
    let action = next(&fold(story).expect("a legal story"), plan, Moment::from_seconds(second));
    let Action::Wait { why, .. } = action else { panic!("no wait: {action:?}") };
    why.to_string()
}

#[test]
#[rustfmt::skip]
fn a_sink_that_is_behind_in_one_sentence() {
    const WAITS: &str = ", and the rotation that is due waits for it (on-sink-down = \"hold\")";
    let open = Plan { may_start: true, ..plan() };
    let no_slot = Plan { slot: None, ..plan() };
    let going_on = Plan { on_sink_down: OnSinkDown::Proceed, ..no_slot.clone() };
    let lacking = |sinks: &[&str], second| {
        let times = |story, sink: &&str| (0..8).fold(story, |story: Vec<Event>, _| story.then(second, undelivered(sink, 1)));
        sinks.iter().fold(vec![at(0, adopted())], times)
    };
    let behind = |second| lacking(&["b"], second).then(second, delivered("a", 1));
    let paused = || What::Paused { by: operator(), reason: None, until: None };
    let rows = [
        ("nothing is due", plan(), behind(500), 500, ""),
        ("nor without a slot", Plan { may_start: true, ..no_slot.clone() }, behind(500), 500, ""),
        ("a slot is there", open, behind(1100), 1100, WAITS),
        ("somebody asked", no_slot, behind(500).then(500, asked()), 500, WAITS),
        ("it is not the sink that this waits for", going_on, behind(500).then(500, asked()).then(500, paused()), 500, ""),
    ];
    for (name, plan, story, second, waits) in rows {
        let expected = format!("sink b lacks generation 1{waits}: {}", busy());
        assert_eq!(sentence(&plan, &story, second), expected, "{name}");
    }
    let both = sentence(&plan(), &lacking(&["a", "b"], 500), 500);
    assert!(both.starts_with("2 sinks lack generation 1, "), "{both}");
}

/// Logins with current, between rotations, that say too little: one sentence for nodes that disagree, one for a silence.
#[test]
fn what_logins_left_open_in_one_sentence() {
    let plan = Plan { verify_every: Some(Duration::from_secs(1000)), slot: None, ..plan() };
    let seen = |login: &Login| (0..4).fold(rest(), |story, _| story.then(300, What::Verified { login: login.clone() }));
    let mixed = sentence(&plan, &seen(&Login::Mixed), 300);
    assert!(mixed.starts_with("nodes disagree about the current password"), "{mixed}");
    let silent = sentence(&plan, &seen(&Login::Unreachable { fault: busy() }), 300);
    assert!(silent.starts_with("the instance cannot be reached again and again"), "{silent}");
}

#[test]
fn a_moment_seen_from_now() {
    let now = Moment::from_seconds(1000);
    let shown = [999, 1000, 1001, 1000 + 2 * 3600 + 300].map(|second| from_now(Moment::from_seconds(second), now));
    assert_eq!(shown, ["now", "now", "in 1s", "in 2h 5m"]);
}

/// What `plan` prints is what the configuration takes.
#[test]
fn on_sink_down_is_shown_as_it_is_written() {
    for (word, choice) in OnSinkDown::ALL {
        assert_eq!(choice.as_str(), word);
    }
    assert_eq!(OnSinkDown::default().as_str(), "hold");
}
