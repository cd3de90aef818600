//! What a selection found, as the ledger keeps it: the last list, so that a start knows it before the cloud was asked.

use crate::moment::Moment;
use crate::name::TargetName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What each selection found, by the selection's name.
pub type Lists = BTreeMap<TargetName, Vec<Known>>;

/// One instance that a selection found at some time. It is never taken out of its list again: what vanishes is retired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Known {
    /// The cloud's id of it.
    pub instance: String,
    /// Where it was found: an id names one instance there.
    pub place: String,
    /// The name its owner gave it.
    #[serde(default)]
    pub name: String,
    /// Where clients connect: host and port.
    #[serde(default)]
    pub endpoint: Option<(String, u16)>,
    /// All its tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// The target that it became, and stays: its record is kept under this name, whatever a tag or the console says later.
    #[serde(default)]
    pub target: Option<TargetName>,
    /// When it was found first.
    pub since: Moment,
    /// Whole listings in a row that lacked it; none once it is retired or found again.
    #[serde(default)]
    pub missing: Option<Missing>,
    /// Since when it is no longer rotated, and why.
    #[serde(default)]
    pub retired: Option<Retired>,
}

impl Known {
    /// Whether it is one of those looked for here by these tags. One that is not was found under an earlier configuration.
    pub fn is_sought(&self, place: &str, tags: &BTreeMap<String, String>) -> bool {
        self.place == place && tags.iter().all(|(key, value)| self.tags.get(key) == Some(value))
    }
}

/// Whole listings in a row that lacked an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Missing {
    /// When the first of them was read.
    pub since: Moment,
    /// How many there were.
    pub times: u32,
    /// Whether it went missing together with many others; so did each that is noted without this.
    #[serde(default = "yes")]
    pub among_many: bool,
}

const fn yes() -> bool {
    true
}

/// An instance that is no longer rotated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Retired {
    /// Since when.
    pub since: Moment,
    /// Why, in a few words.
    pub why: String,
}
