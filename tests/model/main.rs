//! Every order of events around the rotation core, within bounds: `rotation::apply` and `rotation::next` themselves in a Stateright model of a hostile cloud, an
//! outsider, sinks that fail, a process that dies between any two steps, and a second one while the first sleeps past its claim.
//!
//! What is bounded is how often each thing may go wrong, not when. `KEYWHEEL_LONG=1` takes the large bounds. Each exploration prints what it went through.

#![allow(clippy::wildcard_enum_match_arm, reason = "an observer looks at a few of many kinds")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod age;
mod cloud;
mod ledger;
mod promises;
mod step;
mod turn;
mod walk;
mod world;

use age::TICK;
use cloud::{Cloud, Password, each};
use keywheel::name::{Generation, SinkName};
use keywheel::rotation::event::{By, Proof, What};
use keywheel::rotation::plan::{Abilities, Backoff, Limits, OnSinkDown, Plan, Recovery, Strategy};
use promises::sometimes;
use stateright::{Checker, Model, Property};
use std::collections::BTreeSet;
use std::io::Write as _;
use turn::PAIR;
use world::{Left, Move, Setting, World, record};

const PLACE: &str = "crs-1/root";

/// Every wait of the protocol in ticks. Each back-off is one tick: drawn below one tick, and the model wakes at the next.
fn limits() -> Limits {
    let back_off = Backoff { first: TICK, longest: TICK };
    Limits {
        usual_task_time: TICK,
        task_patience: TICK * 2,
        proof_patience: TICK,
        late_effect: TICK * 2,
        lock_patience: TICK * 2,
        attempts: 3,
        redraws: 1,
        agreement: 2,
        rounds: 4,
        hook_attempts: 1,
        call_backoff: back_off,
        look_backoff: back_off,
        outlet_backoff: back_off,
    }
}

fn plan(login: bool, abilities: Abilities, recovery: Recovery, sinks: usize) -> Plan {
    Plan {
        place: PLACE.to_owned(),
        slot: None,
        may_start: false,
        hold: None,
        strategy: Strategy::InPlace,
        login,
        abilities,
        recovery,
        on_sink_down: OnSinkDown::Hold,
        take_over: false,
        adopts: false,
        adopts_resting: false,
        verify_every: None,
        sinks: (0..sinks).map(|n| format!("sink-{n}").parse::<SinkName>().unwrap()).collect(),
        hooks: Vec::new(),
        limits: limits(),
    }
}

/// One account whose password 1 was taken in as generation 1 and delivered.
fn in_place(plan: Plan, tasks: bool, left: Left) -> Setting {
    let generation = Generation(1);
    let proof = if plan.login { Proof::Login } else { Proof::Stated };
    let by = By::Configuration;
    let adopted = What::Adopted { generation, proof, by, reason: None, place: PLACE.to_owned(), account: None };
    let delivered =
        plan.sinks.iter().map(|sink| (What::Delivered { sink: sink.clone(), generation, shape: None }, None));
    let events = std::iter::once((adopted, Some((generation, 1)))).chain(delivered).collect();
    let sinks = vec![generation; plan.sinks.len()];
    let begin = World::new(record(events), Cloud::new(&[1], false), sinks, left);
    Setting { plan, tasks, merged_code: false, prompt: false, left, begin, also: Vec::new() }
}

/// Two passwords at once on the two nodes of a server of one's own.
fn overlap(left: Left) -> Setting {
    let abilities = Abilities { each_node: true, asks_old: false, ..BARE };
    let mut setting = in_place(plan(true, abilities, Recovery::Halt, 1), false, left);
    // No shorter than a late effect may take: what was taken away must not come back.
    setting.plan.strategy = Strategy::Overlap { grace: limits().late_effect };
    setting.begin.cloud = Cloud::new(&[1, 1], true);
    setting
}

/// Two accounts in turn, a with password 1 and b with password 2.
fn alternate(left: Left) -> Setting {
    let strategy = Strategy::Alternate { accounts: PAIR.map(str::to_owned), grace: TICK };
    let plan = Plan { strategy, ..bare() };
    let (proof, by, [a, b]) = (Proof::Login, By::Configuration, PAIR.map(str::to_owned));
    let (first, second) = (Generation(1), Generation(2));
    let adopted = What::Adopted {
        generation: first,
        proof,
        by: by.clone(),
        reason: None,
        place: PLACE.to_owned(),
        account: Some(a),
    };
    let paired = What::Paired { generation: second, proof, by, reason: None, account: b };
    let delivered = What::Delivered { sink: plan.sinks[0].clone(), generation: first, shape: None };
    let events = vec![(adopted, Some((first, 1))), (paired, Some((second, 2))), (delivered, None)];
    let begin = World::new(record(events), Cloud::new(&[1, 2], false), vec![first], left);
    Setting { plan, tasks: false, merged_code: false, prompt: false, left, begin, also: Vec::new() }
}

/// Explores everything, prints what it went through, and fails with a shortest way to each broken promise, and where what should come to pass never does.
fn explore(name: &str, setting: Setting, also: Vec<Property<Setting>>) {
    let setting = Setting { also, ..setting };
    // One thread each: the tests of this file run beside each other.
    let checker = setting.clone().checker().spawn_bfs().join();
    let (states, unique, depth) = (checker.state_count(), checker.unique_state_count(), checker.max_depth());
    let (mut broken, mut missing) = (BTreeSet::new(), Vec::new());
    for property in &checker.model().properties() {
        match (property.expectation.discovery_is_failure(), checker.discovery(property.name)) {
            (true, Some(_)) => {
                broken.insert(property.name);
            }
            (false, None) => missing.push(property.name),
            (true, None) | (false, Some(_)) => {}
        }
    }
    if !broken.is_empty() {
        let mut told = String::new();
        for (promise, way) in walk::shortest(&setting, &broken) {
            told.push_str(&format!("\n{promise}: broken after {} moves\n{}\n", way.len(), tell(&setting, &way)));
        }
        panic!("model {name}: {states} states, {unique} unique{told}");
    }
    assert!(missing.is_empty(), "model {name}: it never comes to pass: {missing:?}");
    let walked = walk::walk(&setting);
    assert!(walked.circle.is_none(), "model {name}: a run without an end: {:#?}", walked.circle);
    assert_eq!(walked.worlds, unique, "model {name}: the walk and the exploration saw different worlds");
    // Past the harness's capture: a run that passes says what it explored.
    let line = format!(
        "model {name}: {states} states, {unique} unique, depth {depth}; no run is endless, the longest has {} moves\n",
        walked.longest
    );
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

/// The moves, each with what the process does then, and the world at the end.
fn tell(setting: &Setting, way: &[Move]) -> String {
    let mut world = setting.begin.clone();
    let mut told = String::new();
    for step in way {
        world = setting.next_state(&world, step.clone()).unwrap();
        let ahead: Vec<String> = world.turns().map(|turn| format!("{:?}", turn.step)).collect();
        let event = world.turns().flat_map(|turn| &turn.unwritten).map(|entry| entry.event.what.label());
        let unwritten: Vec<&str> = event.collect();
        told.push_str(&format!("  {step:?}  live {:?}, {unwritten:?}, next {ahead:?}\n", live(&world)));
    }
    told + &format!("{world:?}")
}

/// What each door lets in.
fn live(world: &World) -> Vec<Vec<Password>> {
    world.cloud.doors.iter().map(|&door| each(door).collect()).collect()
}

/// The cloud offers nothing but the change itself, which compares the old password.
const BARE: Abilities = Abilities {
    task_status: false,
    task_list: false,
    change_mark: false,
    reset: false,
    each_node: false,
    asks_old: true,
};
const POLLED: Abilities = Abilities { task_status: true, ..BARE };
const TASKS: Abilities = Abilities { task_list: true, ..POLLED };
const MARKED: Abilities = Abilities { change_mark: true, ..BARE };
const RESET: Abilities = Abilities { reset: true, ..BARE };

/// The small bounds, or large ones made of them where they are asked for.
fn bounds(small: Left, large: impl FnOnce(Left) -> Left) -> Left {
    if std::env::var_os("KEYWHEEL_LONG").is_some() { large(small) } else { small }
}

/// One rotation that meets two faults and a crash.
fn stormy() -> Left {
    Left { asks: 1, faults: 2, crashes: 1, ..Left::default() }
}

/// One rotation that meets a fault.
fn windy() -> Left {
    Left { asks: 1, faults: 1, ..Left::default() }
}

/// A plan with a login route beside the change itself.
fn bare() -> Plan {
    plan(true, BARE, Recovery::Halt, 1)
}

#[test]
fn a_login_route() {
    let left = bounds(stormy(), |one| Left { crashes: 2, delays: 1, ..one });
    let also = vec![
        sometimes::settles(),
        sometimes::repeats(),
        sometimes::old_password_gone(),
        sometimes::redraws(),
        sometimes::halts(),
    ];
    explore("login, no tasks", in_place(bare(), false, left), also);
}

#[test]
fn a_login_route_and_tasks() {
    let left = bounds(stormy(), |one| Left { delays: 1, ..one });
    let also = vec![sometimes::settles(), sometimes::repeats(), sometimes::redraws()];
    explore("login, tasks", in_place(plan(true, TASKS, Recovery::Halt, 1), true, left), also);
}

#[test]
fn no_login_route() {
    let left = bounds(stormy(), |one| Left { delays: 1, ..one });
    for (name, abilities, tasks) in [
        ("nothing but the change", BARE, false),
        ("a change mark", MARKED, false),
        ("tasks", POLLED, true),
        ("tasks that are listed", TASKS, true),
    ] {
        let setting = in_place(plan(false, abilities, Recovery::Halt, 1), tasks, left);
        explore(&format!("no login, {name}"), setting, vec![sometimes::settles(), sometimes::halts()]);
    }
}

#[test]
fn one_code_for_a_broken_rule_and_a_wrong_old_password() {
    let left = bounds(stormy(), |one| Left { faults: 3, ..one });
    for login in [true, false] {
        let mut setting = in_place(plan(login, BARE, Recovery::Halt, 1), false, left);
        setting.merged_code = true;
        let also = vec![sometimes::settles(), sometimes::halts()];
        explore(&format!("one code for two refusals, login {login}"), setting, also);
    }
}

#[test]
fn an_outsider_and_a_reset() {
    let one = Left { crashes: 1, intrusions: 1, ..windy() };
    let left = bounds(one, |one| Left { crashes: 0, resumes: 1, ..one });
    for login in [true, false] {
        let setting = in_place(plan(login, RESET, Recovery::Reset, 1), false, left);
        explore(&format!("an outsider and a reset, login {login}"), setting, vec![sometimes::settles()]);
    }
}

#[test]
fn a_person_resumes() {
    let left = bounds(Left { intrusions: 1, resumes: 1, ..windy() }, |one| Left { crashes: 1, ..one });
    explore("a person resumes", in_place(bare(), false, left), vec![sometimes::settles(), sometimes::halts()]);
}

#[test]
fn two_processes_and_a_lost_claim() {
    let left = bounds(Left { sleeps: 1, ..windy() }, |one| Left { crashes: 1, ..one });
    let also = vec![sometimes::settles(), sometimes::fences(), sometimes::sends_asleep()];
    explore("two processes", in_place(bare(), false, left), also);
}

#[test]
fn a_window_that_closes() {
    let left = bounds(Left { slots: 1, ..windy() }, |one| Left { faults: 2, ..one });
    explore("a window", in_place(bare(), false, left), vec![sometimes::settles(), sometimes::spares()]);
}

#[test]
fn two_rotations_and_two_sinks() {
    let left = bounds(Left { asks: 2, ..windy() }, |one| Left { crashes: 1, ..one });
    let setting = in_place(plan(true, BARE, Recovery::Halt, 2), false, left);
    explore("two rotations, two sinks", setting, vec![sometimes::settles_twice()]);
}

#[test]
fn two_rotations_and_a_sink_that_nobody_waits_for() {
    let left = bounds(Left { asks: 2, ..windy() }, |one| Left { crashes: 1, ..one });
    let mut setting = in_place(plan(true, BARE, Recovery::Halt, 2), false, left);
    setting.plan.on_sink_down = OnSinkDown::Proceed;
    let also = vec![sometimes::settles_twice(), sometimes::goes_on_without_a_sink()];
    explore("two rotations, a sink that nobody waits for", setting, also);
}

#[test]
fn two_accounts_in_turn() {
    let left = bounds(Left { asks: 2, ..windy() }, |one| Left { crashes: 1, ..one });
    explore("two accounts in turn", alternate(left), vec![sometimes::settles_twice()]);
}

#[test]
fn two_passwords_at_once() {
    let left = bounds(Left { asks: 2, ..stormy() }, |one| Left { crashes: 2, delays: 1, ..one });
    explore("two passwords at once", overlap(left), vec![sometimes::settles_twice(), sometimes::halts()]);
}

/// A cloud that does at once what it accepted, and nobody that interferes: then nobody is asked either.
#[test]
fn a_good_day() {
    let left = Left { asks: 2, ..Left::default() };
    for (login, abilities, tasks) in
        [(true, BARE, false), (true, TASKS, true), (false, POLLED, true), (false, BARE, false)]
    {
        let mut setting = in_place(plan(login, abilities, Recovery::Halt, 2), tasks, left);
        setting.prompt = true;
        explore(&format!("a good day, login {login}, tasks {tasks}"), setting, vec![sometimes::settles_twice()]);
    }
}
