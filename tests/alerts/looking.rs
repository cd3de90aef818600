//! Looking is cheap: a target that is settled and whose row stays as it is is folded once, and one that changes is seen.

use super::channel;
use async_trait::async_trait;
use keywheel::alert::{Channel, Event, Message};
use keywheel::assemble;
use keywheel::chance::SystemChance;
use keywheel::clock::SystemClock;
use keywheel::config;
use keywheel::driver::{Driver, Tools};
use keywheel::fault::{Fault, Kind};
use keywheel::ledger::known::{Known, Lists};
use keywheel::ledger::sqlite::SqliteLedger;
use keywheel::ledger::{Claim, Entry, Ledger, Listing, Projection, Row};
use keywheel::moment::Moment;
use keywheel::name::{Generation, TargetName};
use keywheel::rotation::event::{By, Event as Recorded, Proof, What};
use keywheel::rotation::state::Label;
use keywheel::seal::aead::SealingKey;
use keywheel::secret::Secret;
use keywheel::watch::conditions::Patience;
use keywheel::watch::{Desk, Post, Watch};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const TARGETS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// A ledger that counts its looks.
struct Counted {
    ledger: SqliteLedger,
    listings: AtomicUsize,
    folds: Mutex<BTreeMap<TargetName, usize>>,
}

#[async_trait]
impl Ledger for Counted {
    async fn enlist(&self, targets: &[TargetName], now: Moment) -> Result<(), Fault> {
        self.ledger.enlist(targets, now).await
    }

    async fn due(&self, now: Moment, limit: usize) -> Result<Vec<TargetName>, Fault> {
        self.ledger.due(now, limit).await
    }

    async fn claim(&self, target: &TargetName, now: Moment) -> Result<Option<Box<dyn Claim>>, Fault> {
        self.ledger.claim(target, now).await
    }

    async fn recent(&self, target: &TargetName) -> Result<Vec<Row>, Fault> {
        *self.folds.lock().unwrap().entry(target.clone()).or_default() += 1;
        self.ledger.recent(target).await
    }

    async fn history(&self, target: &TargetName) -> Result<Vec<Row>, Fault> {
        self.ledger.history(target).await
    }

    async fn listing(&self) -> Result<Vec<Listing>, Fault> {
        self.listings.fetch_add(1, Ordering::SeqCst);
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

#[derive(Default)]
struct Ear(Mutex<Vec<Message>>);

#[async_trait]
impl Channel for Ear {
    async fn tell(&self, message: &Message) -> Result<(), Fault> {
        self.0.lock().unwrap().push(message.clone());
        Ok(())
    }

    async fn ready(&self) -> Result<(), Fault> {
        Ok(())
    }
}

fn long_ago() -> Moment {
    Moment::from_seconds(1_700_000_000)
}

/// Waits for what comes soon or never.
async fn until(holds: impl Fn() -> bool) {
    let came = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    came.await.expect("it never came");
}

fn target(number: usize) -> TargetName {
    format!("t{number}").parse().unwrap()
}

/// Something happens to a target.
async fn note(ledger: &SqliteLedger, number: usize, what: What, label: Label) {
    let name = target(number);
    let password =
        matches!(what, What::Adopted { .. }).then(|| (Generation(1), Secret::new("By-Hand-2019".to_owned())));
    let entry = Entry { event: Recorded { at: long_ago(), what }, rotation: None, password };
    let why = label.as_str().to_owned();
    let projection = Projection { wake_at: Moment::NEVER, label, why, generation: Generation(1), holds: None };
    let mut claim = ledger.claim(&name, long_ago()).await.unwrap().unwrap();
    claim.append(&[entry], &projection).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settled_target_is_folded_once_and_one_that_halts_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    let private = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        std::fs::set_permissions(folder.path().join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    private("id", "AKIDlook");
    private("key", "look-key");
    let key = SealingKey::generate(&mut rand::rng());
    private("sealing-key", key.expose());
    let mut text = format!(
        "[daemon]\nledger = \"sqlite://{at}/ledger.db\"\nephemeral = \"rehearsal\"\nsealing-key = {{ file = \"{at}/sealing-key\" }}\n\
         [providers.shop]\nkind = \"tencent\"\nregion = \"ap-guangzhou\"\n\
         credentials = {{ source = \"static\", secret-id = {{ file = \"{at}/id\" }}, secret-key = {{ file = \"{at}/key\" }} }}\n"
    );
    for number in 0..TARGETS {
        write!(text, "[targets.t{number}]\nprovider = \"shop\"\ninstance = \"crs-{number}\"\n").unwrap();
    }
    private("keywheel.toml", &text);
    let config = config::load(&folder.path().join("keywheel.toml"), []).unwrap().config;
    let fleet = assemble::fleet(&config, long_ago()).unwrap().fleet;

    let ledger = assemble::ledger(&config, "a test").unwrap();
    let names: Vec<TargetName> = fleet.keys().cloned().collect();
    ledger.enlist(&names, long_ago()).await.unwrap();
    for number in 0..TARGETS {
        let what = What::Adopted {
            generation: Generation(1),
            proof: Proof::Login,
            by: By::Configuration,
            reason: None,
            place: format!("crs-{number}/root"),
            account: None,
        };
        note(&ledger, number, what, Label::Settled).await;
    }
    let counted = Arc::new(Counted { ledger: ledger.clone(), listings: AtomicUsize::new(0), folds: Mutex::default() });
    let (clock, chance, ear) = (Arc::new(SystemClock), Arc::new(SystemChance), Arc::new(Ear::default()));
    let stop = CancellationToken::new();
    let tools = Tools { ledger: counted.clone(), clock: clock.clone(), chance: chance.clone() };
    let post = Post { channel: ear.clone(), events: [Event::Halted].into(), gather: Duration::ZERO };
    let watch = Watch {
        driver: Driver::new(tools, fleet, 1, stop.clone()),
        providers: BTreeMap::new(),
        left_out: Arc::default(),
        posts: [(channel("ear"), post)].into(),
        patience: Patience { doubt: Duration::from_secs(900), behind: Duration::from_secs(900) },
        every: Duration::from_millis(1),
        host: "web-1".to_owned(),
        clock,
        chance,
    };
    let desk = Arc::new(Desk::open(counted.clone()).await.unwrap());
    let running = tokio::spawn(watch.run(desk, stop.clone()));
    let looks = async |more: usize| {
        let before = counted.listings.load(Ordering::SeqCst);
        until(|| counted.listings.load(Ordering::SeqCst) >= before + more).await;
    };
    looks(10).await;
    let folds = || counted.folds.lock().unwrap().clone();
    assert_eq!(folds(), names.iter().map(|name| (name.clone(), 1)).collect(), "each is folded once");
    assert!(ear.0.lock().unwrap().is_empty());

    note(&ledger, 7, What::Halted { fault: Fault::new(Kind::Denied, "it may not") }, Label::Halted).await;
    looks(10).await;
    let folds = folds();
    assert!(folds[&target(7)] > 5, "one that wants attention is folded at each look: {folds:?}");
    assert!(folds.iter().all(|(name, &times)| times == 1 || *name == target(7)), "{folds:?}");
    until(|| !ear.0.lock().unwrap().is_empty()).await;
    looks(10).await;
    let heard = ear.0.lock().unwrap().clone();
    assert_eq!(heard.len(), 1, "it is told of once");
    assert_eq!(heard[0].groups[0].named[0].key.subject, "t7");
    stop.cancel();
    running.await.unwrap();
}
