//! A store that speaks HTTP, on this machine, and everything that can go wrong on the way to it. What it stores and how it answers is a [`Service`] of
//! its own.

use super::conformance::Trouble;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;

/// How much a huge answer has, in pieces of 64 KiB.
const HUGE: u64 = 100 * 16;
const PIECE: usize = 64 * 1024;

/// How often a held answer looks whether it may go.
const LOOK: std::time::Duration = std::time::Duration::from_millis(1);

/// A request, whole.
pub struct Asked {
    pub method: String,
    /// With the query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Whether the client showed a certificate that is trusted.
    pub certified: bool,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { status, headers, body: serde_json::to_vec(body).unwrap() }
    }

    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }
}

/// What a store does with what it is asked.
pub trait Service: Send + Sync + 'static {
    fn answer(&self, asked: &Asked) -> Answer;

    /// Whether this asks for a write that readers see.
    fn writes(&self, asked: &Asked) -> bool;

    /// Another writer delivers this generation.
    fn between(&self, generation: u64);

    /// How it turns a request away.
    fn turn_away(&self, trouble: Trouble, asked: &Asked) -> Answer;
}

#[cfg(any(feature = "gcp", feature = "azure"))]
/// A document as another keywheel would write it, so that the same generation is the same content: as a file has it.
pub fn written(document: &keywheel::sink::Document) -> Vec<u8> {
    use keywheel::sink::Sink;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("document");
    let (settings, document) = (
        keywheel::sink::file::FileSettings {
            path: path.clone(),
            format: keywheel::sink::file::Format::Json,
            mode: "0600".to_owned(),
            owner: None,
            group: None,
            prefix: None,
            template: None,
            fields: None,
        },
        document.clone(),
    );
    let writer = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(keywheel::sink::file::FileSink::new(settings).unwrap().deliver(&document)).unwrap();
    });
    writer.join().unwrap();
    std::fs::read(path).unwrap()
}

/// A running store.
pub struct StandIn<S> {
    pub address: SocketAddr,
    pub service: Arc<S>,
    trouble: Arc<Mutex<Option<Trouble>>>,
    swallowed: Arc<AtomicU64>,
    /// Whether the answers to writes wait.
    held: Arc<AtomicBool>,
    tls: Option<TlsAcceptor>,
    /// The server's task, or the socket that keeps its port while it is down.
    door: Mutex<Door>,
}

enum Door {
    Open(tokio::task::AbortHandle),
    Shut(TcpSocket),
}

impl<S: Service> StandIn<S> {
    pub async fn start(service: S) -> Self {
        Self::start_with(service, None).await
    }

    /// The same over TLS.
    pub async fn start_with(service: S, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stand_in = Self {
            address,
            service: Arc::new(service),
            trouble: Arc::default(),
            swallowed: Arc::default(),
            held: Arc::default(),
            tls,
            door: Mutex::new(Door::Shut(TcpSocket::new_v4().unwrap())),
        };
        stand_in.open(listener);
        stand_in
    }

    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    pub fn swallowed(&self) -> u64 {
        self.swallowed.load(Ordering::Relaxed)
    }

    /// From now on what is written takes effect, and its answer waits until this is taken back.
    pub fn hold(&self, held: bool) {
        self.held.store(held, Ordering::SeqCst);
    }

    pub fn fail(&self, trouble: Trouble) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
        let mut door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Trouble::Down, Door::Open(server)) = (trouble, &*door) {
            server.abort();
            *door = Door::Shut(TcpSocket::new_v4().unwrap());
        }
    }

    /// Waits until nobody listens any more, and keeps the port.
    pub async fn shut(&self) {
        while tokio::net::TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        *self.door.lock().unwrap_or_else(PoisonError::into_inner) = Door::Shut(socket);
    }

    pub fn mend(&self) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let mut door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*door, Door::Shut(_)) {
            let shut = std::mem::replace(&mut *door, Door::Shut(TcpSocket::new_v4().unwrap()));
            drop(door);
            if let Door::Shut(socket) = shut {
                self.open(socket.listen(64).unwrap());
            }
        }
    }

    fn open(&self, listener: TcpListener) {
        let (service, trouble, swallowed) = (self.service.clone(), self.trouble.clone(), self.swallowed.clone());
        let (tls, held) = (self.tls.clone(), self.held.clone());
        let server = tokio::spawn(async move {
            // Connections end with the server.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (service, trouble, swallowed) = (service.clone(), trouble.clone(), swallowed.clone());
                let (tls, held) = (tls.clone(), held.clone());
                connections.spawn(async move {
                    let handler = |certified| {
                        service_fn(move |request| {
                            let (service, trouble) = (service.clone(), trouble.clone());
                            handle(service, trouble, swallowed.clone(), held.clone(), request, certified)
                        })
                    };
                    let http = hyper::server::conn::http1::Builder::new();
                    // A connection that breaks is part of what is tried.
                    match tls {
                        None => drop(http.serve_connection(TokioIo::new(stream), handler(false)).await),
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else { return };
                            let certified = stream.get_ref().1.peer_certificates().is_some();
                            drop(http.serve_connection(TokioIo::new(stream), handler(certified)).await);
                        }
                    }
                });
            }
        });
        *self.door.lock().unwrap_or_else(PoisonError::into_inner) = Door::Open(server.abort_handle());
    }
}

/// The answer is lost: the connection ends without one.
#[derive(Debug)]
struct Lost;

impl std::fmt::Display for Lost {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the answer is lost on purpose")
    }
}

impl std::error::Error for Lost {}

async fn handle<S: Service>(
    service: Arc<S>,
    trouble: Arc<Mutex<Option<Trouble>>>,
    swallowed: Arc<AtomicU64>,
    held: Arc<AtomicBool>,
    request: Request<Incoming>,
    certified: bool,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Lost> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Lost)?.to_bytes().to_vec();
    let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let asked = Asked { method: head.method.to_string(), path, headers: head.headers, body, certified };
    let now = *trouble.lock().unwrap_or_else(PoisonError::into_inner);
    let spent = || *trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
    let answer = match now {
        None | Some(Trouble::Huge) => service.answer(&asked),
        Some(Trouble::LostAnswer) if service.writes(&asked) => {
            spent();
            let _lost = service.answer(&asked);
            return Err(Lost);
        }
        Some(Trouble::Between(generation)) if service.writes(&asked) => {
            spent();
            service.between(generation);
            service.answer(&asked)
        }
        Some(Trouble::LostBetween(generation)) if service.writes(&asked) => {
            spent();
            service.between(generation);
            let _lost = service.answer(&asked);
            return Err(Lost);
        }
        Some(Trouble::LostAnswer | Trouble::Between(_) | Trouble::LostBetween(_)) => service.answer(&asked),
        Some(Trouble::Hang) => std::future::pending().await,
        Some(Trouble::Down) => return Err(Lost),
        Some(
            trouble @ (Trouble::Denied | Trouble::NotFound | Trouble::Throttled | Trouble::Broken | Trouble::Full),
        ) => service.turn_away(trouble, &asked),
    };
    while service.writes(&asked) && held.load(Ordering::SeqCst) {
        tokio::time::sleep(LOOK).await;
    }
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    let body = match now {
        Some(Trouble::Huge) => {
            let pieces = futures_util::stream::unfold(0, move |sent| {
                let swallowed = swallowed.clone();
                async move {
                    // Counted when the connection has room for it.
                    swallowed.fetch_add(PIECE as u64, Ordering::Relaxed);
                    (sent < HUGE).then(|| (Ok(Frame::data(Bytes::from(vec![b' '; PIECE]))), sent + 1))
                }
            });
            BodyExt::boxed(StreamBody::new(SyncPieces(Box::pin(pieces))))
        }
        _ => Full::new(Bytes::from(answer.body)).boxed(),
    };
    Ok(response.body(body).unwrap())
}

/// A body has to be shareable between threads; this one is polled by one at a time.
struct SyncPieces<T>(std::pin::Pin<Box<dyn futures_util::Stream<Item = T> + Send + Sync>>);

impl<T> futures_util::Stream for SyncPieces<T> {
    type Item = T;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<T>> {
        self.0.as_mut().poll_next(context)
    }
}
