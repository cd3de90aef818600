//! Rows of a ledger: a sealed password in hexadecimal on the first line, then one JSON object a line with the columns of an event's row.

use super::tencent::secret;
use keywheel::ledger::chain::{Head, ORIGIN, Stored, Walk};
use keywheel::ledger::known::Known;
use keywheel::moment::Moment;
use keywheel::name::{Generation, TargetName};
use keywheel::seal::aead::{Aead, SealingKey};
use keywheel::seal::{DataKey, Envelope, KEY_BYTES, Seal};
use serde_json::Value;
use std::sync::LazyLock;

/// What the seeds of the corpus were sealed with.
static KEY: LazyLock<DataKey> = LazyLock::new(|| DataKey::from_bytes([7; KEY_BYTES].into()));
const PASSWORD: &str = "OldPassw0rd\"01";

/// What was not sealed for this target and generation does not open; what a record says is read only where its MAC is right; and a list that
/// can be read is written as it was read.
pub fn run(input: &[u8]) {
    let seal = Aead::from_data_key(&KEY);
    let (target, other) = ("orders-cache".parse::<TargetName>().unwrap(), "others".parse::<TargetName>().unwrap());
    let mut lines = input.split(|byte| *byte == b'\n');
    let blob = unhex(lines.next().unwrap_or_default());
    opens_in_its_place_only(&seal, &target, &other, &blob);

    let rows: Vec<Stored> = lines.clone().filter_map(stored).take(16).collect();
    let trusted = walked(Walk::new(&target, Some(&seal), 1, ORIGIN.to_vec()), &rows);
    let read = walked(Walk::new(&target, None, 1, ORIGIN.to_vec()), &rows);
    assert!(trusted <= read, "a row that cannot be read is trusted");
    let mut chained = rows;
    let mut previous = ORIGIN.to_vec();
    for (row, seq) in chained.iter_mut().zip(1..) {
        row.seq = seq;
        row.mac = row.chained(&seal, target.as_str(), &previous).to_vec();
        previous = row.mac.clone();
    }
    let whole = walked(Walk::new(&target, Some(&seal), 1, ORIGIN.to_vec()), &chained);
    let elsewhere = walked(Walk::new(&other, Some(&seal), 1, ORIGIN.to_vec()), &chained);
    assert_eq!(elsewhere, 0, "a record is another target's");
    if let Some(last) = chained.get_mut(whole.saturating_sub(1)).filter(|_| whole > 0) {
        let head = Head { seq: last.seq, last: last.mac.clone(), base: 1 };
        let mac = head.mac(&seal, target.as_str());
        assert!(head.check(&seal, target.as_str(), &mac).is_ok() && head.check(&seal, other.as_str(), &mac).is_err());
        last.body.push(' ');
        let changed = walked(Walk::new(&target, Some(&seal), 1, ORIGIN.to_vec()), &chained);
        assert_eq!(changed, whole - 1, "a changed row is trusted");
    }
    for list in lines.filter_map(|line| serde_json::from_slice::<Vec<Known>>(line).ok()) {
        let written = serde_json::to_string(&list).expect("a list has a text");
        assert_eq!(serde_json::from_str::<Vec<Known>>(&written).expect("its own text"), list);
    }
}

fn opens_in_its_place_only(seal: &Aead, target: &TargetName, other: &TargetName, blob: &[u8]) {
    let one = Generation(1);
    if let Ok(opened) = seal.open(target, one, blob) {
        assert_eq!(opened.expose(), PASSWORD, "a password that was never sealed");
        assert!(seal.open(other, one, blob).is_err() && seal.open(target, Generation(2), blob).is_err());
        for at in 0..blob.len() {
            let mut changed = blob.to_vec();
            changed[at] ^= 1;
            assert!(seal.open(target, one, &changed).is_err(), "byte {at} does not matter");
        }
    }
    let key = SealingKey::parse(&secret("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")).unwrap();
    if let Ok(unwrapped) = key.unwrap(blob) {
        assert_eq!(unwrapped.expose(), KEY.expose(), "a data key that was never wrapped");
    }
    if let Ok(text) = std::str::from_utf8(blob) {
        let _no_key = SealingKey::parse(&secret(text)).is_err();
        let again = seal.open(target, one, &seal.seal(target, one, &secret(text)));
        assert_eq!(again.expect("it was sealed just now").expose(), text);
    }
}

/// How many rows were read before one was refused.
fn walked(mut walk: Walk<'_>, rows: &[Stored]) -> usize {
    let read = rows.iter().take_while(|row| walk.step((*row).clone()).is_ok()).count();
    let _end = walk.finish(&Head::empty()).is_ok();
    read
}

fn stored(line: &[u8]) -> Option<Stored> {
    let row: Value = serde_json::from_slice(line).ok()?;
    let text = |name: &str| row.get(name).and_then(Value::as_str);
    let number = |name: &str| row.get(name).and_then(Value::as_u64);
    let sealed = text("sealed").map(|hex| unhex(hex.as_bytes()));
    Some(Stored {
        seq: number("seq")?,
        at: Moment::from_millis(row.get("at")?.as_i64()?),
        rotation: text("rotation").map(str::to_owned),
        version: u32::try_from(number("version")?).ok()?,
        body: text("body").map_or_else(|| row.get("body").map(Value::to_string).unwrap_or_default(), str::to_owned),
        brought: number("brought").map(|generation| (Generation(generation), sealed)),
        mac: text("mac").map(|hex| unhex(hex.as_bytes())).unwrap_or_default(),
    })
}

/// The bytes of a hexadecimal text; of any other text its own.
fn unhex(text: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pairs = text.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?));
    pairs.collect::<Option<Vec<u8>>>().unwrap_or_else(|| text.to_vec())
}
