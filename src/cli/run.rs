//! `run`: the daemon.

use super::Exit;
use super::args;
use super::history::describe;
use super::muster::Muster;
use super::scene::Scene;
use super::sight::View;
use crate::admin;
use crate::admin::sight::Sight;
use crate::admin::token::Holders;
use crate::alarm::{Alarm, Wake};
use crate::assemble;
use crate::console::door::Door;
use crate::console::look::Look;
use crate::console::signs::Signs;
use crate::console::{Console, Entrance, Works};
use crate::driver::{Driver, Tools};
use crate::fault::{Fault, Kind, scrub};
use crate::ledger::Ledger;
use crate::ledger::deed::Deed;
use crate::ledger::sqlite::SqliteLedger;
use crate::moment::Moment;
use crate::name::TokenName;
use crate::process::end_with_parent;
use crate::rotation::event::By;
use crate::secret::Secret;
use crate::systemd;
use crate::watch::bulletin::Bulletin;
use chrono_tz::Tz;
use rustls::ServerConfig;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

/// How long the end waits for the last answers on the control socket.
const FAREWELL: Duration = Duration::from_secs(1);

/// Runs until told to stop.
///
/// # Errors
/// What keeps the daemon from starting: configuration, key, ledger, socket.
pub async fn run(config: &Path, args: &args::Run) -> Result<Exit, Fault> {
    let mut signals = Signals::new()?;
    if let Some(parent) = args.end_with_parent {
        end_with_parent(parent)
            .map_err(|error| Fault::new(crate::fault::Kind::Bug, format!("the parent cannot be watched: {error}")))?;
    }
    let mut hang_up = listen(SignalKind::hangup())?;
    let scene = Scene::read(config)?;
    scene.start_logging("info")?;
    for warning in scene.timely_warnings().await {
        tracing::warn!("{warning}");
    }
    let signs = Arc::new(Signs::default());
    let console = Console::new(Arc::clone(&signs), scene.up_since(), scene.clock());
    console.guard(Entrance { gate: None, tls: assemble::entrance::tls(scene.config())? });
    let opened = open(scene.config().daemon.entrance.listen, &console).await;
    systemd::status("reading the ledger");
    let stored = assemble::ledger(scene.config(), "keywheel run")?;
    // Only now: where another daemon has the ledger as well as the address, that says more.
    let listening = opened?;
    let commits = stored.commits();
    let ledger: Arc<dyn Ledger> = Arc::new(stored.clone());
    let (mut muster, fleet) = Muster::begin(scene, Arc::clone(&ledger)).await?;
    let (scene, targets) = (muster.scene(), fleet.len());
    let started = Deed::Started { version: env!("CARGO_PKG_VERSION").to_owned(), targets: targets as u64 };
    record(&stored, scene.now(), started).await;
    let stop = CancellationToken::new();
    let tools =
        Tools { ledger: Arc::clone(&ledger), clock: scene.clock(), chance: Arc::new(crate::chance::SystemChance) };
    let driver = Driver::new(tools, fleet, scene.turns_at_once(), stop.clone());
    if listening.is_some() {
        let look = Look::through(assemble::reader(scene.config())?, Arc::clone(&driver), scene.clock());
        let alerts = Arc::clone(muster.desk().tally());
        console.show(Works { driver: Arc::clone(&driver), look, commits, alerts, describe });
    }
    console.follow(muster.shown());
    let socket = &scene.config().daemon.control_socket;
    let view = Arc::new(View::default());
    view.follow(muster.shared());
    let api = admin::Api::new(Arc::clone(&driver), health(&signs), Arc::clone(&view) as Arc<dyn Sight>, stop.clone());
    let holders = Holders::new(Arc::clone(&api), scene.clock());
    let keeper = Keeper { console: Arc::clone(&console), holders, listening };
    keeper.guard(keeper.read(scene)?);
    let serving = admin::serve(socket, api, stop.clone()).await?;
    let mut alarm = Alarm::start(scene.clock(), scene.schedules(), wake(&driver)).await?;
    let bulletin = Bulletin::new(Arc::clone(&driver), ledger, scene.clock(), scene.config().daemon.time_zone);
    let first_sweep = Arc::new(Notify::new());
    let working = tokio::spawn({
        let driver = Arc::clone(&driver);
        let watched = systemd::watchdog_interval().is_some();
        let (sound, healthy, signs) = (Arc::clone(&driver), Arc::clone(&muster.healthy), Arc::clone(&signs));
        let (bulletin, first_sweep) = (Arc::clone(&bulletin), Arc::clone(&first_sweep));
        async move {
            // A sweep that reached the ledger is the sign of life: alarm, driver and ledger all took part in it.
            let sign_of_life = move || {
                if watched {
                    systemd::keep_alive();
                }
                signs.swept(sound.is_sound());
                if sound.is_sound() {
                    healthy.notify_one();
                }
                bulletin.swept.notify_one();
                first_sweep.notify_one();
            };
            driver.run(sign_of_life).await
        }
    });
    let looked = Arc::clone(&muster.bell);
    let mut is_ready = false;
    tokio::pin!(working);
    loop {
        tokio::select! {
            () = first_sweep.notified(), if !is_ready => {
                is_ready = true;
                tracing::info!(targets, version = env!("CARGO_PKG_VERSION"), "keywheel is ready");
                systemd::ready();
                muster.discover();
                muster.watch(&driver);
                if systemd::listens() {
                    let (bulletin, stop) = (Arc::clone(&bulletin), stop.clone());
                    tokio::spawn(async move { stop.run_until_cancelled(bulletin.keep_up()).await });
                }
            }
            ended = &mut working => {
                stop.cancel();
                return finish(ended, alarm, serving).await;
            }
            _ = hang_up.recv(), if is_ready => {
                systemd::reloading();
                let by = if systemd::listens() { By::Systemd } else { By::Signal };
                let outcome = reload(config, &mut muster, &driver, &mut alarm, &keeper).await;
                let targets = driver.fleet().len() as u64;
                let deed = match &outcome {
                    Ok(_) => Deed::Reloaded { by, targets },
                    Err(fault) => {
                        // On one line, for the record is read on terminals and by collectors.
                        let words: Vec<&str> = fault.what.split_whitespace().collect();
                        let fault = Fault::new(fault.kind, scrub(&words.join(" "), &[])).advise(fault.next_step.clone());
                        Deed::ReloadRefused { by, fault }
                    }
                };
                record(&stored, muster.scene().now(), deed).await;
                let reloaded = outcome.map_err(|fault| {
                    tracing::error!(%fault, "the new configuration is refused; the old one stays");
                });
                view.follow(muster.shared());
                signs.reloaded(reloaded.is_err());
                console.follow(muster.shown());
                bulletin.reloaded(reloaded);
                systemd::ready();
            }
            () = looked.notified() => {
                if let Err(fault) = muster.after_round(&driver, &mut alarm).await {
                    tracing::error!(%fault, "what selections found cannot be taken up; the fleet stays as it was");
                }
                view.follow(muster.shared());
            }
            () = signals.stop() => break,
        }
    }
    tracing::info!("stopping: the step under way is finished; a second signal stops at once");
    systemd::stopping();
    signs.stopping();
    systemd::status("stopping: the step under way is finished");
    stop.cancel();
    tokio::select! {
        ended = &mut working => finish(ended, alarm, serving).await,
        () = signals.stop() => {
            tracing::warn!("stopped at once; the next start goes on by evidence");
            Ok(Exit::Well)
        }
    }
}

async fn finish(
    ended: Result<Result<(), Fault>, JoinError>,
    alarm: Alarm,
    serving: JoinHandle<()>,
) -> Result<Exit, Fault> {
    let silenced = alarm.stop().await;
    // A client that does not read its answer does not keep the daemon from ending.
    let _gone = tokio::time::timeout(FAREWELL, serving).await;
    match ended {
        Ok(outcome) => outcome.and(silenced).map(|()| Exit::Well),
        Err(defect) => Err(Fault::new(crate::fault::Kind::Bug, format!("the driver ended in a defect: {defect}"))),
    }
}

/// Writes down what happened to keywheel itself. What cannot be written is told, and everything goes on: the next write of a target says so again.
async fn record(ledger: &SqliteLedger, at: Moment, deed: Deed) {
    let what = deed.label();
    if let Err(fault) = ledger.record(at, deed).await {
        tracing::error!(%fault, what, "what happened to keywheel itself could not be recorded");
    }
}

/// Opens the console, where it is to be open; it stays so until the process ends.
async fn open(listen: Option<SocketAddr>, console: &Arc<Console>) -> Result<Option<SocketAddr>, Fault> {
    let Some(address) = listen else { return Ok(None) };
    let door = Door::open(address).await?;
    let address = door.address();
    tokio::spawn(door.serve(Arc::clone(console)));
    Ok(Some(address))
}

/// Who stands at the door.
struct Keeper {
    console: Arc<Console>,
    holders: Arc<Holders>,
    /// Where the door is open, whatever the configuration says since.
    listening: Option<SocketAddr>,
}

/// Who may act over TCP, and what certificate is shown: read, and not in force yet.
struct Guests {
    tokens: Vec<(TokenName, Secret)>,
    tls: Option<Arc<ServerConfig>>,
}

impl Keeper {
    fn read(&self, scene: &Scene) -> Result<Guests, Fault> {
        let (tls, tokens) = (assemble::entrance::tls(scene.config())?, assemble::entrance::tokens(scene.config())?);
        if !tokens.is_empty() && tls.is_none() && self.listening.is_some_and(|address| !address.ip().is_loopback()) {
            let what =
                "daemon.tokens would travel over plain HTTP: the door still stands open where it did at the start";
            return Err(
                Fault::new(Kind::ConfigInvalid, what).advise("start keywheel again, so that it listens elsewhere")
            );
        }
        Ok(Guests { tokens, tls })
    }

    fn guard(&self, Guests { tokens, tls }: Guests) {
        self.console.guard(Entrance { gate: self.holders.follow(&tokens), tls });
    }
}

/// Whether the daemon turns, for who asks by the control socket.
fn health(signs: &Arc<Signs>) -> admin::api::Health {
    let signs = Arc::clone(signs);
    Box::new(move || {
        let health = signs.alive();
        match health.well {
            true => Ok(health.status.to_owned()),
            false => Err(Fault::new(crate::fault::Kind::ControlUnreachable, health.reasons.join("; "))),
        }
    })
}

/// What the alarm's jobs do, and all they do.
fn wake(driver: &Arc<Driver>) -> Wake {
    let bell = driver.bell();
    Arc::new(move || bell.notify_one())
}

/// Reads the configuration again, and says in which zone it speaks. What the ledger, key and socket are stays until a restart.
async fn reload(
    config: &Path,
    muster: &mut Muster,
    driver: &Arc<Driver>,
    alarm: &mut Alarm,
    keeper: &Keeper,
) -> Result<Tz, Fault> {
    let scene = Scene::read(config)?;
    for warning in scene.timely_warnings().await {
        tracing::warn!("{warning}");
    }
    if scene.config().daemon.entrance.listen != muster.scene().config().daemon.entrance.listen {
        tracing::warn!("daemon.listen has changed: it is taken up at the next start");
    }
    // In force together with the rest, or not at all: what was in force cannot be read again where its files are others by now.
    let guests = keeper.read(&scene)?;
    let targets = muster.reload(scene, driver, alarm).await?;
    keeper.guard(guests);
    tracing::info!(targets, "the configuration was read again");
    Ok(muster.scene().config().daemon.time_zone)
}

/// The signals that end a command: Ctrl-C and SIGTERM.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, Fault> {
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn listen(kind: SignalKind) -> Result<Signal, Fault> {
    signal(kind).map_err(|error| Fault::new(crate::fault::Kind::Bug, format!("signals cannot be listened to: {error}")))
}
