//! The sinks `aws-secrets-manager` and `aws-parameter-store`: what both have in common, which is whose requests they are and how one is sent.
//!
//! Whose requests they are is found by the vendor's own crate, and they are signed by the vendor's own crate; both go out through [`crate::http`], with
//! its limits. Neither may log: at trace the vendor's code shows whole requests, and what is in them.

mod api;
mod identity;
mod marks;
pub mod parameter_store;
mod process;
pub mod secrets_manager;
mod transport;

pub use identity::Source;
pub use parameter_store::{ParameterStore, ParameterStoreSettings, Tier};
pub use secrets_manager::{SecretsManager, SecretsManagerSettings};

use crate::moment::Moment;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// What time it is.
pub type Now = Arc<dyn Fn() -> Moment + Send + Sync>;

/// Where a store is, and whose requests these are.
#[derive(Clone)]
pub struct Reach {
    /// The region's id.
    pub region: String,
    /// A host that wins over the region's own: https, or plain http to a loopback address.
    pub endpoint: Option<Url>,
    /// Where the credential is.
    pub source: Source,
    /// The token service, where it is not the region's own.
    pub sts_endpoint: Option<Url>,
    /// The machine's metadata service, where it is not the vendor's own.
    pub metadata_endpoint: Option<Url>,
    /// How long one request may take.
    pub timeout: Duration,
    /// Certificates (PEM) to trust instead of the machine's.
    pub ca_file: Option<PathBuf>,
    /// The clock.
    pub now: Now,
}

impl std::fmt::Debug for Reach {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { region, endpoint, source, .. } = self;
        let endpoint = endpoint.as_ref().map(Url::authority);
        formatter
            .debug_struct("Reach")
            .field("region", region)
            .field("endpoint", &endpoint)
            .field("source", source)
            .finish_non_exhaustive()
    }
}
