//! The snapshot: Envoy resources as bytes and the rules that arm the engine, of one generation.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use microgw_proto::rules::v1::RuleBook;

/// Everything that is served for one generation. Immutable.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub generation: Generation,
    pub resources: Resources,
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
    pub const ALL: [ResourceType; 4] =
        [ResourceType::Cluster, ResourceType::Secret, ResourceType::Listener, ResourceType::Route];

    pub fn type_url(self) -> &'static str {
        match self {
            ResourceType::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            ResourceType::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            ResourceType::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            ResourceType::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        }
    }

    pub fn from_type_url(url: &str) -> Option<ResourceType> {
        ResourceType::ALL.into_iter().find(|kind| kind.type_url() == url)
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
