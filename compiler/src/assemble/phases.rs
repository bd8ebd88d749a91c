//! What of an exchange the service is asked about: as much as the rules of an operation read and write, and no more.

use microgw_proto::bodies::v1::OperationBodies;
use microgw_proto::rules::v1::Phases;
use microgw_transforms::Needs;

use super::validation;
use crate::model::Operation;
use crate::settings::Settings;

/// `None`: the request's head alone, by ext_authz. `limited`: clients are told of limits, in the response's head. `needs`: of what is
/// to become of requests, and of responses. `contract`: of what they are compared with.
pub fn of(
    settings: &Settings,
    operation: &Operation,
    limited: bool,
    needs: [Option<Needs>; 2],
    contract: validation::Needs,
) -> Option<Phases> {
    let OperationBodies { max_request, max_response } = operation.bodies;
    let [of_request, of_response] = needs;
    let whole = |needs: Option<Needs>| needs.is_some_and(|needs| needs.body || needs.writes_body);
    let request_body = max_request > 0 || whole(of_request) || contract.request_body;
    let response_body = max_response > 0 || whole(of_response) || contract.response_body;
    let response_head = response_body || of_response.is_some() || contract.response_head;
    if !request_body && !response_head && of_request.is_none() {
        return None;
    }
    let or = |own: u64, usual: u64| if own > 0 { own } else { usual };
    Some(Phases {
        request_body,
        response_head: response_head || limited,
        response_body,
        max_request_body: or(max_request, settings.bodies.max_request),
        matched_again: operation.production.is_some() && operation.sandbox.is_some(),
        max_response_body: or(max_response, settings.bodies.max_response),
    })
}
