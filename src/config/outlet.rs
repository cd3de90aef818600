//! `[sinks.NAME]` and `[hooks.NAME]`: who receives a password and who is told.

use super::reading::{Section, refusal};
use crate::name::SinkName;
use crate::sink::command::{self, Input as SinkInput};
use crate::sink::file::Format as FileFormat;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

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

/// A place that receives passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// A file that always holds one target's current password.
    File(FileSink),
    /// A program that stores passwords.
    Command(CommandSink),
}

impl Sink {
    /// Why no password can be read back from it and what to do, where that is so.
    pub(super) fn obstacle_to_reading(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::File(file) => match file.format {
                FileFormat::Template => Some(("a template has no reverse", "name a sink with another format")),
                FileFormat::Env | FileFormat::Json | FileFormat::Yaml if lacks_password(file.fields.as_ref()) => {
                    Some(("its fields do not have the password by itself", "add password = \"NAME\" to its fields"))
                }
                FileFormat::Raw | FileFormat::Env | FileFormat::Json | FileFormat::Yaml | FileFormat::Url => None,
            },
            Self::Command(command) => match command.read {
                Some(_) => None,
                None => Some((
                    "it has no program that does so",
                    "add read = [\"/path/to/program\"] to the sink, which prints what argv was given",
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
        _ => None,
    }
}

pub(super) fn hook(section: &Section<'_>) -> Option<Hook> {
    match section.text("kind")? {
        "command" => Some(Hook::Command(program(section, HOOK_TIMEOUT))),
        _ => None,
    }
}

fn file(section: &Section<'_>) -> Option<FileSink> {
    let path = section.path("path");
    if section.text("path").is_some_and(|text| text.ends_with('/')) {
        section.refuse("path", refusal("This names a folder", "add the file's name"));
    }
    let formats = [
        ("raw", FileFormat::Raw),
        ("env", FileFormat::Env),
        ("json", FileFormat::Json),
        ("yaml", FileFormat::Yaml),
        ("url", FileFormat::Url),
        ("template", FileFormat::Template),
    ];
    let format = match section.has("format") {
        true => section.choice("format", &formats),
        false => Some(FileFormat::default()),
    };
    let mode = mode(section);
    for (key, wanted, word) in [("prefix", FileFormat::Env, "env"), ("template", FileFormat::Template, "template")] {
        if section.has(key) && format.is_some_and(|format| format != wanted) {
            let next_step = format!("write format = \"{word}\" or remove {key}");
            section.refuse(key, refusal("This key means nothing with this format", next_step));
        }
    }
    if format == Some(FileFormat::Template) && !section.has("template") {
        let next_step = "add template = \"…\" with {{ password }} in it";
        section.refuse("format", refusal("This format needs a template", next_step));
    }
    let is_flat = format.is_some_and(|format| {
        matches!(format, FileFormat::Env | FileFormat::Json | FileFormat::Yaml) || !section.has("fields")
    });
    if format.is_some() && !is_flat {
        let next_step = "write format = \"env\", \"json\" or \"yaml\", or remove fields";
        section.refuse("fields", refusal("This key means nothing with this format", next_step));
    }
    if section.has("fields") && section.has("prefix") {
        let what = "This key means nothing beside fields, which names whole variables";
        section.refuse("prefix", refusal(what, "remove one of the two"));
    }
    let fields = fields(section, |fields| match format.filter(|_| is_flat) {
        Some(format) => format.names(Some(fields)).map(drop),
        None => Ok(()),
    });
    let prefix = section.parsed("prefix", |text| {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        match plain && !text.starts_with(|first: char| first.is_ascii_digit()) {
            true => Ok(text.to_owned()),
            false => Err(refusal("No variable's name can begin with this", "use letters, digits and _")),
        }
    });
    Some(FileSink {
        path: path?,
        format: format?,
        mode: mode?,
        owner: section.text_or_number("owner"),
        group: section.text_or_number("group"),
        prefix,
        template: section.text("template").map(str::to_owned),
        fields,
    })
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

/// One file has one sink: two would overwrite each other, each in its own format.
pub(super) fn refuse_shared_files(section: &Section<'_>, sinks: &BTreeMap<SinkName, Option<Sink>>) {
    let mut taken: BTreeMap<&PathBuf, (&SinkName, FileFormat)> = BTreeMap::new();
    for (name, entry) in section.entries_as_written() {
        let known = name.parse().ok().and_then(|name: SinkName| sinks.get_key_value(&name));
        let Some((name, Some(Sink::File(file)))) = known else {
            continue;
        };
        match taken.get(&file.path) {
            Some((other, format)) => {
                let formats = if *format == file.format { "" } else { ", in another format" };
                let what = format!("The sink {other} writes the same file{formats}");
                entry.refuse("path", refusal(what, "give each sink a file of its own, or keep one of them"));
            }
            None => {
                taken.insert(&file.path, (name, file.format));
            }
        }
    }
}
