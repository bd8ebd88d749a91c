//! The routes of one operation.

use std::collections::BTreeMap;
use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3::Route;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::google::protobuf::{Any, UInt64Value};
use microgw_faults::Fault;
use prost::Message as _;

use super::action::route_action;
use super::answer::refuse;
use super::examples::answer_routes;
use super::filters::{Filters, guarded, unguarded};
use super::matching::{header_is, path_match, transport};
use super::{mirrors, retry, streams};
use crate::assemble::rules::Ruled;
use crate::assemble::wire::{append, append_entry, append_text_entry};
use crate::assemble::{clusters, destination, names};
use crate::model::{Access, Api, Endpoint, Model, Operation};
use crate::path::PathTemplate;

/// Routes for each environment that has an endpoint: those of the sandbox come first, and ask for the header that the engine
/// sets. What the gateway answers by itself is for both. All carry one rule.
pub fn operation_routes(
    model: &Model,
    api: &Api,
    operation: &Operation,
    template: &PathTemplate,
    rule: Option<&Ruled>,
    clusters: &mut BTreeMap<Arc<str>, Endpoint>,
) -> Vec<Route> {
    let name = format!("{} {template}", operation.method);
    let matching = |environment: Option<&str>| {
        let mut matching = path_match(template);
        matching.headers.push(header_is(":method", operation.method.as_str()));
        matching.headers.extend(environment.map(|name| header_is(names::ENVIRONMENT_HEADER, name)));
        matching.headers.extend(transport(api.transports));
        matching
    };
    let filters = rule.map_or_else(|| Filters::from([(names::EXT_AUTHZ.to_owned(), unguarded())]), guarded);
    if let Some(answer) = &operation.traffic.answer {
        let routes = answer_routes(answer, &matching(None)).into_iter().map(|route| Route {
            name: name.clone(),
            typed_per_filter_config: filters.clone(),
            ..route
        });
        return routes.collect();
    }
    let mirrors = mirrors::policies(model, operation, clusters);
    let mut forward = |environment: Option<&str>, endpoint: &Endpoint| {
        let mut routes = Vec::new();
        for mut way in destination::ways(endpoint) {
            streams::choose_protocol(operation, &mut way.endpoint);
            let mut matching = matching(environment);
            way.choice.restrict(&mut matching);
            let cluster: Arc<str> = clusters::name(&way.endpoint).into();
            let mut action = route_action(api, operation, rule, &way.endpoint, &cluster);
            streams::apply(operation, &mut action);
            let is_retried = action.retry_policy.as_ref().is_some_and(retry::may_repeat);
            let route = Route {
                // What is to be sent again is kept, beyond what a connection may hold.
                request_body_buffer_limit: is_retried.then_some(UInt64Value { value: retry::BODY }),
                name: name.clone(),
                r#match: Some(matching),
                typed_per_filter_config: filters.clone().into_iter().chain(streams::unbuffered(operation)).collect(),
                action: Some(Action::Route(action)),
                ..Default::default()
            };
            let production = environment.is_none() && operation.production.is_some();
            routes.extend(mirrors::copied(route, operation.method, if production { &mirrors } else { &[] }));
            clusters.entry(cluster).or_insert(way.endpoint);
        }
        routes
    };
    let production = operation.production.and_then(|id| model.endpoint(id));
    let sandbox = operation.sandbox.and_then(|id| model.endpoint(id));
    match (&operation.access, production, sandbox) {
        (Access::Guarded(_), Some(production), Some(sandbox)) => {
            [forward(Some(names::SANDBOX), sandbox), forward(None, production)].concat()
        }
        (Access::Guarded(_), None, Some(sandbox)) => forward(None, sandbox),
        (_, Some(production), _) => forward(None, production),
        // A caller without credentials counts as a production caller.
        (Access::Public, None, Some(_)) => {
            vec![refuse(matching(None), Fault::NoProductionEndpoint, &[])]
        }
        (_, None, None) => Vec::new(),
    }
}

/// The route, encoded, with what it belongs to: its rule, and its API where that is asked for. By hand: `Metadata`, and what
/// filters do for it, are hash maps in the generated types.
pub fn described(mut route: Route, api: Option<&Api>, rule: Option<&str>) -> Vec<u8> {
    const METADATA: u32 = 4;
    const FILTER_METADATA: u32 = 1;
    const FILTERS: u32 = 13;
    let api_fields = api.map(|api| [(names::API_KEY, api.name.as_str()), (names::VERSION_KEY, &api.version)]);
    // In the order of their names.
    let fields = [
        api_fields.map(|[api, _]| api),
        rule.map(|rule| (names::RULE_KEY, rule)),
        api_fields.map(|[_, version]| version),
    ];
    let mut structure = Vec::new();
    for (name, text) in fields.into_iter().flatten() {
        append_text_entry(&mut structure, name, text);
    }
    let filters: BTreeMap<String, Any> = std::mem::take(&mut route.typed_per_filter_config).into_iter().collect();
    let mut encoded = route.encode_to_vec();
    for (name, config) in filters {
        append_entry(&mut encoded, FILTERS, &name, &config.encode_to_vec());
    }
    if !structure.is_empty() {
        let mut metadata = Vec::with_capacity(structure.len() + 16);
        append_entry(&mut metadata, FILTER_METADATA, names::METADATA, &structure);
        append(&mut encoded, METADATA, &metadata);
    }
    encoded
}
