//! The snapshot: Envoy resources as bytes and the rules that arm the engine, of one generation.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use microgw_proto::rules::v1::RuleBook;

use crate::model::{BackendUrl, Lookup};

/// Everything that is served for one generation. Immutable.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub generation: Generation,
    pub resources: Resources,
    /// Clusters of it whose addresses it does not have.
    pub assignments: Assignments,
    pub rules: Arc<RuleBook>,
    /// Where each API was declared, for errors that Envoy reports against its resources.
    pub sources: Vec<ApiSource>,
}

/// Identifies a snapshot: a hash of the artifact and of the settings without their secrets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub Arc<str>);

/// xDS resource types in the order in which they must reach an Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    Cluster,
    /// Addresses of a cluster: no part of a snapshot, for they change by themselves.
    Endpoint,
    Secret,
    Listener,
    Route,
}

/// Resources by type and name.
pub type Resources = BTreeMap<ResourceType, BTreeMap<Arc<str>, Resource>>;

/// One resource, marshalled once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Hash of the resource's model.
    pub version: Arc<str>,
    /// The encoded message, without its `Any`.
    pub body: Arc<[u8]>,
    /// What it refers to by name; a snapshot in which one is missing is not offered.
    pub references: Arc<[(ResourceType, Arc<str>)]>,
}

/// By cluster: what its addresses are found by. Envoy is told of them apart from the cluster, whenever they change.
pub type Assignments = BTreeMap<Arc<str>, Arc<Assignment>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub targets: Vec<Assigned>,
    /// Backends are reached over the forward proxy, which knows names.
    pub tunnelled: bool,
    /// Hosts have their own names in TLS, rather than one for all.
    pub named: bool,
    /// Whom it serves; none: the gateway itself.
    pub apis: Vec<ApiKey>,
}

/// A target whose addresses are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    pub lookup: Lookup,
    pub url: BackendUrl,
    /// Share of the requests, against the other targets' of its priority, however many addresses it has. Never 0.
    pub weight: u32,
    /// From 0; the next is used while all before it are away.
    pub priority: u32,
}

/// What a lookup came to. None has come to anything yet: [`Found::default`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What backends are called by, lower-case and without a port; `None`: as the URL says.
    pub host: Option<String>,
    /// Each with an address at least.
    pub instances: Vec<Instance>,
}

/// One of those who serve what was looked up: a record of DNS, a registered instance, or all there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Those of the lowest number are asked, the others while these are away.
    pub priority: u32,
    /// Share of the requests, against the others' of its priority, however many addresses it has. Never 0.
    pub weight: u32,
    pub addresses: Vec<SocketAddr>,
}

/// One API of the snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiSource {
    /// `name:version`, unique in a project.
    pub key: ApiKey,
    /// `file:line:column` of the definition.
    pub location: String,
    /// Hash of everything that this API contributes to the resources: equal hashes, equal routes.
    pub content: Arc<str>,
}

/// `name:version` of an API.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiKey(pub Arc<str>);

// === impl ResourceType ===

impl ResourceType {
    pub const ALL: [ResourceType; 5] = [
        ResourceType::Cluster,
        ResourceType::Endpoint,
        ResourceType::Secret,
        ResourceType::Listener,
        ResourceType::Route,
    ];

    pub fn type_url(self) -> &'static str {
        match self {
            ResourceType::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            ResourceType::Endpoint => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            ResourceType::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            ResourceType::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            ResourceType::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        }
    }

    pub fn from_type_url(url: &str) -> Option<ResourceType> {
        ResourceType::ALL.into_iter().find(|kind| kind.type_url() == url)
    }
}

// === impl Found ===

impl Found {
    /// Of those of whom nothing else is known. None, if nobody is there.
    pub fn at(host: Option<String>, addresses: Vec<SocketAddr>) -> Found {
        let all = (!addresses.is_empty()).then_some(Instance { priority: 0, weight: 1, addresses });
        Found { host, instances: all.into_iter().collect() }
    }

    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.instances.iter().flat_map(|instance| instance.addresses.iter().copied())
    }

    /// Nobody is there.
    pub fn is_empty(&self) -> bool {
        self.addresses().next().is_none()
    }
}

// === impl Generation ===

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands in for an API whose new content Envoy refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// Its content of the generation that was live before.
    Previous,
    /// 503 on everything below its base path: there is no previous content.
    Unavailable,
}

/// APIs of a snapshot that are not served with their own content.
pub type Fallbacks = BTreeMap<ApiKey, Fallback>;
