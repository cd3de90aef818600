//! The envelope of an answer (Tencent Cloud API 3.0, "Response structure"): status 200 and JSON, for errors too.

use serde_json::{Map, Value, json};

/// An API error: a code of the vendor's and some words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: String,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}

/// The fields an action promises.
pub(super) type Fields = Map<String, Value>;

/// The text of an answer's body.
pub(super) fn envelope(answer: &Result<Fields, Refusal>, request_id: &str) -> String {
    let mut response = match answer {
        Ok(fields) => fields.clone(),
        Err(refusal) => {
            Map::from_iter([("Error".to_owned(), json!({"Code": refusal.code, "Message": refusal.message}))])
        }
    };
    response.insert("RequestId".to_owned(), request_id.into());
    json!({"Response": response}).to_string()
}
