//! The configuration as a JSON Schema (draft 2020-12), made of the same keys that the parser knows: for an editor that completes and checks TOML.
//! What only the parser can tell, such as a cron pattern or a name that points nowhere, is not in it.

use super::schema::{Key, Kinds, PASSWORD_REFERENCE, REFERENCE, SECTIONS, Shape};
use serde_json::{Map, Value, json};

/// The whole schema.
pub fn json_schema() -> Value {
    let mut definitions = Definitions::default();
    let mut sections = Map::new();
    for section in SECTIONS {
        let one = definitions.of(&section.shape);
        let shape = match section.named {
            Some(what) => {
                json!({ "type": "object", "additionalProperties": one, "description": format!("each {what} by its name") })
            }
            None => one,
        };
        sections.insert(section.name.to_owned(), shape);
    }
    let mut defs = Map::from_iter(definitions.made);
    defs.insert("reference".to_owned(), one_of(REFERENCE));
    defs.insert("password-reference".to_owned(), one_of(PASSWORD_REFERENCE));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "keywheel.toml",
        "type": "object",
        "properties": sections,
        "additionalProperties": false,
        "$defs": defs,
    })
}

/// Tables whose keys depend on one of them stand by themselves: one may hold another of its own kind.
#[derive(Default)]
struct Definitions {
    known: Vec<&'static Kinds>,
    made: Vec<(String, Value)>,
}

impl Definitions {
    fn of(&mut self, shape: &'static Shape) -> Value {
        match shape {
            Shape::Text => json!({ "type": "string" }),
            Shape::Number => json!({ "type": "integer" }),
            Shape::Flag => json!({ "type": "boolean" }),
            Shape::List => json!({ "type": "array", "items": { "type": "string" } }),
            Shape::TextOrNumber => json!({ "type": ["string", "integer"] }),
            Shape::Texts => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
            Shape::References => {
                json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/reference" } })
            }
            Shape::Reference => json!({ "$ref": "#/$defs/reference" }),
            Shape::PasswordReference => json!({ "$ref": "#/$defs/password-reference" }),
            Shape::Table(keys) => self.table(keys, None),
            Shape::TextOrTable(keys) => json!({ "anyOf": [{ "type": "string" }, self.table(keys, None)] }),
            Shape::Kinds(kinds) => self.kinds(kinds),
        }
    }

    fn kinds(&mut self, kinds: &'static Kinds) -> Value {
        let number = self.known.iter().position(|known| std::ptr::eq(*known, kinds)).unwrap_or_else(|| {
            let number = self.known.len();
            self.known.push(kinds);
            let of: Vec<Value> =
                kinds.of.iter().map(|(value, keys)| self.table(keys, Some((kinds.tag, value)))).collect();
            self.made.push((format!("kinds-{number}"), json!({ "oneOf": of })));
            number
        });
        json!({ "$ref": format!("#/$defs/kinds-{number}") })
    }

    fn table(&mut self, keys: &'static [Key], tag: Option<(&str, &str)>) -> Value {
        let mut properties = Map::new();
        properties.extend(tag.map(|(tag, value)| (tag.to_owned(), json!({ "const": value }))));
        for key in keys {
            let mut shape = self.of(&key.shape);
            shape["description"] = format!("such as {} = {}", key.name, key.example).into();
            properties.insert(key.name.to_owned(), shape);
        }
        let required: Vec<&str> =
            tag.map(|(tag, _)| tag).into_iter().chain(keys.iter().filter(|key| key.must).map(|key| key.name)).collect();
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
    }
}

/// A table with exactly one of these keys.
fn one_of(keys: &[Key]) -> Value {
    let properties: Map<String, Value> =
        keys.iter().map(|key| (key.name.to_owned(), json!({ "type": "string" }))).collect();
    json!({ "type": "object", "properties": properties, "minProperties": 1, "maxProperties": 1, "additionalProperties": false })
}
