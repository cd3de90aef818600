//! What stands in a secret store: a secret's name, its versions' names and the document in them, the same for every vendor.
//!
//! A version's name says which generation of which target it holds, so that a delivery whose answer was lost is found again, and the same one twice
//! leaves one version. The same generation may have to be written anew, because the address changed; a digest of everything but the password tells
//! those two apart.

use crate::fault::{Fault, Kind};
use crate::name::TargetName;
use crate::secret::Secret;
use crate::sink::Document;
use crate::sink::address::connection_url;
use crate::sink::file::copying::{self, Marked};
use crate::sink::web::layout;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The longest part of a version's name that names the target, in characters: with the longest number and a digest it stays within the 64 that
/// both vendors allow.
const TARGET_LIMIT: usize = 28;

/// The digits of a digest.
const DIGEST: usize = 8;

/// Room for a document, in bytes: the buffer that holds a password should not grow and leave copies behind.
const CAPACITY: usize = 4096;

/// What a vendor allows in a secret's name.
#[derive(Debug)]
pub struct NameRules {
    /// The most bytes.
    pub longest: usize,
    /// What may stand there beside letters and digits.
    pub others: &'static str,
    /// With what it may not begin.
    pub reserved: &'static str,
}

impl NameRules {
    /// # Errors
    /// Why this is no secret's name, as a sentence without its full stop.
    pub fn refuse(&self, name: &str) -> Result<(), String> {
        let Self { longest, others, reserved } = self;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || others.as_bytes().contains(&byte);
        if name.is_empty() || name.len() > *longest || !name.bytes().all(plain) {
            return Err(format!("A secret's name has 1 to {longest} letters, digits and {others}"));
        }
        if !reserved.is_empty() && name.starts_with(reserved) {
            return Err(format!("Names that begin with {reserved} are the vendor's own"));
        }
        if reserved.is_empty() && !name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            return Err("A secret's name begins with a letter or a digit".to_owned());
        }
        Ok(())
    }
}

/// The names of one target's versions.
#[derive(Debug)]
pub struct Versions {
    target: TargetName,
    prefix: String,
}

impl Versions {
    /// Those of this target.
    pub fn of(target: &TargetName) -> Self {
        let name = target.as_str();
        let prefix = if name.len() <= TARGET_LIMIT {
            name.to_owned()
        } else {
            format!("{}-{}", &name[..TARGET_LIMIT - DIGEST - 1], digest(name.as_bytes()))
        };
        Self { target: target.clone(), prefix }
    }

    /// The version that holds this document.
    pub fn id(&self, document: &Document) -> String {
        // The password is the generation's, and no digest of it is ever shown; how a client sends it may change.
        let password = document.password.expose();
        let stand_in = |text: &str| Secret::new(text.replace(password, "PASSWORD"));
        let bare = Document {
            login_password: stand_in(document.login_password.expose()),
            password: stand_in(password),
            ..document.clone()
        };
        format!("{}.g{}.{}", self.prefix, document.generation, digest(text(&bare).as_bytes()))
    }

    /// The generation that a version of this target's holds.
    pub fn generation(&self, id: &str) -> Option<u64> {
        let (prefix, generation) = parts(id)?;
        (prefix == self.prefix).then_some(generation)
    }

    /// The newest generation in a secret, 0 where there is none: by its versions' names, and by the document that readers see, which a person may
    /// have put under another name.
    ///
    /// # Errors
    /// `SinkDenied` where another target's password is there.
    pub fn newest<'a>(
        &self,
        place: &str,
        ids: impl Iterator<Item = &'a str>,
        current: Option<&Held>,
    ) -> Result<u64, Fault> {
        let mut newest = 0;
        for (prefix, generation) in ids.filter_map(parts) {
            if prefix != self.prefix {
                return Err(self.stranger(place, prefix));
            }
            newest = newest.max(generation);
        }
        match current {
            Some(Held { target: Some(other), .. }) if *other != self.target.as_str() => {
                Err(self.stranger(place, other))
            }
            Some(Held { target: Some(_), generation: Some(generation), .. }) => Ok(newest.max(*generation)),
            Some(_) | None => Ok(newest),
        }
    }

    fn stranger(&self, place: &str, other: &str) -> Fault {
        let target = &self.target;
        let what = format!("{place} belongs to the target {other}, not to {target}: a secret belongs to one target");
        Fault::new(Kind::SinkDenied, what).advise(format!(
            "give {target} a secret of its own; if {other} was renamed or is gone, put {{}} into the secret and delete {other}'s versions"
        ))
    }
}

/// A version's target and generation, if keywheel named it.
fn parts(id: &str) -> Option<(&str, u64)> {
    let (rest, digest) = id.rsplit_once('.')?;
    let is_digest = digest.len() == DIGEST && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (target, generation) = rest.rsplit_once(".g").filter(|_| is_digest)?;
    Some((target, generation.parse().ok()?))
}

fn digest(bytes: &[u8]) -> String {
    let mut text = hex::encode(Sha256::digest(bytes));
    text.truncate(DIGEST);
    text
}

/// A newer generation is there than the one that was to be delivered.
pub fn newer(place: &str, held: u64, document: &Document) -> Fault {
    let what = format!("{place} holds generation {held} of {}, newer than {}", document.target, document.generation);
    Fault::new(Kind::SinkNewer, what)
        .advise("find out who else writes to it; if this ledger was begun anew, give the sink another secret")
}

/// The version is there, with another password: version names are never used twice.
pub fn conflict(place: &str, id: &str) -> Fault {
    Fault::new(Kind::SinkDenied, format!("{place} has a version {id} already, and something else is in it"))
        .advise("find out who else writes to it; if this ledger was begun anew, give the sink another secret")
}

/// The document as readers find it: one JSON object, in which `password` is what a client sends.
#[derive(Serialize)]
struct Fields<'a> {
    target: &'a str,
    generation: u64,
    account: &'a str,
    user: Option<&'a str>,
    password: &'a str,
    host: Option<&'a str>,
    port: Option<u16>,
    tls: Option<bool>,
    url: Option<&'a str>,
}

/// The text of a version.
pub fn text(document: &Document) -> Zeroizing<String> {
    let url = connection_url(document);
    let endpoint = document.endpoint.as_ref();
    let fields = Fields {
        target: document.target.as_str(),
        generation: document.generation.0,
        account: &document.account,
        user: document.login_user.as_deref(),
        password: document.login_password.expose(),
        host: endpoint.map(|endpoint| endpoint.host.as_str()),
        port: endpoint.map(|endpoint| endpoint.port),
        tls: endpoint.map(|endpoint| endpoint.tls),
        url: url.as_ref().map(|url| url.as_str()),
    };
    let mut buffer = Zeroizing::new(Vec::with_capacity(CAPACITY));
    serde_json::to_writer(&mut *buffer, &fields).expect("texts and numbers always have a JSON form");
    Zeroizing::new(String::from_utf8_lossy(&buffer).into_owned())
}

/// The document in a text that a store holds; `None` where nothing was put there yet.
///
/// # Errors
/// `SecretUnreadable` where none can be made out, `SinkDenied` where it is another target's.
pub fn copy(text: &Secret, place: &str, target: &TargetName) -> Result<Option<Document>, Fault> {
    let text = text.expose();
    if matches!(Text::read(text), Text::Empty) {
        return Ok(None);
    }
    copying::document(&layout(), text.as_bytes(), place, target, Marked::default()).map(Some)
}

/// What no word of a store's may repeat of a document: its text, and the password in it as it is and as JSON and addresses write it.
pub fn secrets(document: &Document) -> Vec<Secret> {
    let mut all = vec![Secret::new(text(document).as_str().to_owned())];
    for secret in [&document.login_password, &document.password] {
        let plain = secret.expose();
        let quoted = Zeroizing::new(serde_json::to_string(plain).expect("a text has a JSON form"));
        all.push(Secret::new(plain.to_owned()));
        all.push(Secret::new(quoted[1..quoted.len() - 1].to_owned()));
        all.push(Secret::new(crate::sink::address::encoded(plain).as_str().to_owned()));
    }
    all
}

/// What a secret's text says.
#[derive(Debug, Deserialize)]
pub struct Held {
    /// What a client sends as the password.
    #[serde(deserialize_with = "secret")]
    pub password: Secret,
    /// Whose it is, where keywheel wrote it.
    pub target: Option<String>,
    /// Which one, where keywheel wrote it.
    pub generation: Option<u64>,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

/// The text of a secret as a person or keywheel left it.
#[derive(Debug)]
pub enum Text {
    /// `{}`: nothing was put there yet.
    Empty,
    /// A document.
    Document(Held),
    /// Something else.
    Other,
}

impl Text {
    /// Reads a text.
    pub fn read(text: &str) -> Self {
        match serde_json::from_str::<Held>(text) {
            Ok(held) if !held.password.expose().is_empty() => Self::Document(held),
            Ok(_) => Self::Other,
            Err(_) => match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text) {
                Ok(object) if object.is_empty() => Self::Empty,
                Ok(_) | Err(_) => Self::Other,
            },
        }
    }

    /// The document, if it is one.
    pub fn document(&self) -> Option<&Held> {
        match self {
            Self::Document(held) => Some(held),
            Self::Empty | Self::Other => None,
        }
    }

    /// The password for one target.
    ///
    /// # Errors
    /// `SecretUnreadable` where none can be made out, `SinkDenied` where it is another target's.
    pub fn password(self, place: &str, target: &TargetName) -> Result<Option<Secret>, Fault> {
        match self {
            Self::Empty => Ok(None),
            Self::Other => {
                let what = format!("{place} holds no JSON object with a text under \"password\"");
                Err(Fault::new(Kind::SecretUnreadable, what).advise(
                    "write {\"password\": \"…\"} there, or give the password in another way: `keywheel adopt TARGET`",
                ))
            }
            Self::Document(held) => {
                Versions::of(target).newest(place, std::iter::empty(), Some(&held))?;
                Ok(Some(held.password))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::address::tests::document;

    #[test]
    fn a_name_is_one_that_the_vendor_takes() {
        let plain = NameRules { longest: 20, others: "-_", reserved: "" };
        let paths = NameRules { longest: 20, others: "-_/.", reserved: "acs/" };
        for (text, rules, named) in [
            ("orders", &plain, true),
            ("-orders", &plain, false),
            ("redis/orders", &plain, false),
            ("redis/orders.cache", &paths, true),
            ("acs/orders", &paths, false),
            ("{{ target }}", &paths, false),
            ("", &plain, false),
            ("twenty-one-characters", &plain, false),
        ] {
            assert_eq!(rules.refuse(text).is_ok(), named, "{text}");
        }
    }

    #[test]
    fn a_versions_name_says_what_is_in_it() {
        let long = "a".repeat(63);
        for target in ["orders-cache", "a", "dots.and.g7.1234abcd", long.as_str()] {
            let target: TargetName = target.parse().unwrap();
            let versions = Versions::of(&target);
            let of = |generation| Document { target: target.clone(), ..document(generation, "p") };
            let id = versions.id(&of(u64::MAX));
            assert!(id.len() <= 64, "{id}");
            assert_eq!((versions.generation(&id), versions.id(&of(u64::MAX))), (Some(u64::MAX), id));
            assert_ne!(versions.id(&of(1)), versions.id(&of(2)));
        }
        let other = format!("{}b", &long[..62]);
        assert_ne!(Versions::of(&long.parse().unwrap()).prefix, Versions::of(&other.parse().unwrap()).prefix);
    }

    #[test]
    fn a_versions_name_says_nothing_of_the_password_and_all_of_the_rest() {
        let versions = Versions::of(&"orders-cache".parse().unwrap());
        let sent = |user: &str, password: &str| Document {
            login_password: Secret::new(format!("{user}@{password}")),
            ..document(3, password)
        };
        assert_eq!(versions.id(&sent("app", "one")), versions.id(&sent("app", "two")));
        assert_ne!(versions.id(&sent("app", "one")), versions.id(&sent("ops", "one")));
        assert_ne!(versions.id(&sent("app", "one")), versions.id(&Document { endpoint: None, ..sent("app", "one") }));
    }

    #[test]
    fn what_people_put_there_is_no_version_of_ours() {
        let versions = Versions::of(&"orders-cache".parse().unwrap());
        for id in ["SSM_Current", "v1", "orders-cache.g7", "orders-cache.gx.1234abcd", "orders-cache.g7.1234abcz", ""] {
            assert_eq!(versions.newest("it", [id].into_iter(), None).unwrap(), 0, "{id}");
        }
        let ids = ["SSM_Current", "orders-cache.g7.1234abcd", "orders-cache.g12.1234abcd"];
        assert_eq!(versions.newest("it", ids.into_iter(), None).unwrap(), 12);
        assert!(versions.newest("it", ["orders.g7.1234abcd"].into_iter(), None).is_err());
    }

    #[test]
    fn a_text_is_read_as_it_was_written() {
        let written = text(&document(7, "p\"ä\\"));
        let Text::Document(held) = Text::read(&written) else { panic!("a document") };
        assert_eq!(
            (held.password.expose(), held.target.as_deref(), held.generation),
            ("p\"ä\\", Some("orders-cache"), Some(7))
        );
        assert!(matches!(Text::read("{}"), Text::Empty));
        for other in ["", "hunter2", "[]", r#"{"password":""}"#, r#"{"password":7}"#, r#"{"value":"p"}"#] {
            assert!(matches!(Text::read(other), Text::Other), "{other}");
        }
        let by_hand = Text::read(r#"{"password":"today"}"#).password("it", &"orders-cache".parse().unwrap()).unwrap();
        assert_eq!(by_hand.unwrap().expose(), "today");
        assert!(Text::read(&written).password("it", &"basket".parse().unwrap()).is_err());
    }
}
