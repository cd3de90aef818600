//! A cloud credential as one snapshot, and where it comes from; the same for every cloud.

use crate::fault::{Fault, Kind};
use crate::secret::Secret;
use async_trait::async_trait;
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

/// Id, key and token of one moment. They are read together, since a refresh between two reads would pair an old id with a new key.
#[derive(Clone)]
pub struct Credential {
    /// The public half: a name, not a secret.
    pub id: String,
    /// The secret half.
    pub key: Secret,
    /// The session token of temporary credentials.
    pub token: Option<Secret>,
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
        Ok(Self { id, key, token })
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

    /// A credential read anew, past any cache, because the cloud refused the last one.
    ///
    /// # Errors
    /// As [`CredentialSource::credential`].
    async fn renewed(&self) -> Result<Credential, Fault>;
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
}

#[async_trait]
impl CredentialSource for Static {
    async fn credential(&self) -> Result<Credential, Fault> {
        Ok(self.0.clone())
    }

    async fn renewed(&self) -> Result<Credential, Fault> {
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

    async fn renewed(&self) -> Result<Credential, Fault> {
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
