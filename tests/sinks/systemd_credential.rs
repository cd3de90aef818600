//! `systemd-credential`: a sink file for the service manager, opened by `systemd-creds`.

use super::conformance::{Seen, Store, Trouble};
use super::envelope::{Place, as_a_file, piped, seen};
use super::rows::{Row, document};
use keywheel::fault::Kind;
use keywheel::sink::systemd_credential::{CredentialSettings, CredentialSink, PROGRAM};
use keywheel::sink::{Holds, Sink, systemd_credential};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A credential under the host's key where this user has it, else under none; read by `systemd-creds`.
pub struct Encrypted {
    place: Place,
}

fn with_key() -> &'static str {
    if rustix::process::geteuid().is_root() { "host" } else { "tpm2-absent" }
}

fn opened_by_systemd(file: &Path) -> Vec<u8> {
    piped(PROGRAM, &["decrypt", "--name=redis", "-", "-"], &fs::read(file).unwrap())
}

impl Encrypted {
    fn made(&self, program: &Path, timeout: Duration) -> CredentialSink {
        let (file, program) = (self.place.settings(), program.to_owned());
        let settings = CredentialSettings { file, name: None, with_key: with_key(), program, timeout };
        systemd_credential::sink(settings).unwrap()
    }

    /// A program that stands for a broken or hung systemd-creds, as long as the file `trouble` is there.
    fn program(&self) -> PathBuf {
        let path = self.place.path("systemd-creds");
        let trouble = self.place.path("trouble");
        let text = format!(
            "#!/bin/sh\n[ -e {0} ] || exec {PROGRAM} \"$@\"\ncase $(cat {0}) in\nHang) sleep 60;;\nHuge) head -c 104857600 /dev/zero;;\n*) cat >&2; exit 1;;\nesac\n",
            trouble.display()
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

impl Store for Encrypted {
    const NAME: &'static str = "systemd-cred.";

    async fn begin() -> Self {
        let store = Self { place: Place::begin() };
        store.program();
        store
    }

    fn sink(&self, hasty: bool) -> Arc<dyn Sink> {
        let timeout = if hasty { Duration::from_millis(500) } else { Duration::from_secs(30) };
        Arc::new(self.made(&self.place.path("systemd-creds"), timeout))
    }

    async fn seen(&self) -> Option<Seen> {
        self.place.file().exists().then(|| seen(&opened_by_systemd(&self.place.file())))
    }

    async fn mark(&self) -> String {
        self.place.mark()
    }

    async fn fail(&self, trouble: Trouble) {
        if trouble == Trouble::NotFound {
            self.place.fail(trouble);
        } else {
            fs::write(self.place.path("trouble"), format!("{trouble:?}")).unwrap();
        }
    }

    async fn mend(&self) {
        self.place.mend();
        // Not every trouble leaves it behind.
        let _ = fs::remove_file(self.place.path("trouble"));
    }

    async fn wipe(&self) {
        fs::remove_file(self.place.file()).unwrap();
    }

    fn leaves_out(&self, row: Row) -> Option<&'static str> {
        if matches!(row, Row::Hang | Row::Huge | Row::Denied) { None } else { as_a_file(row) }
    }

    fn debug(&self) -> String {
        format!("{:?}", self.made(Path::new(PROGRAM), Duration::from_secs(30)))
    }
}

/// The name is part of what is encrypted: under another one it does not open, here or anywhere.
#[tokio::test]
async fn a_credential_opens_under_its_name_alone() {
    let store = Encrypted { place: Place::begin() };
    let settings = |name: &str| CredentialSettings {
        file: store.place.settings(),
        name: Some(name.to_owned()),
        with_key: "tpm2-absent",
        program: PROGRAM.into(),
        timeout: Duration::from_secs(30),
    };
    let sink = systemd_credential::sink(settings("orders")).unwrap();
    sink.ready(&document(1).target).await.unwrap();
    sink.deliver(&document(1)).await.unwrap();
    assert_eq!(sink.holds(&document(1)).await.unwrap(), Holds::Same);
    let content = fs::read(store.place.file()).unwrap();
    assert_eq!(seen(&piped(PROGRAM, &["decrypt", "--name=orders", "-", "-"], &content)).generation, 1);
    let renamed = systemd_credential::sink(settings("billing")).unwrap();
    assert_eq!(renamed.read_back(&document(1).target).await.unwrap_err().kind, Kind::SecretUnreadable);
    assert!(systemd_credential::sink(settings("no/name")).is_err());

    let missing = CredentialSettings { program: store.place.path("none"), ..settings("orders") };
    let fault = systemd_credential::sink(missing).unwrap().ready(&document(1).target).await.unwrap_err();
    assert_eq!(fault.kind, Kind::SinkUnavailable, "{fault}");
}
