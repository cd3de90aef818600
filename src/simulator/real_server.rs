//! Changes the password of a real Redis server, as the operator of the stand-in cloud would.

use super::resp;
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// The longest a conversation with the server may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Logs in with the known password and changes nothing.
pub(super) async fn prove(address: SocketAddr, user: &str, password: &str) -> Result<()> {
    say(address, &[&login(user, password), &["PING"]]).await
}

/// Logs in with the password that is live, if there is one, and sets the next one (`None`: no password any more).
pub(super) async fn set_password(
    address: SocketAddr,
    user: &str,
    live: Option<&str>,
    next: Option<&str>,
) -> Result<()> {
    let added = next.map_or("nopass".to_owned(), |next| format!(">{next}"));
    let change: &[&str] = if user == "default" {
        &["CONFIG", "SET", "requirepass", next.unwrap_or_default()]
    } else {
        &["ACL", "SETUSER", user, "resetpass", &added]
    };
    match live {
        Some(live) => say(address, &[&login(user, live), change]).await,
        None => say(address, &[change]).await,
    }
}

/// The default user logs in without its name, as servers before ACLs want it.
fn login<'a>(user: &'a str, password: &'a str) -> Vec<&'a str> {
    if user == "default" { vec!["AUTH", password] } else { vec!["AUTH", user, password] }
}

/// Sends commands one by one; the first error answer ends the conversation. The error never repeats what was sent.
async fn say(address: SocketAddr, commands: &[&[&str]]) -> Result<()> {
    let talk = async {
        let mut stream = BufReader::new(TcpStream::connect(address).await?);
        for arguments in commands {
            stream.write_all(&resp::command(arguments)).await?;
            stream.flush().await?;
            let answer = resp::read_line(&mut stream).await?.ok_or(ErrorKind::UnexpectedEof)?;
            if !answer.starts_with('+') {
                let kind = answer.split(' ').next().unwrap_or_default().to_owned();
                let name = arguments.first().copied().unwrap_or_default();
                return Err(Error::other(format!("the Redis server at {address} answered {kind} to {name}")));
            }
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, talk).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}
