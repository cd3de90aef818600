//! How long transactions take to become durable: the part of every rotation that the disk decides.

use crate::meter::{Counter, Histogram};

/// Bounds in seconds: from a disk that only says that it has flushed to one that is about to fail.
const BOUNDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// What the writing thread's transactions took.
#[derive(Debug)]
pub struct Commits {
    /// From the commit until it was on disk; one may carry the work of many.
    pub took: Histogram,
    /// Those that failed as a whole, such as on a full disk.
    pub failed: Counter,
}

impl Default for Commits {
    fn default() -> Self {
        Self { took: Histogram::over(BOUNDS), failed: Counter::default() }
    }
}
