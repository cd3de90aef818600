//! The sink `systemd-credential`: a file for `LoadCredentialEncrypted=` of systemd.exec(5), which the service manager opens for the service alone.
//!
//! systemd-creds(1) makes it, with the password on its standard input. The host's key (`/var/lib/systemd/credential.secret`) is root's, and so is a TPM
//! on most machines: keywheel must be allowed to use what `with-key` names. The credential's name is part of the file, and must be the one in the unit.
//!
//! What the program complains of while it holds a password is not repeated. It is asked to encrypt a word then, and what it complains of that is shown.

use super::file::FileSettings;
use super::sealed::{Envelope, SealedFile};
use crate::fault::{Fault, Kind};
use crate::process::{Program, ProgramError};
use async_trait::async_trait;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long the program may take where the settings say nothing. A TPM is slow.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Where Debian, Fedora and others have the program.
pub const PROGRAM: &str = "/usr/bin/systemd-creds";

/// The longest answer of the program, in bytes: a credential holds at most 1 MB, and a document is far smaller.
const ANSWER_LIMIT: usize = 128 * 1024;

/// The longest name of a credential, in bytes.
const NAME_LIMIT: usize = 255;

/// What is encrypted to see whether it can be done.
const SAMPLE: &[u8] = b"sample";

/// The settings of a sink with `kind = "systemd-credential"`.
pub struct CredentialSettings {
    /// Where the file lies and what is in it.
    pub file: FileSettings,
    /// What the unit calls it; the file's name where it is absent.
    pub name: Option<String>,
    /// The word for `--with-key`.
    pub with_key: &'static str,
    /// The program.
    pub program: PathBuf,
    /// How long it may take.
    pub timeout: Duration,
}

/// A file for the service manager.
pub type CredentialSink = SealedFile<Credential>;

/// An envelope of systemd-creds.
#[derive(Debug)]
pub struct Credential {
    name: String,
    with_key: &'static str,
    encrypt: Program,
    decrypt: Program,
}

/// The sink, if its settings make sense.
///
/// # Errors
/// Every finding, `Kind::ConfigInvalid`.
pub fn sink(settings: CredentialSettings) -> Result<CredentialSink, Vec<Fault>> {
    let CredentialSettings { file, name, with_key, program, timeout } = settings;
    let named = || file.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.unwrap_or_else(named);
    if !is_name(&name) {
        let what =
            format!("{name:?} cannot be the name of a credential; give the sink a name of letters, digits and . _ -");
        return Err(super::findings(vec![what]));
    }
    let program = program.display().to_string();
    let made = |arguments: &[String]| {
        let both = ["-".to_owned(), "-".to_owned()];
        let argv: Vec<String> = [std::slice::from_ref(&program), arguments, &both].concat();
        Program::new(&argv, &[], timeout).map_err(super::findings)
    };
    let name_option = format!("--name={name}");
    let encrypt = made(&["encrypt".to_owned(), name_option.clone(), format!("--with-key={with_key}")])?;
    let decrypt = made(&["decrypt".to_owned(), name_option])?;
    SealedFile::new(file, Credential { name, with_key, encrypt, decrypt }).map_err(super::findings)
}

/// Whether systemd and a unit file both take it as the name of a credential.
pub fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
    !matches!(name, "" | "." | "..") && name.len() <= NAME_LIMIT && name.bytes().all(plain)
}

impl Credential {
    /// What the program made of the content. `None` where it ended badly.
    async fn encrypted(&self, content: Zeroizing<Vec<u8>>) -> Result<(Vec<u8>, String), Fault> {
        let answered = self.encrypt.ask(content, &[], ANSWER_LIMIT).await.map_err(|error| unavailable(&error))?;
        let made = if answered.ended.status.success() { answered.answer.to_vec() } else { Vec::new() };
        Ok((made, answered.ended.describe()))
    }
}

/// It did not end by itself, or not well. What it had said until then is left out.
fn unavailable(error: &ProgramError) -> Fault {
    let what = match error {
        ProgramError::TooLong { path, limit, output: _ } => {
            format!("{} did not end within {} and was killed", path.display(), crate::moment::show_span(*limit))
        }
        ProgramError::Start { .. }
        | ProgramError::TooMuch { .. }
        | ProgramError::HalfAnswered { .. }
        | ProgramError::Pipe { .. } => error.to_string(),
    };
    Fault::new(Kind::SinkUnavailable, what).advise("check the sink's program: systemd 250 or newer has systemd-creds")
}

#[async_trait]
impl Envelope for Credential {
    fn shape(&self) -> String {
        format!("systemd-credential {} {}", self.name, self.with_key)
    }

    async fn ready(&self) -> Result<(), Fault> {
        let (made, ended) = self.encrypted(Zeroizing::new(SAMPLE.to_vec())).await?;
        if !made.is_empty() {
            return Ok(());
        }
        let what = format!("{} {ended}", self.encrypt.path().display());
        Err(Fault::new(Kind::SinkDenied, what).advise(
            "let keywheel use the key that with-key names: the host's key and a TPM are root's, and `systemd-creds setup` makes the former",
        ))
    }

    async fn seal(&self, content: Zeroizing<Vec<u8>>) -> Result<Vec<u8>, Fault> {
        let (made, _not_shown) = self.encrypted(content).await?;
        if !made.is_empty() {
            return Ok(made);
        }
        self.ready().await?;
        let what = format!("{} encrypted a sample, and not the document", self.encrypt.path().display());
        Err(Fault::new(Kind::SinkUnavailable, what))
    }

    fn opens(&self) -> bool {
        true
    }

    async fn open(&self, found: Zeroizing<Vec<u8>>, place: &str) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let answered = self.decrypt.ask(found, &[], ANSWER_LIMIT).await.map_err(|error| unavailable(&error))?;
        if answered.ended.status.success() {
            return Ok(answered.answer);
        }
        let what = format!("{place} does not open: {} {}", self.decrypt.path().display(), answered.ended.describe());
        Err(Fault::new(Kind::SecretUnreadable, what)
            .advise("let keywheel use the key it was made with; the name in it must be the sink's name"))
    }
}
