//! What the stories found, each told again in a few lines.

use super::dice::Dice;
use super::disk::Record;
use super::fleet::{Blueprint, draw_plan};
use super::life::{Story, Traits};
use super::plan::{Kept, Way};
use super::runtime;
use super::sim::text;
use super::truth::Truth;
use keywheel::driver::Wish;
use keywheel::fault::Kind;
use keywheel::ledger::CLAIM_LASTS;
use keywheel::moment::Moment;
use keywheel::name::TargetName;
use keywheel::rotation::event::{By, What};
use keywheel::rotation::plan::{OnSinkDown, Recovery, Strategy};
use keywheel::rotation::state::{Label, Phase, State};
use keywheel::schedule::{Missed, Settings, Timetable};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const OPERATOR: By = By::Operator { uid: 0 };
const TARGET: &str = "orders";
const KEY: &str = "i-orders";

/// A story without faults: one target that is rotated when somebody asks, or, where nobody knows its password, at once.
fn story(take_over: bool) -> Story {
    let mut dice = Dice::new(7);
    let mood = super::cloud::Mood { storm: false, tasks: false, merged_code: false, fault_rate: 0 };
    let (strategy, asks_old) = (Strategy::InPlace, true);
    let kept = Kept { strategy, tasks: false, asks_old, take_over, adopts_resting: false };
    let mut plan = draw_plan(&kept, &mut dice);
    plan.login = true;
    plan.on_sink_down = OnSinkDown::Hold;
    plan.adopts = false;
    plan.verify_every = None;
    plan.abilities.reset = true;
    plan.recovery = if take_over { Recovery::Reset } else { Recovery::Halt };
    let mut story = Story::empty(dice, Traits::default(), 0, true);
    let name: TargetName = TARGET.parse().expect("a name");
    let timetable = Timetable::parse(Settings {
        target: name.clone(),
        schedule: None,
        every: take_over.then_some(Duration::from_secs(60)),
        zone: chrono_tz::UTC,
        window: None,
        splay: Duration::ZERO,
        missed: Missed::Run,
        max_age: None,
    })
    .expect("a timetable");
    let mut inner = story.sim.lock();
    inner.storm = false;
    let first = vec![inner.fresh_password()];
    inner.truths.insert(name.clone(), Truth::new(Way::InPlace, Strategy::InPlace, KEY.to_owned(), mood, first.clone()));
    drop(inner);
    let key = KEY.to_owned();
    story.blueprints.push(Blueprint {
        name,
        way: Way::InPlace,
        kept,
        plan,
        timetable,
        key,
        first,
        named: true,
        wave: None,
    });
    story
}

/// Waits, at most an hour, until the record says so.
async fn until(story: &Story, what: &str, says: impl Fn(&State) -> bool) {
    for _ in 0..360_000 {
        if says(&story.standing(0).0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let transcript = story.sim.lock().transcript.take();
    panic!("it never came to this: {what}\n{}", transcript.unwrap_or_default());
}

/// A turn ended its pause, and then found that another target holds the instance: both were forgotten, the pause and the `began`. A password taken away
/// or a delivery was forgotten in the same way, and done again every few seconds.
#[test]
fn what_happened_before_a_rotation_stands_back_is_written() {
    runtime().block_on(async {
        let mut story = story(false);
        let name: TargetName = TARGET.parse().unwrap();
        let mut other = Record::new(Moment::NEVER);
        other.projection.holds = Some(KEY.to_owned());
        // No target of this fleet, so that nobody wakes it and its hold stays.
        other.retired = true;
        story.sim.lock().disk.records.insert("other".parse().unwrap(), other);
        story.blueprints[0].plan.hooks.clear();
        story.start();
        until(&story, "adopted", |state| state.standing.current.is_some()).await;
        story.ask(0, Wish::Rotate { by: OPERATOR, reason: None, through_freeze: false });
        until(&story, "asked", |state| state.asked.is_some()).await;
        story.ask(0, Wish::Pause { by: OPERATOR, reason: None, span: Some(Duration::from_secs(60)) });
        until(&story, "paused", |state| state.standing.paused.is_some()).await;
        until(&story, "the pause is over", |state| state.standing.paused.is_none()).await;
        let inner = story.sim.lock();
        let rows = &inner.disk.records[&name].rows;
        assert!(rows.iter().any(|row| matches!(row.event.what, What::Unpaused { by: By::Schedule })));
        assert!(!rows.iter().any(|row| matches!(row.event.what, What::Began { .. })), "the instance is held");
    });
}

/// Nobody knows today's password, so the first rotation sets one; a password that somebody gives meanwhile was taken for a defect of keywheel.
#[test]
fn a_password_given_while_a_taken_over_target_rotates_is_refused_with_a_sentence() {
    runtime().block_on(async {
        let mut story = story(true);
        let name: TargetName = TARGET.parse().unwrap();
        story.start();
        until(&story, "its first rotation", |state| state.open.is_some()).await;
        let password = text(story.blueprints[0].first[0]);
        let driver = std::sync::Arc::clone(&story.running[0].driver);
        let answer = driver.command(&name, Wish::Adopt { by: OPERATOR, reason: None, password, account: None }).await;
        let fault = answer.expect_err("there is nothing to adopt");
        assert_eq!(fault.kind, Kind::Usage, "{fault}");
        assert!(fault.next_step.contains("recover"), "{fault}");
        until(&story, "settled", |state| state.open.is_none() && state.standing.current.is_some()).await;
    });
}

/// A process stood still between its intent and its call, another went on with the target meanwhile, and then the first one sent what it had decided on: a
/// password that nobody knew of any more became valid, and the same way one that was current again was taken away. What stood still for longer than its
/// claim lasts sends nothing.
#[test]
fn a_process_that_stood_still_past_its_claim_does_not_send_the_call_it_had_decided_on() {
    // It stops at each of its waits in turn: some of them lie between the intent and the call.
    let between = (0..60).filter(|&waits| runtime().block_on(stands_still_after(waits))).count();
    assert!(between > 0, "it never stood still before its call");
}

/// Whether it stood still between the intent and the call.
async fn stands_still_after(waits: i64) -> bool {
    let mut story = story(false);
    story.blueprints[0].plan.hooks.clear();
    story.start();
    until(&story, "adopted", |state| state.standing.current.is_some()).await;
    story.ask(0, Wish::Rotate { by: OPERATOR, reason: None, through_freeze: false });
    until(&story, "asked", |state| state.asked.is_some()).await;
    let process = Arc::clone(&story.running[0].process);
    process.freezing.store(waits, Ordering::Relaxed);
    tokio::time::sleep(CLAIM_LASTS * 2).await;
    let first = story.blueprints[0].first[0];
    let is_sent = |story: &Story| {
        let cloud = |truth: &Truth| truth.instance.cloud(0).is_some_and(|cloud| cloud.live != first);
        story.sim.lock().truths.values().any(cloud)
    };
    let phase = story.standing(0).0.open.map(|open| open.phase);
    let between = process.is_paused() && !is_sent(&story) && matches!(phase, Some(Phase::Sent { .. }));
    // Another one claims the target meanwhile, and does nothing yet.
    if let Some(record) = story.sim.lock().disk.records.values_mut().next().filter(|_| between) {
        record.fence += 1;
    }
    process.resume();
    if between {
        until(&story, "in doubt", |state| state.label() == Label::Doubt).await;
        assert!(!is_sent(&story), "stopped at its wait {waits}, it sent the call all the same");
    }
    until(&story, "settled", |state| state.open.is_none() && state.asked.is_none()).await;
    assert!(is_sent(&story), "the call that was decided on anew");
    between
}
