//! What listeners do with connections: which certificate they present, whom they believe, and how long they wait.

use std::net::IpAddr;

use super::TlsIdentity;

/// A certificate beside the one that is for everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedCertificate {
    /// Clients that ask for one of these are shown it: lower-case, `*.example.com` for all below; at least one, and none twice.
    pub server_names: Vec<String>,
    pub identity: TlsIdentity,
}

/// How long connections and requests may take, and how many there may be. Times are milliseconds; 0: without end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connections {
    /// Without a request.
    pub idle: u32,
    /// Of a request or response that stands still.
    pub stream_idle: u32,
    /// Until the head of a request is there.
    pub head: u32,
    /// Until all of it is there.
    pub request: u32,
    pub lifetime: u32,
    /// Requests, one after the other. `None`: no limit.
    pub max_requests: Option<u32>,
    /// Requests at a time over HTTP/2.
    pub max_streams: u32,
}

/// Which listeners are behind balancers that tell of clients before anything else (PROXY protocol, versions 1 and 2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balanced {
    pub http: bool,
    pub https: bool,
    pub token: bool,
    /// Where balancers connect from: addresses, and the leading bits that count. Others are not let in, but those of this host.
    pub from: Vec<(IpAddr, u8)>,
}

// === impl Connections ===

impl Default for Connections {
    fn default() -> Connections {
        Connections {
            idle: 3_600_000,
            stream_idle: 300_000,
            head: 10_000,
            request: 0,
            lifetime: 0,
            max_requests: None,
            max_streams: 100,
        }
    }
}
