//! Where the store is, and how it is connected to.

use std::fmt;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::cluster::ClusterClientBuilder;
use ::redis::cluster_async::ClusterConnection;
use ::redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use ::redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    RedisConnectionInfo, RedisError, TlsCertificates, TlsMode, Value,
};

use super::Credentials;

/// For connecting, which no request waits for.
const CONNECTING: Duration = Duration::from_secs(1);

/// One Redis, or several that are one store.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    pub servers: Servers,
    pub tls: bool,
    pub database: u32,
    pub login: Login,
    /// What all names of ours begin with, a colon after it.
    pub prefix: String,
    /// For all that one decision asks.
    pub timeout: Duration,
}

/// Name or IP address, without brackets, and port.
pub type Address = (String, u16);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Servers {
    One(Address),
    /// Who is asked where the master of that name is.
    Sentinels {
        master: String,
        addresses: Vec<Address>,
        login: Login,
    },
    /// Some of a cluster's; the others are found out.
    Cluster(Vec<Address>),
}

#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    pub user: Option<String>,
    pub password: Option<String>,
}

/// To whoever has the counters; all clones are one connection.
#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

// === impl Place ===

impl Place {
    /// A new connection. It is not renewed, except to nodes of a cluster.
    pub(super) async fn connect(&self, secrets: &Credentials) -> Result<Connection, RedisError> {
        match &self.servers {
            Servers::One(address) => {
                let client = match self.certificates(secrets) {
                    Some(certificates) => Client::build_with_tls(self.info(address)?, certificates)?,
                    None => Client::open(self.info(address)?)?,
                };
                let connection = client.get_multiplexed_async_connection_with_config(&config()).await?;
                Ok(Connection::One(connection))
            }
            Servers::Sentinels { master, addresses, login } => {
                let addresses = addresses.iter().map(|address| self.address(address));
                let mut builder = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?
                    .set_client_to_redis_db(self.database.into());
                if let Some(certificates) = self.certificates(secrets) {
                    builder = builder
                        .set_client_to_redis_tls_mode(TlsMode::Secure)
                        .set_client_to_redis_certificates(certificates.clone())
                        .set_client_to_sentinel_certificates(certificates);
                }
                if let Some(user) = &self.login.user {
                    builder = builder.set_client_to_redis_username(user);
                }
                if let Some(password) = &self.login.password {
                    builder = builder.set_client_to_redis_password(password);
                }
                if let Some(user) = &login.user {
                    builder = builder.set_client_to_sentinel_username(user);
                }
                if let Some(password) = &login.password {
                    builder = builder.set_client_to_sentinel_password(password);
                }
                let mut client = builder.build()?;
                Ok(Connection::One(client.get_async_connection_with_config(&config()).await?))
            }
            Servers::Cluster(addresses) => {
                let seeds = addresses.iter().map(|address| self.info(address)).collect::<Result<Vec<_>, _>>()?;
                // What fails is decided without the store: there is no time to try again for long.
                let mut builder = ClusterClientBuilder::new(seeds)
                    .connection_timeout(CONNECTING)
                    .response_timeout(CONNECTING)
                    .retries(2)
                    .min_retry_wait(1)
                    .max_retry_wait(20);
                if let Some(certificates) = self.certificates(secrets) {
                    builder = builder.certs(certificates);
                }
                Ok(Connection::Cluster(builder.build()?.get_async_connection().await?))
            }
        }
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.servers, Servers::Cluster(_))
    }

    fn info(&self, address: &Address) -> Result<ConnectionInfo, RedisError> {
        let mut settings = RedisConnectionInfo::default().set_db(self.database.into());
        if let Some(user) = &self.login.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &self.login.password {
            settings = settings.set_password(password);
        }
        Ok(self.address(address).into_connection_info()?.set_redis_settings(settings))
    }

    fn address(&self, (host, port): &Address) -> ConnectionAddr {
        let (host, port) = (host.clone(), *port);
        if self.tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        }
    }

    fn certificates(&self, Credentials { trust, identity }: &Credentials) -> Option<TlsCertificates> {
        let root_cert = trust.as_ref().map(|pem| pem.as_bytes().to_vec());
        let client_tls = identity.as_ref().map(|(chain, key)| ClientTlsConfig {
            client_cert: chain.as_bytes().to_vec(),
            client_key: key.as_bytes().to_vec(),
        });
        self.tls.then_some(TlsCertificates { client_tls, root_cert })
    }
}

/// Whoever asks says how long he waits.
fn config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECTING)).set_response_timeout(Some(CONNECTING))
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { servers, tls, database, prefix, timeout, .. } = self;
        write!(f, "Redis({servers:?}, tls: {tls}, database: {database}, prefix: {prefix:?}, timeout: {timeout:?})")
    }
}

// === impl Servers ===

impl Servers {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Servers::One(_) => "single",
            Servers::Sentinels { .. } => "sentinel",
            Servers::Cluster(_) => "cluster",
        }
    }
}

// === impl Login ===

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.password.is_some() { "with a password" } else { "without a password" })
    }
}

// === impl Connection ===

impl Connection {
    pub(super) async fn query(&self, command: &Cmd) -> Result<Value, RedisError> {
        match self.clone() {
            Connection::One(mut connection) => command.query_async(&mut connection).await,
            Connection::Cluster(mut connection) => command.query_async(&mut connection).await,
        }
    }
}
