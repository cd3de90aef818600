//! A sink that is down for hours while rotations become due: what `on-sink-down` holds back and what it does not, told without any other fault.

use super::cloud::Mood;
use super::dice::Dice;
use super::fleet::{Blueprint, draw_plan};
use super::instance::PAIR;
use super::life::{Story, Traits};
use super::others;
use super::plan::{Kept, Way};
use super::runtime;
use super::truth::{Shelf, Truth};
use keywheel::alert::{Event, Key};
use keywheel::console::figures::{Figures, View};
use keywheel::console::metrics::Shown;
use keywheel::driver::{Snapshot, Wish, snapshot};
use keywheel::moment::Moment;
use keywheel::name::{ChannelName, Generation, SinkName, TargetName};
use keywheel::rotation::event::{By, Event as Recorded, What};
use keywheel::rotation::plan::{OnSinkDown, Recovery, Strategy};
use keywheel::rotation::state::{Label, Phase, State};
use keywheel::schedule::{Missed, Settings, Timetable};
use keywheel::watch::book::Book;
use keywheel::watch::conditions::{Conditions, Patience, of_target};
use std::sync::Arc;
use std::time::Duration;

pub const OPERATOR: By = By::Operator { uid: 0 };
const DOWN: &str = "sink-down";
const UP: &str = "sink-up";
const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3_600);
const BEHIND_AFTER: Duration = Duration::from_secs(15 * 60);

/// A target of this name with a sink that will be down, one that never is, and a hook; every two hours a rotation is due and may start for twenty
/// minutes.
pub fn add(story: &mut Story, name: &str, way: Way, on_sink_down: OnSinkDown) {
    let strategy = match way {
        Way::InPlace => Strategy::InPlace,
        Way::Alternate => Strategy::Alternate { accounts: PAIR.map(str::to_owned), grace: HOUR },
        Way::Overlap => Strategy::Overlap { grace: HOUR },
    };
    let kept = Kept {
        strategy: strategy.clone(),
        tasks: false,
        asks_old: way == Way::InPlace,
        take_over: false,
        adopts_resting: way == Way::Alternate,
    };
    let name: TargetName = name.parse().unwrap();
    let mut inner = story.sim.lock();
    inner.storm = false;
    let mut plan = draw_plan(&kept, &mut inner.dice);
    plan.login = true;
    plan.verify_every = None;
    plan.recovery = Recovery::Halt;
    plan.on_sink_down = on_sink_down;
    plan.limits = keywheel::rotation::plan::Limits::default();
    plan.sinks = [DOWN, UP].map(|sink| sink.parse().unwrap()).to_vec();
    plan.hooks = vec!["hook".parse().unwrap()];
    let timetable = Timetable::parse(Settings {
        target: name.clone(),
        schedule: None,
        every: Some(HOUR * 2),
        zone: chrono_tz::UTC,
        window: Some(MINUTE * 20),
        splay: Duration::ZERO,
        missed: Missed::IfOpen,
        max_age: None,
    })
    .unwrap();
    let accounts = if way == Way::Alternate { 2 } else { 1 };
    let first: Vec<u64> = (0..accounts).map(|_| inner.fresh_password()).collect();
    let key = format!("i-{name}");
    let mood = Mood { storm: false, tasks: false, merged_code: false, fault_rate: 0 };
    let mut truth = Truth::new(way, strategy, key.clone(), mood, first.clone());
    truth.named = plan.sinks.clone();
    truth.login = Some(true);
    truth.proceeds = on_sink_down == OnSinkDown::Proceed;
    inner.truths.insert(name.clone(), truth);
    drop(inner);
    story.blueprints.push(Blueprint { name, way, kept, plan, timetable, key, first, named: true, wave: None });
}

/// One such target, adopted and delivered.
async fn settled(way: Way, on_sink_down: OnSinkDown) -> Story {
    let mut story = Story::empty(Dice::new(11), Traits::default(), 0, true);
    add(&mut story, "orders", way, on_sink_down);
    story.start();
    let accounts = if way == Way::Alternate { 2 } else { 1 };
    until(&story, "adopted and delivered", |state| {
        let held = state.standing.sinks.values().filter(|outlet| outlet.generation.is_some()).count();
        held == 2 && state.standing.newest == Generation(accounts)
    })
    .await;
    story
}

/// Waits, at most four hours, until the record says so. It is looked at closely for a minute, and then now and then.
pub async fn until(story: &Story, what: &str, says: impl Fn(&State) -> bool) {
    for look in 0..8_000 {
        if says(&story.standing(0).0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(if look < 6_000 { 10 } else { 7_200 })).await;
    }
    broken(story, what);
}

pub fn broken(story: &Story, what: &str) -> ! {
    let transcript = story.sim.lock().transcript.take();
    panic!("{what}\n{}", transcript.unwrap_or_default());
}

pub fn now(story: &Story) -> Moment {
    Moment::from_millis(story.sim.lock().now)
}

fn shelf<T>(story: &Story, sink: &str, see: impl FnOnce(&mut Shelf) -> T) -> T {
    let sink: SinkName = sink.parse().unwrap();
    let mut inner = story.sim.lock();
    see(inner.truths.get_mut(&story.blueprints[0].name).unwrap().sinks.entry(sink).or_default())
}

/// The sink is down from now on for this long.
fn goes_down(story: &Story, span: Duration) -> Moment {
    let back = now(story) + span;
    shelf(story, DOWN, |shelf| shelf.down_until = back.millis());
    back
}

/// What `status` says.
fn status(story: &Story) -> Snapshot {
    let blueprint = &story.blueprints[0];
    let at = now(story);
    let inner = story.sim.lock();
    let record = &inner.disk.records[&blueprint.name];
    snapshot(&blueprint.name, &blueprint.settings(Moment::default()), &record.rows[record.base..], None, at).unwrap()
}

/// What `/metrics` says of sinks that are behind.
fn behind_in_metrics(story: &Story) -> Vec<String> {
    let (blueprint, at) = (&story.blueprints[0], now(story));
    let figures = Figures::of(&status(story), &blueprint.settings(Moment::default()));
    let targets = [(blueprint.name.clone(), Arc::new(figures))].into();
    let view = View { at, targets, unreadable: 0 };
    let text = Shown { view: Some(&view), targets: 1, ..Shown::default() }.text();
    text.lines().filter(|line| line.starts_with("keywheel_sink_behind_")).map(str::to_owned).collect()
}

/// Somebody who is alerted: the daemon's own watching, once a minute.
#[derive(Default)]
struct Pager {
    book: Book,
    holding: Conditions,
    /// When it heard of what, and whether that was over.
    heard: Vec<(Moment, Key, bool)>,
}

impl Pager {
    async fn until(&mut self, story: &Story, when: Moment) {
        let patience = Patience { doubt: BEHIND_AFTER, behind: BEHIND_AFTER };
        let name: ChannelName = "pager".parse().unwrap();
        let takers = [(name.clone(), Event::ALL.into_iter().map(|(_, event)| event).collect())].into();
        while now(story) < when {
            sleep_until(story, when.min(now(story) + MINUTE)).await;
            let at = now(story);
            self.holding = of_target(&status(story), patience, &self.holding, at);
            self.book.update(&self.holding, &takers, at);
            let Some((message, covered)) = self.book.message(&name, "here", at) else { continue };
            self.book.heard(&name, &covered);
            for group in message.groups {
                self.heard.extend(group.named.into_iter().map(|told| (at, told.key, group.over)));
            }
        }
    }
}

pub fn events(story: &Story, since: Moment) -> Vec<Recorded> {
    events_of(story, 0, since)
}

pub fn events_of(story: &Story, at: usize, since: Moment) -> Vec<Recorded> {
    let inner = story.sim.lock();
    let rows = &inner.disk.records[&story.blueprints[at].name].rows;
    rows.iter().map(|row| row.event.clone()).filter(|event| event.at >= since).collect()
}

pub fn count(events: &[Recorded], which: impl Fn(&What) -> bool) -> usize {
    events.iter().filter(|event| which(&event.what)).count()
}

fn slots(story: &Story, from: Moment, until: Moment) -> usize {
    story.blueprints[0].timetable.upcoming(from, until).count()
}

async fn sleep_until(story: &Story, when: Moment) {
    tokio::time::sleep(when.since(now(story))).await;
}

/// The story goes on without a broken promise.
pub fn good(story: &Story) {
    if let Err(promise) = story.is_broken() {
        broken(story, &promise);
    }
}

#[test]
fn hold_starts_none_of_the_rotations_that_become_due_and_says_so() {
    for way in [Way::InPlace, Way::Alternate, Way::Overlap] {
        runtime().block_on(async {
            let story = settled(way, OnSinkDown::Hold).await;
            let (from, before) = (now(&story), story.standing(0).0.standing);
            let back = goes_down(&story, HOUR * 6);
            assert_eq!(slots(&story, from, back), 3);
            let due = story.blueprints[0].timetable.upcoming(from, back).next().unwrap().due;
            sleep_until(&story, due + MINUTE * 10).await;
            let waiting = status(&story);
            assert!(waiting.why.contains("nothing has changed yet, because the sink is down"), "{}", waiting.why);
            sleep_until(&story, back).await;
            let events = events(&story, from);
            let begun = |what: &What| matches!(what, What::Began { .. });
            let ended = |what: &What| matches!(what, What::Abandoned { .. });
            let changes =
                |what: &What| matches!(what, What::Ready { .. } | What::Prepared { .. } | What::Intended { .. });
            assert_eq!((count(&events, begun), count(&events, ended), count(&events, changes)), (3, 3, 0), "{way:?}");
            assert!(status(&story).abandoned.unwrap().what.contains("the sink is down"));
            assert_eq!(story.standing(0).0.standing.current, before.current);
            until(&story, "rotated once it is back", |state| state.standing.rotated_at.is_some_and(|at| at > back))
                .await;
            good(&story);
        });
    }
}

/// The same where the sink goes down in mid-rotation: it lacks the new password, the former one stays valid for those who read it.
#[test]
fn hold_begins_and_retires_nothing_while_a_sink_that_held_the_former_password_is_behind() {
    for way in [Way::InPlace, Way::Alternate, Way::Overlap] {
        runtime().block_on(async {
            let story = settled(way, OnSinkDown::Hold).await;
            story.ask(0, Wish::Rotate { by: OPERATOR, reason: None, through_freeze: false });
            until(&story, "a call is out", |state| {
                state.open.as_ref().is_some_and(|open| matches!(open.phase, Phase::Sent { .. }))
            })
            .await;
            let back = goes_down(&story, HOUR * 6);
            until(&story, "proven", |state| state.standing.rotated_at.is_some()).await;
            let from = now(&story);
            let proven = story.standing(0).0.standing;
            let passed = slots(&story, from, back - MINUTE * 26);
            assert!(passed >= 2, "{passed}");
            let due = story.blueprints[0].timetable.upcoming(from, back).next().unwrap().due;
            sleep_until(&story, due + MINUTE).await;
            let waiting = status(&story);
            assert_eq!(waiting.label, Label::Behind);
            assert!(
                waiting.why.contains("the rotation that is due waits for it (on-sink-down = \"hold\")"),
                "{}",
                waiting.why
            );
            sleep_until(&story, back).await;
            let during = events(&story, from);
            let begins = |what: &What| matches!(what, What::Began { .. } | What::Retired { .. });
            assert_eq!(count(&during, begins), 0, "{way:?}");
            let told = count(&during, |what| matches!(what, What::SlotPassed { .. }));
            assert!(told >= passed && told <= passed + 1, "{told} of {passed}");
            let lagging = status(&story);
            assert_eq!(
                (lagging.label, lagging.former),
                (Label::Behind, proven.former.as_ref().map(|it| it.generation))
            );
            let current = proven.current.unwrap().generation;
            until(&story, "settled", |state| state.open.is_none()).await;
            assert_eq!(shelf(&story, DOWN, |shelf| shelf.taken.last().copied()), Some(current));
            if way == Way::Overlap {
                until(&story, "retired", |state| state.standing.former.is_none()).await;
                let delivered = story.standing(0).0.standing.sinks[&DOWN.parse().unwrap()].tried_at.unwrap();
                assert!(now(&story) >= delivered + HOUR, "grace begins when the last sink has it");
            }
            good(&story);
        });
    }
}

/// Somebody changes the password by hand while a sink is down. The sink comes back and is given what was proven, whatever the instance says by then: only
/// so does anybody look at the instance again, and halt.
#[test]
fn a_sink_that_comes_back_after_somebody_changed_the_password_is_delivered_and_then_the_target_halts() {
    for way in [Way::InPlace, Way::Alternate] {
        runtime().block_on(async {
            let story = settled(way, OnSinkDown::Hold).await;
            story.ask(0, Wish::Rotate { by: OPERATOR, reason: None, through_freeze: false });
            until(&story, "a call is out", |state| {
                state.open.as_ref().is_some_and(|open| matches!(open.phase, Phase::Sent { .. }))
            })
            .await;
            let back = goes_down(&story, HOUR);
            until(&story, "proven", |state| state.standing.rotated_at.is_some()).await;
            sleep_until(&story, now(&story) + MINUTE * 10).await;
            others::intrude(&mut story.sim.lock(), &story.blueprints[0].name);
            sleep_until(&story, back).await;
            let current = story.standing(0).0.standing.current.unwrap().generation;
            until(&story, "delivered", |state| {
                state.standing.sinks.values().all(|outlet| outlet.generation == Some(current))
            })
            .await;
            until(&story, "halted", |state| state.halt.is_some()).await;
        });
    }
}

#[test]
fn proceed_rotates_and_the_sink_receives_only_the_newest_generation_at_the_end() {
    for way in [Way::InPlace, Way::Alternate, Way::Overlap] {
        runtime().block_on(async {
            let story = settled(way, OnSinkDown::Proceed).await;
            let (from, before) = (now(&story), story.standing(0).0.standing.current.unwrap().generation);
            let newest = story.standing(0).0.standing.newest;
            let back = goes_down(&story, HOUR * 6);
            assert_eq!(slots(&story, from, back), 3);
            let mut pager = Pager::default();
            pager.until(&story, back - MINUTE).await;
            let during = events(&story, from);
            let proven: Vec<&Recorded> =
                during.iter().filter(|event| matches!(event.what, What::Proven { .. })).collect();
            assert_eq!(proven.len(), 3, "{way:?}");
            let current = story.standing(0).0.standing.current.unwrap().generation;
            assert_eq!(current.0, newest.0 + 3);
            let taken = |sink| shelf(&story, sink, |shelf| shelf.taken.clone());
            assert_eq!(taken(DOWN), [before], "it is down");
            let others: Vec<Generation> = (newest.0 + 1..=current.0).map(Generation).collect();
            assert_eq!(taken(UP)[1..], others, "nobody else waits for it");
            assert_eq!(count(&during, |what| matches!(what, What::HookTold { .. })), 3);
            // The lag can be seen.
            let lagging = status(&story);
            let sink = &lagging.sinks[0];
            assert_eq!((lagging.label, sink.generation), (Label::Behind, Some(before)));
            assert_eq!((sink.behind_since, sink.behind_by), (Some(proven[0].at), current.0 - before.0));
            assert!(lagging.why.contains("sink sink-down lacks generation"), "{}", lagging.why);
            let labels = "{target=\"orders\",sink=\"sink-down\"}";
            let since = proven[0].at.millis() as f64 / 1_000.0;
            assert_eq!(
                behind_in_metrics(&story),
                [
                    format!("keywheel_sink_behind_since_timestamp_seconds{labels} {since:?}"),
                    format!("keywheel_sink_behind_generations{labels} {:?}", (current.0 - before.0) as f64),
                ]
            );
            check_grace(&story, way, &during);
            until(&story, "settled", |state| state.open.is_none()).await;
            assert_eq!(taken(DOWN), [before, current], "once, and nothing in between");
            let settled = status(&story);
            assert_eq!((settled.sinks[0].behind_since, settled.sinks[0].behind_by), (None, 0));
            assert_eq!(behind_in_metrics(&story), Vec::<String>::new(), "it has caught up");
            pager.until(&story, now(&story) + MINUTE * 30).await;
            // Three passwords missed are one lag: it is told of once, a quarter of an hour after it began, and once that it is over.
            let [(raised, ref lag, false), (over, _, true)] = pager.heard[..] else { panic!("{:?}", pager.heard) };
            assert_eq!((lag.event, lag.part.as_deref()), (Event::Behind, Some(DOWN)));
            let ripe = proven[0].at + BEHIND_AFTER;
            assert!(raised >= ripe && raised <= ripe + MINUTE, "{raised}, not {ripe}");
            assert!(over >= back && over <= back + MINUTE * 10, "{over}, not {back}");
            let last = events(&story, proven[2].at);
            let told = |event: &&Recorded| matches!(event.what, What::HookTold { .. });
            assert_eq!(last.iter().filter(told).count(), 2, "told again for those who read it");
            if way != Way::InPlace {
                check_late(&story).await;
            }
            good(&story);
        });
    }
}

/// Who reads the sink that is down had the grace since the password after theirs was proven, before theirs stopped working.
fn check_grace(story: &Story, way: Way, during: &[Recorded]) {
    let mut proven: Option<Moment> = None;
    let mut taken_away = 0;
    for event in during {
        match &event.what {
            What::Proven { .. } => proven = Some(event.at),
            What::Retired { .. } if way == Way::Overlap => {
                taken_away += 1;
                assert!(event.at >= proven.unwrap() + HOUR, "retired too early: {event:?}");
            }
            What::Intended { .. } if way == Way::Alternate => {
                taken_away += 1;
                assert!(proven.is_none_or(|proven| event.at >= proven + HOUR), "rotated away too early: {event:?}");
            }
            _ => {}
        }
    }
    if way != Way::InPlace && taken_away < 2 {
        broken(story, "passwords are taken away although a sink is down for longer than the grace");
    }
}

/// A sink that is back within the grace: those who read it have the whole grace from then on.
async fn check_late(story: &Story) {
    let from = now(story);
    until(story, "the next rotation is proven", |state| state.standing.rotated_at.is_some_and(|at| at > from)).await;
    until(story, "settled again", |state| state.open.is_none()).await;
    let late = goes_down_for_the_next(story).await;
    until(story, "delivered late", |state| {
        state.standing.sinks[&DOWN.parse().unwrap()].tried_at.is_some_and(|at| at >= late) && state.open.is_none()
    })
    .await;
    let delivered = story.standing(0).0.standing.sinks[&DOWN.parse().unwrap()].tried_at.unwrap();
    until(story, "the one before is taken away", |state| {
        state.standing.former.is_none() || state.standing.rotated_at.is_some_and(|at| at > delivered)
    })
    .await;
    let takes_away = |what: &What| matches!(what, What::Retired { .. } | What::Intended { .. });
    let first = events(story, delivered).into_iter().find(|event| takes_away(&event.what)).unwrap();
    assert!(first.at >= delivered + HOUR, "the grace begins anew when the sink is back: {first:?}");
}

/// The sink misses the next rotation and is back half an hour after it; when that is.
async fn goes_down_for_the_next(story: &Story) -> Moment {
    let from = now(story);
    let due = story.blueprints[0].timetable.upcoming(from, from + HOUR * 3).next().unwrap().due;
    sleep_until(story, due).await;
    until(story, "a call is out", |state| {
        state.open.as_ref().is_some_and(|open| open.began_at > from && matches!(open.phase, Phase::Sent { .. }))
    })
    .await;
    goes_down(story, MINUTE * 30)
}

/// A sink that gives no answer: the other sink has its password at once, the hook is told within the time a sink may take, and another target rotates
/// although there is only one place.
#[test]
fn a_sink_that_hangs_delays_no_other_sink_no_hook_and_no_other_target() {
    for on_sink_down in [OnSinkDown::Hold, OnSinkDown::Proceed] {
        runtime().block_on(async {
            let mut story = Story::empty(Dice::new(13), Traits::default(), 0, true);
            story.turns = Some(1);
            add(&mut story, "orders", Way::InPlace, on_sink_down);
            add(&mut story, "shop", Way::InPlace, on_sink_down);
            story.start();
            until(&story, "adopted", |state| {
                state.standing.sinks.values().filter(|outlet| outlet.generation.is_some()).count() == 2
            })
            .await;
            story.ask(0, Wish::Rotate { by: OPERATOR, reason: None, through_freeze: false });
            until(&story, "a call is out", |state| {
                state.open.as_ref().is_some_and(|open| matches!(open.phase, Phase::Sent { .. }))
            })
            .await;
            let hung = now(&story) + HOUR;
            shelf(&story, DOWN, |shelf| shelf.hung_until = hung.millis());
            until(&story, "proven", |state| state.standing.rotated_at.is_some()).await;
            let proven = now(&story);
            tokio::time::sleep(Duration::from_secs(5)).await;
            let current = story.standing(0).0.standing.current.unwrap().generation;
            assert_eq!(shelf(&story, UP, |shelf| shelf.taken.last().copied()), Some(current));
            // The other target is asked while the only place is taken.
            story.ask(1, Wish::Rotate { by: OPERATOR, reason: None, through_freeze: false });
            tokio::time::sleep(Duration::from_secs(60)).await;
            let other = story.standing(1).0;
            if other.standing.rotated_at.is_none() {
                broken(&story, "the other target waits for a sink that is not its own");
            }
            tokio::time::sleep(Duration::from_secs(75)).await;
            let told = events(&story, proven).into_iter().find(|event| matches!(event.what, What::HookTold { .. }));
            let Some(told) = told else { broken(&story, "the hook waits for the sink that hangs") };
            assert!(told.at.since(proven) <= Duration::from_secs(130), "{told:?}");
            until(&story, "settled", |state| state.open.is_none()).await;
            assert!(now(&story) >= hung);
            let newest = story.standing(0).0.standing.current.unwrap().generation;
            assert_eq!(shelf(&story, DOWN, |shelf| shelf.taken.last().copied()), Some(newest));
            good(&story);
        });
    }
}

/// Two accounts of one instance: a rotation that has begun and waits for its sink does not keep the other one's from beginning, and takes the instance again
/// when the sink is back.
#[test]
fn a_rotation_that_waits_for_its_sink_leaves_the_instance_to_others() {
    runtime().block_on(async {
        let mut story = Story::empty(Dice::new(23), Traits::default(), 0, true);
        for name in ["orders", "shop"] {
            add(&mut story, name, Way::InPlace, OnSinkDown::Hold);
            let blueprint = story.blueprints.last_mut().unwrap();
            blueprint.key = "i-shared".to_owned();
            story.sim.lock().truths.get_mut(&blueprint.name).unwrap().key = "i-shared".to_owned();
        }
        story.start();
        until(&story, "adopted", |state| {
            state.standing.sinks.values().filter(|outlet| outlet.generation.is_some()).count() == 2
        })
        .await;
        let back = goes_down(&story, HOUR);
        story.ask(0, Wish::Rotate { by: OPERATOR, reason: None, through_freeze: false });
        until(&story, "it waits for its sink", |state| state.open.is_some() && state.blocked.is_some()).await;
        story.ask(1, Wish::Rotate { by: OPERATOR, reason: None, through_freeze: false });
        tokio::time::sleep(MINUTE * 2).await;
        if story.standing(1).0.standing.rotated_at.is_none() {
            broken(&story, "the other account's rotation waits for a sink that is not its own");
        }
        sleep_until(&story, back).await;
        story.ask(0, Wish::Rotate { by: OPERATOR, reason: None, through_freeze: false });
        until(&story, "both have rotated", |state| state.standing.rotated_at.is_some_and(|at| at >= back)).await;
        good(&story);
    });
}
