//! The queue in front of the exporter. It is bounded: what does not fit is dropped, and counted. A collector that is away
//! costs no request anything, and the log one line.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};
use prometheus_client::metrics::counter::Counter;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::EXPORT_TIMEOUT;

/// Spans that wait, or are being sent. A few hundred bytes each.
const QUEUE: usize = 4096;
const BATCH: usize = 512;
/// Between two batches, unless one is full before.
const PAUSE: Duration = Duration::from_secs(1);

/// What became of spans. Cheap to clone: all clones count together.
#[derive(Clone, Debug, Default)]
pub struct SpanCounts {
    pub(crate) exported: Counter,
    /// The queue was full.
    pub(crate) dropped: Counter,
    /// The collector did not take them.
    pub(crate) failed: Counter,
}

/// The library's processor batches, flushes and ends; its own queue never overflows, for this one does before.
#[derive(Debug)]
struct Bounded {
    batches: BatchSpanProcessor,
    waiting: Arc<AtomicUsize>,
    counts: SpanCounts,
}

/// Sends on the runtime: the processor's own thread has none.
#[derive(Debug)]
struct Exporter<E> {
    inner: Arc<E>,
    runtime: Handle,
    waiting: Arc<AtomicUsize>,
    counts: SpanCounts,
    failing: AtomicBool,
}

/// A processor that sends with `exporter`, on `runtime`.
pub(super) fn bounded<E>(exporter: E, counts: SpanCounts, runtime: Handle) -> impl SpanProcessor + 'static
where
    E: SpanExporter + 'static,
{
    let waiting = Arc::new(AtomicUsize::new(0));
    let exporter = Exporter {
        inner: Arc::new(exporter),
        runtime,
        waiting: Arc::clone(&waiting),
        counts: counts.clone(),
        failing: AtomicBool::new(false),
    };
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(PAUSE)
        .build();
    let batches = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
    Bounded { batches, waiting, counts }
}

// === impl Bounded ===

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.counts.dropped.inc();
            return;
        }
        self.batches.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

// === impl Exporter ===

impl<E: SpanExporter + 'static> SpanExporter for Exporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let exporter = Arc::clone(&self.inner);
        // Within the runtime also what makes the timer.
        let sending = self.runtime.spawn(async move { timeout(EXPORT_TIMEOUT, exporter.export(batch)).await });
        let result = match sending.await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(OTelSdkError::Timeout(EXPORT_TIMEOUT)),
            Err(ended) => Err(OTelSdkError::InternalFailure(ended.to_string())),
        };
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        let counter = if result.is_ok() { &self.counts.exported } else { &self.counts.failed };
        counter.inc_by(spans as u64);
        match (&result, self.failing.swap(result.is_err(), Ordering::Relaxed)) {
            (Err(error), false) => tracing::warn!(%error, "spans cannot be sent to the collector"),
            (Ok(()), true) => tracing::info!("spans are sent to the collector again"),
            (Err(_), true) | (Ok(()), false) => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    /// Comes before the first batch, when nothing else holds the exporter.
    fn set_resource(&mut self, resource: &Resource) {
        if let Some(exporter) = Arc::get_mut(&mut self.inner) {
            exporter.set_resource(resource);
        }
    }
}
