//! TencentDB for Redis: one account and region of Tencent Cloud (API version 2018-04-12).
//!
//! **Which call changes what.** Every instance has the account `root`; engines after Redis 2.8 may have custom accounts beside it.
//!
//! - `old-password` is ModifyInstancePassword: `root` only, and the only call that compares the old password first.
//! - `reset` is ResetPassword: `root` only.
//! - `account` is ModifyInstanceAccount: custom accounts, and `root` where its owner chooses it.
//!
//! A reset (what `recovery` allows) is the same call again where the mode is `account`, and ResetPassword elsewhere.
//!
//! **What is evidence.** Every change names a task. One of ModifyInstanceAccount counts as done once the account itself is settled; the vendor's Terraform
//! provider waits for that, too.

mod accounts;
mod answer;
mod call;
mod change;
mod check;
mod codes;
pub mod credentials;
mod endpoint;
mod find;
mod store;
mod tasks;
mod wire;

pub use endpoint::Site;
pub use store::store;

use self::call::Caller;
use self::change::refuse_account;
pub use self::wire::DEFAULT_ACCOUNT;
use super::credential::CredentialSource;
use super::outcome::{Failed, Verdict, helpful, without_credential};
use super::traffic::Traffic;
use super::{Abilities, Address, Condition, Found, Instance, InstancePolicy, Mode, Now, Provider};
use crate::fault::{Fault, Kind, scrub};
use crate::http::Client;
use crate::moment::Moment;
use crate::name::{RotationId, TaskId};
use crate::pacer::{Pacers, QUOTA_LIMIT};
use crate::rotation::answer::{Answer, Refusal, TaskStatus};
use crate::secret::Secret;
use async_trait::async_trait;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use url::Url;

/// How far our clock may be from the cloud's (vendor document "Signature method v3").
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);
const CORRECTED: &str = "ModifyInstancePassword";
const MISSPELT: &str = "ModfiyInstancePassword";

/// Under which name the cloud's action is called. The first one ever published was misspelt, and old endpoints know no other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActionSpelling {
    /// `ModifyInstancePassword`, and `ModfiyInstancePassword` where that is unknown; what works is remembered.
    #[default]
    Auto,
    /// `ModifyInstancePassword` only.
    Corrected,
    /// `ModfiyInstancePassword` only.
    Misspelt,
}

/// What makes a provider.
#[derive(Debug, Clone)]
pub struct TencentSettings {
    /// The region id, such as `ap-guangzhou`.
    pub region: String,
    /// The site the account belongs to.
    pub site: Site,
    /// Use the region's own host instead of the nearest one (China site).
    pub regional: bool,
    /// A host that wins over the three above.
    pub endpoint: Option<Url>,
    /// Requests per second and action.
    pub quota: f64,
    /// Under which name the change is called.
    pub action_spelling: ActionSpelling,
    /// The zone in which the cloud writes a task's times; the vendor does not say, China's is likely.
    pub time_zone: Tz,
    /// How long one request may take in all.
    pub timeout: Duration,
    /// Certificates (PEM) to trust instead of the machine's.
    pub ca_file: Option<PathBuf>,
}

impl TencentSettings {
    /// The settings for a region where nothing else is configured. 20 requests per second and action is the vendor's published limit.
    #[must_use]
    pub fn of(region: String) -> Self {
        Self {
            region,
            site: Site::default(),
            regional: false,
            endpoint: None,
            quota: 20.0,
            action_spelling: ActionSpelling::default(),
            time_zone: Tz::Asia__Shanghai,
            timeout: crate::http::TIMEOUT,
            ca_file: None,
        }
    }
}

/// One account and region of Tencent Cloud.
pub struct Tencent {
    caller: Caller,
    spelling: ActionSpelling,
    zone: Tz,
    /// The corrected name was unknown and the misspelt one was not.
    misspelt_works: AtomicBool,
    /// This endpoint is older than password policies.
    policy_absent: AtomicBool,
}

impl Tencent {
    /// A provider with these settings. `now` is the machine's clock.
    ///
    /// # Errors
    /// `ConfigInvalid` where no endpoint, quota or TLS client can be made of the settings.
    pub fn new(settings: TencentSettings, credentials: Arc<dyn CredentialSource>, now: Now) -> Result<Self, Fault> {
        if !(settings.quota > 0.0 && settings.quota <= QUOTA_LIMIT) {
            return Err(Fault::new(
                Kind::ConfigInvalid,
                format!("The quota {} is not above 0 and at most {QUOTA_LIMIT}", settings.quota),
            ));
        }
        let endpoint = endpoint::endpoint(
            wire::PRODUCT.service,
            &settings.region,
            settings.site,
            settings.regional,
            settings.endpoint.as_ref(),
        )?;
        let reach = crate::http::Settings { timeout: settings.timeout, ca_file: settings.ca_file };
        Ok(Self {
            caller: Caller {
                product: wire::PRODUCT,
                client: Client::new(endpoint, &reach)?,
                region: settings.region,
                pacers: Pacers::new(settings.quota),
                credentials,
                now,
                clock_gap: Mutex::new(None),
            },
            spelling: settings.action_spelling,
            zone: settings.time_zone,
            misspelt_works: AtomicBool::new(false),
            policy_absent: AtomicBool::new(false),
        })
    }

    /// Which evidence Tencent Cloud offers for this address: all of it, or nothing where no call of this mode serves the account.
    pub fn abilities_of(address: &Address) -> Abilities {
        let served = serves(address);
        Abilities {
            task_status: served,
            task_list: served,
            change_mark: served,
            reset: served,
            each_node: false,
            asks_old: match address.mode {
                Mode::OldPassword => true,
                Mode::Reset | Mode::Account | Mode::Add => false,
            },
        }
    }

    /// The names to try, in order.
    fn spellings(&self) -> &'static [&'static str] {
        match self.spelling {
            ActionSpelling::Corrected => &[CORRECTED],
            ActionSpelling::Misspelt => &[MISSPELT],
            ActionSpelling::Auto if self.misspelt_works.load(Ordering::Relaxed) => &[MISSPELT, CORRECTED],
            ActionSpelling::Auto => &[CORRECTED, MISSPELT],
        }
    }

    async fn instance_row(&self, instance: &str) -> Result<wire::InstanceRow, Failed> {
        let found: wire::Instances =
            self.read("DescribeInstances", &wire::OfInstance { instance_id: instance }).await?;
        found.instance_set.into_iter().find(|row| row.instance_id == instance).ok_or_else(|| {
            not_found(format!("Tencent DescribeInstances knows no instance {instance} in {}", self.caller.region))
        })
    }

    /// The instance's own password policy; `None` where there is none, or none is known here.
    async fn password_policy(&self, instance: &str) -> Result<Option<InstancePolicy>, Failed> {
        if self.policy_absent.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let request = wire::OfInstance { instance_id: instance };
        let found: Result<wire::Policies, Failed> = self.read("DescribeInstancePasswordPolicy", &request).await;
        match found {
            Ok(found) => Ok(found.policy()),
            Err(Failed::Spoken(Verdict::NoSuchAction, _)) => {
                self.policy_absent.store(true, Ordering::Relaxed);
                Ok(None)
            }
            Err(Failed::Spoken(verdict, _)) if verdict.kind() == Kind::Unsupported => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    async fn task_info(&self, task: TaskId) -> Result<tasks::TaskInfo, Failed> {
        self.read("DescribeTaskInfo", &tasks::OfTask { task_id: task.0 }).await
    }

    async fn task_list(&self, address: &Address, from: Moment, to: Moment) -> Result<tasks::Tasks, Failed> {
        let request = tasks::OfTasks::between(address, from, to, self.zone);
        self.read("DescribeTaskList", &request).await
    }
}

#[async_trait]
impl Provider for Tencent {
    fn abilities(&self, address: &Address) -> Abilities {
        Self::abilities_of(address)
    }

    async fn inspect(&self, address: &Address) -> Result<Instance, Fault> {
        let row = self.instance_row(&address.instance).await.map_err(Failed::fault)?;
        let mut instance = Instance {
            condition: row.condition(),
            change_mark: None,
            password_policy: None,
            engine: row.engine().to_owned(),
        };
        if instance.condition == Condition::Ready {
            instance.condition = unsupported(address, &row).map_or(Condition::Ready, Condition::Unsupported);
        }
        if instance.condition != Condition::Ready {
            return Ok(instance);
        }
        let (account, policy) =
            futures_util::future::join(self.known_account(address), self.password_policy(&address.instance)).await;
        if let Some(account) = account? {
            instance.change_mark = account.change_mark();
            instance.condition = match address.mode {
                Mode::Account => account.condition(),
                Mode::OldPassword | Mode::Reset | Mode::Add if account.changing() => {
                    Condition::Busy("a change of this account is under way".to_owned())
                }
                Mode::OldPassword | Mode::Reset | Mode::Add => Condition::Ready,
            };
        }
        // It helps and is not needed: whatever is wrong with it is a finding of `check`, and a rule that a password breaks shows at the call.
        instance.password_policy = helpful(policy)?;
        Ok(instance)
    }

    async fn change(&self, address: &Address, rotation: RotationId, old: Option<&Secret>, new: &Secret) -> Answer {
        match address.mode {
            _ if !serves(address) => refuse_account(address),
            Mode::Add => refuse_account(address),
            Mode::OldPassword => self.modify(address, rotation, old, new).await,
            Mode::Reset => self.reset_password(address, rotation, new).await,
            Mode::Account => self.modify_account(address, rotation, new).await,
        }
    }

    async fn reset(&self, address: &Address, rotation: RotationId, new: &Secret) -> Answer {
        match address.mode {
            _ if !serves(address) => refuse_account(address),
            Mode::Add => refuse_account(address),
            Mode::OldPassword | Mode::Reset => self.reset_password(address, rotation, new).await,
            Mode::Account => self.modify_account(address, rotation, new).await,
        }
    }

    async fn find(&self, tags: &BTreeMap<String, String>) -> Result<Vec<Found>, Fault> {
        self.tagged(tags).await
    }

    async fn task(&self, address: &Address, task: TaskId) -> Result<TaskStatus, Fault> {
        let info = self.task_info(task).await.map_err(Failed::fault)?;
        let credential = self.caller.credentials.credential().await.map_err(without_credential)?;
        let status = info.status(|words| {
            let mut secrets = vec![&credential.key];
            secrets.extend(&credential.token);
            scrub(words, &secrets)
        })?;
        match (address.mode, &status) {
            (Mode::Account, TaskStatus::Succeeded) => self.once_settled(address, task).await,
            (Mode::OldPassword | Mode::Reset | Mode::Add, TaskStatus::Succeeded)
            | (_, TaskStatus::Running | TaskStatus::Failed { .. }) => Ok(status),
        }
    }

    async fn find_task(
        &self,
        address: &Address,
        from: Moment,
        to: Moment,
    ) -> Result<Option<(TaskId, TaskStatus)>, Fault> {
        let (from, to) = (from - CLOCK_TOLERANCE, to + CLOCK_TOLERANCE);
        let tasks = self.task_list(address, from, to).await.map_err(Failed::fault)?;
        match tasks.ours(address, from, to, self.zone)? {
            Some(task) if task.account_since.is_some() => {
                let account = self.account(address).await.map_err(Failed::fault)?;
                task.if_about(&account).map(Some)
            }
            found => Ok(found.map(|task| (task.id, task.status))),
        }
    }

    async fn change_mark(&self, address: &Address) -> Result<Option<String>, Fault> {
        let row = self.account_row(address).await.map_err(Failed::fault)?;
        Ok(row.and_then(|row| row.change_mark()))
    }

    async fn check(&self, address: &Address) -> Vec<Fault> {
        self.findings(address).await
    }

    fn traffic(&self) -> Option<Traffic> {
        Some(Traffic::of(&self.caller.pacers, &*self.caller.credentials))
    }

    async fn worries(&self) -> Vec<Fault> {
        self.cautions().await
    }
}

/// Whether the mode's call serves this account.
fn serves(address: &Address) -> bool {
    match address.mode {
        Mode::OldPassword | Mode::Reset => address.account == DEFAULT_ACCOUNT,
        Mode::Add => false,
        Mode::Account => true,
    }
}

fn unserved(address: &Address) -> String {
    format!("this call changes the account {DEFAULT_ACCOUNT} only, not {}", address.account)
}

/// Why this account of this instance cannot be changed by this mode's call, if it cannot.
fn unsupported(address: &Address, row: &wire::InstanceRow) -> Option<String> {
    match address.mode {
        _ if !serves(address) => Some(unserved(address)),
        Mode::Account if !row.has_accounts() => Some(format!(
            "Redis 2.8 knows no accounts: its password is changed as {DEFAULT_ACCOUNT}, with mode = \"old-password\" or \"reset\""
        )),
        Mode::OldPassword | Mode::Reset | Mode::Add | Mode::Account => None,
    }
}

fn not_found(what: String) -> Failed {
    let kind = Kind::NotFound;
    Failed::Spoken(Verdict::Refused(Refusal::Fatal, kind), Fault::new(kind, what))
}
