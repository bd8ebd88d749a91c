//! One connection with one member of the cluster: every key is read, and watched from the revision after that, so that no
//! change is missed, whatever happened before. Whatever goes wrong ends it, and the next one begins by reading.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::codegen::http::Uri;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use tower::service_fn;

use super::Order;
use super::wire::{
    AuthenticateRequest, Client, DELETED, Event, RangeRequest, RangeResponse, WatchCancel, WatchCreate, WatchProgress,
    WatchRequest, WatchResponse,
};
use crate::backoff::Backoff;
use crate::health::Health;
use crate::settings::Etcd as Settings;
use crate::source::{Said, tell};
use crate::tls::{self, TlsError};
use crate::value;

const PORT: u16 = 2379;
const CONNECT: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(5);
/// A watch is silent while nothing changes: now and then it is asked whether anybody is there, and hears so in time.
const CHECK: Duration = Duration::from_secs(3);
/// Keys that may not be read are tried again.
const DENIED: Duration = Duration::from_secs(15);

pub(super) struct Session<'a> {
    pub settings: &'a Settings,
    pub url: &'a str,
    pub keys: &'a mut Keys,
    pub orders: &'a mut mpsc::UnboundedReceiver<Order>,
    pub health: &'a Health,
}

/// The keys that are followed.
#[derive(Default)]
pub(super) struct Keys {
    followed: BTreeMap<Arc<str>, Followed>,
    last_watch: i64,
}

struct Followed {
    told: watch::Sender<Said>,
    /// Of this session. 0: none.
    watch: i64,
}

/// What an order changes.
pub(super) enum Change {
    Read(Arc<str>),
    /// A watch.
    Cancel(i64),
    Nothing,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("the URL is not valid")]
    Url,
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("{:?}: {}", .0.code(), .0.message())]
    Status(#[from] Status),
    #[error("no answer within {} s", ANSWER.as_secs())]
    Silent,
    #[error("the token is not one that can be sent")]
    Token,
    #[error("changes that were not seen yet were compacted away (revision {0})")]
    Compacted(i64),
    #[error("a watch was ended by the server")]
    Canceled,
    #[error("the connection was ended by the server")]
    Closed,
}

// === impl Session ===

impl Session<'_> {
    /// Until something goes wrong, or there is nothing to follow any more.
    pub(super) async fn run(mut self, backoff: &mut Backoff) -> Result<(), Ended> {
        let mut client = Client::new(self.connect().await?);
        if let Some(token) = self.authenticate(&mut client).await? {
            client.log_in(token);
        }
        let (requests, sent) = mpsc::unbounded_channel();
        let mut denied = BTreeSet::new();
        self.keys.begin();
        for key in self.keys.names() {
            self.read(&mut client, key, &requests, &mut denied).await?;
        }
        // The stream is answered when it has a request, which there may be none of yet.
        let _ = requests.send(WatchRequest { progress: Some(WatchProgress {}), ..Default::default() });
        let opened = client.watch(UnboundedReceiverStream::new(sent));
        let mut stream: Streaming<WatchResponse> = timeout(ANSWER, opened).await.map_err(|_| Ended::Silent)??;
        self.health.succeeded();
        backoff.reset();
        let mut check = interval_at(Instant::now() + CHECK, CHECK);
        let mut again = interval_at(Instant::now() + DENIED, DENIED);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        while !self.keys.is_empty() {
            tokio::select! {
                message = stream.message() => {
                    heard = Instant::now();
                    self.take(message?.ok_or(Ended::Closed)?)?;
                    self.health.succeeded();
                }
                order = self.orders.recv() => match order.map(|order| self.keys.take(order)) {
                    Some(Change::Read(key)) => self.read(&mut client, key, &requests, &mut denied).await?,
                    Some(Change::Cancel(watch_id)) => {
                        let cancel = Some(WatchCancel { watch_id });
                        let _ = requests.send(WatchRequest { cancel, ..Default::default() });
                    }
                    Some(Change::Nothing) => {}
                    None => return Ok(()),
                },
                _ = check.tick() => {
                    if heard.elapsed() > CHECK + ANSWER {
                        return Err(Ended::Silent);
                    }
                    let _ = requests.send(WatchRequest { progress: Some(WatchProgress {}), ..Default::default() });
                }
                _ = again.tick() => {
                    for key in std::mem::take(&mut denied) {
                        self.read(&mut client, key, &requests, &mut denied).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Files are read each time: a certificate that is renewed is used from the next connection on.
    async fn connect(&self) -> Result<Channel, Ended> {
        let url: Uri = self.url.parse().map_err(|_| Ended::Url)?;
        let tls = url.scheme_str() == Some("https");
        let config = if tls { Some(tls::client(&self.settings.tls, b"h2")?) } else { None };
        let (host, port) = (url.host().ok_or(Ended::Url)?, url.port_u16().unwrap_or(PORT));
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let connector = config.map(|config| TlsConnector::from(Arc::new(config)));
        // tonic is told `http`, as it has no TLS to use; what the server is told is the URL.
        let endpoint = Endpoint::from_static("http://etcd.invalid").origin(url).connect_timeout(CONNECT);
        let open = service_fn(move |_: Uri| {
            let (host, connector) = (host.clone(), connector.clone());
            async move { Ok::<_, io::Error>(TokioIo::new(open(&host, port, connector).await?)) }
        });
        let connected = timeout(2 * CONNECT, endpoint.connect_with_connector(open)).await;
        connected.map_err(|_| Ended::Silent)?.map_err(|error| Ended::Connect(chain(&error)))
    }

    /// `None`: nobody has to log in.
    async fn authenticate(&self, client: &mut Client) -> Result<Option<MetadataValue<Ascii>>, Ended> {
        let Some((name, password)) = &self.settings.credentials else { return Ok(None) };
        let request = AuthenticateRequest { name: name.clone(), password: password.clone() };
        match timeout(ANSWER, client.authenticate(request)).await.map_err(|_| Ended::Silent)? {
            Ok(answer) => answer.token.parse().map(Some).map_err(|_| Ended::Token),
            // As the old product did.
            Err(status) if status.code() == Code::FailedPrecondition => Ok(None),
            Err(status) => Err(status.into()),
        }
    }

    async fn read(
        &mut self,
        client: &mut Client,
        key: Arc<str>,
        requests: &mpsc::UnboundedSender<WatchRequest>,
        denied: &mut BTreeSet<Arc<str>>,
    ) -> Result<(), Ended> {
        let request = RangeRequest { key: key.as_bytes().to_vec() };
        let answer = match timeout(ANSWER, client.range(request)).await.map_err(|_| Ended::Silent)? {
            Ok(answer) => answer,
            // That is between etcd and this key; the others are well.
            Err(status) if status.code() == Code::PermissionDenied => {
                self.health.failed(&key, &"it may not be read by the user that is configured");
                self.keys.silent(&key);
                denied.insert(key);
                return Ok(());
            }
            Err(status) => return Err(status.into()),
        };
        let revision = answer.header.as_ref().map_or(0, |header| header.revision);
        let Some((told, watch_id)) = self.keys.watched(&key) else { return Ok(()) };
        tell(told, said(answer, &key));
        let create = WatchCreate { key: key.as_bytes().to_vec(), start_revision: revision.saturating_add(1), watch_id };
        let _ = requests.send(WatchRequest { create: Some(create), ..Default::default() });
        Ok(())
    }

    fn take(&mut self, message: WatchResponse) -> Result<(), Ended> {
        if message.canceled {
            // One that we have left is ended, too.
            if !message.created && !self.keys.is_watched(message.watch_id) {
                return Ok(());
            }
            let compacted = message.compact_revision > 0;
            return Err(if compacted { Ended::Compacted(message.compact_revision) } else { Ended::Canceled });
        }
        for Event { kind, kv } in message.events {
            let Some(kv) = kv else { continue };
            let Some(told) = std::str::from_utf8(&kv.key).ok().and_then(|key| self.keys.told(key)) else { continue };
            tell(told, if kind == DELETED { Said::Missing } else { url(kv.value) });
        }
        Ok(())
    }
}

/// One that is spoken over, with TLS or without.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

async fn open(host: &str, port: u16, connector: Option<TlsConnector>) -> io::Result<Stream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let Some(connector) = connector else { return Ok(Stream::Plain(stream)) };
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    Ok(Stream::Tls(Box::new(connector.connect(name, stream).await?)))
}

/// What is read of a key.
fn said(answer: RangeResponse, key: &str) -> Said {
    let kv = answer.kvs.into_iter().find(|kv| kv.key == key.as_bytes());
    kv.map_or(Said::Missing, |kv| url(kv.value))
}

/// Of one that is too long enough is kept to see that it is.
fn url(mut value: Vec<u8>) -> Said {
    value.truncate(value::MAX_BYTES + 1);
    Said::Url(value.into())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

// === impl Stream ===

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

// === impl Keys ===

impl Keys {
    pub(super) fn is_empty(&self) -> bool {
        self.followed.is_empty()
    }

    pub(super) fn take(&mut self, order: Order) -> Change {
        match order {
            Order::Follow(key, told) => {
                let before = self.followed.insert(key.clone(), Followed { told, watch: 0 });
                // A key that was left and is wanted again before the order to leave it has come.
                debug_assert!(before.is_none_or(|before| before.told.is_closed()));
                Change::Read(key)
            }
            Order::Leave(key) => {
                // It may be followed anew already, by somebody else.
                if self.followed.get(&key).is_none_or(|followed| !followed.told.is_closed()) {
                    return Change::Nothing;
                }
                let left = self.followed.remove(&key).map_or(0, |followed| followed.watch);
                if left == 0 { Change::Nothing } else { Change::Cancel(left) }
            }
        }
    }

    /// Nobody answers: whoever waits for the first word waits no longer.
    pub(super) fn nothing_new(&self) {
        for followed in self.followed.values() {
            Said::nothing_new(&followed.told);
        }
    }

    /// Nothing is watched yet.
    fn begin(&mut self) {
        for followed in self.followed.values_mut() {
            followed.watch = 0;
        }
    }

    fn names(&self) -> Vec<Arc<str>> {
        self.followed.keys().cloned().collect()
    }

    fn silent(&self, key: &str) {
        if let Some(followed) = self.followed.get(key) {
            Said::nothing_new(&followed.told);
        }
    }

    /// It is watched from now on, by this number. `None`: it is not followed any more.
    fn watched(&mut self, key: &str) -> Option<(&watch::Sender<Said>, i64)> {
        let followed = self.followed.get_mut(key)?;
        self.last_watch += 1;
        followed.watch = self.last_watch;
        Some((&followed.told, followed.watch))
    }

    fn is_watched(&self, watch: i64) -> bool {
        self.followed.values().any(|followed| followed.watch == watch)
    }

    fn told(&self, key: &str) -> Option<&watch::Sender<Said>> {
        self.followed.get(key).map(|followed| &followed.told)
    }
}
