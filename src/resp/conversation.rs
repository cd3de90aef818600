//! Commands and replies, one after the other, on one connection (Redis document "RESP protocol spec", version 2).

use super::Stream;
use std::io::{Error, ErrorKind};
use std::pin::Pin;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use zeroize::Zeroizing;

/// The longest reply that is read, in bytes: the list of a thousand cluster nodes takes about a fifth of it.
pub const REPLY_LIMIT: usize = 1024 * 1024;

/// How deep lists may stand in lists.
pub const DEPTH_LIMIT: usize = 8;

/// One reply. It may hold a password (`CONFIG GET`), so it cannot be printed, and its texts are wiped.
pub enum Reply {
    /// A simple string, such as `OK`.
    Word(String),
    /// An error with its code, such as `NOPERM this user has no permissions`.
    Error(String),
    /// A number.
    Number(i64),
    /// A text of any content.
    Text(Zeroizing<Vec<u8>>),
    /// Several replies in one.
    List(Vec<Reply>),
    /// The reply that says "there is none".
    Nothing,
}

impl Reply {
    /// The text of a word or text, if it is UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            Self::Text(bytes) => std::str::from_utf8(bytes).ok(),
            Self::Error(_) | Self::Number(_) | Self::List(_) | Self::Nothing => None,
        }
    }

    /// The server's own words where this is an error.
    ///
    /// # Errors
    /// Those words.
    pub fn judged(self) -> Result<Self, String> {
        match self {
            Self::Error(said) => Err(said),
            Self::Word(_) | Self::Number(_) | Self::Text(_) | Self::List(_) | Self::Nothing => Ok(self),
        }
    }

    /// Whether this is a simple string, such as `OK`.
    #[must_use]
    pub fn is_word(&self) -> bool {
        matches!(self, Self::Word(_))
    }

    /// The parts of a list; none of anything else.
    #[must_use]
    pub fn parts(&self) -> &[Reply] {
        match self {
            Self::List(parts) => parts,
            Self::Word(_) | Self::Error(_) | Self::Number(_) | Self::Text(_) | Self::Nothing => &[],
        }
    }

    /// In a list of names and values, the value of this name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Reply> {
        self.parts().chunks_exact(2).find(|pair| pair[0].text() == Some(name)).map(|pair| &pair[1])
    }
}

/// A connection on which nothing is under way. An error ends it: what comes later may belong to an earlier question.
pub struct Conversation {
    stream: BufReader<Box<dyn Stream>>,
}

impl Conversation {
    /// Takes a fresh connection.
    #[must_use]
    pub fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// Sends one command, wipes it, and reads its reply.
    ///
    /// # Errors
    /// The connection broke, or what came was no reply or too long a one. Not limited in time.
    pub async fn ask(&mut self, words: &[&[u8]]) -> std::io::Result<Reply> {
        let packed = packed(words);
        self.stream.write_all(&packed).await?;
        self.stream.flush().await?;
        let mut budget = REPLY_LIMIT;
        self.reply(&mut budget, DEPTH_LIMIT).await
    }

    fn reply<'a>(
        &'a mut self,
        budget: &'a mut usize,
        depth: usize,
    ) -> Pin<Box<dyn Future<Output = std::io::Result<Reply>> + Send + 'a>> {
        Box::pin(async move {
            let line = self.line(budget).await?;
            let (kind, rest) = line.split_at_checked(1).ok_or_else(no_reply)?;
            match kind {
                "+" => Ok(Reply::Word(rest.to_owned())),
                "-" => Ok(Reply::Error(rest.to_owned())),
                ":" => rest.parse().map(Reply::Number).map_err(|_| no_reply()),
                "$" | "*" if rest == "-1" => Ok(Reply::Nothing),
                "$" => {
                    let length: usize = rest.parse().map_err(|_| no_reply())?;
                    spend(budget, length.saturating_add(2))?;
                    let mut bytes = Zeroizing::new(vec![0; length + 2]);
                    self.stream.read_exact(&mut bytes).await.map_err(hung_up)?;
                    if !bytes.ends_with(b"\r\n") {
                        return Err(no_reply());
                    }
                    bytes.truncate(length);
                    Ok(Reply::Text(bytes))
                }
                "*" => {
                    let length: usize = rest.parse().map_err(|_| no_reply())?;
                    if depth == 0 {
                        return Err(no_reply());
                    }
                    let mut parts = Vec::new();
                    for _ in 0..length {
                        parts.push(self.reply(budget, depth - 1).await?);
                    }
                    Ok(Reply::List(parts))
                }
                _ => Err(no_reply()),
            }
        })
    }

    /// A line without its end.
    async fn line(&mut self, budget: &mut usize) -> std::io::Result<String> {
        let mut line = Vec::with_capacity(64);
        while !line.ends_with(b"\r\n") {
            spend(budget, 1)?;
            line.push(self.stream.read_u8().await.map_err(hung_up)?);
            if !matches!(line[0], b'+' | b'-' | b':' | b'$' | b'*') {
                return Err(no_reply());
            }
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).map_err(|_| no_reply())
    }
}

/// A command as a list of texts. Its buffer has its final size from the start, so that no part of it is left behind unwiped.
fn packed(words: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let head = |sign: char, count: usize| format!("{sign}{count}\r\n");
    let size: usize = words.iter().map(|word| head('$', word.len()).len() + word.len() + 2).sum();
    let list = head('*', words.len());
    let mut packed = Zeroizing::new(Vec::with_capacity(list.len() + size));
    packed.extend_from_slice(list.as_bytes());
    for word in words {
        packed.extend_from_slice(head('$', word.len()).as_bytes());
        packed.extend_from_slice(word);
        packed.extend_from_slice(b"\r\n");
    }
    packed
}

fn spend(budget: &mut usize, bytes: usize) -> std::io::Result<()> {
    *budget = budget.checked_sub(bytes).ok_or_else(|| {
        Error::new(ErrorKind::InvalidData, format!("the server sent a reply of more than {REPLY_LIMIT} bytes"))
    })?;
    Ok(())
}

fn no_reply() -> Error {
    Error::new(ErrorKind::InvalidData, "what came was not a reply of Redis")
}

fn hung_up(error: Error) -> Error {
    if error.kind() == ErrorKind::UnexpectedEof {
        Error::new(ErrorKind::UnexpectedEof, "the server hung up before it answered")
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(said: &[u8]) -> Result<Reply, String> {
        let (near, mut far) = tokio::io::duplex(2 * REPLY_LIMIT);
        far.write_all(said).await.expect("room enough");
        far.shutdown().await.expect("an open pipe");
        let mut conversation = Conversation::new(Box::new(near));
        conversation.ask(&[b"PING"]).await.map_err(|error| error.to_string())
    }

    #[test]
    fn a_command_is_packed_as_the_document_says() {
        let words: [&[u8]; 3] = [b"AUTH", b"", "p\r\n\u{e9}".as_bytes()];
        assert_eq!(**packed(&words), *b"*3\r\n$4\r\nAUTH\r\n$0\r\n\r\n$5\r\np\r\n\xc3\xa9\r\n");
        assert_eq!(packed(&words).to_vec(), redis::pack_command(&words.map(<[u8]>::to_vec)));
    }

    #[tokio::test]
    async fn each_kind_of_reply_is_read_whole() {
        let listed =
            read(b"*4\r\n$5\r\nflags\r\n*2\r\n$2\r\non\r\n:7\r\n+passwords\r\n*0\r\n").await.unwrap_or(Reply::Nothing);
        assert_eq!(listed.value("flags").map(|flags| flags.parts().len()), Some(2));
        assert_eq!(listed.value("flags").and_then(|flags| flags.parts()[0].text()), Some("on"));
        assert!(matches!(listed.value("flags").map(|flags| &flags.parts()[1]), Some(Reply::Number(7))));
        assert_eq!(listed.value("passwords").map(|found| found.parts().len()), Some(0));
        assert!(listed.value("nothing").is_none());
        assert!(matches!(read(b"$-1\r\n").await, Ok(Reply::Nothing)));
        assert!(matches!(read(b"*-1\r\n").await, Ok(Reply::Nothing)));
        assert!(matches!(read(b"-ERR no\r\n").await, Ok(Reply::Error(said)) if said == "ERR no"));
        assert!(matches!(read(b"$4\r\na\r\nb\r\n").await, Ok(Reply::Text(text)) if **text == *b"a\r\nb"));
    }

    #[tokio::test]
    async fn what_is_no_reply_is_an_error_and_a_bounded_one() {
        let deep = b"*1\r\n".repeat(DEPTH_LIMIT + 2);
        let long = [b"+".as_slice(), &vec![b'x'; REPLY_LIMIT]].concat();
        let rows: [(&[u8], &str); 9] = [
            (b"HTTP/1.1 400\r\n", "not a reply"),
            (b"\r\n", "not a reply"),
            (b":x\r\n", "not a reply"),
            (b"$3\r\nabcd\r\n", "not a reply"),
            (b"$99999999999\r\n", "more than"),
            (b"+\xff\r\n", "not a reply"),
            (&deep, "not a reply"),
            (&long, "more than"),
            (b"*2\r\n+one\r\n", "hung up"),
        ];
        for (said, sentence) in rows {
            let error = read(said).await.err().unwrap_or_default();
            assert!(error.contains(sentence), "{sentence}: {error}");
        }
    }
}
