//! `[daemon]` and `[limits]`.

use super::entrance::{self, Entrance};
use super::finding::nearest;
use super::reading::{Refusal, Section, absolute, refusal};
use super::secret_ref::SecretRef;
use crate::rotation::plan::{Backoff, Limits};
use chrono_tz::{TZ_VARIANTS, Tz};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

/// Where the control socket is unless said otherwise.
const CONTROL_SOCKET: &str = "/run/keywheel/control.sock";

/// The longest path of a Unix socket, in bytes: `sun_path` less its end mark.
const SOCKET_PATH_LIMIT: usize = 107;

/// Targets with series of their own unless said otherwise: some ten thousand series, which one Prometheus takes from many such daemons.
const METRICS_TARGETS: u32 = 2_000;

/// The most targets that may be asked for to have series of their own.
const METRICS_LIMIT: u32 = 100_000;

/// Rotations in flight unless said otherwise.
const MAX_IN_FLIGHT: u32 = 256;

/// The most rotations in flight that may be asked for; each may hold several connections.
const IN_FLIGHT_LIMIT: u32 = 10_000;

/// Restarts a minute unless said otherwise.
const RESTART_BUDGET: NonZeroU32 = NonZeroU32::new(30).unwrap();

/// The most restarts a minute that may be asked for.
const RESTARTS_LIMIT: u32 = 6_000;

/// How often instances are looked for unless said otherwise.
const DISCOVER_EVERY: Duration = Duration::from_secs(15 * 60);

/// The longest time between two looks for instances.
const DISCOVER_LIMIT: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The largest count in `[limits]`.
const COUNT_LIMIT: u32 = 10_000;

/// The daemon's own settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// Where the ledger is.
    pub ledger: LedgerUrl,
    /// What the ledger is sealed with.
    pub sealing_key: SecretRef,
    /// Where the command line reaches the daemon.
    pub control_socket: PathBuf,
    /// Where the daemon is watched over TCP, and who may act there.
    pub entrance: Entrance,
    /// How many targets may have series of their own among the metrics.
    pub metrics_targets: u32,
    /// The zone of schedules that name none.
    pub time_zone: Tz,
    /// How many rotations may be under way at once.
    pub max_in_flight: u32,
    /// How many hooks that restart something are told in a minute, over all targets.
    pub restart_budget: NonZeroU32,
    /// How often selections look for their instances.
    pub discover_every: Duration,
    /// What log lines look like.
    pub log: LogForm,
    /// What is to be done where the ledger lies on storage that vanishes; without it, that is refused.
    pub ephemeral: Option<Ephemeral>,
}

/// What to do with a ledger that vanishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ephemeral {
    /// Begin anew from what sinks hold.
    AdoptFromSink,
    /// Nothing: it is a rehearsal, and so are its passwords.
    Rehearsal,
}

impl Daemon {
    /// What a follower has in its place: nothing that anybody reads.
    pub(super) fn of_none() -> Self {
        Self {
            ledger: LedgerUrl::Sqlite(PathBuf::new()),
            sealing_key: SecretRef::File(PathBuf::new()),
            control_socket: PathBuf::new(),
            time_zone: Tz::UTC,
            max_in_flight: MAX_IN_FLIGHT,
            restart_budget: RESTART_BUDGET,
            discover_every: DISCOVER_EVERY,
            log: LogForm::default(),
            entrance: Entrance::default(),
            metrics_targets: METRICS_TARGETS,
            ephemeral: None,
        }
    }
}

/// A place for the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerUrl {
    /// One SQLite file, by its absolute path.
    Sqlite(PathBuf),
}

/// What log lines look like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogForm {
    /// For eyes.
    #[default]
    Human,
    /// For machines, one object a line.
    Json,
}

/// The daemon's zone; UTC where it names none or none that exists.
pub(super) fn time_zone(section: &Section<'_>) -> Tz {
    zone(section).unwrap_or(Tz::UTC)
}

pub(super) fn parse(section: &Section<'_>, time_zone: Tz) -> Option<Daemon> {
    let ledger = section.parsed("ledger", ledger_url);
    let sealing_key = SecretRef::parse(section, "sealing-key");
    let control_socket = section.path("control-socket").unwrap_or_else(|| CONTROL_SOCKET.into());
    if control_socket.as_os_str().len() > SOCKET_PATH_LIMIT {
        let what = format!("The path of a socket has at most {SOCKET_PATH_LIMIT} bytes");
        section.refuse("control-socket", refusal(what, "choose a shorter path"));
    }
    let metrics_targets = section.number("metrics-targets", 0..=METRICS_LIMIT).unwrap_or(METRICS_TARGETS);
    let max_in_flight = section.number("max-in-flight", 1..=IN_FLIGHT_LIMIT).unwrap_or(MAX_IN_FLIGHT);
    let restart_budget = section.number("restart-budget", 1..=RESTARTS_LIMIT).and_then(NonZeroU32::new);
    let discover_every = section.span_up_to("discover-every", DISCOVER_LIMIT).unwrap_or(DISCOVER_EVERY);
    let log = section.choice("log", &[("human", LogForm::Human), ("json", LogForm::Json)]).unwrap_or_default();
    Some(Daemon {
        ledger: ledger?,
        sealing_key: sealing_key?,
        control_socket,
        entrance: entrance::parse(section),
        metrics_targets,
        time_zone,
        max_in_flight,
        restart_budget: restart_budget.unwrap_or(RESTART_BUDGET),
        discover_every,
        log,
        ephemeral: ephemeral(section),
    })
}

/// What stands at `ephemeral`.
pub(super) fn ephemeral(section: &Section<'_>) -> Option<Ephemeral> {
    let words = [("adopt-from-sink", Ephemeral::AdoptFromSink), ("rehearsal", Ephemeral::Rehearsal)];
    section.choice("ephemeral", &words)
}

/// A ledger that vanishes takes the candidate of a rotation under way along. Only where that locks nobody out may it be begun anew.
pub(super) fn refuse_what_would_be_lost(daemon: &Daemon, targets: &Section<'_>) {
    if daemon.ephemeral != Some(Ephemeral::AdoptFromSink) {
        return;
    }
    for (_, target) in targets.entries() {
        if !target.section("adopt").is_some_and(|adopt| adopt.has("sink")) {
            let what =
                "With ephemeral = \"adopt-from-sink\" each target begins anew from a sink, and this one names none";
            target.refuse(
                "adopt",
                refusal(what, "write adopt = { sink = \"NAME\" }, a sink of this target that can be read back"),
            );
        }
        let beside = target.text("strategy").is_some_and(|strategy| ["alternate", "overlap"].contains(&strategy));
        if !beside && target.text("recovery") != Some("reset") {
            let what = "With ephemeral = \"adopt-from-sink\" a password that is lost in the middle of a change would lock everybody out";
            target.refuse(
                "strategy",
                refusal(what, "write strategy = \"alternate\" or \"overlap\", or recovery = \"reset\", or keep the ledger on a disk"),
            );
        }
    }
}

fn ledger_url(text: &str) -> Result<LedgerUrl, Refusal> {
    let advice = "write sqlite:// and an absolute path, such as sqlite:///var/lib/keywheel/ledger.db";
    let path =
        text.strip_prefix("sqlite://").ok_or_else(|| refusal("This is no ledger that keywheel knows", advice))?;
    if path.ends_with('/') || path.contains(['?', '#', '%']) {
        return Err(refusal("This is not the path of a file", advice));
    }
    absolute(path).map(LedgerUrl::Sqlite).map_err(|_| refusal("The ledger's path is not absolute", advice))
}

/// The zone at `time-zone`.
pub(super) fn zone(section: &Section<'_>) -> Option<Tz> {
    section.parsed("time-zone", |text| {
        text.parse().map_err(|_| {
            let next_step = match nearest(text, TZ_VARIANTS.iter().map(|zone| zone.name())) {
                Some(name) => format!("did you mean {name}?"),
                None => "write a name of the IANA time zone database, such as Asia/Shanghai or UTC".to_owned(),
            };
            refusal("There is no such time zone", next_step)
        })
    })
}

pub(super) fn limits(section: &Section<'_>) -> Limits {
    let usual = Limits::default();
    let count = |key, usual| section.number(key, 1..=COUNT_LIMIT).unwrap_or(usual);
    Limits {
        usual_task_time: section.span("usual-task-time").unwrap_or(usual.usual_task_time),
        task_patience: section.span("task-patience").unwrap_or(usual.task_patience),
        proof_patience: section.span("proof-patience").unwrap_or(usual.proof_patience),
        late_effect: section.span("late-effect").unwrap_or(usual.late_effect),
        lock_patience: section.span("lock-patience").unwrap_or(usual.lock_patience),
        attempts: count("attempts", usual.attempts),
        redraws: section.number("redraws", 0..=COUNT_LIMIT).unwrap_or(usual.redraws),
        agreement: count("agreement", usual.agreement),
        rounds: count("rounds", usual.rounds),
        hook_attempts: count("hook-attempts", usual.hook_attempts),
        call_backoff: backoff(section, "call-backoff", usual.call_backoff),
        look_backoff: backoff(section, "look-backoff", usual.look_backoff),
        outlet_backoff: backoff(section, "outlet-backoff", usual.outlet_backoff),
    }
}

fn backoff(section: &Section<'_>, key: &str, usual: Backoff) -> Backoff {
    let Some(table) = section.section(key) else {
        return usual;
    };
    let backoff = Backoff {
        first: table.span("first").unwrap_or(usual.first),
        longest: table.span("longest").unwrap_or(usual.longest),
    };
    if backoff.first > backoff.longest {
        let what = "The first wait is longer than the longest";
        section.refuse(key, refusal(what, "raise longest or lower first"));
    }
    backoff
}
