use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use opentelemetry::trace::Tracer as _;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::SpanData;
use tokio::sync::Semaphore;
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;

/// Takes a batch for each permit.
#[derive(Debug)]
struct Slow {
    permits: Arc<Semaphore>,
    taken: Arc<AtomicUsize>,
}

impl opentelemetry_sdk::trace::SpanExporter for Slow {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        let (permits, taken) = (self.permits.clone(), self.taken.clone());
        async move {
            permits.acquire().await.expect("it is open").forget();
            taken.fetch_add(batch.len(), Ordering::Relaxed);
            Ok(())
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_dropped_and_counted() {
    let (permits, taken, counts) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)), SpanCounts::default());
    let exporter = Slow { permits: permits.clone(), taken: taken.clone() };
    let processor = export::bounded(exporter, counts.clone(), Handle::current());
    let provider = SdkTracerProvider::builder().with_span_processor(processor).build();
    let tracer = provider.tracer("test");
    let made = 10_000_u64;
    for _ in 0..made {
        drop(tracer.start("span"));
    }
    assert_eq!(counts.dropped.get(), made - 4096, "the queue holds so many and no more");
    permits.add_permits(1000);
    let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(Duration::from_secs(60))).await;
    assert!(ended.unwrap().is_ok());
    assert_eq!((counts.exported.get(), counts.failed.get(), taken.load(Ordering::Relaxed)), (4096, 0, 4096));
}

fn headers(traceparent: &str) -> http::HeaderMap {
    let mut headers = http::HeaderMap::new();
    headers.insert("traceparent", traceparent.parse().unwrap());
    headers
}

#[test]
fn only_what_is_recorded_is_continued() {
    let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let context = parent(&headers(&format!("00-{trace}-{span}-01"))).unwrap();
    let context = context.span().span_context().clone();
    assert_eq!((context.trace_id().to_string(), context.span_id().to_string()), (trace.to_owned(), span.to_owned()));
    assert!(context.is_remote());
    for unrecorded in [
        format!("00-{trace}-{span}-00"),
        format!("00-{trace}-0000000000000000-01"),
        format!("00-00000000000000000000000000000000-{span}-01"),
        format!("ff-{trace}-{span}-01"),
        format!("00-{trace}-{span}"),
        String::new(),
        "\u{e9}".to_owned(),
    ] {
        assert!(parent(&headers(&unrecorded)).is_none(), "{unrecorded}");
    }
    assert!(parent(&http::HeaderMap::new()).is_none());
}

#[test]
fn spans_of_ours_have_ids_and_those_of_others_are_not_exported() {
    let counts = SpanCounts::default();
    let (taken, permits) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(1000)));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let exporter = Slow { permits, taken: taken.clone() };
    let processor = export::bounded(exporter, counts.clone(), runtime.handle().clone());
    let traces = Traces { provider: SdkTracerProvider::builder().with_span_processor(processor).build(), counts };
    let subscriber = Registry::default().with(vec![traces.layer()]);
    tracing::subscriber::with_default(subscriber, || {
        let own = tracing::info_span!(target: "microgw_extproc::authz", "decision");
        continues(&own, parent(&headers("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")).unwrap());
        let (trace, span) = ids(&own.id().unwrap()).unwrap();
        assert_eq!(trace, "0af7651916cd43dd8448eb211c80319c");
        assert!(span.len() == 16 && span != "b7ad6b7169203331");
        assert!(tracing::info_span!(target: "h2", "frame").is_disabled());
        assert!(tracing::debug_span!(target: "microgw_extproc", "detail").is_disabled());
    });
    traces.finish();
    assert_eq!(taken.load(Ordering::Relaxed), 1);
}
