//! The last layer: variables such as `KEYWHEEL__DAEMON__LEDGER`.
//!
//! A shell cannot export a name with a dash or a dot, so these and the underscore count as the same, and capitals as small letters:
//! `KEYWHEEL__TARGETS__ORDERS_CACHE__MAX_AGE` sets `max-age` of the target `orders-cache`. A variable changes what the files name; it opens no
//! new provider or target. A variable is a text: where the key holds a number or a flag it must be exactly that, where it holds a list or a
//! table it is written as in TOML.

use super::document::{self, Node, Table, Value};
use super::finding::{Finding, Origin, suggestion};
use super::reading::shown;
use super::schema::{self, Key, Shape};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::Arc;

/// What the names of all these variables begin with.
pub const PREFIX: &str = "KEYWHEEL__";

/// The longest value, in bytes.
pub const VALUE_LIMIT: usize = 64 * 1024;

/// The variables as a layer over these files.
pub fn layer(
    variables: Vec<(OsString, OsString)>,
    files: &[Table],
    number: usize,
    findings: &mut Vec<Finding>,
) -> Table {
    let mut names: Vec<(String, OsString)> = variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    names.sort();
    let mut layer = Table::new();
    for (name, value) in names {
        let origin = Origin { layer: number, line: 0, column: 0, place: Arc::from(name.as_str()) };
        match understood(&name[PREFIX.len()..], value, files, &origin) {
            Ok((path, value)) => {
                if !put(&mut layer, &path, value, &origin) {
                    findings.push(finding(
                        &origin,
                        &path,
                        "Another variable sets the same key or the table around it".to_owned(),
                        "keep one of them",
                    ));
                }
            }
            Err(found) => findings.push(found),
        }
    }
    layer
}

fn finding(origin: &Origin, path: &[String], what: String, next_step: impl Into<String>) -> Finding {
    Finding { origin: origin.clone(), key: path.join("."), what, next_step: Some(next_step.into()) }
}

fn folded(name: &str) -> String {
    name.to_lowercase().replace(['-', '.'], "_")
}

fn understood(rest: &str, value: OsString, files: &[Table], origin: &Origin) -> Result<(Vec<String>, Value), Finding> {
    let mut parts = rest.split("__");
    let mut path = Vec::new();
    let names: Vec<&str> = schema::SECTIONS.iter().map(|section| section.name).collect();
    let written = parts.next().unwrap_or_default();
    let section = schema::SECTIONS.iter().find(|section| folded(section.name) == folded(written)).ok_or_else(|| {
        let next_step = suggestion(written, &names, "");
        finding(origin, &path, "No section has this name".to_owned(), next_step)
    })?;
    path.push(section.name.to_owned());
    if let Some(noun) = section.named {
        path.push(entry(parts.next().unwrap_or_default(), section.name, noun, files, origin)?);
    }
    let mut shape = &section.shape;
    for part in parts {
        let keys = shape.keys();
        let tag = shape.tag().filter(|tag| folded(tag) == folded(part));
        let key = keys.iter().find(|key| folded(key.name) == folded(part));
        match (tag, key) {
            (Some(tag), _) => {
                path.push(tag.to_owned());
                shape = &Shape::Text;
            }
            (None, Some(key)) => {
                path.push(key.name.to_owned());
                shape = &key.shape;
            }
            (None, None) => {
                let names: Vec<&str> = keys.iter().map(|key| key.name).chain(shape.tag()).collect();
                let next_step = suggestion(part, &names, "shorten the variable's name: this key holds no others");
                return Err(finding(origin, &path, "No key has this name".to_owned(), next_step));
            }
        }
    }
    if path.len() <= 1 + usize::from(section.named.is_some()) {
        let next_step = format!("add a key to the variable's name, such as {PREFIX}{rest}__KEY");
        return Err(finding(origin, &path, "A variable sets one key, not a section".to_owned(), next_step));
    }
    let value = typed(value, shape, origin).map_err(|(what, next_step)| finding(origin, &path, what, next_step))?;
    Ok((path, value))
}

/// The name in the files that this part of a variable's name means.
fn entry(written: &str, section: &str, noun: &str, files: &[Table], origin: &Origin) -> Result<String, Finding> {
    let mut known = BTreeSet::new();
    for file in files {
        if let Some(Value::Table(entries)) = file.get(section).map(|node| &node.value) {
            known.extend(entries.keys().map(String::as_str));
        }
    }
    let path = [section.to_owned()];
    let mut meant = known.iter().filter(|name| folded(name) == folded(written));
    match (meant.next(), meant.next()) {
        (Some(name), None) => Ok((*name).to_owned()),
        (Some(one), Some(other)) => Err(finding(
            origin,
            &path,
            format!("It can mean {} or {}", shown(one), shown(other)),
            "set the key in a file instead",
        )),
        (None, _) => {
            let known: Vec<String> = known.into_iter().map(shown).collect();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            Err(finding(
                origin,
                &path,
                format!("No {noun} in the files has this name"),
                suggestion(written, &known, "name it in a file first"),
            ))
        }
    }
}

/// The text as what the key holds: nothing is guessed.
fn typed(value: OsString, shape: &Shape, origin: &Origin) -> Result<Value, (String, String)> {
    let Ok(text) = value.into_string() else {
        return Err(("The variable's value is not UTF-8".to_owned(), "correct it".to_owned()));
    };
    if text.len() > VALUE_LIMIT {
        return Err((
            format!("The variable's value is longer than {VALUE_LIMIT} bytes"),
            "set the key in a file instead".to_owned(),
        ));
    }
    let as_toml = |wanted: &str, example: &str| match document::parse_value(text.trim(), origin) {
        Some(value @ (Value::List(_) | Value::Table(_))) => Ok(value),
        Some(Value::Text(_) | Value::Number(_) | Value::Flag(_) | Value::Other(_)) | None => {
            Err((format!("The variable's value is not {wanted}"), format!("write it as in TOML, such as {example}")))
        }
    };
    match shape {
        Shape::Text | Shape::TextOrNumber => Ok(Value::Text(text)),
        Shape::Number => match text.parse() {
            Ok(number) => Ok(Value::Number(number)),
            Err(_) => Err((
                "The variable's value is not a whole number".to_owned(),
                "write digits and nothing else".to_owned(),
            )),
        },
        Shape::Flag => match text.as_str() {
            "true" => Ok(Value::Flag(true)),
            "false" => Ok(Value::Flag(false)),
            _ => Err((
                "The variable's value is neither true nor false".to_owned(),
                "write one of the two words".to_owned(),
            )),
        },
        Shape::List => as_toml("a list", "[\"a\", \"b\"]"),
        Shape::Reference | Shape::PasswordReference => as_toml("a reference", "{ file = \"/path\" }"),
        Shape::Texts => as_toml("a table", "{ KEY = \"VALUE\" }"),
        Shape::References => as_toml("a table", "{ NAME = { file = \"/path\" } }"),
        Shape::Table(keys) => as_toml("a table", &table_example(keys)),
        Shape::Kinds(kinds) => as_toml("a table", &format!("{{ {} = … }}", kinds.tag)),
        Shape::TextOrTable(keys) if text.trim_start().starts_with('{') => as_toml("a table", &table_example(keys)),
        Shape::TextOrTable(_) => Ok(Value::Text(text)),
    }
}

fn table_example(keys: &[Key]) -> String {
    let first = keys.first().map(|key| format!("{} = {}", key.name, key.example));
    format!("{{ {} }}", first.unwrap_or_default())
}

/// Puts the value at its path; `false` where something stands in the way.
fn put(table: &mut Table, path: &[String], value: Value, origin: &Origin) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return false;
    };
    if rest.is_empty() {
        let node = Node { origin: origin.clone(), value };
        return table.insert(first.clone(), node).is_none();
    }
    let node = table
        .entry(first.clone())
        .or_insert_with(|| Node { origin: origin.clone(), value: Value::Table(Table::new()) });
    match &mut node.value {
        Value::Table(inner) => put(inner, rest, value, origin),
        Value::Text(_) | Value::Number(_) | Value::Flag(_) | Value::Other(_) | Value::List(_) => false,
    }
}
