//! One TOML text as a tree in which every key knows where it was written.

use super::finding::{Finding, Origin};
use std::collections::BTreeMap;
use std::sync::Arc;
use toml::de::{DeTable, DeValue};

/// How many syntax errors of one file are told: the first ones cause the others.
const SYNTAX_ERRORS_LIMIT: usize = 5;

/// The keys of a table. No `Debug`: a value may be a secret in the wrong place.
pub type Table = BTreeMap<String, Node>;

/// A value and where its key stands.
#[derive(Clone)]
pub struct Node {
    /// Of the key; of the value itself inside a list.
    pub origin: Origin,
    /// What it holds.
    pub value: Value,
}

/// What a key can hold.
#[derive(Clone)]
pub enum Value {
    /// A text in quotes.
    Text(String),
    /// A whole number within 64 bits.
    Number(i64),
    /// `true` or `false`.
    Flag(bool),
    /// Something no key of ours wants: a fraction, a date, a number beyond 64 bits.
    Other(&'static str),
    /// `[…]`
    List(Vec<Node>),
    /// `{…}` or a section.
    Table(Table),
}

impl Value {
    /// The type with its article, for a sentence. Never the value.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Number(_) => "a number",
            Self::Flag(_) => "true or false",
            Self::Other(kind) => kind,
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Reads one file's text.
///
/// # Errors
/// Syntax errors in our own words: the parser's report would print the line.
pub fn parse(text: &str, place: &Arc<str>, layer: usize) -> Result<Table, Vec<Finding>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = Lines::of(text, place, layer);
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(table(document.get_ref(), &lines));
    }
    let mut findings: Vec<Finding> = Vec::new();
    for error in errors {
        let origin = lines.origin(error.span().map_or(0, |span| span.start));
        if findings.last().is_none_or(|last| last.origin.line != origin.line) {
            findings.push(syntax(origin, error.message()));
        }
    }
    findings.truncate(SYNTAX_ERRORS_LIMIT);
    Err(findings)
}

/// A value written in a variable, such as `["a", "b"]` or `{ file = "/p" }`; `None` when it is not TOML.
pub fn parse_value(text: &str, origin: &Origin) -> Option<Value> {
    let parsed = DeValue::parse(text).ok()?;
    Some(value(parsed.get_ref(), &Lines::flat(origin)))
}

/// The parser's message names what it expected and the types it met, never what is written there.
fn syntax(origin: Origin, message: &str) -> Finding {
    let (what, next_step) = match message {
        "duplicate key" => ("This key stands twice in its table".to_owned(), "keep one of them".to_owned()),
        other => (
            format!("This is not TOML: {other}"),
            "correct the line; texts stand in \"quotes\", tables in [brackets]".to_owned(),
        ),
    };
    Finding { origin, key: String::new(), what, next_step: Some(next_step) }
}

fn table(from: &DeTable<'_>, lines: &Lines<'_>) -> Table {
    from.iter()
        .map(|(key, held)| {
            let node = Node { origin: lines.origin(key.span().start), value: value(held.get_ref(), lines) };
            (key.get_ref().to_string(), node)
        })
        .collect()
}

fn value(from: &DeValue<'_>, lines: &Lines<'_>) -> Value {
    match from {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Number(number),
            Err(_) => Value::Other("a number beyond 64 bits"),
        },
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(items) => Value::List(
            items
                .iter()
                .map(|item| Node { origin: lines.origin(item.span().start), value: value(item.get_ref(), lines) })
                .collect(),
        ),
        DeValue::Table(inner) => Value::Table(table(inner, lines)),
    }
}

/// Where the lines of a text begin.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
    whole: Origin,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str, place: &Arc<str>, layer: usize) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
        Self { text, starts: starts.collect(), whole: Origin { layer, line: 0, column: 0, place: place.clone() } }
    }

    /// No lines: everything stands at one place.
    fn flat(origin: &Origin) -> Lines<'static> {
        Lines { text: "", starts: Vec::new(), whole: origin.clone() }
    }

    fn origin(&self, at: usize) -> Origin {
        let line = self.starts.partition_point(|&start| start <= at);
        let Some(&start) = line.checked_sub(1).and_then(|index| self.starts.get(index)) else {
            return self.whole.clone();
        };
        let before = self.text.get(start..at).unwrap_or_default();
        Origin { line, column: before.chars().count() + 1, ..self.whole.clone() }
    }
}
