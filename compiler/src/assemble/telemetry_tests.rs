//! What is told of requests: access logs, traces and the collector.

use envoy_types::pb::envoy::config::accesslog::v3::access_log::ConfigType as LogConfig;
use envoy_types::pb::envoy::config::route::v3::Route;
use envoy_types::pb::google::protobuf::value::Kind;

use super::tests::{NOTES, SHOP, lists, model, resource, rule_of, settings, snapshot};
use super::*;
use crate::settings::{AccessLog, Protocol, SecretHeader, Tracing};

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
