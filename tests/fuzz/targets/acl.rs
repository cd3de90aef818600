//! What a node of one's own says while its user is changed: the call first, then what each connection hears from beginning to end.

use super::stage::{block_on, chosen, first_line, holds_none_of, node, quoted};
use super::tencent::{NEW, OLD, secret};
use keywheel::fault::Fault;
use keywheel::provider::redis_acl::credentials::{Admin, NothingKnown};
use keywheel::provider::redis_acl::{Discover, Persist, RedisAcl, RedisSettings};
use keywheel::provider::{Address, Mode, Provider};
use keywheel::rotation::answer::Answer;
use std::time::Duration;

#[derive(Clone, Copy)]
enum Ask {
    Change(Mode, &'static str),
    Inspect(&'static str),
    Retire,
}

const WORDS: [(&str, Ask); 7] = [
    ("change", Ask::Change(Mode::OldPassword, "app")),
    ("change the default user", Ask::Change(Mode::OldPassword, "default")),
    ("add", Ask::Change(Mode::Add, "app")),
    ("reset", Ask::Change(Mode::Reset, "app")),
    ("inspect", Ask::Inspect("app")),
    ("inspect the default user", Ask::Inspect("default")),
    ("retire", Ask::Retire),
];

/// SHA-256 of the new password, as a node shows it.
const NEW_HASH: &str = "d43503450df7a0a395f42dee6220554718193d01362e1f445715c2c4e0655787";

/// A change is accepted only where the node showed the new password in the end, and no fault repeats a password.
pub fn run(input: &[u8]) {
    let (word, script) = first_line(input);
    block_on(async {
        let server = node(script).await;
        let settings = RedisSettings {
            nodes: vec![format!("redis://{}", server.address)],
            // Found nodes may be anywhere; only the one here is talked to.
            discover: Discover::None,
            persist: Persist::Auto,
            timeout: Duration::from_secs(20),
            ca_file: None,
            tls_name: None,
        };
        let provider =
            RedisAcl::new(settings, Admin { user: None, passwords: std::sync::Arc::new(NothingKnown) }).unwrap();
        let address = |mode, account: &str| Address { instance: "own".to_owned(), account: account.to_owned(), mode };
        let rotation = "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap();
        let said = String::from_utf8_lossy(script);
        match chosen(word, &WORDS) {
            Ask::Change(mode, account) => {
                let answer = provider.change(&address(mode, account), rotation, Some(&secret(OLD)), &secret(NEW)).await;
                match answer {
                    Answer::Accepted { .. } => {
                        assert!(said.contains(NEW_HASH) || said.contains(NEW), "accepted, and never shown");
                    }
                    // A reset does not know the old password.
                    Answer::Refused { fault, .. } | Answer::Unanswered { fault } if mode == Mode::Reset => {
                        holds_none_of(&fault.to_string(), &[NEW]);
                    }
                    Answer::Refused { fault, .. } | Answer::Unanswered { fault } => shows_no_secret(&fault),
                }
            }
            Ask::Inspect(account) => {
                // It logs in with nothing, so no password can be repeated.
                let found = provider.inspect(&address(Mode::OldPassword, account)).await;
                found.map_or_else(|fault| holds_none_of(&fault.to_string(), &[]), drop);
            }
            Ask::Retire => {
                let retired = provider.retire(&address(Mode::Add, "app"), &secret(OLD), &secret(NEW)).await;
                retired.map_or_else(|fault| shows_no_secret(&fault), drop);
            }
        }
    });
}

fn shows_no_secret(fault: &Fault) {
    let [shown, _] = quoted(OLD);
    holds_none_of(&fault.to_string(), &[OLD, &shown, NEW]);
}
