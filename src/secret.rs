//! A password or key in memory: wiped when dropped, and shown only to whoever calls [`Secret::expose`].

use crate::fault::Fault;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;

/// A secret text. It has no `Display`, `Serialize`, `Deref` or `==`, and its `Debug` shows no contents.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes ownership of the text. The `String`'s buffer is wiped after its contents were moved.
    pub fn new(text: String) -> Self {
        Self(SecretString::from(text))
    }

    /// The text itself. Whoever calls this sends it to where it belongs and nowhere else.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// Reads a secret that is shown to a service. Each call reads it anew, since whoever made it may have replaced it.
#[derive(Clone)]
pub struct Credential(pub Arc<dyn Fn() -> Result<Secret, Fault> + Send + Sync>);

impl Credential {
    /// The secret.
    ///
    /// # Errors
    /// What keeps it from being read.
    pub fn get(&self) -> Result<Secret, Fault> {
        (self.0)()
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Credential(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_the_contents() {
        let shown = format!("{:?}", Secret::new("hunter2".to_owned()));
        assert_eq!(shown, "Secret(…)");
    }

    #[test]
    fn expose_gives_the_text_back() {
        assert_eq!(Secret::new("a\"b\\c".to_owned()).expose(), "a\"b\\c");
    }
}
