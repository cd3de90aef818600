//! What the targets stand on: a runtime of this thread's own, a server that answers from a script, and the look for a secret in a text.

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// Between the parts of an input: a line with nothing but this.
const BETWEEN: &[u8] = b"\n--\n";

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_all().build().unwrap();
    static CLOUD: OnceCell<Answering> = const { OnceCell::new() };
    static NODE: OnceCell<Answering> = const { OnceCell::new() };
}

/// Runs this to its end.
pub fn block_on<F: Future>(work: F) -> F::Output {
    RUNTIME.with(|runtime| runtime.block_on(work))
}

/// The first line, and what follows it.
pub fn first_line(input: &[u8]) -> (&str, &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let word = std::str::from_utf8(&input[..end]).unwrap_or_default();
    (word, input.get(end + 1..).unwrap_or_default())
}

/// Which of these words the line is; any other line chooses one too, so that no input is idle.
pub fn chosen<T: Copy>(line: &str, words: &[(&str, T)]) -> T {
    let found = words.iter().find(|(word, _)| *word == line);
    found.map_or_else(|| words[line.bytes().map(usize::from).sum::<usize>() % words.len()].1, |(_, chosen)| *chosen)
}

/// The parts between lines of `--`.
pub fn parts(input: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let mut rest = input;
    while let Some(at) = rest.windows(BETWEEN.len()).position(|window| window == BETWEEN) {
        found.push(&rest[..at]);
        rest = &rest[at + BETWEEN.len()..];
    }
    found.push(rest);
    found
}

/// What a server does, one step after the other; the last one is repeated.
#[derive(Default)]
struct Script {
    steps: Vec<Vec<u8>>,
    played: usize,
}

impl Script {
    fn next(&mut self) -> Vec<u8> {
        let step = self.steps.get(self.played).or(self.steps.last()).cloned().unwrap_or_default();
        self.played += 1;
        step
    }
}

/// A server of this thread that answers from a script.
#[derive(Clone)]
pub struct Answering {
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

/// One answer of a cloud.
#[derive(Clone)]
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Reply {
    /// A line with the status, and the body.
    fn parse(part: &[u8]) -> Self {
        let (status, body) = first_line(part);
        let status = status.trim().parse().ok().filter(|status| (200..600).contains(status)).unwrap_or(200);
        Self { status, body: body.to_vec() }
    }

    /// The body, if it is JSON that can be looked into.
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Whether the body is JSON that is too deep to be looked into, or holds a number too large for it.
    pub fn is_odd_json(&self) -> bool {
        let whole = serde_json::from_slice::<serde::de::IgnoredAny>(&self.body).is_ok();
        whole && std::str::from_utf8(&self.body).is_ok() && self.json().is_none()
    }
}

/// The answers of a script, as they will be given.
pub struct Replies {
    all: Vec<Reply>,
    server: Answering,
}

impl Replies {
    /// The cloud of this thread, which will give these answers.
    pub async fn play(script: &[u8]) -> Self {
        let server = served(&CLOUD, |stream, script| Box::pin(answer_requests(stream, script))).await;
        let all: Vec<Reply> = parts(script).into_iter().map(Reply::parse).collect();
        let whole = |reply: &Reply| {
            let head = format!("HTTP/1.1 {} X\r\nContent-Length: {}\r\n\r\n", reply.status, reply.body.len());
            [head.as_bytes(), &reply.body].concat()
        };
        server.set(all.iter().map(whole).collect());
        Self { all, server }
    }

    /// Where it is called.
    pub fn endpoint(&self) -> url::Url {
        format!("http://{}/", self.server.address).parse().unwrap()
    }

    /// How many answers were given.
    pub fn given(&self) -> usize {
        self.server.script.lock().unwrap().played
    }

    /// The answer given last.
    pub fn last(&self) -> Option<&Reply> {
        let at = self.given().checked_sub(1)?;
        self.all.get(at).or(self.all.last())
    }
}

/// The Redis of this thread: says one part of the script to each connection, whatever it is asked, and hangs up.
pub async fn node(script: &[u8]) -> Answering {
    let server = served(&NODE, |stream, script| Box::pin(say_it_all(stream, script))).await;
    server.set(parts(script).into_iter().map(<[u8]>::to_vec).collect());
    server
}

impl Answering {
    fn set(&self, steps: Vec<Vec<u8>>) {
        *self.script.lock().unwrap() = Script { steps, played: 0 };
    }

    /// How many connections it answered.
    pub fn played(&self) -> usize {
        self.script.lock().unwrap().played
    }
}

type Serving = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn served(
    place: &'static std::thread::LocalKey<OnceCell<Answering>>,
    serve: fn(TcpStream, Arc<Mutex<Script>>) -> Serving,
) -> Answering {
    if let Some(known) = place.with(|place| place.get().cloned()) {
        return known;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let made = Answering { address: listener.local_addr().unwrap(), script: Arc::default() };
    let script = Arc::clone(&made.script);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&script)));
        }
    });
    place.with(|place| place.get_or_init(|| made).clone())
}

async fn answer_requests(mut stream: TcpStream, script: Arc<Mutex<Script>>) {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if !more(&mut stream, &mut buffer).await {
                return;
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let whole = end + length.unwrap_or(0);
        while buffer.len() < whole {
            if !more(&mut stream, &mut buffer).await {
                return;
            }
        }
        buffer.drain(..whole);
        let answer = script.lock().unwrap().next();
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

/// Reads on until the other side hangs up, so that nothing it was told gets lost.
async fn say_it_all(mut stream: TcpStream, script: Arc<Mutex<Script>>) {
    let words = script.lock().unwrap().next();
    if stream.write_all(&words).await.is_ok() && stream.shutdown().await.is_ok() {
        let mut heard = Vec::new();
        while more(&mut stream, &mut heard).await {}
    }
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> bool {
    let mut chunk = [0; 4096];
    match stream.read(&mut chunk).await {
        Ok(read) if read > 0 => {
            buffer.extend_from_slice(&chunk[..read]);
            true
        }
        Ok(_) | Err(_) => false,
    }
}

/// None of the secrets stands in the text, and the text is one that can be shown in one line.
pub fn holds_none_of(text: &str, secrets: &[&str]) {
    for secret in secrets {
        assert!(!text.contains(secret), "{secret:?} stands in {text:?}");
    }
    assert!(!text.chars().any(char::is_control), "a control character stands in {text:?}");
}

/// A text as Rust and JSON write it inside quotes.
pub fn quoted(text: &str) -> [String; 2] {
    let inner = |quoted: String| quoted[1..quoted.len() - 1].to_owned();
    [inner(format!("{text:?}")), inner(serde_json::to_string(text).unwrap())]
}
