//! `micro-gw.conf`: from what was written to what applies.
//!
//! ```text
//! search -> file ┐
//! environment    ├─ layers ── references ── judge by keys ── values ── resolve ── Config
//! command line   ┘
//! ```
//!
//! Problems are collected: one run shows them all.

mod api_keys;
mod backend_jwt;
mod backends;
mod ciphers;
mod claims;
mod compression;
mod diagnostic;
mod discovery;
mod dpop;
mod endpoints;
mod interceptors;
mod issuers;
mod key_manager;
mod keys;
mod layers;
mod limits;
mod listeners;
mod mutual_tls;
mod redis;
mod references;
mod remote;
mod resolve;
mod revocation;
mod search;
mod server;
mod shared_limits;
mod subscriptions;
mod telemetry;
mod tls;
mod tls_profiles;
mod users;
mod values;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use microgw_compiler::settings;
use microgw_envoy::{LogLevel, Overload};
use tracing::level_filters::LevelFilter;

use diagnostic::{Code, Origin};

pub use api_keys::KeyStore;
pub use backend_jwt::BackendJwt;
pub use backends::ServicesProxy;
pub use diagnostic::ConfigDiagnostic;
pub use endpoints::{with_pretended_secrets, with_secrets};
pub use interceptors::Interceptor;
pub use issuers::{Issuer, KeySource};
pub use key_manager::Introspection;
pub use keys::{Danger, Key, Kind, Status, all as keys, of_endpoints as keys_of_endpoints};
pub use limits::Limits;
pub use listeners::{CertificateFiles, Listeners};
pub use mutual_tls::{ApiCertificates, ClientCertificates, Good, Proxies, Request as CertificateRequest};
pub use redis::Redis;
pub use remote::{MutualTls, Remote};
pub use revocation::Revocation;
pub use server::ServerHeaders;
pub use shared_limits::SharedLimits;
pub use subscriptions::{SubscriptionSource, Subscriptions};
pub use telemetry::LogFormat;
pub use tls::{IdentityFiles, KeyEntry, SHIPPED, SigningKeyFile, Store, Trust, VerifyingKey};
pub use tls_profiles::TlsProfile;
pub use users::{Secret, User, Users};

/// Everything that applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub listeners: Listeners,
    pub credentials: settings::Credentials,
    pub issuers: Vec<Issuer>,
    /// `None`: opaque tokens are refused.
    pub introspection: Option<Introspection>,
    /// `None`: the key manager's endpoints are not served.
    pub oauth: Option<settings::OAuthEndpoints>,
    pub public_url: Option<String>,
    /// `None`: nothing can be revoked.
    pub revocation: Option<Revocation>,
    pub dpop: settings::Dpop,
    /// Proofs of possession that are remembered.
    pub proofs: usize,
    /// `None`: what tokens say themselves is all there is.
    pub subscriptions: Option<Subscriptions>,
    /// Who knows where backends are.
    pub discovery: microgw_discovery::Settings,
    pub limits: Limits,
    pub bodies: settings::Bodies,
    pub validation: settings::Validation,
    pub compression: Option<settings::Compression>,
    pub api_keys: settings::ApiKeys,
    /// `None`: backends are sent no JWT of the gateway's own.
    pub backend_jwt: Option<BackendJwt>,
    /// What backends are told of callers in headers of their own.
    pub identity_headers: Vec<settings::IdentityHeader>,
    /// `None`: `/apikey` is not served.
    pub api_key_issuer: Option<ApiKeyIssuer>,
    /// What signs API keys, and verifies them also where none are issued. `None`: the key in `data_dir`.
    pub api_key_file: Option<SigningKeyFile>,
    pub api_key_verifier: Option<VerifyingKey>,
    /// Where opaque API keys are kept. `None`: there are none.
    pub key_store: Option<KeyStore>,
    /// When its keys are not believed any more. `None`: never.
    pub key_store_stale_after: Option<Duration>,
    pub trust: Trust,
    pub client_certificates: ClientCertificates,
    /// Without what is read from files.
    pub backends: settings::Backends,
    /// What is said of endpoints in the place of definitions.
    pub endpoints: Vec<settings::EndpointOverride>,
    /// Passwords for them.
    pub endpoint_secrets: settings::Secrets,
    /// What is presented to backends that ask for it.
    pub backend_identity: Option<IdentityFiles>,
    /// What endpoints can ask for instead.
    pub tls_profiles: Vec<TlsProfile>,
    /// `None`: as the environment says.
    pub services_proxy: Option<ServicesProxy>,
    pub headers: ServerHeaders,
    /// Settings that let more through than they should, in words.
    pub insecure: Vec<String>,
    /// As configured: see [`Config::users`].
    pub users: Vec<User>,
    /// `None`: tokens are verified each time.
    pub token_cache: Option<TokenCache>,
    /// Bytes of responses that are kept.
    /// Bytes of bodies that are collected, of all together.
    pub body_room: usize,
    pub response_cache: usize,
    /// How long a request waits for one that another has brought on its way.
    pub response_wait: Duration,
    pub admin: SocketAddr,
    pub envoy: Envoy,
    pub gateway: Gateway,
    /// `None`: there is none, and nothing that needs one.
    pub redis: Option<Redis>,
    /// Of interceptors that are services, each once.
    pub interceptors: Vec<Interceptor>,
    /// Where limits are counted that gateways share. `None`: nowhere.
    pub shared_limits: Option<SharedLimits>,
    pub remote: Remote,
    pub log_level: LevelFilter,
    pub log_format: LogFormat,
    pub access_log: Option<settings::AccessLog>,
    /// `None`: nothing is traced.
    pub tracing: Option<settings::Tracing>,
}

/// Keys and certificates, as they were read.
#[derive(Clone, Debug)]
pub struct Material {
    pub identity: settings::TlsIdentity,
    /// Of [`Listeners::certificates`].
    pub certificates: Vec<settings::ListedCertificate>,
    pub backend_trust: Option<settings::TrustStore>,
    pub backend_identity: Option<settings::TlsIdentity>,
    /// Of [`Config::tls_profiles`].
    pub tls_profiles: Vec<settings::TlsProfile>,
    pub client_certificates: settings::ClientCertificates,
}

/// What keys from `/apikey` say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyIssuer {
    pub issuer: String,
    /// `None`: without end.
    pub validity: Option<Duration>,
    /// Empty: all APIs.
    pub apis: Vec<GrantedApi>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantedApi {
    pub name: String,
    /// `*` is among them for all versions. Never empty.
    pub versions: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenCache {
    pub expiry: Duration,
    /// Tokens.
    pub capacity: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envoy {
    /// `envoyConfig.path`, which `--envoy` comes before.
    pub path: Option<PathBuf>,
    /// `None`: one worker per core.
    pub concurrency: Option<NonZeroU32>,
    pub log_level: LogLevel,
    pub overload: Overload,
    pub drain: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    pub data_dir: PathBuf,
    pub socket_dir: Option<PathBuf>,
    pub publish_timeout: Duration,
    pub trusted_hops: u32,
    /// URLs.
    pub probe: Vec<String>,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// `--config`.
    pub file: Option<&'a Path>,
    /// The project's directory, where one is known.
    pub project: Option<&'a Path>,
    /// `section.key=value`, with or without leading dashes; the last one counts.
    pub overrides: &'a [String],
    pub allow_unenforced: bool,
}

/// Settings that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// The file that was read. `None`: there was none.
    pub file: Option<PathBuf>,
    pub warnings: Vec<ConfigDiagnostic>,
}

/// Settings that cannot be used: errors first, then warnings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n"))]
pub struct Refused(pub Vec<ConfigDiagnostic>);

/// What [`resolve`] makes settings from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Path, for positions and relative paths, and text.
    pub file: Option<(PathBuf, String)>,
    pub environment: Vec<(String, String)>,
    pub overrides: Vec<String>,
    pub allow_unenforced: bool,
    /// `gateway.dataDir` where none is given.
    pub data_dir: PathBuf,
}

/// As in the old product.
const CONFIG_FILE: &str = "b7a.config.file";

/// Reads the file, the environment of the process and the command line.
pub fn load(request: &Request<'_>) -> Result<Loaded, Refused> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let overridden = request.overrides.iter().rev().find_map(|text| {
        let (path, value) = text.split_once('=')?;
        (path.trim_start_matches("--") == CONFIG_FILE).then(|| PathBuf::from(value))
    });
    let explicit = request.file.map(Path::to_owned).or(overridden);
    let explicit = explicit.or_else(|| variable("b7a_config_file")).or_else(|| variable(CONFIG_FILE));
    let places = search::Places {
        explicit,
        directory: variable("MGW_CONF_DIR"),
        homes: request.project.map(Path::to_owned).into_iter().chain([PathBuf::new()]).collect(),
        system: PathBuf::from("/etc/micro-gw"),
    };
    let file = places.read().map_err(|(file, error)| {
        let message = format!("cannot read `{}`: {error}", file.display());
        Refused(vec![ConfigDiagnostic::error(Code::Unreadable, &Origin::Settings, message)])
    })?;
    let data = variable("XDG_DATA_HOME").or_else(|| Some(variable("HOME")?.join(".local/share")));
    let path = file.as_ref().map(|(path, _)| path.clone());
    let sources = Sources {
        file,
        // What is not UTF-8 names none of our keys.
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        overrides: request.overrides.to_vec(),
        allow_unenforced: request.allow_unenforced,
        data_dir: data.unwrap_or_else(|| PathBuf::from("/var/lib")).join("micro-gw"),
    };
    resolve(&sources).map(|(config, warnings)| Loaded { config, file: path, warnings })
}

/// Pure, but for the files that values refer to.
pub fn resolve(sources: &Sources) -> Result<(Config, Vec<ConfigDiagnostic>), Refused> {
    let mut problems = Vec::new();
    let document = sources.file.as_ref().map(|(file, text)| layers::Document::parse(file, text));
    let (mut layers, single_issuer) = document.map_or_else(Default::default, |document| {
        problems.extend(document.problems);
        (document.layers, document.single_issuer)
    });
    problems.extend(layers::add_environment(&mut layers, &sources.environment));
    problems.extend(layers::add_command_line(&mut layers, &sources.overrides));
    problems.extend(references::resolve(&mut layers, &sources.environment));
    let values = values::judge(&layers, sources.allow_unenforced, &mut problems);
    let config = resolve::resolve(&values, single_issuer, &sources.data_dir, &mut problems);
    problems.sort_by(|a, b| (a.severity, &a.origin).cmp(&(b.severity, &b.origin)));
    // What two parts of the gateway need is wrong for both.
    problems.dedup();
    match config {
        Some(mut config) if !problems.iter().any(ConfigDiagnostic::is_error) => {
            let insecure = problems.iter().filter(|problem| problem.code == Code::Insecure);
            config.insecure = insecure.map(|problem| problem.message.clone()).collect();
            Ok((config, problems))
        }
        _ => Err(Refused(problems)),
    }
}

// === impl Envoy ===

impl Envoy {
    /// Up to which level its lines are shown, whatever is shown of ours. `None`: nobody asked for more than its warnings.
    pub fn shown(&self) -> Option<LevelFilter> {
        match self.log_level {
            LogLevel::Trace => Some(LevelFilter::TRACE),
            LogLevel::Debug => Some(LevelFilter::DEBUG),
            LogLevel::Info => Some(LevelFilter::INFO),
            LogLevel::Warning | LogLevel::Error | LogLevel::Critical | LogLevel::Off => None,
        }
    }
}

// === impl Config ===

impl Config {
    /// The part that enters a snapshot, with what `material` has from files.
    pub fn settings(&self, material: Material) -> settings::Settings {
        settings::Settings {
            listeners: settings::Listeners {
                host: self.listeners.host,
                bind: true,
                http_port: self.listeners.http_port,
                https_port: self.listeners.https_port,
                max_header_size: self.listeners.max_header_size,
                max_uri_length: self.listeners.max_uri_length,
                max_body_size: self.listeners.max_body_size,
                trusted_hops: self.gateway.trusted_hops,
                kept_headers: self.listeners.kept_headers.clone(),
                http2: self.listeners.http2,
                connections: self.listeners.connections.clone(),
                balanced: self.listeners.balanced.clone(),
                https_redirect: self.listeners.https_redirect,
                server_header: self.headers.server.clone(),
                tls: self.listeners.tls.clone(),
                identity: material.identity,
                certificates: material.certificates,
            },
            credentials: self.credentials.clone(),
            issuers: self.issuers.iter().map(|issuer| issuer.settings.clone()).collect(),
            revocable: self.revocation.is_some(),
            oauth: self.oauth.clone(),
            public_url: self.public_url.clone(),
            introspection: self.introspection.as_ref().map(|introspection| introspection.settings.clone()),
            dpop: self.dpop.clone(),
            subscriptions: self.looks_at_subscriptions(),
            api_keys: self.api_keys.clone(),
            backend_jwt: self.backend_jwt.as_ref().map(|jwt| jwt.settings.clone()),
            identity_headers: self.identity_headers.clone(),
            api_key_issuer: self.api_key_issuer.is_some(),
            access_log: self.access_log.clone(),
            tracing: self.tracing.clone(),
            backends: settings::Backends {
                trust: material.backend_trust,
                identity: material.backend_identity,
                profiles: material.tls_profiles,
                ..self.backends.clone()
            },
            endpoints: self.endpoints.clone(),
            secrets: self.endpoint_secrets.clone(),
            client_certificates: material.client_certificates,
            user_agent: self.headers.user_agent.clone(),
            limits: settings::LimitSettings {
                shared_store: self.shared_limits.is_some(),
                headers: self.limits.headers,
                bandwidth: self.limits.bandwidth,
            },
            bodies: self.bodies,
            validation: self.validation,
            compression: self.compression.clone(),
        }
    }

    fn looks_at_subscriptions(&self) -> bool {
        self.subscriptions.is_some()
            || self.issuers.iter().any(|issuer| issuer.settings.validate_subscription)
            || self.introspection.as_ref().is_some_and(|introspection| introspection.settings.validate_subscription)
    }

    /// Who may log in. `generate` makes a password that cannot be guessed; it is asked only if one is needed.
    pub fn users(&self, generate: impl FnOnce() -> String) -> Users {
        let listening: Vec<IpAddr> =
            [self.listeners.host, self.admin.ip()].into_iter().chain(self.remote.host).collect();
        users::or_admin(&self.users, &listening, generate)
    }
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
