//! Looks on without asking keywheel: what the cloud applied, what the ledger opens, what stands in the sink.

use super::stage::{INSTANCE, TARGET};
use keywheel::ledger::sqlite::Reader;
use keywheel::name::Generation;
use keywheel::seal::aead::SealingKey;
use keywheel::simulator::Simulator;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(4);

/// The onlooker. Cloned into the task that looks all the time.
#[derive(Clone)]
pub struct Observer {
    cloud: Arc<Simulator>,
    key: Arc<SealingKey>,
    ledger: PathBuf,
    sink: PathBuf,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// What was wrong, each said once.
    broken: Vec<String>,
    /// Passwords that somebody else set.
    outsiders: Vec<String>,
    /// What the ledger opened at the last look, from generation 1.
    generations: Vec<String>,
    /// What the sink held, in order.
    delivered: Vec<String>,
    /// How many passwords the instance had had at the last look at the sink.
    applied: usize,
    /// Up to which the ledger was compared.
    compared: usize,
}

impl Observer {
    pub fn new(cloud: Arc<Simulator>, key: SealingKey, ledger: PathBuf, sink: PathBuf) -> Self {
        Self {
            cloud,
            key: Arc::new(key),
            ledger,
            sink,
            seen: Arc::new(Mutex::new(Seen { applied: 1, compared: 1, ..Seen::default() })),
        }
    }

    /// Looks until the task is aborted.
    pub async fn watch(self) {
        loop {
            self.look_at_sink();
            if self.cloud.history(INSTANCE).len() > self.seen().compared {
                self.look_at_ledger("when the cloud applied it").await;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Somebody else is about to set this password.
    pub fn expect_outsider(&self, password: &str) {
        self.seen().outsiders.push(password.to_owned());
    }

    /// Whatever was wrong so far.
    pub fn broken(&self) -> Vec<String> {
        self.seen().broken.clone()
    }

    /// What the sink holds.
    pub fn in_sink(&self) -> Option<String> {
        fs::read_to_string(&self.sink).ok().map(|text| text.trim_end_matches('\n').to_owned())
    }

    /// What the instance lets in.
    pub fn live(&self) -> String {
        self.applied().pop().expect("there is a first password")
    }

    /// The sink holds what is live, or what was live a moment ago; and never an older one than before.
    pub fn look_at_sink(&self) {
        let held = self.in_sink();
        let applied = self.applied();
        let mut seen = self.seen();
        let live_from = seen.applied.saturating_sub(1);
        seen.applied = applied.len();
        let Some(held) = held.filter(|held| seen.delivered.last() != Some(held)) else {
            return;
        };
        if seen.delivered.contains(&held) {
            seen.say("the sink went back to an older password".to_owned());
        }
        if !applied[live_from..].contains(&held) {
            let before = applied.contains(&held);
            seen.say(format!(
                "the sink was given a password that is not live (it {} live before)",
                if before { "was" } else { "was never" }
            ));
        }
        seen.delivered.push(held);
    }

    /// Every password that our calls made live opens from the ledger; nothing that was in the ledger has changed or gone.
    pub async fn look_at_ledger(&self, when: &str) {
        // What was applied is read first: the ledger had it before the cloud did.
        let applied = self.applied();
        let generations = self.generations().await;
        let mut seen = self.seen();
        seen.compared = seen.compared.max(applied.len());
        for (number, password) in applied.iter().enumerate() {
            // The first one was set by hand; before it is adopted it is in the file that the operator wrote.
            let ours = number > 0 && !seen.outsiders.contains(password);
            if ours && !generations.contains(password) {
                seen.say(format!("{when}, password {number} of the instance is not in the ledger: it is lost"));
            }
        }
        if !generations.starts_with(&seen.generations) {
            let (before, after) = (seen.generations.len(), generations.len());
            seen.say(format!("{when}, the ledger's generations do not continue those before ({before}, now {after})"));
        }
        seen.generations = generations;
    }

    /// The record is whole.
    pub async fn audit(&self) {
        let audits = match Reader::open(&self.ledger, Some(&*self.key)) {
            Ok(reader) => reader.verify_all().await,
            Err(fault) => Err(fault),
        };
        let mut seen = self.seen();
        match audits {
            Ok(audits) => {
                let broken = audits.into_iter().filter_map(|audit| audit.broken);
                broken.for_each(|fault| seen.say(format!("the record is broken: {fault}")));
            }
            Err(fault) => seen.say(format!("the ledger does not open: {fault}")),
        }
    }

    /// All passwords of the ledger, from generation 1; none where there is no ledger yet.
    pub async fn generations(&self) -> Vec<String> {
        let mut found = Vec::new();
        let Ok(reader) = Reader::open(&self.ledger, Some(&*self.key)) else { return found };
        let target = TARGET.parse().unwrap();
        while let Ok(password) = reader.password(&target, Generation(found.len() as u64 + 1)).await {
            found.push(password.expose().to_owned());
        }
        found
    }

    fn applied(&self) -> Vec<String> {
        self.cloud.history(INSTANCE).into_iter().map(|applied| applied.password.expose().to_owned()).collect()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn say(&mut self, what: String) {
        if !self.broken.contains(&what) {
            self.broken.push(what);
        }
    }
}
