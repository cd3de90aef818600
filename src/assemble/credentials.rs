//! Credential sources: the configured kind in, a source out; the same for every vendor.

use super::variable;
use crate::config::{Credentials, CredentialsFrom, SecretRef};
use crate::fault::Fault;
use crate::provider::credential::endpoint::Reach;
use crate::provider::credential::{Source, Sources, Static, Surroundings, Terms};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The process's own environment, clock and chance.
pub(super) fn surroundings() -> Surroundings {
    Surroundings {
        variables: Arc::new(variable),
        clock: Arc::new(crate::clock::SystemClock),
        bits: Arc::new(|| crate::chance::Chance::bits(&crate::chance::SystemChance)),
    }
}

/// How the services that give credentials are reached: as the provider's own, but for their hosts.
pub(super) fn reach(credentials: &Credentials, timeout: Duration, ca_file: Option<PathBuf>) -> Reach {
    Reach {
        sts: credentials.sts_endpoint.clone(),
        metadata: credentials.metadata_endpoint.clone(),
        metadata_without_token: credentials.without_token,
        timeout: Some(timeout),
        ca_file,
    }
}

/// The source that the configuration names.
pub(super) fn source(sources: &dyn Sources, from: &CredentialsFrom) -> Result<Source, Fault> {
    match from {
        CredentialsFrom::Environment => Ok(sources.environment()),
        CredentialsFrom::Static { id, key, token } => fixed(sources.terms(), id, key, token.as_ref()),
        CredentialsFrom::Profile(settings) => sources.profile(settings.clone()),
        CredentialsFrom::InstanceRole(settings) => sources.instance_role(settings.clone()),
        CredentialsFrom::Uri(settings) => sources.credentials_uri(settings.clone()),
        CredentialsFrom::Oidc(settings) => sources.oidc(settings.clone()),
        CredentialsFrom::AssumeRole { base, role } => sources.assume_role(source(sources, base)?, role.clone()),
        CredentialsFrom::Chain => sources.chain(),
    }
}

/// A credential whose parts are each read from their own place, once.
fn fixed(terms: &Terms, id: &SecretRef, key: &SecretRef, token: Option<&SecretRef>) -> Result<Source, Fault> {
    let id = id.read(&variable)?.expose().to_owned();
    let token = token.map(|token| token.read(&variable)).transpose()?;
    Ok(Arc::new(Static::new(terms, id, key.read(&variable)?, token)?))
}
