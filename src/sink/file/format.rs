//! What a sink file looks like: each format quotes every character its readers would take for something else.

use crate::fault::{Fault, Kind, scrub};
use crate::secret::Secret;
use crate::sink::address::{connection_url, encoded};
use crate::sink::{Document, Endpoint};
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// How much work one template may do, in instructions of the template engine.
const TEMPLATE_FUEL: u64 = 20_000;

/// The longest template, in bytes.
const TEMPLATE_LIMIT: usize = 64 * 1024;

/// Room for a rendered document, in bytes: the buffer that holds a password should not grow and leave copies behind.
const RENDERED_CAPACITY: usize = 4096;

/// The names a template may use.
const NAMES: [&str; 10] =
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
}

/// A format with everything it needs, checked.
#[derive(Debug)]
pub enum Layout {
    /// See [`Format::Raw`].
    Raw,
    /// See [`Format::Env`].
    Env {
        /// What each key begins with.
        prefix: String,
    },
    /// See [`Format::Json`].
    Json,
    /// See [`Format::Yaml`].
    Yaml,
    /// See [`Format::Url`].
    Url,
    /// See [`Format::Template`].
    Template(Box<Environment<'static>>),
}

/// The document as JSON and YAML readers see it.
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

impl Layout {
    /// The layout, if its settings make sense; a template is tried on a sample.
    ///
    /// # Errors
    /// Every finding, as a sentence.
    pub fn new(format: Format, prefix: Option<String>, template: Option<String>) -> Result<Self, Vec<String>> {
        let mut wrong = Vec::new();
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
            (Format::Env, _) => Some(Self::Env { prefix }),
            (Format::Json, _) => Some(Self::Json),
            (Format::Yaml, _) => Some(Self::Yaml),
            (Format::Url, _) => Some(Self::Url),
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

    /// Whether a document without a login address cannot be written this way.
    pub fn needs_endpoint(&self) -> bool {
        match self {
            Self::Raw | Self::Env { .. } | Self::Json | Self::Yaml => false,
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
            Self::Raw | Self::Env { .. } | Self::Json | Self::Yaml | Self::Url => true,
            Self::Template(_) => false,
        }
    }

    /// The file's content.
    ///
    /// # Errors
    /// `SinkDenied` where the document cannot be written in this format.
    pub fn render(&self, document: &Document) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let url = connection_url(document);
        let url = url.as_ref().map(|url| url.as_str());
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
            url,
        };
        let mut text = Zeroizing::new(String::with_capacity(RENDERED_CAPACITY));
        match self {
            Self::Raw => text.push_str(fields.password),
            Self::Env { prefix } => env(&mut text, prefix, &fields, endpoint)?,
            Self::Json => {
                let object = serde_json::to_string_pretty(&fields).expect("texts and numbers always have a JSON form");
                text.push_str(Zeroizing::new(object).as_str());
                text.push('\n');
            }
            Self::Yaml => yaml(&mut text, &fields),
            Self::Url => text.push_str(url.ok_or_else(|| no_address("format = \"url\""))?),
            Self::Template(engine) => {
                let rendered = engine
                    .get_template("")
                    .and_then(|template| template.render(values(document, &fields)))
                    .map_err(|error| refused_template(&error, document))?;
                text.push_str(Zeroizing::new(rendered).as_str());
            }
        }
        Ok(Zeroizing::new(text.as_bytes().to_vec()))
    }
}

/// The keys that have a value. An empty user means: the password logs in alone.
fn env(text: &mut String, prefix: &str, fields: &Fields<'_>, endpoint: Option<&Endpoint>) -> Result<(), Fault> {
    let port = endpoint.map(|endpoint| endpoint.port.to_string());
    for (key, value) in [
        ("USER", Some(fields.user.unwrap_or_default())),
        ("PASSWORD", Some(fields.password)),
        ("HOST", fields.host),
        ("PORT", port.as_deref()),
        ("URL", fields.url),
    ] {
        let Some(value) = value else { continue };
        if value.chars().any(char::is_control) {
            return Err(Fault::new(
                Kind::SinkDenied,
                format!(
                    "{prefix}{key} would hold a control character, which not every reader of format = \"env\" takes"
                ),
            )
            .advise("use format = \"json\" for this target, or rotate to a password without control characters"));
        }
        text.push_str(prefix);
        text.push_str(key);
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
fn yaml(text: &mut String, fields: &Fields<'_>) {
    let mut line = |key: &str, value: Option<&str>, quoted: bool| {
        text.push_str(key);
        text.push_str(": ");
        match value {
            None => text.push_str("null"),
            Some(value) if quoted => quote_for_yaml(text, value),
            Some(value) => text.push_str(value),
        }
        text.push('\n');
    };
    line("target", Some(fields.target), true);
    line("generation", Some(&fields.generation.to_string()), false);
    line("account", Some(fields.account), true);
    line("user", fields.user, true);
    line("password", Some(fields.password), true);
    line("host", fields.host, true);
    line("port", fields.port.map(|port| port.to_string()).as_deref(), false);
    line("tls", fields.tls.map(|tls| tls.to_string()).as_deref(), false);
    line("url", fields.url, true);
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
fn values(document: &Document, fields: &Fields<'_>) -> Value {
    let mut values: BTreeMap<&str, Value> = BTreeMap::from([
        ("target", Value::from(fields.target)),
        ("generation", Value::from(fields.generation)),
        ("account", Value::from(fields.account)),
        ("user", Value::from(fields.user.unwrap_or_default())),
        ("password", Value::from(fields.password)),
        ("bare_password", Value::from(document.password.expose())),
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
