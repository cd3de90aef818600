//! The door: a TCP listener that lets in whoever can reach it, and bounds what they can do to the daemon.

use super::Console;
use super::answer::answer;
use crate::crowd::{Bounds, Crowd};
use crate::fault::{Fault, Kind};
use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What those who come can take. A probe's head has some hundred bytes.
const BOUNDS: Bounds = Bounds {
    places: 128,
    head: Duration::from_secs(10),
    request: Duration::from_secs(20),
    connection: Duration::from_secs(60),
    head_size: 16 * 1_024,
    headers: 64,
    body: 64 * 1_024,
};

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
        let crowd = Crowd::within(BOUNDS);
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => admit(&crowd, &console, stream, from).await,
                // Such as no more file descriptors: somebody must give one back first.
                Err(error) => {
                    tracing::debug!(%error, "a connection could not be taken");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn admit(crowd: &Arc<Crowd>, console: &Arc<Console>, stream: TcpStream, from: SocketAddr) {
    let entrance = console.entrance();
    let (console, gate) = (Arc::clone(console), entrance.gate);
    let answer = move |asked| {
        let (console, gate) = (Arc::clone(&console), gate.clone());
        async move { answer(&console, gate.as_ref(), from.ip(), asked).await }
    };
    match entrance.tls {
        Some(tls) => crowd.admit(TlsAcceptor::from(tls).accept(stream), answer).await,
        None => crowd.admit(ready(Ok(stream)), answer).await,
    }
}
