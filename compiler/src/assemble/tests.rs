use std::fmt::Write as _;
use std::net::Ipv4Addr;

use envoy_types::pb::envoy::config::accesslog::v3::access_log::ConfigType as LogConfig;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::{FilterConfig, Route, RouteConfiguration, RouteList, VirtualHost};
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::ExtAuthzPerRoute;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::ext_authz_per_route::Override;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::on_match::OnMatch as Then;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::{MatcherType, OnMatch, matcher_tree::TreeType};
use prost::{Message as _, Name as _};

use super::*;
use crate::compile::{Options, compile};
use crate::error_template::{ErrorTemplate, Syntax};
use crate::files::MemoryFiles;
use crate::settings::{
    AccessLog, ApiKeys, Backends, Balanced, Bodies, ClientCertificates, Connections, Credentials, Dpop, Issuer,
    LimitSettings, Listeners, OAuthEndpoints, Protocol, Proxy, SecretHeader, Secrets, ServerHeader, TlsIdentity,
    TlsRange, Tracing, TrustStore, Validation, Verification,
};
use crate::snapshot::{Fallback, Resource};

const SHOP: &str = r#"{
  "openapi": "3.0.3",
  "info": { "title": "Shop", "version": "1.0" },
  "x-wso2-basePath": "/shop",
  "x-wso2-production-endpoints": { "urls": ["http://10.0.0.1:81/v1", "http://10.0.0.2:81/v1"] },
  "x-wso2-sandbox-endpoints": { "urls": ["https://sandbox.example.com/shop"] },
  "components": { "securitySchemes": {
    "key": { "type": "apiKey", "in": "query", "name": "key" },
    "oauth": { "type": "oauth2", "flows": { "clientCredentials": { "tokenUrl": "https://a.example/t", "scopes": { "buy": "" } } } } } },
  "paths": {
    "/items": {
      "get": { "security": [], "responses": {} },
      "post": { "security": [{ "oauth": ["buy"], "key": [] }, { "oauth": [] }], "responses": {} } },
    "/items/{id}": { "get": { "security": [{ "key": [] }], "responses": {} } },
    "/files/*": { "get": { "security": [{ "key": [] }], "responses": {} } }
  }
}"#;

const NOTES: &str = r#"{
  "openapi": "3.1.0",
  "info": { "title": "Notes", "version": "2" },
  "x-wso2-basePath": "/notes",
  "x-wso2-transports": ["https"],
  "servers": [{ "url": "http://10.0.0.3" }],
  "paths": { "/{name}": { "get": { "responses": {} } } }
}"#;

pub(super) fn model(definitions: &[&str]) -> Model {
    let mut files =
        MemoryFiles::new().with("conf/deployment-config.toml", "[project]\nopenapiSecurity = \"standard\"\n");
    for (index, definition) in definitions.iter().enumerate() {
        files.insert(format!("api_definitions/{index}.json"), *definition);
    }
    let compilation = compile(&files, "test", &Options::default());
    compilation.model.unwrap_or_else(|| panic!("{:?}", compilation.diagnostics))
}

pub fn settings() -> Settings {
    Settings {
        listeners: Listeners {
            host: Ipv4Addr::LOCALHOST.into(),
            bind: true,
            http_port: 9090,
            https_port: 9095,
            max_header_size: 8192,
            max_uri_length: None,
            max_body_size: None,
            trusted_hops: 0,
            kept_headers: Vec::new(),
            http2: true,
            connections: Connections::default(),
            balanced: Balanced::default(),
            https_redirect: None,
            server_header: ServerHeader::default(),
            tls: TlsRange::default(),
            identity: TlsIdentity { certificate_chain: "certificate".to_owned(), private_key: "hidden".to_owned() },
            certificates: Vec::new(),
        },
        credentials: Credentials {
            header: "authorization".to_owned(),
            remove: true,
            strip: vec!["x-jwt-assertion".to_owned()],
        },
        issuers: vec![Issuer {
            issuer: "https://idp.example.com".to_owned(),
            audiences: Vec::new(),
            algorithms: vec!["RS256".to_owned()],
            skew_seconds: 5,
            claims: Vec::new(),
            client_claim: String::new(),
            rfc9068: false,
            require_dpop: false,
            user_claims: false,
            validate_subscription: false,
        }],
        introspection: None,
        oauth: None,
        public_url: None,
        revocable: false,
        subscriptions: false,
        dpop: Dpop { origins: Vec::new(), max_age_seconds: 60, skew_seconds: 5 },
        backend_jwt: None,
        identity_headers: Vec::new(),
        api_keys: ApiKeys {
            issuer: "https://localhost:9095/apikey".to_owned(),
            skew_seconds: 5,
            allow_unlimited: false,
            require_allowed_apis: false,
        },
        api_key_issuer: true,
        access_log: None,
        tracing: None,
        backends: Backends { trust: Some(TrustStore("authorities".to_owned())), ..Backends::default() },
        endpoints: Vec::new(),
        secrets: Secrets::default(),
        client_certificates: ClientCertificates::default(),
        user_agent: None,
        limits: LimitSettings::default(),
        bodies: Bodies { max_request: 1 << 20, max_response: 1 << 20 },
        compression: None,
        validation: Validation::default(),
    }
}

pub(super) fn snapshot(model: &Model, settings: &Settings) -> Snapshot {
    assemble(Input { model, artifact: "a", settings, fallbacks: &Fallbacks::new(), previous: None })
}

pub(super) fn resource(snapshot: &Snapshot, kind: ResourceType, name: &str) -> Resource {
    snapshot.resources[&kind][name].clone()
}

/// Every list of the table with the prefix that leads to it, in order.
fn lists(snapshot: &Snapshot) -> BTreeMap<String, Vec<Route>> {
    let table = resource(snapshot, ResourceType::Route, names::GATEWAY);
    lists_of(&RouteConfiguration::decode(&*table.body).unwrap().virtual_hosts[0])
}

pub(super) fn lists_of(host: &VirtualHost) -> BTreeMap<String, Vec<Route>> {
    fn walk(on_match: &OnMatch, found: &mut Vec<Route>) {
        match on_match.on_match.as_ref().unwrap() {
            Then::Action(action) => {
                let list = RouteList::decode(action.typed_config.as_ref().unwrap().value.as_slice()).unwrap();
                found.extend(list.routes);
            }
            Then::Matcher(matcher) => {
                let Some(MatcherType::MatcherList(list)) = &matcher.matcher_type else { panic!("not a list") };
                list.matchers.iter().for_each(|matcher| walk(matcher.on_match.as_ref().unwrap(), found));
                matcher.on_no_match.iter().for_each(|otherwise| walk(otherwise, found));
            }
        }
    }
    // Behind what every request must pass.
    let screen = host.matcher.clone().unwrap();
    let Some(Then::Matcher(matcher)) = screen.on_no_match.unwrap().on_match else { panic!("nothing behind it") };
    let Some(MatcherType::MatcherTree(tree)) = matcher.matcher_type else { panic!("not a tree") };
    let Some(TreeType::PrefixMatchMap(map)) = tree.tree_type else { panic!("not by prefix") };
    let listed = |on_match: &OnMatch| {
        let mut found = Vec::new();
        walk(on_match, &mut found);
        found
    };
    map.map.iter().map(|(prefix, on_match)| (prefix.clone(), listed(on_match))).collect()
}

/// The rule that Envoy asks the service about, or `None` where it asks nothing.
pub(super) fn rule_of(route: &Route) -> Option<String> {
    let filter = &route.typed_per_filter_config[names::EXT_AUTHZ];
    if filter.type_url == FilterConfig::type_url() {
        assert!(FilterConfig::decode(filter.value.as_slice()).unwrap().disabled, "present and not disabled");
        return None;
    }
    match ExtAuthzPerRoute::decode(filter.value.as_slice()).unwrap().r#override.unwrap() {
        Override::Disabled(_) => panic!("the filter would be made only to step aside"),
        Override::CheckSettings(settings) => Some(settings.context_extensions[names::RULE_KEY].clone()),
    }
}

fn describe(route: &Route) -> String {
    let matching = route.r#match.as_ref().unwrap();
    let mut text = format!("{:?}", matching.path_specifier.as_ref().unwrap());
    for header in &matching.headers {
        let _ = write!(text, " {}={:?}", header.name, header.header_match_specifier.as_ref().unwrap());
    }
    match route.action.as_ref().unwrap() {
        Action::Route(action) => {
            let Some(ClusterSpecifier::Cluster(cluster)) = &action.cluster_specifier else { panic!("no cluster") };
            let _ = write!(text, " -> {cluster} {}", rule_of(route).map_or("public", |_| "guarded"));
            if !action.prefix_rewrite.is_empty() {
                let _ = write!(text, " as {}", action.prefix_rewrite);
            }
            if let Some(rewrite) = &action.regex_rewrite {
                let _ = write!(text, " as {:?} => {}", rewrite.pattern.as_ref().unwrap().regex, rewrite.substitution);
            }
        }
        Action::DirectResponse(direct) => {
            let headers = route.response_headers_to_add.iter().filter_map(|header| header.header.as_ref());
            let headers: Vec<_> = headers.map(|header| format!("{}: {}", header.key, header.value)).collect();
            let _ = write!(text, " -> {} {headers:?}", direct.status);
        }
        action => panic!("{action:?}"),
    }
    text
}

#[test]
fn routes_of_two_apis() {
    let snapshot = snapshot(&model(&[SHOP, NOTES]), &settings());
    let mut text = String::new();
    for (prefix, routes) in lists(&snapshot) {
        let _ = writeln!(text, "{prefix}");
        for route in &routes {
            let _ = writeln!(text, "  {}", describe(route));
        }
    }
    let text = text.replace(&*snapshot.generation.0, "GENERATION");
    insta::assert_snapshot!(text);
}

#[test]
fn rules_of_two_apis() {
    let rules = snapshot(&model(&[SHOP, NOTES]), &settings()).rules;
    let mut text = String::new();
    for rule in &rules.rules {
        let policy = &rules.policies[rule.policy as usize];
        let api = &rules.apis[rule.api as usize];
        let _ = writeln!(text, "{} {} of {} {}\n  {policy:?}", rule.method, rule.path, api.name, api.version);
    }
    insta::assert_snapshot!(text);
}

#[test]
fn every_route_says_what_is_asked_and_every_rule_is_known() {
    let snapshot = snapshot(&model(&[SHOP, NOTES]), &settings());
    let known: BTreeSet<String> = snapshot.rules.rules.iter().map(|rule| hex(&rule.id)).collect();
    let mut asked = BTreeSet::new();
    for route in lists(&snapshot).into_values().flatten() {
        let rule = rule_of(&route);
        let named = route.metadata.as_ref().map(|metadata| {
            let Some(value) = metadata.filter_metadata[names::METADATA].fields.get(names::RULE_KEY) else {
                panic!("metadata without a rule")
            };
            format!("{value:?}")
        });
        assert_eq!(rule.is_some(), named.is_some());
        if let Some(rule) = rule {
            assert!(known.contains(&rule) && named.unwrap().contains(&rule));
            assert!(matches!(route.action, Some(Action::Route(_))), "a direct response asks the service");
            asked.insert(rule);
        }
    }
    assert_eq!(asked, known, "a guarded operation has no route");
}

#[test]
fn equal_input_gives_equal_bytes() {
    let first = snapshot(&model(&[SHOP, NOTES]), &settings());
    let second = snapshot(&model(&[SHOP, NOTES]), &settings());
    assert_eq!(first.resources, second.resources);
    assert_eq!(first.generation, second.generation);
    assert_eq!(first.rules.encode_to_vec(), second.rules.encode_to_vec());
}

#[test]
fn wording_changes_every_rule_and_the_listeners_where_envoy_says_it() {
    let (model, settings) = (model(&[SHOP]), settings());
    let worded = |code| {
        let (code, source) = (Some(code), "{{ message }}".to_owned());
        let mut worded = model.clone();
        worded.error_templates.push(ErrorTemplate { code, problem: false, syntax: Syntax::Json, source });
        snapshot(&worded, &settings)
    };
    let (usual, engine, envoy) = (snapshot(&model, &settings), worded(900_902), worded(404));
    let ids = |snapshot: &Snapshot| snapshot.rules.rules.iter().map(|rule| rule.id.clone()).collect::<BTreeSet<_>>();
    assert!(ids(&usual).is_disjoint(&ids(&engine)), "a request is refused in the words of its own generation");
    let [body] = &engine.rules.fault_bodies[..] else { panic!("{:?}", engine.rules.fault_bodies) };
    assert_eq!((body.fault.as_str(), body.body.as_str()), ("missing-credentials", "\"Missing Credentials\""));
    assert_eq!(usual.resources[&ResourceType::Listener], engine.resources[&ResourceType::Listener]);
    assert_ne!(usual.resources[&ResourceType::Listener], envoy.resources[&ResourceType::Listener]);
    for worded in [engine, envoy] {
        assert_eq!(usual.resources[&ResourceType::Cluster], worded.resources[&ResourceType::Cluster]);
    }
}

#[test]
fn routes_say_what_they_belong_to_where_requests_are_told_of() {
    let model = model(&[SHOP, NOTES]);
    let mut logging = settings();
    logging.access_log = Some(AccessLog { path: "/dev/stdout".to_owned(), caller: true });
    let told = snapshot(&model, &logging);
    let described = |route: &Route| {
        let metadata = route.metadata.as_ref()?;
        let fields = &metadata.filter_metadata[names::METADATA].fields;
        let text = |name: &str| match fields.get(name)?.kind.as_ref()? {
            Kind::StringValue(text) => Some(text.clone()),
            _ => None,
        };
        Some((text(names::API_KEY), text(names::VERSION_KEY), text(names::RULE_KEY)))
    };
    let mut operations = BTreeSet::new();
    for route in lists(&told).into_values().flatten().filter(|route| route.name.contains("/shop/")) {
        let (api, version, rule) = described(&route).unwrap();
        assert_eq!((api.as_deref(), version.as_deref()), (Some("Shop"), Some("1.0")), "{}", route.name);
        assert_eq!(rule, rule_of(&route));
        operations.insert(route.name);
    }
    assert_eq!(operations.len(), 4, "the public one, too: {operations:?}");
    let silent = snapshot(&model, &settings());
    let routes = lists(&silent).into_values().flatten();
    assert!(routes.filter_map(|route| described(&route)).all(|(api, version, _)| api.is_none() && version.is_none()));
    assert_eq!(told.resources, snapshot(&model, &logging).resources, "equal input, equal bytes");
}

#[test]
fn the_access_log_tells_who_called_only_where_that_is_wanted() {
    let line = |caller: bool| {
        let log = access_log::file(&AccessLog { path: "/dev/stdout".to_owned(), caller }, false, true);
        let Some(LogConfig::TypedConfig(file)) = log.config_type else { panic!("no file") };
        String::from_utf8_lossy(&file.value).into_owned()
    };
    let (with, without) = (line(true), line(false));
    for name in ["operation", "api", "version", "reason", "key_type"] {
        assert!(with.contains(name) && without.contains(name), "{name}");
    }
    for name in ["caller", "client_id", "key_id"] {
        assert!(with.contains(name) && !without.contains(name), "{name}");
    }
    assert!(
        with.contains("%COALESCE") && !with.contains("%REQ(:PATH)%") && !with.contains("WQ") && !with.contains("QUERY"),
        "a query may hold a key"
    );
}

fn tracing(url: &str, protocol: Protocol) -> Tracing {
    let header = SecretHeader { name: "authorization".to_owned(), value: "Bearer sesame".to_owned() };
    Tracing {
        collector: crate::url::parse(url).unwrap(),
        protocol,
        headers: vec![header],
        sampling: 2500,
        trust_clients: false,
        service_name: "shop".to_owned(),
    }
}

#[test]
fn the_collector_is_reached_and_its_secrets_are_secrets() {
    let model = model(&[NOTES]);
    let traced = |url: &str, protocol| Settings { tracing: Some(tracing(url, protocol)), ..settings() };
    for (url, protocol, tls) in [
        ("http://10.0.0.9:4317", Protocol::Grpc, false),
        ("https://otel.example.com", Protocol::Grpc, true),
        ("https://[::1]:4318/otlp", Protocol::Http, true),
    ] {
        let settings = traced(url, protocol);
        let assembled = snapshot(&model, &settings);
        assert_eq!(assembled.resources, snapshot(&model, &settings).resources);
        let secrets = &assembled.resources[&ResourceType::Secret];
        assert!(secrets.contains_key("collector-header-0"));
        assert_eq!(secrets.contains_key(names::BACKEND_TRUST_SECRET), tls, "{url}");
        for (kind, named) in &assembled.resources {
            for (name, resource) in named.iter().filter(|_| *kind != ResourceType::Secret) {
                assert!(!String::from_utf8_lossy(&resource.body).contains("sesame"), "{name}");
                for (kind, target) in &*resource.references {
                    let exists = assembled.resources[kind].contains_key(target);
                    assert!(exists || names::STATIC_CLUSTERS.contains(&&**target), "{name} refers to {target}");
                }
            }
        }
        let mut other = settings.clone();
        other.tracing.as_mut().unwrap().headers[0].value = "Bearer another".to_owned();
        let other = snapshot(&model, &other);
        assert_eq!(assembled.generation, other.generation);
        assert_ne!(assembled.resources[&ResourceType::Secret], other.resources[&ResourceType::Secret]);
        assert!(!format!("{settings:?}").contains("sesame"));
    }
    let untraced = snapshot(&model, &settings());
    assert!(!untraced.resources[&ResourceType::Cluster].contains_key(names::COLLECTOR_CLUSTER));
    let url = "https://[::1]:4318/otlp";
    assert_eq!(tracing(url, Protocol::Http).traces_url(), format!("{url}/v1/traces"));
}

#[test]
fn clients_cannot_choose_a_trace_unless_they_are_trusted() {
    let forbidden = |trust: Option<bool>| {
        let mut settings = settings();
        settings.tracing =
            trust.map(|trust_clients| Tracing { trust_clients, ..tracing("http://10.0.0.9:4317", Protocol::Grpc) });
        let listener = resource(&snapshot(&model(&[NOTES]), &settings), ResourceType::Listener, names::HTTP_LISTENER);
        let text = String::from_utf8_lossy(&listener.body).into_owned();
        ["|traceparent|tracestate", "|x[-_]client[-_]trace[-_]id|x[-_]envoy[-_]force[-_]trace"]
            .map(|name| text.contains(name))
    };
    assert_eq!(forbidden(None), [false, false]);
    assert_eq!(forbidden(Some(true)), [false, true]);
    assert_eq!(forbidden(Some(false)), [true, true]);
}

#[test]
fn listeners_depend_on_settings_alone() {
    let one = snapshot(&model(&[SHOP]), &settings());
    let two = snapshot(&model(&[SHOP, NOTES]), &settings());
    assert_eq!(one.resources[&ResourceType::Listener], two.resources[&ResourceType::Listener]);
    let mut other = settings();
    other.credentials.strip.push("x-user".to_owned());
    let other = snapshot(&model(&[SHOP]), &other);
    assert_ne!(one.resources[&ResourceType::Listener], other.resources[&ResourceType::Listener]);
}

#[test]
fn the_generation_covers_settings_but_no_secret() {
    let model = model(&[SHOP]);
    let first = snapshot(&model, &settings());
    let mut rotated = settings();
    rotated.listeners.identity.private_key = "another".to_owned();
    let rotated = snapshot(&model, &rotated);
    assert_eq!(first.generation, rotated.generation);
    let secret = |snapshot| resource(snapshot, ResourceType::Secret, names::IDENTITY_SECRET).version;
    assert_ne!(secret(&first), secret(&rotated));
    let mut changed = settings();
    changed.issuers[0].audiences.push("shop".to_owned());
    let changed = snapshot(&model, &changed);
    assert_ne!(first.generation, changed.generation);
    let ids = |snapshot: &Snapshot| snapshot.rules.rules.iter().map(|rule| rule.id.clone()).collect::<BTreeSet<_>>();
    assert!(ids(&first).is_disjoint(&ids(&changed)), "a rule keeps its id although its issuer changed");
    assert!(!format!("{:?}", settings()).contains("hidden"));
}

#[test]
fn an_api_that_did_not_change_keeps_its_routes_and_rules() {
    let first = snapshot(&model(&[SHOP, NOTES]), &settings());
    let changed = NOTES.replace("/{name}", "/{name}/text");
    let second = snapshot(&model(&[SHOP, &changed]), &settings());
    let content = |snapshot: &Snapshot, api: &str| {
        snapshot.sources.iter().find(|source| source.key.0.starts_with(api)).map(|source| source.content.clone())
    };
    assert_eq!(content(&first, "Shop"), content(&second, "Shop"));
    assert_ne!(content(&first, "Notes"), content(&second, "Notes"));
    assert_eq!(lists(&first)["/shop/"], lists(&second)["/shop/"]);
}

#[test]
fn authorities_are_sent_only_where_a_backend_uses_tls() {
    let with = snapshot(&model(&[SHOP]), &settings());
    let without = snapshot(&model(&[NOTES]), &settings());
    assert!(with.resources[&ResourceType::Secret].contains_key(names::BACKEND_TRUST_SECRET));
    assert!(!without.resources[&ResourceType::Secret].contains_key(names::BACKEND_TRUST_SECRET));
}

#[test]
fn backends_behind_a_proxy_and_what_they_are_shown() {
    let shop = model(&[SHOP]);
    let names =
        |snapshot: &Snapshot, kind| snapshot.resources[&kind].keys().map(ToString::to_string).collect::<Vec<_>>();
    let has = |snapshot: &Snapshot, kind, name: &str| names(snapshot, kind).contains(&name.to_owned());
    let direct = snapshot(&shop, &settings());
    assert!(!has(&direct, ResourceType::Listener, names::PROXY_LISTENER));
    assert!(!has(&direct, ResourceType::Secret, names::BACKEND_IDENTITY_SECRET));

    let mut settings = settings();
    settings.backends.proxy = Some(Proxy { host: "proxy".to_owned(), port: 3128, login: None });
    settings.backends.identity = Some(settings.listeners.identity.clone());
    let tunnelled = snapshot(&shop, &settings);
    assert!(has(&tunnelled, ResourceType::Listener, names::PROXY_LISTENER));
    assert!(has(&tunnelled, ResourceType::Cluster, names::PROXY_CLUSTER));
    assert!(has(&tunnelled, ResourceType::Secret, names::BACKEND_IDENTITY_SECRET));
    assert_ne!(direct.generation, tunnelled.generation);
    for name in [names::HTTP_LISTENER, names::HTTPS_LISTENER] {
        let of = |snapshot| resource(snapshot, ResourceType::Listener, name).version;
        assert_eq!(of(&direct), of(&tunnelled), "what clients meet is the same");
    }
    let cluster = tunnelled.resources[&ResourceType::Cluster].values().find(|cluster| cluster.references.len() == 3);
    let references = &cluster.expect("the one over TLS").references;
    assert!(references.contains(&(ResourceType::Listener, names::PROXY_LISTENER.into())), "{references:?}");

    // Who trusts everybody needs no authorities.
    settings.backends.verification = Verification::Nothing;
    assert!(!has(&snapshot(&shop, &settings), ResourceType::Secret, names::BACKEND_TRUST_SECRET));
}

#[test]
fn what_cannot_pass_a_proxy_is_a_conflict() {
    let mut behind = settings();
    behind.backends.proxy = Some(Proxy { host: "proxy".to_owned(), port: 3128, login: None });
    let shop = |endpoints: &str| {
        model(&[&format!(
            r#"{{"openapi": "3.0.3", "info": {{"title": "Shop", "version": "1.0"}}, "servers": [{{"url": "https://shop.example.com/shop"}}],
                "x-wso2-production-endpoints": {endpoints}, "paths": {{"/items": {{"get": {{}}}}}}}}"#
        )])
    };
    let checked = r#""advanceEndpointConfig": {"healthCheck": {"path": "/health"}}"#;
    for (endpoints, conflict) in [
        (r#"{"urls": ["https://a.example"]}"#.to_owned(), None),
        (format!(r#"{{"urls": ["https://a.example"], {checked}}}"#), Some("has a health check")),
        (format!(r#"{{"urls": ["http://127.0.0.1:8080"], {checked}}}"#), None),
        (r#"{"urls": ["http://localhost:1", "http://a.example:1"]}"#.to_owned(), Some("on this host and elsewhere")),
        (r#"{"urls": ["http://[::ffff:127.0.0.1]:1", "http://localhost:1", "http://[::1]:1"]}"#.to_owned(), None),
        (
            r#"{"urls": ["http://[::ffff:127.0.0.1]:1", "http://a.example:1"]}"#.to_owned(),
            Some("on this host and elsewhere"),
        ),
    ] {
        let model = shop(&endpoints);
        let found = super::conflict(&model, &behind);
        assert!(
            found.as_deref().is_some_and(|found| conflict.is_some_and(|part| found.contains(part)))
                || found.is_none() && conflict.is_none(),
            "{endpoints}: {found:?}"
        );
        assert_eq!(super::conflict(&model, &settings()), None);
    }
}

#[test]
fn an_api_in_fallback_has_its_old_content_or_none() {
    let (old, settings) = (model(&[&SHOP.replace("/items/{id}", "/things/{id}")]), settings());
    let new = model(&[SHOP, NOTES]);
    let in_fallback = |name: &str, fallback| Fallbacks::from([(ApiKey(name.into()), fallback)]);
    let assembled = |fallbacks: &Fallbacks| {
        let input = Input { model: &new, artifact: "b", settings: &settings, fallbacks, previous: Some((&old, "a")) };
        assemble(input)
    };
    let whole = assembled(&Fallbacks::new());
    let previous = assembled(&in_fallback("Shop:1.0", Fallback::Previous));
    let paths = |snapshot: &Snapshot, prefix: &str| {
        lists(snapshot).get(prefix).map(|routes| routes.iter().map(describe).collect::<Vec<_>>().join("\n"))
    };
    let shop = paths(&previous, "/shop/").unwrap();
    assert!(shop.contains("/shop/things/[^/;]+") && !shop.contains("/shop/items/[^/;]+"), "{shop}");
    assert_eq!(paths(&previous, "/notes/"), paths(&whole, "/notes/"));
    assert_ne!(previous.generation, whole.generation);
    assert_eq!(previous.resources[&ResourceType::Cluster], whole.resources[&ResourceType::Cluster]);

    let unavailable = assembled(&in_fallback("Notes:2", Fallback::Unavailable));
    let notes = paths(&unavailable, "/notes/").unwrap();
    assert!(notes.contains("-> 503") && !notes.contains("guarded"), "{notes}");
    assert!(unavailable.rules.apis.iter().all(|api| api.name != "Notes"));
    assert_eq!(paths(&unavailable, "/shop/"), paths(&whole, "/shop/"));
}

#[test]
fn an_api_in_fallback_does_not_come_back_where_another_has_moved_in() {
    let (old, settings) = (model(&[SHOP]), settings());
    let moved = SHOP.replace("\"/shop\"", "\"/store\"");
    let heir = NOTES.replace("\"/notes\"", "\"/shop\"");
    let new = model(&[&moved, &heir]);
    let fallbacks = Fallbacks::from([(ApiKey("Shop:1.0".into()), Fallback::Previous)]);
    let input =
        Input { model: &new, artifact: "b", settings: &settings, fallbacks: &fallbacks, previous: Some((&old, "a")) };
    let assembled = assemble(input);
    assert_eq!(lists(&assembled)["/shop/"], lists(&snapshot(&new, &settings))["/shop/"]);
    assert!(lists(&assembled)["/store/"].iter().map(describe).all(|route| route.contains("-> 503")));
    // It is kept as what was live last: there it must be whole.
    let kept = crate::artifact::encode(&substitute(&new, &fallbacks, Some(&old)));
    assert!(crate::artifact::decode(&kept).is_ok());
}

fn with_endpoints() -> Settings {
    let key_manager = crate::url::parse("https://km.example:9443/oauth2").unwrap();
    let oauth = Some(OAuthEndpoints { key_manager, port: Some(9096) });
    Settings { oauth, public_url: Some("https://api.example".to_owned()), ..settings() }
}

#[test]
fn the_token_listener_knows_no_api() {
    let assembled = |definitions: &[&str], settings: &Settings| {
        let model = model(definitions);
        let fallbacks = Fallbacks::new();
        assemble(Input { model: &model, artifact: "a", settings, fallbacks: &fallbacks, previous: None })
    };
    let settings = with_endpoints();
    let (one, other) = (assembled(&[NOTES], &settings), assembled(&[SHOP, NOTES], &settings));
    let listeners = |snapshot: &Snapshot| snapshot.resources[&ResourceType::Listener].clone();
    assert_eq!(listeners(&one).len(), 3);
    for (name, listener) in listeners(&one) {
        assert_eq!(listener.body, listeners(&other)[&name].body, "{name}");
    }
    let token = &listeners(&one)[names::TOKEN_LISTENER];
    assert!(!token.references.iter().any(|(kind, _)| *kind == ResourceType::Route), "{:?}", token.references);
    assert!(one.resources[&ResourceType::Cluster].contains_key(names::KEY_MANAGER_CLUSTER));
    let plain = assembled(&[NOTES], &super::tests::settings());
    assert_eq!(listeners(&plain).len(), 2);
    assert!(!plain.resources[&ResourceType::Cluster].contains_key(names::KEY_MANAGER_CLUSTER));
}

#[test]
fn paths_of_the_gateway_are_no_apis() {
    let conflict = |base: &str, path: &str, settings: &Settings| {
        let definition = NOTES.replace("\"/notes\"", &format!("{base:?}")).replace("/{name}", path);
        super::conflict(&model(&[&definition]), settings)
    };
    let settings = with_endpoints();
    for (base, path) in [("/", "/token"), ("/token", "/x"), ("/.well-known", "/oauth-protected-resource/a")] {
        assert!(conflict(base, path, &settings).is_some(), "{base} {path}");
        assert_eq!(conflict(base, path, &super::tests::settings()), None);
    }
    for (base, path) in [("/", "/x"), ("/a", "/token"), ("/token/x", "/y"), ("/.well-known", "/openid")] {
        assert_eq!(conflict(base, path, &settings), None, "{base} {path}");
    }
}

#[test]
fn limits_that_these_settings_cannot_count_are_refused() {
    use microgw_proto::limits::v1::{Group, Limit, Policy, Sharing, limit::Unit, sharing::Mode};
    let policy = |mode: Mode, unit: Unit| Policy {
        name: "Gold".to_owned(),
        limits: vec![Limit::default()],
        groups: vec![Group { limits: vec![Limit { unit: unit.into(), ..Limit::default() }], ..Group::default() }],
        sharing: Some(Sharing { mode: mode.into(), ..Sharing::default() }),
        ..Policy::default()
    };
    let refused = |policy: Policy, limits: LimitSettings| {
        let settings = Settings { limits, ..settings() };
        let mut by_tier = Model { limits: vec![policy.clone()], ..Model::default() };
        let first = super::conflict(&by_tier, &settings);
        by_tier.limits.clear();
        by_tier.tiers.applications.push(policy);
        assert_eq!(super::conflict(&by_tier, &settings), first);
        first
    };
    let none = LimitSettings::default();
    assert_eq!(refused(policy(Mode::Local, Unit::Requests), none), None);
    for mode in [Mode::Leased, Mode::Exact] {
        assert!(refused(policy(mode, Unit::Requests), none).unwrap().contains("`throttlingConfig.redis.url`"));
        assert_eq!(refused(policy(mode, Unit::Requests), LimitSettings { shared_store: true, ..none }), None);
    }
    let hint = refused(policy(Mode::Local, Unit::Bytes), none).unwrap();
    assert!(hint.contains("`Gold`") && hint.contains("`throttlingConfig.bandwidth = true`"), "{hint}");
    assert_eq!(refused(policy(Mode::Local, Unit::Bytes), LimitSettings { bandwidth: true, ..none }), None);
}
