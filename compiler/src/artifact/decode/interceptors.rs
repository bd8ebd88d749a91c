//! Whether an artifact's interceptors are such as a project can declare.

use microgw_proto::interceptors::v1::{Interceptor, OperationInterceptors};
use microgw_transforms::json::Json;

use super::{Result, invalid};
use crate::interceptors::{MAX_USES, is_sound};

pub(super) fn check(interceptors: &[Interceptor]) -> Result<()> {
    if interceptors.iter().all(is_sound) { Ok(()) } else { invalid("an interceptor is malformed") }
}

/// Of an operation; there are `count` interceptors.
pub(super) fn of_operation(uses: Option<OperationInterceptors>, count: usize) -> Result<OperationInterceptors> {
    let uses = uses.unwrap_or_default();
    for one in uses.request.iter().chain(&uses.response) {
        if one.interceptor as usize >= count {
            return invalid("an operation has an interceptor that does not exist");
        }
        let parameters = one.parameters.as_str();
        if !parameters.is_empty() && !matches!(Json::read(parameters.as_bytes()), Ok(Json::Object(_))) {
            return invalid("what an interceptor is used with is malformed");
        }
    }
    if uses.request.len().max(uses.response.len()) > MAX_USES {
        return invalid("an operation has too many interceptors");
    }
    Ok(uses)
}
