//! Tokens and the certificate of the console.

use super::variable;
use crate::config::{Config, SecretRef};
use crate::fault::{Fault, Kind};
use crate::name::TokenName;
use crate::secret::Secret;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// The shortest token, in characters: nobody guesses 32 random ones.
const TOKEN_LENGTH: usize = 32;

/// The longest file of certificates, in bytes.
const CHAIN_LIMIT: u64 = 1 << 20;

/// The tokens of `daemon.tokens`.
///
/// # Errors
/// `SecretUnreadable`, or `ConfigInvalid` for one that is no good token.
pub fn tokens(config: &Config) -> Result<Vec<(TokenName, Secret)>, Fault> {
    let mut tokens: Vec<(TokenName, Secret)> = Vec::new();
    for (name, reference) in &config.daemon.entrance.tokens {
        let token = reference.read(&variable)?;
        let refuse = |what: String| {
            let advice = "take a long random one, such as `openssl rand -hex 32` prints";
            Err(Fault::new(Kind::ConfigInvalid, format!("daemon.tokens.{name}: {what}")).advise(advice))
        };
        let text = token.expose();
        if text.chars().count() < TOKEN_LENGTH {
            return refuse(format!("a token has at least {TOKEN_LENGTH} characters"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refuse("a token consists of visible ASCII characters, without blanks".to_owned());
        }
        if let Some((other, _)) = tokens.iter().find(|(_, known)| known.expose() == text) {
            return refuse(format!("it is the same as {other}, and the record could not tell whose it was"));
        }
        tokens.push((name.clone(), token));
    }
    Ok(tokens)
}

/// The certificate of `daemon.tls`, ready to be shown; `None` where it is plain.
///
/// # Errors
/// `SecretUnreadable`, or `ConfigInvalid` where certificate and key cannot be used.
pub fn tls(config: &Config) -> Result<Option<Arc<ServerConfig>>, Fault> {
    let Some(tls) = &config.daemon.entrance.tls else { return Ok(None) };
    let refuse = |what: String| {
        Fault::new(Kind::ConfigInvalid, format!("daemon.tls: {what}"))
            .advise("give the certificate with its chain, and its key, each in PEM")
    };
    let chain = read(&tls.certificate).map_err(|error| refuse(format!("{}: {error}", tls.certificate.display())))?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<_, _>>()
        .map_err(|error| refuse(format!("{}: {error}", tls.certificate.display())))?;
    let key = key(&tls.key)?.ok_or_else(|| refuse(format!("{} holds no private key", tls.key)))?;
    let mut made = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| refuse(format!("certificate and key do not make a pair: {error}")))?;
    made.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(Arc::new(made)))
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(CHAIN_LIMIT).read_to_end(&mut text)?;
    Ok(text)
}

fn key(reference: &SecretRef) -> Result<Option<PrivateKeyDer<'static>>, Fault> {
    Ok(PrivateKeyDer::from_pem_slice(reference.read(&variable)?.expose().as_bytes()).ok())
}
