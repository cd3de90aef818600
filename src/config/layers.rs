//! The layers of a configuration, later ones winning: the file, `keywheel.d/*.toml` beside it in name order, then variables.
//!
//! The `config` crate merges them, but it is only ever shown the *numbers* of the values. The values stay here, with their types and
//! places: its errors print values and its readers turn `true` into "true".
//!
//! Sections merge key by key. A table below a section (a reference, `login`, `credentials`, `require`, a back-off) is replaced as a whole, so
//! that `{ env = … }` in one layer and `{ file = … }` in the next do not become one reference to two places.

use super::document::{self, Node, Table, Value};
use super::finding::{Finding, Origin, suggestion};
use super::schema;
use super::variables;
use config::{ConfigError, Map, Source, ValueKind};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest file that is read, in bytes: room for some 200 000 targets.
pub const FILE_LIMIT: u64 = 64 * 1024 * 1024;

/// The most files that `keywheel.d` may hold.
pub const FILES_LIMIT: usize = 10_000;

/// The merged tree.
pub struct Merged {
    /// All sections.
    pub table: Table,
    /// The first layer's origin, for what stands nowhere.
    pub whole: Origin,
}

/// Reads and merges all layers.
///
/// # Errors
/// Everything that is not readable, not TOML, or in no known section; then nothing of it is looked at further.
pub fn read(path: &Path, variables: Vec<(OsString, OsString)>) -> Result<Merged, Vec<Finding>> {
    let mut findings = Vec::new();
    let mut files = vec![path.to_owned()];
    match folder_files(path) {
        Ok(more) => files.extend(more),
        Err(finding) => findings.push(finding),
    }
    let mut layers = Vec::new();
    for (layer, file) in files.iter().enumerate() {
        match read_file(file, layer) {
            Ok(table) => layers.push(table),
            Err(found) => findings.extend(found),
        }
    }
    let whole = origin_of(path, 0);
    if !findings.is_empty() {
        return Err(findings);
    }
    for layer in &mut layers {
        refuse_unknown_sections(layer, &mut findings);
    }
    if layers.iter().all(Table::is_empty) && findings.is_empty() {
        return Err(vec![Finding {
            origin: whole,
            key: String::new(),
            what: "The configuration is empty".to_owned(),
            next_step: Some("begin with config/minimal.toml; config/reference.toml explains every key".to_owned()),
        }]);
    }
    layers.push(variables::layer(variables, &layers, files.len(), &mut findings));
    let table = merge(layers, &whole).map_err(|finding| vec![finding])?;
    if findings.is_empty() {
        Ok(Merged { table, whole })
    } else {
        // What is known already goes together with what the rest shows.
        super::check(&table, &whole, &mut findings);
        Err(findings)
    }
}

fn origin_of(path: &Path, layer: usize) -> Origin {
    Origin { layer, line: 0, column: 0, place: Arc::from(path.display().to_string()) }
}

fn folder_files(path: &Path) -> Result<Vec<PathBuf>, Finding> {
    let folder = path.with_file_name("keywheel.d");
    let trouble = |what: String, next_step: &str| Finding {
        origin: origin_of(&folder, 1),
        key: String::new(),
        what,
        next_step: Some(next_step.to_owned()),
    };
    let unreadable = |error: std::io::Error| {
        trouble(
            format!("The folder cannot be read: {}", error.kind()),
            "make it a folder that keywheel's user may read, or remove it",
        )
    };
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.map_err(unreadable)?.path();
        let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && file.extension().is_some_and(|ending| ending == "toml") {
            files.push(file);
        }
        if files.len() > FILES_LIMIT {
            return Err(trouble(
                format!("There are more than {FILES_LIMIT} files"),
                "put several targets into one file",
            ));
        }
    }
    files.sort();
    Ok(files)
}

fn read_file(path: &Path, layer: usize) -> Result<Table, Vec<Finding>> {
    let whole = origin_of(path, layer);
    let refuse = |origin: Origin, what: String, next_step: &str| {
        Err(vec![Finding { origin, key: String::new(), what, next_step: Some(next_step.to_owned()) }])
    };
    let bytes = match bounded_bytes(path) {
        Ok(bytes) => bytes,
        Err(Unreadable::NotAFile) => {
            return refuse(whole, "This is not a file".to_owned(), "name the TOML file itself");
        }
        Err(Unreadable::TooLarge) => {
            let limit = FILE_LIMIT / 1024 / 1024;
            return refuse(
                whole,
                format!("The file is larger than {limit} MiB"),
                "check that it is the configuration; targets can be spread over keywheel.d/*.toml",
            );
        }
        Err(Unreadable::Io(ErrorKind::NotFound)) => {
            return refuse(
                whole,
                "There is no such file".to_owned(),
                "write it (config/minimal.toml is the smallest) or name another with --config FILE",
            );
        }
        Err(Unreadable::Io(kind)) => {
            return refuse(whole, format!("The file cannot be read: {kind}"), "let keywheel's user read it");
        }
    };
    match std::str::from_utf8(&bytes) {
        Ok(text) => document::parse(text, &whole.place, layer),
        Err(error) => {
            let good = &bytes[..error.valid_up_to()];
            let start = good.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            let origin = Origin {
                line: good.iter().filter(|&&byte| byte == b'\n').count() + 1,
                column: String::from_utf8_lossy(&good[start..]).chars().count() + 1,
                ..whole
            };
            refuse(origin, "This is not UTF-8".to_owned(), "save the file as UTF-8")
        }
    }
}

enum Unreadable {
    NotAFile,
    TooLarge,
    Io(ErrorKind),
}

fn bounded_bytes(path: &Path) -> Result<Vec<u8>, Unreadable> {
    let io = |error: std::io::Error| Unreadable::Io(error.kind());
    // Looked at before it is opened: opening a pipe would wait for its writer.
    let about = std::fs::metadata(path).map_err(io)?;
    if !about.is_file() {
        return Err(Unreadable::NotAFile);
    }
    if about.len() > FILE_LIMIT {
        return Err(Unreadable::TooLarge);
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(io)?;
    file.take(FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(Unreadable::TooLarge);
    }
    Ok(bytes)
}

/// Takes out the sections nobody knows. They must not reach the `config` crate, which would read `a.b` in a section's name as a path.
fn refuse_unknown_sections(layer: &mut Table, findings: &mut Vec<Finding>) {
    let names: Vec<&str> = schema::SECTIONS.iter().map(|section| section.name).collect();
    layer.retain(|name, node| {
        if names.contains(&name.as_str()) {
            return true;
        }
        findings.push(Finding {
            origin: node.origin.clone(),
            key: super::reading::shown(name),
            what: "There is no such section".to_owned(),
            next_step: Some(suggestion(name, &names, "")),
        });
        false
    });
}

fn merge(layers: Vec<Table>, whole: &Origin) -> Result<Table, Finding> {
    let mut held = Held::default();
    let mut builder = config::Config::builder();
    for layer in layers {
        builder = builder.add_source(held.numbered(layer));
    }
    let merged = builder.build().map_err(|_| Finding {
        origin: whole.clone(),
        key: String::new(),
        what: "The layers cannot be merged".to_owned(),
        next_step: Some("report this with the names of the sections in each file".to_owned()),
    })?;
    Ok(held.table(merged.cache.kind, &mut Vec::new(), whole))
}

/// The values of all layers by number, and where each section was first opened.
#[derive(Default)]
struct Held {
    values: Vec<Option<Node>>,
    sections: BTreeMap<Vec<String>, Origin>,
}

impl Held {
    fn numbered(&mut self, layer: Table) -> Numbered {
        let sections = layer.into_iter().map(|(name, node)| {
            let depth = match schema::section(&name).map(|section| section.named.is_some()) {
                Some(true) => 2,
                Some(false) | None => 1,
            };
            let value = self.number(node, depth, &mut vec![name.clone()]);
            (name, value)
        });
        Numbered(sections.collect())
    }

    /// A section down to `depth` levels of keys stays a table; everything below or beside is one value.
    fn number(&mut self, node: Node, depth: usize, path: &mut Vec<String>) -> config::Value {
        match node.value {
            Value::Table(table) if depth > 0 => {
                self.sections.entry(path.clone()).or_insert(node.origin);
                let mut keys = Map::new();
                for (key, inner) in table {
                    path.push(key.clone());
                    let value = self.number(inner, depth - 1, path);
                    path.pop();
                    keys.insert(key, value);
                }
                config::Value::new(None, ValueKind::Table(keys))
            }
            value @ (Value::Text(_)
            | Value::Number(_)
            | Value::Flag(_)
            | Value::Other(_)
            | Value::List(_)
            | Value::Table(_)) => {
                self.values.push(Some(Node { origin: node.origin, value }));
                config::Value::new(None, ValueKind::U64(self.values.len() as u64 - 1))
            }
        }
    }

    fn table(&mut self, merged: ValueKind, path: &mut Vec<String>, whole: &Origin) -> Table {
        let ValueKind::Table(keys) = merged else {
            return Table::new();
        };
        let mut table = Table::new();
        for (key, value) in keys {
            path.push(key.clone());
            let node = if let ValueKind::U64(number) = value.kind {
                usize::try_from(number).ok().and_then(|number| self.values.get_mut(number)?.take())
            } else {
                Some(Node {
                    origin: self.sections.get(path).unwrap_or(whole).clone(),
                    value: Value::Table(self.table(value.kind, path, whole)),
                })
            };
            path.pop();
            table.extend(node.map(|node| (key, node)));
        }
        table
    }
}

/// One layer as the `config` crate sees it.
#[derive(Debug, Clone)]
struct Numbered(Map<String, config::Value>);

impl Source for Numbered {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, config::Value>, ConfigError> {
        Ok(self.0.clone())
    }
}
