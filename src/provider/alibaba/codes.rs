//! What each of the vendor's error codes says about a call: one table. Sources are the error tables of r-kvstore, of "ResetAccountPassword" and
//! of the API gateway, and the codes that the vendor's own Terraform provider waits for. Messages change, so nothing is ever read out of them.

use super::wire::Request;
use crate::fault::Kind;
use crate::provider::outcome::Verdict;
use crate::rotation::answer::{Call, Refusal};

const LOCKED: Verdict = Verdict::Refused(Refusal::Locked, Kind::Locked);
const BUSY: Verdict = Verdict::Refused(Refusal::Busy, Kind::Busy);
const THROTTLED: Verdict = Verdict::Refused(Refusal::Throttled, Kind::Throttled);
const DENIED: Verdict = Verdict::Refused(Refusal::Fatal, Kind::Denied);
const NOT_FOUND: Verdict = Verdict::Refused(Refusal::Fatal, Kind::NotFound);
const UNSUPPORTED: Verdict = Verdict::Refused(Refusal::Fatal, Kind::Unsupported);
const MISCONFIGURED: Verdict = Verdict::Refused(Refusal::Fatal, Kind::Misconfigured);
const RULE: Verdict = Verdict::Refused(Refusal::RuleViolated, Kind::RuleViolated);

/// Every code that the vendor's pages and tools name.
const CODES: &[(&str, Verdict)] = &[
    // The gateway.
    ("Throttling", THROTTLED),
    ("Throttling.User", THROTTLED),
    ("Throttling.Api", THROTTLED),
    ("Rejected.Throttling", THROTTLED),
    ("ServiceUnavailable", Verdict::Unclear),
    ("InternalError", Verdict::Unclear),
    ("ProxyError", Verdict::Unclear),
    // The vendor's own spelling.
    ("Unkown.Exception", Verdict::Unclear),
    // Each attempt of ours has a fresh nonce, so somebody on the way sent one twice, and the first copy may have acted.
    ("SignatureNonceUsed", Verdict::Unclear),
    ("InvalidTimeStamp.Expired", Verdict::SignAgain),
    ("InvalidTimeStamp.Format", Verdict::SignAgain),
    ("IllegalTimestamp", Verdict::SignAgain),
    ("InvalidAccessKeyId.NotFound", Verdict::RenewCredential),
    ("InvalidAccessKeyId.Inactive", Verdict::RenewCredential),
    ("SignatureDoesNotMatch", Verdict::RenewCredential),
    ("IncompleteSignature", Verdict::RenewCredential),
    ("Forbidden", DENIED),
    ("Forbidden.RAM", DENIED),
    ("NoPermission", DENIED),
    ("MissingParameter", MISCONFIGURED),
    ("InvalidAction.NotFound", Verdict::NoSuchAction),
    // Tair and ApsaraDB for Redis.
    ("LockTimeout", LOCKED),
    ("TaskExists", LOCKED),
    ("IncorrectDBInstanceState", BUSY),
    ("OperationDeniedDBStatus", BUSY),
    ("OperationDenied.KVstoreInstanceStatus", BUSY),
    ("IncorrectAccountStatus", BUSY),
    ("IncorrectAccount", MISCONFIGURED),
    ("IncorrectMinorVersion", UNSUPPORTED),
    ("InvalidAccountPassword.Format", RULE),
    ("InvalidAccountPassword.Malformed", RULE),
    ("InvalidAccountName.Format", MISCONFIGURED),
    ("InvalidAccountName.Duplicate", MISCONFIGURED),
    ("InvalidAccountName.NotFound", NOT_FOUND),
    ("InvalidEngineVersion.Format", UNSUPPORTED),
    ("InvalidInstanceId.NotFound", NOT_FOUND),
    ("InvalidDBInstance.NotFound", NOT_FOUND),
    ("InvalidDbInstanceId.NotFound", NOT_FOUND),
    ("HasDirectConnectionNotSupport", UNSUPPORTED),
];

/// What a class says where the detail is new. Classes with details that may follow an effect are absent on purpose.
const CLASSES: &[(&str, Verdict)] = &[
    ("Throttling", THROTTLED),
    ("InvalidTimeStamp", Verdict::SignAgain),
    ("InvalidAccessKeyId", Verdict::RenewCredential),
    ("InvalidSecurityToken", Verdict::RenewCredential),
    ("Forbidden", DENIED),
    ("NoPermission", DENIED),
    ("InvalidAccountPassword", RULE),
    ("InvalidAccountName", MISCONFIGURED),
];

/// The verdict on a code that came with this HTTP status. A server's own failure may follow an effect whatever it is called, and so may a code
/// that nobody has heard of, with one exception: no page says which code a wrong old password has, so an unlisted 400 of the call that compares
/// it is taken for that, or for a broken rule.
pub(super) fn verdict(request: &Request<'_>, status: u16, code: &str) -> Verdict {
    if status >= 500 {
        return Verdict::Unclear;
    }
    if is_missing(request, code) {
        return MISCONFIGURED;
    }
    let found = |table: &[(&str, Verdict)], wanted: &str| {
        table.iter().find(|(listed, _)| *listed == wanted).map(|(_, verdict)| *verdict)
    };
    let class = || {
        let (class, _detail) = code.split_once('.')?;
        found(CLASSES, class)
    };
    let unlisted = match (request.call(), status) {
        (Some(Call::Modify), 400) => Verdict::Refused(Refusal::RuleOrOldPassword, Kind::RuleViolated),
        (Some(Call::Modify | Call::Reset) | None, _) => Verdict::Unclear,
    };
    found(CODES, code).or_else(class).unwrap_or(unlisted)
}

/// Whether the gateway did not find a parameter that certainly was sent: it was looking elsewhere, and nothing was done.
pub(super) fn is_missing(request: &Request<'_>, code: &str) -> bool {
    let sent = |name: &str| request.parameters().iter().any(|(parameter, _)| *parameter == name);
    code == "MissingParameter" || code.strip_prefix("Missing").is_some_and(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODIFY: Request<'_> = Request::ModifyAccountPassword { instance: "r", account: "a", old: "o", new: "n" };
    const RESET: Request<'_> = Request::ResetAccountPassword { instance: "r", account: "a", new: "n" };
    const READ: Request<'_> = Request::DescribeAccounts { instance: "r", account: "a" };

    /// What each code means for a change with HTTP status 400, with the kind that a read would report.
    const ROWS: &[(Option<Refusal>, Kind, &[&str])] = &[
        (
            None,
            Kind::Unanswered,
            &["ServiceUnavailable", "InternalError", "ProxyError", "Unkown.Exception", "SignatureNonceUsed"],
        ),
        (
            Some(Refusal::Throttled),
            Kind::Throttled,
            &["Throttling", "Throttling.User", "Throttling.Api", "Throttling.Novel", "Rejected.Throttling"],
        ),
        (Some(Refusal::Locked), Kind::Locked, &["LockTimeout", "TaskExists"]),
        (
            Some(Refusal::Busy),
            Kind::Busy,
            &[
                "IncorrectDBInstanceState",
                "OperationDeniedDBStatus",
                "OperationDenied.KVstoreInstanceStatus",
                "IncorrectAccountStatus",
            ],
        ),
        (
            Some(Refusal::RuleViolated),
            Kind::RuleViolated,
            &["InvalidAccountPassword.Format", "InvalidAccountPassword.Malformed", "InvalidAccountPassword.Novel"],
        ),
        (
            Some(Refusal::Fatal),
            Kind::ClockSkew,
            &["InvalidTimeStamp.Expired", "InvalidTimeStamp.Format", "InvalidTimeStamp.Novel", "IllegalTimestamp"],
        ),
        (
            Some(Refusal::Fatal),
            Kind::CredentialRefused,
            &[
                "InvalidAccessKeyId.NotFound",
                "InvalidAccessKeyId.Inactive",
                "SignatureDoesNotMatch",
                "IncompleteSignature",
                "InvalidSecurityToken.Expired",
                "InvalidSecurityToken.Malformed",
            ],
        ),
        (
            Some(Refusal::Fatal),
            Kind::Denied,
            &["Forbidden", "Forbidden.RAM", "Forbidden.Novel", "NoPermission", "NoPermission.Novel"],
        ),
        (
            Some(Refusal::Fatal),
            Kind::NotFound,
            &[
                "InvalidAccountName.NotFound",
                "InvalidInstanceId.NotFound",
                "InvalidDBInstance.NotFound",
                "InvalidDbInstanceId.NotFound",
            ],
        ),
        (
            Some(Refusal::Fatal),
            Kind::Unsupported,
            &[
                "InvalidAction.NotFound",
                "IncorrectMinorVersion",
                "InvalidEngineVersion.Format",
                "HasDirectConnectionNotSupport",
            ],
        ),
        (
            Some(Refusal::Fatal),
            Kind::Misconfigured,
            &[
                "MissingParameter",
                "MissingInstanceId",
                "MissingOldAccountPassword",
                "IncorrectAccount",
                "InvalidAccountName.Format",
                "InvalidAccountName.Duplicate",
                "InvalidAccountName.Novel",
            ],
        ),
        // Unlisted: the one that compares passwords says that something is wrong with one of them.
        (
            Some(Refusal::RuleOrOldPassword),
            Kind::RuleViolated,
            &["Novel", "Novel.Detail", "OperationDenied", "OperationDenied.Novel", "MissingNovel", "throttling", ""],
        ),
    ];

    fn refusal(verdict: Verdict) -> Option<Refusal> {
        match verdict {
            Verdict::Unclear => None,
            Verdict::Refused(refusal, _) | Verdict::RefusedFor(refusal, _, _) => Some(refusal),
            Verdict::SignAgain | Verdict::RenewCredential | Verdict::NoSuchAction => Some(Refusal::Fatal),
        }
    }

    #[test]
    fn each_code_has_its_meaning() {
        for (expected, kind, codes) in ROWS {
            for code in *codes {
                let verdict = verdict(&MODIFY, 400, code);
                assert_eq!((refusal(verdict), verdict.kind()), (*expected, *kind), "{code}");
            }
        }
    }

    #[test]
    fn status_and_call_decide_where_the_code_does_not() {
        let rule_or_old = Some(Refusal::RuleOrOldPassword);
        let rows = [
            (&MODIFY, 400, "Novel", rule_or_old),
            (&MODIFY, 403, "Novel", None),
            (&MODIFY, 404, "Novel.NotFound", None),
            (&RESET, 400, "Novel", None),
            (&READ, 400, "Novel", None),
            (&MODIFY, 500, "Novel", None),
            (&MODIFY, 503, "Throttling", None),
            (&MODIFY, 502, "InvalidAccountPassword.Format", None),
            (&MODIFY, 403, "IncorrectDBInstanceState", Some(Refusal::Busy)),
            (&MODIFY, 403, "Throttling.User", Some(Refusal::Throttled)),
            (&RESET, 400, "TaskExists", Some(Refusal::Locked)),
            // A parameter that the call does not have says nothing about where the gateway looks.
            (&RESET, 400, "MissingOldAccountPassword", None),
            (&RESET, 400, "MissingAccountPassword", Some(Refusal::Fatal)),
        ];
        for (request, status, code, expected) in rows {
            assert_eq!(refusal(verdict(request, status, code)), expected, "{} {status} {code}", request.action());
        }
    }

    #[test]
    fn no_code_of_the_table_is_untested_or_listed_twice() {
        let tested: Vec<&str> = ROWS.iter().flat_map(|(_, _, codes)| codes.iter().copied()).collect();
        for (code, _) in CODES {
            assert!(tested.contains(code), "{code} has no row");
            assert_eq!(CODES.iter().filter(|(other, _)| other == code).count(), 1, "{code}");
        }
    }
}
