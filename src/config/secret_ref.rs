//! Where a secret is kept. Reading the configuration never reads a secret, so `check --offline` needs none.

use super::document::{Table, Value};
use super::reading::{Section, absolute, refusal};
use super::schema::REFERENCE;
use crate::fault::{Fault, Kind};
use crate::secret::Secret;
use std::collections::BTreeSet;
use std::fmt;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::{Zeroize, Zeroizing};

/// The longest secret, in bytes.
pub const SECRET_LIMIT: usize = 64 * 1024;

/// The variable with systemd's folder of credentials.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// A place that holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SecretRef {
    /// A variable of the daemon's environment.
    Env(String),
    /// A file, by its absolute path.
    File(PathBuf),
    /// A systemd credential, by its name.
    Credential(String),
}

impl fmt::Display for SecretRef {
    /// In words, for faults and `check`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(formatter, "the variable {name}"),
            Self::File(path) => write!(formatter, "the file {}", path.display()),
            Self::Credential(name) => write!(formatter, "the credential {name}"),
        }
    }
}

/// The variables in which a tree finds secrets: where `{ env = "NAME" }` stands.
pub(super) fn variables(tree: &Table) -> BTreeSet<String> {
    fn below(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Table(table) => {
                let env = table.get("env").filter(|_| table.len() == 1);
                if let Some(Value::Text(name)) = env.map(|node| &node.value) {
                    found.insert(name.clone());
                }
                table.values().for_each(|node| below(&node.value, found));
            }
            Value::List(items) => items.iter().for_each(|node| below(&node.value, found)),
            Value::Text(_) | Value::Number(_) | Value::Flag(_) | Value::Other(_) => {}
        }
    }
    let mut found = BTreeSet::new();
    tree.values().for_each(|node| below(&node.value, &mut found));
    found
}

impl SecretRef {
    /// The reference at a key that need not be there; `None` where one is written and cannot be used, which must not be taken for none.
    pub(super) fn if_written(section: &Section<'_>, key: &str) -> Option<Option<Self>> {
        match section.has(key) {
            true => Self::parse(section, key).map(Some),
            false => Some(None),
        }
    }

    /// The reference at a key.
    pub(super) fn parse(section: &Section<'_>, key: &str) -> Option<Self> {
        let table = section.section(key)?;
        let kinds: Vec<&str> = REFERENCE.iter().map(|key| key.name).filter(|kind| table.has(kind)).collect();
        match kinds[..] {
            ["env"] => table.parsed("env", |name| {
                if !Self::is_variable(name) {
                    return Err(refusal(
                        "This is not the name of a variable",
                        "use letters, digits and _; the name stands here, not the secret",
                    ));
                }
                Ok(Self::Env(name.to_owned()))
            }),
            ["file"] => table.parsed("file", absolute).map(Self::File),
            ["credential"] => table.parsed("credential", |name| {
                if !Self::is_credential(name) {
                    return Err(refusal(
                        "This is not the name of a credential",
                        "use the name after LoadCredential= in the service's unit; the name stands here, not the secret",
                    ));
                }
                Ok(Self::Credential(name.to_owned()))
            }),
            [] if table.has("sink") => {
                let what = "Only the password that a target begins with can come from a sink";
                section.refuse(key, refusal(what, "keep this secret in a file, a credential or a variable"));
                None
            }
            _ => {
                let next_step = "write exactly one of { env = \"NAME\" }, { file = \"/path\" } and { credential = \"name\" }";
                section.refuse(key, refusal("This does not say where the secret is kept", next_step));
                None
            }
        }
    }

    pub(super) fn is_variable(name: &str) -> bool {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    }

    pub(super) fn is_credential(name: &str) -> bool {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@:".contains(&byte);
        !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain)
    }

    /// Reads the secret. One line end after it is not part of it. `env` looks a variable up.
    ///
    /// # Errors
    /// `SecretUnreadable`: nothing there, empty, not UTF-8, larger than [`SECRET_LIMIT`], or a file that others can read or that its
    /// group can write.
    pub fn read(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Secret, Fault> {
        let text = match self {
            Self::Env(name) => env(name)
                .map(Zeroizing::new)
                .ok_or_else(|| self.fault("is not set").advise("set it for the daemon, or refer to a file instead"))?,
            Self::File(path) => self.read_file(path)?,
            Self::Credential(name) => {
                let folder = env(CREDENTIALS_DIRECTORY).ok_or_else(|| {
                    self.fault("cannot be read, because CREDENTIALS_DIRECTORY is not set").advise(format!(
                        "start keywheel by systemd with LoadCredential={name}:/path, or refer to a file instead"
                    ))
                })?;
                let path = Path::new(&folder).join(name);
                if path.try_exists().is_ok_and(|found| !found) {
                    return Err(self.fault("was not given to this service").advise(format!(
                        "put it where the unit's LoadCredentialEncrypted={name}:… looks (systemd-creds encrypt --name={name}), or add \
                         LoadCredential={name}:/path to the unit; then start the service again"
                    )));
                }
                self.read_file(&path)?
            }
        };
        if text.len() > SECRET_LIMIT {
            return Err(self.fault("holds more than a secret: it is larger than 64 KiB"));
        }
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            return Err(self.fault("is empty").advise("put the secret there"));
        }
        Ok(Secret::new(line.to_owned()))
    }

    fn fault(&self, what: &str) -> Fault {
        let mut sentence = format!("{self} {what}");
        sentence.replace_range(..1, "T");
        Fault::new(Kind::SecretUnreadable, sentence)
    }

    fn read_file(&self, path: &Path) -> Result<Zeroizing<String>, Fault> {
        let unreadable = |error: std::io::Error| self.fault(&format!("cannot be read: {}", error.kind()));
        // Looked at before it is opened: opening a pipe would wait for its writer. Links are followed, as Kubernetes mounts secrets by links.
        if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(self.fault("is not a file"));
        }
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.mode() & 0o777;
        if mode & 0o027 != 0 {
            return Err(self
                .fault(&format!("has the mode {mode:04o}: others may use it, or its group may change it"))
                .advise(
                    "chmod 0600 it (0640 where a group must read it; defaultMode: 0400 for a Kubernetes secret), and \
                     replace the secret if others may have read it",
                ));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_LIMIT + 1));
        file.take(SECRET_LIMIT as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        match String::from_utf8(std::mem::take(&mut *bytes)) {
            Ok(text) => Ok(Zeroizing::new(text)),
            Err(error) => {
                error.into_bytes().zeroize();
                Err(self.fault("does not hold UTF-8 text"))
            }
        }
    }
}
