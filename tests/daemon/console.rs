//! What the daemon shows over TCP: whether it lives, whether it is ready, and that nobody who connects can harm it.

use crate::common::plain_http::{address_in, ask, get};
use crate::common::stage::{Daemon, INITIAL, INSTANCE, Stage, until};
use keywheel::simulator::{Fault, Step};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

const TARGET: &str = "orders-cache";
const ADOPT: &str = "adopt = { file = \"{folder}/initial\" }";
const LISTEN: &str = "listen = \"127.0.0.1:0\"";

fn configure(stage: &Stage, listen: &str, more: &str) {
    stage.configure_with(listen, &(stage.target(TARGET, INSTANCE, ADOPT) + more));
}

fn start(stage: &Stage) -> (Daemon, SocketAddr) {
    let daemon = stage.start(&[]);
    let address = address_in(&daemon.log());
    (daemon, address)
}

/// What `/readyz` answers.
fn ready(console: SocketAddr) -> (u16, String) {
    get(console, "/readyz")
}

#[test]
fn a_daemon_that_works_is_alive_and_ready_and_a_halted_target_changes_nothing() {
    let stage = Stage::set();
    configure(&stage, LISTEN, "");
    stage.cloud().script([Step::once(
        "Mod*InstancePassword",
        Fault::RefuseBeforeEffect { code: "UnauthorizedOperation".to_owned() },
    )]);
    let (daemon, console) = start(&stage);
    until("ready", || ready(console) == (200, "{\"status\":\"ready\",\"reasons\":[]}\n".to_owned()));
    assert_eq!(get(console, "/healthz"), (200, "{\"status\":\"alive\",\"reasons\":[]}\n".to_owned()));
    stage.until(TARGET, "settled", 1);
    assert_eq!(stage.keywheel(&["rotate", TARGET]).status, 0);
    until("the halt", || stage.status_of(TARGET)["state"] == "halted");
    assert_eq!(ready(console).0, 200, "one target that needs a person does not make the daemon unready");
    daemon.stop();
}

#[test]
fn only_reads_are_answered() {
    let stage = Stage::set();
    configure(&stage, LISTEN, "");
    let (daemon, console) = start(&stage);
    let head = ask(console, "HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(head.contains("cache-control: no-store\r\n"), "{head}");
    for verb in ["POST", "PUT", "DELETE", "OPTIONS", "ROTATE"] {
        let refused = ask(console, &format!("{verb} /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"));
        assert!(refused.starts_with("HTTP/1.1 405 ") && refused.contains("allow: GET, HEAD\r\n"), "{verb}: {refused}");
    }
    assert_eq!(get(console, "/v1/targets/orders-cache/reveal").0, 404, "the control socket's verbs are not here");
    // A body that comes with a read is not waited for, and one request is all that a connection carries.
    let twice =
        "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(ask(console, twice).matches("HTTP/1.1 200 OK").count(), 1);
    daemon.stop();
}

#[test]
fn a_stopping_daemon_is_alive_and_not_ready() {
    let stage = Stage::set();
    configure(&stage, LISTEN, "");
    let (daemon, console) = start(&stage);
    stage.until(TARGET, "settled", 1);
    // The step under way waits for an answer that does not come.
    stage.cloud().script([Step::once("Mod*InstancePassword", Fault::NeverAnswer { applied: true })]);
    assert_eq!(stage.keywheel(&["rotate", TARGET]).status, 0);
    until("the call", || stage.passwords(INSTANCE).len() == 2);
    daemon.signal(Signal::TERM);
    until("unready", || {
        ready(console) == (503, "{\"status\":\"unready\",\"reasons\":[\"keywheel is stopping\"]}\n".to_owned())
    });
    assert_eq!(get(console, "/healthz").0, 200, "it finishes its step");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended(), Some(0));
}

#[test]
fn a_refused_configuration_and_a_ledger_that_cannot_be_written_make_it_unready_until_they_are_mended() {
    let stage = Stage::set();
    configure(&stage, LISTEN, "");
    let (daemon, console) = start(&stage);
    stage.until(TARGET, "settled", 1);
    until("ready", || ready(console).0 == 200);

    configure(&stage, LISTEN, "[targets.nonsense]\n");
    daemon.signal(Signal::HUP);
    until("the refusal", || ready(console).0 == 503);
    let (_, said) = ready(console);
    assert!(said.contains("the configuration was refused when it was read again"), "{said}");
    assert_eq!(get(console, "/healthz").0, 200);
    configure(&stage, "listen = \"127.0.0.1:1\"", "");
    daemon.signal(Signal::HUP);
    until("the good one", || ready(console).0 == 200);
    assert!(daemon.log().contains("daemon.listen has changed: it is taken up at the next start"), "{}", daemon.log());
    assert_eq!(address_in(&daemon.log()), console);

    // Somebody else holds the file's lock and does not let go: no turn can write.
    let other = rusqlite::Connection::open(stage.path("state/ledger.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let asked = stage.keywheel(&["rotate", TARGET]);
    assert_ne!(asked.status, 0, "{}", asked.out);
    until("the ledger to be missed", || ready(console).1.contains("the ledger cannot be written"));
    assert_eq!(stage.passwords(INSTANCE), [INITIAL]);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(stage.keywheel(&["rotate", TARGET]).status, 0);
    until("ready again", || ready(console).0 == 200);
    daemon.stop();
}

#[test]
fn a_taken_address_is_a_fault_that_names_it_and_a_held_ledger_says_more() {
    let stage = Stage::set();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    configure(&stage, &format!("listen = \"{address}\""), "");
    let refused = stage.keywheel(&["run"]);
    assert_eq!(refused.status, 2);
    for words in [format!("daemon.listen: {address} cannot be listened on"), "choose another address".to_owned()] {
        assert!(refused.err.contains(&words), "{}", refused.err);
    }
    drop(taken);
    let daemon = stage.start(&[]);
    let second = stage.keywheel(&["run"]);
    assert!(second.err.contains(&format!("keywheel run, pid {}", daemon.pid())), "{}", second.err);
    daemon.stop();
}

#[test]
fn a_thousand_idle_slow_and_malformed_connections_stop_neither_a_rotation_nor_a_probe() {
    let stage = Stage::set();
    configure(&stage, LISTEN, "");
    let (daemon, console) = start(&stage);
    stage.until(TARGET, "settled", 1);
    let crowd: Vec<TcpStream> = (0..1_000)
        .filter_map(|number| {
            let mut stream = TcpStream::connect(console).ok()?;
            let said: &[u8] = match number % 4 {
                0 => b"",
                1 => b"GET /healthz HTTP/1.1\r\nHost: ",
                2 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                _ => b"POST /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 7\r\n",
            };
            // It may have been shown the door already.
            let _ = stream.write_all(said);
            Some(stream)
        })
        .collect();
    assert_eq!(crowd.len(), 1_000);
    let mut large = TcpStream::connect(console).unwrap();
    let _ = large.write_all(format!("GET /healthz HTTP/1.1\r\nX: {}", "x".repeat(1 << 20)).as_bytes());
    assert_eq!(ready(console).0, 200);
    assert_eq!(get(console, "/healthz").0, 200);
    let rotated = stage.keywheel(&["rotate", TARGET, "--wait"]);
    assert_eq!(rotated.status, 0, "{}{}", rotated.out, rotated.err);
    assert_eq!(stage.passwords(INSTANCE).len(), 2);
    assert_eq!(ready(console).0, 200);
    // The first to come made room; the daemon holds far fewer than came.
    let held = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    assert!(held < 250, "the daemon holds {held} files");
    let mut first = &crowd[0];
    let mut byte = [0];
    assert!(matches!(first.read(&mut byte), Ok(0) | Err(_)), "the first of the idle is gone");
    daemon.stop();
}
