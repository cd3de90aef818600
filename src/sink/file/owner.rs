//! Owner and group of a sink file, by name or number.

use nix::unistd::{Group, User};
use serde::Deserialize;
use std::fmt;

/// A user or group as the settings name it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "a name, or a number")]
pub enum Who {
    /// By number.
    Number(u32),
    /// By name.
    Name(String),
}

impl fmt::Display for Who {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(formatter),
            Self::Name(name) => name.fmt(formatter),
        }
    }
}

/// The user's number; `None` where the settings name none.
///
/// # Errors
/// A sentence where no such user exists.
pub fn user(who: Option<&Who>) -> Result<Option<u32>, String> {
    number("owner", "user", who, |name| User::from_name(name).map(|found| found.map(|user| user.uid.as_raw())))
}

/// The group's number; `None` where the settings name none.
///
/// # Errors
/// A sentence where no such group exists.
pub fn group(who: Option<&Who>) -> Result<Option<u32>, String> {
    number("group", "group", who, |name| Group::from_name(name).map(|found| found.map(|group| group.gid.as_raw())))
}

fn number(
    key: &str,
    noun: &str,
    who: Option<&Who>,
    look_up: impl Fn(&str) -> nix::Result<Option<u32>>,
) -> Result<Option<u32>, String> {
    match who {
        None => Ok(None),
        // The system reads this number as "leave it as it is".
        Some(Who::Number(u32::MAX)) => Err(format!("{key} {} is not a {noun}", u32::MAX)),
        Some(Who::Number(number)) => Ok(Some(*number)),
        Some(Who::Name(name)) => match look_up(name) {
            Ok(Some(number)) => Ok(Some(number)),
            // A configuration that comes through variables has numbers as texts.
            Ok(None) => name.parse().map(Some).map_err(|_| {
                format!(
                    "{key} {name:?}: this system knows no such {noun}; create it, or give its number if it comes from a directory service"
                )
            }),
            Err(error) => Err(format!("{key} {name:?} cannot be looked up: {error}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_found() {
        let name = |text: &str| Some(Who::Name(text.to_owned()));
        assert_eq!(user(name("root").as_ref()), Ok(Some(0)));
        assert_eq!(group(name("root").as_ref()), Ok(Some(0)));
        assert_eq!(user(name("12").as_ref()), Ok(Some(12)));
        assert_eq!(user(Some(&Who::Number(7))), Ok(Some(7)));
        assert_eq!(user(None), Ok(None));
        assert!(user(Some(&Who::Number(u32::MAX))).is_err());
        assert!(user(name("nobody-has-this-name").as_ref()).is_err());
        assert!(group(name("no\0group").as_ref()).is_err());
    }
}
