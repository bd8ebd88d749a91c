//! The settings that enter a snapshot: `micro-gw.conf`, resolved. What only the service needs (key material,
//! passwords, addresses of the admin interface) is not here.

mod backends;
mod client_certificates;
mod compression;
mod endpoints;
mod listeners;

use std::fmt;
use std::net::IpAddr;

use microgw_faults::RateLimitHeaders;
use microgw_proto::contracts::v1::Mode;

use crate::model::BackendUrl;

pub use backends::{Backends, Proxy, TlsProfile, Verification};
pub use client_certificates::{
    AlternativeName, ApiCertificates, CertificateHeader, CertificateRequest, CertificateRule, ClientCertificates,
    Subject,
};
pub use compression::{Algorithm, Compression};
pub use endpoints::{Change, EndpointOverride, Environment, Secrets, Subject as OverrideSubject, password};
pub use listeners::{Balanced, Connections, ListedCertificate};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub listeners: Listeners,
    pub credentials: Credentials,
    /// Accepted OAuth2 issuers, in the order of the configuration.
    pub issuers: Vec<Issuer>,
    /// `None`: opaque tokens are refused.
    pub introspection: Option<Introspection>,
    pub dpop: Dpop,
    /// `None`: the key manager's endpoints are its own affair.
    pub oauth: Option<OAuthEndpoints>,
    /// Scheme, host and port under which clients reach the gateway. `None`: it does not know.
    pub public_url: Option<String>,
    pub api_keys: ApiKeys,
    /// Credentials can be revoked.
    pub revocable: bool,
    /// `None`: backends are sent no JWT of the gateway's own.
    pub backend_jwt: Option<BackendJwt>,
    /// What backends are told of callers in headers of their own.
    pub identity_headers: Vec<IdentityHeader>,
    /// What tokens say of subscriptions counts, and what stores know.
    pub subscriptions: bool,
    /// `/apikey` is served on the HTTPS listener.
    pub api_key_issuer: bool,
    pub access_log: Option<AccessLog>,
    /// `None`: no request has a span.
    pub tracing: Option<Tracing>,
    pub backends: Backends,
    /// What is said of endpoints in the place of definitions; the later one counts.
    pub endpoints: Vec<EndpointOverride>,
    /// By which backends know the gateway.
    pub secrets: Secrets,
    pub client_certificates: ClientCertificates,
    /// Client's `User-Agent` for backends. `None`: as it comes; empty: none.
    pub user_agent: Option<String>,
    pub limits: LimitSettings,
    pub bodies: Bodies,
    pub validation: Validation,
    /// `None`: responses are as backends send them.
    pub compression: Option<Compression>,
}

/// Which limits can be enforced, and what clients are told of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitSettings {
    /// Gateways can count together.
    pub shared_store: bool,
    /// What bodies take is measured.
    pub bandwidth: bool,
    /// In which headers clients are told of limits.
    pub headers: RateLimitHeaders,
}

/// Bytes of bodies that are collected where an operation looks at them and does not say how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bodies {
    pub max_request: u64,
    pub max_response: u64,
}

/// What becomes of messages that are not as their contracts say, where definitions do not say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Validation {
    pub request: Mode,
    pub response: Mode,
}

/// CA certificates, PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct TrustStore(pub String);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listeners {
    pub host: IpAddr,
    /// `false`: Envoy checks the listeners and does not open them.
    pub bind: bool,
    /// 0: any free port.
    pub http_port: u16,
    pub https_port: u16,
    /// Bytes; a longer request head is answered 431.
    pub max_header_size: u32,
    /// Bytes of path and query; a longer URI is answered 414. `None`: the head's limit is the URI's.
    pub max_uri_length: Option<u32>,
    /// Bytes; a longer body is answered 413. `None`: no limit.
    pub max_body_size: Option<u64>,
    /// Proxies in front of the gateway that append to `x-forwarded-for`.
    pub trusted_hops: u32,
    /// Of those that tell backends another host or client ([`microgw_transforms::overrides::keepable`]): these reach them as they were sent.
    pub kept_headers: Vec<String>,
    pub http2: bool,
    pub connections: Connections,
    pub balanced: Balanced,
    /// Requests over http are led to HTTPS: there, to this port.
    pub https_redirect: Option<u16>,
    pub server_header: ServerHeader,
    pub tls: TlsRange,
    /// What the HTTPS listener presents.
    pub identity: TlsIdentity,
    /// What it presents to clients that ask for certain names.
    pub certificates: Vec<ListedCertificate>,
}

/// The `Server` header of responses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ServerHeader {
    /// A backend's own, if there is one.
    #[default]
    Passed,
    /// This one where a backend sent none.
    IfAbsent(String),
    /// This one, always.
    Always(String),
}

/// What is offered when a TLS connection is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsRange {
    pub least: TlsVersion,
    pub most: TlsVersion,
    /// Of TLS 1.2, in BoringSSL's names. Empty: Envoy's own.
    pub ciphers: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    V12,
    V13,
}

impl Default for TlsRange {
    fn default() -> TlsRange {
        TlsRange { least: TlsVersion::V12, most: TlsVersion::V13, ciphers: Vec::new() }
    }
}

/// A certificate chain and its private key, both PEM. Part of the snapshot, never of its generation.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsIdentity {
    pub certificate_chain: String,
    pub private_key: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Lower-case header that carries access tokens unless the API names another.
    pub header: String,
    /// Take credentials out of what backends see.
    pub remove: bool,
    /// Lower-case identity headers that clients may not send (the backend JWT's).
    pub strip: Vec<String>,
}

/// One `[[jwtTokenConfig]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // each is a setting of its own
pub struct Issuer {
    /// Must equal `iss`.
    pub issuer: String,
    /// Any one must be in `aud`; empty: not checked.
    pub audiences: Vec<String>,
    /// JOSE algorithm names; never empty.
    pub algorithms: Vec<String>,
    pub skew_seconds: u32,
    /// In the order of the configuration.
    pub claims: Vec<ClaimMapping>,
    /// Claim that holds the client; empty: whichever of the usual ones there is.
    pub client_claim: String,
    /// Tokens must be as RFC 9068 says.
    pub rfc9068: bool,
    /// Tokens must be bound to a key (RFC 9449).
    pub require_dpop: bool,
    /// Backends are told of the user what the claim retriever knows.
    pub user_claims: bool,
    /// Only subscribers are let in.
    pub validate_subscription: bool,
}

/// One `[[jwtTokenConfig.claims]]`: a claim that becomes another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimMapping {
    /// Its name, or a JSON pointer.
    pub from: String,
    pub to: String,
    /// One text becomes several; empty: it stays one.
    pub split: String,
    pub strip_prefix: String,
    /// What becomes of texts. Empty: all stay.
    pub values: Vec<(String, String)>,
    /// So do those that `values` does not have.
    pub keep_others: bool,
    /// Several texts become one; empty: they stay several.
    pub join: String,
}

/// How possession of a key is proved (RFC 9449).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dpop {
    /// What clients know the gateway by, before the path. Empty: what each request says.
    pub origins: Vec<String>,
    pub max_age_seconds: u32,
    pub skew_seconds: u32,
}

/// What is accepted of the authorization server that is asked about opaque tokens (RFC 7662).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introspection {
    /// Must equal `iss`, where an answer has one; empty: not checked.
    pub issuer: String,
    /// Any one must be in `aud`; empty: not checked.
    pub audiences: Vec<String>,
    pub skew_seconds: u32,
    /// It is also asked about JWTs that no issuer vouches for.
    pub failed_jwts: bool,
    /// How long an answer holds, the token's end apart.
    pub remember_milliseconds: u32,
    /// Backends are told of the user what the claim retriever knows.
    pub user_claims: bool,
    /// Only subscribers are let in.
    pub validate_subscription: bool,
}

/// The JWT by which backends are told of callers. Signed by a key that is not for snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendJwt {
    /// Lower-case; among [`Credentials::strip`].
    pub header: String,
    pub issuer: String,
    pub audiences: Vec<String>,
    /// Before the names of the gateway's own claims.
    pub dialect: String,
    /// Claims of tokens that are not passed on, beside those that never are.
    pub restricted: Vec<String>,
    pub lifetime_seconds: u32,
    /// For how long one serves the requests of one caller; 0: each has its own.
    pub reuse_seconds: u32,
}

/// A header that tells backends one thing of callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityHeader {
    pub fact: Fact,
    /// Lower-case; among [`Credentials::strip`].
    pub name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    User,
    Client,
    Application,
    Scopes,
    KeyId,
    KeyType,
}

/// The key manager's endpoints for clients, which Envoy passes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthEndpoints {
    /// `token` and so on are below its path.
    pub key_manager: BackendUrl,
    /// Of a listener for them alone; 0: any free port. `None`: they are on the HTTPS listener only.
    pub port: Option<u16>,
}

/// How self-contained API keys are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeys {
    pub issuer: String,
    pub skew_seconds: u32,
    pub allow_unlimited: bool,
    pub require_allowed_apis: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// File that Envoy appends JSON lines to; `/dev/stdout` for the console.
    pub path: String,
    /// Say who called.
    pub caller: bool,
}

/// Which requests are traced, and where their spans go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracing {
    pub collector: BackendUrl,
    pub protocol: Protocol,
    /// Sent to the collector.
    pub headers: Vec<SecretHeader>,
    /// Requests of 10,000.
    pub sampling: u32,
    /// A client may say which trace its request belongs to, and whether that is recorded.
    pub trust_clients: bool,
    pub service_name: String,
}

/// How OTLP travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Grpc,
    Http,
}

/// Its value is part of the snapshot, never of its generation.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretHeader {
    /// Lower-case.
    pub name: String,
    pub value: String,
}

// === impl Settings ===

impl Settings {
    /// Whether anything tells of requests by API and operation: only then routes say what they belong to.
    pub fn tells_of_requests(&self) -> bool {
        self.access_log.is_some() || self.tracing.is_some()
    }
}

// === impl Tracing ===

impl Tracing {
    /// Of the collector, for gRPC.
    pub fn base_url(&self) -> String {
        let BackendUrl { tls, host, port, path } = &self.collector;
        let (scheme, host) = (if *tls { "https" } else { "http" }, crate::url::bracketed(host));
        format!("{scheme}://{host}:{port}{path}")
    }

    /// Where spans are sent over HTTP.
    pub fn traces_url(&self) -> String {
        format!("{}/v1/traces", self.base_url())
    }
}

impl fmt::Debug for SecretHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretHeader").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A hash: it takes part in the generation, and a bundle is 200 KB.
impl fmt::Debug for TrustStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TrustStore").field(&crate::assemble::fingerprint(self.0.as_bytes())).finish()
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsIdentity(..)")
    }
}
