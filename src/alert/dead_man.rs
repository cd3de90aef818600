//! The dead-man URL: somebody else's service that raises its own alarm when it is *not* called for a while.

use super::address::SecretUrl;
use crate::fault::Fault;
use crate::http::signed::USER_AGENT;
use crate::http::{Method, Settings};
use crate::secret::Credential;

/// The service, behind a URL that is a secret.
pub struct DeadMan {
    url: SecretUrl,
}

impl DeadMan {
    /// The service behind the URL that is kept there.
    pub fn new(url: Credential, reach: Settings) -> Self {
        Self { url: SecretUrl::new(url, reach) }
    }

    /// Says that all is well.
    ///
    /// # Errors
    /// `AlertFailed`.
    pub async fn ping(&self) -> Result<(), Fault> {
        let headers = [USER_AGENT].map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.url.send(Method::GET, &headers, Vec::new()).await
    }

    /// Whether it could be called, as far as that can be seen without a call.
    ///
    /// # Errors
    /// `AlertFailed` with what would fail.
    pub fn ready(&self) -> Result<(), Fault> {
        self.url.client().map(drop)
    }
}
