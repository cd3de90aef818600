//! The services that give credentials: hosts by default, and what a configured one may be.

use super::settings::CredentialUrl;
use crate::fault::{Fault, Kind};
use crate::http;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// How long one request to a token service may take in all. Others wait for it, so it is shorter than for the cloud's other calls.
const TOKEN_SERVICE_TIMEOUT: Duration = Duration::from_secs(15);

/// How the services are reached.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    /// The token service (STS); absent means the vendor's own.
    pub sts: Option<Url>,
    /// The metadata service of this machine; absent means the vendor's own.
    pub metadata: Option<Url>,
    /// Whether a metadata service that gives no token may be asked without one (Alibaba Cloud). Absent: as the vendor's variable says.
    pub metadata_without_token: Option<bool>,
    /// How long the provider gives a request.
    pub timeout: Option<Duration>,
    /// Certificates (PEM) to trust instead of the machine's.
    pub ca_file: Option<PathBuf>,
}

impl Reach {
    /// A client for the token service.
    ///
    /// # Errors
    /// `ConfigInvalid` where no client can be made.
    pub(in crate::provider) fn token_service(
        &self,
        default: impl FnOnce() -> Result<Url, Fault>,
    ) -> Result<http::Client, Fault> {
        let endpoint = match &self.sts {
            Some(chosen) => super::super::endpoint::bare(chosen)?,
            None => default()?,
        };
        http::Client::new(endpoint, &self.settings())
    }

    /// A client for a URL that answers with a credential.
    ///
    /// # Errors
    /// `ConfigInvalid` where no client can be made.
    pub(in crate::provider) fn credential_service(&self, at: &CredentialUrl) -> Result<http::nearby::Nearby, Fault> {
        http::nearby::Nearby::at(at.url(), &self.settings())
    }

    fn settings(&self) -> http::Settings {
        let timeout = self.timeout.unwrap_or(TOKEN_SERVICE_TIMEOUT).min(TOKEN_SERVICE_TIMEOUT);
        http::Settings { timeout, ca_file: self.ca_file.clone() }
    }

    /// A client for the metadata service, by default at this vendor's host.
    ///
    /// # Errors
    /// `ConfigInvalid` where no client can be made.
    pub(in crate::provider) fn metadata_service(&self, host: &str) -> Result<http::nearby::Nearby, Fault> {
        let own = Url::parse(&format!("http://{host}/"))
            .map_err(|error| Fault::new(Kind::ConfigInvalid, format!("{host} is not a host: {error}")))?;
        http::nearby::Nearby::new(self.metadata.as_ref().unwrap_or(&own), host)
    }
}
