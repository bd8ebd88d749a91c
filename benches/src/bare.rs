//! What the gateway is compared with: the very listener and routes that it offers, without its filter, served by an Envoy
//! alone from files; and a plain proxy with nothing but a route.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::{ConfigSource, PathConfigSource};
use envoy_types::pb::envoy::config::listener::v3::{Listener, filter};
use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, RouteList};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryResponse;
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::xds::r#type::matcher::v3::Matcher;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_tree::TreeType;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::on_match::OnMatch as Then;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::{MatcherType, OnMatch};
use microgw_compiler::artifact;
use microgw_compiler::assemble::{Input, assemble, names};
use microgw_compiler::settings::{
    AccessLog, ApiKeys, Backends, Balanced, Bodies, ClientCertificates, Connections, Credentials, Dpop, LimitSettings,
    Listeners, Secrets, ServerHeader, Settings, TlsIdentity, TlsRange, Validation,
};
use microgw_compiler::snapshot::{Fallbacks, ResourceType};
use microgw_envoy::{Bootstrap, SocketPaths};
use prost::Message as _;
use serde_json::{Value, json};

use crate::Bench;
use crate::gateway::free_port;
use crate::process::Process;

/// Of the gateway, too: lines are made and written, and no disk is measured.
pub const ACCESS_LOG: &str = "/dev/null";

/// An Envoy without a gateway.
pub struct Bare {
    process: Process,
    pub http: SocketAddr,
}

/// A configuration in a directory of its own, to start Envoys with.
pub struct Configuration {
    file: PathBuf,
    log: PathBuf,
    http: SocketAddr,
}

// === impl Configuration ===

impl Configuration {
    /// The gateway's own for `artifact`, without the filter that asks the service.
    pub fn without_filter(artifact: &Path, directory: &Path) -> io::Result<Configuration> {
        fs::create_dir_all(directory)?;
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let bytes = fs::read(artifact)?;
        let model = artifact::decode(&bytes).map_err(io::Error::other)?;
        let snapshot = assemble(Input {
            model: &model,
            artifact: &artifact::id(&bytes),
            settings: &settings(http.port()),
            fallbacks: &Fallbacks::new(),
            previous: None,
        });
        let body = |kind: ResourceType, name: &str| {
            let resource = snapshot.resources.get(&kind).and_then(|named| named.get(name));
            resource.map(|resource| &*resource.body).ok_or_else(|| io::Error::other(format!("no {kind:?} `{name}`")))
        };
        let routes = directory.join("routes.pb");
        let listener = without_authz(body(ResourceType::Listener, names::HTTP_LISTENER)?, &routes)?;
        let table = without_overrides(body(ResourceType::Route, names::GATEWAY)?)?;
        let clusters = snapshot.resources.get(&ResourceType::Cluster);
        let clusters = clusters.into_iter().flat_map(|named| named.values()).map(|cluster| cluster.body.to_vec());
        offer(&routes, ResourceType::Route, vec![table])?;
        offer(&directory.join("listeners.pb"), ResourceType::Listener, vec![listener])?;
        offer(&directory.join("clusters.pb"), ResourceType::Cluster, clusters.collect())?;
        let source = |file: &str| json!({ "resource_api_version": "V3", "path_config_source": { "path": directory.join(file) } });
        let bootstrap = Bootstrap::local("bare", &model.project, &SocketPaths::within(directory));
        let mut bootstrap: Value = serde_json::from_str(&bootstrap.to_json())?;
        if let Some(fields) = bootstrap.as_object_mut() {
            let sources = json!({ "cds_config": source("clusters.pb"), "lds_config": source("listeners.pb") });
            fields.insert("dynamic_resources".to_owned(), sources);
        }
        Configuration::write(directory, http, &bootstrap)
    }

    /// One listener, one route, one cluster, and nothing else.
    pub fn plain(backend: SocketAddr, directory: &Path) -> io::Result<Configuration> {
        fs::create_dir_all(directory)?;
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let address = |address: SocketAddr| json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } });
        let route = json!({ "match": { "prefix": "/" }, "route": { "cluster": "backend" } });
        let manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "plain",
            "route_config": { "virtual_hosts": [{ "name": "plain", "domains": ["*"], "routes": [route] }] },
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" }
            }]
        });
        let filter = json!({ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager });
        let bootstrap = json!({ "static_resources": {
            "listeners": [{ "address": address(http), "filter_chains": [{ "filters": [filter] }] }],
            "clusters": [{
                "name": "backend",
                "load_assignment": {
                    "cluster_name": "backend",
                    "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address(backend) } }] }]
                }
            }]
        }});
        Configuration::write(directory, http, &bootstrap)
    }

    fn write(directory: &Path, http: SocketAddr, bootstrap: &Value) -> io::Result<Configuration> {
        let file = directory.join("bootstrap.json");
        fs::write(&file, serde_json::to_vec(bootstrap)?)?;
        Ok(Configuration { file, log: directory.join("envoy.log"), http })
    }
}

// === impl Bare ===

impl Bare {
    /// Starts it with the gateway's own arguments, without waiting.
    pub fn start(bench: &Bench, cores: &str, configuration: &Configuration) -> io::Result<Bare> {
        let file = configuration.file.display().to_string();
        let options = ["--concurrency", "1", "--log-level", "warning", "--disable-hot-restart"];
        let arguments = ["--config-path", &file, "--file-flush-interval-msec", "1000"].into_iter().chain(options);
        let process = Process::start(cores, &bench.envoy, arguments, &configuration.log)?;
        Ok(Bare { process, http: configuration.http })
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// The gateway's defaults, as [`crate::gateway::Gateway`] starts it.
fn settings(http_port: u16) -> Settings {
    Settings {
        listeners: Listeners {
            kept_headers: Vec::new(),
            host: Ipv4Addr::LOCALHOST.into(),
            bind: true,
            http_port,
            https_port: 0,
            max_header_size: 8192,
            max_uri_length: Some(4096),
            max_body_size: None,
            trusted_hops: 0,
            http2: true,
            connections: Connections::default(),
            balanced: Balanced::default(),
            https_redirect: None,
            server_header: ServerHeader::default(),
            tls: TlsRange::default(),
            identity: TlsIdentity { certificate_chain: String::new(), private_key: String::new() },
            certificates: Vec::new(),
        },
        credentials: Credentials {
            header: "authorization".to_owned(),
            remove: true,
            strip: vec!["x-jwt-assertion".to_owned()],
        },
        issuers: Vec::new(),
        introspection: None,
        oauth: None,
        public_url: None,
        revocable: false,
        dpop: Dpop::default(),
        backend_jwt: None,
        identity_headers: Vec::new(),
        subscriptions: false,
        api_keys: ApiKeys {
            issuer: String::new(),
            skew_seconds: 5,
            allow_unlimited: false,
            require_allowed_apis: false,
        },
        api_key_issuer: true,
        access_log: Some(AccessLog { path: ACCESS_LOG.to_owned(), caller: true }),
        tracing: None,
        backends: Backends::default(),
        endpoints: Vec::new(),
        secrets: Secrets::default(),
        client_certificates: ClientCertificates::default(),
        user_agent: None,
        limits: LimitSettings::default(),
        bodies: Bodies { max_request: 1 << 20, max_response: 1 << 20 },
        validation: Validation::default(),
        compression: None,
    }
}

fn offer(file: &Path, kind: ResourceType, bodies: Vec<Vec<u8>>) -> io::Result<()> {
    let any = |value| Any { type_url: kind.type_url().to_owned(), value };
    let resources = bodies.into_iter().map(any).collect();
    let response = DiscoveryResponse {
        version_info: "1".to_owned(),
        type_url: kind.type_url().to_owned(),
        resources,
        ..Default::default()
    };
    fs::write(file, response.encode_to_vec())
}

/// The listener without the filter; its routes come from a file.
fn without_authz(listener: &[u8], routes: &Path) -> io::Result<Vec<u8>> {
    let mut listener = Listener::decode(listener)?;
    let filters = listener.filter_chains.iter_mut().flat_map(|chain| &mut chain.filters);
    for filter in filters {
        let Some(filter::ConfigType::TypedConfig(config)) = &mut filter.config_type else { continue };
        let mut manager = HttpConnectionManager::decode(config.value.as_slice())?;
        manager.http_filters.retain(|filter| ![names::EXT_AUTHZ, names::EXT_PROC].contains(&filter.name.as_str()));
        if let Some(RouteSpecifier::Rds(rds)) = &mut manager.route_specifier {
            let path = PathConfigSource { path: routes.display().to_string(), ..Default::default() };
            rds.config_source = Some(ConfigSource {
                config_source_specifier: Some(ConfigSourceSpecifier::PathConfigSource(path)),
                ..rds.config_source.take().unwrap_or_default()
            });
        }
        config.value = manager.encode_to_vec();
    }
    Ok(listener.encode_to_vec())
}

/// The routes, found by the same tree, without their settings for the filter.
fn without_overrides(table: &[u8]) -> io::Result<Vec<u8>> {
    let mut table = RouteConfiguration::decode(table)?;
    for matcher in table.virtual_hosts.iter_mut().filter_map(|host| host.matcher.as_mut()) {
        strip(matcher)?;
    }
    Ok(table.encode_to_vec())
}

fn strip(matcher: &mut Matcher) -> io::Result<()> {
    let branches: Vec<&mut OnMatch> = match &mut matcher.matcher_type {
        Some(MatcherType::MatcherTree(tree)) => match &mut tree.tree_type {
            Some(TreeType::PrefixMatchMap(map) | TreeType::ExactMatchMap(map)) => map.map.values_mut().collect(),
            Some(TreeType::CustomMatch(_)) | None => Vec::new(),
        },
        Some(MatcherType::MatcherList(list)) => {
            list.matchers.iter_mut().filter_map(|matcher| matcher.on_match.as_mut()).collect()
        }
        None => Vec::new(),
    };
    for branch in branches.into_iter().chain(matcher.on_no_match.as_deref_mut()) {
        match &mut branch.on_match {
            Some(Then::Matcher(matcher)) => strip(matcher)?,
            Some(Then::Action(action)) => {
                let Some(config) = &mut action.typed_config else { continue };
                let mut list = RouteList::decode(config.value.as_slice())?;
                list.routes.iter_mut().for_each(|route| route.typed_per_filter_config.clear());
                config.value = list.encode_to_vec();
            }
            None => {}
        }
    }
    Ok(())
}
