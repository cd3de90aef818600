//! Which host serves a region (the vendor's own SDK for r-kvstore, and its lists of endpoints).

use crate::fault::Fault;
use crate::provider::endpoint::{bare, of_host, refuse_odd_region};
use serde::{Deserialize, Serialize};
use url::Url;

/// From where the cloud is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// Over the internet.
    #[default]
    Public,
    /// From inside one of the account's own networks in the same region.
    Vpc,
}

/// Regions that the central host serves and that have no host of their own.
const CENTRAL: [&str; 2] = ["cn-hangzhou", "cn-hangzhou-finance"];

/// The URL to send requests to: the override, the region's host inside its networks, its public host, or the central one.
///
/// # Errors
/// `ConfigInvalid` for a text that is no region id, or an override with more than a host in it.
pub(super) fn endpoint(region: &str, network: Network, chosen: Option<&Url>) -> Result<Url, Fault> {
    refuse_odd_region(region, "cn-hangzhou")?;
    match (chosen, network) {
        (Some(chosen), _) => bare(chosen),
        (None, Network::Vpc) => of_host(&format!("r-kvstore-vpc.{region}.aliyuncs.com")),
        (None, Network::Public) if CENTRAL.contains(&region) => of_host("r-kvstore.aliyuncs.com"),
        (None, Network::Public) => of_host(&format!("r-kvstore.{region}.aliyuncs.com")),
    }
}

/// The same for the secret store, which has a host in every region (the vendor's own SDK for KMS).
///
/// # Errors
/// As above.
pub(super) fn of_store(region: &str, network: Network, chosen: Option<&Url>) -> Result<Url, Fault> {
    refuse_odd_region(region, "cn-hangzhou")?;
    match (chosen, network) {
        (Some(chosen), _) => bare(chosen),
        (None, Network::Vpc) => of_host(&format!("kms-vpc.{region}.aliyuncs.com")),
        (None, Network::Public) => of_host(&format!("kms.{region}.aliyuncs.com")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_region_has_its_host() {
        use Network::{Public, Vpc};
        let rows = [
            ("cn-hangzhou", Public, None, Some("https://r-kvstore.aliyuncs.com/")),
            ("cn-hangzhou-finance", Public, None, Some("https://r-kvstore.aliyuncs.com/")),
            ("cn-beijing", Public, None, Some("https://r-kvstore.cn-beijing.aliyuncs.com/")),
            ("cn-hangzhou", Vpc, None, Some("https://r-kvstore-vpc.cn-hangzhou.aliyuncs.com/")),
            ("xx-newtown-7", Vpc, None, Some("https://r-kvstore-vpc.xx-newtown-7.aliyuncs.com/")),
            ("cn-beijing", Public, Some("https://r-kvstore.aliyuncs.com/"), Some("https://r-kvstore.aliyuncs.com/")),
            ("cn-beijing", Vpc, Some("http://127.0.0.1:9/"), Some("http://127.0.0.1:9/")),
            ("", Public, None, None),
            ("Hangzhou", Public, None, None),
            ("cn-x/evil.example", Public, None, None),
            ("cn-x.evil.example", Vpc, None, None),
            ("cn-hangzhou", Public, Some("https://h/path"), None),
            ("cn-hangzhou", Public, Some("https://user:hunter2@h/"), None),
        ];
        for (region, network, chosen, expected) in rows {
            let chosen = chosen.map(|text| Url::parse(text).unwrap());
            let got = endpoint(region, network, chosen.as_ref());
            assert_eq!(got.as_ref().ok().map(Url::as_str), expected, "{region} {network:?}");
            if let Err(fault) = got {
                assert!(!fault.to_string().contains("hunter2"));
            }
        }
    }

    #[test]
    fn the_secret_store_has_a_host_in_every_region() {
        use Network::{Public, Vpc};
        for (network, chosen, expected) in [
            (Public, None, "https://kms.cn-hangzhou.aliyuncs.com/"),
            (Vpc, None, "https://kms-vpc.cn-hangzhou.aliyuncs.com/"),
            (Vpc, Some("http://127.0.0.1:9/"), "http://127.0.0.1:9/"),
        ] {
            let chosen = chosen.map(|text| Url::parse(text).unwrap());
            assert_eq!(of_store("cn-hangzhou", network, chosen.as_ref()).unwrap().as_str(), expected);
        }
        assert!(of_store("cn-x/evil.example", Public, None).is_err());
    }
}
