//! What a cloud can say to a call, and what a look at the world can show: the vendor-free vocabulary of evidence.

use crate::fault::Fault;
use crate::name::TaskId;
use serde::{Deserialize, Serialize};

/// Which call was made to change the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    /// Old password to new password; the cloud compares the old one first.
    Modify,
    /// An administrator's reset to the candidate; the old password is not asked for.
    Reset,
}

/// What became of a call that changes a password, as far as its answer tells.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub enum Answer {
    /// The cloud will do it, or has done it. Not yet proof of anything.
    Accepted {
        /// The task that carries it out, where the cloud names one.
        task: Option<TaskId>,
    },
    /// The cloud certainly did not do it, and will not because of this call.
    Refused {
        /// In which way.
        refusal: Refusal,
        /// The vendor's own words, scrubbed.
        fault: Fault,
    },
    /// We do not know: no answer, a broken one, or a code that may follow an effect.
    Unanswered {
        /// What came instead of an answer.
        fault: Fault,
    },
}

/// The ways in which a cloud refuses a change of password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// Another operation holds the instance. Waiting burns no attempt.
    Locked,
    /// The instance's state does not allow it now. Waiting burns no attempt.
    Busy,
    /// Too many requests. Waiting burns no attempt.
    Throttled,
    /// The call never left: the cloud could not be reached. Waiting burns no attempt.
    Unsent,
    /// Refused for now without a clear reason; trying again burns an attempt.
    NotNow,
    /// The old password is not the current one: evidence after an unanswered call, drift otherwise.
    OldPasswordWrong,
    /// The candidate breaks a rule of the instance.
    RuleViolated,
    /// One code for both: a rule was broken or the old password is wrong.
    RuleOrOldPassword,
    /// Permission, not found, bad configuration: needs a person.
    Fatal,
}

/// The state of a cloud task.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "task")]
pub enum TaskStatus {
    /// Waiting or running.
    Running,
    /// Done.
    Succeeded,
    /// Ended otherwise. Which password is live is not said by this.
    Failed {
        /// The vendor's own words, scrubbed.
        message: String,
    },
}

/// What one login attempt (over one or several fresh connections) showed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "login")]
pub enum Login {
    /// Every connection was let in.
    Accepted,
    /// Every connection was turned away.
    Refused,
    /// Some were let in and some not: nodes do not agree yet.
    Mixed,
    /// The instance lets anybody in: a login proves nothing.
    PasswordFree,
    /// No connection gave an answer about the password.
    Unreachable {
        /// Why not.
        fault: Fault,
    },
}
