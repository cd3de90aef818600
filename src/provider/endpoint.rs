//! What every cloud's endpoint has in common: the form of a region id, and of a host that was chosen instead of the region's own.

use crate::fault::{Fault, Kind};
use url::Url;

/// The longest region id, in characters. The list of regions grows, so only the form is checked.
const REGION_LIMIT: usize = 40;

/// # Errors
/// `ConfigInvalid` for a text that is no region id.
pub(super) fn refuse_odd_region(region: &str, example: &str) -> Result<(), Fault> {
    let fits = region.len() <= REGION_LIMIT
        && region.starts_with(|first: char| first.is_ascii_lowercase())
        && region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if fits {
        return Ok(());
    }
    Err(Fault::new(Kind::ConfigInvalid, format!("{region:?} is not a region id"))
        .advise(format!("write the region as the console shows it, such as {example}")))
}

/// The chosen host, if it is one and nothing more.
///
/// # Errors
/// `ConfigInvalid` for a URL with a path, a query, a user or a password in it.
pub(super) fn bare(chosen: &Url) -> Result<Url, Fault> {
    let is_bare = chosen.path() == "/"
        && chosen.query().is_none()
        && chosen.fragment().is_none()
        && chosen.username().is_empty()
        && chosen.password().is_none()
        && chosen.host_str().is_some();
    if is_bare {
        return Ok(chosen.clone());
    }
    // The URL is not repeated: it may hold a password.
    let what = "The endpoint has more in it than a scheme, a host and a port";
    Err(Fault::new(Kind::ConfigInvalid, what).advise("write the endpoint as https://HOST or https://HOST:PORT"))
}

/// The URL of a vendor's own host.
///
/// # Errors
/// `ConfigInvalid` where the name cannot be a host's.
pub(super) fn of_host(host: &str) -> Result<Url, Fault> {
    Url::parse(&format!("https://{host}/"))
        .map_err(|error| Fault::new(Kind::ConfigInvalid, format!("{host} is not a host: {error}")))
}
