//! The head of a request, as a signature's verifier looks at it.

use hyper::HeaderMap;

/// The part of a request that a signature covers, the body aside.
pub(super) struct Head<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) headers: &'a HeaderMap,
}

impl<'a> Head<'a> {
    pub(super) fn of(parts: &'a hyper::http::request::Parts) -> Self {
        Self {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
        }
    }
}

/// The value of a header that stands exactly once.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// The hosts a caller may have signed: as sent, or without the port, which some of the vendors' own SDKs leave out.
pub(super) fn hosts(headers: &HeaderMap) -> Vec<String> {
    let sent = only(headers, "host").unwrap_or_default();
    let bare = sent.rsplit_once(':').map(|(host, _port)| host.to_owned());
    std::iter::once(sent.to_owned()).chain(bare).collect()
}
