//! How long a route's requests may take, and what goes on without an end.

use envoy_types::pb::envoy::config::route::v3::RouteAction;
use envoy_types::pb::envoy::config::route::v3::route_action::UpgradeConfig;
use envoy_types::pb::google::protobuf::Any;
use microgw_proto::traffic::v1::Protocol;

use super::filters::unguarded;
use crate::assemble::names;
use crate::assemble::wire::{milliseconds, yes};
use crate::model::{Endpoint, Operation};

/// What the operation says goes before what its endpoint says.
pub fn apply(operation: &Operation, action: &mut RouteAction) {
    let traffic = &operation.traffic;
    if let Some(timeout) = traffic.timeout {
        // 0: none, for Envoy too.
        action.timeout = milliseconds(timeout);
        if let Some(retry) = action.retry_policy.as_mut().filter(|_| timeout == 0) {
            // An attempt is as long as its response is.
            retry.per_try_timeout = None;
        }
    }
    action.idle_timeout = traffic.idle_timeout.and_then(milliseconds);
    // Elsewhere Envoy refuses upgrades.
    if traffic.websocket {
        action.upgrade_configs =
            vec![UpgradeConfig { upgrade_type: "websocket".to_owned(), enabled: yes(), ..Default::default() }];
    }
}

/// WebSocket connections are made over HTTP/1.1, on both sides: Envoy does not translate the handshake's keys to those of HTTP/2
/// (RFC 8441) and back.
pub fn choose_protocol(operation: &Operation, endpoint: &mut Endpoint) {
    let tls = endpoint.urls().any(|url| url.tls);
    if operation.traffic.websocket && tls && endpoint.policy.protocol() == Protocol::Auto {
        endpoint.policy.protocol = Protocol::Http1.into();
    }
}

/// The filter that waits for whole requests would wait for ever.
pub fn unbuffered(operation: &Operation) -> Option<(String, Any)> {
    operation.traffic.unbuffered.then(|| (names::BUFFER.to_owned(), unguarded()))
}

#[cfg(test)]
#[path = "streams_tests.rs"]
mod tests;
