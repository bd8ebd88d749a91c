//! From values to what they mean together.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use microgw_compiler::{names, settings};
use microgw_envoy::{LogLevel, Overload};

use super::diagnostic::{Code, ConfigDiagnostic, Origin};
use super::keys::quoted;
use super::users::{HashKind, Secret, User, hash_kind, is_well_known};
use super::values::Values;
use super::{
    ApiKeyIssuer, Config, Envoy, Gateway, GrantedApi, TokenCache, api_keys as key_stores, backend_jwt, backends,
    compression, discovery, dpop, endpoints, interceptors, issuers, key_manager, limits, listeners, mutual_tls, redis,
    remote, revocation, server, shared_limits, subscriptions, telemetry, tls, tls_profiles,
};

/// Seconds, as [`settings::Issuer`] counts, of clock skew in the old single `[jwtTokenConfig]`.
const SINGLE_ISSUER_SKEW: u32 = 60;

/// `None` if a problem leaves nothing to go on with.
pub fn resolve(
    values: &Values,
    single_issuer: bool,
    data_dir: &Path,
    problems: &mut Vec<ConfigDiagnostic>,
) -> Option<Config> {
    let skew_seconds = values.number::<u32>("server.timestampSkew") / 1000;
    let old_skew = single_issuer && !values.is_given("server.timestampSkew");
    let trust = tls::trust(values, problems);
    let issuer_skew = if old_skew { SINGLE_ISSUER_SKEW } else { skew_seconds };
    let issuers = issuers::read(values, issuer_skew, &trust, problems);
    let listeners = listeners::read(values, problems);
    let admin = address(values, "adminConfig.address", problems);
    let credentials = credentials(values, problems);
    let taken = credentials.iter().flat_map(|own| own.strip.iter().chain([&own.header])).cloned().collect::<Vec<_>>();
    let identity_headers = backend_jwt::identity_headers(values, &taken, problems);
    let mut credentials = credentials?;
    let assertion = credentials.strip.first().cloned().unwrap_or_default();
    credentials.strip.extend(identity_headers.iter().map(|header| header.name.clone()));
    let users = users(values, problems);
    let remote = remote::read(values, problems);
    let exposed = [
        listeners.as_ref().map(|listeners| listeners.host),
        admin.map(|admin| admin.ip()),
        remote.as_ref().and_then(|remote| remote.host),
    ];
    if exposed.iter().flatten().any(|address| !address.is_loopback()) {
        no_well_known_passwords(values, &users, problems);
    }
    let file = "b7a.config.file";
    if let Origin::File { .. } = values.origin(file) {
        let message =
            format!("`{file}` in a file of settings comes too late: give it on the command line, or use `--config`");
        problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(file), message));
    }
    let (api_keys, api_key_issuer) = api_keys(values, skew_seconds, problems);
    distinct_issuers(values, &issuers, problems);
    let gateway = Gateway {
        data_dir: values.path("gateway.dataDir").unwrap_or_else(|| data_dir.to_owned()),
        socket_dir: values.path("gateway.socketDir"),
        publish_timeout: milliseconds(values, "gateway.publishTimeout"),
        trusted_hops: values.number("gateway.trustedHops"),
        probe: probes(values, problems),
    };
    let redis = redis::read(values, problems);
    let (endpoints, endpoint_secrets) = endpoints::read(values, problems);
    Some(Config {
        endpoints,
        endpoint_secrets,
        listeners: listeners?,
        credentials,
        issuers,
        revocation: revocation::read(values, problems),
        introspection: key_manager::introspection(values, skew_seconds, problems),
        dpop: dpop::read(values, skew_seconds),
        proofs: values.number("dpopConfig.replayCapacity"),
        oauth: key_manager::endpoints(values, problems),
        public_url: key_manager::public_url(values, problems),
        subscriptions: subscriptions::read(values, problems),
        discovery: discovery::read(values, problems),
        limits: limits::read(values),
        bodies: settings::Bodies {
            max_request: values.number("bodyConfig.maxRequestSize"),
            max_response: values.number("bodyConfig.maxResponseSize"),
        },
        validation: validation(values),
        compression: compression::read(values, problems),
        api_keys,
        backend_jwt: backend_jwt::read(values, &assertion, problems),
        identity_headers,
        api_key_issuer,
        api_key_file: tls::signing_key(values, problems),
        api_key_verifier: tls::verifying_key(values, &trust, problems),
        key_store: key_stores::store(values, problems),
        key_store_stale_after: key_stores::stale_after(values),
        client_certificates: mutual_tls::read(values, &trust, problems),
        tls_profiles: tls_profiles::read(values, &trust, problems),
        trust,
        backends: backends::backends(values, problems),
        backend_identity: backends::identity(values, problems),
        services_proxy: backends::services_proxy(values, problems),
        headers: server::headers(values, problems),
        insecure: Vec::new(),
        users,
        token_cache: values.bool("caching.enabled").then(|| TokenCache {
            expiry: milliseconds(values, "caching.tokenCacheExpiryTime"),
            capacity: values.number("caching.tokenCacheCapacity"),
        }),
        body_room: values.number("bodyConfig.maxMemoryBytes"),
        response_cache: values.number("caching.maxResponseBytes"),
        response_wait: milliseconds(values, "caching.maxResponseWait"),
        admin: admin?,
        envoy: envoy(values),
        gateway,
        shared_limits: shared_limits::read(values, redis.as_ref(), problems),
        redis,
        interceptors: interceptors::read(values, problems),
        remote: remote?,
        log_level: telemetry::log_level(values),
        log_format: telemetry::log_format(values),
        access_log: telemetry::access_log(values, problems),
        tracing: telemetry::tracing(values, problems),
    })
}

/// One to listen on.
pub fn ip_address(values: &Values, path: &str, problems: &mut Vec<ConfigDiagnostic>) -> Option<IpAddr> {
    let text = values.text(path);
    if text == "localhost" {
        return Some(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let host = text.trim_start_matches('[').trim_end_matches(']').parse().ok();
    if host.is_none() {
        let message = format!("`{path}` is `{text}`, and must be an IP address or `localhost`");
        problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(path), message));
    }
    host
}

fn address(values: &Values, path: &str, problems: &mut Vec<ConfigDiagnostic>) -> Option<SocketAddr> {
    let text = values.text(path);
    let address = text.replace("localhost:", "127.0.0.1:").parse().ok();
    if address.is_none() {
        let message = format!("`{path}` is `{text}`, and must be an IP address and a port, as in `127.0.0.1:9000`");
        problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(path), message));
    }
    address
}

fn credentials(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Option<settings::Credentials> {
    let authorization = header(values, "authConfig.authorizationHeader", problems);
    let identity = header(values, "jwtConfig.header", problems);
    let (header, strip) = (authorization?, identity?);
    if header == strip {
        let message = format!("`authConfig.authorizationHeader` is `{header}` too, which is removed from requests");
        problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin("jwtConfig.header"), message));
    }
    let remove = values.bool("authConfig.removeAuthHeaderFromOutMessage");
    Some(settings::Credentials { header, remove, strip: vec![strip] })
}

/// A header's name in lower case, and none that the proxy itself goes by.
pub fn header(values: &Values, path: &str, problems: &mut Vec<ConfigDiagnostic>) -> Option<String> {
    let name = names::credential_header(&values.text(path));
    if name.is_err() {
        let message = format!("`{path}` must be the name of a header that requests are free to carry");
        problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(path), message));
    }
    name.ok()
}

fn users(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Vec<User> {
    let mut users = Vec::new();
    for section in values.names("b7a.users") {
        let path = format!("b7a.users.{section}.password");
        let (origin, name) = (values.section_origin(&format!("b7a.users.{section}")), section.trim_matches('"'));
        if values.is_wrong(&path) {
            continue;
        }
        let password = values.text(&path);
        // A colon ends the name in Basic authentication (RFC 7617 section 2).
        if name.contains(':') || name.chars().any(char::is_control) {
            let message = format!("user {name:?} has a colon or a control character in its name");
            problems.push(ConfigDiagnostic::error(Code::BadValue, &origin, message));
        }
        let Some(kind) = hash_kind(&password) else {
            let message = format!("`{path}` is not the hash of a password");
            let help = "`micro-gw hash-password` makes one; argon2 in PHC form, bcrypt, SHA-1 in lower-case hex, `@sha256:{hex}` and `@sha512:{hex}` are known";
            problems.push(ConfigDiagnostic::error(Code::BadValue, &origin, message).help(help));
            continue;
        };
        if let HashKind::Fast(algorithm) = kind {
            let message = format!(
                "`{path}` is a hash by {algorithm}, which is fast and has no salt: passwords are guessed by it"
            );
            let help = "make an argon2 hash of the password with `micro-gw hash-password`";
            problems.push(ConfigDiagnostic::warning(Code::Insecure, &origin, message).help(help));
        }
        let scopes = values.list(&format!("b7a.users.{section}.scopes"));
        users.push(User { name: name.to_owned(), password: Secret::new(password), scopes });
    }
    users
}

/// Old files carry the shipped `admin`/`admin` along.
fn no_well_known_passwords(values: &Values, users: &[User], problems: &mut Vec<ConfigDiagnostic>) {
    for user in users.iter().filter(|user| is_well_known(user.password.expose())) {
        let path = format!("b7a.users.{}.password", quoted(&user.name));
        let message = format!("`{path}` is one that everybody knows, and the gateway listens beyond this host");
        let help = "choose another, or listen on `127.0.0.1` only";
        problems.push(ConfigDiagnostic::error(Code::Insecure, &values.origin(&path), message).help(help));
    }
}

fn api_keys(
    values: &Values,
    skew_seconds: u32,
    problems: &mut Vec<ConfigDiagnostic>,
) -> (settings::ApiKeys, Option<ApiKeyIssuer>) {
    let validity_path = "apikey.issuer.tokenConfig.validityTime";
    let validity = match values.integer(validity_path) {
        0 => {
            let message = format!("`{validity_path}` is 0: every key would be born expired");
            problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(validity_path), message));
            None
        }
        seconds => u64::try_from(seconds).ok().map(Duration::from_secs),
    };
    let accepted = settings::ApiKeys {
        issuer: values.text("apikey.tokenConfigs.issuer"),
        skew_seconds,
        allow_unlimited: values.integer(validity_path) == -1,
        require_allowed_apis: values.bool("apikey.tokenConfigs.validateAllowedAPIs"),
    };
    let issued = ApiKeyIssuer {
        issuer: values.text("apikey.issuer.tokenConfig.issuer"),
        validity,
        apis: granted(values, problems),
    };
    let enabled = values.bool("apikey.issuer.tokenConfig.enabled");
    if enabled && issued.issuer != accepted.issuer {
        let origin = values.origin("apikey.issuer.tokenConfig.issuer").max(values.origin("apikey.tokenConfigs.issuer"));
        let message = "`apikey.issuer.tokenConfig.issuer` is not `apikey.tokenConfigs.issuer`: this gateway does not accept the keys that it makes";
        problems.push(ConfigDiagnostic::warning(Code::Conflict, &origin, message));
    }
    (accepted, enabled.then_some(issued))
}

fn granted(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Vec<GrantedApi> {
    let mut granted = Vec::new();
    for entry in values.entries("apikey.issuer.api") {
        let name = values.text(&format!("{entry}.name"));
        let versions = values.list(&format!("{entry}.versions"));
        // An entry left out could leave none, and none stands for all.
        if name.is_empty() || versions.is_empty() {
            let message = format!("`{entry}` must have a `name`, and `versions` that are not empty");
            problems.push(ConfigDiagnostic::error(Code::BadValue, &values.section_origin(&entry), message));
        }
        granted.push(GrantedApi { name, versions });
    }
    granted
}

/// An API key is no access token, nor the reverse: their issuers tell them apart.
fn distinct_issuers(values: &Values, issuers: &[issuers::Issuer], problems: &mut Vec<ConfigDiagnostic>) {
    for path in ["apikey.tokenConfigs.issuer", "apikey.issuer.tokenConfig.issuer"] {
        let name = values.text(path);
        let shared = issuers.iter().any(|issuer| issuer.settings.issuer == name);
        let reason = match () {
            () if name.is_empty() => "must not be empty",
            () if shared => "is an issuer of `[[jwtTokenConfig]]` too: API keys need one of their own",
            () => continue,
        };
        problems.push(ConfigDiagnostic::error(Code::Conflict, &values.origin(path), format!("`{path}` {reason}")));
    }
}

fn envoy(values: &Values) -> Envoy {
    let heap = values.number::<u64>("envoyConfig.maxHeapSize");
    Envoy {
        path: values.path("envoyConfig.path"),
        concurrency: NonZeroU32::new(values.number("envoyConfig.concurrency")),
        log_level: values.text("envoyConfig.logLevel").parse::<LogLevel>().unwrap_or_default(),
        overload: Overload {
            max_connections: values.number("envoyConfig.maxConnections"),
            max_heap: (heap > 0).then_some(heap),
        },
        drain: milliseconds(values, "envoyConfig.drainTimeout"),
    }
}

fn probes(values: &Values, problems: &mut Vec<ConfigDiagnostic>) -> Vec<String> {
    let path = "gateway.probe";
    let probes = values.list(path);
    for probe in &probes {
        let scheme = reqwest::Url::parse(probe).ok().map(|url| url.scheme().to_owned());
        if !matches!(scheme.as_deref(), Some("http" | "https")) {
            let message = format!("`{path}` has `{probe}` in it, which is no `http:` or `https:` URL");
            problems.push(ConfigDiagnostic::error(Code::BadValue, &values.origin(path), message));
        }
    }
    probes
}

fn milliseconds(values: &Values, path: &str) -> Duration {
    Duration::from_millis(values.number(path))
}

/// What becomes of messages where definitions do not say it.
fn validation(values: &Values) -> settings::Validation {
    use microgw_proto::contracts::v1::Mode;
    let mode = if values.text("validationConfig.mode") == "report" { Mode::Report } else { Mode::Enforce };
    let of = |key: &str| if values.bool(key) { mode } else { Mode::Off };
    settings::Validation {
        request: of("validationConfig.enableRequestValidation"),
        response: of("validationConfig.enableResponseValidation"),
    }
}
