//! Stores of clouds that keywheel has no provider for: the configured kind in, a sink out, where this keywheel was built with it.

use crate::config;
use crate::fault::Fault;
use crate::sink::Sink;
use std::sync::Arc;

#[cfg(feature = "gcp")]
pub(super) fn gcp(gcp: &config::GcpSink) -> Result<Arc<dyn Sink>, Fault> {
    use crate::fault::Kind;
    use crate::sink::gcp_secret_manager::{GcpSecretManager, GcpSettings, Identity, METADATA_HOST};
    let identity = match &gcp.identity {
        config::GcpIdentity::ServiceAccount { key } => Identity::ServiceAccount(super::stores::read_anew(key)),
        config::GcpIdentity::Metadata { account, endpoint } => {
            let usual = || url::Url::parse(&format!("http://{METADATA_HOST}"));
            let endpoint = endpoint.clone().map_or_else(usual, Ok);
            let none = |_| Fault::new(Kind::Bug, "The address of Google's metadata server is none");
            Identity::Metadata { account: account.clone(), endpoint: endpoint.map_err(none)? }
        }
        config::GcpIdentity::ExternalAccount { file } => Identity::ExternalAccount(file.clone()),
    };
    let settings = GcpSettings {
        project: gcp.project.clone(),
        location: gcp.location.clone(),
        secret: gcp.secret.clone(),
        identity,
        quota_project: gcp.quota_project.clone(),
        create: gcp.create,
        keep: gcp.keep.and_then(|keep| usize::try_from(keep).ok()),
        destroy: gcp.destroy,
        endpoint: gcp.endpoint.clone(),
        format: gcp.format.form,
        prefix: gcp.format.prefix.clone(),
        template: gcp.format.template.clone(),
        fields: gcp.format.fields.clone(),
        reach: crate::http::Settings { timeout: gcp.timeout, ca_file: gcp.ca_file.clone() },
    };
    let sink = GcpSecretManager::new(settings, super::now());
    sink.map(|sink| Arc::new(sink) as Arc<dyn Sink>).map_err(super::first)
}

#[cfg(not(feature = "gcp"))]
pub(super) fn gcp(_gcp: &config::GcpSink) -> Result<Arc<dyn Sink>, Fault> {
    Err(left_out("gcp-secret-manager", "gcp"))
}

#[cfg(feature = "azure")]
pub(super) fn azure(azure: &config::AzureSink) -> Result<Arc<dyn Sink>, Fault> {
    use crate::sink::azure_key_vault::{AzureKeyVault, AzureSettings, Identity};
    let mut metadata = None;
    let identity = match &azure.identity {
        config::AzureIdentity::ClientSecret { tenant, client, secret } => Identity::ClientSecret {
            tenant: tenant.clone(),
            client: client.clone(),
            secret: super::stores::read_anew(secret),
        },
        config::AzureIdentity::Workload { tenant, client, token_file } => {
            Identity::Workload { tenant: tenant.clone(), client: client.clone(), token_file: token_file.clone() }
        }
        config::AzureIdentity::Managed { client, endpoint } => {
            metadata.clone_from(endpoint);
            Identity::Managed { client: client.clone() }
        }
    };
    let settings = AzureSettings {
        vault: azure.vault.clone(),
        secret: azure.secret.clone(),
        identity,
        authority: azure.authority.clone(),
        metadata,
        format: azure.format.form,
        prefix: azure.format.prefix.clone(),
        template: azure.format.template.clone(),
        fields: azure.format.fields.clone(),
        reach: crate::http::Settings { timeout: azure.timeout, ca_file: azure.ca_file.clone() },
    };
    AzureKeyVault::new(settings).map(|sink| Arc::new(sink) as Arc<dyn Sink>).map_err(super::first)
}

#[cfg(not(feature = "azure"))]
pub(super) fn azure(_azure: &config::AzureSink) -> Result<Arc<dyn Sink>, Fault> {
    Err(left_out("azure-key-vault", "azure"))
}

/// What is said where the configuration names a sink that this keywheel was built without.
#[cfg(not(all(feature = "gcp", feature = "azure")))]
fn left_out(kind: &str, feature: &str) -> Fault {
    Fault::new(crate::fault::Kind::ConfigInvalid, format!("This keywheel was built without the sink {kind}"))
        .advise(format!("build it with `--features {feature}`"))
}
