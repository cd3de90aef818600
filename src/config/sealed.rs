//! `kind = "age"` and `kind = "systemd-credential"` in `[sinks.NAME]`: files that only some can read.

use super::outlet::{self, FileSink};
use super::reading::{Section, refusal};
use super::secret_ref::SecretRef;
use crate::sink::systemd_credential::{DEFAULT_TIMEOUT, PROGRAM, is_name};
use std::path::PathBuf;
use std::time::Duration;

/// The most recipients of one file.
const RECIPIENT_LIMIT: usize = 64;

/// The longest time the program may be given.
const TIMEOUT_LIMIT: Duration = Duration::from_secs(100);

/// A file for the holders of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgeSink {
    /// The file, and what is in it.
    pub file: FileSink,
    /// For whom.
    pub recipients: Vec<String>,
    /// Whether it is a text.
    pub armor: bool,
    /// Where the secret key of one of them is kept.
    pub identity: Option<SecretRef>,
}

/// A file for `LoadCredentialEncrypted=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialSink {
    /// The file, and what is in it.
    pub file: FileSink,
    /// What the unit calls it; absent: as the file.
    pub name: Option<String>,
    /// The word for `--with-key`.
    pub with_key: &'static str,
    /// The program.
    pub program: PathBuf,
    /// How long it may take.
    pub timeout: Duration,
}

pub(super) fn age(section: &Section<'_>) -> Option<AgeSink> {
    let file = outlet::file(section);
    let recipients = section.texts("recipients");
    if section.has("recipients") && !(1..=RECIPIENT_LIMIT).contains(&recipients.len()) {
        let what = format!("A file is for 1 to {RECIPIENT_LIMIT} recipients");
        section.refuse("recipients", refusal(what, "write recipients = [\"age1…\"]"));
    }
    let is_public = |text: &&str| text.starts_with("age1") || text.starts_with("ssh-");
    if !recipients.iter().all(is_public) {
        // The text may be a secret key.
        let what = "A recipient begins with age1, or with ssh- as an SSH public key does";
        section.refuse("recipients", refusal(what, "write public keys here, and replace a secret key that stood here"));
    }
    let identity = SecretRef::if_written(section, "identity");
    let recipients = recipients.into_iter().map(str::to_owned).collect();
    Some(AgeSink { file: file?, recipients, armor: section.flag("armor").unwrap_or(false), identity: identity? })
}

pub(super) fn credential(section: &Section<'_>) -> Option<CredentialSink> {
    let file = outlet::file(section);
    let name = section.parsed("name", |text| match is_name(text) {
        true => Ok(text.to_owned()),
        false => Err(refusal("This cannot be the name of a credential", "use letters, digits and . _ - @")),
    });
    let keys = ["auto", "host", "tpm2", "host+tpm2", "tpm2-absent"].map(|word| (word, word));
    let with_key = section.choice("with-key", &keys).unwrap_or("auto");
    let program = section.path("program").unwrap_or_else(|| PathBuf::from(PROGRAM));
    let timeout = section.span_up_to("timeout", TIMEOUT_LIMIT).unwrap_or(DEFAULT_TIMEOUT);
    Some(CredentialSink { file: file?, name, with_key, program, timeout })
}
