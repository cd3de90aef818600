//! The published rule of a new password, the same for every action that sets one.

/// Special characters a password takes (Alibaba API documents "ModifyAccountPassword", "ResetAccountPassword").
const SPECIALS: &str = "!@#$%^&*()_+-=";

/// How many of the four kinds of characters there must be.
const KINDS: usize = 3;

/// Which rule a new password breaks, in words, if any.
pub(super) fn broken_rule(password: &str) -> Option<&'static str> {
    let count = |wanted: fn(char) -> bool| password.chars().filter(|&c| wanted(c)).count();
    let kinds = [
        count(|c| c.is_ascii_lowercase()),
        count(|c| c.is_ascii_uppercase()),
        count(|c| c.is_ascii_digit()),
        count(|c| SPECIALS.contains(c)),
    ];
    let length = password.chars().count();
    if !(8..=32).contains(&length) {
        Some("it must have 8 to 32 characters")
    } else if kinds.iter().sum::<usize>() != length {
        Some("a character is not allowed")
    } else if kinds.iter().filter(|&&n| n > 0).count() < KINDS {
        Some("it has fewer than three kinds of characters")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_is_kept() {
        for (password, allowed) in [
            ("abcdeF1".to_owned(), false),
            ("abcdefG1".to_owned(), true),
            (format!("aB1{}", "x".repeat(29)), true),
            (format!("aB1{}", "x".repeat(30)), false),
            ("abcdefgh1".to_owned(), false),
            ("abcdefgh_1".to_owned(), true),
            ("ABCDEFGH_1".to_owned(), true),
            ("abcdefgH_".to_owned(), true),
            ("12345678_".to_owned(), false),
            ("aB3!@#$%^&*()_+-=".to_owned(), true),
            ("abcdefG1.".to_owned(), false),
            ("abcdefG1:".to_owned(), false),
            ("abcdefG1é".to_owned(), false),
            ("abcdef G1".to_owned(), false),
        ] {
            assert_eq!(broken_rule(&password).is_none(), allowed, "{password}");
        }
    }
}
