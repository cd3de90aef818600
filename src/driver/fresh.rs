//! What is done outside is done while the claim is certainly still ours. The fencing number keeps a process that stood still from writing into the
//! record; this keeps it from doing what it had decided on before it stood still.

use crate::clock::Clock;
use crate::fault::{Fault, Kind};
use crate::ledger::CLAIM_LASTS;
use crate::moment::{Moment, show_span};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

/// When a claim was last certainly ours: just before it was taken or appended to.
#[derive(Clone, Copy)]
pub(super) struct Fresh<'a> {
    clock: &'a dyn Clock,
    since: Moment,
}

impl<'a> Fresh<'a> {
    pub(super) fn now(clock: &'a dyn Clock) -> Self {
        Self { clock, since: clock.now() }
    }

    /// Whether the claim is better renewed before anything is done outside.
    pub(super) fn is_stale(self) -> bool {
        self.clock.now().since(self.since) > CLAIM_LASTS / 2
    }

    /// The work's outcome, or `None` when the claim may have passed to another before the work was done. The time is looked at before each
    /// step of the work and not after it, so that a process that stood still takes no further step.
    pub(super) async fn within<T>(self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        // The timer ends work that makes no step. The clock also counts the time for which the machine slept.
        let mut end = pin!(self.clock.sleep(CLAIM_LASTS.saturating_sub(self.clock.now().since(self.since))));
        poll_fn(|context| {
            let ended = end.as_mut().poll(context).is_ready();
            if ended || self.clock.now().since(self.since) >= CLAIM_LASTS {
                return Poll::Ready(None);
            }
            work.as_mut().poll(context).map(Some)
        })
        .await
    }
}

/// What is said of work that was not done in time.
pub(super) fn late(kind: Kind) -> Fault {
    Fault::new(kind, format!("it gave no answer in {}", show_span(CLAIM_LASTS)))
}
