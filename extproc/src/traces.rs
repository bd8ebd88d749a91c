//! Traces: spans of `tracing` leave as OTLP, and continue what Envoy began. Nothing here runs where no collector is
//! configured.

mod export;

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tokio::runtime::Handle;
use tonic::metadata::MetadataMap;
use tonic::transport::{Certificate, ClientTlsConfig};
use tracing::{Level, Metadata, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::Registry;

pub use export::SpanCounts;

/// For one batch.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// For what is left when the gateway ends.
const LAST_FLUSH: Duration = Duration::from_secs(3);

/// What is continued.
pub(crate) type Parent = Context;

/// Where spans go.
pub struct Destination {
    /// With scheme, host and port; over HTTP also the path.
    pub url: String,
    pub http: bool,
    /// By lower-case name.
    pub headers: Vec<(String, String)>,
    /// PEM: whom the collector's certificate must come from, where it is reached over TLS.
    pub authorities: Option<String>,
    pub service_name: String,
}

/// Spans on their way out. Ends with [`Self::finish`], which sends what is left.
pub struct Traces {
    provider: SdkTracerProvider,
    counts: SpanCounts,
}

#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    #[error("cannot set up the export of spans")]
    Exporter(#[from] ExporterBuildError),
    #[error("cannot set up the HTTP client that exports spans")]
    Client(#[from] reqwest::Error),
    #[error("header `{0}` for the collector cannot be sent")]
    Header(String),
}

// === impl Traces ===

impl Traces {
    /// Exports on the runtime, which must outlive the traces.
    pub fn start(destination: Destination, runtime: &Handle) -> Result<Traces, TracesError> {
        let _inside = runtime.enter();
        let resource = Resource::builder()
            .with_service_name(destination.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let counts = SpanCounts::default();
        let exporter = if destination.http { http(destination)? } else { grpc(destination)? };
        let provider = SdkTracerProvider::builder()
            // Envoy chooses the requests; what we begin ourselves is rare.
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
            .with_resource(resource)
            .with_span_processor(export::bounded(exporter, counts.clone(), runtime.clone()))
            .build();
        Ok(Traces { provider, counts })
    }

    /// Makes spans of ours into spans that are exported. Events stay in the log.
    pub fn layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
        let tracer = self.provider.tracer("micro-gw");
        let layer = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false);
        let spans = FilterFn::new(|metadata| metadata.is_span() && is_ours(metadata));
        layer.with_filter(spans.with_max_level_hint(LevelFilter::INFO)).boxed()
    }

    pub fn counts(&self) -> &SpanCounts {
        &self.counts
    }

    /// Sends what is left, as far as that is possible in a few seconds.
    pub fn finish(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(LAST_FLUSH) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Traces(..)")
    }
}

/// Whether a span tells what the gateway does. Other crates have spans of their own, of every frame and every poll.
pub fn is_ours(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO && ["micro_gw", "microgw"].iter().any(|name| metadata.target().starts_with(name))
}

/// The ids of trace and span, where the span is exported.
pub fn ids(span: &tracing::span::Id) -> Option<(String, String)> {
    let context = tracing::dispatcher::get_default(|dispatch| tracing_opentelemetry::get_otel_context(span, dispatch))?;
    let context = context.span().span_context().clone();
    context.is_valid().then(|| (context.trace_id().to_string(), context.span_id().to_string()))
}

/// What the caller's headers say about the trace that is to be continued; `None` where it is not recorded.
pub(crate) fn parent(headers: &http::HeaderMap) -> Option<Parent> {
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
    context.span().span_context().is_sampled().then_some(context)
}

/// Makes the span a child of what is continued.
pub(crate) fn continues(span: &Span, parent: Parent) {
    // An error: nothing exports it.
    let _ = span.set_parent(parent);
}

struct Headers<'a>(&'a http::HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

fn grpc(destination: Destination) -> Result<SpanExporter, TracesError> {
    let mut headers = http::HeaderMap::new();
    for (name, value) in destination.headers {
        let parsed = http::HeaderName::from_bytes(name.as_bytes()).ok().zip(http::HeaderValue::from_str(&value).ok());
        let (parsed, mut value) = parsed.ok_or(TracesError::Header(name))?;
        value.set_sensitive(true);
        headers.insert(parsed, value);
    }
    let tls = destination.url.starts_with("https:");
    let mut exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(destination.url)
        .with_timeout(EXPORT_TIMEOUT)
        .with_metadata(MetadataMap::from_headers(headers));
    if tls {
        let authorities = destination.authorities.unwrap_or_default();
        exporter = exporter.with_tls_config(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities)));
    }
    Ok(exporter.build()?)
}

fn http(destination: Destination) -> Result<SpanExporter, TracesError> {
    let authorities = destination.authorities.unwrap_or_default();
    let client = reqwest::Client::builder()
        .tls_certs_only(reqwest::Certificate::from_pem_bundle(authorities.as_bytes())?)
        .redirect(reqwest::redirect::Policy::none())
        // As Envoy and the exporter over gRPC: what the environment says is for others.
        .no_proxy()
        .timeout(EXPORT_TIMEOUT)
        .user_agent(concat!("micro-gw/", env!("CARGO_PKG_VERSION")))
        .build()?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(destination.url)
        .with_timeout(EXPORT_TIMEOUT)
        .with_headers(destination.headers.into_iter().collect::<HashMap<_, _>>());
    Ok(exporter.build()?)
}

#[cfg(test)]
mod tests;
