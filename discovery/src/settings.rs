//! Whom to ask, and how often.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub dns: Dns,
    /// `None`: keys of etcd have no value, and the default of each is used.
    pub etcd: Option<Etcd>,
    /// `None`: services of Consul have no instances, and the default of each is used.
    pub consul: Option<Consul>,
}

/// A cluster of etcd, version 3.4 or later.
#[derive(Clone, PartialEq, Eq)]
pub struct Etcd {
    /// Of its members, `http://HOST:PORT` or `https://HOST:PORT` each, tried in turn.
    pub urls: Vec<String>,
    /// User and password.
    pub credentials: Option<(String, String)>,
    pub tls: Tls,
}

/// An agent of Consul.
#[derive(Clone, PartialEq, Eq)]
pub struct Consul {
    /// `http://HOST:PORT` or `https://HOST:PORT`.
    pub url: String,
    pub token: Option<String>,
    /// `None`: the agent's.
    pub datacenter: Option<String>,
    pub tls: Tls,
    /// How long a question waits for news.
    pub wait: Duration,
    /// How long a service without an instance that passes its checks keeps those that it had.
    pub keep_missing: Duration,
    /// Longest pause after a failure.
    pub max_pause: Duration,
}

/// For `https` URLs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM certificates. `None`: the system's authorities.
    pub authorities: Option<PathBuf>,
    /// PEM files of what is presented to servers that ask for it: chain and key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Names, and what is asked about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Empty: as the system is configured.
    pub nameservers: Vec<SocketAddr>,
    pub family: Family,
    /// Whatever a record says, it is not asked for again before that, and asked for after the other.
    pub min_ttl: Duration,
    pub max_ttl: Duration,
    /// How long a name that is said not to be there any more keeps its addresses.
    pub keep_missing: Duration,
    /// Longest pause after a failure; they begin with half a second.
    pub max_pause: Duration,
    /// Of one server and one attempt.
    pub timeout: Duration,
    /// `/etc/hosts` and `/etc/resolv.conf`.
    pub hosts_file: PathBuf,
    pub resolv_conf: PathBuf,
}

/// Which addresses are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// Those of version 6 only where there are none of version 4.
    #[default]
    PreferIpv4,
    Ipv4,
    Ipv6,
    Both,
}

// === impl Dns ===

impl Default for Dns {
    fn default() -> Dns {
        Dns {
            nameservers: Vec::new(),
            family: Family::default(),
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(300),
            keep_missing: Duration::from_secs(60),
            max_pause: Duration::from_secs(15),
            timeout: Duration::from_secs(2),
            hosts_file: PathBuf::from("/etc/hosts"),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
        }
    }
}

// === impl Etcd ===

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd").field("urls", &self.urls).field("tls", &self.tls).finish_non_exhaustive()
    }
}

// === impl Consul ===

impl Consul {
    pub const WAIT: Duration = Duration::from_secs(60);

    /// Without a token or TLS of its own.
    pub fn at(url: String) -> Consul {
        let Dns { keep_missing, max_pause, .. } = Dns::default();
        Consul { url, token: None, datacenter: None, tls: Tls::default(), wait: Consul::WAIT, keep_missing, max_pause }
    }
}

impl fmt::Debug for Consul {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consul").field("url", &self.url).field("tls", &self.tls).finish_non_exhaustive()
    }
}
