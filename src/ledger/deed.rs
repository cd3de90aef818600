//! What happened to keywheel itself and to no one target: its starts, its reloads, its keys. It has a record of its own, chained like a target's.

use crate::fault::Fault;
use crate::moment::Moment;
use crate::rotation::event::By;
use serde::{Deserialize, Serialize};

/// The version of this vocabulary that is written. A greater one in the ledger means a newer keywheel wrote it.
pub const VERSION: u32 = 1;

/// The record's name, which no target can have.
pub const RECORD: &str = "@keywheel";

/// One thing that happened to keywheel itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "event")]
pub enum Deed {
    /// The daemon started.
    Started {
        /// Which keywheel it is.
        version: String,
        /// How many targets it has.
        targets: u64,
    },
    /// The configuration was read again and is in force.
    Reloaded {
        /// Who asked.
        by: By,
        /// How many targets it has.
        targets: u64,
    },
    /// The configuration was read again and refused: the one before stays in force.
    ReloadRefused {
        /// Who asked.
        by: By,
        /// Why.
        fault: Fault,
    },
    /// The ledger is sealed with another key.
    KeyRotated {
        /// Who did it.
        by: By,
    },
}

/// One of them as the ledger holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeedRow {
    /// Its place in the record, from 1 without gaps.
    pub seq: u64,
    /// When it happened by this machine's clock.
    pub at: Moment,
    /// What it was.
    pub deed: Deed,
}

impl Deed {
    /// A short name for logs and collectors.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Reloaded { .. } => "reloaded",
            Self::ReloadRefused { .. } => "reload-refused",
            Self::KeyRotated { .. } => "key-rotated",
        }
    }

    /// Who asked for it, where somebody did.
    pub const fn by(&self) -> Option<&By> {
        match self {
            Self::Started { .. } => None,
            Self::Reloaded { by, .. } | Self::ReloadRefused { by, .. } | Self::KeyRotated { by } => Some(by),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Kind;

    /// What was written stays readable, in the form in which it was first written.
    #[test]
    fn written_deeds_stay_readable() {
        let fault = Fault::new(Kind::ConfigInvalid, "a line").advise("mend it");
        let cases = [
            (
                Deed::Started { version: "0.1.0".to_owned(), targets: 2 },
                r#"{"event":"started","version":"0.1.0","targets":2}"#,
            ),
            (
                Deed::Reloaded { by: By::Signal, targets: 3 },
                r#"{"event":"reloaded","by":{"who":"signal"},"targets":3}"#,
            ),
            (
                Deed::ReloadRefused { by: By::Systemd, fault },
                r#"{"event":"reload-refused","by":{"who":"systemd"},"fault":{"kind":"config-invalid","what":"a line","next-step":"mend it","retry":"never"}}"#,
            ),
            (
                Deed::KeyRotated { by: By::Operator { uid: 1_000 } },
                r#"{"event":"key-rotated","by":{"who":"operator","uid":1000}}"#,
            ),
        ];
        for (deed, text) in cases {
            assert_eq!(serde_json::to_string(&deed).unwrap(), text);
            assert_eq!(serde_json::from_str::<Deed>(text).unwrap(), deed);
            assert!(text.contains(deed.label()));
        }
    }
}
