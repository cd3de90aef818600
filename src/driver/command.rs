//! What a person may ask of a target while the daemon runs.

use crate::fault::Fault;
use crate::name::SinkName;
use crate::rotation::event::By;
use crate::secret::Secret;
use std::time::Duration;
use tokio::sync::oneshot;

/// What is asked for.
#[derive(Debug)]
pub enum Wish {
    /// Rotate now.
    Rotate {
        /// Who asks.
        by: By,
        /// Why.
        reason: Option<String>,
        /// Whether it begins on dates on which nothing begins by itself.
        through_freeze: bool,
    },
    /// Take in the password that works today, verified, and change nothing.
    Adopt {
        /// Who gives it.
        by: By,
        /// Why.
        reason: Option<String>,
        /// The password.
        password: Secret,
        /// Which account of a pair it opens; `None`: the one that lets it in.
        account: Option<String>,
    },
    /// Begin nothing until then; what is under way is finished.
    Pause {
        /// Who says so.
        by: By,
        /// Why.
        reason: Option<String>,
        /// For how long; `None` = until somebody resumes.
        span: Option<Duration>,
    },
    /// End a pause.
    Unpause {
        /// Who says so.
        by: By,
    },
    /// Go on after a halt.
    Resume {
        /// Who says so.
        by: By,
        /// Why.
        reason: Option<String>,
        /// Whether an administrator's reset to the same candidate is allowed.
        allow_reset: bool,
    },
    /// Take this password as current, verified; an open rotation ends.
    Replace {
        /// Who gives it.
        by: By,
        /// Why.
        reason: Option<String>,
        /// The password.
        password: Secret,
        /// Which account of a pair it opens; `None`: the one that lets it in.
        account: Option<String>,
    },
    /// A sink no longer holds what was delivered to it: deliver again.
    Redeliver {
        /// Which.
        sink: SinkName,
    },
    /// Say the current password, or every one that may be live. The answer holds them.
    Reveal {
        /// Who asks.
        by: By,
        /// Why.
        reason: Option<String>,
        /// Every one that may be live, each with its number.
        all: bool,
    },
}

impl Wish {
    /// Why it is asked for, where somebody said so.
    pub(super) fn reason(&mut self) -> Option<&mut String> {
        match self {
            Self::Rotate { reason, .. }
            | Self::Adopt { reason, .. }
            | Self::Pause { reason, .. }
            | Self::Resume { reason, .. }
            | Self::Replace { reason, .. }
            | Self::Reveal { reason, .. } => reason.as_mut(),
            Self::Unpause { .. } | Self::Redeliver { .. } => None,
        }
    }
}

/// A wish on its way to its target's turn.
#[derive(Debug)]
pub struct Command {
    pub(super) wish: Wish,
    pub(super) answer: oneshot::Sender<Result<String, Fault>>,
}

impl Command {
    pub(super) fn new(wish: Wish) -> (Self, oneshot::Receiver<Result<String, Fault>>) {
        let (answer, answered) = oneshot::channel();
        (Self { wish, answer }, answered)
    }
}
