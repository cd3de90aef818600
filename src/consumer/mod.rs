//! The joint to a consumer that says which generation it uses: what a former password waits for before it goes.

pub mod file;
pub mod web;

use crate::fault::{Fault, Kind};
use crate::name::Generation;
use async_trait::async_trait;
use serde_json::Value;

/// The longest statement that is read, in bytes.
const STATEMENT_LIMIT: usize = 64 * 1024;

/// Somebody who reads a password, and says which one.
#[async_trait]
pub trait Consumer: Send + Sync {
    /// The generation that it says it uses. Bounded in time.
    ///
    /// # Errors
    /// `NotAcknowledged` where it says nothing that can be understood: it may use any.
    async fn uses(&self) -> Result<Generation, Fault>;

    /// Where it says so, for people; without a path or query, which may hold a token.
    fn place(&self) -> String;
}

/// A statement: the generation's number alone, or a JSON object that has it.
fn understood(statement: &[u8], place: &str) -> Result<Generation, Fault> {
    let text = std::str::from_utf8(statement).unwrap_or_default().trim();
    let number = match text.parse() {
        Ok(number) if text.bytes().all(|byte| byte.is_ascii_digit()) => Some(number),
        Ok(_) | Err(_) => {
            serde_json::from_str::<Value>(text).ok().and_then(|statement| statement.get("generation")?.as_u64())
        }
    };
    number.map(Generation).ok_or_else(|| {
        silent(format!("{place} names no generation"))
            .advise("let the consumer write the generation it uses: the number alone, or {\"generation\": 7}")
    })
}

fn silent(what: String) -> Fault {
    Fault::new(Kind::NotAcknowledged, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_an_object_that_has_it() {
        for (statement, expected) in [
            ("7", Some(7)),
            (" 7\n", Some(7)),
            ("{\"generation\": 7, \"target\": \"orders\"}", Some(7)),
            ("0", Some(0)),
            ("", None),
            ("+7", None),
            ("-7", None),
            ("7.0", None),
            ("seven", None),
            ("{\"generation\": \"7\"}", None),
            ("[7]", None),
            ("99999999999999999999999", None),
        ] {
            let understood = understood(statement.as_bytes(), "it");
            assert_eq!(understood.as_ref().ok(), expected.map(Generation).as_ref(), "{statement}");
            assert!(
                understood.is_ok() || !understood.unwrap_err().what.contains("seven"),
                "what it says is not repeated"
            );
        }
        assert!(understood(&[0xff, b'7'], "it").is_err());
    }
}
