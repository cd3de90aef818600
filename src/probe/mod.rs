//! The joint to the instance itself: a login that proves which password is live.

pub mod nodes;
pub mod redis;

use crate::fault::Fault;
use crate::rotation::answer::Login;
use crate::secret::Secret;
use async_trait::async_trait;

/// Where and as whom one target is logged in to.
///
/// Duties: a fresh connection every time, never a pooled one (Redis keeps an authenticated connection after a password change); AUTH, then PING;
/// bounded in time; nothing of the password in any error.
#[async_trait]
pub trait Probe: Send + Sync {
    /// Tries the password. An answer that is neither a welcome nor a refusal of the password is [`Login::Unreachable`].
    async fn login(&self, password: &Secret) -> Login;

    /// Whether it is known what a client sends besides the password: there is only one way, or one of several was let in since this was made.
    fn knows_form(&self) -> bool {
        true
    }

    /// The route in words for people, such as `redis://10.0.0.12:6379`; never with a password in it.
    fn route(&self) -> &str;
}

/// What several logins show together. Those that gave no answer make a partial yes or no worth nothing. `noun` says what each of them was.
fn together(logins: Vec<Login>, noun: &str) -> Login {
    let all = logins.len();
    let (mut accepted, mut refused, mut free, mut mixed, mut silent, mut silences) = (0, 0, 0, 0, None, 0);
    for login in logins {
        match login {
            Login::Accepted => accepted += 1,
            Login::Refused => refused += 1,
            Login::PasswordFree => free += 1,
            Login::Mixed => mixed += 1,
            Login::Unreachable { fault } => {
                silences += 1;
                silent = silent.or(Some(fault));
            }
        }
    }
    if free > 0 {
        return Login::PasswordFree;
    }
    if mixed > 0 || (accepted > 0 && refused > 0) {
        return Login::Mixed;
    }
    match silent {
        Some(fault) if accepted + refused > 0 => {
            let answered = if accepted > 0 { "let in" } else { "turned away" };
            let more = if silences > 1 { format!(" (and {} more like it)", silences - 1) } else { String::new() };
            let what = format!("{} of {all} {noun} were {answered}, but: {}{more}", accepted + refused, fault.what);
            Login::Unreachable { fault: Fault::new(fault.kind, what).advise(fault.next_step) }
        }
        Some(fault) => Login::Unreachable { fault },
        None if accepted > 0 => Login::Accepted,
        None => Login::Refused,
    }
}
