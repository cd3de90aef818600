//! Sinks behind HTTP.

use super::{now, variable};
use crate::config::{self, SecretRef};
use crate::fault::{Fault, Kind};
use crate::http::Settings;
use crate::sink::http::{HttpSettings, HttpSink};
use crate::sink::vault::{Auth, VaultSettings, VaultSink};
use crate::sink::web::Credential;
use std::sync::Arc;
use url::Url;

/// The receiver behind a URL.
pub(super) fn http(sink: &config::HttpSink) -> Result<HttpSink, Fault> {
    let settings = HttpSettings {
        url: address(&sink.url)?,
        signing_key: read_anew(&sink.signing_key),
        token: sink.token.as_ref().map(read_anew),
        check: sink.check,
        read: sink.read,
        reach: Settings { timeout: sink.timeout, ca_file: sink.ca_file.clone() },
    };
    HttpSink::new(settings, now())
}

/// A secret in Vault.
pub(super) fn vault(sink: &config::VaultSink) -> Result<VaultSink, Fault> {
    let auth = match &sink.auth {
        config::VaultAuth::Token { token } => Auth::Token(read_anew(token)),
        config::VaultAuth::AppRole { mount, role_id, secret_id } => Auth::AppRole {
            mount: mount.clone(),
            role_id: read_anew(role_id),
            secret_id: secret_id.as_ref().map(read_anew),
        },
        config::VaultAuth::Kubernetes { mount, role, token_file } => {
            Auth::Kubernetes { mount: mount.clone(), role: role.clone(), token_file: token_file.clone() }
        }
        config::VaultAuth::Certificate { mount, role, certificate, key } => Auth::Certificate {
            mount: mount.clone(),
            role: role.clone(),
            certificate: certificate.clone(),
            key: read_anew(key),
        },
    };
    let settings = VaultSettings {
        address: sink.address.clone(),
        mount: sink.mount.clone(),
        path: sink.path.clone(),
        namespace: sink.namespace.clone(),
        auth,
        reach: Settings { timeout: sink.timeout, ca_file: sink.ca_file.clone() },
    };
    VaultSink::new(settings, now())
}

pub(super) fn read_anew(reference: &SecretRef) -> Credential {
    let reference = reference.clone();
    Credential(Arc::new(move || reference.read(&variable)))
}

/// What a template stands for where a selection's sinks are made once, to see whether they can be: it has no target yet.
const SAMPLE: &str = "https://localhost/";

/// An address as it was checked.
fn address(text: &str) -> Result<Url, Fault> {
    let text = if text.contains("{{") || text.contains("{%") { SAMPLE } else { text };
    // The parser's words may repeat the text.
    Url::parse(text).map_err(|_| Fault::new(Kind::ConfigInvalid, "The URL of a sink is none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_a_template_still_can_be_tried() {
        for (text, expected) in [
            ("https://receiver.example/orders?token=a", "https://receiver.example/orders?token=a"),
            ("https://{{ host }}:{{ port }}/x", SAMPLE),
            ("{% if tag.team %}https://receiver.example/{% endif %}", SAMPLE),
        ] {
            assert_eq!(address(text).map(String::from).unwrap(), expected, "{text}");
        }
        assert!(!address("hunter2").unwrap_err().to_string().contains("hunter2"));
    }
}
