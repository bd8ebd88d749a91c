//! The key manager's endpoints for clients, on the HTTPS listener and on one of their own: Envoy passes them on as they are.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::{ClusterSpecifier, HostRewriteSpecifier};
use envoy_types::pb::envoy::config::route::v3::{Route, RouteAction, RouteConfiguration, VirtualHost};
use microgw_faults::Fault;
use prost::Message as _;

use super::routes::{self, Entry, Refusal};
use super::wire::{seconds, yes};
use super::{clusters, names, resource_metadata};
use crate::model::{Endpoint, Model, Transports};
use crate::path::PathTemplate;
use crate::settings::{Backends, OAuthEndpoints, Settings, Verification};
use crate::snapshot::{Assignment, Resource};

/// Path and method; the path is also what follows the key manager's context.
const ENDPOINTS: [(&str, &str); 4] =
    [("/token", "POST"), ("/revoke", "POST"), ("/authorize", "GET"), ("/userinfo", "GET")];

const TIMEOUT_SECONDS: i64 = 60;

/// For the table, where they belong to the HTTPS listener.
pub fn entries(endpoints: &OAuthEndpoints) -> Vec<Entry> {
    let https = Transports { http: false, https: true };
    let entry = |(path, method): (&'static str, &'static str)| {
        let template = PathTemplate::parse(path).ok()?;
        let mut route = forward(endpoints, path, method);
        if let Some(matching) = &mut route.r#match {
            matching.headers.push(routes::header_is(names::LISTENER_HEADER, names::HTTPS));
        }
        route.typed_per_filter_config = HashMap::from([(names::EXT_AUTHZ.to_owned(), routes::unguarded())]);
        let refusal = Some(Refusal::of(method, https));
        Some(Entry { template, routes: vec![route.encode_to_vec()], refusal })
    };
    ENDPOINTS.into_iter().filter_map(entry).collect()
}

/// All that their own listener has. Part of the listener: settings alone decide about it.
pub fn configuration(endpoints: &OAuthEndpoints) -> RouteConfiguration {
    let routes = ENDPOINTS.into_iter().flat_map(|(path, method)| {
        let other = routes::refuse(routes::exactly(path), Fault::MethodNotAllowed, &[("allow", method)]);
        // There is no filter to step aside.
        [forward(endpoints, path, method), Route { typed_per_filter_config: HashMap::new(), ..other }]
    });
    RouteConfiguration {
        name: names::TOKEN_LISTENER.to_owned(),
        virtual_hosts: vec![VirtualHost {
            name: names::TOKEN_LISTENER.to_owned(),
            domains: vec!["*".to_owned()],
            routes: routes.collect(),
            ..Default::default()
        }],
        request_headers_to_remove: vec![names::ENVIRONMENT_HEADER.to_owned(), names::LISTENER_HEADER.to_owned()],
        ..Default::default()
    }
}

fn forward(endpoints: &OAuthEndpoints, path: &str, method: &str) -> Route {
    let mut matching = routes::exactly(path);
    matching.headers.push(routes::header_is(":method", method));
    let action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(names::KEY_MANAGER_CLUSTER.to_owned())),
        host_rewrite_specifier: yes().map(HostRewriteSpecifier::AutoHostRewrite),
        prefix_rewrite: format!("{}{path}", endpoints.key_manager.path),
        timeout: seconds(TIMEOUT_SECONDS),
        ..Default::default()
    };
    Route {
        name: format!("{method} {path}"),
        r#match: Some(matching),
        action: Some(Action::Route(action)),
        ..Default::default()
    }
}

/// The key manager, verified whatever is said of backends: passwords go there.
pub fn cluster(endpoints: &OAuthEndpoints, backends: &Backends) -> Resource {
    let endpoint = Endpoint::of(vec![endpoints.key_manager.clone()]);
    let backends = Backends { verification: Verification::Full, identity: None, ..backends.clone() };
    clusters::named(names::KEY_MANAGER_CLUSTER.to_owned(), &endpoint, &backends)
}

/// Where it is, if its name says it.
pub fn assignment(endpoints: &OAuthEndpoints, backends: &Backends) -> Option<Assignment> {
    clusters::assignment(&Endpoint::of(vec![endpoints.key_manager.clone()]), backends)
}

/// An operation that could not be reached any more, since these settings have the gateway serve its path.
pub fn conflict(model: &Model, settings: &Settings) -> Option<String> {
    let own = |path: &str| {
        if settings.oauth.is_some() && ENDPOINTS.iter().any(|(own, _)| *own == path) {
            Some("keyManager.oauthEndpoints")
        } else if settings.public_url.is_some() && resource_metadata::is_below(path) {
            Some("gateway.publicUrl")
        } else {
            None
        }
    };
    model.apis.iter().find_map(|api| {
        let operations = api.operations.iter().map(|operation| format!("{}{}", api.base_path, operation.path));
        // What is below a base path belongs to its API, and to nobody else.
        let mut paths = std::iter::once(api.base_path.clone()).chain(operations);
        let (path, setting) = paths.find_map(|path| own(&path).map(|setting| (path, setting)))?;
        Some(format!(
            "`{path}` of API `{}:{}` is a path that the gateway serves itself with `{setting}`: give the API another base \
             path, or leave the setting out",
            api.name, api.version
        ))
    })
}
