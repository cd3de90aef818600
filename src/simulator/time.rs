//! The stand-in's clock: the one place in the simulator that reads the machine's.

use crate::moment::Moment;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// A clock that never runs backwards, and an offset by which the *published* time is wrong on purpose.
///
/// Everything the simulator remembers is in true time; only what a caller sees or is judged by (the `Date` header, the signature's
/// five minutes, the cloud's time strings) carries the offset.
pub(super) struct Clock {
    began: Moment,
    running_since: tokio::time::Instant,
    offset_millis: AtomicI64,
}

impl Clock {
    pub(super) fn start(offset_millis: i64) -> Self {
        #[allow(clippy::disallowed_methods, reason = "a stand-in cloud has a clock of its own, not keywheel's")]
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self {
            began: Moment::from_millis(0) + since_epoch,
            running_since: tokio::time::Instant::now(),
            offset_millis: AtomicI64::new(offset_millis),
        }
    }

    /// Time since the start; for buckets, locks and delays.
    pub(super) fn uptime(&self) -> Duration {
        self.running_since.elapsed()
    }

    /// True time.
    pub(super) fn now(&self) -> Moment {
        self.began + self.uptime()
    }

    /// The time this cloud claims it is.
    pub(super) fn published(&self) -> Moment {
        Moment::from_millis(self.now().millis().saturating_add(self.offset_millis.load(Ordering::Relaxed)))
    }

    pub(super) fn set_offset(&self, millis: i64) {
        self.offset_millis.store(millis, Ordering::Relaxed);
    }
}
