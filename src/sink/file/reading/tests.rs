//! What is written can be read back, and what is read from a foreign file is what every other reader takes it for.

use super::*;
use crate::sink::address::tests::document;
use crate::sink::file::Format;
use crate::sink::file::format::tests::{NASTY, read_by_shell, read_like_systemd, rendered};
use proptest::prelude::*;

const READABLE: [Format; 5] = [Format::Raw, Format::Env, Format::Json, Format::Yaml, Format::Url];

fn layout(format: Format) -> Layout {
    Layout::new(format, None, None, None).unwrap()
}

fn read(format: Format, text: &str) -> Result<String, String> {
    match password(&layout(format), text) {
        Ok(password) => Ok(password.expose().to_owned()),
        Err(Illegible(why)) => Err(why),
    }
}

fn check_round_trip(password: &str) {
    for format in READABLE {
        let mut document = document(7, password);
        assert_eq!(read(format, &rendered(format, &document)), Ok(password.to_owned()), "{format:?}");
        document.login_user = Some("app \"é".to_owned());
        if format != Format::Url {
            document.endpoint = None;
        }
        assert_eq!(read(format, &rendered(format, &document)), Ok(password.to_owned()), "{format:?}");
    }
}

#[test]
fn every_printable_character_and_every_nasty_password_comes_back() {
    for c in ' '..='~' {
        check_round_trip(&c.to_string());
        check_round_trip(&format!("a{c}{c}b"));
    }
    NASTY.into_iter().for_each(check_round_trip);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_password_comes_back(password in "[ -~]{1,40}|\\PC{1,20}") {
        check_round_trip(&password);
    }

    #[test]
    fn any_text_at_all_comes_back_from_json_yaml_and_addresses(password in any::<String>()) {
        prop_assume!(!password.is_empty());
        for format in [Format::Json, Format::Yaml, Format::Url] {
            prop_assert_eq!(read(format, &rendered(format, &document(1, &password))), Ok(password.clone()));
        }
    }

    /// The other direction: whatever is taken from a line that keywheel did not write, dotenv readers and systemd take for the same.
    #[test]
    fn what_is_read_from_an_env_file_is_what_its_other_readers_see(value in "[ -~]{0,12}|[a\"'$`#=!~ \\\\]{0,10}|\"[^\"]{0,8}\"") {
        let text = format!("OTHER=1\nREDIS_PASSWORD={value}\n");
        if let Ok(password) = read(Format::Env, &text) {
            let expected = [("OTHER", "1"), ("REDIS_PASSWORD", &password)].map(|(key, value)| (key.to_owned(), value.to_owned()));
            prop_assert_eq!(&read_like_systemd(&text), &expected);
            let dotenv: Vec<(String, String)> = dotenvy::Iter::new(text.as_bytes()).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(&dotenv, &expected);
        }
    }

    #[test]
    fn what_is_read_from_yaml_is_what_its_other_readers_see(value in "[ -~]{0,12}|[a\"'\\\\nux0-9: ]{0,12}|\"[ -~]{0,12}\"") {
        let text = format!("host: null\npassword: {value}\n");
        if let Ok(password) = read(Format::Yaml, &text) {
            let yaml: serde_json::Value = serde_yaml_ng::from_str(&text).unwrap();
            prop_assert_eq!(yaml["password"].as_str(), Some(password.as_str()));
        }
    }

    #[test]
    fn nothing_makes_a_reader_fall_over(text in "\\PC{0,60}|[a-z_=: \"'\\\\\n{}@/%u0-9]{0,80}") {
        for format in READABLE {
            let _either = read(format, &text);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_is_read_from_an_env_file_is_what_a_shell_sees(value in "[a-zA-Z0-9_.,:/@%+=-]{1,12}|'[^'\\PC]{1,12}'|\"[a-z #!~;&|(){}*?<>']{1,12}\"|\"(\\\\[\"$\\\\]|[a-z]){1,6}\"") {
        let text = format!("REDIS_PASSWORD={value}\n");
        if let Ok(password) = read(Format::Env, &text) {
            prop_assert_eq!(read_by_shell(&text, &["REDIS_PASSWORD"]), [password]);
        }
    }
}

/// A foreign file, and the password in it or words of why not.
const FOREIGN: &[(Format, &str, Result<&str, &str>)] = &[
    (Format::Raw, "by-hand\n", Ok("by-hand")),
    (Format::Raw, "by-hand\r\n", Ok("by-hand")),
    (Format::Raw, "\n", Err("an empty password")),
    (Format::Env, "# ours\n\nREDIS_HOST='h'\nREDIS_PASSWORD=plain-1\n", Ok("plain-1")),
    (Format::Env, "REDIS_PASSWORD='it'\"'\"'s'\n", Ok("it's")),
    (Format::Env, "REDIS_PASS=hunter2\n", Err("does not set REDIS_PASSWORD")),
    (Format::Env, "REDIS_PASSWORD=\"\"\n", Err("an empty password")),
    (Format::Env, "REDIS_PASSWORD=a\nREDIS_PASSWORD=hunter2\n", Err("sets REDIS_PASSWORD twice")),
    (
        Format::Env,
        "export REDIS_PASSWORD=hunter2\n",
        Err("has a line 1 that readers of env files take in different ways"),
    ),
    (Format::Env, "A=1\nREDIS_PASSWORD=hunter2 # why\n", Err("a line 2")),
    (Format::Env, "REDIS_PASSWORD=\"hunter$2\"\n", Err("a line 1")),
    (Format::Env, "REDIS_PASSWORD=\"hunter\\2\"\n", Err("a line 1")),
    (Format::Env, "NOTE=\"opened\nREDIS_PASSWORD=hunter2\n\"\n", Err("a line 1")),
    (Format::Json, "{\"password\":\"p\\u00e9\",\"more\":[1]}", Ok("pé")),
    (Format::Json, "{\"password\":\"hunter2\"", Err("is no JSON at line 1 column 21")),
    (Format::Json, "{\"password\":[\"hunter2\"]}", Err("no text under \"password\"")),
    (Format::Json, "\"hunter2\"", Err("no text under \"password\"")),
    (Format::Json, "{\"password\":\"a\",\"password\":\"hunter2\"}", Err("no text under \"password\"")),
    (Format::Json, "{\"password\":\"\"}", Err("an empty password")),
    (Format::Yaml, "# ours\npassword: \"p\\\"\\\\\\u00e9\"\nport: 6379\n", Ok("p\"\\é")),
    (Format::Yaml, "password: hunter2\n", Err("a value on line 1 that is not in double quotes")),
    (Format::Yaml, "password: null\n", Err("a value on line 1")),
    (Format::Yaml, "redis:\n  password: \"hunter2\"\n", Err("a line 1 that is not one KEY: \"VALUE\"")),
    (Format::Yaml, "password: \"hunter\\x32\"\n", Err("a value on line 1")),
    (Format::Yaml, "password: \"a\"\npassword: \"hunter2\"\n", Err("password: twice")),
    (Format::Yaml, "host: \"h\"\n", Err("has no password:")),
    (Format::Url, "rediss://app:p%40s@h:1/0?x=@#@\n", Ok("p@s")),
    (Format::Url, "redis://:a@b@h:1", Ok("a@b")),
    (Format::Url, "redis://h:6379", Err("without USER:PASSWORD@")),
    (Format::Url, "redis://:@h:6379", Err("an empty password")),
    (Format::Url, "http://:hunter2@h", Err("is no redis://")),
    (Format::Url, "redis://:hunter2%ff@h", Err("is not UTF-8")),
];

#[test]
fn foreign_files_are_read_or_refused_without_a_word_of_them() {
    for &(format, text, expected) in FOREIGN {
        match (read(format, text), expected) {
            (Ok(password), Ok(expected)) => assert_eq!(password, expected, "{text}"),
            (Err(why), Err(expected)) => {
                assert!(why.contains(expected), "{text}: {why}");
                assert!(!why.contains("hunter"), "{text}: {why}");
            }
            (found, _) => panic!("{text}: {found:?}, not {expected:?}"),
        }
    }
    let template = Layout::new(Format::Template, None, Some("{{ password }}".to_owned()), None).unwrap();
    assert!(password(&template, "hunter2").unwrap_err().0.contains("template"));
}
