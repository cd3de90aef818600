//! `waves` of a selection: how its targets follow each other.

use super::reading::{Refusal, Section, refusal};
use crate::rotation::waves::{Share, Waves};

/// The most targets that any of the numbers may mean.
const LIMIT: u32 = 100_000;

pub(super) fn parse(section: &Section<'_>) -> Option<Waves> {
    let waves = section.section("waves")?;
    if !section.has("schedule") {
        let what = "Targets follow each other in a slot that they share, and with every each has slots of its own";
        section.refuse("waves", refusal(what, "give them a schedule, or remove waves"));
    }
    let count = |key: &str, usual: usize| match waves.has(key) {
        true => waves.number(key, 1..=LIMIT).map(|count| count as usize),
        false => Some(usual),
    };
    let then = match waves.has("then") {
        true => waves
            .text_or_number("then")
            .and_then(|text| share(&text).map_err(|refusal| waves.refuse("then", refusal)).ok()),
        false => Some(Share::Percent(100)),
    };
    Some(Waves { canary: count("canary", 1)?, then: then?, halt_after: count("halt-after", 1)? })
}

fn share(text: &str) -> Result<Share, Refusal> {
    let number = |text: &str| text.trim().parse::<usize>().ok();
    let share = match text.strip_suffix('%') {
        Some(percent) => number(percent).filter(|percent| (1..=100).contains(percent)).map(Share::Percent),
        None => number(text).filter(|count| (1..=LIMIT as usize).contains(count)).map(Share::Count),
    };
    share.ok_or_else(|| {
        refusal("This is no part of the targets", "write a number such as 20, or a percentage such as \"10%\"")
    })
}
