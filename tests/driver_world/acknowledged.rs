//! A consumer that has to say which generation it uses: what it may still read is left alone until it does.

use super::dice::Dice;
use super::life::{Story, Traits};
use super::plan::Way;
use super::runtime;
use super::sinks_down::{HOUR, OPERATOR, add, count, events, good, now, until};
use keywheel::driver::Wish;
use keywheel::fault::Kind;
use keywheel::name::Generation;
use keywheel::rotation::event::{Event, What};
use keywheel::rotation::plan::OnSinkDown;

/// A target whose consumer has moved to everything so far, just rotated.
async fn rotated(way: Way) -> Story {
    let mut story = Story::empty(Dice::new(19), Traits::default(), 0, true);
    add(&mut story, "orders", way, OnSinkDown::Hold);
    says(&story, Some(u64::MAX));
    story.start();
    until(&story, "adopted and delivered", |state| {
        state.standing.sinks.values().filter(|outlet| outlet.generation.is_some()).count() == 2
            && state.standing.newest >= Generation(if way == Way::Alternate { 2 } else { 1 })
    })
    .await;
    story.ask(0, Wish::Rotate { by: OPERATOR, reason: None, through_freeze: false });
    until(&story, "rotated", |state| state.open.is_none() && state.standing.rotated_at.is_some()).await;
    story
}

fn says(story: &Story, generation: Option<u64>) {
    let mut inner = story.sim.lock();
    inner.truths.get_mut(&story.blueprints[0].name).unwrap().says = Some(generation.map(Generation));
}

fn unheard(event: &Event) -> bool {
    match &event.what {
        What::RetireFailed { fault, .. } | What::Blocked { fault } => fault.kind == Kind::NotAcknowledged,
        _ => false,
    }
}

#[test]
fn a_former_password_stays_until_its_consumer_says_that_it_has_moved() {
    for way in [Way::Overlap, Way::Alternate] {
        for behind in [Some(1), None] {
            runtime().block_on(async {
                let story = rotated(way).await;
                let (from, current) = (now(&story), story.standing(0).0.standing.current.unwrap().generation);
                says(&story, behind);
                tokio::time::sleep(HOUR * 6).await;
                let during = events(&story, from);
                let changes =
                    |what: &What| matches!(what, What::Retired { .. } | What::Ready { .. } | What::Intended { .. });
                assert_eq!(count(&during, changes), 0, "{way:?}, {behind:?}");
                assert!(during.iter().any(unheard), "{way:?}, {behind:?}");
                assert_eq!(story.standing(0).0.standing.current.unwrap().generation, current);
                // It says so, and everything goes on.
                says(&story, Some(u64::MAX));
                until(&story, "the next rotation", |state| {
                    state.standing.current.as_ref().is_some_and(|newer| newer.generation > current)
                })
                .await;
                good(&story);
            });
        }
    }
}
