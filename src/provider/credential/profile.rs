//! A profile in a file that a vendor's own tools write, `source = "profile"`. The file is looked at with every use: who changes it with the
//! vendor's tool need not tell keywheel.

use super::file::private_text;
use super::{Credential, CredentialSource, Source};
use crate::fault::{Fault, Kind};
use async_trait::async_trait;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Where a profile's file may be, the first one that is there being taken.
pub(in crate::provider) type Places = Box<dyn Fn() -> Vec<PathBuf> + Send + Sync>;

/// Makes a source of a file's text.
type Make = Box<dyn Fn(&Path, &str) -> Result<Source, Fault> + Send + Sync>;

/// A source behind a file.
pub(in crate::provider) struct Profile {
    places: Places,
    make: Make,
    made: Mutex<Option<Made>>,
}

/// What the file's text was when it was last good.
#[derive(Clone)]
struct Made {
    of: (PathBuf, [u8; 32]),
    source: Source,
    /// The file was unusable since, and the log says so.
    complained: bool,
}

impl Profile {
    pub(in crate::provider) fn new(
        places: Places,
        make: impl Fn(&Path, &str) -> Result<Source, Fault> + Send + Sync + 'static,
    ) -> Self {
        Self { places, make: Box::new(make), made: Mutex::default() }
    }

    /// The source that the file describes now; the last good one where the file is unusable for the moment, as it is while a tool writes it.
    fn source(&self) -> Result<Source, Fault> {
        let read = self.read();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = match read {
            Ok((path, text)) => {
                let of = (path, <[u8; 32]>::from(Sha256::digest(text.as_bytes())));
                if let Some(made) = made.as_mut().filter(|made| made.of == of) {
                    made.complained = false;
                    return Ok(made.source.clone());
                }
                match (self.make)(&of.0, &text) {
                    Ok(source) => {
                        *made = Some(Made { of, source: source.clone(), complained: false });
                        return Ok(source);
                    }
                    Err(fault) => fault,
                }
            }
            Err(fault) => fault,
        };
        let made = made.as_mut().ok_or_else(|| fault.clone())?;
        if !std::mem::replace(&mut made.complained, true) {
            tracing::warn!(%fault, "the profile cannot be used as it stands now; what it said before is used on");
        }
        Ok(made.source.clone())
    }

    fn read(&self) -> Result<(PathBuf, zeroize::Zeroizing<String>), Fault> {
        let places = (self.places)();
        let Some(path) = places.iter().find(|path| path.exists()).or(places.first()) else {
            return Err(Fault::new(Kind::SecretUnreadable, "There is no profile: HOME is not set")
                .advise("set path of the credentials to the profile's file"));
        };
        Ok((path.clone(), private_text(path)?))
    }
}

#[async_trait]
impl CredentialSource for Profile {
    async fn credential(&self) -> Result<Credential, Fault> {
        self.source()?.credential().await
    }

    async fn renewed(&self, refused: &Credential) -> Result<Credential, Fault> {
        self.source()?.renewed(refused).await
    }
}
