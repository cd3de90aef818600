//! A tiny HTTP server that answers from a script and remembers what it was sent.

use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with one request, after it has read it whole.
#[derive(Clone)]
pub enum Step {
    /// A whole answer of this status, with these further header lines and this body.
    Reply(u16, String, String),
    /// These raw bytes, then the connection is closed.
    Raw(String),
    /// A chunked body that never ends.
    Endless,
    /// Nothing at all, with the connection left open.
    Silence,
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which connection carried it, counted from zero.
    pub connection: usize,
    /// The head, in lower case.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Seen {
    /// The value of a header (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(prefix.as_str()))
    }
}

pub struct Scripted {
    pub address: std::net::SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Scripted {
    /// A server for these steps, one a request; after the last it answers 500.
    pub async fn serve(steps: Vec<Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let steps = Arc::new(Mutex::new(steps.into_iter()));
        let record = Arc::clone(&seen);
        tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (record, steps) = (Arc::clone(&record), Arc::clone(&steps));
                tokio::spawn(async move {
                    let mut stream = stream;
                    while let Some((head, body)) = request(&mut stream).await {
                        record.lock().unwrap().push(Seen { connection, head, body });
                        let step = steps.lock().unwrap().next();
                        let step = step.unwrap_or(Step::Reply(500, String::new(), "the script is over".to_owned()));
                        if !perform(&mut stream, step).await {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, seen }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    // A GET has no body; of everything else the length must be told.
    let length: usize = length.or(head.starts_with("get ").then_some("0"))?.parse().ok()?;
    let mut body = bytes.split_off(head_end + 4);
    let read = body.len();
    body.resize(length, 0);
    stream.read_exact(&mut body[read..]).await.ok()?;
    Some((head, String::from_utf8(body).ok()?))
}

/// Whether the connection stays open.
async fn perform(stream: &mut TcpStream, step: Step) -> bool {
    match step {
        Step::Reply(status, headers, body) => {
            let text = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(text.as_bytes()).await.is_ok()
        }
        Step::Raw(text) => {
            // The caller may hang up in the middle of it: some of these texts make it do so.
            let _ = stream.write_all(text.as_bytes()).await;
            false
        }
        Step::Endless => {
            // Where this fails, so does the first of the chunks.
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
            while stream.write_all(chunk.as_bytes()).await.is_ok() {}
            false
        }
        Step::Silence => {
            std::future::pending::<()>().await;
            false
        }
    }
}
