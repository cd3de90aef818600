//! What passwords may look like: plain settings, parsed into a policy that can be met and is strong enough.

use super::alphabet::{Alphabet, Class, ClassSet};
use super::minima::Minima;
use super::problem::PolicyProblem;
use super::profile::Extra;
use super::sample::Table;
use crate::secret::Secret;
use num_bigint::BigUint;
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;

/// The length of a password when the policy names none, in characters.
pub const DEFAULT_LENGTH: u32 = 24;

/// The longest password, in characters. The longest any vendor takes is 64; a sink or an ACL file takes more.
pub const LENGTH_LIMIT: u32 = 128;

/// The least entropy of a draw, in bits: below it, whoever holds a hash of the password could try them all.
pub const ENTROPY_BITS_MINIMUM: f64 = 64.0;

/// The most cases (place in the password × characters still required) that one policy's table may hold; it bounds the table to some 30 MB.
pub const STATES_LIMIT: usize = 200_000;

/// A policy as an operator writes it, `[policies.NAME]`; every key may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct PolicySettings {
    /// How many characters, exactly.
    pub length: u32,
    /// `url-safe`, `alphanumeric`, or the characters themselves.
    pub alphabet: String,
    /// The least number of characters of each class; when left out, one of each class that the alphabet has.
    pub require: Option<RequireSettings>,
    /// What the first character may be.
    pub first: First,
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self { length: DEFAULT_LENGTH, alphabet: "url-safe".to_owned(), require: None, first: First::Letter }
    }
}

/// The least number of characters of each class; a class left out is not required.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RequireSettings {
    /// `a` to `z`.
    pub lower: u32,
    /// `A` to `Z`.
    pub upper: u32,
    /// `0` to `9`.
    pub digit: u32,
    /// Anything else.
    pub special: u32,
}

/// What the first character of a password may be. A letter in front is safe in shells, URLs, option parsers and templates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum First {
    /// A letter of either case.
    #[default]
    Letter,
    /// A letter or a digit.
    Alphanumeric,
    /// Any character of the alphabet.
    Any,
}

impl First {
    /// The classes that the first character may have.
    pub fn classes(self) -> ClassSet {
        match self {
            Self::Letter => ClassSet::LETTERS,
            Self::Alphanumeric => ClassSet::ALPHANUMERIC,
            Self::Any => ClassSet::ALL,
        }
    }
}

/// A policy that can be met, with its passwords counted. Cheap to clone.
#[derive(Clone)]
pub struct Policy(Arc<Counted>);

struct Counted {
    rules: Rules,
    table: Table,
}

impl Policy {
    /// Parses settings into a policy.
    ///
    /// # Errors
    /// Everything that is wrong with them, at once.
    pub fn parse(settings: &PolicySettings) -> Result<Self, Vec<PolicyProblem>> {
        let alphabet = match Alphabet::parse(&settings.alphabet) {
            Ok(alphabet) => alphabet,
            Err(mut problems) => {
                let minima = settings.require.unwrap_or_default().minima();
                problems.extend(length_problem(settings.length, &minima));
                return Err(problems);
            }
        };
        let require = settings.require.unwrap_or_else(|| RequireSettings::one_of_each(alphabet.classes()));
        Self::count_out(Rules { length: settings.length, minima: require.minima(), first: settings.first, alphabet })
    }

    /// This policy, narrowed so that every password also meets an instance's own rule; a longer password where that rule asks for one.
    ///
    /// # Errors
    /// Why no password meets both. A vendor's limits are not looked at here: [`super::Profile::tightened`] does both.
    pub fn tightened(&self, extra: Extra) -> Result<Self, Vec<PolicyProblem>> {
        let mut rules = self.0.rules.clone();
        rules.length = rules.length.max(extra.length);
        rules.minima.raise(ClassSet::LETTERS, extra.letters);
        rules.minima.raise(ClassSet::DIGITS, extra.digits);
        rules.minima.raise(ClassSet::SPECIALS, extra.specials);
        if rules == self.0.rules {
            return Ok(self.clone());
        }
        Self::count_out(rules)
    }

    fn count_out(rules: Rules) -> Result<Self, Vec<PolicyProblem>> {
        let problems = rules.problems();
        if !problems.is_empty() {
            return Err(problems);
        }
        let table = Table::count_out(&rules).map_err(|problem| vec![problem])?;
        let bits = table.entropy_bits();
        if bits < ENTROPY_BITS_MINIMUM {
            return Err(vec![PolicyProblem::TooWeak { bits }]);
        }
        Ok(Self(Arc::new(Counted { rules, table })))
    }

    /// Draws a password: each one that the policy allows is exactly as likely as any other.
    pub fn sample<R: rand::CryptoRng + ?Sized>(&self, rng: &mut R) -> Secret {
        self.0.table.sample(&self.0.rules.alphabet, rng)
    }

    /// How many different passwords the policy allows.
    pub fn count(&self) -> &BigUint {
        self.0.table.count()
    }

    /// The entropy of a draw in bits: the binary logarithm of [`Policy::count`].
    pub fn entropy_bits(&self) -> f64 {
        self.0.table.entropy_bits()
    }

    /// The length of every password, in characters.
    pub fn length(&self) -> u32 {
        self.0.rules.length
    }

    /// The characters that a password may hold.
    pub fn alphabet(&self) -> &Alphabet {
        &self.0.rules.alphabet
    }

    /// The classes that the first character may have.
    pub fn first(&self) -> ClassSet {
        self.0.rules.first_classes()
    }

    /// Whether every password holds at least one character of these classes.
    pub fn is_sure_of(&self, classes: ClassSet) -> bool {
        !self.0.rules.may_do_with(self.alphabet().classes().without(classes))
    }

    /// How many different classes every password holds at least.
    pub fn sure_classes(&self) -> usize {
        let enough = ClassSet::every()
            .filter(|classes| classes.is_within(self.alphabet().classes()) && self.0.rules.may_do_with(*classes));
        enough.map(ClassSet::len).min().unwrap_or(0)
    }
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.0.rules == other.0.rules
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.rules.fmt(formatter)
    }
}

/// What a policy says, before it is known whether it can be met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) length: u32,
    pub(super) alphabet: Alphabet,
    pub(super) minima: Minima,
    pub(super) first: First,
}

impl Rules {
    /// The classes that the first character may have and the alphabet does have.
    pub(super) fn first_classes(&self) -> ClassSet {
        self.first.classes().and(self.alphabet.classes())
    }

    /// Everything wrong that shows before counting.
    fn problems(&self) -> Vec<PolicyProblem> {
        let mut problems: Vec<PolicyProblem> = length_problem(self.length, &self.minima).into_iter().collect();
        for (classes, least) in self.minima.asked() {
            if classes.and(self.alphabet.classes()).is_empty() {
                problems.push(PolicyProblem::ClassAbsent { classes, least });
            }
        }
        if self.first_classes().is_empty() {
            problems.push(PolicyProblem::FirstAbsent { first: self.first });
        }
        problems
    }

    /// Whether characters of these classes alone can meet every requirement, length aside. Says yes too often rather than too seldom, which is the
    /// safe side for those who ask: a password that cannot be drawn is then thought of, never the other way round.
    fn may_do_with(&self, classes: ClassSet) -> bool {
        let begins = !self.first_classes().and(classes).is_empty();
        begins && self.minima.asked().all(|(asked, _)| !asked.and(classes).is_empty())
    }
}

impl RequireSettings {
    fn one_of_each(classes: ClassSet) -> Self {
        let one_of = |class| u32::from(classes.contains(class));
        Self {
            lower: one_of(Class::Lower),
            upper: one_of(Class::Upper),
            digit: one_of(Class::Digit),
            special: one_of(Class::Special),
        }
    }

    fn minima(self) -> Minima {
        let mut minima = Minima::default();
        for class in Class::ALL {
            let least = match class {
                Class::Lower => self.lower,
                Class::Upper => self.upper,
                Class::Digit => self.digit,
                Class::Special => self.special,
            };
            minima.raise(ClassSet::of(&[class]), least);
        }
        minima
    }
}

fn length_problem(length: u32, minima: &Minima) -> Option<PolicyProblem> {
    let needed = minima.least_length();
    if length == 0 || length > LENGTH_LIMIT {
        Some(PolicyProblem::LengthImpossible { length })
    } else if needed > u64::from(length) {
        Some(PolicyProblem::LengthTooShort { needed, length })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> PolicySettings {
        toml::from_str(text).expect("settings in TOML")
    }

    #[test]
    fn keys_left_out_have_the_documented_defaults() {
        assert_eq!(settings(""), PolicySettings::default());
        let written = "length = 24\nalphabet = \"url-safe\"\nrequire = { lower = 1, upper = 1, digit = 1, special = 1 }\nfirst = \"letter\"";
        let policy = Policy::parse(&settings(written)).expect("the policy of the documentation");
        assert_eq!(Policy::parse(&PolicySettings::default()), Ok(policy));
        assert_ne!(Policy::parse(&settings("length = 25")), Policy::parse(&PolicySettings::default()));
        assert!(Policy::parse(&settings("alphabet = \"alphanumeric\"")).is_ok(), "no special character is asked for");
        assert!(toml::from_str::<PolicySettings>("lenght = 24").is_err());
        assert!(toml::from_str::<PolicySettings>("require = { digits = 1 }").is_err());
        assert!(toml::from_str::<PolicySettings>("first = \"Letter\"").is_err());
    }

    #[test]
    fn a_policy_that_cannot_be_used_is_refused_with_every_reason() {
        let rows: &[(&str, &[&str])] = &[
            ("length = 0", &["0 is outside 1 to 128"]),
            ("length = 129", &["129 is outside 1 to 128"]),
            ("alphabet = \"\"", &["is empty"]),
            ("alphabet = \"ab cc\"\nlength = 0", &["' '", "'c' more than once", "0 is outside"]),
            ("alphabet = \"alphanumeric\"\nrequire = { special = 2 }", &["at least 2 special character required"]),
            ("length = 16\nrequire = { lower = 8, digit = 9 }", &["a length of 17, and the length is 16"]),
            ("require = { lower = 4294967295, digit = 4294967295 }", &["a length of 8589934590"]),
            ("alphabet = \"0123456789-_\"", &["must be a lower-case letter or upper-case letter"]),
            (
                "alphabet = \"0123456789\"\nlength = 3\nrequire = { lower = 2, digit = 2 }",
                &["a length of 4", "at least 2 lower-case letter required", "the first character"],
            ),
            ("length = 20\nrequire = { digit = 20 }", &["raise the length by one"]),
            ("length = 10", &["57.2 bits of choice, and 64 are the least"]),
            ("alphabet = \"ab\"\nlength = 63\nrequire = { lower = 1 }", &["63.0 bits"]),
            (
                "length = 128\nrequire = { lower = 32, upper = 32, digit = 32, special = 32 }\nfirst = \"any\"",
                &["cases to count"],
            ),
        ];
        for (text, sentences) in rows {
            let problems = Policy::parse(&settings(text)).expect_err(text);
            assert_eq!(problems.len(), sentences.len(), "{text}: {problems:?}");
            for (problem, sentence) in problems.iter().zip(*sentences) {
                let said = problem.to_string();
                assert!(said.contains(sentence), "{text}: {said}");
                assert!(said.contains(": "), "what to do is missing: {said}");
            }
        }
    }

    #[test]
    fn the_least_entropy_is_just_accepted() {
        let policy = Policy::parse(&settings("alphabet = \"ab\"\nlength = 64\nrequire = {}")).expect("64 bits");
        assert_eq!(policy.entropy_bits(), 64.0);
        assert_eq!(*policy.count(), BigUint::from(1_u8) << 64);
    }

    #[test]
    fn a_policy_shows_its_rules_and_not_its_table() {
        let shown = format!("{:?}", Policy::parse(&PolicySettings::default()).expect("the default"));
        assert!(shown.contains("length: 24") && shown.contains("first: Letter"), "{shown}");
        assert!(!shown.contains("blocks"), "{shown}");
    }

    #[test]
    fn what_every_password_is_sure_to_hold() {
        let rows: &[(&str, usize, bool, bool)] = &[
            ("", 4, true, true),
            ("require = {}", 1, true, false),
            ("require = {}\nfirst = \"any\"", 1, false, false),
            ("require = { digit = 1 }", 2, true, true),
            ("require = { digit = 1 }\nfirst = \"any\"", 1, false, true),
            ("alphabet = \"abcdefghijklmnop\"\nfirst = \"any\"\nrequire = {}", 1, true, false),
        ];
        for (text, classes, letters, digits) in rows {
            let policy = Policy::parse(&settings(text)).expect(text);
            assert_eq!(policy.sure_classes(), *classes, "{text}");
            assert_eq!(policy.is_sure_of(ClassSet::LETTERS), *letters, "{text}");
            assert_eq!(policy.is_sure_of(ClassSet::DIGITS), *digits, "{text}");
        }
    }
}
