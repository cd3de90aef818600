//! What goes wrong, as data: a queue of steps, each consumed by the calls it matches.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// One thing that goes wrong, and for which call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Step {
    /// An action's name; a `*` stands for any text, so `Describe*` and `*` are patterns.
    pub action: String,
    /// Only calls about this instance (a task's instance counts).
    #[serde(default)]
    pub instance: Option<String>,
    /// How many calls it spoils.
    #[serde(default = "once")]
    pub times: u32,
    /// What happens to them.
    pub fault: Fault,
}

impl Step {
    /// One call of `action`, on any instance, meets `fault`.
    pub fn once(action: &str, fault: Fault) -> Self {
        Self { action: action.to_owned(), instance: None, times: 1, fault }
    }

    fn matches(&self, action: &str, instance: Option<&str>) -> bool {
        let about_it = self.instance.as_deref().is_none_or(|wanted| instance == Some(wanted));
        about_it && fits(&self.action, action)
    }
}

fn once() -> u32 {
    1
}

/// What can happen to one call. "Applied" means that the cloud acts on the call as if all were well (its task runs, the password changes at
/// the task's end); only the caller does not hear of it. A call that the cloud would refuse anyway has no effect to apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Fault {
    /// An error code, and nothing done.
    RefuseBeforeEffect {
        /// The vendor's code, such as `FailedOperation.SystemError`.
        code: String,
    },
    /// Applied; then the connection is dropped.
    ApplyThenDropConnection {
        /// How many bytes of the answer's body are sent first; with 0 not even a status line is.
        #[serde(default)]
        after_bytes: usize,
    },
    /// The request is read and the connection dropped; nothing done.
    DropBeforeEffect,
    /// Applied; then an HTTP status that no API answer has.
    ApplyThenStatus {
        /// Such as 502.
        status: u16,
    },
    /// The connection is dropped, and after `delay` the call takes effect, with all checks made then: it lay in a queue.
    ApplyLate {
        /// How long it lay there.
        #[serde(with = "super::span")]
        delay: Duration,
    },
    /// Another process locks the instance, this call meets the lock, and so does every one within `span`.
    LockFor {
        /// How long the lock lasts.
        #[serde(with = "super::span")]
        span: Duration,
    },
    /// Accepted, and the task goes on running. It holds the instance and applies at its end.
    TaskStuck {
        /// How long it is stuck; absent means until it is released by a [`super::Change`].
        #[serde(default, with = "super::span::optional")]
        span: Option<Duration>,
    },
    /// Accepted; the password changes, and the task says that it failed.
    TaskFailsAfterApplying,
    /// Accepted; the task fails and the password stays.
    TaskFailsBeforeApplying,
    /// The old password is called wrong, right or not.
    WrongOldPassword,
    /// The request is called one too many; no token bucket is asked.
    Throttle,
    /// A read shows the world as it was `age` ago; a write is not affected.
    StaleRead {
        /// How old the answer is.
        #[serde(with = "super::span")]
        age: Duration,
    },
    /// An answer with status 200 that means nothing.
    Garbage {
        /// Which.
        shape: Garbage,
        /// Whether the call took effect.
        #[serde(default)]
        applied: bool,
    },
    /// An answer of 100 MB with its length announced.
    HugeBody {
        /// Whether the call took effect.
        #[serde(default)]
        applied: bool,
    },
    /// An answer that goes on until the caller hangs up.
    EndlessBody {
        /// Whether the call took effect.
        #[serde(default)]
        applied: bool,
    },
    /// The right answer, one byte at a time.
    SlowBody {
        /// The pause before each byte.
        #[serde(with = "super::span")]
        pause: Duration,
    },
    /// No answer, and the connection stays open.
    NeverAnswer {
        /// Whether the call took effect.
        #[serde(default)]
        applied: bool,
    },
}

/// Ways in which an answer means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Garbage {
    /// A web page.
    NotJson,
    /// JSON without an envelope.
    NoEnvelope,
    /// The envelope with a request id and nothing the action promises.
    NoFields,
    /// The envelope with fields of other types.
    WrongTypes,
    /// JSON that ends in its middle.
    CutOff,
    /// Nothing at all.
    Empty,
}

/// The steps still to come.
#[derive(Debug, Default)]
pub(super) struct Script(VecDeque<Step>);

impl Script {
    pub(super) fn append(&mut self, steps: Vec<Step>) {
        self.0.extend(steps.into_iter().filter(|step| step.times > 0));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The first step that matches, used once.
    pub(super) fn take(&mut self, action: &str, instance: Option<&str>) -> Option<Fault> {
        let place = self.0.iter().position(|step| step.matches(action, instance))?;
        let step = self.0.get_mut(place)?;
        let fault = step.fault.clone();
        step.times -= 1;
        if step.times == 0 {
            self.0.remove(place);
        }
        Some(fault)
    }

    pub(super) fn steps(&self) -> Vec<&Step> {
        self.0.iter().collect()
    }
}

/// Whether `text` fits a pattern in which `*` stands for any text.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| {
            (0..=rest.len()).filter(|&at| rest.is_char_boundary(at)).any(|at| fits(tail, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, fitting) in [
            ("ResetPassword", "ResetPassword", true),
            ("ResetPassword", "ResetPasswords", false),
            ("*", "", true),
            ("Mod*InstancePassword", "ModfiyInstancePassword", true),
            ("Mod*InstancePassword", "ModifyInstancePasswordPolicy", false),
            ("*Task*", "DescribeTaskInfo", true),
        ] {
            assert_eq!(fits(pattern, text), fitting, "{pattern} {text}");
        }
    }

    #[test]
    fn the_first_matching_step_is_used_up() {
        let mut script = Script::default();
        let mut twice = Step::once("Reset*", Fault::Throttle);
        twice.times = 2;
        let mut other = Step::once("*", Fault::DropBeforeEffect);
        other.instance = Some("crs-b".to_owned());
        script.append(vec![twice, other]);
        assert_eq!(script.take("ResetPassword", Some("crs-a")), Some(Fault::Throttle));
        assert_eq!(script.take("DescribeInstances", None), None);
        assert_eq!(script.take("ResetPassword", Some("crs-b")), Some(Fault::Throttle));
        assert_eq!(script.take("ResetPassword", Some("crs-b")), Some(Fault::DropBeforeEffect));
        assert_eq!(script.take("ResetPassword", Some("crs-b")), None);
        assert!(script.steps().is_empty());
    }

    #[test]
    fn steps_are_read_as_data_and_written_back() {
        let text = r#"[
            {"action": "ModifyInstancePassword", "fault": {"kind": "apply-late", "delay": "300ms"}},
            {"action": "*", "instance": "crs-a", "times": 3, "fault": {"kind": "task-stuck"}},
            {"action": "*", "fault": {"kind": "garbage", "shape": "not-json", "applied": true}},
            {"action": "*", "fault": {"kind": "drop-before-effect"}}
        ]"#;
        let steps: Vec<Step> = serde_json::from_str(text).unwrap();
        assert_eq!(steps[0].fault, Fault::ApplyLate { delay: Duration::from_millis(300) });
        assert_eq!(steps[1].times, 3);
        let written = serde_json::to_string(&steps).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Step>>(&written).unwrap(), steps);
        assert!(serde_json::from_str::<Step>(r#"{"action": "*", "fault": {"kind": "no-such"}}"#).is_err());
        assert!(serde_json::from_str::<Step>(r#"{"action": "*", "falt": {"kind": "throttle"}}"#).is_err());
    }
}
