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
use crate::sink::fields::{Found, Names, picked};

/// The longest answer, in bytes.
pub const ANSWER_LIMIT: usize = 64 * 1024;

/// What is stored.
pub struct Answer {
    password: Secret,
    target: Option<String>,
    generation: Option<u64>,
    /// A null that is there differs from one that is not.
    user: Option<Option<String>>,
    login_password: Option<Secret>,
}

impl Answer {
    /// The answer; `None` where nothing is stored.
    ///
    /// # Errors
    /// Why it is none, as the end of a sentence about the program.
    pub fn parse(form: Input, names: &Names, text: &[u8]) -> Result<Option<Self>, String> {
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
            Input::Json => Self::of_json(names, text)?,
        };
        if answer.password.expose().is_empty() {
            return Err("printed an empty password".to_owned());
        }
        Ok(Some(answer))
    }

    fn of_json(names: &Names, text: &str) -> Result<Self, String> {
        let [password, user, login_password] = ["password", "user", "login_password"].map(|part| names.of(part));
        let known_as = password.unwrap_or("password");
        let misshapen = || {
            format!(
                "printed JSON that is no object with a text under \"{known_as}\" and, if at all, a number under \"generation\""
            )
        };
        let wanted: Vec<&str> =
            [Some("target"), Some("generation"), password, user, login_password].into_iter().flatten().collect();
        // The parser's message may quote what it found; its place is enough.
        let mut found = picked(text, &wanted).map_err(|error| match error.is_data() {
            true => misshapen(),
            false => format!("printed no JSON (line {} column {})", error.line(), error.column()),
        })?;
        let mut take = |name: Option<&str>| match name.and_then(|name| found.remove(name)) {
            Some(Found::Text(text)) => Ok(Some(Some(text))),
            Some(Found::Nothing) => Ok(Some(None)),
            Some(Found::Number(_) | Found::Flag(_) | Found::Other) => Err(misshapen()),
            None => Ok(None),
        };
        let plain = |text: Secret| text.expose().to_owned();
        let password = take(password)?.flatten().ok_or_else(misshapen)?;
        let user = take(user)?.map(|user| user.map(plain));
        let login_password = match take(login_password)? {
            Some(text) => Some(text.ok_or_else(misshapen)?),
            None => None,
        };
        let target = take(Some("target"))?.flatten().map(plain);
        let generation = match found.remove("generation") {
            Some(Found::Number(number)) => Some(number),
            Some(Found::Nothing) | None => None,
            Some(Found::Text(_) | Found::Flag(_) | Found::Other) => return Err(misshapen()),
        };
        Ok(Self { password, target, generation, user, login_password })
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
