//! What can be wrong with the settings of a timetable.

use crate::moment::show_span;
use std::time::Duration;

/// One problem with a target's schedule settings. The text says what is wrong and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleProblem {
    /// Two rhythms at once.
    #[error("schedule and every exclude each other: keep one of them")]
    Both,
    /// Longer than anybody writes.
    #[error("the schedule is longer than {limit} characters: write 5 or 6 cron fields, such as \"30 3 * * SUN\"")]
    TooLong {
        /// The longest schedule that is read, in bytes.
        limit: usize,
    },
    /// Neither five nor six fields.
    #[error(
        "schedule {text:?} has {count} fields: write 5 (minute hour day month weekday) such as \"30 3 * * SUN\", or 6 with seconds first"
    )]
    FieldCount {
        /// The schedule as written.
        text: String,
        /// How many fields it has.
        count: usize,
    },
    /// An `@` name nobody knows.
    #[error("schedule {text:?} is not known: use @hourly, @daily, @weekly, @monthly or @yearly, or 5 or 6 cron fields")]
    UnknownName {
        /// The schedule as written.
        text: String,
    },
    /// One field that cannot be read.
    #[error("schedule {text:?}: the {field} field {value:?} cannot be read; write {allowed}")]
    Field {
        /// The schedule as written.
        text: String,
        /// Which field.
        field: &'static str,
        /// What stands there.
        value: String,
        /// What may stand there, with examples.
        allowed: &'static str,
    },
    /// Each field is fine, but no date has them all.
    #[error("schedule {text:?} never fires: no date fits it; check day and month")]
    NeverFires {
        /// The schedule as written.
        text: String,
    },
    /// `every` below the limit.
    #[error("every {} is too short: at least {}", show_span(*every), show_span(super::SHORTEST_EVERY))]
    EveryTooShort {
        /// The refused duration.
        every: Duration,
    },
    /// A window in which nothing can start.
    #[error(
        "a window of zero never opens: write how long after its time a rotation may start, such as 2h, or leave it out"
    )]
    WindowZero,
    /// Some targets would fall due after their window closed.
    #[error(
        "splay {} is longer than the window {}: some targets would fall due too late; shorten the splay or widen the window",
        show_span(*splay),
        show_span(*window)
    )]
    SplayTooLong {
        /// The refused splay.
        splay: Duration,
        /// The window it has to fit into.
        window: Duration,
    },
    /// An age at which every password is too old at once.
    #[error("a max-age of zero makes every password too old: write a duration such as 45d, or leave it out")]
    MaxAgeZero,
}

impl ScheduleProblem {
    /// The setting to blame, as it is spelt in the configuration.
    pub fn setting(&self) -> &'static str {
        match self {
            Self::Both | Self::EveryTooShort { .. } => "every",
            Self::TooLong { .. }
            | Self::FieldCount { .. }
            | Self::UnknownName { .. }
            | Self::Field { .. }
            | Self::NeverFires { .. } => "schedule",
            Self::WindowZero => "window",
            Self::SplayTooLong { .. } => "splay",
            Self::MaxAgeZero => "max-age",
        }
    }
}
