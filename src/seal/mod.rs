//! The joint to sealing: passwords enter the ledger only as ciphertext bound to their target and generation, and rows carry a keyed MAC.

pub mod aead;

use crate::fault::Fault;
use crate::name::{Generation, TargetName};
use crate::secret::Secret;
use rand::CryptoRng;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Length of a MAC, in bytes.
pub const MAC_BYTES: usize = 32;

/// Length of a sealing key and of a data key, in bytes.
pub const KEY_BYTES: usize = 32;

/// The ledger's keys in use.
pub trait Seal: Send + Sync {
    /// Ciphertext of a password, bound to target and generation as associated data.
    fn seal(&self, target: &TargetName, generation: Generation, password: &Secret) -> Vec<u8>;

    /// The password again.
    ///
    /// # Errors
    /// `LedgerCorrupt` when the bytes were not sealed by this key for this target and generation.
    fn open(&self, target: &TargetName, generation: Generation, sealed: &[u8]) -> Result<Secret, Fault>;

    /// The keyed MAC of these bytes (HMAC-SHA256).
    fn mac(&self, bytes: &[u8]) -> [u8; MAC_BYTES];
}

/// What the sealing key a person keeps is good for: it opens the data key, which the ledger itself carries, wrapped. So a new sealing key costs one
/// row, and no password has to be sealed again.
pub trait Envelope: Send + Sync {
    /// The data key in the form a ledger carries.
    fn wrap(&self, data_key: &DataKey) -> Vec<u8>;

    /// The data key again.
    ///
    /// # Errors
    /// `KeyWrong` when these bytes were not wrapped under this sealing key.
    fn unwrap(&self, wrapped: &[u8]) -> Result<DataKey, Fault>;

    /// The keys in use that follow from a data key.
    fn keys(&self, data_key: &DataKey) -> Arc<dyn Seal>;
}

/// The random key of one ledger; it never changes and is wiped when dropped. Passwords are sealed and rows MACed under keys derived from it.
pub struct DataKey(Zeroizing<[u8; KEY_BYTES]>);

impl DataKey {
    /// A new one.
    pub fn draw(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        rng.fill_bytes(bytes.as_mut());
        Self(bytes)
    }

    /// One that was unwrapped.
    pub const fn from_bytes(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self(bytes)
    }

    /// The bytes themselves, to wrap them or derive keys from them.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}
