//! The first look at the merged tree: unknown keys, missing keys and wrong types, by the schema alone.

use super::document::{Node, Table, Value};
use super::finding::{Finding, Origin, suggestion};
use super::reading::shown;
use super::schema::{self, Key, Kinds, PASSWORD_REFERENCE, REFERENCE, Shape};
use crate::name::{NAME_LIMIT, TargetName};

/// Holds the tree against the schema.
pub fn check(tree: &Table, whole: &Origin, findings: &mut Vec<Finding>) {
    let mut look = Look { findings };
    for section in schema::SECTIONS {
        let Some(node) = tree.get(section.name) else {
            // Only `daemon` has keys that must be there, and only where something is rotated.
            if section.name == "daemon" && !follows(tree) {
                look.missing("daemon", whole, section.shape.keys().into_iter(), &Table::new());
            }
            continue;
        };
        let Value::Table(table) = &node.value else {
            look.wrong_type(section.name, node, "a section", &format!("write [{}]", section.name));
            continue;
        };
        let Some(noun) = section.named else {
            look.shape(section.name, node, &section.shape, "");
            continue;
        };
        for (name, entry) in table {
            let path = format!("{}.{}", section.name, shown(name));
            if name.parse::<TargetName>().is_err() {
                look.say(
                    &path,
                    &entry.origin,
                    format!("This cannot be the name of a {noun}"),
                    format!("use 1 to {NAME_LIMIT} characters of a-z A-Z 0-9 . _ - and begin with a letter or digit"),
                );
            }
            if let Value::Table(_) = &entry.value {
                look.shape(&path, entry, &section.shape, "");
            } else {
                let what = format!("A {noun} is a table, and this is {}", entry.value.kind());
                let next_step = format!("write [{}.NAME] and its keys below", section.name);
                look.say(&path, &entry.origin, what, next_step);
            }
        }
    }
}

/// Whether this is the configuration of a follower.
pub fn follows(tree: &Table) -> bool {
    tree.get("follow").is_some_and(|node| matches!(&node.value, Value::Table(table) if !table.is_empty()))
}

struct Look<'a> {
    findings: &'a mut Vec<Finding>,
}

impl Look<'_> {
    fn say(&mut self, path: &str, origin: &Origin, what: String, next_step: String) {
        self.findings.push(Finding { origin: origin.clone(), key: path.to_owned(), what, next_step: Some(next_step) });
    }

    fn wrong_type(&mut self, path: &str, node: &Node, wanted: &str, next_step: &str) {
        let what = format!("This key holds {wanted}, and this is {}", node.value.kind());
        self.say(path, &node.origin, what, next_step.to_owned());
    }

    fn shape(&mut self, path: &str, node: &Node, shape: &Shape, example: &str) {
        let wanted = match (shape, &node.value) {
            (Shape::Text, Value::Text(_))
            | (Shape::Number, Value::Number(_))
            | (Shape::Flag, Value::Flag(_))
            | (Shape::TextOrNumber, Value::Text(_) | Value::Number(_))
            | (Shape::TextOrTable(_), Value::Text(_)) => return,
            (Shape::List, Value::List(items)) => {
                for item in items.iter().filter(|item| !matches!(item.value, Value::Text(_))) {
                    let what = format!("This is a list of texts, and this entry is {}", item.value.kind());
                    self.say(path, &item.origin, what, format!("write it like {example}"));
                }
                return;
            }
            (Shape::Texts, Value::Table(table)) => {
                for (name, inner) in table.iter().filter(|(_, inner)| !matches!(inner.value, Value::Text(_))) {
                    let what = format!("This is a table of texts, and this entry is {}", inner.value.kind());
                    let below = format!("{path}.{}", shown(name));
                    self.say(&below, &inner.origin, what, format!("write it like {example}"));
                }
                return;
            }
            (Shape::References, Value::Table(table)) => {
                for (name, inner) in table {
                    let below = format!("{path}.{}", shown(name));
                    self.shape(&below, inner, &Shape::Reference, "{ file = \"/path\" }");
                }
                return;
            }
            (Shape::Reference, Value::Table(table)) => return self.keys(path, &node.origin, table, REFERENCE, None),
            (Shape::PasswordReference, Value::Table(table)) => {
                return self.keys(path, &node.origin, table, PASSWORD_REFERENCE, None);
            }
            (Shape::Table(keys) | Shape::TextOrTable(keys), Value::Table(table)) => {
                return self.keys(path, &node.origin, table, keys, None);
            }
            (Shape::Kinds(kinds), Value::Table(table)) => return self.kinds(path, &node.origin, table, kinds),
            (Shape::Reference | Shape::PasswordReference, Value::Text(_)) => {
                let what = "A secret never stands in the configuration; this key says where it is kept".to_owned();
                let next_step = "move it into a file that only keywheel's user can read and write { file = \"/path\" }, \
                                 or use { credential = \"name\" } or { env = \"NAME\" }; if it was real, replace it";
                return self.say(path, &node.origin, what, next_step.to_owned());
            }
            (Shape::Text, _) => "a text",
            (Shape::Number, _) => "a whole number",
            (Shape::Flag, _) => "true or false",
            (Shape::List, _) => "a list of texts",
            (Shape::Texts, _) => "a table of texts",
            (Shape::References, _) => "a table of references to secrets",
            (Shape::TextOrNumber, _) => "a text or a whole number",
            (Shape::Reference | Shape::PasswordReference, _) => "a reference to a secret",
            (Shape::Table(_) | Shape::Kinds(_), _) => "a table",
            (Shape::TextOrTable(_), _) => "a text or a table",
        };
        let name = path.rsplit('.').next().unwrap_or(path);
        self.wrong_type(path, node, wanted, &format!("write {name} = {example}"));
    }

    fn kinds(&mut self, path: &str, origin: &Origin, table: &Table, kinds: &Kinds) {
        let names: Vec<&str> = kinds.of.iter().map(|(name, _)| *name).collect();
        let tag_path = format!("{path}.{}", kinds.tag);
        let Some(tag) = table.get(kinds.tag) else {
            let what = "This key is missing".to_owned();
            let next_step = format!("add {} = \"{}\"", kinds.tag, names.join("\" or \""));
            return self.say(&tag_path, origin, what, next_step);
        };
        let Value::Text(text) = &tag.value else {
            let next_step = format!("write {} = \"{}\"", kinds.tag, names.join("\" or \""));
            return self.wrong_type(&tag_path, tag, "a text", &next_step);
        };
        match kinds.of.iter().find(|(name, _)| name == text) {
            Some((_, keys)) => self.keys(path, origin, table, keys, Some(kinds.tag)),
            None => {
                let what = format!("keywheel knows no such {}", kinds.tag);
                self.say(&tag_path, &tag.origin, what, suggestion(text, &names, ""));
            }
        }
    }

    fn keys(&mut self, path: &str, origin: &Origin, table: &Table, keys: &'static [Key], tag: Option<&'static str>) {
        let names: Vec<&str> = tag.into_iter().chain(keys.iter().map(|key| key.name)).collect();
        for (name, node) in table {
            let below = format!("{path}.{}", shown(name));
            if let Some(key) = keys.iter().find(|key| key.name == name) {
                self.shape(&below, node, &key.shape, key.example);
            } else if tag != Some(name.as_str()) {
                let next_step = suggestion(name, &names, "remove it");
                self.say(&below, &node.origin, "There is no such key here".to_owned(), next_step);
            }
        }
        self.missing(path, origin, keys.iter(), table);
    }

    fn missing(&mut self, path: &str, origin: &Origin, keys: impl Iterator<Item = &'static Key>, table: &Table) {
        for key in keys.filter(|key| key.must && !table.contains_key(key.name)) {
            let what = "This key is missing".to_owned();
            let next_step = format!("add it, such as {} = {}", key.name, key.example);
            self.say(&format!("{path}.{}", key.name), origin, what, next_step);
        }
    }
}
