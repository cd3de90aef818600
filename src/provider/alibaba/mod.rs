//! Tair and ApsaraDB for Redis: one account and region of Alibaba Cloud (r-kvstore, API version 2015-01-01).
//!
//! **Which call changes what.** Every instance has a default account named like the instance's id, and from engine 6.0 on a second one named
//! `default`; people log in to both with the password alone. Others are standard accounts.
//!
//! - `change` is ModifyAccountPassword for all of them, since it is the only call that compares the old password first. The vendor's page
//!   names any account that DescribeAccounts lists. That it serves the default account is UNCONFIRMED; where it does not, the rotation halts
//!   before anything changed and says so.
//! - `reset` is ModifyInstanceAttribute for the account that is named like the instance, the way the vendor's own Terraform provider sets an
//!   instance's password, and ResetAccountPassword for every other one. The former names no account, so for `default` it would change the
//!   password of somebody else's account; that the latter serves `default` is UNCONFIRMED, and where it does not, nothing changes. Neither
//!   compares anything, so neither stands in for a `change` unless the owner chose `mode = "reset"`.
//!
//! **What is evidence.** No call names a task, and no field says when a password changed. An account's or instance's status reads as settled
//! before a change begins as well as after it, so only a login proves one: targets need a login route.

mod answer;
mod call;
mod check;
mod codes;
pub mod credentials;
mod endpoint;
mod find;
mod store;
mod wire;

pub use endpoint::Network;
pub use store::store;

use self::call::Caller;
use self::wire::Request;
use super::credential::CredentialSource;
use super::outcome::{Failed, Verdict, permitted};
use super::traffic::Traffic;
use super::{Abilities, Address, Condition, Found, Instance, Mode, Now, Provider, without_old};
use crate::fault::{Fault, Kind};
use crate::http::Client;
use crate::moment::Moment;
use crate::name::{RotationId, TaskId};
use crate::pacer::{Pacers, QUOTA_LIMIT};
use crate::rotation::answer::{Answer, Call, Refusal, TaskStatus};
use crate::secret::Secret;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use url::Url;

/// How far our clock may be from the cloud's (vendor's error table of the API gateway, `InvalidTimeStamp.Expired`).
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(900);
/// The name of the second default account (engine 6.0 and newer).
const SECOND_DEFAULT: &str = "default";

/// Where the parameters of a call stand. The vendor's metadata says "query" for all of them and its SDKs obey, passwords included; its Terraform
/// provider uses the body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ParametersIn {
    /// In the body, and in the query where the endpoint says that a parameter is missing; what works is remembered.
    Auto,
    /// In the body only: no proxy on the way ever sees a password in a URL.
    #[default]
    Body,
    /// In the query only.
    Query,
}

/// What makes a provider.
#[derive(Debug, Clone)]
pub struct AlibabaSettings {
    /// The region id, such as `cn-hangzhou`.
    pub region: String,
    /// From where the cloud is reached.
    pub network: Network,
    /// A host that wins over the two above.
    pub endpoint: Option<Url>,
    /// Where the parameters of a call stand.
    pub parameters_in: ParametersIn,
    /// Requests per second and action.
    pub quota: f64,
    /// How long one request may take in all.
    pub timeout: Duration,
    /// Certificates (PEM) to trust instead of the machine's.
    pub ca_file: Option<PathBuf>,
}

impl AlibabaSettings {
    /// The settings for a region where nothing else is configured. The vendor publishes no limit for this product; 20 requests per second and
    /// action is our choice, and the pacer slows down where that is too much.
    #[must_use]
    pub fn of(region: String) -> Self {
        Self {
            region,
            network: Network::default(),
            endpoint: None,
            parameters_in: ParametersIn::default(),
            quota: 20.0,
            timeout: crate::http::TIMEOUT,
            ca_file: None,
        }
    }
}

/// What draws the bits of a nonce: never the same twice.
pub type Nonces = Arc<dyn Fn() -> u128 + Send + Sync>;

/// One account and region of Alibaba Cloud.
pub struct Alibaba {
    caller: Caller,
    region: String,
}

/// Whether this is one of the default accounts, whose password alone is a login.
pub fn is_default(instance: &str, account: &str) -> bool {
    account == instance || account == SECOND_DEFAULT
}

impl Alibaba {
    /// A provider with these settings. `now` is the machine's clock, `nonces` a generator that nobody can guess.
    ///
    /// # Errors
    /// `ConfigInvalid` where no endpoint, quota or TLS client can be made of the settings.
    pub fn new(
        settings: AlibabaSettings,
        credentials: Arc<dyn CredentialSource>,
        now: Now,
        nonces: Nonces,
    ) -> Result<Self, Fault> {
        if !(settings.quota > 0.0 && settings.quota <= QUOTA_LIMIT) {
            return Err(Fault::new(
                Kind::ConfigInvalid,
                format!("The quota {} is not above 0 and at most {QUOTA_LIMIT}", settings.quota),
            ));
        }
        let endpoint = endpoint::endpoint(&settings.region, settings.network, settings.endpoint.as_ref())?;
        let reach = crate::http::Settings { timeout: settings.timeout, ca_file: settings.ca_file };
        let caller = Caller {
            client: Client::new(endpoint, &reach)?,
            pacers: Pacers::new(settings.quota),
            parameters_in: settings.parameters_in,
            credentials,
            now,
            nonces,
            query_works: AtomicBool::new(false),
            clock_gap: Mutex::new(None),
        };
        Ok(Self { caller, region: settings.region })
    }

    /// Which evidence Alibaba Cloud offers, for every address: none of its own, and a reset.
    #[must_use]
    pub const fn abilities_of(address: &Address) -> Abilities {
        let asks_old = match address.mode {
            Mode::OldPassword => true,
            Mode::Reset | Mode::Account | Mode::Add => false,
        };
        Abilities { task_status: false, task_list: false, change_mark: false, reset: true, each_node: false, asks_old }
    }

    async fn instance_row(&self, instance: &str) -> Result<wire::InstanceRow, Failed> {
        let found: wire::Instances = self.read(Request::DescribeInstanceAttribute { instance }).await?;
        found.of(instance).ok_or_else(|| {
            let what = format!("Alibaba DescribeInstanceAttribute knows no instance {instance} in {}", self.region);
            not_found(what)
        })
    }

    /// The account's row. The vendor does not say that default accounts are always listed, so one of them may have none.
    async fn account_row(&self, address: &Address) -> Result<Option<wire::AccountRow>, Failed> {
        let Address { instance, account, mode: _ } = address;
        let found: wire::Accounts = self.read(Request::DescribeAccounts { instance, account }).await?;
        match found.of(account) {
            None if !is_default(instance, account) => {
                Err(not_found(format!("Alibaba DescribeAccounts knows no account {account} on {instance}")))
            }
            row => Ok(row),
        }
    }
}

fn not_found(what: String) -> Failed {
    let kind = Kind::NotFound;
    Failed::Spoken(Verdict::Refused(Refusal::Fatal, kind), Fault::new(kind, what))
}

#[async_trait]
impl Provider for Alibaba {
    fn abilities(&self, address: &Address) -> Abilities {
        Self::abilities_of(address)
    }

    async fn inspect(&self, address: &Address) -> Result<Instance, Fault> {
        let row = self.instance_row(&address.instance).await.map_err(Failed::fault)?;
        let mut condition = row.condition();
        if condition == Condition::Ready {
            // It helps and is not needed: a missing permission costs a finding of `check`, not the rotation.
            let account = permitted(self.account_row(address).await)?;
            if account.is_some_and(|account| account.changing()) {
                condition = Condition::Busy("a change of this account is under way".to_owned());
            }
        }
        Ok(Instance { condition, change_mark: None, password_policy: None, engine: "redis".to_owned() })
    }

    async fn change(&self, address: &Address, rotation: RotationId, old: Option<&Secret>, new: &Secret) -> Answer {
        let Address { instance, account, mode } = address;
        match mode {
            Mode::OldPassword => {}
            Mode::Reset => return self.reset(address, rotation, new).await,
            Mode::Account | Mode::Add => {
                let what = "Alibaba Cloud has no call that edits a whole account or adds a password to it";
                return Answer::Refused { refusal: Refusal::Fatal, fault: Fault::new(Kind::Unsupported, what) };
            }
        }
        let Some(old) = old else { return without_old(address) };
        let request = Request::ModifyAccountPassword { instance, account, old: old.expose(), new: new.expose() };
        match self.write(request, rotation, &[old, new]).await {
            Ok(wire::Accepted {}) => Answer::Accepted { task: None },
            Err(Failed::Spoken(verdict @ Verdict::Refused(Refusal::Fatal, kind), fault))
                if is_default(instance, account) && matches!(kind, Kind::NotFound | Kind::Misconfigured) =>
            {
                let advice = "check instance and region; if they are right, this call does not serve the default account: rotate a standard account instead";
                Failed::Spoken(verdict, fault.advise(advice)).answer(Call::Modify)
            }
            Err(failed) => failed.answer(Call::Modify),
        }
    }

    async fn reset(&self, address: &Address, rotation: RotationId, new: &Secret) -> Answer {
        let Address { instance, account, mode: _ } = address;
        // Only the account that this call means may be changed by it; the second default account is another one.
        let request = if account == instance {
            Request::ModifyInstanceAttribute { instance, new: new.expose() }
        } else {
            Request::ResetAccountPassword { instance, account, new: new.expose() }
        };
        match self.write(request, rotation, &[new]).await {
            Ok(wire::Accepted {}) => Answer::Accepted { task: None },
            Err(failed) => failed.answer(Call::Reset),
        }
    }

    async fn find(&self, tags: &BTreeMap<String, String>) -> Result<Vec<Found>, Fault> {
        self.tagged(tags).await
    }

    async fn task(&self, _address: &Address, task: TaskId) -> Result<TaskStatus, Fault> {
        Err(Fault::new(
            Kind::Unsupported,
            format!("Alibaba Cloud names no task for a change of a password, so {task} is none of its"),
        ))
    }

    async fn find_task(
        &self,
        _address: &Address,
        _from: Moment,
        _to: Moment,
    ) -> Result<Option<(TaskId, TaskStatus)>, Fault> {
        Err(Fault::new(Kind::Unsupported, "Alibaba Cloud lists no task for a change of a password"))
    }

    async fn change_mark(&self, _address: &Address) -> Result<Option<String>, Fault> {
        Ok(None)
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
