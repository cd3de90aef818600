//! The conversation with a Redis: a few short commands, each answered by one line, and what the answers prove.

use super::settings::{LoginForm, login_user};
use crate::resp::words::{is_about_the_server, is_password_free, is_refusal};
use crate::rotation::answer::Login;
use crate::secret::Secret;
use redis::Value;
use std::io::{Error, ErrorKind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use zeroize::{Zeroize, Zeroizing};

/// The longest reply line that is read, in bytes.
const REPLY_LIMIT: usize = 1024;

/// The conversation. A refused password ends it; the connection is never used again.
pub async fn log_in(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    form: &LoginForm,
    sent: &Secret,
) -> std::io::Result<Login> {
    let mut stream = BufReader::with_capacity(REPLY_LIMIT, stream);
    // With a named ACL user the server compares that user's password, whatever the default user may do.
    let by_name = login_user(form).filter(|user| *user != "default");
    if by_name.is_none() {
        // An instance that answers without a login is password-free. A cloud's proxy may then refuse every password, and a server accept any.
        match ask(&mut stream, &mut [b"PING".to_vec()]).await? {
            Reply::Fine(word) if word == "PONG" => return Ok(Login::PasswordFree),
            reply if reply.is_about_the_server() => return Err(reply.unexpected("PING")),
            Reply::Fine(_) | Reply::Error(_) => {}
        }
    }
    let mut words = vec![b"AUTH".to_vec()];
    words.extend(login_user(form).map(|user| user.as_bytes().to_vec()));
    words.push(sent.expose().as_bytes().to_vec());
    let reply = ask(&mut stream, &mut words).await?;
    match &reply {
        Reply::Fine(word) if word == "OK" => {}
        Reply::Error(said) if is_refusal(said) => return Ok(Login::Refused),
        Reply::Error(said) if is_password_free(said) => return Ok(Login::PasswordFree),
        Reply::Fine(_) | Reply::Error(_) => return Err(reply.unexpected("AUTH")),
    }
    let reply = ask(&mut stream, &mut [b"PING".to_vec()]).await?;
    match &reply {
        Reply::Fine(word) if word == "PONG" => Ok(Login::Accepted),
        // Logged in, as a user who may do little.
        Reply::Error(said) if said.starts_with("NOPERM") => Ok(Login::Accepted),
        Reply::Error(said) if is_refusal(said) => Ok(Login::Refused),
        Reply::Fine(_) | Reply::Error(_) => Err(reply.unexpected("PING after AUTH")),
    }
}

/// What a server says in one line.
#[derive(Debug, PartialEq, Eq)]
enum Reply {
    /// A simple string, such as `OK`.
    Fine(String),
    /// An error with its code, such as `WRONGPASS invalid username-password pair`.
    Error(String),
}

impl Reply {
    /// An error that has nothing to do with who asks: the login was not judged.
    fn is_about_the_server(&self) -> bool {
        match self {
            Self::Fine(_) => false,
            Self::Error(said) => is_about_the_server(said),
        }
    }

    fn unexpected(&self, command: &str) -> Error {
        match self {
            // Not quoted as Rust quotes: whoever scrubs it looks for the password as it is.
            Self::Fine(said) | Self::Error(said) => Error::other(format!("the answer to {command} was \"{said}\"")),
        }
    }
}

/// Sends one command, wipes it, and reads one line.
async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), words: &mut [Vec<u8>]) -> std::io::Result<Reply> {
    let packed = Zeroizing::new(redis::pack_command(words));
    words.iter_mut().for_each(Zeroize::zeroize);
    stream.write_all(&packed).await?;
    stream.flush().await?;
    let mut line = Vec::with_capacity(64);
    while !line.ends_with(b"\r\n") {
        if line.len() == REPLY_LIMIT {
            return Err(Error::new(ErrorKind::InvalidData, format!("a reply of more than {REPLY_LIMIT} bytes")));
        }
        line.push(stream.read_u8().await.map_err(hung_up)?);
        if !matches!(line[0], b'+' | b'-') {
            return Err(Error::new(ErrorKind::InvalidData, "what came was not a reply of Redis"));
        }
    }
    match redis::parse_redis_value(&line) {
        Ok(Value::Okay) => Ok(Reply::Fine("OK".to_owned())),
        Ok(Value::SimpleString(word)) => Ok(Reply::Fine(word)),
        Ok(Value::ServerError(error)) => {
            let details = error.details().unwrap_or_default();
            Ok(Reply::Error(format!("{} {details}", error.code()).trim_end().to_owned()))
        }
        Ok(_) | Err(_) => Err(Error::new(ErrorKind::InvalidData, "what came was not a reply of Redis")),
    }
}

fn hung_up(error: Error) -> Error {
    if error.kind() == ErrorKind::UnexpectedEof {
        Error::new(ErrorKind::UnexpectedEof, "the server hung up before it answered")
    } else {
        error
    }
}
