//! The part of the Redis protocol (RESP2) that a login needs, from both ends.

use std::io::{Error, ErrorKind, Result};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// The longest line and the longest argument, in bytes.
const TEXT_LIMIT: u64 = 64 * 1024;

/// The most arguments of one command.
const ARGUMENT_LIMIT: usize = 64;

/// Reads one command, inline or as an array of bulk strings. `None` at the end of the stream; an empty command is an empty list.
pub(super) async fn read_command<R: AsyncBufRead + Unpin>(source: &mut R) -> Result<Option<Vec<String>>> {
    let Some(line) = read_line(source).await? else {
        return Ok(None);
    };
    let Some(count) = line.strip_prefix('*') else {
        return Ok(Some(line.split_ascii_whitespace().map(str::to_owned).collect()));
    };
    let count: usize = count.parse().map_err(|_| broken("invalid multibulk length"))?;
    if count > ARGUMENT_LIMIT {
        return Err(broken("invalid multibulk length"));
    }
    let mut arguments = Vec::with_capacity(count);
    for _ in 0..count {
        arguments.push(read_bulk(source).await?);
    }
    Ok(Some(arguments))
}

async fn read_bulk<R: AsyncBufRead + Unpin>(source: &mut R) -> Result<String> {
    let line = read_line(source).await?.ok_or(ErrorKind::UnexpectedEof)?;
    let length: u64 = line
        .strip_prefix('$')
        .and_then(|text| text.parse().ok())
        .filter(|&length| length <= TEXT_LIMIT)
        .ok_or_else(|| broken("invalid bulk length"))?;
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| broken("invalid bulk length"))? + 2];
    source.read_exact(&mut bytes).await?;
    bytes.truncate(bytes.len() - 2);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// One line without its end; `None` at the end of the stream.
pub(super) async fn read_line<R: AsyncBufRead + Unpin>(source: &mut R) -> Result<Option<String>> {
    let mut line = Vec::new();
    source.take(TEXT_LIMIT).read_until(b'\n', &mut line).await?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            Ok(Some(String::from_utf8_lossy(&line).into_owned()))
        }
        Some(_) => Err(broken("too big inline request")),
    }
}

/// A command as an array of bulk strings.
pub(super) fn command(arguments: &[&str]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", arguments.len());
    for argument in arguments {
        text.push_str(&bulk(argument));
    }
    text.into_bytes()
}

/// One bulk string.
pub(super) fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn commands_are_read_in_both_forms() {
        let sent = [command(&["AUTH", "a b\r\nc"]), b"PING  x\r\n\r\n".to_vec()].concat();
        let mut source = sent.as_slice();
        for expected in [vec!["AUTH", "a b\r\nc"], vec!["PING", "x"], vec![]] {
            assert_eq!(read_command(&mut source).await.unwrap().unwrap(), expected);
        }
        assert!(read_command(&mut source).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn nonsense_and_excess_are_refused() {
        let long = format!("{}\r\n", "x".repeat(TEXT_LIMIT as usize + 1));
        for bad in ["*x\r\n", "*65\r\n", "*1\r\n:5\r\n", "*1\r\n$99999999\r\n", "*2\r\n$1\r\na\r\n", "PING", &long] {
            assert!(read_command(&mut bad.as_bytes()).await.is_err(), "{:.20}", bad);
        }
    }
}
