//! A point in time as the ledger stores it, and durations as people write them. No clock here: time is an argument.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A UTC instant in whole milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(i64);

impl Moment {
    /// Later than anything keywheel plans for (the year 9999): "never, until somebody acts".
    pub const NEVER: Moment = Moment(253_402_300_799_000);

    /// The instant `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// The instant `seconds` seconds after the epoch, as far as it can be expressed: a service may name any number.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000))
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// The same instant for calendar arithmetic. Clamped to what the calendar can express.
    pub fn utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0.clamp(-62_135_596_800_000, Self::NEVER.0)).unwrap_or_default()
    }

    /// How long after `earlier` this is; zero when it is not later.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<DateTime<Utc>> for Moment {
    fn from(when: DateTime<Utc>) -> Self {
        Self(when.timestamp_millis())
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;
    fn add(self, span: Duration) -> Moment {
        let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Moment(self.0.saturating_add(millis).min(Self::NEVER.0))
    }
}

impl Sub<Duration> for Moment {
    type Output = Moment;
    fn sub(self, span: Duration) -> Moment {
        let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Moment(self.0.saturating_sub(millis))
    }
}

impl fmt::Display for Moment {
    /// RFC 3339 in UTC, to the millisecond.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.utc().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

/// A stretch of time in which a rotation may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Slot {
    /// The time the schedule names.
    pub nominal: Moment,
    /// The nominal time plus the target's splay: not before this.
    pub due: Moment,
    /// Not after this.
    pub closes: Moment,
}

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a duration: write a number with a unit, such as 90s, 20m, 2h or 30d")]
pub struct BadSpan;

/// The longest duration a setting may have.
pub const SPAN_LIMIT: Duration = Duration::from_secs(3_660 * 86_400);

/// Reads `90s`, `20m`, `2h`, `30d`, or several in a row.
///
/// # Errors
/// [`BadSpan`] where the text has no unit, an unknown unit, or means more than [`SPAN_LIMIT`].
pub fn parse_span(text: &str) -> Result<Duration, BadSpan> {
    let span = humantime::parse_duration(text.trim()).map_err(|_| BadSpan)?;
    if span > SPAN_LIMIT { Err(BadSpan) } else { Ok(span) }
}

/// [`parse_span`] for a setting: `#[serde(deserialize_with = "span_setting")]`.
///
/// # Errors
/// Where the setting is not a text or not a duration.
pub fn span_setting<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_span(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

/// A duration for people, in at most two units: `2h 5m`, `12d 3h`, `850ms`.
pub fn show_span(span: Duration) -> String {
    const UNITS: [(u128, &str); 5] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let mut rest = span.as_millis();
    let mut parts = Vec::new();
    for (size, unit) in UNITS {
        let whole = rest / size;
        if whole > 0 {
            parts.push(format!("{whole}{unit}"));
            rest %= size;
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 || (unit == "s" && !parts.is_empty()) {
            break;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        for (text, seconds) in [("90s", 90), ("20m", 1_200), ("2h", 7_200), ("30d", 2_592_000), ("1h 30m", 5_400)] {
            assert_eq!(parse_span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "90", "2 fortnights", "-1s", "99999999d"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_are_shown_in_two_units_at_most() {
        for (millis, shown) in [
            (0, "0s"),
            (850, "850ms"),
            (1_850, "1s"),
            (90_000, "1m 30s"),
            (7_500_000, "2h 5m"),
            (86_400_000, "1d"),
            (90_061_001, "1d 1h"),
        ] {
            assert_eq!(show_span(Duration::from_millis(millis)), shown);
        }
    }

    #[test]
    fn moments_print_as_rfc_3339() {
        assert_eq!(Moment::from_seconds(1_735_689_600).to_string(), "2025-01-01T00:00:00.000Z");
        assert_eq!((Moment::NEVER + Duration::from_secs(1)), Moment::NEVER);
    }
}
