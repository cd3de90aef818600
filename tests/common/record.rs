//! The record of one row's target, read past keywheel.

#![allow(dead_code, reason = "each test file uses the part it needs")]

use keywheel::ledger::Projection;
use keywheel::ledger::sqlite::Reader;
use keywheel::name::Generation;
use keywheel::rotation::event::What;
use keywheel::seal::aead::SealingKey;
use std::path::PathBuf;

/// The target of every row.
pub const TARGET: &str = "orders-cache";

/// Where the ledger is, and its key.
pub struct Record {
    pub ledger: PathBuf,
    pub key: SealingKey,
}

impl Record {
    fn reader(&self) -> Option<Reader> {
        Reader::open(&self.ledger, Some(&self.key)).ok()
    }

    /// All passwords, from generation 1; none where there is no ledger yet.
    pub async fn generations(&self) -> Vec<String> {
        let mut found = Vec::new();
        let Some(reader) = self.reader() else { return found };
        let target = TARGET.parse().unwrap();
        while let Ok(password) = reader.password(&target, Generation(found.len() as u64 + 1)).await {
            found.push(password.expose().to_owned());
        }
        found
    }

    /// What the ledger says of the target without being asked in keywheel's words.
    pub async fn projection(&self) -> Option<Projection> {
        self.reader()?.listing().await.ok()?.pop().map(|listing| listing.projection)
    }

    /// The newest events.
    pub async fn events(&self) -> Vec<What> {
        let Some(reader) = self.reader() else { return Vec::new() };
        let rows = reader.recent(&TARGET.parse().unwrap()).await.unwrap_or_default();
        rows.into_iter().map(|row| row.event.what).collect()
    }

    /// What is broken in its chain.
    pub async fn broken(&self) -> Vec<String> {
        let audits = match Reader::open(&self.ledger, Some(&self.key)) {
            Ok(reader) => reader.verify_all().await,
            Err(fault) => Err(fault),
        };
        match audits {
            Ok(audits) => {
                let broken = audits.into_iter().filter_map(|audit| audit.broken);
                broken.map(|fault| format!("the record is broken: {fault}")).collect()
            }
            Err(fault) => vec![format!("the ledger does not open: {fault}")],
        }
    }
}
