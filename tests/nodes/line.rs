//! The line between keywheel and one real server. It understands enough of the protocol to pass on one command and one answer at a time, and to do something to
//! a chosen one. On its way it makes sure of two promises: no password reaches the server that is not in the ledger yet, and which ones were let in.

use crate::record::Record;
use crate::redis_nodes::RedisNode;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A command on its way to the server.
#[derive(Debug, Clone)]
pub struct Point {
    /// What it is in the printed table.
    pub name: &'static str,
    /// How it begins, in one line; `AUTH` always has a user.
    pub words: String,
    /// Which one of those, from 1 on.
    pub nth: usize,
    /// They are counted once a command that begins like this has come by.
    pub after: Option<String>,
}

/// What is done to it.
#[derive(Debug, Clone, Copy)]
pub enum Deed {
    /// It does not arrive, and the connection ends.
    Swallow,
    /// It arrives, and the connection ends without an answer.
    LoseAnswer,
    /// It arrives, and the connection ends in mid-answer.
    CutAnswer,
    /// The connection ends; it arrives as soon as the server has answered the next command that begins like this.
    Late(&'static str),
    /// The connection ends; it arrives when the row says so.
    LateAtRest,
    /// Something else is answered, and the connection stays.
    Say { words: &'static str, applied: bool },
    /// This is answered over and over, without an end.
    Endless { words: &'static str, applied: bool },
    /// Nothing is ever answered.
    Silence { applied: bool },
    /// The server stands still, with the command before it, until keywheel has come back this many times.
    Stop { until: usize },
    /// kill -9 of the server, which starts again from what it saved.
    Crash(Crash),
    /// It does not arrive, and somebody else sets another password at that moment.
    Outsider(&'static str),
}

/// When the server dies.
#[derive(Debug, Clone, Copy)]
pub enum Crash {
    /// Before it has the command.
    Before,
    /// When it has carried it out, and nobody has heard of it.
    Done,
    /// When it has answered.
    Answered,
}

/// One line. It ends with the runtime.
pub struct Line {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    server: u16,
    node: Arc<Mutex<RedisNode>>,
    record: Arc<Record>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    trap: Option<Trap>,
    /// What was wrong, each said once.
    wrong: Vec<String>,
    /// Users and passwords that the server let in, and keywheel heard of it.
    let_in: BTreeSet<(String, String)>,
    /// Commands that arrive later.
    late: Option<Late>,
    /// After so many more connections this process goes on.
    stopped: Option<(usize, Pid)>,
}

struct Trap {
    point: Point,
    deed: Deed,
    times: usize,
    counting: bool,
    seen: usize,
    sprung: usize,
}

struct Late {
    after: Option<&'static str>,
    far: TcpStream,
    bytes: Vec<u8>,
}

impl Line {
    pub async fn to(node: Arc<Mutex<RedisNode>>, record: Arc<Record>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = node.lock().unwrap_or_else(PoisonError::into_inner).port();
        let shared = Arc::new(Shared { server, node, record, state: Mutex::default() });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                serving.came_back();
                let serving = Arc::clone(&serving);
                // A connection that breaks is what this is for.
                tokio::spawn(async move { serving.serve(near).await });
            }
        });
        Self { port, shared }
    }

    /// From now on the point is watched for; the deed is done as often.
    pub fn set(&self, point: Point, deed: Deed, times: usize) {
        let counting = point.after.is_none();
        self.shared.state().trap = Some(Trap { point, deed, times, counting, seen: 0, sprung: 0 });
    }

    /// How often a deed was done, out of how often it should.
    pub fn sprung(&self) -> (usize, usize) {
        self.shared.state().trap.as_ref().map_or((0, 0), |trap| (trap.sprung, trap.times))
    }

    pub fn wrong(&self) -> Vec<String> {
        self.shared.state().wrong.clone()
    }

    /// Whether keywheel has seen the server let this in.
    pub fn has_let_in(&self, user: &str, password: &str) -> bool {
        self.shared.state().let_in.contains(&(user.to_owned(), password.to_owned()))
    }

    /// What was held back arrives, whatever the server makes of it.
    pub async fn deliver(&self) {
        let late = self.shared.state().late.take();
        arrive(late.expect("something was held back")).await;
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn node(&self) -> MutexGuard<'_, RedisNode> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody may be waiting for the server, so this must not.
    fn came_back(&self) {
        let mut state = self.state();
        match state.stopped {
            Some((1, pid)) => {
                state.stopped = None;
                kill(pid, Signal::SIGCONT).unwrap();
            }
            Some((more, pid)) => state.stopped = Some((more - 1, pid)),
            None => {}
        }
    }

    /// One connection, one command after the other; `None` as soon as it is over.
    async fn serve(&self, mut near: TcpStream) -> Option<()> {
        let mut far = TcpStream::connect((Ipv4Addr::LOCALHOST, self.server)).await.ok()?;
        loop {
            let asked = whole(&mut near, command).await?;
            let shown = shown(&asked);
            self.vet(&asked).await;
            match self.trap(&shown) {
                Some(deed) => self.spring(deed, &mut near, far_and(&mut far, &asked)).await?,
                None => {
                    let answer = exchange(&mut far, &asked).await?;
                    self.late_after(&shown).await;
                    self.note(&asked, &answer);
                    near.write_all(&answer).await.ok()?;
                }
            }
        }
    }

    /// What is to be done to this command, if anything.
    fn trap(&self, shown: &str) -> Option<Deed> {
        let mut state = self.state();
        let trap = state.trap.as_mut()?;
        if !trap.counting {
            trap.counting = trap.point.after.as_deref().is_some_and(|after| shown.starts_with(after));
            return None;
        }
        if !shown.starts_with(&trap.point.words) {
            return None;
        }
        trap.seen += 1;
        let is_chosen = trap.seen >= trap.point.nth && trap.sprung < trap.times;
        trap.sprung += usize::from(is_chosen);
        is_chosen.then_some(trap.deed)
    }

    /// Does it. `None` where the connection ends with it.
    async fn spring(&self, deed: Deed, near: &mut TcpStream, (far, asked): (&mut TcpStream, &[u8])) -> Option<()> {
        match deed {
            Deed::Swallow => None,
            Deed::LoseAnswer => exchange(far, asked).await.and(None),
            Deed::CutAnswer => {
                let answer = exchange(far, asked).await?;
                near.write_all(&answer[..answer.len() / 2]).await.ok().and(None)
            }
            Deed::Late(words) => self.hold_back(Some(words), far, asked).await,
            Deed::LateAtRest => self.hold_back(None, far, asked).await,
            Deed::Say { words, applied } => {
                self.apply_if(applied, far, asked).await?;
                near.write_all(words.as_bytes()).await.ok()
            }
            Deed::Endless { words, applied } => {
                self.apply_if(applied, far, asked).await?;
                loop {
                    near.write_all(words.as_bytes()).await.ok()?;
                }
            }
            Deed::Silence { applied } => {
                self.apply_if(applied, far, asked).await?;
                gone(near).await
            }
            Deed::Stop { until } => {
                let pid = Pid::from_raw(i32::try_from(self.node().pid().expect("the server runs")).unwrap());
                kill(pid, Signal::SIGSTOP).unwrap();
                self.state().stopped = Some((until, pid));
                far.write_all(asked).await.ok()?;
                gone(near).await
            }
            Deed::Crash(when) => {
                let answer = match when {
                    Crash::Before => Vec::new(),
                    Crash::Done => exchange(far, asked).await.map(|_| Vec::new())?,
                    Crash::Answered => exchange(far, asked).await?,
                };
                self.note(asked, &answer);
                near.write_all(&answer).await.ok()?;
                tokio::task::block_in_place(|| self.node().restart());
                None
            }
            Deed::Outsider(user) => {
                let sets = ["ACL", "SETUSER", user, "resetpass", &format!(">{}", crate::case::OUTSIDER)];
                tokio::task::block_in_place(|| {
                    let node = self.node();
                    crate::witness::ask(&node, &sets);
                    crate::witness::ask(&node, &["ACL", "SAVE"]);
                });
                None
            }
        }
    }

    async fn apply_if(&self, applied: bool, far: &mut TcpStream, asked: &[u8]) -> Option<()> {
        match applied {
            true => exchange(far, asked).await.map(drop),
            false => Some(()),
        }
    }

    /// Keeps the command, and the connection to the server that it belongs to, for later.
    async fn hold_back(&self, after: Option<&'static str>, far: &mut TcpStream, asked: &[u8]) -> Option<()> {
        let spare = TcpStream::connect(far.peer_addr().ok()?).await.ok()?;
        let far = std::mem::replace(far, spare);
        self.state().late = Some(Late { after, far, bytes: asked.to_vec() });
        None
    }

    /// What was held back until such a command was answered arrives now, before anybody hears of that answer.
    async fn late_after(&self, shown: &str) {
        let due = {
            let mut state = self.state();
            let is_due = |late: &Late| late.after.is_some_and(|after| shown.starts_with(after));
            if state.late.as_ref().is_some_and(is_due) { state.late.take() } else { None }
        };
        if let Some(late) = due {
            arrive(late).await;
        }
    }

    /// Who was let in.
    fn note(&self, asked: &[u8], answer: &[u8]) {
        let words = words(asked);
        if words[0] == "AUTH" && answer == b"+OK\r\n" {
            let user = if words.len() > 2 { words[1].clone() } else { "default".to_owned() };
            self.state().let_in.insert((user, words[words.len() - 1].clone()));
        }
    }

    /// A password that this command would make live is in the ledger by now.
    async fn vet(&self, asked: &[u8]) {
        let words = words(asked);
        let starts = |first: &str, second: &str| words[0] == first && words.get(1).is_some_and(|word| word == second);
        let sets: Vec<String> = if starts("ACL", "SETUSER") {
            words.iter().filter_map(|word| word.strip_prefix('#')).map(str::to_owned).collect()
        } else if starts("CONFIG", "SET") {
            words.last().map(|password| hash(password)).into_iter().collect()
        } else {
            return;
        };
        let known: Vec<String> = self.record.generations().await.iter().map(|password| hash(password)).collect();
        if !sets.iter().all(|set| known.contains(set)) {
            self.state().wrong.push(format!("{} with a password that is not in the ledger", shown(asked)));
        }
        if words.iter().any(|word| word.starts_with('>') || word.starts_with('<')) {
            self.state().wrong.push("a password went to the server in clear".to_owned());
        }
    }
}

fn far_and<'a>(far: &'a mut TcpStream, asked: &'a [u8]) -> (&'a mut TcpStream, &'a [u8]) {
    (far, asked)
}

async fn arrive(mut late: Late) {
    // The server may have ended since, and the connection with it.
    let _ = exchange(&mut late.far, &late.bytes).await;
}

/// One command to the server, and its answer.
async fn exchange(far: &mut TcpStream, asked: &[u8]) -> Option<Vec<u8>> {
    far.write_all(asked).await.ok()?;
    whole(far, answer).await
}

/// Waits until the other side is gone.
async fn gone(near: &mut TcpStream) -> Option<()> {
    let mut bytes = [0; 512];
    while near.read(&mut bytes).await.ok()? > 0 {}
    None
}

/// Reads until `length` sees something whole: one question, one answer.
async fn whole(stream: &mut TcpStream, length: fn(&[u8]) -> Option<usize>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(length) = length(&bytes) {
            assert_eq!(length, bytes.len(), "one command at a time, and one answer to it");
            return Some(bytes);
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// How long the command is that the bytes begin with, once it is whole: a list of texts, as every client sends it.
fn command(bytes: &[u8]) -> Option<usize> {
    assert!(bytes.is_empty() || bytes[0] == b'*', "a command is a list");
    answer(bytes)
}

/// How long the answer is that the bytes begin with, once it is whole.
fn answer(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let number = || std::str::from_utf8(&bytes[1..end]).unwrap().parse::<i64>().unwrap();
    let mut length = end + 2;
    match bytes[0] {
        b'$' if number() >= 0 => length += usize::try_from(number()).unwrap() + 2,
        b'*' => {
            for _ in 0..number().max(0) {
                length += answer(&bytes[length.min(bytes.len())..])?;
            }
        }
        _ => {}
    }
    (bytes.len() >= length).then_some(length)
}

/// The words of a command.
fn words(asked: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = asked.iter().position(|byte| *byte == b'$').unwrap();
    while at < asked.len() {
        let length = answer(&asked[at..]).unwrap();
        let text = &asked[at..at + length];
        let head = text.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        found.push(String::from_utf8_lossy(&text[head..length - 2]).into_owned());
        at += length;
    }
    found
}

/// The command in one line.
fn shown(asked: &[u8]) -> String {
    let mut words = words(asked);
    if words[0] == "AUTH" && words.len() == 2 {
        words.insert(1, "default".to_owned());
    }
    words.join(" ")
}

/// As an ACL holds it.
pub fn hash(password: &str) -> String {
    hex::encode(Sha256::digest(password.as_bytes()))
}
