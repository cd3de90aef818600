//! A real `redis-server` (Debian package `redis-server`) on a loopback port of its own, without persistence, stopped on drop.

#![allow(dead_code, reason = "each test file uses the part it needs")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

/// How often another port is tried when somebody took the first one between finding and using it.
const ATTEMPTS: usize = 5;

/// A running server.
pub struct RedisServer {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl RedisServer {
    /// Starts a server whose default user has this password; `None` leaves it without one. Returns once it takes connections.
    pub fn start(password: Option<&str>) -> Self {
        let lines = password.map_or(String::new(), |password| format!("requirepass \"{password}\"\n"));
        Self::start_with(&lines)
    }

    /// Starts a server with these further lines of configuration.
    pub fn start_with(lines: &str) -> Self {
        (0..ATTEMPTS).find_map(|_| Self::attempt(lines)).expect(
            "redis-server starts (install it: apt-get install --no-install-recommends redis-server redis-tools)",
        )
    }

    fn attempt(lines: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut child = Command::new("redis-server")
            .arg("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .current_dir(folder.path())
            .spawn()
            .expect("redis-server is installed");
        let configuration = format!(
            "port {port}\nbind 127.0.0.1\nsave \"\"\nappendonly no\ndaemonize no\nlogfile \"\"\ndir {}\n{lines}",
            folder.path().display()
        );
        child.stdin.take().unwrap().write_all(configuration.as_bytes()).unwrap();
        let mut log = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = log.by_ref().map_while(Result::ok).any(|line| line.contains("Ready to accept connections"));
        if !ready {
            // Its log has ended and so does it, with whatever status; the caller says what it means.
            let _ = child.wait();
            return None;
        }
        // The log must be read on, or the server would block on a full pipe.
        std::thread::spawn(move || log.for_each(drop));
        Some(Self { child, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), _folder: folder })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether a new connection of the default user is let in with this password.
    pub fn accepts(&self, password: &str) -> bool {
        let mut url = url::Url::parse(&format!("redis://{}", self.address)).unwrap();
        url.set_password(Some(password)).unwrap();
        let client = redis::Client::open(url.as_str()).unwrap();
        client.get_connection().and_then(|mut connection| redis::cmd("PING").query::<String>(&mut connection)).is_ok()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may have ended, and a drop cannot fail.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback port that nobody has at this moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}
