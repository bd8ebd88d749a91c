//! What may be said of traffic: the bounds that hold for definitions, and for artifacts from anywhere.

pub mod answer;

use microgw_proto::traffic::v1::{ApiTraffic, EndpointPolicy, OperationTraffic};

use crate::model::Endpoint;

pub fn endpoint_is_sound(endpoint: &Endpoint) -> bool {
    let Some(first) = endpoint.targets.first() else { return false };
    let alike = endpoint.urls().all(|url| (url.tls, &url.path) == (first.url.tls, &first.url.path));
    alike && endpoint.policy == EndpointPolicy::default() && endpoint.canary.is_none()
}

pub fn api_is_sound(traffic: &ApiTraffic) -> bool {
    *traffic == ApiTraffic::default()
}

pub fn operation_is_sound(traffic: &OperationTraffic) -> bool {
    let others = OperationTraffic { answer: None, ..traffic.clone() };
    traffic.answer.as_ref().is_none_or(answer::is_sound) && others == OperationTraffic::default()
}
