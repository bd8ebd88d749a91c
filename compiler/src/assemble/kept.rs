//! Which responses are kept for others who ask the same, and by what requests differ.

use std::collections::BTreeSet;

use microgw_proto::contracts::v1::parameter::Location;
use microgw_proto::rules::v1::Keep;
use prost::Message as _;

use crate::bodies::edits_what_caches_go_by;
use crate::model::{Api, EndpointId, Model, Operation};

/// `None`: its responses are for those alone who asked for them.
pub fn keep(model: &Model, operation: &Operation) -> Option<Keep> {
    let seconds = Some(operation.bodies.kept_seconds).filter(|seconds| *seconds > 0)?;
    if edits_what_caches_go_by(&operation.traffic) {
        return None;
    }
    let contract = operation.contract.iter().flat_map(|contract| &contract.parameters);
    let declared = contract.filter(|parameter| parameter.location() == Location::Header);
    let canary =
        operation.production.and_then(|EndpointId(index)| model.endpoints.get(index as usize)?.canary.as_ref());
    let chosen = canary.and_then(|canary| canary.header.as_ref()).map(|(name, _)| name.clone());
    let headers: BTreeSet<_> = declared.map(|parameter| parameter.name.clone()).chain(chosen).collect();
    Some(Keep { seconds, headers: headers.into_iter().collect() })
}

/// What its rule's identity covers: what was answered by another backend, or changed by the route in another way, is not kept on.
pub fn told(model: &Model, api: &Api, operation: &Operation) -> Vec<u8> {
    let Some(keep) = keep(model, operation) else { return Vec::new() };
    let endpoint = operation.production.and_then(|EndpointId(index)| model.endpoints.get(index as usize));
    let shown = format!("{endpoint:?} {:?}", api.traffic);
    [keep.encode_to_vec(), operation.traffic.encode_to_vec(), shown.into_bytes()].concat()
}
