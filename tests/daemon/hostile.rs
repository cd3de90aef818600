//! The control socket and those who mean no good, or know no better: nobody harms the daemon by it, and nobody keeps anybody else out.

use crate::common::stage::{Daemon, INSTANCE, Stage, until};
use keywheel::simulator::{Fault, Step};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

const TARGET: &str = "orders-cache";
const HEALTH: &str = "GET /v1/health HTTP/1.1\r\nHost: keywheel\r\n\r\n";

/// Longer than the daemon bears with anybody.
const PATIENCE: Duration = Duration::from_secs(60);
/// A user that is nobody's.
const NOBODY: u32 = 65_534;

/// Says what it is told to the socket, and prints what comes back.
const STRANGER: &str = "import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(sys.argv[2].encode())
while piece := s.recv(4096):
    sys.stdout.write(piece.decode())
";

fn stage() -> (Stage, Daemon) {
    let stage = Stage::set();
    stage.configure(&stage.target(TARGET, INSTANCE, "adopt = { file = \"{folder}/initial\" }"));
    let daemon = stage.start(&[]);
    stage.until(TARGET, "settled", 1);
    (stage, daemon)
}

fn connect(stage: &Stage) -> UnixStream {
    let stream = UnixStream::connect(stage.path("control.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Everything that comes back until the daemon ends it.
fn rest(stream: &mut UnixStream) -> String {
    let (mut answer, mut piece) = (Vec::new(), [0; 65_536]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&piece[..length]),
            // What is answered before it was read to the end ends in a reset, after the answer.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the daemon bears with it for too long: {error}"),
        }
    }
    String::from_utf8(answer).unwrap()
}

fn ask(stage: &Stage, request: impl AsRef<[u8]>) -> String {
    let mut stream = connect(stage);
    let _ = stream.write_all(request.as_ref());
    rest(&mut stream)
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: keywheel\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// It turns, and does what it is asked to.
fn is_unharmed(stage: &Stage, daemon: &Daemon) {
    let health = stage.keywheel(&["status", "--health"]);
    assert_eq!(health.status, 0, "{}{}", health.out, health.err);
    let before = stage.passwords(INSTANCE).len();
    let rotated = stage.keywheel(&["rotate", TARGET, "--wait"]);
    assert_eq!(rotated.status, 0, "{}{}", rotated.out, rotated.err);
    assert_eq!(stage.passwords(INSTANCE).len(), before + 1);
    let log = daemon.log();
    assert!(!log.contains(" ERROR ") && !log.contains("panicked"), "{log}");
}

/// The most memory that the daemon ever had, in KiB.
fn peak(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn another_user_is_refused_by_the_mode_and_with_a_sentence_where_the_mode_says_nothing() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: only root can be another user");
        return;
    }
    let (stage, daemon) = stage();
    fs::set_permissions(stage.folder(), Permissions::from_mode(0o755)).unwrap();
    let socket = stage.path("control.sock");
    let (request, reveal) = (HEALTH, post("/v1/targets/orders-cache/reveal", ""));
    let stranger = |gid: u32, request: &str| {
        let mut command = Command::new("/usr/bin/python3");
        let asked = command.arg("-c").arg(STRANGER).arg(&socket).arg(request).gid(gid).uid(NOBODY).output().unwrap();
        String::from_utf8(asked.stdout).unwrap() + &String::from_utf8(asked.stderr).unwrap()
    };
    assert!(stranger(NOBODY, request).contains("PermissionError"), "the mode keeps it out");
    fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
    for request in [request, &reveal] {
        let said = stranger(NOBODY, request);
        assert!(said.starts_with("HTTP/1.1 403 ") && said.contains("user 65534 may not steer keywheel"), "{said}");
        assert!(said.contains("have the user added to the group"), "{said}");
    }
    // The socket's group is the daemon's: here, root's.
    assert!(stranger(0, request).starts_with("HTTP/1.1 200 "));
    assert!(!stage.keywheel(&["history", TARGET, "--json"]).out.contains("revealed"));
    is_unharmed(&stage, &daemon);
    daemon.stop();
}

#[test]
fn what_is_malformed_is_refused() {
    let (stage, daemon) = stage();
    let verb = |verb: &str, body: &str| post(&format!("/v1/targets/{TARGET}/{verb}"), body);
    let cases: Vec<(String, &str)> = vec![
        ("\x16\x03\x01\x02\x00\x01\x00\x01".to_owned(), ""),
        ("rotate orders-cache\n\n".to_owned(), "400"),
        ("GET /v1/health HTTP/9.9\r\n\r\n".to_owned(), "400"),
        ("POST /v1/health HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 7\r\n\r\nzzz\r\n".to_owned(), "40"),
        ("GET /v1/health HTTP/1.1\r\nContent-Length: -1\r\n\r\n".to_owned(), "400"),
        ("GET /v1/health HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n".to_owned(), "400"),
        (post("/v1/health", ""), "405"),
        ("DELETE /v1/targets/orders-cache/rotate HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "405"),
        (post("/", ""), "404"),
        (post("/v2/targets/orders-cache/rotate", ""), "404"),
        (post("/v1/targets//rotate", ""), "404"),
        (post("/v1/targets/orders-cache/rotate/", ""), "404"),
        (post("/v1/targets/..%2f..%2fetc/rotate", ""), "404"),
        (post("/v1/targets/nobody/rotate", ""), "404"),
        (verb("destroy", ""), "404"),
        (verb("rotate", "{"), "400"),
        (verb("rotate", "[]"), "400"),
        (verb("rotate", "{\"reason\":7}"), "400"),
        (verb("rotate", "{\"unknown\":\"key\"}"), "400"),
        (verb("rotate", &"[".repeat(60_000)), "400"),
        (verb("pause", "{\"seconds\":-1}"), "400"),
        (verb("adopt", "{}"), "400"),
        (verb("adopt", "{\"password\":\"\"}"), "400"),
        (verb("replace", "{\"account\":\"x\"}"), "400"),
        (verb("reveal", "\u{feff}{}"), "400"),
    ];
    for (request, status) in cases {
        let answer = ask(&stage, &request);
        assert!(answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status}")), "{request:.80}: {answer}");
    }
    // A span beyond all time, and a request that is two: the second is not looked at.
    let forever = ask(&stage, verb("pause", &format!("{{\"seconds\":{}}}", u64::MAX)));
    assert!(forever.starts_with("HTTP/1.1 200 "), "{forever}");
    assert!(ask(&stage, verb("unpause", "")).starts_with("HTTP/1.1 200 "));
    assert_eq!(ask(&stage, HEALTH.repeat(2)).matches("HTTP/1.1 200 ").count(), 1);
    is_unharmed(&stage, &daemon);
    daemon.stop();
}

#[test]
fn what_is_huge_is_not_read() {
    let (stage, daemon) = stage();
    let before = peak(&daemon);
    // It says how long it is, and is not waited for.
    let said =
        ask(&stage, "POST /v1/targets/orders-cache/rotate HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n");
    assert!(said.starts_with("HTTP/1.1 413 ") && said.contains("at most 65536 bytes"), "{said}");

    // It does not say so.
    let mut long = connect(&stage);
    long.write_all(b"POST /v1/targets/orders-cache/rotate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    let piece = [b"10000\r\n".to_vec(), vec![b' '; 0x1_0000], b"\r\n".to_vec()].concat();
    let written = (0..1_600).take_while(|_| long.write_all(&piece).is_ok()).count();
    assert!(written < 1_600, "100 MB were read");

    let head = "GET /v1/health HTTP/1.1\r\n";
    let large = ask(&stage, format!("{head}X: {}\r\n\r\n", "x".repeat(1 << 20)));
    assert!(large.is_empty() || large.starts_with("HTTP/1.1 431 "), "{large}");
    let many = ask(&stage, format!("{head}{}\r\n", "X: y\r\n".repeat(1_000)));
    assert!(many.is_empty() || many.starts_with("HTTP/1.1 431 "), "{many}");
    let mut endless = connect(&stage);
    endless.write_all(head.as_bytes()).unwrap();
    let written = (0..1_000_000).take_while(|_| endless.write_all(b"X-Another: header\r\n").is_ok()).count();
    assert!(written < 1_000_000, "a head without end was read");
    is_unharmed(&stage, &daemon);
    let grown = peak(&daemon).saturating_sub(before);
    assert!(grown < 32 * 1_024, "it took {grown} KiB more than before");
    daemon.stop();
}

#[test]
fn who_is_slow_is_sent_away_and_holds_nobody_up() {
    let (stage, daemon) = stage();
    let head = "POST /v1/targets/orders-cache/rotate HTTP/1.1\r\nHost: x\r\n";
    // What each says at once, and whether it goes on with a byte now and then.
    let cases = [
        (String::new(), None),
        ("GET /v1/hea".to_owned(), None),
        (format!("{head}X: "), Some("x")),
        (format!("{head}Content-Length: 60000\r\n\r\n"), None),
        (format!("{head}Content-Length: 60000\r\n\r\n"), Some(" ")),
        (format!("{head}Transfer-Encoding: chunked\r\n\r\n"), Some("1\r\n \r\n")),
    ];
    let slow: Vec<_> = cases
        .into_iter()
        .map(|(said, more)| {
            let mut stream = connect(&stage);
            std::thread::spawn(move || {
                stream.write_all(said.as_bytes()).unwrap();
                let Some(more) = more else {
                    let _ = rest(&mut stream);
                    return;
                };
                stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
                let mut byte = [0];
                let goes_on =
                    |error: &std::io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                let went_on = (0..300).take_while(|_| {
                    stream.write_all(more.as_bytes()).is_ok()
                        && stream.read(&mut byte).is_err_and(|error| goes_on(&error))
                });
                assert!(went_on.count() < 300, "it is borne with after a minute: {said}");
            })
        })
        .collect();
    is_unharmed(&stage, &daemon);
    for slow in slow {
        slow.join().unwrap();
    }
    is_unharmed(&stage, &daemon);
    assert_eq!(stage.passwords(INSTANCE).len(), 3, "no half of a request rotated anything");
    daemon.stop();
}

#[test]
fn a_thousand_idle_connections_stop_neither_a_rotation_nor_a_command() {
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, rustix::process::Rlimit { current: files.maximum, maximum: files.maximum }).unwrap();
    let (stage, daemon) = stage();
    let idle: Vec<UnixStream> = (0..1_000).map(|_| connect(&stage)).collect();
    is_unharmed(&stage, &daemon);
    let held = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    assert!(held < 250, "the daemon holds {held} files");
    let mut first = &idle[0];
    assert!(matches!(first.read(&mut [0]), Ok(0) | Err(_)), "the first of the idle made room");
    daemon.stop();
}

#[test]
fn commands_that_wait_leave_room_for_who_only_looks() {
    let (stage, daemon) = stage();
    // The turn waits for an answer that does not come, and the commands wait for the turn.
    stage.cloud().script([Step::once("Mod*InstancePassword", Fault::NeverAnswer { applied: true })]);
    assert_eq!(stage.keywheel(&["rotate", TARGET]).status, 0);
    until("the call", || stage.passwords(INSTANCE).len() == 2);
    let mut waiting: Vec<UnixStream> = (0..100)
        .map(|_| {
            let mut stream = connect(&stage);
            stream.write_all(post(&format!("/v1/targets/{TARGET}/pause"), "").as_bytes()).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        })
        .collect();
    let mut refused = 0;
    until("those who are too many to be refused", || {
        waiting.retain_mut(|stream| {
            let mut answer = [0; 4_096];
            let Ok(length) = stream.read(&mut answer) else { return true };
            let answer = String::from_utf8_lossy(&answer[..length]);
            assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("64 commands wait"), "{answer}");
            refused += 1;
            false
        });
        refused == 36
    });
    assert_eq!(stage.keywheel(&["status", "--health"]).out, "alive\n");
    daemon.kill();
}
