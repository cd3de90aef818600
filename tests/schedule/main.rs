//! The timetable against a clock that is watched minute by minute, and against tables.

#![allow(clippy::unwrap_used, reason = "a test's helpers stop where the test would")]

mod changes;
mod freezes;
mod slots;
mod spelling;
mod watch;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use keywheel::moment::Moment;
use keywheel::schedule::{Missed, Settings};
use std::time::Duration;

fn settings(target: &str) -> Settings {
    Settings {
        target: target.parse().unwrap(),
        schedule: None,
        every: None,
        zone: Tz::UTC,
        window: None,
        splay: Duration::ZERO,
        missed: Missed::IfOpen,
        max_age: None,
    }
}

fn cron(text: &str) -> Settings {
    Settings { schedule: Some(text.to_owned()), ..settings("orders-cache") }
}

fn at(text: &str) -> Moment {
    text.parse::<DateTime<Utc>>().unwrap().into()
}

fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3_600)
}
