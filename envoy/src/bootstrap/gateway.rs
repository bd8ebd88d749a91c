//! Where an Envoy finds the gateway, as clusters.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{AUTHZ_CLUSTER, ISSUER_CLUSTER, XDS_CLUSTER, text, with};
use crate::sockets::SocketPaths;

/// Bytes of one answer of the service, and of all on one connection, that are on their way.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// Every guarded request is a stream to the service: the default of 1024 would answer a burst with 503.
const LIMIT: u32 = 100_000;

/// The gateway, as Envoy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gateway {
    /// On the same host.
    Sockets(SocketPaths),
    Remote(Remote),
}

/// On another host, over TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// A name that is looked up, or an IP address.
    pub host: String,
    pub xds_port: u16,
    pub authz_port: u16,
    pub issuer_port: u16,
    /// `None`: in the clear, and to whoever answers.
    pub tls: Option<ClientTls>,
}

/// Who Envoy is, and whom it takes for the gateway. Files on Envoy's host, PEM: nothing of them is in the bootstrap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTls {
    pub certificate_chain: PathBuf,
    pub private_key: PathBuf,
    pub authority: PathBuf,
    /// In the gateway's certificate: a DNS name, an IP address or a URI.
    pub server_name: String,
}

#[derive(Clone, Copy)]
enum Protocol {
    Http1,
    Http2,
}

// === impl Gateway ===

impl Gateway {
    pub(super) fn clusters(&self) -> [Value; 3] {
        match self {
            Gateway::Sockets(paths) => [
                local(XDS_CLUSTER, &paths.xds, Protocol::Http2),
                local(AUTHZ_CLUSTER, &paths.authz, Protocol::Http2),
                local(ISSUER_CLUSTER, &paths.issuer, Protocol::Http1),
            ],
            Gateway::Remote(remote) => [
                remote.cluster(XDS_CLUSTER, remote.xds_port),
                remote.cluster(AUTHZ_CLUSTER, remote.authz_port),
                remote.cluster(ISSUER_CLUSTER, remote.issuer_port),
            ],
        }
    }
}

fn local(name: &str, socket: &Path, protocol: Protocol) -> Value {
    let options = match protocol {
        Protocol::Http1 => json!({ "http_protocol_options": {} }),
        // Of a service that is frozen only this is known: who waits for a body to be looked at has no other bound.
        Protocol::Http2 => http2(name, "2s", "2s"),
    };
    cluster(name, &json!({ "pipe": { "path": text(socket) } }), &options)
}

/// Bodies go through the service that decides: what is on its way there and back is bounded, or Envoy would take 16 MiB of each ahead.
fn http2(name: &str, interval: &str, timeout: &str) -> Value {
    let options = json!({ "connection_keepalive": { "interval": interval, "timeout": timeout } });
    let windows = json!({
        "initial_stream_window_size": STREAM_WINDOW,
        "initial_connection_window_size": CONNECTION_WINDOW
    });
    json!({ "http2_protocol_options": if name == AUTHZ_CLUSTER { with(options, windows) } else { options } })
}

fn cluster(name: &str, address: &Value, options: &Value) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address } }] }]
        },
        "circuit_breakers": {
            "thresholds": [{ "max_connections": LIMIT, "max_pending_requests": LIMIT, "max_requests": LIMIT }]
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": options
            }
        }
    })
}

// === impl Remote ===

impl Remote {
    /// HTTP/2 for all of them, which can ask whether the other side is still there.
    fn cluster(&self, name: &str, port: u16) -> Value {
        let address = json!({ "socket_address": { "address": self.host, "port_value": port } });
        let options = http2(name, "15s", "5s");
        let cluster = with(
            cluster(name, &address, &options),
            json!({
                "connect_timeout": "5s",
                "upstream_connection_options": {
                    "tcp_keepalive": { "keepalive_probes": 3, "keepalive_time": 30, "keepalive_interval": 5 }
                }
            }),
        );
        let cluster = match self.host.parse::<IpAddr>() {
            Ok(_) => cluster,
            Err(_) => with(cluster, json!({ "type": "STRICT_DNS", "dns_lookup_family": "ALL" })),
        };
        match &self.tls {
            Some(tls) => with(cluster, json!({ "transport_socket": tls.value() })),
            None => cluster,
        }
    }
}

// === impl ClientTls ===

impl ClientTls {
    fn value(&self) -> Value {
        let is_address = self.server_name.parse::<IpAddr>().is_ok();
        let kind = match () {
            () if is_address => "IP_ADDRESS",
            () if self.server_name.contains("://") => "URI",
            () => "DNS",
        };
        let context = json!({
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "common_tls_context": {
                "tls_params": { "tls_minimum_protocol_version": "TLSv1_2" },
                "alpn_protocols": ["h2"],
                "tls_certificates": [{
                    "certificate_chain": { "filename": text(&self.certificate_chain) },
                    "private_key": { "filename": text(&self.private_key) }
                }],
                "validation_context": {
                    "trusted_ca": { "filename": text(&self.authority) },
                    "match_typed_subject_alt_names": [{ "san_type": kind, "matcher": { "exact": self.server_name } }]
                }
            }
        });
        let context = if kind == "DNS" { with(context, json!({ "sni": self.server_name })) } else { context };
        json!({ "name": "envoy.transport_sockets.tls", "typed_config": context })
    }
}
