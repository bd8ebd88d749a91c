use std::future::Future;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
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

/// Says yes to the first batch.
fn collect(listener: &TcpListener) -> std::io::Result<()> {
    let mut stream = BufReader::new(listener.accept()?.0);
    let (mut line, mut length) = (String::new(), 0);
    while stream.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
        line.clear();
    }
    stream.read_exact(&mut vec![0; length])?;
    stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
}

#[test]
fn the_environment_names_no_proxy_for_the_collector() {
    const COLLECTOR: &str = "MICROGW_TEST_COLLECTOR";
    let Ok(url) = std::env::var(COLLECTOR) else {
        // The same test in a process of its own: the environment belongs to all of this one.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        std::thread::spawn(move || collect(&listener));
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "traces::tests::the_environment_names_no_proxy_for_the_collector"]);
        again.env(COLLECTOR, url).env("http_proxy", "http://127.0.0.1:1").env_remove("no_proxy").env_remove("NO_PROXY");
        let output = again.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let destination = Destination {
        url,
        http: true,
        headers: vec![("authorization".to_owned(), "Bearer sesame".to_owned())],
        authorities: None,
        service_name: "test".to_owned(),
    };
    let traces = Traces::start(destination, runtime.handle()).unwrap();
    drop(traces.provider.tracer("test").start("span"));
    let counts = traces.counts().clone();
    traces.finish();
    assert_eq!((counts.exported.get(), counts.failed.get()), (1, 0));
}
