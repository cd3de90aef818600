//! Every format, read back by the parsers it was written for.

use super::*;
use crate::sink::address::tests::document;
use proptest::prelude::*;
use std::io::Write;

pub const NASTY: [&str; 14] = [
    "plain-Text_9",
    "'",
    "''\"\"",
    "$HOME `id` $(id) \\",
    "\\\"",
    "a'b`c$d\"e\\f",
    " # ; & | ",
    "{{ password }}{% x %}",
    "%41%zz+",
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    "null",
    "~",
    "0123",
    "é漢字🦀\u{a0}",
];

pub fn rendered(format: Format, document: &Document) -> String {
    let layout = Layout::new(format, None, None, None).unwrap();
    String::from_utf8(layout.render(document).unwrap().to_vec()).unwrap()
}

fn template(text: &str) -> Result<Layout, Vec<String>> {
    Layout::new(Format::Template, None, Some(text.to_owned()), None)
}

/// What a POSIX shell has in its variables after reading the file with `.`.
pub fn read_by_shell(text: &str, keys: &[&str]) -> Vec<String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let words: String = keys.iter().map(|key| format!(" \"${key}\"")).collect();
    let output = std::process::Command::new("sh")
        .args(["-euc", &format!(". \"$0\"; printf '%s\\0'{words}")])
        .arg(file.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let values = String::from_utf8(output.stdout).unwrap();
    values.split_terminator('\0').map(str::to_owned).collect()
}

/// `EnvironmentFile=` as systemd.exec(5) words it: lines; a backslash is kept except before what double quotes allow it for; single
/// quotes are literal; quoted parts join up.
pub fn read_like_systemd(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for line in text.lines() {
        let (key, value) = line.split_once('=').unwrap();
        let mut taken = String::new();
        let mut quote = None;
        let mut rest = value.chars().peekable();
        while let Some(c) = rest.next() {
            match (quote, c) {
                (None, '"' | '\'') => quote = Some(c),
                (None, '\\') => taken.extend(rest.next()),
                (Some(open), _) if c == open => quote = None,
                (Some('"'), '\\') => match rest.next_if(|next| "\"\\`$".contains(*next)) {
                    Some(next) => taken.push(next),
                    None => taken.push('\\'),
                },
                _ => taken.push(c),
            }
        }
        assert_eq!(quote, None, "an open quote would swallow the next line: {text}");
        found.push((key.to_owned(), taken));
    }
    found
}

fn check_env(password: &str, with_shell: bool) {
    let mut document = document(3, password);
    document.login_user = Some("app".to_owned());
    let url = connection_url(&document).unwrap().to_string();
    let expected: Vec<(String, String)> = [
        ("REDIS_USER", "app"),
        ("REDIS_PASSWORD", password),
        ("REDIS_HOST", "10.0.0.12"),
        ("REDIS_PORT", "6379"),
        ("REDIS_URL", &url),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .to_vec();
    let text = rendered(Format::Env, &document);
    assert_eq!(read_like_systemd(&text), expected, "{text}");
    let dotenv: Vec<(String, String)> =
        dotenvy::Iter::new(text.as_bytes()).collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(dotenv, expected, "{text}");
    if with_shell {
        let keys: Vec<&str> = expected.iter().map(|(key, _)| key.as_str()).collect();
        let values: Vec<String> = expected.iter().map(|(_, value)| value.clone()).collect();
        assert_eq!(read_by_shell(&text, &keys), values, "{text}");
    }
}

fn check_structured(password: &str) {
    let document = document(3, password);
    let url = connection_url(&document).unwrap().to_string();
    let expected = serde_json::json!({
        "target": "orders-cache", "generation": 3, "account": "root", "user": null, "password": password,
        "host": "10.0.0.12", "port": 6379, "tls": false, "url": url,
    });
    let json: serde_json::Value = serde_json::from_str(&rendered(Format::Json, &document)).unwrap();
    assert_eq!(json, expected);
    let yaml: serde_json::Value = serde_yaml_ng::from_str(&rendered(Format::Yaml, &document)).unwrap();
    assert_eq!(yaml, expected);
    assert_eq!(rendered(Format::Raw, &document), password);

    let parsed = url::Url::parse(&rendered(Format::Url, &document)).unwrap();
    let decoded = percent_encoding::percent_decode_str(parsed.password().unwrap_or_default());
    assert_eq!(decoded.decode_utf8().unwrap(), password);
    assert_eq!((parsed.host_str(), parsed.port()), (Some("10.0.0.12"), Some(6379)));

    let all =
        template("{{ password }}\0{{ password | json }}\0{{ password | url }}\0{{ password | shell }}\n").unwrap();
    let text = String::from_utf8(all.render(&document).unwrap().to_vec()).unwrap();
    let parts: Vec<&str> = text.strip_suffix('\n').unwrap().split('\0').collect();
    assert_eq!(parts[0], password);
    assert_eq!(serde_json::from_str::<String>(parts[1]).unwrap(), password);
    assert_eq!(percent_encoding::percent_decode_str(parts[2]).decode_utf8().unwrap(), password);
    assert_eq!(read_by_shell(&format!("X={}\n", parts[3]), &["X"]), [password]);
}

#[test]
fn nasty_passwords_come_back_from_every_reader() {
    for password in NASTY {
        check_env(password, true);
        check_structured(password);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_printable_password_comes_back_from_env_readers(password in "[ -~]{1,40}") {
        check_env(&password, false);
    }

    #[test]
    fn any_text_comes_back_from_env_readers(password in "\\PC{1,20}") {
        check_env(&password, false);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_password_comes_back_from_a_shell(password in "[ -~]{1,40}|\\PC{1,20}") {
        check_env(&password, true);
        check_structured(&password);
    }

    #[test]
    fn yaml_takes_any_character(password in any::<String>()) {
        let document = document(1, &password);
        let yaml: serde_json::Value = serde_yaml_ng::from_str(&rendered(Format::Yaml, &document)).unwrap();
        prop_assert_eq!(&yaml["password"], &serde_json::Value::from(password));
    }
}

#[test]
fn what_the_target_does_not_have_is_left_out_or_refused() {
    let mut document = document(1, "p");
    document.endpoint = None;
    assert_eq!(rendered(Format::Env, &document), "REDIS_USER=\"\"\nREDIS_PASSWORD=\"p\"\n");
    let json: serde_json::Value = serde_json::from_str(&rendered(Format::Json, &document)).unwrap();
    assert!(json["url"].is_null() && json["host"].is_null());
    for layout in [Layout::new(Format::Url, None, None, None).unwrap(), template("{{ host }}").unwrap()] {
        assert!(layout.needs_endpoint());
        let fault = layout.render(&document).unwrap_err();
        assert_eq!(fault.kind, Kind::SinkDenied);
        assert!(fault.what.contains("no login address"), "{fault}");
    }
    assert!(!template("{{ password }}").unwrap().needs_endpoint());
}

#[test]
fn control_characters_do_not_get_into_an_env_file() {
    let layout = Layout::new(Format::Env, None, None, None).unwrap();
    let fault = layout.render(&document(1, "hunter2\nREDIS_HOST=evil")).unwrap_err();
    assert_eq!(fault.kind, Kind::SinkDenied);
    assert!(!fault.to_string().contains("hunter2"));
}

#[test]
fn the_prefix_is_the_owners_choice() {
    let layout = Layout::new(Format::Env, Some("ORDERS_".to_owned()), None, None).unwrap();
    let text = String::from_utf8(layout.render(&document(1, "p")).unwrap().to_vec()).unwrap();
    assert!(text.lines().all(|line| line.starts_with("ORDERS_")), "{text}");
}

#[test]
fn bad_settings_and_templates_are_refused_when_the_configuration_loads() {
    for (format, prefix, text, said) in [
        (Format::Raw, Some("X_"), None, "only with format = \"env\""),
        (Format::Raw, None, Some("x"), "only with format = \"template\""),
        (Format::Env, Some("9-"), None, "cannot begin a variable"),
        (Format::Template, None, None, "needs a template"),
        (Format::Template, None, Some("{{ password"), "cannot be used"),
        (Format::Template, None, Some("{{ pasword }}"), "\"pasword\""),
        (Format::Template, None, Some("{% if user %}{{ secret }}{% endif %}"), "\"secret\""),
        (Format::Template, None, Some("{{ password | base46 }}"), "base46"),
        (Format::Template, None, Some("{% include 'x' %}"), "cannot be used"),
    ] {
        let wrong = Layout::new(format, prefix.map(str::to_owned), text.map(str::to_owned), None).unwrap_err();
        assert!(wrong.iter().any(|finding| finding.contains(said)), "{wrong:?}");
    }
}

/// Parts of a document under names of the owner's choice.
fn chosen<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(part, name)| (part.to_owned(), name)).collect()
}

fn named(pairs: &[(&'static str, &str)]) -> BTreeMap<String, String> {
    chosen(pairs.iter().map(|(part, name)| (*part, (*name).to_owned())))
}

/// What each part of the document is, as JSON has it.
fn part(document: &Document, name: &str) -> serde_json::Value {
    match name {
        "target" => "orders-cache".into(),
        "generation" => 3.into(),
        "account" => "root".into(),
        "user" => document.login_user.clone().into(),
        "password" => document.login_password.expose().into(),
        "bare_password" => document.password.expose().into(),
        "host" => "10.0.0.12".into(),
        "port" => 6379.into(),
        "tls" => false.into(),
        "url" => connection_url(document).unwrap().to_string().into(),
        other => panic!("{other}"),
    }
}

/// Exactly the parts that were chosen, under their names, by the real parser of each format; and the password by our own.
fn check_fields(parts: &[&'static str], password: &str, user: Option<&str>) {
    let mut document = document(3, password);
    document.login_user = user.map(str::to_owned);
    document.login_password = Secret::new(format!("root@{password}"));
    let written = |format, fields: &BTreeMap<String, String>| {
        let layout = Layout::new(format, None, None, Some(fields)).unwrap();
        let text = String::from_utf8(layout.render(&document).unwrap().to_vec()).unwrap();
        let read = crate::sink::file::reading::password(&layout, &text);
        assert_eq!(layout.can_be_read_back(), parts.contains(&"password"));
        let read = read.ok().map(|password| password.expose().to_owned());
        let sent = parts.contains(&"password").then(|| document.login_password.expose().to_owned());
        assert_eq!(read, sent, "{text}");
        text
    };
    let keys = chosen(parts.iter().map(|name| (*name, format!("my-{name}.9"))));
    let object: serde_json::Map<String, serde_json::Value> =
        parts.iter().map(|name| (keys[*name].clone(), part(&document, name))).collect();
    let json: serde_json::Value = serde_json::from_str(&written(Format::Json, &keys)).unwrap();
    assert_eq!(json, serde_json::Value::from(object.clone()));
    let yaml: serde_json::Value = serde_yaml_ng::from_str(&written(Format::Yaml, &keys)).unwrap();
    assert_eq!(yaml, serde_json::Value::from(object));

    let variables = chosen(parts.iter().map(|name| (*name, format!("MY_{name}_9"))));
    let plain = |value: serde_json::Value| match (value.as_str(), value.is_null()) {
        (Some(text), _) => text.to_owned(),
        (None, true) => String::new(),
        (None, false) => value.to_string(),
    };
    let expected: BTreeMap<String, String> =
        parts.iter().map(|name| (variables[*name].clone(), plain(part(&document, name)))).collect();
    let text = written(Format::Env, &variables);
    let dotenv: BTreeMap<String, String> = dotenvy::Iter::new(text.as_bytes()).collect::<Result<_, _>>().unwrap();
    assert_eq!(dotenv, expected, "{text}");
    assert_eq!(read_like_systemd(&text).into_iter().collect::<BTreeMap<_, _>>(), expected, "{text}");
}

#[test]
fn fields_choose_the_parts_and_name_them() {
    for password in NASTY {
        check_fields(&NAMES, password, Some("app \"é"));
        check_fields(&["password"], password, None);
        check_fields(&["url"], password, None);
        check_fields(&["user", "password", "port", "tls"], password, None);
        check_fields(&["bare_password", "generation"], password, None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_password_comes_back_under_any_choice_of_fields(
        password in "[ -~]{1,40}|\\PC{1,20}",
        parts in proptest::sample::subsequence(NAMES.to_vec(), 0..NAMES.len()),
    ) {
        let parts: Vec<&str> = parts.into_iter().filter(|part| *part != "password").chain(["password"]).collect();
        check_fields(&parts, &password, None);
    }
}

/// An address that is all there is to write needs one.
#[test]
fn an_address_alone_needs_a_login_address() {
    let layout = Layout::new(Format::Json, None, None, Some(&named(&[("url", "uri")]))).unwrap();
    assert!(layout.needs_endpoint());
    let mut document = document(1, "p");
    document.endpoint = None;
    assert_eq!(layout.render(&document).unwrap_err().kind, Kind::SinkDenied);
    let both = named(&[("url", "uri"), ("password", "secret")]);
    let both = Layout::new(Format::Json, None, None, Some(&both)).unwrap();
    assert!(!both.needs_endpoint());
    let text = both.render(&document).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(json, serde_json::json!({ "secret": "p", "uri": null }));
}

#[test]
fn fields_that_make_no_sense_are_refused_when_the_configuration_loads() {
    for (format, prefix, pairs, said) in [
        (Format::Raw, None, &[("password", "P")][..], "only with format"),
        (Format::Url, None, &[("password", "P")][..], "only with format"),
        (Format::Env, Some("X_"), &[("password", "P")][..], "prefix means nothing"),
        (Format::Env, None, &[("pasword", "P"), ("password", "Q")][..], "no document has"),
        (Format::Env, None, &[("password", "9P")][..], "no variable"),
        (Format::Env, None, &[("password", "my-password")][..], "no variable"),
        (Format::Env, None, &[("password", "")][..], "no variable"),
        (Format::Yaml, None, &[("password", "null")][..], "not every reader"),
        (Format::Json, None, &[("password", "a\nb")][..], "not every reader"),
        (Format::Yaml, None, &[("password", "a: b")][..], "not every reader"),
        (Format::Json, None, &[("password", "p"), ("url", "p")][..], "by the same name"),
        (Format::Json, None, &[("host", "h")][..], "leaves the password out"),
    ] {
        let fields = named(pairs);
        let wrong = Layout::new(format, prefix.map(str::to_owned), None, Some(&fields)).unwrap_err();
        assert!(wrong.iter().any(|finding| finding.contains(said)), "{wrong:?}");
    }
}
