//! Whether an artifact's interceptors are such as a project can declare.

use microgw_proto::interceptors::v1::{Interceptor, OperationInterceptors, Use};
use microgw_transforms::json::Json;

use super::{Result, invalid};
use crate::interceptors::{MAX_USES, TIMEOUTS, is_sound};

pub(super) fn check(interceptors: &[Interceptor]) -> Result<()> {
    if interceptors.iter().all(is_sound) { Ok(()) } else { invalid("an interceptor is malformed") }
}

/// Milliseconds that a call of each may take.
pub(super) fn times(interceptors: &[Interceptor]) -> Vec<u64> {
    interceptors.iter().map(|interceptor| interceptor.timeout_milliseconds.into()).collect()
}

/// Of an operation; `times` are those of all interceptors that there are.
pub(super) fn of_operation(uses: Option<OperationInterceptors>, times: &[u64]) -> Result<OperationInterceptors> {
    let uses = uses.unwrap_or_default();
    for one in uses.request.iter().chain(&uses.response) {
        if one.interceptor as usize >= times.len() {
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
    let time = |uses: &[Use]| uses.iter().filter_map(|one| times.get(one.interceptor as usize)).sum::<u64>();
    if time(&uses.request).max(time(&uses.response)) > u64::from(*TIMEOUTS.end()) {
        return invalid("the interceptors of an operation take too long");
    }
    Ok(uses)
}
