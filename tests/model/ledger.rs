//! The ledger: what is on disk, what readers see, and the claim's fencing number. A state is kept as what its events fold to, and folding goes on from there with
//! the production's own `apply`.

use super::cloud::Password;
use keywheel::moment::Moment;
use keywheel::name::Generation;
use keywheel::rotation::event::{Event, What};
use keywheel::rotation::state::State;
use keywheel::rotation::{IllegalEvent, apply, fold};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// Something whose hash is taken once, and which worlds share.
pub struct Shared<T>(Arc<(u64, T)>);

impl<T: Hash> Shared<T> {
    pub fn new(inner: T) -> Self {
        let mut hasher = DefaultHasher::new();
        inner.hash(&mut hasher);
        Self(Arc::new((hasher.finish(), inner)))
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0.1
    }
}

impl<T> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.0.0);
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T: std::fmt::Debug> std::fmt::Debug for Shared<T> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.1.fmt(out)
    }
}

/// A state of the core, as its events fold to it.
pub type Folded = Shared<State>;

impl Folded {
    pub fn then(&self, event: &Event) -> Result<Self, IllegalEvent> {
        apply(self.0.1.clone(), event).map(Self::new)
    }
}

/// One event to append, with the password it brings.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    pub event: Event,
    pub password: Option<(Generation, Password)>,
}

/// A target's record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record {
    pub state: Folded,
    pub passwords: Vec<(Generation, Password)>,
    pub wake_at: Moment,
}

impl Record {
    pub fn password(&self, generation: Generation) -> Option<Password> {
        self.passwords.iter().find(|(known, _)| *known == generation).map(|(_, password)| *password)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// What survives a power cut.
    pub disk: Record,
    /// What readers see: the disk and what was written since.
    pub cache: Record,
    /// The newest claim's number.
    pub fence: u8,
}

impl Hash for Ledger {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Self { disk, cache, fence } = self;
        (disk, fence).hash(hasher);
        if cache != disk {
            cache.hash(hasher);
        }
    }
}

impl Ledger {
    /// Whether a claim with this number may append.
    pub fn admits(&self, fence: u8) -> bool {
        fence == self.fence
    }

    /// All of it in one durable transaction.
    pub fn append(&mut self, entries: &[Shared<Entry>], wake_at: Moment) -> Result<(), String> {
        let mut state = self.cache.state.clone();
        for entry in entries {
            let Entry { event, password } = &**entry;
            state = state.then(event).map_err(|illegal| illegal.to_string())?;
            if let What::Settled { .. } = event.what {
                // A later fold begins here; it has to come to the same.
                let from_here = fold([event]).map_err(|illegal| illegal.to_string())?;
                if from_here != *state {
                    return Err("the fold from the last settled differs".to_owned());
                }
            }
            if let Some((generation, password)) = password {
                self.cache.passwords.retain(|(known, _)| known != generation);
                self.cache.passwords.push((*generation, *password));
                self.cache.passwords.sort_unstable();
            }
        }
        self.cache.state = state;
        self.cache.wake_at = wake_at;
        self.sync();
        Ok(())
    }

    fn sync(&mut self) {
        self.disk = self.cache.clone();
    }

    /// Whatever was not synced is gone.
    pub fn power_cut(&mut self) {
        self.cache = self.disk.clone();
    }
}
