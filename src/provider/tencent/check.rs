//! Everything that could fail with an instance, tried by reading only.
//!
//! The permission for the change itself cannot be tried without changing something, and a deliberately wrong old password could lock the
//! account, so nothing is said about it.

use super::credentials::TERMS;
use super::{CLOCK_TOLERANCE, Tencent, unsupported};
use crate::fault::{Fault, Kind};
use crate::name::TaskId;
use crate::provider::credential::worry;
use crate::provider::finding::{Found, gather, judged, of_clock, of_condition, tried};
use crate::provider::{Address, Condition, Mode};
use std::time::Duration;

/// A task number that nobody has: asked for to see whether asking is allowed.
const NO_TASK: TaskId = TaskId(0);
/// How far back the task list is asked for, when only the permission matters.
const LOOK_BACK: Duration = Duration::from_secs(3_600);

/// What it means that the instance's own password policy cannot be read.
const NO_POLICY: &str = "ask the vendor if it lasts; rotations go on without the instance's own password policy, and a password that breaks it is \
                         refused and drawn anew";

impl Tencent {
    /// What will fail some day.
    pub(super) async fn cautions(&self) -> Vec<Fault> {
        // Why there is none is a finding already.
        let credential = self.caller.credentials.credential().await.ok();
        credential.and_then(|credential| worry(&TERMS, &credential)).into_iter().collect()
    }

    /// Every finding at once; empty when all is well.
    pub(super) async fn findings(&self, address: &Address) -> Vec<Fault> {
        let mut findings = Vec::new();
        if let Err(fault) = self.caller.credentials.credential().await {
            return vec![fault];
        }
        let first = match self.instance_row(&address.instance).await {
            Ok(row) => {
                let mut condition = row.condition();
                if let (Condition::Ready, Some(why)) = (&condition, unsupported(address, &row)) {
                    condition = Condition::Unsupported(why);
                }
                of_condition(&address.instance, &condition)
            }
            Err(failed) => judged(failed),
        };
        let clock = of_clock("Tencent Cloud", self.caller.clock_gap(), CLOCK_TOLERANCE);
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
        let now = (self.caller.now)();
        let others = [
            self.account_finding(address).await,
            tried(self.task_list(address, now - LOOK_BACK, now).await.map(drop)),
            match tried(self.task_info(NO_TASK).await.map(drop)) {
                // "No such task" is the answer of somebody who may ask.
                Found::Finding(fault)
                    if matches!(fault.kind, Kind::Misconfigured | Kind::NotFound | Kind::Unanswered) =>
                {
                    Found::Fine
                }
                found @ (Found::Fine | Found::Finding(_) | Found::Dead(_)) => found,
            },
            match tried(self.password_policy(&address.instance).await.map(drop)) {
                Found::Finding(fault) if fault.kind != Kind::Denied => Found::Finding(fault.advise(NO_POLICY)),
                found @ (Found::Fine | Found::Finding(_) | Found::Dead(_)) => found,
            },
        ];
        gather(&mut findings, others);
        findings
    }

    /// Whether the account can be read; and where its change sends parts of it back, whether it is there, settled and tells them.
    async fn account_finding(&self, address: &Address) -> Found {
        match address.mode {
            Mode::OldPassword | Mode::Reset | Mode::Add => tried(self.account_row(address).await.map(drop)),
            Mode::Account => match self.account(address).await {
                Ok(row) if row.condition() == Condition::Ready => {
                    row.rights().map_or_else(Found::Finding, |_| Found::Fine)
                }
                Ok(row) => of_condition(&format!("{}/{}", address.instance, address.account), &row.condition()),
                Err(failed) => judged(failed),
            },
        }
    }
}
