//! The calls that set a password, and what is looked at right before each of them.
//!
//! Two of them do more than they are asked for. ResetPassword sets a password on an instance that has none, and so switches authentication on under
//! everybody who connects without; what a ModifyInstanceAccount of the default account does there is not told. So the instance is asked first. And a
//! ModifyInstanceAccount edits the whole account: see [`super::accounts`].

use super::accounts::ModifyAccount;
use super::{CORRECTED, MISSPELT, Tencent, unserved, wire};
use crate::fault::{Fault, Kind};
use crate::name::RotationId;
use crate::provider::outcome::{Failed, Verdict};
use crate::provider::{Address, Condition, without_old};
use crate::rotation::answer::{Answer, Call, Refusal};
use crate::secret::Secret;
use std::sync::atomic::Ordering;

const RESET: &str = "ResetPassword";
const MODIFY_ACCOUNT: &str = "ModifyInstanceAccount";

impl Tencent {
    /// ModifyInstancePassword, under the names that this endpoint may know.
    pub(super) async fn modify(
        &self,
        address: &Address,
        rotation: RotationId,
        old: Option<&Secret>,
        new: &Secret,
    ) -> Answer {
        let Some(old) = old else { return without_old(address) };
        let request =
            wire::Modify { instance_id: &address.instance, old_password: old.expose(), password: new.expose() };
        let mut unknown = None;
        for action in self.spellings() {
            match self.write(action, &request, rotation, &[old, new]).await {
                Ok(started) => {
                    self.misspelt_works.store(*action == MISSPELT, Ordering::Relaxed);
                    return Answer::Accepted { task: started.task() };
                }
                // The gateway turned an unknown name away, so the other one is not a second change.
                Err(Failed::Spoken(Verdict::NoSuchAction, fault)) => unknown = Some(fault),
                Err(failed) => return granting(&[CORRECTED, MISSPELT], failed).answer(Call::Modify),
            }
        }
        Answer::Refused {
            refusal: Refusal::Fatal,
            fault: unknown.unwrap_or_else(|| Fault::new(Kind::Bug, "No name of the action was tried")),
        }
    }

    /// ResetPassword, on an instance that asks for a password now.
    pub(super) async fn reset_password(&self, address: &Address, rotation: RotationId, new: &Secret) -> Answer {
        if let Err(answer) = self.asks_for_a_password(&address.instance).await {
            return answer;
        }
        let request = wire::Reset { instance_id: &address.instance, password: new.expose() };
        self.began(RESET, &request, rotation, new).await
    }

    /// ModifyInstanceAccount, with everything but the password as it is.
    pub(super) async fn modify_account(&self, address: &Address, rotation: RotationId, new: &Secret) -> Answer {
        if address.account == wire::DEFAULT_ACCOUNT
            && let Err(answer) = self.asks_for_a_password(&address.instance).await
        {
            return answer;
        }
        let row = match self.account(address).await {
            Ok(row) => row,
            Err(failed) => return granting(&["DescribeInstanceAccount"], failed).before_the_call(),
        };
        if let Some(answer) =
            refused_by(&format!("The account {} of {}", address.account, address.instance), &row.condition())
        {
            return answer;
        }
        let rights = match row.rights() {
            Ok(rights) => rights,
            Err(fault) => return Answer::Refused { refusal: Refusal::Fatal, fault },
        };
        let request = ModifyAccount {
            instance_id: &address.instance,
            account_name: &address.account,
            account_password: new.expose(),
            readonly_policy: rights.readonly_policy,
            privilege: rights.privilege,
        };
        self.began(MODIFY_ACCOUNT, &request, rotation, new).await
    }

    /// Sends a change that compares nothing.
    async fn began<B: serde::Serialize + Sync>(
        &self,
        action: &'static str,
        request: &B,
        rotation: RotationId,
        new: &Secret,
    ) -> Answer {
        match self.write(action, request, rotation, &[new]).await {
            Ok(started) => Answer::Accepted { task: started.task() },
            Err(failed) => granting(&[action], failed).answer(Call::Reset),
        }
    }

    /// Whether the instance asks for a password now. The preflight looked too, but a call may leave long after it.
    async fn asks_for_a_password(&self, instance: &str) -> Result<(), Answer> {
        let row = self.instance_row(instance).await.map_err(Failed::before_the_call)?;
        match row.condition() {
            // Whether a busy instance takes the call is for the cloud to say.
            Condition::Ready | Condition::Busy(_) => Ok(()),
            condition @ (Condition::Gone(_) | Condition::PasswordFree | Condition::Unsupported(_)) => {
                refused_by(instance, &condition).map_or(Ok(()), Err)
            }
        }
    }
}

/// The answer where a look before the call showed that it must not leave.
fn refused_by(whose: &str, condition: &Condition) -> Option<Answer> {
    let (refusal, kind, why) = match condition {
        Condition::Ready => return None,
        Condition::Busy(why) => (Refusal::Busy, Kind::Busy, why.as_str()),
        Condition::Gone(why) => (Refusal::Fatal, Kind::Gone, why.as_str()),
        Condition::PasswordFree => (Refusal::Fatal, Kind::PasswordFree, "logins need no password"),
        Condition::Unsupported(why) => (Refusal::Fatal, Kind::Unsupported, why.as_str()),
    };
    Some(Answer::Refused { refusal, fault: Fault::new(kind, format!("{whose}: {why}")) })
}

/// A denial says which permission is missing.
fn granting(actions: &[&str], failed: Failed) -> Failed {
    match failed {
        Failed::Spoken(verdict, fault) if verdict.kind() == Kind::Denied => {
            let names: Vec<String> = actions.iter().map(|action| format!("redis:{action}")).collect();
            let advice =
                format!("grant {} to this identity, then `keywheel recover TARGET --resume`", names.join(" and "));
            Failed::Spoken(verdict, fault.advise(advice))
        }
        failed @ (Failed::NotSent(_) | Failed::Spoken(..) | Failed::Unanswered(_)) => failed,
    }
}

/// The answer where no call of this mode serves the account.
pub(super) fn refuse_account(address: &Address) -> Answer {
    Answer::Refused {
        refusal: Refusal::Fatal,
        fault: Fault::new(Kind::Unsupported, format!("On {} {}", address.instance, unserved(address))),
    }
}
