//! A service of the owner's own that answers at one URL with a credential, in the metadata service's shape (the vendor's SDKs, "credentials
//! URI"). What it is and how it knows its callers is its owner's affair.

use super::metadata::given;
use crate::fault::{Fault, Kind};
use crate::moment::Moment;
use crate::provider::credential::endpoint::Reach;
use crate::provider::credential::settings::{CredentialUrl, UriSettings};
use crate::provider::credential::{Credential, Issuer, Variables, odd_status, variable_set};
use async_trait::async_trait;

/// The variable that names the URL.
pub(super) const VARIABLE: &str = "ALIBABA_CLOUD_CREDENTIALS_URI";
/// What to do where the answer means nothing.
const ASKED_AGAIN: &str = "nothing; keywheel asks again. If it lasts, look at the service behind the credentials URL";

/// Asks the service.
pub(super) struct ByUri {
    reach: Reach,
    settings: UriSettings,
    variables: Variables,
}

impl ByUri {
    pub(super) fn new(reach: Reach, settings: UriSettings, variables: Variables) -> Self {
        Self { reach, settings, variables }
    }

    /// The configured URL, or the variable's, under the same rule.
    fn url(&self) -> Result<CredentialUrl, Fault> {
        if let Some(url) = &self.settings.url {
            return Ok(url.clone());
        }
        let text = variable_set(&self.variables, VARIABLE).ok_or_else(|| {
            Fault::new(Kind::SecretUnreadable, format!("The environment variable {VARIABLE} is not set"))
                .advise("set it, or set url in the provider's credentials")
        })?;
        CredentialUrl::parse(&text)
            .map_err(|fault| Fault { what: format!("The environment variable {VARIABLE}: {}", fault.what), ..fault })
    }
}

#[async_trait]
impl Issuer for ByUri {
    async fn issue(&self) -> Result<(Credential, Moment), Fault> {
        let service = self.reach.credential_service(&self.url()?)?;
        let answer = service.whole().await?;
        let read = match answer.status {
            200 => given(&service.called(), &answer.text),
            status => Err(odd_status(&service.called(), status)),
        };
        read.map_err(|fault| fault.advise(ASKED_AGAIN))
    }
}
