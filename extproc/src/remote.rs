//! Connections of Envoys on other hosts: TCP, and both sides with a certificate.
//!
//! ```text
//! RemoteListener --Arrival--> handshake, in its own task --Guest--> HTTP/2
//!                                 ^-- ServerTls: certificate, authorities, names; can be replaced
//! ```

mod http;
mod tls;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::seldom::Seldom;
pub(crate) use http::attentive;
pub use http::serve;
pub use tls::{Credentials, ServerTls, TlsError};

/// For the whole handshake: it is a few packets.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Connections that have not shown a certificate yet.
const MAX_STRANGERS: usize = 256;
/// How long to wait when the process has run out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listening port.
#[derive(Debug)]
pub struct RemoteListener {
    listener: TcpListener,
    door: Arc<Door>,
}

/// What all connections of one listener share.
#[derive(Debug)]
struct Door {
    /// For the log.
    service: &'static str,
    /// `None`: everybody comes in, and everything can be read on the way.
    tls: Option<Arc<ServerTls>>,
    strangers: Arc<Semaphore>,
    guests: Arc<Semaphore>,
    refusals: Seldom,
}

/// A connection that nobody has spoken on yet. Belongs to no runtime.
#[derive(Debug)]
pub struct Arrival {
    stream: std::net::TcpStream,
    address: SocketAddr,
    config: Option<Arc<ServerConfig>>,
    door: Arc<Door>,
    stranger: OwnedSemaphorePermit,
}

/// A connection of somebody who may talk to us.
#[derive(Debug)]
pub struct Guest {
    stream: Stream,
    peer: Peer,
    _place: OwnedSemaphorePermit,
}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub address: SocketAddr,
    /// A name in its certificate; `None`: it has none, or there was no certificate.
    pub name: Option<String>,
}

#[derive(Debug)]
enum Stream {
    Tls(Box<TlsStream<TcpStream>>),
    Plain(TcpStream),
}

/// Why a connection goes no further.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("no handshake within {HANDSHAKE:?}")]
    Slow,
    #[error("{0}")]
    Handshake(io::Error),
    #[error("it does not offer HTTP/2")]
    Protocol,
    #[error("too many connections")]
    Full,
}

// === impl RemoteListener ===

impl RemoteListener {
    /// At most `guests` connections at once. Must be called within a tokio runtime.
    pub async fn bind(
        address: SocketAddr,
        service: &'static str,
        tls: Option<Arc<ServerTls>>,
        guests: usize,
    ) -> io::Result<RemoteListener> {
        let door = Door {
            service,
            tls,
            strangers: Arc::new(Semaphore::new(MAX_STRANGERS)),
            guests: Arc::new(Semaphore::new(guests)),
            refusals: Seldom::default(),
        };
        Ok(RemoteListener { listener: TcpListener::bind(address).await?, door: Arc::new(door) })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The next connection. To be waited for while earlier ones still shake hands.
    pub async fn arrival(&mut self) -> Arrival {
        loop {
            let (stream, address) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, service = self.door.service, "could not accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(stranger) = Arc::clone(&self.door.strangers).try_acquire_owned() else {
                self.door.refuse(address, &Refusal::Full);
                continue;
            };
            // Small messages both ways: each is waited for.
            let stream = stream.set_nodelay(true).and_then(|()| stream.into_std());
            match stream {
                Ok(stream) => {
                    let config = self.door.tls.as_ref().map(|tls| tls.config());
                    return Arrival { stream, address, config, door: Arc::clone(&self.door), stranger };
                }
                Err(error) => tracing::debug!(%error, "lost a connection"),
            }
        }
    }

    /// Those who may talk to us, as they come. Ends when the receiver is dropped.
    pub fn guests(mut self) -> mpsc::Receiver<Guest> {
        let (sender, guests) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                let arrival = tokio::select! {
                    arrival = self.arrival() => arrival,
                    () = sender.closed() => return,
                };
                let sender = sender.clone();
                tokio::spawn(async move {
                    if let Some(guest) = arrival.admit().await {
                        // Nobody serves any more.
                        let _ = sender.send(guest).await;
                    }
                });
            }
        });
        guests
    }
}

// === impl Arrival ===

impl Arrival {
    /// Shakes hands, on the current runtime. `None`: it may not talk to us, which has been logged.
    pub async fn admit(self) -> Option<Guest> {
        let (door, address) = (Arc::clone(&self.door), self.address);
        match self.shake_hands().await {
            Ok(guest) => Some(guest),
            Err(refusal) => {
                door.refuse(address, &refusal);
                None
            }
        }
    }

    async fn shake_hands(self) -> Result<Guest, Refusal> {
        let Arrival { stream, address, config, door, stranger } = self;
        let stream = TcpStream::from_std(stream).map_err(Refusal::Handshake)?;
        let (stream, name) = match config {
            None => (Stream::Plain(stream), None),
            Some(config) => {
                let handshake = timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream));
                let stream = handshake.await.map_err(|_| Refusal::Slow)?.map_err(Refusal::Handshake)?;
                if stream.get_ref().1.alpn_protocol() != Some(tls::HTTP2) {
                    return Err(Refusal::Protocol);
                }
                let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let name = certificate.and_then(|certificate| tls::names(certificate).into_iter().next());
                (Stream::Tls(Box::new(stream)), name)
            }
        };
        let place = Arc::clone(&door.guests).try_acquire_owned().map_err(|_| Refusal::Full)?;
        drop(stranger);
        Ok(Guest { stream, peer: Peer { address, name }, _place: place })
    }
}

// === impl Door ===

impl Door {
    fn refuse(&self, address: SocketAddr, reason: &Refusal) {
        if self.refusals.now() {
            tracing::warn!(service = self.service, peer = %address, %reason, "refused a connection; others may follow unsaid");
        }
    }
}

// === impl Guest ===

impl Guest {
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Guest {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

// === impl Peer ===

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} at {}", self.address),
            None => write!(f, "{}", self.address),
        }
    }
}

#[cfg(test)]
mod tests;
