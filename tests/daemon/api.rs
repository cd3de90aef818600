//! The control socket's API is what `docs/openapi.json` says: every route stands there and nothing else does, and every answer is as its schema says.

use crate::common::plain_http::{ask_at, parted};
use crate::common::stage::{Daemon, INITIAL, INSTANCE, Stage, until};
use keywheel::admin::api::ROUTES;
use keywheel::simulator::{Fault, InstanceSettings, Step};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

const TARGET: &str = "orders-cache";
const OTHER: &str = "sessions";
const DESCRIPTION: &str = include_str!("../../docs/openapi.json");
const PATIENCE: Duration = Duration::from_secs(60);

/// Judges instances by schemas of the document: each case is a name, a schema and an instance.
const JUDGE: &str = "
import json, sys, jsonschema
given = json.load(sys.stdin)
components = given['components']
for schema in components['schemas'].values():
    jsonschema.Draft202012Validator.check_schema(schema)
for name, schema, instance in given['cases']:
    judge = jsonschema.Draft202012Validator({**schema, 'components': components})
    for error in judge.iter_errors(instance):
        sys.exit(f'{name}: {error.message}: {json.dumps(instance)}')
";

fn description() -> Value {
    serde_json::from_str(DESCRIPTION).unwrap()
}

fn stage() -> (Stage, Daemon) {
    let other = "crs-stage002";
    let stage = Stage::set_with([INSTANCE, other].map(|id| InstanceSettings::new(id, INITIAL)).into());
    let more = "adopt = { file = \"{folder}/initial\" }\nschedule = \"30 3 * * SUN\"\nsinks = [\"orders\"]";
    let targets = stage.target(TARGET, INSTANCE, more) + &stage.target(OTHER, other, "");
    stage.configure(&(stage.sink("orders", "") + &targets));
    let daemon = stage.start(&[]);
    stage.until(TARGET, "settled", 1);
    (stage, daemon)
}

/// Asks by the socket: the status and the document.
fn ask(stage: &Stage, method: &str, path: &str, body: &str) -> (u16, Value) {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: keywheel\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let answer = ask_at(&stage.path("control.sock"), &request);
    let (status, body) = parted(&answer);
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {body}")))
}

#[test]
fn every_route_stands_in_the_document_and_nothing_else_does() {
    let described = description();
    let paths = described["paths"].as_object().unwrap();
    let methods = |(path, at): (&String, &Value)| {
        let of = |method: &String| format!("{} {path}", method.to_uppercase());
        at.as_object().unwrap().keys().map(of).collect::<Vec<_>>()
    };
    let described_routes: BTreeSet<String> = paths.iter().flat_map(methods).collect();
    let routes: BTreeSet<String> = ROUTES.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    assert_eq!(described_routes, routes);
    // Nothing in it leads nowhere.
    let mut references = Vec::new();
    collect(&described, &mut references);
    assert!(references.len() > 50, "{references:?}");
    for reference in references {
        assert!(described.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
    }
}

fn collect<'a>(value: &'a Value, references: &mut Vec<&'a str>) {
    match value {
        Value::Object(object) => {
            references.extend(object.get("$ref").and_then(Value::as_str));
            object.values().for_each(|value| collect(value, references));
        }
        Value::Array(all) => all.iter().for_each(|value| collect(value, references)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What was asked and answered, to be judged at the end.
struct Judged<'a> {
    stage: &'a Stage,
    described: Value,
    cases: Vec<Value>,
    asked: BTreeSet<String>,
}

impl Judged<'_> {
    /// Asks, and takes down what the document says of the answer. Where the daemon understood the request, so must the document.
    fn ask(&mut self, method: &str, route: &str, target: &str, body: &str, status: u16) -> Value {
        let path = route.replace("{target}", target);
        let (found, answer) = ask(self.stage, method, &path, body);
        let name = format!("{method} {path} {body}");
        assert_eq!(found, status, "{name}: {answer}");
        let operation = &self.described["paths"][route.split('?').next().unwrap()][method.to_lowercase()];
        let mut response = &operation["responses"][status.to_string()];
        if let Some(reference) = response["$ref"].as_str() {
            response = self.described.pointer(reference.strip_prefix('#').unwrap()).unwrap();
        }
        let schema = &response["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{name}: an answer with status {status} is not described");
        self.cases.push(json!([name, schema, answer]));
        if !body.is_empty() && status == 200 {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let sent: Value = serde_json::from_str(body).unwrap();
            self.cases.push(json!([format!("the request {name}"), schema, sent]));
        }
        self.asked.insert(format!("{method} {}", route.split('?').next().unwrap()));
        answer
    }

    fn judge(self) {
        let everything: BTreeSet<String> =
            ROUTES.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
        let left: Vec<_> = everything.difference(&self.asked).map(String::as_str).collect();
        assert_eq!(left, ["GET /v1/events"], "not asked for");
        let given = json!({ "components": self.described["components"], "cases": self.cases });
        let mut judge = Command::new("/usr/bin/python3");
        let mut judge = judge.args(["-c", JUDGE]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        judge.stdin.take().unwrap().write_all(given.to_string().as_bytes()).unwrap();
        let judged = judge.wait_with_output().unwrap();
        assert!(judged.status.success(), "python3-jsonschema: {}", String::from_utf8_lossy(&judged.stderr));
    }
}

#[test]
fn every_answer_is_as_its_schema_says() {
    let (stage, daemon) = stage();
    let mut judged = Judged { stage: &stage, described: description(), cases: Vec::new(), asked: BTreeSet::new() };
    let verb = |verb: &str| format!("/v1/targets/{{target}}/{verb}");
    assert_eq!(judged.ask("GET", "/v1/health", "", "", 200), json!({ "done": "alive" }));
    assert_eq!(judged.ask("GET", "/v1/openapi.json", "", "", 200), description());

    // What the commands of the same names say.
    let targets = judged.ask("GET", "/v1/targets", "", "", 200);
    assert_eq!(targets, stage.status().0);
    assert_eq!(targets["targets"].as_array().unwrap().len(), 2);
    let plan = judged.ask("GET", "/v1/plan?for=30d", "", "", 200);
    assert_eq!(plan, serde_json::from_str::<Value>(&stage.keywheel(&["plan", "--for", "30d", "--json"]).out).unwrap());
    assert!(plan["slots"].as_array().unwrap().len() >= 4, "{plan}");
    assert!(judged.ask("GET", "/v1/plan", "", "", 200)["slots"].as_array().unwrap().len() <= 2);
    for query in ["for=tomorrow", "for=32d", "from=7d"] {
        judged.ask("GET", &format!("/v1/plan?{query}"), "", "", 400);
    }

    // One target through its states, and every verb.
    judged.ask("POST", &verb("pause"), TARGET, r#"{"seconds":3600,"reason":"a freeze"}"#, 200);
    let paused = judged.ask("GET", "/v1/targets/{target}", TARGET, "", 200);
    assert_eq!((&paused["paused"], &paused["state"]), (&Value::from(true), &Value::from("paused")), "{paused}");
    judged.ask("POST", &verb("rotate"), TARGET, "", 409);
    judged.ask("POST", &verb("unpause"), TARGET, "{}", 200);
    judged.ask("POST", &verb("unpause"), TARGET, "", 409);
    judged.ask("POST", &verb("rotate"), TARGET, r#"{"reason":"a drill"}"#, 200);
    stage.until(TARGET, "settled", 2);
    let live = stage.live(INSTANCE);
    assert_eq!(judged.ask("POST", &verb("reveal"), TARGET, r#"{"reason":"asked to"}"#, 200), json!({ "done": live }));
    judged.ask("POST", &verb("replace"), TARGET, &json!({ "password": live, "reason": "to be sure" }).to_string(), 200);
    judged.ask("POST", &verb("resume"), TARGET, "", 409);
    stage.cloud().script([Step::once(
        "Mod*InstancePassword",
        Fault::RefuseBeforeEffect { code: "UnauthorizedOperation".to_owned() },
    )]);
    judged.ask("POST", &verb("rotate"), TARGET, "", 200);
    until("the halt", || stage.status_of(TARGET)["state"] == "halted");
    let halted = judged.ask("GET", "/v1/targets/{target}", TARGET, "", 200);
    assert!(halted["halt"]["what"].is_string() && halted["halt"]["since"].is_string(), "{halted}");
    assert!(halted["lately"].as_array().unwrap().iter().any(|event| event["reason"] == "asked to"), "{halted}");
    assert!(!halted.to_string().contains(&live));
    judged.ask("GET", "/v1/targets", "", "", 200);
    judged.ask("POST", &verb("resume"), TARGET, r#"{"allow-reset":false}"#, 200);

    // One that has no password yet.
    judged.ask("GET", "/v1/targets/{target}", OTHER, "", 200);
    judged.ask("POST", &verb("reveal"), OTHER, "", 409);
    judged.ask("POST", &verb("adopt"), OTHER, r#"{"password":"Not-The-One-1"}"#, 409);
    judged.ask("POST", &verb("adopt"), OTHER, &json!({ "password": INITIAL }).to_string(), 200);
    judged.ask("POST", &verb("adopt"), OTHER, "", 400);

    for route in ["rotate", "adopt", "replace", "reveal", "pause", "unpause", "resume"] {
        judged.ask("POST", &verb(route), "nobody", "", 404);
        judged.ask("POST", &verb(route), TARGET, "{", 400);
        judged.ask("POST", &verb(route), TARGET, r#"{"unknown":1}"#, 400);
        judged.ask("POST", &verb(route), TARGET, &" ".repeat(65_537), 413);
    }
    judged.ask("GET", "/v1/targets/{target}", "nobody", "", 404);
    judged.judge();
    daemon.stop();
}

/// A listener, and what it heard last.
struct Listener(BufReader<UnixStream>);

impl Listener {
    fn at(stage: &Stage) -> (u16, Self) {
        let mut stream = UnixStream::connect(stage.path("control.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /v1/events HTTP/1.1\r\nHost: keywheel\r\n\r\n").unwrap();
        let mut listener = Self(BufReader::new(stream));
        let status = listener.line().split(' ').nth(1).unwrap().parse().unwrap();
        while !listener.line().is_empty() {}
        (status, listener)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The next event; the lengths of chunks and comments are passed over. `None` at the end.
    fn event(&mut self) -> Option<(String, Value)> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(name) = line.strip_prefix("event: ") {
                let data = self.line();
                let data = data.strip_prefix("data: ").unwrap_or_else(|| panic!("{data}"));
                return Some((name.trim_end().to_owned(), serde_json::from_str(data).unwrap()));
            }
        }
    }
}

#[test]
fn who_listens_is_told_the_state_and_then_what_happens() {
    let (stage, daemon) = stage();
    let (status, mut listener) = Listener::at(&stage);
    assert_eq!(status, 200);
    let (name, state) = listener.event().unwrap();
    assert_eq!((name.as_str(), state), ("state", stage.status().0));
    assert_eq!(stage.keywheel(&["rotate", TARGET, "--wait"]).status, 0);
    let mut heard = Vec::new();
    while heard.last().is_none_or(|(_, event)| event != "settled") {
        let (name, happening) = listener.event().unwrap();
        assert_eq!((name.as_str(), &happening["target"]), ("happening", &Value::from(TARGET)), "{happening}");
        heard.push((happening["rotation"].clone(), happening["event"].as_str().unwrap().to_owned()));
    }
    let history = stage.keywheel(&["history", TARGET, "--json"]).out;
    let recorded: Vec<Value> = history.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = recorded[recorded.len() - heard.len()..].iter();
    assert_eq!(
        heard,
        told.map(|row| (row["rotation"].clone(), row["event"].as_str().unwrap().to_owned())).collect::<Vec<_>>()
    );

    // There are so many places, and who leaves gives one back.
    let mut others: Vec<Listener> = (1..16).map(|_| Listener::at(&stage)).map(|(_, listener)| listener).collect();
    others.iter_mut().for_each(|other| assert_eq!(other.event().unwrap().0, "state"));
    assert_eq!(Listener::at(&stage).0, 503);
    others.pop();
    until("the place that was given back", || Listener::at(&stage).0 == 200);
    assert_eq!(stage.keywheel(&["status", "--health"]).status, 0);

    // They are told of the end by the end.
    daemon.stop();
    assert_eq!(listener.event(), None);
}

#[test]
fn who_listens_and_does_not_read_is_sent_away_and_delays_nobody() {
    let (stage, daemon) = stage();
    let (_, sluggish) = Listener::at(&stage);
    let readers: Vec<_> = (1..16)
        .map(|_| {
            let (status, mut listener) = Listener::at(&stage);
            assert_eq!(status, 200);
            std::thread::spawn(move || while listener.event().is_some() {})
        })
        .collect();
    assert_eq!(Listener::at(&stage).0, 503, "every place is taken");
    until("the one who does not read to lose its place", || {
        for verb in ["pause", "unpause"].repeat(10) {
            assert_eq!(ask(&stage, "POST", &format!("/v1/targets/{TARGET}/{verb}"), "").0, 200);
        }
        Listener::at(&stage).0 == 200
    });
    assert_eq!(stage.keywheel(&["rotate", TARGET, "--wait"]).status, 0);
    drop(sluggish);
    daemon.stop();
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}
