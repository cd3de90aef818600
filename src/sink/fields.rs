//! Which parts of a document a sink writes and under which names, and the flat JSON object that several sinks write and read.
//!
//! Without the setting `fields` a sink writes what it always writes, under the names that stand in its own description. With it, it writes exactly the
//! parts that are named there: `fields = { password = "REDIS_PASSWORD", url = "REDIS_URL" }`.

use crate::secret::Secret;
use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;

/// The longest name of a field, in bytes.
const NAME_LIMIT: usize = 128;

/// Words that YAML readers take for something other than a text.
const YAML_WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

/// The owner's choice of fields and names, if any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(Option<BTreeMap<String, String>>);

impl Names {
    /// The choice, if it makes sense: of these `known` parts, each under a name of its own that is not `taken` by something else.
    ///
    /// # Errors
    /// Every finding, as a sentence.
    pub fn chosen(
        chosen: Option<&BTreeMap<String, String>>,
        known: &[&str],
        taken: &[&str],
        fits: impl Fn(&str) -> Result<(), &'static str>,
    ) -> Result<Self, Vec<String>> {
        let Some(chosen) = chosen else { return Ok(Self(None)) };
        let mut wrong = Vec::new();
        let mut names: BTreeMap<&str, &str> = BTreeMap::new();
        if chosen.keys().any(|part| !known.contains(&part.as_str())) {
            wrong.push(format!("fields has a part that no document has: there are {}", known.join(", ")));
        }
        for (part, name) in chosen.iter().filter(|(part, _)| known.contains(&part.as_str())) {
            match fits(name) {
                Err(why) => wrong.push(format!("fields calls {part} by a name {why}")),
                Ok(()) if taken.contains(&name.as_str()) => {
                    wrong
                        .push(format!("fields calls {part} by a name that means something else there: choose another"));
                }
                Ok(()) => {}
            }
            if let Some(other) = names.insert(name, part) {
                wrong.push(format!("fields calls {other} and {part} by the same name: choose two"));
            }
        }
        if !chosen.keys().any(|part| ["password", "bare_password", "login_password", "url"].contains(&part.as_str())) {
            wrong.push("fields leaves the password out: name password, or url with the password in it".to_owned());
        }
        if wrong.is_empty() { Ok(Self(Some(chosen.clone()))) } else { Err(wrong) }
    }

    /// Whether the owner made a choice.
    pub const fn are_chosen(&self) -> bool {
        self.0.is_some()
    }

    /// Every name that the owner chose.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|chosen| chosen.values().map(String::as_str))
    }

    /// What a part is called; `None` where it is left out.
    pub fn of<'a>(&'a self, part: &'a str) -> Option<&'a str> {
        match &self.0 {
            None => Some(part),
            Some(chosen) => chosen.get(part).map(String::as_str),
        }
    }
}

/// Whether this can be a variable's name.
///
/// # Errors
/// Why not, as the end of a sentence.
pub fn as_variable(name: &str) -> Result<(), &'static str> {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match plain && is_usable(name) {
        true => Ok(()),
        false => Err("that no variable can have: use letters, digits and _"),
    }
}

/// Whether this can be a key of JSON and YAML that every reader takes for the same text.
///
/// # Errors
/// Why not, as the end of a sentence.
pub fn as_key(name: &str) -> Result<(), &'static str> {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    match plain && is_usable(name) && !YAML_WORDS.contains(&name.to_ascii_lowercase().as_str()) {
        true => Ok(()),
        false => Err("that not every reader takes for a text: use letters, digits and . _ -, beginning with a letter"),
    }
}

fn is_usable(name: &str) -> bool {
    name.len() <= NAME_LIMIT && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

/// One part's value.
#[derive(Clone, Copy)]
pub enum Part<'a> {
    /// A text, or null where the target has none.
    Text(Option<&'a str>),
    /// A number, or null.
    Number(Option<u64>),
    /// Yes or no, or null.
    Flag(Option<bool>),
}

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => text.serialize(serializer),
            Self::Number(number) => number.serialize(serializer),
            Self::Flag(flag) => flag.serialize(serializer),
        }
    }
}

/// Parts as one JSON object, in this order.
pub struct Object<'a>(pub Vec<(&'a str, Part<'a>)>);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, part) in &self.0 {
            map.serialize_entry(name, part)?;
        }
        map.end()
    }
}

/// A value that was found in an object.
pub enum Found {
    /// A text.
    Text(Secret),
    /// A whole number that is not negative.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// Null.
    Nothing,
    /// Something else.
    Other,
}

/// What one flat JSON object holds under the `wanted` names; everything else is passed over.
///
/// # Errors
/// As the parser words them, which may quote what it found: a name that stands there twice is a data error, as is what is no object.
pub fn picked<'a>(text: &str, wanted: &[&'a str]) -> serde_json::Result<BTreeMap<&'a str, Found>> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let found = Wanted(wanted).deserialize(&mut deserializer)?;
    deserializer.end().map(|()| found)
}

struct Wanted<'a, 'b>(&'b [&'a str]);

impl<'de, 'a> DeserializeSeed<'de> for Wanted<'a, '_> {
    type Value = BTreeMap<&'a str, Found>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, 'a> Visitor<'de> for Wanted<'a, '_> {
    type Value = BTreeMap<&'a str, Found>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            match self.0.iter().find(|wanted| **wanted == key) {
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
                Some(wanted) => {
                    let value = map.next_value()?;
                    if found.insert(*wanted, value).is_some() {
                        return Err(de::Error::custom("a name stands there twice"));
                    }
                }
            }
        }
        Ok(found)
    }
}

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Whatever)
    }
}

struct Whatever;

impl<'de> Visitor<'de> for Whatever {
    type Value = Found;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("any value")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Found, E> {
        Ok(Found::Text(Secret::new(text.to_owned())))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Found, E> {
        Ok(Found::Text(Secret::new(text)))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Found, E> {
        Ok(Found::Number(number))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Found, E> {
        Ok(Found::Nothing)
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Found, E> {
        Ok(Found::Flag(flag))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Found, E> {
        Ok(Found::Other)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Found, E> {
        Ok(Found::Other)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Found, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Found::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Found::Other)
    }
}
