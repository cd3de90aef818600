//! What the configuration says of a source. What is absent is taken from the variables that the vendor's own tools read, or has a default.

use crate::fault::{Fault, Kind};
use crate::http::is_loopback;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use url::{Host, Url};

/// A profile in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileSettings {
    /// The file; absent means where the vendor's tools look.
    pub path: Option<PathBuf>,
    /// The profile's name in it.
    pub name: Option<String>,
}

/// The role of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetadataSettings {
    /// The role's name; absent means that the metadata service is asked for it.
    pub role: Option<String>,
}

/// A service that answers at one URL with a credential.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UriSettings {
    /// The URL; absent means that the vendor's variable names it.
    pub url: Option<CredentialUrl>,
}

/// A URL that answers with a credential: https, or plain http that does not leave this machine or its link.
#[derive(Clone, PartialEq, Eq)]
pub struct CredentialUrl(Url);

impl CredentialUrl {
    /// What a variable or the configuration says.
    ///
    /// # Errors
    /// `ConfigInvalid`; nothing of the text is repeated, since a token may stand in it.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let refused = |what: &str, next_step: &str| Err(Fault::new(Kind::ConfigInvalid, what).advise(next_step));
        let whole = "write https://HOST/PATH, or http://127.0.0.1:PORT/PATH for a service on this machine";
        let Ok(url) = Url::parse(text) else { return refused("This is not a URL", whole) };
        if !matches!(url.scheme(), "https" | "http") {
            return refused("A credential is fetched by https or http alone", whole);
        }
        if !url.username().is_empty() || url.password().is_some() {
            let next_step = "leave it out, and replace the password if it was real";
            return refused("There is a user or a password in this URL", next_step);
        }
        if url.scheme() == "http" && !is_loopback(&url) && !is_link_local(&url) {
            let next_step = "write https://; plain http is for a loopback address, localhost and 169.254.0.0/16";
            return refused("Plain http would show the credential on its way", next_step);
        }
        Ok(Self(url))
    }

    /// The URL.
    pub fn url(&self) -> &Url {
        &self.0
    }
}

/// Without the path and the query, which may hold a token.
impl fmt::Debug for CredentialUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CredentialUrl({})", self.0.authority())
    }
}

/// Whether the host is on this machine's own link, where clouds and container runtimes put such services. Of IPv6 no address is: a URL cannot
/// say on which of several links it is meant.
fn is_link_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_link_local(),
        Some(Host::Ipv6(_) | Host::Domain(_)) | None => false,
    }
}

/// A role for a pod's own identity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentitySettings {
    /// The identity provider: an id at Tencent Cloud, an ARN at Alibaba Cloud.
    pub provider: Option<String>,
    /// The file that holds the identity's token; another process replaces it from time to time.
    pub token_file: Option<PathBuf>,
    /// The role.
    pub role: Option<String>,
    /// What the cloud's records call this session.
    pub session: Option<String>,
    /// How long one credential should live.
    pub duration: Option<Duration>,
    /// Narrows what the role may do, in the vendor's policy language.
    pub policy: Option<String>,
}

/// A role that another credential may take on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleSettings {
    /// The role's ARN.
    pub role: String,
    /// What the cloud's records call this session.
    pub session: Option<String>,
    /// How long one credential should live.
    pub duration: Option<Duration>,
    /// What the role's owner asks for besides.
    pub external_id: Option<String>,
    /// Narrows what the role may do, in the vendor's policy language.
    pub policy: Option<String>,
}

/// What the cloud's records call a session where nobody says otherwise.
pub const SESSION: &str = "keywheel";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_never_crosses_a_network_in_plain_text() {
        for (text, refused) in [
            ("https://broker.example/credentials?role=rotator", None),
            ("http://127.0.0.1:9470/credentials", None),
            ("http://[::1]:9470/", None),
            ("http://localhost/credentials", None),
            ("http://169.254.170.2/credentials", None),
            ("http://169.253.255.255/", Some("Plain http")),
            ("http://10.0.0.1/credentials", Some("Plain http")),
            ("http://[fe80::1]/", Some("Plain http")),
            ("http://localhost.example/", Some("Plain http")),
            ("http://0.0.0.0/", Some("Plain http")),
            ("https://user@broker.example/", Some("a user")),
            ("http://:hunter2@127.0.0.1/", Some("a password")),
            ("file:///etc/credentials", Some("https or http alone")),
            ("/credentials", Some("not a URL")),
            ("", Some("not a URL")),
        ] {
            let got = CredentialUrl::parse(text).err().map(|fault| fault.to_string());
            match refused {
                None => assert_eq!(got, None, "{text}"),
                Some(words) => {
                    let got = got.unwrap_or_else(|| panic!("{text} is allowed"));
                    assert!(got.contains(words) && !got.contains("hunter2"), "{text}: {got}");
                }
            }
        }
    }

    #[test]
    fn what_may_be_a_token_is_not_shown() {
        let url = CredentialUrl::parse("https://broker.example/hunter2?token=hunter2").unwrap();
        assert_eq!(format!("{url:?}"), "CredentialUrl(broker.example)");
    }
}
