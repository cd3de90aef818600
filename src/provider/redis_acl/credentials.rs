//! Who administers the users of a server, and with which password.

use crate::fault::Fault;
use crate::provider::Address;
use crate::provider::outcome::without_credential;
use crate::secret::Secret;
use async_trait::async_trait;
use std::sync::Arc;

/// The most passwords that one login of the administrator tries.
const CANDIDATES_LIMIT: usize = 8;

/// Where the administrator's password is found.
///
/// Duties: asked anew for every call, so that a replaced file and a rotated administrator are seen; the newest password first. An administrator that
/// is itself rotated has several that may be live, and on each node another one may be.
#[async_trait]
pub trait AdminPasswords: Send + Sync {
    /// What may be live for whoever administers this account; empty where nothing is known yet.
    ///
    /// # Errors
    /// Why it cannot be told.
    async fn candidates(&self, address: &Address) -> Result<Vec<Secret>, Fault>;
}

/// A password that is read from its place each time.
pub struct ReadAnew(pub Arc<dyn Fn() -> Result<Secret, Fault> + Send + Sync>);

#[async_trait]
impl AdminPasswords for ReadAnew {
    async fn candidates(&self, _address: &Address) -> Result<Vec<Secret>, Fault> {
        (self.0)().map(|password| vec![password])
    }
}

/// Nothing beyond what a call itself brings: an account that administers itself is changed with its own old and new password.
pub struct NothingKnown;

#[async_trait]
impl AdminPasswords for NothingKnown {
    async fn candidates(&self, _address: &Address) -> Result<Vec<Secret>, Fault> {
        Ok(Vec::new())
    }
}

/// The administrator.
#[derive(Clone)]
pub struct Admin {
    /// The user to log in as; `None`: the account that is changed administers itself.
    pub user: Option<String>,
    /// Its passwords.
    pub passwords: Arc<dyn AdminPasswords>,
}

/// How one call logs in: the user, and the passwords to try in order.
pub(super) struct Login {
    pub user: String,
    pub passwords: Vec<Secret>,
    /// Whether the account that is changed logs in itself.
    pub is_own: bool,
}

impl Admin {
    /// The login for a call about an account. `own` are the account's passwords that the call brings, the newest first; they count where the account
    /// is the administrator.
    ///
    /// # Errors
    /// Why no password can be had.
    pub(super) async fn login(&self, address: &Address, own: &[&Secret]) -> Result<Login, Fault> {
        let user = self.user.as_deref().unwrap_or(&address.account);
        let is_own = user == address.account;
        let mut passwords: Vec<Secret> = if is_own { own.iter().map(|&own| own.clone()).collect() } else { Vec::new() };
        match self.passwords.candidates(address).await {
            Ok(more) => {
                let new = |secret: &Secret| passwords.iter().all(|known| known.expose() != secret.expose());
                let more: Vec<Secret> = more.into_iter().filter(new).collect();
                passwords.extend(more);
            }
            Err(fault) if passwords.is_empty() => return Err(without_credential(fault)),
            // The call brought what is newer than any file.
            Err(_) => {}
        }
        passwords.truncate(CANDIDATES_LIMIT);
        Ok(Login { user: user.to_owned(), passwords, is_own })
    }
}
