//! Why a policy cannot be used: each problem says what is wrong and what to do.

use super::alphabet::ClassSet;
use super::policy::{ENTROPY_BITS_MINIMUM, First, LENGTH_LIMIT, STATES_LIMIT};
use super::profile::Profile;

/// One thing wrong with a policy, by itself or under a vendor's profile.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PolicyProblem {
    /// No password has this length here.
    #[error("the length {length} is outside 1 to {LENGTH_LIMIT}: choose 24 unless a rule of yours says otherwise")]
    LengthImpossible {
        /// The refused length, in characters.
        length: u32,
    },
    /// The alphabet is empty.
    #[error("the alphabet is empty: write \"url-safe\", \"alphanumeric\" or the characters themselves")]
    AlphabetEmpty,
    /// A character that some login, shell or vendor cannot take.
    #[error("the alphabet holds {character:?}: only printable ASCII characters other than the space can be used")]
    CharacterUnusable {
        /// The refused character.
        character: char,
    },
    /// A character stands twice, which would not make it likelier.
    #[error(
        "the alphabet holds {character:?} more than once: write each character once, or one of the names \"url-safe\" and \"alphanumeric\""
    )]
    CharacterRepeated {
        /// The repeated character.
        character: char,
    },
    /// Required characters that the alphabet does not have.
    #[error("at least {least} {classes} required, and the alphabet has none: add some to it or remove the requirement")]
    ClassAbsent {
        /// What is required, any of these classes.
        classes: ClassSet,
        /// How many.
        least: u32,
    },
    /// The required characters do not fit.
    #[error("the required characters need a length of {needed}, and the length is {length}: raise it or require less")]
    LengthTooShort {
        /// The shortest length that the requirements fit into.
        needed: u64,
        /// The policy's length.
        length: u32,
    },
    /// The alphabet has no character to begin with.
    #[error("the first character must be a {}, and the alphabet has none: add some to it or change `first`", first.classes())]
    FirstAbsent {
        /// What the first character must be.
        first: First,
    },
    /// Everything fits by itself, but not together: the first character leaves no room for what is required.
    #[error(
        "no password of this length has both the required first character and the required characters: raise the length by one or change `first`"
    )]
    NothingFits,
    /// So few passwords comply that they could be tried out.
    #[error(
        "the policy allows {bits:.1} bits of choice, and {ENTROPY_BITS_MINIMUM} are the least: raise the length or widen the alphabet"
    )]
    TooWeak {
        /// The entropy of a draw, in bits.
        bits: f64,
    },
    /// Counting the policy's passwords would take too much memory.
    #[error(
        "the required minima make more than {STATES_LIMIT} cases to count: require fewer characters of the single classes"
    )]
    TooIntricate,
    /// The vendor takes other lengths only.
    #[error(
        "{profile} takes passwords of {shortest} to {longest} characters, and the policy's have {length}: change the length"
    )]
    LengthRefused {
        /// Whose rule.
        profile: Profile,
        /// The policy's length, in characters.
        length: u32,
        /// The shortest length that the vendor takes.
        shortest: u32,
        /// The longest.
        longest: u32,
    },
    /// The vendor does not take these characters.
    #[error("{profile} passwords must not hold {characters}: remove these from the alphabet")]
    CharactersRefused {
        /// Whose rule.
        profile: Profile,
        /// The refused characters of the alphabet, one after another.
        characters: String,
    },
    /// The vendor does not take this character in front.
    #[error(
        "{profile} passwords must not begin with {character:?}: set `first = \"letter\"` or remove it from the alphabet"
    )]
    FirstRefused {
        /// Whose rule.
        profile: Profile,
        /// The refused character.
        character: char,
    },
    /// The vendor asks for more kinds of characters than every password of the policy has.
    #[error(
        "{profile} passwords need {needed} of lower-case letters, upper-case letters, digits and special characters, and the policy makes sure of {sure} only: raise `require`"
    )]
    TooFewClasses {
        /// Whose rule.
        profile: Profile,
        /// How many classes the vendor asks for.
        needed: usize,
        /// How many classes the poorest password of the policy has.
        sure: usize,
    },
    /// The vendor asks for a character that a password of the policy may lack.
    #[error(
        "{profile} passwords need at least one {classes}, and the policy does not make sure of it: raise `require`"
    )]
    ClassNotSure {
        /// Whose rule.
        profile: Profile,
        /// What must be there, any of these classes.
        classes: ClassSet,
    },
}
