//! The findings of `check`, in words that every cloud shares: what a condition, a clock or a failed read is to a person.

use super::Condition;
use super::outcome::{Failed, Verdict};
use crate::fault::{Fault, Kind};
use crate::moment::show_span;
use std::time::Duration;

/// What one question of `check` brought.
pub(super) enum Found {
    /// Nothing to report.
    Fine,
    /// A finding, and the other questions still make sense.
    Finding(Fault),
    /// A finding that every other question would run into as well.
    Dead(Fault),
}

/// A finding where the cloud's clock and ours differ by more than the cloud tolerates. `gap` is the cloud's less ours, in milliseconds.
pub(super) fn of_clock(vendor: &str, gap: Option<i64>, tolerance: Duration) -> Option<Fault> {
    let gap = gap?;
    (u128::from(gap.unsigned_abs()) > tolerance.as_millis()).then(|| {
        let what = format!("{vendor} accepts {} of difference, and {}", show_span(tolerance), gap_sentence(gap));
        Fault::new(Kind::ClockSkew, what)
    })
}

/// One finding for each thing to do: what several questions ran into stands there once.
pub(super) fn gather(findings: &mut Vec<Fault>, found: impl IntoIterator<Item = Found>) {
    for found in found {
        match found {
            Found::Fine => {}
            Found::Finding(fault) | Found::Dead(fault) => {
                if !findings.contains(&fault) {
                    findings.push(fault);
                }
            }
        }
    }
}

/// How the two clocks differ, in words. `gap` is the cloud's clock less ours, in milliseconds.
pub(super) fn gap_sentence(gap: i64) -> String {
    let side = if gap >= 0 { "ahead of" } else { "behind" };
    let span = Duration::from_millis(gap.unsigned_abs());
    format!("the cloud's clock is {} {side} this machine's", show_span(span))
}

/// Nothing but whether it may be read and can be.
pub(super) fn tried(read: Result<(), Failed>) -> Found {
    match read {
        Ok(()) => Found::Fine,
        Err(failed) => judged(failed),
    }
}

/// A failed read as a finding.
pub(super) fn judged(failed: Failed) -> Found {
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

/// What an instance's condition is to a person who asks for findings.
pub(super) fn of_condition(instance: &str, condition: &Condition) -> Found {
    let (kind, why) = match condition {
        Condition::Ready => return Found::Fine,
        Condition::Busy(why) => (Kind::Busy, why.clone()),
        Condition::Gone(why) => (Kind::Gone, why.clone()),
        Condition::PasswordFree => (Kind::PasswordFree, "logins need no password".to_owned()),
        Condition::Unsupported(why) => (Kind::Unsupported, why.clone()),
    };
    Found::Finding(Fault::new(kind, format!("On {instance}: {why}")))
}
