//! The writing actions: what refuses them, and what they ask for.

use super::super::accounts::Edit;
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
    let settings = &instance.settings;
    let edits = call.action == Action::ModifyInstanceAccount;
    if settings.engine == MEMCACHED || (edits && settings.is_redis_2_8()) {
        return Err(Refusal::new("FailedOperation.UnSupportError", "The instance does not support this API."));
    }
    refuse_state(call.action, instance, uptime)?;
    if call.flag("EncryptPassword") {
        return Err(Refusal::new("InvalidParameter", "The password cannot be decrypted."));
    }
    let (account, edit) = if edits { edit(call, instance)? } else { (settings.default_account(), Edit::default()) };
    let wish = wish(call, instance, account, &edit)?;
    let is_default = account == settings.default_account();
    let kind = match (is_default && wish.is_some() == settings.no_auth, edits) {
        (true, _) => TaskKind::SwitchPasswordFree,
        (false, true) => TaskKind::ChangeAccount,
        (false, false) => TaskKind::SetPassword,
    };
    Ok(Order { instance: settings.id.clone(), account: account.to_owned(), kind, wish, edit })
}

/// Each action has its own code for an instance that another operation holds.
fn refuse_state(action: Action, instance: &Instance, uptime: Duration) -> Result<(), Refusal> {
    let locked = instance.is_locked(uptime);
    let stopped = instance.settings.status != RUNNING;
    let code = match (action, stopped) {
        _ if !stopped && !locked => return Ok(()),
        (Action::ModifyInstanceAccount, _) => "ResourceUnavailable.InstanceStatusError",
        (Action::ResetPassword, _) | (_, true) => "ResourceUnavailable.InstanceStatusAbnormal",
        (_, false) => "ResourceUnavailable.InstanceLockedError",
    };
    Err(Refusal::new(code, "The instance's status does not allow this operation, or another process holds it."))
}

/// Which account is edited, and what of it beside its password.
///
/// That ReadonlyPolicy and Privilege "cannot be empty when modifying" is the vendor's Terraform provider's word; the page calls them optional. Which
/// code a call without them gets is told nowhere, nor which one a privilege of `root` gets, whose permission "cannot be changed".
fn edit<'a>(call: &'a Call, instance: &Instance) -> Result<(&'a str, Edit), Refusal> {
    let name = call.text("AccountName").unwrap_or_default();
    if !instance.accounts.contains_key(name) {
        return Err(Refusal::new("ResourceNotFound.AccountDoesNotExists", "There is no such account."));
    }
    let is_default = name == instance.settings.account;
    let policy = call.texts("ReadonlyPolicy");
    let privilege = call.text("Privilege");
    if !is_default && (policy.is_none() || privilege.is_none()) {
        return Err(Refusal::new("InvalidParameter.EmptyParam", "ReadonlyPolicy and Privilege cannot be empty."));
    }
    if is_default && privilege.is_some() {
        return Err(Refusal::new("FailedOperation.UnSupportError", "The permission of root cannot be changed."));
    }
    if !is_default && call.flag("NoAuth") {
        return Err(Refusal::new("InvalidParameter", "NoAuth is for root only."));
    }
    let known_policy = policy.iter().flatten().all(|word| ["master", "replication"].contains(word));
    if !known_policy || privilege.is_some_and(|privilege| !["r", "w", "rw"].contains(&privilege)) {
        return Err(Refusal::new("InvalidParameter", "ReadonlyPolicy or Privilege has an unknown value."));
    }
    let edit = Edit {
        privilege: privilege.map(str::to_owned),
        readonly_policy: policy.map(|policy| policy.into_iter().map(str::to_owned).collect()),
        keeps_password: call.text("AccountPassword").is_none() && !call.flag("NoAuth"),
    };
    Ok((name, edit))
}

/// The password that the account is to have.
fn wish(call: &Call, instance: &Instance, account: &str, edit: &Edit) -> Result<Wish, Refusal> {
    let settings = &instance.settings;
    let compares = matches!(call.action, Action::ModifyInstancePassword | Action::ModfiyInstancePassword);
    let proves_old = !settings.no_auth && call.text("OldPassword") == Some(instance.live().expose());
    if compares && !proves_old {
        return Err(wrong_password());
    }
    if call.flag("NoAuth") {
        return Ok(None);
    }
    if edit.keeps_password {
        let is_free = settings.no_auth && account == settings.account;
        return Ok(instance.accounts.get(account).filter(|_| !is_free).map(|history| history.live().clone()));
    }
    let name = if call.action == Action::ModifyInstanceAccount { "AccountPassword" } else { "Password" };
    let Some(password) = call.text(name) else {
        return Err(Refusal::new("InvalidParameter", format!("{name} is missing.")));
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
