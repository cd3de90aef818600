//! What a provider's calls came to since it was made, for whoever shows it.

use crate::moment::Moment;
use crate::pacer::{Load, Pacers};
use crate::provider::credential::CredentialSource;

/// The use of a cloud's API by one provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Traffic {
    /// Calls per second and action that it may make at most.
    pub quota: f64,
    /// Each action that was called.
    pub actions: Vec<(&'static str, Load)>,
    /// When the credential in hand ends, where that is known. Its source gives another one before.
    pub credential_ends: Option<Moment>,
}

impl Traffic {
    pub(super) fn of(pacers: &Pacers, credentials: &dyn CredentialSource) -> Self {
        Self { quota: pacers.quota(), actions: pacers.loads(), credential_ends: credentials.ends() }
    }
}
