//! What of an exchange the service is asked about: as much as the rules of an operation read and write, and no more.

use microgw_proto::bodies::v1::OperationBodies;
use microgw_proto::interceptors::v1::{Interceptor, OperationInterceptors, Use};
use microgw_proto::rules::v1::Phases;
use microgw_transforms::Needs;

use super::routes::retry;
use super::validation;
use crate::bodies::MAX_COLLECTED;
use crate::model::{Access, KeyLocation, Model, Operation, Requirement};
use crate::settings::Settings;

/// What the programs that an operation's messages go through take.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // Each says something by itself.
pub struct Programs {
    pub requests: bool,
    pub responses: bool,
    pub request_body: bool,
    pub response_body: bool,
}

// === impl Programs ===

impl Programs {
    pub fn of(model: &Model, uses: &OperationInterceptors) -> Programs {
        let any = |uses: &[Use], has: fn(&Interceptor) -> bool| {
            uses.iter().filter_map(|one| model.interceptors.get(one.interceptor as usize)).any(has)
        };
        Programs {
            requests: !uses.request.is_empty(),
            responses: !uses.response.is_empty(),
            request_body: any(&uses.request, |program| program.request_body),
            response_body: any(&uses.response, |program| program.response_body),
        }
    }
}

/// Whether ext_authz would say too little of the head: it joins headers of one name by `,`, which cookies may have in them, and to
/// say whether a body follows it would wait for one, as a handshake has none.
fn is_looked_at_closely(operation: &Operation, contract: validation::Needs) -> bool {
    let is_cookie =
        |requirement: &Requirement| matches!(requirement, Requirement::ApiKey { location: KeyLocation::Cookie, .. });
    let alternatives = match &operation.access {
        Access::Guarded(alternatives) => alternatives.as_slice(),
        Access::Public => &[],
    };
    contract.cookies
        || contract.no_request_body && operation.traffic.unbuffered
        || alternatives.iter().flat_map(|alternative| &alternative.0).any(is_cookie)
}

/// `None`: the request's head alone, by ext_authz. `limited`: clients are told of limits, in the response's head. `needs`: of what is
/// to become of requests, and of responses. `contract`: of what they are compared with.
pub fn of(
    model: &Model,
    settings: &Settings,
    operation: &Operation,
    limited: bool,
    needs: [Option<Needs>; 2],
    contract: validation::Needs,
    programs: Programs,
) -> Option<Phases> {
    let OperationBodies { max_request, max_response, kept_seconds } = operation.bodies;
    let [of_request, of_response] = needs;
    let whole = |needs: Option<Needs>| needs.is_some_and(|needs| needs.body || needs.writes_body);
    // What is bounded and nothing else passes as it comes, and is counted.
    let request_body = whole(of_request) || contract.request_body || programs.request_body;
    let response_body = whole(of_response) || contract.response_body || programs.response_body;
    let response_copied = kept_seconds > 0;
    let response_head = response_body
        || response_copied
        || max_response > 0
        || of_response.is_some()
        || contract.response_head
        || programs.responses;
    let closely = is_looked_at_closely(operation, contract);
    if !closely && !request_body && max_request == 0 && !response_head && of_request.is_none() && !programs.requests {
        return None;
    }
    let most = |collected: bool, own: u64, usual: u64| match own {
        0 if collected => usual,
        own if collected => own.min(MAX_COLLECTED),
        own => own,
    };
    let endpoints = [operation.production, operation.sandbox].into_iter().flatten();
    let retried = endpoints.filter_map(|id| model.endpoint(id)).any(retry::is_retried);
    Some(Phases {
        request_body,
        response_head: response_head || limited,
        response_body,
        response_copied,
        max_request_body: most(request_body, max_request, settings.bodies.max_request),
        request_optional: contract.request_reported && !whole(of_request) && !programs.request_body && max_request == 0,
        response_optional: contract.response_reported
            && !whole(of_response)
            && !programs.response_body
            && max_response == 0,
        retried,
        matched_again: operation.production.is_some() && operation.sandbox.is_some(),
        max_response_body: most(response_body, max_response, settings.bodies.max_response),
    })
}
