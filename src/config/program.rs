//! Programs in the configuration: those that store a password, and those that are told.

use super::reading::{Section, refusal};
use std::time::Duration;

/// The longest time a program may be given.
const TIMEOUT_LIMIT: Duration = Duration::from_secs(3_600);

/// The most arguments of a program.
const ARGUMENT_LIMIT: usize = 64;

/// A program, what it inherits and how long it may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its absolute path, then its arguments.
    pub argv: Vec<String>,
    /// The daemon's variables that it inherits.
    pub environment: Vec<String>,
    /// When it is killed.
    pub timeout: Duration,
}

pub(super) fn program(section: &Section<'_>, usual: Duration) -> Program {
    let argv = argv(section, "argv");
    let environment: Vec<String> = section.texts("environment").into_iter().map(str::to_owned).collect();
    if environment.iter().any(|name| name.is_empty() || name.contains(['=', '\0'])) {
        let what = "These are names of variables that the program inherits, not values";
        section.refuse("environment", refusal(what, "write the names alone, such as [\"LANG\"]"));
    }
    Program { argv, environment, timeout: section.span_up_to("timeout", TIMEOUT_LIMIT).unwrap_or(usual) }
}

/// A program and its arguments.
pub(super) fn argv(section: &Section<'_>, key: &str) -> Vec<String> {
    let argv: Vec<String> = section.texts(key).into_iter().map(str::to_owned).collect();
    let nul = argv.iter().any(|argument| argument.contains('\0'));
    if section.has(key) && !argv.first().is_some_and(|first| first.starts_with('/')) {
        let what = "A program is named by its absolute path; no shell looks for it";
        section.refuse(key, refusal(what, format!("write {key} = [\"/path/to/program\", \"argument\"]")));
    }
    if argv.len() > ARGUMENT_LIMIT || nul {
        let what = format!("A program has at most {ARGUMENT_LIMIT} arguments, without NUL characters");
        section.refuse(key, refusal(what, "put the rest into a script"));
    }
    argv
}
