//! The configuration as its files are written: what is found, in which words, and what never shows.

use keywheel::config::{self, Config, Loaded, PasswordRef, Provider, SecretRef, Sink};
use keywheel::probe::redis::FormChoice as LoginForm;
use keywheel::provider::Mode;
use keywheel::rotation::plan::Limits;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What every fixture uses where a secret could have got into the wrong place.
const PLANTED: &str = "hunter2";

fn lines(path: &Path, variables: &[(&str, &str)]) -> Vec<String> {
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let findings = match config::load(path, variables) {
        Ok(loaded) => loaded.warnings,
        Err(findings) => findings.0,
    };
    let folder = format!("{}/", path.parent().expect("a file lies in a folder").display());
    findings.iter().map(|finding| finding.to_string().replace(&folder, "")).collect()
}

fn load(path: &Path, variables: &[(&str, &str)]) -> Loaded {
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    config::load(path, variables).unwrap_or_else(|findings| panic!("{findings}"))
}

/// A folder with a `keywheel.toml` of this content.
fn folder(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("keywheel.toml");
    std::fs::write(&path, content).expect("a writable folder");
    (folder, path)
}

const SMALL: &str = r#"
[daemon]
ledger = "sqlite:///var/lib/keywheel/ledger.db"
sealing-key = { file = "/etc/keywheel/sealing-key" }

[providers.shop]
kind = "tencent"
region = "ap-guangzhou"
credentials = { source = "environment" }

[sinks.all]
kind = "command"
argv = ["/bin/store"]

[targets.orders-cache]
provider = "shop"
instance = "crs-1"
adopt = { env = "A" }
sinks = ["all"]
every = "30d"

[targets.orders.cache2]
provider = "shop"
instance = "crs-2"
"#;

/// Each fixture ends with the lines it must produce, `#= …`. With `KEYWHEEL_BLESS` set they are written anew.
#[test]
fn each_fixture_gives_exactly_its_findings() {
    let mut seen = 0;
    for entry in std::fs::read_dir("tests/config").unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let expected: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("#= ")).collect();
        let found = lines(&path, &[]);
        let name = path.file_name().unwrap().to_str().unwrap();
        let found: Vec<String> = found.iter().map(|line| line.replace(&format!("{name}:"), "")).collect();
        if std::env::var_os("KEYWHEEL_BLESS").is_some() {
            let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("#= ")).collect();
            let all = kept.iter().map(|line| (*line).to_owned()).chain(found.iter().map(|line| format!("#= {line}")));
            std::fs::write(&path, all.map(|line| line + "\n").collect::<String>()).unwrap();
        } else {
            assert_eq!(found, expected, "{name}");
        }
        for line in &found {
            assert!(!line.contains(PLANTED), "{name} shows a value: {line}");
        }
        seen += 1;
    }
    assert!(seen >= 9, "{seen} fixtures");
}

#[test]
fn whole_findings_are_laid_out_for_eyes() {
    let (_folder, path) = folder(b"[daemon]\nledger = 5\n\n[demon]\n");
    let shown = config::load(&path, []).unwrap_err().to_string();
    let place = path.display().to_string();
    assert_eq!(
        shown.replace(&place, "F"),
        "F:1:2  daemon.sealing-key\n    This key is missing. Next: add it, such as sealing-key = { credential = \"sealing-key\" }\n\
         F:2:1  daemon.ledger\n    This key holds a text, and this is a number. Next: write ledger = \"sqlite:///var/lib/keywheel/ledger.db\"\n\
         F:4:2  demon\n    There is no such section. Next: did you mean daemon?\n\
         3 problems in the configuration"
    );
}

#[test]
fn files_that_are_no_configuration_are_refused_with_a_sentence() {
    let bad_text = [b"[daemon]\nledger = \"".as_slice(), &[0xff], b"hunter2\"\n"].concat();
    for (content, sentence) in [
        (b"".as_slice(), "keywheel.toml: The configuration is empty"),
        (b"\xef\xbb\xbf# nothing\r\n", "keywheel.toml: The configuration is empty"),
        (&bad_text, "keywheel.toml:2:11: This is not UTF-8. Next: save the file as UTF-8"),
    ] {
        let (_folder, path) = folder(content);
        let found = lines(&path, &[]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(sentence), "{found:?}");
    }
    let (whole, path) = folder(b"");
    std::fs::File::options().write(true).open(&path).unwrap().set_len(100 * 1024 * 1024).unwrap();
    assert!(lines(&path, &[])[0].starts_with("keywheel.toml: The file is larger than 64 MiB"));
    assert_eq!(
        lines(&whole.path().join("absent.toml"), &[]),
        [
            "absent.toml: There is no such file. Next: write it (config/minimal.toml is the smallest) or name another with --config FILE"
        ]
    );
    assert!(lines(whole.path(), &[])[0].ends_with("This is not a file. Next: name the TOML file itself"));
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_change_nothing() {
    let text = format!("\u{feff}{}", SMALL.replace(".cache2", "-two").replace('\n', "\r\n"));
    let (_folder, path) = folder(text.as_bytes());
    assert_eq!(load(&path, &[]).config.targets.len(), 2);
    let (_folder, path) = folder(text.replace("every", "evry").as_bytes());
    let expected =
        "keywheel.toml:20:1: targets.orders-cache.evry: There is no such key here. Next: did you mean every?";
    assert!(lines(&path, &[]).iter().any(|line| line == expected), "{:?}", lines(&path, &[]));
}

#[test]
fn later_layers_win_key_by_key_and_tables_inside_a_section_as_a_whole() {
    let (folder, path) = folder(SMALL.replace(".cache2", "-two").as_bytes());
    std::fs::create_dir(folder.path().join("keywheel.d")).unwrap();
    let more = |name: &str, text: &str| std::fs::write(folder.path().join("keywheel.d").join(name), text).unwrap();
    more("10-first.toml", "[daemon]\nmax-in-flight = 10\nlog = \"json\"\nsealing-key = { credential = \"k\" }\n");
    more("20-second.toml", "[daemon]\nmax-in-flight = 20\n[targets.orders-cache]\naccount = \"app\"\n");
    more(".hidden.toml", "not toml at all");
    more("notes.txt", "not toml at all");
    let Loaded { config, .. } = load(
        &path,
        &[
            ("KEYWHEEL__DAEMON__MAX_IN_FLIGHT", "30"),
            ("KEYWHEEL__TARGETS__ORDERS_CACHE__MAX_AGE", "45d"),
            ("KEYWHEEL__TARGETS__ORDERS_CACHE__ADOPT__FILE", "/p"),
            ("KEYWHEEL__TARGETS__ORDERS_TWO__SINKS", "[\"all\"]"),
            ("KEYWHEEL__PROVIDERS__SHOP__CREDENTIALS", "{ source = \"environment\" }"),
            ("KEYWHEEL_CONFIG", "/elsewhere"),
            ("PATH", "/bin"),
        ],
    );
    assert_eq!(config.daemon.max_in_flight, 30);
    assert_eq!(config.daemon.log, config::LogForm::Json);
    assert_eq!(config.daemon.sealing_key, SecretRef::Credential("k".to_owned()));
    let target = &config.targets[&"orders-cache".parse().unwrap()];
    assert_eq!(target.address.account, "app");
    assert_eq!(target.adopt, Some(PasswordRef::Secret(SecretRef::File("/p".into()))));
    assert!(target.timetable.describe().contains("alert when older than 45d"), "{}", target.timetable.describe());
    assert_eq!(config.targets[&"orders-two".parse().unwrap()].sinks.len(), 1);
    more("30-third.toml", "[daemon]\nlogg = \"hunter2\"\n");
    assert_eq!(
        lines(&path, &[]),
        ["keywheel.d/30-third.toml:2:1: daemon.logg: There is no such key here. Next: did you mean log?"]
    );
}

#[test]
fn variables_are_read_strictly_and_never_shown() {
    let (_folder, path) = folder(SMALL.replace(".cache2", "-cache.2").as_bytes());
    let text = SMALL.replace("[targets.orders.cache2]", "[targets.\"orders.cache\"]");
    std::fs::write(&path, text).unwrap();
    let found = lines(
        &path,
        &[
            ("KEYWHEEL__DAEMON__MAX_IN_FLIGHT", "hunter2"),
            ("KEYWHEEL__DAEMON__LEGDER", "hunter2"),
            ("KEYWHEEL__DAEMON", "hunter2"),
            ("KEYWHEEL__DEAMON__LOG", "hunter2"),
            ("KEYWHEEL__SINKS__ALL__CHECK", "yes"),
            ("KEYWHEEL__SINKS__ALL__ARGV", "/bin/store,hunter2"),
            ("KEYWHEEL__TARGETS__ORDERS_CACHE__MAX_AGE", "hunter2"),
            ("KEYWHEEL__TARGETS__SESSIONS__MAX_AGE", "1d"),
            ("KEYWHEEL__DAEMON__SEALING_KEY", "hunter2"),
        ],
    );
    assert_eq!(
        found,
        [
            "KEYWHEEL__DAEMON: daemon: A variable sets one key, not a section. Next: add a key to the variable's name, such as KEYWHEEL__DAEMON__KEY",
            "KEYWHEEL__DAEMON__LEGDER: daemon: No key has this name. Next: did you mean ledger?",
            "KEYWHEEL__DAEMON__MAX_IN_FLIGHT: daemon.max-in-flight: The variable's value is not a whole number. Next: write digits and nothing else",
            "KEYWHEEL__DAEMON__SEALING_KEY: daemon.sealing-key: The variable's value is not a reference. Next: write it as in TOML, such as { file = \"/path\" }",
            "KEYWHEEL__DEAMON__LOG: No section has this name. Next: did you mean daemon?",
            "KEYWHEEL__SINKS__ALL__ARGV: sinks.all.argv: The variable's value is not a list. Next: write it as in TOML, such as [\"a\", \"b\"]",
            "KEYWHEEL__SINKS__ALL__CHECK: sinks.all.check: The variable's value is neither true nor false. Next: write one of the two words",
            "KEYWHEEL__TARGETS__ORDERS_CACHE__MAX_AGE: targets: It can mean orders-cache or orders.cache. Next: set the key in a file instead",
            "KEYWHEEL__TARGETS__SESSIONS__MAX_AGE: targets: No target in the files has this name. Next: choose from: orders-cache, orders.cache",
        ]
    );
    let bytes = OsStr::from_bytes(b"hunter2\xff").to_owned();
    let findings = config::load(&path, [("KEYWHEEL__DAEMON__LOG".into(), bytes)]).unwrap_err();
    assert_eq!(
        findings.0[0].to_string(),
        "KEYWHEEL__DAEMON__LOG: daemon.log: The variable's value is not UTF-8. Next: correct it"
    );
}

#[test]
fn nothing_a_file_says_is_turned_into_another_type() {
    for (written, kind) in [
        ("true", "true or false"),
        ("123456", "a number"),
        ("1.5", "a number with a fraction"),
        ("1979-05-27", "a date"),
    ] {
        let (_folder, path) = folder(SMALL.replace("\"crs-1\"", written).replace(".cache2", "-two").as_bytes());
        assert_eq!(
            lines(&path, &[]),
            [format!(
                "keywheel.toml:17:1: targets.orders-cache.instance: This key holds a text, and this is {kind}. Next: write instance = \"crs-5a4py64p\""
            )]
        );
    }
}

fn shipped(name: &str) -> Config {
    load(&Path::new("config").join(name), &[]).config
}

#[test]
fn the_shipped_files_can_be_used() {
    let minimal = shipped("minimal.toml");
    assert_eq!(minimal.targets.len(), 1);
    assert_eq!(load(Path::new("config/minimal.toml"), &[]).warnings, []);
    let own = shipped("self-managed.toml");
    let target = &own.targets[&"orders".parse().unwrap()];
    assert_eq!((target.address.instance.as_str(), target.profile.name()), ("orders-cluster", "redis"));
    assert_eq!(target.login, None, "its nodes are where it logs in");
    let demo = shipped("demo.toml");
    let Provider::Tencent(stand_in) = &demo.providers[&"stand-in".parse().unwrap()] else {
        panic!("the stand-in speaks Tencent's API");
    };
    assert_eq!(stand_in.endpoint.as_ref().unwrap().as_str(), "http://127.0.0.1:9470/");
}

#[test]
fn each_account_has_its_usual_mode() {
    let wanted = |provider: &str, account: &str, mode: &str| {
        let text = SMALL
            .replace(".cache2", "-two")
            .replace("tencent", provider)
            .replace("\"crs-2\"", "\"crs-2\"\nlogin = \"redis://127.0.0.2\"");
        let text = text.replace("\"crs-1\"", &format!("\"crs-1\"\nlogin = \"redis://127.0.0.1\"\n{account}\n{mode}"));
        let (_folder, path) = folder(text.as_bytes());
        load(&path, &[]).config.targets[&"orders-cache".parse().unwrap()].address.mode
    };
    for (provider, account, mode, expected) in [
        ("tencent", "", "", Mode::OldPassword),
        ("tencent", "account = \"root\"", "", Mode::OldPassword),
        ("tencent", "", "mode = \"reset\"", Mode::Reset),
        ("tencent", "", "mode = \"account\"", Mode::Account),
        ("tencent", "account = \"app\"", "", Mode::Account),
        ("tencent", "account = \"app\"", "mode = \"account\"", Mode::Account),
        ("alibaba", "", "", Mode::OldPassword),
        ("alibaba", "account = \"app\"", "", Mode::OldPassword),
        ("alibaba", "account = \"app\"", "mode = \"reset\"", Mode::Reset),
        ("alibaba", "", "mode = \"reset\"", Mode::Reset),
    ] {
        assert_eq!(wanted(provider, account, mode), expected, "{provider} {account} {mode}");
    }
}

#[test]
fn the_shipped_follower_can_be_used_and_shows_the_true_defaults() {
    let shown =
        config::load_either(Path::new("config/follower.toml"), []).unwrap_or_else(|findings| panic!("{findings}"));
    assert_eq!(shown.warnings, []);
    let text = std::fs::read_to_string("config/follower.toml").unwrap();
    let kept = |line: &&str| !["every", "log", "on-change", "stop-"].iter().any(|key| line.starts_with(key));
    let bare: Vec<&str> = text.lines().filter(kept).collect();
    let (_folder, path) = folder(bare.join("\n").as_bytes());
    let bare = config::load_either(&path, []).unwrap_or_else(|findings| panic!("{findings}"));
    assert_eq!(
        format!("{:?} {:?}", shown.config.follow, shown.config.follower),
        format!("{:?} {:?}", bare.config.follow, bare.config.follower)
    );
    let findings = config::load(&path, []).unwrap_err();
    assert!(findings.to_string().contains("configuration of a follower"), "{findings}");
}

/// What the reference shows as defaults is what the code does without them.
#[test]
fn the_reference_shows_the_true_defaults() {
    let (reference, minimal) = (shipped("reference.toml"), shipped("minimal.toml"));
    assert_eq!(reference.limits, Limits::default());
    assert_eq!(reference.daemon, minimal.daemon);
    let shop = "shop".parse().unwrap();
    assert_eq!(reference.providers[&shop], minimal.providers[&shop]);
    let warehouse = &reference.providers[&"warehouse".parse().unwrap()];
    let text = SMALL.replace(".cache2", "-two").replace("adopt", "login = \"redis://127.0.0.1\"\nadopt");
    let text = text.replace("\"crs-2\"", "\"crs-2\"\nlogin = \"redis://127.0.0.2\"");
    let (_folder, path) = folder(text.replace("tencent", "alibaba").replace("ap-guangzhou", "cn-hangzhou").as_bytes());
    let small = load(&path, &[]).config;
    assert_eq!(*warehouse, small.providers[&shop]);
    let target = &small.targets[&"orders-two".parse().unwrap()];
    assert_eq!(target.address.account, "crs-2", "Alibaba's default account");
    assert_eq!(target.profile.name(), "alibaba");
    let own = &reference.providers[&"own".parse().unwrap()];
    let text = text
        .replace("\"crs-1\"", "\"crs-1\"\naccount = \"app\"")
        .replace("tencent", "redis")
        .replace("region = \"ap-guangzhou\"", "nodes = [\"redis://10.0.0.21\", \"redis://10.0.0.22\"]");
    let admin = "admin = { user = \"keywheel\", password = { credential = \"redis-admin\" } }";
    let (_folder, path) = folder(text.replace("credentials = { source = \"environment\" }", admin).as_bytes());
    let small = load(&path, &[]).config;
    assert_eq!(*own, small.providers[&shop]);
    assert_eq!(small.targets[&"orders-two".parse().unwrap()].address.account, "default");
    let login = |target: &str| reference.targets[&target.parse().unwrap()].login.clone().unwrap();
    let (full, short) = (login("sessions-cache"), login("orders-cache"));
    assert_eq!((full.connections, full.form, full.timeout), (short.connections, LoginForm::Auto, short.timeout));
    let sink = |config: &Config| match &config.sinks[&"orders-env".parse().unwrap()] {
        Sink::File(file) => (file.mode, file.path.clone()),
        Sink::Command(_)
        | Sink::Store(_)
        | Sink::Etcd(_)
        | Sink::Age(_)
        | Sink::SystemdCredential(_)
        | Sink::Http(_)
        | Sink::Gcp(_)
        | Sink::Azure(_)
        | Sink::Aws(_)
        | Sink::Vault(_)
        | Sink::Kubernetes(_) => panic!("a file"),
    };
    assert_eq!(sink(&reference), sink(&minimal));
}

#[test]
fn the_reference_names_every_key_and_no_other() {
    let read = |name: &str| std::fs::read_to_string(Path::new("config").join(name)).unwrap();
    let text = read("reference.toml") + &read("follower.toml");
    let mut named = BTreeSet::new();
    let mut section = String::new();
    for line in text.lines() {
        if let Some(header) = line.strip_prefix('[') {
            let parts: Vec<&str> = header.trim_end_matches(']').split('.').collect();
            section = parts[0].to_owned();
            if let Some(table) = parts.get(2) {
                section += &format!("/{table}.");
            }
            continue;
        }
        let line = line.strip_prefix("# ").unwrap_or(line);
        let Some((key, rest)) = line.split_once('=') else {
            continue;
        };
        let key = key.trim();
        if !key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') || section.is_empty() {
            continue;
        }
        let (top, prefix) = section.split_once('/').unwrap_or((&section, ""));
        named.insert((top.to_owned(), format!("{prefix}{key}")));
        if prefix.ends_with('.') {
            named.insert((top.to_owned(), prefix.trim_end_matches('.').to_owned()));
        }
        // The keys of a table on the same line; those of a reference are explained at the top.
        for inner in rest.split('#').next().unwrap_or_default().split(['{', ',']).skip(1) {
            if let Some((inner, _)) = inner.split_once('=') {
                let inner = inner.trim();
                // And the keys of a tag or of tokens are the owner's, those of fields the document's, and labels the cluster's.
                if !["file", "env", "credential", "sink", "rotate"].contains(&inner)
                    && !["fields", "labels", "tokens"].contains(&key)
                {
                    named.insert((top.to_owned(), format!("{prefix}{key}.{inner}")));
                }
            }
        }
    }
    let known: BTreeSet<(String, String)> =
        config::known_keys().into_iter().map(|(section, key)| (section.to_owned(), key)).collect();
    assert_eq!(named.difference(&known).collect::<Vec<_>>(), Vec::<&(String, String)>::new(), "not known");
    assert_eq!(known.difference(&named).collect::<Vec<_>>(), Vec::<&(String, String)>::new(), "not explained");
}

#[test]
fn secrets_are_read_from_where_the_reference_says() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().display().to_string();
    let env = |name: &str| match name {
        "SET" => Some("hunter2".to_owned()),
        "EMPTY" => Some("\n".to_owned()),
        "CREDENTIALS_DIRECTORY" => Some(here.clone()),
        _ => None,
    };
    let file = |name: &str, content: &[u8], mode: u32| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        SecretRef::File(path)
    };
    file("..data", b"linked\n", 0o400);
    std::os::unix::fs::symlink("..data", folder.path().join("link")).unwrap();
    let set = |name: &str| SecretRef::Env(name.to_owned());
    for (reference, expected) in [
        (set("SET"), Ok("hunter2")),
        (set("UNSET"), Err("The variable UNSET is not set")),
        (set("EMPTY"), Err("is empty")),
        (file("one-line-end", b"hunter2\n\n", 0o600), Ok("hunter2\n")),
        (file("windows", b"hunter2\r\n", 0o640), Ok("hunter2")),
        (file("group-writes", b"hunter2", 0o660), Err("has the mode 0660")),
        (file("others-read", b"hunter2", 0o644), Err("has the mode 0644")),
        (file("binary", b"hunter2\xff", 0o600), Err("does not hold UTF-8 text")),
        (file("large", &vec![b'h'; config::SECRET_LIMIT + 1], 0o600), Err("more than a secret")),
        (file("nothing", b"", 0o600), Err("is empty")),
        (SecretRef::File(folder.path().join("link")), Ok("linked")),
        (SecretRef::File(folder.path().join("absent")), Err("cannot be read: entity not found")),
        (SecretRef::File(folder.path().to_owned()), Err("is not a file")),
        (SecretRef::Credential("windows".to_owned()), Ok("hunter2")),
        (SecretRef::Credential("absent".to_owned()), Err("The credential absent was not given to this service")),
    ] {
        match (reference.read(&env), expected) {
            (Ok(secret), Ok(expected)) => assert_eq!(secret.expose(), expected, "{reference}"),
            (Err(fault), Err(expected)) => {
                assert!(fault.what.contains(expected), "{fault}");
                assert_eq!(fault.kind, keywheel::fault::Kind::SecretUnreadable);
                assert!(!fault.to_string().contains(PLANTED), "{fault}");
            }
            (found, _) => panic!("{reference}: {found:?}, not {expected:?}"),
        }
    }
    let fault = SecretRef::Credential("windows".to_owned()).read(&|_| None).unwrap_err();
    assert!(fault.next_step.contains("LoadCredential=windows"), "{fault}");
}

#[test]
fn a_large_fleet_is_read_as_one_file() {
    let mut text = SMALL.replace(".cache2", "-two");
    for number in 0..2_000 {
        text += &format!(
            "\n[targets.t{number}]\nprovider = \"shop\"\ninstance = \"crs-t{number}\"\nschedule = \"30 3 * * SUN\"\nsinks = [\"all\"]\n"
        );
    }
    let (_folder, path) = folder(text.as_bytes());
    assert_eq!(load(&path, &[]).config.targets.len(), 2_002);
    let (_folder, path) = folder(text.replace("\"30 3 * * SUN\"", "\"30 3 * *\"").as_bytes());
    let findings = config::load(&path, []).unwrap_err();
    assert_eq!(findings.0.len(), 2_000);
    let shown = findings.to_string();
    assert_eq!(shown.lines().count(), 202);
    assert!(shown.ends_with("and 1900 more\n2000 problems in the configuration"), "{}", &shown[shown.len() - 80..]);
}
