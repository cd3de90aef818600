//! The driver with a fleet that changes under it, and with a ledger that does not answer.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use async_trait::async_trait;
use keywheel::assemble;
use keywheel::chance::SystemChance;
use keywheel::clock::{Clock, SystemClock};
use keywheel::config;
use keywheel::driver::{Driver, Fleet, Tools, Wish};
use keywheel::fault::{Fault, Kind};
use keywheel::ledger::known::{Known, Lists};
use keywheel::ledger::sqlite::SqliteLedger;
use keywheel::ledger::{Claim, Ledger, Listing, Row};
use keywheel::moment::Moment;
use keywheel::name::{Generation, TargetName};
use keywheel::rotation::event::By;
use keywheel::seal::aead::SealingKey;
use keywheel::secret::Secret;
use keywheel::watch::bulletin::Bulletin;
use std::future::{Future, poll_fn};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

/// An answer that has not come by then never comes.
const PATIENCE: Duration = Duration::from_secs(60);

fn configuration(folder: &Path) -> config::Config {
    let at = folder.display();
    let key = folder.join("sealing-key");
    std::fs::write(&key, SealingKey::generate(&mut rand::rng()).expose()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = format!(
        "[daemon]\nledger = \"sqlite://{at}/ledger.db\"\nephemeral = \"rehearsal\"\nsealing-key = {{ file = \"{at}/sealing-key\" }}\n\
         control-socket = \"{at}/control.sock\"\n\n\
         [providers.own]\nkind = \"redis\"\nnodes = [\"redis://127.0.0.1:1\"]\nadmin = {{ user = \"admin\", password = {{ file = \"{at}/none\" }} }}\n\n\
         [targets.orders]\nprovider = \"own\"\ninstance = \"cache\"\naccount = \"orders\"\n"
    );
    let file = folder.join("keywheel.toml");
    std::fs::write(&file, text).unwrap();
    config::load(&file, []).unwrap().config
}

/// A driver of that configuration's one target.
fn driver(folder: &Path, stop: &CancellationToken) -> (Arc<SqliteLedger>, Arc<Driver>) {
    let config = configuration(folder);
    let ledger = Arc::new(assemble::ledger(&config, "a test").unwrap());
    let fleet = assemble::fleet(&config, SystemClock.now()).unwrap();
    let kept = Arc::clone(&ledger);
    let tools = Tools { ledger, clock: Arc::new(SystemClock), chance: Arc::new(SystemChance) };
    (kept, Driver::new(tools, fleet.fleet, 1, stop.clone()))
}

#[tokio::test]
async fn who_asks_something_of_a_target_that_leaves_before_its_turn_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let (name, stop): (TargetName, _) = ("orders".parse().unwrap(), CancellationToken::new());
    let (_ledger, driver) = driver(folder.path(), &stop);

    let mut asked = Box::pin(driver.command(&name, Wish::Unpause { by: By::Schedule }));
    let waits = poll_fn(|context| Poll::Ready(asked.as_mut().poll(context).is_pending())).await;
    assert!(waits, "its turn has not come");
    driver.reload(Fleet::new()).await.unwrap();
    let running = tokio::spawn({
        let driver = Arc::clone(&driver);
        async move { driver.run(|| {}).await }
    });
    let answer = tokio::time::timeout(PATIENCE, asked).await.expect("it is answered");
    let fault = answer.unwrap_err();
    assert_eq!((fault.kind, fault.what.as_str()), (Kind::Usage, "there is no target orders"));
    stop.cancel();
    running.await.unwrap().unwrap();
}

/// Who watches is told of what is in the ledger, and nobody waits for a watcher that does not listen.
#[tokio::test]
async fn who_watches_is_told_what_was_recorded_and_who_sleeps_is_told_that_something_was_missed() {
    let folder = tempfile::tempdir().unwrap();
    let (name, stop): (TargetName, _) = ("orders".parse().unwrap(), CancellationToken::new());
    let (ledger, driver) = driver(folder.path(), &stop);
    let (mut awake, mut asleep) = (driver.happenings(), driver.happenings());
    let running = tokio::spawn({
        let (driver, all) = (Arc::clone(&driver), [name.clone()]);
        async move { driver.run_part(&all, true).await }
    });
    // More than are kept for a watcher.
    for time in 0..140 {
        driver.command(&name, Wish::Pause { by: By::Schedule, reason: None, span: None }).await.unwrap();
        let told = awake.recv().await.unwrap();
        assert_eq!((&told.target, told.rotation, told.what), (&name, None, "paused"));
        if time == 0 {
            let last = ledger.history(&name).await.unwrap().pop().unwrap();
            assert_eq!((last.event.what.label(), last.event.at), ("paused", told.at), "it is in the ledger already");
        }
        driver.command(&name, Wish::Unpause { by: By::Schedule }).await.unwrap();
        assert_eq!(awake.recv().await.unwrap().what, "unpaused");
    }
    assert!(matches!(asleep.recv().await, Err(broadcast::error::RecvError::Lagged(_))));
    stop.cancel();
    running.await.unwrap().unwrap();
}

/// A ledger that says who is due as often as it was told to, and counts how often it was asked.
struct Hesitant {
    ledger: SqliteLedger,
    asked: AtomicUsize,
    answers: Semaphore,
    listed: AtomicUsize,
    /// Every second question is answered with a failure.
    fails: bool,
}

impl Hesitant {
    fn of(folder: &Path, answers: usize, fails: bool) -> Arc<Self> {
        let ledger = assemble::ledger(&configuration(folder), "a test").unwrap();
        let answers = Semaphore::new(answers);
        Arc::new(Self { ledger, asked: AtomicUsize::new(0), answers, listed: AtomicUsize::new(0), fails })
    }
}

#[async_trait]
impl Ledger for Hesitant {
    async fn enlist(&self, targets: &[TargetName], now: Moment) -> Result<(), Fault> {
        self.ledger.enlist(targets, now).await
    }

    async fn due(&self, _now: Moment, _limit: usize) -> Result<Vec<TargetName>, Fault> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        self.answers.acquire().await.unwrap().forget();
        match self.fails && asked % 2 == 1 {
            true => Err(Fault::new(Kind::LedgerUnusable, "a test")),
            false => Ok(Vec::new()),
        }
    }

    async fn claim(&self, target: &TargetName, now: Moment) -> Result<Option<Box<dyn Claim>>, Fault> {
        self.ledger.claim(target, now).await
    }

    async fn recent(&self, target: &TargetName) -> Result<Vec<Row>, Fault> {
        self.ledger.recent(target).await
    }

    async fn history(&self, target: &TargetName) -> Result<Vec<Row>, Fault> {
        self.ledger.history(target).await
    }

    async fn listing(&self) -> Result<Vec<Listing>, Fault> {
        self.listed.fetch_add(1, Ordering::SeqCst);
        self.ledger.listing().await
    }

    async fn password(&self, target: &TargetName, generation: Generation) -> Result<Secret, Fault> {
        self.ledger.password(target, generation).await
    }

    async fn keep_list(&self, selection: &TargetName, list: &[Known]) -> Result<(), Fault> {
        self.ledger.keep_list(selection, list).await
    }

    async fn lists(&self) -> Result<Lists, Fault> {
        self.ledger.lists().await
    }

    async fn keep_note(&self, name: &'static str, text: &str) -> Result<(), Fault> {
        self.ledger.keep_note(name, text).await
    }

    async fn note(&self, name: &'static str) -> Result<Option<String>, Fault> {
        self.ledger.note(name).await
    }
}

/// systemd's watchdog and readiness hang on this: the alarm may ring as it likes, a driver that does not get through to its ledger is not alive.
#[tokio::test]
async fn a_sign_of_life_is_a_sweep_that_reached_the_ledger_and_nothing_else() {
    for fails in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Hesitant::of(folder.path(), 0, fails);
        let stop = CancellationToken::new();
        let tools = Tools {
            ledger: Arc::clone(&ledger) as Arc<dyn Ledger>,
            clock: Arc::new(SystemClock),
            chance: Arc::new(SystemChance),
        };
        let driver = Driver::new(tools, Fleet::new(), 1, stop.clone());
        let (signs, bell) = (Arc::new(AtomicUsize::new(0)), driver.bell());
        let running = tokio::spawn({
            let (driver, signs) = (Arc::clone(&driver), Arc::clone(&signs));
            async move { driver.run(|| _ = signs.fetch_add(1, Ordering::SeqCst)).await }
        });
        for question in 1..=6 {
            tokio::time::timeout(PATIENCE, async {
                while ledger.asked.load(Ordering::SeqCst) < question {
                    bell.notify_one();
                    tokio::task::yield_now().await;
                }
            })
            .await
            .expect("the driver asks again");
            // The bell rings on while the ledger is asked.
            for _ in 0..100 {
                bell.notify_one();
                tokio::task::yield_now().await;
            }
            let answered = question - 1;
            let expected = if fails { answered.div_ceil(2) } else { answered };
            assert_eq!(signs.load(Ordering::SeqCst), expected, "asked {question} times, failures: {fails}");
            ledger.answers.add_permits(1);
        }
        stop.cancel();
        ledger.answers.add_permits(1_000);
        running.await.unwrap().unwrap();
    }
}

/// A clock that is set by hand.
struct ByHand(AtomicI64);

#[async_trait]
impl Clock for ByHand {
    fn now(&self) -> Moment {
        Moment::from_millis(self.0.load(Ordering::SeqCst))
    }

    async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

#[tokio::test]
async fn the_sentence_for_systemd_costs_nothing_while_nothing_happens() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Hesitant::of(folder.path(), 1_000, false);
    let (stop, clock) = (CancellationToken::new(), Arc::new(ByHand(AtomicI64::new(1_000_000))));
    let tools =
        Tools { ledger: Arc::clone(&ledger) as Arc<dyn Ledger>, clock: clock.clone(), chance: Arc::new(SystemChance) };
    let driver = Driver::new(tools, Fleet::new(), 1, stop.clone());
    let bulletin =
        Bulletin::new(Arc::clone(&driver), Arc::clone(&ledger) as Arc<dyn Ledger>, clock.clone(), chrono_tz::UTC);
    let looking = tokio::spawn(Arc::clone(&bulletin).keep_up());
    // Sweeps, an hour apart each, until the fleet was looked at so often, or for so many.
    let sweep = async |listed: usize, at_most: usize| {
        for _ in 0..at_most {
            clock.0.fetch_add(3_600_000, Ordering::SeqCst);
            bulletin.swept.notify_one();
            // A look reads the ledger on another thread.
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                if ledger.listed.load(Ordering::SeqCst) == listed {
                    return;
                }
            }
        }
    };
    sweep(1, 1_000).await;
    assert_eq!(ledger.listed.load(Ordering::SeqCst), 1, "the first look");
    sweep(2, 20).await;
    assert_eq!(ledger.listed.load(Ordering::SeqCst), 1, "no turn, no look");
    // Another fleet is one to look at.
    driver.reload(Fleet::new()).await.unwrap();
    sweep(2, 1_000).await;
    assert_eq!(ledger.listed.load(Ordering::SeqCst), 2);
    looking.abort();
}
