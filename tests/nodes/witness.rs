//! What the servers say when they are asked behind keywheel's back.

use crate::case::{Case, Kept, WITNESS};
use crate::line::hash;
use crate::redis_nodes::RedisNode;
use std::collections::BTreeSet;

/// One command as the tests' own user; it must work.
pub fn ask(node: &RedisNode, words: &[&str]) -> redis::Value {
    node.ask(WITNESS.0, WITNESS.1, words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

fn setting(node: &RedisNode, name: &str) -> String {
    let pair: Vec<String> = redis::from_redis_value(ask(node, &["CONFIG", "GET", name])).unwrap();
    pair.into_iter().nth(1).unwrap_or_default()
}

/// Whether a replica hears from its master; a master always does.
pub fn is_linked(node: &RedisNode) -> bool {
    let info: String = redis::from_redis_value(ask(node, &["INFO", "replication"])).unwrap();
    !info.contains("master_link_status:down")
}

/// The users of a server, as it lists them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Users {
    /// The account's line, without its passwords.
    account: String,
    /// The hashes of its passwords.
    hashes: BTreeSet<String>,
    /// Everybody else's lines.
    others: BTreeSet<String>,
}

impl Users {
    pub fn of(node: &RedisNode, case: &Case) -> Self {
        let lines: Vec<String> = redis::from_redis_value(ask(node, &["ACL", "LIST"])).unwrap();
        let start = format!("user {} ", case.account);
        let (own, others): (Vec<String>, Vec<String>) = lines.into_iter().partition(|line| line.starts_with(&start));
        let words = || own.iter().flat_map(|line| line.split(' '));
        Self {
            // Said or left out, the server checks what it is given.
            account: words()
                .filter(|word| !word.starts_with('#') && *word != "sanitize-payload")
                .collect::<Vec<_>>()
                .join(" "),
            hashes: words().filter_map(|word| word.strip_prefix('#')).map(str::to_owned).collect(),
            others: others.into_iter().collect(),
        }
    }

    /// Whether the account has this password and no other.
    pub fn only(&self, password: &str) -> bool {
        self.hashes == BTreeSet::from([hash(password)])
    }
}

/// What is wrong on a server where this password should be the account's, and everything else as it was.
pub fn wrong(node: &RedisNode, case: &Case, before: &Users, live: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |holds: bool, what: &str| {
        if !holds {
            wrong.push(what.to_owned());
        }
    };
    let now = Users::of(node, case);
    check(now.only(live), "the account has another password beside the live one, or not that one");
    check(now.account == before.account, "the account's rights have changed");
    check(now.others == before.others, "somebody else's line has changed");
    check(node.lets_in(case.account, live), "the live password is not let in");
    check(live == case.password || !node.lets_in(case.account, case.password), "the old password is let in");
    for (user, password) in case.others() {
        check(node.lets_in(user, password), &format!("{user} is not let in any more"));
    }
    if case.kept == Kept::Requirepass {
        check(setting(node, "requirepass") == live, "requirepass is not the live password");
    }
    let masterauth = setting(node, "masterauth");
    check(masterauth.is_empty() || masterauth == live, "the replica would log in to its master with another password");
    wrong
}
