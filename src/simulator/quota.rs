//! The request rate of each action: a token bucket, and a count of what it let through.

use super::settings::Quota;
use crate::moment::Moment;
use std::collections::BTreeMap;
use std::time::Duration;

/// How many moments of each kind are kept for one action; later ones are only counted.
pub const MOMENTS_KEPT: usize = 1_000_000;

/// What became of the calls of one action.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    /// When a call was let through, in order.
    pub accepted: Vec<Moment>,
    /// When a call was one too many, in order.
    pub throttled: Vec<Moment>,
}

struct Bucket {
    tokens: f64,
    filled: Duration,
    calls: Calls,
}

/// One bucket for each action that was ever called.
pub(super) struct Buckets {
    quota: Quota,
    buckets: BTreeMap<&'static str, Bucket>,
}

impl Buckets {
    pub(super) fn new(quota: Quota) -> Self {
        Self { quota, buckets: BTreeMap::new() }
    }

    /// Takes a token, or says that there is none. `uptime` fills the bucket, `now` is what is written down.
    pub(super) fn admit(&mut self, action: &'static str, uptime: Duration, now: Moment) -> bool {
        let Quota { per_second, burst } = self.quota;
        let bucket = self.buckets.entry(action).or_insert_with(|| Bucket {
            tokens: burst,
            filled: uptime,
            calls: Calls::default(),
        });
        bucket.tokens = (bucket.tokens + uptime.saturating_sub(bucket.filled).as_secs_f64() * per_second).min(burst);
        bucket.filled = uptime;
        let admitted = per_second <= 0.0 || bucket.tokens >= 1.0;
        let moments = if admitted {
            bucket.tokens -= 1.0;
            &mut bucket.calls.accepted
        } else {
            &mut bucket.calls.throttled
        };
        if moments.len() < MOMENTS_KEPT {
            moments.push(now);
        }
        admitted
    }

    /// Writes down a call of something that has no quota.
    pub(super) fn count(&mut self, action: &'static str, now: Moment) {
        let new = || Bucket { tokens: 0.0, filled: Duration::ZERO, calls: Calls::default() };
        let moments = &mut self.buckets.entry(action).or_insert_with(new).calls.accepted;
        if moments.len() < MOMENTS_KEPT {
            moments.push(now);
        }
    }

    pub(super) fn change(&mut self, quota: Quota) {
        self.quota = quota;
    }

    pub(super) fn calls(&self) -> BTreeMap<String, Calls> {
        self.buckets.iter().map(|(action, bucket)| ((*action).to_owned(), bucket.calls.clone())).collect()
    }

    /// Accepted and throttled calls of each action.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, usize, usize)> {
        self.buckets.iter().map(|(action, bucket)| (*action, bucket.calls.accepted.len(), bucket.calls.throttled.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(buckets: &mut Buckets, action: &'static str, millis: u64, calls: usize) -> usize {
        let at = Duration::from_millis(millis);
        (0..calls).filter(|_| buckets.admit(action, at, Moment::from_millis(0) + at)).count()
    }

    #[test]
    fn a_full_bucket_empties_and_fills_at_the_rate() {
        let mut buckets = Buckets::new(Quota::default());
        for (millis, calls, expected) in [(0, 30, 20), (49, 5, 0), (50, 5, 1), (1_050, 30, 20), (60_000, 30, 20)] {
            assert_eq!(admitted(&mut buckets, "A", millis, calls), expected, "at {millis} ms");
        }
        assert_eq!(admitted(&mut buckets, "B", 60_000, 30), 20, "each action has its own");
        assert_eq!(buckets.counts().collect::<Vec<_>>(), [("A", 61, 39), ("B", 20, 10)]);
    }

    #[test]
    fn a_rate_of_zero_switches_it_off() {
        let mut buckets = Buckets::new(Quota { per_second: 0.0, burst: 0.0 });
        assert_eq!(admitted(&mut buckets, "A", 0, 1_000), 1_000);
    }
}
