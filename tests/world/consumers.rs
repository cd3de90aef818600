//! Consumers: each reads its sink now and then, at least once in every grace, and logs in with what it read last.

use keywheel::moment::Moment;
use keywheel::name::{Generation, SinkName};
use std::collections::BTreeMap;
use std::time::Duration;

/// What each sink holds, and what it held until when by keywheel's clock.
#[derive(Debug, Default)]
pub struct Consumers(BTreeMap<SinkName, Vec<(Generation, Option<Moment>)>>);

impl Consumers {
    pub fn delivered(&mut self, sink: &SinkName, generation: Generation, clock: Moment) {
        let held = self.0.entry(sink.clone()).or_default();
        if held.last().is_some_and(|(last, _)| *last == generation) {
            // Delivered again, perhaps after the clock was set back.
            for (_, until) in held.iter_mut() {
                *until = until.map(|until| until.min(clock));
            }
            return;
        }
        if let Some((_, until)) = held.last_mut() {
            *until = Some(clock);
        }
        held.push((generation, None));
    }

    /// Somebody meddled with the sink, or it is no longer ours: what its consumers hold is not our doing.
    pub fn forget(&mut self, sink: &SinkName) {
        self.0.remove(sink);
    }

    /// Before the clock is set: who has read the sink since does not forget it.
    pub fn expire(&mut self, grace: Duration, clock: Moment) {
        for held in self.0.values_mut() {
            held.retain(|(_, until)| until.is_none_or(|until| clock < until + grace));
        }
    }

    /// What some consumer may log in with now.
    pub fn may_hold(&self, grace: Duration, clock: Moment) -> impl Iterator<Item = (&SinkName, Generation)> {
        self.0.iter().flat_map(move |(sink, held)| {
            let fresh = move |until: &Option<Moment>| until.is_none_or(|until| clock < until + grace);
            held.iter().filter(move |(_, until)| fresh(until)).map(move |(generation, _)| (sink, *generation))
        })
    }
}
