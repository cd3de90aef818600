//! Replies of a Redis to one command, on the connection that keywheel uses for nodes of one's own.

use super::stage::block_on;
use keywheel::resp::{Conversation, DEPTH_LIMIT, REPLY_LIMIT, Reply};
use tokio::io::AsyncWriteExt;

/// A reply that can be read is read again from what it is written as, and holds no more than was sent.
pub fn run(input: &[u8]) {
    block_on(async {
        if let Ok(reply) = read(input).await {
            let (mut written, depth) = (Vec::new(), write(&reply, &mut Vec::new()));
            write(&reply, &mut written);
            assert!(depth <= DEPTH_LIMIT + 1, "{depth} lists in lists");
            assert!(written.len() <= input.len() + 64 && written.len() <= 2 * REPLY_LIMIT, "more than was sent");
            ends_where_it_was_said(&reply, input);
            let again = read(&written).await.unwrap_or_else(|error| panic!("{error}: {written:?}"));
            let mut twice = Vec::new();
            write(&again, &mut twice);
            assert_eq!(written, twice);
        }
    });
}

/// Each text stands in the input as it is, with a line end behind it.
fn ends_where_it_was_said(reply: &Reply, input: &[u8]) {
    if let Reply::Text(text) = reply {
        let whole = [text.as_slice(), b"\r\n"].concat();
        assert!(input.windows(whole.len()).any(|window| window == whole), "{text:?} ends elsewhere");
    }
    reply.parts().iter().for_each(|part| ends_where_it_was_said(part, input));
}

async fn read(said: &[u8]) -> std::io::Result<Reply> {
    let (near, mut far) = tokio::io::duplex(said.len() + 1_024);
    far.write_all(said).await?;
    far.shutdown().await?;
    Conversation::new(Box::new(near)).ask(&[b"PING"]).await
}

/// Writes the reply; how deep it is.
fn write(reply: &Reply, out: &mut Vec<u8>) -> usize {
    match reply {
        Reply::Word(word) => out.extend_from_slice(format!("+{word}\r\n").as_bytes()),
        Reply::Error(said) => out.extend_from_slice(format!("-{said}\r\n").as_bytes()),
        Reply::Number(number) => out.extend_from_slice(format!(":{number}\r\n").as_bytes()),
        Reply::Text(text) => {
            out.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        }
        Reply::Nothing => out.extend_from_slice(b"$-1\r\n"),
        Reply::List(parts) => {
            out.extend_from_slice(format!("*{}\r\n", parts.len()).as_bytes());
            return 1 + parts.iter().map(|part| write(part, out)).max().unwrap_or(0);
        }
    }
    0
}
