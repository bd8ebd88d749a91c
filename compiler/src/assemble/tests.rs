use std::fmt::Write as _;
use std::net::Ipv4Addr;

use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::{FilterConfig, Route, RouteConfiguration, RouteList, VirtualHost};
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::ExtAuthzPerRoute;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::ext_authz_per_route::Override;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::on_match::OnMatch as Then;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::{MatcherType, OnMatch, matcher_tree::TreeType};
use prost::{Message as _, Name as _};

use super::*;
use crate::compile::{Options, compile};
use crate::error_template::{ErrorTemplate, Syntax};
use crate::files::MemoryFiles;
use crate::settings::{
    ApiKeys, Backends, Balanced, Bodies, ClientCertificates, Connections, Credentials, Dpop, Issuer, LimitSettings,
    Listeners, OAuthEndpoints, Secrets, ServerHeader, TlsIdentity, TlsRange, TrustStore, Validation,
};
use crate::snapshot::Resource;

pub(super) const SHOP: &str = r#"{
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

pub(super) const NOTES: &str = r#"{
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
pub(super) fn lists(snapshot: &Snapshot) -> BTreeMap<String, Vec<Route>> {
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

pub(super) fn describe(route: &Route) -> String {
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
