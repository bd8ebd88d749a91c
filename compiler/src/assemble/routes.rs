//! Operations as Envoy routes, and the tree that finds them.

mod action;
mod answer;
mod cors;
pub mod edits;
mod examples;
mod filters;
mod matching;
mod mirrors;
mod operation;
mod refusal;
pub(super) mod retry;
mod streams;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::{Route, RouteAction};
use microgw_faults::Fault;
use prost::Message as _;

use super::rules::Rules;
use super::wire::{digest, hex, seconds};
use super::{compression, names, oauth, resource_metadata, table, tracing};
use crate::model::{Api, Endpoint, Model, Operation};
use crate::path::PathTemplate;
use crate::settings::{Compression, Settings};
use crate::snapshot::{ApiKey, ApiSource, ResourceType};
use crate::traffic;

pub use self::answer::{direct, refuse};
pub use self::filters::unguarded;
pub use self::matching::{anything, exactly, has_header, header_fits, header_is, path_match};
pub use self::refusal::{Refusal, respelled};
pub use self::retry::FAILURES_OF_FAILOVER;

use self::cors::CrossOrigin;
use self::operation::{described, operation_routes};

/// The routes of one path template, encoded and in the order in which they are tried.
pub struct Entry {
    pub template: PathTemplate,
    pub routes: Vec<Vec<u8>>,
    /// The answer to other methods. `None`: the routes take them all.
    pub refusal: Option<Refusal>,
}

/// What is below a base path.
#[derive(Default)]
pub struct Area {
    pub entries: Vec<Entry>,
    pub operations: usize,
}

/// By the `Host`s that they are for (none: all), and by base path (`""` for the root).
pub type Areas = BTreeMap<Vec<String>, BTreeMap<String, Area>>;

/// What the APIs of a snapshot turn into.
#[derive(Default)]
pub struct Routes<'a> {
    pub areas: Areas,
    pub sources: Vec<ApiSource>,
    /// Each route says what it belongs to.
    pub described: bool,
    /// The headers by which clients are told of limits.
    pub told: &'static [&'static str],
    /// How responses are compressed, where they are.
    pub compression: Option<&'a Compression>,
    /// Clusters in use.
    pub clusters: BTreeMap<Arc<str>, Endpoint>,
    /// Whom they serve.
    pub users: HashMap<String, Vec<ApiKey>>,
    /// Other clusters that routes refer to.
    pub others: Vec<Arc<str>>,
    /// Bytes of the longest body that a route answers with.
    pub longest_body: usize,
}

// === impl Entry ===

impl Entry {
    /// How many routes it is.
    pub fn weight(&self) -> usize {
        self.routes.len() + self.refusal.as_ref().map_or(0, Refusal::weight)
    }
}

// === impl Routes ===

impl Routes<'_> {
    /// Adds an API's operations and their rules.
    pub fn api(&mut self, model: &Model, api: &Api, rules: &mut Rules<'_>) {
        rules.api(api);
        let cross_origin = CrossOrigin::of(api, self.told).map(Arc::new);
        let mut by_path: BTreeMap<String, Vec<&Operation>> = BTreeMap::new();
        for operation in &api.operations {
            by_path.entry(operation.path.shape()).or_default().push(operation);
        }
        let mut content = Vec::new();
        let area = area(&mut self.areas, &api.traffic.hosts, &api.base_path);
        for operations in by_path.into_values() {
            let Some(template) = operations.first().and_then(|first| first.path.under(&api.base_path).ok()) else {
                continue;
            };
            let refusal = Refusal::new(api, &operations, cross_origin.as_ref());
            // Where the API has an operation for OPTIONS, it is not for what browsers ask beforehand.
            let preflights = refusal.preflights(&template).into_iter();
            let mut routes: Vec<Vec<u8>> = preflights.map(|route| described(route, None, None)).collect();
            for operation in &operations {
                let rule = rules.operation(api, operation);
                let longest = operation.traffic.answer.as_ref().map_or(0, traffic::answer::longest_body);
                self.longest_body = self.longest_body.max(longest);
                for mut route in operation_routes(model, api, operation, &template, rule.as_ref(), &mut self.clusters) {
                    use_by(&mut self.users, &route, api);
                    let answer = (rule.is_some() && !matches!(route.action, Some(Action::Route(_))))
                        .then(|| edits::Responses::take(&mut route));
                    edits::edit(&mut route, &operation.traffic);
                    match self.compression {
                        Some(compression) if operation.traffic.uncompressed => {
                            compression::spare(&mut route, compression);
                        }
                        Some(compression) if operation.traffic.websocket || operation.traffic.timeout == Some(0) => {
                            compression::pass_on(&mut route, compression);
                        }
                        _ => {}
                    }
                    for mut route in cors::admit(cross_origin.as_deref(), route) {
                        if let Some(answer) = &answer {
                            edits::refusals_too(&mut route, answer.clone());
                        }
                        routes.push(described(
                            route,
                            self.described.then_some(api),
                            rule.as_ref().map(|rule| &*rule.id),
                        ));
                    }
                }
            }
            // To tell browsers what they may do is one operation more.
            area.operations += operations.len() + usize::from(cross_origin.is_some());
            content.extend(routes.iter().flatten());
            content.extend(refusal.content());
            // Below another base path are other backends: they do not take these for their own.
            let other = template.respelled(api.base_path.matches('/').count());
            area.entries.push(Entry { template, routes, refusal: Some(refusal) });
            if let Some(template) = other {
                area.operations += 1;
                let route = respelled(&template, api.transports);
                area.entries.push(Entry { template, routes: vec![route.encode_to_vec()], refusal: None });
            }
        }
        rules.end_of_api(api);
        self.sources.push(source(model, api, &content));
    }

    /// By the name of a cluster of an API.
    pub fn users(&self, cluster: &str) -> Vec<ApiKey> {
        self.users.get(cluster).cloned().unwrap_or_default()
    }

    /// Answers 503 below the API's base path.
    pub fn unavailable(&mut self, model: &Model, api: &Api) {
        let area = area(&mut self.areas, &api.traffic.hosts, &api.base_path);
        let mut content = Vec::new();
        if let Ok(template) = PathTemplate::parse(&format!("{}/*", api.base_path)) {
            let route = refuse(path_match(&template), Fault::ApiUnavailable, &[]);
            let route = described(route, self.described.then_some(api), None);
            content.clone_from(&route);
            area.entries.push(Entry { template, routes: vec![route], refusal: None });
        }
        self.sources.push(source(model, api, &content));
    }

    /// The gateway's own paths: `/health` on every listener; `/apikey`, the keys of backend JWTs and the key manager's endpoints on
    /// the HTTPS listener; and what is said of the APIs of `model`.
    pub fn built_in(&mut self, model: &Model, settings: &Settings, generation: &str) {
        let (metadata, longest) = resource_metadata::entries(model, settings);
        for (hosts, entry) in metadata {
            area(&mut self.areas, &hosts, "").entries.push(entry);
        }
        self.longest_body = self.longest_body.max(longest);
        let area = &mut area(&mut self.areas, &[], "").entries;
        if let Some(endpoints) = &settings.oauth {
            area.extend(oauth::entries(endpoints));
            self.others.push(names::KEY_MANAGER_CLUSTER.into());
        }
        for (template, route) in health(settings, generation) {
            area.push(Entry { template, routes: vec![route.encode_to_vec()], refusal: None });
        }
        let served = [
            ("/apikey", settings.api_key_issuer),
            ("/apikey/*", settings.api_key_issuer),
            (names::JWKS_PATH, settings.backend_jwt.is_some()),
        ];
        for (path, _) in served.into_iter().filter(|(_, served)| *served) {
            let Ok(template) = PathTemplate::parse(path) else { continue };
            let mut matching = path_match(&template);
            matching.headers.push(header_is(names::LISTENER_HEADER, names::HTTPS));
            let action = RouteAction {
                cluster_specifier: Some(ClusterSpecifier::Cluster(names::ISSUER_CLUSTER.to_owned())),
                timeout: seconds(5),
                ..Default::default()
            };
            let route = Route {
                name: path.to_owned(),
                r#match: Some(matching),
                typed_per_filter_config: HashMap::from([(names::EXT_AUTHZ.to_owned(), unguarded())]),
                action: Some(Action::Route(action)),
                ..Default::default()
            };
            area.push(Entry { template, routes: vec![route.encode_to_vec()], refusal: None });
        }
    }

    /// The `RouteConfiguration`, encoded, and what it refers to. No backend gets the headers `withheld`.
    pub fn encode(self, withheld: Vec<String>, longest_uri: Option<u32>) -> (Vec<u8>, Vec<(ResourceType, Arc<str>)>) {
        let clusters = self.clusters.keys().chain(&self.others);
        let references = clusters.map(|name| (ResourceType::Cluster, name.clone())).collect();
        (table::encode(self.areas, self.longest_body, longest_uri, withheld), references)
    }
}

/// `/health`, which tells the generation.
pub fn health(settings: &Settings, generation: &str) -> Vec<(PathTemplate, Route)> {
    let route = |template: PathTemplate| {
        let headers = [(names::GENERATION_HEADER, generation)];
        let route = direct(path_match(&template), 200, Some(r#"{"status":"healthy"}"#), &headers);
        // Balancers ask every few seconds.
        (template, Route { tracing: settings.tracing.as_ref().map(|_| tracing::never()), ..route })
    };
    ["/health", "/health/*"].into_iter().filter_map(|path| PathTemplate::parse(path).ok()).map(route).collect()
}

fn area<'a>(areas: &'a mut Areas, hosts: &[String], base_path: &str) -> &'a mut Area {
    areas.entry(hosts.to_vec()).or_default().entry(base_path.to_owned()).or_default()
}

/// How an API is called in fallbacks and in the status.
pub fn key(api: &Api) -> ApiKey {
    ApiKey(format!("{}:{}", api.name, api.version).into())
}

fn use_by(users: &mut HashMap<String, Vec<ApiKey>>, route: &Route, api: &Api) {
    let Some(Action::Route(action)) = &route.action else { return };
    let own = match &action.cluster_specifier {
        Some(ClusterSpecifier::Cluster(cluster)) => Some(cluster),
        _ => None,
    };
    let key = key(api);
    for cluster in own.into_iter().chain(action.request_mirror_policies.iter().map(|mirror| &mirror.cluster)) {
        match users.get_mut(cluster) {
            Some(known) if known.last() == Some(&key) => {}
            Some(known) => known.push(key.clone()),
            None => {
                users.insert(cluster.clone(), vec![key.clone()]);
            }
        }
    }
}

fn source(model: &Model, api: &Api, content: &[u8]) -> ApiSource {
    ApiSource { key: key(api), location: model.locate(api.source), content: hex(&digest(&[content])).into() }
}
