//! Where Alibaba Cloud's AccessKeyId, AccessKeySecret and security token come from: the sources of the vendor's own tools, under the names
//! these use.

mod metadata;
mod profile;
mod sts;
mod uri;

use self::metadata::{InstanceRole, WithoutToken};
use self::sts::{AssumeRole, Sts, WebIdentity};
use self::uri::ByUri;
use super::endpoint::Network;
use crate::fault::Fault;
use crate::provider::credential::endpoint::Reach;
use crate::provider::credential::settings::{
    IdentitySettings, MetadataSettings, ProfileSettings, RoleSettings, UriSettings,
};
use crate::provider::credential::{
    Chain, Environment, IdentityNames, Issuer, Link, Places, Presence, Profile, Refreshing, Source, Sources,
    Surroundings, Terms, VariableNames, Variables, Window, home, variable_set,
};
use crate::provider::endpoint::{of_host, refuse_odd_region};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// What the vendor calls the parts.
pub const TERMS: Terms =
    Terms { vendor: "Alibaba Cloud", id: "AccessKeyId", key: "AccessKeySecret", token: "security token" };

const NAMES: VariableNames = VariableNames {
    id: "ALIBABA_CLOUD_ACCESS_KEY_ID",
    key: "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    tokens: &["ALIBABA_CLOUD_SECURITY_TOKEN"],
};

/// What ACK tells a pod of its identity (RRSA).
const IDENTITY: IdentityNames = IdentityNames {
    provider: "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
    role: "ALIBABA_CLOUD_ROLE_ARN",
    token_file: "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
    session: Some("ALIBABA_CLOUD_ROLE_SESSION_NAME"),
};

/// Which profile is taken.
const PROFILE: &str = "ALIBABA_CLOUD_PROFILE";
/// The command line's own file, below the home folder, and the variable that hides it.
const CLI_FILE: &str = ".aliyun/config.json";
const CLI_DISABLED: &str = "ALIBABA_CLOUD_CLI_PROFILE_DISABLED";
/// The file of the SDKs, below the home folder, and the variable that names another one.
const SDK_FILE: &str = ".alibabacloud/credentials.ini";
const SDK_FILE_NAME: &str = "ALIBABA_CLOUD_CREDENTIALS_FILE";
/// The role's name, the variable that switches the metadata service off, and the one that forbids asking it without a token.
const ROLE: &str = "ALIBABA_CLOUD_ECS_METADATA";
const METADATA_DISABLED: &str = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";
const TOKEN_REQUIRED: &str = "ALIBABA_CLOUD_IMDSV1_DISABLED";
/// The token service's region, and whether it is reached from inside a network.
const STS_REGION: &str = "ALIBABA_CLOUD_STS_REGION";
const STS_VPC: &str = "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED";

/// The vendor's SDKs count every temporary credential as stale a quarter of an hour before its end.
const STALE: Duration = Duration::from_secs(900);
/// The role of a machine is fetched anew an hour after the last time, too.
const ROLE_WINDOW: Window =
    Window { before_end: STALE, after_share: None, after_renewal: Some(Duration::from_secs(3_600)) };
const ASSUMED_WINDOW: Window = Window { before_end: STALE, after_share: None, after_renewal: None };

/// The credential in the variables that the vendor's own tools read.
#[must_use]
pub fn environment(variables: Variables) -> Environment {
    Environment::new(TERMS, NAMES, variables)
}

/// Makes the vendor's sources.
#[derive(Clone)]
pub struct AlibabaSources {
    surroundings: Surroundings,
    reach: Reach,
    region: String,
    network: Network,
}

impl AlibabaSources {
    /// Sources for a provider of this region, reached from here.
    #[must_use]
    pub fn new(surroundings: Surroundings, reach: Reach, region: String, network: Network) -> Self {
        Self { surroundings, reach, region, network }
    }

    fn refreshing(&self, what: &str, issuer: Box<dyn Issuer>, window: Window) -> Source {
        let name = format!("{what} of {}", TERMS.vendor);
        Arc::new(Refreshing::new(name, issuer, window, self.surroundings.clone()))
    }

    fn says_true(&self, name: &str) -> bool {
        says_true(&self.surroundings.variables, name)
    }

    /// The token service; a profile may name its region and ask for the host inside networks.
    fn sts(&self, place: &StsPlace) -> Result<Sts, Fault> {
        let client = self.reach.token_service(|| {
            let variables = &self.surroundings.variables;
            let named = place.region.clone().or_else(|| variable_set(variables, STS_REGION));
            let inside = place.vpc || self.says_true(STS_VPC) || self.network == Network::Vpc;
            sts_host(named.as_deref(), &self.region, inside)
        })?;
        Ok(Sts::new(client, &self.surroundings))
    }

    /// Where the profile file may be: what the command line writes, then what the SDKs read.
    fn places(&self, path: Option<PathBuf>) -> Places {
        let variables = self.surroundings.variables.clone();
        Box::new(move || match &path {
            Some(path) => vec![path.clone()],
            None => cli_place(&variables).into_iter().chain(sdk_place(&variables)).collect(),
        })
    }

    fn profile_at(&self, places: Places, name: Option<String>) -> Source {
        let sources = self.clone();
        Arc::new(Profile::new(places, move |path, text| {
            let name = name.clone().or_else(|| variable_set(&sources.surroundings.variables, PROFILE));
            profile::source(&sources, path, text, name)
        }))
    }

    fn identity_at(&self, settings: IdentitySettings, place: &StsPlace) -> Result<Source, Fault> {
        let issuer = Box::new(WebIdentity::new(self.sts(place)?, settings, self.surroundings.variables.clone()));
        Ok(self.refreshing("the pod's identity", issuer, ASSUMED_WINDOW))
    }

    fn role_at(&self, base: Source, settings: RoleSettings, place: &StsPlace) -> Result<Source, Fault> {
        let issuer = Box::new(AssumeRole::new(self.sts(place)?, base, settings));
        Ok(self.refreshing("the assumed role", issuer, ASSUMED_WINDOW))
    }
}

/// Where a profile wants the token service to be.
#[derive(Debug, Clone, Default)]
struct StsPlace {
    region: Option<String>,
    vpc: bool,
}

impl Sources for AlibabaSources {
    fn terms(&self) -> &'static Terms {
        &TERMS
    }

    fn environment(&self) -> Source {
        Arc::new(environment(self.surroundings.variables.clone()))
    }

    fn profile(&self, settings: ProfileSettings) -> Result<Source, Fault> {
        Ok(self.profile_at(self.places(settings.path), settings.name))
    }

    fn instance_role(&self, settings: MetadataSettings) -> Result<Source, Fault> {
        let service = self.reach.metadata_service(metadata::HOST)?;
        let without_token = match self.reach.metadata_without_token {
            Some(true) => WithoutToken::Allowed,
            Some(false) => WithoutToken::Never,
            None if self.says_true(TOKEN_REQUIRED) => WithoutToken::Never,
            None => WithoutToken::Allowed,
        };
        let role = settings.role.or_else(|| variable_set(&self.surroundings.variables, ROLE));
        let issuer = Box::new(InstanceRole::new(service, role, without_token));
        Ok(self.refreshing("the instance role", issuer, ROLE_WINDOW))
    }

    fn credentials_uri(&self, settings: UriSettings) -> Result<Source, Fault> {
        let issuer = Box::new(ByUri::new(self.reach.clone(), settings, self.surroundings.variables.clone()));
        Ok(self.refreshing("the credentials URI", issuer, ASSUMED_WINDOW))
    }

    fn oidc(&self, settings: IdentitySettings) -> Result<Source, Fault> {
        self.identity_at(settings, &StsPlace::default())
    }

    fn assume_role(&self, base: Source, settings: RoleSettings) -> Result<Source, Fault> {
        self.role_at(base, settings, &StsPlace::default())
    }

    /// The order of the vendor's SDKs, but the credentials URI comes before the machine's role and not after it: whether there is a metadata
    /// service cannot be seen without asking, so that link counts as set up and ends the search, and nothing after it would ever be reached.
    /// The variable was set on purpose.
    fn chain(&self) -> Result<Source, Fault> {
        let variables = self.surroundings.variables.clone();
        let of_file = |name, place: fn(&Variables) -> Option<PathBuf>, missing: &'static str| {
            let (looks, reads) = (variables.clone(), variables.clone());
            Link {
                name,
                present: Box::new(move || Presence::of(place(&looks).is_some_and(|path| path.exists()), missing)),
                source: self.profile_at(Box::new(move || place(&reads).into_iter().collect()), None),
            }
        };
        let (metadata, named) = (variables.clone(), variables.clone());
        let links = vec![
            Link::environment(self.environment(), NAMES, variables.clone()),
            Link::identity(self.oidc(IdentitySettings::default())?, IDENTITY, variables.clone()),
            of_file("CLI profile", cli_place, "there is no ~/.aliyun/config.json, or it is disabled"),
            of_file("credentials file", sdk_place, "there is no credentials.ini"),
            Link {
                name: "credentials URI",
                present: Box::new(move || {
                    let set = variable_set(&named, uri::VARIABLE).is_some();
                    Presence::of(set, &format!("{} is not set", uri::VARIABLE))
                }),
                source: self.credentials_uri(UriSettings::default())?,
            },
            Link {
                name: "instance role",
                present: Box::new(move || {
                    Presence::of(!says_true(&metadata, METADATA_DISABLED), "the metadata service is disabled")
                }),
                source: self.instance_role(MetadataSettings::default())?,
            },
        ];
        Ok(Arc::new(Chain::new(TERMS.vendor, links)))
    }
}

fn says_true(variables: &Variables, name: &str) -> bool {
    variables(name).is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

fn cli_place(variables: &Variables) -> Option<PathBuf> {
    if says_true(variables, CLI_DISABLED) { None } else { home(variables, CLI_FILE) }
}

fn sdk_place(variables: &Variables) -> Option<PathBuf> {
    variable_set(variables, SDK_FILE_NAME).map(PathBuf::from).or_else(|| home(variables, SDK_FILE))
}

/// The token service: the region that was named for it, the provider's own region inside networks, or the central host.
fn sts_host(named: Option<&str>, region: &str, inside: bool) -> Result<Url, Fault> {
    let prefix = if inside { "sts-vpc" } else { "sts" };
    match named.or(inside.then_some(region)) {
        Some(region) => {
            refuse_odd_region(region, "cn-hangzhou")?;
            of_host(&format!("{prefix}.{region}.aliyuncs.com"))
        }
        None => of_host("sts.aliyuncs.com"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_its_token_service() {
        for (named, inside, host) in [
            (None, false, Some("https://sts.aliyuncs.com/")),
            (None, true, Some("https://sts-vpc.cn-beijing.aliyuncs.com/")),
            (Some("cn-shanghai"), false, Some("https://sts.cn-shanghai.aliyuncs.com/")),
            (Some("cn-shanghai"), true, Some("https://sts-vpc.cn-shanghai.aliyuncs.com/")),
            (Some("evil.example/"), false, None),
        ] {
            let got = sts_host(named, "cn-beijing", inside);
            assert_eq!(got.as_ref().ok().map(Url::as_str), host);
        }
    }
}
