//! Sink files: a line each for the format, the user (`-`: none) and the host (`-`: none), then the password.

use super::stage::{block_on, chosen, first_line, holds_none_of};
use super::tencent::secret;
use keywheel::moment::Moment;
use keywheel::name::Generation;
use keywheel::resp::Place;
use keywheel::sink::file::{FileSettings, FileSink, Format};
use keywheel::sink::{Document, Endpoint, Held, Sink};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use std::cell::OnceCell;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

thread_local! {
    static FOLDER: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
}

/// A format, and a template where the format is one.
type Wanted = (Format, Option<&'static str>);

const WORDS: [(&str, Wanted); 8] = [
    ("raw", (Format::Raw, None)),
    ("env", (Format::Env, None)),
    ("json", (Format::Json, None)),
    ("yaml", (Format::Yaml, None)),
    ("url", (Format::Url, None)),
    ("json filter", (Format::Template, Some("{{ password | json }}"))),
    ("url filter", (Format::Template, Some("{{ password | url }}"))),
    ("shell filter", (Format::Template, Some("{{ password | shell }}"))),
];

/// What a format's own readers find is the user and the password that were written, and keywheel reads the same back.
pub fn run(input: &[u8]) {
    let (word, rest) = first_line(input);
    let (user, rest) = first_line(rest);
    let (host, password) = first_line(rest);
    let Ok(password) = std::str::from_utf8(password) else { return };
    let (format, template) = chosen(word, &WORDS);
    let user = Some(user).filter(|user| *user != "-" && !user.is_empty());
    let endpoint =
        Some(host).filter(|host| *host != "-").and_then(|host| Place::parse(&format!("redis://{host}")).ok());
    let document = document(user, endpoint, password);
    let sink = sink(format, template);
    match rendered(&sink, &document) {
        Some(text) => {
            is_read_as_written(format, template, &text, &document);
            if template.is_none() {
                is_read_back(&sink, &text, password);
                is_copied(&sink, format, &text, password);
            }
        }
        None => {
            let odd = [Some(password), user].into_iter().flatten().any(|text| text.chars().any(char::is_control));
            let missing = matches!(format, Format::Url) && document.endpoint.is_none();
            assert!(missing || odd && matches!(format, Format::Env), "{format:?} cannot be written");
            if let Err(fault) = block_on(sink.holds(&document)) {
                let secrets: Vec<&str> = Some(password).filter(|text| text.len() > 8).into_iter().collect();
                holds_none_of(&fault.to_string(), &secrets);
            }
        }
    }
}

pub fn path() -> PathBuf {
    FOLDER.with(|folder| folder.get_or_init(|| tempfile::tempdir().unwrap()).path().join("redis"))
}

fn sink(format: Format, template: Option<&str>) -> FileSink {
    let (owner, group, prefix) = (None, None, None);
    let template = template.map(str::to_owned);
    FileSink::new(FileSettings {
        path: path(),
        format,
        mode: "0600".to_owned(),
        owner,
        group,
        prefix,
        template,
        fields: None,
    })
    .unwrap()
}

/// The file's content; what stands before its first line end are the sink's settings.
pub fn rendered(sink: &FileSink, document: &Document) -> Option<String> {
    let shape = String::from_utf8(sink.shape(document)?).expect("a document is text");
    Some(shape.split_once('\n').expect("a line of settings").1.to_owned())
}

fn is_read_as_written(format: Format, template: Option<&str>, text: &str, document: &Document) {
    let (user, password) = (document.login_user.as_deref(), document.login_password.expose());
    let host = document.endpoint.as_ref().map(|endpoint| endpoint.host.as_str());
    let fields = |read: Value| {
        assert_eq!(read["password"], password);
        assert_eq!(read["user"].as_str(), user);
        assert_eq!(read["host"].as_str(), host);
        assert_eq!(read["generation"], 3);
        if let Some(url) = read["url"].as_str() {
            is_address(url, user, password, host);
        }
    };
    match (format, template) {
        (Format::Raw, _) => assert_eq!(text, password),
        (Format::Json, _) => fields(serde_json::from_str(text).unwrap()),
        (Format::Yaml, _) => fields(serde_yaml_ng::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))),
        (Format::Env, _) => {
            let read: Vec<(String, String)> = dotenvy::from_read_iter(text.as_bytes()).map(Result::unwrap).collect();
            let value = |key: &str| read.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
            assert_eq!(
                (value("REDIS_PASSWORD"), value("REDIS_USER")),
                (Some(password), Some(user.unwrap_or_default()))
            );
            assert_eq!(value("REDIS_HOST"), host);
        }
        (Format::Url, _) => is_address(text, user, password, host),
        (Format::Directory, _) => unreachable!("it is not among the words: a folder is not one text"),
        (Format::Template, Some(template)) if template.contains("json") => {
            assert_eq!(serde_json::from_str::<String>(text).unwrap(), password);
        }
        (Format::Template, Some(template)) if template.contains("url") => {
            assert_eq!(percent_decode_str(text).decode_utf8().unwrap(), password);
        }
        (Format::Template, _) => {
            let word = text.strip_prefix('\'').and_then(|word| word.strip_suffix('\'')).expect("a word in quotes");
            assert_eq!(word.replace("'\\''", "'"), password);
        }
    }
}

fn is_address(text: &str, user: Option<&str>, password: &str, host: Option<&str>) {
    let url = url::Url::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let plain = |part: &str| percent_decode_str(part).decode_utf8().unwrap().into_owned();
    assert_eq!(plain(url.username()), user.unwrap_or_default());
    assert_eq!(plain(url.password().unwrap_or_default()), password);
    let bare = url.host_str().map(|host| host.trim_start_matches('[').trim_end_matches(']'));
    assert_eq!(bare, host, "{text}");
}

fn is_read_back(sink: &FileSink, text: &str, password: &str) {
    let path = path();
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    match block_on(sink.read_back(&"orders-cache".parse().unwrap())) {
        Ok(Some(Held::AsSent(held))) => {
            // What a person's editor adds to a file of the password alone is not part of it.
            let plain = password.strip_suffix('\n').unwrap_or(password);
            let plain = plain.strip_suffix('\r').unwrap_or(plain);
            assert!(held.expose() == password || text == password && held.expose() == plain, "{:?}", held.expose());
        }
        Ok(Some(Held::Bare(_))) => panic!("a file holds what clients send"),
        Ok(None) => assert!(text.is_empty(), "nothing is read back of {text:?}"),
        Err(fault) => {
            let secrets: Vec<&str> = Some(password).filter(|text| text.len() > 8).into_iter().collect();
            holds_none_of(&fault.to_string(), &secrets);
            let lines = password.trim_matches(['\n', '\r']).is_empty();
            assert!(lines || text.len() > 64 * 1024, "{fault}: {text:?}");
        }
    }
}

/// What is handed on makes the same text again. Only some formats say which generation it is; of the others the marker does, and there is none here.
fn is_copied(sink: &FileSink, format: Format, text: &str, password: &str) {
    let says_which = matches!(format, Format::Json | Format::Yaml);
    match block_on(sink.copy(&"orders-cache".parse().unwrap())) {
        Ok(Some(copy)) => assert_eq!(rendered(sink, &copy).as_deref(), Some(text), "{format:?}"),
        Ok(None) => assert!(text.is_empty(), "nothing is copied of {text:?}"),
        Err(fault) => {
            let secrets: Vec<&str> = Some(password).filter(|text| text.len() > 8).into_iter().collect();
            holds_none_of(&fault.to_string(), &secrets);
            assert!(!says_which || password.is_empty() || text.len() > 64 * 1024, "{fault}: {text:?}");
        }
    }
}

pub fn document(user: Option<&str>, place: Option<Place>, password: &str) -> Document {
    Document {
        target: "orders-cache".parse().unwrap(),
        generation: Generation(3),
        rotation: None,
        proven_at: Moment::from_seconds(0),
        account: user.unwrap_or("root").to_owned(),
        password: secret(password),
        login_user: user.map(str::to_owned),
        login_password: secret(password),
        endpoint: place.map(|place| Endpoint { host: place.host, port: place.port, tls: false }),
    }
}
