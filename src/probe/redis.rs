//! The login probe: AUTH, then PING, on a fresh connection, over TCP or TLS.
//!
//! The words of the protocol come from the `redis` crate; its connections do not serve here. They read a reply of any length, do not say
//! whether connecting, TLS or the login took too long, and ask more than the two commands that a cloud's proxy certainly takes.

mod settings;
mod talk;

pub use settings::{
    CONNECTION_LIMIT, DEFAULT_TIMEOUT, FormChoice, LoginForm, LoginSettings, acl_forms, alibaba_forms, bare_password,
    login_password, login_user, tencent_forms,
};

use super::{Probe, together};
use crate::fault::{Fault, Kind, scrub};
use crate::moment::show_span;
use crate::resp::{Place, Route, Stage};
use crate::rotation::answer::Login;
use crate::secret::Secret;
use async_trait::async_trait;
use futures_util::future::join_all;
use std::io::{Error, ErrorKind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use talk::log_in;

/// A login route to one Redis.
#[derive(Debug)]
pub struct RedisProbe {
    route: Route,
    /// The same in words.
    shown: String,
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
        let place = Place::parse(&settings.address).map_err(&mut keep).ok();
        let route = place.and_then(|place| {
            let route = Route::new(place, settings.ca.as_deref(), settings.tls_name.as_deref());
            route.map_err(|findings| findings.into_iter().for_each(&mut keep)).ok()
        });
        match route {
            Some(route) if wrong.is_empty() => Ok(Self {
                shown: route.place().to_string(),
                route,
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
        &self.route.place().host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.route.place().port
    }

    /// Whether it logs in over TLS.
    pub fn is_tls(&self) -> bool {
        self.route.place().tls
    }

    /// The form that was let in: what clients should send. The first one while none was; [`Probe::knows_form`] says which it is.
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
                let what = format!("{} to {} failed: {said}", stage.deed("Logging in"), self.shown);
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
        let stream = self.route.connect(stage).await?;
        log_in(stream, form, sent).await
    }
}

#[async_trait]
impl Probe for RedisProbe {
    async fn login(&self, password: &Secret) -> Login {
        let attempts = (0..self.connections).map(|_| self.attempt(password));
        together(join_all(attempts).await, "connections")
    }

    fn knows_form(&self) -> bool {
        self.forms.len() < 2 || self.known.load(Ordering::Relaxed)
    }

    fn route(&self) -> &str {
        &self.shown
    }
}
