//! `tencent-ssm` and `alibaba-kms`, each against the stand-in cloud, which the vendors' own SDKs use too (tests/sdks.rs).

use super::conformance::{Seen, Store, Trouble};
use super::rows::{Row, TOKEN, document, left_in_the_middle};
use async_trait::async_trait;
use keywheel::clock::{Clock, SystemClock};
use keywheel::provider::credential::{CredentialSource, Static};
use keywheel::provider::{alibaba, tencent};
use keywheel::secret::Secret;
use keywheel::simulator::{
    Change, Credential, Fault, Kept, KeptVersion, Quota, Settings, Simulator, Step, Store as Shelf,
};
use keywheel::sink::alibaba_kms::{AlibabaKms, AlibabaKmsSettings};
use keywheel::sink::tencent_ssm::{CURRENT, TencentSsm, TencentSsmSettings};
use keywheel::sink::{Sink, StoreApi, StoreCall, StoreFailure};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const ID: &str = "AKIDconformance";
/// What the person who made the secret put there.
const FIRST: &str = "{}";
/// The version by which a sink tries whether a write would be taken. No reader names it.
const REHEARSAL: &str = "keywheel.ready";
/// The stand-in's pace; what is counted here is not time.
const QUOTA: f64 = 10_000.0;

/// One vendor's store.
pub trait Vendor: 'static {
    const NAME: &'static str;
    const SHELF: Shelf;
    const SECRET: &'static str;
    /// The write that readers see.
    const SHOWS: &'static str;
    fn sink(api: Arc<dyn StoreApi>) -> Arc<dyn Sink>;
    fn api(cloud: &Simulator, timeout: Duration) -> Arc<dyn StoreApi>;
    fn first() -> Kept;
    fn shown(kept: &Kept) -> Option<&KeptVersion>;
    fn leaves_out(row: Row) -> Option<&'static str>;
    fn debug(api: Arc<dyn StoreApi>) -> String;
}

fn key() -> Secret {
    Secret::new(TOKEN.to_owned())
}

fn version(id: &str, labels: &[&str]) -> KeptVersion {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    KeptVersion { id: id.to_owned(), text: Secret::new(FIRST.to_owned()), labels, writes: 1 }
}

pub struct Ssm;

impl Ssm {
    fn settings() -> TencentSsmSettings {
        TencentSsmSettings {
            secret: Self::SECRET.to_owned(),
            version: CURRENT.to_owned(),
            region: "ap-guangzhou".to_owned(),
            create: false,
            kms_key: None,
        }
    }
}

impl Vendor for Ssm {
    const NAME: &'static str = "tencent-ssm";
    const SHELF: Shelf = Shelf::TencentSsm;
    const SECRET: &'static str = "redis-orders-cache";
    const SHOWS: &'static str = "UpdateSecret";

    fn sink(api: Arc<dyn StoreApi>) -> Arc<dyn Sink> {
        Arc::new(TencentSsm::new(Self::settings(), api))
    }

    fn api(cloud: &Simulator, timeout: Duration) -> Arc<dyn StoreApi> {
        let settings = tencent::TencentSettings {
            endpoint: Some(cloud.endpoint().parse().unwrap()),
            quota: QUOTA,
            timeout,
            ..tencent::TencentSettings::of("ap-guangzhou".to_owned())
        };
        let identity = Static::new(&tencent::credentials::TERMS, ID.to_owned(), key(), None).unwrap();
        let identity: Arc<dyn CredentialSource> = Arc::new(identity);
        tencent::store(settings, identity, Arc::new(|| SystemClock.now())).unwrap()
    }

    fn first() -> Kept {
        Kept { versions: vec![version(CURRENT, &[])], ..Kept::default() }
    }

    fn shown(kept: &Kept) -> Option<&KeptVersion> {
        kept.version(CURRENT)
    }

    fn leaves_out(row: Row) -> Option<&'static str> {
        (row == Row::Race)
            .then_some("SSM compares nothing; the claim keeps a second writer away, and what it did is put right")
    }

    fn debug(api: Arc<dyn StoreApi>) -> String {
        format!("{:?}", TencentSsm::new(Self::settings(), api))
    }
}

pub struct Kms;

impl Kms {
    fn settings() -> AlibabaKmsSettings {
        AlibabaKmsSettings {
            secret: Self::SECRET.to_owned(),
            region: "cn-hangzhou".to_owned(),
            create: false,
            kms_key: None,
            kms_instance: None,
        }
    }
}

impl Vendor for Kms {
    const NAME: &'static str = "alibaba-kms";
    const SHELF: Shelf = Shelf::AlibabaKms;
    const SECRET: &'static str = "redis/orders-cache";
    const SHOWS: &'static str = "UpdateSecretVersionStage";

    fn sink(api: Arc<dyn StoreApi>) -> Arc<dyn Sink> {
        Arc::new(AlibabaKms::new(Self::settings(), api))
    }

    fn api(cloud: &Simulator, timeout: Duration) -> Arc<dyn StoreApi> {
        let settings = alibaba::AlibabaSettings {
            endpoint: Some(cloud.endpoint().parse().unwrap()),
            quota: QUOTA,
            timeout,
            ..alibaba::AlibabaSettings::of("cn-hangzhou".to_owned())
        };
        let identity = Static::new(&alibaba::credentials::TERMS, ID.to_owned(), key(), None).unwrap();
        let identity: Arc<dyn CredentialSource> = Arc::new(identity);
        let nonces = Arc::new(rand::random::<u128>);
        alibaba::store(settings, identity, Arc::new(|| SystemClock.now()), nonces).unwrap()
    }

    fn first() -> Kept {
        Kept { versions: vec![version("first", &["ACSCurrent"])], ..Kept::default() }
    }

    fn shown(kept: &Kept) -> Option<&KeptVersion> {
        kept.labelled("ACSCurrent")
    }

    fn leaves_out(row: Row) -> Option<&'static str> {
        (row == Row::Full).then_some("KMS deletes the oldest version by itself")
    }

    fn debug(api: Arc<dyn StoreApi>) -> String {
        format!("{:?}", AlibabaKms::new(Self::settings(), api))
    }
}

/// A stand-in cloud with one secret in it.
pub struct Cloud<V> {
    cloud: Simulator,
    /// What another writer does right before the next version is written.
    between: Arc<Mutex<Option<Trouble>>>,
    held: Arc<AtomicBool>,
    /// The secret, while it is away.
    away: Mutex<Option<Kept>>,
    vendor: std::marker::PhantomData<V>,
}

/// Lets another writer go first.
struct Meddled {
    api: Arc<dyn StoreApi>,
    between: Arc<Mutex<Option<Trouble>>>,
    other: Arc<dyn Sink>,
    shows: &'static str,
    /// Whether the answers to what readers see wait.
    held: Arc<AtomicBool>,
}

#[async_trait]
impl StoreApi for Meddled {
    async fn call(&self, call: StoreCall<'_>) -> Result<serde_json::Value, StoreFailure> {
        let meddle = {
            let mut between = self.between.lock().unwrap();
            // What is lost, or waits, is the answer to the write that readers see.
            let shown = matches!(*between, Some(Trouble::LostBetween(_))) || self.held.load(Ordering::SeqCst);
            let wanted = if shown { self.shows } else { "PutSecretValue" };
            if call.action == wanted { between.take() } else { None }
        };
        if let Some(Trouble::Between(generation) | Trouble::LostBetween(generation)) = meddle {
            self.other.deliver(&document(generation)).await.unwrap();
        }
        let answer = self.api.call(call).await;
        while call.action == self.shows && self.held.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        match meddle {
            Some(Trouble::LostBetween(_)) => {
                let fault = keywheel::fault::Fault::new(keywheel::fault::Kind::Unanswered, "no answer");
                Err(keywheel::sink::StoreFailure { code: None, fault })
            }
            _ => answer,
        }
    }
}

impl<V: Vendor> Cloud<V> {
    fn kept(&self) -> Option<Kept> {
        self.cloud.secret(V::SHELF, V::SECRET)
    }

    fn every_call(&self, action: &str, fault: Fault) {
        self.cloud.script([Step { times: u32::MAX, ..Step::once(action, fault) }]);
    }

    async fn deny(&self, actions: &[&str]) {
        let denied_actions = Some(actions.iter().map(|action| (*action).to_owned()).collect());
        self.cloud.change(Change { denied_actions, ..Change::default() }).await.unwrap();
    }
}

impl<V: Vendor> Store for Cloud<V> {
    const NAME: &'static str = V::NAME;

    async fn begin() -> Self {
        let credential = Credential { secret_id: ID.to_owned(), secret_key: key(), token: None };
        let settings = Settings {
            credentials: vec![credential],
            quota: Quota { per_second: 0.0, burst: 0.0 },
            ..Settings::default()
        };
        let cloud = Simulator::start(settings).await.unwrap();
        cloud.set_secret(V::SHELF, V::SECRET, Some(V::first()));
        Self {
            cloud,
            between: Arc::default(),
            held: Arc::default(),
            away: Mutex::default(),
            vendor: std::marker::PhantomData,
        }
    }

    fn sink(&self, hasty: bool) -> Arc<dyn Sink> {
        let timeout = Duration::from_millis(if hasty { 300 } else { 30_000 });
        let api = V::api(&self.cloud, timeout);
        let other = V::sink(api.clone());
        let (between, held) = (self.between.clone(), self.held.clone());
        V::sink(Arc::new(Meddled { api, between, other, shows: V::SHOWS, held }))
    }

    async fn seen(&self) -> Option<Seen> {
        let kept = self.kept()?;
        let text = V::shown(&kept)?.text.expose();
        let content: serde_json::Value = serde_json::from_str(text).unwrap();
        Some(Seen {
            generation: content["generation"].as_u64()?,
            account: content["account"].as_str().unwrap().to_owned(),
            password: content["password"].as_str().unwrap().to_owned(),
        })
    }

    async fn mark(&self) -> String {
        let versions = self.kept().map(|kept| kept.versions).unwrap_or_default();
        let ours = versions.iter().filter(|version| version.id != REHEARSAL);
        ours.map(|version| format!("{} {};", version.id, version.writes)).collect()
    }

    async fn fail(&self, trouble: Trouble) {
        let refuse = |code: &str| Fault::RefuseBeforeEffect { code: code.to_owned() };
        match trouble {
            Trouble::Down => self.every_call("*", Fault::DropBeforeEffect),
            Trouble::Denied => {
                self.deny(&["DescribeSecret", "ListSecretVersionIds", "GetSecretValue", "PutSecretValue", V::SHOWS])
                    .await;
            }
            Trouble::NotFound => {
                *self.away.lock().unwrap() = self.kept();
                self.cloud.set_secret(V::SHELF, V::SECRET, None);
            }
            Trouble::Throttled => self.every_call("*", Fault::Throttle),
            Trouble::Broken => self.every_call("*", refuse("InternalError")),
            Trouble::Full => self.every_call("PutSecretValue", refuse("LimitExceeded")),
            Trouble::LostAnswer => {
                let lost = Fault::ApplyThenDropConnection { after_bytes: 0 };
                self.cloud.script([Step::once(V::SHOWS, lost)]);
            }
            Trouble::Hang => self.every_call("*", Fault::NeverAnswer { applied: false }),
            Trouble::Huge => self.every_call("*", Fault::HugeBody { applied: true }),
            Trouble::Between(_) | Trouble::LostBetween(_) => *self.between.lock().unwrap() = Some(trouble),
        }
    }

    async fn mend(&self) {
        self.cloud.clear_script();
        self.deny(&[]).await;
        if let Some(kept) = self.away.lock().unwrap().take() {
            self.cloud.set_secret(V::SHELF, V::SECRET, Some(kept));
        }
    }

    async fn wipe(&self) {
        self.cloud.set_secret(V::SHELF, V::SECRET, Some(V::first()));
    }

    fn leaves_out(&self, row: Row) -> Option<&'static str> {
        V::leaves_out(row)
    }

    fn debug(&self) -> String {
        V::debug(V::api(&self.cloud, Duration::from_secs(30)))
    }
}

/// What only these stores have: their limits, who makes a secret, and what is said about one that cannot be used.
mod beyond {
    use super::*;
    use keywheel::fault::Kind;
    use keywheel::sink::Holds;

    const TARGET: &str = "orders-cache";

    async fn begun<V: Vendor>() -> (Cloud<V>, Arc<dyn Sink>) {
        let store = Cloud::<V>::begin().await;
        let sink = store.sink(false);
        (store, sink)
    }

    async fn history_stays_below_the_limit<V: Vendor>() {
        let (store, sink) = begun::<V>().await;
        for generation in 1..=25 {
            sink.ready(&TARGET.parse().unwrap()).await.unwrap();
            sink.deliver(&document(generation)).await.unwrap();
            let kept = store.kept().unwrap();
            assert!(kept.versions.len() <= 10, "{generation}: {}", kept.versions.len());
            assert_eq!(store.seen().await.unwrap().generation, generation);
        }
        let kept = store.kept().unwrap();
        assert!(
            kept.versions.iter().any(|version| version.id.starts_with("orders-cache.g24.")),
            "the one before is kept"
        );
    }

    /// Every answer of a delivery is lost in turn; after each, the same delivery again ends as if none had been.
    async fn no_lost_answer_makes_another_version<V: Vendor>() {
        let (store, sink) = begun::<V>().await;
        sink.deliver(&document(1)).await.unwrap();
        let whole = {
            let (store, sink) = begun::<V>().await;
            sink.deliver(&document(1)).await.unwrap();
            sink.deliver(&document(2)).await.unwrap();
            store.mark().await
        };
        for action in ["ListSecretVersionIds", "GetSecretValue", "PutSecretValue", V::SHOWS] {
            for nth in 0..4 {
                store.cloud.set_secret(V::SHELF, V::SECRET, Some(V::first()));
                sink.deliver(&document(1)).await.unwrap();
                let pass = Step { times: nth, ..Step::once(action, Fault::StaleRead { age: Duration::ZERO }) };
                let lost = Step::once(action, Fault::ApplyThenDropConnection { after_bytes: 0 });
                store.cloud.script([pass, lost]);
                let first = sink.deliver(&document(2)).await;
                let met = store.cloud.steps_left() == 0;
                assert!(met || nth > 0, "a delivery without {action}");
                assert_eq!(first.is_err(), met, "{action} {nth}: {first:?}");
                store.cloud.clear_script();
                sink.deliver(&document(2)).await.unwrap();
                assert_eq!(store.mark().await, whole, "{action} {nth}");
            }
        }
        let kept = store.kept().unwrap();
        assert!(kept.versions.iter().all(|version| !version.labels.iter().any(|label| label == "KeyWheelPending")));
    }

    /// The same generation at another address is written anew, and the way back finds what was there.
    async fn the_same_generation_may_be_written_anew<V: Vendor>() {
        let (store, sink) = begun::<V>().await;
        let moved = keywheel::sink::Document { endpoint: None, ..document(3) };
        for shown in [document(3), moved.clone(), document(3), moved.clone()] {
            sink.deliver(&shown).await.unwrap();
            assert_eq!(sink.holds(&shown).await.unwrap(), Holds::Same);
        }
        assert_eq!(sink.holds(&document(3)).await.unwrap(), Holds::Other);
        let ours = store.kept().unwrap().versions.iter().filter(|version| version.id.contains(".g3.")).count();
        assert_eq!(ours, 2, "two documents, two versions");
    }

    /// A version of that name with something else in it is nobody's to overwrite.
    async fn a_version_that_somebody_changed_is_left_alone<V: Vendor>() {
        let (store, sink) = begun::<V>().await;
        sink.deliver(&document(4)).await.unwrap();
        let mut kept = store.kept().unwrap();
        let mut first = V::first();
        let ours = kept.versions.iter_mut().find(|version| version.id.contains(".g4.")).unwrap();
        ours.text = Secret::new("{\"password\":\"somebody else's\"}".to_owned());
        ours.labels.clear();
        first.versions.push(ours.clone());
        store.cloud.set_secret(V::SHELF, V::SECRET, Some(first));
        let mark = store.mark().await;
        let fault = sink.deliver(&document(4)).await.unwrap_err();
        assert_eq!(fault.kind, Kind::SinkDenied, "{fault}");
        assert_eq!((store.seen().await, store.mark().await), (None, mark));
    }

    async fn what_readiness_finds<V: Vendor>(kind: &str, missing: &[&str]) {
        let (store, sink) = begun::<V>().await;
        let target = TARGET.parse().unwrap();
        for action in missing {
            store.deny(&[action]).await;
            let fault = sink.ready(&target).await.unwrap_err();
            assert_eq!(fault.kind, Kind::SinkDenied, "{action}: {fault}");
            assert!(fault.next_step.contains(action), "the permission is named: {fault}");
        }
        store.deny(&[]).await;
        for (kept, words) in [
            (Some(Kept { disabled: true, ..V::first() }), "restore"),
            (Some(Kept { kind: Some(kind.to_owned()), ..V::first() }), "rotate by itself"),
            (None, "CreateSecret"),
        ] {
            store.cloud.set_secret(V::SHELF, V::SECRET, kept);
            let fault = sink.ready(&target).await.unwrap_err();
            assert_eq!(fault.kind, Kind::SinkDenied, "{fault}");
            let said = fault.next_step.contains(words);
            assert!(said && !fault.next_step.contains("--resume"), "{words}: {fault}");
        }
        let fault = sink.deliver(&document(1)).await.unwrap_err();
        assert!(fault.kind == Kind::SinkDenied && fault.next_step.contains("create = true"), "{fault}");
    }

    /// What a person wrote there is taken in where it is a password, and nothing is guessed.
    async fn what_people_put_there<V: Vendor>() {
        let (store, sink) = begun::<V>().await;
        for (text, read) in [
            ("{}", Ok(None)),
            ("{\"password\": \"today's\"}", Ok(Some("today's"))),
            ("today's", Err(Kind::SecretUnreadable)),
            ("{\"target\": \"billing\", \"generation\": 3, \"password\": \"p\"}", Err(Kind::SinkDenied)),
        ] {
            let mut kept = V::first();
            kept.versions[0].text = Secret::new(text.to_owned());
            store.cloud.set_secret(V::SHELF, V::SECRET, Some(kept));
            let got = sink.read_back(&TARGET.parse().unwrap()).await;
            let got = got.map_err(|fault| fault.kind).map(|held| {
                held.map(|held| match held {
                    keywheel::sink::Held::Bare(text) | keywheel::sink::Held::AsSent(text) => text.expose().to_owned(),
                })
            });
            assert_eq!(got, read.map(|text| text.map(str::to_owned)), "{text}");
        }
    }

    #[tokio::test]
    async fn what_ssm_covered_is_put_right_though_nobody_waits_for_the_delivery_any_more() {
        let store = Cloud::<Ssm>::begin().await;
        left_in_the_middle(&store, |held| store.held.store(held, Ordering::SeqCst)).await;
    }

    #[tokio::test]
    async fn tencent_beyond_the_rows() {
        history_stays_below_the_limit::<Ssm>().await;
        no_lost_answer_makes_another_version::<Ssm>().await;
        the_same_generation_may_be_written_anew::<Ssm>().await;
        a_version_that_somebody_changed_is_left_alone::<Ssm>().await;
        what_readiness_finds::<Ssm>(
            "4",
            &[
                "DescribeSecret",
                "ListSecretVersionIds",
                "GetSecretValue",
                "PutSecretValue",
                "UpdateSecret",
                "DeleteSecretVersion",
            ],
        )
        .await;
        what_people_put_there::<Ssm>().await;
    }

    #[tokio::test]
    async fn alibaba_beyond_the_rows() {
        history_stays_below_the_limit::<Kms>().await;
        no_lost_answer_makes_another_version::<Kms>().await;
        the_same_generation_may_be_written_anew::<Kms>().await;
        a_version_that_somebody_changed_is_left_alone::<Kms>().await;
        what_readiness_finds::<Kms>(
            "Redis",
            &["DescribeSecret", "ListSecretVersionIds", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"],
        )
        .await;
        what_people_put_there::<Kms>().await;
    }

    /// With `create` a secret that is not there is made once, whatever answers are lost.
    #[tokio::test]
    async fn a_secret_is_made_where_its_owner_allows_it() {
        let cloud = Cloud::<Ssm>::begin().await.cloud;
        let ssm = |api| {
            Arc::new(TencentSsm::new(TencentSsmSettings { create: true, ..Ssm::settings() }, api)) as Arc<dyn Sink>
        };
        let kms = |api| {
            Arc::new(AlibabaKms::new(AlibabaKmsSettings { create: true, ..Kms::settings() }, api)) as Arc<dyn Sink>
        };
        let wait = Duration::from_secs(30);
        let shelves = [
            (ssm(Ssm::api(&cloud, wait)), Shelf::TencentSsm, Ssm::SECRET),
            (kms(Kms::api(&cloud, wait)), Shelf::AlibabaKms, Kms::SECRET),
        ];
        for (sink, shelf, secret) in shelves {
            for lost in [None, Some("CreateSecret")] {
                cloud.set_secret(shelf, secret, None);
                assert_eq!(sink.holds(&document(1)).await.unwrap(), Holds::Absent);
                sink.ready(&TARGET.parse().unwrap()).await.unwrap();
                cloud.script(lost.map(|action| Step::once(action, Fault::ApplyThenDropConnection { after_bytes: 0 })));
                let first = sink.deliver(&document(1)).await;
                assert_eq!(first.is_err(), lost.is_some(), "{first:?}");
                sink.deliver(&document(1)).await.unwrap();
                assert_eq!(sink.holds(&document(1)).await.unwrap(), Holds::Same);
                let versions = cloud.secret(shelf, secret).unwrap().versions;
                assert_eq!(versions.iter().filter(|version| version.id.contains(".g1.")).count(), 1);
                assert!(versions.iter().all(|version| version.writes == 1));
            }
        }
    }

    /// SSM compares nothing when it overwrites: what an older writer did in that instant is put right, and it learns why.
    #[tokio::test]
    async fn a_newer_one_that_ssm_lost_is_put_back() {
        struct AtTheLastInstant(Arc<dyn StoreApi>, Mutex<Option<Arc<dyn Sink>>>);

        #[async_trait]
        impl StoreApi for AtTheLastInstant {
            async fn call(&self, call: StoreCall<'_>) -> Result<serde_json::Value, StoreFailure> {
                let other = if call.action == "UpdateSecret" { self.1.lock().unwrap().take() } else { None };
                if let Some(other) = other {
                    other.deliver(&document(3)).await.unwrap();
                }
                self.0.call(call).await
            }
        }

        let (store, sink) = begun::<Ssm>().await;
        sink.deliver(&document(1)).await.unwrap();
        let api = AtTheLastInstant(Ssm::api(&store.cloud, Duration::from_secs(30)), Mutex::new(Some(sink)));
        let fault = Ssm::sink(Arc::new(api)).deliver(&document(2)).await.unwrap_err();
        assert_eq!(fault.kind, Kind::SinkNewer, "{fault}");
        assert_eq!(store.seen().await.unwrap().generation, 3);
    }
}
