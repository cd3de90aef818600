//! What Vault answers (API documents "KV secrets engine - version 2", "/sys/capabilities-self"), as far as this sink reads it.

use crate::sink::Document;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What stands in the custom metadata of a secret that keywheel writes.
const TARGET: &str = "target";
const GENERATION: &str = "generation";

/// A secret as it was found.
#[derive(Default)]
pub struct Found {
    /// Its newest version; 0 where it was never written.
    pub version: u64,
    /// What is in that; `None` where there is none, or it was deleted.
    pub data: Option<Map<String, Value>>,
    /// What people and tools noted beside it.
    pub custom: Map<String, Value>,
}

/// Whose password it is, and which.
pub struct Marks {
    pub target: Option<String>,
    pub generation: Option<u64>,
}

impl Marks {
    /// What is noted beside a secret.
    pub fn of(document: &Document) -> Vec<(&'static str, String)> {
        let rotation = document.rotation.map_or_else(|| "adopted".to_owned(), |rotation| rotation.to_string());
        vec![
            ("managed-by", "keywheel".to_owned()),
            (TARGET, document.target.to_string()),
            (GENERATION, document.generation.to_string()),
            ("rotation", rotation),
        ]
    }
}

#[derive(Deserialize)]
struct Read {
    data: Option<Outer>,
}

#[derive(Deserialize)]
struct Outer {
    data: Option<Map<String, Value>>,
    metadata: Version,
}

#[derive(Deserialize)]
struct Version {
    version: u64,
    #[serde(default)]
    custom_metadata: Option<Map<String, Value>>,
}

impl Found {
    /// The answer to a read. A deleted version is answered with 404 and says so; one that never was with 404 and no words.
    pub fn parse(status: u16, body: &[u8]) -> Option<Self> {
        let read: Read = serde_json::from_slice(body).ok()?;
        match read.data {
            Some(Outer { data, metadata }) => Some(Self {
                version: metadata.version,
                data: data.filter(|_| status == 200),
                custom: metadata.custom_metadata.unwrap_or_default(),
            }),
            None => (status == 404 && said(body).is_empty()).then(Self::default),
        }
    }

    /// What the secret says of itself, and where it is deleted, what is noted beside it.
    pub fn marks(&self) -> Marks {
        let data = self.data.as_ref();
        let target = |map: &Map<String, Value>| map.get(TARGET)?.as_str().map(str::to_owned);
        let noted = self.custom.get(GENERATION).and_then(Value::as_str).and_then(|text| text.parse().ok());
        Marks {
            target: data.and_then(target).or_else(|| target(&self.custom)),
            generation: data.and_then(|data| data.get(GENERATION)?.as_u64()).max(noted),
        }
    }
}

/// Vault's own words, in one line; empty where it has none, or none that can be read.
pub fn said(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<String>,
    }
    serde_json::from_slice::<Errors>(body).map(|said| said.errors.join("; ")).unwrap_or_default()
}

/// Whether the answer to a write names the version that was made.
pub fn is_version(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Written {
        data: Version,
    }
    serde_json::from_slice::<Written>(body).is_ok_and(|written| written.data.version > 0)
}

/// The version of the KV store; `None` where the answer names none.
pub fn store_version(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Mount {
        data: About,
    }
    #[derive(Deserialize)]
    struct About {
        r#type: String,
        options: Option<BTreeMap<String, String>>,
    }
    let about = serde_json::from_slice::<Mount>(body).ok()?.data;
    let version = about.options.and_then(|mut options| options.remove("version"));
    Some(if about.r#type == "kv" { version.unwrap_or_else(|| "1".to_owned()) } else { about.r#type })
}

/// What is permitted at which path.
pub fn capabilities(body: &[u8]) -> Option<BTreeMap<String, Vec<String>>> {
    let whole: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let rights = match whole.get("data") {
        Some(Value::Object(data)) => data,
        Some(_) | None => &whole,
    };
    let texts =
        |list: &Value| Some(list.as_array()?.iter().filter_map(|right| Some(right.as_str()?.to_owned())).collect());
    Some(rights.iter().filter_map(|(path, list)| Some((path.clone(), texts(list)?))).collect())
}

/// A token as a login or a look at it gives it.
#[derive(Deserialize)]
pub struct Token {
    pub client_token: Option<String>,
    #[serde(alias = "ttl", default)]
    pub lease_duration: u64,
    #[serde(default)]
    pub renewable: bool,
}

/// The answer to a login or a renewal.
pub fn token(body: &[u8]) -> Option<Token> {
    #[derive(Deserialize)]
    struct Login {
        auth: Token,
    }
    serde_json::from_slice::<Login>(body).ok().map(|login| login.auth)
}

/// The answer to a look at one's own token.
pub fn own_token(body: &[u8]) -> Option<Token> {
    #[derive(Deserialize)]
    struct Look {
        data: Token,
    }
    serde_json::from_slice::<Look>(body).ok().map(|look| look.data)
}
