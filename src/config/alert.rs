//! `[watch]` and `[alerts.NAME]`: what is watched, and who is alerted.

use super::finding::suggestion;
use super::outlet::web_address;
use super::reading::{Refusal, Section, refusal};
use super::secret_ref::SecretRef;
use crate::alert::{Event, TIMEOUT};
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// How often the fleet is looked at, and a dead-man URL called, unless said otherwise.
const WATCH_EVERY: Duration = Duration::from_secs(30);
const DEAD_MAN_EVERY: Duration = Duration::from_secs(60);

/// How long doubt, or a sink that is behind, may last unless said otherwise.
const AFTER: Duration = Duration::from_secs(15 * 60);

/// How long a message waits after the one before it unless said otherwise.
const GATHER: Duration = Duration::from_secs(60);

/// The longest times that may be asked for.
const WATCH_LIMIT: Duration = Duration::from_secs(3_600);
const AFTER_LIMIT: Duration = Duration::from_secs(30 * 24 * 3_600);
const DEAD_MAN_LIMIT: Duration = Duration::from_secs(24 * 3_600);
const TIMEOUT_LIMIT: Duration = Duration::from_secs(100);

/// The most receivers of one mail.
const RECEIVERS_LIMIT: usize = 50;

/// The longest address of a mail, in bytes (RFC 5321, 4.5.3.1.3, without its brackets).
const MAIL_ADDRESS_LIMIT: usize = 254;

/// `[watch]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// How often the fleet is looked at.
    pub every: Duration,
    /// How long doubt may last before anybody is alerted.
    pub doubt_after: Duration,
    /// How long a sink may be behind before anybody is alerted.
    pub behind_after: Duration,
    /// The URL that is called while all is well.
    pub dead_man_url: Option<SecretRef>,
    /// How often, at most.
    pub dead_man_every: Duration,
}

/// A channel for alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Who is told, and how.
    pub kind: ChannelKind,
    /// What it takes.
    pub events: BTreeSet<Event>,
    /// How long a message waits after the one before it.
    pub gather: Duration,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Certificates (PEM) to trust instead of the machine's.
    pub ca_file: Option<PathBuf>,
}

/// Who is told.
#[derive(Clone, PartialEq, Eq)]
pub enum ChannelKind {
    /// A receiver of signed messages.
    Webhook {
        /// Where they are sent.
        url: Url,
        /// What they are signed with.
        signing_key: SecretRef,
        /// A bearer token.
        token: Option<SecretRef>,
    },
    /// A chat, behind a URL that is a secret.
    Slack {
        /// Where the URL is kept.
        url: SecretRef,
    },
    /// People, by mail.
    Smtp(Box<SmtpChannel>),
}

/// `kind = "smtp"`.
#[derive(Clone, PartialEq, Eq)]
pub struct SmtpChannel {
    /// The mail server.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// How the connection is kept private.
    pub tls: SmtpTls,
    /// Name and password to log in with.
    pub login: Option<(String, SecretRef)>,
    /// Who sends.
    pub from: String,
    /// Who receives.
    pub to: Vec<String>,
}

/// How a connection to a mail server is kept private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    /// It begins in clear and goes on over TLS before anything is said, or ends.
    StartTls,
    /// TLS from the first byte.
    Implicit,
    /// Not at all: to this machine itself.
    None,
}

impl fmt::Debug for ChannelKind {
    /// Without the URL, whose path and query may hold a token.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webhook { signing_key, .. } => {
                formatter.debug_struct("Webhook").field("signing_key", signing_key).finish_non_exhaustive()
            }
            Self::Slack { url } => formatter.debug_struct("Slack").field("url", url).finish(),
            Self::Smtp(smtp) => formatter.debug_struct("Smtp").field("server", &smtp.server).finish_non_exhaustive(),
        }
    }
}

pub(super) fn watch(section: &Section<'_>) -> Watch {
    let after = |key| section.span_up_to(key, AFTER_LIMIT).unwrap_or(AFTER);
    Watch {
        every: section.span_up_to("every", WATCH_LIMIT).unwrap_or(WATCH_EVERY),
        doubt_after: after("doubt-after"),
        behind_after: after("behind-after"),
        dead_man_url: SecretRef::parse(section, "dead-man-url"),
        dead_man_every: section.span_up_to("dead-man-every", DEAD_MAN_LIMIT).unwrap_or(DEAD_MAN_EVERY),
    }
}

pub(super) fn channel(section: &Section<'_>) -> Option<Channel> {
    let events = events(section);
    let gather = section.span_or_zero("gather").unwrap_or(GATHER);
    if gather > WATCH_LIMIT {
        let what = "People would hear of an alert more than an hour late";
        section.refuse("gather", refusal(what, "write 1h or less"));
    }
    let timeout = section.span_up_to("timeout", TIMEOUT_LIMIT).unwrap_or(TIMEOUT);
    let ca_file = section.path("ca-file");
    let kind = match section.text("kind")? {
        "webhook" => {
            let url = section.parsed("url", web_address);
            let signing_key = SecretRef::parse(section, "signing-key");
            let token = SecretRef::if_written(section, "token");
            ChannelKind::Webhook { url: url?, signing_key: signing_key?, token: token? }
        }
        "slack" => ChannelKind::Slack { url: SecretRef::parse(section, "url")? },
        "smtp" => ChannelKind::Smtp(Box::new(smtp(section)?)),
        _ => return None,
    };
    let in_clear = match &kind {
        ChannelKind::Webhook { url, .. } => url.scheme() == "http",
        ChannelKind::Smtp(smtp) => smtp.tls == SmtpTls::None,
        ChannelKind::Slack { .. } => false,
    };
    if ca_file.is_some() && in_clear {
        section.refuse("ca-file", refusal("This key means nothing without TLS", "use TLS or remove it"));
    }
    Some(Channel { kind, events: events?, gather, timeout, ca_file })
}

/// The events a channel takes: all of them unless it names some.
fn events(section: &Section<'_>) -> Option<BTreeSet<Event>> {
    let words = section.texts("events");
    if !section.has("events") {
        return Some(Event::ALL.into_iter().map(|(_, event)| event).collect());
    }
    let known: Vec<&str> = Event::ALL.iter().map(|(word, _)| *word).collect();
    let unknown: Vec<&&str> = words.iter().filter(|word| !known.contains(word)).collect();
    for word in &unknown {
        section.refuse("events", refusal("keywheel alerts nobody of such an event", suggestion(word, &known, "")));
    }
    if words.is_empty() {
        section
            .refuse("events", refusal("This channel would never be told anything", "remove the key, or name events"));
    }
    let events = Event::ALL.into_iter().filter(|(word, _)| words.contains(word)).map(|(_, event)| event);
    (unknown.is_empty() && !words.is_empty()).then(|| events.collect())
}

fn smtp(section: &Section<'_>) -> Option<SmtpChannel> {
    let server = section.parsed("server", server);
    let words = [("starttls", SmtpTls::StartTls), ("implicit", SmtpTls::Implicit), ("none", SmtpTls::None)];
    // One that cannot be read must not become another; what else is wrong is told with it.
    let tls = if section.has("tls") { section.choice("tls", &words) } else { Some(SmtpTls::StartTls) };
    let usual = match tls {
        Some(SmtpTls::StartTls) | None => 587,
        Some(SmtpTls::Implicit) => 465,
        Some(SmtpTls::None) => 25,
    };
    let port = section.number("port", 1..=u32::from(u16::MAX)).and_then(|port| u16::try_from(port).ok());
    if tls == Some(SmtpTls::None) && server.as_ref().is_some_and(|server| !is_this_machine(server)) {
        let what = "Without TLS everybody on the way reads what is sent, the password among it";
        section.refuse(
            "tls",
            refusal(what, "write \"starttls\" or \"implicit\"; \"none\" is for a server on this machine"),
        );
    }
    let login = match (section.text("user"), SecretRef::parse(section, "password")) {
        (Some(user), Some(password)) => Some((user.to_owned(), password)),
        (None, None) => None,
        (Some(_), None) if section.has("password") => None,
        (Some(_), None) => {
            section
                .refuse("user", refusal("A user logs in with a password", "add password = { credential = \"NAME\" }"));
            None
        }
        (None, Some(_)) => {
            section.refuse("password", refusal("This password is nobody's", "add user, or remove it"));
            None
        }
    };
    let from = section.parsed("from", mail_address);
    let to = section.texts("to");
    if section.has("to") && !(1..=RECEIVERS_LIMIT).contains(&to.len()) {
        let what = format!("A mail has 1 to {RECEIVERS_LIMIT} receivers");
        section.refuse("to", refusal(what, "write to = [\"oncall@example.com\"]"));
    }
    let to: Result<Vec<String>, Refusal> = to.into_iter().map(mail_address).collect();
    let to = to.map_err(|refusal| section.refuse("to", refusal)).ok();
    Some(SmtpChannel { server: server?, port: port.unwrap_or(usual), tls: tls?, login, from: from?, to: to? })
}

/// A host's name or address, without a port.
fn server(text: &str) -> Result<String, Refusal> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    if text.parse::<IpAddr>().is_ok() || !text.is_empty() && text.bytes().all(is_name) {
        return Ok(text.to_owned());
    }
    Err(refusal(
        "This is not the name of a server",
        "write its host name alone, such as mail.example.com; the port has its own key",
    ))
}

fn is_this_machine(server: &str) -> bool {
    server == "localhost" || server.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn mail_address(text: &str) -> Result<String, Refusal> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"<>()[],;:\\\"@".contains(&byte);
    let whole = text.split_once('@').is_some_and(|(who, host)| {
        let parts = [who, host];
        parts
            .iter()
            .all(|part| !part.is_empty() && part.bytes().all(plain) && !part.starts_with('.') && !part.ends_with('.'))
    });
    if whole && text.len() <= MAIL_ADDRESS_LIMIT {
        return Ok(text.to_owned());
    }
    Err(refusal("This is not a mail address", "write it alone, such as oncall@example.com"))
}
