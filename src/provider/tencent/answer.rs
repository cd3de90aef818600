//! An error code of the vendor as a fault: what happened, and what to check at this vendor.

use super::codes::verdict;
use crate::fault::{Fault, Kind};
use crate::provider::outcome::{self, Verdict};
use crate::secret::Secret;

/// The fault for an error code, with the vendor's words scrubbed of these secrets.
pub(super) fn fault(action: &str, code: &str, message: &str, request_id: &str, secrets: &[&Secret]) -> Fault {
    let verdict = verdict(code);
    let fault = outcome::fault(verdict, &format!("Tencent {action}"), (code, message, request_id), secrets);
    match verdict {
        Verdict::Refused(_, Kind::CredentialRefused) => fault.advise(
            "check that the SecretKey belongs to the SecretId and that no proxy rewrites headers, then `keywheel recover TARGET --resume`",
        ),
        Verdict::NoSuchAction => {
            fault.advise("check the endpoint and the action-spelling setting; this host does not know the action")
        }
        Verdict::Unclear
        | Verdict::Refused(..)
        | Verdict::RefusedFor(..)
        | Verdict::SignAgain
        | Verdict::RenewCredential => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Retry;
    use crate::provider::outcome::Failed;
    use crate::rotation::answer::{Answer, Call, Refusal};

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
