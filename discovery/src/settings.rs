//! Whom to ask, and how often.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub dns: Dns,
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
