//! `kind = "smtp"`: mails. The server is spoken to over TLS, from the first byte or from STARTTLS on, or not at all; in clear only on this machine.

use super::text::{body, subject};
use super::{Channel, Message};
use crate::fault::{Fault, Kind, scrub};
use crate::http::CA_FILE_LIMIT;
use crate::secret::Credential;
use async_trait::async_trait;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How the connection is kept private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privacy {
    /// STARTTLS, or nothing is sent.
    StartTls,
    /// TLS from the first byte.
    Implicit,
    /// None.
    InClear,
}

/// The settings of a channel with `kind = "smtp"`.
#[derive(Clone)]
pub struct SmtpSettings {
    /// The mail server's name or address; its certificate must bear it.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// How the connection is kept private.
    pub privacy: Privacy,
    /// Name and password to log in with.
    pub login: Option<(String, Credential)>,
    /// Who sends.
    pub from: String,
    /// Who receives.
    pub to: Vec<String>,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Certificates (PEM) to trust instead of the machine's.
    pub ca_file: Option<PathBuf>,
    /// The name of this machine, for the greeting.
    pub host: String,
}

/// A mail server, and whom it brings mails to.
pub struct Smtp {
    settings: SmtpSettings,
    from: Mailbox,
    to: Vec<Mailbox>,
    tls: Tls,
}

impl Smtp {
    /// The channel.
    ///
    /// # Errors
    /// `ConfigInvalid` where an address is none, or certificates cannot be used.
    pub fn new(settings: SmtpSettings) -> Result<Self, Fault> {
        let mailbox = |text: &String| {
            let address: Address = text.parse().map_err(|_| {
                Fault::new(Kind::ConfigInvalid, "A mail address of the channel is none").advise("check from and to")
            })?;
            Ok(Mailbox::new(None, address))
        };
        let from = mailbox(&settings.from)?;
        let to = settings.to.iter().map(mailbox).collect::<Result<Vec<_>, Fault>>()?;
        let tls = match settings.privacy {
            Privacy::StartTls => Tls::Required(parameters(&settings)?),
            Privacy::Implicit => Tls::Wrapper(parameters(&settings)?),
            Privacy::InClear => Tls::None,
        };
        Ok(Self { settings, from, to, tls })
    }

    fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, Fault> {
        let settings = &self.settings;
        let server = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.server)
            .port(settings.port)
            .tls(self.tls.clone())
            .timeout(Some(settings.timeout))
            .hello_name(ClientId::Domain(settings.host.clone()));
        Ok(match &settings.login {
            None => server.build(),
            Some((user, password)) => {
                let password = password.get().map_err(|fault| {
                    let what = format!("The channel's password: {}", fault.what);
                    Fault::new(Kind::AlertFailed, what).advise(fault.next_step)
                })?;
                server.credentials(Credentials::new(user.clone(), password.expose().to_owned())).build()
            }
        })
    }

    fn mail(&self, message: &Message) -> Result<lettre::Message, Fault> {
        let date = std::time::UNIX_EPOCH + Duration::from_millis(u64::try_from(message.at.millis()).unwrap_or(0));
        let of = self.settings.from.split_once('@').map_or("localhost", |(_, domain)| domain);
        let mail = lettre::Message::builder()
            .from(self.from.clone())
            .date(date)
            // A repeated mail has the same one.
            .message_id(Some(format!("<{}@{of}>", message.id)))
            .header(ContentType::TEXT_PLAIN)
            .subject(subject(message));
        let mail = self.to.iter().fold(mail, |mail, to| mail.to(to.clone()));
        mail.body(body(message))
            .map_err(|error| Fault::new(Kind::Bug, format!("a mail cannot be put together: {error}")))
    }

    /// The transport's own timeout is one for connecting alone.
    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, Fault> {
        tokio::time::timeout(self.settings.timeout, work).await.map_err(|_| self.silent("gave no answer in time"))
    }

    fn silent(&self, what: &str) -> Fault {
        let SmtpSettings { server, port, .. } = &self.settings;
        Fault::new(Kind::AlertFailed, format!("the mail server {server}:{port} {what}"))
            .advise("check the channel's server, port and tls, and the server's own log")
    }

    /// Why it failed, without what the server may have repeated of the login.
    fn failed(&self, error: &lettre::transport::smtp::Error) -> Fault {
        let secrets = self.settings.login.as_ref().and_then(|(_, password)| password.get().ok());
        // Its text has its causes in it.
        let said = scrub(&error.to_string(), &secrets.iter().collect::<Vec<_>>());
        let Self { settings: SmtpSettings { server, port, .. }, .. } = self;
        let fault = Fault::new(Kind::AlertFailed, format!("the mail server {server}:{port}: {said}"));
        match error.status().map(u16::from) {
            Some(530 | 534 | 535 | 538) => fault.advise("check the channel's user and password"),
            Some(550..=553) => fault.advise("check the channel's from and to"),
            Some(_) => fault.advise("read the mail server's own log"),
            None => fault.advise("check the channel's server, port, tls and ca-file, and the server's own log"),
        }
    }
}

#[async_trait]
impl Channel for Smtp {
    async fn tell(&self, message: &Message) -> Result<(), Fault> {
        let (transport, mail) = (self.transport()?, self.mail(message)?);
        let sent = self.in_time(transport.send(mail)).await?;
        sent.map(drop).map_err(|error| self.failed(&error))
    }

    async fn ready(&self) -> Result<(), Fault> {
        match self.in_time(self.transport()?.test_connection()).await? {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.silent("hung up")),
            Err(error) => Err(self.failed(&error)),
        }
    }
}

fn parameters(settings: &SmtpSettings) -> Result<TlsParameters, Fault> {
    let unusable = |what: String| {
        Fault::new(Kind::ConfigInvalid, what)
            .advise("install the ca-certificates package, or name a PEM file with the ca-file setting")
    };
    let builder = TlsParameters::builder(settings.server.clone());
    let builder = match &settings.ca_file {
        Some(path) => {
            let pem = certificates(path)
                .map_err(|why| unusable(format!("The certificates in {} cannot be used: {why}", path.display())))?;
            builder.certificate_store(CertificateStore::None).add_root_certificate(pem)
        }
        None => builder,
    };
    builder.build().map_err(|error| unusable(format!("No TLS can be spoken with {}: {error}", settings.server)))
}

fn certificates(path: &Path) -> Result<Certificate, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > CA_FILE_LIMIT {
        return Err(format!("it has {size} bytes, the limit is {CA_FILE_LIMIT}"));
    }
    let pem = std::fs::read(path).map_err(|error| error.to_string())?;
    if !pem.windows(11).any(|text| text == b"-----BEGIN ") {
        return Err("it holds no PEM certificate".to_owned());
    }
    Certificate::from_pem(&pem).map_err(|error| error.to_string())
}
