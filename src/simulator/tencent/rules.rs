//! The published rules of a new password. The vendor's documents disagree from action to action, and so does this table.

use super::super::settings::PasswordPolicy;
use super::actions::Action;

/// Special characters the password actions take (Tencent API documents "ModifyInstancePassword", "ResetPassword").
const SPECIALS: &str = "()~!@#$%^&*-+=_|{}[]:;<>,.?/";

/// `Type` 3 and 4: CKV 3.2, whose passwords are letters and digits only, 8 to 30 of them.
const CKV: [i64; 2] = [3, 4];

/// Which rule a new password breaks, in words, if any. `action` is one that changes passwords.
pub(super) fn broken_rule(
    action: Action,
    engine: i64,
    policy: Option<&PasswordPolicy>,
    password: &str,
) -> Option<&'static str> {
    let longest = match action {
        _ if CKV.contains(&engine) => 30,
        Action::ModfiyInstancePassword => 64,
        Action::ResetPassword => 32,
        // The page of ModifyInstanceAccount prints none; this is the limit that the vendor's Terraform provider names for accounts.
        Action::ModifyInstanceAccount
        | Action::ModifyInstancePassword
        | Action::DescribeTaskInfo
        | Action::DescribeTaskList
        | Action::DescribeInstances
        | Action::DescribeInstanceAccount
        | Action::DescribeInstancePasswordPolicy => 30,
    };
    let count = |wanted: fn(char) -> bool| password.chars().filter(|&c| wanted(c)).count();
    let (lower, upper) = (count(|c| c.is_ascii_lowercase()), count(|c| c.is_ascii_uppercase()));
    let (digits, specials) = (count(|c| c.is_ascii_digit()), count(|c| SPECIALS.contains(c)));
    let length = password.chars().count();
    let classes = [lower, upper, digits, specials].iter().filter(|&&n| n > 0).count();
    if !(8..=longest).contains(&length) {
        return Some("the length is not allowed");
    }
    if lower + upper + digits + specials != length {
        return Some("a character is not allowed");
    }
    if password.starts_with('/') {
        return Some("it begins with a slash");
    }
    if CKV.contains(&engine) && (specials > 0 || digits == 0 || lower + upper == 0) {
        return Some("this engine takes letters and digits, both of them and nothing else");
    }
    if classes < 2 {
        return Some("it has fewer than two kinds of characters");
    }
    let enough = |have: usize, wanted: u32| have >= wanted as usize;
    let policy = policy.filter(|policy| policy.enabled)?;
    let meets_policy = enough(lower + upper, policy.letters)
        && enough(digits, policy.digits)
        && enough(specials, policy.specials)
        && enough(length, policy.length);
    (!meets_policy).then_some("it does not meet the instance's own policy")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_action_has_its_own_rules() {
        use Action::{ModfiyInstancePassword as Misspelt, ModifyInstancePassword as Modify, ResetPassword as Reset};
        let of_length = |n: usize| format!("a1{}", "x".repeat(n - 2));
        for (action, engine, password, allowed) in [
            (Modify, 15, of_length(7), false),
            (Modify, 15, of_length(8), true),
            (Modify, 15, of_length(30), true),
            (Modify, 15, of_length(31), false),
            (Reset, 15, of_length(32), true),
            (Reset, 15, of_length(33), false),
            (Misspelt, 15, of_length(64), true),
            (Misspelt, 15, of_length(65), false),
            (Misspelt, 4, of_length(31), false),
            (Modify, 15, "abcdefgh".to_owned(), false),
            (Modify, 15, "abcdefgH".to_owned(), true),
            (Modify, 15, "/bcdefg1".to_owned(), false),
            (Modify, 15, "b/cdefg1".to_owned(), true),
            (Modify, 15, "bcdefg1`".to_owned(), false),
            (Modify, 15, "bcdefg1\"".to_owned(), false),
            (Modify, 15, "bcdefg1é".to_owned(), false),
            (Modify, 15, "bcdef 12".to_owned(), false),
            (Modify, 3, "bcdefg1_".to_owned(), false),
            (Modify, 3, "bcdefghI".to_owned(), false),
            (Modify, 3, "bcdefgh1".to_owned(), true),
        ] {
            assert_eq!(
                broken_rule(action, engine, None, &password).is_none(),
                allowed,
                "{action:?} {engine} {password}"
            );
        }
    }

    #[test]
    fn an_instance_may_ask_for_more() {
        let mut policy = PasswordPolicy { enabled: true, letters: 2, digits: 2, specials: 1, length: 12 };
        let broken = |policy: &PasswordPolicy, password: &str| {
            broken_rule(Action::ModifyInstancePassword, 15, Some(policy), password).is_some()
        };
        for (password, allowed) in [
            ("abcdefgh12_x", true),
            ("abcdefgh12_", false),
            ("abcdefghi1_x", false),
            ("abcdefgh123x", false),
            ("123456789_1a", false),
        ] {
            assert_eq!(!broken(&policy, password), allowed, "{password}");
        }
        policy.enabled = false;
        assert!(!broken(&policy, "abcdefg1"));
    }
}
