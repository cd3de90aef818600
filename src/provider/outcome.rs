//! What an answer, or its absence, means for a call of ours, in words that every cloud shares: the one way from a vendor's verdict to an
//! [`Answer`]. Which code has which verdict is told by each vendor's own table.

use crate::fault::{Fault, Kind, Retry, scrub};
use crate::rotation::answer::{Answer, Call, Refusal};
use crate::secret::Secret;
use crate::sink::StoreFailure;
use std::time::Duration;

/// What an error code says about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The call may have acted: doubt after a write, "ask again" after a read.
    Unclear,
    /// The call certainly did not act.
    Refused(Refusal, Kind),
    /// The same, and asking again sooner than this is pointless.
    RefusedFor(Refusal, Kind, Duration),
    /// The signature was too old: sign once more, then it is our clock.
    SignAgain,
    /// The credential was refused: read it anew once, then it is wrong.
    RenewCredential,
    /// This endpoint does not know the action: try its other name, then it is unsupported.
    NoSuchAction,
}

impl Verdict {
    /// The kind of trouble, once nothing more can be tried.
    pub(super) const fn kind(self) -> Kind {
        match self {
            Self::Unclear => Kind::Unanswered,
            Self::Refused(_, kind) | Self::RefusedFor(_, kind, _) => kind,
            Self::SignAgain => Kind::ClockSkew,
            Self::RenewCredential => Kind::CredentialRefused,
            Self::NoSuchAction => Kind::Unsupported,
        }
    }
}

/// An answer as it stands on the wire.
#[derive(Debug)]
pub(super) enum Spoken<T> {
    /// A whole success.
    Value(T),
    /// An error of the API itself.
    Error {
        /// `Class` or `Class.Detail`.
        code: String,
        /// The vendor's words, not yet scrubbed.
        message: String,
        /// What the vendor's support asks for.
        request_id: String,
    },
    /// Anything else: not an answer to our question. Says what it was.
    Nonsense(String),
}

/// Why a call brought no value.
#[derive(Debug)]
pub(super) enum Failed {
    /// It certainly did not leave this machine.
    NotSent(Fault),
    /// The cloud answered with an error code.
    Spoken(Verdict, Fault),
    /// No answer, or none that means anything.
    Unanswered(Fault),
}

/// The same with the vendor's own code where there is one, for callers that tell more codes apart than [`Verdict`] does.
pub(super) struct Coded {
    pub(super) failed: Failed,
    pub(super) code: Option<String>,
}

impl From<Failed> for Coded {
    fn from(failed: Failed) -> Self {
        Self { failed, code: None }
    }
}

impl From<Coded> for StoreFailure {
    fn from(Coded { failed, code }: Coded) -> Self {
        Self { code, fault: failed.fault() }
    }
}

impl Failed {
    /// There is no credential to sign a call with.
    pub(super) fn without_credential(fault: Fault) -> Self {
        Self::NotSent(without_credential(fault))
    }

    /// The fault alone, for calls that change nothing.
    pub(super) fn fault(self) -> Fault {
        let (Self::NotSent(fault) | Self::Spoken(_, fault) | Self::Unanswered(fault)) = self;
        // There is no call to find out about.
        let is_of_a_change = fault.kind == Kind::Unanswered && fault.next_step == Kind::Unanswered.next_step();
        if is_of_a_change { fault.advise("nothing; nothing was changed, and keywheel asks again") } else { fault }
    }

    /// The kind of trouble.
    pub(super) const fn kind(&self) -> Kind {
        let (Self::NotSent(fault) | Self::Spoken(_, fault) | Self::Unanswered(fault)) = self;
        fault.kind
    }

    /// What this failure of a *read* means for the change that was to follow it: that one never left.
    pub(super) fn before_the_call(self) -> Answer {
        let fault = self.fault();
        let refusal = match fault.retry {
            Retry::Never => Refusal::Fatal,
            Retry::Later | Retry::AfterMillis(_) => Refusal::Unsent,
        };
        Answer::Refused { refusal, fault }
    }

    /// What this failure means for a call that changes a password.
    pub(super) fn answer(self, call: Call) -> Answer {
        match self {
            Self::NotSent(_) => self.before_the_call(),
            Self::Unanswered(fault) | Self::Spoken(Verdict::Unclear, fault) => Answer::Unanswered { fault },
            Self::Spoken(Verdict::Refused(refusal, _) | Verdict::RefusedFor(refusal, _, _), fault) => {
                refused(refusal, fault, call)
            }
            Self::Spoken(Verdict::SignAgain | Verdict::RenewCredential | Verdict::NoSuchAction, fault) => {
                Answer::Refused { refusal: Refusal::Fatal, fault }
            }
        }
    }
}

/// A reset sends no old password, so there the codes about passwords speak of the new one.
fn refused(refusal: Refusal, mut fault: Fault, call: Call) -> Answer {
    let about_passwords = matches!(refusal, Refusal::OldPasswordWrong | Refusal::RuleOrOldPassword);
    let refusal = match call {
        Call::Reset if about_passwords => {
            let what = std::mem::take(&mut fault.what);
            fault = Fault::new(Kind::RuleViolated, what);
            Refusal::RuleViolated
        }
        Call::Modify | Call::Reset => refusal,
    };
    Answer::Refused { refusal, fault }
}

/// An error code of the API as a fault: `call` names vendor and action. The vendor's words are scrubbed of these secrets.
pub(super) fn fault(
    verdict: Verdict,
    call: &str,
    (code, message, request_id): (&str, &str, &str),
    secrets: &[&Secret],
) -> Fault {
    let words = scrub(&format!("{code}: {message}"), secrets);
    let what = format!("{call} answered {words} (request {})", scrub(request_id, secrets));
    let fault = Fault::new(verdict.kind(), what);
    match verdict {
        Verdict::RefusedFor(_, _, span) => fault.after(span),
        Verdict::Unclear
        | Verdict::Refused(..)
        | Verdict::SignAgain
        | Verdict::RenewCredential
        | Verdict::NoSuchAction => fault,
    }
}

/// The fault of a source that gives no credential. Nothing was sent without one, so this is waited for even where a person has to act: a role or a file
/// that was away must not halt every target.
pub(super) fn without_credential(fault: Fault) -> Fault {
    match fault.retry {
        Retry::Later | Retry::AfterMillis(_) => fault,
        Retry::Never => {
            let mend = fault.next_step.split(", then `keywheel recover").next().unwrap_or_default();
            let next_step = format!("{mend}; keywheel goes on by itself then");
            Fault::new(Kind::CredentialMissing, fault.what).advise(next_step)
        }
    }
}

/// What was read, or nothing where we may not read it.
pub(super) fn permitted<T>(read: Result<Option<T>, Failed>) -> Result<Option<T>, Fault> {
    match read {
        Ok(found) => Ok(found),
        Err(Failed::Spoken(verdict, _)) if verdict.kind() == Kind::Denied => Ok(None),
        Err(failed) => Err(failed.fault()),
    }
}

/// What was read where it only helps and nobody says which codes its action has: whatever the cloud answers about it, nothing is known then. Only what
/// would stand in the way of every call is told.
pub(super) fn helpful<T>(read: Result<Option<T>, Failed>) -> Result<Option<T>, Fault> {
    match read {
        Ok(found) => Ok(found),
        Err(Failed::Spoken(verdict, fault))
            if matches!(verdict.kind(), Kind::Throttled | Kind::CredentialRefused | Kind::ClockSkew) =>
        {
            Err(fault)
        }
        Err(Failed::Spoken(..)) => Ok(None),
        Err(failed @ (Failed::NotSent(_) | Failed::Unanswered(_))) => Err(failed.fault()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_credential_is_waited_for_and_the_advice_says_so() {
        for kind in [Kind::SecretUnreadable, Kind::CredentialRefused, Kind::Denied, Kind::NotFound] {
            let fault = without_credential(Fault::new(kind, "x"));
            assert_eq!((fault.kind, fault.retry), (Kind::CredentialMissing, Retry::Later), "{kind:?}");
            assert!(!fault.next_step.contains("--resume") && fault.next_step.contains("by itself"), "{fault}");
            let answer = Failed::NotSent(fault).answer(Call::Modify);
            assert!(matches!(answer, Answer::Refused { refusal: Refusal::Unsent, .. }), "{kind:?}");
        }
        let passing = Fault::new(Kind::Unreachable, "x").after(Duration::from_secs(3));
        assert_eq!(without_credential(passing.clone()), passing);
    }

    #[test]
    fn what_did_not_leave_is_tried_again_unless_it_never_can() {
        for (kind, expected) in [(Kind::Unreachable, Refusal::Unsent), (Kind::SecretUnreadable, Refusal::Fatal)] {
            let answer = Failed::NotSent(Fault::new(kind, "x")).answer(Call::Modify);
            assert!(matches!(answer, Answer::Refused { refusal, .. } if refusal == expected), "{kind:?}");
        }
    }

    #[test]
    fn what_only_helps_stands_in_the_way_of_nothing_but_what_stands_in_the_way_of_all() {
        let fault = |kind| Fault::new(kind, "x");
        let spoken = |verdict: Verdict| Failed::Spoken(verdict, fault(verdict.kind()));
        let refused = |kind| spoken(Verdict::Refused(Refusal::Fatal, kind));
        let rows = [
            (refused(Kind::Misconfigured), true),
            (refused(Kind::NotFound), true),
            (refused(Kind::Denied), true),
            (spoken(Verdict::Unclear), true),
            (spoken(Verdict::NoSuchAction), true),
            (spoken(Verdict::RenewCredential), false),
            (refused(Kind::Throttled), false),
            (Failed::Unanswered(fault(Kind::Unanswered)), false),
            (Failed::NotSent(fault(Kind::Unreachable)), false),
        ];
        for (failed, goes_on) in rows {
            let said = format!("{failed:?}");
            assert_eq!(helpful::<()>(Err(failed)).is_ok(), goes_on, "{said}");
        }
    }

    #[test]
    fn a_read_without_an_answer_left_no_call_to_find_out_about() {
        let advice = |failed: Failed| failed.fault().next_step;
        let unanswered = || Fault::new(Kind::Unanswered, "x");
        for failed in [Failed::Unanswered(unanswered()), Failed::Spoken(Verdict::Unclear, unanswered())] {
            assert!(advice(failed).contains("nothing was changed"));
        }
        let Answer::Unanswered { fault } = Failed::Unanswered(unanswered()).answer(Call::Modify) else {
            panic!("a call without an answer");
        };
        assert_eq!(fault.next_step, Kind::Unanswered.next_step(), "a change left one");
    }
}
