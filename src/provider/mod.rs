//! The joint to a cloud: one account and region, asked to change passwords and to tell what it knows.

pub mod alibaba;
pub mod credential;
mod endpoint;
mod finding;
mod listing;
mod outcome;
pub mod redis_acl;
pub mod tencent;
pub mod traffic;

use crate::fault::{Fault, Kind};
use crate::moment::{Moment, show_span};
use crate::name::{RotationId, TaskId};
use crate::password::Extra;
use crate::rotation::answer::{Answer, Refusal, TaskStatus};
pub use crate::rotation::plan::Abilities;
use crate::secret::Secret;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Which credential of which instance a target names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Address {
    /// The cloud's id of the instance, such as `crs-5a4py64p`.
    pub instance: String,
    /// The account on it. The default account is `root` at Tencent, and has the instance's id for its name at Alibaba.
    pub account: String,
    /// By which call its password is changed.
    #[serde(default)]
    pub mode: Mode,
}

/// By which call an account's password is changed, where the cloud has several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// By the call that takes the old password and compares it: an outsider's change is noticed and never overwritten.
    #[default]
    OldPassword,
    /// By an administrator's reset, which asks for no old password.
    Reset,
    /// By adding it beside the passwords that are there (an ACL user of Redis); the one before it is taken away later ([`Provider::retire`]).
    Add,
    /// By the call that edits an account (Tencent `ModifyInstanceAccount`), which asks for no old password either.
    Account,
}

/// An instance that carries the tags somebody looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The cloud's id of it.
    pub instance: String,
    /// The name its owner gave it, scrubbed; may be empty.
    pub name: String,
    /// Where clients connect, if the cloud says so: host and port.
    pub endpoint: Option<(String, u16)>,
    /// All its tags.
    pub tags: BTreeMap<String, String>,
    /// Why its password cannot be changed at all (isolated, not Redis, too old), whatever one waits for.
    pub unfit: Option<String>,
}

/// What the cloud says about an instance before a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Whether a change may be asked for now.
    pub condition: Condition,
    /// The account's change mark (an opaque vendor text; it differs after the password changed). `None` where the cloud has none.
    pub change_mark: Option<String>,
    /// The instance's own password policy, where it has one.
    pub password_policy: Option<InstancePolicy>,
    /// The engine's family, for the vendor profile of the password.
    pub engine: String,
}

/// A connection to an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The node.
    pub node: String,
    /// Its own address.
    pub from: String,
    /// What it calls itself.
    pub name: Option<String>,
    /// For how long.
    pub connected_for: Duration,
}

impl fmt::Display for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(out, "{name} at ")?;
        }
        write!(out, "{} ({}, connected for {})", self.from, self.node, show_span(self.connected_for))
    }
}

/// Whether an instance can have its password changed now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Running, with password login.
    Ready,
    /// Not now; it passes by itself (a flow is running, being initialised, flushing …).
    Busy(String),
    /// Isolated, released, expired: a person must act.
    Gone(String),
    /// Logins need no password: keywheel refuses to switch authentication on.
    PasswordFree,
    /// An engine or account this call cannot serve.
    Unsupported(String),
}

/// A password policy that the instance itself enforces (Tencent `DescribeInstancePasswordPolicy`). Counts are minima.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstancePolicy {
    /// Letters of either case.
    pub letters: u32,
    /// Digits.
    pub digits: u32,
    /// Special characters.
    pub specials: u32,
    /// Characters in all.
    pub length: u32,
}

impl From<InstancePolicy> for Extra {
    fn from(InstancePolicy { letters, digits, specials, length }: InstancePolicy) -> Self {
        Self { letters, digits, specials, length }
    }
}

/// What tells the time.
pub type Now = Arc<dyn Fn() -> Moment + Send + Sync>;

/// One cloud account and region.
///
/// Duties: sign and send, honour the provider's quota (a FIFO turn per action), read the answer through one function, scrub vendor text.
/// Every wait is bounded: a call returns within the provider's request timeout plus its place in the queue. A *write* (`change`, `reset`)
/// is sent at most once per call of the method, except where the cloud certainly did not act on the first sending (unknown action name, stale
/// signature, parameters it did not find); whatever else happens is [`Answer::Unanswered`]. Dropping a future mid-way counts as unanswered too.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Which evidence this provider offers for this address.
    fn abilities(&self, address: &Address) -> Abilities;

    /// Looks at the instance and account. Changes nothing.
    ///
    /// # Errors
    /// A fault whose `retry` says whether to ask again; `NotFound`, `Denied` and the like need a person.
    async fn inspect(&self, address: &Address) -> Result<Instance, Fault>;

    /// Asks the cloud to change the password from `old` to `new`, by the call that the address's mode names. Both are already in the ledger. `old` is
    /// `None` only where [`Abilities::asks_old`] is false and no old password is known.
    async fn change(&self, address: &Address, rotation: RotationId, old: Option<&Secret>, new: &Secret) -> Answer;

    /// Asks the cloud to set the password to `new` whatever it is now.
    async fn reset(&self, address: &Address, rotation: RotationId, new: &Secret) -> Answer;

    /// Takes `old` away from an account that has two passwords (strategy `overlap`), on every node and durably; `current` stays. Doing it again
    /// succeeds. Only asked of providers whose change adds a password.
    ///
    /// # Errors
    /// Any fault means "not everywhere, or not known": it is asked again.
    async fn retire(&self, address: &Address, _old: &Secret, _current: &Secret) -> Result<(), Fault> {
        Err(Fault::new(Kind::Unsupported, format!("{} has one password at a time", address.account)))
    }

    /// Who is connected as the account now, as far as the provider can tell: nobody, where it cannot. `current` may open the list where an account
    /// administers itself.
    ///
    /// # Errors
    /// Any fault means that it is not known.
    async fn clients(&self, _address: &Address, _current: &Secret) -> Result<Vec<Client>, Fault> {
        Ok(Vec::new())
    }

    /// Each place where the account logs in on its own, such as `redis://10.0.0.12:6379`, by the newest knowledge: the nodes of a cluster or
    /// replica set, which do not tell one another of a changed password. `tried` is the password about to be tried there; where an account
    /// administers itself, it may open the list.
    ///
    /// # Errors
    /// Any fault means "no evidence this time"; `Unsupported` where one login speaks for the whole instance.
    async fn nodes(&self, address: &Address, _tried: &Secret) -> Result<Vec<String>, Fault> {
        let what = format!("{} is one place, and its nodes are not asked one by one", address.instance);
        Err(Fault::new(Kind::Unsupported, what))
    }

    /// Every instance of this account and region that carries all of these tags, page by page.
    ///
    /// # Errors
    /// A fault whose `retry` says whether to ask again; `Unsupported` where instances cannot be listed. Never a part of the list.
    async fn find(&self, _tags: &BTreeMap<String, String>) -> Result<Vec<Found>, Fault> {
        Err(Fault::new(Kind::Unsupported, "this kind of provider cannot list its instances"))
    }

    /// The state of a task that an accepted change of this address named. Where the cloud keeps a status of the account too, a task counts as succeeded once
    /// the account is settled.
    ///
    /// # Errors
    /// Any fault means "no evidence this time".
    async fn task(&self, address: &Address, task: TaskId) -> Result<TaskStatus, Fault>;

    /// Our task, looked for among the instance's password tasks that began between the two moments; the newest if several. The provider widens the
    /// window by the clock difference it tolerates.
    ///
    /// # Errors
    /// Any fault means "no evidence this time".
    async fn find_task(
        &self,
        address: &Address,
        from: Moment,
        to: Moment,
    ) -> Result<Option<(TaskId, TaskStatus)>, Fault>;

    /// The account's change mark now.
    ///
    /// # Errors
    /// Any fault means "no evidence this time".
    async fn change_mark(&self, address: &Address) -> Result<Option<String>, Fault>;

    /// Everything that could fail, tried without changing anything: credentials, clock, each permission that can be tried by reading.
    /// Every finding at once; empty when all is well.
    async fn check(&self, address: &Address) -> Vec<Fault>;

    /// The same where passwords are known that may be live, the newest first: where an account administers itself, they open what nothing else does.
    async fn check_with(&self, address: &Address, _known: &[&Secret]) -> Vec<Fault> {
        self.check(address).await
    }

    /// What its calls came to; `None` where there is no quota to keep to, as with nodes of one's own.
    fn traffic(&self) -> Option<traffic::Traffic> {
        None
    }

    /// What works now and will fail some day unless somebody acts, such as a credential that ends and that nothing renews.
    async fn worries(&self) -> Vec<Fault> {
        Vec::new()
    }
}

/// The answer where a change that compares the old password was asked for without one.
fn without_old(address: &Address) -> Answer {
    let what = format!("the old password of {} is not known, and this call compares it", address.account);
    let fault = Fault::new(Kind::OldPasswordWrong, what);
    Answer::Refused { refusal: Refusal::Fatal, fault }
}
