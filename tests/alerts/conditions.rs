//! Which conditions hold of a target, as a table.

use super::{at, key};
use keywheel::alert::{Event, Key};
use keywheel::driver::outlook::Counting;
use keywheel::driver::{SinkStatus, Snapshot, Waits};
use keywheel::fault::{Fault, Kind};
use keywheel::name::Generation;
use keywheel::rotation::event::Proof;
use keywheel::rotation::state::Label;
use keywheel::watch::conditions::{Conditions, Patience, of_left_out, of_provider, of_target};
use std::time::Duration;

const PATIENCE: Patience = Patience { doubt: Duration::from_secs(900), behind: Duration::from_secs(600) };

/// What is held, since when, from when on somebody is told, and a part of what is said.
type Expected = (Key, i64, i64, &'static str);

/// A settled target with one sink and one hook.
fn settled() -> Snapshot {
    Snapshot {
        target: "orders".parse().unwrap(),
        label: Label::Settled,
        why: "the next slot has not come".to_owned(),
        until: None,
        generation: Some(Generation(3)),
        proof: Some((Proof::Login, at(0))),
        last_rotated: Some(at(0)),
        next_due: None,
        counting: Counting { after: at(0), slot: None, paused_until: None },
        rotation: None,
        candidates: vec![Generation(3)],
        halt: None,
        halted_since: None,
        doubt_since: None,
        waits: Some(Waits::InPeace),
        untold: [].into(),
        too_old_since: None,
        former: None,
        opens: [].into(),
        paused_until: None,
        abandoned: None,
        sinks: vec![SinkStatus {
            sink: "env".parse().unwrap(),
            generation: Some(Generation(3)),
            behind_since: None,
            behind_by: 0,
            fault: None,
        }],
        retired: None,
    }
}

fn with(change: impl FnOnce(&mut Snapshot)) -> Snapshot {
    let mut snapshot = settled();
    change(&mut snapshot);
    snapshot
}

fn fault(kind: Kind) -> Fault {
    Fault::new(kind, "it said no").advise("run `keywheel recover TARGET --resume`")
}

fn part(event: Event, part: &str) -> Key {
    Key { part: Some(part.to_owned()), ..key(event, "orders") }
}

#[test]
fn each_condition_holds_when_it_should_and_ripens_after_its_patience() {
    let halted = |snapshot: &mut Snapshot| {
        (snapshot.label, snapshot.waits) = (Label::Halted, Some(Waits::Alarmingly));
        (snapshot.halt, snapshot.halted_since) = (Some(fault(Kind::Denied)), Some(at(10)));
    };
    let doubt = |snapshot: &mut Snapshot| {
        (snapshot.label, snapshot.doubt_since) = (Label::Doubt, Some(at(10)));
    };
    let behind = |snapshot: &mut Snapshot| {
        snapshot.label = Label::Behind;
        snapshot.sinks[0] = SinkStatus {
            generation: Some(Generation(2)),
            behind_since: Some(at(10)),
            behind_by: 1,
            fault: Some(fault(Kind::SinkDenied)),
            ..snapshot.sinks[0].clone()
        };
    };
    let rows: Vec<(&str, Snapshot, Vec<Expected>)> = vec![
        ("settled", settled(), vec![]),
        ("paused", with(|it| it.label = Label::Paused), vec![]),
        ("halted", with(halted), vec![(key(Event::Halted, "orders"), 10, 10, "it said no")]),
        ("in doubt", with(doubt), vec![(key(Event::Doubt, "orders"), 10, 910, "nobody knows which password")]),
        (
            "halted in doubt: both",
            with(|it| {
                doubt(it);
                halted(it);
            }),
            vec![(key(Event::Halted, "orders"), 10, 10, "it said"), (key(Event::Doubt, "orders"), 10, 910, "nobody")],
        ),
        ("behind", with(behind), vec![(part(Event::Behind, "env"), 10, 610, "it lacks generation 3: it said no")]),
        (
            "too old",
            with(|it| it.too_old_since = Some(at(10))),
            vec![(key(Event::TooOld, "orders"), 10, 10, "older than max-age")],
        ),
        (
            "a hook given up on",
            with(|it| it.untold = [("reload".parse().unwrap(), fault(Kind::HookFailed))].into()),
            vec![(part(Event::Hook, "reload"), 0, 0, "it was not told of the last change")],
        ),
        (
            "locked for too long",
            with(|it| (it.label, it.waits, it.why) = (Label::Rotating, Some(Waits::Alarmingly), "held off".to_owned())),
            vec![(key(Event::Waiting, "orders"), 50, 50, "held off")],
        ),
        (
            "a rotation came to nothing",
            with(|it| it.abandoned = Some(fault(Kind::SinkDenied))),
            vec![(key(Event::Waiting, "orders"), 50, 50, "the password is as it was: it said no")],
        ),
        ("under way", with(|it| (it.label, it.waits) = (Label::Rotating, None)), vec![]),
    ];
    for (name, snapshot, expected) in rows {
        let holding = of_target(&snapshot, PATIENCE, &Conditions::new(), at(50));
        let keys: Vec<&Key> = holding.keys().collect();
        assert_eq!(keys, expected.iter().map(|(key, ..)| key).collect::<Vec<_>>(), "{name}");
        for (key, since, ripe_at, what) in expected {
            let condition = &holding[&key];
            assert_eq!((condition.since, condition.ripe_at), (at(since), at(ripe_at)), "{name}");
            assert!(condition.what.contains(what), "{name}: {}", condition.what);
            assert!(
                !condition.next_step.is_empty() && !condition.next_step.contains("TARGET"),
                "{name}: {condition:?}"
            );
        }
    }
}

#[test]
fn what_held_on_began_when_it_began_and_what_cannot_be_told_stays() {
    let waits = |waits| with(|it| (it.label, it.waits, it.why) = (Label::Rotating, waits, "held off".to_owned()));
    let look = |snapshot: &Snapshot, before: &Conditions, now| of_target(snapshot, PATIENCE, before, at(now));
    let first = look(&waits(Some(Waits::Alarmingly)), &Conditions::new(), 50);
    // The call is out again: whether the lock is gone shows with its answer.
    let second = look(&waits(None), &first, 80);
    assert_eq!(second, first);
    let third = look(&waits(Some(Waits::Alarmingly)), &second, 110);
    assert_eq!(third, first, "one and the same wait");
    // The window closed meanwhile: the same alert, until a rotation changes something.
    let closed = with(|it| it.abandoned = Some(fault(Kind::Busy)));
    let fourth = look(&closed, &third, 140);
    assert_eq!(fourth.keys().collect::<Vec<_>>(), third.keys().collect::<Vec<_>>());
    assert_eq!(fourth.values().next().unwrap().since, at(50));
    assert!(look(&waits(Some(Waits::InPeace)), &fourth, 170).is_empty());
    // A call that is sent again in doubt makes the doubt no younger.
    let doubt = |since| with(|it| (it.label, it.doubt_since) = (Label::Doubt, Some(at(since))));
    let first = look(&doubt(0), &Conditions::new(), 10);
    let second = look(&doubt(600), &first, 610);
    assert_eq!(second[&key(Event::Doubt, "orders")].ripe_at, at(900));
}

#[test]
fn providers_and_instances_that_are_left_out() {
    let name = "shop".parse().unwrap();
    assert!(of_provider(&name, &[], at(0)).is_empty());
    let worried = of_provider(&name, &[fault(Kind::CredentialRefused)], at(0));
    assert_eq!(worried.keys().collect::<Vec<_>>(), [&key(Event::Credentials, "shop")]);
    let (key, condition) = of_left_out("Target a is left out: two share it", at(0));
    assert_eq!((key.event, condition.what.as_str()), (Event::LeftOut, "Target a is left out: two share it"));
}
