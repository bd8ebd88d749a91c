//! Whether an artifact's contracts are such as a definition can declare. What their schemas say is checked where they are compiled.

use microgw_proto::contracts::v1::{Body, Contract, Parameter, Schemas};
use microgw_schemas::{MAX_PARAMETERS, MAX_SCHEMAS, MAX_SCHEMAS_SIZE};

use super::{Result, invalid};
use crate::model::Operation;

pub(super) fn check(schemas: &Schemas, operations: &[Operation]) -> Result<()> {
    let size: usize = schemas.schemas.iter().map(String::len).sum();
    if schemas.schemas.len() > MAX_SCHEMAS || size > MAX_SCHEMAS_SIZE {
        return invalid("an API has too many schemas, or too long ones");
    }
    let contracts = operations.iter().filter_map(|operation| operation.contract.as_ref());
    if !contracts.into_iter().all(|contract| is_sound(contract, schemas.schemas.len())) {
        return invalid("a contract is malformed");
    }
    Ok(())
}

fn is_sound(contract: &Contract, schemas: usize) -> bool {
    let parameter = |parameter: &Parameter| !parameter.name.is_empty() && parameter.schema as usize <= schemas;
    let body = |body: &Body| body.contents.iter().all(|content| content.schema as usize <= schemas);
    contract.parameters.len() <= MAX_PARAMETERS
        && contract.parameters.iter().all(parameter)
        && contract.request.iter().all(body)
        && contract.responses.iter().all(|response| {
            response.from <= response.to && response.body.iter().all(body) && response.headers.iter().all(parameter)
        })
}
