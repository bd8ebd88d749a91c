//! Operations as Envoy routes, and the tree that finds them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{DataSource, HeaderValue, HeaderValueOption, data_source::Specifier};
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::retry_policy::{RetryHostPredicate, retry_host_predicate};
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::{ClusterSpecifier, HostRewriteSpecifier};
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::{
    DirectResponseAction, FilterConfig, HeaderMatcher, RetryPolicy, Route, RouteAction, RouteMatch,
};
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::ext_authz_per_route::Override;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::{CheckSettings, ExtAuthzPerRoute};
use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use envoy_types::pb::envoy::r#type::matcher::v3::{
    RegexMatchAndSubstitute, RegexMatcher, StringMatcher, string_matcher::MatchPattern,
};
use envoy_types::pb::google::protobuf::Any;
use microgw_faults::Fault;
use prost::Message as _;

use super::rules::{RuleId, Rules};
use super::wire::{any, append, append_entry, append_text_entry, digest, hex, number, seconds, yes};
use super::{clusters, names, oauth, resource_metadata, table, tracing};
use crate::model::{Access, Api, Endpoint, Method, Model, Operation, Transports};
use crate::path::{PathTemplate, push_escaped};
use crate::settings::Settings;
use crate::snapshot::{ApiKey, ApiSource, ResourceType};

/// `timeoutInMillis` where none is declared, as in the old product.
const RESPONSE_TIMEOUT_SECONDS: i64 = 60;

/// The routes of one path template, encoded and in the order in which they are tried.
pub struct Entry {
    pub template: PathTemplate,
    pub routes: Vec<Vec<u8>>,
    /// The answer to other methods. `None`: the routes take them all.
    pub refusal: Option<Refusal>,
}

/// 405. Templates with equal ones can share a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    allow: String,
    transports: Transports,
}

/// What the APIs of a snapshot turn into.
#[derive(Default)]
pub struct Routes {
    /// By base path (`""` for the root).
    pub areas: BTreeMap<String, Vec<Entry>>,
    pub operations: usize,
    pub sources: Vec<ApiSource>,
    /// Each route says what it belongs to.
    pub described: bool,
    /// Clusters in use.
    pub clusters: BTreeMap<Arc<str>, Endpoint>,
    /// Other clusters that routes refer to.
    pub others: Vec<Arc<str>>,
    /// Bytes of the longest body that a route answers with.
    pub longest_body: usize,
}

// === impl Routes ===

impl Routes {
    /// Adds an API's operations and their rules.
    pub fn api(&mut self, model: &Model, api: &Api, rules: &mut Rules<'_>) {
        rules.api(api);
        let mut by_path: BTreeMap<String, Vec<&Operation>> = BTreeMap::new();
        for operation in &api.operations {
            by_path.entry(operation.path.shape()).or_default().push(operation);
        }
        let mut content = Vec::new();
        let area = self.areas.entry(api.base_path.clone()).or_default();
        for operations in by_path.into_values() {
            let Some(template) = operations.first().and_then(|first| first.path.under(&api.base_path).ok()) else {
                continue;
            };
            let mut routes = Vec::new();
            for operation in &operations {
                let rule = rules.operation(api, operation);
                for route in operation_routes(model, api, operation, &template, rule.as_ref(), &mut self.clusters) {
                    routes.push(described(&route, self.described.then_some(api), rule.as_deref()));
                }
            }
            let refusal = Refusal::new(api, &operations);
            self.operations += operations.len();
            content.extend(routes.iter().flatten());
            content.extend(refusal.allow.as_bytes());
            area.push(Entry { template, routes, refusal: Some(refusal) });
        }
        self.sources.push(source(model, api, &content));
    }

    /// Answers 503 below the API's base path.
    pub fn unavailable(&mut self, model: &Model, api: &Api) {
        let area = self.areas.entry(api.base_path.clone()).or_default();
        let mut content = Vec::new();
        if let Ok(template) = PathTemplate::parse(&format!("{}/*", api.base_path)) {
            let route = refuse(path_match(&template), Fault::ApiUnavailable, &[]);
            let route = described(&route, self.described.then_some(api), None);
            content.clone_from(&route);
            area.push(Entry { template, routes: vec![route], refusal: None });
        }
        self.sources.push(source(model, api, &content));
    }

    /// The gateway's own paths: `/health` on every listener; `/apikey`, the keys of backend JWTs and the key manager's endpoints on
    /// the HTTPS listener; and what is said of the APIs of `model`.
    pub fn built_in(&mut self, model: &Model, settings: &Settings, generation: &str) {
        let area = self.areas.entry(String::new()).or_default();
        if let Some(endpoints) = &settings.oauth {
            area.extend(oauth::entries(endpoints));
            self.others.push(names::KEY_MANAGER_CLUSTER.into());
        }
        let (metadata, longest) = resource_metadata::entries(model, settings);
        area.extend(metadata);
        self.longest_body = longest;
        for path in ["/health", "/health/*"] {
            let Ok(template) = PathTemplate::parse(path) else { continue };
            let headers = [(names::GENERATION_HEADER, generation)];
            let route = direct(path_match(&template), 200, Some(r#"{"status":"healthy"}"#), &headers);
            // Balancers ask every few seconds.
            let route = Route { tracing: settings.tracing.as_ref().map(|_| tracing::never()), ..route };
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
    pub fn encode(self, withheld: Vec<String>) -> (Vec<u8>, Vec<(ResourceType, Arc<str>)>) {
        let clusters = self.clusters.keys().chain(&self.others);
        let references = clusters.map(|name| (ResourceType::Cluster, name.clone())).collect();
        (table::encode(self.areas, self.operations, self.longest_body, withheld), references)
    }
}

/// How an API is called in fallbacks and in the status.
pub fn key(api: &Api) -> ApiKey {
    ApiKey(format!("{}:{}", api.name, api.version).into())
}

fn source(model: &Model, api: &Api, content: &[u8]) -> ApiSource {
    ApiSource { key: key(api), location: model.locate(api.source), content: hex(&digest(&[content])).into() }
}

/// One route per environment that has an endpoint: the sandbox route asks for the header that the engine sets.
fn operation_routes(
    model: &Model,
    api: &Api,
    operation: &Operation,
    template: &PathTemplate,
    rule: Option<&RuleId>,
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
    let mut forward = |environment: Option<&str>, endpoint: &Endpoint| {
        let cluster: Arc<str> = clusters::name(endpoint).into();
        clusters.entry(cluster.clone()).or_insert_with(|| endpoint.clone());
        let filter = rule.map_or_else(unguarded, |rule| guarded(rule));
        Route {
            name: name.clone(),
            r#match: Some(matching(environment)),
            typed_per_filter_config: HashMap::from([(names::EXT_AUTHZ.to_owned(), filter)]),
            action: Some(Action::Route(route_action(api, operation, endpoint, &cluster))),
            ..Default::default()
        }
    };
    let production = operation.production.and_then(|id| model.endpoint(id));
    let sandbox = operation.sandbox.and_then(|id| model.endpoint(id));
    match (&operation.access, production, sandbox) {
        (Access::Guarded(_), Some(production), Some(sandbox)) => {
            vec![forward(Some(names::SANDBOX), sandbox), forward(None, production)]
        }
        (Access::Guarded(_), None, Some(sandbox)) => vec![forward(None, sandbox)],
        (_, Some(production), _) => vec![forward(None, production)],
        // A caller without credentials counts as a production caller.
        (Access::Public, None, Some(_)) => {
            vec![refuse(matching(None), Fault::NoProductionEndpoint, &[])]
        }
        (_, None, None) => Vec::new(),
    }
}

fn route_action(api: &Api, operation: &Operation, endpoint: &Endpoint, cluster: &str) -> RouteAction {
    let backend_path = endpoint.urls.first().map_or("", |url| url.path.as_str());
    let mut action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
        host_rewrite_specifier: yes().map(HostRewriteSpecifier::AutoHostRewrite),
        timeout: seconds(RESPONSE_TIMEOUT_SECONDS),
        retry_policy: next_host(endpoint),
        ..Default::default()
    };
    if backend_path == api.base_path {
        return action;
    }
    if operation.path.is_concrete() {
        action.prefix_rewrite = format!("{backend_path}{}", operation.path.concrete());
    } else {
        let mut pattern = "^".to_owned();
        push_escaped(&mut pattern, &api.base_path);
        action.regex_rewrite = Some(RegexMatchAndSubstitute {
            pattern: Some(regex(pattern)),
            substitution: backend_path.replace('\\', "\\\\"),
        });
    }
    action
}

/// Several URLs: a connection that cannot be made is tried on the others, each once.
fn next_host(endpoint: &Endpoint) -> Option<RetryPolicy> {
    let others = u32::try_from(endpoint.urls.len()).ok()?.checked_sub(1).filter(|others| *others > 0)?;
    Some(RetryPolicy {
        retry_on: "connect-failure".to_owned(),
        num_retries: number(others),
        retry_host_predicate: vec![RetryHostPredicate {
            name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
            config_type: Some(retry_host_predicate::ConfigType::TypedConfig(any(&PreviousHostsPredicate {}))),
        }],
        host_selection_retry_max_attempts: 5,
        ..Default::default()
    })
}

// === impl Refusal ===

impl Refusal {
    /// Of all methods but one.
    pub fn of(allowed: &str, transports: Transports) -> Refusal {
        Refusal { allow: allowed.to_owned(), transports }
    }

    fn new(api: &Api, operations: &[&Operation]) -> Refusal {
        let mut methods: Vec<Method> = operations.iter().map(|operation| operation.method).collect();
        methods.sort_unstable();
        methods.dedup();
        let allow = methods.iter().map(|method| method.as_str()).collect::<Vec<_>>().join(", ");
        Refusal { allow, transports: api.transports }
    }

    /// 405 with `Allow` for all of `templates`.
    pub fn route(&self, templates: &[&PathTemplate]) -> Route {
        let mut matching = match templates {
            [template] => path_match(template),
            templates => {
                let any = templates.iter().map(|template| template.regex()).collect::<Vec<_>>().join("|");
                RouteMatch { path_specifier: Some(PathSpecifier::SafeRegex(regex(any))), ..Default::default() }
            }
        };
        matching.headers.extend(transport(self.transports));
        refuse(matching, Fault::MethodNotAllowed, &[("allow", &self.allow)])
    }
}

/// A fault that Envoy answers. The listener knows it by the route's name, and gives it its body: the table stays small.
pub fn refuse(matching: RouteMatch, fault: Fault, headers: &[(&str, &str)]) -> Route {
    Route { name: fault.name().to_owned(), ..direct(matching, fault.status().into(), None, headers) }
}

/// A reply that Envoy makes itself. With a body it is JSON.
pub fn direct(matching: RouteMatch, status: u32, body: Option<&str>, headers: &[(&str, &str)]) -> Route {
    let content_type = body.as_ref().map(|_| ("content-type", "application/json"));
    Route {
        r#match: Some(matching),
        typed_per_filter_config: HashMap::from([(names::EXT_AUTHZ.to_owned(), unguarded())]),
        response_headers_to_add: headers.iter().copied().chain(content_type).map(header).collect(),
        action: Some(Action::DirectResponse(DirectResponseAction {
            status,
            body: body.map(|body| DataSource {
                specifier: Some(Specifier::InlineString(body.to_owned())),
                ..Default::default()
            }),
            ..Default::default()
        })),
        ..Default::default()
    }
}

fn header((name, value): (&str, &str)) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value: value.to_owned(), ..Default::default() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..Default::default()
    }
}

/// Envoy proper serves it: no question to the service. Not the filter's own `disabled`, for which the filter would be
/// made for each request, only to step aside.
pub fn unguarded() -> Any {
    any(&FilterConfig { disabled: true, ..Default::default() })
}

fn guarded(rule: &str) -> Any {
    let context_extensions = HashMap::from([(names::RULE_KEY.to_owned(), rule.to_owned())]);
    any(&ExtAuthzPerRoute {
        r#override: Some(Override::CheckSettings(CheckSettings { context_extensions, ..Default::default() })),
    })
}

/// The route, encoded, with what it belongs to: its rule, and its API where that is asked for. By hand: `Metadata` is a
/// hash map in the generated types.
fn described(route: &Route, api: Option<&Api>, rule: Option<&str>) -> Vec<u8> {
    const METADATA: u32 = 4;
    const FILTER_METADATA: u32 = 1;
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
    let mut encoded = route.encode_to_vec();
    if !structure.is_empty() {
        let mut metadata = Vec::with_capacity(structure.len() + 16);
        append_entry(&mut metadata, FILTER_METADATA, names::METADATA, &structure);
        append(&mut encoded, METADATA, &metadata);
    }
    encoded
}

/// This path and no other.
pub fn exactly(path: &str) -> RouteMatch {
    RouteMatch { path_specifier: Some(PathSpecifier::Path(path.to_owned())), ..Default::default() }
}

pub fn path_match(template: &PathTemplate) -> RouteMatch {
    let path = if template.is_concrete() {
        PathSpecifier::Path(template.concrete())
    } else {
        PathSpecifier::SafeRegex(regex(template.regex()))
    };
    RouteMatch { path_specifier: Some(path), ..Default::default() }
}

fn regex(regex: String) -> RegexMatcher {
    RegexMatcher { regex, ..Default::default() }
}

/// For an API that is not served on both listeners.
fn transport(transports: Transports) -> Option<HeaderMatcher> {
    match (transports.http, transports.https) {
        (true, true) => None,
        (true, false) => Some(header_is(names::LISTENER_HEADER, names::HTTP)),
        (false, _) => Some(header_is(names::LISTENER_HEADER, names::HTTPS)),
    }
}

pub fn header_is(name: &str, value: &str) -> HeaderMatcher {
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(StringMatcher {
            match_pattern: Some(MatchPattern::Exact(value.to_owned())),
            ..Default::default()
        })),
        ..Default::default()
    }
}
