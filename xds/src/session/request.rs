//! What an Envoy says, whichever dialect it speaks.

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use envoy_types::pb::google::rpc;
use prost::Message;

use super::Dialect;

/// A message that begins a stream or follows on it.
pub(crate) trait Incoming: Message + Default + 'static {
    const DIALECT: Dialect;

    /// Only the first message of a stream need carry it.
    fn node(&self) -> Option<&Node>;
    fn into_request(self) -> Request;
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(super) type_url: String,
    /// Of the response that it follows.
    pub(super) nonce: String,
    /// Why that response is refused.
    pub(super) refusal: Option<String>,
    pub(super) interest: Interest,
}

/// What the Envoy wants to hear about from now on.
#[derive(Debug)]
pub(super) enum Interest {
    /// Delta: what is different from before.
    Change {
        subscribe: Vec<String>,
        unsubscribe: Vec<String>,
        /// Name and version of each resource that it has; of the first request of a type only.
        has: Vec<(String, String)>,
    },
    /// State of the world: everything, each time.
    Whole {
        names: Vec<String>,
        /// Of the last response that it accepted, on this stream or the one before.
        version: String,
    },
}

impl Request {
    fn new(type_url: String, nonce: String, error: Option<rpc::Status>, interest: Interest) -> Request {
        Request { type_url, nonce, refusal: error.map(|status| status.message), interest }
    }
}

impl Incoming for DeltaDiscoveryRequest {
    const DIALECT: Dialect = Dialect::Delta;

    fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    fn into_request(self) -> Request {
        let interest = Interest::Change {
            subscribe: self.resource_names_subscribe,
            unsubscribe: self.resource_names_unsubscribe,
            has: self.initial_resource_versions.into_iter().collect(),
        };
        Request::new(self.type_url, self.response_nonce, self.error_detail, interest)
    }
}

impl Incoming for DiscoveryRequest {
    const DIALECT: Dialect = Dialect::StateOfTheWorld;

    fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    fn into_request(self) -> Request {
        let interest = Interest::Whole { names: self.resource_names, version: self.version_info };
        Request::new(self.type_url, self.response_nonce, self.error_detail, interest)
    }
}
