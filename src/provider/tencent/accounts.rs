//! Accounts: what the cloud says of one, and what a change of its password must send back unchanged.
//!
//! ModifyInstanceAccount edits a whole account: password, privilege and read-only routing. The vendor's page calls the last two optional, its own
//! Terraform provider always sends them and calls them "cannot be empty when modifying". So both are read first and sent back as they are; an account
//! that does not tell them is not changed.
//!
//! The default account is the exception: the page says that its permission cannot be changed, so a privilege sent along might be refused and, left
//! out, has nothing to be reset to. Its routing is sent back like any other.

use super::wire::{DEFAULT_ACCOUNT, PAGE};
use super::{Tencent, not_found};
use crate::fault::{Fault, Kind};
use crate::name::TaskId;
use crate::provider::outcome::{Failed, permitted};
use crate::provider::{Address, Condition, Mode};
use crate::rotation::answer::TaskStatus;
use chrono::NaiveDateTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The most pages of accounts that are looked through for ours.
const ACCOUNT_PAGES: usize = 10;
/// How much earlier than its task an account may have been stamped and still belong to it: the cloud writes whole seconds from several machines.
const STAMP_SLACK: Duration = Duration::from_secs(5);

/// DescribeInstanceAccount.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct OfAccounts<'a> {
    instance_id: &'a str,
    limit: usize,
    offset: usize,
}

/// ModifyInstanceAccount. Left out are EncryptPassword, for which the vendor documents no method, and NoAuth, which would switch
/// authentication off.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ModifyAccount<'a> {
    pub(super) instance_id: &'a str,
    pub(super) account_name: &'a str,
    pub(super) account_password: &'a str,
    pub(super) readonly_policy: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) privilege: Option<&'a str>,
}

/// The answer of DescribeInstanceAccount.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Accounts {
    accounts: Vec<AccountRow>,
    total_count: usize,
}

/// One account of an instance.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AccountRow {
    account_name: String,
    status: Option<i64>,
    privilege: Option<String>,
    readonly_policy: Option<Vec<String>>,
    password_last_modified_time: Option<String>,
}

impl AccountRow {
    /// The time of the last change, as opaque text; none for accounts older than the field.
    pub(super) fn change_mark(&self) -> Option<String> {
        self.password_last_modified_time.clone().filter(|text| !text.trim().is_empty())
    }

    /// Whether a change of this account is under way.
    pub(super) fn changing(&self) -> bool {
        self.status == Some(1)
    }

    /// Whether this account's password may be changed (vendor document "DescribeInstanceAccount", field Status).
    pub(super) fn condition(&self) -> Condition {
        match self.status {
            Some(2) => Condition::Ready,
            Some(1) => Condition::Busy("a change of this account is under way".to_owned()),
            Some(4) => Condition::Gone("the account is deleted".to_owned()),
            Some(other) => Condition::Busy(format!("the account has the unknown status {other}")),
            None => Condition::Busy("the cloud does not tell the account's status".to_owned()),
        }
    }

    /// What a change of the password must send back unchanged.
    ///
    /// # Errors
    /// `Unsupported` where the cloud does not tell it: sent empty or left out, it might be reset.
    pub(super) fn rights(&self) -> Result<Rights<'_>, Fault> {
        let untold = |field: &str| {
            let account = &self.account_name;
            let what =
                format!("Tencent DescribeInstanceAccount tells no {field} of {account}, which a change must send back");
            Fault::new(Kind::Unsupported, what)
                .advise("set the account's permission and read-only routing once in the cloud console, then run `keywheel check`")
        };
        let policy = self.readonly_policy.as_deref().filter(|policy| !policy.is_empty());
        let privilege = self.privilege.as_deref().filter(|privilege| !privilege.is_empty());
        Ok(Rights {
            readonly_policy: policy.ok_or_else(|| untold("ReadonlyPolicy"))?,
            privilege: match self.account_name.as_str() {
                DEFAULT_ACCOUNT => None,
                _ => Some(privilege.ok_or_else(|| untold("Privilege"))?),
            },
        })
    }

    /// Whether the password was set by a task that began then, by the cloud's own times; `None` where it tells none that can be read.
    pub(super) fn was_set_since(&self, began: NaiveDateTime) -> Option<bool> {
        let set = super::tasks::local_time(self.password_last_modified_time.as_deref()?)?;
        Some(set + STAMP_SLACK >= began)
    }
}

/// What an account may do, and where its reads go.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rights<'a> {
    pub(super) readonly_policy: &'a [String],
    pub(super) privilege: Option<&'a str>,
}

impl Tencent {
    /// The account's row; `None` where the engine is older than accounts or has no such account.
    pub(super) async fn account_row(&self, address: &Address) -> Result<Option<AccountRow>, Failed> {
        match self.listed(address).await {
            Err(Failed::Spoken(verdict, _)) if verdict.kind() == Kind::Unsupported => Ok(None),
            found => found,
        }
    }

    /// The same where there must be one.
    pub(super) async fn account(&self, address: &Address) -> Result<AccountRow, Failed> {
        let Address { instance, account, mode: _ } = address;
        let found = self.listed(address).await?;
        found.ok_or_else(|| {
            not_found(format!("Tencent DescribeInstanceAccount knows no account {account} on {instance}"))
        })
    }

    /// The account as far as its mode's call needs it: there must be one for ModifyInstanceAccount, which sends parts of it back. Elsewhere it only
    /// helps, and a missing permission costs evidence or a finding of `check`, not the rotation.
    pub(super) async fn known_account(&self, address: &Address) -> Result<Option<AccountRow>, Fault> {
        match address.mode {
            Mode::Account => self.account(address).await.map(Some).map_err(Failed::fault),
            Mode::OldPassword | Mode::Reset | Mode::Add => permitted(self.account_row(address).await),
        }
    }

    /// What a succeeded task of this account counts for: success once the account reads as settled, and not yet before.
    pub(super) async fn once_settled(&self, address: &Address, task: TaskId) -> Result<TaskStatus, Fault> {
        match self.account(address).await.map_err(Failed::fault)?.condition() {
            Condition::Ready => Ok(TaskStatus::Succeeded),
            Condition::Busy(_) => Ok(TaskStatus::Running),
            Condition::Gone(why) | Condition::Unsupported(why) => Err(Fault::new(
                Kind::Gone,
                format!("task {task} succeeded, but on {} {}: {why}", address.instance, address.account),
            )),
            Condition::PasswordFree => Err(Fault::new(Kind::Bug, "an account cannot be free of passwords")),
        }
    }

    async fn listed(&self, address: &Address) -> Result<Option<AccountRow>, Failed> {
        let Address { instance, account, mode: _ } = address;
        for page in 0..ACCOUNT_PAGES {
            let offset = page * PAGE;
            let request = OfAccounts { instance_id: instance, limit: PAGE, offset };
            let found: Accounts = self.read("DescribeInstanceAccount", &request).await?;
            let last = found.accounts.is_empty() || offset + found.accounts.len() >= found.total_count;
            let ours = found.accounts.into_iter().find(|row| row.account_name == *account);
            if ours.is_some() || last {
                return Ok(ours);
            }
        }
        Ok(None)
    }
}
