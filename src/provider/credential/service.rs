//! What the services that give credentials have in common: how an answer can be of no use, and what is asked of all of them.

use crate::fault::{Fault, Kind, Retry};
use crate::http::SendError;
use std::time::Duration;

/// The longest name of a role, in bytes.
const ROLE_NAME_LIMIT: usize = 128;

/// What to do where a service's answer means nothing.
const ASKED_AGAIN: &str = "nothing; keywheel asks again. If it lasts, look at the role in the cloud console";

/// Why a token service gave nothing, and whether the credential that signed the request may be the reason.
pub(in crate::provider) struct Refused {
    pub(in crate::provider) fault: Fault,
    pub(in crate::provider) credential: bool,
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self { fault, credential: false }
    }
}

/// No whole answer. Whether the request arrived does not matter: it changes nothing.
pub(in crate::provider) fn unsent(error: SendError) -> Fault {
    match error {
        SendError::NotSent(fault) => fault,
        SendError::Unanswered(fault) => fault.advise(ASKED_AGAIN),
    }
}

/// The service answered, and not with what was asked for: its own trouble, which may pass.
pub(in crate::provider) fn unreadable(service: &str, what: &str) -> Fault {
    Fault::new(Kind::Unanswered, format!("{service} answered with {what}")).advise(ASKED_AGAIN)
}

/// A code that nobody has heard of, or a failure of the service's own. Asking again changes nothing in the cloud.
pub(in crate::provider) fn asked_again(what: String) -> Fault {
    Fault::new(Kind::Unanswered, what).advise(ASKED_AGAIN)
}

/// A status that is not success.
pub(in crate::provider) fn odd_status(service: &str, status: u16) -> Fault {
    unreadable(service, &format!("HTTP status {status}"))
}

/// A metadata service says that there is no such role: only a person can change that.
pub(in crate::provider) fn not_there(service: &str, what: &str) -> Fault {
    Fault::new(Kind::CredentialRefused, format!("{service} says that {what}"))
        .advise("bind the role to this machine in the cloud console, then `keywheel recover TARGET --resume`")
}

/// The pod's identity is not accepted. The cluster replaces its token, so it may be accepted later.
pub(in crate::provider) fn identity_refused(what: String) -> Fault {
    let mut fault = Fault::new(Kind::CredentialRefused, what)
        .advise("check that the cluster renews the token file, and the identity provider's client id and keys");
    fault.retry = Retry::Later;
    fault
}

/// The signing credential may not take on the role.
pub(in crate::provider) fn role_denied(what: String) -> Fault {
    Fault::new(Kind::Denied, what).advise(
        "grant sts:AssumeRole, and name this identity in the role's trust policy, then `keywheel recover TARGET --resume`",
    )
}

/// There is no such role.
pub(in crate::provider) fn no_role(what: String) -> Fault {
    Fault::new(Kind::NotFound, what).advise("check role-arn, then `keywheel recover TARGET --resume`")
}

/// The name of the role that a metadata service names: its answer's first line.
pub(in crate::provider) fn role_name(service: &str, text: &str) -> Result<String, Fault> {
    let name = text.lines().next().unwrap_or_default().trim();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
    if name.is_empty() || name.len() > ROLE_NAME_LIMIT || name.starts_with('.') || !name.bytes().all(plain) {
        return Err(unreadable(service, "something that is no role's name"));
    }
    Ok(name.to_owned())
}

/// A duration as the token services take it.
pub(in crate::provider) fn seconds(chosen: Option<Duration>, default: Duration) -> u64 {
    chosen.unwrap_or(default).as_secs()
}
