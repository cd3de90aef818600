//! What a node shows of itself and of one user, before anything is changed on it.

use crate::resp::Reply;
use crate::secret::Secret;
use std::collections::BTreeSet;

/// One node as it is now.
pub(super) struct Look {
    /// Where it is, in words.
    pub node: String,
    /// `redis` or `valkey`.
    pub engine: String,
    /// The server's id of this run: two addresses with the same one are the same server.
    pub run_id: String,
    /// It is reading its data in.
    pub loading: bool,
    /// It is a replica without a link to its master.
    pub is_cut_off: bool,
    /// It is part of a cluster.
    pub in_cluster: bool,
    /// It was started from a file that it can rewrite.
    pub has_config_file: bool,
    /// Its users live in a file of their own.
    pub has_acl_file: bool,
    /// The user; `None` where the server has no users (before Redis 6), but one password.
    pub user: Option<User>,
    /// The server's one password as it was configured; users of an ACL may differ from it since.
    pub requirepass: Option<Secret>,
    /// The password with which it logs in to its master.
    pub masterauth: Option<Secret>,
    /// The user that it is there; empty: the default user.
    pub masteruser: String,
}

/// One ACL user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct User {
    /// It may log in.
    pub on: bool,
    /// It logs in with any password.
    pub nopass: bool,
    /// The SHA-256 of each of its passwords, in hex.
    pub hashes: BTreeSet<String>,
}

impl User {
    /// Out of the reply to `ACL GETUSER` (a list of names and values, in every version from 6.0 on); `None` where there is no such user, or the reply
    /// is another one.
    pub(super) fn read(reply: &Reply) -> Option<Self> {
        let flags: Vec<&str> = reply.value("flags")?.parts().iter().filter_map(Reply::text).collect();
        let hashes = reply.value("passwords")?.parts().iter();
        Some(Self {
            on: flags.contains(&"on"),
            nopass: flags.contains(&"nopass"),
            hashes: hashes.map(|hash| hash.text().map(str::to_owned)).collect::<Option<_>>()?,
        })
    }
}

/// The value of a field of `INFO`.
pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
}

/// The SHA-256 of a password in hex, as an ACL holds it.
pub(super) fn hash(password: &Secret) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(password.expose().as_bytes()))
}
