//! Waits with full jitter, drawn from a seed: the same rotation waits the same times when its events are folded again.

use super::plan::Backoff;
use std::time::Duration;

/// The `times`-th wait (from 1): uniform between zero and `first` × 2^(times-1), at most `longest`. No wait for zero times.
pub(super) fn wait(backoff: Backoff, times: u32, seed: u64) -> Duration {
    if times == 0 {
        return Duration::ZERO;
    }
    let doubled = backoff.first.saturating_mul(1_u32 << (times - 1).min(20));
    draw(doubled.min(backoff.longest), seed ^ u64::from(times).rotate_left(40))
}

/// A span between zero and `longest`, drawn from a seed.
pub(super) fn draw(longest: Duration, seed: u64) -> Duration {
    let drawn = (longest.as_millis() * u128::from(scramble(seed))) >> 64;
    Duration::from_millis(u64::try_from(drawn).unwrap_or(u64::MAX))
}

/// A seed out of a text, the same on every machine: FNV-1a (Fowler, Noll, Vo).
pub(super) fn seed(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

/// SplitMix64's finaliser (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014): every bit of the seed moves every bit of the result.
fn scramble(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The authors' own vectors: FNV-1a's test suite, and SplitMix64's sequence from the seed 1234567.
    #[test]
    fn seeds_are_drawn_as_their_authors_say() {
        for (text, hash) in
            [("", 0xCBF2_9CE4_8422_2325), ("a", 0xAF63_DC4C_8601_EC8C), ("foobar", 0x8594_4171_F739_67E8_u64)]
        {
            assert_eq!(seed(text), hash, "{text}");
        }
        let step = |times: u64| 1_234_567_u64.wrapping_add(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(times));
        let sequence = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([0, 1, 2].map(|times| scramble(step(times))), sequence);
    }

    #[test]
    fn waits_are_bounded_jittered_and_repeatable() {
        let backoff = Backoff { first: Duration::from_secs(2), longest: Duration::from_secs(30) };
        assert_eq!(wait(backoff, 0, 7), Duration::ZERO);
        for times in 1..40 {
            let bound = Duration::from_secs(2 << (times - 1).min(10)).min(backoff.longest);
            let waits: Vec<Duration> = (0..500).map(|seed| wait(backoff, times, seed)).collect();
            assert!(waits.iter().all(|&wait| wait <= bound), "{times}");
            let mean = waits.iter().sum::<Duration>() / 500;
            assert!(mean > bound * 2 / 5 && mean < bound * 3 / 5, "{times}: {mean:?} of {bound:?}");
            assert_eq!(wait(backoff, times, 7), wait(backoff, times, 7));
        }
    }
}
