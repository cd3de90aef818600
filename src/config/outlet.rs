//! `[sinks.NAME]` and `[hooks.NAME]`: who receives a password and who is told.

mod http;
mod vault;

pub use http::HttpSink;
pub use vault::{VaultAuth, VaultSink};

use super::etcd::{self, EtcdSink};
use super::reading::{Refusal, Section, absolute, refusal};
use super::sealed::{self, AgeSink, CredentialSink};
use super::store::{self, StoreSink};
use crate::http::is_loopback;
use crate::name::SinkName;
use crate::sink::command::{self, Input as SinkInput};
use crate::sink::file::{FILE_NAME_LIMIT, Format as FileFormat};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// The mode of a file unless said otherwise: its owner alone.
const FILE_MODE: u32 = 0o600;

/// How long a delivery by a program may take unless said otherwise.
const SINK_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a hook may take unless said otherwise.
const HOOK_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest time a program may be given.
const TIMEOUT_LIMIT: Duration = Duration::from_secs(3_600);

/// The most arguments of a program.
const ARGUMENT_LIMIT: usize = 64;

/// The longest time one request to a store may be given.
const REQUEST_TIMEOUT_LIMIT: Duration = Duration::from_secs(100);

/// A place that receives passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// A file that always holds one target's current password.
    File(FileSink),
    /// A program that stores passwords.
    Command(CommandSink),
    /// A secret in a cloud's own store.
    Store(Box<StoreSink>),
    /// A key of etcd.
    Etcd(EtcdSink),
    /// A file for the holders of a key.
    Age(AgeSink),
    /// A file for `LoadCredentialEncrypted=`.
    SystemdCredential(CredentialSink),
    /// A receiver behind a URL.
    Http(HttpSink),
    /// A secret in Vault or OpenBao.
    Vault(VaultSink),
}

/// What a document looks like where it is written as a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// In which form.
    pub form: FileFormat,
    /// What the names of [`FileFormat::Env`] begin with.
    pub prefix: Option<String>,
    /// The text of [`FileFormat::Template`].
    pub template: Option<String>,
    /// Which parts of the document it holds, and what each is called.
    pub fields: Option<BTreeMap<String, String>>,
}

/// Where a sink writes, as it was written.
pub struct Spot<'a> {
    /// The key it stands at.
    pub key: &'static str,
    /// The text there, perhaps a template.
    pub text: &'a str,
    /// The rest of the place: the same text elsewhere is another spot.
    pub within: String,
}

impl Spot<'_> {
    /// The text after a space; nothing of a URL, as a token may stand in it.
    pub fn shown(&self) -> String {
        if self.key == "url" { String::new() } else { format!(" {}", self.text) }
    }

    /// All of it: two sinks with the same one would overwrite each other.
    pub fn whole(&self) -> String {
        format!("{} {}", self.within, self.text)
    }
}

impl Sink {
    /// Its file, where it is one.
    fn file(&self) -> Option<&FileSink> {
        match self {
            Self::File(file) => Some(file),
            Self::Age(age) => Some(&age.file),
            Self::SystemdCredential(credential) => Some(&credential.file),
            Self::Command(_) | Self::Store(_) | Self::Etcd(_) | Self::Http(_) | Self::Vault(_) => None,
        }
    }

    /// Where it writes, if that is for one target alone; it needs a template there to serve several. `None` for a program, which is told
    /// the target and stores where it likes.
    pub fn spot(&self) -> Option<Spot<'_>> {
        match self {
            Self::File(_) | Self::Age(_) | Self::SystemdCredential(_) => {
                Some(Spot { key: "path", text: self.file()?.path.to_str()?, within: "file".to_owned() })
            }
            Self::Store(store) => Some(Spot { key: "secret", text: &store.secret, within: store.within() }),
            Self::Command(_) => None,
            Self::Etcd(etcd) => Some(Spot { key: "key", text: &etcd.key, within: etcd.store() }),
            Self::Http(http) => Some(Spot { key: "url", text: &http.url, within: "http".to_owned() }),
            Self::Vault(vault) => {
                let VaultSink { address, mount, path, namespace, .. } = vault;
                let within = format!("vault {address} {} {mount}", namespace.as_deref().unwrap_or_default());
                Some(Spot { key: "path", text: path, within })
            }
        }
    }

    /// The form of its documents, where that is one of a file's.
    pub(super) fn form(&self) -> Option<FileFormat> {
        match self {
            Self::File(_) | Self::Age(_) | Self::SystemdCredential(_) => self.file().map(|file| file.format),
            Self::Command(_) => None,
            Self::Etcd(etcd) => Some(etcd.format.form),
            Self::Store(_) | Self::Http(_) | Self::Vault(_) => None,
        }
    }

    /// Which parts of a document were chosen, where it has such a form.
    pub(super) fn fields(&self) -> Option<&BTreeMap<String, String>> {
        match self {
            Self::File(_) | Self::Age(_) | Self::SystemdCredential(_) => self.file()?.fields.as_ref(),
            Self::Etcd(etcd) => etcd.format.fields.as_ref(),
            Self::Command(_) | Self::Store(_) | Self::Http(_) | Self::Vault(_) => None,
        }
    }

    /// What is at its spot, in a word.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Self::File(_) | Self::Age(_) | Self::SystemdCredential(_) => "file",
            Self::Store(_) => "secret",
            Self::Command(_) => "place",
            Self::Etcd(_) => "key",
            Self::Http(_) => "URL",
            Self::Vault(_) => "secret",
        }
    }

    /// The same sink at another spot.
    ///
    /// # Errors
    /// Why that is none, as a sentence without its full stop.
    pub(super) fn at(&self, text: String) -> Result<Self, String> {
        match self {
            Self::File(file) => file.at(&text).map(Self::File),
            Self::Age(age) => Ok(Self::Age(AgeSink { file: age.file.at(&text)?, ..age.clone() })),
            Self::SystemdCredential(credential) => {
                Ok(Self::SystemdCredential(CredentialSink { file: credential.file.at(&text)?, ..credential.clone() }))
            }
            Self::Store(store) => store.at(text).map(|store| Self::Store(Box::new(store))),
            Self::Command(_) => Ok(self.clone()),
            Self::Etcd(sink) => Ok(Self::Etcd(EtcdSink { key: etcd::key(text)?, ..sink.clone() })),
            Self::Http(sink) => {
                let url = http::url(&text).map_err(|refusal| refusal.0)?;
                Ok(Self::Http(HttpSink { url, ..sink.clone() }))
            }
            Self::Vault(sink) => {
                let path = vault::path(&text).map_err(|refusal| refusal.0)?;
                Ok(Self::Vault(VaultSink { path, ..sink.clone() }))
            }
        }
    }

    /// Why no password can be read back from it and what to do, where that is so.
    pub(super) fn obstacle_to_reading(&self) -> Option<(&'static str, &'static str)> {
        if self.form() == Some(FileFormat::Template) {
            return Some(("a template has no reverse", "name a sink with another format"));
        }
        if lacks_password(self.fields()) {
            return Some(("its fields do not have the password by itself", "add password = \"NAME\" to its fields"));
        }
        match self {
            Self::File(_) | Self::Etcd(_) | Self::SystemdCredential(_) => None,
            Self::Age(age) => match age.identity {
                Some(_) => None,
                None => Some((
                    "it is encrypted for others",
                    "add identity = { file = \"/path\" } to the sink, the secret key of one of its recipients",
                )),
            },
            Self::Store(_) => None,
            Self::Command(command) => match command.read {
                Some(_) => None,
                None => Some((
                    "it has no program that does so",
                    "add read = [\"/path/to/program\"] to the sink, which prints what argv was given",
                )),
            },
            Self::Vault(_) => None,
            Self::Http(http) => match http.read {
                true => None,
                false => Some((
                    "its receiver does not give back what it stored",
                    "add read = true to the sink, if its receiver answers a GET with what it stored",
                )),
            },
        }
    }
}

/// `kind = "file"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSink {
    /// The file, absolute.
    pub path: PathBuf,
    /// What it looks like.
    pub format: FileFormat,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner, a name or a number.
    pub owner: Option<String>,
    /// Its group, a name or a number.
    pub group: Option<String>,
    /// What the names of [`FileFormat::Env`] begin with.
    pub prefix: Option<String>,
    /// The text of [`FileFormat::Template`].
    pub template: Option<String>,
    /// Which parts of the document it holds, and what each is called.
    pub fields: Option<BTreeMap<String, String>>,
}

impl FileSink {
    fn at(&self, text: &str) -> Result<Self, String> {
        let path = absolute(text).map_err(|refusal| refusal.0)?;
        match path.file_name() {
            Some(name) if name.len() <= FILE_NAME_LIMIT => Ok(Self { path, ..self.clone() }),
            Some(_) => Err(format!("the file's name would be longer than {FILE_NAME_LIMIT} bytes")),
            None => Err("it would not end in a file's name".to_owned()),
        }
    }
}

/// `kind = "command"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSink {
    /// The program's absolute path, then its arguments.
    pub argv: Vec<String>,
    /// What it reads on its standard input.
    pub stdin: SinkInput,
    /// Whether it understands the question "could you take a password?".
    pub check: bool,
    /// Which parts of the document it reads, and what each is called.
    pub fields: Option<BTreeMap<String, String>>,
    /// The program that prints what is stored, and its arguments.
    pub read: Option<Vec<String>>,
    /// The daemon's variables that it inherits.
    pub environment: Vec<String>,
    /// When it is killed.
    pub timeout: Duration,
}

/// Something told after a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hook {
    /// A program that is run.
    Command(CommandHook),
}

/// A hook of `kind = "command"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandHook {
    /// The program's absolute path, then its arguments.
    pub argv: Vec<String>,
    /// The daemon's variables that it inherits.
    pub environment: Vec<String>,
    /// When it is killed.
    pub timeout: Duration,
}

pub(super) fn sink(section: &Section<'_>) -> Option<Sink> {
    match section.text("kind")? {
        "file" => file(section).map(Sink::File),
        kind @ ("tencent-ssm" | "alibaba-kms") => store::parse(section, kind).map(|store| Sink::Store(Box::new(store))),
        "http" => http::parse(section).map(Sink::Http),
        "vault" => vault::parse(section).map(Sink::Vault),
        "command" => {
            let stdins = [("json", SinkInput::Json), ("password", SinkInput::Password)];
            let stdin = section.choice("stdin", &stdins).unwrap_or_default();
            let check = section.flag("check").unwrap_or(false);
            if check && stdin == SinkInput::Password {
                let what = "A bare password cannot ask the program whether it could take one";
                section.refuse("check", refusal(what, "write stdin = \"json\" or remove check"));
            }
            let program = program(section, SINK_TIMEOUT);
            let read = section.has("read").then(|| argv(section, "read"));
            let fields = fields(section, |fields| command::names(fields).map(drop));
            if fields.is_some() && stdin == SinkInput::Password {
                let what = "A bare password has no fields";
                section.refuse("fields", refusal(what, "write stdin = \"json\" or remove fields"));
            }
            if read.is_some() && lacks_password(fields.as_ref()) {
                let what = "What is read back is the bare password, which fields leaves out";
                section.refuse("fields", refusal(what, "add password = \"NAME\" or remove read"));
            }
            Some(Sink::Command(CommandSink {
                argv: program.argv,
                stdin,
                check,
                fields,
                read,
                environment: program.environment,
                timeout: program.timeout,
            }))
        }
        "etcd" => etcd::parse(section).map(Sink::Etcd),
        "age" => sealed::age(section).map(Sink::Age),
        "systemd-credential" => sealed::credential(section).map(Sink::SystemdCredential),
        _ => None,
    }
}

pub(super) fn hook(section: &Section<'_>) -> Option<Hook> {
    match section.text("kind")? {
        "command" => Some(Hook::Command(program(section, HOOK_TIMEOUT))),
        _ => None,
    }
}

pub(super) fn file(section: &Section<'_>) -> Option<FileSink> {
    let path = section.path("path");
    if section.text("path").is_some_and(|text| text.ends_with('/')) {
        section.refuse("path", refusal("This names a folder", "add the file's name"));
    }
    let mode = mode(section);
    let Format { form, prefix, template, fields } = format(section, FileFormat::default())?;
    Some(FileSink {
        path: path?,
        format: form,
        mode: mode?,
        owner: section.text_or_number("owner"),
        group: section.text_or_number("group"),
        prefix,
        template,
        fields,
    })
}

/// The keys `format`, `prefix`, `template` and `fields`.
pub(super) fn format(section: &Section<'_>, usual: FileFormat) -> Option<Format> {
    let formats = [
        ("raw", FileFormat::Raw),
        ("env", FileFormat::Env),
        ("json", FileFormat::Json),
        ("yaml", FileFormat::Yaml),
        ("url", FileFormat::Url),
        ("template", FileFormat::Template),
    ];
    let form = match section.has("format") {
        true => section.choice("format", &formats),
        false => Some(usual),
    };
    for (key, wanted, word) in [("prefix", FileFormat::Env, "env"), ("template", FileFormat::Template, "template")] {
        if section.has(key) && form.is_some_and(|form| form != wanted) {
            let next_step = format!("write format = \"{word}\" or remove {key}");
            section.refuse(key, refusal("This key means nothing with this format", next_step));
        }
    }
    if form == Some(FileFormat::Template) && !section.has("template") {
        let next_step = "add template = \"…\" with {{ password }} in it";
        section.refuse("format", refusal("This format needs a template", next_step));
    }
    let is_flat = form.is_some_and(|form| {
        matches!(form, FileFormat::Env | FileFormat::Json | FileFormat::Yaml) || !section.has("fields")
    });
    if form.is_some() && !is_flat {
        let next_step = "write format = \"env\", \"json\" or \"yaml\", or remove fields";
        section.refuse("fields", refusal("This key means nothing with this format", next_step));
    }
    if section.has("fields") && section.has("prefix") {
        let what = "This key means nothing beside fields, which names whole variables";
        section.refuse("prefix", refusal(what, "remove one of the two"));
    }
    let fields = fields(section, |fields| match form.filter(|_| is_flat) {
        Some(form) => form.names(Some(fields)).map(drop),
        None => Ok(()),
    });
    let prefix = section.parsed("prefix", |text| {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        match plain && !text.starts_with(|first: char| first.is_ascii_digit()) {
            true => Ok(text.to_owned()),
            false => Err(refusal("No variable's name can begin with this", "use letters, digits and _")),
        }
    });
    Some(Format { form: form?, prefix, template: section.text("template").map(str::to_owned), fields })
}

/// The choice of fields and their names, if it makes sense.
fn fields(
    section: &Section<'_>,
    fits: impl Fn(&BTreeMap<String, String>) -> Result<(), Vec<String>>,
) -> Option<BTreeMap<String, String>> {
    let table = section.section("fields")?;
    let named = |key: &str| Some((key.to_owned(), table.text(key)?.to_owned()));
    let fields: BTreeMap<String, String> = table.keys().filter_map(named).collect();
    for what in fits(&fields).err().into_iter().flatten() {
        section.refuse("fields", what);
    }
    Some(fields)
}

fn lacks_password(fields: Option<&BTreeMap<String, String>>) -> bool {
    fields.is_some_and(|fields| !fields.contains_key("password"))
}

fn mode(section: &Section<'_>) -> Option<u32> {
    if !section.has("mode") {
        return Some(FILE_MODE);
    }
    let mode = section.parsed("mode", |text| {
        let octal = text.len() <= 4 && !text.starts_with('+');
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= 0o777);
        mode.ok_or_else(|| refusal("This is not a file mode", "write it in octal, such as \"0640\""))
    })?;
    let (what, next_step) = match mode {
        mode if mode & 0o400 == 0 => ("Not even the file's owner could read it", "add 0400"),
        mode if mode & 0o111 != 0 => ("A password is no program", "leave out the execute bits, such as \"0640\""),
        mode if mode & 0o007 != 0 => {
            ("Everybody on the machine could read the password", "end the mode with 0, and set group")
        }
        _ => return Some(mode),
    };
    section.refuse("mode", refusal(what, next_step));
    None
}

fn program(section: &Section<'_>, usual: Duration) -> CommandHook {
    let argv = argv(section, "argv");
    let environment: Vec<String> = section.texts("environment").into_iter().map(str::to_owned).collect();
    if environment.iter().any(|name| name.is_empty() || name.contains(['=', '\0'])) {
        let what = "These are names of variables that the program inherits, not values";
        section.refuse("environment", refusal(what, "write the names alone, such as [\"LANG\"]"));
    }
    CommandHook { argv, environment, timeout: section.span_up_to("timeout", TIMEOUT_LIMIT).unwrap_or(usual) }
}

/// The address of something that passwords are sent to: https, or plain http to this machine. Nothing of it is repeated, as a token may stand in it.
fn web_address(text: &str) -> Result<Url, Refusal> {
    let whole = "write https://HOST/PATH, or http://127.0.0.1:PORT/PATH for a service on this machine";
    let url = Url::parse(text).map_err(|_| refusal("This is not a URL", whole))?;
    if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
        return Err(refusal("A password is sent by https, or by http to this machine, and nothing else", whole));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let next_step = "use the sink's own keys for credentials, and replace the password if it was real";
        return Err(refusal("There is a user or a password in this URL", next_step));
    }
    if url.fragment().is_some() {
        return Err(refusal("What stands after # is never sent", "leave it out"));
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err(refusal("Plain http would show the password on its way", "write https://"));
    }
    Ok(url)
}

/// A program and its arguments.
fn argv(section: &Section<'_>, key: &str) -> Vec<String> {
    let argv: Vec<String> = section.texts(key).into_iter().map(str::to_owned).collect();
    let nul = argv.iter().any(|argument| argument.contains('\0'));
    if section.has(key) && !argv.first().is_some_and(|first| first.starts_with('/')) {
        let what = "A program is named by its absolute path; no shell looks for it";
        section.refuse(key, refusal(what, format!("write {key} = [\"/path/to/program\", \"argument\"]")));
    }
    if argv.len() > ARGUMENT_LIMIT || nul {
        let what = format!("A program has at most {ARGUMENT_LIMIT} arguments, without NUL characters");
        section.refuse(key, refusal(what, "put the rest into a script"));
    }
    argv
}

/// One spot has one sink: two would overwrite each other, each in its own form.
pub(super) fn refuse_shared_spots(section: &Section<'_>, sinks: &BTreeMap<SinkName, Option<Sink>>) {
    let mut taken: BTreeMap<String, (&SinkName, &Sink)> = BTreeMap::new();
    for (name, entry) in section.entries_as_written() {
        let known = name.parse().ok().and_then(|name: SinkName| sinks.get_key_value(&name));
        let Some((name, Some(sink))) = known else { continue };
        let Some(spot) = sink.spot() else { continue };
        match taken.get(&spot.whole()) {
            Some((other, first)) => {
                let noun = sink.noun();
                let formats = if sink.form() == first.form() { "" } else { ", in another format" };
                let what = format!("The sink {other} writes the same {noun}{formats}");
                entry.refuse(
                    spot.key,
                    refusal(what, format!("give each sink a {noun} of its own, or keep one of them")),
                );
            }
            None => {
                taken.insert(spot.whole(), (name, sink));
            }
        }
    }
}
