//! Finding a secret wherever it may have been left, in whatever clothes.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use std::fs;
use std::path::Path;

/// Every way in which a secret may be written without being hidden.
fn clothes(secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = secret.as_bytes();
    let upper = hex::encode_upper(bytes);
    let url: String = url::form_urlencoded::byte_serialize(bytes).collect();
    let mut all = vec![
        ("raw", bytes.to_vec()),
        ("hex", hex::encode(bytes).into_bytes()),
        ("upper-case hex", upper.into_bytes()),
        ("URL-encoded", url.into_bytes()),
        ("UTF-16", secret.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("a JSON string", serde_json::to_string(secret).unwrap().trim_matches('"').as_bytes().to_vec()),
    ];
    // A secret in the middle of a longer text has one of three alignments; the characters that its neighbours touch are left out.
    for before in 0..3 {
        let padded = [vec![0; before], bytes.to_vec()].concat();
        for (name, engine) in [("base64", STANDARD), ("URL-safe base64", URL_SAFE)] {
            let text = engine.encode(&padded);
            let first = if before == 0 { 0 } else { 4 };
            let last = padded.len() / 3 * 4;
            all.push((name, text.as_bytes()[first..last].to_vec()));
        }
    }
    all
}

/// Fails if a secret stands in these bytes.
pub fn assert_absent(place: &str, bytes: &[u8], secrets: &[String]) {
    for secret in secrets {
        for (form, needle) in clothes(secret) {
            let found = bytes.windows(needle.len()).any(|window| window == needle);
            assert!(!found, "{place} holds a secret as {form}");
        }
    }
}

/// Fails if a secret stands in a file of this folder. Answers how many files were read.
pub fn assert_absent_in_folder(folder: &Path, secrets: &[String]) -> usize {
    let mut read = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert_absent(&path.display().to_string(), &fs::read(&path).unwrap(), secrets);
        read += 1;
    }
    read
}

#[test]
fn a_secret_is_found_in_any_clothes() {
    let secret = "Abc+def/1234-xyz".to_owned();
    for text in [
        secret.clone(),
        format!("x{}", STANDARD.encode(&secret)),
        STANDARD.encode(format!("ab:{secret}")),
        STANDARD.encode(format!("root:{secret}")),
        URL_SAFE.encode(format!("a{secret}b")),
        hex::encode(&secret),
        "password=Abc%2Bdef%2F1234-xyz&x".to_owned(),
    ] {
        let look = std::panic::catch_unwind(|| assert_absent("here", text.as_bytes(), std::slice::from_ref(&secret)));
        assert!(look.is_err(), "{text}");
    }
    assert_absent("here", b"Abc+def/1234-xy", &[secret]);
}
