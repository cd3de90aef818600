//! What most verbs begin with: the configuration, what decides each target's moves, and the ledger to read.

use crate::admin::Control;
use crate::assemble;
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Config, Expanded, Finding};
use crate::discovery::Names;
use crate::driver::{PlanSettings, Snapshot, followers, snapshot};
use crate::fault::{Fault, Kind};
use crate::ledger::Row;
use crate::ledger::deed::DeedRow;
use crate::ledger::known::Lists;
use crate::ledger::sqlite::Reader;
use crate::moment::Moment;
use crate::name::{PolicyName, ProviderName, TargetName};
use crate::password::Policy;
use crate::rotation::event::By;
use crate::rotation::fold;
use crate::rotation::state::{Standing, State};
use crate::rotation::waves::{Members, Stand};
use crate::schedule::Calendar;
use crate::telemetry;
use chrono_tz::Tz;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// A loaded configuration, with what its selections found.
#[derive(Clone)]
pub struct Scene {
    config: Config,
    /// The configuration as it was read, where selections add to it.
    written: Option<Box<Config>>,
    left_out: Vec<Finding>,
    warnings: Vec<Finding>,
    settings: BTreeMap<TargetName, PlanSettings>,
    retired: BTreeMap<TargetName, PlanSettings>,
    up_since: Moment,
    clock: Arc<dyn Clock>,
    reader: OnceLock<Option<Reader>>,
}

impl Scene {
    /// Reads the configuration.
    ///
    /// # Errors
    /// `ConfigInvalid` with every finding.
    pub fn read(path: &Path) -> Result<Self, Fault> {
        let config::Loaded { config, warnings } = config::load(path, std::env::vars_os())
            .map_err(|findings| Fault::report(Kind::ConfigInvalid, findings.to_string()))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let up_since = clock.now();
        let settings = assemble::settings(&config, up_since);
        let written = (!config.selections.is_empty()).then(|| Box::new(config.clone()));
        let mut scene = Self {
            config,
            written,
            left_out: Vec::new(),
            warnings,
            settings,
            retired: BTreeMap::new(),
            up_since,
            clock,
            reader: OnceLock::new(),
        };
        if scene.written.is_some() {
            // A ledger that cannot be read is told of by whoever reads a record next.
            let lists = scene.reader().ok().flatten().and_then(|reader| reader.lists_now().ok());
            scene.take_found(&lists.unwrap_or_default());
        }
        Ok(scene)
    }

    /// Takes in what the selections found, in place of what was known before.
    pub fn take_found(&mut self, lists: &Lists) {
        let Some(written) = &self.written else { return };
        let Expanded { config, left_out } = written.with_found(lists);
        self.settings = assemble::settings(&config, self.up_since);
        self.retired = assemble::retired_settings(&config, self.up_since);
        (self.config, self.left_out) = (config, left_out);
    }

    /// What gives an instance the name of the target that it makes.
    pub fn names(&self) -> Names {
        let written = self.written.clone();
        Arc::new(move |selection, lists| {
            let Some(written) = &written else { return };
            let expanded = written.with_found(lists);
            if let Some(list) = lists.get_mut(selection) {
                expanded.name(selection, list);
            }
        })
    }

    /// The lists of what the selections found, as the ledger has them.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn lists(&self) -> Result<Lists, Fault> {
        self.reader()?.map_or_else(|| Ok(Lists::new()), Reader::lists_now)
    }

    /// The instances that were found and make no target.
    pub fn left_out(&self) -> &[Finding] {
        &self.left_out
    }

    /// Since when this process knows the configuration.
    pub fn up_since(&self) -> Moment {
        self.up_since
    }

    /// The configuration itself.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What is odd but not wrong about it.
    pub fn warnings(&self) -> &[Finding] {
        &self.warnings
    }

    /// The warnings that the ledger does not make pointless: a target that has a password needs no place to take one from. What a ledger that
    /// cannot be read would say is said by whoever opens it next.
    pub async fn timely_warnings(&self) -> Vec<&Finding> {
        let mut timely = Vec::new();
        for warning in &self.warnings {
            let name = warning.key.strip_prefix("targets.").and_then(|rest| rest.strip_suffix(".adopt"));
            let target = name.and_then(|name| name.parse::<TargetName>().ok());
            let pointless = match target.filter(|target| self.settings.contains_key(target)) {
                Some(target) => self.standing(&target).await.is_ok_and(|standing| standing.is_some()),
                None => false,
            };
            if !pointless {
                timely.push(warning);
            }
        }
        timely
    }

    /// The clock.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// The time.
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Starts logging in the configured form.
    ///
    /// # Errors
    /// When the filter variable is not understood.
    pub fn start_logging(&self, level: &str) -> Result<(), Fault> {
        let filter = std::env::var(telemetry::FILTER_VARIABLE).ok();
        let form = match self.config.daemon.log {
            config::LogForm::Human => telemetry::LogForm::Human,
            config::LogForm::Json => telemetry::LogForm::Json,
        };
        telemetry::start(form, level, filter.as_deref())
    }

    /// How many targets have a turn at the same time.
    pub fn turns_at_once(&self) -> usize {
        self.config.daemon.max_in_flight as usize
    }

    /// The distinct cron patterns, for the alarm.
    pub fn schedules(&self) -> Vec<Calendar> {
        self.settings.values().filter_map(|settings| settings.timetable.calendar().cloned()).collect()
    }

    /// The running daemon, if one listens.
    ///
    /// # Errors
    /// When one may be there but cannot be asked.
    pub async fn control(&self) -> Result<Option<Control>, Fault> {
        Control::connect(&self.config.daemon.control_socket).await
    }

    /// These targets, or all of them, without the retired ones. A selection's name stands for all of its targets.
    ///
    /// # Errors
    /// `Usage` when one is not configured, or retired.
    pub fn selected(&self, only: &[TargetName]) -> Result<Vec<TargetName>, Fault> {
        let targets = self.shown(only)?;
        let retired = |target: &&TargetName| self.retired.contains_key(*target);
        match targets.iter().find(|target| only.contains(target) && retired(target)) {
            Some(target) => Err(Fault::new(Kind::Usage, format!("{target} is {}", self.why_retired(target)))
                .advise("tag its instance again, or write it as a target of its own under this name")),
            None => Ok(targets.into_iter().filter(|target| !retired(&target)).collect()),
        }
    }

    /// The same with the retired ones: to look at, not to act on. Each is named once.
    ///
    /// # Errors
    /// `Usage` when one is not configured.
    pub fn shown(&self, only: &[TargetName]) -> Result<Vec<TargetName>, Fault> {
        let mut shown = Vec::new();
        for name in only {
            if self.config.selections.contains_key(name) {
                let found = |by: &Option<TargetName>| by.as_ref() == Some(name);
                let live = self.config.targets.iter().filter(|(_, target)| found(&target.selected_by));
                let retired = self.config.retired.iter().filter(|(_, retired)| found(&retired.target.selected_by));
                shown.extend(live.map(|(target, _)| target).chain(retired.map(|(target, _)| target)).cloned());
            } else {
                self.settings(name)?;
                shown.push(name.clone());
            }
        }
        if only.is_empty() {
            shown.extend(self.settings.keys().chain(self.retired.keys()).cloned());
        }
        // Beside its selection's name, a target's own adds nothing.
        let mut once = BTreeSet::new();
        shown.retain(|name| once.insert(name.clone()));
        Ok(shown)
    }

    /// The selections that found instances once and have none left: their tags may be gone, or a permission.
    pub fn deserted(&self) -> Vec<&TargetName> {
        let of = |target: &config::Target, name: &TargetName| target.selected_by.as_ref() == Some(name);
        let live = |name: &TargetName| self.config.targets.values().any(|target| of(target, name));
        let gone = |name: &TargetName| self.config.retired.values().any(|retired| of(&retired.target, name));
        self.config.selections.keys().filter(|name| gone(name) && !live(name)).collect()
    }

    fn why_retired(&self, target: &TargetName) -> String {
        let Some(retired) = self.config.retired.get(target) else { return String::new() };
        let (instance, why) = (&retired.target.address.instance, &retired.retired.why);
        format!("retired since {}: of instance {instance}, {why}", retired.retired.since)
    }

    /// What decides the target's moves.
    ///
    /// # Errors
    /// `Usage` when there is no such target.
    pub fn settings(&self, target: &TargetName) -> Result<&PlanSettings, Fault> {
        self.settings.get(target).or_else(|| self.retired.get(target)).ok_or_else(|| {
            let configured = self.settings.keys().chain(self.config.selections.keys());
            let names: Vec<&str> = configured.map(TargetName::as_str).take(10).collect();
            let next_step = match names.is_empty() {
                true => "write it into the configuration: no target is there yet".to_owned(),
                false => format!("name one of the configured targets, such as {}", names.join(", ")),
            };
            Fault::new(Kind::Usage, format!("there is no target {target}")).advise(next_step)
        })
    }

    /// The target's provider.
    ///
    /// # Errors
    /// `Usage` when there is no such target.
    pub fn provider(&self, target: &TargetName) -> Result<&ProviderName, Fault> {
        self.settings(target)?;
        Ok(&self.config.targets[target].provider)
    }

    /// The provider's quota, in requests per second and action; `None` where there is none.
    pub fn quota(&self, provider: &ProviderName) -> Option<f64> {
        self.config.providers[provider].quota()
    }

    /// A configured policy.
    ///
    /// # Errors
    /// `Usage` when there is no such policy.
    pub fn policy(&self, name: &PolicyName) -> Result<Policy, Fault> {
        let policy = self.config.policies.get(name).cloned();
        policy.ok_or_else(|| Fault::new(Kind::Usage, format!("there is no policy {name} in the configuration")))
    }

    /// The zone in which the target's times are shown.
    pub fn zone(&self, target: &TargetName) -> Tz {
        let calendar = self.settings(target).ok().and_then(|settings| settings.timetable.calendar());
        calendar.map_or(self.config.daemon.time_zone, Calendar::zone)
    }

    /// The target's schedule in words.
    pub fn schedule_text(&self, target: &TargetName) -> String {
        self.settings(target).map_or_else(|_| String::new(), |settings| settings.timetable.describe())
    }

    /// The target as of now.
    ///
    /// # Errors
    /// When there is no such target or the ledger cannot be read.
    pub async fn snapshot(&self, target: &TargetName) -> Result<Snapshot, Fault> {
        let members = self.members(target).await?;
        self.snapshot_among(target, members.as_ref()).await
    }

    /// The target as of now, from its own record alone: nothing is said of those before it in its wave, and no other record can stand in the way.
    ///
    /// # Errors
    /// When there is no such target or its record cannot be read.
    pub async fn snapshot_alone(&self, target: &TargetName) -> Result<Snapshot, Fault> {
        self.snapshot_among(target, None).await
    }

    async fn snapshot_among(&self, target: &TargetName, members: Option<&Members>) -> Result<Snapshot, Fault> {
        let settings = self.settings(target)?;
        let snapshot = snapshot(target, settings, &self.recent(target).await?, members, self.now())?;
        Ok(match self.retired.contains_key(target) {
            true => snapshot.retired(self.why_retired(target)),
            false => snapshot,
        })
    }

    /// Whether somebody paused the target.
    ///
    /// # Errors
    /// As for [`Scene::snapshot`].
    pub async fn is_paused(&self, target: &TargetName) -> Result<bool, Fault> {
        self.settings(target)?;
        Ok(self.state(target).await?.standing.paused.is_some())
    }

    /// Exactly these targets as of now.
    ///
    /// # Errors
    /// As for [`Scene::snapshot`].
    pub async fn snapshots_of(&self, targets: &[TargetName]) -> Result<Vec<Snapshot>, Fault> {
        let (mut snapshots, mut known) = (Vec::new(), BTreeMap::new());
        for target in targets {
            let selection = self.settings(target)?.wave.as_ref().map(|(selection, _)| selection.clone());
            if let Some(selection) = &selection
                && !known.contains_key(selection)
            {
                known.insert(selection.clone(), self.members(target).await?);
            }
            let members = selection.and_then(|selection| known.get(&selection)?.as_ref());
            snapshots.push(self.snapshot_among(target, members).await?);
        }
        Ok(snapshots)
    }

    /// The targets that this one follows or goes before, as their records stand; `None` where its selection has no waves.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn members(&self, target: &TargetName) -> Result<Option<Members>, Fault> {
        let Some((selection, _)) = &self.settings(target)?.wave else { return Ok(None) };
        let Some(mut members) = followers(self.settings.iter()).remove(selection) else { return Ok(None) };
        let names: Vec<TargetName> = members.names().cloned().collect();
        for name in names {
            members.note(&name, Stand::of(&self.state(&name).await?));
        }
        Ok(Some(members))
    }

    async fn state(&self, target: &TargetName) -> Result<State, Fault> {
        let rows = self.recent(target).await?;
        fold(rows.iter().map(|row| &row.event))
            .map_err(|illegal| Fault::new(Kind::LedgerCorrupt, format!("target {target}: {illegal}")))
    }

    /// What is true of the target between rotations; `None` before its first event.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn standing(&self, target: &TargetName) -> Result<Option<Standing>, Fault> {
        let state = self.state(target).await?;
        Ok(state.standing.current.is_some().then_some(state.standing))
    }

    /// Everything that happened to the target.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn history(&self, target: &TargetName) -> Result<Vec<Row>, Fault> {
        match self.reader()? {
            Some(reader) => reader.history(target).await,
            None => Ok(Vec::new()),
        }
    }

    /// Every target that has a record, whether or not the configuration still names it.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn recorded(&self) -> Result<BTreeSet<TargetName>, Fault> {
        match self.reader()? {
            Some(reader) => Ok(reader.listing().await?.into_iter().map(|row| row.target).collect()),
            None => Ok(BTreeSet::new()),
        }
    }

    /// What happened to keywheel itself.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn deeds(&self) -> Result<Vec<DeedRow>, Fault> {
        match self.reader()? {
            Some(reader) => reader.deeds().await,
            None => Ok(Vec::new()),
        }
    }

    async fn recent(&self, target: &TargetName) -> Result<Vec<Row>, Fault> {
        match self.reader()? {
            Some(reader) => reader.recent(target).await,
            None => Ok(Vec::new()),
        }
    }

    /// Whether the ledger exists yet.
    pub fn has_ledger(&self) -> bool {
        let config::LedgerUrl::Sqlite(path) = &self.config.daemon.ledger;
        path.exists()
    }

    /// The ledger to read; `None` before the daemon's first start has made it.
    fn reader(&self) -> Result<Option<&Reader>, Fault> {
        if let Some(reader) = self.reader.get() {
            return Ok(reader.as_ref());
        }
        // A ledger that comes into being while a command waits for it must be seen: absence is not remembered.
        if !self.has_ledger() {
            return Ok(None);
        }
        let reader = assemble::reader(&self.config)?;
        Ok(self.reader.get_or_init(|| Some(reader)).as_ref())
    }
}

/// Whoever runs this command.
pub fn operator() -> By {
    By::Operator { uid: rustix::process::getuid().as_raw() }
}
