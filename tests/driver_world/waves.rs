//! The targets of a selection follow each other: a canary first, then share by share.

use super::dice::Dice;
use super::life::{Story, Traits};
use super::others::intrude;
use super::runtime;
use super::sinks_down::{OPERATOR, broken, events_of, good, now};
use keywheel::driver::Wish;
use keywheel::moment::Moment;
use keywheel::rotation::event::{By, What};
use keywheel::rotation::plan::OnSinkDown;
use keywheel::rotation::state::State;
use keywheel::rotation::waves::{Share, Waves};
use keywheel::schedule::{Missed, Settings};
use std::time::Duration;

const WAVES: Waves = Waves { canary: 1, then: Share::Percent(10), halt_after: 2 };
const HOUR: Duration = Duration::from_secs(3_600);

/// So many targets of one selection, adopted and settled, each due at three at night and until nine.
async fn settled(targets: usize) -> Story {
    let mut story = Story::empty(Dice::new(29), Traits::default(), 0, true);
    story.turns = Some(64);
    {
        let mut inner = story.sim.lock();
        inner.storm = false;
        inner.transcript = None;
    }
    for number in 0..targets {
        add(&mut story, number);
    }
    story.start();
    until(&story, "all are settled", |state| state.open.is_none() && state.standing.current.is_some()).await;
    story
}

fn add(story: &mut Story, number: usize) {
    let settings = Settings {
        target: format!("t{number:03}").parse().unwrap(),
        schedule: Some("0 3 * * *".to_owned()),
        every: None,
        zone: chrono_tz::UTC,
        window: Some(HOUR * 6),
        splay: Duration::ZERO,
        missed: Missed::IfOpen,
        max_age: None,
    };
    story.add_calm(settings, Vec::new(), Some(("caches".parse().unwrap(), WAVES)));
}

/// Waits until this is true of every record, at most a day.
async fn until(story: &Story, what: &str, says: impl Fn(&State) -> bool) {
    for _ in 0..86_400 {
        if (0..story.blueprints.len()).all(|at| says(&story.standing(at).0)) {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    broken(story, what);
}

/// Waits until each has rotated since then and settled.
async fn all_rotate(story: &Story, since: Moment) {
    until(story, "all have rotated", |state| {
        state.open.is_none() && state.standing.rotated_at.is_some_and(|at| at >= since)
    })
    .await;
}

/// The time of the next slot; sleeps until it has come.
async fn next_slot(story: &Story) -> Moment {
    let slot = story.blueprints[0].timetable.slot_after(now(story)).unwrap().nominal;
    tokio::time::sleep(slot.since(now(story)) + Duration::from_secs(1)).await;
    slot
}

/// When each began and settled since then.
fn course(story: &Story, since: Moment) -> Vec<(Option<Moment>, Option<Moment>)> {
    let of = |at: usize| {
        let events = events_of(story, at, since);
        let at = |label: &str| events.iter().find(|event| event.what.label() == label).map(|event| event.at);
        (at("began"), at("settled"))
    };
    (0..story.blueprints.len()).map(of).collect()
}

/// Whom the program calls in a wave: its first and its last place.
fn bounds(members: usize) -> Vec<(usize, usize)> {
    let mut first = 0;
    let wave = |size: usize| {
        first += size;
        (first - size, first)
    };
    WAVES.sizes(members).into_iter().map(wave).collect()
}

fn intrude_on(story: &Story, at: usize) {
    let name = story.blueprints[at].name.clone();
    intrude(&mut story.sim.lock(), &name);
}

fn is_halted(state: &State) -> bool {
    state.halt.is_some()
}

/// Each wave begins when the one before is settled and not before; also where the daemon stops and starts in the middle.
#[test]
fn two_hundred_targets_follow_a_healthy_canary_wave_by_wave() {
    assert_eq!(WAVES.sizes(200), [[1].as_slice(), &[20; 9], &[19]].concat());
    for restarted in [false, true] {
        runtime().block_on(async {
            let mut story = settled(200).await;
            let slot = next_slot(&story).await;
            if restarted {
                // In the third wave.
                while course(&story, slot).iter().filter(|(began, _)| began.is_some()).count() < 25 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                let one = story.running.pop().unwrap();
                story.end(one).await;
                story.start();
            }
            all_rotate(&story, slot).await;
            let course = course(&story, slot);
            let mut before = slot;
            for (first, end) in bounds(200) {
                let wave = &course[first..end];
                let began = wave.iter().map(|(began, _)| began.unwrap()).min().unwrap();
                assert!(
                    began >= before,
                    "the wave from {first} on began at {began}, the one before settled at {before}"
                );
                before = wave.iter().map(|(_, settled)| settled.unwrap()).max().unwrap();
            }
            // Nobody waits for anything but the waves: eleven of them, each as long as a rotation takes.
            assert!(before.since(slot) < HOUR, "{before}");
            assert!(story.running[0].driver.stopped_waves().await.unwrap().is_empty());
            good(&story);
        });
    }
}

/// The first is halted: nothing else begins in this slot, and the alert's sentence says why. Once it has rotated, the others follow.
#[test]
fn nothing_follows_a_canary_that_is_halted_until_somebody_helped_it() {
    runtime().block_on(async {
        let mut story = settled(200).await;
        intrude_on(&story, 0);
        let slot = next_slot(&story).await;
        tokio::time::sleep(HOUR).await;
        assert!(is_halted(&story.standing(0).0));
        let began = course(&story, slot).iter().filter(|(began, _)| began.is_some()).count();
        assert_eq!(began, 1, "only the first has begun");
        let driver = std::sync::Arc::clone(&story.running[0].driver);
        let stopped = driver.stopped_waves().await.unwrap();
        let [(selection, stop)] = &stopped[..] else { broken(&story, "it says nothing of it") };
        assert_eq!(
            (selection.as_str(), stop.to_string().as_str()),
            ("caches", "nothing more of the selection begins: t000, which goes first, is halted")
        );
        // The same from the record alone, by another process.
        let one = story.running.pop().unwrap();
        story.end(one).await;
        story.start();
        assert_eq!(story.running[0].driver.stopped_waves().await.unwrap(), stopped);
        tokio::time::sleep(HOUR).await;
        assert_eq!(course(&story, slot).iter().filter(|(began, _)| began.is_some()).count(), 1);
        // Whoever must is not kept from it.
        story.ask(7, Wish::Rotate { by: OPERATOR, reason: None, through_freeze: false });
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert!(story.standing(7).0.standing.rotated_at.is_some_and(|at| at >= slot));
        // Its password is given; it goes first again.
        story.replace(0, None);
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert!(!is_halted(&story.standing(0).0));
        assert_eq!(
            course(&story, slot).iter().filter(|(began, _)| began.is_some()).count(),
            2,
            "it has not rotated yet"
        );
        story.ask(0, Wish::Rotate { by: OPERATOR, reason: None, through_freeze: false });
        all_rotate(&story, slot).await;
        assert!(now(&story) < slot + HOUR * 6, "in the same slot");
        assert!(story.running[0].driver.stopped_waves().await.unwrap().is_empty());
        good(&story);
    });
}

/// One that is halted in a later wave holds nobody up; the second one does, and in the next slot, too.
#[test]
fn as_soon_as_so_many_are_halted_nothing_more_begins() {
    runtime().block_on(async {
        let story = settled(60).await;
        for at in [3, 20] {
            intrude_on(&story, at);
        }
        let slot = next_slot(&story).await;
        tokio::time::sleep(HOUR * 8).await;
        let course_of = course(&story, slot);
        assert!(is_halted(&story.standing(3).0) && is_halted(&story.standing(20).0));
        let wave_of = |at: usize| bounds(60).iter().position(|(first, end)| (*first..*end).contains(&at)).unwrap();
        assert_eq!((wave_of(3), wave_of(20)), (1, 4));
        for (at, (began, settled)) in course_of.iter().enumerate() {
            match wave_of(at) {
                0..=3 if at != 3 => assert!(settled.is_some(), "t{at:03} was to settle"),
                wave @ 5.. => assert!(began.is_none(), "t{at:03} of wave {wave} began"),
                _ => {}
            }
        }
        let passed = events_of(&story, 59, slot).into_iter().any(|event| matches!(event.what, What::SlotPassed { .. }));
        assert!(passed, "its slot passed unused");
        let [(_, stop)] = &story.running[0].driver.stopped_waves().await.unwrap()[..] else {
            broken(&story, "no word of it")
        };
        assert_eq!(stop.to_string(), "nothing more of the selection begins: t003 and 1 more are halted");
        let slot = next_slot(&story).await;
        tokio::time::sleep(HOUR * 8).await;
        assert!(course(&story, slot).iter().all(|(began, _)| began.is_none()), "nor the next day");
        for at in [3, 20] {
            story.replace(at, None);
        }
        let slot = next_slot(&story).await;
        all_rotate(&story, slot).await;
        assert_eq!(
            events_of(&story, 0, slot)
                .iter()
                .filter(|event| matches!(event.what, What::Began { by: By::Schedule, .. }))
                .count(),
            1
        );
        good(&story);
    });
}

/// One that is paused takes no part: the next one goes first.
#[test]
fn one_that_is_paused_is_no_canary() {
    runtime().block_on(async {
        let story = settled(10).await;
        story.ask(0, Wish::Pause { by: OPERATOR, reason: None, span: Some(HOUR * 24 * 3) });
        tokio::time::sleep(Duration::from_secs(10)).await;
        let slot = next_slot(&story).await;
        tokio::time::sleep(HOUR * 5).await;
        let course = course(&story, slot);
        assert_eq!(course[0], (None, None));
        let first = course[1].1.unwrap();
        assert!(course[2..].iter().all(|(began, settled)| began.is_some_and(|at| at >= first) && settled.is_some()));
        good(&story);
    });
}

/// A pause of all of them ends within the slot: the first is first all the same. Each pause ends a little after the one before, as they were asked for.
#[test]
fn a_pause_of_all_ends_in_waves() {
    runtime().block_on(async {
        let story = settled(40).await;
        let slot = story.blueprints[0].timetable.slot_after(now(&story)).unwrap().nominal;
        for at in (0..40).rev() {
            let span = Some(slot.since(now(&story)) + HOUR * 2);
            story.ask(at, Wish::Pause { by: OPERATOR, reason: None, span });
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep(slot.since(now(&story)) + HOUR * 5).await;
        let course = course(&story, slot);
        let mut before = slot + HOUR * 2;
        for (first, end) in bounds(40) {
            let began = course[first..end].iter().map(|(began, _)| began.unwrap()).min().unwrap();
            assert!(began >= before, "the wave from {first} on began at {began}, the one before settled at {before}");
            before = course[first..end].iter().map(|(_, settled)| settled.unwrap()).max().unwrap();
        }
        good(&story);
    });
}

/// With few turns at once a wave settles while targets of the next one are still writing down for whom they wait.
#[test]
fn a_wave_that_may_begin_while_it_is_written_that_it_waits_is_not_forgotten() {
    runtime().block_on(async {
        let mut story = settled(60).await;
        let one = story.running.pop().unwrap();
        story.end(one).await;
        story.turns = Some(4);
        story.start();
        for _ in 0..4 {
            let slot = next_slot(&story).await;
            all_rotate(&story, slot).await;
            assert!(now(&story) < slot + HOUR, "they waited for the end of the window: {}", now(&story));
        }
        good(&story);
    });
}

/// Who goes first is paused while the others wait for it: then the next one goes first, and nobody waits for the end of the window.
#[test]
fn the_next_one_goes_first_when_the_first_is_paused_meanwhile() {
    runtime().block_on(async {
        let story = settled(10).await;
        let slot = story.blueprints[0].timetable.slot_after(now(&story)).unwrap().nominal;
        tokio::time::sleep(slot.since(now(&story))).await;
        while story.standing(0).0.open.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        story.ask(0, Wish::Pause { by: OPERATOR, reason: None, span: None });
        all_rotate(&story, slot).await;
        assert!(now(&story) < slot + HOUR, "they waited for the end of the window: {}", now(&story));
        good(&story);
    });
}

/// Rotations that go on while a sink is down follow each other like any others: the first alone begins, and its delivery is waited for.
#[test]
fn a_sink_that_is_down_lets_nobody_begin_before_its_wave() {
    runtime().block_on(async {
        let mut story = settled(10).await;
        let one = story.running.pop().unwrap();
        story.end(one).await;
        let slot = story.blueprints[0].timetable.slot_after(now(&story)).unwrap().nominal;
        for blueprint in &mut story.blueprints {
            blueprint.plan.on_sink_down = OnSinkDown::Proceed;
            let mut inner = story.sim.lock();
            let truth = inner.truths.get_mut(&blueprint.name).unwrap();
            truth.proceeds = true;
            truth.sinks.entry("sink".parse().unwrap()).or_default().down_until = (slot + HOUR * 2).millis();
        }
        story.start();
        for at in 0..10 {
            story.ask(at, Wish::Rotate { by: OPERATOR, reason: None, through_freeze: false });
        }
        until(&story, "all have a password that no sink has", |state| {
            state.open.is_some() && state.is_proven() && state.standing.rotated_at.is_some()
        })
        .await;
        tokio::time::sleep(slot.since(now(&story)) + HOUR).await;
        let began: Vec<bool> = course(&story, slot).iter().map(|(began, _)| began.is_some()).collect();
        assert_eq!(began, [[true].as_slice(), &[false; 9]].concat());
        all_rotate(&story, slot).await;
        assert!(now(&story) < slot + HOUR * 6, "as soon as the sink is back: {}", now(&story));
        good(&story);
    });
}
