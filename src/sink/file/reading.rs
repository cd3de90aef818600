//! The password out of a file, the inverse of [`Layout::render`].
//!
//! Strict on purpose: of each format it takes what keywheel writes and what every reader of that format takes in the same way. Where readers
//! would differ, a guess could take a wrong password in, so the file is refused with its line.

use super::format::Layout;
use crate::fault::{Fault, Kind};
use crate::secret::Secret;
use crate::sink::Held;
use crate::sink::fields::{Found, Names, as_key, picked};
use percent_encoding::percent_decode_str;
use std::collections::BTreeMap;
use zeroize::{Zeroize, Zeroizing};

/// Why no password can be made out, as the end of a sentence about the file. Never holds a part of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Illegible(pub String);

pub type Legible<T> = Result<T, Illegible>;

/// The password in a file of this layout, as clients send it.
///
/// # Errors
/// Where there is none or it is written in another way.
pub fn password(layout: &Layout, text: &str) -> Legible<Secret> {
    let mut found = match layout {
        Layout::Raw => Zeroizing::new(without_line_end(text).to_owned()),
        Layout::Env { prefix, names } if !names.are_chosen() => from_env(text, &format!("{prefix}PASSWORD"))?,
        Layout::Env { names, .. } => from_env(text, known_as(names)?)?,
        Layout::Json(names) => from_json(text, known_as(names)?)?,
        Layout::Yaml(names) => from_yaml(text, known_as(names)?)?,
        Layout::Url => from_url(without_line_end(text))?,
        Layout::Template(_) => return illegible("is made by a template, which cannot be read backwards"),
        Layout::Directory(_) => return illegible("is a folder"),
    };
    if found.is_empty() {
        return illegible("holds an empty password");
    }
    Ok(Secret::new(std::mem::take(&mut *found)))
}

/// What the password is called there.
fn known_as(names: &Names) -> Legible<&str> {
    names.of("password").map_or_else(|| illegible("does not hold what clients send by itself"), Ok)
}

/// The same for what stands at a place, which is named.
///
/// # Errors
/// `SecretUnreadable`.
pub fn held(layout: &Layout, content: &[u8], place: &str) -> Result<Held, Fault> {
    let found = match std::str::from_utf8(content) {
        Ok(text) => password(layout, text),
        Err(_) => illegible("does not hold UTF-8 text"),
    };
    found.map(Held::AsSent).map_err(|Illegible(why)| {
        Fault::new(Kind::SecretUnreadable, format!("{place} {why}"))
            .advise("correct what is there, or give the password in another way: `keywheel adopt TARGET`")
    })
}

/// Names and values in order; `None` where there is a name and no value.
pub type Values<'a> = Vec<(&'a str, Option<Zeroizing<String>>)>;

/// That it is not.
pub fn illegible<T>(why: impl Into<String>) -> Legible<T> {
    Err(Illegible(why.into()))
}

/// Without what a person's editor adds.
pub fn without_line_end(text: &str) -> &str {
    let line = text.strip_suffix('\n').unwrap_or(text);
    line.strip_suffix('\r').unwrap_or(line)
}

fn from_env(text: &str, key: &str) -> Legible<Zeroizing<String>> {
    let mut found = None;
    for (name, value) in env_values(text)? {
        if name == key && found.replace(value).is_some() {
            return illegible(format!("sets {key} twice"));
        }
    }
    found.flatten().map_or_else(|| illegible(format!("does not set {key}")), Ok)
}

/// Every variable that is set, in order.
pub fn env_values(text: &str) -> Legible<Values<'_>> {
    let mut values = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().is_empty() || line.starts_with('#') {
            continue;
        }
        let value = line.split_once('=').and_then(|(name, value)| {
            let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            Some((name, unquoted_for_env(value).filter(|_| plain)?))
        });
        match value {
            None => {
                return illegible(format!(
                    "has a line {number} that readers of env files take in different ways; write NAME=\"value\" with \\ before each of \\ \" $"
                ));
            }
            Some((name, value)) => values.push((name, Some(value))),
        }
    }
    Ok(values)
}

/// A value made of parts in double quotes, in single quotes and without quotes, each within what POSIX shells, systemd and dotenv readers agree on.
fn unquoted_for_env(value: &str) -> Option<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(value.len()));
    let mut quote = None;
    let mut rest = value.chars();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if c == open => quote = None,
            (Some('"'), '\\') => text.push(rest.next().filter(|next| "\"\\$".contains(*next))?),
            (Some('"'), '$' | '`') | (Some('\''), '\\') => return None,
            (Some(_), _) if !c.is_control() => text.push(c),
            (None, _) if c.is_ascii_alphanumeric() || "_-.,:/@%+=".contains(c) => text.push(c),
            (Some(_) | None, _) => return None,
        }
    }
    quote.is_none().then_some(text)
}

fn from_json(text: &str, name: &str) -> Legible<Zeroizing<String>> {
    // The parser's message may quote what it found; its place is enough.
    let found = match picked(text, &[name]) {
        Ok(found) => found,
        Err(error) if error.is_data() => BTreeMap::new(),
        Err(error) => return illegible(format!("is no JSON at line {} column {}", error.line(), error.column())),
    };
    match found.get(name) {
        Some(Found::Text(password)) => Ok(Zeroizing::new(password.expose().to_owned())),
        Some(Found::Number(_) | Found::Flag(_) | Found::Nothing | Found::Other) | None => {
            illegible(format!("has no text under \"{name}\" in a JSON object"))
        }
    }
}

fn from_yaml(text: &str, name: &str) -> Legible<Zeroizing<String>> {
    let mut found = None;
    for (number, key, value) in yaml_lines(text)? {
        let Some(value) = (key == name).then_some(value) else { continue };
        let Scalar::Quoted(value) = value else { return unquoted(number) };
        if found.replace(value).is_some() {
            return illegible(format!("has {name}: twice"));
        }
    }
    found.map_or_else(|| illegible(format!("has no {name}: in it")), Ok)
}

/// Every key with its value, in order; `None` where it is null.
pub fn yaml_values(text: &str) -> Legible<Values<'_>> {
    let value = |value| match value {
        Scalar::Quoted(text) => Some(text),
        Scalar::Word("null") => None,
        Scalar::Word(word) => Some(Zeroizing::new(word.to_owned())),
    };
    Ok(yaml_lines(text)?.into_iter().map(|(_, key, scalar)| (key, value(scalar))).collect())
}

/// A value of a mapping.
enum Scalar<'a> {
    Quoted(Zeroizing<String>),
    Word(&'a str),
}

fn unquoted<T>(number: usize) -> Legible<T> {
    illegible(format!("has a value on line {number} that is not in double quotes, as keywheel writes it"))
}

fn yaml_lines(text: &str) -> Legible<Vec<(usize, &str, Scalar<'_>)>> {
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((key, value)) = line.split_once(": ").filter(|(key, _)| as_key(key).is_ok()) else {
            return illegible(format!("has a line {number} that is not one KEY: \"VALUE\""));
        };
        let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let value = match quoted.map(unescaped_for_yaml) {
            Some(Some(text)) => Scalar::Quoted(text),
            None if is_word(value) => Scalar::Word(value),
            Some(None) | None => return unquoted(number),
        };
        lines.push((number, key, value));
    }
    Ok(lines)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A double-quoted scalar's inside; of YAML's escapes the three that keywheel writes.
fn unescaped_for_yaml(quoted: &str) -> Option<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(quoted.len()));
    let mut rest = quoted.chars();
    while let Some(c) = rest.next() {
        text.push(match c {
            '"' => return None,
            '\\' => match rest.next()? {
                plain @ ('"' | '\\') => plain,
                'u' => {
                    let digits = rest.as_str().get(..4).filter(|four| four.bytes().all(|b| b.is_ascii_hexdigit()))?;
                    let number = u32::from_str_radix(digits, 16).ok()?;
                    rest.nth(3)?;
                    char::from_u32(number)?
                }
                _ => return None,
            },
            plain => plain,
        });
    }
    Some(text)
}

fn from_url(text: &str) -> Legible<Zeroizing<String>> {
    let Some(rest) = text.strip_prefix("redis://").or_else(|| text.strip_prefix("rediss://")) else {
        return illegible("is no redis:// or rediss:// address");
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let Some((_, password)) = authority.rsplit_once('@').and_then(|(user, _host)| user.split_once(':')) else {
        return illegible("is an address without USER:PASSWORD@ in it");
    };
    String::from_utf8(percent_decode_str(password).collect()).map(Zeroizing::new).or_else(|error| {
        error.into_bytes().zeroize();
        illegible("is an address whose password is not UTF-8")
    })
}

#[cfg(test)]
mod tests;
