//! The login probe: AUTH, then PING, on a fresh connection, over TCP or TLS.
//!
//! The words of the protocol come from the `redis` crate; its connections do not serve here. They read a reply of any length, do not say
//! whether connecting, TLS or the login took too long, and ask more than the two commands that a cloud's proxy certainly takes.

mod settings;
mod talk;
mod trust;

pub use settings::{
    CONNECTION_LIMIT, DEFAULT_TIMEOUT, FormChoice, LoginForm, LoginSettings, alibaba_forms, bare_password,
    login_password, login_user, tencent_forms,
};

use super::Probe;
use crate::fault::{Fault, Kind, scrub};
use crate::moment::show_span;
use crate::rotation::answer::Login;
use crate::secret::Secret;
use async_trait::async_trait;
use futures_util::future::join_all;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use settings::Address;
use std::io::{Error, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use talk::log_in;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use trust::{system_trust, trust_in};

/// A login route to one Redis.
#[derive(Debug)]
pub struct RedisProbe {
    route: String,
    host: String,
    port: u16,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    forms: Vec<LoginForm>,
    /// The index of the form that was let in: it is tried first, so that a route that needs the second form does not collect refusals.
    accepted: AtomicUsize,
    /// Whether any form was let in yet.
    known: AtomicBool,
    connections: usize,
    timeout: Duration,
}

impl RedisProbe {
    /// The probe for these settings and the forms to try in order. Reads the certificate authorities for `rediss://`.
    ///
    /// # Errors
    /// Every finding, `Kind::ConfigInvalid`.
    pub fn new(settings: LoginSettings, forms: Vec<LoginForm>) -> Result<Self, Vec<Fault>> {
        let mut wrong = Vec::new();
        let mut keep = |finding: String| wrong.push(Fault::new(Kind::ConfigInvalid, finding));
        if !(1..=CONNECTION_LIMIT).contains(&settings.connections) {
            keep(format!("connections is {}: use 1 to {CONNECTION_LIMIT}", settings.connections));
        }
        if settings.timeout.is_zero() {
            keep("timeout is zero: no login could ever succeed".to_owned());
        }
        if forms.is_empty() {
            keep("there is no login form to try".to_owned());
        }
        let address = Address::parse(&settings.address).map_err(&mut keep).ok();
        let with_tls = address.as_ref().is_some_and(|address| address.tls);
        if address.is_some() && !with_tls && (settings.ca.is_some() || settings.tls_name.is_some()) {
            keep("ca and tls-name have a meaning only with a rediss:// address".to_owned());
        }
        let mut tls = None;
        if let Some(address) = address.as_ref().filter(|_| with_tls) {
            let name = settings.tls_name.unwrap_or_else(|| address.host.clone());
            let name = ServerName::try_from(name.clone())
                .map_err(|_| keep(format!("{name:?} cannot stand in a certificate: set tls-name")));
            let trust = match &settings.ca {
                Some(path) => trust_in(path),
                None => system_trust(),
            };
            tls = trust.map_err(&mut keep).ok().zip(name.ok());
        }
        match address {
            Some(address) if wrong.is_empty() => Ok(Self {
                route: address.route(),
                host: address.host,
                port: address.port,
                tls,
                forms,
                accepted: AtomicUsize::new(0),
                known: AtomicBool::new(false),
                connections: settings.connections,
                timeout: settings.timeout,
            }),
            Some(_) | None => Err(wrong),
        }
    }

    /// The host, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it logs in over TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The form that was let in, or the first one while none was: what clients should send.
    pub fn form(&self) -> &LoginForm {
        let at = self.accepted.load(Ordering::Relaxed);
        self.forms.get(at).unwrap_or(&LoginForm::Password)
    }

    /// One form after the other, each on a connection of its own; the first that is not refused decides.
    async fn attempt(&self, password: &Secret) -> Login {
        let first = self.accepted.load(Ordering::Relaxed);
        let others = (0..self.forms.len()).filter(|at| *at != first);
        for at in std::iter::once(first).chain(others) {
            let Some(form) = self.forms.get(at) else { continue };
            let login = self.one_connection(form, password).await;
            match login {
                Login::Refused => {}
                Login::Accepted => {
                    self.learn(first, at, password).await;
                    return Login::Accepted;
                }
                Login::Mixed | Login::PasswordFree | Login::Unreachable { .. } => return login,
            }
        }
        Login::Refused
    }

    /// Keeps the form that was let in. One that was let in before stays: its refusal was the password's, on a node that did not know it yet. And one
    /// that was refused a moment ago is tried again, for the password may have become live between the two attempts.
    async fn learn(&self, first: usize, at: usize, password: &Secret) {
        let known = self.known.swap(true, Ordering::Relaxed);
        if known || at == first {
            return;
        }
        let again = match self.forms.get(first) {
            Some(form) => self.one_connection(form, password).await,
            None => Login::Refused,
        };
        if again != Login::Accepted {
            self.accepted.store(at, Ordering::Relaxed);
        }
    }

    async fn one_connection(&self, form: &LoginForm, password: &Secret) -> Login {
        let sent = login_password(form, password);
        let mut stage = Stage::Connect;
        let talk = self.converse(form, &sent, &mut stage);
        let outcome = match tokio::time::timeout(self.timeout, talk).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(Error::new(ErrorKind::TimedOut, format!("no end within {}", show_span(self.timeout)))),
        };
        match outcome {
            Ok(login) => login,
            Err(error) => {
                let said = scrub(&error.to_string(), &[&sent, password]);
                let what = format!("{} to {} failed: {said}", stage.deed(), self.route);
                let fault = Fault::new(Kind::LoginUnreachable, what);
                Login::Unreachable {
                    fault: match stage.advice(&error) {
                        Some(advice) => fault.advise(advice),
                        None => fault,
                    },
                }
            }
        }
    }

    async fn converse(&self, form: &LoginForm, sent: &Secret, stage: &mut Stage) -> std::io::Result<Login> {
        let plain = TcpStream::connect((self.host.as_str(), self.port)).await?;
        plain.set_nodelay(true)?;
        match &self.tls {
            None => {
                *stage = Stage::Login;
                log_in(plain, form, sent).await
            }
            Some((config, name)) => {
                *stage = Stage::Tls;
                let stream = TlsConnector::from(config.clone()).connect(name.clone(), plain).await?;
                *stage = Stage::Login;
                log_in(stream, form, sent).await
            }
        }
    }
}

#[async_trait]
impl Probe for RedisProbe {
    async fn login(&self, password: &Secret) -> Login {
        let attempts = (0..self.connections).map(|_| self.attempt(password));
        together(join_all(attempts).await)
    }

    fn route(&self) -> &str {
        &self.route
    }
}

/// How far a login got.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Connect,
    Tls,
    Login,
}

impl Stage {
    fn deed(self) -> &'static str {
        match self {
            Self::Connect => "Connecting",
            Self::Tls => "The TLS handshake with the server on the way",
            Self::Login => "Logging in",
        }
    }

    fn advice(self, error: &Error) -> Option<&'static str> {
        match self {
            Self::Connect => None,
            Self::Tls if error.kind() == ErrorKind::InvalidData => Some(
                "give the certificate authority of the instance in ca, and in tls-name the name its certificate carries; for an instance without TLS write redis://",
            ),
            Self::Tls => Some("check that the instance speaks TLS on this port; without TLS write redis://"),
            Self::Login if error.kind() == ErrorKind::UnexpectedEof => {
                Some("check the instance's allowed addresses, and whether it wants TLS (rediss://) on this port")
            }
            Self::Login => None,
        }
    }
}

/// What several connections show together. Those that gave no answer make a partial yes or no worth nothing.
fn together(logins: Vec<Login>) -> Login {
    let all = logins.len();
    let (mut accepted, mut refused, mut free, mut mixed, mut silent) = (0, 0, 0, 0, None);
    for login in logins {
        match login {
            Login::Accepted => accepted += 1,
            Login::Refused => refused += 1,
            Login::PasswordFree => free += 1,
            Login::Mixed => mixed += 1,
            Login::Unreachable { fault } => silent = silent.or(Some(fault)),
        }
    }
    if free > 0 {
        Login::PasswordFree
    } else if mixed > 0 || (accepted > 0 && refused > 0) {
        Login::Mixed
    } else if let Some(mut fault) = silent {
        if accepted + refused > 0 {
            let answered = if accepted > 0 { "let in" } else { "turned away" };
            let next_step = std::mem::take(&mut fault.next_step);
            let what = format!("{} of {all} connections were {answered}, but: {}", accepted + refused, fault.what);
            fault = Fault::new(fault.kind, what).advise(next_step);
        }
        Login::Unreachable { fault }
    } else if accepted > 0 {
        Login::Accepted
    } else {
        Login::Refused
    }
}
