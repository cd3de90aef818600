//! A thousand targets due in the same second on a quota of 20 requests a second: all settle, the cloud never has to say "slow down", and
//! the quota is used. The real provider, ledger, probe and driver, against the stand-in cloud.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use keywheel::alarm::Alarm;
use keywheel::assemble;
use keywheel::chance::SystemChance;
use keywheel::clock::{Clock, SystemClock};
use keywheel::config;
use keywheel::driver::{Driver, Tools};
use keywheel::ledger::Ledger;
use keywheel::moment::Moment;
use keywheel::name::Generation;
use keywheel::rotation::state::Label;
use keywheel::seal::aead::SealingKey;
use keywheel::secret::Secret;
use keywheel::simulator::{Credential, InstanceSettings, Settings, Simulator, TaskSettings};
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const TARGETS: usize = 1_000;
/// How far ahead the common slot lies: time to adopt the whole fleet, at 20 looks a second, before it.
const AHEAD: Duration = Duration::from_secs(75);
/// The quota's requests per second, the cloud's and ours.
const QUOTA: f64 = 20.0;
const PATIENCE: Duration = Duration::from_secs(400);
/// The share of the quota that must be used while work was waiting.
const GOAL: f64 = 0.97;

fn instance(number: usize) -> String {
    format!("crs-{number:08}")
}

fn password(number: usize) -> String {
    format!("Initial-{number:08}")
}

fn private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// One provider, a thousand targets, one common cron slot.
fn configuration(folder: &Path, cloud: &Simulator, slot: Moment) -> String {
    let at = folder.display();
    let endpoint = cloud.endpoint();
    let schedule = slot.utc().format("%-S %-M %-H * * *");
    let mut text = format!(
        r#"
[daemon]
ledger         = "sqlite://{at}/ledger.db"
ephemeral = "rehearsal"
sealing-key    = {{ file = "{at}/sealing-key" }}
control-socket = "{at}/control.sock"
max-in-flight  = 256

[limits]
usual-task-time = "1s"

[providers.shop]
kind        = "tencent"
region      = "ap-guangzhou"
endpoint    = "{endpoint}"
quota       = 20
credentials = {{ source = "static", secret-id = {{ file = "{at}/id" }}, secret-key = {{ file = "{at}/key" }} }}
"#
    );
    for number in 0..TARGETS {
        let id = instance(number);
        let login = cloud.login_address(&id).unwrap();
        private(&folder.join(&id), &password(number));
        write!(
            text,
            "[targets.t{number}]\nprovider = \"shop\"\ninstance = \"{id}\"\nadopt = {{ file = \"{at}/{id}\" }}\n\
             login = \"redis://{login}\"\nschedule = \"{schedule}\"\n"
        )
        .unwrap();
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_targets_due_at_once_use_the_quota_and_never_exceed_it() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Simulator::start(Settings {
        credentials: vec![Credential {
            secret_id: "AKIDfleet".to_owned(),
            secret_key: Secret::new("fleet-key".to_owned()),
            token: None,
        }],
        instances: (0..TARGETS).map(|number| InstanceSettings::new(&instance(number), &password(number))).collect(),
        task: TaskSettings { shortest: Duration::from_millis(800), longest: Duration::from_millis(1_200) },
        ..Settings::default()
    })
    .await
    .unwrap();
    private(&folder.path().join("id"), "AKIDfleet");
    private(&folder.path().join("key"), "fleet-key");
    private(&folder.path().join("sealing-key"), SealingKey::generate(&mut rand::rng()).expose());
    let slot = SystemClock.now() + AHEAD;
    let file = folder.path().join("keywheel.toml");
    std::fs::write(&file, configuration(folder.path(), &cloud, slot)).unwrap();
    let config = config::load(&file, []).unwrap().config;

    let ledger = Arc::new(assemble::ledger(&config, "the fleet test").unwrap());
    let fleet = assemble::fleet(&config, SystemClock.now()).unwrap().fleet;
    let stop = CancellationToken::new();
    let tools = Tools { ledger: ledger.clone(), clock: Arc::new(SystemClock), chance: Arc::new(SystemChance) };
    let driver = Driver::new(tools, fleet, 256, stop.clone());
    let bell = driver.bell();
    let alarm = Alarm::start(Arc::new(SystemClock), [], Arc::new(move || bell.notify_one())).await.unwrap();
    let running = tokio::spawn(async move { driver.run(|| {}).await });

    let settled = |generation: u64| {
        let ledger = ledger.clone();
        async move {
            loop {
                let rows = ledger.listing().await.unwrap();
                let done = |row: &keywheel::ledger::Listing| {
                    row.projection.generation >= Generation(generation) && row.projection.label == Label::Settled
                };
                if rows.len() == TARGETS && rows.iter().all(done) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, settled(1)).await.expect("every target is adopted");
    assert!(
        SystemClock.now() < slot,
        "adoption took longer than the time before the slot; the test's AHEAD is too short"
    );
    tokio::time::timeout(PATIENCE, settled(2)).await.expect("every target rotates");
    stop.cancel();
    running.await.unwrap().unwrap();
    alarm.stop().await.unwrap();

    let calls = cloud.calls();
    for (action, calls) in &calls {
        println!("{action}: {} accepted, {} throttled", calls.accepted.len(), calls.throttled.len());
        assert!(calls.throttled.is_empty(), "{action} was throttled");
    }
    let changes = &calls["ModifyInstancePassword"].accepted;
    assert_eq!(changes.len(), TARGETS, "each rotation costs one call");
    for number in 0..TARGETS {
        let history = cloud.history(&instance(number));
        assert_eq!(history.len(), 2, "{} was changed once", instance(number));
    }
    // Work was waiting from the slot until the last call left. A bucket that was full admits its content at once, and then the rate.
    let span = changes.last().unwrap().since(changes[0]).as_secs_f64();
    let used = (TARGETS - 1) as f64 / (span * QUOTA);
    println!(
        "{TARGETS} changes in {span:.1} s: {:.1} % of the quota used while work was waiting (goal {:.0} %)",
        used * 100.0,
        GOAL * 100.0
    );
    assert!(used >= GOAL, "only {:.1} % of the quota was used", used * 100.0);
}
