//! What Secret Manager takes and answers (REST v1: `projects.secrets`, `projects.secrets.versions`), and Google's token services, as far as this sink reads
//! them.

use crate::moment::Moment;
use crate::secret::Secret;
use crate::sink::fields;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use zeroize::Zeroizing;

/// A secret, without what is in it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct About {
    /// Another one after each change of what stands here.
    pub etag: String,
    /// What people and tools noted.
    pub annotations: BTreeMap<String, String>,
    /// Names that point at versions.
    version_aliases: BTreeMap<String, Value>,
}

impl About {
    /// The versions that a name points at.
    pub fn named(&self) -> Vec<u64> {
        // The JSON form of a 64-bit number is a text.
        let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
        self.version_aliases.values().filter_map(number).collect()
    }
}

/// What is in a version.
pub struct Content {
    pub version: u64,
    pub data: Zeroizing<Vec<u8>>,
}

#[derive(Deserialize)]
struct Accessed {
    name: String,
    #[serde(default)]
    payload: Payload,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Payload {
    data: Wiped,
    data_crc32c: Option<Value>,
}

/// A text that is wiped when it is dropped.
#[derive(Default)]
pub struct Wiped(pub Zeroizing<String>);

impl<'de> Deserialize<'de> for Wiped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// A look into a version; `None` where the answer is none, or was damaged on its way.
pub fn content(body: &[u8]) -> Option<Content> {
    let Accessed { name, payload } = serde_json::from_slice(body).ok()?;
    let data = Zeroizing::new(STANDARD.decode(payload.data.0.as_bytes()).ok()?);
    let said = payload.data_crc32c.as_ref();
    let said = said.and_then(|said| said.as_u64().or_else(|| said.as_str()?.parse().ok()));
    let whole = said.is_none_or(|said| said == u64::from(checksum(&data)));
    whole.then_some(Content { version: number(&name)?, data })
}

/// The body of `addVersion`.
pub fn addition(data: &[u8]) -> Zeroizing<Vec<u8>> {
    let encoded = Zeroizing::new(STANDARD.encode(data));
    let mut body = Zeroizing::new(Vec::with_capacity(encoded.len() + 64));
    body.extend_from_slice(b"{\"payload\":{\"data\":\"");
    body.extend_from_slice(encoded.as_bytes());
    body.extend_from_slice(format!("\",\"dataCrc32c\":\"{}\"}}}}", checksum(data)).as_bytes());
    body
}

/// The number of the version in an answer about one.
pub fn version(body: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Version {
        name: String,
    }
    number(&serde_json::from_slice::<Version>(body).ok()?.name)
}

/// Whether an answer about a version says that it can be read.
pub fn is_enabled(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|about| about["state"] == "ENABLED")
}

/// The first page of the versions that can be read, each with its etag.
pub fn listed(body: &[u8]) -> Option<Vec<(u64, String)>> {
    #[derive(Deserialize)]
    struct Listed {
        #[serde(default)]
        versions: Vec<Version>,
    }
    #[derive(Deserialize)]
    struct Version {
        name: String,
        #[serde(default)]
        etag: String,
        #[serde(default)]
        state: String,
    }
    let listed: Listed = serde_json::from_slice(body).ok()?;
    let readable = listed.versions.into_iter().filter(|version| version.state == "ENABLED");
    readable.map(|version| Some((number(&version.name)?, version.etag))).collect()
}

fn number(name: &str) -> Option<u64> {
    name.rsplit_once("/versions/")?.1.parse().ok()
}

/// Which of the asked permissions are held.
pub fn permissions(body: &[u8]) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Held {
        #[serde(default)]
        permissions: Vec<String>,
    }
    serde_json::from_slice::<Held>(body).ok().map(|held| held.permissions)
}

/// What Google says where it does not do what it is asked: its words for machines alone, since the others may repeat what was sent.
#[derive(Default)]
pub struct Said {
    /// Such as `PERMISSION_DENIED`.
    pub status: String,
    /// Such as `SERVICE_DISABLED`.
    pub reason: String,
}

impl Said {
    /// Both, after a comma; empty where there is neither.
    pub fn words(&self) -> String {
        let words = [&self.status, &self.reason].into_iter().filter(|word| !word.is_empty());
        words.map(|word| format!(", {word}")).collect()
    }
}

/// Reads a complaint of an API, or of a token service, which has another form.
pub fn said(body: &[u8]) -> Said {
    let whole: Value = serde_json::from_slice(body).unwrap_or_default();
    let word = |value: Option<&Value>| {
        let text = value.and_then(Value::as_str).unwrap_or_default();
        let plain = text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if plain { text.to_owned() } else { String::new() }
    };
    let error = &whole["error"];
    let details = error["details"].as_array().into_iter().flatten();
    let reason = details.map(|detail| word(detail.get("reason"))).find(|reason| !reason.is_empty());
    let status = if error.is_string() { word(Some(error)) } else { word(error.get("status")) };
    Said { status, reason: reason.unwrap_or_default() }
}

/// A token as a service gives it: for how long, or until when.
pub struct Given {
    pub token: Secret,
    pub life: Option<Duration>,
    pub end: Option<Moment>,
}

/// The token in an answer of the metadata server, the token exchange or an impersonation.
pub fn given(body: &[u8]) -> Option<Given> {
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    struct Token {
        #[serde(alias = "accessToken")]
        access_token: Wiped,
        expires_in: Option<u64>,
        #[serde(alias = "expireTime")]
        expire_time: Option<String>,
    }
    let token: Token = serde_json::from_slice(body).ok()?;
    let access_token = token.access_token.0;
    let plain = !access_token.is_empty() && access_token.bytes().all(|byte| byte.is_ascii_graphic());
    let end = token.expire_time.and_then(|text| chrono::DateTime::parse_from_rfc3339(&text).ok());
    plain.then(|| Given {
        token: Secret::new(access_token.as_str().to_owned()),
        life: token.expires_in.map(Duration::from_secs),
        end: end.map(|end| Moment::from_millis(end.timestamp_millis())),
    })
}

/// The text under this name in a flat JSON object.
pub fn text_at(text: &[u8], name: &str) -> Option<Secret> {
    match fields::picked(std::str::from_utf8(text).ok()?, &[name]).ok()?.remove(name)? {
        fields::Found::Text(found) => Some(found),
        fields::Found::Number(_) | fields::Found::Flag(_) | fields::Found::Nothing | fields::Found::Other => None,
    }
}

/// CRC-32C (Castagnoli), which Google wants beside a payload.
pub fn checksum(data: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let step = |sum: u32| if sum & 1 == 1 { (sum >> 1) ^ POLYNOMIAL } else { sum >> 1 };
    !data.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), |sum, _| step(sum)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        // RFC 3720, appendix B.4, and the usual check value.
        assert_eq!(checksum(&[0; 32]), 0x8a91_36aa);
        assert_eq!(checksum(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(checksum(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_damaged_answer_is_none() {
        let of = |sum: u32| {
            let data = STANDARD.encode("hunter2");
            format!(
                r#"{{"name":"projects/1/secrets/a/versions/7","payload":{{"data":"{data}","dataCrc32c":"{sum}"}}}}"#
            )
        };
        let sum = checksum(b"hunter2");
        let found = content(of(sum).as_bytes()).unwrap();
        assert_eq!((found.version, found.data.as_slice()), (7, b"hunter2".as_slice()));
        assert!(content(of(sum ^ 1).as_bytes()).is_none());
    }

    #[test]
    fn complaints_of_both_forms_are_read_and_what_is_no_word_is_not() {
        let api = br#"{"error":{"code":403,"message":"hunter2","status":"PERMISSION_DENIED","details":[{"reason":"SERVICE_DISABLED"}]}}"#;
        assert_eq!(said(api).words(), ", PERMISSION_DENIED, SERVICE_DISABLED");
        assert_eq!(said(br#"{"error":"invalid_grant","error_description":"hunter2"}"#).words(), ", invalid_grant");
        assert_eq!(said(br#"{"error":{"status":"hunter 2"}}"#).words(), "");
        assert_eq!(said(b"<html>").words(), "");
    }
}
