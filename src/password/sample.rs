//! The draw: count the ways to go on from every place of a password, number all passwords with these counts, and spell the one with a drawn number.
//!
//! A *state* is a place in the password together with the minima still open there. From a state each class of characters leads to one state a place
//! further, by as many ways as the class has characters; the count of a state is the sum over these. So the numbers below a state's count fall
//! into one block for each class, and within a block a number is a character (the remainder by the size of the class) and a number below the next
//! state's count (the quotient). Every number spells another password, and every password has a number: a uniform number is a uniform password.

use super::alphabet::{Alphabet, Class};
use super::limbs::{self, Total, WIDTH_LIMIT};
use super::minima::Minima;
use super::policy::{Rules, STATES_LIMIT};
use super::problem::PolicyProblem;
use crate::secret::Secret;
use num_bigint::BigUint;
use std::collections::HashMap;
use zeroize::Zeroizing;

/// The counts of one policy.
pub(super) struct Table {
    length: usize,
    count: BigUint,
    total: Total,
    /// By state, the first one first: the state that each class leads to.
    states: Vec<[u32; 4]>,
    /// By state: how many limbs its count has. Numbers shrink on the way, and so does the work.
    widths: Vec<u8>,
    /// By state and class: how many passwords go on that way, as many limbs each as an index has.
    blocks: Vec<u64>,
}

/// Where a class leads that cannot stand here: its block holds no password, so no number falls into it.
const NOWHERE: u32 = u32::MAX;

impl Table {
    /// Counts the passwords of the rules.
    ///
    /// # Errors
    /// That there are none, or that the minima make too many states.
    pub(super) fn count_out(rules: &Rules) -> Result<Self, PolicyProblem> {
        let states = states_of(rules)?;
        let sizes = Class::ALL.map(|class| rules.alphabet.of(class).len());
        let mut blocks: Vec<[BigUint; 4]> = Vec::with_capacity(states.len());
        // From the last state to the first, and `blocks` is in that order. What comes after the last place is one finished password.
        for ways in states.iter().rev() {
            let block = Class::ALL.map(|class| match ways[class as usize] {
                NOWHERE => BigUint::ZERO,
                next if next as usize == states.len() => BigUint::from(sizes[class as usize]),
                next => sizes[class as usize] * blocks[states.len() - 1 - next as usize].iter().sum::<BigUint>(),
            });
            blocks.push(block);
        }
        let count: BigUint = blocks.last().map(|first| first.iter().sum()).unwrap_or_default();
        if count == BigUint::ZERO {
            return Err(PolicyProblem::NothingFits);
        }
        let total = Total::new(&count);
        let counts = blocks.iter().rev().map(|block| block.iter().sum::<BigUint>());
        let widths = counts.map(|count| count.bits().div_ceil(64) as u8).collect();
        let in_order = blocks.iter().rev().flatten();
        let blocks = in_order.flat_map(|block| limbs::limbs_of(block, total.width())).collect();
        Ok(Self { length: rules.length as usize, count, total, states, widths, blocks })
    }

    /// How many passwords there are.
    pub(super) fn count(&self) -> &BigUint {
        &self.count
    }

    /// The binary logarithm of the count.
    pub(super) fn entropy_bits(&self) -> f64 {
        let below = self.count.bits().saturating_sub(64);
        let top = (&self.count >> below).iter_u64_digits().next().unwrap_or(1);
        (top as f64).log2() + below as f64
    }

    /// Draws one password, each as likely as any other. What the draw leaves in memory beside the password is wiped.
    pub(super) fn sample<R: rand::CryptoRng + ?Sized>(&self, alphabet: &Alphabet, rng: &mut R) -> Secret {
        let width = self.total.width();
        let mut draw = Zeroizing::new([0; WIDTH_LIMIT + 1]);
        let mut product = Zeroizing::new([0; 2 * WIDTH_LIMIT + 1]);
        let (draw, product) = (&mut draw[..=width], &mut product[..=2 * width]);
        loop {
            draw.fill_with(|| rng.next_u64());
            if self.total.place(draw, product) {
                return Secret::new(self.nth(alphabet, &mut product[width + 1..]));
            }
        }
    }

    /// Spells the password with this number, which is below the count and is used up. The text is allocated once, at its final size.
    fn nth(&self, alphabet: &Alphabet, number: &mut [u64]) -> String {
        let width = number.len();
        let mut password = String::with_capacity(self.length);
        let mut state = 0;
        for _ in 0..self.length {
            let number = &mut number[..usize::from(self.widths[state])];
            for class in Class::ALL {
                let way = 4 * state + class as usize;
                let block = &self.blocks[way * width..][..number.len()];
                if limbs::is_less(number, block) {
                    let characters = alphabet.of(class);
                    let at = limbs::divide(number, characters.len() as u32);
                    password.push(char::from(characters[at as usize]));
                    state = self.states[state][class as usize] as usize;
                    break;
                }
                limbs::subtract(number, block);
            }
        }
        password
    }
}

/// The states that can be reached and from which the minima can still be met, place by place. The one after the last place is not listed:
/// its number is the length of the list.
fn states_of(rules: &Rules) -> Result<Vec<[u32; 4]>, PolicyProblem> {
    let mut states = Vec::new();
    let mut here = vec![rules.minima];
    for place in 0..rules.length {
        let following = states.len() + here.len();
        if following > STATES_LIMIT {
            return Err(PolicyProblem::TooIntricate);
        }
        let places_left = u64::from(rules.length - place - 1);
        let allowed = if place == 0 { rules.first_classes() } else { rules.alphabet.classes() };
        let mut there = Vec::new();
        let mut numbers: HashMap<Minima, u32> = HashMap::new();
        for minima in here {
            states.push(Class::ALL.map(|class| {
                let after = minima.after(class);
                if !allowed.contains(class) || after.least_length() > places_left {
                    return NOWHERE;
                }
                *numbers.entry(after).or_insert_with(|| {
                    there.push(after);
                    (following + there.len() - 1) as u32
                })
            }));
        }
        here = there;
    }
    Ok(states)
}

#[cfg(test)]
mod tests {
    use super::super::alphabet::ClassSet;
    use super::super::policy::{First, Policy, PolicySettings};
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};
    use std::collections::BTreeSet;
    use std::convert::Infallible;

    type Asked = Vec<(Vec<Class>, u32)>;

    fn rules(length: u32, alphabet: &str, asked: &Asked, first: First) -> Rules {
        let mut minima = Minima::default();
        for (classes, least) in asked {
            minima.raise(ClassSet::of(classes), *least);
        }
        let alphabet = Alphabet::parse(alphabet).expect("a small alphabet");
        Rules { length, alphabet, minima, first }
    }

    /// Every string over the alphabet that meets the rules, found by trying them all.
    fn brute_force(length: u32, alphabet: &str, asked: &Asked, first: First) -> BTreeSet<String> {
        let longer = |texts: Vec<String>| {
            let appended = |text: &String| alphabet.chars().map(|next| format!("{text}{next}")).collect::<Vec<_>>();
            texts.iter().flat_map(appended).collect()
        };
        let all = (0..length).fold(vec![String::new()], |texts, _| longer(texts));
        let is_of = |character: char, class: &Class| match class {
            Class::Lower => character.is_lowercase(),
            Class::Upper => character.is_uppercase(),
            Class::Digit => character.is_numeric(),
            Class::Special => !character.is_alphanumeric(),
        };
        let begins = |text: &String| match first {
            First::Letter => text.starts_with(char::is_alphabetic),
            First::Alphanumeric => text.starts_with(char::is_alphanumeric),
            First::Any => true,
        };
        let holds = |text: &String| {
            asked.iter().all(|(classes, least)| {
                let counted = text.chars().filter(|character| classes.iter().any(|class| is_of(*character, class)));
                counted.count() >= *least as usize
            })
        };
        all.into_iter().filter(|text| begins(text) && holds(text)).collect()
    }

    /// All passwords by their numbers, `0..count`.
    fn all_by_number(table: &Table, alphabet: &Alphabet) -> Vec<String> {
        let count = u64::try_from(table.count()).expect("a small policy");
        (0..count).map(|number| table.nth(alphabet, &mut [number])).collect()
    }

    /// As many numbers as passwords, and every password reached: then no password has two numbers, and a uniform number is a uniform password.
    fn assert_numbers_are_passwords(length: u32, alphabet: &str, asked: &Asked, first: First) {
        let expected = brute_force(length, alphabet, asked, first);
        let rules = rules(length, alphabet, asked, first);
        match Table::count_out(&rules) {
            Err(problem) => assert_eq!((problem, expected.len()), (PolicyProblem::NothingFits, 0)),
            Ok(table) => {
                let spelled = all_by_number(&table, &rules.alphabet);
                assert_eq!(spelled.len(), expected.len());
                assert_eq!(spelled.into_iter().collect::<BTreeSet<_>>(), expected);
                let bits = (expected.len() as f64).log2();
                assert!((table.entropy_bits() - bits).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn numbers_and_passwords_match_one_to_one() {
        use Class::{Digit, Lower, Special, Upper};
        let one_of_each: Asked = vec![(vec![Lower], 1), (vec![Upper], 1), (vec![Digit], 1), (vec![Special], 1)];
        let letters: Asked = vec![(vec![Lower], 1), (vec![Lower, Upper], 3), (vec![Digit], 2)];
        let crossing: Asked = vec![(vec![Lower, Digit], 2), (vec![Upper, Digit], 2), (vec![Special], 1)];
        let rows: &[(u32, &str, &Asked, First)] = &[
            (1, "a", &vec![], First::Any),
            (5, "aB1-_", &one_of_each, First::Letter),
            (6, "abAB1-", &one_of_each, First::Any),
            (6, "abA12", &letters, First::Letter),
            (6, "aA01-", &crossing, First::Alphanumeric),
            (3, "aA1-", &one_of_each, First::Any),
            (4, "abc123", &vec![(vec![Digit], 4)], First::Letter),
        ];
        for (length, alphabet, asked, first) in rows {
            assert_numbers_are_passwords(*length, alphabet, asked, *first);
        }
    }

    proptest! {
        #[test]
        fn numbers_and_passwords_match_for_any_small_policy(
            length in 1_u32..=5,
            alphabet in prop::sample::subsequence("abcABC019-_~".chars().collect::<Vec<_>>(), 1..=6),
            asked in prop::collection::vec(
                (prop::sample::subsequence(Class::ALL.to_vec(), 1..=4), 0_u32..=3), 0..=4,
            ),
            first in prop::sample::select(vec![First::Letter, First::Alphanumeric, First::Any]),
        ) {
            let alphabet: String = alphabet.into_iter().collect();
            assert_numbers_are_passwords(length, &alphabet, &asked, first);
        }
    }

    /// The default policy's count by another road: inclusion and exclusion over the classes that are missing.
    #[test]
    fn a_full_sized_policy_is_counted_exactly() {
        let policy = Policy::parse(&PolicySettings::default()).expect("the default");
        let sizes: [i64; 4] = [26, 26, 10, 2];
        let mut expected = num_bigint::BigInt::ZERO;
        for missing in 0..16_u32 {
            let left = |class: usize| if missing >> class & 1 == 1 { 0 } else { sizes[class] };
            let ways = num_bigint::BigInt::from(left(0) + left(1))
                * num_bigint::BigInt::from((0..4).map(left).sum::<i64>()).pow(23);
            expected += if missing.count_ones() % 2 == 0 { ways } else { -ways };
        }
        assert_eq!(num_bigint::BigInt::from(policy.count().clone()), expected);
        assert!((142.0..144.0).contains(&policy.entropy_bits()), "{}", policy.entropy_bits());
    }

    #[test]
    fn the_longest_and_widest_policy_fits_its_buffers() {
        let alphabet: String = ('!'..='~').collect();
        let rules = rules(128, &alphabet, &vec![], First::Any);
        let table = Table::count_out(&rules).expect("nothing is asked for");
        assert_eq!(*table.count(), BigUint::from(94_u8).pow(128));
        assert_eq!(table.total.width(), WIDTH_LIMIT);
        let password = table.sample(&rules.alphabet, &mut StdRng::seed_from_u64(1));
        assert_eq!(password.expose().len(), 128);
        let mut last = limbs::limbs_of(&(table.count() - 1_u8), WIDTH_LIMIT);
        assert_eq!(table.nth(&rules.alphabet, &mut last), "~".repeat(128));
    }

    /// Gives zeros for a while: the one draw that always belongs to the surplus.
    struct ZerosFirst(u32, StdRng);

    impl rand::TryRng for ZerosFirst {
        type Error = Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            self.1.try_next_u32()
        }
        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            if self.0 == 0 {
                return self.1.try_next_u64();
            }
            self.0 -= 1;
            Ok(0)
        }
        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
            self.1.try_fill_bytes(bytes)
        }
    }

    impl rand::TryCryptoRng for ZerosFirst {}

    #[test]
    fn a_draw_from_the_surplus_is_drawn_again() {
        let rules = rules(24, "abcABC019-_", &vec![(vec![Class::Digit], 1)], First::Letter);
        let table = Table::count_out(&rules).expect("room for a digit");
        let one_draw = table.total.width() as u32 + 1;
        let after_zeros = table.sample(&rules.alphabet, &mut ZerosFirst(one_draw, StdRng::seed_from_u64(7)));
        let at_once = table.sample(&rules.alphabet, &mut StdRng::seed_from_u64(7));
        assert_eq!(after_zeros.expose(), at_once.expose());
    }
}
