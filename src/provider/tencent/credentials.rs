//! Where Tencent Cloud's SecretId, SecretKey and session token come from: the sources of the vendor's own tools, under the names these use.

mod metadata;
mod sts;

use self::metadata::InstanceRole;
use self::sts::{AssumeRole, Sts, WebIdentity};
use super::endpoint::Site;
use crate::fault::{Fault, Kind};
use crate::provider::credential::endpoint::Reach;
use crate::provider::credential::settings::{
    IdentitySettings, MetadataSettings, ProfileSettings, RoleSettings, UriSettings,
};
use crate::provider::credential::{
    Chain, Credential, Environment, IdentityNames, Ini, Link, Places, Presence, Profile, Refreshing, Source, Sources,
    Static, Surroundings, Terms, VariableNames, Variables, Window, home, variable_set,
};
use crate::provider::endpoint::of_host;
use crate::secret::Secret;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// What the vendor calls the parts.
pub const TERMS: Terms = Terms { vendor: "Tencent Cloud", id: "SecretId", key: "SecretKey", token: "session token" };

/// All SDKs agree on id and key. The token's name differs from tool to tool: CLI and Go SDK, Node SDK, Terraform.
const NAMES: VariableNames = VariableNames {
    id: "TENCENTCLOUD_SECRET_ID",
    key: "TENCENTCLOUD_SECRET_KEY",
    tokens: &["TENCENTCLOUD_TOKEN", "TENCENTCLOUD_SESSION_TOKEN", "TENCENTCLOUD_SECURITY_TOKEN"],
};

/// What TKE tells a pod of its identity.
const IDENTITY: IdentityNames = IdentityNames {
    provider: "TKE_PROVIDER_ID",
    role: "TKE_ROLE_ARN",
    token_file: "TKE_WEB_IDENTITY_TOKEN_FILE",
    session: None,
};

/// The variable with the region of the cluster.
const IDENTITY_REGION: &str = "TKE_REGION";

/// Where the profile file is, if not in its usual places.
const PROFILE_FILE: &str = "TENCENTCLOUD_CREDENTIALS_FILE";
/// Its usual places: below the home folder, and for the whole machine.
const PROFILE_PLACES: (&str, &str) = (".tencentcloud/credentials", "/etc/tencentcloud/credentials");
/// The profile that the vendor's SDKs read.
const PROFILE: &str = "default";

/// The vendor's SDKs renew the role of a machine in its last five minutes.
const ROLE_WINDOW: Window = Window { before_end: Duration::from_secs(300), after_share: None, after_renewal: None };
/// They renew an assumed role as soon as a tenth of its life has passed, so that an outage of the token service is survived for long.
const ASSUMED_WINDOW: Window =
    Window { before_end: Duration::from_secs(300), after_share: Some(10), after_renewal: None };
/// They renew a pod's identity once nine tenths have passed.
const IDENTITY_WINDOW: Window =
    Window { before_end: Duration::from_secs(300), after_share: Some(90), after_renewal: None };

/// The credential in the variables that the vendor's own tools read.
#[must_use]
pub fn environment(variables: Variables) -> Environment {
    Environment::new(TERMS, NAMES, variables)
}

/// Makes the vendor's sources.
#[derive(Clone)]
pub struct TencentSources {
    surroundings: Surroundings,
    reach: Reach,
    region: String,
    site: Site,
}

impl TencentSources {
    /// Sources for a provider of this region and site.
    #[must_use]
    pub fn new(surroundings: Surroundings, reach: Reach, region: String, site: Site) -> Self {
        Self { surroundings, reach, region, site }
    }

    fn refreshing(&self, what: &str, issuer: Box<dyn crate::provider::credential::Issuer>, window: Window) -> Source {
        let name = format!("{what} of {}", TERMS.vendor);
        Arc::new(Refreshing::new(name, issuer, window, self.surroundings.clone()))
    }

    fn sts(&self) -> Result<Sts, Fault> {
        let client = self.reach.token_service(|| sts_host(&self.region, self.site))?;
        Ok(Sts::new(client, self.surroundings.clock.clone()))
    }

    /// Where the profile file may be.
    fn places(&self, path: Option<PathBuf>) -> Places {
        let variables = self.surroundings.variables.clone();
        Box::new(move || match path.clone().or_else(|| variable_set(&variables, PROFILE_FILE).map(PathBuf::from)) {
            Some(path) => vec![path],
            None => home(&variables, PROFILE_PLACES.0).into_iter().chain([PROFILE_PLACES.1.into()]).collect(),
        })
    }
}

impl Sources for TencentSources {
    fn terms(&self) -> &'static Terms {
        &TERMS
    }

    fn environment(&self) -> Source {
        Arc::new(environment(self.surroundings.variables.clone()))
    }

    fn profile(&self, settings: ProfileSettings) -> Result<Source, Fault> {
        let name = settings.name.unwrap_or_else(|| PROFILE.to_owned());
        Ok(Arc::new(Profile::new(self.places(settings.path), move |path, text| of_profile(path, text, &name))))
    }

    fn instance_role(&self, settings: MetadataSettings) -> Result<Source, Fault> {
        let service = self.reach.metadata_service(metadata::HOST)?;
        let issuer = Box::new(InstanceRole::new(service, settings.role));
        Ok(self.refreshing("the instance role", issuer, ROLE_WINDOW))
    }

    /// None of the vendor's tools knows such a thing.
    fn credentials_uri(&self, _settings: UriSettings) -> Result<Source, Fault> {
        Err(Fault::new(Kind::ConfigInvalid, "Tencent Cloud has no credentials URI")
            .advise("choose another credentials source"))
    }

    fn oidc(&self, settings: IdentitySettings) -> Result<Source, Fault> {
        let issuer = Box::new(WebIdentity::new(self.sts()?, settings, self.surroundings.variables.clone()));
        Ok(self.refreshing("the pod's identity", issuer, IDENTITY_WINDOW))
    }

    fn assume_role(&self, base: Source, settings: RoleSettings) -> Result<Source, Fault> {
        let issuer = Box::new(AssumeRole::new(self.sts()?, base, settings));
        Ok(self.refreshing("the assumed role", issuer, ASSUMED_WINDOW))
    }

    /// The order of the vendor's SDKs, but a pod's identity comes before the machine's role: a pod usually reaches the metadata service of
    /// its node too, and the identity was set up for it alone.
    fn chain(&self) -> Result<Source, Fault> {
        let variables = self.surroundings.variables.clone();
        let places = self.places(None);
        let named = variables.clone();
        let links = vec![
            Link::environment(self.environment(), NAMES, variables.clone()),
            Link {
                name: "profile",
                present: Box::new(move || {
                    let named = variable_set(&named, PROFILE_FILE).is_some();
                    Presence::of(named || places().iter().any(|path| path.exists()), "there is no profile file")
                }),
                source: self.profile(ProfileSettings::default())?,
            },
            Link::identity(self.oidc(IdentitySettings::default())?, IDENTITY, variables),
            Link {
                name: "instance role",
                present: Box::new(|| Presence::Here),
                source: self.instance_role(MetadataSettings::default())?,
            },
        ];
        Ok(Arc::new(Chain::new(TERMS.vendor, links)))
    }
}

/// The token service of the account's site; financial zones have their own (vendor document "Request Structure").
fn sts_host(region: &str, site: Site) -> Result<Url, Fault> {
    match site {
        Site::China | Site::International if region.ends_with("-fsi") => {
            of_host(&format!("sts.{region}.tencentcloudapi.com"))
        }
        Site::China => of_host("sts.tencentcloudapi.com"),
        Site::International => of_host("sts.intl.tencentcloudapi.com"),
    }
}

/// A profile: id, key and, where somebody wrote one, a token.
fn of_profile(path: &Path, text: &str, name: &str) -> Result<Source, Fault> {
    let origin = format!("the profile {name} in {}", path.display());
    let fault = |what: String| {
        Fault::new(Kind::SecretUnreadable, what)
            .advise(format!("write secret_id and secret_key below [{name}] in {}", path.display()))
    };
    let ini = Ini::parse(text).map_err(|why| fault(format!("The profile file {} {why}", path.display())))?;
    let section =
        ini.section(name).ok_or_else(|| fault(format!("There is no profile {name} in {}", path.display())))?;
    let needed = |key: &str| {
        section.get(key).map(|value| (*value).to_owned()).ok_or_else(|| fault(format!("There is no {key} in {origin}")))
    };
    let token = section.get("token").map(|token| Secret::new((*token).to_owned()));
    let credential = Credential::new(&TERMS, &origin, needed("secret_id")?, Secret::new(needed("secret_key")?), token)?;
    Ok(Arc::new(Static::of(credential)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_site_has_its_token_service() {
        for (region, site, host) in [
            ("ap-guangzhou", Site::China, "https://sts.tencentcloudapi.com/"),
            ("ap-singapore", Site::International, "https://sts.intl.tencentcloudapi.com/"),
            ("ap-shanghai-fsi", Site::China, "https://sts.ap-shanghai-fsi.tencentcloudapi.com/"),
        ] {
            assert_eq!(sts_host(region, site).unwrap().as_str(), host);
        }
    }
}
