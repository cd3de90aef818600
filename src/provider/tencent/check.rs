//! Everything that could fail with an instance, tried by reading only.
//!
//! The permission for the change itself cannot be tried without changing something, and a deliberately wrong old password could lock the
//! account, so nothing is said about it.

use super::answer::Failed;
use super::codes::Verdict;
use super::wire::DEFAULT_ACCOUNT;
use super::{CLOCK_TOLERANCE, Tencent, unserved};
use crate::fault::{Fault, Kind};
use crate::moment::show_span;
use crate::name::TaskId;
use crate::provider::{Address, Condition};
use std::time::Duration;

/// A task number that nobody has: asked for to see whether asking is allowed.
const NO_TASK: TaskId = TaskId(0);
/// How far back the task list is asked for, when only the permission matters.
const LOOK_BACK: Duration = Duration::from_secs(3_600);

/// What one question of `check` brought.
enum Found {
    /// Nothing to report.
    Fine,
    /// A finding, and the other questions still make sense.
    Finding(Fault),
    /// A finding that every other question would run into as well.
    Dead(Fault),
}

impl Tencent {
    /// Every finding at once; empty when all is well.
    pub(super) async fn findings(&self, address: &Address) -> Vec<Fault> {
        let mut findings = Vec::new();
        if let Err(fault) = self.credentials.credential().await {
            return vec![fault];
        }
        let first = match self.instance_row(&address.instance).await {
            Ok(row) => condition_finding(address, &row.condition()),
            Err(failed) => judged(failed),
        };
        let clock = self.clock_finding();
        match first {
            Found::Dead(fault) => {
                // A skewed clock shows as a refused signature too; it is one finding.
                findings.extend(clock.filter(|clock| clock.kind != fault.kind));
                findings.push(fault);
                return findings;
            }
            Found::Finding(fault) => findings.push(fault),
            Found::Fine => {}
        }
        findings.extend(clock);
        let now = (self.now)();
        let others = [
            tried(self.account_row(address).await.map(drop)),
            tried(self.task_list(&address.instance, now - LOOK_BACK, now).await.map(drop)),
            match tried(self.task_info(NO_TASK).await.map(drop)) {
                // "No such task" is the answer of somebody who may ask.
                Found::Finding(fault)
                    if matches!(fault.kind, Kind::Misconfigured | Kind::NotFound | Kind::Unanswered) =>
                {
                    Found::Fine
                }
                found @ (Found::Fine | Found::Finding(_) | Found::Dead(_)) => found,
            },
            tried(self.password_policy(&address.instance).await.map(drop)),
        ];
        for found in others {
            match found {
                Found::Fine => {}
                Found::Finding(fault) | Found::Dead(fault) => {
                    if !findings.contains(&fault) {
                        findings.push(fault);
                    }
                }
            }
        }
        findings
    }

    fn clock_finding(&self) -> Option<Fault> {
        let gap = self.clock_gap()?;
        (u128::from(gap.unsigned_abs()) > CLOCK_TOLERANCE.as_millis()).then(|| {
            Fault::new(
                Kind::ClockSkew,
                format!(
                    "Tencent Cloud accepts {} of difference, and {}",
                    show_span(CLOCK_TOLERANCE),
                    gap_sentence(gap)
                ),
            )
        })
    }
}

/// How the two clocks differ, in words. `gap` is the cloud's clock less ours, in milliseconds.
pub(super) fn gap_sentence(gap: i64) -> String {
    let side = if gap >= 0 { "ahead of" } else { "behind" };
    let span = Duration::from_millis(gap.unsigned_abs());
    format!("the cloud's clock is {} {side} this machine's", show_span(span))
}

fn tried(read: Result<(), Failed>) -> Found {
    match read {
        Ok(()) => Found::Fine,
        Err(failed) => judged(failed),
    }
}

fn judged(failed: Failed) -> Found {
    match failed {
        Failed::NotSent(fault) => Found::Dead(fault),
        Failed::Spoken(verdict, fault) => match verdict {
            Verdict::SignAgain | Verdict::RenewCredential => Found::Dead(fault),
            Verdict::Refused(_, Kind::CredentialRefused) => Found::Dead(fault),
            Verdict::Unclear | Verdict::Refused(..) | Verdict::RefusedFor(..) | Verdict::NoSuchAction => {
                Found::Finding(fault)
            }
        },
        Failed::Unanswered(fault) => Found::Finding(fault),
    }
}

fn condition_finding(address: &Address, condition: &Condition) -> Found {
    let (kind, why) = match condition {
        Condition::Ready if address.account == DEFAULT_ACCOUNT => return Found::Fine,
        Condition::Ready => (Kind::Unsupported, unserved(address)),
        Condition::Busy(why) => (Kind::Busy, why.clone()),
        Condition::Gone(why) => (Kind::Gone, why.clone()),
        Condition::PasswordFree => (Kind::PasswordFree, "logins need no password".to_owned()),
        Condition::Unsupported(why) => (Kind::Unsupported, why.clone()),
    };
    Found::Finding(Fault::new(kind, format!("On {}: {why}", address.instance)))
}
