//! A ledger on storage that vanishes with the machine or the container is no record: it is refused, unless its owner says what is to be done then.

use crate::config::Ephemeral;
use crate::fault::{Fault, Kind};
use rustix::fs::statfs;
use std::path::Path;

/// File systems that live in memory, or no longer than a container: the numbers that statfs(2) knows them by.
const VANISHING: [(u32, &str); 3] = [(0x0102_1994, "tmpfs"), (0x8584_58f6, "ramfs"), (0x794c_7630, "overlay")];

/// Refuses a ledger there, unless it is a rehearsal or begins anew from what sinks hold.
pub fn refuse(ledger: &Path, ephemeral: Option<Ephemeral>) -> Result<(), Fault> {
    let folder = ledger.parent().unwrap_or(Path::new("/"));
    // What cannot be asked, opening the ledger will say more of.
    let Ok(about) = statfs(folder) else { return Ok(()) };
    // The number is 32 bits wide, whatever the field is on this machine.
    let magic = (about.f_type & 0xffff_ffff) as u32;
    let Some((_, kind)) = VANISHING.iter().find(|(known, _)| *known == magic) else { return Ok(()) };
    match ephemeral {
        Some(Ephemeral::Rehearsal) => Ok(()),
        Some(Ephemeral::AdoptFromSink) => {
            tracing::warn!(
                "the ledger lies on {kind} in {} and vanishes with it: each target then begins anew from its sink, and the record, passwords of \
                 rotations under way among it, is lost",
                folder.display()
            );
            Ok(())
        }
        None => Err(Fault::new(
            Kind::LedgerUnusable,
            format!(
                "the ledger's folder {} lies on {kind}, which vanishes with the machine or the container, and every password with it",
                folder.display()
            ),
        )
        .advise(
            "put it on a disk or a volume that stays; where there is none, ephemeral = \"adopt-from-sink\" in [daemon] begins anew from what sinks hold",
        )),
    }
}
