//! What each vendor says a password must look like. A policy is held against a profile when the configuration loads, not when a call is refused.

use super::alphabet::{Class, ClassSet};
use super::policy::{LENGTH_LIMIT, Policy, PolicySettings};
use super::problem::PolicyProblem;
use std::fmt;
use std::str::FromStr;

/// A vendor's published password rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// TencentDB for Redis: the intersection of what "ModifyInstancePassword" (8 to 30 characters), "ResetPassword" (8 to 32),
    /// "ModifyInstanceAccount" and "CreateInstanceAccount" (8 to 64) publish: two of the four classes, the special characters
    /// ``()~!@#$%^&*-+=_|{}[]:;<>,.?/``, not `/` in front. By our judgement also never `@` and `:`: "Managing Account" splits a login
    /// `account@password` at the first `@`, and "Connection preparation" writes the default account's as `instance-id:password`.
    Tencent,
    /// TencentDB for Redis, CKV edition ("CreateInstances", "CloneInstances"): 8 to 30 characters, letters and digits and nothing else.
    TencentCkv,
    /// Tair and ApsaraDB for Redis ("ModifyAccountPassword", "ResetAccountPassword", "CreateAccount"): 8 to 32 characters, three of the four
    /// classes, the special characters `!@#$%^&*()_+-=`.
    Alibaba,
    /// Redis or Valkey of one's own ("ACL SETUSER"): no rule of its own; printable ASCII without the space survives every ACL file and client.
    Redis,
}

struct Published {
    shortest: u32,
    longest: u32,
    /// How many of the four classes every password must hold.
    classes: usize,
    /// Of each of these sets every password must hold a character.
    needs: &'static [ClassSet],
    /// The special characters that are taken.
    specials: &'static str,
    /// What must not stand in front.
    never_first: Option<char>,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 4] = [Self::Tencent, Self::TencentCkv, Self::Alibaba, Self::Redis];

    /// The profile's name in settings and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tencent => "tencent",
            Self::TencentCkv => "tencent-ckv",
            Self::Alibaba => "alibaba",
            Self::Redis => "redis",
        }
    }

    /// The rules of an engine's family as a provider names it, where they are stricter than those of its cloud's usual one.
    pub fn of_engine(family: &str) -> Option<Self> {
        (family == "ckv").then_some(Self::TencentCkv)
    }

    fn published(self) -> Published {
        match self {
            Self::Tencent => Published {
                shortest: 8,
                longest: 30,
                classes: 2,
                needs: &[],
                specials: "()~!#$%^&*-+=_|{}[];<>,.?/",
                never_first: Some('/'),
            },
            Self::TencentCkv => Published {
                shortest: 8,
                longest: 30,
                classes: 2,
                needs: &[ClassSet::LETTERS, ClassSet::DIGITS],
                specials: "",
                never_first: None,
            },
            Self::Alibaba => Published {
                shortest: 8,
                longest: 32,
                classes: 3,
                needs: &[],
                specials: "!@#$%^&*()_+-=",
                never_first: None,
            },
            Self::Redis => Published {
                shortest: 1,
                longest: LENGTH_LIMIT,
                classes: 1,
                needs: &[],
                specials: "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
                never_first: None,
            },
        }
    }

    /// The settings of the policy that is used where the operator names none: 24 characters, one of each class, a letter in front.
    pub fn default_settings(self) -> PolicySettings {
        let alphabet = match self {
            Self::Tencent | Self::Alibaba | Self::Redis => "url-safe",
            Self::TencentCkv => "alphanumeric",
        };
        PolicySettings { alphabet: alphabet.to_owned(), ..PolicySettings::default() }
    }

    /// The policy of [`Profile::default_settings`].
    pub fn default_policy(self) -> Policy {
        Policy::parse(&self.default_settings()).expect("the built-in settings are parsed in a test")
    }

    /// Whether *every* password of the policy complies with the vendor's rules.
    ///
    /// # Errors
    /// Every rule that some password would break.
    pub fn accepts_policy(self, policy: &Policy) -> Result<(), Vec<PolicyProblem>> {
        let Published { shortest, longest, classes, needs, specials, never_first } = self.published();
        let mut problems = Vec::new();
        let length = policy.length();
        if !(shortest..=longest).contains(&length) {
            problems.push(PolicyProblem::LengthRefused { profile: self, length, shortest, longest });
        }
        let is_taken = |character: char| character.is_ascii_alphanumeric() || specials.contains(character);
        let characters: String = policy.alphabet().characters().filter(|character| !is_taken(*character)).collect();
        if !characters.is_empty() {
            problems.push(PolicyProblem::CharactersRefused { profile: self, characters });
        }
        let may_begin = |character: char| {
            let class = u8::try_from(character).map(Class::of);
            let is_there = policy.alphabet().characters().any(|other| other == character);
            is_there && class.is_ok_and(|class| policy.first().contains(class))
        };
        if let Some(character) = never_first.filter(|character| may_begin(*character)) {
            problems.push(PolicyProblem::FirstRefused { profile: self, character });
        }
        let sure = policy.sure_classes();
        if sure < classes {
            problems.push(PolicyProblem::TooFewClasses { profile: self, needed: classes, sure });
        }
        for needed in needs.iter().copied().filter(|needed| !policy.is_sure_of(*needed)) {
            problems.push(PolicyProblem::ClassNotSure { profile: self, classes: needed });
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The policy narrowed to an instance's own rule, and still within this profile. Counts the policy's passwords anew when the rule changes
    /// anything, so keep the answer rather than ask for every password.
    ///
    /// # Errors
    /// Why no password meets the policy, the instance's rule and the vendor's rules together.
    pub fn tightened(self, policy: &Policy, extra: Extra) -> Result<Policy, Vec<PolicyProblem>> {
        let policy = policy.tightened(extra)?;
        self.accepts_policy(&policy)?;
        Ok(policy)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Self, UnknownProfile> {
        let named = Self::ALL.into_iter().find(|profile| profile.name() == text);
        named.ok_or_else(|| UnknownProfile { name: text.to_owned() })
    }
}

/// Why a text names no profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no password profile: choose tencent, tencent-ckv, alibaba or redis")]
pub struct UnknownProfile {
    /// The refused text.
    pub name: String,
}

/// A password rule that an instance itself enforces (Tencent "DescribeInstancePasswordPolicy"). All are minima.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Extra {
    /// Letters of either case.
    pub letters: u32,
    /// Digits.
    pub digits: u32,
    /// Special characters.
    pub specials: u32,
    /// Characters in all.
    pub length: u32,
}

#[cfg(test)]
mod tests {
    use super::super::policy::{First, RequireSettings};
    use super::*;

    fn policy(settings: PolicySettings) -> Policy {
        Policy::parse(&settings).expect("a policy that can be met")
    }

    #[test]
    fn every_profile_has_a_name_and_a_default_that_it_accepts() {
        for profile in Profile::ALL {
            assert_eq!(profile.name().parse(), Ok(profile));
            assert_eq!(profile.to_string(), profile.name());
            assert_eq!(profile.accepts_policy(&profile.default_policy()), Ok(()), "{profile}");
        }
        let unknown = "azure".parse::<Profile>().expect_err("no such profile").to_string();
        assert!(Profile::ALL.iter().all(|profile| unknown.contains(profile.name())), "{unknown}");
    }

    #[test]
    fn only_the_stricter_engine_has_rules_of_its_own() {
        let rows = [("ckv", Some(Profile::TencentCkv)), ("redis", None), ("tencent-ckv", None), ("", None)];
        for (family, profile) in rows {
            assert_eq!(Profile::of_engine(family), profile, "{family}");
        }
    }

    #[test]
    fn each_published_rule_refuses_what_breaks_it() {
        use Profile::{Alibaba, Redis, Tencent, TencentCkv};
        let url_safe = PolicySettings::default;
        let only = |alphabet: &str, length| PolicySettings {
            alphabet: alphabet.to_owned(),
            first: First::Any,
            length,
            ..url_safe()
        };
        let require = |lower, upper, digit, special| PolicySettings {
            require: Some(RequireSettings { lower, upper, digit, special }),
            ..url_safe()
        };
        let long = |length| PolicySettings { length, ..url_safe() };
        let rows: Vec<(Profile, PolicySettings, &str)> = vec![
            (Tencent, long(30), ""),
            (Tencent, long(31), "8 to 30"),
            (Alibaba, long(32), ""),
            (Alibaba, long(33), "8 to 32"),
            (Redis, long(128), ""),
            (Tencent, only("abcdefABCDEF0123@:~", 24), "must not hold :@"),
            (Tencent, only("abcdefABCDEF0123\"'`\\", 24), "must not hold \"'\\`"),
            (Tencent, only("abcdefABCDEF0123/", 24), "begin with '/'"),
            (Tencent, PolicySettings { first: First::Alphanumeric, ..only("abcdefABCDEF0123/", 24) }, ""),
            (Tencent, only("abcdefghijklmnop", 24), "makes sure of 1 only"),
            (Tencent, require(0, 0, 0, 0), "makes sure of 1 only"),
            (Tencent, require(1, 1, 0, 0), ""),
            (Tencent, require(0, 0, 1, 0), ""),
            (Alibaba, require(0, 0, 1, 0), "makes sure of 2 only"),
            (Alibaba, require(1, 1, 1, 0), ""),
            (Alibaba, only("abcdefABCDEF0123!@#$%^&*()_+-=", 24), ""),
            (Alibaba, only("abcdefABCDEF0123.", 24), "must not hold ."),
            (TencentCkv, url_safe(), "must not hold -_"),
            (TencentCkv, only("abcdefghijklABCDEFGH", 24), "at least one digit"),
            (Redis, only("abcdefghijklmnop", 64), ""),
            (Redis, only("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", 24), ""),
        ];
        for (profile, settings, sentence) in rows {
            let answer = profile.accepts_policy(&policy(settings.clone()));
            match answer {
                Ok(()) => assert_eq!(sentence, "", "{profile} accepted {settings:?}"),
                Err(problems) => {
                    let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
                    assert!(!sentence.is_empty() && text.contains(sentence), "{profile} {settings:?}: {text}");
                    assert_eq!(problems.len(), 1, "{profile} {settings:?}: {text}");
                }
            }
        }
    }

    #[test]
    fn an_instance_rule_narrows_the_policy_or_says_why_it_cannot() {
        let extra = |letters, digits, specials, length| Extra { letters, digits, specials, length };
        let rows = [
            (Profile::Tencent, extra(1, 1, 1, 8), Ok(24)),
            (Profile::Tencent, extra(16, 4, 4, 24), Ok(24)),
            (Profile::Tencent, extra(16, 10, 4, 30), Ok(30)),
            (Profile::Tencent, extra(1, 1, 1, 40), Err("8 to 30")),
            (Profile::Tencent, extra(16, 16, 16, 8), Err("need a length of 48, and the length is 24")),
            (Profile::TencentCkv, extra(1, 1, 1, 8), Err("the alphabet has none")),
        ];
        for (profile, extra, expected) in rows {
            match (profile.tightened(&profile.default_policy(), extra), expected) {
                (Ok(policy), Ok(length)) => assert_eq!(policy.length(), length, "{extra:?}"),
                (Err(problems), Err(sentence)) => {
                    let text = problems.iter().map(ToString::to_string).collect::<String>();
                    assert!(text.contains(sentence), "{extra:?}: {text}");
                }
                (answer, _) => panic!("{profile} {extra:?}: {answer:?}"),
            }
        }
    }

    #[test]
    fn a_rule_that_is_met_already_leaves_the_policy_as_it_is() {
        let policy = Profile::Tencent.default_policy();
        let met = Extra { letters: 0, digits: 1, specials: 1, length: 12 };
        assert_eq!(policy.tightened(met).as_ref(), Ok(&policy));
        let stricter = policy.tightened(Extra { digits: 2, ..met }).expect("room enough");
        assert!(stricter.count() < policy.count());
    }
}
