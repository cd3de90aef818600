//! Which certificate authorities a connection over TLS trusts.

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// The system's certificate authorities. Read once, since a fleet of probes would hold one copy each.
pub fn system_trust() -> Result<Arc<ClientConfig>, String> {
    static TRUST: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(trust) = TRUST.get() {
        return Ok(trust.clone());
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("This system has no bundle of certificate authorities: install ca-certificates, or set ca to the instance's own".to_owned());
    }
    let trust = client_config(roots)?;
    Ok(TRUST.get_or_init(|| trust).clone())
}

/// The certificate authorities in a PEM file.
pub fn trust_in(path: &Path) -> Result<Arc<ClientConfig>, String> {
    let shown = path.display();
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| format!("ca {shown} cannot be read: {error}"))?;
    for certificate in certificates {
        certificate
            .map_err(|error| error.to_string())
            .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()))
            .map_err(|error| format!("ca {shown} holds something that is no certificate: {error}"))?;
    }
    if roots.is_empty() {
        return Err(format!("ca {shown} holds no certificate"));
    }
    client_config(roots)
}

fn client_config(roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be used: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Each login is a fresh one.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
