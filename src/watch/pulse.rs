//! The pulse: a call to the dead-man URL after healthy sweeps. Where sweeps stop, or the ledger cannot be written, the calls stop too, and whoever is behind
//! the URL raises the alarm that keywheel itself cannot raise.

use crate::alert::dead_man::DeadMan;
use crate::clock::Clock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Calls after a healthy sweep, at most every so often, until it is stopped. `healthy` is notified after each such sweep.
pub async fn pulse(
    dead_man: DeadMan,
    every: Duration,
    healthy: Arc<Notify>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let beat = async {
        let mut failing = false;
        loop {
            healthy.notified().await;
            match dead_man.ping().await {
                Ok(()) if std::mem::take(&mut failing) => tracing::info!("the dead-man URL can be called again"),
                Ok(()) => {}
                Err(fault) if !std::mem::replace(&mut failing, true) => {
                    tracing::warn!(%fault, "the dead-man URL could not be called; it is called again after the next healthy sweep");
                }
                Err(fault) => tracing::debug!(%fault, "the dead-man URL still cannot be called"),
            }
            clock.sleep(every).await;
            // A sweep from before or during the wait says nothing of now.
            let mut stale = std::pin::pin!(healthy.notified());
            let _was_there = stale.as_mut().enable();
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = beat => {}
    }
}
