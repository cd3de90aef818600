//! Finding a secret wherever it may have been left, in whatever clothes.

#![allow(dead_code, reason = "each test file uses the part it needs")]

use aho_corasick::AhoCorasick;
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

/// Secrets in all their clothes, looked for at once.
pub struct Traces {
    forms: Vec<(usize, &'static str)>,
    needles: AhoCorasick,
}

impl Traces {
    /// Of these secrets. Short ones would be found by chance.
    pub fn of(secrets: &[impl AsRef<str>]) -> Self {
        let mut forms = Vec::new();
        let mut needles = Vec::new();
        for (number, secret) in secrets.iter().enumerate() {
            assert!(secret.as_ref().len() >= 7, "secret {number} is too short to be told from chance");
            for (form, needle) in clothes(secret.as_ref()) {
                forms.push((number, form));
                needles.push(needle);
            }
        }
        Self { forms, needles: AhoCorasick::new(needles).unwrap() }
    }

    /// The first one that stands in these bytes: its number and how it is written.
    pub fn found(&self, bytes: &[u8]) -> Option<(usize, &'static str)> {
        self.needles.find(bytes).map(|found| self.forms[found.pattern().as_usize()])
    }

    /// Those that stand in files of this folder, and of the folders in it, but not in what `knows` them, each in a sentence; and how many files
    /// were read.
    pub fn in_folder(&self, folder: &Path, knows: &dyn Fn(&Path) -> bool) -> (Vec<String>, usize) {
        let (mut sentences, mut read) = (Vec::new(), 0);
        // What comes and goes while it is looked at is no concern.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if knows(&path) {
                continue;
            }
            if path.is_dir() {
                let (more, files) = self.in_folder(&path, knows);
                sentences.extend(more);
                read += files;
            } else if let Ok(bytes) = fs::read(&path) {
                read += 1;
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                sentences
                    .extend(self.found(&bytes).map(|(number, form)| format!("{name} holds secret {number} as {form}")));
            }
        }
        (sentences, read)
    }
}

/// Fails if a secret stands in these bytes.
pub fn assert_absent(place: &str, bytes: &[u8], secrets: &[String]) {
    let found = Traces::of(secrets).found(bytes);
    assert!(found.is_none(), "{place} holds a secret: {found:?}");
}

/// Fails if a secret stands in a file of this folder. Answers how many files were read.
pub fn assert_absent_in_folder(folder: &Path, secrets: &[String]) -> usize {
    let (found, read) = Traces::of(secrets).in_folder(folder, &|_| false);
    assert!(found.is_empty(), "{found:?}");
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
