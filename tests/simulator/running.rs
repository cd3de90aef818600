//! Starting, stopping, and what another process can do.

use crate::caller::*;
use keywheel::simulator::{Server, Settings, Simulator};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One plain HTTP request to the simulator's own path: status line and body.
async fn control(simulator: &Simulator, method: &str, name: &str, body: &str) -> (String, Value) {
    let mut stream = TcpStream::connect(simulator.address()).await.unwrap();
    let request = format!(
        "{method} /_simulator/{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), serde_json::from_str(body).unwrap())
}

#[tokio::test]
async fn another_process_can_script_and_ask() {
    let simulator = simulator().await;
    let steps = r#"[{"action": "Mod*", "fault": {"kind": "throttle"}}, {"action": "*", "fault": {"kind": "drop-before-effect"}}]"#;
    assert_eq!(control(&simulator, "POST", "script", steps).await.0, "HTTP/1.1 200 OK");
    assert_eq!(code(&simulator, MODIFY, change_of(OLD, NEW)).await.as_deref(), Some("RequestLimitExceeded"));
    assert_eq!(simulator.steps_left(), 1);
    control(&simulator, "DELETE", "script", "").await;
    let change = json!({"instances": {CRS: {"password": NEW, "lock": "1m"}}, "denied-actions": ["ResetPassword"]});
    assert_eq!(control(&simulator, "POST", "change", &change.to_string()).await.0, "HTTP/1.1 200 OK");
    let (status, state) = control(&simulator, "GET", "state", "").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    let instance = &state["instances"][0];
    assert_eq!((&instance["id"], &instance["locked"]), (&json!(CRS), &json!(true)));
    assert_eq!(instance["history"][1]["sha256"], json!(hex::encode(Sha256::digest(NEW))));
    assert_eq!(state["refusals"], json!({"RequestLimitExceeded": 1}));
    for secret in [OLD, NEW, KEY] {
        assert!(!state.to_string().contains(secret));
    }
    for (method, name, body) in [
        ("POST", "script", "{}"),
        ("POST", "change", r#"{"instances": {"crs-b": {}}}"#),
        ("POST", "change", r#"{"no-such": 1}"#),
        ("GET", "passwords", ""),
    ] {
        let (status, answer) = control(&simulator, method, name, body).await;
        assert!(status.contains(" 40") && answer["error"].is_string(), "{method} {name} {status}");
    }
}

#[tokio::test]
async fn settings_are_read_from_toml_and_checked() {
    let text = r#"
        listen = "127.0.0.1:0"
        denied-actions = ["ResetPassword"]
        task = { shortest = "10ms", longest = "1s" }
        [[credentials]]
        secret-id = "AKIDx"
        secret-key = "k"
        [[instances]]
        id = "crs-a"
        password = "OldPassw0rd-1"
        stale-nodes = { stale = 1, of = 4, span = "2s" }
        [[instances]]
        id = "crs-b"
        password = "OldPassw0rd-1"
        server = { kind = "nothing" }
        [[script]]
        action = "*"
        fault = { kind = "lock-for", span = "3s" }
    "#;
    let good: Settings = toml::from_str(text).unwrap();
    assert!(!format!("{good:?}").contains(OLD));
    let simulator = Simulator::start(good.clone()).await.unwrap();
    assert_eq!((simulator.steps_left(), simulator.login_address("crs-b")), (1, None));
    type Spoil = fn(&mut Settings);
    let spoils: [(Spoil, &str); 5] = [
        (|settings| settings.listen = "0.0.0.0:0".parse().unwrap(), "loopback"),
        (
            |settings| settings.instances[0].server = Server::Listener { address: "192.0.2.1:0".parse().unwrap() },
            "loopback",
        ),
        (|settings| settings.instances[1].id = "crs-a".to_owned(), "twice"),
        (|settings| settings.credentials.clear(), "credential"),
        (
            |settings| {
                settings.instances[1].server =
                    Server::Redis { address: "10.0.0.1:6379".parse().unwrap(), user: "default".to_owned() }
            },
            "loopback",
        ),
    ];
    for (spoil, why) in spoils {
        let mut bad = good.clone();
        spoil(&mut bad);
        let fault = Simulator::start(bad).await.err().unwrap();
        assert!(fault.what.contains(why), "{fault}");
    }
    assert!(toml::from_str::<Settings>("listne = 1").is_err());
}

#[tokio::test]
async fn it_stops_when_dropped_and_when_told() {
    let simulator = simulator().await;
    let (api, login) = (simulator.address(), simulator.login_address(CRS).unwrap());
    drop(simulator);
    for address in [api, login] {
        let closed = async {
            while TcpStream::connect(address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, closed).await.unwrap();
    }
    let mut endpoint = String::new();
    keywheel::simulator::run(settings(Vec::new()), |started| endpoint = started.endpoint(), async {}).await.unwrap();
    assert!(endpoint.starts_with("http://127.0.0.1:"));
}
