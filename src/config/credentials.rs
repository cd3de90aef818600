//! `credentials` of a provider: where the cloud credential comes from. The sources are the same for every cloud; a few keys are named as the vendor
//! names things.

use super::provider::endpoint;
use super::reading::{Refusal, Section, refusal};
use super::secret_ref::SecretRef;
use crate::provider::credential::settings::{
    CredentialUrl, IdentitySettings, MetadataSettings, ProfileSettings, RoleSettings, UriSettings,
};
use std::ops::RangeInclusive;
use std::time::Duration;
use url::Url;

/// Where the credential is, and where the services are that give one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The source.
    pub source: CredentialsFrom,
    /// The token service; absent means the vendor's own.
    pub sts_endpoint: Option<Url>,
    /// The machine's metadata service; absent means the vendor's own.
    pub metadata_endpoint: Option<Url>,
    /// Whether a metadata service that gives no token may be asked without one; absent means as the vendor's variable says.
    pub without_token: Option<bool>,
}

/// The kinds of source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialsFrom {
    /// The variables that the vendor's own tools read.
    Environment,
    /// Each part at its own place.
    Static {
        /// The public half.
        id: SecretRef,
        /// The secret half.
        key: SecretRef,
        /// The session token of temporary credentials.
        token: Option<SecretRef>,
    },
    /// A profile in a file of the vendor's own tools.
    Profile(ProfileSettings),
    /// The role of the machine this runs on.
    InstanceRole(MetadataSettings),
    /// A service that answers at one URL with a credential.
    Uri(UriSettings),
    /// A role for a pod's own identity.
    Oidc(IdentitySettings),
    /// A role that another credential takes on.
    AssumeRole {
        /// The other credential's source; never a role itself.
        base: Box<CredentialsFrom>,
        /// The role.
        role: RoleSettings,
    },
    /// Whatever the vendor's own tools would find.
    Chain,
}

/// What one vendor's keys are called and what may stand there.
pub(super) struct Vendor {
    /// The keys of `source = "static"`: public half, secret half, token.
    pub(super) parts: [&'static str; 3],
    /// The key that names a pod's identity provider.
    pub(super) identity_provider: &'static str,
    /// How a role's ARN begins, and one as an example.
    pub(super) role: (&'static str, &'static str),
    /// How long a session's name may be, in characters.
    pub(super) session: RangeInclusive<usize>,
    /// How long a credential may live.
    pub(super) duration: RangeInclusive<Duration>,
}

/// Tencent Cloud (vendor document "AssumeRole").
pub(super) const TENCENT: Vendor = Vendor {
    parts: ["secret-id", "secret-key", "token"],
    identity_provider: "provider-id",
    role: ("qcs::cam::uin/", "qcs::cam::uin/100000000001:roleName/rotator"),
    session: 2..=128,
    duration: Duration::from_secs(60)..=Duration::from_secs(43_200),
};

/// Alibaba Cloud (vendor document "AssumeRole").
pub(super) const ALIBABA: Vendor = Vendor {
    parts: ["access-key-id", "access-key-secret", "security-token"],
    identity_provider: "provider-arn",
    role: ("acs:ram::", "acs:ram::100000000001:role/rotator"),
    session: 2..=64,
    duration: Duration::from_secs(900)..=Duration::from_secs(43_200),
};

/// The longest ARN, external id or name, in characters.
const NAME_LIMIT: usize = 1_024;
/// The longest policy, in bytes.
const POLICY_LIMIT: usize = 4_096;

pub(super) fn parse(section: &Section<'_>, vendor: &Vendor) -> Option<Credentials> {
    let sts_endpoint = section.parsed("sts-endpoint", endpoint);
    let metadata_endpoint = section.parsed("metadata-endpoint", endpoint);
    let without_token = section.flag("without-token");
    Some(Credentials { source: source(section, vendor)?, sts_endpoint, metadata_endpoint, without_token })
}

fn source(section: &Section<'_>, vendor: &Vendor) -> Option<CredentialsFrom> {
    match section.text("source")? {
        "environment" => Some(CredentialsFrom::Environment),
        "static" => {
            let [id, key, token] = vendor.parts.map(|part| SecretRef::parse(section, part));
            Some(CredentialsFrom::Static { id: id?, key: key?, token })
        }
        "profile" => {
            let name = section.parsed("profile", |text| plain(text, "a profile"));
            Some(CredentialsFrom::Profile(ProfileSettings { path: section.path("path"), name }))
        }
        "instance-role" => {
            let role = section.parsed("role", |text| plain(text, "a role"));
            Some(CredentialsFrom::InstanceRole(MetadataSettings { role }))
        }
        "credentials-uri" => {
            let url = section
                .parsed("url", |text| CredentialUrl::parse(text).map_err(|fault| refusal(fault.what, fault.next_step)));
            Some(CredentialsFrom::Uri(UriSettings { url }))
        }
        "oidc" => Some(CredentialsFrom::Oidc(IdentitySettings {
            provider: section.parsed(vendor.identity_provider, |text| plain(text, "an identity provider")),
            token_file: section.path("token-file"),
            role: section.parsed("role-arn", |text| role_arn(text, vendor)),
            session: section.parsed("session-name", |text| session(text, vendor)),
            duration: duration(section, vendor),
            policy: section.parsed("role-policy", policy),
        })),
        "assume-role" => {
            let base = section.section("base").and_then(|base| source(&base, vendor));
            let role = section.parsed("role-arn", |text| role_arn(text, vendor));
            let settings = RoleSettings {
                session: section.parsed("session-name", |text| session(text, vendor)),
                duration: duration(section, vendor),
                external_id: section.parsed("external-id", |text| plain(text, "an external id")),
                policy: section.parsed("role-policy", policy),
                role: role?,
            };
            Some(CredentialsFrom::AssumeRole { base: Box::new(base?), role: settings })
        }
        "chain" => Some(CredentialsFrom::Chain),
        _ => None,
    }
}

fn duration(section: &Section<'_>, vendor: &Vendor) -> Option<Duration> {
    let span = section.span_up_to("duration", *vendor.duration.end())?;
    if span < *vendor.duration.start() {
        let least = crate::moment::show_span(*vendor.duration.start());
        section.refuse("duration", refusal("This duration is too short", format!("write {least} or more")));
        return None;
    }
    Some(span)
}

/// A name without blanks.
fn plain(text: &str, what: &str) -> Result<String, Refusal> {
    let fits = !text.is_empty() && text.len() <= NAME_LIMIT && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        return Ok(text.to_owned());
    }
    Err(refusal(format!("This is not the name of {what}"), "write it as the cloud console shows it"))
}

fn role_arn(text: &str, vendor: &Vendor) -> Result<String, Refusal> {
    let (begins, example) = vendor.role;
    let names_a_role = text.contains(":role/") || text.contains(":roleName/");
    match plain(text, "a role") {
        Ok(arn) if arn.starts_with(begins) && names_a_role => Ok(arn),
        Ok(_) | Err(_) => Err(refusal("This is not a role's ARN", format!("write one such as {example}"))),
    }
}

fn session(text: &str, vendor: &Vendor) -> Result<String, Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".@_-".contains(&byte);
    if vendor.session.contains(&text.len()) && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    let (least, most) = (vendor.session.start(), vendor.session.end());
    Err(refusal("This is not a session's name", format!("use {least} to {most} letters, digits and . @ _ -")))
}

/// A policy of the vendor's own language, which is JSON.
fn policy(text: &str) -> Result<String, Refusal> {
    let is_object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok();
    if is_object && text.len() <= POLICY_LIMIT {
        return Ok(text.to_owned());
    }
    let next_step = format!("write the policy as a JSON object of at most {POLICY_LIMIT} bytes");
    Err(refusal("This is not a policy", next_step))
}
