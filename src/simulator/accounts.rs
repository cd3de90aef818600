//! Accounts beside an instance's default one, and what an account may do.

use super::settings::secret;
use crate::secret::Secret;
use serde::Deserialize;

/// An account beside the default one.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AccountSettings {
    /// Its name.
    pub name: String,
    /// The password that works today.
    #[serde(deserialize_with = "secret")]
    pub password: Secret,
    /// `Privilege` as Tencent's DescribeInstanceAccount shows it: `r`, `w` or `rw`.
    #[serde(default = "read_and_write")]
    pub privilege: String,
    /// `ReadonlyPolicy` likewise: `master`, `replication` or both.
    #[serde(default = "the_master")]
    pub readonly_policy: Vec<String>,
}

impl AccountSettings {
    /// An account that may read and write, on the master.
    pub fn new(name: &str, password: &str) -> Self {
        Self {
            name: name.to_owned(),
            password: Secret::new(password.to_owned()),
            privilege: read_and_write(),
            readonly_policy: the_master(),
        }
    }

    pub(super) fn rights(&self) -> Rights {
        Rights { privilege: self.privilege.clone(), readonly_policy: self.readonly_policy.clone(), changed: 0 }
    }
}

/// What an account may do and where its reads go, and how often somebody changed that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// `Privilege`.
    pub privilege: String,
    /// `ReadonlyPolicy`.
    pub readonly_policy: Vec<String>,
    /// How many calls left it otherwise than they found it.
    pub changed: u64,
}

impl Rights {
    /// Those of a default account (Tencent document "Managing Account").
    pub(super) fn of_default_account() -> Self {
        Self { privilege: read_and_write(), readonly_policy: the_master(), changed: 0 }
    }

    /// What an edit leaves.
    pub(super) fn edit(&mut self, edit: &Edit) {
        let privilege = edit.privilege.clone().unwrap_or_else(|| self.privilege.clone());
        let readonly_policy = edit.readonly_policy.clone().unwrap_or_else(|| self.readonly_policy.clone());
        let differs = privilege != self.privilege || readonly_policy != self.readonly_policy;
        *self = Self { privilege, readonly_policy, changed: self.changed + u64::from(differs) };
    }
}

/// What a call that edits an account sends beside a password; what is absent stays.
#[derive(Debug, Clone, Default)]
pub(super) struct Edit {
    pub(super) privilege: Option<String>,
    pub(super) readonly_policy: Option<Vec<String>>,
    /// The call sends no password at all.
    pub(super) keeps_password: bool,
}

fn read_and_write() -> String {
    "rw".to_owned()
}

fn the_master() -> Vec<String> {
    vec!["master".to_owned()]
}
