//! The life of a task: accepted, preparing, running, and one of two ends.

use crate::moment::Moment;

/// Task types as DescribeTaskList names them (Tencent API document "DescribeTaskList").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TaskKind {
    SetPassword,
    SwitchPasswordFree,
    ChangeAccount,
}

impl TaskKind {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::SetPassword => "007",
            Self::SwitchPasswordFree => "035",
            Self::ChangeAccount => "037",
        }
    }
}

/// How a task is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    Normal,
    /// Stays in `running`: this long, or until it is released.
    Stuck(Option<std::time::Duration>),
    FailsAfterApplying,
    FailsBeforeApplying,
}

/// A moment as it was, and as the cloud's clock showed it then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) at: Moment,
    pub(super) published: Moment,
}

#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) id: i64,
    pub(super) instance: String,
    /// The account whose password it sets.
    pub(super) account: String,
    pub(super) kind: TaskKind,
    pub(super) accepted: Stamp,
    /// When it turned from preparing to running.
    pub(super) running_from: Moment,
    /// When it ended, and with which error text if it failed.
    pub(super) end: Option<(Stamp, Result<(), String>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TaskStatus {
    Preparing,
    Running,
    Succeeded,
    Failed,
}

impl TaskStatus {
    /// As DescribeTaskInfo spells it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Succeeded => "succeed",
            Self::Failed => "failed",
        }
    }

    /// As DescribeTaskList counts it.
    pub(super) fn result(self) -> i64 {
        match self {
            Self::Preparing => 0,
            Self::Running => 1,
            Self::Succeeded => 2,
            Self::Failed => 4,
        }
    }
}

impl Task {
    /// The status at a moment, present or past; `None` before the task was.
    pub(super) fn status_at(&self, when: Moment) -> Option<TaskStatus> {
        match &self.end {
            _ if when < self.accepted.at => None,
            Some((stamp, outcome)) if stamp.at <= when => Some(match outcome {
                Ok(()) => TaskStatus::Succeeded,
                Err(_) => TaskStatus::Failed,
            }),
            Some(_) | None if when < self.running_from => Some(TaskStatus::Preparing),
            Some(_) | None => Some(TaskStatus::Running),
        }
    }

    /// The error text at a moment; empty unless the task had failed.
    pub(super) fn message_at(&self, when: Moment) -> &str {
        match &self.end {
            Some((stamp, Err(message))) if stamp.at <= when => message,
            Some(_) | None => "",
        }
    }
}
