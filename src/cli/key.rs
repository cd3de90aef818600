//! `key`: the sealing key.

use super::Exit;
use super::output::print_line;
use super::scene::{Scene, operator};
use crate::assemble;
use crate::config::SecretRef;
use crate::fault::Fault;
use crate::ledger::deed::Deed;
use crate::seal::aead::SealingKey;
use std::path::Path;

/// Prints a new sealing key.
pub fn new() -> Exit {
    print_line(SealingKey::generate(&mut rand::rng()).expose());
    Exit::Well
}

/// Seals the ledger with another key: its data key is wrapped anew in one transaction.
///
/// # Errors
/// When either key or the ledger cannot be used, or a daemon holds the ledger.
pub async fn rotate(config: &Path, to: &Path) -> Result<Exit, Fault> {
    let scene = Scene::read(config)?;
    let current = assemble::sealing_key(&scene.config().daemon.sealing_key)?;
    let next = assemble::sealing_key(&SecretRef::File(to.to_owned()))?;
    let ledger = assemble::ledger(scene.config(), "keywheel key rotate")?;
    ledger.rotate_key(&current, &next).await?;
    let recorded = ledger.record(scene.now(), Deed::KeyRotated { by: operator() }).await;
    print_line(
        "The ledger is sealed with the new key. Put it where the sealing-key setting points before the next start.",
    );
    // The new key is in force whatever becomes of the note of it.
    recorded?;
    Ok(Exit::Well)
}
