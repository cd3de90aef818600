//! Looks on without asking keywheel: what the cloud applied to each account, what the ledger opens, what stands in the sink.

use super::case::{Case, Which};
use crate::record::Record;
use keywheel::simulator::Simulator;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(4);

/// The onlooker. Cloned into the task that looks all the time.
#[derive(Clone)]
pub struct Observer {
    case: &'static Case,
    cloud: Arc<Simulator>,
    record: Arc<Record>,
    sink: PathBuf,
    seen: Arc<Mutex<Seen>>,
    /// Held while it looks, or while nobody must.
    still: Arc<tokio::sync::Mutex<()>>,
}

/// What a consumer finds in the sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The account beside the default one that it is for.
    pub account: Option<String>,
    /// The account's password, without the account's name before it.
    pub password: String,
}

#[derive(Default)]
struct Seen {
    /// What was wrong, each said once.
    broken: Vec<String>,
    /// Whether a pair's accounts are rotated in turn.
    in_turn: bool,
    /// Passwords that somebody else set.
    outsiders: Vec<String>,
    /// What the ledger opened at the last look, from generation 1.
    generations: Vec<String>,
    /// What the sink held, in order.
    delivered: Vec<Held>,
    /// How many passwords each account had had at the last look at the sink.
    applied: BTreeMap<Option<String>, usize>,
    /// Up to how many passwords in all the ledger was compared.
    compared: usize,
}

impl Observer {
    pub fn new(case: &'static Case, cloud: Arc<Simulator>, record: Arc<Record>, sink: PathBuf) -> Self {
        Self { case, cloud, record, sink, seen: Arc::default(), still: Arc::default() }
    }

    /// Looks until the task is aborted.
    pub async fn watch(self) {
        loop {
            let looking = self.still.lock().await;
            self.look_at_sink();
            if self.applied_in_all() > self.seen().compared {
                self.look_at_ledger("when the cloud applied it").await;
            }
            drop(looking);
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Somebody else is about to set this password.
    pub fn expect_outsider(&self, password: &str) {
        self.seen().outsiders.push(password.to_owned());
    }

    /// There is more than one rotation, so both accounts of a pair change.
    pub fn expect_turns(&self) {
        self.seen().in_turn = true;
    }

    /// While this is held, the watching task has no file open.
    pub async fn hold_still(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.still).lock_owned().await
    }

    /// What was seen but not flushed may be gone: the newest generations, and the newest document of the sink. What the cloud was told of must be there
    /// all the same. A sink in memory is empty.
    pub async fn power_was_cut(&self, sink_in_memory: bool) {
        let generations = self.record.generations().await;
        let held = self.in_sink();
        let mut seen = self.seen();
        if !seen.generations.starts_with(&generations) && !generations.starts_with(&seen.generations) {
            seen.say("after the power cut, the ledger's generations were others than before".to_owned());
        }
        seen.generations = generations;
        let place = held.as_ref().and_then(|held| seen.delivered.iter().position(|before| before == held));
        match (held, place) {
            (Some(_), Some(place)) => seen.delivered.truncate(place + 1),
            // It was put there after the last look.
            (Some(_), None) => {}
            (None, _) if sink_in_memory => seen.delivered.clear(),
            (None, _) => {
                let lost_one = seen.delivered.len() > 1;
                seen.delivered.clear();
                // The first one may not have reached the disk; after that there is always an older one.
                if lost_one {
                    seen.say("after the power cut, the sink was empty".to_owned());
                }
            }
        }
    }

    /// Whatever was wrong so far.
    pub fn broken(&self) -> Vec<String> {
        self.seen().broken.clone()
    }

    /// What the sink holds; nothing before the first delivery.
    pub fn in_sink(&self) -> Option<Held> {
        let text = fs::read_to_string(&self.sink).ok()?;
        let Ok(document) = serde_json::from_str::<Value>(&text) else {
            self.seen().say("the sink held something that is not a whole document".to_owned());
            return None;
        };
        let word = |key: &str| document[key].as_str().map(str::to_owned);
        let account =
            word("account").filter(|name| [Which::First, Which::Second].iter().any(|it| it.name() == Some(name)));
        let sent = word("password").unwrap_or_default();
        // Where a client sends no user name, the account stands before its password.
        let alone = account.as_deref().and_then(|name| sent.strip_prefix(name)?.strip_prefix(['@', ':']));
        let password = alone.map_or(sent.clone(), str::to_owned);
        Some(Held { account, password })
    }

    /// What an account lets in.
    pub fn live_on(&self, which: Which) -> String {
        self.applied(which.name()).pop().expect("there is a first password")
    }

    /// The sink holds what is live on the account that it names, or was a moment ago; and never an older document than before.
    pub fn look_at_sink(&self) {
        let held = self.in_sink();
        let accounts = [None, Which::First.name(), Which::Second.name()];
        let applied = accounts.map(|name| (name.map(str::to_owned), self.applied(name)));
        let mut seen = self.seen();
        let before = applied.iter().map(|(name, passwords)| (name.clone(), passwords.len())).collect();
        let before = std::mem::replace(&mut seen.applied, before);
        let Some(held) = held.filter(|held| seen.delivered.last() != Some(held)) else {
            return;
        };
        if seen.delivered.contains(&held) {
            seen.say("the sink went back to an older password".to_owned());
        }
        let of = applied.iter().find(|(name, _)| *name == held.account).map(|(_, passwords)| passwords.as_slice());
        let of = of.unwrap_or_default();
        let live_from = before.get(&held.account).copied().unwrap_or(1).saturating_sub(1);
        if !of[live_from..].contains(&held.password) {
            let before = of.contains(&held.password);
            seen.say(format!(
                "the sink was given a password that does not open the account it names, {:?} (it {} before)",
                held.account,
                if before { "did" } else { "never did" }
            ));
        }
        seen.delivered.push(held);
    }

    /// Every password that our calls made live opens from the ledger; nothing that was in the ledger has changed or gone; no account but the one that
    /// the rotation is for has changed.
    pub async fn look_at_ledger(&self, when: &str) {
        // What was applied is read first: the ledger had it before the cloud did.
        let compared = self.applied_in_all();
        let in_turn = self.case.active.filter(|_| self.seen().in_turn);
        let (ours, others): (Vec<Which>, Vec<Which>) = [Which::Default, Which::First, Which::Second]
            .into_iter()
            .partition(|it| *it == self.case.account || Some(*it) == in_turn);
        let applied: Vec<(usize, String)> =
            ours.into_iter().flat_map(|which| self.applied(which.name()).into_iter().enumerate()).collect();
        let touched: Vec<Which> = others.into_iter().filter(|it| self.applied(it.name()).len() > 1).collect();
        let generations = self.record.generations().await;
        let mut seen = self.seen();
        seen.compared = seen.compared.max(compared);
        for (number, password) in &applied {
            // The first one was set by hand; before it is adopted it is in the file that the operator wrote.
            let ours = *number > 0 && !seen.outsiders.contains(password);
            if ours && !generations.contains(password) {
                seen.say(format!("{when}, password {number} of the instance is not in the ledger: it is lost"));
            }
        }
        if !touched.is_empty() {
            seen.say(format!("{when}, accounts had changed that the rotation was not for: {touched:?}"));
        }
        if !generations.starts_with(&seen.generations) {
            let (before, after) = (seen.generations.len(), generations.len());
            seen.say(format!("{when}, the ledger's generations do not continue those before ({before}, now {after})"));
        }
        seen.generations = generations;
    }

    /// The record is whole.
    pub async fn audit(&self) {
        let broken = self.record.broken().await;
        let mut seen = self.seen();
        broken.into_iter().for_each(|what| seen.say(what));
    }

    /// Every password that an account ever had, the live one last.
    fn applied(&self, account: Option<&str>) -> Vec<String> {
        let instance = self.case.instance();
        let history = match account {
            None => self.cloud.history(instance),
            Some(name) => self.cloud.account_history(instance, name),
        };
        history.into_iter().map(|applied| applied.password.expose().to_owned()).collect()
    }

    fn applied_in_all(&self) -> usize {
        [None, Which::First.name(), Which::Second.name()].into_iter().map(|name| self.applied(name).len()).sum()
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
