//! Which instances a caller asks for by the tags that their owner gave them.

use std::collections::BTreeMap;

/// An instance's tags, by key.
pub(super) type Tags = BTreeMap<String, String>;

/// A tag as a caller names it: a key, and the value it must have where one is named.
pub(super) type Wanted<'a> = (&'a str, Option<&'a str>);

/// Whether the tags hold what is wanted.
pub(super) fn hold(tags: &Tags, (key, value): Wanted<'_>) -> bool {
    tags.get(key).is_some_and(|held| value.is_none_or(|value| value == held))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_alone_fits_any_value() {
        let tags = Tags::from([("rotate".to_owned(), "weekly".to_owned())]);
        for (key, value, fits) in [
            ("rotate", None, true),
            ("rotate", Some("weekly"), true),
            ("rotate", Some("Weekly"), false),
            ("rotate", Some(""), false),
            ("Rotate", None, false),
        ] {
            assert_eq!(hold(&tags, (key, value)), fits, "{key} {value:?}");
        }
    }
}
