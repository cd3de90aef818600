//! What the sinks that speak HTTP have in common: secrets that are read anew for each call, and what an answer means that is no success.

use super::fields::Names;
use super::file::format::Layout;
use crate::fault::{Fault, Kind, Retry};
use crate::http::{Reply, SendError};
pub use crate::secret::Credential;
use crate::secret::Secret;
use std::sync::{Arc, Weak};
use tokio::task::JoinError;
use tracing::Instrument;

/// How long one request may take unless the settings say otherwise.
pub const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

impl Credential {
    /// The secret. What keeps it from being read keeps the sink from taking a write, and may be mended at any time.
    ///
    /// # Errors
    /// `SinkDenied`.
    pub(super) fn read(&self, what: &str) -> Result<Secret, Fault> {
        self.get().map_err(|fault| Fault {
            kind: Kind::SinkDenied,
            what: format!("The sink's {what}: {}", fault.what),
            next_step: fault.next_step,
            retry: Retry::Later,
        })
    }
}

/// The form in which a whole document is sent: what a file with `format = "json"` holds.
pub(super) fn layout() -> Layout {
    Layout::Json(Names::default())
}

/// Whether somebody still waits for a delivery.
pub(super) struct Asked(Weak<()>);

impl Asked {
    /// Said before each write: who was overtaken makes none any more.
    ///
    /// # Errors
    /// `SinkUnavailable`, for nobody to hear.
    pub(super) fn still(&self) -> Result<(), Fault> {
        match self.0.strong_count() {
            0 => Err(Fault::new(Kind::SinkUnavailable, "Nobody waits for this delivery any more")),
            _ => Ok(()),
        }
    }
}

/// Delivers in a task of its own, which goes on where nobody waits for it any more: between a write and the look after it an older generation may be on
/// top of a newer one, and would stay there.
pub(super) async fn to_its_end<W>(delivery: impl FnOnce(Asked) -> W) -> Result<(), Fault>
where
    W: Future<Output = Result<(), Fault>> + Send + 'static,
{
    let waiting = Arc::new(());
    let task = tokio::spawn(delivery(Asked(Arc::downgrade(&waiting))).in_current_span());
    let outcome = task.await;
    drop(waiting);
    match outcome.map_err(JoinError::try_into_panic) {
        Ok(outcome) => outcome,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime ends.
        Err(Err(_)) => Err(Fault::new(Kind::SinkUnavailable, "The delivery was cut short")),
    }
}

/// There is no whole answer. Whether a write took effect does not matter: the next delivery finds it.
pub(super) fn no_answer(error: SendError) -> Fault {
    let (SendError::NotSent(fault) | SendError::Unanswered(fault)) = error;
    // The client cannot be asked to send such a request at all; only another setting mends that.
    if [Kind::Misconfigured, Kind::ConfigInvalid, Kind::Bug].contains(&fault.kind) {
        return Fault { kind: Kind::SinkDenied, retry: Retry::Later, ..fault };
    }
    Fault::new(Kind::SinkUnavailable, fault.what)
}

/// An answer that is neither success nor anything this kind of sink knows better. `what` says who answered to what.
pub(super) fn refused(what: &str, reply: &Reply) -> Fault {
    let status = reply.status;
    let fault = |kind, why: &str| Fault::new(kind, format!("{what} was answered with HTTP status {status}{why}"));
    match status {
        300..=399 => fault(Kind::SinkDenied, ", a redirect, which is not followed")
            .advise("write the address that it leads to into the sink's settings"),
        401 => {
            fault(Kind::SinkDenied, ": the sink's credentials are not accepted").advise("renew the sink's credentials")
        }
        403 => fault(Kind::SinkDenied, ": not permitted"),
        404 | 405 | 410 => {
            fault(Kind::SinkDenied, ": there is nothing that could take it").advise("check the sink's address and path")
        }
        413 => fault(Kind::SinkDenied, ": the document is too large for it"),
        408 | 425 | 429 | 500..=599 => {
            let fault = fault(Kind::SinkUnavailable, if status == 429 { ": it asks to slow down" } else { "" });
            match reply.retry_after {
                Some(span) => fault.after(span),
                None => fault,
            }
        }
        _ => fault(Kind::SinkDenied, ""),
    }
}
