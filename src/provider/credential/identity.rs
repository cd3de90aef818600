//! A pod's own identity: what the configuration says of it, and for the rest the variables that the cluster sets.

use super::settings::{IdentitySettings, SESSION};
use super::{Variables, variable_set};
use crate::fault::{Fault, Kind};
use std::path::PathBuf;

/// Under which names a cluster tells a pod of its identity.
#[derive(Debug, Clone, Copy)]
pub(in crate::provider) struct IdentityNames {
    pub(in crate::provider) provider: &'static str,
    pub(in crate::provider) role: &'static str,
    pub(in crate::provider) token_file: &'static str,
    pub(in crate::provider) session: Option<&'static str>,
}

/// An identity with nothing missing.
pub(in crate::provider) struct Identity {
    pub(in crate::provider) provider: String,
    pub(in crate::provider) role: String,
    pub(in crate::provider) token_file: PathBuf,
    pub(in crate::provider) session: String,
}

/// The identity, or what is missing of it.
pub(in crate::provider) fn identity(
    settings: &IdentitySettings,
    names: IdentityNames,
    variables: &Variables,
) -> Result<Identity, Fault> {
    let found = |setting: &Option<String>, name: &str| {
        setting.clone().or_else(|| variable_set(variables, name)).ok_or_else(|| {
            Fault::new(Kind::SecretUnreadable, format!("The environment variable {name} is not set"))
                .advise("run keywheel in a pod with this identity, or set the key in the provider's credentials")
        })
    };
    let token_file = settings.token_file.as_ref().map(|path| path.display().to_string());
    Ok(Identity {
        provider: found(&settings.provider, names.provider)?,
        role: found(&settings.role, names.role)?,
        token_file: found(&token_file, names.token_file)?.into(),
        session: settings
            .session
            .clone()
            .or_else(|| variable_set(variables, names.session?))
            .unwrap_or_else(|| SESSION.to_owned()),
    })
}
