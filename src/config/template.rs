//! Texts that differ from instance to instance, such as `/run/{{ target }}/redis.env`.
//!
//! What is filled in comes from the cloud, and whoever may tag an instance there should not choose where a password is written: only letters,
//! digits and `. _ - :` come through, nothing empty, and nothing that is not there.

use super::target::Target;
use crate::ledger::known::Known;
use crate::name::TargetName;
use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind, Output, State, UndefinedBehavior};
use std::collections::{BTreeMap, BTreeSet};

/// The longest template, in bytes.
const TEMPLATE_LIMIT: usize = 4 * 1024;

/// How much work one template may do, in instructions of the template engine.
const FUEL: u64 = 1_000;

/// The names a template may use; `tag` has the tags below it.
const NAMES: [&str; 6] = ["instance", "name", "host", "port", "tag", "target"];

/// Whether a text is a template.
pub(super) fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// What a template may use of one instance.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// The cloud's id.
    pub instance: String,
    /// What its owner calls it; empty where nobody said.
    pub name: String,
    /// Where clients connect.
    pub endpoint: Option<(String, u16)>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The target's name, once it is known.
    pub target: Option<String>,
}

impl Facts {
    pub(super) fn of(known: &Known) -> Self {
        Self {
            instance: known.instance.clone(),
            name: known.name.clone(),
            endpoint: known.endpoint.clone(),
            tags: known.tags.clone(),
            target: None,
        }
    }

    /// What a configuration alone says of a target's instance: nothing of its name at the cloud and its tags.
    pub(super) fn of_written(name: &TargetName, target: &Target) -> Self {
        let endpoint = target.login.as_ref().map(|login| (login.endpoint.host.clone(), login.endpoint.port));
        Self {
            instance: target.address.instance.clone(),
            name: String::new(),
            endpoint,
            tags: BTreeMap::new(),
            target: Some(name.to_string()),
        }
    }

    /// What is followed has a name, and that is all that is known of it.
    pub(super) fn of_followed(name: &TargetName) -> Self {
        Self {
            instance: String::new(),
            name: String::new(),
            endpoint: None,
            tags: BTreeMap::new(),
            target: Some(name.to_string()),
        }
    }

    /// An instance that does not exist, to try templates on. Two of different numbers differ in everything but the tags that select them.
    pub(super) fn sample(number: u16, selected: &BTreeMap<String, String>, templates: &[&str]) -> Self {
        let mut tags = selected.clone();
        for key in templates.iter().flat_map(|text| used(text)).filter_map(|name| tag_of(&name).map(str::to_owned)) {
            tags.entry(key).or_insert_with(|| format!("sample-{number}"));
        }
        Self {
            instance: format!("sample-{number}"),
            name: format!("sample-{number}"),
            endpoint: Some((format!("sample-{number}.invalid"), 6_379 + number)),
            tags,
            target: None,
        }
    }

    fn has(&self, name: &str) -> bool {
        match (name, tag_of(name)) {
            ("instance" | "tag", _) => true,
            ("name", _) => !self.name.is_empty(),
            ("host" | "port", _) => self.endpoint.is_some(),
            ("target", _) => self.target.is_some(),
            (_, Some(key)) => self.tags.contains_key(key),
            (_, None) => false,
        }
    }
}

/// Fills a template in.
///
/// # Errors
/// Why it cannot be, as a sentence without its full stop. It repeats no value.
pub(super) fn render(text: &str, facts: &Facts) -> Result<String, String> {
    let engine = engine(text)?;
    let template = engine.get_template("").map_err(|error| no_template(&error))?;
    let (host, port) = facts.endpoint.clone().unzip();
    let tags = facts.tags.iter().map(|(key, value)| (key.as_str(), Value::from(value.as_str())));
    let mut values: BTreeMap<&str, Value> = BTreeMap::new();
    values.insert("instance", Value::from(facts.instance.as_str()));
    values.extend((!facts.name.is_empty()).then(|| ("name", Value::from(facts.name.as_str()))));
    values.insert("tag", Value::from_pairs(tags));
    values.extend(host.map(|host| ("host", Value::from(host))));
    values.extend(port.map(|port| ("port", Value::from(port))));
    values.extend(facts.target.as_deref().map(|target| ("target", Value::from(target))));
    template.render(Value::from(values)).map_err(|error| why_not(text, facts, &error))
}

fn why_not(text: &str, facts: &Facts, error: &Error) -> String {
    if error.kind() == ErrorKind::BadSerialization {
        return "a value in the template is empty, or holds other characters than letters, digits and . _ - :"
            .to_owned();
    }
    if error.kind() != ErrorKind::UndefinedError {
        return no_template(error);
    }
    let missing: Vec<String> = used(text).into_iter().filter(|name| !facts.has(name)).collect();
    let known = missing.iter().all(|name| NAMES.contains(&name.as_str()) || tag_of(name).is_some());
    match (missing.is_empty(), known) {
        (true, _) => "this instance has no value for a name in the template".to_owned(),
        (false, true) => format!("this instance has no value for {}", missing.join(", ")),
        (false, false) => format!("a template knows no {}, only {}", missing.join(", "), NAMES.join(", ")),
    }
}

fn no_template(error: &Error) -> String {
    let why = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    format!("this is not a template: {}", crate::fault::scrub(&why, &[]))
}

fn engine(text: &str) -> Result<Environment<'static>, String> {
    if text.len() > TEMPLATE_LIMIT {
        return Err(format!("a template has at most {TEMPLATE_LIMIT} bytes"));
    }
    let mut engine = Environment::empty();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_fuel(Some(FUEL));
    engine.add_filter("lower", |value: String| value.to_lowercase());
    engine.add_filter("upper", |value: String| value.to_uppercase());
    engine.set_formatter(plain);
    engine.add_template_owned("", text.to_owned()).map_err(|error| no_template(&error))?;
    Ok(engine)
}

/// Lets a value through, if it cannot mean more than itself wherever it stands.
fn plain(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let text = value.to_string();
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte);
    if text.is_empty() || matches!(text.as_str(), "." | "..") || !text.bytes().all(harmless) {
        return Err(Error::new(ErrorKind::BadSerialization, "a value that cannot stand here"));
    }
    out.write_str(&text).map_err(Error::from)
}

/// The names a template uses, `tag.team` among them; none where it is no template.
fn used(text: &str) -> BTreeSet<String> {
    let Ok(engine) = engine(text) else { return BTreeSet::new() };
    let names = engine.get_template("").map(|template| template.undeclared_variables(true));
    names.unwrap_or_default().into_iter().collect()
}

fn tag_of(name: &str) -> Option<&str> {
    name.strip_prefix("tag.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let tags = [("team", "orders"), ("note", "two words"), ("up", "../x"), ("none", ""), ("a-b", "dash")];
        Facts {
            instance: "crs-5a4py64p".to_owned(),
            name: "订单".to_owned(),
            endpoint: Some(("10.0.0.9".to_owned(), 6380)),
            tags: tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            target: Some("weekly-crs-5a4py64p".to_owned()),
        }
    }

    #[test]
    fn what_is_there_is_filled_in_and_nothing_else() {
        let bare = Facts { endpoint: None, target: None, ..facts() };
        let rows = [
            (facts(), "plain", Ok("plain")),
            (facts(), "/run/{{ tag.team }}/{{ target }}.env", Ok("/run/orders/weekly-crs-5a4py64p.env")),
            (facts(), "redis://{{ host }}:{{port}}", Ok("redis://10.0.0.9:6380")),
            (facts(), "{{ instance[4:] | upper }}", Ok("5A4PY64P")),
            (facts(), "{{ tag['a-b'] }}{% if tag.team == 'orders' %}!{% endif %}", Ok("dash!")),
            (facts(), "{{ tag.owner }}", Err("this instance has no value for tag.owner")),
            (
                facts(),
                "{{ instanec }}",
                Err("a template knows no instanec, only instance, name, host, port, tag, target"),
            ),
            (bare.clone(), "{{ host }}:{{ port }}", Err("this instance has no value for host, port")),
            (bare, "{{ target }}", Err("this instance has no value for target")),
            (facts(), "{{ name }}", Err("a value in the template is empty, or holds other")),
            (facts(), "{{ tag.note }}", Err("a value in the template is empty, or holds other")),
            (facts(), "{{ tag.up }}", Err("a value in the template is empty, or holds other")),
            (facts(), "{{ tag.none }}", Err("a value in the template is empty, or holds other")),
            (facts(), "{{ tag }}", Err("a value in the template is empty, or holds other")),
            (facts(), "{{ instance", Err("this is not a template")),
            (facts(), "{{ instance | safe }}", Err("this is not a template")),
            (
                facts(),
                "{% for a in tag %}{% for b in tag %}{% for c in tag %}{% for d in tag %}{{ a }}{% endfor %}{% endfor %}{% endfor %}{% endfor %}",
                Err("this is not a template"),
            ),
        ];
        for (facts, text, expected) in rows {
            match (render(text, &facts), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
                (Err(found), Err(expected)) => assert!(found.starts_with(expected), "{text}: {found}"),
                (found, expected) => panic!("{text}: {found:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn two_samples_differ_in_all_but_what_selects_them() {
        let selected: BTreeMap<String, String> = [("rotate".to_owned(), "weekly".to_owned())].into();
        for (text, differ) in [
            ("{{ instance }}", true),
            ("{{ name }}", true),
            ("{{ host }}", true),
            ("{{ port }}", true),
            ("{{ tag.team }}", true),
            ("{{ tag.rotate }}", false),
            ("/run/redis.env", false),
        ] {
            let [one, other] = [1, 2].map(|number| render(text, &Facts::sample(number, &selected, &[text])).unwrap());
            assert_eq!(one != other, differ, "{text}");
        }
    }
}
