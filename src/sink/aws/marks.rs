//! What a version says of itself beside its document: whose it is and which generation. A version's id in Secrets Manager is chosen by whoever writes
//! it, and so carries both, with a digest of everything but the password: the same delivery twice is one version, a lost answer is found again, and the
//! same generation that has to be written anew, because the address changed, is another version.

use crate::fault::{Fault, Kind};
use crate::name::TargetName;
use crate::secret::Secret;
use crate::sink::Document;
use crate::sink::file::format::Layout;
use sha2::{Digest, Sha256};

/// The digits of a digest.
const DIGEST: usize = 12;

/// What every id of ours begins with.
const PREFIX: &str = "keywheel";

/// A digest that names something, and says nothing of a password.
pub fn digest(bytes: &[u8]) -> String {
    let mut text = hex::encode(Sha256::digest(bytes));
    text.truncate(DIGEST);
    text
}

/// Of everything in a document but the password, in this form.
///
/// # Errors
/// As rendering it.
pub fn of_the_rest(document: &Document, layout: &Layout) -> Result<String, Fault> {
    // The password is the generation's, and no digest of it is ever shown; how a client sends it may change.
    let password = document.password.expose();
    let stand_in = |text: &str| Secret::new(text.replace(password, "PASSWORD"));
    let bare = Document {
        login_password: stand_in(document.login_password.expose()),
        password: stand_in(password),
        ..document.clone()
    };
    Ok(digest(&layout.render(&bare)?))
}

/// A version's id: 56 letters, digits and hyphens of the 32 to 64 that the vendor takes.
///
/// # Errors
/// As rendering the document.
pub fn id(document: &Document, layout: &Layout) -> Result<String, Fault> {
    let (target, rest) = (digest(document.target.as_str().as_bytes()), of_the_rest(document, layout)?);
    Ok(format!("{PREFIX}-{target}-{:020}-{rest}", document.generation.0))
}

/// What an id says.
#[derive(Debug, PartialEq, Eq)]
pub struct Named<'a> {
    target: &'a str,
    pub generation: u64,
}

impl<'a> Named<'a> {
    /// Reads an id, if keywheel chose it.
    pub fn read(id: &'a str) -> Option<Self> {
        let rest = id.strip_prefix(PREFIX)?.strip_prefix('-')?;
        let [target, generation, digest] = rest.split('-').collect::<Vec<_>>()[..] else { return None };
        let is_digest = |text: &str| text.len() == DIGEST && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let generation = generation.parse().ok().filter(|_| is_digest(target) && is_digest(digest))?;
        Some(Self { target, generation })
    }

    pub fn is_of(&self, target: &TargetName) -> bool {
        self.target == digest(target.as_str().as_bytes())
    }
}

/// Everything of a document that no word of the vendor's may repeat.
pub fn secrets(document: &Document, content: &str) -> Vec<Secret> {
    let mut all = crate::sink::store::secret::secrets(document);
    all.push(Secret::new(content.to_owned()));
    all
}

/// The document in this form, which is always text.
///
/// # Errors
/// As rendering it.
pub fn text(document: &Document, layout: &Layout) -> Result<Secret, Fault> {
    let rendered = layout.render(document)?;
    let text = std::str::from_utf8(&rendered).map_err(|_| Fault::new(Kind::Bug, "a document that is no text"))?;
    Ok(Secret::new(text.to_owned()))
}

/// It belongs to another target. What is no name could be anything.
pub fn stranger(place: &str, other: Option<&str>, target: &TargetName, free: &str) -> Fault {
    let other = other.and_then(|other| other.parse::<TargetName>().ok());
    let whose = other.map_or_else(|| "another target".to_owned(), |other| format!("the target {other}"));
    Fault::new(Kind::SinkDenied, format!("{place} holds the password of {whose}, not of {target}"))
        .advise(format!("give {target} one of its own; if the other one was renamed or is gone, {free}"))
}

/// A newer generation is there than the one that was to be delivered.
pub fn newer(place: &str, held: u64, document: &Document) -> Fault {
    let what = format!("{place} holds generation {held} of {}, newer than {}", document.target, document.generation);
    Fault::new(Kind::SinkNewer, what)
        .advise("find out who else writes to it; if this ledger was begun anew, give the sink another place")
}

/// Others keep writing.
pub fn contended(place: &str) -> Fault {
    Fault::new(Kind::SinkUnavailable, format!("Somebody else goes on writing to {place}"))
        .advise("find out who else writes to it; keywheel tries again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::address::tests::document;
    use crate::sink::file::Format;

    fn json() -> Layout {
        Layout::new(Format::Json, None, None, None).unwrap()
    }

    #[test]
    fn an_id_says_what_is_in_the_version() {
        for generation in [0, 7, u64::MAX] {
            let document = document(generation, "p");
            let id = id(&document, &json()).unwrap();
            assert!((32..=64).contains(&id.len()), "{id}");
            assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{id}");
            let named = Named::read(&id).unwrap();
            assert_eq!((named.generation, named.is_of(&document.target)), (generation, true));
            assert!(!named.is_of(&"basket".parse().unwrap()));
        }
    }

    #[test]
    fn an_id_says_nothing_of_the_password_and_all_of_the_rest() {
        let sent = |user: &str, password: &str| Document {
            login_password: Secret::new(format!("{user}@{password}")),
            ..document(3, password)
        };
        let id = |document: &Document| id(document, &json()).unwrap();
        assert_eq!(id(&sent("app", "one")), id(&sent("app", "two")));
        for other in [sent("ops", "one"), Document { endpoint: None, ..sent("app", "one") }] {
            assert_ne!(id(&sent("app", "one")), id(&other));
        }
        assert_ne!(id(&document(3, "p")), id(&document(4, "p")));
    }

    #[test]
    fn what_others_call_their_versions_is_no_id_of_ours() {
        for id in [
            "",
            "EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE",
            "keywheel-ready-no-reader-ever-asks-for-this",
            "keywheel-0123456789ab-00000000000000000007-0123456789a",
            "keywheel-0123456789ab-seven-0123456789ab",
            "keywheel-0123456789xy-00000000000000000007-0123456789ab",
        ] {
            assert_eq!(Named::read(id), None, "{id}");
        }
    }
}
