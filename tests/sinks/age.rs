//! `age`: a sink file for the holders of a key, opened by Debian's `age`.

use super::conformance::{Seen, Store, Trouble};
use super::envelope::{Place, as_a_file, patience_ends, piped, seen};
use super::rows::{Row, document};
use keywheel::fault::Kind;
use keywheel::secret::Secret;
use keywheel::sink::age::{AgeSettings, AgeSink};
use keywheel::sink::web::Credential;
use keywheel::sink::{Document, Holds, Sink, age};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// A file for a key that `age-keygen` made, read by `age`.
pub struct Recipient {
    place: Place,
    public: String,
}

/// A secret key in a file of its own, and its public key.
fn keygen(path: &Path) -> String {
    let done = Command::new("age-keygen").arg("-o").arg(path).output().expect("age-keygen is installed");
    assert!(done.status.success());
    let text = fs::read_to_string(path).unwrap();
    text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap().to_owned()
}

fn key_in(path: PathBuf) -> Credential {
    Credential(Arc::new(move || Ok(Secret::new(fs::read_to_string(&path).unwrap()))))
}

impl Recipient {
    fn made(&self) -> AgeSink {
        let identity = Some(key_in(self.place.path("key")));
        let recipients = vec![self.public.clone()];
        age::sink(AgeSettings { file: self.place.settings(), recipients, armor: false, identity }).unwrap()
    }
}

fn opened_by_age(key: &Path, file: &Path) -> Vec<u8> {
    piped("age", &["--decrypt", "--identity", key.to_str().unwrap()], &fs::read(file).unwrap())
}

impl Store for Recipient {
    const NAME: &'static str = "age";

    async fn begin() -> Self {
        let place = Place::begin();
        let public = keygen(&place.path("key"));
        Self { place, public }
    }

    fn sink(&self, _hasty: bool) -> Arc<dyn Sink> {
        Arc::new(self.made())
    }

    async fn seen(&self) -> Option<Seen> {
        self.place.file().exists().then(|| seen(&opened_by_age(&self.place.path("key"), &self.place.file())))
    }

    async fn mark(&self) -> String {
        self.place.mark()
    }

    async fn fail(&self, trouble: Trouble) {
        self.place.fail(trouble);
    }

    async fn mend(&self) {
        self.place.mend();
    }

    async fn wipe(&self) {
        fs::remove_file(self.place.file()).unwrap();
    }

    async fn time_passes(&self) {
        patience_ends().await;
    }

    fn leaves_out(&self, row: Row) -> Option<&'static str> {
        as_a_file(row)
    }

    fn debug(&self) -> String {
        format!("{:?}", self.made())
    }
}

/// Two kinds of key, a text, and no way to read it here: it is told by its marker.
#[tokio::test]
async fn an_armored_file_opens_for_each_recipient_and_is_told_by_its_marker() {
    let place = Place::begin();
    let public = keygen(&place.path("key"));
    let ssh = place.path("ssh");
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "somebody", "-f"]).arg(&ssh).status();
    assert!(made.expect("ssh-keygen is installed").success());
    let ssh_public = fs::read_to_string(place.path("ssh.pub")).unwrap();
    let sink = |recipients: &[&str], identity: Option<Credential>| {
        let recipients = recipients.iter().map(|text| text.trim().to_owned()).collect();
        age::sink(AgeSettings { file: place.settings(), recipients, armor: true, identity })
    };
    let closed = sink(&[&public, &ssh_public], None).unwrap();
    closed.deliver(&document(3)).await.unwrap();
    let text = fs::read_to_string(place.file()).unwrap();
    assert!(text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----"), "{text}");
    for key in [place.path("key"), ssh.clone()] {
        assert_eq!(Some(seen(&opened_by_age(&key, &place.file()))).map(|seen| seen.generation), Some(3));
    }
    let marker = fs::read_to_string(place.path("at/.redis.keywheel")).unwrap();
    assert!(marker.starts_with(r#"{"target":"orders-cache","generation":3,"sealed":{"of":""#), "{marker}");

    let mark = place.mark();
    closed.deliver(&document(3)).await.unwrap();
    assert_eq!((place.mark(), closed.holds(&document(3)).await.unwrap()), (mark.clone(), Holds::Same));
    assert_eq!(closed.holds(&document(4)).await.unwrap(), Holds::Other);
    assert_eq!(closed.read_back(&document(3).target).await.unwrap_err().kind, Kind::Unsupported);
    let moved = Document { account: "other".to_owned(), ..document(3) };
    assert_eq!(closed.holds(&moved).await.unwrap(), Holds::Other);

    // With the SSH key at hand, it is read; with a stranger's key, it is not.
    let open = sink(&[&public, &ssh_public], Some(key_in(ssh))).unwrap();
    assert_eq!(open.holds(&document(3)).await.unwrap(), Holds::Same);
    assert!(open.read_back(&document(3).target).await.unwrap().is_some());
    keygen(&place.path("stranger"));
    let stranger = sink(&[&public, &ssh_public], Some(key_in(place.path("stranger")))).unwrap();
    assert_eq!(stranger.read_back(&document(3).target).await.unwrap_err().kind, Kind::SecretUnreadable);

    // Other recipients are another file, and so is what somebody wrote over it.
    let fewer = sink(&[&public], None).unwrap();
    assert_eq!(fewer.holds(&document(3)).await.unwrap(), Holds::Other);
    fewer.deliver(&document(3)).await.unwrap();
    assert_ne!(place.mark(), mark);
    fs::write(place.file(), text).unwrap();
    assert_eq!(fewer.holds(&document(3)).await.unwrap(), Holds::Other);
    fewer.deliver(&document(3)).await.unwrap();
    assert_eq!(fewer.holds(&document(3)).await.unwrap(), Holds::Same);

    // A secret key where a public one belongs is not shown.
    let secret = fs::read_to_string(place.path("key")).unwrap();
    let secret = secret.lines().last().unwrap();
    let faults = sink(&[secret], None).unwrap_err();
    assert_eq!(faults[0].kind, Kind::ConfigInvalid);
    assert!(!format!("{faults:?}").contains(secret));
}
