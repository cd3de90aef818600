//! `[providers.NAME]`: one cloud account and region.

use super::credentials::{self, Credentials};
use super::daemon::zone;
use super::reading::{Refusal, Section, refusal};
use super::redis::{self, Redis};
use crate::password::Profile;
use crate::provider::alibaba::{self, Network, ParametersIn};
use crate::provider::redis_acl;
use crate::provider::tencent::{self, ActionSpelling, Site};
use chrono_tz::Tz;
use std::path::PathBuf;
use std::time::Duration;
use url::{Host, Url};

/// Requests per second and action unless said otherwise: the limit that Tencent Cloud publishes for each action.
const TENCENT_QUOTA: u32 = 20;

/// The same for Alibaba Cloud, which publishes none: our choice.
const ALIBABA_QUOTA: u32 = 20;

/// How the names of Alibaba Cloud's own hosts end.
const ALIBABA_HOSTS: &str = ".aliyuncs.com";

/// The most requests per second that may be asked for.
const QUOTA_LIMIT: u32 = 10_000;

/// How long one request may take unless said otherwise.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The longest time one request may be given.
const TIMEOUT_LIMIT: Duration = Duration::from_secs(600);

/// The longest region id, in characters.
const REGION_LIMIT: usize = 40;

/// One cloud account and region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provider {
    /// TencentDB for Redis.
    Tencent(Tencent),
    /// Tair and ApsaraDB for Redis.
    Alibaba(Alibaba),
    /// Redis or Valkey of one's own.
    Redis(Redis),
}

impl Provider {
    /// The vendor's rules for passwords, unless a target names narrower ones.
    pub fn profile(&self) -> Profile {
        match self {
            Self::Tencent(_) => Profile::Tencent,
            Self::Alibaba(_) => Profile::Alibaba,
            Self::Redis(_) => Profile::Redis,
        }
    }

    /// The account that a target without `account` names: the vendor's default account.
    pub fn default_account<'a>(&self, instance: &'a str) -> &'a str {
        match self {
            Self::Tencent(_) => tencent::DEFAULT_ACCOUNT,
            Self::Alibaba(_) => instance,
            Self::Redis(_) => redis_acl::DEFAULT_ACCOUNT,
        }
    }

    /// Whether the password of this account is the vendor's default account's: its name need not be the one that
    /// [`Provider::default_account`] gives.
    pub fn is_default_account(&self, instance: &str, account: &str) -> bool {
        match self {
            Self::Tencent(_) => account == tencent::DEFAULT_ACCOUNT,
            Self::Alibaba(_) => alibaba::is_default(instance, account),
            Self::Redis(_) => account == redis_acl::DEFAULT_ACCOUNT,
        }
    }

    /// Requests per second and action; `None` where nobody counts them.
    pub fn quota(&self) -> Option<f64> {
        match self {
            Self::Tencent(tencent) => Some(f64::from(tencent.quota)),
            Self::Alibaba(alibaba) => Some(f64::from(alibaba.quota)),
            Self::Redis(_) => None,
        }
    }

    /// Whether an account may have two passwords at once.
    pub fn overlaps(&self) -> bool {
        match self {
            Self::Tencent(_) | Self::Alibaba(_) => false,
            Self::Redis(_) => true,
        }
    }

    /// Whether the provider itself knows where to log in, so that a target needs no login route.
    pub fn logs_in_by_itself(&self) -> bool {
        match self {
            Self::Tencent(_) | Self::Alibaba(_) => false,
            Self::Redis(_) => true,
        }
    }

    /// Whether nothing but a login proves a password here, so that every target needs a login route.
    pub fn needs_login(&self) -> bool {
        match self {
            Self::Tencent(_) | Self::Redis(_) => false,
            Self::Alibaba(_) => true,
        }
    }

    /// The nodes of the one instance that this provider is; `None` where it is an account with many. Such a provider is logged in to at its nodes, so its
    /// targets need no login route, and no instance.
    pub fn own_nodes(&self) -> Option<&Redis> {
        match self {
            Self::Tencent(_) | Self::Alibaba(_) => None,
            Self::Redis(redis) => Some(redis),
        }
    }

    /// Whether it can say which instances it has, so that a selection may look for them.
    pub fn can_list(&self) -> bool {
        match self {
            Self::Tencent(_) | Self::Alibaba(_) => true,
            Self::Redis(_) => false,
        }
    }

    /// Where its instances are, whatever the provider is called and whoever asks: an instance's id names one instance there.
    pub fn place(&self) -> String {
        match self {
            Self::Tencent(tencent) => {
                let site = match (&tencent.endpoint, tencent.site) {
                    (Some(endpoint), _) => endpoint.authority(),
                    (None, Site::China) => "china",
                    (None, Site::International) => "international",
                };
                format!("tencent/{site}/{}", tencent.region)
            }
            Self::Alibaba(alibaba) => {
                // The vendor's hosts, public, central and inside its networks, all lead to the same instances.
                let foreign = |endpoint: &&Url| !endpoint.host_str().is_some_and(|host| host.ends_with(ALIBABA_HOSTS));
                let site = alibaba.endpoint.as_ref().filter(foreign).map_or("aliyuncs", Url::authority);
                format!("alibaba/{site}/{}", alibaba.region)
            }
            Self::Redis(redis) => redis.place(),
        }
    }
}

/// `kind = "tencent"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tencent {
    /// The region id, such as `ap-guangzhou`.
    pub region: String,
    /// The site the account belongs to.
    pub site: Site,
    /// Use the region's own host instead of the nearest one.
    pub regional: bool,
    /// A host that wins over region and site: https, or plain http to a loopback address.
    pub endpoint: Option<Url>,
    /// Whose requests these are.
    pub credentials: Credentials,
    /// Requests per second and action.
    pub quota: u32,
    /// Under which name the change is called.
    pub action_spelling: ActionSpelling,
    /// The zone of the times that the cloud writes without one.
    pub time_zone: Tz,
    /// How long one request may take in all.
    pub timeout: Duration,
    /// Certificates (PEM) to trust instead of the machine's.
    pub ca_file: Option<PathBuf>,
}

/// `kind = "alibaba"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alibaba {
    /// The region id, such as `cn-hangzhou`.
    pub region: String,
    /// From where the cloud is reached.
    pub network: Network,
    /// A host that wins over region and network: https, or plain http to a loopback address.
    pub endpoint: Option<Url>,
    /// Whose requests these are.
    pub credentials: Credentials,
    /// Requests per second and action.
    pub quota: u32,
    /// Where the parameters of a call stand.
    pub parameters_in: ParametersIn,
    /// How long one request may take in all.
    pub timeout: Duration,
    /// Certificates (PEM) to trust instead of the machine's.
    pub ca_file: Option<PathBuf>,
}

pub(super) fn parse(section: &Section<'_>) -> Option<Provider> {
    match section.text("kind")? {
        "tencent" => tencent(section).map(Provider::Tencent),
        "alibaba" => alibaba(section).map(Provider::Alibaba),
        "redis" => redis::parse(section).map(Provider::Redis),
        _ => None,
    }
}

fn tencent(section: &Section<'_>) -> Option<Tencent> {
    let region = section.parsed("region", |text| region(text, "ap-guangzhou"));
    let site = section.choice("site", &[("china", Site::China), ("international", Site::International)]);
    let site = site.unwrap_or_default();
    let regional = section.flag("regional").unwrap_or(false);
    let endpoint = section.parsed("endpoint", endpoint);
    if regional && site == Site::International && !section.has("endpoint") {
        let next_step = "remove regional, or name the host with endpoint";
        section.refuse("regional", refusal("The international site publishes no regional hosts", next_step));
    }
    let credentials =
        section.section("credentials").and_then(|table| credentials::parse(&table, &credentials::TENCENT));
    let quota = section.number("quota", 1..=QUOTA_LIMIT).unwrap_or(TENCENT_QUOTA);
    let spellings = [
        ("auto", ActionSpelling::Auto),
        ("corrected", ActionSpelling::Corrected),
        ("misspelt", ActionSpelling::Misspelt),
    ];
    let action_spelling = section.choice("action-spelling", &spellings).unwrap_or_default();
    let time_zone = zone(section).unwrap_or(Tz::Asia__Shanghai);
    let timeout = section.span_up_to("timeout", TIMEOUT_LIMIT).unwrap_or(TIMEOUT);
    let ca_file = section.path("ca-file");
    Some(Tencent {
        region: region?,
        site,
        regional,
        endpoint,
        credentials: credentials?,
        quota,
        action_spelling,
        time_zone,
        timeout,
        ca_file,
    })
}

fn alibaba(section: &Section<'_>) -> Option<Alibaba> {
    let region = section.parsed("region", |text| region(text, "cn-hangzhou"));
    let network = section.choice("network", &[("public", Network::Public), ("vpc", Network::Vpc)]);
    let endpoint = section.parsed("endpoint", endpoint);
    let credentials =
        section.section("credentials").and_then(|table| credentials::parse(&table, &credentials::ALIBABA));
    let quota = section.number("quota", 1..=QUOTA_LIMIT).unwrap_or(ALIBABA_QUOTA);
    let places = [("auto", ParametersIn::Auto), ("body", ParametersIn::Body), ("query", ParametersIn::Query)];
    let parameters_in = section.choice("parameters-in", &places).unwrap_or_default();
    let timeout = section.span_up_to("timeout", TIMEOUT_LIMIT).unwrap_or(TIMEOUT);
    let ca_file = section.path("ca-file");
    Some(Alibaba {
        region: region?,
        network: network.unwrap_or_default(),
        endpoint,
        credentials: credentials?,
        quota,
        parameters_in,
        timeout,
        ca_file,
    })
}

/// The list of regions grows, so only the form is looked at.
pub(super) fn region(text: &str, example: &str) -> Result<String, Refusal> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fits = text.len() <= REGION_LIMIT
        && text.bytes().all(plain)
        && text.starts_with(|first: char| first.is_ascii_lowercase());
    match fits {
        true => Ok(text.to_owned()),
        false => {
            Err(refusal("This is not a region id", format!("write it as the console shows it, such as {example}")))
        }
    }
}

pub(super) fn endpoint(text: &str) -> Result<Url, Refusal> {
    let bare = "write https://HOST or https://HOST:PORT";
    let url = Url::parse(text).map_err(|_| refusal("This is not a URL", bare))?;
    let alone = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !url.username().is_empty() || url.password().is_some() {
        let next_step = "write https://HOST alone, and replace the password if it was real";
        return Err(refusal("There is a user or a password in this URL", next_step));
    }
    if !matches!(url.scheme(), "https" | "http") || !alone || url.host().is_none() {
        return Err(refusal("An endpoint is a scheme, a host and perhaps a port, and nothing else", bare));
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        let next_step = "write https://; plain http is for a stand-in on 127.0.0.1 alone";
        return Err(refusal("Plain http would show every password on its way", next_step));
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
