//! A login listener: a TCP port that speaks as much Redis as a login proof needs.

use super::cloud::Cloud;
use super::instance::{Login, Reach};
use super::resp;
use rustix::net::Shutdown;
use std::io::Result;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncBufRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;

/// Connections that may wait for their turn.
const BACKLOG: u32 = 1024;

/// What a connection of this instance is judged by.
struct Door {
    cloud: Arc<Cloud>,
    instance: String,
    connections: AtomicU64,
}

/// Serves logins of one instance until the cloud stops.
pub(super) fn serve(cloud: &Arc<Cloud>, instance: &str, listener: TcpListener, reach: watch::Receiver<Reach>) {
    let door =
        Arc::new(Door { cloud: Arc::clone(cloud), instance: instance.to_owned(), connections: AtomicU64::new(0) });
    let stop = cloud.stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            _ = follow(door, listener, reach) => {}
        }
    });
}

/// Accepts while the instance is reachable. A closed port stays ours: the socket is bound without listening.
async fn follow(door: Arc<Door>, listener: TcpListener, mut reach: watch::Receiver<Reach>) -> Result<()> {
    let address = listener.local_addr()?;
    let mut listener = Some(listener);
    let mut closed = None;
    loop {
        let wanted = *reach.borrow_and_update();
        match wanted {
            Reach::Refuse if listener.is_some() => {
                if let Some(listener) = listener.take() {
                    // Closing alone would not do: a child process that has just been forked still listens until it runs its program.
                    rustix::net::shutdown(&listener, Shutdown::Both)?;
                }
                closed = Some(bind(address)?);
            }
            Reach::Open | Reach::Hang => {
                if let Some(socket) = closed.take() {
                    listener = Some(socket.listen(BACKLOG)?);
                }
            }
            Reach::Refuse => {}
        }
        let accepting = listener.as_ref().filter(|_| wanted == Reach::Open);
        tokio::select! {
            changed = reach.changed() => if changed.is_err() { return Ok(()) },
            stream = accept(accepting) => {
                let (door, stop) = (Arc::clone(&door), door.cloud.stop.clone());
                let mut stream = stream?;
                tokio::spawn(async move {
                    let (read, write) = stream.split();
                    tokio::select! {
                        () = stop.cancelled() => {}
                        _ = converse(&door, BufReader::new(read), write) => {}
                    }
                });
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> Result<tokio::net::TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _peer)| stream),
        None => std::future::pending().await,
    }
}

fn bind(address: SocketAddr) -> Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// One connection, command by command.
async fn converse(
    door: &Door,
    mut source: impl AsyncBufRead + Unpin,
    mut target: impl AsyncWrite + Unpin,
) -> Result<()> {
    let connection = door.connections.fetch_add(1, Ordering::Relaxed);
    let mut session = Session { connection, logged_in: false, protocol: 2 };
    while let Some(arguments) = resp::read_command(&mut source).await? {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let Some((name, rest)) = words.split_first() else {
            continue;
        };
        let name = name.to_ascii_uppercase();
        target.write_all(session.answer(door, &name, rest).as_bytes()).await?;
        if name == "QUIT" {
            break;
        }
    }
    Ok(())
}

struct Session {
    connection: u64,
    logged_in: bool,
    protocol: u8,
}

impl Session {
    /// The answer to one command, in the words of Redis 7 (Redis 5 for engines before ACLs).
    fn answer(&mut self, door: &Door, name: &str, rest: &[&str]) -> String {
        let (password_free, before_acl) =
            door.cloud.with_instance(&door.instance, |instance| (instance.settings.no_auth, instance.is_before_acl()));
        let open = self.logged_in || password_free;
        match (name, rest) {
            ("QUIT", _) => "+OK\r\n".to_owned(),
            ("AUTH", [password]) => self.log_in(door, None, password, before_acl),
            ("AUTH", [user, password]) if !before_acl => self.log_in(door, Some(user), password, before_acl),
            ("AUTH", _) => "-ERR wrong number of arguments for 'auth' command\r\n".to_owned(),
            ("HELLO", rest) if !before_acl => self.hello(door, rest, open),
            (_, _) if !open => "-NOAUTH Authentication required.\r\n".to_owned(),
            ("PING", []) => "+PONG\r\n".to_owned(),
            ("PING", [text]) => resp::bulk(text),
            ("CLIENT", [what, ..]) if ["SETINFO", "SETNAME"].iter().any(|known| what.eq_ignore_ascii_case(known)) => {
                "+OK\r\n".to_owned()
            }
            (other, _) => format!(
                "-ERR unknown command '{}'\r\n",
                other.chars().filter(|c| !c.is_control()).take(128).collect::<String>()
            ),
        }
    }

    fn log_in(&mut self, door: &Door, user: Option<&str>, password: &str, before_acl: bool) -> String {
        let uptime = door.cloud.clock.uptime();
        let verdict = door
            .cloud
            .with_instance(&door.instance, |instance| instance.login(self.connection, uptime, user, password));
        self.logged_in |= verdict == Login::In;
        match verdict {
            Login::In => "+OK\r\n",
            Login::Wrong if before_acl => "-ERR invalid password\r\n",
            Login::Wrong => "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
            Login::PasswordFree if before_acl => "-ERR Client sent AUTH, but no password is set\r\n",
            Login::PasswordFree => {
                "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?\r\n"
            }
        }
        .to_owned()
    }

    fn hello(&mut self, door: &Door, rest: &[&str], open: bool) -> String {
        let (version, options) = match rest.split_first() {
            None => (self.protocol, rest),
            Some((&"2", options)) => (2, options),
            Some((&"3", options)) => (3, options),
            Some(_) => return "-NOPROTO unsupported protocol version\r\n".to_owned(),
        };
        let mut open = open;
        let mut options = options;
        loop {
            options = match options {
                [] => break,
                [word, user, password, more @ ..] if word.eq_ignore_ascii_case("AUTH") => {
                    let answer = self.log_in(door, Some(user), password, false);
                    if !answer.starts_with('+') {
                        return answer;
                    }
                    open = true;
                    more
                }
                [word, _name, more @ ..] if word.eq_ignore_ascii_case("SETNAME") => more,
                [..] => return "-ERR Syntax error in HELLO\r\n".to_owned(),
            };
        }
        if !open {
            return "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time\r\n".to_owned();
        }
        self.protocol = version;
        let head = if version == 3 { "%7\r\n" } else { "*14\r\n" };
        let texts = [("server", "redis"), ("version", "7.0.15")];
        let more = [("mode", "standalone"), ("role", "master")];
        let pairs = |pairs: [(&str, &str); 2]| pairs.map(|(k, v)| resp::bulk(k) + &resp::bulk(v)).concat();
        format!(
            "{head}{}{}:{version}\r\n{}:{}\r\n{}{}*0\r\n",
            pairs(texts),
            resp::bulk("proto"),
            resp::bulk("id"),
            self.connection + 1,
            pairs(more),
            resp::bulk("modules"),
        )
    }
}
