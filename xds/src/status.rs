//! What the service says about itself: `/status`, `/ready`, `/metrics`.

use std::fmt::Display;

use microgw_compiler::snapshot::{ApiKey, Fallback, Generation, ResourceType};
use serde::{Serialize, Serializer};

use crate::publisher::Rejection;
use crate::session::Dialect;

/// Where publishing stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Publication {
    pub state: State,
    /// The generation that serves: ACKed, and seen by the probe.
    #[serde(serialize_with = "text_or_null")]
    pub live: Option<Generation>,
    /// The generation that Envoys are offered.
    #[serde(serialize_with = "text_or_null")]
    pub offered: Option<Generation>,
    /// When `state` was entered, in seconds since the Unix epoch.
    pub since: u64,
    /// APIs that `live` does not serve with their own content.
    pub faults: Vec<Fault>,
    /// Why the last candidate is not served; only while `state` is `rejected`.
    #[serde(serialize_with = "text_or_null")]
    pub rejection: Option<Rejection>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing was published yet.
    Starting,
    /// A candidate is offered and not live yet. `live` keeps serving.
    Publishing,
    Live,
    /// Live, with some APIs in fallback.
    Degraded,
    /// The last candidate was refused. `live` keeps serving.
    Rejected,
}

/// An API whose new content Envoy refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// `name:version`.
    #[serde(serialize_with = "text")]
    pub api: ApiKey,
    /// `file:line:column` of its definition.
    pub location: String,
    /// What is served in its place.
    #[serde(serialize_with = "fallback")]
    pub fallback: Fallback,
    /// Envoy's reason.
    pub envoy_text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    pub project: String,
    /// Something is live, and an Envoy that is in step is connected.
    pub ready: bool,
    #[serde(flatten)]
    pub publication: Publication,
    pub envoys: Vec<EnvoyStatus>,
    pub metrics: Metrics,
}

/// A connected Envoy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EnvoyStatus {
    /// `node.id`.
    pub id: String,
    /// `major.minor.patch`.
    pub version: String,
    /// Of the xDS protocol: `delta` or `sotw`.
    pub dialect: Dialect,
    /// Address and name of an Envoy that connected over the network; `null`: over the Unix socket.
    pub peer: Option<String>,
    /// Seconds since the Unix epoch.
    pub connected_since: u64,
    /// It was silent for the publish timeout, and publishes do not wait for it until it has caught up.
    pub out_of_sync: bool,
    /// By resource type, in the order in which types are sent.
    pub types: Vec<TypeStatus>,
    /// Clusters whose present addresses it refuses: it stays with those that it had.
    pub refused_endpoints: Vec<RefusedEndpoints>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedEndpoints {
    pub cluster: String,
    /// Envoy's text.
    pub refusal: String,
}

/// What an Envoy last said about one resource type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TypeStatus {
    /// `Cluster`, `Endpoint`, `Secret`, `Listener`, `Route`.
    pub kind: String,
    /// Generation of the last ACK.
    #[serde(serialize_with = "text_or_null")]
    pub acked: Option<Generation>,
    /// Envoy's text, while its last word was a NACK.
    pub refusal: Option<String>,
}

/// Counted since the publisher was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Metrics {
    /// Responses sent.
    pub pushes: u64,
    pub acks: u64,
    pub nacks: u64,
    /// Envoys connected now.
    pub envoys: u64,
    /// Of these, those that are sent the state of the world.
    pub state_of_the_world: u64,
    /// Of `acks` and `nacks`, those of each resource type, in the order of [`ResourceType::ALL`].
    #[serde(skip)]
    pub by_type: [TypeCounts; ResourceType::ALL.len()],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TypeCounts {
    pub acks: u64,
    pub nacks: u64,
}

fn text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[expect(clippy::ref_option, reason = "serde passes the field by reference")]
fn text_or_null<S: Serializer>(value: &Option<impl Display>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field by reference")]
fn fallback<S: Serializer>(value: &Fallback, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match value {
        Fallback::Previous => "previous",
        Fallback::Unavailable => "unavailable",
    })
}
