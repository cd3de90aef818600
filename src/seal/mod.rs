//! The joint to sealing: passwords enter the ledger only as ciphertext bound to their target and generation, and rows carry a keyed MAC.

use crate::fault::Fault;
use crate::name::{Generation, TargetName};
use crate::secret::Secret;

/// Length of a MAC, in bytes.
pub const MAC_BYTES: usize = 32;

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
