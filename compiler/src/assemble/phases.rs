//! What of an exchange the service is asked about: as much as the rules of an operation read and write, and no more.

use microgw_proto::bodies::v1::OperationBodies;
use microgw_proto::rules::v1::Phases;

use crate::model::Operation;
use crate::settings::Settings;

/// `None`: the request's head alone, by ext_authz. `limited`: clients are told of limits, in the response's head.
pub fn of(settings: &Settings, operation: &Operation, limited: bool) -> Option<Phases> {
    let OperationBodies { max_request, max_response } = operation.bodies;
    let (request_body, response_body) = (max_request > 0, max_response > 0);
    if !request_body && !response_body {
        return None;
    }
    let or = |own: u64, usual: u64| if own > 0 { own } else { usual };
    Some(Phases {
        request_body,
        response_head: response_body || limited,
        response_body,
        max_request_body: or(max_request, settings.bodies.max_request),
        max_response_body: or(max_response, settings.bodies.max_response),
    })
}
