//! An error code of the vendor as a fault: what happened, and what the vendor's own console or this provider's settings offer against it.

use super::wire::Request;
use crate::fault::{Fault, Kind};
use crate::provider::outcome::{self, Verdict};
use crate::secret::Secret;

/// The fault for an error code, with the vendor's words scrubbed of these secrets.
pub(super) fn fault(
    request: &Request<'_>,
    verdict: Verdict,
    (code, message, request_id): (&str, &str, &str),
    secrets: &[&Secret],
) -> Fault {
    let action = request.action();
    let fault = outcome::fault(verdict, &format!("Alibaba {action}"), (code, message, request_id), secrets);
    match (verdict.kind(), code) {
        (Kind::CredentialRefused, "SignatureDoesNotMatch") => fault.advise(
            "check that the AccessKeySecret belongs to the AccessKeyId and that no proxy rewrites headers, then `keywheel recover TARGET --resume`",
        ),
        (Kind::Denied, _) if matches!(request, Request::OfStore { .. }) => {
            fault.advise(format!("grant kms:{action} on the secret to this identity"))
        }
        (Kind::Denied, _) => fault.advise(format!(
            "grant kvstore:{action} on the instance to this identity, then `keywheel recover TARGET --resume`"
        )),
        (Kind::Misconfigured, _)
            if super::codes::is_missing(request, code) && !matches!(request, Request::OfStore { .. }) =>
        {
            fault.advise(
                "this endpoint does not read parameters where they stand: set parameters-in = \"query\" for the provider, which puts passwords into URLs, or \
                 \"body\" where it is \"query\" already",
            )
        }
        (Kind::Unsupported, "IncorrectMinorVersion") => fault.advise("upgrade the instance's minor version"),
        (_, _) => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::super::codes::verdict;
    use super::*;
    use crate::provider::outcome::Failed;
    use crate::rotation::answer::{Answer, Call, Refusal};

    const MODIFY: Request<'_> = Request::ModifyAccountPassword { instance: "r", account: "a", old: "o", new: "n" };
    const RESET: Request<'_> = Request::ModifyInstanceAttribute { instance: "r", new: "n" };

    fn answer(request: &Request<'_>, call: Call, status: u16, code: &str) -> Answer {
        let verdict = verdict(request, status, code);
        Failed::Spoken(verdict, fault(request, verdict, (code, "words", "id"), &[])).answer(call)
    }

    #[test]
    fn a_code_becomes_an_answer() {
        let (modify, reset) = ((&MODIFY, Call::Modify), (&RESET, Call::Reset));
        let rows = [
            (modify, 500, "InternalError", None, Kind::Unanswered),
            (modify, 400, "ProxyError", None, Kind::Unanswered),
            (modify, 400, "SignatureNonceUsed", None, Kind::Unanswered),
            (modify, 400, "Novel", Some(Refusal::RuleOrOldPassword), Kind::RuleViolated),
            (modify, 409, "Novel", None, Kind::Unanswered),
            (reset, 400, "Novel", None, Kind::Unanswered),
            (modify, 400, "TaskExists", Some(Refusal::Locked), Kind::Locked),
            (modify, 403, "IncorrectDBInstanceState", Some(Refusal::Busy), Kind::Busy),
            (modify, 400, "InvalidTimeStamp.Expired", Some(Refusal::Fatal), Kind::ClockSkew),
            (modify, 400, "InvalidSecurityToken.Expired", Some(Refusal::Fatal), Kind::CredentialRefused),
            (reset, 400, "InvalidAccountPassword.Format", Some(Refusal::RuleViolated), Kind::RuleViolated),
        ];
        for ((request, call), status, code, expected, kind) in rows {
            let (refusal, fault) = match answer(request, call, status, code) {
                Answer::Refused { refusal, fault } => (Some(refusal), fault),
                Answer::Unanswered { fault } => (None, fault),
                Answer::Accepted { .. } => panic!("{code} accepted"),
            };
            assert_eq!((refusal, fault.kind), (expected, kind), "{status} {code}");
        }
    }

    #[test]
    fn advice_names_what_there_is_to_do() {
        for (code, words) in [
            ("Forbidden.RAM", "grant kvstore:ModifyAccountPassword"),
            ("MissingNewAccountPassword", "parameters-in"),
            ("SignatureDoesNotMatch", "AccessKeySecret"),
            ("IncorrectMinorVersion", "minor version"),
        ] {
            let fault = fault(&MODIFY, verdict(&MODIFY, 400, code), (code, "", ""), &[]);
            assert!(fault.next_step.contains(words), "{fault}");
        }
    }

    #[test]
    fn the_vendors_words_are_scrubbed() {
        let secret = Secret::new("hunter2".to_owned());
        let fault = fault(&MODIFY, Verdict::Unclear, ("Odd.hunter2", "you sent hunter2\x07", "hunter2"), &[&secret]);
        assert!(!fault.to_string().contains("hunter2"), "{fault}");
    }
}
