//! Mutations of a corpus, from a seed: bytes and numbers changed, pieces cut, doubled and swapped, words of one input put into another.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Numbers that are the last of their kind, or the first of the next.
const NUMBERS: [&str; 12] = [
    "0",
    "-1",
    "1",
    "255",
    "65536",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e400",
];

/// The longest mutation, in bytes.
const LONGEST: usize = 64 * 1024;

pub struct Mutator<'a> {
    rng: StdRng,
    corpus: &'a [Vec<u8>],
    /// Every word of the corpus, once.
    words: Vec<&'a [u8]>,
}

impl<'a> Mutator<'a> {
    /// The seed is the target's name, so that every run makes the same mutations.
    pub fn new(name: &str, corpus: &'a [Vec<u8>]) -> Self {
        let seed = name.bytes().fold(0, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let mut words: Vec<&[u8]> =
            corpus.iter().flat_map(|input| spans(input).map(|(at, end)| &input[at..end])).collect();
        words.sort_unstable();
        words.dedup();
        Self { rng: StdRng::seed_from_u64(seed), corpus, words }
    }

    pub fn next(&mut self) -> Vec<u8> {
        let mut input = self.corpus[self.rng.random_range(0..self.corpus.len())].clone();
        for _ in 0..self.rng.random_range(1..5) {
            self.change(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let piece = |rng: &mut StdRng, input: &[u8]| {
            let from = rng.random_range(0..=input.len());
            from..(from + rng.random_range(0..=32)).min(input.len())
        };
        match self.rng.random_range(0..10) {
            0 if !input.is_empty() => {
                let at = self.rng.random_range(0..input.len());
                input[at] ^= 1 << self.rng.random_range(0..8);
            }
            1 => {
                let at = self.rng.random_range(0..=input.len());
                input.insert(at, self.rng.random());
            }
            2 => drop(input.drain(piece(&mut self.rng, input))),
            3 => {
                let doubled = input[piece(&mut self.rng, input)].to_vec();
                let at = self.rng.random_range(0..=input.len());
                input.splice(at..at, doubled);
            }
            4 => {
                let other = &self.corpus[self.rng.random_range(0..self.corpus.len())];
                let borrowed = other[piece(&mut self.rng, other)].to_vec();
                let at = piece(&mut self.rng, input);
                input.splice(at, borrowed);
            }
            // Words are changed most: what stays well-formed gets furthest.
            _ => {
                let places: Vec<(usize, usize)> = spans(input).collect();
                let Some(&(at, end)) = places.get(self.rng.random_range(0..places.len().max(1))) else { return };
                let number = input[at..end].iter().all(u8::is_ascii_digit);
                let word = match self.rng.random_range(0..4) {
                    0 => Vec::new(),
                    1 | 2 if number => NUMBERS[self.rng.random_range(0..NUMBERS.len())].as_bytes().to_vec(),
                    1 => {
                        let (other, until) = places[self.rng.random_range(0..places.len())];
                        input[other..until].to_vec()
                    }
                    _ => self.words[self.rng.random_range(0..self.words.len())].to_vec(),
                };
                input.splice(at..end, word);
            }
        }
    }
}

/// Where words begin and end: letters and digits, or one other character.
fn spans(input: &[u8]) -> impl Iterator<Item = (usize, usize)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let from = at;
        let plain = input[from..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        at = (from + plain.max(1)).min(input.len());
        (from < input.len()).then_some((from, at))
    })
}
