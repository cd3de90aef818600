//! Signs of life: whether the daemon turns (`/healthz`) and whether it does its work (`/readyz`). A target that failed is neither's business.

use crate::clock::Stopwatch;
use crate::moment::show_span;
use serde::Serialize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The alarm rings every second: a daemon that has not swept for this long hangs, or cannot read its ledger.
const LIVELY: Duration = Duration::from_secs(30);

/// A start that takes longer than this hangs.
const STARTING_LIMIT: Duration = Duration::from_secs(600);

/// How far the daemon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    Stopping,
}

/// What the daemon lets be known of itself.
pub struct Signs(Mutex<Known>);

struct Known {
    phase: Phase,
    /// Runs since the start, and since each sweep that reached the ledger.
    quiet: Stopwatch,
    /// Whether turns could write down what they did, as far as the last of them knew.
    writes: bool,
    /// Whether the configuration was refused when it was read again.
    refused: bool,
}

/// What is answered: one line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Whether all is as it should be.
    #[serde(skip)]
    pub well: bool,
    /// The same in one word.
    pub status: &'static str,
    /// Why it is not, all at once; without a secret.
    pub reasons: Vec<String>,
}

impl Default for Signs {
    fn default() -> Self {
        let known = Known { phase: Phase::Starting, quiet: Stopwatch::start(), writes: true, refused: false };
        Self(Mutex::new(known))
    }
}

impl Signs {
    /// A sweep reached the ledger: alarm, driver and ledger all took part in it. `writes` says whether turns can write down what they do.
    pub fn swept(&self, writes: bool) {
        let mut known = self.known();
        if known.phase == Phase::Starting {
            known.phase = Phase::Running;
        }
        known.quiet = Stopwatch::start();
        known.writes = writes;
    }

    /// The configuration was read again.
    pub fn reloaded(&self, refused: bool) {
        self.known().refused = refused;
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.known().phase = Phase::Stopping;
    }

    /// Whether the process turns. One that stops finishes its steps first, and is better left alone.
    pub fn alive(&self) -> Health {
        let known = self.known();
        Health::of(("alive", "hangs"), alive(known.phase, known.quiet.elapsed()))
    }

    /// Whether it does its work: schedule, ledger and configuration.
    pub fn ready(&self) -> Health {
        let known = self.known();
        Health::of(("ready", "unready"), unready(known.phase, known.quiet.elapsed(), known.writes, known.refused))
    }

    /// Whether the configuration was taken up when it was read last.
    pub fn is_configuration_in_force(&self) -> bool {
        !self.known().refused
    }

    /// How long ago a sweep reached the ledger; `None` before the first.
    pub fn swept_for(&self) -> Option<Duration> {
        let known = self.known();
        match known.phase {
            Phase::Starting => None,
            Phase::Running | Phase::Stopping => Some(known.quiet.elapsed()),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Health {
    fn of((well, ill): (&'static str, &'static str), reasons: Vec<String>) -> Self {
        let status = if reasons.is_empty() { well } else { ill };
        Self { well: reasons.is_empty(), status, reasons }
    }
}

/// What speaks against life.
fn alive(phase: Phase, quiet: Duration) -> Vec<String> {
    match phase {
        Phase::Starting if quiet > STARTING_LIMIT => {
            vec![format!("keywheel is starting for longer than {}", show_span(STARTING_LIMIT))]
        }
        Phase::Running if quiet > LIVELY => vec![no_sweep(quiet)],
        Phase::Starting | Phase::Running | Phase::Stopping => Vec::new(),
    }
}

/// What keeps it from its work.
fn unready(phase: Phase, quiet: Duration, writes: bool, refused: bool) -> Vec<String> {
    let mut reasons = Vec::new();
    match phase {
        Phase::Starting => reasons.push("keywheel is starting".to_owned()),
        Phase::Stopping => reasons.push("keywheel is stopping".to_owned()),
        Phase::Running if quiet > LIVELY => reasons.push(no_sweep(quiet)),
        Phase::Running => {}
    }
    if !writes {
        reasons.push(
            "the ledger cannot be written; nothing is sent to a cloud before it can be, and the log says why"
                .to_owned(),
        );
    }
    if refused {
        reasons.push(
            "the configuration was refused when it was read again; the old one stays in force, and the log says why"
                .to_owned(),
        );
    }
    reasons
}

fn no_sweep(quiet: Duration) -> String {
    let whole = Duration::from_secs(quiet.as_secs());
    format!(
        "nothing reached the ledger for {}: the schedule stands still, or the ledger cannot be read",
        show_span(whole)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_secs(1);
    const LONG: Duration = Duration::from_secs(31);

    #[test]
    fn a_process_hangs_where_nothing_sweeps_and_not_where_it_starts_or_stops() {
        let rows = [
            (Phase::Starting, LONG, true),
            (Phase::Starting, STARTING_LIMIT + MOMENT, false),
            (Phase::Running, MOMENT, true),
            (Phase::Running, LONG, false),
            (Phase::Stopping, STARTING_LIMIT + MOMENT, true),
        ];
        for (phase, quiet, lives) in rows {
            assert_eq!(alive(phase, quiet).is_empty(), lives, "{phase:?} {quiet:?}");
        }
    }

    #[test]
    fn every_reason_is_named_at_once() {
        assert_eq!(unready(Phase::Running, MOMENT, true, false), Vec::<String>::new());
        let all = unready(Phase::Running, LONG, false, true).join("\n");
        for words in ["nothing reached the ledger for 31s", "cannot be written", "was refused"] {
            assert!(all.contains(words), "{all}");
        }
        assert_eq!(unready(Phase::Starting, MOMENT, true, false), ["keywheel is starting"]);
        assert_eq!(unready(Phase::Stopping, LONG, true, false), ["keywheel is stopping"]);
    }

    #[test]
    fn signs_are_taken_up() {
        let signs = Signs::default();
        assert_eq!((signs.alive().status, signs.ready().status), ("alive", "unready"));
        signs.swept(true);
        assert_eq!(signs.ready().status, "ready");
        signs.swept(false);
        assert_eq!((signs.alive().well, signs.ready().well), (true, false));
        signs.swept(true);
        signs.reloaded(true);
        assert!(!signs.ready().well);
        signs.reloaded(false);
        assert!(signs.ready().well);
        signs.stopping();
        signs.swept(true);
        assert_eq!((signs.alive().well, signs.ready().well), (true, false), "a sweep does not undo the end");
    }
}
