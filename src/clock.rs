//! The one place that reads the machine's clock. Everything else is told the time, so that a test can tell it another.

use crate::moment::Moment;
use async_trait::async_trait;
use std::time::Duration;

/// What time it is, and how to wait.
///
/// Due times are wall-clock times, and only [`Clock::now`] tells whether one has come. `sleep` may end late: the timers below it do not
/// count the time a machine was suspended, and know nothing of a clock that was set. Sleep, then compare; never sleep instead of comparing.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The wall-clock time. It may jump in either direction.
    fn now(&self) -> Moment;

    /// Returns after about `span` of running time. Dropping the future ends the wait.
    async fn sleep(&self, span: Duration);
}

/// How long something has taken. It counts running time, whatever is done to the clock on the wall.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Runs from now on.
    #[allow(clippy::disallowed_methods, reason = "this is the place the ban points to")]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// The time since.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the place the ban points to")]
    fn now(&self) -> Moment {
        chrono::Utc::now().into()
    }

    async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}
