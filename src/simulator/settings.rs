//! What a stand-in cloud is told when it starts: readable from TOML or JSON, kebab-case, durations as people write them.

use super::accounts::AccountSettings;
use super::identity::{MetadataSettings, RoleSettings};
use super::script::Step;
use super::tags::Tags;
use crate::secret::Secret;
use serde::{Deserialize, Deserializer};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The whole stand-in cloud.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// Where the API listens. Loopback only; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The region whose instances these are, for Tencent Cloud.
    pub region: String,
    /// The service that must stand in the signature's scope.
    pub service: String,
    /// Who may call, at least one.
    pub credentials: Vec<Credential>,
    /// What there is to change.
    pub instances: Vec<InstanceSettings>,
    /// The request rate of each action.
    pub quota: Quota,
    /// How long a task takes.
    pub task: TaskSettings,
    /// How long a Tencent account still reads as changing after its task has ended.
    #[serde(with = "super::span")]
    pub account_lag: Duration,
    /// Task durations and request ids follow from this number.
    pub seed: u64,
    /// How much this cloud's clock is ahead of the machine's, in milliseconds.
    pub clock_offset_millis: i64,
    /// The zone of time strings, in hours east of UTC. Tencent does not document one; China's is likely.
    pub zone_hours: i32,
    /// Actions that this endpoint has never heard of.
    pub absent_actions: Vec<String>,
    /// Actions that access management denies.
    pub denied_actions: Vec<String>,
    /// The roles that the token services give credentials for.
    pub roles: Vec<RoleSettings>,
    /// The metadata services of the machine.
    pub metadata: MetadataSettings,
    /// What only Alibaba Cloud has.
    pub alibaba: AlibabaSettings,
    /// What goes wrong, call by call.
    pub script: Vec<Step>,
}

/// One API key.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Credential {
    /// `SecretId`, or Alibaba's AccessKeyId.
    pub secret_id: String,
    /// `SecretKey`, or Alibaba's AccessKeySecret.
    #[serde(deserialize_with = "secret")]
    pub secret_key: Secret,
    /// The session token that must come with temporary credentials.
    #[serde(default, deserialize_with = "optional_secret")]
    pub token: Option<Secret>,
}

/// One Redis instance.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct InstanceSettings {
    /// Such as `crs-5a4py64p`.
    pub id: String,
    /// Whose instance it is, and what only that cloud knows of it.
    #[serde(default)]
    pub vendor: Vendor,
    /// The default account's name on Tencent Cloud. Alibaba names it like the instance.
    #[serde(default = "root")]
    pub account: String,
    /// The password that works today.
    #[serde(deserialize_with = "secret")]
    pub password: Secret,
    /// Accounts beside the default one: Tencent's custom accounts, Alibaba's standard accounts.
    #[serde(default)]
    pub accounts: Vec<AccountSettings>,
    /// `Type` as DescribeInstances shows it; decides rules and login texts. Default 15, Redis 6.2.
    #[serde(default = "redis_6")]
    pub engine: i64,
    /// `Status` as DescribeInstances shows it. Default 2, running.
    #[serde(default = "running")]
    pub status: i64,
    /// Whether logins need no password.
    #[serde(default)]
    pub no_auth: bool,
    /// Whether the default account must say `<instance id>:<password>`, and the bare password is refused (Tencent).
    #[serde(default)]
    pub prefix_required: bool,
    /// Leaves `PasswordLastModifiedTime` empty, as for accounts older than that field.
    #[serde(default)]
    pub hide_change_time: bool,
    /// The instance's own password policy.
    #[serde(default)]
    pub password_policy: Option<PasswordPolicy>,
    /// What its owner tagged it with.
    #[serde(default)]
    pub tags: Tags,
    /// What the password opens.
    #[serde(default)]
    pub server: Server,
    /// Proxy nodes that learn of a change late.
    #[serde(default)]
    pub stale_nodes: Option<StaleNodes>,
}

impl InstanceSettings {
    /// A running Redis 6.2 instance with the account `root` and a login listener of its own.
    pub fn new(id: &str, password: &str) -> Self {
        Self {
            id: id.to_owned(),
            vendor: Vendor::Tencent,
            account: root(),
            password: Secret::new(password.to_owned()),
            accounts: Vec::new(),
            engine: redis_6(),
            status: running(),
            no_auth: false,
            prefix_required: false,
            hide_change_time: false,
            password_policy: None,
            tags: Tags::new(),
            server: Server::default(),
            stale_nodes: None,
        }
    }

    /// A running Tair instance of Redis 7.0 at Alibaba Cloud, with a login listener of its own.
    pub fn alibaba(id: &str, password: &str) -> Self {
        Self { vendor: Vendor::Alibaba(Tair::default()), ..Self::new(id, password) }
    }

    /// The same with one more account.
    #[must_use]
    pub fn with_account(mut self, name: &str, password: &str) -> Self {
        self.accounts.push(AccountSettings::new(name, password));
        self
    }

    /// The same with one more tag.
    #[must_use]
    pub fn with_tag(mut self, key: &str, value: &str) -> Self {
        self.tags.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Whether it is of the one engine without accounts (Tencent, `Type` 2 and 5).
    pub(super) fn is_redis_2_8(&self) -> bool {
        matches!(self.vendor, Vendor::Tencent) && [2, 5].contains(&self.engine)
    }

    /// What stands between an account's name and its password where a client sends both as one password.
    pub(super) fn separator(&self) -> char {
        match self.vendor {
            Vendor::Tencent => '@',
            Vendor::Alibaba(_) => ':',
        }
    }

    /// The name under which the default account's passwords are kept.
    pub(super) fn default_account(&self) -> &str {
        match self.vendor {
            Vendor::Tencent => &self.account,
            Vendor::Alibaba(_) => &self.id,
        }
    }
}

/// Whose instance it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Vendor {
    /// TencentDB for Redis. `engine` and `status` are numbers beside this.
    #[default]
    Tencent,
    /// Tair, or ApsaraDB for Redis.
    Alibaba(Tair),
}

/// What Alibaba tells of an instance (Alibaba API document "DescribeInstanceAttribute").
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Tair {
    /// `EngineVersion`: 2.8, 4.0, 5.0, 6.0 or 7.0. From 6.0 on the default account is also called `default`.
    pub engine_version: String,
    /// `InstanceStatus`; passwords change in `Normal` only.
    pub status: String,
    /// `ArchitectureType`: `standard`, `cluster` or `rwsplit`.
    pub architecture: String,
}

impl Default for Tair {
    /// A running instance of Redis 7.0 with one shard.
    fn default() -> Self {
        Self { engine_version: "7.0".to_owned(), status: "Normal".to_owned(), architecture: "standard".to_owned() }
    }
}

/// What only Alibaba's API has, mostly what its documents leave open.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct AlibabaSettings {
    /// `RegionId` of the instances.
    pub region: String,
    /// The code for a wrong OldAccountPassword. No document prints one, so the default is made up.
    pub wrong_old_password: String,
    /// What `x-acs-retry-after` says to a throttled caller; without it the header is left out.
    #[serde(with = "super::span::optional")]
    pub retry_after: Option<Duration>,
    /// Whether parameters in a form body are read. The documents only tell of the query.
    pub body_parameters: bool,
}

impl Default for AlibabaSettings {
    /// Hangzhou, and parameters taken from either place.
    fn default() -> Self {
        Self {
            region: "cn-hangzhou".to_owned(),
            wrong_old_password: "InvalidOldAccountPassword".to_owned(),
            retry_after: Some(Duration::from_millis(100)),
            body_parameters: true,
        }
    }
}

/// What an instance's password opens.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Server {
    /// A small login listener of the simulator's own.
    Listener {
        /// Where it listens; loopback only, port 0 takes a free one.
        #[serde(default = "any_port")]
        address: SocketAddr,
    },
    /// A real Redis server, whose password is changed by `CONFIG SET requirepass`, or by `ACL SETUSER` for another user than `default`.
    ///
    /// An account beside the default one is an ACL user of its own name, which is made when the cloud starts. Because a real server
    /// knows nothing of `<account>:<password>` (at Tencent `<account>@<password>`) in the password field, that whole text is also kept as a
    /// password of the user `default`.
    Redis {
        /// Where it listens, loopback only.
        address: SocketAddr,
        /// The ACL user whose password changes.
        #[serde(default = "default_user")]
        user: String,
    },
    /// Nothing: for measuring the API alone.
    Nothing,
}

impl Default for Server {
    fn default() -> Self {
        Self::Listener { address: any_port() }
    }
}

/// Tencent's per-instance password policy (API document "DescribeInstancePasswordPolicy"). Counts are minima.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PasswordPolicy {
    /// Whether it is in force.
    pub enabled: bool,
    /// Letters of either case, 1 to 16.
    pub letters: u32,
    /// Digits, 1 to 16.
    pub digits: u32,
    /// Special characters, 1 to 16.
    pub specials: u32,
    /// Characters in all, 8 to 64.
    pub length: u32,
}

/// For `span` after each change, `stale` of every `of` connections still take the password before it and refuse the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StaleNodes {
    /// How many.
    pub stale: u64,
    /// Of how many.
    pub of: u64,
    /// For how long after a change.
    #[serde(with = "super::span")]
    pub span: Duration,
}

/// A token bucket for each action.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Quota {
    /// Tokens that come back in a second; 0 switches the bucket off.
    pub per_second: f64,
    /// Tokens a full bucket holds.
    pub burst: f64,
}

impl Default for Quota {
    /// 20 requests a second for each action (Tencent's API documents of the Redis password actions).
    fn default() -> Self {
        Self { per_second: 20.0, burst: 20.0 }
    }
}

/// Bounds of a task's duration; where between them it falls follows from the seed and the task's number.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TaskSettings {
    /// At least.
    #[serde(with = "super::span")]
    pub shortest: Duration,
    /// At most.
    #[serde(with = "super::span")]
    pub longest: Duration,
}

impl Default for TaskSettings {
    /// About a second.
    fn default() -> Self {
        Self { shortest: Duration::from_millis(700), longest: Duration::from_millis(1_300) }
    }
}

impl Default for Settings {
    /// No credentials and no instances yet; everything else as the real cloud documents it.
    fn default() -> Self {
        Self {
            listen: any_port(),
            region: "ap-guangzhou".to_owned(),
            service: "redis".to_owned(),
            credentials: Vec::new(),
            instances: Vec::new(),
            quota: Quota::default(),
            task: TaskSettings::default(),
            account_lag: Duration::ZERO,
            seed: 1,
            clock_offset_millis: 0,
            zone_hours: 8,
            absent_actions: Vec::new(),
            denied_actions: Vec::new(),
            roles: Vec::new(),
            metadata: MetadataSettings::default(),
            alibaba: AlibabaSettings::default(),
            script: Vec::new(),
        }
    }
}

/// A loopback port that the system picks.
pub(super) fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn root() -> String {
    "root".to_owned()
}

fn default_user() -> String {
    "default".to_owned()
}

fn redis_6() -> i64 {
    15
}

fn running() -> i64 {
    2
}

pub(super) fn secret<'de, D: Deserializer<'de>>(source: D) -> Result<Secret, D::Error> {
    String::deserialize(source).map(Secret::new)
}

pub(super) fn optional_secret<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Secret>, D::Error> {
    Option::<String>::deserialize(source).map(|text| text.map(Secret::new))
}
