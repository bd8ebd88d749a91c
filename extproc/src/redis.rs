//! Redis: where it is, and streams of changes that are followed.
//!
//! Whoever follows one keeps what he needs in memory, so that no request waits for Redis:
//!
//! ```text
//! loop {
//!     let mut stream = redis.follow("keys").await?;    // from now on ...
//!     load everything over redis.connect();            // ... so that nothing is missed
//!     loop { for entry in stream.next().await? { take it in } }
//! }                                                    // on an error: wait (`Backoff`), and all over again
//! ```
//!
//! Connections are plain ones, not the crate's connection manager: that hides that a connection was lost, and with it
//! that changes may have been missed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::streams::{StreamRangeReply, StreamReadOptions, StreamReadReply};
use ::redis::{AsyncCommands as _, AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo as _};
use ::redis::{RedisConnectionInfo, TlsCertificates};
use arc_swap::ArcSwap;

/// How long Redis is asked to wait for news; then an empty answer shows that the connection is sound.
const BLOCK: Duration = Duration::from_secs(1);
/// Entries of one answer.
pub(crate) const BATCH: usize = 1000;

/// Where it is, and who we are there.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    pub host: String,
    pub port: u16,
    pub tls: bool,
    pub database: u32,
    pub user: Option<String>,
    pub password: Option<String>,
    /// For connecting and for each answer.
    pub timeout: Duration,
    /// What all names of ours begin with, a colon after it.
    pub prefix: String,
}

/// A Redis that may be down at times.
pub struct Redis {
    place: Place,
    client: ArcSwap<Client>,
}

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct RedisError(#[from] ::redis::RedisError);

/// One stream, read from some entry on.
pub struct Stream {
    connection: MultiplexedConnection,
    key: String,
    last: String,
}

/// What was added to a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Later entries have greater ones, but not as text.
    pub id: String,
    /// What is no UTF-8 is left out.
    pub fields: Vec<(String, String)>,
}

/// Ever longer pauses between attempts.
#[derive(Debug)]
pub struct Backoff(Duration);

// === impl Redis ===

impl Redis {
    /// `trust`: certificates, PEM, that are trusted instead of the system's. Connects to nothing.
    pub fn new(place: Place, trust: Option<&str>) -> Result<Arc<Redis>, RedisError> {
        let client = ArcSwap::from_pointee(place.client(trust)?);
        Ok(Arc::new(Redis { place, client }))
    }

    /// Connections that are made from now on trust these.
    pub fn trust(&self, trust: Option<&str>) -> Result<(), RedisError> {
        self.client.store(Arc::new(self.place.client(trust)?));
        Ok(())
    }

    /// A new connection for commands that are answered at once. It is not renewed.
    pub async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        self.connect_for(self.place.timeout).await
    }

    /// How something of ours is called there.
    pub fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.place.prefix)
    }

    /// The stream of that name, from the end that it has now.
    pub async fn follow(&self, name: &str) -> Result<Stream, RedisError> {
        let mut stream = self.follow_from(name, "0-0").await?;
        let newest: StreamRangeReply = stream.connection.xrevrange_count(&stream.key, "+", "-", 1).await?;
        if let Some(entry) = newest.ids.into_iter().next() {
            stream.last = entry.id;
        }
        Ok(stream)
    }

    /// The stream of that name, from behind the entry `last`.
    pub async fn follow_from(&self, name: &str, last: &str) -> Result<Stream, RedisError> {
        let connection = self.connect_for(self.place.timeout + BLOCK).await?;
        Ok(Stream { connection, key: self.key(name), last: last.to_owned() })
    }

    async fn connect_for(&self, answer: Duration) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.place.timeout))
            .set_response_timeout(Some(answer));
        let client = self.client.load_full();
        Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}

// === impl Place ===

impl Place {
    fn client(&self, trust: Option<&str>) -> Result<Client, RedisError> {
        let address = if self.tls {
            ConnectionAddr::TcpTls { host: self.host.clone(), port: self.port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(self.host.clone(), self.port)
        };
        let mut settings = RedisConnectionInfo::default().set_db(self.database.into());
        if let Some(user) = &self.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        let info = address.into_connection_info()?.set_redis_settings(settings);
        Ok(match trust {
            Some(pem) if self.tls => {
                let root_cert = Some(pem.as_bytes().to_vec());
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })?
            }
            Some(_) | None => Client::open(info)?,
        })
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { host, port, tls, database, prefix, .. } = self;
        write!(f, "Redis({host:?}, {port}, tls: {tls}, database: {database}, prefix: {prefix:?})")
    }
}

// === impl Stream ===

impl Stream {
    /// What came since, in order; waits a second for it. Empty: there is nothing new, and the connection is sound.
    pub async fn next(&mut self) -> Result<Vec<Entry>, RedisError> {
        let block = usize::try_from(BLOCK.as_millis()).unwrap_or(usize::MAX);
        let options = StreamReadOptions::default().block(block).count(BATCH);
        let reply: Option<StreamReadReply> =
            self.connection.xread_options(&[&self.key], &[&self.last], &options).await?;
        let entries = reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids);
        let entries: Vec<Entry> = entries
            .map(|entry| Entry {
                fields: entry
                    .map
                    .into_iter()
                    .filter_map(|(name, value)| Some((name, ::redis::from_redis_value(value).ok()?)))
                    .collect(),
                id: entry.id,
            })
            .collect();
        if let Some(newest) = entries.last() {
            self.last.clone_from(&newest.id);
        }
        Ok(entries)
    }

    /// The entry that was read last.
    pub fn position(&self) -> &str {
        &self.last
    }
}

// === impl Entry ===

impl Entry {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

// === impl Backoff ===

impl Backoff {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(1);

    /// Waits. Readers that must be up to date within a second after Redis is back cannot wait longer than one.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(Self::LONGEST);
    }

    /// It worked: the next pause is a short one.
    pub fn reset(&mut self) {
        self.0 = Self::FIRST;
    }
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff(Self::FIRST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        let place = Place {
            host: "redis.example".into(),
            port: 6379,
            tls: true,
            database: 2,
            user: Some("gateway".into()),
            password: Some("sesame".into()),
            timeout: Duration::from_secs(1),
            prefix: "microgw".into(),
        };
        let redis = Redis::new(place, None).unwrap();
        let shown = format!("{redis:?}");
        assert!(shown.contains("redis.example") && !shown.contains("sesame") && !shown.contains("gateway"), "{shown}");
        assert_eq!(redis.key("keys"), "microgw:keys");
    }
}
