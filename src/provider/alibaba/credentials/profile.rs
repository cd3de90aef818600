//! A profile of Alibaba Cloud's own tools: the command line's `config.json` (its `mode`s) and the SDKs' `credentials.ini` (its `type`s). Which of
//! the two a file is shows in its first character.

use super::{AlibabaSources, StsPlace, TERMS};
use crate::fault::{Fault, Kind};
use crate::provider::credential::settings::{IdentitySettings, MetadataSettings, RoleSettings};
use crate::provider::credential::{Credential, Ini, Source, Sources, Static};
use crate::secret::Secret;
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The profile that the SDKs read.
const PROFILE: &str = "default";
/// How many profiles may stand on each other's shoulders.
const DEPTH_LIMIT: usize = 5;

/// The longest mode or type that is repeated in a fault, in bytes.
const WORD_LIMIT: usize = 20;

/// The command line's file.
#[derive(Deserialize)]
struct Cli {
    #[serde(default)]
    current: String,
    #[serde(default)]
    profiles: Vec<Entry>,
}

/// One profile of it, or one section of the SDKs' file in the same words.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    name: String,
    mode: String,
    access_key_id: Option<String>,
    #[serde(deserialize_with = "secret")]
    access_key_secret: Option<Secret>,
    #[serde(deserialize_with = "secret")]
    sts_token: Option<Secret>,
    ram_role_arn: Option<String>,
    ram_session_name: Option<String>,
    ram_role_name: Option<String>,
    source_profile: Option<String>,
    oidc_provider_arn: Option<String>,
    oidc_token_file: Option<String>,
    policy: Option<String>,
    external_id: Option<String>,
    expired_seconds: Option<u64>,
    sts_region: Option<String>,
    enable_vpc: Option<bool>,
}

fn secret<'de, D: serde::Deserializer<'de>>(source: D) -> Result<Option<Secret>, D::Error> {
    Option::<String>::deserialize(source).map(|text| text.map(Secret::new))
}

/// The modes that can be used, by the command line's names, and the SDKs' name for the same.
const MODES: &[(&str, &str)] = &[
    ("AK", "access_key"),
    ("StsToken", "sts"),
    ("RamRoleArn", "ram_role_arn"),
    ("EcsRamRole", "ecs_ram_role"),
    ("OIDC", "oidc_role_arn"),
    ("ChainableRamRoleArn", ""),
];

/// The source that a profile describes.
pub(super) fn source(sources: &AlibabaSources, path: &Path, text: &str, name: Option<String>) -> Result<Source, Fault> {
    let is_cli = text.trim_start_matches('\u{feff}').trim_start().starts_with('{');
    let reading = Reading { sources, path };
    if is_cli {
        // serde's own words may repeat what stands in the file, so only the place is named.
        let cli: Cli = serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
            reading.fault(&format!("is not understood at line {}, column {}", error.line(), error.column()))
        })?;
        let name = name.unwrap_or_else(|| cli.current.clone());
        reading.of_cli(&cli, &name, DEPTH_LIMIT)
    } else {
        let name = name.unwrap_or_else(|| PROFILE.to_owned());
        let ini = Ini::parse(text).map_err(|why| reading.fault(&why))?;
        let entry = reading.of_section(&ini, &name)?;
        reading.made(&entry, None)
    }
}

struct Reading<'a> {
    sources: &'a AlibabaSources,
    path: &'a Path,
}

impl Reading<'_> {
    fn fault(&self, what: &str) -> Fault {
        Fault::new(Kind::SecretUnreadable, format!("The profile file {} {what}", self.path.display()))
            .advise("correct the profile with the vendor's own tool, or choose another credentials source")
    }

    /// The profile of this name, on top of the one it names.
    fn of_cli(&self, cli: &Cli, name: &str, depth: usize) -> Result<Source, Fault> {
        let entry = cli.profiles.iter().find(|entry| entry.name == name);
        let entry = entry.ok_or_else(|| self.fault(&format!("has no profile {name:?}")))?;
        if entry.mode != "ChainableRamRoleArn" {
            return self.made(entry, None);
        }
        let below = entry.source_profile.as_deref().unwrap_or_default();
        if depth == 0 {
            return Err(self.fault("has profiles that stand on each other without end"));
        }
        let base = self.of_cli(cli, below, depth - 1)?;
        self.made(entry, Some(base))
    }

    /// A section in the command line's words.
    fn of_section(&self, ini: &Ini, name: &str) -> Result<Entry, Fault> {
        let section = ini.section(name).ok_or_else(|| self.fault(&format!("has no profile {name:?}")))?;
        let text = |key: &str| section.get(key).map(|value| (*value).to_owned());
        let kind = text("type").ok_or_else(|| self.fault(&format!("has no type in the profile {name:?}")))?;
        let mode = MODES.iter().find(|(_, kinds)| *kinds == kind).map_or(kind.as_str(), |(mode, _)| mode);
        Ok(Entry {
            name: name.to_owned(),
            mode: mode.to_owned(),
            access_key_id: text("access_key_id"),
            access_key_secret: text("access_key_secret").map(Secret::new),
            sts_token: text("security_token").map(Secret::new),
            ram_role_arn: text("role_arn"),
            ram_session_name: text("role_session_name"),
            ram_role_name: text("role_name"),
            oidc_provider_arn: text("oidc_provider_arn"),
            oidc_token_file: text("oidc_token_file_path"),
            policy: text("policy"),
            ..Entry::default()
        })
    }

    fn made(&self, entry: &Entry, base: Option<Source>) -> Result<Source, Fault> {
        let name = &entry.name;
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let needed = |key: &str, text: &Option<String>| {
            filled(text).ok_or_else(|| self.fault(&format!("has no {key} in the profile {name:?}")))
        };
        let place = StsPlace { region: filled(&entry.sts_region), vpc: entry.enable_vpc.unwrap_or(false) };
        let duration = entry.expired_seconds.filter(|&seconds| seconds > 0).map(Duration::from_secs);
        let whole = |secret: &Option<Secret>| secret.clone().filter(|secret| !secret.expose().is_empty());
        let keys = |token: Option<Secret>| {
            let origin = format!("the profile {name} in {}", self.path.display());
            let id = needed("access_key_id", &entry.access_key_id)?;
            let key = whole(&entry.access_key_secret);
            let key = key.ok_or_else(|| self.fault(&format!("has no access_key_secret in the profile {name:?}")))?;
            let credential = Credential::new(&TERMS, &origin, id, key, token)?;
            Ok::<Source, Fault>(Arc::new(Static::of(credential)))
        };
        let role = |base: Source| {
            let settings = RoleSettings {
                role: needed("role_arn", &entry.ram_role_arn)?,
                session: filled(&entry.ram_session_name),
                duration,
                external_id: filled(&entry.external_id),
                policy: filled(&entry.policy),
            };
            self.sources.role_at(base, settings, &place)
        };
        match (entry.mode.as_str(), base) {
            ("AK", _) => keys(None),
            ("StsToken", _) => match whole(&entry.sts_token) {
                Some(token) => keys(Some(token)),
                None => Err(self.fault(&format!("has no security token in the profile {name:?}"))),
            },
            ("RamRoleArn", _) => role(keys(whole(&entry.sts_token))?),
            ("ChainableRamRoleArn", Some(base)) => role(base),
            ("EcsRamRole", _) => self.sources.instance_role(MetadataSettings { role: filled(&entry.ram_role_name) }),
            ("OIDC", _) => {
                let settings = IdentitySettings {
                    provider: Some(needed("oidc_provider_arn", &entry.oidc_provider_arn)?),
                    token_file: Some(needed("oidc token file", &entry.oidc_token_file)?.into()),
                    role: Some(needed("role_arn", &entry.ram_role_arn)?),
                    session: filled(&entry.ram_session_name),
                    duration,
                    policy: filled(&entry.policy),
                };
                self.sources.identity_at(settings, &place)
            }
            (other, _) => {
                let known: Vec<&str> = MODES.iter().map(|(mode, _)| *mode).collect();
                // A longer word may be a key in the wrong place.
                let other = if other.len() <= WORD_LIMIT { other } else { "…" };
                Err(self.fault(&format!(
                    "has the mode or type {other:?} in the profile {name:?}, which keywheel cannot use; it knows {}",
                    known.join(", ")
                )))
            }
        }
    }
}
