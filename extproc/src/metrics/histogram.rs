//! A histogram of durations without a lock: two additions an observation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Cheap to clone: all clones are one histogram.
#[derive(Clone, Debug)]
pub(super) struct Histogram(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Upper ends, ascending.
    bounds: &'static [Duration],
    /// One more than there are bounds: what is above them all.
    counts: Box<[AtomicU64]>,
    nanoseconds: AtomicU64,
}

const fn us(microseconds: u64) -> Duration {
    Duration::from_micros(microseconds)
}

/// A cached decision takes some microseconds; all lookups of one together may take two seconds.
pub(super) static DECISION: [Duration; 16] = [
    us(10),
    us(25),
    us(50),
    us(100),
    us(250),
    us(500),
    us(1_000),
    us(2_500),
    us(5_000),
    us(10_000),
    us(50_000),
    us(100_000),
    us(250_000),
    us(500_000),
    us(1_000_000),
    us(2_000_000),
];

/// Envoys may take ten seconds to accept, and again for each attempt to find the API at fault.
pub(super) static PUBLISH: [Duration; 10] = [
    us(10_000),
    us(25_000),
    us(50_000),
    us(100_000),
    us(250_000),
    us(500_000),
    us(1_000_000),
    us(2_500_000),
    us(10_000_000),
    us(60_000_000),
];

// === impl Histogram ===

impl Histogram {
    pub(super) fn new(bounds: &'static [Duration]) -> Histogram {
        let counts = std::iter::repeat_with(AtomicU64::default).take(bounds.len() + 1).collect();
        Histogram(Arc::new(Inner { bounds, counts, nanoseconds: AtomicU64::new(0) }))
    }

    pub(super) fn observe(&self, duration: Duration) {
        let Inner { bounds, counts, nanoseconds } = &*self.0;
        let bucket = bounds.iter().position(|bound| duration <= *bound).unwrap_or(bounds.len());
        if let Some(count) = counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        nanoseconds.fetch_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl EncodeMetric for Histogram {
    #[allow(clippy::cast_precision_loss)] // 104 days are exact
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        let ends = self.0.bounds.iter().map(Duration::as_secs_f64).chain([f64::INFINITY]);
        let counts = self.0.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = ends.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.0.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Histogram::TYPE
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn an_observation_is_in_the_bucket_that_it_fits() {
        let (histogram, mut registry) = (Histogram::new(&DECISION), Registry::default());
        registry.register("d", "D", histogram.clone());
        for duration in [us(0), us(10), us(11), us(2_000_000), us(2_000_001)] {
            histogram.observe(duration);
        }
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in ["le=\"0.00001\"} 2", "le=\"0.000025\"} 3", "le=\"1.0\"} 3", "le=\"2.0\"} 4", "le=\"+Inf\"} 5"] {
            assert!(text.contains(&format!("d_bucket{{{line}\n")), "{line}\n{text}");
        }
        assert!(text.contains("d_sum 4.000022\n") && text.contains("d_count 5\n"), "{text}");
    }

    #[test]
    fn bounds_ascend() {
        assert!(DECISION.is_sorted() && PUBLISH.is_sorted());
        assert_eq!((DECISION.first(), DECISION.last()), (Some(&us(10)), Some(&Duration::from_secs(2))));
    }
}
