//! The sink `command`: hands each password to a program on its standard input, never in its arguments or environment.
//!
//! With `stdin = "json"` (the default) the program reads one JSON object:
//!
//! | key | value |
//! |---|---|
//! | `version` | 1 |
//! | `action` | `"deliver"`, or `"ready"` to be asked whether a delivery would succeed (then only `target` follows) |
//! | `target` | the target's name |
//! | `generation` | the password's number; store it and refuse a smaller one |
//! | `rotation` | the id of the rotation, or null for an adopted password |
//! | `account` | the account, as the cloud calls it |
//! | `password` | the password itself |
//! | `user` | the user name a client sends, or null where it sends only a password |
//! | `login_password` | what a client sends as the password |
//! | `host`, `port`, `tls`, `url` | where clients connect, or null |
//!
//! The keys from `account` on can be chosen and renamed: with `fields = { password = "secret", url = "url" }` there are only these two, beside
//! the five that say what is to be done.
//!
//! With `stdin = "password"` it reads the bare password, without a line end, and learns target, account, generation and rotation from
//! `KEYWHEEL_TARGET`, `KEYWHEEL_ACCOUNT`, `KEYWHEEL_GENERATION` and `KEYWHEEL_ROTATION`, which are set in both cases.
//!
//! Exit status 0 says that the password is stored and would survive a power cut. [`EXIT_NEWER`] says that the place holds a newer
//! generation, [`EXIT_DENIED`] that a person must grant something first. Anything else is tried again later. A delivery can come twice.
//!
//! What such a program stored can be read back where `read` names a second one; see [`answer`].

mod answer;

use super::address::{connection_url, encoded};
use super::fields::{Names, Object, Part, as_key};
use super::{Document, Held, Holds, Sink};
use crate::fault::{Fault, Kind};
use crate::moment::span_setting;
use crate::name::TargetName;
use crate::process::{Ended, Program};
use crate::secret::Secret;
use answer::Answer;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use zeroize::Zeroizing;

/// The exit status that says: a newer generation is there already.
pub const EXIT_NEWER: i32 = 20;

/// The exit status that says: not permitted, a person must act (`EX_NOPERM` of sysexits.h).
pub const EXIT_DENIED: i32 = 77;

/// The version of the JSON object on the program's standard input.
pub const PROTOCOL_VERSION: u32 = 1;

/// How long a delivery may take where the settings say nothing.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Room for the JSON object, in bytes: the buffer that holds a password should not grow and leave copies behind.
const INPUT_CAPACITY: usize = 16 * 1024;

/// The keys that say what is to be done.
const DEED: [&str; 5] = ["version", "action", "target", "generation", "rotation"];

/// The parts of a document.
const PARTS: [&str; 8] = ["account", "password", "user", "login_password", "host", "port", "tls", "url"];

/// The setting `fields`, checked.
///
/// # Errors
/// Every finding, as a sentence.
pub fn names(fields: &BTreeMap<String, String>) -> Result<Names, Vec<String>> {
    Names::chosen(Some(fields), &PARTS, &DEED, as_key)
}

/// The settings of a sink with `kind = "command"`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CommandSettings {
    /// The program's absolute path, then its arguments. No shell reads them.
    pub argv: Vec<String>,
    /// What the program reads on its standard input.
    #[serde(default)]
    pub stdin: Input,
    /// Whether the program understands the action `ready`; otherwise only its presence is checked before a rotation.
    #[serde(default)]
    pub check: bool,
    /// With `stdin = "json"`: which parts of the document the program is given, and what each is called.
    pub fields: Option<BTreeMap<String, String>>,
    /// A program that prints what is stored, in the form in which `argv` reads it: its absolute path, then its arguments.
    pub read: Option<Vec<String>>,
    /// Names of the daemon's variables that the program inherits beside `PATH`.
    #[serde(default)]
    pub environment: Vec<String>,
    /// When the program is killed, with everything it started.
    #[serde(default = "default_timeout", deserialize_with = "span_setting")]
    pub timeout: Duration,
}

/// What a program reads on its standard input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Input {
    /// The JSON object.
    #[default]
    Json,
    /// The bare password.
    Password,
}

/// A program that takes passwords.
#[derive(Debug)]
pub struct CommandSink {
    program: Program,
    argv: Vec<String>,
    input: Input,
    names: Names,
    check: bool,
    reader: Option<Program>,
}

impl CommandSink {
    /// The sink, if its settings make sense.
    ///
    /// # Errors
    /// Every finding, `Kind::ConfigInvalid`.
    pub fn new(settings: CommandSettings) -> Result<Self, Vec<Fault>> {
        let mut wrong = Vec::new();
        if settings.check && settings.stdin == Input::Password {
            wrong.push("check = true needs stdin = \"json\": a bare password cannot ask a question".to_owned());
        }
        if settings.fields.is_some() && settings.stdin == Input::Password {
            wrong.push("fields needs stdin = \"json\": a bare password has no fields".to_owned());
        }
        let chosen = settings.fields.as_ref().map_or_else(|| Ok(Names::default()), names);
        let names = chosen.unwrap_or_else(|findings| {
            wrong.extend(findings);
            Names::default()
        });
        if settings.read.is_some() && names.of("password").is_none() {
            wrong.push("read needs the bare password: name password in fields".to_owned());
        }
        let mut made = |argv: &[String]| {
            Program::new(argv, &settings.environment, settings.timeout).map_err(|more| wrong.extend(more)).ok()
        };
        let program = made(&settings.argv);
        let reader = settings.read.as_deref().map(&mut made);
        if let (Some(program), None | Some(Some(_)), true) = (program, &reader, wrong.is_empty()) {
            let argv = settings.argv;
            let (input, check, reader) = (settings.stdin, settings.check, reader.flatten());
            return Ok(Self { program, argv, input, names, check, reader });
        }
        Err(wrong.into_iter().map(|what| Fault::new(Kind::ConfigInvalid, what)).collect())
    }

    async fn ask(
        &self,
        input: Zeroizing<Vec<u8>>,
        variables: &[(&str, String)],
        secrets: &[&Secret],
    ) -> Result<(), Fault> {
        let ended = self
            .program
            .run(input, variables, secrets)
            .await
            .map_err(|error| Fault::new(Kind::SinkUnavailable, error.to_string()))?;
        verdict(&self.program, &ended)
    }

    /// What the program reads of a document, and the variables it finds.
    fn handed_over(&self, document: &Document) -> (Zeroizing<Vec<u8>>, [(&'static str, String); 4]) {
        let rotation = document.rotation.map(|rotation| rotation.to_string());
        let variables = [
            ("KEYWHEEL_TARGET", document.target.to_string()),
            ("KEYWHEEL_ACCOUNT", document.account.clone()),
            ("KEYWHEEL_GENERATION", document.generation.to_string()),
            ("KEYWHEEL_ROTATION", rotation.clone().unwrap_or_default()),
        ];
        let input = match self.input {
            Input::Json => {
                let url = connection_url(document);
                let endpoint = document.endpoint.as_ref();
                let deed = [
                    Part::Number(Some(u64::from(PROTOCOL_VERSION))),
                    Part::Text(Some("deliver")),
                    Part::Text(Some(document.target.as_str())),
                    Part::Number(Some(document.generation.0)),
                    Part::Text(rotation.as_deref()),
                ];
                let parts = [
                    Part::Text(Some(&document.account)),
                    Part::Text(Some(document.password.expose())),
                    Part::Text(document.login_user.as_deref()),
                    Part::Text(Some(document.login_password.expose())),
                    Part::Text(endpoint.map(|endpoint| endpoint.host.as_str())),
                    Part::Number(endpoint.map(|endpoint| u64::from(endpoint.port))),
                    Part::Flag(endpoint.map(|endpoint| endpoint.tls)),
                    Part::Text(url.as_ref().map(|url| url.as_str())),
                ];
                let parts = PARTS.into_iter().zip(parts);
                let named = parts.filter_map(|(name, part)| Some((self.names.of(name)?, part)));
                written(&Object(DEED.into_iter().zip(deed).chain(named).collect()))
            }
            Input::Password => Zeroizing::new(document.password.expose().as_bytes().to_vec()),
        };
        (input, variables)
    }

    /// What is stored for a target; `None` where nothing is.
    async fn stored(&self, reader: &Program, target: &TargetName) -> Result<Option<Answer>, Fault> {
        let question = Question { version: PROTOCOL_VERSION, action: "read", target };
        let input = match self.input {
            Input::Json => written(&question),
            Input::Password => Zeroizing::default(),
        };
        let variables = [("KEYWHEEL_TARGET", target.to_string())];
        let answered = reader
            .ask(input, &variables, answer::ANSWER_LIMIT)
            .await
            .map_err(|error| Fault::new(Kind::SinkUnavailable, error.to_string()))?;
        verdict(reader, &answered.ended)?;
        Answer::parse(self.input, &self.names, &answered.answer).map_err(|why| {
            Fault::new(Kind::SecretUnreadable, format!("{} {why}", reader.path().display()))
                .advise("let the program in the sink's `read` print exactly what `argv` was given, or nothing where nothing is stored")
        })
    }
}

fn verdict(program: &Program, ended: &Ended) -> Result<(), Fault> {
    let kind = match ended.status.code() {
        Some(0) => return Ok(()),
        Some(EXIT_NEWER) => Kind::SinkNewer,
        Some(EXIT_DENIED) => Kind::SinkDenied,
        Some(_) | None => Kind::SinkUnavailable,
    };
    Err(Fault::new(kind, format!("{} {}", program.path().display(), ended.describe())))
}

#[async_trait]
impl Sink for CommandSink {
    async fn ready(&self, target: &TargetName) -> Result<(), Fault> {
        self.program.found().await.map_err(|what| Fault::new(Kind::SinkDenied, what))?;
        if !self.check {
            return Ok(());
        }
        let question = Question { version: PROTOCOL_VERSION, action: "ready", target };
        let variables = [("KEYWHEEL_TARGET", target.to_string())];
        self.ask(written(&question), &variables, &[]).await
    }

    async fn deliver(&self, document: &Document) -> Result<(), Fault> {
        let (input, variables) = self.handed_over(document);
        let shapes = shapes(document);
        self.ask(input, &variables, &shapes.iter().collect::<Vec<_>>()).await
    }

    fn shape(&self, document: &Document) -> Option<Vec<u8>> {
        let (input, _) = self.handed_over(document);
        let mut shape = format!("{:?}\n", self.argv).into_bytes();
        shape.extend_from_slice(&input);
        Some(shape)
    }

    async fn has_lost_it(&self) -> bool {
        false
    }

    async fn read_back(&self, target: &TargetName) -> Result<Option<Held>, Fault> {
        let Some(reader) = &self.reader else {
            return Err(super::cannot_be_read(&self.place())
                .advise("give the sink a program that prints what is stored: read = [\"/path/to/program\"]"));
        };
        match self.stored(reader, target).await? {
            Some(answer) => answer.password_of(target).map(|password| Some(Held::Bare(password))),
            None => Ok(None),
        }
    }

    async fn holds(&self, document: &Document) -> Result<Holds, Fault> {
        let Some(reader) = &self.reader else { return Ok(Holds::CannotTell) };
        Ok(match self.stored(reader, &document.target).await? {
            Some(answer) if answer.is(document) => Holds::Same,
            Some(_) => Holds::Other,
            None => Holds::Absent,
        })
    }

    fn place(&self) -> String {
        format!("the program {}", self.program.path().display())
    }
}

#[derive(Serialize)]
struct Question<'a> {
    version: u32,
    action: &'static str,
    target: &'a TargetName,
}

fn written(object: &impl Serialize) -> Zeroizing<Vec<u8>> {
    let mut buffer = Zeroizing::new(Vec::with_capacity(INPUT_CAPACITY));
    serde_json::to_writer(&mut *buffer, object).expect("texts and numbers always have a JSON form");
    buffer.push(b'\n');
    buffer
}

/// The shapes in which a program is likely to repeat the password: as it is, inside JSON, and inside an address.
fn shapes(document: &Document) -> Vec<Secret> {
    [&document.login_password, &document.password]
        .into_iter()
        .flat_map(|secret| {
            let plain = secret.expose();
            let quoted = written(&plain);
            let inner = String::from_utf8_lossy(&quoted).trim().trim_matches('"').to_owned();
            [Secret::new(plain.to_owned()), Secret::new(inner), Secret::new(encoded(plain).to_string())]
        })
        .collect()
}

fn default_timeout() -> Duration {
    DEFAULT_TIMEOUT
}

#[cfg(test)]
mod tests;
