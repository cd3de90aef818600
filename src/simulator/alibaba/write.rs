//! The writing actions: what refuses them, and what they ask for.

use super::super::accounts::Edit;
use super::super::answer::Refusal;
use super::super::cloud::{Order, State};
use super::super::instance::Instance;
use super::super::settings::{Settings, Tair, Vendor};
use super::super::task::TaskKind;
use super::actions::{Action, Call};
use super::rules::broken_rule;
use crate::secret::Secret;
use std::time::Duration;

/// The one `InstanceStatus` in which passwords change (Alibaba document "Change or reset the password").
pub(super) const NORMAL: &str = "Normal";

/// ResetAccountPassword wants this version of the engine at least.
const RESETTABLE_SINCE: u32 = 4;

/// Finds an instance that is one of this cloud's.
pub(super) fn known<'a>(state: &'a State, id: &str) -> Result<(&'a Instance, &'a Tair), Refusal> {
    let instance = state.instances.get(id);
    let found = instance.and_then(|instance| match &instance.settings.vendor {
        Vendor::Alibaba(tair) => Some((instance, tair)),
        Vendor::Tencent => None,
    });
    found.ok_or_else(|| Refusal::new("InvalidInstanceId.NotFound", format!("There is no instance {id}.")))
}

/// Refuses a write or says what it asks for.
pub(super) fn order(state: &State, settings: &Settings, call: &Call, uptime: Duration) -> Result<Order, Refusal> {
    let (instance, tair) = known(state, call.text("InstanceId").unwrap_or_default())?;
    let id = instance.settings.id.as_str();
    let (name, new, old) = match call.action {
        Action::ModifyAccountPassword => {
            (call.text("AccountName"), call.text("NewAccountPassword"), call.text("OldAccountPassword"))
        }
        Action::ResetAccountPassword => (call.text("AccountName"), call.text("AccountPassword"), None),
        Action::ModifyInstanceAttribute => (Some(id), call.text("NewPassword"), None),
        Action::DescribeAccounts | Action::DescribeInstanceAttribute | Action::DescribeInstances => (None, None, None),
    };
    let (name, new) = (name.unwrap_or_default(), new.unwrap_or_default());
    if call.action == Action::ResetAccountPassword && tair.major_version() < RESETTABLE_SINCE {
        return Err(Refusal::new("InvalidEngineVersion.Format", "The engine version does not support this operation."));
    }
    if tair.status != NORMAL || (instance.task.is_none() && instance.is_locked(uptime)) {
        return Err(Refusal::new(
            "IncorrectDBInstanceState",
            "The current state of the instance does not support this operation.",
        ));
    }
    let account = if tair.default_names(id).contains(&name) { id } else { name };
    let history = instance
        .accounts
        .get(account)
        .ok_or_else(|| Refusal::new("InvalidAccountName.NotFound", "The specified account does not exist."))?;
    if instance.task.is_some() {
        return Err(Refusal::new("TaskExists", "The specified task already exists."));
    }
    if let Some(rule) = broken_rule(new) {
        return Err(Refusal::new("InvalidAccountPassword.Format", format!("The password breaks a rule: {rule}.")));
    }
    if old.is_some_and(|old| old != history.live().expose()) {
        return Err(wrong_password(settings));
    }
    Ok(Order {
        instance: id.to_owned(),
        account: account.to_owned(),
        kind: TaskKind::SetPassword,
        wish: Some(Secret::new(new.to_owned())),
        edit: Edit::default(),
    })
}

pub(super) fn wrong_password(settings: &Settings) -> Refusal {
    Refusal::new(&settings.alibaba.wrong_old_password, "The specified old password is not correct.")
}
