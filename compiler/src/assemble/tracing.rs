//! Envoy's spans: which requests have one, what it says, and the way to the collector.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType, DnsLookupFamily};
use envoy_types::pb::envoy::config::core::v3::grpc_service::{EnvoyGrpc, TargetSpecifier};
use envoy_types::pb::envoy::config::core::v3::http_uri::HttpUpstreamType;
use envoy_types::pb::envoy::config::core::v3::{
    GrpcService, Http1ProtocolOptions, Http2ProtocolOptions, HttpService, HttpUri, TypedExtensionConfig,
};
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, LocalityLbEndpoints};
use envoy_types::pb::envoy::config::route::v3::Tracing as RouteTracing;
use envoy_types::pb::envoy::config::trace::v3::OpenTelemetryConfig;
use envoy_types::pb::envoy::config::trace::v3::tracing::{Http as Provider, http};
use envoy_types::pb::envoy::extensions::filters::http::credential_injector::v3::CredentialInjector;
use envoy_types::pb::envoy::extensions::filters::http::upstream_codec::v3::UpstreamCodec;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::Tracing;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{HttpFilter, http_filter};
use envoy_types::pb::envoy::extensions::http::injected_credentials::generic::v3::Generic;
use envoy_types::pb::envoy::extensions::tracers::opentelemetry::samplers::v3::{
    ParentBasedSamplerConfig, TraceIdRatioBasedSamplerConfig,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::SdsSecretConfig;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig,
};
use envoy_types::pb::envoy::r#type::tracing::v3::{CustomTag, custom_tag};
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, Percent, fractional_percent::DenominatorType};
use envoy_types::pb::google::protobuf::Any;
use prost::Message as _;

use super::clusters::Called;
use super::wire::{any, number, resource, seconds, yes};
use super::{access_log, ads, clusters, names, secrets, tls};
use crate::settings::{self, Protocol, TlsRange};
use crate::snapshot::{Resource, ResourceType};

/// What the exporter waits for the collector.
const EXPORT_SECONDS: i64 = 10;
/// Spans that wait while the collector is away; more are dropped.
const MAX_WAITING_SPANS: u32 = 2048;

/// For the connection manager of each listener.
pub fn tracing(settings: &settings::Tracing) -> Tracing {
    let provider = Provider {
        name: "envoy.tracers.opentelemetry".to_owned(),
        config_type: Some(http::ConfigType::TypedConfig(any(&exporter(settings)))),
    };
    Tracing {
        provider: Some(provider),
        // A header of the client's would choose.
        client_sampling: Some(Percent { value: 0.0 }),
        // Where clients are trusted the exporter's sampler decides: Envoy's own choice would go over theirs.
        random_sampling: (!settings.trust_clients).then(|| Percent { value: f64::from(settings.sampling) / 100.0 }),
        spawn_upstream_span: yes(),
        operation: "%ROUTE_NAME%".to_owned(),
        // Envoy's own `http.url` has the query in it.
        max_path_tag_length: number(0),
        custom_tags: tags(),
        ..Default::default()
    }
}

/// For routes that nobody wants to see.
pub fn never() -> RouteTracing {
    let none = || Some(FractionalPercent::default());
    RouteTracing { client_sampling: none(), random_sampling: none(), overall_sampling: none(), ..Default::default() }
}

fn tags() -> Vec<CustomTag> {
    let route = |key: &str| format!("%METADATA(ROUTE:{}:{key})%", names::METADATA);
    let decision = |key: &str| format!("%DYNAMIC_METADATA({}:{key})%", names::EXT_AUTHZ);
    [
        ("http.url", access_log::asked_path(":256")),
        ("microgw.operation", "%ROUTE_NAME%".to_owned()),
        ("microgw.api", route(names::API_KEY)),
        ("microgw.version", route(names::VERSION_KEY)),
        ("microgw.reason", decision(names::REASON)),
        ("microgw.exceeded", decision(names::EXCEEDED)),
        ("microgw.denied_by", decision(names::DENIED_BY)),
    ]
    .map(|(tag, value)| CustomTag { tag: tag.to_owned(), r#type: Some(custom_tag::Type::Value(value)) })
    .into()
}

fn exporter(settings: &settings::Tracing) -> OpenTelemetryConfig {
    let exporter = OpenTelemetryConfig {
        service_name: settings.service_name.clone(),
        max_cache_size: number(MAX_WAITING_SPANS),
        sampler: settings.trust_clients.then(|| as_clients_say(settings.sampling)),
        ..Default::default()
    };
    match settings.protocol {
        Protocol::Grpc => {
            let envoy = EnvoyGrpc { cluster_name: names::COLLECTOR_CLUSTER.to_owned(), ..Default::default() };
            let service = GrpcService {
                timeout: seconds(EXPORT_SECONDS),
                target_specifier: Some(TargetSpecifier::EnvoyGrpc(envoy)),
                ..Default::default()
            };
            OpenTelemetryConfig { grpc_service: Some(service), ..exporter }
        }
        Protocol::Http => {
            let uri = HttpUri {
                uri: settings.traces_url(),
                timeout: seconds(EXPORT_SECONDS),
                http_upstream_type: Some(HttpUpstreamType::Cluster(names::COLLECTOR_CLUSTER.to_owned())),
            };
            OpenTelemetryConfig {
                http_service: Some(HttpService { http_uri: Some(uri), ..Default::default() }),
                ..exporter
            }
        }
    }
}

/// A request that belongs to a trace is recorded if that is; of the others, so many.
fn as_clients_say(sampling: u32) -> TypedExtensionConfig {
    let sampler = |name: &str, config: Any| TypedExtensionConfig {
        name: format!("envoy.tracers.opentelemetry.samplers.{name}"),
        typed_config: Some(config),
    };
    let share = FractionalPercent { numerator: sampling, denominator: DenominatorType::TenThousand.into() };
    let ratio = TraceIdRatioBasedSamplerConfig { sampling_percentage: Some(share) };
    let roots = sampler("trace_id_ratio_based", any(&ratio));
    sampler("parent_based", any(&ParentBasedSamplerConfig { wrapped_sampler: Some(roots) }))
}

/// The collector, under [`names::COLLECTOR_CLUSTER`]. Its headers are put in on the way out, from secrets: no listener
/// holds one.
pub fn cluster(settings: &settings::Tracing, range: &TlsRange) -> Resource {
    let collector = &settings.collector;
    let fixed = collector.host.parse::<std::net::IpAddr>().is_ok();
    let kind = if fixed { DiscoveryType::Static } else { DiscoveryType::StrictDns };
    let (protocol, alpn) = match settings.protocol {
        Protocol::Grpc => (ProtocolConfig::Http2ProtocolOptions(Http2ProtocolOptions::default()), "h2"),
        Protocol::Http => (ProtocolConfig::HttpProtocolOptions(Http1ProtocolOptions::default()), "http/1.1"),
    };
    let options = HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(protocol),
        })),
        http_filters: filters(settings),
        ..Default::default()
    };
    let hosts = vec![clusters::host(collector, clusters::tcp(collector.host.clone(), collector.port), Called::AsAll)];
    let cluster = Cluster {
        name: names::COLLECTOR_CLUSTER.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(kind.into())),
        connect_timeout: seconds(5),
        dns_lookup_family: DnsLookupFamily::V4Preferred.into(),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: names::COLLECTOR_CLUSTER.to_owned(),
            endpoints: vec![LocalityLbEndpoints { lb_endpoints: hosts, ..Default::default() }],
            ..Default::default()
        }),
        typed_extension_protocol_options: HashMap::from([(
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned(),
            any(&options),
        )]),
        transport_socket: collector.tls.then(|| tls::to_collector(&collector.host, range, alpn)),
        ..Default::default()
    };
    let trust = collector.tls.then(|| Arc::from(names::BACKEND_TRUST_SECRET));
    let headers = (0..settings.headers.len()).map(|index| secret_name(index).into());
    let references = trust.into_iter().chain(headers).map(|name| (ResourceType::Secret, name));
    resource(cluster.encode_to_vec(), references.collect())
}

/// The values of the headers.
pub fn header_secrets(settings: &settings::Tracing) -> BTreeMap<Arc<str>, Resource> {
    let headers = settings.headers.iter().enumerate();
    headers
        .map(|(index, header)| {
            let name = secret_name(index);
            let secret = secrets::generic(&name, &header.value);
            (name.into(), secret)
        })
        .collect()
}

/// One for each header, and the codec, which must be the last where there is another.
fn filters(settings: &settings::Tracing) -> Vec<HttpFilter> {
    if settings.headers.is_empty() {
        return Vec::new();
    }
    let filter = |name: &str, config: Any| HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    };
    let injector = |(index, header): (usize, &settings::SecretHeader)| {
        let secret = SdsSecretConfig { name: secret_name(index), sds_config: Some(ads()) };
        let generic = Generic { credential: Some(secret), header: header.name.clone(), ..Default::default() };
        let credential = TypedExtensionConfig {
            name: "envoy.http.injected_credentials.generic".to_owned(),
            typed_config: Some(any(&generic)),
        };
        let injector = CredentialInjector { overwrite: true, credential: Some(credential), ..Default::default() };
        filter("envoy.filters.http.credential_injector", any(&injector))
    };
    let codec = filter("envoy.filters.http.upstream_codec", any(&UpstreamCodec {}));
    settings.headers.iter().enumerate().map(injector).chain([codec]).collect()
}

fn secret_name(index: usize) -> String {
    format!("collector-header-{index}")
}
