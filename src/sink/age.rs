//! The sink `age`: a file that only the holders of a key can read, so that a repository or a backup may have it ("The age file encryption format, v1",
//! age-encryption.org). What is encrypted looks like a sink file, for readers such as `age --decrypt`.
//!
//! It is written for recipients, whose secret keys stay with them; with an `identity`, the secret key of one of them, keywheel reads it back, too. A file
//! for several recipients opens for each of them alone.

use super::file::FileSettings;
use super::sealed::{Envelope, SealedFile};
use super::web::Credential;
use crate::fault::{Fault, Kind};
use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::{Decryptor, Encryptor, IdentityFile, Recipient};
use async_trait::async_trait;
use std::fmt;
use std::io::{Read, Write};
use std::str::FromStr;
use zeroize::Zeroizing;

/// The largest content that is read back, in bytes.
const CONTENT_LIMIT: u64 = 64 * 1024;

/// How the file of an SSH key begins.
const SSH_KEY: &str = "-----BEGIN";

/// The settings of a sink with `kind = "age"`.
pub struct AgeSettings {
    /// Where the file lies and what is in it.
    pub file: FileSettings,
    /// For whom: `age1…`, or an SSH public key.
    pub recipients: Vec<String>,
    /// Whether it is a text, for where only texts are at home.
    pub armor: bool,
    /// The secret key of one of the recipients.
    pub identity: Option<Credential>,
}

/// A file for recipients.
pub type AgeSink = SealedFile<Age>;

/// An envelope for recipients.
pub struct Age {
    recipients: Vec<Known>,
    armor: bool,
    identity: Option<Credential>,
}

enum Known {
    Native(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
}

impl Known {
    /// A recipient as it is written.
    ///
    /// # Errors
    /// Why it is none, as a sentence. It does not repeat the text, which may be a secret in the wrong place.
    fn parse(text: &str) -> Result<Self, String> {
        if let Ok(native) = age::x25519::Recipient::from_str(text) {
            return Ok(Self::Native(native));
        }
        // The comment behind an SSH key is nobody's business here.
        age::ssh::Recipient::from_str(text).map(Self::Ssh).map_err(|_| {
            "a recipient is written age1…, or as the line of an SSH public key of the kind ssh-ed25519 or ssh-rsa"
                .to_owned()
        })
    }

    fn recipient(&self) -> &dyn Recipient {
        match self {
            Self::Native(native) => native,
            Self::Ssh(ssh) => ssh,
        }
    }
}

impl fmt::Display for Known {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native(native) => native.fmt(formatter),
            Self::Ssh(ssh) => ssh.fmt(formatter),
        }
    }
}

impl fmt::Debug for Age {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Age").field(&self.shape()).finish()
    }
}

/// The sink, if its settings make sense.
///
/// # Errors
/// Every finding, `Kind::ConfigInvalid`.
pub fn sink(settings: AgeSettings) -> Result<AgeSink, Vec<Fault>> {
    let AgeSettings { file, recipients, armor, identity } = settings;
    if recipients.is_empty() {
        return Err(super::findings(vec!["nobody could read a file without recipients".to_owned()]));
    }
    let known: Result<Vec<Known>, String> = recipients.iter().map(|text| Known::parse(text)).collect();
    let recipients = known.map_err(|why| super::findings(vec![why]))?;
    SealedFile::new(file, Age { recipients, armor, identity }).map_err(super::findings)
}

impl Age {
    fn sealed(&self, content: &[u8]) -> Result<Vec<u8>, String> {
        let encryptor = Encryptor::with_recipients(self.recipients.iter().map(Known::recipient));
        let encryptor = encryptor.map_err(|error| error.to_string())?;
        let format = if self.armor { Format::AsciiArmor } else { Format::Binary };
        let mut sealed = Vec::new();
        ArmoredWriter::wrap_output(&mut sealed, format)
            .and_then(|armor| encryptor.wrap_output(armor))
            .and_then(|mut writer| {
                writer.write_all(content)?;
                writer.finish()?.finish().map(drop)
            })
            .map_err(|error| error.to_string())?;
        Ok(sealed)
    }
}

#[async_trait]
impl Envelope for Age {
    fn shape(&self) -> String {
        let recipients: Vec<String> = self.recipients.iter().map(Known::to_string).collect();
        format!("age armor={} {}", self.armor, recipients.join(", "))
    }

    async fn ready(&self) -> Result<(), Fault> {
        Ok(())
    }

    async fn seal(&self, content: Zeroizing<Vec<u8>>) -> Result<Vec<u8>, Fault> {
        self.sealed(&content).map_err(|why| {
            Fault::new(Kind::SinkDenied, format!("Nothing can be encrypted for these recipients: {why}"))
                .advise("check the sink's recipients")
        })
    }

    fn opens(&self) -> bool {
        self.identity.is_some()
    }

    async fn open(&self, found: Zeroizing<Vec<u8>>, place: &str) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let unreadable = |why: &str| Fault::new(Kind::SecretUnreadable, format!("{place} {why}"));
        let Some(identity) = &self.identity else {
            return Err(unreadable("is encrypted, and the sink has no identity"));
        };
        // No write needs it, so that what keeps it from being read stays what it is.
        let text = (identity.0)()?;
        let no_key = |_| {
            Fault::new(
                Kind::SecretUnreadable,
                "The sink's identity is no secret key of age, and none of SSH without a passphrase",
            )
            .advise("name a file as age-keygen writes it")
        };
        let identities = if text.expose().starts_with(SSH_KEY) {
            let key = age::ssh::Identity::from_buffer(text.expose().as_bytes(), None).map_err(no_key)?;
            vec![Box::new(key) as Box<dyn age::Identity + Send + Sync>]
        } else {
            let file = IdentityFile::from_buffer(text.expose().as_bytes()).map_err(no_key)?;
            file.into_identities().map_err(|_| no_key(std::io::ErrorKind::InvalidData.into()))?
        };
        let decryptor = Decryptor::new_buffered(ArmoredReader::new(found.as_slice()))
            .map_err(|_| unreadable("is no file of age").advise("check the sink's path"))?;
        let keys = identities.iter().map(|identity| &**identity as &dyn age::Identity);
        let closed = || {
            unreadable("does not open for the sink's identity").advise("name the secret key of one of the recipients")
        };
        let reader = decryptor.decrypt(keys).map_err(|_| closed())?;
        let mut content = Zeroizing::new(Vec::with_capacity(found.len()));
        reader.take(CONTENT_LIMIT).read_to_end(&mut content).map_err(|_| closed())?;
        Ok(content)
    }
}
