//! Which conditions hold that a person should know of. Pure: a look at the targets in, conditions out.

use crate::alert::{Event, Key};
use crate::driver::{Snapshot, Waits};
use crate::fault::Fault;
use crate::moment::Moment;
use crate::name::{ProviderName, TargetName};
use crate::rotation::waves::Stop;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long some conditions may last before anybody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// With doubt.
    pub doubt: Duration,
    /// With a sink that is behind.
    pub behind: Duration,
}

/// Something that holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Since when.
    pub since: Moment,
    /// When somebody is told, if it still holds then.
    pub ripe_at: Moment,
    /// What happened.
    pub what: String,
    /// What a person should do next.
    pub next_step: String,
}

/// All that hold, by what they are about.
pub type Conditions = BTreeMap<Key, Condition>;

/// What holds of one target. `before` is what held at the last look: what cannot be told now stays as it was, and what holds on began when it began.
pub fn of_target(snapshot: &Snapshot, patience: Patience, before: &Conditions, now: Moment) -> Conditions {
    let target = &snapshot.target;
    let mut holding = Conditions::new();
    let mut hold = |event: Event, part: Option<&str>, since: Moment, patience: Duration, what: String, next: &str| {
        let key = key(event, target.as_str(), part);
        let since = before.get(&key).map_or(since, |known| known.since.min(since));
        let next_step = next.replace(" TARGET", &format!(" {target}"));
        holding.insert(key, Condition { since, ripe_at: since + patience, what, next_step });
    };
    let explain = "`keywheel explain TARGET` says what happens next";
    if let Some(fault) = &snapshot.halt {
        let since = snapshot.halted_since.unwrap_or_default();
        hold(Event::Halted, None, since, Duration::ZERO, fault.what.clone(), &fault.next_step);
    }
    if let Some(since) = snapshot.doubt_since {
        let what = format!("nobody knows which password is live, and each that may be is kept: {}", snapshot.why);
        hold(Event::Doubt, None, since, patience.doubt, what, explain);
    }
    for sink in &snapshot.sinks {
        let Some(since) = sink.behind_since else { continue };
        let lacks = snapshot.generation.map_or_else(String::new, |current| format!(" generation {current}"));
        let (said, next) = match &sink.fault {
            Some(Fault { what, next_step, .. }) => (format!(": {what}"), next_step.as_str()),
            None => (String::new(), explain),
        };
        hold(Event::Behind, Some(sink.sink.as_str()), since, patience.behind, format!("it lacks{lacks}{said}"), next);
    }
    if let Some(since) = snapshot.too_old_since {
        let what = format!("the password is older than max-age: {}", snapshot.why);
        hold(Event::TooOld, None, since, Duration::ZERO, what, explain);
    }
    for (hook, fault) in &snapshot.untold {
        let since = snapshot.proof.map(|(_, proven_at)| proven_at).unwrap_or_default();
        let what = format!("it was not told of the last change, and is told of the next one: {}", fault.what);
        let next = "do by hand what it should have done, and mend it: nothing tells it again before the next change";
        hold(Event::Hook, Some(hook.as_str()), since, Duration::ZERO, what, next);
    }
    let waiting = key(Event::Waiting, target.as_str(), None);
    match (snapshot.waits, before.get(&waiting)) {
        // It is told of already.
        _ if snapshot.halt.is_some() => {}
        (Some(Waits::Alarmingly), known) => {
            let since = known.map_or(now, |known| known.since);
            hold(Event::Waiting, None, since, Duration::ZERO, snapshot.why.clone(), explain);
        }
        // Over only when one changes something: a slot that came to nothing is not mended by having passed.
        (Some(Waits::InPeace), known) if snapshot.abandoned.is_some() => {
            let since = known.map_or(now, |known| known.since);
            let fault = snapshot.abandoned.as_ref().map(|fault| fault.what.as_str()).unwrap_or_default();
            let what = format!("the last rotation ended and the password is as it was: {fault}");
            hold(Event::Waiting, None, since, Duration::ZERO, what, explain);
        }
        // A call that is out says nothing of the lock that held it off before.
        (None, Some(known)) => {
            holding.insert(waiting, known.clone());
        }
        (Some(Waits::InPeace), _) | (None, None) => {}
    }
    holding
}

/// What holds of a provider.
pub fn of_provider(provider: &ProviderName, worries: &[Fault], now: Moment) -> Conditions {
    let Some(fault) = worries.first() else { return Conditions::new() };
    let what = worries.iter().map(|fault| fault.what.as_str()).collect::<Vec<_>>().join(" ");
    let condition = Condition { since: now, ripe_at: now, what, next_step: fault.next_step.clone() };
    [(key(Event::Credentials, provider.as_str(), None), condition)].into()
}

/// What holds of an instance that was found and makes no target, told in a sentence.
pub fn of_left_out(sentence: &str, now: Moment) -> (Key, Condition) {
    let condition = Condition { since: now, ripe_at: now, what: sentence.to_owned(), next_step: String::new() };
    (key(Event::LeftOut, sentence, None), condition)
}

/// What holds of a selection whose targets follow each other.
pub fn of_waves(selection: &TargetName, stop: &Stop) -> (Key, Condition) {
    let next_step = format!("`keywheel explain {}` says what it needs; the others go on when it does", stop.halted);
    let condition = Condition { since: stop.since, ripe_at: stop.since, what: stop.to_string(), next_step };
    (key(Event::Waves, selection.as_str(), None), condition)
}

/// What holds of a target whose record cannot be read.
pub fn of_record(target: &TargetName, fault: &Fault, now: Moment) -> (Key, Condition) {
    let condition =
        Condition { since: now, ripe_at: now, what: fault.what.clone(), next_step: fault.next_step.clone() };
    (key(Event::Record, target.as_str(), None), condition)
}

fn key(event: Event, subject: &str, part: Option<&str>) -> Key {
    Key { event, subject: subject.to_owned(), part: part.map(str::to_owned) }
}
