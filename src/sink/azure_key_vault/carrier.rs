//! What carries the vendor's requests: [`crate::http`] in place of a transport of their own, so that answers have a limit, no redirect is followed and
//! nothing goes anywhere but to the vault, to whoever gives tokens for it, and to this machine's own metadata service.
//!
//! The vendor's clients speak of nothing but https. An address of this machine in plain http is theirs as https, and is plain again here.

use super::calls::Said;
use crate::fault::{Fault, Kind};
use crate::http::nearby::Nearby;
use crate::http::{Client, Effect, Method, Reply, SendError, Settings, is_loopback};
use async_trait::async_trait;
use azure_core::Bytes;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::{HeaderName, HeaderValue, Headers};
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Request, StatusCode};
use std::error::Error as StdError;
use std::fmt;
use url::{Host, Url};
use zeroize::Zeroizing;

/// What of an answer's head is passed on.
const HEADERS: [&str; 3] = ["www-authenticate", "retry-after", "content-type"];

/// Where the metadata service of a machine is.
pub const METADATA_HOST: &str = "169.254.169.254";

/// Whoever gives tokens gives none. The vendor's own reader of such an answer fails where a text in it has an escaped character.
#[derive(Debug, thiserror::Error)]
#[error("the login was refused")]
pub struct NoLogin(pub Said);

pub struct Carrier {
    pub vault: Client,
    pub authority: Client,
    /// Where the metadata service is, if elsewhere.
    pub metadata: Option<Url>,
    pub reach: Settings,
}

impl fmt::Debug for Carrier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Carrier(to {} and {})", self.vault.authority(), self.authority.authority())
    }
}

/// An address as the vendor's clients have it.
pub fn theirs(url: &Url) -> Url {
    let mut theirs = url.clone();
    if url.scheme() == "http" {
        // From http to https it always can be set.
        let _ = theirs.set_scheme("https");
    }
    theirs
}

/// The same address for this client, if it leads there.
fn ours(url: &Url, client: &Client) -> Option<Url> {
    let mut ours = url.clone();
    if client.endpoint().scheme() == "http" && url.scheme() == "https" {
        ours.set_scheme("http").ok()?;
    }
    (ours.origin() == client.endpoint().origin()).then_some(ours)
}

/// Whether plain http to it stays on this machine or its link.
fn is_nearby(url: &Url) -> bool {
    let on_link = matches!(url.host(), Some(Host::Ipv4(address)) if address.is_link_local());
    url.scheme() == "http" && (on_link || is_loopback(url))
}

impl Carrier {
    async fn nearby(&self, url: &Url, headers: &[(String, String)]) -> Result<AsyncRawResponse, SendError> {
        let mut url = url.clone();
        if let (Some(METADATA_HOST), Some(other)) = (url.host_str(), &self.metadata) {
            let (path, query) = (url.path().to_owned(), url.query().map(str::to_owned));
            url = other.clone();
            url.set_path(&path);
            url.set_query(query.as_deref());
        }
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer = Nearby::at(&url, &self.reach).map_err(SendError::NotSent)?.asked(&headers).await;
        let answer = answer.map_err(SendError::Unanswered)?;
        Ok(raw(answer.status, Headers::new(), answer.text.as_bytes()))
    }

    async fn carry(&self, request: &Request) -> Result<AsyncRawResponse, Box<dyn StdError + Send + Sync>> {
        let refuse = |what: &str| SendError::NotSent(Fault::new(Kind::Bug, what));
        let headers: Vec<(String, String)> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.as_str().to_owned()))
            // The client counts by itself.
            .filter(|(name, _)| name != "content-length")
            .collect();
        let method = Method::from_bytes(request.method().as_ref().as_bytes())
            .map_err(|_| refuse("A request to Azure had a method that is none"))?;
        let effect = if method == Method::GET { Effect::Read } else { Effect::Write };
        let body = match request.body() {
            Body::Bytes(bytes) => Zeroizing::new(bytes.to_vec()),
            Body::SeekableStream(_) => return Err(refuse("A request to Azure had a body that is no text").into()),
        };
        let url = request.url();
        for client in [&self.vault, &self.authority] {
            if let Some(url) = ours(url, client) {
                // Only a token is asked for by POST.
                let is_login = method == Method::POST;
                let reply = client.send(method, url, &headers, body, effect).await?;
                return match reply.status {
                    400.. if is_login => {
                        Err(NoLogin(Said::read(reply.status, &reply.body, reply.header("retry-after"))).into())
                    }
                    _ => Ok(passed_on(&reply)),
                };
            }
        }
        if is_nearby(url) && method == Method::GET {
            return Ok(self.nearby(url, &headers).await?);
        }
        Err(refuse("A request for another host than the vault's and that of the sink's authority was not sent").into())
    }
}

fn passed_on(reply: &Reply) -> AsyncRawResponse {
    let mut headers = Headers::new();
    for name in HEADERS {
        if let Some(value) = reply.header(name) {
            headers.insert(HeaderName::from_static(name), HeaderValue::from(value.to_owned()));
        }
    }
    raw(reply.status, headers, &reply.body)
}

fn raw(status: u16, headers: Headers, body: &[u8]) -> AsyncRawResponse {
    AsyncRawResponse::from_bytes(StatusCode::from(status), headers, Bytes::copy_from_slice(body))
}

#[async_trait]
impl HttpClient for Carrier {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        self.carry(request).await.map_err(|error| Error::with_error(ErrorKind::Io, error, "there is no whole answer"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_elsewhere() {
        let client = |text: &str| Client::new(Url::parse(text).unwrap(), &Settings::default()).unwrap();
        let (vault, plain) = (client("http://localhost:81/"), client("http://127.0.0.1:80/"));
        for (url, client, leads_there) in [
            ("https://localhost:81/secrets/a?b=c", &vault, Some("http://localhost:81/secrets/a?b=c")),
            ("http://localhost:81/", &vault, Some("http://localhost:81/")),
            ("https://localhost:82/", &vault, None),
            ("https://localhost.example:81/", &vault, None),
            ("https://127.0.0.1:80/", &plain, Some("http://127.0.0.1/")),
        ] {
            let found = ours(&Url::parse(url).unwrap(), client);
            assert_eq!(found.as_ref().map(Url::as_str), leads_there, "{url}");
        }
        for (url, near) in [
            ("http://169.254.169.254/metadata/identity/oauth2/token", true),
            ("http://127.0.0.1:42356/msi/token", true),
            ("http://169.253.169.254/", false),
            ("http://10.0.0.1/", false),
            ("https://169.254.169.254/", false),
        ] {
            assert_eq!(is_nearby(&Url::parse(url).unwrap()), near, "{url}");
        }
        // There and back, also with the port that goes without saying.
        for client in [&vault, &plain] {
            assert_eq!(ours(&theirs(client.endpoint()), client).as_ref(), Some(client.endpoint()));
        }
    }
}
