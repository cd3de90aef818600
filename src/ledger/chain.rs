//! The keyed chain that makes a target's record tamper-evident, whatever store holds it.
//!
//! - Each event's MAC covers everything its row says, the sealed bytes of the password it brought, and the MAC of the event before it. So a row that
//!   was changed, moved, inserted or cut out of the middle is noticed. Sealing alone binds a password to its target and generation; covering the
//!   sealed bytes here as well means that a password that is missing, or was put back from an older copy, is noticed when the record is read and
//!   not only when the password is needed.
//! - The head's MAC covers the number and MAC of the last event and the place where reading begins. So rows cut off the end are noticed.
//! - The roster's MAC covers the names of all targets, and of keywheel's own record. So a whole record that is gone is noticed.
//! - One MAC covers the lists of what selections found. So nobody but keywheel adds an instance to rotate, or takes one away.
//! - A note's MAC covers its name and text.
//! - What happened to keywheel itself is a record like a target's, with a head of its own.
//!
//! An older copy of everything together is a valid ledger: nothing inside one file can tell that a newer one existed.

use super::Row;
use super::deed::{self, DeedRow};
use crate::fault::{Fault, Kind};
use crate::moment::Moment;
use crate::name::{Generation, TargetName};
use crate::rotation::event::{Event, VERSION, What};
use crate::seal::{MAC_BYTES, Seal};
use subtle::ConstantTimeEq;

/// What stands in place of the MAC before the first event.
pub const ORIGIN: [u8; MAC_BYTES] = [0; MAC_BYTES];

/// One event as a store holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its place in the target's record, from 1.
    pub seq: u64,
    /// When it happened.
    pub at: Moment,
    /// The rotation it belongs to, as text.
    pub rotation: Option<String>,
    /// The version of the event vocabulary it is written in.
    pub version: u32,
    /// What happened, as JSON.
    pub body: String,
    /// The generation of the password it brought, and the sealed bytes; `None` where they are missing.
    pub brought: Option<(Generation, Option<Vec<u8>>)>,
    /// Its MAC.
    pub mac: Vec<u8>,
}

/// Where a target's record ends and where reading it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The number of the last event; 0 when there is none.
    pub seq: u64,
    /// The MAC of the last event; [`ORIGIN`] when there is none.
    pub last: Vec<u8>,
    /// The number of the last `Settled` event; 1 when there is none.
    pub base: u64,
}

impl Head {
    /// The head of a record without events.
    pub fn empty() -> Self {
        Self { seq: 0, last: ORIGIN.to_vec(), base: 1 }
    }

    /// Its MAC.
    pub fn mac(&self, seal: &dyn Seal, target: &str) -> [u8; MAC_BYTES] {
        let mut text = Encoding::of("head");
        text.bytes(target.as_bytes());
        text.number(self.seq);
        text.bytes(&self.last);
        text.number(self.base);
        seal.mac(&text.0)
    }

    /// Compares its MAC with the stored one.
    ///
    /// # Errors
    /// `LedgerCorrupt`.
    pub fn check(&self, seal: &dyn Seal, target: &str, mac: &[u8]) -> Result<(), Fault> {
        if same(&self.mac(seal, target), mac) {
            Ok(())
        } else {
            Err(broken(target, self.seq, "the mark of the record's end was changed"))
        }
    }
}

impl Stored {
    /// The MAC this event must have after `previous`.
    pub fn chained(&self, seal: &dyn Seal, target: &str, previous: &[u8]) -> [u8; MAC_BYTES] {
        let mut text = Encoding::of("event");
        text.bytes(target.as_bytes());
        text.number(self.seq);
        text.bytes(&self.at.millis().to_be_bytes());
        text.option(self.rotation.as_ref().map(String::as_bytes));
        text.number(u64::from(self.version));
        text.bytes(self.body.as_bytes());
        text.option(
            self.brought
                .as_ref()
                .map(|(generation, _)| generation.0.to_be_bytes())
                .as_ref()
                .map(|bytes| bytes.as_slice()),
        );
        text.option(self.brought.as_ref().and_then(|(_, sealed)| sealed.as_deref()));
        text.bytes(previous);
        seal.mac(&text.0)
    }
}

/// The MAC over the names of all records, in the order given (keywheel's own first, then the targets' by name).
pub fn mac_roster<'a>(seal: &dyn Seal, names: impl Iterator<Item = &'a str>) -> [u8; MAC_BYTES] {
    let mut text = Encoding::of("roster");
    for name in names {
        text.bytes(name.as_bytes());
    }
    seal.mac(&text.0)
}

/// The MAC over what all selections found, in the order given (by the selections' names).
pub fn mac_lists<'a>(seal: &dyn Seal, lists: impl Iterator<Item = (&'a str, &'a str)>) -> [u8; MAC_BYTES] {
    let mut text = Encoding::of("found");
    for (selection, list) in lists {
        text.bytes(selection.as_bytes());
        text.bytes(list.as_bytes());
    }
    seal.mac(&text.0)
}

/// The MAC over a text that keywheel keeps for itself.
pub fn mac_note(seal: &dyn Seal, name: &str, note: &str) -> [u8; MAC_BYTES] {
    let mut text = Encoding::of("note");
    text.bytes(name.as_bytes());
    text.bytes(note.as_bytes());
    seal.mac(&text.0)
}

/// Whether two MACs are the same, in a time that does not depend on them.
pub fn same(expected: &[u8; MAC_BYTES], found: &[u8]) -> bool {
    expected.as_slice().ct_eq(found).into()
}

/// Goes along one record in order, checking each event. Without a key it still notices gaps, a missing end and texts it cannot read.
pub struct Walk<'a> {
    record: &'a str,
    seal: Option<&'a dyn Seal>,
    next: u64,
    previous: Vec<u8>,
}

impl<'a> Walk<'a> {
    /// Begins with the event numbered `next`; `previous` is the MAC of the one before it.
    pub fn new(target: &'a TargetName, seal: Option<&'a dyn Seal>, next: u64, previous: Vec<u8>) -> Self {
        Self::of(target.as_str(), seal, next, previous)
    }

    /// The same along a record that need not be a target's.
    pub fn of(record: &'a str, seal: Option<&'a dyn Seal>, next: u64, previous: Vec<u8>) -> Self {
        Self { record, seal, next, previous }
    }

    /// The number of the event it expects.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Checks the next event and reads it.
    ///
    /// # Errors
    /// `LedgerCorrupt`, `LedgerNewer`, naming the target and the event's number.
    pub fn step(&mut self, stored: Stored) -> Result<Row, Fault> {
        self.check(&stored, VERSION)?;
        let what: What = serde_json::from_str(&stored.body).map_err(|_| self.broken("its text cannot be read"))?;
        let rotation = match stored.rotation.as_deref().map(str::parse) {
            None => None,
            Some(Ok(id)) => Some(id),
            Some(Err(_)) => return Err(self.broken("its rotation id cannot be read")),
        };
        self.advance(stored.mac);
        Ok(Row { seq: stored.seq, rotation, event: Event { at: stored.at, what } })
    }

    /// The same for what happened to keywheel itself.
    ///
    /// # Errors
    /// `LedgerCorrupt`, `LedgerNewer`, naming the event's number.
    pub fn deed(&mut self, stored: Stored) -> Result<DeedRow, Fault> {
        self.check(&stored, deed::VERSION)?;
        let deed = serde_json::from_str(&stored.body).map_err(|_| self.broken("its text cannot be read"))?;
        self.advance(stored.mac);
        Ok(DeedRow { seq: stored.seq, at: stored.at, deed })
    }

    fn check(&self, stored: &Stored, version: u32) -> Result<(), Fault> {
        if stored.seq != self.next {
            return Err(self.broken("it is missing"));
        }
        if matches!(stored.brought, Some((_, None))) {
            return Err(self.broken("the password it brought is missing"));
        }
        if let Some(seal) = self.seal
            && !same(&stored.chained(seal, self.record, &self.previous), &stored.mac)
        {
            return Err(self.broken("it, its password or an event before it was changed"));
        }
        if stored.version > version {
            return Err(Fault::new(
                Kind::LedgerNewer,
                format!(
                    "event {} of {} has version {}; this keywheel reads up to {version}",
                    stored.seq, self.record, stored.version
                ),
            ));
        }
        Ok(())
    }

    fn advance(&mut self, mac: Vec<u8>) {
        self.next += 1;
        self.previous = mac;
    }

    /// Checks that the record ends where its head says.
    ///
    /// # Errors
    /// `LedgerCorrupt`, naming the target and the event's number.
    pub fn finish(self, head: &Head) -> Result<(), Fault> {
        if self.next <= head.seq {
            Err(self.broken("it is missing"))
        } else if self.next > head.seq + 1 || self.previous != head.last {
            Err(broken(self.record, self.next - 1, "the record's end is marked elsewhere"))
        } else {
            Ok(())
        }
    }

    fn broken(&self, why: &str) -> Fault {
        broken(self.record, self.next, why)
    }
}

fn broken(target: &str, seq: u64, why: &str) -> Fault {
    Fault::new(Kind::LedgerCorrupt, format!("the record of {target} fails its check at event {seq}: {why}"))
}

/// Bytes for a MAC, unambiguous: each field stands behind its length, an absent one is told from an empty one, and each kind of thing has a name.
struct Encoding(Vec<u8>);

impl Encoding {
    fn of(kind: &str) -> Self {
        let mut encoding = Self(Vec::with_capacity(1_024));
        encoding.bytes(b"keywheel ledger 1");
        encoding.bytes(kind.as_bytes());
        encoding
    }

    fn bytes(&mut self, field: &[u8]) {
        self.number(field.len() as u64);
        self.0.extend_from_slice(field);
    }

    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    fn option(&mut self, field: Option<&[u8]>) {
        self.0.push(u8::from(field.is_some()));
        if let Some(field) = field {
            self.bytes(field);
        }
    }
}
