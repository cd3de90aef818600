//! Sealing with AES-256-GCM-SIV (RFC 8452), keys by HKDF-SHA256 (RFC 5869), MACs by HMAC-SHA256.
//!
//! A nonce is random; should one ever repeat, this cipher gives away no more than that two equal passwords of one generation are equal.
//!
//! Sealed bytes are `format (1) | nonce (12) | ciphertext and tag`; the format byte is part of the associated data.

use super::{DataKey, Envelope, KEY_BYTES, MAC_BYTES, Seal};
use crate::fault::{Fault, Kind};
use crate::name::{Generation, TargetName};
use crate::secret::Secret;
use aes_gcm_siv::aead::{Aead as _, KeyInit, Payload};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use rand::{CryptoRng, Rng};
use sha2::Sha256;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The form of sealed bytes that is written and read.
const FORMAT: u8 = 1;
const NONCE_BYTES: usize = 12;

/// The sealing key a person keeps, ready to wrap and unwrap.
pub struct SealingKey(Aes256GcmSiv);

impl SealingKey {
    /// Takes the key from its text: 32 bytes in standard base64; white space around it does not matter.
    ///
    /// # Errors
    /// `SecretUnreadable` when the text is something else.
    pub fn parse(text: &Secret) -> Result<Self, Fault> {
        let refused = |what: &str| {
            Fault::new(Kind::SecretUnreadable, format!("the sealing key is {what}")).advise(
                "give the 32 bytes in base64 that `keywheel key new` prints; for an existing ledger, the key it was made with",
            )
        };
        let bytes = Zeroizing::new(STANDARD.decode(text.expose().trim()).map_err(|_| refused("not base64"))?);
        if bytes.len() != KEY_BYTES {
            return Err(refused(&format!("{} bytes long, not {KEY_BYTES}", bytes.len())));
        }
        Ok(Self(cipher(&bytes, b"keywheel sealing key 1: wrap")))
    }

    /// A new key as text, for `keywheel key new`.
    pub fn generate(rng: &mut impl CryptoRng) -> Secret {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        rng.fill_bytes(bytes.as_mut());
        Secret::new(STANDARD.encode(bytes.as_slice()))
    }
}

impl Envelope for SealingKey {
    fn wrap(&self, data_key: &DataKey) -> Vec<u8> {
        encrypt(&self.0, data_key.expose(), &wrap_context())
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<DataKey, Fault> {
        let wrong = || Fault::new(Kind::KeyWrong, "the sealing key does not open this ledger");
        let plain = decrypt(&self.0, wrapped, &wrap_context()).ok_or_else(wrong)?;
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        if plain.len() != KEY_BYTES {
            return Err(wrong());
        }
        bytes.copy_from_slice(&plain);
        Ok(DataKey::from_bytes(bytes))
    }

    fn keys(&self, data_key: &DataKey) -> Arc<dyn Seal> {
        Arc::new(Aead::from_data_key(data_key))
    }
}

/// The keys of one ledger in use.
pub struct Aead {
    cipher: Aes256GcmSiv,
    mac: Hmac<Sha256>,
}

impl Aead {
    /// Derives them.
    pub fn from_data_key(data_key: &DataKey) -> Self {
        let mac_key = derive(data_key.expose(), b"keywheel data key 1: mac");
        Self {
            cipher: cipher(data_key.expose(), b"keywheel data key 1: seal"),
            mac: <Hmac<Sha256> as KeyInit>::new_from_slice(mac_key.as_ref()).expect("HMAC takes a key of any length"),
        }
    }
}

impl Seal for Aead {
    fn seal(&self, target: &TargetName, generation: Generation, password: &Secret) -> Vec<u8> {
        encrypt(&self.cipher, password.expose().as_bytes(), &password_context(target, generation))
    }

    fn open(&self, target: &TargetName, generation: Generation, sealed: &[u8]) -> Result<Secret, Fault> {
        let plain = decrypt(&self.cipher, sealed, &password_context(target, generation));
        plain
            .and_then(|plain| {
                // Copied into a text of exactly this size: one that has to shrink or grow would leave a copy behind.
                let mut text = String::with_capacity(plain.len());
                text.push_str(std::str::from_utf8(&plain).ok()?);
                Some(Secret::new(text))
            })
            .ok_or_else(|| {
                Fault::new(
                    Kind::LedgerCorrupt,
                    format!(
                        "password {generation} of {target} does not open: its bytes were changed or belong elsewhere"
                    ),
                )
            })
    }

    fn mac(&self, bytes: &[u8]) -> [u8; MAC_BYTES] {
        let mut mac = self.mac.clone();
        mac.update(bytes);
        mac.finalize().into_bytes().into()
    }
}

fn wrap_context() -> Vec<u8> {
    [b"keywheel wrapped data key".as_slice(), &[FORMAT]].concat()
}

/// A target's name has no NUL in it, so the name and the number cannot run into each other.
fn password_context(target: &TargetName, generation: Generation) -> Vec<u8> {
    [b"keywheel password".as_slice(), &[FORMAT], target.as_str().as_bytes(), &[0], &generation.0.to_be_bytes()].concat()
}

fn derive(key: &[u8], purpose: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
    let mut derived = Zeroizing::new([0; KEY_BYTES]);
    Hkdf::<Sha256>::new(None, key).expand(purpose, derived.as_mut()).expect("HKDF-SHA256 gives up to 8160 bytes");
    derived
}

fn cipher(key: &[u8], purpose: &[u8]) -> Aes256GcmSiv {
    Aes256GcmSiv::new_from_slice(derive(key, purpose).as_ref()).expect("a derived key has the length this cipher takes")
}

fn encrypt(cipher: &Aes256GcmSiv, plain: &[u8], context: &[u8]) -> Vec<u8> {
    let mut nonce = [0; NONCE_BYTES];
    rand::rng().fill_bytes(&mut nonce);
    let payload = Payload { msg: plain, aad: context };
    let sealed = cipher.encrypt(&Nonce::from(nonce), payload).expect("AES-256-GCM-SIV seals anything below 64 GiB");
    [&[FORMAT], nonce.as_slice(), &sealed].concat()
}

fn decrypt(cipher: &Aes256GcmSiv, sealed: &[u8], context: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (format, rest) = sealed.split_first()?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
    if *format != FORMAT {
        return None;
    }
    let payload = Payload { msg: sealed, aad: context };
    cipher.decrypt(&Nonce::from(*nonce), payload).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn aead(seed: u64) -> Aead {
        Aead::from_data_key(&DataKey::draw(&mut StdRng::seed_from_u64(seed)))
    }

    fn target(name: &str) -> TargetName {
        name.parse().unwrap()
    }

    #[test]
    fn every_printable_character_comes_back() {
        let aead = aead(1);
        let printable: String = (' '..='~').collect();
        for text in ["", "x", printable.as_str(), "pässwörd-密码-🔑", &"long".repeat(500)] {
            let sealed = aead.seal(&target("a"), Generation(7), &Secret::new(text.to_owned()));
            let opened = aead.open(&target("a"), Generation(7), &sealed).unwrap();
            assert_eq!(opened.expose(), text);
        }
    }

    #[test]
    fn sealed_bytes_open_only_where_they_belong_and_as_they_were() {
        let (ours, other) = (aead(1), aead(2));
        let password = Secret::new("correct horse".to_owned());
        let sealed = ours.seal(&target("a"), Generation(1), &password);
        let refused = |aead: &Aead, name: &str, generation: u64, bytes: &[u8]| {
            let fault = aead.open(&target(name), Generation(generation), bytes).unwrap_err();
            assert_eq!(fault.kind, Kind::LedgerCorrupt);
            assert!(fault.what.contains(name) && !fault.what.contains("horse"), "{fault}");
        };
        refused(&ours, "b", 1, &sealed);
        refused(&ours, "a", 2, &sealed);
        refused(&other, "a", 1, &sealed);
        for length in 0..sealed.len() {
            refused(&ours, "a", 1, &sealed[..length]);
        }
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            refused(&ours, "a", 1, &flipped);
        }
        assert_ne!(sealed, ours.seal(&target("a"), Generation(1), &password), "a nonce repeats");
    }

    #[test]
    fn a_mac_depends_on_key_and_bytes() {
        assert_eq!(aead(1).mac(b"x"), aead(1).mac(b"x"));
        assert_ne!(aead(1).mac(b"x"), aead(2).mac(b"x"));
        assert_ne!(aead(1).mac(b"x"), aead(1).mac(b"y"));
    }

    #[test]
    fn a_sealing_key_opens_what_it_wrapped_and_nothing_else() {
        let mut rng = StdRng::seed_from_u64(3);
        let text = SealingKey::generate(&mut rng);
        let other = SealingKey::parse(&SealingKey::generate(&mut rng)).unwrap();
        let data_key = DataKey::draw(&mut rng);
        let wrapped = SealingKey::parse(&text).unwrap().wrap(&data_key);
        let padded = Secret::new(format!(" {}\n", text.expose()));
        let opened = SealingKey::parse(&padded).unwrap().unwrap(&wrapped).unwrap();
        assert_eq!(opened.expose(), data_key.expose());
        assert_eq!(other.unwrap(&wrapped).err().map(|fault| fault.kind), Some(Kind::KeyWrong));
    }

    #[test]
    fn a_text_that_is_no_key_is_refused_without_being_shown() {
        for text in ["", "hunter2", "aHVudGVyMg==", &STANDARD.encode([7; 31]), &STANDARD.encode([7; 33]), "/w"] {
            let fault = SealingKey::parse(&Secret::new(text.to_owned())).err().expect("no key").to_string();
            assert!(fault.contains("keywheel key new"), "{fault}");
            assert!(text.is_empty() || !fault.contains(text), "{fault}");
        }
    }
}
