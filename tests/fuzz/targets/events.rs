//! Events as a ledger's rows hold them: one JSON object a line. What cannot follow is left out, and the rest is folded.

use keywheel::moment::{Moment, Slot};
use keywheel::name::Generation;
use keywheel::rotation::event::{Event, What};
use keywheel::rotation::plan::{Abilities, Limits, OnSinkDown, Plan, Recovery, Strategy};
use keywheel::rotation::state::State;
use keywheel::rotation::{apply, next};
use std::time::Duration;

/// How many events of one input are folded.
const LINES: usize = 64;

/// An event that can be read is written as it was read; a fold never panics and never forgets a candidate without evidence; and there is
/// always something to do next.
pub fn run(input: &[u8]) {
    let plans = plans();
    let mut state = State::default();
    let lines = input.split(|byte| *byte == b'\n').take(LINES);
    for event in lines.filter_map(|line| serde_json::from_slice::<Event>(line).ok()) {
        let written = serde_json::to_string(&event).expect("an event has a text");
        assert_eq!(serde_json::from_str::<Event>(&written).expect("its own text"), event);
        if let Ok(after) = apply(state.clone(), &event) {
            keeps_candidates(&state, &event.what, &after);
            for plan in &plans {
                let _decided = next(&after, plan, event.at);
                let _later = next(&after, plan, event.at + Duration::from_secs(3_600));
            }
            let _word = after.label().as_str();
            state = after;
        }
    }
}

/// Promise P2, for every event that is no evidence about which password is live.
fn keeps_candidates(before: &State, what: &What, after: &State) {
    let may_drop = match what {
        What::Adopted { .. }
        | What::Paired { .. }
        | What::TakenOver { .. }
        | What::Replaced { .. }
        | What::Proven { .. }
        | What::Retired { .. }
        | What::Settled { .. } => return,
        // The spare is on its way to be used: no call has left with it yet.
        What::Prepared { generation, .. } => Some(*generation),
        What::Asked { .. }
        | What::SlotPassed { .. }
        | What::Began { .. }
        | What::Blocked { .. }
        | What::Ready { .. }
        | What::Intended { .. }
        | What::Answered { .. }
        | What::TaskRead { .. }
        | What::TaskStuck
        | What::TaskSought { .. }
        | What::MarkRead { .. }
        | What::LoginTried { .. }
        | What::LookFailed { .. }
        | What::ProofFailed
        | What::Discarded { .. }
        | What::Abandoned { .. }
        | What::Delivered { .. }
        | What::DeliveryFailed { .. }
        | What::SinkLost { .. }
        | What::SinkDiffers { .. }
        | What::SinkAgrees { .. }
        | What::HookTold { .. }
        | What::HookQueued { .. }
        | What::HookFailed { .. }
        | What::RetireFailed { .. }
        | What::Verified { .. }
        | What::Paused { .. }
        | What::Unpaused { .. }
        | What::Halted { .. }
        | What::Resumed { .. }
        | What::Revealed { .. } => None,
    };
    let kept = after.candidates();
    let lost: Vec<Generation> = before.candidates().into_iter().filter(|one| !kept.contains(one)).collect();
    assert!(lost.iter().all(|one| Some(*one) == may_drop), "{} forgets {lost:?} of {before:?}", what.label());
}

fn plans() -> [Plan; 3] {
    let seconds = Moment::from_seconds;
    let slot = Slot { nominal: seconds(1_000), due: seconds(1_060), closes: seconds(2_000) };
    let all = Abilities {
        task_status: true,
        task_list: true,
        change_mark: true,
        reset: true,
        each_node: false,
        asks_old: true,
    };
    let one = Plan {
        place: "crs-1/root".to_owned(),
        slot: Some(slot),
        may_start: true,
        hold: None,
        strategy: Strategy::InPlace,
        login: true,
        abilities: all,
        recovery: Recovery::Reset,
        on_sink_down: OnSinkDown::Hold,
        take_over: false,
        adopts: true,
        adopts_resting: false,
        verify_every: Some(Duration::from_secs(3_600)),
        sinks: ["a", "b"].map(|name| name.parse().unwrap()).to_vec(),
        hooks: vec!["h".parse().unwrap()],
        limits: Limits::default(),
    };
    let grace = Duration::from_secs(600);
    let accounts = ["app", "app2"].map(str::to_owned);
    let blind = Plan {
        login: false,
        abilities: Abilities::default(),
        recovery: Recovery::Halt,
        strategy: Strategy::Alternate { accounts, grace },
        ..one.clone()
    };
    let abilities = Abilities { each_node: true, asks_old: false, ..Abilities::default() };
    let overlap = Plan { strategy: Strategy::Overlap { grace }, abilities, slot: None, ..one.clone() };
    let hasty = |plan: Plan| Plan { on_sink_down: OnSinkDown::Proceed, ..plan };
    [one, hasty(blind), hasty(overlap)]
}
