//! One answer to a scrape, written by Prometheus' own library.

use super::table::{Kind, Metric};
use crate::fault;
use crate::meter::Spread;
use crate::moment::Moment;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;

pub use prometheus_text::CONTENT_TYPE;

/// A moment as a metric tells it.
pub(super) fn seconds(moment: Moment) -> f64 {
    moment.millis() as f64 / 1_000.0
}

/// The word of a fault, as the runbook has it.
pub(super) fn word(kind: fault::Kind) -> String {
    let word = serde_json::to_value(kind).ok();
    word.as_ref().and_then(|word| word.as_str()).unwrap_or_default().to_owned()
}

/// One answer, as far as it is written.
#[derive(Default)]
pub(super) struct Sheet(String);

/// One metric with its series; written at once, so that only the text of a large fleet is ever held as a whole.
#[derive(Debug)]
struct Family {
    metric: Metric,
    series: Vec<(Vec<(&'static str, String)>, Value)>,
}

#[derive(Debug)]
enum Value {
    Gauge(f64),
    Counter(u64),
    Histogram(Spread),
}

impl Sheet {
    /// A gauge with these series.
    pub(super) fn gauge<L: Labels>(&mut self, metric: &Metric, series: impl IntoIterator<Item = (L, f64)>) {
        let series = series.into_iter().map(|(labels, value)| (labels.owned(), Value::Gauge(value)));
        self.family(metric, Kind::Gauge, series.collect());
    }

    /// A gauge without labels, where there is a value.
    pub(super) fn plain(&mut self, metric: &Metric, value: Option<f64>) {
        self.gauge(metric, value.map(|value| (NONE, value)));
    }

    /// A counter with these series.
    pub(super) fn counts<L: Labels>(&mut self, metric: &Metric, series: impl IntoIterator<Item = (L, u64)>) {
        let series = series.into_iter().map(|(labels, value)| (labels.owned(), Value::Counter(value)));
        self.family(metric, Kind::Counter, series.collect());
    }

    /// A counter without labels, where there is a value.
    pub(super) fn count(&mut self, metric: &Metric, value: Option<u64>) {
        self.counts(metric, value.map(|value| (NONE, value)));
    }

    /// A histogram without labels.
    pub(super) fn spread(&mut self, metric: &Metric, spread: &Spread) {
        self.family(metric, Kind::Histogram, vec![(Vec::new(), Value::Histogram(spread.clone()))]);
    }

    fn family(&mut self, metric: &Metric, kind: Kind, series: Vec<(Vec<(&'static str, String)>, Value)>) {
        debug_assert_eq!(metric.kind, kind, "{}", metric.name);
        let fits = |labels: &[(&str, String)]| labels.iter().map(|(key, _)| *key).eq(metric.labels.iter().copied());
        debug_assert!(series.iter().all(|(labels, _)| fits(labels)), "{}", metric.name);
        // Without a series there is nothing to say.
        if !series.is_empty() {
            let mut registry = Registry::default();
            registry.register_collector(Box::new(Family { metric: *metric, series }));
            prometheus_text::encode(&mut self.0, &registry).expect("a text grows as long as there is memory");
        }
    }

    /// All of it.
    pub(super) fn text(self) -> String {
        self.0
    }
}

/// What one series is told apart by.
pub(super) trait Labels {
    fn owned(self) -> Vec<(&'static str, String)>;
}

const NONE: [(&str, &str); 0] = [];

impl<V: Into<String>, const N: usize> Labels for [(&'static str, V); N] {
    fn owned(self) -> Vec<(&'static str, String)> {
        self.into_iter().map(|(key, value)| (key, value.into())).collect()
    }
}

impl Collector for Family {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self { metric, series } = self;
        let (name, kind) = match metric.kind {
            Kind::Gauge => (metric.name, MetricType::Gauge),
            // The library puts the ending on a counter's name itself.
            Kind::Counter => (metric.name.strip_suffix("_total").unwrap_or(metric.name), MetricType::Counter),
            Kind::Histogram => (metric.name, MetricType::Histogram),
        };
        let mut family = encoder.encode_descriptor(name, metric.help, None, kind)?;
        for (labels, value) in series {
            put(family.encode_family(labels)?, value)?;
        }
        Ok(())
    }
}

fn put(mut series: MetricEncoder<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Gauge(value) => series.encode_gauge(value),
        Value::Counter(count) => series.encode_counter::<NoLabelSet, _, u64>(count, None),
        Value::Histogram(spread) => {
            series.encode_histogram::<NoLabelSet>(spread.sum, spread.count, &spread.buckets, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    #[test]
    fn a_hostile_label_cannot_leave_its_quotes() {
        let mut sheet = Sheet::default();
        let hostile = "a\"} 1\nkeywheel_forged{x=\"\\";
        sheet.gauge(&table::PROVEN, [([("target", hostile)], 1_764_000_000.5), ([("target", "")], -0.0)]);
        sheet.counts(&table::ROTATIONS, [([("outcome", "settled")], u64::MAX)]);
        let text = sheet.text();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            lines,
            [
                "keywheel_password_timestamp_seconds{target=\"a\\\"} 1\\nkeywheel_forged{x=\\\"\\\\\"} 1764000000.5",
                "keywheel_password_timestamp_seconds{target=\"\"} -0.0",
                "keywheel_rotations_total{outcome=\"settled\"} 18446744073709551615",
            ]
        );
    }

    #[test]
    fn a_histogram_is_cumulative_and_ends_with_everything() {
        let mut sheet = Sheet::default();
        sheet.spread(&table::COMMITS, &Spread { buckets: vec![(0.5, 2), (1.0, 1)], sum: 4.25, count: 4 });
        let text = sheet.text();
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "# TYPE keywheel_ledger_commit_seconds histogram",
                "keywheel_ledger_commit_seconds_bucket{le=\"0.5\"} 2",
                "keywheel_ledger_commit_seconds_bucket{le=\"1\"} 3",
                "keywheel_ledger_commit_seconds_bucket{le=\"+Inf\"} 4",
                "keywheel_ledger_commit_seconds_sum 4.25",
                "keywheel_ledger_commit_seconds_count 4",
            ]
        );
    }
}
