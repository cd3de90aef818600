//! What an answer, or its absence, means for a call of ours: the one way from the vendor's words to an [`Answer`] or a [`Fault`].

use super::codes::{Verdict, verdict};
use crate::fault::{Fault, Kind, Retry, scrub};
use crate::rotation::answer::{Answer, Call, Refusal};
use crate::secret::Secret;

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

impl Failed {
    /// The fault alone, for calls that change nothing.
    pub(super) fn fault(self) -> Fault {
        match self {
            Self::NotSent(fault) | Self::Spoken(_, fault) | Self::Unanswered(fault) => fault,
        }
    }

    /// What this failure means for a call that changes a password.
    pub(super) fn answer(self, call: Call) -> Answer {
        match self {
            Self::NotSent(fault) => {
                let refusal = match fault.retry {
                    Retry::Never => Refusal::Fatal,
                    Retry::Later | Retry::AfterMillis(_) => Refusal::Unsent,
                };
                Answer::Refused { refusal, fault }
            }
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

/// The fault for an error code, with the vendor's words scrubbed of these secrets.
pub(super) fn fault(action: &str, code: &str, message: &str, request_id: &str, secrets: &[&Secret]) -> Fault {
    let verdict = verdict(code);
    let words = scrub(&format!("{code}: {message}"), secrets);
    let fault = Fault::new(
        verdict.kind(),
        format!("Tencent {action} answered {words} (request {})", scrub(request_id, secrets)),
    );
    match verdict {
        Verdict::RefusedFor(_, _, span) => fault.after(span),
        Verdict::Refused(_, Kind::CredentialRefused) => fault.advise(
            "check that the SecretKey belongs to the SecretId and that no proxy rewrites headers, then `keywheel recover TARGET --resume`",
        ),
        Verdict::NoSuchAction => {
            fault.advise("check the endpoint and the action-spelling setting; this host does not know the action")
        }
        Verdict::Unclear | Verdict::Refused(..) | Verdict::SignAgain | Verdict::RenewCredential => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: &str, call: Call) -> Answer {
        Failed::Spoken(verdict(code), fault("Modify", code, "words", "id", &[])).answer(call)
    }

    #[test]
    fn a_code_becomes_an_answer() {
        let rows = [
            ("InternalError", None, Kind::Unanswered),
            ("Novel.Code", None, Kind::Unanswered),
            ("ResourceInUse", Some(Refusal::Locked), Kind::Locked),
            ("FailedOperation.DtsStatusAbnormal", Some(Refusal::Busy), Kind::Busy),
            ("InvalidParameterValue.PasswordError", Some(Refusal::OldPasswordWrong), Kind::OldPasswordWrong),
            ("AuthFailure.SignatureExpire", Some(Refusal::Fatal), Kind::ClockSkew),
            ("AuthFailure.TokenFailure", Some(Refusal::Fatal), Kind::CredentialRefused),
            ("InvalidAction", Some(Refusal::Fatal), Kind::Unsupported),
        ];
        for (code, expected, kind) in rows {
            let (refusal, fault) = match answer(code, Call::Modify) {
                Answer::Refused { refusal, fault } => (Some(refusal), fault),
                Answer::Unanswered { fault } => (None, fault),
                Answer::Accepted { .. } => panic!("{code} accepted"),
            };
            assert_eq!((refusal, fault.kind), (expected, kind), "{code}");
        }
    }

    #[test]
    fn a_reset_is_never_told_that_the_old_password_is_wrong() {
        for code in ["InvalidParameterValue.PasswordError", "InvalidParameterValue.PasswordRuleError"] {
            let Answer::Refused { refusal, fault } = answer(code, Call::Reset) else {
                panic!("{code}");
            };
            assert_eq!((refusal, fault.kind), (Refusal::RuleViolated, Kind::RuleViolated));
        }
    }

    #[test]
    fn what_did_not_leave_is_tried_again_unless_it_never_can() {
        for (kind, expected) in [(Kind::Unreachable, Refusal::Unsent), (Kind::SecretUnreadable, Refusal::Fatal)] {
            let answer = Failed::NotSent(Fault::new(kind, "x")).answer(Call::Modify);
            assert!(matches!(answer, Answer::Refused { refusal, .. } if refusal == expected), "{kind:?}");
        }
    }

    #[test]
    fn long_states_say_not_before() {
        let rows = [
            ("FailedOperation.DtsStatusAbnormal", Retry::AfterMillis(120_000)),
            ("RequestLimitExceeded.IPLimitExceeded", Retry::AfterMillis(10_000)),
            ("RequestLimitExceeded", Retry::Later),
        ];
        for (code, retry) in rows {
            assert_eq!(fault("X", code, "", "", &[]).retry, retry, "{code}");
        }
    }

    #[test]
    fn the_vendors_words_are_scrubbed() {
        let secret = Secret::new("hunter2".to_owned());
        let fault = fault("X", "Odd.hunter2", "you sent hunter2\x07", "hunter2", &[&secret]);
        assert!(!fault.to_string().contains("hunter2"), "{fault}");
    }
}
