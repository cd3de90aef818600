//! A vendor-free HTTPS client for one endpoint, built so that the outcome of a send is never guessed: a request either certainly did not
//! leave, or may have been received, or has a whole answer.

pub mod nearby;
pub mod signed;

use crate::fault::{Fault, Kind};
use crate::moment::Moment;
use bytes::Bytes;
pub use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::{Host, Url};
use zeroize::Zeroizing;

/// The largest answer that is read, in bytes. More is no answer.
pub const ANSWER_LIMIT: usize = 1024 * 1024;
/// How long DNS, TCP and TLS may take together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one request may take in all, where the configuration says nothing.
pub const TIMEOUT: Duration = Duration::from_secs(60);
/// An idle connection is given up before servers usually do, so that a read seldom meets a closing one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest "retry after" that is believed.
pub const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(600);
/// The largest file of certificates, in bytes.
pub const CA_FILE_LIMIT: u64 = 4 * 1024 * 1024;

/// How the client reaches its endpoint.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The whole request, from the first byte of DNS to the last of the answer.
    pub timeout: Duration,
    /// Certificates (PEM) to trust instead of the machine's.
    pub ca_file: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { timeout: TIMEOUT, ca_file: None }
    }
}

/// What a request does at the other side; decides whether a used connection may carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Changes something: sent on a fresh connection, since a used one that the server is closing would swallow it and leave us in doubt.
    Write,
    /// Changes nothing: a kept connection will do.
    Read,
}

/// A whole answer, of whatever status.
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// What the server's clock said (`Date` header).
    pub date: Option<Moment>,
    /// How long the server asks us to wait (`Retry-After` in seconds).
    pub retry_after: Option<Duration>,
    headers: HeaderMap,
    /// The body, at most [`ANSWER_LIMIT`] bytes.
    pub body: Zeroizing<Vec<u8>>,
}

impl Reply {
    /// The text of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Every header that is a text, by its lower-case name.
    #[cfg(feature = "aws")]
    pub fn texts(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.headers.iter().filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
    }
}

/// Why there is no whole answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The request certainly did not leave: DNS, connect, TLS, or a request that cannot be built.
    #[error("{0}")]
    NotSent(Fault),
    /// The other side may have received it.
    #[error("{0}")]
    Unanswered(Fault),
}

/// A client for one endpoint. Follows no redirect, repeats nothing by itself, and honours HTTPS_PROXY and NO_PROXY.
#[derive(Debug, Clone)]
pub struct Client {
    endpoint: Url,
    reads: reqwest::Client,
    writes: reqwest::Client,
}

impl Client {
    /// A client for `endpoint`, over TLS unless it is a loopback address.
    ///
    /// # Errors
    /// `ConfigInvalid` for plain http to elsewhere, another scheme, or a `ca_file` or machine without usable certificates.
    pub fn new(endpoint: Url, settings: &Settings) -> Result<Self, Fault> {
        Self::made(endpoint, settings, None, None)
    }

    /// The same client for a service of the machine that this runs on, in plain http to an address of its own link.
    ///
    /// # Errors
    /// `ConfigInvalid` for anything else.
    #[cfg(feature = "aws")]
    pub fn on_link(endpoint: Url, settings: &Settings) -> Result<Self, Fault> {
        if !is_on_link(&endpoint) {
            return Err(Fault::new(Kind::Bug, "an address that is not on this machine's link"));
        }
        Ok(Self {
            reads: client(&endpoint, settings, Effect::Read, None, None)?,
            writes: client(&endpoint, settings, Effect::Write, None, None)?,
            endpoint,
        })
    }

    /// The same client with a certificate of its own to show: certificate and key, each in PEM.
    ///
    /// # Errors
    /// As [`Client::new`], and where the two are no certificate and key.
    pub fn with_certificate(endpoint: Url, settings: &Settings, pem: &Zeroizing<Vec<u8>>) -> Result<Self, Fault> {
        Self::made(endpoint, settings, Some(&identity(pem)?), None)
    }

    /// The same for who has the certificates to trust in memory (each in DER); the settings' `ca_file` wins over them.
    ///
    /// # Errors
    /// As [`Client::with_certificate`].
    pub fn trusting(
        endpoint: Url,
        settings: &Settings,
        roots: Option<&[Vec<u8>]>,
        pem: Option<&Zeroizing<Vec<u8>>>,
    ) -> Result<Self, Fault> {
        Self::made(endpoint, settings, pem.map(identity).transpose()?.as_ref(), roots)
    }

    fn made(
        endpoint: Url,
        settings: &Settings,
        identity: Option<&reqwest::Identity>,
        roots: Option<&[Vec<u8>]>,
    ) -> Result<Self, Fault> {
        if !(endpoint.scheme() == "https" || endpoint.scheme() == "http" && is_loopback(&endpoint)) {
            return Err(Fault::new(
                Kind::ConfigInvalid,
                format!(
                    "The endpoint at {} is neither https nor plain http to a loopback address",
                    endpoint.authority()
                ),
            ));
        }
        Ok(Self {
            reads: client(&endpoint, settings, Effect::Read, identity, roots)?,
            writes: client(&endpoint, settings, Effect::Write, identity, roots)?,
            endpoint,
        })
    }

    /// Where it sends to.
    pub fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// The host as the `Host` header carries it: with a port unless it is the scheme's own.
    pub fn authority(&self) -> String {
        let host = self.endpoint.host_str().unwrap_or_default();
        match self.endpoint.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// Sends one POST and reads the whole answer. No header is ever shown in a log; the body is wiped after it was sent.
    ///
    /// # Errors
    /// [`SendError`] tells apart what was certainly not sent and what may have been received.
    pub async fn post(
        &self,
        headers: &[(String, String)],
        body: Zeroizing<Vec<u8>>,
        effect: Effect,
    ) -> Result<Reply, SendError> {
        self.post_with_query("", headers, body, effect).await
    }

    /// The same with a query, which is sent exactly as it stands here. The request's URL is not wiped afterwards, and whoever stands
    /// between may log it: a secret belongs in the body.
    ///
    /// # Errors
    /// As [`Client::post`].
    pub async fn post_with_query(
        &self,
        query: &str,
        headers: &[(String, String)],
        body: Zeroizing<Vec<u8>>,
        effect: Effect,
    ) -> Result<Reply, SendError> {
        let mut url = self.endpoint.clone();
        url.set_query((!query.is_empty()).then_some(query));
        self.send(Method::POST, url, headers, body, effect).await
    }

    /// Sends one request of whatever method to a URL of the endpoint's host and reads the whole answer. The URL is not wiped afterwards, as with
    /// [`Client::post_with_query`].
    ///
    /// # Errors
    /// As [`Client::post`].
    pub async fn send(
        &self,
        method: Method,
        url: Url,
        headers: &[(String, String)],
        body: Zeroizing<Vec<u8>>,
        effect: Effect,
    ) -> Result<Reply, SendError> {
        if url.origin() != self.endpoint.origin() {
            // Whether it is spoken to over TLS was looked at for the endpoint alone.
            let what = format!("A request for another host than {} was not sent", self.authority());
            return Err(SendError::NotSent(Fault::new(Kind::Bug, what)));
        }
        let client = match effect {
            Effect::Read => &self.reads,
            Effect::Write => &self.writes,
        };
        let mut headers = header_map(headers).map_err(SendError::NotSent)?;
        if body.is_empty() && matches!(method, Method::POST | Method::PUT) {
            // The client leaves it out then, and servers may insist on it where something is sent.
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let request = client.request(method, url).headers(headers);
        let request = if body.is_empty() { request } else { request.body(Bytes::from_owner(body)) };
        let response = request.send().await.map_err(|error| self.failed(&error))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = self.bounded_body(response).await.map_err(SendError::Unanswered)?;
        Ok(Reply { status, date: date(&headers), retry_after: retry_after(&headers), headers, body })
    }

    async fn bounded_body(&self, mut response: reqwest::Response) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let too_large =
            || Fault::new(Kind::Unanswered, format!("{} sent more than {ANSWER_LIMIT} bytes", self.authority()));
        let announced = response.content_length().unwrap_or(0);
        let announced = usize::try_from(announced).unwrap_or(usize::MAX);
        if announced > ANSWER_LIMIT {
            return Err(too_large());
        }
        let mut body = Zeroizing::new(Vec::with_capacity(announced));
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| Fault::new(Kind::Unanswered, self.sentence("broke off its answer", &error)))?
        {
            if body.len() + chunk.len() > ANSWER_LIMIT {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn failed(&self, error: &reqwest::Error) -> SendError {
        if error.is_connect() || error.is_builder() {
            SendError::NotSent(Fault::new(
                Kind::Unreachable,
                self.sentence("cannot be reached, nothing was sent", error),
            ))
        } else {
            SendError::Unanswered(Fault::new(
                Kind::Unanswered,
                self.sentence("was sent a request and gave no answer", error),
            ))
        }
    }

    /// The error with its causes, innermost last. The endpoint's URL holds no secret; bodies and headers are not part of such errors.
    fn sentence(&self, what: &str, error: &reqwest::Error) -> String {
        let mut sentence = format!("{} {what}", self.authority());
        if error.is_timeout() {
            sentence.push_str(" (timed out)");
        }
        let mut cause = error.source();
        while let Some(inner) = cause {
            sentence = format!("{sentence}: {inner}");
            cause = inner.source();
        }
        sentence
    }
}

/// Chooses the process's one TLS provider. Whoever comes first installs it, and it is always this one.
pub fn choose_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
    }
}

fn client(
    endpoint: &Url,
    settings: &Settings,
    effect: Effect,
    identity: Option<&reqwest::Identity>,
    roots: Option<&[Vec<u8>]>,
) -> Result<reqwest::Client, Fault> {
    choose_cryptography();
    let builder = reqwest::Client::builder()
        .timeout(settings.timeout)
        .connect_timeout(CONNECT_TIMEOUT.min(settings.timeout / 2))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false);
    let builder = match effect {
        Effect::Read => builder.pool_idle_timeout(IDLE_TIMEOUT),
        Effect::Write => builder.pool_max_idle_per_host(0),
    };
    // What goes to this machine itself, or in plain text, goes there directly: no proxy sees it.
    let direct = is_loopback(endpoint) || endpoint.scheme() == "http";
    let builder = if direct { builder.no_proxy() } else { builder };
    let builder = if endpoint.scheme() == "http" {
        builder.tls_certs_only([]) // no certificate is needed, so none has to be installed
    } else if let Some(path) = &settings.ca_file {
        builder.tls_certs_only(certificates(path)?)
    } else if let Some(roots) = roots {
        let roots: Result<Vec<_>, _> = roots.iter().map(|root| reqwest::Certificate::from_der(root)).collect();
        builder
            .tls_certs_only(roots.map_err(|_| Fault::new(Kind::ConfigInvalid, "The certificates to trust are none"))?)
    } else {
        builder
    };
    let builder = match identity {
        Some(identity) => builder.identity(identity.clone()),
        None => builder,
    };
    builder.build().map_err(|error| {
        let mut cause: &dyn Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        // Without the path and the query, which may hold a token.
        let whom = endpoint.authority();
        Fault::new(Kind::ConfigInvalid, format!("No TLS client can be made for {whom}: {cause}"))
            .advise("install the ca-certificates package, or name a PEM file with the ca-file setting")
    })
}

fn identity(pem: &Zeroizing<Vec<u8>>) -> Result<reqwest::Identity, Fault> {
    reqwest::Identity::from_pem(pem).map_err(|_| {
        // The parser's own words may repeat what it read.
        Fault::new(Kind::ConfigInvalid, "The client's certificate and key are not PEM, or not one of each")
    })
}

fn certificates(path: &Path) -> Result<Vec<reqwest::Certificate>, Fault> {
    let unusable = |why: String| {
        Fault::new(Kind::ConfigInvalid, format!("The certificates in {} cannot be used: {why}", path.display()))
            .advise("name a file of PEM certificates with the ca-file setting")
    };
    let size = std::fs::metadata(path).map_err(|error| unusable(error.to_string()))?.len();
    if size > CA_FILE_LIMIT {
        return Err(unusable(format!("it has {size} bytes, the limit is {CA_FILE_LIMIT}")));
    }
    let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error.to_string()))?;
    if certificates.is_empty() {
        return Err(unusable("it holds no PEM certificate".to_owned()));
    }
    Ok(certificates)
}

/// Whether this is plain http to an address that no router passes on: a link-local one, or one of those at which Amazon's machines and pods find the
/// services of their own host.
pub fn is_on_link(url: &Url) -> bool {
    let on_link = match url.host() {
        Some(Host::Ipv4(address)) => address.is_link_local(),
        Some(Host::Ipv6(address)) => {
            address.is_unicast_link_local() || matches!(address.segments(), [0xfd00, 0x0ec2, 0, ..])
        }
        Some(Host::Domain(_)) | None => false,
    };
    on_link && url.scheme() == "http"
}

/// Whether the URL's host is this machine itself.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn header_map(headers: &[(String, String)]) -> Result<HeaderMap, Fault> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let unusable = || {
            Fault::new(
                Kind::Misconfigured,
                format!("The header {name} cannot be sent: it holds a character that headers may not"),
            )
        };
        let mut value = HeaderValue::from_str(value).map_err(|_| unusable())?;
        value.set_sensitive(true);
        map.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable())?, value);
    }
    Ok(map)
}

fn date(headers: &HeaderMap) -> Option<Moment> {
    let text = headers.get(DATE)?.to_str().ok()?;
    let parsed = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    Some(Moment::from_millis(parsed.timestamp_millis()))
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_LIMIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn plain_http_only_to_this_machine() {
        let rows = [
            ("http://127.0.0.1:8080/", true),
            ("http://127.9.9.9/", true),
            ("http://[::1]:9000/", true),
            ("http://localhost/", true),
            ("http://10.0.0.1/", false),
            ("http://localhost.example/", false),
            ("http://0.0.0.0/", false),
            ("ftp://127.0.0.1/", false),
        ];
        for (endpoint, allowed) in rows {
            let client = Client::new(url(endpoint), &Settings::default());
            assert_eq!(client.is_ok(), allowed, "{endpoint}");
        }
    }

    #[cfg(feature = "aws")]
    #[test]
    fn plain_http_to_this_machines_link_for_whoever_asks_for_it() {
        let rows = [
            ("http://169.254.169.254/", true),
            ("http://169.254.170.23:80/", true),
            ("http://[fd00:ec2::254]/", true),
            ("http://[fe80::1]/", true),
            ("http://[fd00:ec3::254]/", false),
            ("http://169.253.169.254/", false),
            ("http://metadata.example/", false),
            ("https://169.254.169.254/", false),
        ];
        for (endpoint, allowed) in rows {
            assert_eq!(Client::on_link(url(endpoint), &Settings::default()).is_ok(), allowed, "{endpoint}");
            assert!(!allowed || Client::new(url(endpoint), &Settings::default()).is_err(), "{endpoint}");
        }
    }

    #[test]
    fn a_bad_ca_file_is_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "nothing here").unwrap();
        for path in [empty, folder.path().join("absent.pem")] {
            let settings = Settings { ca_file: Some(path), ..Settings::default() };
            let fault = Client::new(url("https://redis.example/"), &settings).unwrap_err();
            assert_eq!(fault.kind, Kind::ConfigInvalid);
            assert!(fault.next_step.contains("ca-file"), "{fault}");
        }
    }

    #[test]
    fn the_authority_carries_only_an_unusual_port() {
        let rows = [
            ("http://127.0.0.1:8080/", "127.0.0.1:8080"),
            ("http://[::1]:8080/", "[::1]:8080"),
            ("http://localhost:80/", "localhost"),
        ];
        for (endpoint, authority) in rows {
            let client = Client::new(url(endpoint), &Settings::default()).unwrap();
            assert_eq!(client.authority(), authority);
        }
    }

    #[test]
    fn the_servers_clock_and_wish_are_read() {
        let mut headers = HeaderMap::new();
        assert_eq!((date(&headers), retry_after(&headers)), (None, None));
        headers.insert(DATE, HeaderValue::from_static("Wed, 01 Jan 2025 00:00:00 GMT"));
        headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
        assert_eq!(date(&headers), Some(Moment::from_seconds(1_735_689_600)));
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(7)));
        headers.insert(DATE, HeaderValue::from_static("yesterday"));
        headers.insert(RETRY_AFTER, HeaderValue::from_static("999999999"));
        assert_eq!((date(&headers), retry_after(&headers)), (None, Some(RETRY_AFTER_LIMIT)));
    }

    #[test]
    fn a_header_that_cannot_be_sent_does_not_show_its_value() {
        let fault = header_map(&[("x-tc-token".to_owned(), "hunter2\n".to_owned())]).unwrap_err();
        assert!(!fault.what.contains("hunter2"));
    }
}
