//! The stream of news of the built program: what it says and what it does not, and that listeners harm nobody.

use crate::common::plain_http::{address_in, ask, get};
use crate::common::stage::{Daemon, INITIAL, INSTANCE, SECRET_KEY, Stage, until};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TARGET: &str = "orders-cache";

fn started(stage: &Stage) -> (Daemon, SocketAddr) {
    let adopt = "adopt = { file = \"{folder}/initial\" }\nsinks = [\"orders\"]";
    stage.configure_with(
        "listen = \"127.0.0.1:0\"",
        &(stage.sink("orders", "") + &stage.target(TARGET, INSTANCE, adopt)),
    );
    let daemon = stage.start(&[]);
    let console = address_in(&daemon.log());
    stage.until(TARGET, "settled", 1);
    (daemon, console)
}

/// One who listens, and everything that was said so far.
struct Listener(TcpStream, String);

impl Listener {
    fn at(console: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(console).unwrap();
        write!(stream, "GET /events HTTP/1.1\r\nHost: {console}\r\n\r\n").unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        Self(stream, String::new())
    }

    /// Whether this was said by now.
    fn heard(&mut self, words: &str) -> bool {
        let mut piece = [0; 4_096];
        match self.0.read(&mut piece) {
            Ok(length) => self.1.push_str(std::str::from_utf8(&piece[..length]).unwrap()),
            Err(error) => assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}"),
        }
        self.1.contains(words)
    }
}

#[test]
fn whoever_listens_hears_that_a_target_changed_and_nothing_else() {
    let stage = Stage::set();
    let (daemon, console) = started(&stage);
    let mut listener = Listener::at(console);
    until("the greeting", || listener.heard(": listening\n\n"));
    assert!(
        listener.1.starts_with("HTTP/1.1 200 OK\r\n") && listener.1.contains("content-type: text/event-stream\r\n")
    );
    assert!(listener.1.contains("cache-control: no-store\r\n"), "{}", listener.1);
    let reason = "a reason of some words";
    assert_eq!(stage.keywheel(&["rotate", TARGET, "--wait", "--reason", reason]).status, 0);
    // Whether anything else changed is said, too: the configuration came into force a moment ago.
    let news = "data: {\"targets\":[\"orders-cache\"],\"more\":";
    until("the news", || listener.heard(news));
    // What was announced is on a page that is read then.
    assert!(get(console, "/targets/orders-cache").1.contains("rotation"), "it began");
    stage.until(TARGET, "settled", 2);
    until("the last of it", || {
        let _more = listener.heard(news);
        get(console, "/").1.contains("<span class=\"state settled\">settled</span>")
    });
    let live = stage.live(INSTANCE);
    for word in [INITIAL, &live, SECRET_KEY, reason, INSTANCE, "settled", "generation"] {
        assert!(!listener.1.contains(word), "{word}: {}", listener.1);
    }
    daemon.stop();
}

#[test]
fn listeners_are_few_take_no_probes_place_and_do_not_hold_up_the_end() {
    let stage = Stage::set();
    let (daemon, console) = started(&stage);
    let mut all: Vec<Listener> = (0..32).map(|_| Listener::at(console)).collect();
    for listener in &mut all {
        until("the greeting", || listener.heard(": listening\n\n"));
    }
    let refused = ask(console, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(
        refused.starts_with("HTTP/1.1 503 ") && refused.ends_with("too many listen at the same time\n"),
        "{refused}"
    );
    for path in ["/healthz", "/readyz", "/metrics", "/", "/page.js"] {
        assert_eq!(get(console, path).0, 200, "{path}");
    }
    // Nobody reads, and everything goes on.
    for generation in 2..5 {
        assert_eq!(stage.keywheel(&["rotate", TARGET, "--wait"]).status, 0);
        stage.until(TARGET, "settled", generation);
    }
    // Who leaves makes room; a look at the head alone takes none.
    all.pop();
    until("a place", || {
        let mut next = Listener::at(console);
        until("an answer", || next.heard("\r\n\r\n"));
        next.1.starts_with("HTTP/1.1 200 OK\r\n")
    });
    // The one before has left, which is noticed a moment later.
    until("a head without a body, again and again", || {
        (0..40).all(|_| {
            let head = ask(console, "HEAD /events HTTP/1.1\r\nHost: x\r\n\r\n");
            head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n")
        })
    });
    daemon.stop();
}
