//! The characters a password may hold, sorted into the four classes that every vendor's rules speak of.

use super::problem::PolicyProblem;
use std::fmt;

/// A kind of character. Everything printable that is neither letter nor digit is special.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// `a` to `z`.
    Lower,
    /// `A` to `Z`.
    Upper,
    /// `0` to `9`.
    Digit,
    /// Any other printable ASCII character.
    Special,
}

impl Class {
    /// The four classes, in the order in which passwords are numbered.
    pub const ALL: [Self; 4] = [Self::Lower, Self::Upper, Self::Digit, Self::Special];

    /// The class of a printable ASCII character.
    pub fn of(character: u8) -> Self {
        match character {
            b'a'..=b'z' => Self::Lower,
            b'A'..=b'Z' => Self::Upper,
            b'0'..=b'9' => Self::Digit,
            _ => Self::Special,
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Class {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Lower => "lower-case letter",
            Self::Upper => "upper-case letter",
            Self::Digit => "digit",
            Self::Special => "special character",
        })
    }
}

/// Some of the four classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClassSet(u8);

impl ClassSet {
    /// Letters of either case.
    pub const LETTERS: Self = Self::of(&[Class::Lower, Class::Upper]);
    /// Digits.
    pub const DIGITS: Self = Self::of(&[Class::Digit]);
    /// Special characters.
    pub const SPECIALS: Self = Self::of(&[Class::Special]);
    /// Letters and digits.
    pub const ALPHANUMERIC: Self = Self::of(&[Class::Lower, Class::Upper, Class::Digit]);
    /// Every class.
    pub const ALL: Self = Self::of(&Class::ALL);
    /// How many different sets there are; [`ClassSet::number`] is below it.
    pub const SETS: usize = 16;

    /// The set of these classes.
    pub const fn of(classes: &[Class]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < classes.len() {
            bits |= classes[at].bit();
            at += 1;
        }
        Self(bits)
    }

    /// Every set there is, the empty one first.
    pub fn every() -> impl Iterator<Item = Self> {
        (0..Self::SETS as u8).map(Self)
    }

    /// The set as an index below [`ClassSet::SETS`]; a subset's number is never the larger.
    pub fn number(self) -> usize {
        usize::from(self.0)
    }

    /// How many classes are in the set.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether no class is in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this class is in the set.
    pub fn contains(self, class: Class) -> bool {
        self.0 & class.bit() != 0
    }

    /// Whether every class of this set is in the other.
    pub fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// The classes in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The classes of this set that are not in the other.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Display for ClassSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "";
        for class in Class::ALL.into_iter().filter(|class| self.contains(*class)) {
            write!(formatter, "{before}{class}")?;
            before = " or ";
        }
        Ok(())
    }
}

/// A set of printable ASCII characters without the space; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alphabet {
    by_class: [Vec<u8>; 4],
}

impl Alphabet {
    /// Parses `url-safe`, `alphanumeric`, or the characters themselves written one after another in any order.
    ///
    /// # Errors
    /// Every character that cannot be used or stands twice, or that there is none.
    pub fn parse(text: &str) -> Result<Self, Vec<PolicyProblem>> {
        let characters: Vec<char> = match text {
            "url-safe" => ascii_alphanumerics().chain("-_".chars()).collect(),
            "alphanumeric" => ascii_alphanumerics().collect(),
            explicit => explicit.chars().collect(),
        };
        let mut problems = Vec::new();
        let mut by_class = [const { Vec::new() }; 4];
        for character in characters {
            match u8::try_from(character).ok().filter(u8::is_ascii_graphic) {
                None => push_once(&mut problems, PolicyProblem::CharacterUnusable { character }),
                Some(byte) => {
                    let class: &mut Vec<u8> = &mut by_class[Class::of(byte) as usize];
                    if class.contains(&byte) {
                        push_once(&mut problems, PolicyProblem::CharacterRepeated { character });
                    } else {
                        class.push(byte);
                    }
                }
            }
        }
        if text.is_empty() {
            problems.push(PolicyProblem::AlphabetEmpty);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        for class in &mut by_class {
            class.sort_unstable();
        }
        Ok(Self { by_class })
    }

    /// The characters of one class, in ASCII order.
    pub fn of(&self, class: Class) -> &[u8] {
        &self.by_class[class as usize]
    }

    /// All characters, class by class.
    pub fn characters(&self) -> impl Iterator<Item = char> {
        self.by_class.iter().flatten().copied().map(char::from)
    }

    /// The classes that have at least one character here.
    pub fn classes(&self) -> ClassSet {
        let present = |class: &Class| !self.of(*class).is_empty();
        let classes: Vec<Class> = Class::ALL.into_iter().filter(present).collect();
        ClassSet::of(&classes)
    }
}

fn ascii_alphanumerics() -> impl Iterator<Item = char> {
    ('a'..='z').chain('A'..='Z').chain('0'..='9')
}

fn push_once(problems: &mut Vec<PolicyProblem>, problem: PolicyProblem) {
    if !problems.contains(&problem) {
        problems.push(problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_explicit_sets_become_sorted_classes() {
        let rows: &[(&str, [usize; 4])] = &[
            ("url-safe", [26, 26, 10, 2]),
            ("alphanumeric", [26, 26, 10, 0]),
            ("zaB9!\"\\", [2, 1, 1, 3]),
            ("01", [0, 0, 2, 0]),
        ];
        for (text, sizes) in rows {
            let alphabet = Alphabet::parse(text).expect(text);
            assert_eq!(Class::ALL.map(|class| alphabet.of(class).len()), *sizes, "{text}");
            for class in Class::ALL {
                assert!(alphabet.of(class).is_sorted());
                assert_eq!(alphabet.classes().contains(class), !alphabet.of(class).is_empty());
            }
        }
    }

    #[test]
    fn every_unusable_or_repeated_character_is_named_once() {
        let unusable = |character| PolicyProblem::CharacterUnusable { character };
        let repeated = |character| PolicyProblem::CharacterRepeated { character };
        let rows: &[(&str, &[PolicyProblem])] = &[
            ("", &[PolicyProblem::AlphabetEmpty]),
            ("ab a", &[unusable(' '), repeated('a')]),
            ("a\taaé\u{7f}é", &[unusable('\t'), repeated('a'), unusable('é'), unusable('\u{7f}')]),
            ("url-sefe", &[repeated('e')]),
        ];
        for (text, problems) in rows {
            assert_eq!(Alphabet::parse(text).expect_err(text), *problems, "{text:?}");
        }
    }
}
