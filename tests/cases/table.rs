//! Runs rows several at a time and prints what became of each.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many rows of one case run at the same time: they wait more than they work.
const AT_ONCE: usize = 4;

/// A row's name, and what it does.
pub type Row<'a> = (String, Box<dyn Fn() + Send + Sync + 'a>);

/// Runs them all. Prints a line for each, whatever the test runner hides, and fails if one is broken.
pub fn run(case: &str, rows: &[Row<'_>]) {
    let (next, broken) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((name, act)) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = catch_unwind(AssertUnwindSafe(act));
                    let word = if outcome.is_ok() { "settled" } else { "BROKEN" };
                    let _ = writeln!(std::io::stderr(), "{case} | {name} | {word}");
                    if outcome.is_err() {
                        broken.lock().unwrap().push(name.clone());
                    }
                }
            });
        }
    });
    let broken = broken.into_inner().unwrap();
    let _ = writeln!(std::io::stderr(), "{case}: {} rows, {} broken", rows.len(), broken.len());
    assert!(broken.is_empty(), "{case}: {broken:?}");
}
