//! The simulator's own path beside the API: what a test in another process says to it and asks of it.
//!
//! `POST /_simulator/script` appends steps, `DELETE` drops those still to come; `POST /_simulator/change` takes a [`Change`];
//! `GET /_simulator/state` tells everything but passwords, of which it gives the SHA-256.

use super::cloud::Cloud;
use super::instance::{History, Instance, Reach};
use super::script::Step;
use super::settings::{AccountSettings, PasswordPolicy, Quota, StaleNodes, Vendor, optional_secret};
use crate::secret::Secret;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;

/// Changes of the running cloud. What is absent stays as it is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Change {
    /// How much the cloud's clock is ahead of the machine's.
    pub clock_offset_millis: Option<i64>,
    /// The actions this endpoint has never heard of.
    pub absent_actions: Option<Vec<String>>,
    /// The actions that access management denies.
    pub denied_actions: Option<Vec<String>>,
    /// The request rate of each action.
    pub quota: Option<Quota>,
    /// Lets every stuck task go on.
    pub release_stuck: bool,
    /// By instance id.
    pub instances: BTreeMap<String, InstanceChange>,
}

/// Changes of one instance. What is absent stays as it is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct InstanceChange {
    /// `Status` as Tencent's DescribeInstances shows it.
    pub status: Option<i64>,
    /// `InstanceStatus` as Alibaba's DescribeInstanceAttribute shows it.
    pub instance_status: Option<String>,
    /// Whether logins need no password.
    pub no_auth: Option<bool>,
    /// Leaves the change time empty.
    pub hide_change_time: Option<bool>,
    /// The instance's own password policy.
    pub password_policy: Option<PasswordPolicy>,
    /// Its tags, all of them.
    pub tags: Option<BTreeMap<String, String>>,
    /// How the login listener treats new connections.
    pub reach: Option<Reach>,
    /// Proxy nodes that learn of a change late.
    pub stale_nodes: Option<StaleNodes>,
    /// Another process holds the instance for this long from now.
    #[serde(with = "super::span::optional")]
    pub lock: Option<Duration>,
    /// Somebody sets this password at the console, at once.
    #[serde(deserialize_with = "optional_secret")]
    pub password: Option<Secret>,
    /// The same for accounts beside the default one.
    pub accounts: Vec<AccountSettings>,
}

impl Change {
    /// A change of one instance.
    pub fn of(id: &str, change: InstanceChange) -> Self {
        Self { instances: BTreeMap::from([(id.to_owned(), change)]), ..Self::default() }
    }
}

/// Answers one request: a status and JSON.
pub(super) async fn answer(cloud: &Cloud, method: &Method, name: &str, body: &[u8]) -> (StatusCode, String) {
    let done = |outcome: Result<(), String>| match outcome {
        Ok(()) => (StatusCode::OK, json!({"done": true}).to_string()),
        Err(why) => (StatusCode::BAD_REQUEST, json!({"error": why}).to_string()),
    };
    match (method.as_str(), name) {
        ("GET", "state") => (StatusCode::OK, state(cloud).to_string()),
        ("POST", "script") => done(read::<Vec<Step>>(body).map(|steps| cloud.state().script.append(steps))),
        ("DELETE", "script") => {
            cloud.state().script.clear();
            done(Ok(()))
        }
        ("POST", "change") => match read(body) {
            Ok(change) => done(apply(cloud, change).await),
            Err(why) => done(Err(why)),
        },
        _ => (
            StatusCode::NOT_FOUND,
            json!({"error": "here are GET state, POST script, DELETE script and POST change"}).to_string(),
        ),
    }
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

/// Makes a change; where it names an unknown instance, or a real server does not take a password, says so.
pub(super) async fn apply(cloud: &Cloud, change: Change) -> Result<(), String> {
    let Change { clock_offset_millis, absent_actions, denied_actions, quota, release_stuck, instances } = change;
    if let Some(offset) = clock_offset_millis {
        cloud.clock.set_offset(offset);
    }
    {
        let mut state = cloud.state();
        if let Some(id) = instances.keys().find(|id| !state.instances.contains_key(*id)) {
            return Err(format!("there is no instance {id}"));
        }
        if let Some(actions) = absent_actions {
            state.absent = actions.into_iter().collect();
        }
        if let Some(actions) = denied_actions {
            state.denied = actions.into_iter().collect();
        }
        if let Some(quota) = quota {
            state.buckets.change(quota);
        }
        if release_stuck {
            state.releases.send_modify(|count| *count += 1);
        }
    }
    for (id, wanted) in instances {
        let default = cloud.with_instance(&id, |instance| instance.settings.default_account().to_owned());
        let by_hand = wanted.password.iter().map(|password| (&default, password));
        for (account, password) in by_hand.chain(wanted.accounts.iter().map(|other| (&other.name, &other.password))) {
            cloud.set_by_hand(&id, account, password.clone()).await?;
        }
        let uptime = cloud.clock.uptime();
        if let Some(instance) = cloud.state().instances.get_mut(&id) {
            change_instance(instance, wanted, uptime);
        }
    }
    Ok(())
}

fn change_instance(instance: &mut Instance, wanted: InstanceChange, uptime: Duration) {
    let settings = &mut instance.settings;
    settings.status = wanted.status.unwrap_or(settings.status);
    match (&mut settings.vendor, wanted.instance_status) {
        (Vendor::Alibaba(tair), Some(status)) => tair.status = status,
        (Vendor::Alibaba(_), None) | (Vendor::Tencent, _) => {}
    }
    settings.no_auth = wanted.no_auth.unwrap_or(settings.no_auth);
    settings.hide_change_time = wanted.hide_change_time.unwrap_or(settings.hide_change_time);
    settings.password_policy = wanted.password_policy.or(settings.password_policy);
    settings.stale_nodes = wanted.stale_nodes.or(settings.stale_nodes);
    if let Some(tags) = wanted.tags {
        settings.tags = tags;
    }
    if let Some(reach) = wanted.reach {
        instance.reach.send_replace(reach);
    }
    if let Some(span) = wanted.lock {
        instance.locked_until = uptime + span;
    }
}

/// Everything but passwords.
pub(super) fn state(cloud: &Cloud) -> Value {
    let now = cloud.clock.now();
    let uptime = cloud.clock.uptime();
    let state = cloud.state();
    let history = |passwords: &History| {
        let entries = passwords.iter().map(|password| {
            let digest = hex::encode(Sha256::digest(password.text.expose()));
            json!({"at": password.set.at.millis(), "sha256": digest})
        });
        entries.collect::<Value>()
    };
    let instances = state.instances.values().map(|instance| {
        json!({
            "id": instance.settings.id,
            "status": instance.settings.status,
            "no-auth": instance.settings.no_auth,
            "locked": instance.is_locked(uptime),
            "tags": instance.settings.tags,
            "login": instance.login_address.map(|address| address.to_string()),
            "history": history(instance.default_history()),
            "accounts": instance
                .settings
                .accounts
                .iter()
                .filter_map(|account| Some((account.name.clone(), history(instance.accounts.get(&account.name)?))))
                .collect::<serde_json::Map<_, _>>(),
        })
    });
    let tasks = state.tasks.values().map(|task| {
        json!({
            "id": task.id,
            "instance": task.instance,
            "account": task.account,
            "accepted": task.accepted.at.millis(),
            "status": task.status_at(now).map(|status| status.word()),
        })
    });
    let calls = state.buckets.counts().map(|(action, accepted, throttled)| {
        (action.to_owned(), json!({"accepted": accepted, "throttled": throttled}))
    });
    json!({
        "now": now.millis(),
        "instances": instances.collect::<Value>(),
        "tasks": tasks.collect::<Value>(),
        "calls": calls.collect::<serde_json::Map<_, _>>(),
        "refusals": state.refusals,
        "script": state.script.steps(),
    })
}
