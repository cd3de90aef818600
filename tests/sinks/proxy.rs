//! A proxy that passes on one request and its answer at a time, until it is told to do otherwise.

use super::conformance::Trouble;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How an answer looks that does not come from the server. The request stands in it, as some servers do with what they do not understand.
const HUGE: usize = 100 * 1024 * 1024;

type Act = Box<dyn FnOnce() + Send>;

/// Looks at a request's head and its body.
type IsWrite = dyn Fn(&str, &str) -> bool + Send + Sync;

/// What the proxy says in the place of a store: a status and a body each.
pub struct Words {
    /// Whether a request is the write that readers see.
    pub writes: Box<IsWrite>,
    pub throttled: (&'static str, &'static str),
    pub not_found: (&'static str, &'static str),
    /// Where the store has no room; absent where the store itself can be made to say so.
    pub full: Option<(&'static str, &'static str)>,
    /// How a failing one repeats what it was sent.
    pub broken: fn(&str) -> serde_json::Value,
}

pub struct Proxy {
    url: String,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: String,
    words: Words,
    trouble: Mutex<Option<Trouble>>,
    act: Mutex<Option<Act>>,
    swallowed: AtomicU64,
    held: AtomicBool,
}

impl Proxy {
    pub fn before(upstream: String, words: Words) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (trouble, act, swallowed) = (Mutex::default(), Mutex::default(), AtomicU64::new(0));
        let shared = Arc::new(Shared { upstream, words, trouble, act, swallowed, held: AtomicBool::new(false) });
        let kept = shared.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let shared = kept.clone();
                // What a client makes of a connection that breaks off is the test's concern.
                std::thread::spawn(move || drop(shared.serve(&connection)));
            }
        });
        Self { url, shared }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn fail(&self, trouble: Trouble) {
        *self.shared.trouble.lock().unwrap() = Some(trouble);
    }

    pub fn before_the_next_write(&self, act: impl FnOnce() + Send + 'static) {
        *self.shared.act.lock().unwrap() = Some(Box::new(act));
    }

    /// From now on what is written takes effect, and its answer waits until this is taken back.
    pub fn hold(&self, held: bool) {
        self.shared.held.store(held, Ordering::SeqCst);
    }

    pub fn mend(&self) {
        *self.shared.trouble.lock().unwrap() = None;
    }

    pub fn swallowed(&self) -> u64 {
        self.shared.swallowed.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn serve(&self, mut connection: &TcpStream) -> std::io::Result<()> {
        let trouble = *self.trouble.lock().unwrap();
        if trouble == Some(Trouble::Down) {
            return Ok(());
        }
        let (head, body) = request(connection)?;
        let writes = (self.words.writes)(&head, &body);
        let act = if writes { self.act.lock().unwrap().take() } else { None };
        if let Some(act) = act {
            act();
        }
        let say = |mut connection: &TcpStream, (status, text): (&str, &str)| {
            let length = text.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}"
            );
            connection.write_all(answer.as_bytes())
        };
        match trouble {
            Some(Trouble::Hang) => {
                let waited = connection.read(&mut [0]);
                waited.map(drop)
            }
            Some(Trouble::Throttled) => say(connection, self.words.throttled),
            Some(Trouble::NotFound) => say(connection, self.words.not_found),
            Some(Trouble::Full) if self.words.full.is_some() => say(connection, self.words.full.unwrap_or_default()),
            Some(Trouble::Broken) => {
                let text = (self.words.broken)(&format!("{head}{body}")).to_string();
                say(connection, ("500 Internal Server Error", &text))
            }
            Some(Trouble::Huge) => {
                self.pass_on(&head, &body)?;
                connection.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
                let piece = [b' '; 64 * 1024];
                for written in 1..=HUGE / piece.len() {
                    connection.write_all(&piece)?;
                    self.swallowed.fetch_max((written * piece.len()) as u64, Ordering::SeqCst);
                }
                Ok(())
            }
            Some(Trouble::LostAnswer | Trouble::LostBetween(_)) if writes => {
                self.pass_on(&head, &body)?;
                *self.trouble.lock().unwrap() = None;
                Ok(())
            }
            None
            | Some(
                Trouble::LostAnswer
                | Trouble::Down
                | Trouble::Denied
                | Trouble::Full
                | Trouble::Between(_)
                | Trouble::LostBetween(_),
            ) => {
                let answer = self.pass_on(&head, &body)?;
                while writes && self.held.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                connection.write_all(&answer)
            }
        }
    }

    fn pass_on(&self, head: &str, body: &str) -> std::io::Result<Vec<u8>> {
        let mut upstream = TcpStream::connect(&self.upstream)?;
        upstream.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes())?;
        let mut answer = Vec::new();
        upstream.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

/// The lines of one request before the empty one, and its body.
fn request(connection: &TcpStream) -> std::io::Result<(String, String)> {
    let mut reader = BufReader::new(connection);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((head, String::from_utf8(body).unwrap()))
}
