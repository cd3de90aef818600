//! The token services of both clouds, which give temporary credentials for a role. Both answer on the same port as everything else; the version
//! of their API tells a request for them apart.

mod alibaba;
mod tencent;

pub(super) use alibaba::OidcOrRoleCall;
pub(super) use tencent::RoleCall;

use super::cloud::Cloud;
use super::head::{Head, only};
use super::identity::RoleSettings;
use std::time::Duration;

/// The longest life of a credential where the role says nothing.
const LONGEST: Duration = Duration::from_secs(12 * 3_600);

/// Whether a request is meant for Tencent's token service.
pub(super) fn is_tencents(head: &Head<'_>) -> bool {
    only(head.headers, "x-tc-version") == Some(tencent::VERSION)
}

/// Whether a request is meant for Alibaba's: a signed one says so in a header, one without a signature in its query.
pub(super) fn is_alibabas(head: &Head<'_>) -> bool {
    let unsigned = || {
        url::form_urlencoded::parse(head.query.as_bytes())
            .any(|pair| pair == ("Version".into(), alibaba::VERSION.into()))
    };
    match only(head.headers, "x-acs-version") {
        Some(version) => version == alibaba::VERSION,
        None => only(head.headers, "x-tc-version").is_none() && unsigned(),
    }
}

/// What a caller asks for, whichever vendor's words it used.
struct Wish<'a> {
    role: &'a str,
    /// The key id of whoever signed.
    caller: Option<&'a str>,
    external_id: Option<&'a str>,
    /// The identity provider and its token.
    identity: Option<(&'a str, &'a str)>,
    life: Duration,
}

/// Why a role is not given.
enum Why {
    NoSuchRole,
    NotTrusted,
    WrongToken,
    TooLong,
}

/// Whether this wish is granted.
fn grant(cloud: &Cloud, wish: &Wish<'_>) -> Result<(), Why> {
    let state = cloud.state();
    let role: &RoleSettings = state.roles.iter().find(|role| role.arn == wish.role).ok_or(Why::NoSuchRole)?;
    match wish.identity {
        Some((provider, token)) => {
            if role.identity_provider.as_deref() != Some(provider) {
                return Err(Why::NotTrusted);
            }
            if role.identity_token.as_ref().map(|token| token.expose()) != Some(token) {
                return Err(Why::WrongToken);
            }
        }
        None => {
            let known =
                wish.caller.is_some_and(|caller| role.callers.is_empty() || role.callers.iter().any(|id| id == caller));
            if !known || role.external_id.as_deref() != wish.external_id {
                return Err(Why::NotTrusted);
            }
        }
    }
    if wish.life > role.longest.unwrap_or(LONGEST) { Err(Why::TooLong) } else { Ok(()) }
}

/// Whether a session may be called this (both vendors' documents "AssumeRole"; `most` is where they differ).
fn is_session(name: &str, most: usize) -> bool {
    (2..=most).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte))
}
