//! The writing actions: what refuses them, and what they ask for.

use super::super::answer::Refusal;
use super::super::cloud::{Order, State, Wish};
use super::super::instance::Instance;
use super::super::task::TaskKind;
use super::actions::{Action, Call};
use super::read::known;
use super::rules::broken_rule;
use crate::secret::Secret;
use std::time::Duration;

/// `Type` 200 is Memcached, which has no such password.
const MEMCACHED: i64 = 200;

/// `Status` 2: running.
const RUNNING: i64 = 2;

/// Refuses a write or says what it asks for.
pub(super) fn order(state: &State, call: &Call, uptime: Duration) -> Result<Order, Refusal> {
    let instance = known(state, call.text("InstanceId").unwrap_or_default())?;
    let wish = judge(call, instance, uptime)?;
    let switches = wish.is_some() == instance.settings.no_auth;
    Ok(Order {
        instance: instance.settings.id.clone(),
        account: instance.settings.default_account().to_owned(),
        kind: if switches { TaskKind::SwitchPasswordFree } else { TaskKind::SetPassword },
        wish,
    })
}

fn judge(call: &Call, instance: &Instance, uptime: Duration) -> Result<Wish, Refusal> {
    let is_reset = call.action == Action::ResetPassword;
    let settings = &instance.settings;
    if settings.engine == MEMCACHED {
        return Err(Refusal::new("FailedOperation.UnSupportError", "The instance does not support this API."));
    }
    if settings.status != RUNNING || (is_reset && instance.is_locked(uptime)) {
        return Err(Refusal::new(
            "ResourceUnavailable.InstanceStatusAbnormal",
            "The instance's status does not allow this operation.",
        ));
    }
    if instance.is_locked(uptime) {
        return Err(Refusal::new(
            "ResourceUnavailable.InstanceLockedError",
            "The instance is locked by another process.",
        ));
    }
    if call.flag("EncryptPassword") {
        return Err(Refusal::new("InvalidParameter", "The password cannot be decrypted."));
    }
    let proves_old = !settings.no_auth && call.text("OldPassword") == Some(instance.live().expose());
    if !is_reset && !proves_old {
        return Err(wrong_password());
    }
    if call.flag("NoAuth") {
        return Ok(None);
    }
    let Some(password) = call.text("Password") else {
        return Err(Refusal::new("InvalidParameter", "Password is missing."));
    };
    match broken_rule(call.action, settings.engine, settings.password_policy.as_ref(), password) {
        Some(rule) => {
            Err(Refusal::new("InvalidParameterValue.PasswordRuleError", format!("The password breaks a rule: {rule}.")))
        }
        None => Ok(Some(Secret::new(password.to_owned()))),
    }
}

pub(super) fn wrong_password() -> Refusal {
    Refusal::new("InvalidParameterValue.PasswordError", "The password check failed: the password is wrong.")
}
