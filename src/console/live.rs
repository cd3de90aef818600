//! Live: tells whoever listens *that* something changed, and of which targets; what it is, a page says when it is read again. Nothing of a record
//! travels here, and nobody is waited for: who reads too slowly to keep up is let go, and asks again.

use super::look::Look;
use crate::clock::Clock;
use crate::driver::{Driver, Happening};
use crate::name::TargetName;
use bytes::Bytes;
use futures_util::stream::{Stream, unfold};
use hyper::body::Frame;
use serde::Serialize;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::broadcast::{Receiver, Sender, channel};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, sleep_until};

/// Listeners at the same time.
const LISTENERS: usize = 32;

/// The shortest time between two pieces of news.
const BREATH: Duration = Duration::from_secs(1);

/// How many pieces of news a listener may be behind before it is let go.
const BACKLOG: usize = 8;

/// The most targets that one piece of news names; of more it says that there are more.
const NAMED: usize = 50;

/// How often something is said where nothing happens, so that whatever lies in between keeps the connection.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a listener's connection lasts at the most, and how long before that it is told to come again; a page does so at once.
pub(super) const LISTENING_LIMIT: Duration = Duration::from_secs(600);
const FAREWELL: Duration = HEARTBEAT;

/// Said first, so that the listener knows that it is heard.
const HELLO: Bytes = Bytes::from_static(b": listening\n\n");

/// A comment: it says nothing.
const NOTHING_NEW: Bytes = Bytes::from_static(b": nothing new\n\n");

/// Said last.
const AGAIN: Bytes = Bytes::from_static(b"event: again\ndata: \n\n");

/// Those who listen.
pub(super) struct Live {
    news: Sender<Bytes>,
    places: Arc<Semaphore>,
    /// Rung where what changed is no target's record.
    bell: Notify,
}

impl Default for Live {
    fn default() -> Self {
        Self { news: channel(BACKLOG).0, places: Arc::new(Semaphore::new(LISTENERS)), bell: Notify::new() }
    }
}

/// One who listens.
struct Listener {
    heard: Receiver<Bytes>,
    until: Instant,
    phase: Phase,
    _place: OwnedSemaphorePermit,
}

enum Phase {
    Greeted,
    Listening,
    Leaving,
}

impl Live {
    /// News from now on, as server-sent events; `None` where too many listen.
    pub(super) fn listen(&self) -> Option<impl Stream<Item = Result<Frame<Bytes>, Infallible>> + use<>> {
        let listener = Listener {
            _place: Arc::clone(&self.places).try_acquire_owned().ok()?,
            heard: self.news.subscribe(),
            until: Instant::now() + LISTENING_LIMIT - FAREWELL,
            phase: Phase::Greeted,
        };
        Some(unfold(listener, |mut listener| async move {
            let said = listener.next().await?;
            Some((Ok(Frame::data(said)), listener))
        }))
    }

    /// Something changed that no target's record tells of.
    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Tells what happens, as long as the driver lives: at most once in a [`BREATH`], and not before a page that is read then would show it.
    pub(super) async fn tell(&self, driver: &Driver, look: &Look, clock: &dyn Clock) {
        let mut happenings = driver.happenings();
        loop {
            let mut batch = Batch::default();
            tokio::select! {
                first = happenings.recv() => match first {
                    Ok(happening) => batch.add(happening),
                    Err(RecvError::Lagged(_)) => batch.more = true,
                    Err(RecvError::Closed) => return,
                },
                () = self.bell.notified() => batch.more = true,
            }
            sleep(BREATH).await;
            batch.drain(&mut happenings);
            if self.news.receiver_count() == 0 {
                continue;
            }
            // What cannot be looked at is seen when somebody asks; that it happened is true all the same.
            let _seen = look.view_since(clock.now()).await;
            // Nobody may be left to hear it.
            let _heard = self.news.send(batch.said());
        }
    }
}

impl Listener {
    async fn next(&mut self) -> Option<Bytes> {
        match self.phase {
            Phase::Greeted => {
                self.phase = Phase::Listening;
                Some(HELLO)
            }
            Phase::Listening => tokio::select! {
                biased;
                () = sleep_until(self.until) => {
                    self.phase = Phase::Leaving;
                    Some(AGAIN)
                }
                news = self.heard.recv() => news.ok(),
                () = sleep(HEARTBEAT) => Some(NOTHING_NEW),
            },
            Phase::Leaving => None,
        }
    }
}

/// What happened within a breath.
#[derive(Default, Serialize)]
struct Batch {
    targets: BTreeSet<TargetName>,
    /// Whether anything else may have changed.
    more: bool,
}

impl Batch {
    fn add(&mut self, happening: Happening) {
        if self.targets.len() < NAMED || self.targets.contains(&happening.target) {
            self.targets.insert(happening.target);
        } else {
            self.more = true;
        }
    }

    fn drain(&mut self, happenings: &mut Receiver<Happening>) {
        loop {
            match happenings.try_recv() {
                Ok(happening) => self.add(happening),
                Err(TryRecvError::Lagged(_)) => self.more = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    fn said(&self) -> Bytes {
        let data = serde_json::to_string(self).expect("names always have a JSON form");
        format!("data: {data}\n\n").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::Moment;
    use futures_util::StreamExt;
    use std::pin::pin;

    fn happening(number: usize) -> Happening {
        Happening {
            target: format!("t{number:05}").parse().unwrap(),
            rotation: None,
            at: Moment::from_seconds(1),
            what: "settled",
        }
    }

    fn text(said: Option<Result<Frame<Bytes>, Infallible>>) -> Option<String> {
        said.map(|Ok(frame)| String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
    }

    #[test]
    fn news_name_some_targets_and_never_more_than_the_limit() {
        let mut batch = Batch::default();
        batch.add(happening(2));
        batch.add(happening(1));
        batch.add(happening(2));
        assert_eq!(batch.said(), "data: {\"targets\":[\"t00001\",\"t00002\"],\"more\":false}\n\n");
        (0..10_000).for_each(|number| batch.add(happening(number)));
        assert!(batch.more && batch.targets.len() == NAMED);
        let (sender, mut receiver) = channel(4);
        (0..5).for_each(|number| drop(sender.send(happening(number))));
        let mut batch = Batch::default();
        batch.drain(&mut receiver);
        assert!(batch.more, "it missed one, which may have been anybody's");
        assert_eq!(batch.targets.len(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn who_falls_behind_is_let_go_and_who_listens_for_long_is_asked_to_come_again() {
        let live = Live::default();
        let mut slow = pin!(live.listen().unwrap());
        assert_eq!(text(slow.next().await).unwrap(), ": listening\n\n");
        let mut quick = pin!(live.listen().unwrap());
        assert_eq!(text(quick.next().await).unwrap(), ": listening\n\n");
        for number in 0..=BACKLOG {
            live.news.send(format!("data: {number}\n\n").into()).unwrap();
            assert_eq!(text(quick.next().await).unwrap(), format!("data: {number}\n\n"));
        }
        assert_eq!(text(slow.next().await), None);
        let mut beats = 0;
        loop {
            match text(quick.next().await).unwrap().as_str() {
                ": nothing new\n\n" => beats += 1,
                last => break assert_eq!(last, "event: again\ndata: \n\n"),
            }
        }
        assert_eq!(beats, (LISTENING_LIMIT - FAREWELL).as_secs() / HEARTBEAT.as_secs() - 1);
        assert_eq!(text(quick.next().await), None);
    }

    #[tokio::test]
    async fn places_are_few_and_come_back() {
        let live = Live::default();
        let mut all: Vec<_> = (0..LISTENERS).map(|_| live.listen().unwrap()).collect();
        assert!(live.listen().is_none());
        all.pop();
        assert!(live.listen().is_some());
    }
}
