//! `kind = "file"` in `[sinks.NAME]`, and what other kinds share with it: how a file is kept and what is in it.

use crate::config::reading::{Section, absolute, refusal};
use crate::sink::file::{FILE_NAME_LIMIT, Format as FileFormat};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The mode of a file unless said otherwise: its owner alone.
const FILE_MODE: u32 = 0o600;

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
    pub(super) fn at(&self, text: &str) -> Result<Self, String> {
        let path = absolute(text).map_err(|refusal| refusal.0)?;
        match path.file_name() {
            Some(name) if name.len() <= FILE_NAME_LIMIT => Ok(Self { path, ..self.clone() }),
            Some(_) => Err(format!("the file's name would be longer than {FILE_NAME_LIMIT} bytes")),
            None => Err("it would not end in a file's name".to_owned()),
        }
    }
}

pub(in crate::config) fn file(section: &Section<'_>) -> Option<FileSink> {
    let path = section.path("path");
    let mode = mode(section);
    let Format { form, prefix, template, fields } = match section.text("kind") {
        Some("file") => format_among(section, FileFormat::default(), &FORMATS)?,
        _ => format(section, FileFormat::default())?,
    };
    if section.text("path").is_some_and(|text| text.ends_with('/')) && form != FileFormat::Directory {
        section.refuse("path", refusal("This names a folder", "add the file's name, or write format = \"directory\""));
    }
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

/// The words for a form; the last is for a file sink alone, since nothing else is a folder.
const FORMATS: [(&str, FileFormat); 7] = [
    ("raw", FileFormat::Raw),
    ("env", FileFormat::Env),
    ("json", FileFormat::Json),
    ("yaml", FileFormat::Yaml),
    ("url", FileFormat::Url),
    ("template", FileFormat::Template),
    ("directory", FileFormat::Directory),
];

/// The keys `format`, `prefix`, `template` and `fields`.
pub(in crate::config) fn format(section: &Section<'_>, usual: FileFormat) -> Option<Format> {
    format_among(section, usual, &FORMATS[..FORMATS.len() - 1])
}

fn format_among(section: &Section<'_>, usual: FileFormat, formats: &[(&str, FileFormat)]) -> Option<Format> {
    let form = match section.has("format") {
        true => section.choice("format", formats),
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
        matches!(form, FileFormat::Env | FileFormat::Json | FileFormat::Yaml | FileFormat::Directory)
            || !section.has("fields")
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
pub(super) fn fields(
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

pub(super) fn lacks_password(fields: Option<&BTreeMap<String, String>>) -> bool {
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
