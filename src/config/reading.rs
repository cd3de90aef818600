//! Reading one table of the merged tree: each reader gives the checked thing, or puts down a finding and gives nothing.
//!
//! Unknown keys, missing keys and wrong types were found by [`super::shape`]; here such a value is simply not there.

use super::document::{Node, Table, Value};
use super::finding::{Finding, Origin, suggestion};
use crate::moment::{parse_span, show_span};
use crate::name::NAME_LIMIT;
use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest path, text or URL that is read, in bytes.
pub const TEXT_LIMIT: usize = 64 * 1024;

/// Where findings and warnings are put down.
#[derive(Default)]
pub struct Report {
    /// What makes the configuration unusable.
    pub findings: RefCell<Vec<Finding>>,
    /// What is worth knowing.
    pub warnings: RefCell<Vec<Finding>>,
}

/// Why a value is refused: a sentence without its full stop, and advice where the sentence holds none.
pub struct Refusal(pub String, pub Option<String>);

impl From<String> for Refusal {
    fn from(sentence: String) -> Self {
        Self(sentence, None)
    }
}

/// A refusal with its advice.
pub fn refusal(what: impl Into<String>, next_step: impl Into<String>) -> Refusal {
    Refusal(what.into(), Some(next_step.into()))
}

/// One table with its path.
pub struct Section<'a> {
    /// `targets.orders-cache`
    pub path: String,
    /// Where the table begins.
    pub origin: &'a Origin,
    table: &'a Table,
    report: &'a Report,
}

/// A key as it may be shown: what could not be a bare key may be anything.
pub fn shown(key: &str) -> String {
    let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if plain && !key.is_empty() && key.len() <= NAME_LIMIT { key.to_owned() } else { "\"…\"".to_owned() }
}

impl<'a> Section<'a> {
    /// The table of a node; `None` where it is something else.
    pub fn of(path: String, node: &'a Node, report: &'a Report) -> Option<Self> {
        match &node.value {
            Value::Table(table) => Some(Self { path, origin: &node.origin, table, report }),
            Value::Text(_) | Value::Number(_) | Value::Flag(_) | Value::Other(_) | Value::List(_) => None,
        }
    }

    /// What it holds.
    pub fn table(&self) -> &'a Table {
        self.table
    }

    /// Its keys, whatever they hold.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.table.keys().map(String::as_str)
    }

    /// The named tables below this one.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, Section<'a>)> {
        let (path, report) = (self.path.clone(), self.report);
        self.table.iter().filter_map(move |(name, node)| {
            let section = Section::of(format!("{path}.{}", shown(name)), node, report)?;
            Some((name.as_str(), section))
        })
    }

    /// The same in the order of the layers and lines, so that of two that exclude each other the later one is blamed.
    pub fn entries_as_written(&self) -> Vec<(&'a str, Section<'a>)> {
        let mut entries: Vec<_> = self.entries().collect();
        entries.sort_by(|(_, one), (_, other)| one.origin.cmp(other.origin));
        entries
    }

    /// Puts down a finding at a key, or at the table where the key is not there.
    pub fn refuse(&self, key: &str, refusal: impl Into<Refusal>) {
        let finding = self.finding(key, refusal.into());
        self.report.findings.borrow_mut().push(finding);
    }

    /// Puts down a warning.
    pub fn warn(&self, key: &str, refusal: impl Into<Refusal>) {
        let finding = self.finding(key, refusal.into());
        self.report.warnings.borrow_mut().push(finding);
    }

    /// Puts down a finding of another reading of the same text.
    pub fn pass_on(&self, finding: Finding) {
        self.report.findings.borrow_mut().push(finding);
    }

    /// Puts down a warning of another reading of the same text.
    pub fn pass_on_warning(&self, warning: Finding) {
        self.report.warnings.borrow_mut().push(warning);
    }

    fn finding(&self, key: &str, Refusal(what, next_step): Refusal) -> Finding {
        Finding {
            origin: self.origin_of(key).clone(),
            key: match key {
                "" => self.path.clone(),
                key => format!("{}.{key}", self.path),
            },
            what: capital(&what),
            next_step,
        }
    }

    fn origin_of(&self, key: &str) -> &Origin {
        self.table.get(key).map_or(self.origin, |node| &node.origin)
    }

    /// Whether the key is there, of whatever type.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The table at a key.
    pub fn section(&self, key: &str) -> Option<Section<'a>> {
        Section::of(format!("{}.{key}", self.path), self.table.get(key)?, self.report)
    }

    /// A text as it is.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        match &self.table.get(key)?.value {
            Value::Text(text) if text.len() > TEXT_LIMIT => {
                self.refuse(key, refusal(format!("This is longer than {TEXT_LIMIT} bytes"), "shorten it"));
                None
            }
            Value::Text(text) => Some(text),
            Value::Number(_) | Value::Flag(_) | Value::Other(_) | Value::List(_) | Value::Table(_) => None,
        }
    }

    /// A text, parsed.
    pub fn parsed<T>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, Refusal>) -> Option<T> {
        parse(self.text(key)?).map_err(|refusal| self.refuse(key, refusal)).ok()
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        self.parsed(key, |text| {
            let found = choices.iter().find(|(word, _)| *word == text);
            found.map(|(_, meaning)| *meaning).ok_or_else(|| {
                let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
                refusal("This is none of the words that may stand here", suggestion(text, &words, ""))
            })
        })
    }

    /// A duration above zero.
    pub fn span(&self, key: &str) -> Option<Duration> {
        let span = self.span_or_zero(key)?;
        if span.is_zero() {
            self.refuse(
                key,
                refusal("A duration of zero makes no sense here", "write one such as 90s, 20m, 2h or 30d"),
            );
            return None;
        }
        Some(span)
    }

    /// A duration, zero among them.
    pub fn span_or_zero(&self, key: &str) -> Option<Duration> {
        self.parsed(key, |text| {
            parse_span(text).map_err(|_| {
                refusal("This is not a duration", "write a number with a unit, such as 90s, 20m, 2h or 30d")
            })
        })
    }

    /// A duration above zero and not above a limit.
    pub fn span_up_to(&self, key: &str, limit: Duration) -> Option<Duration> {
        let span = self.span(key)?;
        if span > limit {
            let limit = show_span(limit);
            self.refuse(key, refusal("This duration is too long", format!("write {limit} or less")));
            return None;
        }
        Some(span)
    }

    /// A whole number within a range.
    pub fn number(&self, key: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let Value::Number(number) = self.table.get(key)?.value else {
            return None;
        };
        let within = u32::try_from(number).ok().filter(|number| range.contains(number));
        if within.is_none() {
            let next_step = format!("write a number from {} to {}", range.start(), range.end());
            self.refuse(key, refusal("This number cannot be used here", next_step));
        }
        within
    }

    /// True or false.
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.table.get(key)?.value {
            Value::Flag(flag) => Some(flag),
            Value::Text(_) | Value::Number(_) | Value::Other(_) | Value::List(_) | Value::Table(_) => None,
        }
    }

    /// A text or a number, the number as its digits.
    pub fn text_or_number(&self, key: &str) -> Option<String> {
        match self.table.get(key)?.value {
            Value::Number(number) => Some(number.to_string()),
            Value::Text(_) | Value::Flag(_) | Value::Other(_) | Value::List(_) | Value::Table(_) => {
                self.text(key).map(str::to_owned)
            }
        }
    }

    /// A list of texts; empty where the key is not there.
    pub fn texts(&self, key: &str) -> Vec<&'a str> {
        let Some(Value::List(items)) = self.table.get(key).map(|node| &node.value) else {
            return Vec::new();
        };
        let texts = items.iter().filter_map(|item| match &item.value {
            Value::Text(text) => Some(text.as_str()),
            Value::Number(_) | Value::Flag(_) | Value::Other(_) | Value::List(_) | Value::Table(_) => None,
        });
        texts.collect()
    }

    /// An absolute path.
    pub fn path(&self, key: &str) -> Option<PathBuf> {
        self.parsed(key, absolute)
    }
}

/// An absolute path without `..`.
pub fn absolute(text: &str) -> Result<PathBuf, Refusal> {
    let path = Path::new(text);
    let climbs = path.components().any(|part| part == std::path::Component::ParentDir);
    if !path.is_absolute() || climbs || text.contains('\0') {
        return Err(refusal("This is not an absolute path", "begin with / and leave out .."));
    }
    Ok(path.components().collect())
}

fn capital(sentence: &str) -> String {
    let mut characters = sentence.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}
