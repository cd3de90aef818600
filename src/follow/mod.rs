//! The other half of a sidecar: what a rotator delivered somewhere is rendered here, again and again as it changes.
//!
//! Nothing is remembered but what the rendered files say themselves, so a start is a look like any other: the source is read, what differs is rendered,
//! and hooks are told. A hook is told once after a start as well, because nobody knows whether it was told before.
//!
//! A source that does not answer changes nothing: what was rendered last stays, and how old it is is said. One that goes back to an older generation is
//! not followed there.

pub mod application;
pub mod init;

use crate::chance::Chance;
use crate::clock::Clock;
use crate::fault::{Fault, Kind};
use crate::hook::{Hook, Notice};
use crate::moment::{Moment, show_span};
use crate::name::{Generation, HookName, SinkName, TargetName};
use crate::sink::{Document, Holds, Sink};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long a source may take to be read, whatever its own limits say.
const READ_LIMIT: Duration = Duration::from_secs(60);

/// The longest wait between two looks at a source that is down, unless it is looked at less often anyhow: so late is the first look at one that is back.
const BACKOFF_LIMIT: Duration = Duration::from_secs(10);

/// The longest wait before a hook that failed is told again.
const HOOK_BACKOFF_LIMIT: Duration = Duration::from_secs(60);

/// How often it is said again that a source is down.
const REMINDER: Duration = Duration::from_secs(5 * 60);

/// A target that is followed, with its hands.
pub struct Followed {
    /// Whose password it is.
    pub target: TargetName,
    /// Where it comes from.
    pub source: Arc<dyn Sink>,
    /// How often that is looked at.
    pub every: Duration,
    /// Where it is rendered.
    pub sinks: BTreeMap<SinkName, Arc<dyn Sink>>,
    /// Who is told.
    pub hooks: BTreeMap<HookName, Arc<dyn Hook>>,
}

/// What is known of one followed target.
#[derive(Debug, Clone)]
pub struct State {
    /// Whose.
    pub target: TargetName,
    /// The newest generation that was rendered since the start.
    pub generation: Option<Generation>,
    /// Whether every file is there, of this start or of one before.
    pub usable: bool,
    /// How often something was rendered.
    pub changes: u64,
    /// When the source was last in agreement with what is rendered.
    pub fresh_at: Option<Moment>,
    /// What is in the way since.
    pub trouble: Option<Fault>,
}

impl State {
    /// The state in one line, as of `now`.
    pub fn line(&self, now: Moment) -> String {
        let age = self.fresh_at.map(|at| show_span(now.since(at)));
        let target = &self.target;
        match (&self.trouble, self.generation, age) {
            (None, Some(generation), _) => format!("{target}: generation {generation}"),
            (None, None, _) => format!("{target}: not looked at yet"),
            (Some(fault), Some(generation), Some(age)) => {
                format!("{target}: keeps generation {generation}, seen {age} ago: {}", fault.what)
            }
            (Some(fault), _, _) if self.usable => {
                format!("{target}: keeps what an earlier start rendered: {}", fault.what)
            }
            (Some(fault), _, _) => format!("{target}: nothing yet: {}", fault.what),
        }
    }
}

/// Follows one target.
pub struct Follower {
    followed: Followed,
    clock: Arc<dyn Clock>,
    chance: Arc<dyn Chance>,
    state: watch::Sender<State>,
    /// What each hook is to hear; the newest counts.
    notices: Vec<watch::Sender<Option<Notice>>>,
    /// What they were told last.
    notice: Option<Notice>,
    /// Whether something was rendered that nobody was told of, because something else could not be.
    owed: bool,
    said_at: Option<Moment>,
}

impl Follower {
    /// One that has looked at nothing yet. Its hooks are told for as long as it lives.
    pub fn new(followed: Followed, clock: Arc<dyn Clock>, chance: Arc<dyn Chance>) -> Self {
        let state = State {
            target: followed.target.clone(),
            generation: None,
            usable: false,
            changes: 0,
            fresh_at: None,
            trouble: None,
        };
        let tell = |(name, hook): (&HookName, &Arc<dyn Hook>)| {
            let (notice, heard) = watch::channel(None);
            let herald = Herald { name: name.clone(), hook: Arc::clone(hook), clock: Arc::clone(&clock) };
            tokio::spawn(herald.tell(heard));
            notice
        };
        let notices = followed.hooks.iter().map(tell).collect();
        Self {
            followed,
            clock,
            chance,
            state: watch::channel(state).0,
            notices,
            notice: None,
            owed: false,
            said_at: None,
        }
    }

    /// What is known from now on.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Looks until it is told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut failures = 0;
        loop {
            failures = match self.look().await {
                Ok(()) => 0,
                // The source answers, and may say something better at any moment.
                Err(fault) if [Kind::SecretUnreadable, Kind::SinkNewer].contains(&fault.kind) => 0,
                Err(_told) => failures + 1,
            };
            let pause = pause(self.followed.every, failures, self.chance.bits());
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.clock.sleep(pause) => {}
            }
        }
    }

    /// One look, and everything that follows from it.
    ///
    /// # Errors
    /// What kept it from being looked at or rendered; it is logged, and in the state.
    pub async fn look(&mut self) -> Result<(), Fault> {
        let outcome = match self.read().await {
            Ok(document) => self.render(&document).await.map(|changed| (document, changed)),
            Err(fault) => Err(fault),
        };
        let now = self.clock.now();
        match outcome {
            Ok((document, changed)) => {
                self.agree(&document, changed, now);
                Ok(())
            }
            Err(fault) => {
                self.disagree(&fault, now).await;
                Err(fault)
            }
        }
    }

    /// What hooks were told last.
    pub fn notice(&self) -> Option<&Notice> {
        self.notice.as_ref()
    }

    async fn read(&self) -> Result<Document, Fault> {
        let Followed { source, target, .. } = &self.followed;
        let read = tokio::time::timeout(READ_LIMIT, source.copy(target)).await.unwrap_or_else(|_elapsed| {
            let what = format!("{} gave no answer in {}", source.place(), show_span(READ_LIMIT));
            Err(Fault::new(Kind::SinkUnavailable, what))
        });
        let document = read?.ok_or_else(|| {
            let what = format!("{} holds no password of {target} yet", source.place());
            Fault::new(Kind::SecretUnreadable, what).advise("let the rotator deliver it there")
        })?;
        match self.state.borrow().generation.filter(|held| *held > document.generation) {
            None => Ok(document),
            Some(held) => Err(Fault::new(
                Kind::SinkNewer,
                format!("{} went back to generation {}; {held} stays rendered", source.place(), document.generation),
            )
            .advise("find out who else writes to the source; to follow it all the same, remove what is rendered and start again")),
        }
    }

    /// Brings every file to this generation. Whether any had to be written.
    async fn render(&mut self, document: &Document) -> Result<bool, Fault> {
        let mut changed = false;
        let mut trouble = None;
        for (name, sink) in &self.followed.sinks {
            let done = match sink.holds(document).await {
                Ok(Holds::Same) => Ok(false),
                // What cannot be compared is written anew; a file that cannot be written either says why.
                Ok(Holds::Other | Holds::Absent | Holds::CannotTell) | Err(_) => {
                    sink.deliver(document).await.map(|()| true)
                }
            };
            match done {
                Ok(written) => changed |= written,
                Err(fault) => {
                    trouble.get_or_insert(Fault { what: format!("the sink {name}: {}", fault.what), ..fault });
                }
            }
        }
        match trouble {
            None => Ok(changed),
            Some(fault) => {
                // Those who read the files that were written are not kept waiting for the others.
                if changed {
                    self.owed = true;
                    self.state.send_modify(|state| state.changes += 1);
                }
                Err(fault)
            }
        }
    }

    fn agree(&mut self, document: &Document, changed: bool, now: Moment) {
        let target = &self.followed.target;
        let generation = document.generation;
        let before = self.state.borrow().clone();
        let first = before.generation.is_none();
        if changed {
            tracing::info!(%target, %generation, source = %self.followed.source.place(), "rendered");
        } else if first {
            tracing::info!(%target, %generation, "everything is rendered already");
        } else if before.trouble.is_some() {
            tracing::info!(%target, %generation, "the source is followed again; nothing has changed");
        }
        self.said_at = None;
        let news = changed || first || std::mem::take(&mut self.owed);
        self.state.send_modify(|state| {
            state.generation = Some(generation);
            state.usable = true;
            state.changes += u64::from(changed);
            state.fresh_at = Some(now);
            state.trouble = None;
        });
        if !news {
            return;
        }
        self.owed = false;
        let again = self.notice.as_ref().filter(|told| told.generation == generation);
        let notice = Notice {
            target: target.clone(),
            generation,
            rotation: document.rotation,
            telling: again.map_or(1, |told| told.telling + 1),
            others: BTreeMap::new(),
        };
        for hook in &self.notices {
            hook.send_replace(Some(notice.clone()));
        }
        self.notice = Some(notice);
    }

    async fn disagree(&mut self, fault: &Fault, now: Moment) {
        // What an earlier start rendered is better than nothing.
        let mut usable = self.state.borrow().usable;
        if !usable {
            usable = true;
            for sink in self.followed.sinks.values() {
                usable &= !sink.has_lost_it().await;
            }
        }
        let said = self.state.borrow().trouble.as_ref().is_some_and(|said| said.what == fault.what);
        self.state.send_modify(|state| {
            state.usable = usable;
            state.trouble = Some(fault.clone());
        });
        let quiet = said && self.said_at.is_some_and(|at| now.since(at) < REMINDER);
        if !quiet {
            self.said_at = Some(now);
            let line = self.state.borrow().line(now);
            tracing::warn!(target = %self.followed.target, "{line}. Next: {}", fault.next_step);
        }
    }
}

/// How long to wait before the next look. Never in step with others: a tenth more or less while all is well, and up to twice as long each time while it
/// is not.
fn pause(every: Duration, failures: u32, bits: u128) -> Duration {
    // 32 bits are finer than anybody's clock.
    let share = f64::from((bits & u128::from(u32::MAX)) as u32) / f64::from(u32::MAX);
    if failures == 0 {
        return every.mul_f64(0.9 + share * 0.2);
    }
    let longest = every.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(BACKOFF_LIMIT.max(every));
    every + longest.saturating_sub(every).mul_f64(share)
}

/// Tells one hook.
struct Herald {
    name: HookName,
    hook: Arc<dyn Hook>,
    clock: Arc<dyn Clock>,
}

impl Herald {
    /// Tells the newest notice, again with growing pauses where that fails, until there is a newer one.
    async fn tell(self, mut heard: watch::Receiver<Option<Notice>>) {
        while heard.changed().await.is_ok() {
            let mut pause = Duration::from_secs(1);
            loop {
                let Some(notice) = heard.borrow_and_update().clone() else { break };
                let Err(fault) = self.hook.tell(&notice).await else {
                    tracing::info!(target = %notice.target, generation = %notice.generation, hook = %self.name, "told");
                    break;
                };
                tracing::warn!(target = %notice.target, hook = %self.name, %fault, "the hook failed; it is told again in {}", show_span(pause));
                tokio::select! {
                    () = self.clock.sleep(pause) => pause = (pause * 2).min(HOOK_BACKOFF_LIMIT),
                    changed = heard.changed() => if changed.is_err() {
                        return;
                    },
                }
            }
        }
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Follower({})", self.followed.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_never_in_step_and_back_off_within_limits() {
        let second = Duration::from_secs(1);
        for (failures, bits, least, most) in [
            (0, 0, 900, 900),
            (0, u128::MAX, 1_100, 1_100),
            (1, 0, 1_000, 1_000),
            (1, u128::MAX, 2_000, 2_000),
            (3, u128::MAX, 8_000, 8_000),
            (400, u128::MAX, 10_000, 10_000),
            (400, 1 << 31, 5_000, 6_000),
        ] {
            let pause = pause(second, failures, bits).as_millis();
            assert!((least..=most).contains(&pause), "{failures} {bits}: {pause}");
        }
        let slow = Duration::from_secs(600);
        assert_eq!(pause(slow, 7, u128::MAX), slow, "a source that is seldom looked at is not looked at more seldom");
    }
}
