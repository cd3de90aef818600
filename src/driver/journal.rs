//! One target's record in the hands of its turn: events are applied as they happen and written before anything outside happens.

use super::Tools;
use super::happening::Happenings;
use super::tally::{Count, Tally, counts};
use super::target::Target;
use super::waves::Boards;
use crate::clock::Clock;
use crate::fault::{Fault, Kind};
use crate::ledger::{CLAIM_LASTS, Claim, Entry, Projection};
use crate::moment::Moment;
use crate::name::{Generation, RotationId};
use crate::rotation::answer::Login;
use crate::rotation::event::{Event, What};
use crate::rotation::state::{Phase, State};
use crate::rotation::{apply, fold};
use crate::secret::Secret;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Looks that may wait for the next commit. More would mean that `status` knows nothing of a long search.
const LOOKS_UNWRITTEN: usize = 6;

/// A claim that nothing was appended to for longer than this is renewed before anything more is done outside.
const RENEWED_AFTER: Duration = Duration::from_secs(CLAIM_LASTS.as_secs() / 2);

fn is_stale(clock: &dyn Clock, ours_at: Moment) -> bool {
    clock.now().since(ours_at) > RENEWED_AFTER
}

/// A claim, the state its events make, and what is not written yet.
pub(super) struct Journal<'a> {
    target: &'a Target,
    clock: &'a dyn Clock,
    claim: Box<dyn Claim>,
    /// When the claim was last certainly ours: just before it was taken or appended to.
    ours_at: Moment,
    state: State,
    pending: Vec<Entry>,
    /// What each of those counts for, once it is written.
    uncounted: Vec<Vec<Count>>,
    tally: &'a Tally,
    happenings: &'a Happenings,
    boards: &'a Boards,
    written: Option<Projection>,
    /// Nothing is done for the open rotation until its preflight begins anew: its instance may be another one's until then.
    waits: bool,
}

impl<'a> Journal<'a> {
    /// Claims the target and folds its events; `None` while somebody else holds it.
    pub(super) async fn open(
        tools: &'a Tools,
        target: &'a Target,
        (tally, happenings, boards): (&'a Tally, &'a Happenings, &'a Boards),
    ) -> Result<Option<Self>, Fault> {
        let clock = &*tools.clock;
        let ours_at = clock.now();
        let Some(claim) = tools.ledger.claim(&target.name, ours_at).await? else {
            return Ok(None);
        };
        let rows = tools.ledger.recent(&target.name).await?;
        let state = fold(rows.iter().map(|row| &row.event))
            .map_err(|illegal| Fault::new(Kind::LedgerCorrupt, format!("target {}: {illegal}", target.name)))?;
        let (pending, uncounted) = (Vec::new(), Vec::new());
        Ok(Some(Self {
            target,
            clock,
            claim,
            ours_at,
            state,
            pending,
            uncounted,
            tally,
            happenings,
            boards,
            written: None,
            waits: true,
        }))
    }

    /// The outcome of work outside, which may take as long as it takes. Before each of its steps the claim is certainly ours: in good time it is renewed, and
    /// the time is looked at before a step and not after it. So a process that stood still, and was overtaken meanwhile, does nothing any more that it had
    /// decided on before. The fencing number alone would only keep it from writing.
    ///
    /// # Errors
    /// `ClaimLost` where it was overtaken, and whatever else an append may fail with: the work is dropped where it stands.
    pub(super) async fn while_ours<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Fault> {
        let mut work = pin!(work);
        loop {
            let (clock, ours_at) = (self.clock, self.ours_at);
            let left = RENEWED_AFTER.saturating_sub(clock.now().since(ours_at));
            // The timer wakes work that makes no step. The clock also counts the time for which the machine slept.
            let mut renewal = pin!(clock.sleep(left + Duration::from_millis(1)));
            let done = poll_fn(|context| {
                let is_time = renewal.as_mut().poll(context).is_ready();
                if is_time || is_stale(clock, ours_at) {
                    return Poll::Ready(None);
                }
                work.as_mut().poll(context).map(Some)
            });
            match done.await {
                Some(done) => return Ok(done),
                None => self.renew().await?,
            }
        }
    }

    /// Writes, if only that the claim is still ours.
    async fn renew(&mut self) -> Result<(), Fault> {
        let known = self.written.as_ref().map(|written| (written.wake_at, written.why.clone()));
        let (wake_at, why) = known.unwrap_or_else(|| (self.clock.now(), "under way".to_owned()));
        self.write(wake_at, &why).await
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// The open rotation's id.
    pub(super) fn rotation(&self) -> Option<RotationId> {
        self.state.open.as_ref().map(|open| open.id)
    }

    /// Something happened.
    pub(super) fn note(&mut self, at: Moment, what: What) -> Result<(), Fault> {
        self.note_with(at, what, None)
    }

    /// Something happened that brings a password into the ledger.
    pub(super) fn note_with(
        &mut self,
        at: Moment,
        what: What,
        password: Option<(Generation, Secret)>,
    ) -> Result<(), Fault> {
        let event = Event { at, what };
        let before = self.rotation();
        let next = apply(self.state.clone(), &event).map_err(|illegal| Fault::new(Kind::Bug, illegal.to_string()))?;
        self.uncounted.push(counts(&self.state, &event, &next));
        self.state = next;
        let rotation = self.rotation().or(before);
        tell(&event.what, rotation);
        self.pending.push(Entry { event, rotation, password });
        Ok(())
    }

    /// Writes what is pending: durable when this returns. After an error the journal must not be used again.
    pub(super) async fn write(&mut self, wake_at: Moment, why: &str) -> Result<(), Fault> {
        let projection = self.projection(wake_at, why);
        if self.pending.is_empty() && self.written.as_ref() == Some(&projection) && !is_stale(self.clock, self.ours_at)
        {
            return Ok(());
        }
        let ours_at = self.clock.now();
        self.claim.append(&self.pending, &projection).await?;
        self.ours_at = ours_at;
        self.happenings.tell(&self.target.name, &self.pending);
        self.boards.note(self.target, &self.state, ours_at);
        self.pending.clear();
        self.uncounted.drain(..).flatten().for_each(|count| self.tally.add(count));
        self.written = Some(projection);
        Ok(())
    }

    /// Forgets a `began` that could not be written because another target holds the instance, and sleeps until `wake_at`. What happened before it
    /// in the same transaction is written.
    pub(super) async fn stand_back(mut self, before: State, wake_at: Moment, why: &str) -> Result<(), Fault> {
        self.pending.pop();
        self.uncounted.pop();
        self.state = before;
        self.write(wake_at, why).await
    }

    /// A rotation is to begin: its instance is to be its own.
    pub(super) const fn holds(&mut self) {
        self.waits = false;
    }

    /// Nothing more is done before a wait has ended.
    pub(super) const fn waits(&mut self) {
        self.waits = true;
    }

    /// Takes the instance for a preflight, durably, where it was let go.
    ///
    /// # Errors
    /// `Busy` while another target has it: then the rotation goes on waiting.
    pub(super) async fn take_hold(&mut self, now: Moment) -> Result<(), Fault> {
        self.waits = false;
        let outcome = self.write(now, "under way").await;
        self.waits = outcome.is_err();
        outcome
    }

    /// Whether everything that happened is durable.
    pub(super) fn is_written(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether nothing is pending but a little evidence that can be had again.
    pub(super) fn holds_only_looks(&self) -> bool {
        self.pending.len() <= LOOKS_UNWRITTEN && self.pending.iter().all(|entry| entry.event.what.is_look())
    }

    fn projection(&self, wake_at: Moment, why: &str) -> Projection {
        // What sent nothing and is to look at its instance again before it does has no part in it meanwhile.
        let halted = self.state.halt.is_some();
        let lets_go = |phase: &Phase| self.waits && self.state.is_untouched() && (halted || *phase == Phase::Begun);
        let holding = |phase: &Phase| !matches!(phase, Phase::Proven { .. }) && !lets_go(phase);
        let holding = self.state.open.as_ref().is_some_and(|open| holding(&open.phase));
        Projection {
            wake_at,
            label: self.state.label(),
            why: why.to_owned(),
            generation: self.state.standing.current.as_ref().map(|current| current.generation).unwrap_or_default(),
            holds: holding.then(|| self.target.instance_key.clone()),
        }
    }
}

/// One line per event, at the level that says who must act.
fn tell(what: &What, rotation: Option<RotationId>) {
    let rotation = rotation.map(|id| id.to_string()).unwrap_or_default();
    let label = what.label();
    match what {
        What::Halted { fault } => tracing::error!(rotation, event = label, %fault, "halted: a person is needed"),
        What::Blocked { fault }
        | What::DeliveryFailed { fault, .. }
        | What::HookFailed { fault, .. }
        | What::Abandoned { fault }
        | What::Discarded { fault, .. } => tracing::warn!(rotation, event = label, %fault, "it did not go as planned"),
        What::SinkLost { sink } => {
            tracing::warn!(rotation, event = label, %sink, "the sink lost its password, or should hold it otherwise, and gets it again")
        }
        What::SinkDiffers { sink } => {
            tracing::warn!(event = label, %sink, "the sink holds something else than was delivered to it")
        }
        What::RetireFailed { generation, fault } => {
            tracing::warn!(event = label, %generation, %fault, "the former password is still valid somewhere")
        }
        What::Retired { generation } => tracing::info!(event = label, %generation, "the former password is gone"),
        What::Verified { login: Login::Refused } => {
            tracing::warn!(event = label, "the instance refuses the current password")
        }
        What::SlotPassed { slot } => {
            tracing::warn!(rotation, event = label, slot = %slot.nominal, "a slot passed unused")
        }
        What::Revealed { generations, .. } => {
            tracing::warn!(event = label, ?generations, "a person was shown passwords")
        }
        What::Adopted { generation, .. } | What::Replaced { generation, .. } | What::Paired { generation, .. } => {
            tracing::info!(rotation, event = label, %generation, "a password was taken in");
        }
        What::Proven { generation, proof } => {
            tracing::info!(rotation, event = label, %generation, ?proof, "the new password is proven live");
        }
        What::Delivered { sink, generation, .. } => {
            tracing::info!(rotation, event = label, %sink, %generation, "delivered");
        }
        What::HookQueued { hook, until, by } => {
            tracing::debug!(rotation, event = label, %hook, %until, ?by, "its turn comes later")
        }
        What::HookTold { hook } => tracing::info!(rotation, event = label, %hook, "told"),
        What::Began { .. } => tracing::info!(rotation, event = label, "a rotation began"),
        What::Answered { answer } => tracing::info!(rotation, event = label, ?answer, "the call was answered"),
        What::Settled { .. } => tracing::info!(rotation, event = label, "settled"),
        What::Paused { .. } | What::Unpaused { .. } | What::SinkAgrees { .. } | What::TakenOver { .. } => {
            tracing::info!(event = label, "recorded");
        }
        What::Asked { .. } | What::Resumed { .. } | What::Prepared { .. } | What::Intended { .. } => {
            tracing::info!(rotation, event = label, "recorded");
        }
        What::LookFailed { fault } => tracing::info!(rotation, event = label, %fault, "a look gave no evidence"),
        What::Ready { .. }
        | What::TaskRead { .. }
        | What::TaskStuck
        | What::TaskSought { .. }
        | What::MarkRead { .. }
        | What::LoginTried { .. }
        | What::Verified { .. }
        | What::ProofFailed => tracing::debug!(rotation, event = label, ?what, "evidence"),
    }
}
