//! What was recorded, told to whoever watches. Nobody who watches is waited for.

use crate::ledger::Entry;
use crate::moment::Moment;
use crate::name::{RotationId, TargetName};
use tokio::sync::broadcast;

/// So many are kept for a watcher that is slow; then it has to look for itself.
const KEPT: usize = 256;

/// One event that is in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// Whose record it is in.
    pub target: TargetName,
    /// The rotation it belongs to.
    pub rotation: Option<RotationId>,
    /// When it happened.
    pub at: Moment,
    /// The event's word in the record, such as `proven`.
    pub what: &'static str,
}

/// Where the turns say what they recorded.
pub(super) struct Happenings(broadcast::Sender<Happening>);

impl Default for Happenings {
    fn default() -> Self {
        Self(broadcast::Sender::new(KEPT))
    }
}

impl Happenings {
    pub(super) fn watch(&self) -> broadcast::Receiver<Happening> {
        self.0.subscribe()
    }

    /// These events are durable now.
    pub(super) fn tell(&self, target: &TargetName, entries: &[Entry]) {
        if self.0.receiver_count() == 0 {
            return;
        }
        for Entry { event, rotation, .. } in entries {
            let (target, rotation) = (target.clone(), *rotation);
            // The last watcher may have gone meanwhile.
            let _unheard = self.0.send(Happening { target, rotation, at: event.at, what: event.what.label() });
        }
    }
}
