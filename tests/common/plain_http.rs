//! A client of the daemon's console that says exactly what a test wants said.

#![allow(dead_code, reason = "each test file uses the part it needs")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longer than anything takes that is answered at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the daemon's log says that its console is open, last.
pub fn address_in(log: &str) -> SocketAddr {
    let line = log.lines().rfind(|line| line.contains("the console is open")).unwrap_or_else(|| panic!("{log}"));
    let (_, address) = line.split_once("address=").unwrap_or_else(|| panic!("{line}"));
    address.split_whitespace().next().unwrap().parse().unwrap()
}

/// Everything that comes back until the other side ends.
pub fn ask(console: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(console).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // What is answered before it was read to the end ends in a reset, after the answer.
    let _ = stream.write_all(request.as_bytes());
    everything(stream)
}

fn everything(mut stream: impl Read) -> String {
    let mut answer = Vec::new();
    let mut piece = [0; 65_536];
    while let Ok(length @ 1..) = stream.read(&mut piece) {
        answer.extend_from_slice(&piece[..length]);
    }
    String::from_utf8(answer).unwrap()
}

/// The same over a Unix socket.
pub fn ask_at(socket: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = stream.write_all(request.as_bytes());
    everything(stream)
}

/// An answer's status and body.
pub fn parted(answer: &str) -> (u16, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{head}"));
    (status, body)
}

/// The status and the body of what stands there.
pub fn get(console: SocketAddr, path: &str) -> (u16, String) {
    let answer = ask(console, &format!("GET {path} HTTP/1.1\r\nHost: {console}\r\n\r\n"));
    let (status, body) = parted(&answer);
    (status, body.to_owned())
}
