//! A consumer that writes the generation it uses into a file.

use super::{Consumer, STATEMENT_LIMIT, silent, understood};
use crate::fault::Fault;
use crate::name::Generation;
use async_trait::async_trait;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the disk may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The file.
#[derive(Debug)]
pub struct ConsumerFile {
    path: PathBuf,
}

impl ConsumerFile {
    /// The consumer that writes this file.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut statement = Vec::new();
    // A pipe would be waited for, and what is no file could be read for ever.
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(nonblock).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    file.take(STATEMENT_LIMIT as u64).read_to_end(&mut statement)?;
    Ok(statement)
}

#[async_trait]
impl Consumer for ConsumerFile {
    async fn uses(&self) -> Result<Generation, Fault> {
        let path = self.path.clone();
        let reading = tokio::task::spawn_blocking(move || read(&path));
        match tokio::time::timeout(TIMEOUT, reading).await {
            Ok(Ok(Ok(statement))) => understood(&statement, &self.place()),
            Ok(Ok(Err(error))) => Err(silent(format!("{} cannot be read: {error}", self.place()))
                .advise("let the consumer write the generation it uses there, where keywheel can read it")),
            Ok(Err(_)) | Err(_) => Err(silent(format!("the disk gives no answer about {}", self.place()))),
        }
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Kind;

    #[tokio::test]
    async fn what_stands_in_the_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("generation");
        let consumer = ConsumerFile::new(path.clone());
        assert_eq!(consumer.uses().await.unwrap_err().kind, Kind::NotAcknowledged);
        std::fs::write(&path, "7\n").unwrap();
        assert_eq!(consumer.uses().await.unwrap(), Generation(7));
        std::fs::File::options().write(true).open(&path).unwrap().set_len(100 * 1024 * 1024).unwrap();
        assert!(consumer.uses().await.is_err(), "a hundred megabytes name no generation");
        let folder = ConsumerFile::new(folder.path().to_owned());
        assert!(folder.uses().await.unwrap_err().what.contains("cannot be read"));
        assert!(ConsumerFile::new("/dev/zero".into()).uses().await.is_err());
    }
}
