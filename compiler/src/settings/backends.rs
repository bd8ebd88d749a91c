//! How backends are reached.

use super::{SecretHeader, TlsIdentity, TlsRange, TrustStore};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backends {
    /// Certificate authorities. `None`: no backend can be reached over TLS that is verified.
    pub trust: Option<TrustStore>,
    /// What is presented to backends that ask for it.
    pub identity: Option<TlsIdentity>,
    pub verification: Verification,
    pub tls: TlsRange,
    /// What endpoints can ask for instead, by name; each name once.
    pub profiles: Vec<TlsProfile>,
    /// HTTP/2 where a backend offers it over TLS.
    pub http2: bool,
    /// To each endpoint. `None`: no limit.
    pub max_connections: Option<u32>,
    /// On each HTTP/2 connection. `None`: as many as the backend takes.
    pub max_streams: Option<u32>,
    /// Bytes of a response's head. `None`: Envoy's own limit.
    pub max_response_header: Option<u32>,
    /// `None`: they are reached directly.
    pub proxy: Option<Proxy>,
    /// Where Envoy writes which targets health checks take out, and let in again: a file of its host. `None`: nowhere.
    pub health_events: Option<String>,
}

/// How the backends of some endpoints are met, which say so. They are verified in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsProfile {
    pub name: String,
    /// Certificate authorities. `None`: no backend can be reached.
    pub trust: Option<TrustStore>,
    /// What is presented. `None`: nothing.
    pub identity: Option<TlsIdentity>,
    pub tls: TlsRange,
}

/// What a backend's certificate must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verification {
    #[default]
    Full,
    /// From a trusted authority, for whatever name.
    AnyName,
    /// Anything at all.
    Nothing,
}

/// A forward proxy that tunnels (CONNECT).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Name or IP address, without brackets.
    pub host: String,
    pub port: u16,
    /// By which it knows the gateway.
    pub login: Option<SecretHeader>,
}

impl Default for Backends {
    fn default() -> Backends {
        Backends {
            trust: None,
            identity: None,
            verification: Verification::Full,
            tls: TlsRange::default(),
            profiles: Vec::new(),
            http2: true,
            max_connections: None,
            max_streams: None,
            max_response_header: None,
            proxy: None,
            health_events: None,
        }
    }
}
