//! What the tests hold the servers with.

use crate::redis_nodes::{ADMIN, ADMIN_PASSWORD, RedisNode};
use async_trait::async_trait;
use keywheel::fault::Fault;
use keywheel::name::RotationId;
use keywheel::probe::Probe;
use keywheel::probe::nodes::NodesProbe;
use keywheel::probe::redis::{LoginSettings, RedisProbe, acl_forms};
use keywheel::provider::redis_acl::credentials::{Admin, AdminPasswords, NothingKnown, ReadAnew};
use keywheel::provider::redis_acl::{Discover, Persist, RedisAcl, RedisSettings};
use keywheel::provider::{Address, Mode, Provider};
use keywheel::rotation::answer::Answer;
use keywheel::secret::Secret;
use std::sync::Arc;
use std::time::Duration;

/// Every printable ASCII character but letters, digits and the space, between some that are.
pub const SPECIAL: &str = "a1!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~Z9";

pub const ACCEPTED: Answer = Answer::Accepted { task: None };

pub fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

pub fn rotation() -> RotationId {
    "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap()
}

pub fn address(account: &str, mode: Mode) -> Address {
    Address { instance: "own".to_owned(), account: account.to_owned(), mode }
}

/// The SHA-256 of a password, as an ACL shows it.
pub fn hash(password: &str) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(password))
}

pub fn settings(nodes: &[String]) -> RedisSettings {
    RedisSettings {
        nodes: nodes.to_vec(),
        discover: Discover::None,
        persist: Persist::Auto,
        timeout: Duration::from_secs(20),
        ca_file: None,
        tls_name: None,
    }
}

pub fn urls(nodes: &[RedisNode]) -> Vec<String> {
    nodes.iter().map(RedisNode::url).collect()
}

/// An administrator whose password is read anew each time.
pub fn admin(user: &str, password: &str) -> Admin {
    let password = password.to_owned();
    Admin {
        user: Some(user.to_owned()),
        passwords: Arc::new(ReadAnew(Arc::new(move || Ok(Secret::new(password.clone()))))),
    }
}

/// The administrator of the nodes' own files of users.
pub fn keywheel() -> Admin {
    admin(ADMIN, ADMIN_PASSWORD)
}

pub fn itself() -> Admin {
    Admin { user: None, passwords: Arc::new(NothingKnown) }
}

/// An administrator of whom several passwords may be live.
pub struct Several(pub Vec<&'static str>);

#[async_trait]
impl AdminPasswords for Several {
    async fn candidates(&self, _address: &Address) -> Result<Vec<Secret>, Fault> {
        Ok(self.0.iter().map(|text| secret(text)).collect())
    }
}

pub fn provider(settings: RedisSettings, admin: Admin) -> Arc<RedisAcl> {
    Arc::new(RedisAcl::new(settings, admin).unwrap())
}

/// The provider of these nodes with the usual administrator.
pub fn of(nodes: &[RedisNode]) -> Arc<RedisAcl> {
    provider(settings(&urls(nodes)), keywheel())
}

pub async fn change(provider: &RedisAcl, address: &Address, old: &str, new: &str) -> Answer {
    provider.change(address, rotation(), Some(&secret(old)), &secret(new)).await
}

/// A login on every node.
pub fn probe(provider: &Arc<RedisAcl>, address: &Address) -> NodesProbe {
    let forms = acl_forms(&address.account, address.account == "default");
    let make = move |node: &str| {
        let probe = RedisProbe::new(LoginSettings::from(node.to_owned()), forms.clone()).unwrap();
        Ok(Arc::new(probe) as Arc<dyn Probe>)
    };
    NodesProbe::new(Arc::clone(provider) as Arc<dyn Provider>, address.clone(), "own".to_owned(), Arc::new(make))
}

/// The fault of a refusal, with the refusal's word in front.
pub fn refused(answer: Answer) -> (String, Fault) {
    match answer {
        Answer::Refused { refusal, fault } => (format!("{refusal:?}"), fault),
        Answer::Accepted { .. } | Answer::Unanswered { .. } => panic!("{answer:?}"),
    }
}

pub fn unanswered(answer: Answer) -> Fault {
    match answer {
        Answer::Unanswered { fault } => fault,
        Answer::Accepted { .. } | Answer::Refused { .. } => panic!("{answer:?}"),
    }
}
