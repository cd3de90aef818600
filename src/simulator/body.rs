//! Bodies of answers, the broken ones among them.

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// The length of a body that is far too long, in bytes: 100 MB.
pub(super) const HUGE: u64 = 100_000_000;

/// One piece of a huge or endless body.
const PIECE: &[u8] = &[b'x'; 16 * 1024];

/// The connection is dropped without an answer, or in the middle of one.
#[derive(Debug, thiserror::Error)]
#[error("the script drops this connection")]
pub(super) struct Dropped;

/// A body of one of five kinds.
pub(super) enum Body {
    /// All at once; taken when sent.
    Whole(Option<Bytes>),
    /// A beginning and then filling; `left` counts what is still to come, `None` means without end.
    Filled { head: Option<Bytes>, left: Option<u64> },
    /// Byte by byte.
    Slow { bytes: Bytes, pause: Duration, until: Pin<Box<tokio::time::Sleep>> },
    /// A beginning of something longer, and then the connection breaks.
    Cut { head: Option<Bytes>, length: u64, flushed: bool },
}

impl Body {
    pub(super) fn whole(text: impl Into<Bytes>) -> Self {
        Self::Whole(Some(text.into()))
    }

    /// 100 MB, of which `head` is the beginning; without end where `endless`.
    pub(super) fn filled(head: String, endless: bool) -> Self {
        let head = Bytes::from(head);
        Self::Filled { left: (!endless).then(|| HUGE.saturating_sub(head.len() as u64)), head: Some(head) }
    }

    pub(super) fn slow(text: String, pause: Duration) -> Self {
        Self::Slow { bytes: text.into(), pause, until: Box::pin(tokio::time::sleep(pause)) }
    }

    /// The first `sent` bytes of `text`, under the promise of all of them.
    pub(super) fn cut(text: String, sent: usize) -> Self {
        let bytes = Bytes::from(text);
        Self::Cut {
            length: bytes.len() as u64,
            head: Some(bytes.slice(..sent.min(bytes.len().saturating_sub(1)))),
            flushed: false,
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Dropped;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Dropped>>> {
        let send = |bytes: Bytes| Poll::Ready(Some(Ok(Frame::data(bytes))));
        match self.get_mut() {
            Self::Whole(bytes) => bytes.take().map_or(Poll::Ready(None), send),
            Self::Filled { head, left } => match (head.take(), left) {
                (Some(head), _) => send(head),
                (None, None) => send(Bytes::from_static(PIECE)),
                (None, Some(0)) => Poll::Ready(None),
                (None, Some(left)) => {
                    let length = (PIECE.len() as u64).min(*left);
                    *left -= length;
                    send(Bytes::from_static(PIECE).slice(..length as usize))
                }
            },
            Self::Slow { bytes, pause, until } => {
                if bytes.is_empty() {
                    return Poll::Ready(None);
                }
                ready!(until.as_mut().poll(context));
                until.as_mut().reset(tokio::time::Instant::now() + *pause);
                send(bytes.split_to(1))
            }
            Self::Cut { head, flushed, .. } => match head.take() {
                Some(head) if !head.is_empty() => send(head),
                Some(_) | None if !*flushed => {
                    // The server flushes what it has while its body has nothing to say; an error at once would swallow the beginning.
                    *flushed = true;
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                Some(_) | None => Poll::Ready(Some(Err(Dropped))),
            },
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Filled { head, left: Some(left) } => {
                SizeHint::with_exact(left + head.as_ref().map_or(0, |head| head.len() as u64))
            }
            Self::Filled { left: None, .. } => SizeHint::default(),
            Self::Slow { bytes, .. } => SizeHint::with_exact(bytes.len() as u64),
            Self::Cut { length, .. } => SizeHint::with_exact(*length),
        }
    }
}
