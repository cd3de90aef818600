//! Who decides about which fields: server-side apply as "Server-Side Apply" in Kubernetes' documents describes it, for objects of maps and single
//! values. A list is one value.

use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

pub type Path = Vec<String>;

/// Whose note it is: a name, and by which kind of request.
pub type Manager = (String, &'static str);

/// What a manager decides about.
pub type Managers = BTreeMap<Manager, BTreeSet<Path>>;

/// What no manager decides about.
const SYSTEM: [&str; 8] =
    ["name", "namespace", "uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "selfLink"];

/// A field of somebody else that an apply would change.
pub struct Conflict {
    pub path: Path,
    pub with: Manager,
}

/// Every single value of an object, without what the system decides about.
pub fn leaves(object: &Value) -> BTreeMap<Path, Value> {
    fn below(value: &Value, at: &Path, into: &mut BTreeMap<Path, Value>) {
        match value {
            // Of an empty map there is nothing that anybody could change.
            Value::Object(map) => {
                for (key, value) in map {
                    below(value, &[at.as_slice(), std::slice::from_ref(key)].concat(), into);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                into.insert(at.clone(), value.clone());
            }
        }
    }
    let mut all = BTreeMap::new();
    below(object, &Vec::new(), &mut all);
    all.retain(|path, value| {
        let first = path[0].as_str();
        let system = path.get(1).is_some_and(|second| first == "metadata" && SYSTEM.contains(&second.as_str()));
        !(system || value.is_null() || ["apiVersion", "kind", "status"].contains(&first))
    });
    all
}

/// Puts a value at a path, or takes it away, and with it the maps that are empty then.
pub fn put(object: &mut Value, path: &[String], value: Option<Value>) {
    let Some((key, rest)) = path.split_first() else { return };
    if !object.is_object() {
        *object = json!({});
    }
    let map = object.as_object_mut().unwrap();
    match (rest.is_empty(), value) {
        (true, Some(value)) => {
            map.insert(key.clone(), value);
        }
        (true, None) => {
            map.remove(key);
        }
        (false, value) => {
            if value.is_none() && !map.contains_key(key) {
                return;
            }
            let inner = map.entry(key).or_insert_with(|| json!({}));
            put(inner, rest, value);
            if inner.as_object().is_some_and(Map::is_empty) {
                map.remove(key);
            }
        }
    }
}

/// An apply: the object and its managers afterwards, or the fields that are in its way.
pub fn apply(
    live: &Value,
    managers: &Managers,
    sent: &Value,
    name: &str,
    force: bool,
) -> Result<(Value, Managers), Vec<Conflict>> {
    let own: Manager = (name.to_owned(), "Apply");
    let (wanted, there) = (leaves(sent), leaves(live));
    let mut conflicts = Vec::new();
    for (with, paths) in managers.iter().filter(|(manager, _)| **manager != own) {
        let changed =
            paths.iter().filter(|path| wanted.get(*path).is_some_and(|value| there.get(*path) != Some(value)));
        conflicts.extend(changed.map(|path| Conflict { path: path.clone(), with: with.clone() }));
    }
    if !force && !conflicts.is_empty() {
        return Err(conflicts);
    }
    let (mut object, mut after) = (live.clone(), managers.clone());
    for Conflict { path, with } in conflicts {
        after.get_mut(&with).unwrap().remove(&path);
    }
    for (path, value) in &wanted {
        put(&mut object, path, Some(value.clone()));
    }
    let before = after.insert(own.clone(), wanted.keys().cloned().collect()).unwrap_or_default();
    for path in before.iter().filter(|path| !wanted.contains_key(*path)) {
        if !after.values().any(|paths| paths.contains(path)) {
            put(&mut object, path, None);
        }
    }
    after.retain(|_, paths| !paths.is_empty());
    Ok((object, after))
}

/// The managers after a change of any other kind.
pub fn updated(before: &Value, after: &Value, managers: &Managers, name: &str) -> Managers {
    let (old, new) = (leaves(before), leaves(after));
    let changed: BTreeSet<Path> =
        new.iter().filter(|(path, value)| old.get(*path) != Some(value)).map(|(path, _)| path.clone()).collect();
    let mut managers = managers.clone();
    for paths in managers.values_mut() {
        paths.retain(|path| new.contains_key(path) && !changed.contains(path));
    }
    if !changed.is_empty() {
        managers.entry((name.to_owned(), "Update")).or_default().extend(changed);
    }
    managers.retain(|_, paths| !paths.is_empty());
    managers
}

/// As `metadata.managedFields` shows them.
pub fn shown(managers: &Managers, version: &str) -> Value {
    let entry = |((name, operation), paths): (&Manager, &BTreeSet<Path>)| {
        let mut fields = json!({});
        for path in paths {
            let steps: Vec<String> = path.iter().map(|step| format!("f:{step}")).collect();
            let mut at = &mut fields;
            for step in &steps {
                at = at.as_object_mut().unwrap().entry(step).or_insert_with(|| json!({}));
            }
            if *operation == "Update" && steps.len() == 2 {
                // As the server notes a map that somebody made.
                fields[&steps[0]]["."] = json!({});
            }
        }
        json!({
            "manager": name, "operation": operation, "apiVersion": version, "time": "2026-01-02T03:04:05Z",
            "fieldsType": "FieldsV1", "fieldsV1": fields,
        })
    };
    managers.iter().map(entry).collect()
}

/// The same out of what a request says they are.
pub fn read(entries: &Value) -> Managers {
    fn below(fields: &Value, at: &Path, into: &mut BTreeSet<Path>) {
        let steps = fields.as_object().unwrap();
        let named: Vec<_> = steps.iter().filter_map(|(key, value)| Some((key.strip_prefix("f:")?, value))).collect();
        if named.is_empty() && !at.is_empty() {
            into.insert(at.clone());
        }
        for (key, value) in named {
            below(value, &[at.as_slice(), &[key.to_owned()]].concat(), into);
        }
    }
    let mut managers = Managers::new();
    for entry in entries.as_array().into_iter().flatten() {
        let operation = if entry["operation"] == "Apply" { "Apply" } else { "Update" };
        let manager = (entry["manager"].as_str().unwrap().to_owned(), operation);
        below(&entry["fieldsV1"], &Vec::new(), managers.entry(manager).or_default());
    }
    managers
}
