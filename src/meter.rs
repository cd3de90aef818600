//! Plain numbers that count what happens: cheap to add to, from any thread, and read now and then by whoever shows them. They begin anew with each start.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often something happened.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// It happened once more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How often so far.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How long something took, by buckets.
#[derive(Debug)]
pub struct Histogram {
    /// The upper bounds of the buckets, in seconds, rising; one more bucket takes what is longer.
    bounds: &'static [f64],
    buckets: Box<[AtomicU64]>,
    micros: AtomicU64,
}

/// What a histogram has seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Spread {
    /// Each bucket's upper bound in seconds, and how often that or less was seen beyond the bucket before it.
    pub buckets: Vec<(f64, u64)>,
    /// Everything together, in seconds.
    pub sum: f64,
    /// How often, what is longer than the last bound included.
    pub count: u64,
}

impl Histogram {
    /// An empty one over these bounds.
    pub fn over(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            buckets: (0..=bounds.len()).map(|_| AtomicU64::default()).collect(),
            micros: AtomicU64::default(),
        }
    }

    /// It took this long.
    pub fn saw(&self, span: Duration) {
        let seconds = span.as_secs_f64();
        let bucket = self.bounds.partition_point(|bound| *bound < seconds);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What it has seen so far.
    pub fn spread(&self) -> Spread {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        Spread {
            buckets: self.bounds.iter().copied().zip(counts.iter().copied()).collect(),
            sum: self.micros.load(Ordering::Relaxed) as f64 / 1e6,
            // Of the buckets and not of a counter of its own, so that the two cannot disagree.
            count: counts.iter().sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket_and_what_is_longer_to_none() {
        let histogram = Histogram::over(&[0.5, 1.0]);
        for millis in [100, 500, 501, 1_000, 2_000] {
            histogram.saw(Duration::from_millis(millis));
        }
        let spread = histogram.spread();
        assert_eq!(spread.buckets, [(0.5, 2), (1.0, 2)]);
        assert_eq!(spread.count, 5);
        assert!((spread.sum - 4.101).abs() < 1e-9, "{}", spread.sum);
    }
}
