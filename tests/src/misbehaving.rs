//! A backend that behaves as it is told: well, or in one of the ways in which backends do not.

mod http1;
mod http2;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::eventually;
use crate::tls::Identity;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// Well, and then the connection ends: `connection: close`, or GOAWAY.
    WellAndGone,
    /// Answered with this status.
    Status(u16),
    /// Read, and never answered.
    Hang,
    /// The head begins, and goes no further.
    SlowHead,
    /// The body begins, and goes no further.
    SlowBody,
    /// The connection is reset instead of an answer.
    Reset,
    /// The connection is reset in the middle of the body.
    ResetInBody,
}

pub struct Misbehaving {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What it speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speaks {
    #[default]
    Http1,
    /// In the clear with prior knowledge.
    Http2,
    /// As agreed on when TLS begins.
    Both,
}

struct Shared {
    name: &'static str,
    speaks: Speaks,
    mood: watch::Sender<Mood>,
    /// Of the next requests, before that.
    next: Mutex<VecDeque<Mood>>,
    seen: Mutex<Vec<Request>>,
    /// Whether connections are accepted.
    open: watch::Sender<bool>,
    tls: Option<watch::Sender<Arc<TlsAcceptor>>>,
}

/// One that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Of HTTP: 1 or 2.
    pub version: u8,
    pub host: String,
    /// In TLS.
    pub server_name: Option<String>,
    pub client: Option<Vec<u8>>,
}

/// What is known of a connection before its first request.
#[derive(Clone, Debug, Default)]
struct Peer {
    server_name: Option<String>,
    certificate: Option<Vec<u8>>,
}

// === impl Misbehaving ===

/// # Panics
/// When there is no free port.
impl Misbehaving {
    pub async fn start(name: &'static str) -> Misbehaving {
        Misbehaving::serve(name, Speaks::Http1, None).await
    }

    pub async fn start_http2(name: &'static str) -> Misbehaving {
        Misbehaving::serve(name, Speaks::Http2, None).await
    }

    /// Clients need a certificate from `clients`, if that is given.
    pub async fn start_tls(
        name: &'static str,
        speaks: Speaks,
        identity: &Identity,
        clients: Option<&Identity>,
    ) -> Misbehaving {
        Misbehaving::serve(name, speaks, Some(acceptor(speaks, identity, clients))).await
    }

    async fn serve(name: &'static str, speaks: Speaks, tls: Option<Arc<TlsAcceptor>>) -> Misbehaving {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            name,
            speaks,
            mood: watch::Sender::new(Mood::Well),
            next: Mutex::default(),
            seen: Mutex::default(),
            open: watch::Sender::new(true),
            tls: tls.map(watch::Sender::new),
        });
        let task = tokio::spawn(accept(listener, address, shared.clone()));
        Misbehaving { address, shared, task }
    }

    /// From the next request on.
    pub fn be(&self, mood: Mood) {
        self.shared.mood.send_replace(mood);
    }

    /// The next requests, one after the other; then as before.
    pub fn next(&self, moods: impl IntoIterator<Item = Mood>) {
        self.shared.next.lock().unwrap_or_else(PoisonError::into_inner).extend(moods);
    }

    /// Nobody listens any more, and what is connected is reset.
    pub async fn refuse(&self) {
        self.shared.open.send_replace(false);
        let refused = async || TcpStream::connect(self.address).await.is_err().then_some(());
        eventually("connections are refused", refused).await;
    }

    /// Listens again, at the same place.
    pub async fn accept(&self) {
        self.shared.open.send_replace(true);
        let accepted = async || TcpStream::connect(self.address).await.is_ok().then_some(());
        eventually("connections are accepted", accepted).await;
    }

    /// Presents another certificate to who connects from now on.
    pub fn present(&self, identity: &Identity, clients: Option<&Identity>) {
        let tls = self.shared.tls.as_ref().expect("it has one");
        tls.send_replace(acceptor(self.shared.speaks, identity, clients));
    }

    pub fn seen(&self) -> Vec<Request> {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn requests(&self) -> usize {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Drop for Misbehaving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn acceptor(speaks: Speaks, identity: &Identity, clients: Option<&Identity>) -> Arc<TlsAcceptor> {
    let protocols: &[&[u8]] = match speaks {
        Speaks::Http1 => &[b"http/1.1"],
        Speaks::Http2 => &[b"h2"],
        Speaks::Both => &[b"h2", b"http/1.1"],
    };
    Arc::new(identity.acceptor_speaking(clients, protocols))
}

async fn accept(listener: TcpListener, address: SocketAddr, shared: Arc<Shared>) {
    let mut open = shared.open.subscribe();
    let mut listener = Some(listener);
    // Ends with its connections.
    let mut connections = JoinSet::new();
    loop {
        let is_open = *open.borrow_and_update();
        match &listener {
            Some(_) if !is_open => {
                listener = None;
                connections.shutdown().await;
            }
            None if is_open => listener = TcpListener::bind(address).await.ok(),
            _ => {}
        }
        let Some(listening) = &listener else {
            if !is_open && open.changed().await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
            continue;
        };
        tokio::select! {
            changed = open.changed() => if changed.is_err() { return },
            accepted = listening.accept() => if let Ok((stream, _)) = accepted {
                // What has ended is forgotten.
                while connections.try_join_next().is_some() {}
                connections.spawn(meet(stream, shared.clone()));
            },
        }
    }
}

async fn meet(stream: TcpStream, shared: Arc<Shared>) {
    // Closed without a reset by those who mean well.
    let Some(tls) = &shared.tls else {
        return match shared.speaks {
            Speaks::Http2 => http2::serve(stream, shared.clone(), Peer::default()).await,
            Speaks::Http1 | Speaks::Both => http1::serve(stream, shared.clone(), Peer::default()).await,
        };
    };
    let acceptor = tls.borrow().clone();
    // Who does not like us is its own affair.
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let connection = stream.get_ref().1;
    let peer = Peer {
        server_name: connection.server_name().map(str::to_owned),
        certificate: connection.peer_certificates().and_then(|all| all.first()).map(|der| der.to_vec()),
    };
    if connection.alpn_protocol() == Some(b"h2") {
        http2::serve(stream, shared.clone(), peer).await;
    } else {
        http1::serve(stream, shared.clone(), peer).await;
    }
}

// === impl Shared ===

impl Shared {
    /// Notes a request, and says what becomes of it.
    fn take(&self, request: Request) -> Mood {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        next.unwrap_or_else(|| *self.mood.borrow())
    }

    fn body(&self) -> String {
        format!(r#"{{"backend":"{}"}}"#, self.name)
    }
}
