//! The signature of Standard Webhooks (the specification of that name, version 1.0.0): HMAC-SHA256 over id, time and body, which libraries for many
//! languages verify.

use super::mac;
use crate::moment::Moment;
use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// What a key may begin with.
const KEY_PREFIX: &str = "whsec_";

/// How long a key may be, in bytes; the specification's own bounds.
const KEY_SIZE: std::ops::RangeInclusive<usize> = 24..=64;

/// Everything that the signature covers.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// The same for every attempt to deliver the same message.
    pub id: &'a str,
    /// The time of this attempt; receivers usually accept five minutes of difference.
    pub timestamp: Moment,
    /// The exact bytes of the body.
    pub body: &'a [u8],
}

/// The text is no key.
#[derive(Debug, PartialEq, Eq)]
pub struct NoKey;

/// The three headers that a receiver looks at.
///
/// # Errors
/// Where the key is not 24 to 64 bytes in base64, with or without `whsec_` in front.
pub fn sign(message: &Message<'_>, key: &Secret) -> Result<Vec<(String, String)>, NoKey> {
    let text = key.expose();
    let key = STANDARD.decode(text.strip_prefix(KEY_PREFIX).unwrap_or(text)).map(Zeroizing::new).map_err(|_| NoKey)?;
    if !KEY_SIZE.contains(&key.len()) {
        return Err(NoKey);
    }
    let seconds = message.timestamp.seconds().to_string();
    let mut signed = Zeroizing::new(Vec::with_capacity(message.id.len() + seconds.len() + message.body.len() + 2));
    for part in [message.id.as_bytes(), b".", seconds.as_bytes(), b".", message.body] {
        signed.extend_from_slice(part);
    }
    let signature = format!("v1,{}", STANDARD.encode(*mac(&key, &signed)));
    let headers =
        [("webhook-id", message.id.to_owned()), ("webhook-timestamp", seconds), ("webhook-signature", signature)];
    Ok(headers.map(|(name, value)| (name.to_owned(), value)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the specification's own libraries are tested with.
    const KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const MESSAGE: Message<'_> = Message {
        id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp: Moment::from_seconds(1_614_265_330),
        body: br#"{"test": 2432232314}"#,
    };

    #[test]
    fn the_published_example() {
        for key in [KEY.to_owned(), format!("whsec_{KEY}")] {
            let headers = sign(&MESSAGE, &Secret::new(key)).unwrap();
            let expected = [
                ("webhook-id", MESSAGE.id),
                ("webhook-timestamp", "1614265330"),
                ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            ];
            assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long = STANDARD.encode([7; 65]);
        for key in ["", "hunter2", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", &long] {
            assert_eq!(sign(&MESSAGE, &Secret::new(key.to_owned())), Err(NoKey), "{key}");
        }
    }
}
