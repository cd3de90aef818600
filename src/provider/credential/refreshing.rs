//! A temporary credential that is renewed before it ends, once for everybody who needs it.
//!
//! Users take the held credential as long as it can be used. A task of its own renews it ahead of its end; if that fails, the old one
//! stays, one warning says so, and the task tries again with back-off. Only a user who finds nothing usable waits for a renewal, and
//! all who wait share one.

use super::{Credential, CredentialSource, Surroundings};
use crate::fault::{Fault, Kind, Retry};
use crate::moment::Moment;
use async_trait::async_trait;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// This long before its end a credential is no longer begun to be used, if another one can be had: a request takes time, and clocks differ.
const LAST_MOMENTS: Duration = Duration::from_secs(30);
/// Of a short life, the last moments are this part.
const LAST_PART: u32 = 10;
/// The longest sleep between two looks at the clock, which may jump.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// The first and the longest wait after a failed renewal.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How long to wait where the source gave the same credential again: it has no newer one yet.
const SAME_AGAIN: Duration = Duration::from_secs(60);

/// Gives a new temporary credential each time it is asked.
///
/// Duties: return within a bounded time; say in the fault which service said what.
#[async_trait]
pub trait Issuer: Send + Sync {
    /// A credential and the moment at which it ends. It may be the same as before where the service has no newer one.
    ///
    /// # Errors
    /// Why there is none; `retry` says whether it may pass by itself.
    async fn issue(&self) -> Result<(Credential, Moment), Fault>;
}

/// When a renewal begins: at the earliest of these.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// This long before the end, but not before half of the life has passed.
    pub before_end: Duration,
    /// Once this share of the life has passed, in percent.
    pub after_share: Option<u32>,
    /// This long after the last renewal.
    pub after_renewal: Option<Duration>,
}

impl Window {
    fn opens(&self, since: Moment, ends: Moment) -> Moment {
        let life = ends.since(since);
        let mut opens = ends - self.before_end.min(life / 2);
        if let Some(share) = self.after_share {
            opens = opens.min(since + life * share / 100);
        }
        if let Some(span) = self.after_renewal {
            opens = opens.min(since + span);
        }
        opens
    }
}

/// A source that keeps a temporary credential fresh. Dropping it ends its task.
pub struct Refreshing {
    shared: Arc<Shared>,
    minder: OnceLock<Minder>,
}

struct Minder(AbortHandle);

impl Drop for Minder {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Shared {
    /// Such as "the instance role of Tencent Cloud".
    name: String,
    issuer: Box<dyn Issuer>,
    window: Window,
    surroundings: Surroundings,
    state: Mutex<State>,
    /// Who has it renews.
    turn: tokio::sync::Mutex<()>,
    /// Tells the minder that there is another credential to mind.
    changed: Notify,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// Renewals that ended, well or not.
    renewals: u64,
    /// Failures in a row, and the last of them.
    failures: u32,
    failure: Option<Fault>,
    /// No renewal begins before.
    not_before: Moment,
}

#[derive(Clone)]
struct Held {
    credential: Credential,
    since: Moment,
    ends: Moment,
}

impl Held {
    fn is_good(&self, now: Moment) -> bool {
        now < self.ends
    }

    fn is_fresh(&self, now: Moment) -> bool {
        now + LAST_MOMENTS.min(self.ends.since(self.since) / LAST_PART) < self.ends
    }
}

impl Refreshing {
    /// Keeps what this issuer gives. `name` stands in faults and in the log: "the instance role of Tencent Cloud".
    pub fn new(name: String, issuer: Box<dyn Issuer>, window: Window, surroundings: Surroundings) -> Self {
        let shared = Shared {
            name,
            issuer,
            window,
            surroundings,
            state: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            changed: Notify::new(),
        };
        Self { shared: Arc::new(shared), minder: OnceLock::new() }
    }

    /// The task that renews ahead of the end; it begins with the first use.
    fn mind(&self) {
        self.minder.get_or_init(|| {
            let shared = Arc::clone(&self.shared);
            Minder(tokio::spawn(async move { shared.mind().await }).abort_handle())
        });
    }
}

#[async_trait]
impl CredentialSource for Refreshing {
    async fn credential(&self) -> Result<Credential, Fault> {
        self.mind();
        let seen = {
            let state = self.shared.state();
            match &state.held {
                Some(held) if held.is_fresh(self.shared.now()) => return Ok(held.credential.clone()),
                Some(_) | None => state.renewals,
            }
        };
        let renewed = self.shared.renew(seen).await;
        renewed.or_else(|fault| {
            // In its last moments the old one is better than none.
            let now = self.shared.now();
            let held = self.shared.state().held.clone();
            match held {
                Some(held) if held.is_good(now) => Ok(held.credential),
                Some(held) => Err(ended(&self.shared.name, held.ends, fault)),
                None => Err(fault),
            }
        })
    }

    async fn renewed(&self, refused: &Credential) -> Result<Credential, Fault> {
        self.mind();
        let seen = {
            let state = self.shared.state();
            match &state.held {
                // Somebody else was refused the same one, and has renewed it since.
                Some(held) if !held.credential.is(refused) => return Ok(held.credential.clone()),
                Some(_) | None => state.renewals,
            }
        };
        self.shared.renew(seen).await
    }

    fn ends(&self) -> Option<Moment> {
        self.shared.state().held.as_ref().map(|held| held.ends)
    }
}

impl Shared {
    fn now(&self) -> Moment {
        self.surroundings.clock.now()
    }

    /// The state, for a moment: never held across an await.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One renewal for all who saw that one is needed after `seen` of them: whoever comes second shares the outcome of the first.
    async fn renew(&self, seen: u64) -> Result<Credential, Fault> {
        let _turn = self.turn.lock().await;
        {
            let state = self.state();
            let now = self.now();
            match (&state.failure, &state.held) {
                (None, Some(held)) if state.renewals != seen => return Ok(held.credential.clone()),
                // Shortly after a failure nobody asks again: a source that is down is not hammered.
                (Some(fault), _) if now < state.not_before => {
                    return Err(later(fault.clone(), state.not_before.since(now)));
                }
                (None, Some(held)) if now < state.not_before => return Ok(held.credential.clone()),
                (Some(fault), _) if state.renewals != seen => return Err(fault.clone()),
                (Some(_) | None, Some(_) | None) => {}
            }
        }
        let issued = self.issuer.issue().await;
        self.take(issued)
    }

    /// Keeps what a renewal brought.
    fn take(&self, issued: Result<(Credential, Moment), Fault>) -> Result<Credential, Fault> {
        let now = self.now();
        let issued =
            issued.and_then(
                |(credential, ends)| {
                    if ends > now { Ok((credential, ends)) } else { Err(stillborn(&self.name, ends)) }
                },
            );
        let mut state = self.state();
        state.renewals += 1;
        let outcome = match issued {
            Ok((credential, ends)) => {
                let credential = credential.until(ends);
                let same = state.held.as_ref().filter(|held| held.credential.is(&credential)).map(|held| held.since);
                state.not_before = if same.is_some() { now + SAME_AGAIN } else { now };
                state.held = Some(Held { credential: credential.clone(), since: same.unwrap_or(now), ends });
                if state.failures > 0 {
                    tracing::info!(source = %self.name, until = %ends, "the credential is renewed again");
                }
                (state.failures, state.failure) = (0, None);
                Ok(credential)
            }
            Err(fault) => {
                state.failures = state.failures.saturating_add(1);
                state.not_before = now + self.pause(state.failures);
                if let Some(held) = state.held.as_ref().filter(|held| state.failures == 1 && held.is_good(now)) {
                    tracing::warn!(
                        source = %self.name, until = %held.ends, %fault,
                        "the credential could not be renewed; the old one is used until it ends, and renewing is tried again"
                    );
                }
                state.failure = Some(fault.clone());
                Err(fault)
            }
        };
        drop(state);
        self.changed.notify_one();
        outcome
    }

    /// Doubles with each failure in a row; the second half of it is drawn.
    fn pause(&self, failures: u32) -> Duration {
        let doubled = BACKOFF.0.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(BACKOFF.1);
        let drawn = u32::try_from((self.surroundings.bits)() % 1_000).unwrap_or(0);
        doubled / 2 + doubled / 2 * drawn / 1_000
    }

    /// Renews whenever it is time, without end.
    async fn mind(&self) {
        loop {
            let (due, seen) = {
                let state = self.state();
                let due = match &state.held {
                    Some(held) => self.window.opens(held.since, held.ends).max(state.not_before),
                    // Whoever needs the first one fetches it.
                    None => Moment::NEVER,
                };
                (due, state.renewals)
            };
            let now = self.now();
            if now < due {
                tokio::select! {
                    () = self.surroundings.clock.sleep(due.since(now).min(LOOK_AGAIN)) => {}
                    () = self.changed.notified() => {}
                }
                continue;
            }
            // What became of it is kept, and told to whoever needs it.
            drop(self.renew(seen).await);
        }
    }
}

/// The fault of a service, where the credential it gave before has ended.
fn ended(name: &str, ends: Moment, fault: Fault) -> Fault {
    let what = format!("The credential of {name} ended at {ends}, and there is no new one: {}", fault.what);
    Fault { what: Fault::new(fault.kind, what).what, ..fault }
}

fn stillborn(name: &str, ends: Moment) -> Fault {
    let what = format!("{name} gave a credential that ended at {ends}, which is past by this machine's clock");
    let mut fault = Fault::new(Kind::ClockSkew, what).advise("check this machine's clock (timedatectl, chrony)");
    fault.retry = Retry::Later;
    fault
}

fn later(fault: Fault, span: Duration) -> Fault {
    match fault.retry {
        Retry::Never => fault,
        Retry::Later | Retry::AfterMillis(_) => fault.after(span),
    }
}

#[cfg(test)]
mod tests;
