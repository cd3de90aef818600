//! How one comes in at the door, and who may do more than look.

use super::Console;
use crate::crowd::Gate;
use rustls::ServerConfig;
use std::sync::{Arc, PoisonError};

/// What counts at the door from now on.
#[derive(Clone, Default)]
pub struct Entrance {
    /// Answers those who want to act; `None` where nobody may.
    pub gate: Option<Gate>,
    /// The certificate that is shown; `None` where nothing is encrypted.
    pub tls: Option<Arc<ServerConfig>>,
}

impl Console {
    /// From now on this counts, for whoever connects.
    pub fn guard(&self, entrance: Entrance) {
        *self.entrance.lock().unwrap_or_else(PoisonError::into_inner) = entrance;
    }

    pub(super) fn entrance(&self) -> Entrance {
        self.entrance.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
