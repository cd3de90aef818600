//! What a program that reads back prints, in one strict form.
//!
//! It prints what the sink's `argv` was given. With `stdin = "json"` that is one JSON object with at least a text under `password`; of the other
//! keys that a delivery has, `target`, `generation`, `user` and `login_password` are compared where they are there, and the rest is ignored.
//! With `stdin = "password"` it is the bare password and nothing else. In both cases one line end may follow, and no output at all, with
//! exit status 0, says that nothing is stored. On its standard input it reads `{"version":1,"action":"read","target":…}`, or nothing with
//! `stdin = "password"`; `KEYWHEEL_TARGET` is set in both cases.

use super::Input;
use crate::fault::{Fault, Kind};
use crate::name::TargetName;
use crate::secret::Secret;
use crate::sink::Document;
use serde::{Deserialize, Deserializer};

/// The longest answer, in bytes.
pub const ANSWER_LIMIT: usize = 64 * 1024;

/// What is stored.
#[derive(Deserialize)]
pub struct Answer {
    #[serde(deserialize_with = "secret")]
    password: Secret,
    target: Option<String>,
    generation: Option<u64>,
    #[serde(default, deserialize_with = "given")]
    user: Option<Option<String>>,
    #[serde(default, deserialize_with = "given_secret")]
    login_password: Option<Secret>,
}

impl Answer {
    /// The answer; `None` where nothing is stored.
    ///
    /// # Errors
    /// Why it is none, as the end of a sentence about the program.
    pub fn parse(form: Input, text: &[u8]) -> Result<Option<Self>, String> {
        let text = std::str::from_utf8(text).map_err(|_| "printed something that is not UTF-8".to_owned())?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Ok(None);
        }
        let answer = match form {
            Input::Password if text.contains(['\n', '\r']) => {
                return Err("printed several lines, where the bare password alone should stand".to_owned());
            }
            Input::Password => Self {
                password: Secret::new(text.to_owned()),
                target: None,
                generation: None,
                user: None,
                login_password: None,
            },
            // The parser's message may quote what it found; its place is enough.
            Input::Json => serde_json::from_str::<Self>(text).map_err(|error| {
                if error.is_data() {
                    "printed JSON that is no object with a text under \"password\" and, if at all, a number under \"generation\""
                        .to_owned()
                } else {
                    format!("printed no JSON (line {} column {})", error.line(), error.column())
                }
            })?,
        };
        if answer.password.expose().is_empty() {
            return Err("printed an empty password".to_owned());
        }
        Ok(Some(answer))
    }

    /// The password, if it is this target's.
    ///
    /// # Errors
    /// `SinkDenied` where the answer names another target.
    pub fn password_of(self, target: &TargetName) -> Result<Secret, Fault> {
        match &self.target {
            Some(other) if other != target.as_str() => Err(Fault::new(
                Kind::SinkDenied,
                format!("the sink's program answered with another target's password, not with that of {target}"),
            )
            .advise("let the program in the sink's `read` look up the target in KEYWHEEL_TARGET")),
            Some(_) | None => Ok(self.password),
        }
    }

    /// Whether everything it says is what delivering this document would say.
    pub fn is(&self, document: &Document) -> bool {
        self.password.expose() == document.password.expose()
            && self.target.as_deref().is_none_or(|target| target == document.target.as_str())
            && self.generation.is_none_or(|generation| generation == document.generation.0)
            && self.user.as_ref().is_none_or(|user| *user == document.login_user)
            && self.login_password.as_ref().is_none_or(|text| text.expose() == document.login_password.expose())
    }
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

fn given_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    secret(deserializer).map(Some)
}

/// A null that is there differs from one that is not.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
