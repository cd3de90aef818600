//! A small caller of R-kvstore: its signer is written from the vendor's page and shares nothing with keywheel's.

use crate::caller::{ID, KEY, OLD, PATIENCE, hmac, settings};
use keywheel::simulator::{Change, InstanceChange, InstanceSettings, Simulator};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const R: &str = "r-bp1";
pub const APP: &str = "app";
pub const MODIFY: &str = "ModifyAccountPassword";
pub const RESET: &str = "ResetAccountPassword";
pub const FORM: &str = "application/x-www-form-urlencoded";

/// Where the parameters go.
#[derive(Debug, Clone, Copy)]
pub enum In {
    Query,
    Body,
}

/// One request before it is sent.
#[derive(Clone)]
pub struct Request {
    pub method: &'static str,
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

pub fn encode(parameters: &[(&str, &str)]) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => (byte as char).to_string(),
        other => format!("%{other:02X}"),
    };
    let text = |text: &str| text.bytes().map(byte).collect::<String>();
    let mut pairs: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{}={}", text(name), text(value))).collect();
    pairs.sort();
    pairs.join("&")
}

pub fn sign(
    simulator: &Simulator,
    method: &'static str,
    place: In,
    action: &str,
    parameters: &[(&str, &str)],
) -> Request {
    static NONCE: AtomicU64 = AtomicU64::new(0);
    let text = encode(parameters);
    let (query, body) = match place {
        In::Query => (text, String::new()),
        In::Body => (String::new(), text),
    };
    let now = chrono::DateTime::from_timestamp_millis(simulator.state()["now"].as_i64().unwrap()).unwrap();
    let digest = hex::encode(Sha256::digest(&body));
    let form = (!body.is_empty()).then(|| ("content-type".to_owned(), FORM.to_owned()));
    let headers = [
        ("host", simulator.address().to_string()),
        ("x-acs-action", action.to_owned()),
        ("x-acs-content-sha256", digest.clone()),
        ("x-acs-date", now.format("%Y-%m-%dT%H:%M:%SZ").to_string()),
        ("x-acs-signature-nonce", format!("nonce-{}", NONCE.fetch_add(1, Ordering::Relaxed))),
        ("x-acs-version", "2015-01-01".to_owned()),
    ];
    let mut headers: Vec<(String, String)> =
        headers.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(form).collect();
    headers.sort();
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let signed = headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
    let canonical = format!("{method}\n/\n{query}\n{lines}\n{signed}\n{digest}");
    let text = format!("ACS3-HMAC-SHA256\n{}", hex::encode(Sha256::digest(canonical)));
    let signature = hex::encode(hmac(KEY.as_bytes(), &text));
    headers.push((
        "authorization".to_owned(),
        format!("ACS3-HMAC-SHA256 Credential={ID},SignedHeaders={signed},Signature={signature}"),
    ));
    Request { method, query, headers, body }
}

impl Request {
    /// The whole answer as text: empty where the connection was dropped without one.
    pub async fn send(&self, simulator: &Simulator) -> String {
        let mut stream = TcpStream::connect(simulator.address()).await.unwrap();
        let mut text = format!("{} /?{} HTTP/1.1\r\nConnection: close\r\n", self.method, self.query);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{}", self.body.len(), self.body));
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        drop(tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap());
        String::from_utf8(answer).unwrap()
    }
}

/// Sends one call and gives the HTTP status and the JSON, which always has a RequestId.
pub async fn call(simulator: &Simulator, action: &str, parameters: &[(&str, &str)]) -> (u16, Value) {
    let answer = sign(simulator, "POST", In::Body, action, parameters).send(simulator).await;
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(text).unwrap();
    assert!(body["RequestId"].is_string(), "{text}");
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
}

pub fn change_of(old: &'static str, new: &'static str) -> [(&'static str, &'static str); 4] {
    [("InstanceId", R), ("AccountName", APP), ("OldAccountPassword", old), ("NewAccountPassword", new)]
}

pub fn instance() -> InstanceSettings {
    InstanceSettings::alibaba(R, OLD).with_account(APP, OLD).with_account("other", OLD)
}

pub async fn simulator() -> Simulator {
    Simulator::start(settings(vec![instance()])).await.unwrap()
}

pub async fn change(simulator: &Simulator, instance: InstanceChange) {
    simulator.change(Change::of(R, instance)).await.unwrap();
}

/// `AccountStatus` by name.
pub async fn status_of(simulator: &Simulator, account: &str) -> String {
    let (_, answer) = call(simulator, "DescribeAccounts", &[("InstanceId", R), ("AccountName", account)]).await;
    let accounts = answer["Accounts"]["Account"].as_array().unwrap();
    assert_eq!(accounts.len(), 1, "{answer}");
    accounts[0]["AccountStatus"].as_str().unwrap().to_owned()
}

pub fn idle(simulator: &Simulator) -> bool {
    let tasks = simulator.state()["tasks"].clone();
    tasks.as_array().unwrap().iter().all(|task| ["succeed", "failed"].contains(&task["status"].as_str().unwrap()))
}

pub async fn logs_in(simulator: &Simulator, password: &str) -> bool {
    let mut stream = TcpStream::connect(simulator.login_address(R).unwrap()).await.unwrap();
    stream.write_all(format!("AUTH {password}\r\nQUIT\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer == "+OK\r\n+OK\r\n"
}
