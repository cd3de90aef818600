//! A whole document out of what a sink holds, for who hands it on (`keywheel follow`): as strict as reading the password is, and of no more than
//! what stands there.

use super::format::{Layout, NAMES, VARIABLES};
use super::reading::{self, Illegible, Legible, illegible};
use crate::fault::{Fault, Kind};
use crate::moment::Moment;
use crate::name::{Generation, RotationId, TargetName};
use crate::secret::Secret;
use crate::sink::fields::{Found, Names, picked};
use crate::sink::{Document, Endpoint};
use std::collections::BTreeMap;
use url::Url;

/// What a marker says of a document beside it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Marked {
    /// Which generation it is. Where the document says so itself, that counts: a marker may be ahead.
    pub generation: Option<Generation>,
    /// Which rotation made it.
    pub rotation: Option<RotationId>,
}

impl From<u64> for Marked {
    fn from(generation: u64) -> Self {
        Self { generation: (generation > 0).then_some(Generation(generation)), rotation: None }
    }
}

/// The parts of a document by their names in [`NAMES`], each as a text. Absent is what has no value.
pub type Texts = BTreeMap<&'static str, Secret>;

/// The document in a text of this layout.
///
/// # Errors
/// `SecretUnreadable` where none can be made out, `SinkDenied` where it is another target's.
pub fn document(
    layout: &Layout,
    content: &[u8],
    place: &str,
    target: &TargetName,
    marked: Marked,
) -> Result<Document, Fault> {
    let read = match std::str::from_utf8(content) {
        Ok(text) => texts(layout, text),
        Err(_) => illegible("does not hold UTF-8 text"),
    };
    read.map_err(|Illegible(why)| unreadable(place, &why)).and_then(|texts| made_of(texts, place, target, marked))
}

/// The document that these parts make.
///
/// # Errors
/// As for [`document`].
pub fn made_of(mut texts: Texts, place: &str, target: &TargetName, marked: Marked) -> Result<Document, Fault> {
    if let Some(other) = texts.get("target").filter(|other| other.expose() != target.as_str()) {
        // What is no name could be anything.
        let whose =
            other.expose().parse::<TargetName>().map_or_else(|_| "another target".to_owned(), |name| name.to_string());
        return Err(Fault::new(Kind::SinkDenied, format!("{place} holds the password of {whose}, not of {target}"))
            .advise("correct the name of what is followed, or its source"));
    }
    let said = texts.get("generation").map(|text| text.expose().parse().map(Generation));
    let generation = match (said, marked.generation) {
        (Some(Ok(said)), _) => said,
        (None, Some(marked)) => marked,
        (Some(Err(_)), _) => return Err(unreadable(place, "names a generation that is no number")),
        (None, None) => return Err(unreadable(place, "does not say which generation it is")),
    };
    let Some(login_password) = texts.remove("password").filter(|password| !password.expose().is_empty()) else {
        return Err(unreadable(place, "holds no password"));
    };
    let address = texts.get("url").and_then(|url| Url::parse(url.expose()).ok());
    let port = texts.get("port").map(|port| port.expose().parse::<u16>());
    let endpoint = match (texts.get("host"), port, texts.get("tls"), address) {
        (_, Some(Err(_)), _, _) => return Err(unreadable(place, "names a port that is no number")),
        (Some(host), Some(Ok(port)), Some(tls), _) => {
            Some(Endpoint { host: host.expose().to_owned(), port, tls: tls.expose() == "true" })
        }
        (_, _, _, Some(url)) => {
            let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            Some(Endpoint { host, port: url.port().unwrap_or(6379), tls: url.scheme() == "rediss" })
        }
        (_, _, _, None) => None,
    };
    let plain = |text: Option<Secret>| text.map(|text| text.expose().to_owned()).filter(|text| !text.is_empty());
    Ok(Document {
        target: target.clone(),
        generation,
        rotation: marked.rotation,
        proven_at: Moment::from_millis(0),
        account: plain(texts.remove("account")).unwrap_or_default(),
        password: texts.remove("bare_password").unwrap_or_else(|| login_password.clone()),
        login_user: plain(texts.remove("user")),
        login_password,
        endpoint,
    })
}

fn unreadable(place: &str, why: &str) -> Fault {
    Fault::new(Kind::SecretUnreadable, format!("{place} {why}"))
        .advise("have keywheel write it, in a form that holds what is followed")
}

/// The name of each part that stands in there.
pub fn named(names: &Names) -> Vec<(&'static str, &str)> {
    NAMES.into_iter().filter_map(|part| Some((part, names.of(part)?))).collect()
}

fn texts(layout: &Layout, text: &str) -> Legible<Texts> {
    let secret = |text: &str| Secret::new(text.to_owned());
    match layout {
        Layout::Raw => Ok([("password", secret(reading::without_line_end(text)))].into()),
        Layout::Env { prefix, names } => {
            let of_prefix: Vec<(&str, String)> =
                VARIABLES.into_iter().map(|(part, name)| (part, format!("{prefix}{name}"))).collect();
            let wanted: Vec<(&'static str, &str)> = match names.are_chosen() {
                true => named(names),
                false => {
                    VARIABLES.iter().zip(&of_prefix).map(|((part, _), (_, name))| (*part, name.as_str())).collect()
                }
            };
            from_list(&wanted, reading::env_values(text)?)
        }
        Layout::Yaml(names) => from_list(&named(names), reading::yaml_values(text)?),
        Layout::Json(names) => {
            let wanted = named(names);
            let keys: Vec<&str> = wanted.iter().map(|(_, name)| *name).collect();
            let found = picked(text, &keys).or_else(|_| illegible("is no JSON object, or says something twice"))?;
            let mut texts = Texts::new();
            for (part, name) in wanted {
                let value = match found.get(name) {
                    Some(Found::Text(value)) => value.clone(),
                    Some(Found::Number(number)) => secret(&number.to_string()),
                    Some(Found::Flag(flag)) => secret(&flag.to_string()),
                    Some(Found::Nothing) | None => continue,
                    Some(Found::Other) => {
                        return illegible(format!("has something under \"{name}\" that no {part} is"));
                    }
                };
                texts.insert(part, value);
            }
            Ok(texts)
        }
        Layout::Url => {
            let text = reading::without_line_end(text);
            let password = reading::password(layout, text)?;
            let Ok(url) = Url::parse(text) else { return illegible("is no redis:// or rediss:// address") };
            let user = percent_encoding::percent_decode_str(url.username()).decode_utf8();
            let Ok(user) = user else { return illegible("is an address whose user is not UTF-8") };
            Ok([("user", secret(&user)), ("password", password), ("url", secret(text))].into())
        }
        Layout::Template(_) => illegible("is made by a template, which cannot be read backwards"),
        Layout::Directory(_) => illegible("is a folder"),
    }
}

/// The wanted parts of a list of names and values; a name that stands there twice could be read either way.
fn from_list(wanted: &[(&'static str, &str)], values: reading::Values<'_>) -> Legible<Texts> {
    let mut texts = Texts::new();
    for (name, value) in values {
        let Some((part, _)) = wanted.iter().find(|(_, known)| *known == name) else { continue };
        let Some(value) = value else { continue };
        if texts.insert(part, Secret::new((*value).clone())).is_some() {
            return illegible(format!("sets {name} twice"));
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::address::tests::document as sample;
    use crate::sink::file::Format;

    const PASSWORD: &str = "se\"c'o`n$d\\ %äß";

    fn whole() -> Document {
        Document {
            endpoint: Some(Endpoint { host: "10.0.0.12".to_owned(), port: 6380, tls: true }),
            account: "orders_a".to_owned(),
            login_user: Some("orders_a".to_owned()),
            password: Secret::new(PASSWORD.to_owned()),
            login_password: Secret::new(PASSWORD.to_owned()),
            ..sample(7, PASSWORD)
        }
    }

    /// What is handed on renders the same text again.
    #[test]
    fn what_was_written_is_copied_whole() {
        for (format, marked) in [
            (Format::Env, 7),
            (Format::Json, 0),
            (Format::Json, 9),
            (Format::Yaml, 0),
            (Format::Url, 7),
            (Format::Raw, 7),
        ] {
            let layout = Layout::new(format, None, None, None).unwrap();
            for original in [whole(), Document { endpoint: None, login_user: None, ..whole() }] {
                if format == Format::Url && original.endpoint.is_none() {
                    continue;
                }
                let text = layout.render(&original).unwrap();
                let copy = document(&layout, &text, "it", &original.target, marked.into()).unwrap();
                assert_eq!(copy.generation, Generation(7), "{format:?}");
                assert_eq!(*layout.render(&copy).unwrap(), *text, "{format:?}");
                assert_eq!(copy.login_password.expose(), PASSWORD);
            }
        }
    }

    #[test]
    fn what_does_not_say_enough_is_refused_without_a_word_of_it() {
        let json = Layout::new(Format::Json, None, None, None).unwrap();
        let raw = Layout::new(Format::Raw, None, None, None).unwrap();
        for (layout, text, said) in [
            (&json, "{\"password\":\"hunter2\"}", "does not say which generation"),
            (&json, "{\"password\":\"hunter2\",\"generation\":\"hunter2\"}", "no number"),
            (&json, "{\"password\":\"hunter2\",\"generation\":[1]}", "\"generation\""),
            (&json, "{\"generation\":1}", "holds no password"),
            (&json, "{\"password\":\"hunter2\",\"password\":\"hunter2\"}", "twice"),
            (&json, "{\"target\":\"hunter2 \",\"password\":\"hunter2\",\"generation\":1}", "another target"),
            (&json, "{\"target\":\"billing\",\"password\":\"hunter2\",\"generation\":1}", "of billing, not of"),
            (&json, "hunter2", "no JSON"),
            (&raw, "hunter2", "does not say which generation"),
        ] {
            let fault = document(layout, text.as_bytes(), "it", &whole().target, Marked::default()).unwrap_err();
            assert!(fault.what.contains(said) && !fault.to_string().contains("hunter2"), "{text}: {fault}");
        }
    }
}
