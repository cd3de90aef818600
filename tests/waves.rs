//! Who of a selection may begin, from what stands in the records: no driver, no clock.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use keywheel::fault::{Fault, Kind};
use keywheel::moment::Moment;
use keywheel::name::{Generation, RotationId, TargetName};
use keywheel::rotation::event::{By, Event, Proof, What};
use keywheel::rotation::fold;
use keywheel::rotation::waves::{Held, Members, Share, Stand, Waves};

/// The slot of the round, and the one before it.
const SLOT: Moment = Moment::from_seconds(1_000);
const BEFORE: Moment = Moment::from_seconds(500);

fn name(place: usize) -> TargetName {
    format!("t{place}").parse().unwrap()
}

/// A record that is `-` new, `.` waiting, `~` rotating, `+` rotated in this slot, `o` rotated in the one before, `!` halted, `p` paused, `x` without a
/// change in this slot, `n` found and taken in after the slot came.
fn stand(sign: char) -> Stand {
    let slot = |nominal: Moment| keywheel::moment::Slot {
        nominal,
        due: nominal,
        closes: nominal + std::time::Duration::from_secs(100),
    };
    let id = RotationId::from_parts(SLOT, 7);
    let began = |nominal| What::Began { rotation: id, slot: Some(slot(nominal)), by: By::Schedule, reason: None };
    let fault = || Fault::new(Kind::Locked, "a test");
    let adopted = What::Adopted {
        generation: Generation(1),
        proof: Proof::Login,
        by: By::Configuration,
        reason: None,
        place: "i/root".to_owned(),
        account: None,
    };
    let more = match sign {
        '-' => return Stand::default(),
        '~' => vec![began(SLOT)],
        '!' => vec![began(SLOT), What::Halted { fault: fault() }],
        'p' => vec![What::Paused { by: By::Operator { uid: 0 }, reason: None, until: None }],
        'x' => vec![What::SlotPassed { slot: slot(SLOT) }],
        '.' | '+' | 'o' | 'n' => Vec::new(),
        other => panic!("{other}"),
    };
    let at = if sign == 'n' { SLOT + std::time::Duration::from_secs(1) } else { BEFORE };
    let events: Vec<Event> = std::iter::once(adopted).chain(more).map(|what| Event { at, what }).collect();
    let mut state = fold(events.iter()).unwrap();
    if let Some(slot) = match sign {
        '+' => Some(SLOT),
        'o' => Some(BEFORE),
        _ => None,
    } {
        (state.standing.slots_after, state.standing.rotated_at) = (slot, Some(slot));
    }
    Stand::of(&state)
}

fn members(waves: Waves, signs: &str) -> Members {
    let mut members = Members::new(waves, (0..signs.len()).map(name).collect());
    for (place, sign) in signs.chars().enumerate() {
        members.note(&name(place), stand(sign));
    }
    members
}

#[test]
fn a_wave_has_as_many_as_its_share_and_never_none() {
    let waves = |canary, then| Waves { canary, then, halt_after: 1 };
    for (waves, members, sizes) in [
        (waves(1, Share::Percent(10)), 25, vec![1, 3, 3, 3, 3, 3, 3, 3, 3]),
        (waves(2, Share::Count(5)), 11, vec![2, 5, 4]),
        (waves(1, Share::Percent(100)), 4, vec![1, 3]),
        (waves(1, Share::Percent(1)), 3, vec![1, 1, 1]),
        (waves(9, Share::Count(1)), 4, vec![4]),
        (waves(1, Share::Count(1)), 0, vec![]),
    ] {
        assert_eq!(waves.sizes(members), sizes, "{waves:?} of {members}");
    }
}

/// Canary 1, then two at a time, stop at two. In each row what stands in the records, and who may begin (`^`).
#[test]
fn who_may_begin() {
    let waves = Waves { canary: 1, then: Share::Count(2), halt_after: 2 };
    for (row, [signs, may]) in [
        [".....", "^    "],
        ["~....", "^    "],
        ["+....", "^^^  "],
        ["o....", "^    "],
        ["+~+..", "^^^  "],
        ["+++..", "^^^^^"],
        // One that is halted is no reason to wait, two are a reason to stop.
        ["+!+..", "^^^^^"],
        ["+!+!.", "     "],
        ["+!!..", "     "],
        // One that goes first and is halted is.
        ["!....", "     "],
        ["!++..", "     "],
        // A canary that changed nothing says nothing; another one is not waited for.
        ["x....", "^    "],
        ["+x+..", "^^^^^"],
        // Who is paused, or has no password yet, takes no part.
        ["p....", " ^   "],
        ["-....", " ^   "],
        ["p+...", " ^^^ "],
        ["+p...", "^ ^^ "],
        // Nor does who was found after the slot came: it is no canary of a slot that it has no part in.
        ["n....", " ^   "],
        ["n+...", " ^^^ "],
        ["+n~..", "^ ^^ "],
    ]
    .into_iter()
    .enumerate()
    {
        let members = members(waves, signs);
        let stops = members.stop(SLOT).is_some();
        for (place, expected) in may.chars().enumerate() {
            let takes_part = !matches!(&signs[place..=place], "p" | "-" | "n");
            let may_begin = takes_part && members.held(&name(place), SLOT, SLOT).is_none();
            assert_eq!(may_begin, expected == '^', "row {row}: {signs}, t{place}, stops {stops}");
        }
    }
}

#[test]
fn it_says_for_whom_it_waits_and_why_it_stops() {
    let waves = Waves { canary: 1, then: Share::Count(2), halt_after: 2 };
    for (signs, place, said) in [
        (".....", 4, "it is in wave 3 of 3, and the one before has to settle first: t0 has not"),
        ("+~...", 4, "it is in wave 3 of 3, and the one before has to settle first: t1 and 1 more have not"),
        ("!....", 1, "nothing more of the selection begins: t0, which goes first, is halted"),
        ("!!...", 4, "nothing more of the selection begins: t0, which goes first, and 1 more are halted"),
        ("+!!..", 4, "nothing more of the selection begins: t1 and 1 more are halted"),
    ] {
        let held: Held = members(waves, signs).held(&name(place), SLOT, SLOT).unwrap();
        assert_eq!(held.to_string(), said, "{signs}");
    }
    let one = Waves { halt_after: 1, ..waves };
    assert_eq!(
        members(one, "+!...").stop(SLOT).unwrap().to_string(),
        "nothing more of the selection begins: t1 is halted"
    );
}
