//! Everything that could fail with an instance, tried by reading only.
//!
//! The permission for the change itself cannot be tried without changing something, and a deliberately wrong old password could lock the
//! account, so nothing is said about it.

use super::credentials::TERMS;
use super::{Alibaba, CLOCK_TOLERANCE};
use crate::fault::Fault;
use crate::provider::Address;
use crate::provider::credential::worry;
use crate::provider::finding::{Found, gather, judged, of_clock, of_condition, tried};

impl Alibaba {
    /// What will fail some day.
    pub(super) async fn cautions(&self) -> Vec<Fault> {
        // Why there is none is a finding already.
        let credential = self.caller.credentials.credential().await.ok();
        credential.and_then(|credential| worry(&TERMS, &credential)).into_iter().collect()
    }

    /// Every finding at once; empty when all is well.
    pub(super) async fn findings(&self, address: &Address) -> Vec<Fault> {
        if let Err(fault) = self.caller.credentials.credential().await {
            return vec![fault];
        }
        let first = match self.instance_row(&address.instance).await {
            Ok(row) => of_condition(&address.instance, &row.condition()),
            Err(failed) => judged(failed),
        };
        let mut findings = Vec::new();
        let clock = of_clock("Alibaba Cloud", self.caller.clock_gap(), CLOCK_TOLERANCE);
        match first {
            Found::Dead(fault) => {
                // A skewed clock shows as a refused signature too; it is one finding.
                findings.extend(clock.filter(|clock| clock.kind != fault.kind));
                findings.push(fault);
            }
            found @ (Found::Finding(_) | Found::Fine) => {
                gather(&mut findings, [found]);
                findings.extend(clock);
                let account = self.account_row(address).await;
                gather(&mut findings, [tried(account.map(drop))]);
            }
        }
        findings
    }
}
