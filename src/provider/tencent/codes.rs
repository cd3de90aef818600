//! What each of the vendor's error codes says about a call: one table. Sources are the vendor documents "Error Codes" of the API gateway
//! and of each TencentDB for Redis action. Messages are localised and change, so nothing is ever read out of them.

use crate::fault::Kind;
use crate::provider::outcome::Verdict;
use crate::rotation::answer::Refusal;
use std::time::Duration;

/// How long to leave an account-wide or address-wide limit alone.
const WIDE_LIMIT: Duration = Duration::from_secs(10);
/// How long states last that a data transfer or an inspection causes.
const LONG_STATE: Duration = Duration::from_secs(120);

const LOCKED: Verdict = Verdict::Refused(Refusal::Locked, Kind::Locked);
const BUSY: Verdict = Verdict::Refused(Refusal::Busy, Kind::Busy);
const LONG_BUSY: Verdict = Verdict::RefusedFor(Refusal::Busy, Kind::Busy, LONG_STATE);
const THROTTLED: Verdict = Verdict::Refused(Refusal::Throttled, Kind::Throttled);
const LONG_THROTTLED: Verdict = Verdict::RefusedFor(Refusal::Throttled, Kind::Throttled, WIDE_LIMIT);
const DENIED: Verdict = Verdict::Refused(Refusal::Fatal, Kind::Denied);
const NOT_FOUND: Verdict = Verdict::Refused(Refusal::Fatal, Kind::NotFound);
const GONE: Verdict = Verdict::Refused(Refusal::Fatal, Kind::Gone);
const UNSUPPORTED: Verdict = Verdict::Refused(Refusal::Fatal, Kind::Unsupported);
const MISCONFIGURED: Verdict = Verdict::Refused(Refusal::Fatal, Kind::Misconfigured);
const BAD_SIGNATURE: Verdict = Verdict::Refused(Refusal::Fatal, Kind::CredentialRefused);

/// Every code that the vendor's pages name.
const CODES: &[(&str, Verdict)] = &[
    // The gateway.
    ("RequestLimitExceeded", THROTTLED),
    ("RequestLimitExceeded.UinLimitExceeded", THROTTLED),
    ("RequestLimitExceeded.GlobalRegionUinLimitExceeded", LONG_THROTTLED),
    ("RequestLimitExceeded.IPLimitExceeded", LONG_THROTTLED),
    ("InternalError", Verdict::Unclear),
    ("ServiceUnavailable", Verdict::Unclear),
    ("ResourceInUse", LOCKED),
    ("ResourceUnavailable", BUSY),
    ("FailedOperation", Verdict::Unclear),
    ("LimitExceeded", MISCONFIGURED),
    ("AuthFailure.SignatureExpire", Verdict::SignAgain),
    ("AuthFailure.SignatureFailure", BAD_SIGNATURE),
    ("AuthFailure.InvalidAuthorization", BAD_SIGNATURE),
    ("AuthFailure.SecretIdNotFound", Verdict::RenewCredential),
    ("AuthFailure.InvalidSecretId", Verdict::RenewCredential),
    ("AuthFailure.TokenFailure", Verdict::RenewCredential),
    ("AuthFailure.UnauthorizedOperation", DENIED),
    ("AuthFailure.MFAFailure", DENIED),
    ("UnauthorizedOperation", DENIED),
    ("MissingParameter", MISCONFIGURED),
    ("UnknownParameter", MISCONFIGURED),
    ("InvalidParameter", MISCONFIGURED),
    ("InvalidParameterValue", MISCONFIGURED),
    ("InvalidRequest", MISCONFIGURED),
    ("InvalidAction", Verdict::NoSuchAction),
    ("ActionOffline", Verdict::NoSuchAction),
    ("NoSuchVersion", MISCONFIGURED),
    ("NoSuchProduct", MISCONFIGURED),
    ("UnsupportedOperation", UNSUPPORTED),
    ("UnsupportedProtocol", MISCONFIGURED),
    ("UnsupportedRegion", MISCONFIGURED),
    ("RequestSizeLimitExceeded", MISCONFIGURED),
    // The answer was too large, so there was one: the call behind it may have acted.
    ("ResponseSizeLimitExceeded", Verdict::Unclear),
    ("IpInBlacklist", DENIED),
    ("IpNotInWhitelist", DENIED),
    // The answer to a question that we never ask.
    ("DryRunOperation", Verdict::Unclear),
    ("ResourceNotFound", NOT_FOUND),
    ("ResourceInsufficient", UNSUPPORTED),
    ("ResourcesSoldOut", UNSUPPORTED),
    // TencentDB for Redis.
    ("FailedOperation.SystemError", Verdict::Unclear),
    ("FailedOperation.Unknown", Verdict::Unclear),
    ("FailedOperation.UnSupportError", UNSUPPORTED),
    ("FailedOperation.CommitFlowError", Verdict::Unclear),
    ("FailedOperation.DtsStatusAbnormal", LONG_BUSY),
    ("InternalError.DbOperationFailed", Verdict::Unclear),
    ("InternalError.InternalError", Verdict::Unclear),
    ("InternalError.ExecHttpRequestError", Verdict::Unclear),
    ("InternalError.NetWorkErr", Verdict::Unclear),
    ("InternalError.InstanceOperatePermissionError", DENIED),
    // The permission could not be looked up, and without one nothing acts.
    ("InternalError.CamAuthOssResponseReturnCodeError", Verdict::Refused(Refusal::NotNow, Kind::Busy)),
    ("InternalError.InstanceNotFoundError", NOT_FOUND),
    ("InvalidParameter.EmptyParam", MISCONFIGURED),
    ("InvalidParameter.InvalidParameter", MISCONFIGURED),
    ("InvalidParameter.IllegalParameterError", MISCONFIGURED),
    ("InvalidParameter.NotSupported", UNSUPPORTED),
    ("InvalidParameter.ActionNotFound", Verdict::NoSuchAction),
    ("InvalidParameter.PermissionDenied", DENIED),
    ("UnauthorizedOperation.NoCAMAuthed", DENIED),
    ("UnauthorizedOperation.UserNotInWhiteList", DENIED),
    ("InvalidParameterValue.PasswordError", Verdict::Refused(Refusal::OldPasswordWrong, Kind::OldPasswordWrong)),
    // Its text says "the old password does not match", its name says "rule".
    ("InvalidParameterValue.PasswordRuleError", Verdict::Refused(Refusal::RuleOrOldPassword, Kind::RuleViolated)),
    ("InvalidParameterValue.PasswordEmpty", MISCONFIGURED),
    ("InvalidParameterValue.PasswordFreeDenied", UNSUPPORTED),
    ("ResourceNotFound.AccountDoesNotExists", NOT_FOUND),
    ("ResourceNotFound.InstanceNotExists", NOT_FOUND),
    ("ResourceNotFound.InstanceNotFound", NOT_FOUND),
    ("ResourceUnavailable.InstanceLockedError", LOCKED),
    ("ResourceUnavailable.InstanceUnLockedError", LOCKED),
    ("ResourceInUse.InstanceBeenLocked", LOCKED),
    ("ResourceUnavailable.InstanceStatusAbnormal", BUSY),
    ("ResourceUnavailable.InstanceStatusError", BUSY),
    ("ResourceUnavailable.InstanceStateError", BUSY),
    ("ResourceUnavailable.InstanceNotSupportOperation", BUSY),
    ("ResourceUnavailable.InstanceIsolated", GONE),
    ("ResourceUnavailable.InstanceDeleted", GONE),
    ("ResourceUnavailable.GetSecurityError", Verdict::Unclear),
    ("ResourceUnavailable.CallOssError", Verdict::Unclear),
    ("UnsupportedOperation.LimitProxyVersion", UNSUPPORTED),
    ("UnsupportedOperation.LowVersion", UNSUPPORTED),
    ("UnsupportedOperation.InstanceNotOperation", UNSUPPORTED),
    ("UnsupportedOperation.Inspection", LONG_BUSY),
    ("LimitExceeded.ReplicationGroupLocked", LOCKED),
];

/// What a class says where the detail is new. Classes with details that may follow an effect (`FailedOperation`, `InternalError`,
/// `ResourceUnavailable`) are absent on purpose.
const CLASSES: &[(&str, Verdict)] = &[
    ("RequestLimitExceeded", THROTTLED),
    ("ResourceInUse", LOCKED),
    ("LimitExceeded", MISCONFIGURED),
    ("AuthFailure", BAD_SIGNATURE),
    ("UnauthorizedOperation", DENIED),
    ("MissingParameter", MISCONFIGURED),
    ("UnknownParameter", MISCONFIGURED),
    ("InvalidParameter", MISCONFIGURED),
    ("InvalidParameterValue", MISCONFIGURED),
    ("InvalidRequest", MISCONFIGURED),
    ("ResourceNotFound", NOT_FOUND),
    ("ResourceInsufficient", UNSUPPORTED),
    ("ResourcesSoldOut", UNSUPPORTED),
    ("UnsupportedOperation", UNSUPPORTED),
    ("UnsupportedRegion", MISCONFIGURED),
];

/// The verdict on a code; a code that nobody has heard of may follow an effect.
pub(super) fn verdict(code: &str) -> Verdict {
    let found = |table: &[(&str, Verdict)], wanted: &str| {
        table.iter().find(|(listed, _)| *listed == wanted).map(|(_, verdict)| *verdict)
    };
    let class = || {
        let (class, _detail) = code.split_once('.')?;
        found(CLASSES, class)
    };
    found(CODES, code).or_else(class).unwrap_or(Verdict::Unclear)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each code means for a change, read off the vendor's pages one by one, with the kind that a read would report.
    const ROWS: &[(Option<Refusal>, Kind, &[&str])] = &[
        (
            None,
            Kind::Unanswered,
            &[
                "InternalError",
                "ServiceUnavailable",
                "FailedOperation",
                "ResponseSizeLimitExceeded",
                "DryRunOperation",
                "FailedOperation.SystemError",
                "FailedOperation.Unknown",
                "FailedOperation.CommitFlowError",
                "InternalError.DbOperationFailed",
                "InternalError.InternalError",
                "InternalError.ExecHttpRequestError",
                "InternalError.NetWorkErr",
                "ResourceUnavailable.GetSecurityError",
                "ResourceUnavailable.CallOssError",
                // Unknown details of classes that may follow an effect, and unknown classes.
                "FailedOperation.Novel",
                "InternalError.Novel",
                "ResourceUnavailable.Novel",
                "ServiceUnavailable.Novel",
                "Novel",
                "Novel.Detail",
                "OperationDenied",
                "",
                ".",
                "invalidparameter",
                "InvalidParameterX",
            ],
        ),
        (
            Some(Refusal::Throttled),
            Kind::Throttled,
            &[
                "RequestLimitExceeded",
                "RequestLimitExceeded.UinLimitExceeded",
                "RequestLimitExceeded.GlobalRegionUinLimitExceeded",
                "RequestLimitExceeded.IPLimitExceeded",
                "RequestLimitExceeded.Novel",
            ],
        ),
        (
            Some(Refusal::Locked),
            Kind::Locked,
            &[
                "ResourceInUse",
                "ResourceInUse.InstanceBeenLocked",
                "ResourceInUse.Novel",
                "ResourceUnavailable.InstanceLockedError",
                "ResourceUnavailable.InstanceUnLockedError",
                "LimitExceeded.ReplicationGroupLocked",
            ],
        ),
        (
            Some(Refusal::Busy),
            Kind::Busy,
            &[
                "ResourceUnavailable",
                "ResourceUnavailable.InstanceStatusAbnormal",
                "ResourceUnavailable.InstanceStatusError",
                "ResourceUnavailable.InstanceStateError",
                "ResourceUnavailable.InstanceNotSupportOperation",
                "FailedOperation.DtsStatusAbnormal",
                "UnsupportedOperation.Inspection",
            ],
        ),
        (Some(Refusal::NotNow), Kind::Busy, &["InternalError.CamAuthOssResponseReturnCodeError"]),
        (Some(Refusal::OldPasswordWrong), Kind::OldPasswordWrong, &["InvalidParameterValue.PasswordError"]),
        (Some(Refusal::RuleOrOldPassword), Kind::RuleViolated, &["InvalidParameterValue.PasswordRuleError"]),
        (Some(Refusal::Fatal), Kind::ClockSkew, &["AuthFailure.SignatureExpire"]),
        (
            Some(Refusal::Fatal),
            Kind::CredentialRefused,
            &[
                "AuthFailure.SignatureFailure",
                "AuthFailure.InvalidAuthorization",
                "AuthFailure.SecretIdNotFound",
                "AuthFailure.InvalidSecretId",
                "AuthFailure.TokenFailure",
                "AuthFailure.Novel",
            ],
        ),
        (
            Some(Refusal::Fatal),
            Kind::Denied,
            &[
                "AuthFailure.UnauthorizedOperation",
                "AuthFailure.MFAFailure",
                "UnauthorizedOperation",
                "UnauthorizedOperation.NoCAMAuthed",
                "UnauthorizedOperation.UserNotInWhiteList",
                "UnauthorizedOperation.Novel",
                "InvalidParameter.PermissionDenied",
                "InternalError.InstanceOperatePermissionError",
                "IpInBlacklist",
                "IpNotInWhitelist",
            ],
        ),
        (
            Some(Refusal::Fatal),
            Kind::NotFound,
            &[
                "ResourceNotFound",
                "ResourceNotFound.AccountDoesNotExists",
                "ResourceNotFound.InstanceNotExists",
                "ResourceNotFound.InstanceNotFound",
                "InternalError.InstanceNotFoundError",
                "ResourceNotFound.Novel",
            ],
        ),
        (
            Some(Refusal::Fatal),
            Kind::Gone,
            &["ResourceUnavailable.InstanceIsolated", "ResourceUnavailable.InstanceDeleted"],
        ),
        (
            Some(Refusal::Fatal),
            Kind::Unsupported,
            &[
                "InvalidAction",
                "ActionOffline",
                "InvalidParameter.ActionNotFound",
                "InvalidParameter.NotSupported",
                "FailedOperation.UnSupportError",
                "InvalidParameterValue.PasswordFreeDenied",
                "UnsupportedOperation",
                "UnsupportedOperation.LimitProxyVersion",
                "UnsupportedOperation.LowVersion",
                "UnsupportedOperation.InstanceNotOperation",
                "UnsupportedOperation.Novel",
                "ResourceInsufficient",
                "ResourcesSoldOut",
            ],
        ),
        (
            Some(Refusal::Fatal),
            Kind::Misconfigured,
            &[
                "LimitExceeded",
                "LimitExceeded.Novel",
                "MissingParameter",
                "UnknownParameter",
                "InvalidParameter",
                "InvalidParameter.EmptyParam",
                "InvalidParameter.InvalidParameter",
                "InvalidParameter.IllegalParameterError",
                "InvalidParameter.Novel",
                "InvalidParameterValue",
                "InvalidParameterValue.PasswordEmpty",
                "InvalidParameterValue.Novel",
                "InvalidRequest",
                "NoSuchVersion",
                "NoSuchProduct",
                "UnsupportedProtocol",
                "UnsupportedRegion",
                "RequestSizeLimitExceeded",
            ],
        ),
    ];

    #[test]
    fn each_code_has_its_meaning() {
        for (expected, kind, codes) in ROWS {
            for code in *codes {
                let verdict = verdict(code);
                let refusal = match verdict {
                    Verdict::Unclear => None,
                    Verdict::Refused(refusal, _) | Verdict::RefusedFor(refusal, _, _) => Some(refusal),
                    Verdict::SignAgain | Verdict::RenewCredential | Verdict::NoSuchAction => Some(Refusal::Fatal),
                };
                assert_eq!((refusal, verdict.kind()), (*expected, *kind), "{code}");
            }
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
