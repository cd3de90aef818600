//! Log lines for systemd's journal, in its own protocol ("Native Journal Protocol" of systemd): the sentence a person reads as `MESSAGE`, and beside
//! it every field by name, so that `journalctl KEYWHEEL_TARGET=orders-cache` or `KEYWHEEL_ROTATION=…` finds what belongs together.
//!
//! Not through `tracing-journald`: its `MESSAGE` is the event's text alone, and `journalctl -u keywheel` would show that something failed and not why.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// The variable in which systemd says which stream is the journal: device and inode.
const STREAM_VARIABLE: &str = "JOURNAL_STREAM";

/// The most of one field that is written, in bytes: a datagram has a limit, and a longer line is no line.
const FIELD_LIMIT: usize = 16 * 1024;

/// Whether standard error leads to the journal. A variable that was inherited while the stream was pointed elsewhere says nothing.
pub fn leads_to_the_journal() -> bool {
    let stream = std::env::var(STREAM_VARIABLE).ok();
    let found = rustix::fs::fstat(rustix::stdio::stderr()).ok();
    stream.zip(found).is_some_and(|(stream, found)| is_stream(&stream, found.st_dev, found.st_ino))
}

fn is_stream(named: &str, device: u64, inode: u64) -> bool {
    let parsed = named.split_once(':').and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
    parsed == Some((device, inode))
}

/// Writes each event to the journal.
pub struct Journal {
    socket: UnixDatagram,
}

impl Journal {
    /// Connects to the machine's journal.
    ///
    /// # Errors
    /// When nobody listens there, or this process may not reach it.
    pub fn connect() -> io::Result<Self> {
        Self::connect_to(Path::new(SOCKET))
    }

    fn connect_to(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        Ok(Self { socket })
    }
}

/// Names and values, in the order they came; of one name the later value counts.
#[derive(Default)]
struct Fields(Vec<(&'static str, String)>);

impl Fields {
    fn put(&mut self, name: &'static str, value: String) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Journal {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flatten().collect::<Vec<_>>().into_iter().rev() {
            if let Some(known) = span.extensions().get::<Fields>() {
                known.0.iter().for_each(|(name, value)| fields.put(name, value.clone()));
            }
        }
        event.record(&mut fields);
        // What has no value is not told of, nor where a message of the `log` crate stands in its source.
        fields.0.retain(|(name, value)| !value.is_empty() && !name.starts_with("log."));
        let text = message(&fields);
        let priority = priority(*event.metadata().level());
        if self.socket.send(&datagram(priority, &text, &fields)).is_err() {
            // The stream is the journal's as well; it takes a priority before each line.
            let _closed = writeln!(io::stderr(), "<{priority}>{}", text.replace('\n', " "));
        }
    }
}

/// What `journalctl` shows: the text, and then each field.
fn message(fields: &Fields) -> String {
    let mut line =
        fields.0.iter().find(|(name, _)| *name == "message").map_or_else(String::new, |(_, text)| text.clone());
    for (name, value) in fields.0.iter().filter(|(name, _)| *name != "message") {
        // Writing to a String does not fail.
        let _ = write!(line, " {name}={value}");
    }
    line
}

/// The priorities of syslog.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

fn datagram(priority: u8, text: &str, fields: &Fields) -> Vec<u8> {
    let mut packet = format!("PRIORITY={priority}\nSYSLOG_IDENTIFIER=keywheel\n").into_bytes();
    append(&mut packet, "MESSAGE", text);
    for (name, value) in fields.0.iter().filter(|(name, _)| *name != "message") {
        let name: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
        append(&mut packet, &format!("KEYWHEEL_{name}"), value);
    }
    packet
}

/// The form with a length, in which a value may hold anything.
fn append(packet: &mut Vec<u8>, name: &str, value: &str) {
    let value = &value.as_bytes()[..value.floor_char_boundary(FIELD_LIMIT)];
    packet.extend_from_slice(name.as_bytes());
    packet.push(b'\n');
    packet.extend_from_slice(&(value.len() as u64).to_le_bytes());
    packet.extend_from_slice(value);
    packet.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn a_stream_is_the_journal_only_by_device_and_inode() {
        assert!(is_stream("9:1234", 9, 1234));
        for other in ["9:1235", "8:1234", "9", "", "9:", ":1234", "9:1234:", "a:b"] {
            assert!(!is_stream(other, 9, 1234), "{other:?}");
        }
    }

    /// What a journal makes of a datagram.
    fn understood(packet: &[u8]) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        let mut rest = packet;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let line = String::from_utf8(rest[..end].to_vec()).unwrap();
            rest = &rest[end + 1..];
            let (name, value) = match line.split_once('=') {
                Some((name, value)) => (name.to_owned(), value.to_owned()),
                None => {
                    let length = usize::try_from(u64::from_le_bytes(rest[..8].try_into().unwrap())).unwrap();
                    let value = String::from_utf8(rest[8..8 + length].to_vec()).unwrap();
                    assert_eq!(rest[8 + length], b'\n');
                    rest = &rest[8 + length + 1..];
                    (line, value)
                }
            };
            fields.insert(name, value);
        }
        assert!(rest.is_empty());
        fields
    }

    #[test]
    fn an_event_carries_its_own_fields_and_those_of_its_spans() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let journal = UnixDatagram::bind(&path).unwrap();
        let subscriber = tracing_subscriber::registry().with(Journal::connect_to(&path).unwrap());
        tracing::subscriber::with_default(subscriber, || {
            let turn = tracing::error_span!("turn", target = "orders-cache");
            let _within = turn.enter();
            let act = tracing::error_span!("act", rotation = tracing::field::Empty);
            act.record("rotation", "01J");
            let _within = act.enter();
            tracing::warn!(retry_in = ?3, hook = "", "two\nlines={}", "x");
            tracing::info!(target = "another", "plain");
        });
        let mut packet = [0; 2_048];
        let length = journal.recv(&mut packet).unwrap();
        let fields = understood(&packet[..length]);
        let expected = [
            ("KEYWHEEL_RETRY_IN", "3"),
            ("KEYWHEEL_ROTATION", "01J"),
            ("KEYWHEEL_TARGET", "orders-cache"),
            ("MESSAGE", "two\nlines=x target=orders-cache rotation=01J retry_in=3"),
            ("PRIORITY", "4"),
            ("SYSLOG_IDENTIFIER", "keywheel"),
        ];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        let length = journal.recv(&mut packet).unwrap();
        let fields = understood(&packet[..length]);
        assert_eq!((fields["KEYWHEEL_TARGET"].as_str(), fields["PRIORITY"].as_str()), ("another", "6"));
    }

    #[test]
    fn a_long_field_is_cut_between_characters() {
        let mut packet = Vec::new();
        append(&mut packet, "X", &"é".repeat(FIELD_LIMIT));
        assert!(understood(&packet)["X"].chars().all(|c| c == 'é'));
        assert!(packet.len() < FIELD_LIMIT + 32);
    }
}
