//! What may be said of traffic: the bounds that hold for definitions, and for artifacts from anywhere.

pub mod answer;
pub(crate) mod cors;
pub mod destination;
pub(crate) mod headers;
pub mod mirror;
mod policy;

use microgw_proto::traffic::v1::{ApiTraffic, OperationTraffic};

use crate::hosts;
use crate::model::Endpoint;

pub use self::policy::{
    LEAST_FAILURE, MAX_CHECK_PAUSE, MAX_CHECKS, MAX_RETRIES, WHOLE, is_health_path, is_profile_name,
};

pub fn endpoint_is_sound(endpoint: &Endpoint) -> bool {
    destination::is_sound(endpoint) && policy::is_sound(endpoint)
}

pub fn api_is_sound(traffic: &ApiTraffic) -> bool {
    let ApiTraffic { cors, hosts } = traffic;
    hosts::are_sound(hosts) && cors.as_ref().is_none_or(cors::is_sound)
}

pub fn operation_is_sound(traffic: &OperationTraffic) -> bool {
    let OperationTraffic { request, response, .. } = traffic;
    let edited = |direction, edits: &Option<_>| edits.as_ref().is_none_or(|edits| headers::is_sound(direction, edits));
    let others = OperationTraffic {
        timeout: None,
        idle_timeout: None,
        answer: None,
        mirrors: Vec::new(),
        request: None,
        response: None,
        uncompressed: false,
        websocket: false,
        unbuffered: false,
    };
    let edited = edited(headers::Direction::Request, request) && edited(headers::Direction::Response, response);
    edited
        && traffic.answer.as_ref().is_none_or(answer::is_sound)
        && mirror::are_sound(traffic)
        && others == OperationTraffic::default()
}
