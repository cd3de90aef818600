//! A client for the services that give a credential to whoever reaches them: the metadata service of the machine this runs on, in plain http to
//! one documented address that never leaves the host, and a service behind one whole URL. No redirect, small answers, short times.

use super::{Effect, Settings, choose_cryptography, header_map, is_loopback};
use crate::fault::{Fault, Kind};
use std::error::Error;
use std::time::Duration;
use url::Url;
use zeroize::Zeroizing;

/// How long a connection may take: the service is on this host, or there is none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the service may be silent.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one request may take in all.
const TIMEOUT: Duration = Duration::from_secs(4);
/// The largest answer that is read, in bytes.
const ANSWER_LIMIT: usize = 64 * 1024;

/// What the services are called in faults, and what to do where one cannot be reached.
const METADATA: (&str, &str) = (
    "The metadata service",
    "run keywheel on a machine of this cloud that has a role, or choose another credentials source",
);
const AT_URL: (&str, &str) =
    ("The credentials service", "start the service behind the credentials URL, or choose another credentials source");

/// A client for one service.
pub struct Nearby {
    base: Url,
    client: reqwest::Client,
    name: &'static str,
    advice: &'static str,
}

/// A whole answer, of whatever status.
pub struct Short {
    /// The HTTP status.
    pub status: u16,
    /// The body, as text.
    pub text: Zeroizing<String>,
}

impl Nearby {
    /// A client for `base`, which is https, or plain http to this machine itself or to `host`, the vendor's own address of the service.
    ///
    /// # Errors
    /// `ConfigInvalid` for anything else.
    pub fn new(base: &Url, host: &str) -> Result<Self, Fault> {
        let alone = base.path() == "/" && base.query().is_none() && base.username().is_empty();
        let plain =
            base.scheme() == "http" && (is_loopback(base) || base.host_str() == Some(host) && base.port().is_none());
        if !alone || !(plain || base.scheme() == "https") {
            let what = "The metadata service's endpoint is neither https nor plain http to this machine or to the vendor's own address";
            return Err(Fault::new(Kind::ConfigInvalid, what).advise(format!("remove it, or write http://{host}")));
        }
        choose_cryptography();
        let builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .pool_max_idle_per_host(0)
            .no_proxy();
        let builder = if base.scheme() == "http" { builder.tls_certs_only([]) } else { builder };
        let client = builder.build().map_err(|error| {
            Fault::new(Kind::ConfigInvalid, format!("No client can be made for the metadata service: {error}"))
        })?;
        let (name, advice) = METADATA;
        Ok(Self { base: base.clone(), client, name, advice })
    }

    /// A client for whatever answers at this URL, query and all. The caller has seen to it that plain http does not leave this machine or its
    /// link. Plain http goes past any proxy.
    ///
    /// # Errors
    /// `ConfigInvalid` for a `ca_file` or a machine without usable certificates.
    pub fn at(url: &Url, settings: &Settings) -> Result<Self, Fault> {
        // As for writes: a credential is asked for too seldom for a connection to be kept.
        let client = super::client(url, settings, Effect::Write, None)?;
        let (name, advice) = AT_URL;
        Ok(Self { base: url.clone(), client, name, advice })
    }

    /// What the service is called in faults. Its path and query are left out: they may hold a token.
    pub fn called(&self) -> String {
        format!("{} at {}", self.name, self.base.authority())
    }

    /// Asks for what is at the URL that the client was made for.
    ///
    /// # Errors
    /// `Unreachable` or `Unanswered`: no whole answer.
    pub async fn whole(&self) -> Result<Short, Fault> {
        self.ask(reqwest::Method::GET, self.base.clone(), &[]).await
    }

    /// The same with headers.
    ///
    /// # Errors
    /// As [`Nearby::whole`].
    pub async fn asked(&self, headers: &[(&str, &str)]) -> Result<Short, Fault> {
        self.ask(reqwest::Method::GET, self.base.clone(), headers).await
    }

    /// Asks for what is at a path.
    ///
    /// # Errors
    /// `Unreachable` or `Unanswered`: no whole answer.
    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Short, Fault> {
        self.ask(reqwest::Method::GET, self.below(path), headers).await
    }

    /// Puts nothing at a path, which is how a token is asked for.
    ///
    /// # Errors
    /// As [`Nearby::get`].
    pub async fn put(&self, path: &str, headers: &[(&str, &str)]) -> Result<Short, Fault> {
        self.ask(reqwest::Method::PUT, self.below(path), headers).await
    }

    fn below(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url
    }

    async fn ask(&self, method: reqwest::Method, url: Url, headers: &[(&str, &str)]) -> Result<Short, Fault> {
        let mut all: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        if method == reqwest::Method::PUT {
            // Some servers insist on a length where something is put.
            all.push(("content-length".to_owned(), "0".to_owned()));
        }
        let request = self.client.request(method, url).headers(header_map(&all)?);
        let mut response = request.send().await.map_err(|error| self.failed(error))?;
        let status = response.status().as_u16();
        let mut body = Zeroizing::new(Vec::with_capacity(ANSWER_LIMIT));
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failed(error))? {
            if body.len() + chunk.len() > ANSWER_LIMIT {
                return Err(self.no_answer(&format!("sent more than {ANSWER_LIMIT} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        let text = std::str::from_utf8(&body).map_err(|_| self.no_answer("sent something that is not text"))?;
        Ok(Short { status, text: Zeroizing::new(text.to_owned()) })
    }

    fn no_answer(&self, what: &str) -> Fault {
        Fault::new(Kind::Unanswered, format!("{} {what}", self.called())).advise("nothing; keywheel asks again")
    }

    fn failed(&self, error: reqwest::Error) -> Fault {
        // The client's own words may repeat the URL.
        let error = error.without_url();
        let mut cause: &dyn Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        let why = if error.is_timeout() { "it timed out".to_owned() } else { cause.to_string() };
        if !error.is_connect() {
            return self.no_answer(&format!("gave no answer: {why}"));
        }
        Fault::new(Kind::Unreachable, format!("{} cannot be reached: {why}", self.called())).advise(self.advice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_only_to_this_machine_and_the_documented_address() {
        let host = "100.100.100.200";
        for (base, allowed) in [
            ("http://100.100.100.200/", true),
            ("http://127.0.0.1:9470/", true),
            ("https://metadata.example/", true),
            ("http://100.100.100.201/", false),
            ("http://100.100.100.200:8080/", false),
            ("http://metadata.example/", false),
            ("http://127.0.0.1/latest", false),
            ("http://user@127.0.0.1/", false),
            ("ftp://127.0.0.1/", false),
        ] {
            assert_eq!(Nearby::new(&Url::parse(base).unwrap(), host).is_ok(), allowed, "{base}");
        }
    }
}
