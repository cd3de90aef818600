//! The reading actions. Each shows the world at a moment, which may lie in the past.

use super::super::answer::{Fields, Refusal, fields};
use super::super::cloud::State;
use super::super::instance::Instance;
use super::super::settings::{Settings, Tair, Vendor};
use super::super::tags;
use super::actions::{Action, Call};
use super::write::{NORMAL, known};
use crate::moment::Moment;
use serde_json::{Value, json};
use std::time::Duration;

/// The largest page of DescribeInstances, and the most ids it takes (Alibaba API document "DescribeInstances").
const INSTANCE_PAGE: usize = 50;
const INSTANCE_IDS: usize = 30;

/// The largest page of DescribeAccounts; made up.
const ACCOUNT_PAGE: usize = 100;

/// From where the world is looked at.
#[derive(Clone, Copy)]
pub(super) struct World<'a> {
    pub(super) when: Moment,
    /// The same moment as the cloud's own age.
    pub(super) uptime: Duration,
    pub(super) settings: &'a Settings,
}

/// The answer to a reading action. A write has none here.
pub(super) fn answer(state: &State, world: World<'_>, call: &Call) -> Result<Fields, Refusal> {
    match call.action {
        Action::DescribeAccounts => accounts(state, world, call),
        Action::DescribeInstanceAttribute => attribute(state, world, call),
        Action::DescribeInstances => instances(state, world, call),
        Action::ModifyAccountPassword | Action::ResetAccountPassword | Action::ModifyInstanceAttribute => {
            Err(Refusal::new("InvalidAction.NotFound", "This action writes."))
        }
    }
}

/// The default account shows under each of its names. Its `AccountType` is our reading: no document prints one for it.
fn accounts(state: &State, world: World<'_>, call: &Call) -> Result<Fields, Refusal> {
    let (page, size) = call.page(ACCOUNT_PAGE)?;
    let (instance, tair) = known(state, call.text("InstanceId").unwrap_or_default())?;
    let settings = &instance.settings;
    let changing = changing_account(instance, state, world.when);
    let default = tair.default_names(&settings.id).into_iter().map(|name| (name, settings.default_account(), "Super"));
    let standard = settings.accounts.iter().map(|account| (account.name.as_str(), account.name.as_str(), "Normal"));
    let found: Vec<Value> = default
        .chain(standard)
        .filter(|(name, ..)| call.text("AccountName").is_none_or(|wanted| wanted == *name))
        .map(|(name, kept_as, kind)| {
            json!({
                "InstanceId": settings.id,
                "AccountName": name,
                "AccountStatus": if changing == Some(kept_as) { "Unavailable" } else { "Available" },
                "AccountType": kind,
                "AccountDescription": "",
                "DatabasePrivileges": {"DatabasePrivilege": [{"AccountPrivilege": "RoleReadWrite"}]},
            })
        })
        .collect();
    Ok(paged(found, page, size, "Accounts", "Account"))
}

/// The account whose password is just being changed. A task that prepares changes nothing yet, and its account still reads
/// `Available`: callers that trust the status alone should learn it here.
fn changing_account<'a>(instance: &Instance, state: &'a State, when: Moment) -> Option<&'a str> {
    instance.task_at(state, when).filter(|task| task.running_from <= when).map(|task| task.account.as_str())
}

fn attribute(state: &State, world: World<'_>, call: &Call) -> Result<Fields, Refusal> {
    let (instance, tair) = known(state, call.text("InstanceId").unwrap_or_default())?;
    let mut shown = common(instance, tair, state, world);
    shown.extend(fields([
        ("VpcAuthMode", json!(if instance.settings.no_auth { "Close" } else { "Open" })),
        ("IsOrderCompleted", json!("true")),
        ("Engine", json!("Redis")),
        ("MaintainStartTime", json!("18:00Z")),
        ("MaintainEndTime", json!("22:00Z")),
    ]));
    Ok(fields([("Instances", json!({"DBInstanceAttribute": [shown]}))]))
}

fn instances(state: &State, world: World<'_>, call: &Call) -> Result<Fields, Refusal> {
    let (page, size) = call.page(INSTANCE_PAGE)?;
    let ids: Option<Vec<&str>> = call.text("InstanceIds").map(|ids| ids.split(',').collect());
    if ids.as_ref().is_some_and(|ids| ids.len() > INSTANCE_IDS) {
        return Err(Refusal::new("InvalidParameter", format!("InstanceIds takes {INSTANCE_IDS} ids.")));
    }
    let wanted_tags = call.tags()?;
    if !wanted_tags.is_empty() && call.text("RegionId").is_none() {
        return Err(Refusal::new("MissingRegionId", "RegionId is mandatory where a tag is named."));
    }
    let found: Vec<Value> = state
        .instances
        .values()
        .filter(|instance| wanted_tags.iter().all(|tag| tags::hold(&instance.settings.tags, *tag)))
        .filter(|instance| ids.as_ref().is_none_or(|ids| ids.contains(&instance.settings.id.as_str())))
        .filter(|_| call.text("RegionId").is_none_or(|region| region == world.settings.alibaba.region))
        .filter_map(|instance| match &instance.settings.vendor {
            Vendor::Alibaba(tair) => Some((instance, tair)),
            Vendor::Tencent => None,
        })
        .map(|(instance, tair)| {
            let mut shown = common(instance, tair, state, world);
            let address = instance.login_address.map_or(String::new(), |address| address.ip().to_string());
            shown.extend(fields([
                ("InstanceName", json!(instance.settings.id)),
                ("UserName", json!(instance.settings.id)),
                ("PrivateIp", json!(address)),
                ("Tags", json!({"Tag": instance.settings.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect::<Value>()})),
            ]));
            Value::Object(shown)
        })
        .filter(|shown| call.text("InstanceStatus").is_none_or(|wanted| shown["InstanceStatus"] == wanted))
        .collect();
    Ok(paged(found, page, size, "Instances", "KVStoreInstance"))
}

/// What both reads of instances tell.
fn common(instance: &Instance, tair: &Tair, state: &State, world: World<'_>) -> Fields {
    let address = instance.login_address;
    fields([
        ("InstanceId", json!(instance.settings.id)),
        ("InstanceStatus", json!(status(instance, tair, state, world))),
        ("ConnectionDomain", json!(address.map_or(String::new(), |address| address.ip().to_string()))),
        ("Port", json!(address.map_or(6379, |address| address.port()))),
        ("EngineVersion", json!(tair.engine_version)),
        ("ArchitectureType", json!(tair.architecture)),
        ("EditionType", json!("Community")),
        ("InstanceType", json!("Redis")),
        ("NetworkType", json!("VPC")),
        ("RegionId", json!(world.settings.alibaba.region)),
    ])
}

/// A change of the instance's own password shows in its status, one of a standard account only in the account's. That is our reading
/// of what the vendor's Terraform provider waits for after each.
fn status<'a>(instance: &Instance, tair: &'a Tair, state: &State, world: World<'_>) -> &'a str {
    let changes_itself = changing_account(instance, state, world.when) == Some(instance.settings.default_account());
    let held = world.uptime < instance.locked_until;
    if tair.status == NORMAL && (changes_itself || held) { "Changing" } else { &tair.status }
}

fn paged(found: Vec<Value>, page: usize, size: usize, list: &str, entry: &str) -> Fields {
    let total = found.len();
    let shown: Vec<Value> = found.into_iter().skip((page - 1).saturating_mul(size)).take(size).collect();
    let entries = fields([(entry, json!(shown))]);
    fields([
        ("TotalCount", json!(total)),
        ("PageNumber", json!(page)),
        ("PageSize", json!(size)),
        (list, Value::Object(entries)),
    ])
}
