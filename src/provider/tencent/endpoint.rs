//! Which host serves a region (vendor document "Request Structure"), and whether the settings make one provider.

use crate::fault::{Fault, Kind};
use crate::provider::endpoint::{bare, of_host, refuse_odd_region};
use serde::{Deserialize, Serialize};
use url::Url;

/// Which of the vendor's two sites the account belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Site {
    /// Mainland China's site, `tencentcloudapi.com`.
    #[default]
    China,
    /// The international site, `intl.tencentcloudapi.com`.
    International,
}

/// Regions with this suffix are financial zones: the default domain does not reach them.
const FINANCIAL: &str = "-fsi";

/// The URL to send requests to: the override, the financial zone's own host, the region's own host, or the site's nearest.
///
/// # Errors
/// `ConfigInvalid` for a text that is no region id, an override with more than a host in it, or a regional host on the international site.
pub(super) fn endpoint(
    service: &str,
    region: &str,
    site: Site,
    regional: bool,
    chosen: Option<&Url>,
) -> Result<Url, Fault> {
    refuse_odd_region(region, "ap-guangzhou")?;
    if let Some(chosen) = chosen {
        return bare(chosen);
    }
    let host = match site {
        // Financial zones belong to the China site whatever the account says.
        Site::China | Site::International if region.ends_with(FINANCIAL) => {
            format!("{service}.{region}.tencentcloudapi.com")
        }
        Site::China if regional => format!("{service}.{region}.tencentcloudapi.com"),
        Site::China => format!("{service}.tencentcloudapi.com"),
        Site::International if regional => {
            let what = "The international site publishes no regional hosts";
            return Err(Fault::new(Kind::ConfigInvalid, what)
                .advise("remove the setting, or name the host with the endpoint setting"));
        }
        Site::International => format!("{service}.intl.tencentcloudapi.com"),
    };
    of_host(&host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_region_has_its_host() {
        use Site::{China, International};
        let rows = [
            ("ap-guangzhou", China, false, None, Some("https://redis.tencentcloudapi.com/")),
            ("ap-guangzhou", China, true, None, Some("https://redis.ap-guangzhou.tencentcloudapi.com/")),
            ("ap-singapore", International, false, None, Some("https://redis.intl.tencentcloudapi.com/")),
            ("ap-singapore", International, true, None, None),
            ("ap-shanghai-fsi", China, false, None, Some("https://redis.ap-shanghai-fsi.tencentcloudapi.com/")),
            ("ap-shenzhen-fsi", International, false, None, Some("https://redis.ap-shenzhen-fsi.tencentcloudapi.com/")),
            ("ap-shanghai-fsi", China, false, Some("http://127.0.0.1:9/"), Some("http://127.0.0.1:9/")),
            ("xx-newtown-7", China, false, None, Some("https://redis.tencentcloudapi.com/")),
            ("", China, false, None, None),
            ("Guangzhou", China, false, None, None),
            ("ap-x/evil.example", China, true, None, None),
            ("ap-guangzhou", China, false, Some("https://h/path"), None),
            ("ap-guangzhou", China, false, Some("https://user:hunter2@h/"), None),
        ];
        for (region, site, regional, chosen, expected) in rows {
            let chosen = chosen.map(|text| Url::parse(text).unwrap());
            let got = endpoint("redis", region, site, regional, chosen.as_ref());
            assert_eq!(got.as_ref().ok().map(Url::as_str), expected, "{region} {site:?} {regional}");
            if let Err(fault) = got {
                assert!(!fault.to_string().contains("hunter2"));
            }
        }
    }
}
