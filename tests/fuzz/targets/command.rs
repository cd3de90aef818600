//! What a sink's program prints: what is asked of it first, then its output.

use super::stage::{block_on, chosen, first_line, holds_none_of, quoted};
use super::tencent::{NEW, OLD, secret};
use keywheel::moment::Moment;
use keywheel::name::{Generation, TargetName};
use keywheel::sink::command::{CommandSettings, CommandSink, Input};
use keywheel::sink::{Document, Held, Holds, Sink};
use serde_json::Value;
use std::cell::OnceCell;
use std::time::Duration;

#[derive(Clone, Copy)]
enum Ask {
    ReadBack(Input),
    Holds(Input),
    Deliver,
}

const WORDS: [(&str, Ask); 5] = [
    ("read json", Ask::ReadBack(Input::Json)),
    ("read password", Ask::ReadBack(Input::Password)),
    ("holds json", Ask::Holds(Input::Json)),
    ("holds password", Ask::Holds(Input::Password)),
    ("deliver", Ask::Deliver),
];

/// A program's output that has no end in sight tells nothing new.
const OUTPUT_LIMIT: usize = 128 * 1024;

thread_local! {
    static FOLDER: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
}

/// A password is taken from the program's answer exactly as it stands there and only for its own target, and no fault repeats one.
pub fn run(input: &[u8]) {
    let (word, output) = first_line(input);
    let output = &output[..output.len().min(OUTPUT_LIMIT)];
    let path = FOLDER.with(|folder| folder.get_or_init(|| tempfile::tempdir().unwrap()).path().join("output"));
    std::fs::write(&path, output).unwrap();
    let path = path.to_str().unwrap().to_owned();
    let target: TargetName = "orders-cache".parse().unwrap();
    let sink = |stdin, argv: Vec<String>, read| {
        let timeout = Duration::from_secs(30);
        CommandSink::new(CommandSettings {
            argv,
            stdin,
            check: false,
            fields: None,
            read,
            environment: Vec::new(),
            timeout,
        })
        .unwrap()
    };
    let reader = |stdin| sink(stdin, vec!["/bin/true".to_owned()], Some(vec!["/bin/cat".to_owned(), path.clone()]));
    match chosen(word, &WORDS) {
        Ask::ReadBack(form) => match block_on(reader(form).read_back(&target)) {
            Ok(Some(Held::Bare(held))) => {
                let (said, of) = said(form, output).expect("a password out of nothing");
                assert_eq!(held.expose(), said);
                assert!(of.is_none_or(|of| of == target.as_str()), "another target's password");
            }
            Ok(Some(Held::AsSent(_))) => panic!("a program speaks of the password itself"),
            Ok(None) => assert!(output.trim_ascii().is_empty(), "nothing, where something was printed"),
            Err(fault) => {
                let (said, _) = said(form, output).unwrap_or_default();
                let said = if said.len() > 8 { said.as_str() } else { OLD };
                holds_none_of(&fault.to_string(), &[said, OLD, NEW]);
            }
        },
        Ask::Holds(form) => {
            if let Ok(Holds::Same) = block_on(reader(form).holds(&document(target))) {
                assert_eq!(said(form, output).expect("a password out of nothing").0, OLD);
            }
        }
        Ask::Deliver => {
            let fails = ["/bin/sh", "-c", "cat \"$0\"; exit 1", path.as_str()].map(str::to_owned).to_vec();
            let fault = block_on(sink(Input::Json, fails, None).deliver(&document(target))).unwrap_err();
            let [shown, json] = quoted(OLD);
            holds_none_of(&fault.to_string(), &[OLD, &shown, &json, "OldPassw0rd%2201"]);
        }
    }
}

/// What was printed, by another reading: the password, and whose it is.
fn said(form: Input, output: &[u8]) -> Option<(String, Option<String>)> {
    let text = std::str::from_utf8(output).ok()?;
    match form {
        Input::Password => {
            let line = text.strip_suffix('\n').unwrap_or(text);
            Some((line.strip_suffix('\r').unwrap_or(line).to_owned(), None))
        }
        Input::Json => {
            let answer: Value = serde_json::from_str(text).ok()?;
            let target = answer.get("target").and_then(Value::as_str).map(str::to_owned);
            Some((answer.get("password")?.as_str()?.to_owned(), target))
        }
    }
}

fn document(target: TargetName) -> Document {
    Document {
        target,
        generation: Generation(2),
        rotation: None,
        proven_at: Moment::from_seconds(0),
        account: "root".to_owned(),
        password: secret(OLD),
        login_user: None,
        login_password: secret(OLD),
        endpoint: None,
    }
}
