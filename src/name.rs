//! Checked names and numbers: what an operator calls things, and what keywheel counts.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest name an operator may give to anything, in characters.
pub const NAME_LIMIT: usize = 63;

/// Why a text cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} is not a name: use 1 to {NAME_LIMIT} characters of a-z A-Z 0-9 . _ - and begin with a letter or digit"
)]
pub struct BadName {
    /// The refused text.
    pub name: String,
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The checked text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = BadName;
            fn from_str(text: &str) -> Result<Self, BadName> {
                checked(text).map($name)
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                checked(&text).map($name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }
    )*};
}

names! {
    /// One credential to rotate, `[targets.NAME]`.
    TargetName
    /// One cloud account and region, `[providers.NAME]`.
    ProviderName
    /// One place that receives passwords, `[sinks.NAME]`.
    SinkName
    /// One thing told after a delivery, `[hooks.NAME]`.
    HookName
    /// One channel for alerts, `[alerts.NAME]`.
    ChannelName
    /// One password policy, `[policies.NAME]`.
    PolicyName
    /// One bearer token, `[daemon] tokens = { NAME = … }`.
    TokenName
    /// Dates on which nothing begins by itself, `[freezes.NAME]`.
    FreezeName
}

fn checked(text: &str) -> Result<String, BadName> {
    let begins_well = text.starts_with(|first: char| first.is_ascii_alphanumeric());
    let fits =
        text.len() <= NAME_LIMIT && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if begins_well && fits {
        Ok(text.to_owned())
    } else {
        Err(BadName { name: text.chars().take(NAME_LIMIT + 1).collect() })
    }
}

/// The number of a target's password: 1, 2, 3 … Zero stands for "none yet".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The number after this one; after the last there is none, so that one again.
    #[must_use]
    pub fn following(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The id of one rotation, a ULID: it stands in every log line, event, hook and request that the rotation causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RotationId(ulid::Ulid);

impl RotationId {
    /// An id from the moment the rotation began and 80 random bits (the low bits of `random`).
    pub fn from_parts(at: crate::moment::Moment, random: u128) -> Self {
        Self(ulid::Ulid::from_parts(at.millis().unsigned_abs(), random))
    }

    /// Sixty-four bits that differ from rotation to rotation: the seed of its back-off jitter.
    pub fn seed(self) -> u64 {
        (self.0.0 & u128::from(u64::MAX)) as u64
    }
}

impl fmt::Display for RotationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl std::str::FromStr for RotationId {
    type Err = ulid::DecodeError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        ulid::Ulid::from_string(text).map(Self)
    }
}

/// The number of a cloud task that carries out an accepted change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub i64);

impl fmt::Display for TaskId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The fencing number of a claim: a later claim of the same target has a greater one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_where_they_enter() {
        for good in ["orders-cache", "a", "0", "A.b_c-9"] {
            assert!(good.parse::<TargetName>().is_ok(), "{good}");
        }
        let long = "x".repeat(NAME_LIMIT + 1);
        for bad in ["", "-a", ".a", "a b", "a/b", "a\n", "é", "<script>", long.as_str()] {
            assert!(bad.parse::<TargetName>().is_err(), "{bad:?}");
            assert!(serde_json::from_value::<TargetName>(bad.into()).is_err(), "{bad:?}");
        }
    }
}
