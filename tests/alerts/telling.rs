//! The loops that tell: a channel that is down is told again later and delays no other, and many alerts become few messages. Time is virtual.

use super::channel;
use async_trait::async_trait;
use keywheel::alert::{Channel, Event, Message};
use keywheel::chance::SystemChance;
use keywheel::clock::Clock;
use keywheel::driver::{Driver, Fleet, Tools};
use keywheel::fault::{Fault, Kind};
use keywheel::ledger::known::{Known, Lists};
use keywheel::ledger::{Claim, Ledger, Listing, Row};
use keywheel::moment::Moment;
use keywheel::name::{Generation, TargetName};
use keywheel::secret::Secret;
use keywheel::watch::conditions::Patience;
use keywheel::watch::{Desk, Post, Watch};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Virtual time.
struct Virtual(Instant);

#[async_trait]
impl Clock for Virtual {
    fn now(&self) -> Moment {
        super::at(0) + self.0.elapsed()
    }

    async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

/// What a channel heard, and how it behaves.
#[derive(Default)]
struct Scripted {
    heard: Mutex<Vec<Message>>,
    tried: Mutex<Vec<Instant>>,
    down: Mutex<Option<Way>>,
}

#[derive(Clone, Copy)]
enum Way {
    Refuses,
    Hangs,
}

#[async_trait]
impl Channel for Scripted {
    async fn tell(&self, message: &Message) -> Result<(), Fault> {
        self.tried.lock().unwrap().push(Instant::now());
        let way = *self.down.lock().unwrap();
        match way {
            None => {
                self.heard.lock().unwrap().push(message.clone());
                Ok(())
            }
            Some(Way::Refuses) => Err(Fault::new(Kind::AlertFailed, "it is down")),
            Some(Way::Hangs) => std::future::pending().await,
        }
    }

    async fn ready(&self) -> Result<(), Fault> {
        Ok(())
    }
}

impl Scripted {
    /// How many are raised and over in each message.
    fn counts(&self) -> Vec<(usize, usize)> {
        let count = |message: &Message, over| {
            message.groups.iter().filter(|group| group.over == over).map(|group| group.count).sum()
        };
        self.heard.lock().unwrap().iter().map(|message| (count(message, false), count(message, true))).collect()
    }
}

/// A ledger in memory, of no target: a real one works on threads, and virtual time would not wait for them.
#[derive(Default)]
struct Notes(Mutex<BTreeMap<&'static str, String>>);

#[async_trait]
impl Ledger for Notes {
    async fn enlist(&self, _targets: &[TargetName], _now: Moment) -> Result<(), Fault> {
        Ok(())
    }

    async fn due(&self, _now: Moment, _limit: usize) -> Result<Vec<TargetName>, Fault> {
        Ok(Vec::new())
    }

    async fn claim(&self, _target: &TargetName, _now: Moment) -> Result<Option<Box<dyn Claim>>, Fault> {
        Ok(None)
    }

    async fn recent(&self, _target: &TargetName) -> Result<Vec<Row>, Fault> {
        Ok(Vec::new())
    }

    async fn history(&self, _target: &TargetName) -> Result<Vec<Row>, Fault> {
        Ok(Vec::new())
    }

    async fn listing(&self) -> Result<Vec<Listing>, Fault> {
        Ok(Vec::new())
    }

    async fn password(&self, _target: &TargetName, _generation: Generation) -> Result<Secret, Fault> {
        Err(Fault::new(Kind::LedgerCorrupt, "there is none"))
    }

    async fn keep_list(&self, _selection: &TargetName, _list: &[Known]) -> Result<(), Fault> {
        Ok(())
    }

    async fn lists(&self) -> Result<Lists, Fault> {
        Ok(Lists::new())
    }

    async fn keep_note(&self, name: &'static str, text: &str) -> Result<(), Fault> {
        self.0.lock().unwrap().insert(name, text.to_owned());
        Ok(())
    }

    async fn note(&self, name: &'static str) -> Result<Option<String>, Fault> {
        Ok(self.0.lock().unwrap().get(name).cloned())
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_down_delays_no_other_and_hears_all_of_it_when_it_is_back() {
    let ledger: Arc<dyn Ledger> = Arc::new(Notes::default());
    let clock: Arc<dyn Clock> = Arc::new(Virtual(Instant::now()));
    let tools = Tools { ledger: Arc::clone(&ledger), clock: Arc::clone(&clock), chance: Arc::new(SystemChance) };
    let stop = CancellationToken::new();
    let channels = ["well", "refusing", "hanging"].map(|name| (name, Arc::new(Scripted::default())));
    let [(_, well), (_, refusing), (_, hanging)] = &channels;
    *refusing.down.lock().unwrap() = Some(Way::Refuses);
    *hanging.down.lock().unwrap() = Some(Way::Hangs);
    let post = |(name, scripted): &(&str, Arc<Scripted>)| {
        let channel_of: Arc<dyn Channel> = Arc::<Scripted>::clone(scripted);
        let events = [Event::LeftOut].into();
        (channel(name), Post { channel: channel_of, events, gather: Duration::from_secs(60) })
    };
    let left_out = Arc::new(Mutex::new(BTreeSet::new()));
    let say = |numbers: std::ops::Range<u32>| {
        *left_out.lock().unwrap() = numbers.map(|number| format!("instance {number} has no name")).collect();
    };
    let watch = Watch {
        driver: Driver::new(tools, Fleet::new(), 1, stop.clone()),
        providers: BTreeMap::new(),
        left_out: Arc::clone(&left_out),
        posts: channels.iter().map(post).collect(),
        patience: Patience { doubt: Duration::from_secs(900), behind: Duration::from_secs(900) },
        every: Duration::from_secs(10),
        host: "web-1".to_owned(),
        clock: Arc::clone(&clock),
        chance: Arc::new(SystemChance),
    };
    let desk = Arc::new(Desk::open(Arc::clone(&ledger)).await.unwrap());
    let running = tokio::spawn(watch.run(desk, stop.clone()));

    // Each look finds more: the first is told at once, the others together a minute later.
    for look in 1..=6 {
        say(0..look * 50);
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(well.counts(), [(50, 0), (250, 0)]);
    say(0..100);
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(well.counts(), [(50, 0), (250, 0), (0, 200)]);
    assert_eq!((refusing.counts(), hanging.counts()), (vec![], vec![]));

    // It was tried again and again, ever less often.
    let tried = refusing.tried.lock().unwrap().clone();
    let waits: Vec<u64> = tried.windows(2).map(|two| (two[1] - two[0]).as_secs()).collect();
    assert!(
        waits.len() > 5 && waits[0] <= 5 && waits.last().is_some_and(|last| (540..=601).contains(last)),
        "{waits:?}"
    );
    assert!(hanging.tried.lock().unwrap().len() > 3, "one that hangs is given up on and tried again");

    *refusing.down.lock().unwrap() = None;
    *hanging.down.lock().unwrap() = None;
    tokio::time::sleep(Duration::from_secs(1_500)).await;
    for late in [refusing, hanging] {
        assert_eq!(late.counts(), [(100, 200)], "one message for all that happened");
    }
    say(0..0);
    tokio::time::sleep(Duration::from_secs(120)).await;
    for (name, scripted) in &channels {
        assert_eq!(scripted.counts().last(), Some(&(0, 100)), "{name}");
    }
    stop.cancel();
    running.await.unwrap();
}
