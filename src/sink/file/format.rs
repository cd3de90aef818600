//! What a sink file looks like: each format quotes every character its readers would take for something else.

use crate::fault::{Fault, Kind, scrub};
use crate::secret::Secret;
use crate::sink::Document;
use crate::sink::address::{connection_url, encoded};
use crate::sink::fields::{Names, Object, Part, as_key, as_variable};
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};
use serde::Deserialize;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// How much work one template may do, in instructions of the template engine.
const TEMPLATE_FUEL: u64 = 20_000;

/// The longest template, in bytes.
const TEMPLATE_LIMIT: usize = 64 * 1024;

/// Room for a rendered document, in bytes: the buffer that holds a password should not grow and leave copies behind.
const RENDERED_CAPACITY: usize = 4096;

/// The parts of a document, by the names that templates and the setting `fields` use.
pub(in crate::sink) const NAMES: [&str; 10] =
    ["target", "generation", "account", "user", "password", "bare_password", "host", "port", "tls", "url"];

/// The settings' word for a layout. In every format "password" is what a client sends as the password.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// The password and nothing else, not even a line end.
    #[default]
    Raw,
    /// `REDIS_PASSWORD="…"` and the like, for `EnvironmentFile=` of systemd and for `.` of a POSIX shell.
    Env,
    /// A JSON object.
    Json,
    /// A YAML mapping.
    Yaml,
    /// `redis://USER:PASSWORD@HOST:PORT` and nothing else.
    Url,
    /// A text with `{{ password }}` and the like in it, and the filters `url`, `json` and `shell`.
    Template,
    /// A folder with one file for each part, which change together; the sink `file` alone can write it.
    Directory,
}

impl Format {
    /// The setting `fields`, checked.
    ///
    /// # Errors
    /// Every finding, as a sentence.
    pub fn names(self, fields: Option<&BTreeMap<String, String>>) -> Result<Names, Vec<String>> {
        match self {
            Self::Env => Names::chosen(fields, &NAMES, &[], as_variable),
            Self::Json | Self::Yaml | Self::Directory => Names::chosen(fields, &NAMES, &[], as_key),
            Self::Raw | Self::Url | Self::Template if fields.is_some() => Err(vec![
                "fields has a meaning only with format = \"env\", \"json\", \"yaml\" or \"directory\"".to_owned(),
            ]),
            Self::Raw | Self::Url | Self::Template => Ok(Names::default()),
        }
    }
}

/// The parts of a document that can be read back from this form. Those of an address are there only whole: a host alone does not say whether its
/// connections are TLS.
pub fn parts_held(format: Format, fields: Option<&BTreeMap<String, String>>) -> Vec<&'static str> {
    let has = |part: &str| match (format, fields) {
        (Format::Raw, _) => part == "password",
        (Format::Url, _) => ["user", "password", "url"].contains(&part),
        (Format::Template, _) => false,
        (Format::Env | Format::Json | Format::Yaml | Format::Directory, Some(fields)) => fields.contains_key(part),
        (Format::Env, None) => VARIABLES.iter().any(|(known, _)| *known == part),
        (Format::Json | Format::Yaml | Format::Directory, None) => part != "bare_password",
    };
    let address = has("url") || ["host", "port", "tls"].into_iter().all(has);
    let holds = |part: &&str| match *part {
        // Beside every document stands whose it is and which.
        "target" | "generation" => true,
        "host" | "port" | "tls" => address,
        "url" => address && has("user") && has("password"),
        part => has(part),
    };
    NAMES.into_iter().filter(holds).collect()
}

/// The parts of a document that this form cannot be written without.
pub fn parts_used(
    format: Format,
    fields: Option<&BTreeMap<String, String>>,
    template: Option<&str>,
) -> Vec<&'static str> {
    let compiled = template.and_then(|text| compiled(text.to_owned()).ok());
    let undeclared = compiled.as_ref().and_then(|engine| engine.get_template("").ok());
    let undeclared = undeclared.map(|template| template.undeclared_variables(false)).unwrap_or_default();
    let uses = |part: &&str| match (format, fields) {
        (Format::Raw, _) => *part == "password",
        (Format::Url, _) => ["user", "password", "url"].contains(part),
        (Format::Template, _) => undeclared.contains(*part),
        (Format::Env | Format::Json | Format::Yaml | Format::Directory, Some(fields)) => fields.contains_key(*part),
        // An address is left out where a target has none.
        (Format::Env, None) => ["user", "password"].contains(part),
        (Format::Json | Format::Yaml | Format::Directory, None) => ["account", "user", "password"].contains(part),
    };
    NAMES.into_iter().filter(uses).collect()
}

/// The files of a folder: what each is called, and what is in it.
pub type Files = Vec<(String, Zeroizing<Vec<u8>>)>;

/// A format with everything it needs, checked.
#[derive(Debug)]
pub enum Layout {
    /// See [`Format::Raw`].
    Raw,
    /// See [`Format::Env`].
    Env {
        /// What each key begins with where no other names were chosen.
        prefix: String,
        /// The variables.
        names: Names,
    },
    /// See [`Format::Json`].
    Json(Names),
    /// See [`Format::Yaml`].
    Yaml(Names),
    /// See [`Format::Url`].
    Url,
    /// See [`Format::Template`].
    Template(Box<Environment<'static>>),
    /// See [`Format::Directory`].
    Directory(Names),
}

/// The document as the readers of every format see it.
struct Fields<'a> {
    target: &'a str,
    generation: u64,
    account: &'a str,
    user: Option<&'a str>,
    password: &'a str,
    bare_password: &'a str,
    host: Option<&'a str>,
    port: Option<u16>,
    tls: Option<bool>,
    url: Option<&'a str>,
}

impl<'a> Fields<'a> {
    fn of(document: &'a Document, url: Option<&'a str>) -> Self {
        let endpoint = document.endpoint.as_ref();
        Self {
            target: document.target.as_str(),
            generation: document.generation.0,
            account: &document.account,
            user: document.login_user.as_deref(),
            password: document.login_password.expose(),
            bare_password: document.password.expose(),
            host: endpoint.map(|endpoint| endpoint.host.as_str()),
            port: endpoint.map(|endpoint| endpoint.port),
            tls: endpoint.map(|endpoint| endpoint.tls),
            url,
        }
    }

    /// A part by its name in [`NAMES`].
    fn part(&self, name: &str) -> Part<'a> {
        match name {
            "target" => Part::Text(Some(self.target)),
            "generation" => Part::Number(Some(self.generation)),
            "account" => Part::Text(Some(self.account)),
            "user" => Part::Text(self.user),
            "password" => Part::Text(Some(self.password)),
            "bare_password" => Part::Text(Some(self.bare_password)),
            "host" => Part::Text(self.host),
            "port" => Part::Number(self.port.map(u64::from)),
            "tls" => Part::Flag(self.tls),
            "url" => Part::Text(self.url),
            _ => Part::Text(None),
        }
    }

    /// What JSON and YAML hold. The bare password is there only for who chose it.
    fn named<'n>(&self, names: &'n Names) -> Vec<(&'n str, Part<'a>)> {
        let usual = NAMES.into_iter().filter(|part| names.are_chosen() || *part != "bare_password");
        usual.filter_map(|part| Some((names.of(part)?, self.part(part)))).collect()
    }
}

impl Layout {
    /// The layout, if its settings make sense; a template is tried on a sample.
    ///
    /// # Errors
    /// Every finding, as a sentence.
    pub fn new(
        format: Format,
        prefix: Option<String>,
        template: Option<String>,
        fields: Option<&BTreeMap<String, String>>,
    ) -> Result<Self, Vec<String>> {
        let mut wrong = Vec::new();
        let names = format.names(fields).unwrap_or_else(|findings| {
            wrong.extend(findings);
            Names::default()
        });
        if prefix.is_some() && names.are_chosen() {
            wrong.push("prefix means nothing beside fields, which names whole variables".to_owned());
        }
        if prefix.is_some() && format != Format::Env {
            wrong.push("prefix has a meaning only with format = \"env\"".to_owned());
        }
        if template.is_some() && format != Format::Template {
            wrong.push("template has a meaning only with format = \"template\"".to_owned());
        }
        let prefix = prefix.unwrap_or_else(|| "REDIS_".to_owned());
        let a_variable = prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !prefix.starts_with(|first: char| first.is_ascii_digit());
        if !a_variable {
            wrong.push(format!("prefix {prefix:?} cannot begin a variable's name: use letters, digits and _"));
        }
        let layout = match (format, template) {
            (Format::Raw, _) => Some(Self::Raw),
            (Format::Env, _) => Some(Self::Env { prefix, names }),
            (Format::Json, _) => Some(Self::Json(names)),
            (Format::Yaml, _) => Some(Self::Yaml(names)),
            (Format::Url, _) => Some(Self::Url),
            (Format::Directory, _) => Some(Self::Directory(names)),
            (Format::Template, Some(text)) => compiled(text)
                .map(|engine| Self::Template(Box::new(engine)))
                .map_err(|finding| wrong.push(finding))
                .ok(),
            (Format::Template, None) => {
                wrong.push("format = \"template\" needs a template".to_owned());
                None
            }
        };
        match layout {
            Some(layout) if wrong.is_empty() => Ok(layout),
            Some(_) | None => Err(wrong),
        }
    }

    /// Whether it is a folder.
    pub const fn is_folder(&self) -> bool {
        match self {
            Self::Directory(_) => true,
            Self::Raw | Self::Env { .. } | Self::Json(_) | Self::Yaml(_) | Self::Url | Self::Template(_) => false,
        }
    }

    /// Whether a document without a login address cannot be written this way.
    pub fn needs_endpoint(&self) -> bool {
        match self {
            Self::Raw => false,
            // Who chose the address alone has nothing else to write.
            Self::Env { names, .. } | Self::Json(names) | Self::Yaml(names) | Self::Directory(names) => {
                !holds_password(names)
            }
            Self::Url => true,
            Self::Template(engine) => engine.get_template("").is_ok_and(|template| {
                let used = template.undeclared_variables(false);
                ["host", "port", "tls", "url"].iter().any(|name| used.contains(*name))
            }),
        }
    }

    /// Whether the password can be found again in what was written this way.
    pub fn can_be_read_back(&self) -> bool {
        match self {
            Self::Raw | Self::Url => true,
            Self::Env { names, .. } | Self::Json(names) | Self::Yaml(names) | Self::Directory(names) => {
                names.of("password").is_some()
            }
            Self::Template(_) => false,
        }
    }

    /// The files of a folder: what each is called, and what is in it. `None` where this is no folder.
    ///
    /// # Errors
    /// As for [`Layout::render`].
    pub fn files(&self, document: &Document) -> Result<Option<Files>, Fault> {
        let Self::Directory(names) = self else { return Ok(None) };
        let url = connection_url(document);
        let url = url.as_ref().map(|url| url.as_str());
        if !holds_password(names) && url.is_none() {
            return Err(no_address("its fields"));
        }
        let mut files = Vec::new();
        for (name, part) in Fields::of(document, url).named(names) {
            let is_user = names.of("user") == Some(name);
            let content = match part {
                Part::Text(Some(text)) => Zeroizing::new(text.as_bytes().to_vec()),
                // The password logs in alone; no other part is ever written without a value.
                Part::Text(None) if is_user => Zeroizing::default(),
                Part::Number(Some(number)) => Zeroizing::new(number.to_string().into_bytes()),
                Part::Flag(Some(flag)) => Zeroizing::new(flag.to_string().into_bytes()),
                Part::Text(None) | Part::Number(None) | Part::Flag(None) => continue,
            };
            files.push((name.to_owned(), content));
        }
        Ok(Some(files))
    }

    /// The file's content.
    ///
    /// # Errors
    /// `SinkDenied` where the document cannot be written in this format.
    pub fn render(&self, document: &Document) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let url = connection_url(document);
        let url = url.as_ref().map(|url| url.as_str());
        let fields = Fields::of(document, url);
        let mut text = Zeroizing::new(String::with_capacity(RENDERED_CAPACITY));
        match self {
            Self::Raw => text.push_str(fields.password),
            Self::Env { names, .. } if !holds_password(names) && url.is_none() => return Err(no_address("its fields")),
            Self::Json(names) | Self::Yaml(names) | Self::Directory(names)
                if !holds_password(names) && url.is_none() =>
            {
                return Err(no_address("its fields"));
            }
            Self::Env { prefix, names } => env(&mut text, prefix, names, &fields)?,
            // A folder as one text tells whether anything in it would change.
            Self::Json(names) | Self::Directory(names) => {
                let object = serde_json::to_string_pretty(&Object(fields.named(names)))
                    .expect("texts and numbers always have a JSON form");
                text.push_str(Zeroizing::new(object).as_str());
                text.push('\n');
            }
            Self::Yaml(names) => yaml(&mut text, &fields.named(names)),
            Self::Url => text.push_str(url.ok_or_else(|| no_address("format = \"url\""))?),
            Self::Template(engine) => {
                let rendered = engine
                    .get_template("")
                    .and_then(|template| template.render(values(&fields)))
                    .map_err(|error| refused_template(&error, document))?;
                text.push_str(Zeroizing::new(rendered).as_str());
            }
        }
        Ok(Zeroizing::new(text.as_bytes().to_vec()))
    }
}

/// Whether the password stands in there by itself, and not only in the address.
fn holds_password(names: &Names) -> bool {
    ["password", "bare_password"].iter().any(|part| names.of(part).is_some())
}

/// The variables of [`Format::Env`] where no others were chosen, behind the prefix.
pub(super) const VARIABLES: [(&str, &str); 5] =
    [("user", "USER"), ("password", "PASSWORD"), ("host", "HOST"), ("port", "PORT"), ("url", "URL")];

/// The keys that have a value. An empty user means: the password logs in alone.
fn env(text: &mut String, prefix: &str, names: &Names, fields: &Fields<'_>) -> Result<(), Fault> {
    let variables: Vec<(&str, String)> = match names.are_chosen() {
        true => NAMES.into_iter().filter_map(|part| Some((part, names.of(part)?.to_owned()))).collect(),
        false => VARIABLES.map(|(part, name)| (part, format!("{prefix}{name}"))).to_vec(),
    };
    for (part, name) in variables {
        let (number, flag);
        let value = match fields.part(part) {
            Part::Text(Some(value)) => value,
            Part::Text(None) if part == "user" => "",
            Part::Number(Some(value)) => {
                number = value.to_string();
                number.as_str()
            }
            Part::Flag(Some(value)) => {
                flag = value.to_string();
                flag.as_str()
            }
            Part::Text(None) | Part::Number(None) | Part::Flag(None) => continue,
        };
        if value.chars().any(char::is_control) {
            return Err(Fault::new(
                Kind::SinkDenied,
                format!("{name} would hold a control character, which not every reader of format = \"env\" takes"),
            )
            .advise("use format = \"json\" for this target, or rotate to a password without control characters"));
        }
        text.push_str(&name);
        text.push('=');
        quote_for_env(text, value);
        text.push('\n');
    }
    Ok(())
}

/// Quotes a value so that POSIX shells ("Quoting" in the Shell Command Language), `EnvironmentFile=` of systemd.exec(5) and the usual dotenv
/// readers give back the same text. Inside double quotes all of them take a backslash before `\`, `"` and `$`, but only two of the three before a
/// backtick, which therefore stands in single quotes of its own; quoted parts join up.
fn quote_for_env(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' | '$' => text.extend(['\\', c]),
            '`' => text.push_str("\"'`'\""),
            _ => text.push(c),
        }
    }
    text.push('"');
}

/// A word for a POSIX shell, whatever is in it.
fn shell(value: &str) -> String {
    format!("'{}'", value.replace('\'', "'\\''"))
}

/// One double-quoted scalar per line; YAML 1.2 chapter 5.7 lists the escapes.
fn yaml(text: &mut String, parts: &[(&str, Part<'_>)]) {
    for (key, part) in parts {
        text.push_str(key);
        text.push_str(": ");
        match part {
            Part::Text(Some(value)) => quote_for_yaml(text, value),
            Part::Number(Some(value)) => text.push_str(&value.to_string()),
            Part::Flag(Some(value)) => text.push_str(&value.to_string()),
            Part::Text(None) | Part::Number(None) | Part::Flag(None) => text.push_str("null"),
        }
        text.push('\n');
    }
}

fn quote_for_yaml(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' => text.push(c),
            '\u{ff00}'..='\u{fffd}' | '\u{10000}'.. => text.push(c),
            other => text.push_str(&format!("\\u{:04x}", u32::from(other))),
        }
    }
    text.push('"');
}

/// The template engine with this one template in it, under an empty name.
fn compiled(text: String) -> Result<Environment<'static>, String> {
    if text.len() > TEMPLATE_LIMIT {
        return Err(format!("the template is longer than {TEMPLATE_LIMIT} bytes"));
    }
    let mut engine = Environment::empty();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_auto_escape_callback(|_| AutoEscape::None);
    engine.set_fuel(Some(TEMPLATE_FUEL));
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    engine.set_syntax(syntax.map_err(|error| format!("the template cannot be used: {error}"))?);
    engine.add_filter("url", |value: String| encoded(&value).to_string());
    engine.add_filter("json", |value: Value| {
        serde_json::to_string(&value)
            .map_err(|_| minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, "this value has no JSON form"))
    });
    engine.add_filter("shell", |value: String| shell(&value));
    engine.add_template_owned("", text).map_err(|error| format!("the template cannot be used: {error}"))?;
    let template = engine.get_template("").map_err(|error| error.to_string())?;
    let mut unknown: Vec<String> =
        template.undeclared_variables(false).into_iter().filter(|name| !NAMES.contains(&name.as_str())).collect();
    unknown.sort();
    if let Some(name) = unknown.first() {
        return Err(format!("the template uses {name:?}, which does not exist; there are {}", NAMES.join(", ")));
    }
    let sample = NAMES.map(|name| match name {
        "generation" | "port" => (name, Value::from(1)),
        "tls" => (name, Value::from(true)),
        _ => (name, Value::from("sample")),
    });
    template
        .render(Value::from(BTreeMap::from(sample)))
        .map_err(|error| format!("the template cannot be used: {error}"))?;
    drop(template);
    Ok(engine)
}

/// What a template sees. What the target does not have is undefined, so that using it is an error. The engine keeps its own copies
/// of these texts for a moment and does not wipe them.
fn values(fields: &Fields<'_>) -> Value {
    let mut values: BTreeMap<&str, Value> = BTreeMap::from([
        ("target", Value::from(fields.target)),
        ("generation", Value::from(fields.generation)),
        ("account", Value::from(fields.account)),
        ("user", Value::from(fields.user.unwrap_or_default())),
        ("password", Value::from(fields.password)),
        ("bare_password", Value::from(fields.bare_password)),
    ]);
    if let (Some(host), Some(port), Some(tls), Some(url)) = (fields.host, fields.port, fields.tls, fields.url) {
        values.insert("host", Value::from(host));
        values.insert("port", Value::from(port));
        values.insert("tls", Value::from(tls));
        values.insert("url", Value::from(url));
    }
    Value::from(values)
}

fn refused_template(error: &minijinja::Error, document: &Document) -> Fault {
    if error.kind() == minijinja::ErrorKind::UndefinedError && document.endpoint.is_none() {
        return no_address("the template");
    }
    let url = connection_url(document).map(|url| Secret::new(url.to_string()));
    let mut secrets = vec![&document.login_password, &document.password];
    secrets.extend(&url);
    let said = scrub(&error.to_string(), &secrets);
    Fault::new(Kind::SinkDenied, format!("The template could not be filled in: {said}"))
        .advise("correct the sink's template")
}

fn no_address(user: &str) -> Fault {
    Fault::new(Kind::SinkDenied, format!("The target has no login address, and {user} needs one"))
        .advise("give the target a login address, or the sink another format")
}

#[cfg(test)]
pub(super) mod tests;
