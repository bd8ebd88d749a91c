//! A backend that answers with what it was asked: method, path, headers, and its own name.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::tls::Identity;

pub struct Backend {
    pub address: SocketAddr,
    requests: Arc<AtomicU64>,
    gate: watch::Sender<bool>,
    task: JoinHandle<()>,
}

// === impl Backend ===

impl Backend {
    /// Listens on a free port.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start(name: &'static str) -> Backend {
        Backend::serve(name, "127.0.0.1:0".parse().expect("it is one"), None).await
    }

    /// Listens there.
    ///
    /// # Panics
    /// When it is not free.
    pub async fn start_at(name: &'static str, address: SocketAddr) -> Backend {
        Backend::serve(name, address, None).await
    }

    /// The same, with TLS.
    ///
    /// # Panics
    /// When it is not free.
    pub async fn start_tls_at(name: &'static str, address: SocketAddr, identity: &Identity) -> Backend {
        Backend::serve(name, address, Some(identity.acceptor(None))).await
    }

    /// With TLS, as `identity`. Clients need a certificate from `clients`, if that is given.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start_tls(name: &'static str, identity: &Identity, clients: Option<&Identity>) -> Backend {
        let address = "127.0.0.1:0".parse().expect("it is one");
        Backend::serve(name, address, Some(identity.acceptor(clients))).await
    }

    async fn serve(name: &'static str, address: SocketAddr, acceptor: Option<TlsAcceptor>) -> Backend {
        let listener = tokio::net::TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let requests = Arc::new(AtomicU64::new(0));
        let counter = requests.clone();
        let (gate, opened) = watch::channel(false);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (counter, opened, acceptor) = (counter.clone(), opened.clone(), acceptor.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        counter.fetch_add(1, Ordering::Relaxed);
                        let mut opened = opened.clone();
                        async move {
                            if request.uri().path().ends_with("/held") {
                                // An error: the backend is gone, and with it who would wait for the answer.
                                let _ = opened.wait_for(|open| *open).await;
                            }
                            Ok::<_, Infallible>(echo(name, &request))
                        }
                    });
                    let server = hyper::server::conn::http1::Builder::new();
                    // A client that goes away, or does not like us, is its own affair.
                    let _ = match acceptor {
                        None => server.serve_connection(TokioIo::new(stream), service).await,
                        Some(acceptor) => match acceptor.accept(stream).await {
                            Ok(stream) => server.serve_connection(TokioIo::new(stream), service).await,
                            Err(_) => Ok(()),
                        },
                    };
                });
            }
        });
        Backend { address, requests, gate, task }
    }

    /// Requests for `.../held` wait for this.
    pub fn release(&self) {
        self.gate.send_replace(true);
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn echo<B>(name: &str, request: &Request<B>) -> Response<Full<Bytes>> {
    let headers: Map<String, Value> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect();
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    let body = json!({ "backend": name, "method": request.method().as_str(), "path": path, "headers": headers });
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    if path.ends_with("/long-head") {
        let long = hyper::header::HeaderValue::from_bytes(&[b'x'; 4096]).expect("it is text");
        response.headers_mut().insert("x-long", long);
    }
    if path.ends_with("/cors") {
        // It lets anybody read.
        for (name, value) in [("allow-origin", "*"), ("allow-credentials", "true"), ("expose-headers", "*")] {
            let name = hyper::header::HeaderName::try_from(format!("access-control-{name}")).expect("it is a name");
            response.headers_mut().insert(name, hyper::header::HeaderValue::from_static(value));
        }
        response.headers_mut().insert("x-cors", hyper::header::HeaderValue::from_static("yes"));
    }
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    response
}
