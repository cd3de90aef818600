//! The door: a TCP listener that lets in whoever can reach it, and bounds what they can do to the daemon.
//!
//! A connection carries one request, has [`HEAD_LIMIT`] for its head and [`CONNECTION_LIMIT`] in all, or, where it listens for news, that of `live`. There are [`PLACES`]; when all are taken, the one
//! that has been silent for longest makes room, so that those who come and say nothing keep nobody out who says something.

use super::Console;
use super::answer::{answer, goes_on};
use super::live::LISTENING_LIMIT;
use crate::fault::{Fault, Kind};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

/// Connections at the same time. Each costs a file descriptor, of which the ledger and the clouds need theirs.
const PLACES: usize = 128;

/// How long a head may take to arrive.
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// How long a connection may last in all, however slowly its answer is read.
const CONNECTION_LIMIT: Duration = Duration::from_secs(60);

/// The largest head, in bytes. A probe's has some hundred.
const HEAD_SIZE: usize = 16 * 1_024;

/// The most headers of a request.
const HEADERS: usize = 64;

/// How long the door stays shut where the system has no more sockets to give.
const PAUSE: Duration = Duration::from_millis(200);

/// An address that is listened on, and nobody let in yet.
pub struct Door {
    listener: TcpListener,
    address: SocketAddr,
}

impl Door {
    /// Listens there.
    ///
    /// # Errors
    /// `ConfigInvalid` when the address is taken, or not this machine's.
    pub async fn open(address: SocketAddr) -> Result<Self, Fault> {
        let refuse = |error: std::io::Error| {
            Fault::new(Kind::ConfigInvalid, format!("daemon.listen: {address} cannot be listened on: {error}"))
                .advise("see who has it (`ss -ltnp`), choose another address, or leave `listen` out")
        };
        let listener = TcpListener::bind(address).await.map_err(refuse)?;
        let address = listener.local_addr().map_err(refuse)?;
        tracing::info!(%address, "the console is open");
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets people in, without end.
    pub async fn serve(self, console: Arc<Console>) {
        let crowd = Arc::new(Crowd { places: Arc::new(Semaphore::new(PLACES)), silent: Mutex::default() });
        for number in 0_u64.. {
            match self.listener.accept().await {
                Ok((stream, _)) => crowd.admit(stream, number, &console).await,
                // Such as no more file descriptors: somebody must give one back first.
                Err(error) => {
                    tracing::debug!(%error, "a connection could not be taken");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Those who are connected.
struct Crowd {
    places: Arc<Semaphore>,
    /// Who has not sent a whole head yet, the first to come first.
    silent: Mutex<VecDeque<(u64, AbortHandle)>>,
}

impl Crowd {
    async fn admit(self: &Arc<Self>, stream: TcpStream, number: u64, console: &Arc<Console>) {
        let Some(place) = self.place().await else { return };
        let (crowd, console) = (Arc::clone(self), Arc::clone(console));
        // Known before it can speak.
        let mut silent = self.silent();
        let conversation = tokio::spawn(async move {
            let _place = place;
            let listens = AtomicBool::new(false);
            let service = service_fn(|request: Request<Incoming>| {
                crowd.spoke(number);
                let (console, listens) = (Arc::clone(&console), &listens);
                async move {
                    let answer = answer(&console, request.method(), request.uri()).await;
                    listens.store(goes_on(&answer), Ordering::Relaxed);
                    Ok::<_, Infallible>(answer)
                }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(HEAD_SIZE).max_headers(HEADERS);
            let mut served = pin!(http.keep_alive(false).serve_connection(TokioIo::new(stream), service));
            // What goes wrong here is the other side's: it left, was too slow, or speaks something else.
            let in_time = tokio::time::timeout(CONNECTION_LIMIT, &mut served).await;
            if in_time.is_err() && listens.load(Ordering::Relaxed) {
                // Who listens leaves when told to; who does not even read that is gone by then.
                let _served = tokio::time::timeout(LISTENING_LIMIT, served).await;
            }
            crowd.spoke(number);
        });
        silent.push_back((number, conversation.abort_handle()));
    }

    /// A place; whoever has been silent for longest makes room. `None` where everybody is being answered.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(place);
        }
        let (_, oldest) = self.silent().pop_front()?;
        oldest.abort();
        // The place comes back when the task is gone, which waits for nothing.
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// A connection that is silent no more.
    fn spoke(&self, number: u64) {
        let mut silent = self.silent();
        if let Ok(at) = silent.binary_search_by_key(&number, |(number, _)| *number) {
            silent.remove(at);
        }
    }

    fn silent(&self) -> MutexGuard<'_, VecDeque<(u64, AbortHandle)>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
