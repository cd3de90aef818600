//! `[sinks.NAME]` of `kind = "tencent-ssm"` and `"alibaba-kms"`: a secret in a cloud's own store.

use super::credentials::{self, Credentials};
use super::provider::{Provider, endpoint, region};
use super::reading::{Section, refusal};
use super::target::named;
use super::template::is_template;
use crate::name::ProviderName;
use crate::provider::alibaba::Network;
use crate::provider::tencent::Site;
use crate::sink::{alibaba_kms, tencent_ssm};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// How long one request may take unless said otherwise: a delivery is several, and may take two minutes in all.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The longest time one request may be given.
const TIMEOUT_LIMIT: Duration = Duration::from_secs(60);

/// A secret in a cloud's own store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSink {
    /// Which store.
    pub store: Store,
    /// The secret's name, perhaps a template.
    pub secret: String,
    /// Where it is, and whose requests these are.
    pub identity: Identity,
    /// A host that wins over the vendor's own: https, or plain http to a loopback address.
    pub endpoint: Option<Url>,
    /// Whether a secret that is not there is made.
    pub create: bool,
    /// The key that a secret is made with.
    pub kms_key: Option<String>,
    /// How long one request may take in all.
    pub timeout: Duration,
    /// Certificates (PEM) to trust instead of the machine's; absent means the provider's.
    pub ca_file: Option<PathBuf>,
}

/// Which store, and what only that one has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// Tencent Cloud's Secrets Manager.
    TencentSsm {
        /// The version that readers see.
        version: String,
        /// The site the account belongs to; absent means the provider's.
        site: Option<Site>,
    },
    /// Alibaba Cloud's KMS.
    AlibabaKms {
        /// From where the cloud is reached; absent means as the provider is.
        network: Option<Network>,
        /// The KMS instance that a secret is made in.
        kms_instance: Option<String>,
    },
}

/// Where the secret is, and whose requests these are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// As with a provider.
    Provider(ProviderName),
    /// Its own.
    Own {
        /// The region id.
        region: String,
        /// Whose requests these are.
        credentials: Box<Credentials>,
    },
}

impl StoreSink {
    /// The same for another secret.
    ///
    /// # Errors
    /// Why that is no secret's name, as a sentence without its full stop.
    pub(super) fn at(&self, secret: String) -> Result<Self, String> {
        self.store.refuse_odd_name(&secret)?;
        Ok(Self { secret, ..self.clone() })
    }

    /// The store and the account: the same name elsewhere is another secret.
    pub(super) fn within(&self) -> String {
        let place = match &self.identity {
            Identity::Provider(name) => format!("provider {name}"),
            Identity::Own { region, credentials: _ } => region.clone(),
        };
        format!("{} {place} {}", self.store.kind(), self.endpoint.as_ref().map(Url::as_str).unwrap_or_default())
    }
}

impl Store {
    fn kind(&self) -> &'static str {
        match self {
            Self::TencentSsm { .. } => "tencent-ssm",
            Self::AlibabaKms { .. } => "alibaba-kms",
        }
    }

    fn refuse_odd_name(&self, name: &str) -> Result<(), String> {
        match self {
            Self::TencentSsm { .. } => tencent_ssm::NAMES.refuse(name),
            Self::AlibabaKms { .. } => alibaba_kms::NAMES.refuse(name),
        }
    }

    /// Whether this provider's account can have such a store.
    fn is_of(&self, provider: &Provider) -> bool {
        match (self, provider) {
            (Self::TencentSsm { .. }, Provider::Tencent(_)) | (Self::AlibabaKms { .. }, Provider::Alibaba(_)) => true,
            (Self::TencentSsm { .. }, Provider::Alibaba(_) | Provider::Redis(_))
            | (Self::AlibabaKms { .. }, Provider::Tencent(_) | Provider::Redis(_)) => false,
        }
    }
}

pub(super) fn parse(section: &Section<'_>, kind: &str) -> Option<StoreSink> {
    let (store, vendor, example) = match kind {
        "tencent-ssm" => {
            let sites = [("china", Site::China), ("international", Site::International)];
            let version = section.parsed("version", |text| match tencent_ssm::is_version(text) {
                true => Ok(text.to_owned()),
                false => Err(refusal(
                    "This is no version's name",
                    "write 1 to 64 letters, digits and - _ . that begin with a letter or a digit",
                )),
            });
            let version = version.unwrap_or_else(|| tencent_ssm::CURRENT.to_owned());
            (Store::TencentSsm { version, site: section.choice("site", &sites) }, &credentials::TENCENT, "ap-guangzhou")
        }
        _ => {
            let store = Store::AlibabaKms {
                network: section.choice("network", &[("public", Network::Public), ("vpc", Network::Vpc)]),
                kms_instance: section.text("kms-instance").map(str::to_owned),
            };
            (store, &credentials::ALIBABA, "cn-hangzhou")
        }
    };
    let secret = section.parsed("secret", |text| {
        let fits = if is_template(text) { Ok(()) } else { store.refuse_odd_name(text) };
        fits.map(|()| text.to_owned()).map_err(|why| refusal(why, "give the secret another name"))
    });
    let own_region = section.parsed("region", |text| region(text, example));
    let own = section.section("credentials").map(|table| credentials::parse(&table, vendor));
    let identity = match section.text("provider") {
        Some(name) => {
            for key in ["region", "credentials"].into_iter().filter(|key| section.has(key)) {
                section.refuse(key, refusal("The provider says this", "remove it, or remove provider"));
            }
            name.parse().ok().map(Identity::Provider)
        }
        None => {
            for key in ["region", "credentials"].into_iter().filter(|key| !section.has(key)) {
                let next_step = format!("add {key}, or name one of the providers with provider");
                section.refuse("", refusal(format!("A sink without provider needs its own {key}"), next_step));
            }
            let (region, credentials) = (own_region, own.flatten());
            region
                .zip(credentials)
                .map(|(region, credentials)| Identity::Own { region, credentials: Box::new(credentials) })
        }
    };
    let endpoint = section.parsed("endpoint", endpoint);
    let create = section.flag("create").unwrap_or(false);
    for key in ["kms-key", "kms-instance"].into_iter().filter(|key| section.has(key) && !create) {
        let what = "This matters where a secret is made, and this sink makes none";
        section.refuse(key, refusal(what, format!("add create = true or remove {key}")));
    }
    Some(StoreSink {
        store,
        secret: secret?,
        identity: identity?,
        endpoint,
        create,
        kms_key: section.text("kms-key").map(str::to_owned),
        timeout: section.span_up_to("timeout", TIMEOUT_LIMIT).unwrap_or(TIMEOUT),
        ca_file: section.path("ca-file"),
    })
}

/// The provider that a sink names is there, and of the same cloud.
pub(super) fn refuse_strange_providers(
    sinks: &Section<'_>,
    providers: &BTreeMap<ProviderName, Option<Provider>>,
    store_of: impl Fn(&str) -> Option<Store>,
) {
    for (name, entry) in sinks.entries_as_written() {
        let Some(text) = entry.text("provider") else { continue };
        let Some(provider) = named::<ProviderName, _>(&entry, "provider", Some(text), providers) else { continue };
        let cloud = providers.get(&provider).and_then(Option::as_ref);
        if let (Some(store), Some(cloud)) = (store_of(name), cloud)
            && !store.is_of(cloud)
        {
            let what = format!("This kind of store is not in the cloud of provider {provider}");
            entry.refuse(
                "provider",
                refusal(what, "name a provider of the same cloud, or write region and credentials"),
            );
        }
    }
}
