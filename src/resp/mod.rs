//! The wire to a Redis or Valkey: where a node is, a connection to it over TCP or TLS, and a conversation in RESP2 with a limit on
//! what it reads.

mod conversation;
mod place;
mod trust;
pub mod words;

pub use conversation::{Conversation, DEPTH_LIMIT, REPLY_LIMIT, Reply};
pub use place::Place;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io::{Error, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use trust::{system_trust, trust_in};

/// What a conversation runs over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A way to one node.
#[derive(Debug, Clone)]
pub struct Route {
    place: Place,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Route {
    /// The way to a node. Over TLS its certificate is held against `ca` (PEM), or the system's authorities, and carries `tls_name`, or the
    /// host's. Reads the certificate authorities.
    ///
    /// # Errors
    /// Every finding, as a sentence.
    pub fn new(place: Place, ca: Option<&Path>, tls_name: Option<&str>) -> Result<Self, Vec<String>> {
        let mut wrong = Vec::new();
        let mut tls = None;
        if place.tls {
            let name = tls_name.unwrap_or(&place.host);
            let name = ServerName::try_from(name.to_owned())
                .map_err(|_| wrong.push(format!("{name:?} cannot stand in a certificate: set tls-name")));
            let trust = match ca {
                Some(path) => trust_in(path),
                None => system_trust(),
            };
            tls = trust.map_err(|finding| wrong.push(finding)).ok().zip(name.ok());
        } else if ca.is_some() || tls_name.is_some() {
            wrong.push("ca and tls-name have a meaning only with a rediss:// address".to_owned());
        }
        if wrong.is_empty() { Ok(Self { place, tls }) } else { Err(wrong) }
    }

    /// The way to another node of the same instance, by the same trust.
    #[must_use]
    pub fn towards(&self, place: Place, tls_name: Option<&str>) -> Option<Self> {
        let tls = match &self.tls {
            None => None,
            Some((trust, _)) => {
                let name = tls_name.unwrap_or(&place.host).to_owned();
                Some((Arc::clone(trust), ServerName::try_from(name).ok()?))
            }
        };
        Some(Self { place: Place { tls: tls.is_some(), ..place }, tls })
    }

    /// Where it leads.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// A fresh connection. `stage` says how far it got.
    ///
    /// # Errors
    /// Why there is none. Not limited in time.
    pub async fn connect(&self, stage: &mut Stage) -> std::io::Result<Box<dyn Stream>> {
        *stage = Stage::Connect;
        let plain = TcpStream::connect((self.place.host.as_str(), self.place.port)).await?;
        plain.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(plain),
            Some((config, name)) => {
                *stage = Stage::Tls;
                Box::new(TlsConnector::from(Arc::clone(config)).connect(name.clone(), plain).await?)
            }
        };
        *stage = Stage::Talk;
        Ok(stream)
    }
}

/// How far a connection got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// No connection yet.
    Connect,
    /// The TLS handshake.
    Tls,
    /// The conversation.
    Talk,
}

impl Stage {
    /// What was done then; `talk` says it for the conversation.
    #[must_use]
    pub const fn deed(self, talk: &'static str) -> &'static str {
        match self {
            Self::Connect => "Connecting",
            Self::Tls => "The TLS handshake with the server on the way",
            Self::Talk => talk,
        }
    }

    /// What is worth a look, if the error says more than that it failed.
    #[must_use]
    pub fn advice(self, error: &Error) -> Option<&'static str> {
        match self {
            Self::Connect => None,
            Self::Tls if error.kind() == ErrorKind::InvalidData => Some(
                "give the certificate authority of the instance in ca, and in tls-name the name its certificate carries; for an instance without TLS write redis://",
            ),
            Self::Tls => Some("check that the instance speaks TLS on this port; without TLS write redis://"),
            Self::Talk if error.kind() == ErrorKind::UnexpectedEof => {
                Some("check the instance's allowed addresses, and whether it wants TLS (rediss://) on this port")
            }
            Self::Talk => None,
        }
    }
}
