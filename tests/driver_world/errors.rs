//! A listener for the driver's ERROR lines: a defect that it reports and survives is a broken promise all the same.

use super::sim::Told;
use keywheel::fault::Kind;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

/// The defects that were reported.
#[derive(Clone, Default)]
pub struct Errors(Arc<Mutex<Vec<String>>>);

/// Runs this with every ERROR line of this thread heard.
pub fn watched<T>(work: impl FnOnce(&Errors) -> T) -> T {
    let errors = Errors::default();
    tracing::subscriber::with_default(Listener(errors.clone()), || work(&errors))
}

impl Errors {
    pub fn verdict(&self) -> Told {
        self.0.lock().expect("nobody panics with it").first().cloned().map_or(Ok(()), Err)
    }
}

struct Listener(Errors);

impl Subscriber for Listener {
    fn register_callsite(&self, _metadata: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() == Level::ERROR && metadata.target().starts_with("keywheel::driver")
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::ERROR)
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        let defect = line.0.contains("defect") || line.0.contains(Kind::Bug.next_step());
        let corrupt = line.0.contains(Kind::LedgerCorrupt.next_step());
        if defect || corrupt {
            self.0.0.lock().expect("nobody panics with it").push(format!("the driver reports a defect: {}", line.0));
        }
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, "{} {value:?} ", field.name());
    }
}
