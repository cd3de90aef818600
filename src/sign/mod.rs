//! Request signatures: pure functions from a whole request head and a key to the headers to send, so that no half-signed request exists.

pub mod acs3;
pub mod tc3;
pub mod webhook;

use crate::secret::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Who signs.
#[derive(Clone, Copy)]
pub struct Signer<'a> {
    /// The public half: a name, not a secret.
    pub id: &'a str,
    /// The secret half.
    pub key: &'a Secret,
}

fn mac(key: &[u8], text: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// In lower-case hex.
fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
