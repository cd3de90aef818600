//! A service with moods, a clock moved by hand, and what a hundred users get to see.

use super::*;
use crate::clock::Clock;
use crate::provider::credential::{Life, Terms};
use crate::secret::Secret;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use tokio::sync::watch;

const TERMS: Terms = Terms { vendor: "Cloud", id: "Id", key: "Key", token: "token" };
const LIFE: Duration = Duration::from_secs(3_600);
const WINDOW: Window = Window { before_end: Duration::from_secs(900), after_share: None, after_renewal: None };

/// A clock that a test moves by hand; whoever sleeps wakes when it has moved far enough.
struct HandClock {
    millis: AtomicI64,
    moved: watch::Sender<()>,
}

impl HandClock {
    fn new() -> Arc<Self> {
        Arc::new(Self { millis: AtomicI64::new(1_000_000_000_000), moved: watch::Sender::new(()) })
    }

    fn advance(&self, span: Duration) {
        self.millis.fetch_add(i64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
        self.moved.send_replace(());
    }
}

#[async_trait]
impl Clock for HandClock {
    fn now(&self) -> Moment {
        Moment::from_millis(self.millis.load(Ordering::SeqCst))
    }

    async fn sleep(&self, span: Duration) {
        let until = self.now() + span;
        let mut moved = self.moved.subscribe();
        while self.now() < until {
            moved.changed().await.unwrap();
        }
    }
}

/// What a service does with one request.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Gives,
    GivesTheSame,
    GivesEnded,
    Fails,
    SaysNever,
}

struct Service {
    clock: Arc<HandClock>,
    mood: Mutex<Mood>,
    asked: watch::Sender<u64>,
    given: AtomicU64,
}

struct Asking(Arc<Service>);

#[async_trait]
impl Issuer for Asking {
    async fn issue(&self) -> Result<(Credential, Moment), Fault> {
        // Others come while this one is under way.
        tokio::task::yield_now().await;
        let service = &self.0;
        service.asked.send_modify(|count| *count += 1);
        let mood = *service.mood.lock().unwrap();
        let now = service.clock.now();
        let (number, ends) = match mood {
            Mood::Gives => (service.given.fetch_add(1, Ordering::SeqCst) + 1, now + LIFE),
            Mood::GivesTheSame => (service.given.load(Ordering::SeqCst), now + LIFE),
            Mood::GivesEnded => (77, now - Duration::from_secs(1)),
            Mood::Fails => return Err(Fault::new(Kind::Unreachable, "the service is down")),
            Mood::SaysNever => return Err(Fault::new(Kind::CredentialRefused, "no role is bound")),
        };
        let secret = |text: String| Secret::new(text);
        let credential = Credential::new(
            &TERMS,
            "a test",
            format!("id-{number}"),
            secret("key".to_owned()),
            Some(secret(format!("token-{number}"))),
        )?;
        Ok((credential, ends))
    }
}

struct Scene {
    clock: Arc<HandClock>,
    service: Arc<Service>,
    source: Arc<Refreshing>,
}

impl Scene {
    fn set(window: Window) -> Self {
        let clock = HandClock::new();
        let service = Arc::new(Service {
            clock: Arc::clone(&clock),
            mood: Mutex::new(Mood::Gives),
            asked: watch::Sender::new(0),
            given: AtomicU64::new(0),
        });
        let surroundings = Surroundings {
            variables: Arc::new(|_| None),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            bits: Arc::new(|| 500),
        };
        let source = Refreshing::new("a test".to_owned(), Box::new(Asking(Arc::clone(&service))), window, surroundings);
        Self { clock, service, source: Arc::new(source) }
    }

    fn mood(&self, mood: Mood) {
        *self.service.mood.lock().unwrap() = mood;
    }

    fn asked(&self) -> u64 {
        *self.service.asked.borrow()
    }

    /// Waits until the service was asked so often.
    async fn until_asked(&self, times: u64) {
        self.service.asked.subscribe().wait_for(|count| *count >= times).await.unwrap();
        // What was asked for is kept a moment later.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    async fn id(&self) -> Result<String, Fault> {
        self.source.credential().await.map(|credential| credential.id)
    }

    async fn settle(&self) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

#[test]
fn a_window_opens_at_the_earliest_of_its_conditions() {
    let at = |seconds: i64| Moment::from_seconds(seconds);
    let window = |before_end: u64, after_share, after_renewal: Option<u64>| Window {
        before_end: Duration::from_secs(before_end),
        after_share,
        after_renewal: after_renewal.map(Duration::from_secs),
    };
    let rows = [
        (window(300, None, None), 7_200, 6_900),
        (window(300, Some(10), None), 7_200, 720),
        (window(300, Some(90), None), 7_200, 6_480),
        (window(900, None, None), 900, 450),
        (window(900, None, Some(3_600)), 21_600, 3_600),
        (window(900, None, Some(3_600)), 1_200, 600),
    ];
    for (window, life, opens) in rows {
        assert_eq!(window.opens(at(1_000), at(1_000 + life)), at(1_000 + opens), "{window:?} {life}");
    }
}

#[tokio::test]
async fn it_is_renewed_ahead_of_its_end_without_anybody_asking() {
    let scene = Scene::set(WINDOW);
    let first = scene.source.credential().await.ok().unwrap();
    assert_eq!(first.life, Life::Until(scene.clock.now() + LIFE));
    for _ in 0..5 {
        assert_eq!(scene.id().await.unwrap(), "id-1");
    }
    scene.clock.advance(minutes(44));
    scene.settle().await;
    assert_eq!((scene.asked(), scene.id().await.unwrap().as_str()), (1, "id-1"));
    scene.clock.advance(minutes(1));
    scene.until_asked(2).await;
    assert_eq!((scene.asked(), scene.id().await.unwrap().as_str()), (2, "id-2"));
}

#[tokio::test]
async fn a_hundred_users_of_an_ended_credential_cause_one_renewal() {
    let scene = Scene::set(WINDOW);
    scene.id().await.unwrap();
    // The minder sleeps through a clock that jumps only as far as the test lets it: both meet at the same turn.
    scene.clock.advance(minutes(120));
    let users: Vec<_> = (0..100)
        .map(|_| {
            let source = Arc::clone(&scene.source);
            tokio::spawn(async move { source.credential().await.map(|credential| credential.id) })
        })
        .collect();
    for user in users {
        assert_eq!(user.await.unwrap().unwrap(), "id-2");
    }
    scene.settle().await;
    assert_eq!(scene.asked(), 2);
}

#[tokio::test]
async fn a_hundred_users_who_were_refused_cause_one_renewal() {
    let scene = Scene::set(WINDOW);
    let refused = scene.source.credential().await.ok().unwrap();
    let users: Vec<_> = (0..100)
        .map(|_| {
            let (source, refused) = (Arc::clone(&scene.source), refused.clone());
            tokio::spawn(async move { source.renewed(&refused).await.map(|credential| credential.id) })
        })
        .collect();
    for user in users {
        assert_eq!(user.await.unwrap().unwrap(), "id-2");
    }
    assert_eq!(scene.asked(), 2);
}

#[tokio::test]
async fn while_renewing_fails_the_old_one_is_used_until_it_ends_and_then_the_fault_is_told() {
    let scene = Scene::set(WINDOW);
    scene.id().await.unwrap();
    scene.mood(Mood::Fails);
    scene.clock.advance(minutes(45));
    scene.until_asked(2).await;
    assert_eq!(scene.id().await.unwrap(), "id-1");
    // Back-off: 0.75 s after the first failure, by the bits of this test; no earlier.
    scene.clock.advance(Duration::from_millis(700));
    scene.settle().await;
    assert_eq!(scene.asked(), 2);
    scene.clock.advance(Duration::from_millis(100));
    scene.until_asked(3).await;
    // Its last moments begin; it is still better than none.
    scene.clock.advance(minutes(14) + Duration::from_secs(45));
    scene.settle().await;
    assert_eq!(scene.id().await.unwrap(), "id-1");
    scene.clock.advance(Duration::from_secs(15));
    scene.settle().await;
    let asked = scene.asked();
    let fault = scene.id().await.unwrap_err();
    assert!(fault.what.contains("ended at") && fault.what.contains("the service is down"), "{fault}");
    assert!(matches!(fault.retry, Retry::AfterMillis(_)), "{fault:?}");
    for _ in 0..50 {
        scene.id().await.unwrap_err();
    }
    assert!(scene.asked() <= asked + 1, "a service that is down is not asked by every user");
    scene.mood(Mood::Gives);
    scene.clock.advance(minutes(1));
    scene.settle().await;
    assert_eq!(scene.id().await.unwrap(), "id-2");
}

#[tokio::test]
async fn a_role_that_is_gone_needs_a_person_once_the_credential_ended() {
    let scene = Scene::set(WINDOW);
    scene.id().await.unwrap();
    scene.mood(Mood::SaysNever);
    scene.clock.advance(minutes(50));
    scene.until_asked(2).await;
    assert_eq!(scene.id().await.unwrap(), "id-1");
    scene.clock.advance(minutes(11));
    scene.settle().await;
    let fault = scene.id().await.unwrap_err();
    assert_eq!((fault.kind, fault.retry), (Kind::CredentialRefused, Retry::Never));
}

#[tokio::test]
async fn the_first_failure_is_shared_by_all_who_waited() {
    let scene = Scene::set(WINDOW);
    scene.mood(Mood::Fails);
    let users: Vec<_> = (0..100)
        .map(|_| {
            let source = Arc::clone(&scene.source);
            tokio::spawn(async move { source.credential().await.map(drop) })
        })
        .collect();
    for user in users {
        assert_eq!(user.await.unwrap().unwrap_err().kind, Kind::Unreachable);
    }
    assert_eq!(scene.asked(), 1);
    scene.mood(Mood::Gives);
    scene.clock.advance(Duration::from_secs(1));
    assert_eq!(scene.id().await.unwrap(), "id-1");
}

#[tokio::test]
async fn the_same_credential_again_is_no_failure_and_no_busy_loop() {
    let scene = Scene::set(WINDOW);
    let refused = scene.source.credential().await.ok().unwrap();
    scene.mood(Mood::GivesTheSame);
    assert!(scene.source.renewed(&refused).await.ok().unwrap().is(&refused));
    for _ in 0..10 {
        assert!(scene.source.renewed(&refused).await.ok().unwrap().is(&refused));
    }
    assert_eq!(scene.asked(), 2);
}

#[tokio::test]
async fn a_credential_that_has_ended_already_points_at_the_clock() {
    let scene = Scene::set(WINDOW);
    scene.mood(Mood::GivesEnded);
    let fault = scene.id().await.unwrap_err();
    assert_eq!(fault.kind, Kind::ClockSkew);
    assert_ne!(fault.retry, Retry::Never);
}

#[tokio::test]
async fn nothing_of_it_outlives_it() {
    let scene = Scene::set(WINDOW);
    scene.id().await.unwrap();
    let Scene { clock, service, source } = scene;
    drop(source);
    // The aborted task lets go of the service.
    while Arc::strong_count(&service) > 1 {
        tokio::task::yield_now().await;
    }
    clock.advance(minutes(120));
    assert_eq!(*service.asked.borrow(), 1);
}
