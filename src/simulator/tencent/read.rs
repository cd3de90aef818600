//! The reading actions. Each shows the world at a moment, which may lie in the past.

use super::super::answer::{Fields, Refusal, fields};
use super::super::cloud::State;
use super::super::instance::Instance;
use super::super::settings::{PasswordPolicy, Vendor};
use super::super::tags;
use super::super::task::Task;
use super::actions::{Action, Call};
use super::unknown_instance;
use crate::moment::Moment;
use chrono::{FixedOffset, NaiveDateTime, Offset, TimeZone, Utc};
use serde_json::{Value, json};
use std::time::Duration;

/// How the cloud writes and reads times, in its own zone.
const TIME_FORMAT: &str = "%Y-%m-%d %H:%M:%S";

/// The largest page of DescribeTaskList and DescribeInstanceAccount, and of DescribeInstances.
const PAGE: i64 = 100;
const INSTANCE_PAGE: i64 = 1_000;

/// `Status` 1: a flow is running.
const IN_FLOW: i64 = 1;

/// From where the world is looked at.
#[derive(Clone, Copy)]
pub(super) struct World<'a> {
    pub(super) when: Moment,
    /// The same moment as the cloud's own age.
    pub(super) uptime: Duration,
    pub(super) region: &'a str,
    pub(super) zone_hours: i32,
}

/// The answer to a reading action. A write has none here.
pub(super) fn answer(state: &State, world: World<'_>, call: &Call) -> Result<Fields, Refusal> {
    match call.action {
        Action::DescribeTaskInfo => task_info(state, world, call),
        Action::DescribeTaskList => task_list(state, world, call),
        Action::DescribeInstances => instances(state, world, call),
        Action::DescribeInstanceAccount => accounts(state, world, call),
        Action::DescribeInstancePasswordPolicy => password_policy(state, call),
        Action::ModifyInstancePassword | Action::ModfiyInstancePassword | Action::ResetPassword => {
            Err(Refusal::new("InvalidAction", "This action writes."))
        }
    }
}

/// The instance of this name, where it is one of this cloud's.
pub(super) fn known<'a>(state: &'a State, id: &str) -> Result<&'a Instance, Refusal> {
    let instance = state.instances.get(id).filter(|instance| matches!(instance.settings.vendor, Vendor::Tencent));
    instance.ok_or_else(|| unknown_instance(id))
}

fn task_info(state: &State, world: World<'_>, call: &Call) -> Result<Fields, Refusal> {
    let found = call
        .number("TaskId")
        .and_then(|id| state.tasks.get(&id))
        .filter(|task| known(state, &task.instance).is_ok())
        .and_then(|task| Some((task, task.status_at(world.when)?)));
    let Some((task, status)) = found else {
        return Err(Refusal::new("InvalidParameter.InvalidParameter", "There is no such task."));
    };
    Ok(fields([
        ("Status", json!(status.word())),
        ("StartTime", json!(world.text(task.accepted.published))),
        ("TaskType", json!(task.kind.code())),
        ("InstanceId", json!(task.instance)),
        ("TaskMessage", json!(task.message_at(world.when))),
    ]))
}

fn task_list(state: &State, world: World<'_>, call: &Call) -> Result<Fields, Refusal> {
    let (offset, limit) = call.page(PAGE)?;
    let begin = call.text("BeginTime").map(|text| world.moment(text)).transpose()?;
    let end = call.text("EndTime").map(|text| world.moment(text)).transpose()?;
    let types = call.texts("TaskTypes");
    let results = call.numbers("Result");
    let wanted = |task: &&Task| {
        let started = Moment::from_seconds(task.accepted.published.seconds());
        let result = task.status_at(world.when).map(|status| status.result());
        begin.is_none_or(|begin| started >= begin)
            && end.is_none_or(|end| started <= end)
            && types.as_ref().is_none_or(|types| types.contains(&task.kind.code()))
            && call.text("InstanceName").is_none_or(|name| name == task.instance)
            && result.is_some_and(|result| results.as_ref().is_none_or(|results| results.contains(&result)))
    };
    let found: Vec<&Task> = match call.text("InstanceId") {
        Some(id) => {
            let instance = known(state, id)?;
            let tasks = instance.tasks.iter().rev().filter_map(|id| state.tasks.get(id));
            tasks.filter(wanted).collect()
        }
        None => {
            let ours = |task: &&Task| known(state, &task.instance).is_ok();
            state.tasks.values().rev().filter(ours).filter(wanted).collect()
        }
    };
    let page = found.iter().skip(offset).take(limit).map(|task| list_entry(task, world));
    Ok(fields([("TotalCount", json!(found.len())), ("Tasks", page.collect::<Value>())]))
}

fn list_entry(task: &Task, world: World<'_>) -> Value {
    let ended = task.end.as_ref().filter(|(stamp, _)| stamp.at <= world.when);
    json!({
        "TaskId": task.id,
        "StartTime": world.text(task.accepted.published),
        "EndTime": ended.map_or(String::new(), |(stamp, _)| world.text(stamp.published)),
        "TaskType": task.kind.code(),
        "InstanceId": task.instance,
        "InstanceName": task.instance,
        "ProjectId": 0,
        "Progress": if ended.is_some() { 1.0 } else { 0.5 },
        "Result": task.status_at(world.when).map(|status| status.result()),
    })
}

/// The document does not say whether an instance must carry all the tags that are named or one of them. One is enough here, so that a caller
/// who needs all of them learns to look for himself.
fn instances(state: &State, world: World<'_>, call: &Call) -> Result<Fields, Refusal> {
    let (offset, limit) = call.page(INSTANCE_PAGE)?;
    let ids = call.texts("InstanceIds");
    let statuses = call.numbers("Status");
    let wanted_tags = call.tags("InstanceTags");
    let wanted_keys = call.texts("TagKeys");
    let found: Vec<(&Instance, i64)> = state
        .instances
        .values()
        .filter(|instance| matches!(instance.settings.vendor, Vendor::Tencent))
        .map(|instance| (instance, status(state, instance, world)))
        .filter(|(instance, status)| {
            let id = instance.settings.id.as_str();
            call.text("InstanceId").is_none_or(|wanted| wanted == id)
                && ids.as_ref().is_none_or(|ids| ids.contains(&id))
                && statuses.as_ref().is_none_or(|wanted| wanted.contains(status))
                && call.number("Type").is_none_or(|wanted| wanted == instance.settings.engine)
                && wanted_tags
                    .as_ref()
                    .is_none_or(|any| any.iter().any(|tag| tags::hold(&instance.settings.tags, *tag)))
                && wanted_keys
                    .as_ref()
                    .is_none_or(|any| any.iter().any(|key| tags::hold(&instance.settings.tags, (key, None))))
        })
        .collect();
    let page = found.iter().skip(offset).take(limit).map(|(instance, status)| {
        let settings = &instance.settings;
        json!({
            "InstanceId": settings.id,
            "InstanceName": settings.id,
            "Region": world.region,
            "Status": status,
            "SubStatus": 0,
            "InstanceTitle": title(*status),
            "Type": settings.engine,
            "Engine": if [3, 4].contains(&settings.engine) { "CKV" } else { "Redis" },
            "ProductType": if CLUSTERS.contains(&settings.engine) { "cluster" } else { "standalone" },
            "WanIp": instance.login_address.map_or(String::new(), |address| address.ip().to_string()),
            "Port": instance.login_address.map_or(6379, |address| address.port()),
            "NoAuth": settings.no_auth,
            "InstanceTags": settings.tags.iter().map(|(key, value)| json!({"TagKey": key, "TagValue": value})).collect::<Value>(),
        })
    });
    Ok(fields([("TotalCount", json!(found.len())), ("InstanceSet", page.collect::<Value>())]))
}

/// `Type`s of cluster architecture (Tencent API document "DescribeInstances").
const CLUSTERS: [i64; 8] = [4, 7, 9, 16, 18, 20, 22, 200];

/// `Status` as it was: a running instance with a task in flight, ours or another process's, is in a flow.
fn status(state: &State, instance: &Instance, world: World<'_>) -> i64 {
    let held = world.uptime < instance.locked_until || instance.is_changing(state, world.when);
    if instance.settings.status == 2 && held { IN_FLOW } else { instance.settings.status }
}

fn title(status: i64) -> &'static str {
    match status {
        0 => "To be initialized",
        1 => "In process",
        2 => "Running",
        -2 => "Isolated",
        -3 => "To be deleted",
        _ => "Unknown",
    }
}

fn accounts(state: &State, world: World<'_>, call: &Call) -> Result<Fields, Refusal> {
    let (offset, limit) = call.page(PAGE)?;
    let id = call.text("InstanceId").unwrap_or_default();
    let instance = known(state, id)?;
    let changed = instance.changed_before(world.when);
    let account = json!({
        "InstanceId": id,
        "AccountName": instance.settings.account,
        "Remark": "default",
        "Privilege": "rw",
        "ReadonlyPolicy": ["master"],
        "Status": if instance.is_changing(state, world.when) { 1 } else { 2 },
        "CreateTime": "",
        "PasswordLastModifiedTime": changed.map_or(String::new(), |changed| world.text(changed)),
    });
    let page: Vec<Value> = [account].into_iter().skip(offset).take(limit).collect();
    Ok(fields([("TotalCount", json!(1)), ("Accounts", json!(page))]))
}

fn password_policy(state: &State, call: &Call) -> Result<Fields, Refusal> {
    let id = call.text("InstanceId").unwrap_or_default();
    let instance = known(state, id)?;
    let policy = instance.settings.password_policy.as_ref();
    let shown = |count: fn(&PasswordPolicy) -> u32, otherwise: u32| policy.map_or(otherwise, count);
    Ok(fields([(
        "PasswordPolicy",
        json!({
            "Enabled": policy.is_some_and(|policy| policy.enabled),
            "MinLetterCount": shown(|policy| policy.letters, 1),
            "MinDigitCount": shown(|policy| policy.digits, 1),
            "MinSpecialCount": shown(|policy| policy.specials, 1),
            "MinLength": shown(|policy| policy.length, 8),
        }),
    )]))
}

impl World<'_> {
    fn zone(self) -> FixedOffset {
        FixedOffset::east_opt(self.zone_hours.saturating_mul(3_600)).unwrap_or(Utc.fix())
    }

    fn text(self, when: Moment) -> String {
        when.utc().with_timezone(&self.zone()).format(TIME_FORMAT).to_string()
    }

    fn moment(self, text: &str) -> Result<Moment, Refusal> {
        NaiveDateTime::parse_from_str(text, TIME_FORMAT)
            .ok()
            .and_then(|local| self.zone().from_local_datetime(&local).single())
            .map(|when| Moment::from(when.with_timezone(&Utc)))
            .ok_or_else(|| Refusal::new("InvalidParameter.InvalidParameter", "A time must read YYYY-MM-DD hh:mm:ss."))
    }
}
