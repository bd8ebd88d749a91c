//! Copies of requests, whose responses nobody sees.

use std::collections::BTreeMap;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::RuntimeFractionalPercent;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::RequestMirrorPolicy;
use envoy_types::pb::envoy::config::route::v3::{HeaderMatcher, Route};
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, fractional_percent::DenominatorType};
use microgw_proto::traffic::v1::{Mirror, host};

use super::matching::{has_no_header, header_below};
use crate::assemble::clusters;
use crate::model::{BackendUrl, Endpoint, EndpointId, Method, Model, Operation};
use crate::traffic::mirror::{self, WHOLE};
use crate::url::bracketed;

/// Bytes of a body that is copied.
const LONGEST: i64 = 256 * 1024;

/// Of requests to production: what is tried in the sandbox is no example of it.
pub fn policies(
    model: &Model,
    operation: &Operation,
    clusters: &mut BTreeMap<Arc<str>, Endpoint>,
) -> Vec<RequestMirrorPolicy> {
    let policy = |Mirror { endpoint, share }: &Mirror| {
        let mut endpoint = model.endpoint(EndpointId(endpoint.checked_sub(1)?))?.clone();
        endpoint.policy.mirror = true;
        let cluster: Arc<str> = clusters::name(&endpoint).into();
        let policy = RequestMirrorPolicy {
            cluster: cluster.to_string(),
            runtime_fraction: (*share < WHOLE).then(|| RuntimeFractionalPercent {
                default_value: Some(FractionalPercent {
                    numerator: *share,
                    denominator: DenominatorType::TenThousand.into(),
                }),
                ..Default::default()
            }),
            // Not the backend's with `-shadow` behind it, which no mirror would know.
            disable_shadow_host_suffix_append: true,
            host_rewrite_literal: host(&endpoint),
            ..Default::default()
        };
        clusters.entry(cluster).or_insert(endpoint);
        Some(policy)
    };
    mirror::of(operation).iter().filter_map(policy).collect()
}

/// The routes for `route`, in the order in which they are tried: requests are copied that have no body, or a short one that says how long it is.
///
/// Envoy reads a request as fast as its slowest mirror does: what it could not keep in its buffers would have clients wait for
/// mirrors.
pub fn copied(route: Route, method: Method, policies: &[RequestMirrorPolicy]) -> Vec<Route> {
    if policies.is_empty() {
        return vec![route];
    }
    let copied = |headers: Vec<HeaderMatcher>| {
        let mut route = route.clone();
        if let Some(Action::Route(action)) = &mut route.action {
            action.request_mirror_policies = policies.to_vec();
        }
        route.r#match.get_or_insert_default().headers.extend(headers);
        route
    };
    let short = copied(vec![header_below("content-length", LONGEST + 1)]);
    // By now `transfer-encoding` is gone, and over HTTP/2 there is none: what has a type has a body.
    let absent: &[&str] = match method {
        Method::Patch | Method::Post | Method::Put => &["content-length", "content-type"],
        Method::Delete | Method::Get | Method::Head | Method::Options => &["content-length"],
    };
    let without = copied(absent.iter().map(|name| has_no_header(name)).collect());
    vec![short, without, route]
}

/// What the mirror is called by; empty: as the client has it. Of several targets all get the first one's.
fn host(endpoint: &Endpoint) -> String {
    match endpoint.policy.host.as_ref().and_then(|host| host.kind.as_ref()) {
        Some(host::Kind::Name(name)) => name.clone(),
        Some(host::Kind::AsSent(_)) => String::new(),
        None => endpoint.urls().next().map(authority).unwrap_or_default(),
    }
}

fn authority(url: &BackendUrl) -> String {
    let host = bracketed(&url.host);
    let default = if url.tls { 443 } else { 80 };
    if url.port == default { host } else { format!("{host}:{}", url.port) }
}

#[cfg(test)]
#[path = "mirrors_tests.rs"]
mod tests;
