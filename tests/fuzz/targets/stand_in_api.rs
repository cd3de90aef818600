//! Requests to the stand-in clouds: how they come first, then the request, raw or as the body of one that is signed here.

use super::stage::{block_on, chosen, first_line};
use super::tencent::{KEY, OLD, secret};
use keywheel::moment::Moment;
use keywheel::sign::Signer;
use keywheel::sign::tc3::{Head, sign};
use keywheel::simulator::{
    Credential, InstanceSettings, MetadataSettings, Quota, Server, Settings, Simulator, TaskSettings,
};
use serde_json::Value;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ID: &str = "AKIDone";
const CRS: &str = "crs-1";
const TAIR: &str = "r-1";

#[derive(Clone, Copy)]
enum How {
    Raw,
    Signed(&'static str),
}

const WORDS: [(&str, How); 10] = [
    ("raw", How::Raw),
    ("ModifyInstancePassword", How::Signed("ModifyInstancePassword")),
    ("ModfiyInstancePassword", How::Signed("ModfiyInstancePassword")),
    ("ResetPassword", How::Signed("ResetPassword")),
    ("ModifyInstanceAccount", How::Signed("ModifyInstanceAccount")),
    ("DescribeTaskInfo", How::Signed("DescribeTaskInfo")),
    ("DescribeTaskList", How::Signed("DescribeTaskList")),
    ("DescribeInstances", How::Signed("DescribeInstances")),
    ("DescribeInstanceAccount", How::Signed("DescribeInstanceAccount")),
    ("DescribeInstancePasswordPolicy", How::Signed("DescribeInstancePasswordPolicy")),
];

/// Nobody changes a password without a signature, nor with the wrong old one; and whatever comes, what goes back is HTTP or nothing.
pub fn run(input: &[u8]) {
    let (word, request) = first_line(input);
    let how = chosen(word, &WORDS);
    // Whoever can reach its own switches may do everything.
    if matches!(how, How::Raw) && request.windows(9).any(|window| window == b"simulator") {
        return;
    }
    block_on(async {
        let cloud = cloud().await;
        let said = match how {
            How::Raw => send(&cloud, &at_this_time(&cloud, request)).await,
            How::Signed(action) => send(&cloud, &signed(&cloud, action, request)).await,
        };
        let answer = String::from_utf8_lossy(&said);
        assert!(said.is_empty() || answer.starts_with("HTTP/1.1 "), "{answer}");
        for secret in [OLD, KEY] {
            assert!(!answer.contains(secret), "{secret} stands in {answer}");
        }
        let body = answer.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str::<Value>(body).ok());
        let named = body.as_ref().is_some_and(|body| body["Response"]["TaskId"].as_i64().is_some_and(|task| task > 0));
        let asked = serde_json::from_slice::<Value>(request).unwrap_or_default();
        match how {
            How::Raw => {
                let body = body.unwrap_or_default();
                let done = |answer: &Value, error: &str| answer.is_object() && answer.get(error).is_none();
                assert!(!done(&body["Response"], "Error"), "done for nobody: {answer}");
                assert!(body.get("RequestId").is_none() || !done(&body, "Code"), "done for nobody: {answer}");
                assert_eq!((cloud.history(CRS).len(), cloud.history(TAIR).len()), (1, 1), "changed by nobody");
            }
            How::Signed("ModifyInstancePassword" | "ModfiyInstancePassword") if named => {
                assert_eq!((&asked["InstanceId"], &asked["OldPassword"]), (&Value::from(CRS), &Value::from(OLD)));
            }
            How::Signed(action) => {
                assert!(body.is_some(), "{action} was not answered with JSON: {answer}");
                assert!(!action.starts_with("Describe") || !named, "a task for a look: {answer}");
            }
        }
        assert_eq!(cloud.history(TAIR).len(), 1);
    });
}

async fn cloud() -> Simulator {
    let instance = |made: InstanceSettings| InstanceSettings { server: Server::Nothing, ..made };
    let credentials = vec![Credential { secret_id: ID.to_owned(), secret_key: secret(KEY), token: None }];
    let long = Duration::from_secs(3_600);
    let settings = Settings {
        credentials,
        instances: vec![instance(InstanceSettings::new(CRS, OLD)), instance(InstanceSettings::alibaba(TAIR, OLD))],
        quota: Quota { per_second: 0.0, burst: 0.0 },
        task: TaskSettings { shortest: long, longest: long },
        metadata: MetadataSettings { role: Some("rotator".to_owned()), ..MetadataSettings::default() },
        ..Settings::default()
    };
    Simulator::start(settings).await.unwrap()
}

/// The request with the cloud's own time where the corpus has the first second of 2025: another one is refused before its signature is looked at.
fn at_this_time(cloud: &Simulator, request: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(request) else { return request.to_vec() };
    let now = Moment::from_millis(cloud.state()["now"].as_i64().unwrap());
    let second = now.utc().format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let text = text.replace("1735689600", &now.seconds().to_string());
    text.replace("2025-01-01T00:00:00Z", &second).replace("2025-01-01", &second[..10]).into_bytes()
}

/// The whole answer. The request ends where the bytes do.
async fn send(cloud: &Simulator, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(cloud.address()).await.unwrap();
    let mut answer = Vec::new();
    if stream.write_all(request).await.is_ok() && stream.shutdown().await.is_ok() {
        // A connection that is dropped has been answered too.
        let _end = stream.read_to_end(&mut answer).await;
    }
    answer
}

fn signed(cloud: &Simulator, action: &str, body: &[u8]) -> Vec<u8> {
    let host = cloud.address().to_string();
    let head = Head {
        service: "redis",
        host: &host,
        content_type: "application/json",
        also_signed: &[("x-tc-action", action)],
        payload: body,
        timestamp: Moment::from_millis(cloud.state()["now"].as_i64().unwrap()),
    };
    let key = secret(KEY);
    let mut text = "POST / HTTP/1.1\r\nConnection: close\r\n".to_owned();
    for (name, value) in sign(&head, Signer { id: ID, key: &key }) {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!(
        "x-tc-version: 2018-04-12\r\nx-tc-region: ap-guangzhou\r\ncontent-length: {}\r\n\r\n",
        body.len()
    ));
    [text.as_bytes(), body].concat()
}
