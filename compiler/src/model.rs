//! The model: what a project says, resolved. Later stages never look at a definition again.

use std::fmt;

use microgw_proto::bodies::v1::OperationBodies;
use microgw_proto::contracts::v1::{Contract, Schemas};
use microgw_proto::interceptors::v1::{Interceptor, OperationInterceptors};
use microgw_proto::limits::v1::{Cost, Policy, Tiers};
use microgw_proto::traffic::v1::{ApiTraffic, EndpointPolicy, OperationTraffic};
use microgw_proto::transforms::v1::Transform;

use crate::error_template::ErrorTemplate;
use crate::limits::UNAUTHENTICATED;
use crate::path::PathTemplate;

/// A compiled project.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    pub project: String,
    /// Source files relative to the project, `/` separated. [`Position::file`] is an index into it.
    pub files: Vec<String>,
    /// Each distinct endpoint once; operations refer to them by [`EndpointId`].
    pub endpoints: Vec<Endpoint>,
    /// Sorted by base path.
    pub apis: Vec<Api>,
    /// What was declared and is not enforced, because the project was built with `--allow-unenforced`.
    pub unenforced: Vec<Unenforced>,
    /// How faults are worded; at most one for each code and form.
    pub error_templates: Vec<ErrorTemplate>,
    /// What APIs and operations are limited to, each once; they refer to it by [`LimitId`]. In the form in which artifact and
    /// rule book hold it.
    pub limits: Vec<Policy>,
    /// Which policies callers get.
    pub tiers: Tiers,
    /// What becomes of messages. In the form in which the artifact holds it.
    pub transforms: Vec<Transform>,
    /// Programs that messages go through, each once. In the form in which artifact and rule book hold it.
    pub interceptors: Vec<Interceptor>,
}

/// Where something was declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub file: u32,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

/// One OpenAPI definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// `info.title`.
    pub name: String,
    /// `info.version`.
    pub version: String,
    /// `""` for the root, else `/...` without a trailing slash; `{version}` resolved.
    pub base_path: String,
    pub owner: Option<String>,
    pub transports: Transports,
    /// `x-wso2-auth-header`, lower-case. `None`: the configured header.
    pub credential_header: Option<String>,
    pub limit: Option<LimitId>,
    /// What Envoy does for it by itself, in the form in which the artifact holds it.
    pub traffic: ApiTraffic,
    pub source: Position,
    /// In the order of the definition.
    pub operations: Vec<Operation>,
    /// What contracts refer to, in the form in which artifact and rule book hold it.
    pub schemas: Schemas,
}

/// Which listeners serve an API. At least one is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Transports {
    pub http: bool,
    pub https: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub method: Method,
    /// Relative to the base path.
    pub path: PathTemplate,
    pub operation_id: Option<String>,
    pub access: Access,
    /// Neither, if Envoy answers by itself.
    pub production: Option<EndpointId>,
    pub sandbox: Option<EndpointId>,
    /// What Envoy does for it by itself.
    pub traffic: OperationTraffic,
    /// What is done to bodies and responses.
    pub bodies: OperationBodies,
    /// What becomes of its requests and responses.
    pub transforms: Transforms,
    /// Which programs they go through; indexes are into [`Model::interceptors`].
    pub interceptors: OperationInterceptors,
    /// Of its own, beside its API's.
    pub limit: Option<LimitId>,
    /// What a request counts. `None`: 1.
    pub cost: Option<Cost>,
    /// What its requests and responses can be compared with. `None`: they never are.
    pub contract: Option<Contract>,
    pub source: Position,
}

/// What becomes of an operation's messages, in the order in which it is done: what its API says is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transforms {
    pub request: Option<TransformId>,
    pub response: Option<TransformId>,
}

/// Index into [`Model::transforms`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransformId(pub u32);

/// Index into [`Model::limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimitId(pub u32);

/// Index into [`Model::endpoints`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    Delete,
    Get,
    Head,
    Options,
    Patch,
    Post,
    Put,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// No credential is asked for; Envoy alone serves it.
    Public,
    /// Any one alternative suffices. None: every request is refused.
    Guarded(Vec<Alternative>),
}

/// Every requirement must hold. Never empty: an alternative that asks for nothing is [`Access::Public`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alternative(pub Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Requirement {
    OAuth2 {
        scopes: Vec<String>,
        /// `x-microgw-scope-match: all`; otherwise any one of `scopes` suffices.
        all_scopes: bool,
    },
    /// A user with a password, RFC 7617.
    Basic {
        scopes: Vec<String>,
        /// As for tokens.
        all_scopes: bool,
    },
    ApiKey {
        location: KeyLocation,
        /// Lower-case in a header, as written in the query or a cookie.
        name: String,
    },
    /// A certificate of the client, RFC 8446 section 4.4.2. Whose is for settings to say.
    ClientCertificate {
        /// A request without one passes; one that is shown must be good all the same.
        optional: bool,
    },
    /// A scheme this version cannot enforce, by name: never satisfied. Only with `--allow-unenforced`.
    Unenforceable(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyLocation {
    Header,
    Query,
    Cookie,
}

/// Where requests go, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Never empty.
    pub targets: Vec<Target>,
    /// What settings at the start call it; empty: they cannot change it.
    pub name: String,
    /// In the form in which the artifact holds it.
    pub policy: EndpointPolicy,
    pub canary: Option<Canary>,
}

/// One of the backends of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub url: BackendUrl,
    /// Share of the requests, against the other targets'. Never 0.
    pub weight: u32,
    /// Where its host and port are looked up; the URL is what is used until an answer comes.
    pub lookup: Lookup,
}

/// How a target's addresses are found.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lookup {
    /// Its host is an address, or a name of DNS.
    #[default]
    Host,
    /// A key in etcd, whose value is a URL.
    Etcd(String),
    /// A name of SRV records, RFC 2782.
    Srv(String),
    /// A service of Consul.
    Consul(String),
}

/// Other targets for some of the requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Canary {
    /// Never empty.
    pub targets: Vec<Target>,
    /// Of 10,000 requests.
    pub share: u32,
    /// Requests that have it are the canary's, whatever the share: its name, lower-case, and its value, or any.
    pub header: Option<(String, Option<String>)>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendUrl {
    pub tls: bool,
    /// Lower-case name, or an IP address without brackets.
    pub host: String,
    pub port: u16,
    /// `""` or `/...` without a trailing slash.
    pub path: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unenforced {
    /// Diagnostic code, `MGW-...`.
    pub code: String,
    pub message: String,
    pub source: Position,
}

// === impl Method ===

impl Method {
    pub const ALL: [Method; 7] =
        [Method::Delete, Method::Get, Method::Head, Method::Options, Method::Patch, Method::Post, Method::Put];

    pub fn as_str(self) -> &'static str {
        match self {
            Method::Delete => "DELETE",
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Options => "OPTIONS",
            Method::Patch => "PATCH",
            Method::Post => "POST",
            Method::Put => "PUT",
        }
    }

    /// Case-insensitive.
    pub fn parse(text: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(text))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// Round robin over `urls`, with nothing else said.
    pub fn of(urls: Vec<BackendUrl>) -> Endpoint {
        Endpoint { targets: urls.into_iter().map(Target::of).collect(), ..Endpoint::default() }
    }

    pub fn urls(&self) -> impl Iterator<Item = &BackendUrl> {
        self.targets.iter().map(|target| &target.url)
    }

    /// Who is found for its targets may have priorities of their own.
    pub fn has_ranks(&self) -> bool {
        self.targets.iter().any(|target| matches!(target.lookup, Lookup::Srv(_)))
    }
}

impl Target {
    pub fn of(url: BackendUrl) -> Target {
        Target { url, weight: 1, lookup: Lookup::Host }
    }
}

// === impl BackendUrl ===

impl BackendUrl {
    /// One cluster can have both, and one rewriting of paths serves them.
    pub fn is_like(&self, other: &BackendUrl) -> bool {
        (self.tls, &self.path) == (other.tls, &other.path)
    }
}

// === impl Model ===

impl Model {
    pub fn endpoint(&self, id: EndpointId) -> Option<&Endpoint> {
        self.endpoints.get(id.0 as usize)
    }

    pub fn transform(&self, id: TransformId) -> Option<&Transform> {
        self.transforms.get(id.0 as usize)
    }

    pub fn limit(&self, id: LimitId) -> Option<&Policy> {
        self.limits.get(id.0 as usize)
    }

    /// Something limits whoever calls, credentials or not.
    pub fn limits_everybody(&self) -> bool {
        let Tiers { subscriptions, custom, deny, .. } = &self.tiers;
        let unauthenticated = subscriptions.iter().any(|policy| policy.name == UNAUTHENTICATED);
        unauthenticated || !custom.is_empty() || !deny.is_empty()
    }

    pub fn file(&self, position: Position) -> &str {
        self.files.get(position.file as usize).map_or("", String::as_str)
    }

    /// `file:line:column`.
    pub fn locate(&self, position: Position) -> String {
        format!("{}:{}:{}", self.file(position), position.line, position.column)
    }
}
