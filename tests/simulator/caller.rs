//! A small caller of the stand-in: its signer is written from the vendor's page and shares nothing with keywheel's.

use hmac::{Hmac, KeyInit, Mac};
use keywheel::secret::Secret;
use keywheel::simulator::{
    Change, Credential, InstanceChange, InstanceSettings, Quota, Settings, Simulator, TaskSettings,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const ID: &str = "AKIDsimulatortest";
pub const KEY: &str = "not-a-real-key";
pub const CRS: &str = "crs-a";
pub const OLD: &str = "OldPassw0rd-1";
pub const NEW: &str = "NewPassw0rd-2";
pub const MODIFY: &str = "ModifyInstancePassword";

/// Ten times the longest any answer here should take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn settings(instances: Vec<InstanceSettings>) -> Settings {
    Settings {
        credentials: vec![Credential {
            secret_id: ID.to_owned(),
            secret_key: Secret::new(KEY.to_owned()),
            token: None,
        }],
        task: TaskSettings { shortest: Duration::from_millis(5), longest: Duration::from_millis(20) },
        quota: Quota { per_second: 0.0, burst: 0.0 },
        instances,
        ..Settings::default()
    }
}

pub async fn simulator() -> Simulator {
    Simulator::start(settings(vec![InstanceSettings::new(CRS, OLD)])).await.unwrap()
}

/// The headers and the body of one request, before it is sent.
#[derive(Clone)]
pub struct Request {
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

pub fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Signs `content-type`, `host` and `x-tc-action` (Tencent Cloud, "Signature method v3").
pub fn sign(simulator: &Simulator, action: &str, body: &Value, clock_millis: i64) -> Request {
    let now =
        chrono::DateTime::from_timestamp_millis(simulator.state()["now"].as_i64().unwrap() + clock_millis).unwrap();
    let (date, time) = (now.format("%Y-%m-%d").to_string(), now.timestamp());
    let host = simulator.address().to_string();
    let body = body.to_string();
    let (signed, scope) = ("content-type;host;x-tc-action", format!("{date}/redis/tc3_request"));
    let canonical = format!(
        "POST\n/\n\ncontent-type:application/json\nhost:{host}\nx-tc-action:{}\n\n{signed}\n{}",
        action.to_lowercase(),
        hex::encode(Sha256::digest(&body))
    );
    let text = format!("TC3-HMAC-SHA256\n{time}\n{scope}\n{}", hex::encode(Sha256::digest(canonical)));
    let key = [date.as_str(), "redis", "tc3_request"]
        .iter()
        .fold(format!("TC3{KEY}").into_bytes(), |key, part| hmac(&key, part));
    let signature = hex::encode(hmac(&key, &text));
    let authorization =
        format!("TC3-HMAC-SHA256 Credential={ID}/{scope}, SignedHeaders={signed}, Signature={signature}");
    let headers = [
        ("Host", host.as_str()),
        ("Content-Type", "application/json"),
        ("X-TC-Action", action),
        ("X-TC-Version", "2018-04-12"),
        ("X-TC-Region", "ap-guangzhou"),
        ("X-TC-Timestamp", &time.to_string()),
        ("Authorization", &authorization),
    ];
    Request {
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        body: body.into_bytes(),
    }
}

impl Request {
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub async fn open(&self, simulator: &Simulator) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(simulator.address()).await?;
        let mut head = "POST / HTTP/1.1\r\nConnection: close\r\n".to_owned();
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", self.body.len()));
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&self.body).await?;
        Ok(stream)
    }

    /// The whole answer as text: empty where the connection was dropped without one.
    pub async fn send(&self, simulator: &Simulator) -> String {
        let mut stream = self.open(simulator).await.unwrap();
        let mut answer = Vec::new();
        let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        drop(end);
        String::from_utf8(answer).unwrap()
    }
}

/// Sends one call and gives the whole answer.
pub async fn send(simulator: &Simulator, action: &str, body: Value) -> String {
    sign(simulator, action, &body, 0).send(simulator).await
}

/// Sends one call and gives what stands in `Response`; the answer must have status 200.
pub async fn call(simulator: &Simulator, action: &str, body: Value) -> Value {
    let answer = send(simulator, action, body).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let (_, text) = answer.split_once("\r\n\r\n").unwrap();
    let mut value: Value = serde_json::from_str(text).unwrap();
    assert!(value["Response"]["RequestId"].is_string(), "{text}");
    value["Response"].take()
}

/// The error code of a call, if it was refused.
pub async fn code(simulator: &Simulator, action: &str, body: Value) -> Option<String> {
    let answer = call(simulator, action, body).await;
    answer["Error"]["Code"].as_str().map(str::to_owned)
}

pub fn change_of(old: &str, new: &str) -> Value {
    json!({"InstanceId": CRS, "OldPassword": old, "Password": new})
}

/// Asks for a task until it ended, and gives its status.
pub async fn settle(simulator: &Simulator, task: &Value) -> String {
    tokio::time::timeout(PATIENCE, async {
        loop {
            let answer = call(simulator, "DescribeTaskInfo", json!({"TaskId": task})).await;
            let status = answer["Status"].as_str().unwrap().to_owned();
            if !["preparing", "running"].contains(&status.as_str()) {
                return status;
            }
        }
    })
    .await
    .unwrap()
}

/// Looks again and again until the world is as it should become.
pub async fn until(mut reached: impl FnMut() -> bool) {
    let look = async {
        while !reached() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.unwrap();
}

pub async fn change(simulator: &Simulator, instance: InstanceChange) {
    simulator.change(Change::of(CRS, instance)).await.unwrap();
}

/// Says lines to the login listener on one connection and reads what it answers until it hangs up.
pub async fn converse(simulator: &Simulator, lines: &str) -> String {
    let mut stream = TcpStream::connect(simulator.login_address(CRS).unwrap()).await.unwrap();
    stream.write_all(format!("{lines}QUIT\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer.strip_suffix("+OK\r\n").unwrap_or(&answer).to_owned()
}

pub async fn logs_in(simulator: &Simulator, password: &str) -> bool {
    converse(simulator, &format!("AUTH {password}\r\n")).await == "+OK\r\n"
}
