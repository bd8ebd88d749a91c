//! A collector of traces: what arrives over OTLP, by gRPC or HTTP, is kept.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;

use crate::eventually;
use crate::tls::Identity;

pub struct Collector {
    pub address: SocketAddr,
    received: Received,
    task: JoinHandle<()>,
}

/// A span as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// `service.name`.
    pub service: String,
    /// Who made it: `envoy`, or the service's tracer.
    pub scope: String,
    /// In hex, as all ids.
    pub trace: String,
    pub id: String,
    /// Empty: none.
    pub parent: String,
    pub name: String,
    /// 1: internal, 2: server, 3: client.
    pub kind: i32,
    pub attributes: BTreeMap<String, String>,
}

#[derive(Clone, Default)]
struct Received {
    batches: Arc<Mutex<Vec<Batch>>>,
}

struct Batch {
    /// Of the request that brought it.
    headers: BTreeMap<String, String>,
    request: ExportTraceServiceRequest,
}

// === impl Collector ===

impl Collector {
    /// OTLP over gRPC, on a free port.
    ///
    /// # Panics
    /// When there is none.
    pub async fn grpc() -> Collector {
        let (listener, received) = (listen(None).await, Received::default());
        let address = listener.local_addr().expect("it is bound");
        let service = TraceServiceServer::new(received.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        let serving = server.serve_with_incoming(TcpListenerStream::new(listener));
        let task = tokio::spawn(async move { serving.await.expect("the collector serves") });
        Collector { address, received, task }
    }

    /// OTLP over gRPC and TLS, on a free port.
    ///
    /// # Panics
    /// When there is none, or the identity is none.
    pub async fn grpc_over_tls(identity: &Identity) -> Collector {
        let (listener, received) = (listen(None).await, Received::default());
        let address = listener.local_addr().expect("it is bound");
        crate::install_crypto();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(identity.key.serialize_der());
        let config = rustls::ServerConfig::builder().with_no_client_auth();
        let mut config = config.with_single_cert(vec![identity.der()], key.into()).expect("they belong together");
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let service = TraceServiceServer::new(received.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, service) = (acceptor.clone(), service.clone());
                tokio::spawn(async move {
                    // Who does not trust us goes away.
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).await;
                });
            }
        });
        Collector { address, received, task }
    }

    /// OTLP over HTTP below `base`, on a free port or the one that is given.
    ///
    /// # Panics
    /// When there is none.
    pub async fn http(base: &str, port: Option<u16>) -> Collector {
        let (listener, received) = (listen(port).await, Received::default());
        let path: Arc<str> = format!("{base}/v1/traces").into();
        let address = listener.local_addr().expect("it is bound");
        let kept = received.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, path) = (kept.clone(), path.clone());
                let service = service_fn(move |request| answer(kept.clone(), path.clone(), request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Collector { address, received, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn spans(&self) -> Vec<Span> {
        let batches = self.received.lock();
        let resources = batches.iter().flat_map(|batch| &batch.request.resource_spans);
        let mut spans = Vec::new();
        for resource in resources {
            let attributes = resource.resource.as_ref().map(|resource| attributes_of(&resource.attributes));
            let service = attributes.and_then(|mut attributes| attributes.remove("service.name")).unwrap_or_default();
            for scoped in &resource.scope_spans {
                let scope = scoped.scope.as_ref().map_or_else(String::new, |scope| scope.name.clone());
                spans.extend(scoped.spans.iter().map(|span| Span {
                    service: service.clone(),
                    scope: scope.clone(),
                    trace: hex(&span.trace_id),
                    id: hex(&span.span_id),
                    parent: hex(&span.parent_span_id),
                    name: span.name.clone(),
                    kind: span.kind,
                    attributes: attributes_of(&span.attributes),
                }));
            }
        }
        spans
    }

    /// Waits for a span.
    pub async fn span(&self, what: &str, wanted: impl Fn(&Span) -> bool) -> Span {
        eventually(what, async || self.spans().into_iter().find(|span| wanted(span))).await
    }

    /// All that arrived, for those who look for what must not.
    pub fn everything(&self) -> String {
        self.received.lock().iter().fold(String::new(), |mut text, batch| {
            let _ = write!(text, "{:?}", batch.request);
            text
        })
    }

    /// The headers of each request, by name.
    pub fn headers(&self) -> Vec<BTreeMap<String, String>> {
        self.received.lock().iter().map(|batch| batch.headers.clone()).collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(port: Option<u16>) -> TcpListener {
    TcpListener::bind(("127.0.0.1", port.unwrap_or_default())).await.expect("a free port")
}

async fn answer(
    received: Received,
    path: Arc<str>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(ExportTraceServiceResponse::default().encode_to_vec())));
    match ExportTraceServiceRequest::decode(body) {
        Ok(request) if *head.uri.path() == *path => received.keep(&head.headers, request),
        _ => *response.status_mut() = hyper::StatusCode::BAD_REQUEST,
    }
    Ok(response)
}

fn attributes_of(pairs: &[opentelemetry_proto::tonic::common::v1::KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::BoolValue(value) => value.to_string(),
        Value::IntValue(value) => value.to_string(),
        other => format!("{other:?}"),
    };
    let value = |pair: &opentelemetry_proto::tonic::common::v1::KeyValue| {
        pair.value.as_ref().and_then(|value| value.value.as_ref()).map_or_else(String::new, text)
    };
    pairs.iter().map(|pair| (pair.key.clone(), value(pair))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

// === impl Received ===

impl Received {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Batch>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, headers: &hyper::HeaderMap, request: ExportTraceServiceRequest) {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        self.lock().push(Batch { headers: headers.collect(), request });
    }
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let (metadata, _, request) = request.into_parts();
        self.keep(&metadata.into_headers(), request);
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}
