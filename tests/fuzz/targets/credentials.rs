//! Answers of the metadata and token services of both clouds: vendor and kind of source first, then the answers.

use super::stage::{Replies, block_on, chosen, first_line, holds_none_of};
use super::tencent::{KEY, NOW, secret};
use async_trait::async_trait;
use keywheel::clock::Clock;
use keywheel::moment::Moment;
use keywheel::provider::alibaba::Network;
use keywheel::provider::alibaba::credentials::AlibabaSources;
use keywheel::provider::credential::endpoint::Reach;
use keywheel::provider::credential::settings::{IdentitySettings, MetadataSettings, RoleSettings};
use keywheel::provider::credential::{Credential, Life, Source, Sources, Static, Surroundings};
use keywheel::provider::tencent::Site;
use keywheel::provider::tencent::credentials::TencentSources;
use serde_json::Value;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

const TOKEN: &str = "the.pods.own.token";

#[derive(Clone, Copy)]
enum Kind {
    Role,
    NamedRole,
    Assume,
    Identity,
}

#[derive(Clone, Copy)]
enum Vendor {
    Tencent,
    Alibaba,
}

const WORDS: [(&str, (Vendor, Kind)); 8] = [
    ("tencent role", (Vendor::Tencent, Kind::Role)),
    ("tencent named role", (Vendor::Tencent, Kind::NamedRole)),
    ("tencent assume", (Vendor::Tencent, Kind::Assume)),
    ("tencent identity", (Vendor::Tencent, Kind::Identity)),
    ("alibaba role", (Vendor::Alibaba, Kind::Role)),
    ("alibaba named role", (Vendor::Alibaba, Kind::NamedRole)),
    ("alibaba assume", (Vendor::Alibaba, Kind::Assume)),
    ("alibaba identity", (Vendor::Alibaba, Kind::Identity)),
];

/// It is always the same moment, and nobody waits to see another.
struct Still;

#[async_trait]
impl Clock for Still {
    fn now(&self) -> Moment {
        Moment::from_seconds(NOW)
    }

    async fn sleep(&self, _span: Duration) {
        std::future::pending().await
    }
}

/// A credential is exactly what a whole answer of status 200 says and has not ended; a fault repeats neither what was sent nor what was answered.
pub fn run(input: &[u8]) {
    let (word, script) = first_line(input);
    let (vendor, kind) = chosen(word, &WORDS);
    block_on(async {
        let replies = Replies::play(script).await;
        let mut token = tempfile::NamedTempFile::new().unwrap();
        token.write_all(TOKEN.as_bytes()).unwrap();
        let source = source(vendor, kind, &replies, token.path());
        match source.credential().await {
            Ok(credential) => is_what_was_said(&credential, &replies),
            Err(fault) => {
                let said = replies.last().and_then(|reply| reply.json());
                let said = said.filter(|answer| !is_an_error(answer));
                let parts: Vec<String> = said.iter().flat_map(texts).filter(|text| text.len() > 15).collect();
                let mut secrets: Vec<&str> = parts.iter().map(String::as_str).collect();
                secrets.extend([KEY, TOKEN]);
                holds_none_of(&fault.to_string(), &secrets);
            }
        }
    });
}

fn source(vendor: Vendor, kind: Kind, replies: &Replies, token: &std::path::Path) -> Source {
    let surroundings = Surroundings { variables: Arc::new(|_| None), clock: Arc::new(Still), bits: Arc::new(|| 7) };
    let endpoint = replies.endpoint();
    let reach = Reach { sts: Some(endpoint.clone()), metadata: Some(endpoint), ..Reach::default() };
    let sources: Box<dyn Sources> = match vendor {
        Vendor::Tencent => Box::new(TencentSources::new(surroundings, reach, "ap-guangzhou".to_owned(), Site::China)),
        Vendor::Alibaba => {
            Box::new(AlibabaSources::new(surroundings, reach, "cn-hangzhou".to_owned(), Network::Public))
        }
    };
    match kind {
        Kind::Role => sources.instance_role(MetadataSettings::default()),
        Kind::NamedRole => sources.instance_role(MetadataSettings { role: Some("rotator".to_owned()) }),
        Kind::Assume => {
            let base = Static::new(sources.terms(), "AKIDone".to_owned(), secret(KEY), None).unwrap();
            let role = "acs:ram::1:role/rotator".to_owned();
            let settings = RoleSettings { role, session: None, duration: None, external_id: None, policy: None };
            sources.assume_role(Arc::new(base), settings)
        }
        Kind::Identity => sources.oidc(IdentitySettings {
            provider: Some("cls-1".to_owned()),
            token_file: Some(token.to_owned()),
            role: Some("qcs::cam::uin/1:roleName/rotator".to_owned()),
            ..IdentitySettings::default()
        }),
    }
    .unwrap()
}

fn is_what_was_said(credential: &Credential, replies: &Replies) {
    let reply = replies.last().expect("a credential that nobody gave");
    assert_eq!(reply.status, 200, "a credential out of an answer that is no success");
    if reply.is_odd_json() {
        return;
    }
    let answer = reply.json().expect("a credential out of something that is no JSON");
    assert!(!is_an_error(&answer), "a credential out of an error");
    let said: Vec<String> = texts(&answer).collect();
    let token = credential.token.as_ref().expect("a temporary credential has a token");
    for part in [credential.id.as_str(), credential.key.expose(), token.expose()] {
        assert!(said.iter().any(|text| text == part), "{part:?} was not said");
    }
    let Life::Until(ends) = credential.life else { panic!("a credential without an end") };
    assert!(ends > Moment::from_seconds(NOW), "a credential that ended at {ends}");
}

/// Where each service says that it failed: Tencent's gateway inside the envelope, all others by a code.
fn is_an_error(answer: &Value) -> bool {
    let failed = |code: &Value| !code.is_null() && code != "Success";
    let inside = answer.get("Response").and_then(|response| response.get("Error"));
    inside.is_some_and(|error| !error.is_null())
        || ["Code", "code"].iter().filter_map(|key| answer.get(key)).any(failed)
}

/// Every text in it.
fn texts(value: &Value) -> Box<dyn Iterator<Item = String> + '_> {
    match value {
        Value::String(text) => Box::new(std::iter::once(text.clone())),
        Value::Array(parts) => Box::new(parts.iter().flat_map(texts)),
        Value::Object(parts) => Box::new(parts.values().flat_map(texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Box::new(std::iter::empty()),
    }
}
