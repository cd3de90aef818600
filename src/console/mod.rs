//! The console: what the daemon shows over TCP, read-only and without a secret, to those who watch it. Nothing here writes to the ledger, and nothing
//! here is waited for by the driver.
//!
//! [`door`] lets connections in and bounds them, [`signs`] knows whether the daemon lives and is ready, `answer` says what stands at which path.

mod answer;
pub mod door;
pub mod signs;

use signs::Signs;
use std::sync::Arc;

/// What is shown.
pub struct Console {
    signs: Arc<Signs>,
}

impl Console {
    /// A console that shows these signs.
    pub fn new(signs: Arc<Signs>) -> Arc<Self> {
        Arc::new(Self { signs })
    }
}
