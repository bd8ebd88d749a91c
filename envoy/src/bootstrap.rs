//! The configuration that Envoy starts with: everything else comes over ADS.

mod gateway;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

pub use self::gateway::{ClientTls, Gateway, Remote};
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
    /// Unix socket of Envoy's own admin interface; `None`: it has none.
    pub admin: Option<PathBuf>,
    pub gateway: Gateway,
    pub dialect: Dialect,
    pub overload: Overload,
}

/// Of the xDS protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// What changed is sent.
    #[default]
    Delta,
    /// All clusters and listeners are sent each time.
    StateOfTheWorld,
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
    /// Of an Envoy on the gateway's own host. Nothing in it is limited.
    pub fn local(node_id: &str, node_cluster: &str, sockets: &SocketPaths) -> Bootstrap {
        Bootstrap {
            node_id: node_id.to_owned(),
            node_cluster: node_cluster.to_owned(),
            admin: Some(sockets.admin.clone()),
            gateway: Gateway::Sockets(sockets.clone()),
            dialect: Dialect::default(),
            overload: Overload::default(),
        }
    }

    /// JSON, of the same bytes for the same input.
    pub fn to_json(&self) -> String {
        format!("{:#}\n", self.value())
    }

    fn value(&self) -> Value {
        let value = json!({
            "node": { "id": self.node_id, "cluster": self.node_cluster },
            "dynamic_resources": {
                "ads_config": {
                    "api_type": match self.dialect {
                        Dialect::Delta => "DELTA_GRPC",
                        Dialect::StateOfTheWorld => "GRPC",
                    },
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
                "clusters": self.gateway.clusters()
            },
            "layered_runtime": {
                "layers": [{
                    "name": "static",
                    "static_layer": { "re2.max_program_size.error_level": MAX_REGEX_PROGRAM }
                }]
            },
            // For backends behind a forward proxy.
            "bootstrap_extensions": [{
                "name": "envoy.bootstrap.internal_listener",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener"
                }
            }],
            "overload_manager": self.overload.value(),
            "stats_config": {
                // Lengths of connections tell little and cost a histogram per cluster and worker.
                "stats_matcher": {
                    "exclusion_list": { "patterns": [{ "suffix": "_cx_length_ms" }, { "suffix": ".upstream_cx_connect_ms" }] }
                }
            }
        });
        match &self.admin {
            Some(admin) => {
                with(value, json!({ "admin": { "address": { "pipe": { "path": text(admin), "mode": 0o600 } } } }))
            }
            None => value,
        }
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

/// An object with more fields, or others.
fn with(mut value: Value, fields: Value) -> Value {
    if let (Value::Object(all), Value::Object(more)) = (&mut value, fields) {
        all.extend(more);
    }
    value
}

/// [`crate::SocketDir`] takes UTF-8 only; other paths come from a command line, and are checked there.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
#[path = "bootstrap_tests.rs"]
mod tests;
