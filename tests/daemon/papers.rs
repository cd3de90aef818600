//! What is written about the program: manual pages, completions and the schema of the configuration, each judged by who reads it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn keywheel(arguments: &[&str]) -> Output {
    let printed = Command::new(env!("CARGO_BIN_EXE_keywheel")).args(arguments).output().unwrap();
    assert!(printed.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&printed.stderr));
    printed
}

/// Runs a judge that must be installed, and gives what it said.
fn judged(command: &mut Command) -> (bool, String) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn manual_pages_are_read_without_a_complaint() {
    let folder = tempfile::tempdir().unwrap();
    keywheel(&["man", "--to", folder.path().to_str().unwrap()]);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        let (sound, said) = judged(Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(&path));
        assert_eq!((sound, said.as_str()), (true, ""), "{}", path.display());
    }
    for wanted in ["keywheel.1", "keywheel-rotate.1", "keywheel-key-new.1", "keywheel.toml.5"] {
        assert!(names.iter().any(|name| name == wanted), "{wanted}: {names:?}");
    }
    let page = folder.path().join("keywheel.toml.5");
    let (sound, text) = judged(Command::new("mandoc").args(["-T", "utf8"]).arg(&page));
    assert!(sound, "{text}");
    // Bold and underlined letters are written twice, with a step back between.
    let plain = text.chars().fold(String::new(), |mut plain, letter| {
        match letter {
            '\u{8}' => _ = plain.pop(),
            letter => plain.push(letter),
        }
        plain
    });
    for wanted in ["sqlite:///var/lib/keywheel/ledger.db", "[targets.orders-cache]", "certificates to trust instead of"]
    {
        assert!(plain.contains(wanted), "{wanted}");
    }
    let one = keywheel(&["man", "rotate"]).stdout;
    assert_eq!(one, std::fs::read(folder.path().join("keywheel-rotate.1")).unwrap());
}

#[test]
fn completions_are_scripts_that_offer_verbs_and_options() {
    let script = String::from_utf8(keywheel(&["completions", "bash"]).stdout).unwrap();
    let offered = |words: &str, at: usize| {
        let ask = format!(
            "{script}\nCOMP_WORDS=({words})\nCOMP_CWORD={at}\n_keywheel keywheel \"${{COMP_WORDS[{at}]}}\" x\necho \"${{COMPREPLY[*]}}\""
        );
        judged(Command::new("bash").args(["--norc", "-c", &ask]))
    };
    assert_eq!(offered("keywheel rot", 1), (true, "rotate\n".to_owned()));
    assert_eq!(offered("keywheel rotate --wa", 2), (true, "--wait\n".to_owned()));
    for shell in ["zsh", "fish"] {
        let script = String::from_utf8(keywheel(&["completions", shell]).stdout).unwrap();
        assert!(script.contains("rotate") && script.contains("Rotate now"), "{shell}");
    }
}

/// Another program's reading of the schema, and of the configurations that are shipped.
#[test]
fn the_schema_takes_what_is_shipped_and_refuses_what_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let schema = folder.path().join("schema.json");
    std::fs::write(&schema, keywheel(&["schema"]).stdout).unwrap();
    let judge = r#"
import json, sys, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
judge = jsonschema.Draft202012Validator(schema)
for text in sys.stdin.read().split("\0"):
    errors = sorted("/".join(map(str, error.path)) for error in judge.iter_errors(json.loads(text)))
    print(",".join(errors) or "taken")
"#;
    let read = |path: &Path| -> toml::Value { toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap() };
    let reference = read(Path::new("config/reference.toml"));
    let changed = |change: &dyn Fn(&mut toml::Value)| {
        let mut changed = reference.clone();
        change(&mut changed);
        changed
    };
    let cases = [
        (reference.clone(), "taken"),
        (read(Path::new("config/minimal.toml")), "taken"),
        (read(Path::new("config/self-managed.toml")), "taken"),
        (changed(&|all| _ = all["daemon"].as_table_mut().unwrap().remove("ledger")), "daemon"),
        (changed(&|all| all["daemon"]["sealing-key"] = "in clear".into()), "daemon/sealing-key"),
        (changed(&|all| _ = all["limits"].as_table_mut().unwrap().insert("patience".into(), "1s".into())), "limits"),
        (changed(&|all| all["providers"]["shop"]["kind"] = "vultr".into()), "providers/shop"),
        (changed(&|all| all["sinks"]["orders-env"]["mode"] = 600.into()), "sinks/orders-env"),
    ];
    let texts: Vec<String> = cases.iter().map(|(value, _)| serde_json::to_string(value).unwrap()).collect();
    let given = folder.path().join("given");
    std::fs::write(&given, texts.join("\0")).unwrap();
    let output = Command::new("/usr/bin/python3")
        .args(["-c", judge])
        .arg(&schema)
        .stdin(std::fs::File::open(&given).unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "python3-jsonschema: {}", String::from_utf8_lossy(&output.stderr));
    let expected: Vec<&str> = cases.iter().map(|(_, expected)| *expected).collect();
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}
