//! The console: what the daemon shows over TCP, read-only and without a secret, to those who watch it. Nothing here writes to the ledger, and nothing
//! here is waited for by the driver.
//!
//! [`door`] lets connections in and bounds them, [`signs`] knows whether the daemon lives and is ready, [`look`] sees the fleet, [`metrics`] puts it into
//! numbers, `page` onto a page, `live` says when a page would be another one, `answer` says what stands at which path.

mod answer;
pub mod days;
pub mod door;
mod entrance;
pub mod figures;
mod live;
pub mod look;
mod lookout;
pub mod metrics;
pub mod outlook;
mod page;
pub mod past;
pub mod signs;
pub mod target_days;

use crate::alert;
use crate::clock::Clock;
use crate::crowd::Held;
use crate::driver::Driver;
use crate::fault::Fault;
use crate::ledger::sqlite::Commits;
use crate::moment::Moment;
use crate::name::ProviderName;
use crate::provider::Provider;
use crate::rotation::event::What;
use chrono_tz::Tz;
pub use entrance::Entrance;
use live::Live;
use look::Look;
use metrics::Shown;
use signs::Signs;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::sync::Semaphore;

/// Scrapes at the same time. Each of a large fleet takes some megabytes until it is read, and counts until then.
const SCRAPES: usize = 4;

/// Pages at the same time.
const PAGES: usize = 16;

/// What is shown.
pub struct Console {
    signs: Arc<Signs>,
    up_since: Moment,
    clock: Arc<dyn Clock>,
    works: OnceLock<Works>,
    settings: Mutex<Settings>,
    entrance: Mutex<Entrance>,
    scrapes: Arc<Semaphore>,
    pages: Semaphore,
    live: Arc<Live>,
}

/// What there is to see once the daemon is set up.
pub struct Works {
    /// The driver.
    pub driver: Arc<Driver>,
    /// The fleet.
    pub look: Look,
    /// What the ledger's transactions took.
    pub commits: Arc<Commits>,
    /// What was counted of alerts.
    pub alerts: Arc<alert::tally::Tally>,
    /// Puts an event into words.
    pub describe: fn(&What) -> String,
}

/// What of the configuration matters here.
#[derive(Clone, Default)]
pub struct Settings {
    /// What the plan is measured by.
    pub facts: Arc<Facts>,
    /// How many targets may have series of their own.
    pub metrics_targets: usize,
}

/// What the plan is measured by.
#[derive(Clone, Default)]
pub struct Facts {
    /// The cloud accounts.
    pub providers: BTreeMap<ProviderName, Arc<dyn Provider>>,
    /// What each allows, in requests per second and action, where it limits that.
    pub quotas: BTreeMap<ProviderName, f64>,
    /// How many targets have a turn at the same time.
    pub turns_at_once: usize,
    /// Whose days are meant.
    pub zone: Tz,
}

/// What comes of asking for a page.
enum Page {
    Here(String),
    Nowhere,
    /// Too many ask at the same time.
    Busy,
    Starting,
    /// What was to be read cannot be.
    Unknown(Fault),
}

impl Console {
    /// A console that shows these signs, and nothing else yet.
    pub fn new(signs: Arc<Signs>, up_since: Moment, clock: Arc<dyn Clock>) -> Arc<Self> {
        let (works, settings, entrance) = (OnceLock::new(), Mutex::default(), Mutex::default());
        Arc::new(Self {
            signs,
            up_since,
            clock,
            works,
            settings,
            entrance,
            scrapes: Arc::new(Semaphore::new(SCRAPES)),
            pages: Semaphore::new(PAGES),
            live: Arc::default(),
        })
    }

    /// From now on there is more to see, and whoever listens is told when it changes.
    pub fn show(self: &Arc<Self>, works: Works) {
        // There is one daemon in a process, and it starts once.
        let _first = self.works.set(works);
        let console = Arc::clone(self);
        tokio::spawn(async move {
            if let Some(works) = console.works.get() {
                console.live.tell(&works.driver, &works.look, &*console.clock).await;
            }
        });
    }

    /// From now on these are in force.
    pub fn follow(&self, settings: Settings) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
        self.live.ring();
    }

    /// The numbers, and a place to be kept until they are read; `None` where too many ask at the same time.
    async fn metrics(self: &Arc<Self>) -> Option<(String, Held)> {
        let place = Arc::clone(&self.scrapes).try_acquire_owned().ok()?;
        let view = match self.works.get() {
            Some(works) => works
                .look
                .view()
                .await
                .inspect_err(|fault| tracing::debug!(%fault, "the fleet cannot be looked at"))
                .ok(),
            None => None,
        };
        let console = Arc::clone(self);
        // The text of a large fleet is some megabytes: no work for a thread that others wait for.
        tokio::task::spawn_blocking(move || console.shown(view.as_deref()).text())
            .await
            .ok()
            .map(|text| (text, Held(Arc::new(place))))
    }

    /// The fleet on a page.
    async fn fleet(&self, query: &str) -> Page {
        let Some(_place) = self.pages.try_acquire().ok() else { return Page::Busy };
        let Some(works) = self.works.get() else { return Page::Starting };
        match works.look.latest_view().await {
            Ok(view) => {
                let outlook = works.look.outlook(&view, &self.settings().facts, &self.live).await;
                let (reasons, now) = (self.signs.ready().reasons, self.clock.now());
                let seen = page::Seen { view: &view, outlook: outlook.as_deref(), reasons: &reasons };
                Page::Here(page::fleet(&seen, &page::Question::read(query), now))
            }
            Err(fault) => Page::Unknown(fault),
        }
    }

    /// One target's story on a page.
    async fn story(&self, name: &str) -> Page {
        let Some(_place) = self.pages.try_acquire().ok() else { return Page::Busy };
        let Some(works) = self.works.get() else { return Page::Starting };
        let Ok(name) = name.parse() else { return Page::Nowhere };
        match works.look.story(&name).await {
            Ok(Some(story)) => {
                Page::Here(page::story(&story, works.describe, self.settings().facts.zone, self.clock.now()))
            }
            Ok(None) => Page::Nowhere,
            Err(fault) => Page::Unknown(fault),
        }
    }

    fn settings(&self) -> Settings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn shown<'a>(&'a self, view: Option<&'a figures::View>) -> Shown<'a> {
        let works = self.works.get();
        let Settings { facts, metrics_targets } = self.settings();
        let traffic = facts.providers.iter().filter_map(|(name, provider)| Some((name.clone(), provider.traffic()?)));
        Shown {
            up_since: Some(self.up_since),
            ready: self.signs.ready().well,
            configuration: self.signs.is_configuration_in_force(),
            swept_at: self.signs.swept_for().map(|span| self.clock.now() - span),
            turns: works.map(|works| works.driver.turns()),
            tally: works.map(|works| works.driver.tally()),
            commits: works.map(|works| &*works.commits),
            view,
            targets: metrics_targets,
            traffic: traffic.collect(),
            alerts: works.map(|works| &*works.alerts),
        }
    }
}
