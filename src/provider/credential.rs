//! A cloud credential as one snapshot, and where it comes from; the same for every cloud.
//!
//! Each vendor's `credentials` module says how its own tools find one and what its services answer; here is what is done with that: keeping a
//! temporary credential fresh ([`Refreshing`]), asking several sources in turn ([`Chain`]), reading a profile's file again when it changed.

mod chain;
pub mod endpoint;
mod file;
mod identity;
mod ini;
mod profile;
mod refreshing;
mod service;
pub mod settings;

pub use chain::Chain;
pub(super) use chain::{Link, Presence, home, variable_set};
pub(super) use file::identity_token;
pub(super) use identity::{IdentityNames, identity};
pub(super) use ini::Ini;
pub(super) use profile::{Places, Profile};
pub use refreshing::{Issuer, Refreshing, Window};
pub(super) use service::{
    Refused, asked_again, identity_refused, no_role, not_there, odd_status, role_denied, role_name, seconds,
    unreadable, unsent,
};

use crate::clock::Clock;
use crate::fault::{Fault, Kind};
use crate::moment::Moment;
use crate::secret::Secret;
use async_trait::async_trait;
use settings::{IdentitySettings, MetadataSettings, ProfileSettings, RoleSettings, UriSettings};
use std::sync::Arc;

/// What a vendor calls the parts of a credential.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// The vendor's own name.
    pub vendor: &'static str,
    /// The public half.
    pub id: &'static str,
    /// The secret half.
    pub key: &'static str,
    /// What temporary credentials carry besides.
    pub token: &'static str,
}

/// Under which names a vendor's own tools look for a credential in the environment.
#[derive(Debug, Clone, Copy)]
pub struct VariableNames {
    /// The id.
    pub id: &'static str,
    /// The key.
    pub key: &'static str,
    /// The token; several names where the vendor's tools disagree.
    pub tokens: &'static [&'static str],
}

/// How long a credential can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Until somebody takes it back.
    Lasting,
    /// Until this moment; its source gives another one before.
    Until(Moment),
    /// Until a moment that nobody told: it has a session token, and its source cannot get another one.
    Borrowed,
}

/// Id, key and token of one moment. They are read together, since a refresh between two reads would pair an old id with a new key.
#[derive(Clone)]
pub struct Credential {
    /// The public half: a name, not a secret.
    pub id: String,
    /// The secret half.
    pub key: Secret,
    /// The session token of temporary credentials.
    pub token: Option<Secret>,
    /// How long all of this can be used.
    pub life: Life,
}

impl Credential {
    /// A credential whose parts are not empty, have no blanks around them and can stand in a header.
    ///
    /// # Errors
    /// `SecretUnreadable`; `origin` says where the parts came from.
    pub fn new(terms: &Terms, origin: &str, id: String, key: Secret, token: Option<Secret>) -> Result<Self, Fault> {
        let usable = |part: &str, text: &str| usable(terms.vendor, origin, part, text);
        usable(terms.id, &id)?;
        usable(terms.key, key.expose())?;
        if let Some(token) = &token {
            usable(terms.token, token.expose())?;
        }
        let life = if token.is_some() { Life::Borrowed } else { Life::Lasting };
        Ok(Self { id, key, token, life })
    }

    /// The same, from a source that knows when it ends and gives another one before.
    #[must_use]
    pub fn until(mut self, ends: Moment) -> Self {
        self.life = Life::Until(ends);
        self
    }

    /// Whether both are the same, so that asking again with the other is pointless.
    pub(super) fn is(&self, other: &Self) -> bool {
        let token = |credential: &Self| credential.token.as_ref().map(|token| token.expose().to_owned());
        self.id == other.id && self.key.expose() == other.key.expose() && token(self) == token(other)
    }
}

fn usable(vendor: &str, origin: &str, part: &str, text: &str) -> Result<(), Fault> {
    let trouble = if text.is_empty() {
        "is empty"
    } else if text.trim() != text {
        "has blanks or a line end around it"
    } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        "holds characters that no key has"
    } else {
        return Ok(());
    };
    Err(Fault::new(Kind::SecretUnreadable, format!("The {vendor} {part} from {origin} {trouble}")))
}

/// A source of credentials.
///
/// Duties: give a whole credential at once; never keep an expired one; return within a bounded time.
#[async_trait]
pub trait CredentialSource: Send + Sync {
    /// The credential to use now.
    ///
    /// # Errors
    /// A fault that says what is missing; `retry` says whether it may pass by itself.
    async fn credential(&self) -> Result<Credential, Fault>;

    /// Another credential than this one, which the cloud refused: read anew, past any cache. Where several users were refused the same one, it is
    /// renewed once for all of them. The same one again means that there is no other.
    ///
    /// # Errors
    /// As [`CredentialSource::credential`].
    async fn renewed(&self, refused: &Credential) -> Result<Credential, Fault>;

    /// When the credential in hand ends, as far as that is known without asking anybody.
    fn ends(&self) -> Option<Moment> {
        None
    }
}

/// What the sources of one provider share.
#[derive(Clone)]
pub struct Surroundings {
    /// Reads one environment variable.
    pub variables: Variables,
    /// Says when a credential ends, and waits until shortly before.
    pub clock: Arc<dyn Clock>,
    /// Random bits, for nonces and for spreading repeated requests.
    pub bits: Arc<dyn Fn() -> u128 + Send + Sync>,
}

/// A source as it is shared.
pub type Source = Arc<dyn CredentialSource>;

/// The sources of one vendor.
pub trait Sources {
    /// What the vendor calls the parts.
    fn terms(&self) -> &'static Terms;

    /// The variables that the vendor's own tools read.
    fn environment(&self) -> Source;

    /// A profile in the files that the vendor's own tools read.
    ///
    /// # Errors
    /// `ConfigInvalid` where no source can be made of the settings, here and below.
    fn profile(&self, settings: ProfileSettings) -> Result<Source, Fault>;

    /// The role of the machine this runs on.
    ///
    /// # Errors
    /// As above.
    fn instance_role(&self, settings: MetadataSettings) -> Result<Source, Fault>;

    /// A service that answers at one URL with a credential.
    ///
    /// # Errors
    /// As above.
    fn credentials_uri(&self, settings: UriSettings) -> Result<Source, Fault>;

    /// A role for a pod's own identity.
    ///
    /// # Errors
    /// As above.
    fn oidc(&self, settings: IdentitySettings) -> Result<Source, Fault>;

    /// A role that another credential may take on.
    ///
    /// # Errors
    /// As above.
    fn assume_role(&self, base: Source, settings: RoleSettings) -> Result<Source, Fault>;

    /// All that the vendor's own tools try, in their order.
    ///
    /// # Errors
    /// As above.
    fn chain(&self) -> Result<Source, Fault>;
}

/// What will fail some day although it works now: a credential whose end nobody knows, and that nobody renews.
pub(super) fn worry(terms: &Terms, credential: &Credential) -> Option<Fault> {
    match credential.life {
        Life::Lasting | Life::Until(_) => None,
        Life::Borrowed => {
            let what = format!(
                "The {} credential has a {}: it ends some day, and its source cannot renew it",
                terms.vendor, terms.token
            );
            Some(Fault::new(Kind::CredentialRefused, what).advise(
                "choose a source that renews itself (instance-role, oidc, assume-role), or give the daemon another credential before it ends",
            ))
        }
    }
}

/// Credentials that were given once, `source = "static"`.
pub struct Static(Credential);

impl Static {
    /// Keeps this id, key and token.
    ///
    /// # Errors
    /// `SecretUnreadable` where a part is empty, has blanks around it, or cannot be a key.
    pub fn new(terms: &Terms, id: String, key: Secret, token: Option<Secret>) -> Result<Self, Fault> {
        Credential::new(terms, "the configuration", id, key, token).map(Self)
    }

    /// Keeps this credential.
    pub(super) fn of(credential: Credential) -> Self {
        Self(credential)
    }
}

#[async_trait]
impl CredentialSource for Static {
    async fn credential(&self) -> Result<Credential, Fault> {
        Ok(self.0.clone())
    }

    async fn renewed(&self, _refused: &Credential) -> Result<Credential, Fault> {
        Ok(self.0.clone())
    }
}

/// What reads one environment variable.
pub type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Credentials from environment variables, `source = "environment"`; read each time they are used.
pub struct Environment {
    terms: Terms,
    names: VariableNames,
    variables: Variables,
}

impl Environment {
    /// Reads with this function; the composition root gives the process's own environment.
    #[must_use]
    pub fn new(terms: Terms, names: VariableNames, variables: Variables) -> Self {
        Self { terms, names, variables }
    }

    fn read(&self) -> Result<Credential, Fault> {
        let VariableNames { id, key, tokens } = self.names;
        let required = |name: &str| {
            (self.variables)(name).ok_or_else(|| {
                Fault::new(Kind::SecretUnreadable, format!("The environment variable {name} is not set"))
                    .advise(format!("set {id} and {key}, or choose another credentials source"))
            })
        };
        let id = required(id)?;
        let key = Secret::new(required(key)?);
        let mut token: Option<Secret> = None;
        for found in tokens.iter().filter_map(|name| (self.variables)(name)) {
            if token.as_ref().is_some_and(|first| first.expose() != found) {
                return Err(Fault::new(
                    Kind::SecretUnreadable,
                    format!("The {} differs between {}", self.terms.token, tokens.join(", ")),
                )
                .advise("keep one of these variables and unset the others"));
            }
            token = Some(Secret::new(found));
        }
        Credential::new(&self.terms, "the environment", id, key, token)
    }
}

#[async_trait]
impl CredentialSource for Environment {
    async fn credential(&self) -> Result<Credential, Fault> {
        self.read()
    }

    async fn renewed(&self, _refused: &Credential) -> Result<Credential, Fault> {
        self.read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { vendor: "Cloud", id: "Id", key: "Key", token: "session token" };
    const ID: &str = "CLOUD_ID";
    const KEY: &str = "CLOUD_KEY";
    const TOKENS: [&str; 3] = ["CLOUD_TOKEN", "CLOUD_SESSION_TOKEN", "CLOUD_SECURITY_TOKEN"];
    const NAMES: VariableNames = VariableNames { id: ID, key: KEY, tokens: &TOKENS };

    fn read(variables: &[(&str, &str)]) -> Result<Credential, Fault> {
        let owned: Vec<(String, String)> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Environment::new(
            TERMS,
            NAMES,
            Arc::new(move |wanted| owned.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone())),
        )
        .read()
    }

    #[test]
    fn the_environment_gives_one_whole_credential() {
        let pair = [(ID, "id-one"), (KEY, "key-one")];
        let credential = read(&pair).ok().unwrap();
        assert_eq!((credential.id.as_str(), credential.key.expose()), ("id-one", "key-one"));
        assert!(credential.token.is_none());
        for name in TOKENS {
            let credential = read(&[pair[0], pair[1], (name, "tok")]).ok().unwrap();
            assert_eq!(credential.token.unwrap().expose(), "tok", "{name}");
        }
        let same = read(&[pair[0], pair[1], (TOKENS[0], "tok"), (TOKENS[2], "tok")]);
        assert!(same.is_ok());
    }

    #[test]
    fn what_cannot_be_a_credential_is_a_sentence_without_the_value() {
        let rows: [&[(&str, &str)]; 9] = [
            &[],
            &[(ID, "id-one")],
            &[(KEY, "key-one")],
            &[(ID, ""), (KEY, "key-one")],
            &[(ID, "id-one"), (KEY, "key-one\n")],
            &[(ID, " id-one"), (KEY, "key-one")],
            &[(ID, "id-one"), (KEY, "key-oné")],
            &[(ID, "id-one"), (KEY, "key-one"), (TOKENS[1], "")],
            &[(ID, "id-one"), (KEY, "key-one"), (TOKENS[0], "a"), (TOKENS[1], "b")],
        ];
        for row in rows {
            let fault = read(row).err().unwrap();
            assert_eq!(fault.kind, Kind::SecretUnreadable, "{row:?}");
            assert!(!fault.what.contains("key-on"), "{fault}");
        }
    }

    #[test]
    fn sameness_looks_at_every_part() {
        let make = |id: &str, key: &str, token: Option<&str>| {
            let secret = |text: &str| Secret::new(text.to_owned());
            Credential::new(&TERMS, "here", id.to_owned(), secret(key), token.map(secret)).ok().unwrap()
        };
        let first = make("a", "k", Some("t"));
        assert!(first.is(&make("a", "k", Some("t"))));
        for other in
            [make("b", "k", Some("t")), make("a", "l", Some("t")), make("a", "k", Some("u")), make("a", "k", None)]
        {
            assert!(!first.is(&other));
        }
    }
}
