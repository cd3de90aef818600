//! moto, which stands in for AWS and checks every signature and permission, and boto3 beside it, the vendor's own client (tests/sdk/aws.py).
//! tests/run installs both and names their Python.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

/// A Python that has what tests/sdk/requirements.txt lists.
const PYTHON: &str = "KEYWHEEL_SDK_PYTHON";

/// What is said where there is none.
pub const MISSING: &str = "KEYWHEEL_SDK_PYTHON is not set. tests/run installs moto and boto3 and sets it";

/// A running moto. It ends with its standard input.
pub struct Server {
    talk: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    _child: Child,
    port: u64,
    /// What `keywheel` signs with.
    pub id: String,
    pub key: String,
}

impl Server {
    /// Starts one, where there is a Python for it.
    pub fn start() -> Option<Self> {
        let python = std::env::var(PYTHON).ok().filter(|value| !value.is_empty())?;
        let mut child = Command::new(python)
            .arg("tests/sdk/aws.py")
            .env("NO_PROXY", "*")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let begun = line(&mut output);
        let text = |key: &str| begun["keywheel"][key].as_str().unwrap().to_owned();
        let (id, key, port) = (text("id"), text("key"), begun["port"].as_u64().unwrap());
        Some(Self { talk: Mutex::new((input, output)), _child: child, port, id, key })
    }

    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.authority())
    }

    /// What boto3 brings, or the code that it was refused with.
    pub fn boto3(&self, service: &str, call: &str, with: Value) -> Result<Value, String> {
        let answer = self.asked(&json!({ "service": service, "call": call, "with": with }));
        match answer["error"].as_str() {
            None => Ok(answer["ok"].clone()),
            Some(code) => Err(code.to_owned()),
        }
    }

    /// From now on `keywheel` may do this and nothing else.
    pub fn permit(&self, actions: &[String]) {
        let answer = self.asked(&json!({ "permit": actions }));
        assert!(answer.get("ok").is_some(), "{answer}");
    }

    fn asked(&self, question: &Value) -> Value {
        let mut talk = self.talk.lock().unwrap();
        let (input, output) = &mut *talk;
        writeln!(input, "{question}").unwrap();
        line(output)
    }
}

fn line(output: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    serde_json::from_str(&line).expect("tests/sdk/aws.py answers")
}
