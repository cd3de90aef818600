//! Those who are connected to a listener, and how little of the daemon they can take.
//!
//! A connection carries one request. Its head and body have a size and a time, the answer has a time, and there are so many places: when all are taken,
//! the one that has been silent for longest makes room, so that those who come and say nothing keep nobody out who says something. Silent is who has not
//! sent a whole request, body and all.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// What those who are connected may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at the same time. Each costs a file descriptor, of which the ledger and the clouds need theirs.
    pub places: usize,
    /// How long a head may take to arrive.
    pub head: Duration,
    /// How long a whole request may take to arrive, from the moment that somebody connects.
    pub request: Duration,
    /// How long a connection may last in all, however slowly its answer is read.
    pub connection: Duration,
    /// The largest head, in bytes.
    pub head_size: usize,
    /// The most headers of a request.
    pub headers: usize,
    /// The longest body of a request, in bytes.
    pub body: usize,
}

/// An answer, which may come in pieces.
pub type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// An answer with this among its extensions goes on for longer than others: its connection lasts beyond their limit.
#[derive(Debug, Clone)]
pub enum Lasting {
    /// Until this is cancelled.
    Until(CancellationToken),
    /// For so long.
    For(Duration),
}

/// An answer with this among its extensions keeps this until it was read, or its connection ended: so large answers that nobody reads are few.
#[derive(Debug, Clone)]
pub struct Held(pub Arc<OwnedSemaphorePermit>);

/// A request that has arrived whole. No `Debug`: it may hold a password.
pub struct Asked {
    /// Its head.
    pub head: Parts,
    /// Its body.
    pub body: Zeroizing<Vec<u8>>,
}

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// Its body is longer than it may be.
    TooLong,
    /// Its body broke off, or is not what its head says.
    Broken,
}

/// Answers requests that came from this address.
pub type Gate = Arc<dyn Fn(IpAddr, Result<Asked, Unfit>) -> BoxFuture<'static, Answer> + Send + Sync>;

/// Those who are connected.
pub struct Crowd {
    bounds: Bounds,
    places: Arc<Semaphore>,
    silent: Mutex<Silent>,
}

/// Who has not sent a whole request yet.
#[derive(Default)]
struct Silent {
    /// By their numbers, the first to come first.
    queue: VecDeque<(u64, AbortHandle)>,
    /// The number of the next one. It is given where the place in the queue is, for several may be let in at the same time.
    next: u64,
}

impl Crowd {
    /// Nobody yet.
    pub fn within(bounds: Bounds) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(bounds.places));
        Arc::new(Self { bounds, places, silent: Mutex::default() })
    }

    /// Lets somebody in and answers what they ask. `stream` may be a handshake that is still to be had; it counts as a part of the head.
    pub async fn admit<S, A, F>(
        self: &Arc<Self>,
        stream: impl Future<Output = std::io::Result<S>> + Send + 'static,
        answer: A,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        A: Fn(Result<Asked, Unfit>) -> F + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        let Some(place) = self.place().await else { return };
        let crowd = Arc::clone(self);
        // Known before it can speak.
        let mut silent = self.silent();
        let number = silent.next;
        silent.next += 1;
        let conversation = tokio::spawn(async move {
            let _place = place;
            if let Ok(Ok(stream)) = tokio::time::timeout(crowd.bounds.head, stream).await {
                crowd.converse(number, stream, answer).await;
            }
            crowd.spoke(number);
        });
        silent.queue.push_back((number, conversation.abort_handle()));
    }

    /// Sends away who is silent, and returns when everybody else has their answer.
    pub async fn leave(&self) {
        self.silent().queue.drain(..).for_each(|(_, silent)| silent.abort());
        let all = u32::try_from(self.bounds.places).unwrap_or(u32::MAX);
        let _everybody = self.places.acquire_many(all).await;
    }

    async fn converse<S, A, F>(&self, number: u64, stream: S, answer: A)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        A: Fn(Result<Asked, Unfit>) -> F + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        let Bounds { head, request: whole, connection, head_size, headers, body, .. } = self.bounds;
        let (lasting, held): (OnceLock<Lasting>, OnceLock<Held>) = Default::default();
        let service = service_fn(|request: Request<Incoming>| async {
            let asked = arrived(request, body).await;
            self.spoke(number);
            let mut answer = answer(asked).await;
            if let Some(lasts) = answer.extensions_mut().remove::<Lasting>() {
                let _only = lasting.set(lasts);
            }
            if let Some(holds) = answer.extensions_mut().remove::<Held>() {
                let _only = held.set(holds);
            }
            Ok::<_, Infallible>(answer)
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(head).max_buf_size(head_size).max_headers(headers);
        let served = http.keep_alive(false).serve_connection(TokioIo::new(stream), service);
        let is_enough = async {
            tokio::time::sleep(whole).await;
            if !self.is_silent(number) {
                tokio::time::sleep(connection.saturating_sub(whole)).await;
                match lasting.get() {
                    Some(Lasting::Until(end)) => end.cancelled().await,
                    Some(Lasting::For(span)) => tokio::time::sleep(*span).await,
                    None => {}
                }
            }
        };
        // What goes wrong here is the other side's: it left, was too slow, or speaks something else.
        tokio::select! {
            _served = served => {}
            () = is_enough => {}
        }
    }

    /// A place; whoever has been silent for longest makes room. `None` where everybody is being answered.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(place);
        }
        let (_, oldest) = self.silent().queue.pop_front()?;
        oldest.abort();
        // The place comes back when the task is gone, which waits for nothing.
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// A connection that is silent no more.
    fn spoke(&self, number: u64) {
        let mut silent = self.silent();
        if let Some(at) = silent.at(number) {
            silent.queue.remove(at);
        }
    }

    fn is_silent(&self, number: u64) -> bool {
        self.silent().at(number).is_some()
    }

    fn silent(&self) -> MutexGuard<'_, Silent> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Silent {
    /// Where this one stands in the queue.
    fn at(&self, number: u64) -> Option<usize> {
        self.queue.binary_search_by_key(&number, |(number, _)| *number).ok()
    }
}

/// The whole request. One whose length is said to be too long is not read at all, and neither is what comes with a mere look.
async fn arrived(request: Request<Incoming>, limit: usize) -> Result<Asked, Unfit> {
    let (head, body) = request.into_parts();
    if matches!(head.method, Method::GET | Method::HEAD) {
        return Ok(Asked { head, body: Zeroizing::default() });
    }
    if usize::try_from(body.size_hint().lower()).map_or(true, |length| length > limit) {
        return Err(Unfit::TooLong);
    }
    match Limited::new(body, limit).collect().await {
        Ok(whole) => Ok(Asked { head, body: Zeroizing::new(whole.to_bytes().to_vec()) }),
        Err(error) if error.is::<LengthLimitError>() => Err(Unfit::TooLong),
        Err(_) => Err(Unfit::Broken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;
    use std::future::ready;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    const BOUNDS: Bounds = Bounds {
        places: 64,
        head: Duration::from_secs(5),
        request: Duration::from_secs(10),
        connection: Duration::from_secs(60),
        head_size: 16 * 1_024,
        headers: 64,
        body: 0,
    };

    fn said(length: usize) -> Answer {
        Response::new(Full::new(Bytes::from(vec![b'x'; length])).boxed_unsync())
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_answer_holds_is_given_back_when_it_was_read_or_its_time_is_over() {
        let crowd = Crowd::within(BOUNDS);
        let places = Arc::new(Semaphore::new(1));
        for is_read in [true, false] {
            let (mut client, server) = duplex(1_024);
            let place = Arc::clone(&places).try_acquire_owned().unwrap();
            let held = Held(Arc::new(place));
            let answer = move |_| {
                let mut answer = said(1 << 20);
                answer.extensions_mut().insert(held.clone());
                ready(answer)
            };
            crowd.admit(ready(Ok(server)), answer).await;
            client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            client.read_exact(&mut [0; 2_048]).await.unwrap();
            tokio::time::sleep(BOUNDS.request * 2).await;
            assert_eq!(places.available_permits(), 0, "the rest of it waits to be read");
            if is_read {
                client.read_to_end(&mut Vec::new()).await.unwrap();
                assert_eq!(places.acquire().await.unwrap().num_permits(), 1);
            } else {
                tokio::time::sleep(BOUNDS.connection).await;
                assert_eq!(places.available_permits(), 1);
            }
        }
    }

    /// Those who are let in at the same time stand in the queue by their numbers: otherwise one of them is not found there, and never leaves it.
    #[tokio::test(flavor = "multi_thread", worker_threads = 8)]
    async fn whoever_comes_stands_among_the_silent_by_number_however_many_come_at_once() {
        let crowd = Crowd::within(BOUNDS);
        for _ in 0..200 {
            let (comes, coming) = std::sync::mpsc::channel();
            let come: Vec<_> = {
                // All of them come to it while the queue cannot be had, and have it in any order.
                let _queue = crowd.silent();
                let come = (0..8).map(|_| {
                    let (crowd, comes) = (Arc::clone(&crowd), comes.clone());
                    tokio::spawn(async move {
                        let (client, server) = duplex(64);
                        comes.send(()).unwrap();
                        crowd.admit(ready(Ok(server)), |_| ready(said(1))).await;
                        client
                    })
                });
                let come = come.collect();
                (0..8).for_each(|_| coming.recv().unwrap());
                come
            };
            let mut clients = Vec::new();
            for comes in come {
                clients.push(comes.await.unwrap());
            }
            assert!(crowd.silent().queue.iter().is_sorted_by_key(|(number, _)| *number));
            assert_eq!(crowd.silent().queue.len(), clients.len());
            crowd.leave().await;
        }
    }
}
