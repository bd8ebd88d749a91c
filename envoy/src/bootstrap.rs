//! The configuration that Envoy starts with: everything else comes over ADS.

use std::path::Path;

use serde_json::{Value, json};

use crate::sockets::SocketPaths;

/// Clusters that every snapshot may refer to.
pub const XDS_CLUSTER: &str = "microgw_xds";
pub const AUTHZ_CLUSTER: &str = "microgw_authz";
pub const ISSUER_CLUSTER: &str = "microgw_issuer";

/// RE2's own measure. Envoy's default of 100 refuses `/a/[^/]+` repeated 17 times. The limit applies to what comes
/// over ADS; for static resources Envoy 1.40 ignores the setting.
pub const MAX_REGEX_PROGRAM: u32 = 65_536;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    pub node_id: String,
    /// The project that this Envoy asks for.
    pub node_cluster: String,
    pub sockets: SocketPaths,
    pub overload: Overload,
}

/// What Envoy gives up before it falls over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overload {
    /// Client connections over all listeners; those above are closed at once.
    pub max_connections: u64,
    /// Bytes of heap. Near it Envoy first gives memory back, then refuses requests, then connections. `None`: no limit.
    pub max_heap: Option<u64>,
}

impl Default for Overload {
    fn default() -> Overload {
        Overload { max_connections: 50_000, max_heap: None }
    }
}

// === impl Bootstrap ===

impl Bootstrap {
    /// JSON, of the same bytes for the same input.
    pub fn to_json(&self) -> String {
        format!("{:#}\n", self.value())
    }

    fn value(&self) -> Value {
        json!({
            "node": { "id": self.node_id, "cluster": self.node_cluster },
            "admin": { "address": { "pipe": { "path": text(&self.sockets.admin), "mode": 0o600 } } },
            "dynamic_resources": {
                "ads_config": {
                    "api_type": "DELTA_GRPC",
                    "transport_api_version": "V3",
                    "set_node_on_first_message_only": true,
                    "grpc_services": [{
                        "envoy_grpc": {
                            "cluster_name": XDS_CLUSTER,
                            // The default waits up to 30 s: too long after the gateway was restarted.
                            "retry_policy": { "retry_back_off": { "base_interval": "0.1s", "max_interval": "2s" } }
                        }
                    }]
                },
                "cds_config": { "resource_api_version": "V3", "ads": {} },
                "lds_config": { "resource_api_version": "V3", "ads": {} }
            },
            "static_resources": {
                "clusters": [
                    cluster(XDS_CLUSTER, &self.sockets.xds, Protocol::Http2),
                    cluster(AUTHZ_CLUSTER, &self.sockets.authz, Protocol::Http2),
                    cluster(ISSUER_CLUSTER, &self.sockets.issuer, Protocol::Http1)
                ]
            },
            "layered_runtime": {
                "layers": [{
                    "name": "static",
                    "static_layer": { "re2.max_program_size.error_level": MAX_REGEX_PROGRAM }
                }]
            },
            "overload_manager": self.overload.value(),
            "stats_config": {
                // Lengths of connections tell little and cost a histogram per cluster and worker.
                "stats_matcher": {
                    "exclusion_list": { "patterns": [{ "suffix": "_cx_length_ms" }, { "suffix": ".upstream_cx_connect_ms" }] }
                }
            }
        })
    }
}

// === impl Overload ===

impl Overload {
    fn value(self) -> Value {
        let mut monitors = vec![json!({
            "name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                "max_active_downstream_connections": self.max_connections
            }
        })];
        let mut actions = Vec::new();
        if let Some(bytes) = self.max_heap {
            monitors.push(json!({
                "name": FIXED_HEAP,
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
                    "max_heap_size_bytes": bytes
                }
            }));
            actions = [
                ("envoy.overload_actions.shrink_heap", 0.90),
                ("envoy.overload_actions.disable_http_keepalive", 0.92),
                ("envoy.overload_actions.stop_accepting_requests", 0.95),
                ("envoy.overload_actions.stop_accepting_connections", 0.98),
            ]
            .map(|(name, threshold)| {
                json!({ "name": name, "triggers": [{ "name": FIXED_HEAP, "threshold": { "value": threshold } }] })
            })
            .to_vec();
        }
        json!({ "refresh_interval": "0.25s", "resource_monitors": monitors, "actions": actions })
    }
}

const FIXED_HEAP: &str = "envoy.resource_monitors.fixed_heap";

#[derive(Clone, Copy)]
enum Protocol {
    Http1,
    Http2,
}

fn cluster(name: &str, socket: &Path, protocol: Protocol) -> Value {
    let options = match protocol {
        Protocol::Http1 => json!({ "http_protocol_options": {} }),
        Protocol::Http2 => json!({ "http2_protocol_options": {} }),
    };
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": { "pipe": { "path": text(socket) } } } }] }]
        },
        // Every guarded request is a stream here: the default of 1024 would answer a burst with 503.
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

const LIMIT: u32 = 100_000;

/// [`crate::SocketDir`] takes UTF-8 only.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
#[path = "bootstrap_tests.rs"]
mod tests;
