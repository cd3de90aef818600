//! `[hooks.NAME]`: who is told after a delivery.

use super::program::{Program, program};
use super::reading::Section;
use std::time::Duration;

/// How long a hook may take unless said otherwise.
const HOOK_TIMEOUT: Duration = Duration::from_secs(60);

/// Something told after a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hook {
    /// A program that is run.
    Command(Program),
}

pub(super) fn parse(section: &Section<'_>) -> Option<Hook> {
    match section.text("kind")? {
        "command" => Some(Hook::Command(program(section, HOOK_TIMEOUT))),
        _ => None,
    }
}
