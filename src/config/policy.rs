//! `[policies.NAME]`: what passwords look like.

use super::reading::{Section, refusal};
use crate::password::{First, LENGTH_LIMIT, Policy, PolicySettings, RequireSettings};

/// The policy of targets that name none, where it exists.
pub(super) const DEFAULT_NAME: &str = "default";

pub(super) fn parse(section: &Section<'_>) -> Option<Policy> {
    let usual = PolicySettings::default();
    let lists = [("letter", First::Letter), ("alphanumeric", First::Alphanumeric), ("any", First::Any)];
    let length = number(section, "length", usual.length);
    let alphabet = match section.has("alphabet") {
        true => section.text("alphabet").map(str::to_owned),
        false => Some(usual.alphabet),
    };
    let first = match section.has("first") {
        true => section.choice("first", &lists),
        false => Some(usual.first),
    };
    let require = match section.section("require") {
        Some(table) => require(&table).map(Some),
        None if section.has("require") => None,
        None => Some(None),
    };
    let settings = PolicySettings { length: length?, alphabet: alphabet?, require: require?, first: first? };
    let refuse = |problems: Vec<_>| {
        for problem in problems {
            section.refuse("", format!("{problem}"));
        }
    };
    Policy::parse(&settings).map_err(refuse).ok()
}

fn require(table: &Section<'_>) -> Option<RequireSettings> {
    let [lower, upper, digit, special] = ["lower", "upper", "digit", "special"].map(|class| number(table, class, 0));
    let sum: u64 = [lower?, upper?, digit?, special?].into_iter().map(u64::from).sum();
    if sum == 0 {
        let what = "This requires nothing";
        table.warn("", refusal(what, "leave require out to have one character of each class the alphabet has"));
    }
    Some(RequireSettings { lower: lower?, upper: upper?, digit: digit?, special: special? })
}

/// The number at a key, or the usual one where the key is not there; nothing where it is wrong.
fn number(section: &Section<'_>, key: &str, usual: u32) -> Option<u32> {
    match section.has(key) {
        true => section.number(key, 0..=LENGTH_LIMIT),
        false => Some(usual),
    }
}
