//! Where a node takes connections.

/// The port of Redis where an address names none.
const DEFAULT_PORT: u16 = 6379;

/// A parsed address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Host name or IP address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether the connection is TLS.
    pub tls: bool,
}

impl Place {
    /// Reads `redis://HOST:PORT` or `rediss://HOST:PORT`.
    ///
    /// # Errors
    /// A sentence that does not repeat the text: a password in it must not come back.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("The login address {why}: write redis://HOST:PORT, or rediss:// for TLS"));
        let Ok(url) = url::Url::parse(text) else {
            return wrong("cannot be read");
        };
        let tls = match url.scheme() {
            "redis" => false,
            "rediss" => true,
            _ => return wrong("has another scheme"),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return wrong("holds a user or password, which belong elsewhere");
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return wrong("holds more than host and port");
        }
        match url.host_str() {
            None | Some("") => wrong("has no host"),
            Some(host) => Ok(Self {
                host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
                port: url.port().unwrap_or(DEFAULT_PORT),
                tls,
            }),
        }
    }
}

impl std::fmt::Display for Place {
    /// The address in its canonical form.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        if self.host.contains(':') {
            write!(formatter, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}
