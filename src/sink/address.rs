//! The connection address of a document, with user and password in it.

use super::Document;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

/// Everything but the unreserved characters of RFC 3986, so that any reader's decoding gives the same text back.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The text as it stands in a part of an address.
pub fn encoded(text: &str) -> Zeroizing<String> {
    Zeroizing::new(utf8_percent_encode(text, RESERVED).to_string())
}

/// `redis://USER:PASSWORD@HOST:PORT`, or `rediss://` for TLS; `None` where the target has no login route.
pub fn connection_url(document: &Document) -> Option<Zeroizing<String>> {
    let endpoint = document.endpoint.as_ref()?;
    let scheme = if endpoint.tls { "rediss" } else { "redis" };
    let user = encoded(document.login_user.as_deref().unwrap_or_default());
    let password = encoded(document.login_password.expose());
    let host = if endpoint.host.contains(':') && !endpoint.host.starts_with('[') {
        format!("[{}]", endpoint.host)
    } else {
        endpoint.host.clone()
    };
    Some(Zeroizing::new(format!("{scheme}://{}:{}@{host}:{}", user.as_str(), password.as_str(), endpoint.port)))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::moment::Moment;
    use crate::name::Generation;
    use crate::secret::Secret;
    use crate::sink::Endpoint;

    /// A document as a driver would hand it over.
    pub fn document(generation: u64, password: &str) -> Document {
        Document {
            target: "orders-cache".parse().unwrap(),
            generation: Generation(generation),
            rotation: None,
            proven_at: Moment::from_seconds(1_735_689_600),
            account: "root".to_owned(),
            password: Secret::new(password.to_owned()),
            login_user: None,
            login_password: Secret::new(password.to_owned()),
            endpoint: Some(Endpoint { host: "10.0.0.12".to_owned(), port: 6379, tls: false }),
        }
    }

    #[test]
    fn addresses_are_built_for_each_way_to_log_in() {
        let shown = |document: &Document| connection_url(document).map(|url| url.to_string());
        let mut document = document(1, "p@ss:w/%41");
        assert_eq!(shown(&document).unwrap(), "redis://:p%40ss%3Aw%2F%2541@10.0.0.12:6379");
        document.login_user = Some("app é".to_owned());
        document.endpoint = Some(Endpoint { host: "fd00::1".to_owned(), port: 6380, tls: true });
        assert_eq!(shown(&document).unwrap(), "rediss://app%20%C3%A9:p%40ss%3Aw%2F%2541@[fd00::1]:6380");
        document.endpoint = None;
        assert_eq!(shown(&document), None);
    }
}
