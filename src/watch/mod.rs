//! Watches the fleet and alerts people: each condition once, and once that it is over.
//!
//! [`conditions`] says what holds, [`book`] who is still to hear of what; both are pure. Here the ledger is looked at from time to time, the book is kept in
//! it, and each channel is told by a loop of its own: one that is down delays no other, and never the driver.

pub mod book;
pub mod bulletin;
pub mod conditions;
mod look;
pub mod pulse;

use crate::alert::tally::Tally;
use crate::alert::{Channel, Event, Message};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::driver::Driver;
use crate::fault::{Fault, Kind, Retry};
use crate::ledger::Ledger;
use crate::moment::{Moment, show_span};
use crate::name::{ChannelName, ProviderName};
use crate::provider::Provider;
use book::{Book, Covered, News, Takers};
use conditions::{Conditions, Patience};
use futures_util::future::{join, join_all};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The name of the book in the ledger.
const NOTE: &str = "alerts";

/// The longest time one attempt to tell a channel may take, whatever its own timeout says.
const TELLING: Duration = Duration::from_secs(120);

/// The wait after a channel could not be told, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));

/// Waits are shortened by up to this share, one part in so many.
const JITTER: u32 = 10;

/// A channel, and what it is told.
#[derive(Clone)]
pub struct Post {
    /// Who is told.
    pub channel: Arc<dyn Channel>,
    /// What it takes.
    pub events: BTreeSet<Event>,
    /// How long after a message the next one waits, so that many alerts become one message.
    pub gather: Duration,
}

/// What alerts are made of, and who gets them.
pub struct Watch {
    /// The fleet.
    pub driver: Arc<Driver>,
    /// Whose credentials may end.
    pub providers: BTreeMap<ProviderName, Arc<dyn Provider>>,
    /// Instances that were found and make no target, a sentence each.
    pub left_out: Arc<Mutex<BTreeSet<String>>>,
    /// Who is told.
    pub posts: BTreeMap<ChannelName, Post>,
    /// How long some conditions may last before anybody is told.
    pub patience: Patience,
    /// How often the fleet is looked at.
    pub every: Duration,
    /// The name of this machine.
    pub host: String,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The jitter of waits.
    pub chance: Arc<dyn Chance>,
}

/// The book and the ledger that keeps it. There is one for as long as the daemon runs.
pub struct Desk {
    ledger: Arc<dyn Ledger>,
    kept: tokio::sync::Mutex<Kept>,
    tally: Arc<Tally>,
}

struct Kept {
    book: Book,
    /// Whether the ledger has it as it is.
    is_written: bool,
}

impl Desk {
    /// The book as the ledger has it.
    ///
    /// # Errors
    /// `LedgerCorrupt`, `LedgerNewer`, `LedgerUnusable`.
    pub async fn open(ledger: Arc<dyn Ledger>) -> Result<Self, Fault> {
        let book = match ledger.note(NOTE).await? {
            Some(text) => serde_json::from_str(&text).map_err(|_| {
                Fault::new(Kind::LedgerNewer, "the ledger keeps its alerts in a form that this keywheel cannot read")
            })?,
            None => Book::default(),
        };
        let tally = Arc::new(Tally::default());
        tally.stand(book.conditions().keys().map(|key| key.event));
        Ok(Self { ledger, tally, kept: tokio::sync::Mutex::new(Kept { book, is_written: true }) })
    }

    /// What was counted since the start.
    pub fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// What held when it was written.
    pub async fn conditions(&self) -> Conditions {
        self.kept.lock().await.book.conditions()
    }

    /// Takes in what holds now, and writes it down.
    pub async fn update(&self, holding: &Conditions, takers: &Takers, now: Moment) -> News {
        let mut kept = self.kept.lock().await;
        let news = kept.book.update(holding, takers, now);
        if news != News::default() {
            news.raised.iter().for_each(|key| self.tally.raised(key.event));
            news.over.iter().for_each(|key| self.tally.over(key.event));
            self.tally.stand(kept.book.conditions().keys().map(|key| key.event));
            kept.is_written = false;
        }
        self.write(&mut kept).await;
        news
    }

    async fn forget_others(&self, takers: &Takers) {
        let mut kept = self.kept.lock().await;
        let before = kept.book.clone();
        kept.book.keep_channels(takers);
        kept.is_written &= kept.book == before;
        self.write(&mut kept).await;
    }

    /// What this channel has not heard yet.
    pub async fn message(&self, channel: &ChannelName, host: &str, now: Moment) -> Option<(Message, Covered)> {
        self.kept.lock().await.book.message(channel, host, now)
    }

    /// It has heard that; the same after a restart.
    pub async fn heard(&self, channel: &ChannelName, covered: &Covered) {
        let mut kept = self.kept.lock().await;
        kept.book.heard(channel, covered);
        kept.is_written = false;
        self.write(&mut kept).await;
    }

    /// Somebody who can still be told is told, whether or not the ledger can be written: at worst twice.
    async fn write(&self, kept: &mut Kept) {
        if kept.is_written {
            return;
        }
        let text = serde_json::to_string(&kept.book).expect("names, texts and times always have a JSON form");
        match self.ledger.keep_note(NOTE, &text).await {
            Ok(()) => kept.is_written = true,
            Err(fault) => {
                tracing::error!(%fault, "what was announced cannot be written down; it is tried again at the next look")
            }
        }
    }
}

impl Watch {
    /// Looks and tells until it is stopped.
    pub async fn run(self, desk: Arc<Desk>, stop: CancellationToken) {
        let takers: Takers = self.posts.iter().map(|(name, post)| (name.clone(), post.events.clone())).collect();
        let bells: BTreeMap<&ChannelName, Notify> = self.posts.keys().map(|name| (name, Notify::new())).collect();
        let worries = Mutex::new(None);
        let all = async {
            desk.forget_others(&takers).await;
            let posts = self.posts.iter().map(|(name, post)| self.tell(&desk, name, post, &bells[name]));
            let looks = join(self.worry(&worries), self.look_on(&desk, &takers, &worries, &bells));
            join(looks, join_all(posts)).await
        };
        tokio::select! {
            () = stop.cancelled() => {}
            _ = all => {}
        }
    }

    async fn look_on(
        &self,
        desk: &Desk,
        takers: &Takers,
        worries: &Mutex<Option<Conditions>>,
        bells: &BTreeMap<&ChannelName, Notify>,
    ) {
        let mut before = look::Before::of(desk.conditions().await);
        loop {
            let worries = worries.lock().unwrap_or_else(PoisonError::into_inner).clone();
            match self.look(&*desk.ledger, &mut before, worries).await {
                Ok(()) => {
                    let news = desk.update(&before.holding, takers, self.clock.now()).await;
                    for key in &news.raised {
                        tracing::info!(event = key.event.word(), subject = %key.subject, part = ?key.part, "an alert is raised");
                    }
                    for key in &news.over {
                        tracing::info!(event = key.event.word(), subject = %key.subject, part = ?key.part, "an alert is over");
                    }
                    bells.values().for_each(Notify::notify_one);
                }
                Err(fault) => {
                    tracing::error!(%fault, "the ledger cannot list the targets; nobody is alerted of anything new")
                }
            }
            self.clock.sleep(self.every).await;
        }
    }

    /// Tells one channel whatever it has not heard, without end.
    async fn tell(&self, desk: &Desk, name: &ChannelName, post: &Post, bell: &Notify) {
        let mut failures = 0;
        loop {
            let Some((message, covered)) = desk.message(name, &self.host, self.clock.now()).await else {
                bell.notified().await;
                continue;
            };
            let told = tokio::select! {
                biased;
                told = post.channel.tell(&message) => told,
                () = self.clock.sleep(TELLING) => {
                    let what = format!("it took longer than {}", show_span(TELLING));
                    Err(Fault::new(Kind::AlertFailed, what))
                }
            };
            let wait = match told {
                Ok(()) => {
                    failures = 0;
                    desk.tally.told(name, true);
                    desk.heard(name, &covered).await;
                    let id = &message.id;
                    tracing::info!(channel = %name, id, "alerts were announced");
                    post.gather
                }
                Err(fault) => {
                    failures += 1;
                    desk.tally.told(name, false);
                    let wait = self.wait(&fault, failures);
                    if failures == 1 {
                        tracing::warn!(channel = %name, %fault, retry_in = ?wait, "a channel could not be told");
                    } else {
                        tracing::debug!(channel = %name, %fault, retry_in = ?wait, "a channel still cannot be told");
                    }
                    wait
                }
            };
            self.clock.sleep(wait).await;
        }
    }

    fn wait(&self, fault: &Fault, failures: u32) -> Duration {
        let doubled = RETRY.0.saturating_mul(1 << (failures - 1).min(10)).min(RETRY.1);
        let spread = u64::try_from((doubled / JITTER).as_millis()).unwrap_or(u64::MAX);
        let less = u64::try_from(self.chance.bits() % (u128::from(spread) + 1)).unwrap_or(0);
        let wait = doubled.saturating_sub(Duration::from_millis(less));
        match fault.retry {
            Retry::AfterMillis(asked) => wait.max(Duration::from_millis(asked)),
            Retry::Never | Retry::Later => wait,
        }
    }
}
