//! Names that the snapshot, the bootstrap and the service agree on.

/// The route configuration, its virtual host, and the prefix of statistics.
pub const GATEWAY: &str = "microgw";
/// The route configuration of the HTTP listener where it leads to HTTPS.
pub const REDIRECT: &str = "microgw-redirect";
/// Cluster of the bootstrap: the service that decides.
pub const AUTHZ_CLUSTER: &str = "microgw_authz";
/// Cluster of the bootstrap: the API-key issuer.
pub const ISSUER_CLUSTER: &str = "microgw_issuer";
/// Where the keys of backend JWTs are published, on the HTTPS listener.
pub const JWKS_PATH: &str = "/backend-jwt/jwks.json";
/// The collector of traces, where one is configured.
pub const COLLECTOR_CLUSTER: &str = "microgw_collector";
/// The key manager, where its endpoints are served.
pub const KEY_MANAGER_CLUSTER: &str = "microgw_key_manager";
/// Clusters that a snapshot may refer to and that the bootstrap defines.
pub const STATIC_CLUSTERS: [&str; 2] = [AUTHZ_CLUSTER, ISSUER_CLUSTER];

pub const HTTP_LISTENER: &str = "http";
pub const HTTPS_LISTENER: &str = "https";
/// For the key manager's endpoints alone.
pub const TOKEN_LISTENER: &str = "token";
/// The secret that the HTTPS listener presents.
pub const IDENTITY_SECRET: &str = "gateway-identity";

/// What it presents beside that.
pub fn listed_secret(index: usize) -> String {
    format!("{IDENTITY_SECRET}-{}", index + 1)
}

/// The certificate authorities that clients are told of, where a certificate is required.
pub const CLIENT_AUTHORITIES_SECRET: &str = "client-authorities";
/// The certificate authorities of backends.
pub const BACKEND_TRUST_SECRET: &str = "backend-trust";
/// What is presented to backends.
pub const BACKEND_IDENTITY_SECRET: &str = "backend-identity";

/// Where connections to backends begin that a forward proxy tunnels.
pub const PROXY_LISTENER: &str = "forward-proxy";
pub const PROXY_CLUSTER: &str = "forward-proxy";
/// By which the forward proxy knows the gateway.
pub const PROXY_SECRET: &str = "forward-proxy-login";

/// Waits for whole requests, where settings bound them.
pub const BUFFER: &str = "envoy.filters.http.buffer";
pub const EXT_AUTHZ: &str = "envoy.filters.http.ext_authz";
pub const EXT_PROC: &str = "envoy.filters.http.ext_proc";
/// The metadata of its streams that names the rule.
pub const RULE_METADATA: &str = "microgw-rule";
/// Remembers the path that was asked for, where somebody is told of it: backends may be asked for another one.
pub const SET_FILTER_STATE: &str = "envoy.filters.http.set_filter_state";
/// Under this name.
pub const ASKED_PATH: &str = "microgw.path";
pub const CORS: &str = "envoy.filters.http.cors";
pub const HEADER_MUTATION: &str = "envoy.filters.http.header_mutation";
/// Key of the rule's id in context extensions and in route metadata.
pub const RULE_KEY: &str = "rule";
/// Namespace of route metadata.
pub const METADATA: &str = "microgw";
/// Keys of route metadata that say what a route belongs to.
pub const API_KEY: &str = "api";
pub const VERSION_KEY: &str = "version";
/// Keys of what the service says about a decision, beside ext_authz's answer.
pub const REASON: &str = "reason";
/// What a request will owe to limits of bytes.
pub const OWED: &str = "owed";
/// The policy whose quota is exceeded: it refuses, or lets through and marks.
pub const EXCEEDED: &str = "exceeded";
/// The deny policy that refuses.
pub const DENIED_BY: &str = "denied_by";
pub const CALLER: &str = "caller";
pub const CLIENT_ID: &str = "client_id";
pub const KEY_ID: &str = "key_id";
pub const CERTIFICATE: &str = "certificate";
pub const KEY_TYPE: &str = "key_type";

/// Clients cannot send headers with this prefix: the listener removes them first.
pub const INTERNAL_PREFIX: &str = "x-microgw-";
/// Set by each listener, for routes that belong to one of them.
pub const LISTENER_HEADER: &str = "x-microgw-listener";
pub const HTTP: &str = "http";
pub const HTTPS: &str = "https";
/// Set by the HTTPS listener: the certificates that a client has shown. Never from a client, never to a backend.
pub const CLIENT_CERTIFICATE_HEADER: &str = "x-forwarded-client-cert";
pub const TOKEN: &str = "token";
/// Set by the engine for sandbox callers where an operation has both endpoints.
pub const ENVIRONMENT_HEADER: &str = "x-microgw-environment";
pub const SANDBOX: &str = "sandbox";
/// On `/health` of every listener: the generation that Envoy serves.
pub const GENERATION_HEADER: &str = "x-microgw-generation";
