//! A URL that is a secret itself.

use crate::fault::{Fault, Kind};
use crate::http::signed::{Whose, taken};
use crate::http::{Client, Effect, Method, Settings};
use crate::secret::{Credential, Secret};
use std::sync::{Mutex, PoisonError};
use url::Url;
use zeroize::Zeroizing;

/// Whose receivers these are.
pub const WHOSE: Whose = Whose { noun: "channel", kind: Kind::AlertFailed };

/// A URL whose path or query opens a door, read anew for each request.
pub struct SecretUrl {
    kept_in: Credential,
    reach: Settings,
    /// The client for the URL as it was read last: making one reads every certificate of the machine.
    made: Mutex<Option<(Secret, Client)>>,
}

impl SecretUrl {
    /// The URL that is kept there.
    pub fn new(kept_in: Credential, reach: Settings) -> Self {
        Self { kept_in, reach, made: Mutex::default() }
    }

    /// A client for it.
    ///
    /// # Errors
    /// `AlertFailed` where it cannot be read, is none, or leads elsewhere than to https or this machine.
    pub fn client(&self) -> Result<Client, Fault> {
        let failed = |fault: Fault| Fault::new(Kind::AlertFailed, fault.what).advise(fault.next_step);
        let text = self.kept_in.get().map_err(failed)?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, client)) = &*made
            && known.expose() == text.expose()
        {
            return Ok(client.clone());
        }
        // The parser's own words may repeat the text.
        let url = Url::parse(text.expose().trim()).map_err(|_| {
            Fault::new(Kind::AlertFailed, "What is kept as the URL is none")
                .advise("put the whole URL there, https:// included")
        })?;
        let client = Client::new(url, &self.reach).map_err(failed)?;
        *made = Some((text, client.clone()));
        Ok(client)
    }

    /// Sends one request there.
    ///
    /// # Errors
    /// `AlertFailed` where it was not taken.
    pub async fn send(&self, method: Method, headers: &[(String, String)], body: Vec<u8>) -> Result<(), Fault> {
        let client = self.client()?;
        let url = client.endpoint().clone();
        taken(WHOSE, &client, client.send(method, url, headers, Zeroizing::new(body), Effect::Write).await)
    }
}
