//! Which messages are compared with their contracts, and what that needs.

use std::collections::BTreeSet;

use microgw_proto::contracts::v1::parameter::Location;
use microgw_proto::contracts::v1::{Body, Contract, Mode, Schemas};

use crate::model::{Model, Operation};
use crate::settings::Settings;

/// What of an exchange a contract needs, besides the request's head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // Each says something by itself.
pub struct Needs {
    /// Requests may have none.
    pub no_request_body: bool,
    /// Some of its parameters are cookies.
    pub cookies: bool,
    pub request_body: bool,
    pub response_head: bool,
    pub response_body: bool,
    /// What is wrong is reported, and passes.
    pub request_reported: bool,
    pub response_reported: bool,
}

/// What is to be checked and cannot be.
pub fn conflict(model: &Model, settings: &Settings) -> Option<String> {
    let operations = model.apis.iter().flat_map(|api| api.operations.iter().map(move |operation| (api, operation)));
    operations.filter_map(|(api, operation)| Some((api, operation, contract(settings, operation)?))).find_map(
        |(api, operation, contract)| {
            let sides = [("requests", contract.request_flaw), ("responses", contract.response_flaw)];
            let (what, flaw) = sides.into_iter().find(|(_, flaw)| !flaw.is_empty())?;
            let (method, base, path) = (operation.method, &api.base_path, &operation.path);
            Some(format!(
                "{what} of `{method} {base}{path}` are to be validated, and cannot be: {flaw}: change the definition, or write \
                 `x-microgw-validation: off` on the operation"
            ))
        },
    )
}

/// What messages of an operation are compared with; of either direction only if that is asked for.
pub fn contract(settings: &Settings, operation: &Operation) -> Option<Contract> {
    let declared = operation.contract.as_ref()?;
    let or = |own: Mode, usual: Mode| match (own, usual) {
        (Mode::Unsaid, Mode::Unsaid) => Mode::Off,
        (Mode::Unsaid, usual) => usual,
        (own, _) => own,
    };
    let request = or(declared.request_mode(), settings.validation.request);
    let response = or(declared.response_mode(), settings.validation.response);
    let mut contract = Contract::default();
    contract.set_request_mode(request);
    contract.set_response_mode(response);
    if request != Mode::Off {
        contract.parameters.clone_from(&declared.parameters);
        contract.request.clone_from(&declared.request);
        contract.request_flaw.clone_from(&declared.request_flaw);
    }
    if response != Mode::Off {
        contract.responses.clone_from(&declared.responses);
        contract.response_flaw.clone_from(&declared.response_flaw);
        // What says nothing of responses needs none of them.
        let Needs { response_head, response_body, .. } = needs(&contract);
        if !response_head && !response_body {
            contract.responses.clear();
            if contract.response_flaw.is_empty() {
                contract.set_response_mode(Mode::Off);
            }
        }
    }
    let off = contract.request_mode() == Mode::Off && contract.response_mode() == Mode::Off;
    (!off).then_some(contract)
}

/// As the contract itself would say, once it is compiled.
pub fn needs(contract: &Contract) -> Needs {
    let has_schema = |body: &Body| body.contents.iter().any(|content| content.schema > 0);
    let bodies = || contract.responses.iter().filter_map(|response| response.body.as_ref());
    let has_headers = contract.responses.iter().any(|response| !response.headers.is_empty());
    let is_compared = contract.request_mode() != Mode::Off;
    Needs {
        no_request_body: is_compared && contract.request.is_none(),
        cookies: contract.parameters.iter().any(|parameter| parameter.location() == Location::Cookie),
        request_body: contract.request.as_ref().is_some_and(|body| body.required || has_schema(body)),
        response_head: has_headers || bodies().any(|body| !body.contents.is_empty()),
        response_body: bodies().any(has_schema),
        request_reported: contract.request_mode() == Mode::Report,
        response_reported: contract.response_mode() == Mode::Report,
    }
}

/// The schemas that a contract refers to itself, by index.
pub fn used(contract: &Contract) -> impl Iterator<Item = u32> {
    let of_body = |body: &Body| body.contents.iter().map(|content| content.schema).collect::<Vec<_>>();
    let responses = contract.responses.iter().flat_map(move |response| {
        let headers = response.headers.iter().map(|header| header.schema);
        headers.chain(response.body.iter().flat_map(of_body)).collect::<Vec<_>>()
    });
    let parameters = contract.parameters.iter().map(|parameter| parameter.schema);
    parameters
        .chain(contract.request.iter().flat_map(of_body))
        .chain(responses)
        .filter_map(|index| index.checked_sub(1))
}

/// `schemas` with those alone that `used` lead to: the others are whatever there is.
pub fn pruned(schemas: &Schemas, used: &BTreeSet<u32>) -> Schemas {
    let mut kept = BTreeSet::new();
    let mut waiting: Vec<u32> = used.iter().copied().collect();
    while let Some(index) = waiting.pop() {
        if kept.insert(index)
            && let Some(text) = schemas.schemas.get(index as usize)
        {
            let ends = text.split("\"#/$defs/").skip(1);
            waiting.extend(ends.filter_map(|end| end.split('"').next()?.parse::<u32>().ok()));
        }
    }
    let text = |(index, text): (usize, &String)| {
        let is_kept = u32::try_from(index).is_ok_and(|index| kept.contains(&index));
        if is_kept { text.clone() } else { "true".to_owned() }
    };
    Schemas { schemas: schemas.schemas.iter().enumerate().map(text).collect() }
}
