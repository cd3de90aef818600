//! The driver with a fleet that changes under it.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use keywheel::assemble;
use keywheel::chance::SystemChance;
use keywheel::clock::{Clock, SystemClock};
use keywheel::config;
use keywheel::driver::{Driver, Fleet, Tools, Wish};
use keywheel::fault::Kind;
use keywheel::name::TargetName;
use keywheel::rotation::event::By;
use keywheel::seal::aead::SealingKey;
use std::future::{Future, poll_fn};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
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

#[tokio::test]
async fn who_asks_something_of_a_target_that_leaves_before_its_turn_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(folder.path());
    let ledger = Arc::new(assemble::ledger(&config, "a test").unwrap());
    let fleet = assemble::fleet(&config, SystemClock.now()).unwrap();
    let name: TargetName = "orders".parse().unwrap();
    let stop = CancellationToken::new();
    let tools = Tools { ledger, clock: Arc::new(SystemClock), chance: Arc::new(SystemChance) };
    let driver = Driver::new(tools, fleet.fleet, 1, stop.clone());

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
