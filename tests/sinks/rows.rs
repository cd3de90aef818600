//! What every sink promises, one row each.

use super::conformance::{Seen, Store, Trouble};
use super::traces::Traces;
use async_trait::async_trait;
use keywheel::fault::{Fault, Kind, Retry};
use keywheel::moment::Moment;
use keywheel::name::{Generation, TargetName};
use keywheel::secret::Secret;
use keywheel::sink::{Document, Endpoint, Held, Holds, Sink};
use std::sync::{Arc, Mutex, PoisonError};

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    Deliver,
    Again,
    Older,
    Stranger,
    NewerBetween,
    SameBetween,
    LostBetween,
    Race,
    Down,
    Denied,
    NotFound,
    Throttled,
    Broken,
    Full,
    LostAnswer,
    Hang,
    Huge,
    Characters,
    Ready,
    ReadBack,
    Wiped,
    Shown,
}

impl Row {
    pub const ALL: &'static [Self] = &[
        Self::Deliver,
        Self::Again,
        Self::Older,
        Self::Stranger,
        Self::NewerBetween,
        Self::SameBetween,
        Self::LostBetween,
        Self::Race,
        Self::Down,
        Self::Denied,
        Self::NotFound,
        Self::Throttled,
        Self::Broken,
        Self::Full,
        Self::LostAnswer,
        Self::Hang,
        Self::Huge,
        Self::Characters,
        Self::Ready,
        Self::ReadBack,
        Self::Wiped,
        Self::Shown,
    ];

    pub fn words(self) -> &'static str {
        match self {
            Self::Deliver => "delivered is seen",
            Self::Again => "again: one version",
            Self::Older => "older after newer: refused",
            Self::Stranger => "another target's place: refused",
            Self::NewerBetween => "a newer one between look and write",
            Self::SameBetween => "the same one between look and write",
            Self::LostBetween => "lost answer, a newer one in between",
            Self::Race => "two writers race",
            Self::Down => "down",
            Self::Denied => "denied",
            Self::NotFound => "not found",
            Self::Throttled => "throttled",
            Self::Broken => "fails by itself (5xx)",
            Self::Full => "no room",
            Self::LostAnswer => "lost answer, again: one version",
            Self::Hang => "hangs",
            Self::Huge => "answers with 100 MB",
            Self::Characters => "every character",
            Self::Ready => "ready changes nothing",
            Self::ReadBack => "read back",
            Self::Wiped => "deleted by somebody: comes back",
            Self::Shown => "Debug shows no secret",
        }
    }
}

/// How many generations race.
const RACERS: u64 = 8;

/// How often a racer that lost a race tries again.
const ATTEMPTS: usize = 60;

/// How much of the four answers of 100 MB a sink may take in, in bytes: what it reads of each before it hangs up, and what the buffers on the way hold.
const SWALLOWED_LIMIT: u64 = 64 * 1024 * 1024;

/// The secret that a sink shows its store, where it needs one.
pub const TOKEN: &str = "hvs.token-0f9Xq7/conformance";

fn password(generation: u64) -> String {
    format!("Gen{generation:03}\"é\\%-{}", generation * 7919)
}

/// Every printable character of ASCII, and some beyond.
fn every_character() -> String {
    (' '..='~').chain("äß中文пароль🦀\u{a0}\u{202e}".chars()).collect()
}

/// Everything that must not be seen anywhere.
pub fn secrets() -> Vec<String> {
    (1..=RACERS).map(password).chain([every_character(), TOKEN.to_owned()]).collect()
}

fn target() -> TargetName {
    "orders-cache".parse().unwrap()
}

/// A document as the driver would hand it over.
pub fn document(generation: u64) -> Document {
    let password = password(generation);
    Document {
        target: target(),
        generation: Generation(generation),
        rotation: None,
        proven_at: Moment::from_seconds(1_735_689_600),
        account: "app".to_owned(),
        password: Secret::new(password.clone()),
        login_user: Some("app".to_owned()),
        login_password: Secret::new(password),
        endpoint: Some(Endpoint { host: "10.0.0.12".to_owned(), port: 6379, tls: false }),
    }
}

fn seen_of(document: &Document) -> Option<Seen> {
    Some(Seen {
        generation: document.generation.0,
        account: document.account.clone(),
        password: document.login_password.expose().to_owned(),
    })
}

/// A sink whose faults are all looked at for secrets.
struct Watched {
    sink: Arc<dyn Sink>,
    said: Arc<Mutex<String>>,
}

impl Watched {
    fn heard<T>(&self, outcome: Result<T, Fault>) -> Result<T, Fault> {
        if let Err(fault) = &outcome {
            assert!(!fault.next_step.is_empty() && !fault.what.is_empty(), "{fault:?}");
            self.said.lock().unwrap_or_else(PoisonError::into_inner).push_str(&format!("{fault} {fault:?}\n"));
        }
        outcome
    }
}

#[async_trait]
impl Sink for Watched {
    async fn ready(&self, target: &TargetName) -> Result<(), Fault> {
        self.heard(self.sink.ready(target).await)
    }

    async fn deliver(&self, document: &Document) -> Result<(), Fault> {
        self.heard(self.sink.deliver(document).await)
    }

    fn shape(&self, document: &Document) -> Option<Vec<u8>> {
        self.sink.shape(document)
    }

    async fn has_lost_it(&self) -> bool {
        self.sink.has_lost_it().await
    }

    async fn read_back(&self, target: &TargetName) -> Result<Option<Held>, Fault> {
        self.heard(self.sink.read_back(target).await)
    }

    async fn copy(&self, target: &TargetName) -> Result<Option<Document>, Fault> {
        self.heard(self.sink.copy(target).await)
    }

    async fn holds(&self, document: &Document) -> Result<Holds, Fault> {
        self.heard(self.sink.holds(document).await)
    }

    fn place(&self) -> String {
        self.sink.place()
    }
}

/// Plays one row; panics where a promise is broken.
pub async fn play<S: Store>(row: Row, store: &S) {
    let said = Arc::new(Mutex::new(String::new()));
    let watched = |hasty| Arc::new(Watched { sink: store.sink(hasty), said: said.clone() });
    let sink = watched(false);
    match row {
        Row::Deliver => {
            assert_eq!(store.seen().await, None);
            for generation in [1, 2, 5] {
                sink.deliver(&document(generation)).await.unwrap();
                assert_eq!(store.seen().await, seen_of(&document(generation)));
            }
        }
        Row::Again => {
            sink.deliver(&document(1)).await.unwrap();
            let mark = store.mark().await;
            sink.deliver(&document(1)).await.unwrap();
            watched(false).deliver(&document(1)).await.unwrap();
            assert_eq!(store.mark().await, mark, "the same delivery made another version");
        }
        Row::Older => {
            sink.deliver(&document(2)).await.unwrap();
            let mark = store.mark().await;
            for sink in [sink.clone(), watched(false)] {
                let fault = sink.deliver(&document(1)).await.unwrap_err();
                assert_eq!((fault.kind, fault.retry), (Kind::SinkNewer, Retry::Never), "{fault}");
            }
            assert_eq!((store.seen().await, store.mark().await), (seen_of(&document(2)), mark));
        }
        Row::Stranger => {
            sink.deliver(&document(1)).await.unwrap();
            let mark = store.mark().await;
            let stranger = Document { target: "billing".parse().unwrap(), ..document(2) };
            for fault in [sink.deliver(&stranger).await.unwrap_err(), sink.ready(&stranger.target).await.unwrap_err()] {
                assert_eq!(fault.kind, Kind::SinkDenied, "{fault}");
                assert!(fault.what.contains("orders-cache"), "whose place it is should be said: {fault}");
            }
            assert_eq!((store.seen().await, store.mark().await), (seen_of(&document(1)), mark));
        }
        Row::NewerBetween => {
            sink.deliver(&document(1)).await.unwrap();
            store.fail(Trouble::Between(3)).await;
            let fault = delivered(&sink, 2).await.unwrap_err();
            assert_eq!(fault.kind, Kind::SinkNewer, "{fault}");
            assert_eq!(store.seen().await, seen_of(&document(3)));
        }
        Row::SameBetween => {
            sink.deliver(&document(1)).await.unwrap();
            store.fail(Trouble::Between(2)).await;
            let first = sink.deliver(&document(2)).await;
            assert!(first.is_ok() || first.is_err_and(|fault| fault.kind == Kind::SinkUnavailable));
            let mark = store.mark().await;
            delivered(&sink, 2).await.unwrap();
            assert_eq!((store.seen().await, store.mark().await), (seen_of(&document(2)), mark));
        }
        Row::LostBetween => {
            sink.deliver(&document(1)).await.unwrap();
            store.fail(Trouble::LostBetween(3)).await;
            let fault = sink.deliver(&document(2)).await.unwrap_err();
            assert!([Kind::SinkUnavailable, Kind::SinkNewer].contains(&fault.kind), "{fault}");
            // Who tries again knows nothing of the first time.
            for _ in 0..2 {
                let fault = delivered(&watched(false), 2).await.unwrap_err();
                assert_eq!(fault.kind, Kind::SinkNewer, "{fault}");
                assert_eq!(store.seen().await, seen_of(&document(3)));
            }
        }
        Row::Race => race(store, [watched(false), watched(false)]).await,
        Row::Down => trouble(store, &sink, Trouble::Down, &[Kind::SinkUnavailable]).await,
        Row::Denied => trouble(store, &sink, Trouble::Denied, &[Kind::SinkDenied]).await,
        Row::NotFound => trouble(store, &sink, Trouble::NotFound, &[Kind::SinkDenied, Kind::SinkUnavailable]).await,
        Row::Throttled => trouble(store, &sink, Trouble::Throttled, &[Kind::SinkUnavailable]).await,
        Row::Broken => trouble(store, &sink, Trouble::Broken, &[Kind::SinkUnavailable]).await,
        Row::Full => trouble(store, &sink, Trouble::Full, &[Kind::SinkDenied, Kind::SinkUnavailable]).await,
        Row::LostAnswer => {
            sink.deliver(&document(1)).await.unwrap();
            store.fail(Trouble::LostAnswer).await;
            let first = sink.deliver(&document(2)).await;
            assert!(first.is_ok() || first.is_err_and(|fault| fault.kind == Kind::SinkUnavailable));
            let mark = store.mark().await;
            assert_eq!(store.seen().await, seen_of(&document(2)), "the answer alone was to be lost");
            watched(false).deliver(&document(2)).await.unwrap();
            assert_eq!(store.mark().await, mark, "a lost answer made another version");
        }
        Row::Hang => {
            sink.deliver(&document(1)).await.unwrap();
            store.fail(Trouble::Hang).await;
            for question in [true, false] {
                let hasty = watched(true);
                let asked = tokio::spawn(async move {
                    match question {
                        true => hasty.ready(&target()).await,
                        false => hasty.deliver(&document(2)).await,
                    }
                });
                tokio::task::yield_now().await;
                store.time_passes().await;
                // A look that meets nothing that hangs may well succeed; a write may not.
                match asked.await.unwrap() {
                    Err(fault) => assert_eq!(fault.kind, Kind::SinkUnavailable, "{fault}"),
                    Ok(()) => assert!(question, "delivered to a store that hangs"),
                }
            }
            store.mend().await;
            delivered(&sink, 2).await.unwrap();
            assert_eq!(store.seen().await, seen_of(&document(2)));
        }
        Row::Huge => {
            sink.deliver(&document(1)).await.unwrap();
            store.fail(Trouble::Huge).await;
            for outcome in [
                sink.ready(&target()).await,
                sink.holds(&document(1)).await.map(drop),
                sink.read_back(&target()).await.map(drop),
                sink.deliver(&document(2)).await,
            ] {
                let understood = [Kind::SinkUnavailable, Kind::SecretUnreadable, Kind::Unsupported];
                assert!(outcome.as_ref().err().is_none_or(|fault| understood.contains(&fault.kind)), "{outcome:?}");
            }
            let swallowed = store.swallowed().await.unwrap_or(0);
            assert!(swallowed < SWALLOWED_LIMIT, "{swallowed} bytes were taken in");
            store.mend().await;
            delivered(&sink, 2).await.unwrap();
            assert_eq!(store.seen().await, seen_of(&document(2)));
        }
        Row::Characters => {
            let everything = Document {
                account: every_character(),
                login_user: Some(every_character()),
                password: Secret::new(every_character()),
                login_password: Secret::new(every_character()),
                ..document(1)
            };
            sink.deliver(&everything).await.unwrap();
            assert_eq!(store.seen().await, seen_of(&everything));
            if store.leaves_out(Row::ReadBack).is_none() {
                assert_eq!(read(&*sink).await.as_deref(), Some(everything.password.expose()));
                assert_eq!(sink.holds(&everything).await.unwrap(), Holds::Same);
            }
        }
        Row::Ready => {
            let empty = store.mark().await;
            sink.ready(&target()).await.unwrap();
            assert_eq!((store.seen().await, store.mark().await), (None, empty));
            sink.deliver(&document(1)).await.unwrap();
            let mark = store.mark().await;
            sink.ready(&target()).await.unwrap();
            assert_eq!((store.seen().await, store.mark().await), (seen_of(&document(1)), mark));
        }
        Row::ReadBack => {
            assert_eq!(read(&*sink).await, None);
            assert_eq!(sink.holds(&document(1)).await.unwrap(), Holds::Absent);
            sink.deliver(&document(1)).await.unwrap();
            let mark = store.mark().await;
            let other = watched(false);
            assert_eq!(read(&*other).await, Some(password(1)));
            assert_eq!(other.holds(&document(1)).await.unwrap(), Holds::Same);
            assert_eq!(other.holds(&document(2)).await.unwrap(), Holds::Other);
            let elsewhere = Document { login_user: Some("another".to_owned()), ..document(1) };
            assert_eq!(other.holds(&elsewhere).await.unwrap(), Holds::Other);
            copied(&other, &document(1)).await;
            assert_eq!(store.mark().await, mark, "reading made another version");
        }
        Row::Wiped => {
            sink.deliver(&document(2)).await.unwrap();
            assert!(!sink.has_lost_it().await);
            store.wipe().await;
            assert_eq!(store.seen().await, None);
            if store.leaves_out(Row::ReadBack).is_none() {
                assert_eq!((read(&*sink).await, sink.holds(&document(2)).await.unwrap()), (None, Holds::Absent));
            }
            sink.ready(&target()).await.unwrap();
            delivered(&sink, 2).await.unwrap();
            assert_eq!(store.seen().await, seen_of(&document(2)));
        }
        Row::Shown => {
            sink.deliver(&document(1)).await.unwrap();
            let shown = format!("{} {} {:?}", store.debug(), sink.place(), document(1));
            assert_eq!(Traces::of(&secrets()).found(shown.as_bytes()), None, "{shown}");
        }
    }
    let said = said.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(Traces::of(&secrets()).found(said.as_bytes()), None, "a fault holds a secret: {said}");
}

/// What is handed on is the document that was delivered, with its generation, wherever whole documents are given back.
async fn copied(sink: &Watched, document: &Document) {
    let copy = match sink.copy(&target()).await {
        Ok(copy) => copy.unwrap(),
        Err(fault) => return assert_eq!(fault.kind, Kind::Unsupported, "{fault}"),
    };
    assert_eq!((&copy.target, copy.generation), (&document.target, document.generation));
    assert_eq!((&copy.account, &copy.login_user), (&document.account, &document.login_user));
    assert_eq!(copy.login_password.expose(), document.login_password.expose());
    assert_eq!(copy.endpoint, document.endpoint);
    sink.copy(&"billing".parse().unwrap()).await.unwrap_err();
}

/// One trouble: what it is called, that nothing changes while it lasts, and that a delivery goes through once it is mended.
async fn trouble<S: Store>(store: &S, sink: &Watched, trouble: Trouble, kinds: &[Kind]) {
    sink.deliver(&document(1)).await.unwrap();
    store.fail(trouble).await;
    for fault in [sink.ready(&target()).await.unwrap_err(), sink.deliver(&document(2)).await.unwrap_err()] {
        assert!(kinds.contains(&fault.kind), "{:?}: {fault}", fault.kind);
        assert_ne!(fault.retry, Retry::Never, "the sink may be mended at any time: {fault}");
    }
    // What they say does not matter: nothing that a secret stands in, as everything that is said here.
    let _ = sink.holds(&document(1)).await;
    let _ = sink.read_back(&target()).await;
    let _ = sink.has_lost_it().await;
    store.mend().await;
    assert_eq!(store.seen().await, seen_of(&document(1)));
    sink.ready(&target()).await.unwrap();
    delivered(sink, 2).await.unwrap();
    assert_eq!(store.seen().await, seen_of(&document(2)));
}

/// Whoever asked for a delivery is gone when its write has covered a newer one (the claim was lost, the ledger is full): it is put right all the same.
pub async fn left_in_the_middle<S: Store>(store: &S, hold: impl Fn(bool)) {
    let sink = store.sink(false);
    sink.deliver(&document(1)).await.unwrap();
    store.fail(Trouble::Between(3)).await;
    hold(true);
    let delivery = tokio::spawn(async move { sink.deliver(&document(2)).await });
    shows(store, 2).await;
    delivery.abort();
    assert!(delivery.await.unwrap_err().is_cancelled());
    hold(false);
    shows(store, 3).await;
}

/// Waits until readers see this generation.
async fn shows<S: Store>(store: &S, generation: u64) {
    for _ in 0..6_000 {
        if store.seen().await == seen_of(&document(generation)) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("generation {generation} does not come: {:?}", store.seen().await);
}

/// Two sinks on one place, as of two processes, one with the odd generations and one with the even ones: whatever wins, no reader sees an older one
/// after a newer one. Who has the older ones begins in the first half, and who has the newer ones in the second.
async fn race<S: Store>(store: &S, sinks: [Arc<Watched>; 2]) {
    let mut newest = 0;
    for (first, last, order) in [(1, RACERS / 2, [0, 1]), (RACERS / 2 + 1, RACERS, [1, 0])] {
        let writers = order.map(|number| {
            let sink = sinks[number].clone();
            let own = (first..=last).filter(move |generation| generation % 2 != number as u64);
            tokio::spawn(async move {
                for generation in own {
                    match delivered(&sink, generation).await {
                        Ok(()) => {}
                        Err(fault) => assert_eq!(fault.kind, Kind::SinkNewer, "{fault}"),
                    }
                }
            })
        });
        while newest < last && !writers.iter().all(tokio::task::JoinHandle::is_finished) {
            if let Some(seen) = store.seen().await {
                assert!(seen.generation >= newest, "generation {} after {newest}", seen.generation);
                assert_eq!(Some(&seen), seen_of(&document(seen.generation)).as_ref());
                newest = seen.generation;
            }
            tokio::task::yield_now().await;
        }
        for writer in writers {
            writer.await.unwrap();
        }
        assert_eq!(store.seen().await, seen_of(&document(last)));
    }
}

/// A delivery that is tried again as the driver would, without its waits: a lost race is no failure.
async fn delivered(sink: &Watched, generation: u64) -> Result<(), Fault> {
    let mut outcome = sink.deliver(&document(generation)).await;
    for _ in 0..ATTEMPTS {
        match &outcome {
            Err(fault) if fault.kind == Kind::SinkUnavailable => outcome = sink.deliver(&document(generation)).await,
            Err(_) | Ok(()) => break,
        }
    }
    outcome
}

async fn read(sink: &dyn Sink) -> Option<String> {
    sink.read_back(&target()).await.unwrap().map(|held| match held {
        Held::Bare(password) | Held::AsSent(password) => password.expose().to_owned(),
    })
}
