//! The other cloud: Alibaba's R-kvstore, called as a rotator calls it. Its signer here is written from the vendor's page.

use crate::caller::{ID, KEY, NEW, OLD, PATIENCE, hmac, settings, until};
use crate::common::redis_server::RedisServer;
use keywheel::secret::Secret;
use keywheel::simulator::{
    AccountSettings, Change, Fault, Garbage, InstanceChange, InstanceSettings, Quota, Server, Settings, Simulator,
    Step, Tair, Vendor,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const R: &str = "r-bp1";
const APP: &str = "app";
const MODIFY: &str = "ModifyAccountPassword";
const RESET: &str = "ResetAccountPassword";
const FORM: &str = "application/x-www-form-urlencoded";

/// Where the parameters go.
#[derive(Debug, Clone, Copy)]
enum In {
    Query,
    Body,
}

/// One request before it is sent.
#[derive(Clone)]
struct Request {
    method: &'static str,
    query: String,
    headers: Vec<(String, String)>,
    body: String,
}

fn encode(parameters: &[(&str, &str)]) -> String {
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

fn sign(simulator: &Simulator, method: &'static str, place: In, action: &str, parameters: &[(&str, &str)]) -> Request {
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
    async fn send(&self, simulator: &Simulator) -> String {
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
async fn call(simulator: &Simulator, action: &str, parameters: &[(&str, &str)]) -> (u16, Value) {
    let answer = sign(simulator, "POST", In::Body, action, parameters).send(simulator).await;
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(text).unwrap();
    assert!(body["RequestId"].is_string(), "{text}");
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
}

fn change_of(old: &'static str, new: &'static str) -> [(&'static str, &'static str); 4] {
    [("InstanceId", R), ("AccountName", APP), ("OldAccountPassword", old), ("NewAccountPassword", new)]
}

fn instance() -> InstanceSettings {
    InstanceSettings::alibaba(R, OLD).with_account(APP, OLD).with_account("other", OLD)
}

async fn simulator() -> Simulator {
    Simulator::start(settings(vec![instance()])).await.unwrap()
}

async fn change(simulator: &Simulator, instance: InstanceChange) {
    simulator.change(Change::of(R, instance)).await.unwrap();
}

/// `AccountStatus` by name.
async fn status_of(simulator: &Simulator, account: &str) -> String {
    let (_, answer) = call(simulator, "DescribeAccounts", &[("InstanceId", R), ("AccountName", account)]).await;
    let accounts = answer["Accounts"]["Account"].as_array().unwrap();
    assert_eq!(accounts.len(), 1, "{answer}");
    accounts[0]["AccountStatus"].as_str().unwrap().to_owned()
}

fn idle(simulator: &Simulator) -> bool {
    let tasks = simulator.state()["tasks"].clone();
    tasks.as_array().unwrap().iter().all(|task| ["succeed", "failed"].contains(&task["status"].as_str().unwrap()))
}

async fn logs_in(simulator: &Simulator, password: &str) -> bool {
    let mut stream = TcpStream::connect(simulator.login_address(R).unwrap()).await.unwrap();
    stream.write_all(format!("AUTH {password}\r\nQUIT\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer == "+OK\r\n+OK\r\n"
}

#[tokio::test]
async fn the_vendors_own_requests_are_accepted_and_used_up() {
    let signed = |names: &str, signature: &str, id: &str| {
        format!("ACS3-HMAC-SHA256 Credential={id},SignedHeaders={names},Signature={signature}")
    };
    const SHORT: &str = "host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version";
    const WITH_TYPE: &str =
        "content-type;host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version";
    const WITH_TOKEN: &str = "host;x-acs-accesskey-id;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-security-token;x-acs-signature-nonce;x-acs-version";
    const FAKE: (&str, &str) = ("LTAI5tFAKEFAKEFAKEFAKE01", "FakeAliyunSecretKeyForVectors1");
    const STS: (&str, &str) = ("STS.NFAKEFAKEFAKEFAKE01", FAKE.1);
    const DAWN: &str = "2025-01-01T00:00:00Z";
    type Row = (
        (&'static str, &'static str),
        [&'static str; 5],
        &'static str,
        &'static str,
        &'static str,
        &'static str,
        &'static str,
    );
    // Key, then host, action, version, date and nonce, then query, body, signed names, signature, and what it meets once accepted.
    let rows: [Row; 5] = [
        (
            ("YourAccessKeyId", "YourAccessKeySecret"),
            [
                "ecs.cn-shanghai.aliyuncs.com",
                "RunInstances",
                "2014-05-26",
                "2023-10-26T10:22:32Z",
                "3156853299f313e23d1673dc12e1703d",
            ],
            "ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai",
            "",
            SHORT,
            "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0",
            "InvalidVersion",
        ),
        (
            FAKE,
            ["r-kvstore.aliyuncs.com", MODIFY, "2015-01-01", DAWN, "3156853299f313e23d1673dc12e1703d"],
            "AccountName=testaccount&InstanceId=r-bp1zxszhcgatnx00&NewAccountPassword=aB3%21%40%23%24%25%5E%26%2A%28%29_%2B-%3D&OldAccountPassword=Old_Passw0rd%21",
            "",
            SHORT,
            "f25351ba8d10a08b779b77ef484ddf1ee0ae7f78248040d3b83b00de1198a2bf",
            "HTTP/1.1 200 OK",
        ),
        (
            FAKE,
            ["r-kvstore.cn-beijing.aliyuncs.com", RESET, "2015-01-01", DAWN, "5e2a2b9d0c7f4f0a8d6b1c3e4f5a6b7c"],
            "",
            "AccountName=testaccount&AccountPassword=aB3%21%40%23%24%25%5E%26%2A%28%29_%2B-%3D&InstanceId=r-bp1zxszhcgatnx00",
            WITH_TYPE,
            "6324823177d8ece1d84f2c83c1db68fdb0c69675092182f5c190d596ceb4bd0a",
            "HTTP/1.1 200 OK",
        ),
        (
            STS,
            [
                "r-kvstore.aliyuncs.com",
                "DescribeAccounts",
                "2015-01-01",
                "2025-01-01T23:59:59Z",
                "0f0e0d0c0b0a09080706050403020100",
            ],
            "InstanceId=r-bp1zxszhcgatnx00",
            "",
            WITH_TOKEN,
            "0158181283f92355df93d5fe78c6fa662bb4b28268dc9e27b24f3927fd5b7335",
            "HTTP/1.1 200 OK",
        ),
        (
            FAKE,
            ["kms.cn-hangzhou.aliyuncs.com", "PutSecretValue", "2016-01-20", DAWN, "11112222333344445555666677778888"],
            "",
            "SecretData=%7B%22password%22%3A%22aB3%21x%22%7D&SecretName=redis%2Fprod%2Fapp&VersionId=rot-20250101T000000Z",
            WITH_TYPE,
            "4b8e0b6e943ac4e833d439122878ad59b5ce6e2ba0a9e74a4da29ddca6ac65d1",
            "InvalidVersion",
        ),
    ];
    for ((id, key), [host, action, version, date, nonce], query, body, names, signature, met) in rows {
        let instance =
            InstanceSettings::alibaba("r-bp1zxszhcgatnx00", OLD).with_account("testaccount", "Old_Passw0rd!");
        let mut settings = settings(vec![instance]);
        settings.credentials[0].secret_id = id.to_owned();
        settings.credentials[0].secret_key = Secret::new(key.to_owned());
        settings.credentials[0].token = names.contains("token").then(|| Secret::new("FAKE-STS-TOKEN-0001".to_owned()));
        let simulator = Simulator::start(settings).await.unwrap();
        let vector_time = chrono::DateTime::parse_from_rfc3339(date).unwrap().timestamp_millis();
        let offset = vector_time - simulator.state()["now"].as_i64().unwrap();
        simulator.change(Change { clock_offset_millis: Some(offset), ..Change::default() }).await.unwrap();
        let value = |name: &str| match name {
            "content-type" => FORM.to_owned(),
            "host" => host.to_owned(),
            "x-acs-accesskey-id" => id.to_owned(),
            "x-acs-action" => action.to_owned(),
            "x-acs-content-sha256" => hex::encode(Sha256::digest(body)),
            "x-acs-date" => date.to_owned(),
            "x-acs-security-token" => "FAKE-STS-TOKEN-0001".to_owned(),
            "x-acs-signature-nonce" => nonce.to_owned(),
            _ => version.to_owned(),
        };
        let mut headers: Vec<(String, String)> = names.split(';').map(|name| (name.to_owned(), value(name))).collect();
        headers.push(("authorization".to_owned(), signed(names, signature, id)));
        let request = Request { method: "POST", query: query.to_owned(), headers, body: body.to_owned() };
        for place in 0..signature.len() {
            let mut bad = request.clone();
            let last = bad.headers.last_mut().unwrap();
            let at = last.1.len() - 1 - place;
            let other = if last.1.as_bytes()[at] == b'0' { "1" } else { "0" };
            last.1.replace_range(at..=at, other);
            assert!(bad.send(&simulator).await.contains("SignatureDoesNotMatch"), "{action} {place}");
        }
        let answer = request.send(&simulator).await;
        assert!(answer.contains(met), "{action}: {answer}");
        let again = request.send(&simulator).await;
        assert!(again.starts_with("HTTP/1.1 400") && again.contains("SignatureNonceUsed"), "{action}: {again}");
    }
}

#[tokio::test]
async fn one_flipped_byte_anywhere_is_refused() {
    let simulator = simulator().await;
    for place in [In::Query, In::Body] {
        let good = sign(&simulator, "POST", place, MODIFY, &change_of(OLD, NEW));
        let flipped = |text: &str, at: usize| {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] ^= 1;
            String::from_utf8(bytes).unwrap()
        };
        let mut requests = Vec::new();
        for at in 0..good.query.len() {
            requests.push(Request { query: flipped(&good.query, at), ..good.clone() });
        }
        for at in 0..good.body.len() {
            requests.push(Request { body: flipped(&good.body, at), ..good.clone() });
        }
        for (index, (_, value)) in good.headers.iter().enumerate() {
            for at in 0..value.len() {
                let mut bad = good.clone();
                bad.headers[index].1 = flipped(value, at);
                requests.push(bad);
            }
        }
        assert!(requests.len() > 400);
        for bad in requests {
            let answer = bad.send(&simulator).await;
            assert!(!answer.starts_with("HTTP/1.1 200"), "{} {:?} {answer}", bad.query, bad.headers);
        }
        assert_eq!(simulator.state()["tasks"], json!([]));
    }
    let good = sign(&simulator, "POST", In::Query, MODIFY, &change_of(OLD, NEW));
    assert!(good.send(&simulator).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_password_changes_in_the_end_and_the_account_shows_it() {
    let simulator = simulator().await;
    for (action, method, place, parameters, account, before, after) in [
        (MODIFY, "POST", In::Body, change_of(OLD, NEW).to_vec(), APP, OLD, NEW),
        (MODIFY, "POST", In::Query, change_of(NEW, "Th!rd+passw0rd").to_vec(), APP, NEW, "Th!rd+passw0rd"),
        (
            RESET,
            "GET",
            In::Query,
            vec![("InstanceId", R), ("AccountName", APP), ("AccountPassword", OLD), ("SourceBiz", "x")],
            APP,
            "Th!rd+passw0rd",
            OLD,
        ),
        (
            MODIFY,
            "POST",
            In::Body,
            vec![
                ("InstanceId", R),
                ("AccountName", "default"),
                ("OldAccountPassword", OLD),
                ("NewAccountPassword", NEW),
            ],
            R,
            OLD,
            NEW,
        ),
        (
            "ModifyInstanceAttribute",
            "POST",
            In::Body,
            vec![("InstanceId", R), ("NewPassword", "F0urth_passw0rd")],
            R,
            NEW,
            "F0urth_passw0rd",
        ),
    ] {
        simulator.script([Step::once(action, Fault::TaskStuck { span: None })]);
        let answer = sign(&simulator, method, place, action, &parameters).send(&simulator).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{action} {answer}");
        let (_, text) = answer.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(text).unwrap();
        assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["RequestId"], "no task id");
        let unavailable = async { while status_of(&simulator, account).await != "Unavailable" {} };
        tokio::time::timeout(PATIENCE, unavailable).await.unwrap();
        assert_eq!(status_of(&simulator, "other").await, "Available");
        let (_, shown) = call(&simulator, "DescribeInstanceAttribute", &[("InstanceId", R)]).await;
        let status = &shown["Instances"]["DBInstanceAttribute"][0]["InstanceStatus"];
        assert_eq!(status == "Changing", account == R, "{action}");
        let (code, refused) =
            call(&simulator, RESET, &[("InstanceId", R), ("AccountName", "other"), ("AccountPassword", NEW)]).await;
        assert_eq!((code, refused["Code"].as_str()), (400, Some("TaskExists")), "the task holds the instance");
        let form = |password: &str| if account == R { password.to_owned() } else { format!("{APP}:{password}") };
        assert!(logs_in(&simulator, &form(before)).await && !logs_in(&simulator, &form(after)).await, "{action}");
        simulator.change(Change { release_stuck: true, ..Change::default() }).await.unwrap();
        until(|| idle(&simulator)).await;
        assert_eq!(status_of(&simulator, account).await, "Available");
        assert!(logs_in(&simulator, &form(after)).await && !logs_in(&simulator, &form(before)).await, "{action}");
    }
    let texts = |history: Vec<keywheel::simulator::Applied>| {
        history.iter().map(|applied| applied.password.expose().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(texts(simulator.account_history(R, APP)), [OLD, NEW, "Th!rd+passw0rd", OLD]);
    assert_eq!(texts(simulator.history(R)), [OLD, NEW, "F0urth_passw0rd"]);
    assert!(simulator.accepts(R, "F0urth_passw0rd") && simulator.account_accepts(R, APP, OLD));
    let digest = hex::encode(Sha256::digest(NEW));
    assert_eq!(simulator.state()["instances"][0]["accounts"][APP][1]["sha256"], json!(digest));
}

#[tokio::test]
async fn states_and_rules_refuse_with_the_published_codes() {
    let simulator = simulator().await;
    let status =
        |status: &str| InstanceChange { instance_status: Some(status.to_owned()), ..InstanceChange::default() };
    let same = InstanceChange::default;
    let of = |name: &'static str, value: &'static str| {
        change_of(OLD, NEW).map(|pair| if pair.0 == name { (name, value) } else { pair }).to_vec()
    };
    for (state, action, parameters, expected) in [
        (same(), MODIFY, of("InstanceId", "r-bp2"), (404, "InvalidInstanceId.NotFound")),
        (same(), MODIFY, of("AccountName", "nobody"), (404, "InvalidAccountName.NotFound")),
        (same(), MODIFY, of("OldAccountPassword", "Wr0ng_passw"), (400, "InvalidOldAccountPassword")),
        (same(), MODIFY, of("NewAccountPassword", "onlyletters"), (400, "InvalidAccountPassword.Format")),
        (same(), MODIFY, change_of(OLD, NEW)[..3].to_vec(), (400, "MissingNewAccountPassword")),
        (same(), "ModifyAcountPassword", of("", ""), (404, "InvalidAction.NotFound")),
        (same(), "DescribeInstances", vec![("PageSize", "51")], (400, "InvalidParameter")),
        (status("Changing"), MODIFY, of("", ""), (403, "IncorrectDBInstanceState")),
        (status("Inactive"), MODIFY, of("", ""), (403, "IncorrectDBInstanceState")),
        (
            InstanceChange { lock: Some(PATIENCE), ..status("Normal") },
            MODIFY,
            of("", ""),
            (403, "IncorrectDBInstanceState"),
        ),
    ] {
        change(&simulator, state).await;
        let (status, answer) = call(&simulator, action, &parameters).await;
        assert_eq!((status, answer["Code"].as_str().unwrap()), expected, "{parameters:?}");
        for member in ["RequestId", "HostId", "Message", "Recommend"] {
            assert!(answer[member].is_string(), "{answer}");
        }
    }
    assert_eq!(simulator.state()["tasks"], json!([]));
    let (status, answer) =
        call(&simulator, "ModifyInstanceAttribute", &[("InstanceId", R), ("InstanceName", "x")]).await;
    assert_eq!((status, answer["Code"].as_str()), (200, None), "a new name is no new password");

    let mut old = settings(vec![InstanceSettings::alibaba(R, OLD)]);
    old.instances[0].vendor = Vendor::Alibaba(Tair { engine_version: "2.8".to_owned(), ..Tair::default() });
    old.alibaba.wrong_old_password = "IncorrectOldPassword".to_owned();
    old.alibaba.body_parameters = false;
    let old = Simulator::start(old).await.unwrap();
    let reset = [("InstanceId", R), ("AccountName", R), ("AccountPassword", NEW)];
    assert_eq!(call(&old, RESET, &reset).await.1["Code"], "MissingInstanceId", "this one reads no form");
    let modify = [("InstanceId", R), ("AccountName", R), ("OldAccountPassword", NEW), ("NewAccountPassword", NEW)];
    for (action, parameters, code) in
        [(RESET, &reset[..], "InvalidEngineVersion.Format"), (MODIFY, &modify[..], "IncorrectOldPassword")]
    {
        let answer = sign(&old, "POST", In::Query, action, parameters).send(&old).await;
        assert!(answer.contains(code), "{answer}");
    }
}

/// Each fault of a write: what its caller sees, and which password is live in the end.
#[tokio::test]
async fn each_fault_of_a_write_does_what_it_says() {
    const OK: &str = "HTTP/1.1 200 ";
    let garbage = |shape: Garbage| Fault::Garbage { shape, applied: true };
    let refuse = |code: &str| Fault::RefuseBeforeEffect { code: code.to_owned() };
    for (fault, seen, live) in [
        (refuse("ServiceUnavailable"), "HTTP/1.1 503 ", OLD),
        (refuse("InternalError"), "HTTP/1.1 500 ", OLD),
        (refuse("ProxyError"), "HTTP/1.1 400 ", OLD),
        (Fault::ApplyThenDropConnection { after_bytes: 0 }, "", NEW),
        (Fault::ApplyThenDropConnection { after_bytes: 5 }, "\r\n\r\n{\"Req", NEW),
        (Fault::DropBeforeEffect, "", OLD),
        (Fault::ApplyThenStatus { status: 502 }, "HTTP/1.1 502 ", NEW),
        (Fault::ApplyLate { delay: Duration::from_millis(20) }, "", NEW),
        (Fault::LockFor { span: PATIENCE }, "IncorrectDBInstanceState", OLD),
        (Fault::TaskStuck { span: Some(Duration::from_millis(20)) }, OK, NEW),
        (Fault::TaskFailsAfterApplying, OK, NEW),
        (Fault::TaskFailsBeforeApplying, OK, OLD),
        (Fault::WrongOldPassword, "InvalidOldAccountPassword", OLD),
        (Fault::Throttle, "Throttling.User", OLD),
        (Fault::StaleRead { age: PATIENCE }, OK, NEW),
        (garbage(Garbage::NotJson), "<!doctype html>", NEW),
        (garbage(Garbage::NoEnvelope), "[\"RequestId\", 1]", NEW),
        (garbage(Garbage::NoFields), "\r\n\r\n{}", NEW),
        (garbage(Garbage::WrongTypes), "\"RequestId\":7", NEW),
        (garbage(Garbage::CutOff), "\"Acc", NEW),
        (garbage(Garbage::Empty), "content-length: 0", NEW),
        (Fault::Garbage { shape: Garbage::Empty, applied: false }, "content-length: 0", OLD),
        (Fault::HugeBody { applied: true }, "content-length: 100000000", NEW),
        (Fault::SlowBody { pause: Duration::from_millis(1) }, OK, NEW),
    ] {
        let simulator = simulator().await;
        simulator.script([Step { instance: Some(R.to_owned()), ..Step::once(MODIFY, fault.clone()) }]);
        let answer = sign(&simulator, "POST", In::Body, MODIFY, &change_of(OLD, NEW)).send(&simulator).await;
        assert!(answer.contains(seen) && answer.is_empty() == seen.is_empty(), "{fault:?}: {answer:.400}");
        assert_eq!(answer.contains("x-acs-retry-after: 100"), fault == Fault::Throttle, "{fault:?}: {answer:.400}");
        assert_eq!(simulator.steps_left(), 0);
        if live == NEW {
            until(|| simulator.account_accepts(R, APP, NEW)).await;
        }
        until(|| idle(&simulator)).await;
        assert!(simulator.account_accepts(R, APP, live) && simulator.accepts(R, OLD), "{fault:?}");
    }
}

#[tokio::test]
async fn a_stale_read_shows_the_past() {
    let simulator = simulator().await;
    simulator.script([Step::once(MODIFY, Fault::TaskStuck { span: None })]);
    assert_eq!(call(&simulator, MODIFY, &change_of(OLD, NEW)).await.0, 200);
    let unavailable = async { while status_of(&simulator, APP).await != "Unavailable" {} };
    tokio::time::timeout(PATIENCE, unavailable).await.unwrap();
    simulator.script([Step::once("DescribeAccounts", Fault::StaleRead { age: PATIENCE })]);
    assert_eq!(status_of(&simulator, APP).await, "Available");
    assert_eq!(status_of(&simulator, APP).await, "Unavailable");
}

#[tokio::test]
async fn instances_are_paged_and_each_cloud_knows_its_own() {
    let mut instances: Vec<InstanceSettings> =
        (0..65).map(|number| InstanceSettings::alibaba(&format!("r-{number:02}"), OLD)).collect();
    instances.iter_mut().for_each(|instance| instance.server = Server::Nothing);
    instances[7].no_auth = true;
    instances.push(InstanceSettings::new("crs-a", OLD));
    let simulator = Simulator::start(settings(instances)).await.unwrap();
    for (parameters, count, first) in [
        (vec![], 30, Some("r-00")),
        (vec![("PageNumber", "3")], 5, Some("r-60")),
        (vec![("PageSize", "50"), ("PageNumber", "2")], 15, Some("r-50")),
        (vec![("PageNumber", "4")], 0, None),
        (vec![("InstanceIds", "r-03,r-09,crs-a")], 2, Some("r-03")),
        (vec![("RegionId", "cn-beijing")], 0, None),
    ] {
        let (_, answer) = call(&simulator, "DescribeInstances", &parameters).await;
        let shown = answer["Instances"]["KVStoreInstance"].as_array().unwrap();
        let first_shown = shown.first().and_then(|instance| instance["InstanceId"].as_str());
        assert_eq!((shown.len(), first_shown), (count, first), "{parameters:?}");
    }
    assert_eq!(call(&simulator, "DescribeInstances", &[]).await.1["TotalCount"], 65);
    for (id, mode) in [("r-06", "Open"), ("r-07", "Close")] {
        let (_, answer) = call(&simulator, "DescribeInstanceAttribute", &[("InstanceId", id)]).await;
        let shown = &answer["Instances"]["DBInstanceAttribute"][0];
        assert_eq!(shown["VpcAuthMode"], mode);
        for (name, value) in [("InstanceStatus", "Normal"), ("EngineVersion", "7.0"), ("ArchitectureType", "standard")]
        {
            assert_eq!(shown[name], value);
        }
    }
    assert_eq!(call(&simulator, "DescribeAccounts", &[("InstanceId", "crs-a")]).await.0, 404);
    let theirs = crate::caller::call(&simulator, "DescribeInstances", json!({})).await;
    assert_eq!(theirs["TotalCount"], 1);
    let refused = crate::caller::code(&simulator, "DescribeInstanceAccount", json!({"InstanceId": "r-00"})).await;
    assert_eq!(refused.as_deref(), Some("ResourceNotFound.InstanceNotExists"));
}

#[tokio::test]
async fn quotas_denials_and_absence_have_their_codes() {
    let mut limited = settings(vec![instance()]);
    limited.quota = Quota { per_second: 0.001, burst: 2.0 };
    limited.alibaba.retry_after = Some(Duration::from_millis(1_500));
    let simulator = Simulator::start(limited).await.unwrap();
    let change = Change {
        absent_actions: Some(vec![RESET.to_owned()]),
        denied_actions: Some(vec!["DescribeAccounts".to_owned()]),
        ..Change::default()
    };
    simulator.change(change).await.unwrap();
    assert_eq!(call(&simulator, RESET, &[]).await.1["Code"], "InvalidAction.NotFound");
    let (status, denied) = call(&simulator, "DescribeAccounts", &[("InstanceId", R)]).await;
    assert_eq!((status, denied["Code"].as_str()), (403, Some("Forbidden.RAM")));
    for throttled in [false, false, true] {
        let request = sign(&simulator, "POST", In::Query, "DescribeInstances", &[]);
        let answer = request.send(&simulator).await;
        assert_eq!(answer.contains("Throttling.User"), throttled, "{answer}");
        assert_eq!(answer.contains("x-acs-retry-after: 1500\r\n"), throttled, "{answer}");
    }
    assert_eq!(simulator.calls()["DescribeInstances"].throttled.len(), 1);
    let put = Request { method: "PUT", ..sign(&simulator, "POST", In::Query, "DescribeInstances", &[]) };
    assert!(put.send(&simulator).await.starts_with("HTTP/1.1 405 "));
}

#[tokio::test]
async fn a_real_server_takes_the_passwords_of_every_account() {
    let server = RedisServer::start(Some(OLD));
    let mut instance = instance();
    instance.server = Server::Redis { address: server.address(), user: "default".to_owned() };
    let simulator = Simulator::start(settings(vec![instance])).await.unwrap();
    let by_name = |password: &str| {
        let client = redis::Client::open(format!("redis://{APP}:{password}@{}", server.address())).unwrap();
        client.get_connection().is_ok()
    };
    let colon = |password: &str| server.accepts(&format!("{APP}:{password}"));
    assert!(server.accepts(OLD) && colon(OLD) && by_name(OLD) && server.accepts(&format!("other:{OLD}")));
    assert_eq!(call(&simulator, MODIFY, &change_of(OLD, NEW)).await.0, 200);
    until(|| idle(&simulator)).await;
    assert!(colon(NEW) && by_name(NEW) && !colon(OLD) && !by_name(OLD) && server.accepts(OLD));
    let reset = [("InstanceId", R), ("NewPassword", "Th1rd_passw0rd")];
    assert_eq!(call(&simulator, "ModifyInstanceAttribute", &reset).await.0, 200);
    until(|| idle(&simulator)).await;
    assert!(server.accepts("Th1rd_passw0rd") && !server.accepts(OLD) && colon(NEW));
    let by_hand = AccountSettings { name: APP.to_owned(), password: Secret::new("By_hand_1".to_owned()) };
    change(&simulator, InstanceChange { accounts: vec![by_hand], ..InstanceChange::default() }).await;
    assert!(colon("By_hand_1") && !colon(NEW) && simulator.account_accepts(R, APP, "By_hand_1"));
    assert!(server.accepts(&format!("other:{OLD}")));
}

#[tokio::test]
async fn settings_are_read_from_toml_and_checked() {
    let text = r#"
        alibaba = { region = "cn-beijing", wrong-old-password = "Odd", retry-after = "2s" }
        [[credentials]]
        secret-id = "LTAIx"
        secret-key = "k"
        [[instances]]
        id = "r-bp1"
        password = "OldPassw0rd-1"
        vendor = { kind = "alibaba", engine-version = "5.0" }
        accounts = [{ name = "app", password = "OldPassw0rd-1" }]
        [[instances]]
        id = "crs-a"
        password = "OldPassw0rd-1"
    "#;
    let good: Settings = toml::from_str(text).unwrap();
    assert!(!format!("{good:?}").contains(OLD));
    let old = Tair { engine_version: "5.0".to_owned(), ..Tair::default() };
    assert_eq!(good.instances[0].vendor, Vendor::Alibaba(old));
    drop(Simulator::start(good.clone()).await.unwrap());
    type Spoil = fn(&mut Settings);
    let spoils: [(Spoil, &str); 4] = [
        (|settings| settings.instances[0].accounts[0].name = R.to_owned(), "like the default one"),
        (|settings| settings.instances[0].accounts[0].name = "default".to_owned(), "like the default one"),
        (|settings| settings.instances[0] = settings.instances[0].clone().with_account(APP, OLD), "twice"),
        (|settings| settings.instances[1] = settings.instances[1].clone().with_account(APP, OLD), "Alibaba only"),
    ];
    for (spoil, why) in spoils {
        let mut bad = good.clone();
        spoil(&mut bad);
        let fault = Simulator::start(bad).await.err().unwrap();
        assert!(fault.what.contains(why), "{fault}");
    }
    assert!(toml::from_str::<Settings>(&text.replace("engine-version", "engine")).is_err());
}
