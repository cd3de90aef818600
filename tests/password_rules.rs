//! Passwords as drawn, against the rules as published. The validators here were written from the vendors' texts and share no code with the
//! sampler, its policies or its profiles.

use keywheel::password::{Extra, Policy, PolicySettings, Profile};
use rand::{SeedableRng, rngs::StdRng};
use std::collections::HashSet;

const SAMPLES: usize = 100_000;

type Validator = fn(&str) -> bool;

/// TencentDB for Redis, "ModifyInstancePassword": 8 to 30 characters; at least two of lower-case letters, upper-case letters, digits and the
/// special characters ()~!@#$%^&*-+=_|{}[]:;<>,.?/ ; not beginning with a slash. "Managing Account" advises against the at sign, and "Connection
/// preparation" puts a colon between instance and password.
fn tencent(password: &str) -> bool {
    let mut kinds = HashSet::new();
    for character in password.chars() {
        kinds.insert(match character {
            'a'..='z' => "lower",
            'A'..='Z' => "upper",
            '0'..='9' => "digit",
            '(' | ')' | '~' | '!' | '#' | '$' | '%' | '^' | '&' | '*' | '-' | '+' | '=' | '_' | '|' => "special",
            '{' | '}' | '[' | ']' | ';' | '<' | '>' | ',' | '.' | '?' | '/' => "special",
            _ => return false,
        });
    }
    (8..=30).contains(&password.len()) && kinds.len() >= 2 && !password.starts_with('/')
}

/// TencentDB for Redis, "CreateInstances" on the CKV edition: 8 to 30 characters, letters and digits, nothing else.
fn tencent_ckv(password: &str) -> bool {
    let letters = password.bytes().filter(u8::is_ascii_alphabetic).count();
    let digits = password.bytes().filter(u8::is_ascii_digit).count();
    letters > 0 && digits > 0 && letters + digits == password.len() && matches!(password.len(), 8..=30)
}

/// Tair, "ModifyAccountPassword": 8 to 32 characters; at least three of upper-case letters, lower-case letters, digits and the special characters
/// ! @ # $ % ^ & * ( ) _ + - =
fn alibaba(password: &str) -> bool {
    let has = |belongs: fn(char) -> bool| usize::from(password.contains(belongs));
    let special = |character| "! @ # $ % ^ & * ( ) _ + - =".split(' ').any(|one| one.starts_with(character));
    let kinds = has(|c| c.is_ascii_uppercase()) + has(|c| c.is_ascii_lowercase()) + has(|c| c.is_ascii_digit());
    let known = password.chars().all(|c| c.is_ascii_alphanumeric() || special(c));
    known && kinds + usize::from(password.contains(special)) >= 3 && password.len() >= 8 && password.len() <= 32
}

/// Redis "ACL SETUSER" takes any bytes; a space or a control character would not survive the ACL file.
fn redis(password: &str) -> bool {
    !password.is_empty() && password.bytes().all(|byte| byte > 0x20 && byte < 0x7f)
}

/// A letter in front, nothing that a URL, a shell or an environment file would have to escape, the documented length.
fn house(password: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    password.chars().count() == 24
        && password.chars().all(plain)
        && password.chars().next().is_some_and(char::is_alphabetic)
}

/// Draws from the policy and expects every password to be good and no two to be the same.
fn assert_all_comply(what: &str, policy: &Policy, is_good: impl Fn(&str) -> bool) {
    let mut rng = StdRng::seed_from_u64(20_250_101);
    let mut seen = HashSet::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let password = policy.sample(&mut rng).expose().to_owned();
        assert!(is_good(&password), "{what}: {password}");
        assert!(seen.insert(password), "{what}: drawn twice");
    }
}

/// A policy as wide as the profile allows, so that the rare passwords turn up too.
fn widest(profile: Profile, length: u32, specials: &str) -> Policy {
    let alphabet: String = ('a'..='z').chain('A'..='Z').chain('0'..='9').chain(specials.chars()).collect();
    let settings = PolicySettings { length, alphabet, ..profile.default_settings() };
    let policy = Policy::parse(&settings).expect("the widest policy can be met");
    assert_eq!(profile.accepts_policy(&policy), Ok(()));
    policy
}

#[test]
fn the_validators_refuse_what_the_vendors_refuse() {
    let rows: &[(&str, Validator, bool)] = &[
        ("Abcdefg1", tencent, true),
        ("Abcdef1", tencent, false),
        ("abcdefgh", tencent, false),
        ("/bcdefg1", tencent, false),
        ("a/cdefg1", tencent, true),
        ("a@cdefg1", tencent, false),
        ("a:cdefg1", tencent, false),
        ("a`cdefg1", tencent, false),
        ("a1345678901234567890123456789012", tencent, false),
        ("Abcdefg1", tencent_ckv, true),
        ("Abcdefg-", tencent_ckv, false),
        ("Abcdefgh", tencent_ckv, false),
        ("Abcdefg1", alibaba, true),
        ("abcdefg1", alibaba, false),
        ("abcdefg1=", alibaba, true),
        ("Abcdefg1.", alibaba, false),
        ("Abcdefg1 ", alibaba, false),
        ("x", redis, true),
        ("a b", redis, false),
    ];
    for (password, is_good, expected) in rows {
        assert_eq!(is_good(password), *expected, "{password}");
    }
}

#[test]
fn tencent_passwords_comply() {
    let profile = Profile::Tencent;
    assert_all_comply("default", &profile.default_policy(), |password| tencent(password) && house(password));
    let wide = widest(profile, 30, "()~!#$%^&*-+=_|{}[];<>,.?/");
    assert_all_comply("widest", &wide, tencent);
}

#[test]
fn tencent_ckv_passwords_comply() {
    let profile = Profile::TencentCkv;
    assert_all_comply("default", &profile.default_policy(), |password| tencent_ckv(password) && house(password));
}

#[test]
fn alibaba_passwords_comply() {
    let profile = Profile::Alibaba;
    assert_all_comply("default", &profile.default_policy(), |password| alibaba(password) && house(password));
    assert_all_comply("widest", &widest(profile, 32, "!@#$%^&*()_+-="), alibaba);
}

#[test]
fn redis_passwords_comply() {
    let profile = Profile::Redis;
    assert_all_comply("default", &profile.default_policy(), |password| redis(password) && house(password));
}

/// "DescribeInstancePasswordPolicy": at least so many letters, digits, special characters, and characters in all.
#[test]
fn passwords_for_an_instance_with_its_own_rule_comply_with_both() {
    let profile = Profile::Tencent;
    let extra = Extra { letters: 9, digits: 8, specials: 7, length: 26 };
    let policy = profile.tightened(&profile.default_policy(), extra).expect("26 characters are room enough");
    assert_all_comply("tightened", &policy, |password| {
        let letters = password.matches(char::is_alphabetic).count();
        let digits = password.matches(char::is_numeric).count();
        tencent(password)
            && letters >= 9
            && digits >= 8
            && password.len() - letters - digits >= 7
            && password.len() >= 26
    });
}
